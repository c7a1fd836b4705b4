//! VPCs as entries of the tables: subnets, routes, instances.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nat_common::{
    address::Address,
    map_types::{
        self, ALL_VPCS, ApplianceKey, Instance, Interface, Name, NameKey, PublicAddress, PublicUse,
        Route, SERVICES_VPC, ScopedAddress, Settings, Subnet,
    },
};

use super::{
    Compiler, Map, PrefixKey, endpoints::endpoint_name, filtering::GroupSets, prefix, too_many,
};
use crate::{
    attach::Attached,
    config::{self, Target, Vpc},
    error::{Error, Result},
};

impl Compiler<'_, '_> {
    pub(super) fn vpc(&mut self, vpc: &Vpc, sets: &GroupSets<'_>) -> Result<()> {
        let number = self.number(NameKey::VPC, &vpc.name, 1);
        if number >= u32::from(SERVICES_VPC) {
            let most = usize::from(SERVICES_VPC) - 1;
            return Err(too_many("VPCs", number as usize, most));
        }
        if vpc.internet_gateway {
            let key = NameKey {
                kind: NameKey::INTERNET_GATEWAY,
                number,
            };
            self.tables.names.insert(key, Name::new(&vpc.name));
        }
        for cidr in &vpc.cidrs {
            self.route(ALL_VPCS, *cidr, map_types::Target::Local);
        }
        for gateway in &vpc.nat_gateways {
            self.gateway(vpc, number, gateway)?;
        }
        let instances: Map<&str, &config::Instance> = vpc
            .instances
            .iter()
            .map(|instance| (instance.name.as_str(), instance))
            .collect();
        let mut tables = Map::default();
        let mut interfaces = Map::default();
        for subnet in &vpc.subnets {
            // Subnets of one table share it; a subnet without one has a table with `local` alone.
            let table = vpc.route_table_of(subnet);
            let name = table.map_or("(main)", |table| table.name.as_str());
            let table_number = match tables.get(name) {
                Some(number) => *number,
                None => {
                    let number = self.route_table(vpc, table, name, &instances);
                    tables.insert(name, number);
                    number
                }
            };
            let interface = self.subnet(vpc, number, subnet, table_number)?;
            interfaces.insert(subnet.name.as_str(), interface);
        }
        if vpc.subnets.len() > 1 {
            self.tables.settings.flags |= Settings::LOCAL;
        }
        for instance in &vpc.instances {
            if let Some(&interface) = interfaces.get(instance.subnet.as_str()) {
                let groups = sets.get(instance.security_groups.as_slice());
                self.instance(number, instance, interface, groups.copied());
            }
        }
        let tracks = vpc
            .instances
            .iter()
            .any(|instance| !instance.security_groups.is_empty());
        let has_services = self.services().is_some();
        let resolver = vpc.resolver().filter(|_| has_services);
        let resolver = resolver.map_or(Address::UNSPECIFIED, Address::from);
        for index in interfaces.values() {
            if let Some(interface) = self.tables.interfaces.get_mut(index) {
                interface.set(Interface::HAS_INSTANCES, !vpc.instances.is_empty());
                interface.set(Interface::STRICT, vpc.strict);
                interface.set(Interface::TRACKS, tracks);
                interface.set(Interface::SERVED, has_services && self.metadata);
                interface.resolver = resolver;
            }
        }
        Ok(())
    }

    fn route_table(
        &mut self,
        vpc: &Vpc,
        table: Option<&config::RouteTable>,
        name: &str,
        instances: &Map<&str, &config::Instance>,
    ) -> u32 {
        let number = self.number(NameKey::ROUTE_TABLE, &format!("{}/{name}", vpc.name), 1);
        for cidr in &vpc.cidrs {
            self.route(number, *cidr, map_types::Target::Local);
        }
        // Many routes have the same few targets.
        let mut known: Map<&Target, map_types::Target> = Map::default();
        for (destination, target) in table.into_iter().flat_map(|table| table.entries(vpc)) {
            let compiled = match known.get(target) {
                Some(compiled) => *compiled,
                None => {
                    let compiled = self.target(vpc, target, instances);
                    known.insert(target, compiled);
                    compiled
                }
            };
            self.route(number, destination, compiled);
        }
        number
    }

    fn target(
        &mut self,
        vpc: &Vpc,
        target: &Target,
        instances: &Map<&str, &config::Instance>,
    ) -> map_types::Target {
        match target {
            Target::Local => map_types::Target::Local,
            Target::InternetGateway => map_types::Target::InternetGateway,
            Target::Blackhole => map_types::Target::Blackhole,
            Target::Endpoint(name) => {
                if !vpc.endpoints.iter().any(|endpoint| endpoint.name == *name) {
                    return map_types::Target::Gone;
                }
                let name = endpoint_name(&vpc.name, name);
                map_types::Target::NatGateway(self.number(NameKey::GATEWAY, &name, 0))
            }
            Target::NatGateway(name) => {
                if !vpc.nat_gateways.iter().any(|gateway| gateway.name == *name) {
                    return map_types::Target::Gone;
                }
                let name = format!("{}/{name}", vpc.name);
                map_types::Target::NatGateway(self.number(NameKey::GATEWAY, &name, 0))
            }
            Target::Instance(name) => match instances.get(name.as_str()) {
                Some(instance) => map_types::Target::Instance(instance.private_ip.into()),
                None => map_types::Target::Gone,
            },
        }
    }

    fn route(&mut self, table: u32, destination: Ipv4Net, target: map_types::Target) {
        self.routes
            .push((prefix(table, destination), Route::to(target)));
    }

    /// A subnet, to be found from either side; the index of its interface.
    fn subnet(
        &mut self,
        vpc: &Vpc,
        vpc_number: u32,
        subnet: &config::Subnet,
        route_table: u32,
    ) -> Result<u32> {
        let attached = self.interface(&subnet.interface)?;
        let index = attached.interface.index;
        let router = router(subnet.cidr);
        let mut flags = 0;
        for own in attached.interface.addresses.iter().map(Ipv4Net::addr) {
            if own == router {
                flags |= Subnet::HOST_IS_ROUTER;
            }
            if subnet.cidr.contains(&own) {
                flags |= Subnet::HOST_IS_IN_IT;
            }
        }
        let number = self.number(NameKey::SUBNET, &format!("{}/{}", vpc.name, subnet.name), 1);
        let acl = vpc.acl_of(subnet).map_or(0, |acl| {
            self.number(NameKey::ACL, &format!("{}/{}", vpc.name, acl.name), 1)
        });
        let entry = Subnet {
            number,
            route_table,
            interface: index,
            acl,
            router: router.into(),
            flags,
        };
        let of_vpc = ScopedAddress::subnets_of_vpc(vpc_number);
        for scope in [index, of_vpc] {
            self.tables
                .subnets
                .insert(prefix(scope, subnet.cidr), entry);
        }
        if let Some(interface) = self.tables.interfaces.get_mut(&index) {
            interface.flags |= Interface::INSIDE;
            interface.vpc = vpc_number as u16;
        }
        Ok(index)
    }

    /// `groups` is the number of its set of groups.
    fn instance(
        &mut self,
        number: u32,
        instance: &config::Instance,
        interface: u32,
        groups: Option<u32>,
    ) {
        let private = Address::from(instance.private_ip);
        if groups.is_some() {
            self.tables.settings.flags |= Settings::TRACKS;
        }
        let groups = groups.unwrap_or(0);
        if let Some(public) = instance.public_ip {
            self.tables.public_addresses.insert(
                public.into(),
                PublicAddress::new(PublicUse::Elastic(private), number, false),
            );
            if groups == 0 {
                self.tables.settings.flags |= Settings::ONE_TO_ONE;
            }
        }
        let mac = instance.mac.unwrap_or_default();
        if instance.mac.is_some() {
            self.tables.settings.flags |= Settings::STATIONS;
        }
        let mut flags = 0;
        if !instance.source_dest_check {
            flags |= Instance::IS_APPLIANCE;
            let key = ApplianceKey {
                interface,
                mac,
                reserved: 0,
            };
            self.tables.appliances.insert(key, private);
            if let Some(interface) = self.tables.interfaces.get_mut(&interface) {
                interface.flags |= Interface::HAS_APPLIANCES;
            }
        }
        let key = ScopedAddress {
            scope: number,
            address: private,
        };
        let entry = Instance {
            public: instance
                .public_ip
                .map_or(Address::UNSPECIFIED, Address::from),
            interface,
            groups,
            mac,
            flags,
            gateway: 0,
        };
        self.tables.instances.insert(key, entry);
    }

    fn interface(&self, name: &str) -> Result<&Attached> {
        self.facts
            .attached
            .iter()
            .find(|each| each.interface.name == name)
            .ok_or_else(|| Error::NoInterface(name.to_owned()))
    }

    /// An interface with one source prefix gets it into its own entry, which saves a look-up.
    pub(super) fn one_prefix(&mut self) {
        let mut prefixes: Map<u32, Vec<PrefixKey>> = Map::default();
        for key in self.tables.subnets.keys() {
            prefixes.entry(key.0.scope).or_default().push(*key);
        }
        for (index, keys) in prefixes {
            let [(key, bits)] = keys.as_slice() else {
                continue;
            };
            let bits = bits - ScopedAddress::SCOPE_BITS;
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            if let Some(interface) = self.tables.interfaces.get_mut(&index) {
                let mask = Address::from(Ipv4Addr::from_bits(mask));
                *interface = interface.with_prefix(key.address, mask);
            }
        }
    }
}

/// The address of a subnet that is the router's: its first one behind the network's own.
pub fn router(cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(cidr.network().to_bits().saturating_add(1))
}
