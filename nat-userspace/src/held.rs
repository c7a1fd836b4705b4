//! The policy as the dataplane holds it: the side of the pinned maps that packets read in this moment, with
//! numbers turned into names.

use std::{collections::BTreeMap, net::Ipv4Addr};

use aya::{
    Pod,
    maps::{HashMap, LpmTrie, Map, MapData, lpm_trie::Key},
};
use ipnet::Ipv4Net;
use nat_common::{
    address::Address,
    map_types::{
        ALL_VPCS, Gateway, GroupKey, Instance, Interface, Judgement, Listener, ListenerKey,
        NameKey, PortKey, PublicAddress, Route, SERVICES, SERVICES_VPC, ScopedAddress, Subnet,
        Target, TargetTable, names,
    },
    rules::Rules,
};

use crate::{
    bpf_batch,
    endpoints::Owner,
    error::{Error, Result},
    generation::{self, Side},
    pins::Pins,
    sessions::Names,
};

/// See the module.
pub struct Held<'a> {
    pins: &'a Pins,
    side: Side,
    /// What numbers stand for.
    pub names: Names,
    /// The interfaces, by index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// The subnets of every VPC.
    pub subnets: Vec<HeldSubnet>,
}

/// A subnet.
#[derive(Clone, Debug)]
pub struct HeldSubnet {
    /// Its VPC's number.
    pub vpc: u16,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// What the dataplane knows of it.
    pub subnet: Subnet,
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct HeldRoute {
    /// Its table's number.
    pub table: u32,
    /// Its destinations.
    pub destination: Ipv4Net,
    /// Where it leads.
    pub target: Target,
}

/// A listed instance.
#[derive(Clone, Copy, Debug)]
pub struct HeldInstance {
    /// Its VPC's number.
    pub vpc: u16,
    /// Its private IP.
    pub private: Ipv4Addr,
    /// What the dataplane knows of it.
    pub instance: Instance,
}

impl<'a> Held<'a> {
    /// Reads what is always needed; the rest is read when it is asked for.
    ///
    /// # Errors
    ///
    /// When there is no dataplane or its maps can't be read.
    pub fn read(pins: &'a Pins) -> Result<Self> {
        let mut held = Self {
            pins,
            side: Side::current(pins)?,
            names: Names::read(pins)?,
            interfaces: generation::interfaces(pins)?,
            subnets: Vec::new(),
        };
        let of_vpcs = ScopedAddress::subnets_of_vpc(0);
        // Not one of a VPC: the way to the services.
        let services = ScopedAddress::subnets_of_vpc(SERVICES_VPC.into());
        held.subnets = held
            .prefixes::<Subnet>(names::SUBNETS, |scope| {
                scope & of_vpcs != 0 && scope != services
            })?
            .into_iter()
            .map(|(scope, cidr, subnet)| HeldSubnet {
                vpc: (scope & !of_vpcs) as u16,
                cidr,
                subnet,
            })
            .collect();
        held.subnets.sort_by_key(|each| (each.vpc, each.cidr));
        Ok(held)
    }

    /// Entries of a map of prefixes, of these scopes.
    fn prefixes<V: Pod>(
        &self,
        name: &'static str,
        wants: impl Fn(u32) -> bool,
    ) -> Result<Vec<(u32, Ipv4Net, V)>> {
        let map = self.trie::<ScopedAddress, V>(name)?;
        let mut entries = Vec::new();
        for key in map.keys() {
            let key = key.map_err(Error::map(name))?;
            let Some(scope) = self
                .side
                .scope(key.data().scope)
                .filter(|&scope| wants(scope))
            else {
                continue;
            };
            let bits = key.prefix_len().saturating_sub(ScopedAddress::SCOPE_BITS);
            let Ok(net) = Ipv4Net::new(key.data().address.into(), bits as u8) else {
                continue;
            };
            // One that is gone by now was of the other side.
            if let Ok(value) = map.get(&key, 0) {
                entries.push((scope, net, value));
            }
        }
        Ok(entries)
    }

    fn trie<K: Pod, V: Pod>(&self, name: &'static str) -> Result<LpmTrie<MapData, K, V>> {
        LpmTrie::try_from(Map::LpmTrie(self.pins.open(name)?)).map_err(Error::map(name))
    }

    fn entries<V: Pod>(&self, name: &'static str) -> Result<HashMap<MapData, ScopedAddress, V>> {
        self.pins.hash_map(name)
    }

    /// The routes of all tables, or of one.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn routes(&self, table: Option<u32>) -> Result<Vec<HeldRoute>> {
        let wants = |scope| match table {
            Some(table) => scope == table,
            // Nor the policies of gateway endpoints.
            None => scope != ALL_VPCS && scope & Gateway::policy_table(0) == 0,
        };
        let mut routes: Vec<_> = self
            .prefixes::<Route>(names::ROUTES, wants)?
            .into_iter()
            .map(|(table, destination, route)| HeldRoute {
                table,
                destination,
                target: route.target(),
            })
            .collect();
        routes.sort_by_key(|route| (route.table, route.destination));
        Ok(routes)
    }

    /// The longest match in a table.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn route(&self, table: u32, destination: Ipv4Addr) -> Result<Option<HeldRoute>> {
        Ok(longest(&self.routes(Some(table))?, destination))
    }

    /// The listed instances, and the addresses of endpoints and load balancers.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn instances(&self) -> Result<Vec<HeldInstance>> {
        let map = self.entries::<Instance>(names::INSTANCES)?;
        let mut instances = Vec::new();
        for entry in map.iter() {
            let (key, instance) = entry.map_err(Error::map(names::INSTANCES))?;
            if let Some(vpc) = self.side.scope(key.scope) {
                instances.push(HeldInstance {
                    vpc: vpc as u16,
                    private: key.address.into(),
                    instance,
                });
            }
        }
        instances.sort_by_key(|each| (each.vpc, each.private));
        Ok(instances)
    }

    /// NAT gateways, and those of endpoints and load balancers, by number.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn gateways(&self) -> Result<Vec<(u32, Gateway)>> {
        let mut gateways = Vec::new();
        self.each(names::GATEWAYS, |place: &u32, gateway: &Gateway| {
            if let Some(number) = self.side.gateway_at(*place)
                && number < SERVICES
                && *gateway != Gateway::default()
            {
                gateways.push((number, *gateway));
            }
        })?;
        Ok(gateways)
    }

    /// What endpoints and load balancers offer, by gateway, protocol and port. Not what goes to proxies.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn listeners(&self) -> Result<Vec<(ListenerKey, Listener)>> {
        let mut listeners = Vec::new();
        self.each(
            names::LISTENERS,
            |key: &ListenerKey, listener: &Listener| {
                if let Some(gateway) = self.side.scope(key.gateway)
                    && gateway & ListenerKey::diversion(0) == 0
                {
                    listeners.push((ListenerKey { gateway, ..*key }, *listener));
                }
            },
        )?;
        listeners.sort_by_key(|(key, _)| (key.gateway, key.protocol, key.port.get()));
        Ok(listeners)
    }

    /// The targets of target groups, by number.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn target_tables(&self) -> Result<BTreeMap<u32, TargetTable>> {
        let mut tables = BTreeMap::new();
        self.each(names::TARGET_TABLES, |number: &u32, table: &TargetTable| {
            if let Some(number) = self.side.scope(*number) {
                tables.insert(number, *table);
            }
        })?;
        Ok(tables)
    }

    fn each<K: Pod, V: Pod>(&self, name: &'static str, visit: impl FnMut(&K, &V)) -> Result<()> {
        bpf_batch::for_each(&self.pins.open(name)?, visit)
            .map_err(Error::io(format!("reading the map {name}")))
    }

    /// The listed instance with a private IP, or the endpoint.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn instance(&self, vpc: u16, private: Ipv4Addr) -> Result<Option<Instance>> {
        self.find(names::INSTANCES, u32::from(vpc), private)
    }

    /// What a public IP of ours is for.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn public_address(&self, address: Ipv4Addr) -> Result<Option<PublicAddress>> {
        self.find(names::PUBLIC_ADDRESSES, 0, address)
    }

    fn find<V: Pod>(&self, name: &'static str, scope: u32, address: Ipv4Addr) -> Result<Option<V>> {
        let key = ScopedAddress {
            scope: self.side.sided(scope),
            address: address.into(),
        };
        match self.entries::<V>(name)?.get(&key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(aya::maps::MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(Error::map(name)(error)),
        }
    }

    /// Security groups and network ACLs.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn rules(&self) -> Result<HeldRules> {
        Ok(HeldRules {
            side: self.side,
            rulesets: self.trie(names::RULESETS)?,
            groups: self.pins.hash_map(names::GROUP_RULES)?,
            ports: self.trie(names::PORT_RULES)?,
        })
    }

    /// The subnet of this number.
    pub fn subnet(&self, number: u32) -> Option<&HeldSubnet> {
        self.subnets
            .iter()
            .find(|each| each.subnet.number == number)
    }

    /// The subnet that an address of a VPC is in.
    pub fn subnet_of(&self, vpc: u16, address: Ipv4Addr) -> Option<&HeldSubnet> {
        self.subnets
            .iter()
            .find(|each| each.vpc == vpc && each.cidr.contains(&address))
    }

    /// The name of a VPC.
    pub fn vpc(&self, number: u16) -> String {
        self.names.get(NameKey::VPC, u32::from(number))
    }

    /// The VPC has an internet gateway.
    pub fn has_internet_gateway(&self, vpc: u16) -> bool {
        self.names
            .of_kind(NameKey::INTERNET_GATEWAY)
            .any(|(number, _)| number == u32::from(vpc))
    }

    /// The name of what belongs to a VPC, without that one's.
    pub fn name(&self, kind: u32, number: u32) -> String {
        let full = self.names.get(kind, number);
        match full.split_once('/') {
            Some((_vpc, name)) => name.to_owned(),
            None => full,
        }
    }

    /// As [`Names::gateway`].
    pub fn gateway(&self, number: u32) -> String {
        self.names.gateway(number)
    }

    /// The names of a set of security groups.
    pub fn groups(&self, set: u32) -> Vec<String> {
        if set == 0 {
            return Vec::new();
        }
        let names = self.name(NameKey::GROUP_SET, set);
        names.split(',').map(str::to_owned).collect()
    }

    /// The name of an interface.
    pub fn interface(&self, index: u32) -> String {
        self.names.get(NameKey::INTERFACE, index)
    }

    /// A target as the configuration has it; instances by their addresses.
    pub fn target(&self, target: Target) -> String {
        match target {
            Target::Local => "local".to_owned(),
            Target::InternetGateway => "internet-gateway".to_owned(),
            Target::NatGateway(number) => {
                let name = self.name(NameKey::GATEWAY, number);
                match Owner::of(&name) {
                    Owner::NatGateway(name) => format!("nat-gateway:{name}"),
                    // It says itself what it is.
                    _ => name,
                }
            }
            Target::Instance(address) => format!("instance:{}", Ipv4Addr::from(address)),
            Target::Blackhole | Target::Gone => "blackhole".to_owned(),
        }
    }
}

/// The longest match among routes of one table.
pub fn longest(routes: &[HeldRoute], destination: Ipv4Addr) -> Option<HeldRoute> {
    routes
        .iter()
        .filter(|route| route.destination.contains(&destination))
        .max_by_key(|route| route.destination.prefix_len())
        .copied()
}

/// Why a route that leads nowhere does not.
pub const fn why_nowhere(target: Target) -> Option<&'static str> {
    match target {
        Target::Blackhole => Some("configured"),
        Target::Gone => Some("what it led to is gone"),
        _ => None,
    }
}

/// A MAC address as it is written; `None` for one that is not known.
pub fn mac(mac: [u8; 6]) -> Option<String> {
    let text: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    (mac != [0; 6]).then(|| text.join(":"))
}

/// Security groups and network ACLs, asked as the dataplane asks them.
pub struct HeldRules {
    side: Side,
    rulesets: LpmTrie<MapData, ScopedAddress, u32>,
    groups: HashMap<MapData, GroupKey, u32>,
    ports: LpmTrie<MapData, PortKey, Judgement>,
}

impl Rules for HeldRules {
    fn class_of_address(&self, ruleset: u32, remote: Address) -> Option<u32> {
        let key = ScopedAddress {
            scope: self.side.sided(ruleset),
            address: remote,
        };
        let key = Key::new(ScopedAddress::FULL_BITS, key);
        self.rulesets.get(&key, 0).ok()
    }

    fn class_of_groups(&self, ruleset: u32, set: u32) -> Option<u32> {
        let ruleset = self.side.sided(ruleset);
        self.groups.get(&GroupKey { ruleset, set }, 0).ok()
    }

    fn judgement(&self, class: u32, protocol: u8, port: u16) -> Option<Judgement> {
        let key = PortKey::new(self.side.sided(class), protocol, port);
        self.ports.get(&Key::new(PortKey::FULL_BITS, key), 0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let route = |destination: &str, target| HeldRoute {
            table: 1,
            destination: destination.parse().unwrap(),
            target,
        };
        let routes = [
            route("0.0.0.0/0", Target::InternetGateway),
            route("10.0.0.0/8", Target::Local),
            route("10.1.0.0/16", Target::Gone),
        ];
        let of = |address: [u8; 4]| longest(&routes, address.into()).unwrap().target;
        assert_eq!(of([10, 1, 2, 3]), Target::Gone);
        assert_eq!(of([10, 2, 2, 3]), Target::Local);
        assert_eq!(of([8, 8, 8, 8]), Target::InternetGateway);
        assert!(longest(&routes[1..], [8, 8, 8, 8].into()).is_none());
    }

    #[test]
    fn a_mac_address_that_nobody_gave_is_none() {
        assert_eq!(mac([0; 6]), None);
        assert_eq!(mac([2, 0, 0, 0, 0, 10]).unwrap(), "02:00:00:00:00:0a");
    }
}
