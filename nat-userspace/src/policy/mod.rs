//! Compiles a configuration into the entries of the policy maps. Pure: the host's facts and the
//! numbers already given come in, the whole content of every table comes out. NAT gateways are in
//! `gateway.rs`.

mod gateway;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use nat_common::{
    address::Address,
    flow::protocol,
    flow_cache,
    lifecycle::shortest_timeout,
    map_types::{
        self, ALL_VPCS, Binding, Elastic, Exemptions, Gateway, Interface, Name, NameKey,
        PrivateAddress, PublicAddress, PublicUse, Route, ScopedAddress, SessionKey, Settings,
        Subnet,
    },
};

use crate::{
    attach::{Attached, Hook},
    config::{Config, Target, Vpc},
    error::{Error, Result},
};

pub use gateway::port_pool;

/// Prefix length and key of a longest-prefix map.
pub type PrefixKey = (u32, ScopedAddress);

/// The content of every policy map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// By interface index.
    pub interfaces: HashMap<u32, Interface>,
    /// By interface index and source prefix.
    pub subnets: HashMap<PrefixKey, Subnet>,
    /// By route table and destination prefix.
    pub routes: HashMap<PrefixKey, Route>,
    /// By number.
    pub gateways: BTreeMap<u32, Gateway>,
    /// By public IP.
    pub public_addresses: HashMap<Address, PublicAddress>,
    /// By VPC and private IP.
    pub elastic: HashMap<PrivateAddress, Elastic>,
    /// Forwards by inside port: their public one.
    pub bindings: HashMap<SessionKey, Binding>,
    /// Forwards by public port: their inside one.
    pub bound: HashMap<SessionKey, Binding>,
    /// What is not translated, by gateway (or all of them) and remote prefix.
    pub exemptions: HashMap<PrefixKey, Exemptions>,
    /// What holds for the whole node.
    pub settings: Settings,
    /// Numbers to names.
    pub names: HashMap<NameKey, Name>,
}

/// Gives every VPC, route table and gateway a number that it keeps as long as its name is pinned,
/// because sessions refer to it.
#[derive(Clone, Debug, Default)]
pub struct Numbering {
    known: BTreeMap<(u32, String), u32>,
}

impl Numbering {
    /// From the names of the running dataplane.
    pub fn new(names: impl IntoIterator<Item = (NameKey, Name)>) -> Self {
        let known = names
            .into_iter()
            .map(|(key, name)| ((key.kind, name.as_str().to_owned()), key.number))
            .collect();
        Self { known }
    }

    fn number(&mut self, kind: u32, name: &str, first: u32) -> u32 {
        if let Some(&number) = self.known.get(&(kind, name.to_owned())) {
            return number;
        }
        let taken: BTreeSet<u32> = self
            .known
            .iter()
            .filter(|((other, _), _)| *other == kind)
            .map(|(_, &number)| number)
            .collect();
        let number = (first..)
            .find(|number| !taken.contains(number))
            .unwrap_or(first);
        self.known.insert((kind, name.to_owned()), number);
        number
    }
}

/// What the compiler takes besides the configuration.
pub struct Facts<'a> {
    /// The interfaces with the programs on them.
    pub attached: &'a [Attached],
    /// Those where forwarding was turned on for the dataplane.
    pub forwarding_set: &'a BTreeSet<String>,
    /// Secrets of gateways that run already, by number.
    pub secrets: &'a BTreeMap<u32, [u64; 2]>,
    /// Makes the others.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Sessions end to the tick, whatever that costs: for tests.
    pub to_the_tick: bool,
    /// Of the flow cache so far: by as much the clocks of sessions may lag behind.
    pub window_shift_before: u32,
}

/// Compiles.
///
/// # Errors
///
/// More than the tables hold, or an interface that is not attached.
pub fn compile(config: &Config, numbering: &mut Numbering, facts: Facts<'_>) -> Result<Tables> {
    let mut compiler = Compiler {
        tables: Tables::default(),
        numbering,
        facts,
    };
    compiler.node(config)?;
    for vpc in &config.vpcs {
        compiler.vpc(vpc)?;
    }
    compiler.one_prefix();
    let gateways = config.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways);
    let rules = gateways.flat_map(|gateway| &gateway.no_translate);
    compiler.exemptions(map_types::ALL_GATEWAYS, rules.copied())?;
    if !compiler.tables.elastic.is_empty() {
        compiler.tables.settings.flags |= Settings::ONE_TO_ONE;
    }
    compiler.window();
    Ok(compiler.tables)
}

struct Compiler<'a, 'n> {
    tables: Tables,
    numbering: &'n mut Numbering,
    facts: Facts<'a>,
}

impl Compiler<'_, '_> {
    fn number(&mut self, kind: u32, name: &str, first: u32) -> u32 {
        let number = self.numbering.number(kind, name, first);
        self.tables
            .names
            .insert(NameKey { kind, number }, Name::new(name));
        number
    }

    fn interface_index(&self, name: &str) -> Result<u32> {
        self.facts
            .attached
            .iter()
            .find(|each| each.interface.name == name)
            .map(|each| each.interface.index)
            .ok_or_else(|| Error::NoInterface(name.to_owned()))
    }

    /// How long the flow cache may keep a packet from its session, and the timeouts to match: those of
    /// protocols whose packets it sends on.
    fn window(&mut self) {
        let gateways = self.tables.gateways.values();
        let timeouts = gateways.map(|gateway| &gateway.timeouts);
        let shortest = timeouts.flat_map(|timeouts| {
            [protocol::TCP, protocol::UDP].map(|protocol| shortest_timeout(protocol, timeouts))
        });
        let shift = if self.facts.to_the_tick {
            0
        } else {
            flow_cache::window_shift(shortest.min().unwrap_or(u32::MAX))
        };
        self.tables.settings.window_shift = shift;
        let lag = flow_cache::lag(shift.max(self.facts.window_shift_before));
        for gateway in self.tables.gateways.values_mut() {
            gateway.timeouts = gateway.timeouts.lagging(lag);
        }
    }

    fn node(&mut self, config: &Config) -> Result<()> {
        let node = NameKey {
            kind: NameKey::NODE,
            number: 0,
        };
        self.tables.names.insert(node, Name::new(&config.node.name));
        self.tables.settings.icmp_errors_per_second = config.node.icmp_errors_per_second;
        if config.node.log_destinations {
            self.tables.settings.flags |= Settings::LOG_DESTINATIONS;
        }
        for each in self.facts.attached {
            let mut flags = each.flags;
            if matches!(each.hook, Hook::Xdp | Hook::XdpGeneric) {
                flags |= Interface::XDP_TARGET;
            }
            if self.facts.forwarding_set.contains(&each.interface.name) {
                flags |= Interface::FORWARDING_SET;
            }
            if config.node.uplinks.contains(&each.interface.name) {
                flags |= Interface::UPLINK;
            }
            let index = each.interface.index;
            let address = each.interface.addresses.first();
            let address = address.map_or(Address::UNSPECIFIED, |net| net.addr().into());
            let entry = Interface::new(flags, each.interface.mac, address);
            self.tables.interfaces.insert(index, entry);
            let key = NameKey {
                kind: NameKey::INTERFACE,
                number: index,
            };
            self.tables
                .names
                .insert(key, Name::new(&each.interface.name));
        }
        Ok(())
    }

    fn vpc(&mut self, vpc: &Vpc) -> Result<()> {
        let number = self.number(NameKey::VPC, &vpc.name, 1);
        for cidr in &vpc.cidrs {
            self.route(ALL_VPCS, *cidr, map_types::Target::Local);
        }
        for gateway in &vpc.nat_gateways {
            self.gateway(vpc, number, gateway)?;
        }
        // Subnets of one table share it; a subnet without one has a table with `local` alone.
        for subnet in &vpc.subnets {
            let table = vpc.route_table_of(subnet);
            let name = table.map_or("(main)", |table| table.name.as_str());
            let table_number =
                self.number(NameKey::ROUTE_TABLE, &format!("{}/{name}", vpc.name), 1);
            for cidr in &vpc.cidrs {
                self.route(table_number, *cidr, map_types::Target::Local);
            }
            for (destination, target) in table.into_iter().flat_map(|table| table.entries(vpc)) {
                let target = self.target(vpc, target);
                self.route(table_number, destination, target);
            }
            let index = self.interface_index(&subnet.interface)?;
            if let Some(interface) = self.tables.interfaces.get_mut(&index) {
                interface.flags |= Interface::INSIDE;
                interface.vpc = number as u16;
            }
            self.sources(vpc, subnet, index, table_number);
            self.elastic_ips(vpc, number, subnet, index, table_number);
        }
        Ok(())
    }

    /// The source addresses a subnet's interface may send: all of its CIDR, or the declared
    /// instances only.
    fn sources(&mut self, vpc: &Vpc, subnet: &crate::config::Subnet, index: u32, table: u32) {
        let entry = Subnet { route_table: table };
        if vpc.strict {
            for instance in vpc
                .instances
                .iter()
                .filter(|instance| instance.subnet == subnet.name)
            {
                let key = prefix(index, Ipv4Net::from(instance.private_ip));
                self.tables.subnets.insert(key, entry);
            }
        } else {
            self.tables
                .subnets
                .insert(prefix(index, subnet.cidr), entry);
        }
    }

    /// An interface with one source prefix gets it into its own entry, which saves a look-up.
    fn one_prefix(&mut self) {
        let mut prefixes: HashMap<u32, Vec<PrefixKey>> = HashMap::new();
        for key in self.tables.subnets.keys() {
            prefixes.entry(key.1.scope).or_default().push(*key);
        }
        for (index, keys) in prefixes {
            let [(bits, key)] = keys.as_slice() else {
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

    fn elastic_ips(
        &mut self,
        vpc: &Vpc,
        number: u32,
        subnet: &crate::config::Subnet,
        index: u32,
        table: u32,
    ) {
        for instance in vpc
            .instances
            .iter()
            .filter(|instance| instance.subnet == subnet.name)
        {
            let Some(public) = instance.public_ip else {
                continue;
            };
            let (public, private) = (Address::from(public), Address::from(instance.private_ip));
            self.tables.public_addresses.insert(
                public,
                PublicAddress::new(PublicUse::Elastic(private), number, false),
            );
            self.tables.elastic.insert(
                PrivateAddress {
                    vpc: number,
                    address: private,
                },
                Elastic {
                    public,
                    interface: index,
                    route_table: table,
                },
            );
            if let Some(interface) = self.tables.interfaces.get_mut(&index) {
                interface.flags |= Interface::HAS_ELASTIC;
            }
        }
    }

    fn target(&mut self, vpc: &Vpc, target: &Target) -> map_types::Target {
        match target {
            Target::Local => map_types::Target::Local,
            Target::InternetGateway => map_types::Target::InternetGateway,
            Target::Instance(_) | Target::Blackhole => map_types::Target::Blackhole,
            Target::NatGateway(name) => {
                let name = format!("{}/{name}", vpc.name);
                map_types::Target::NatGateway(self.number(NameKey::GATEWAY, &name, 0))
            }
        }
    }

    fn route(&mut self, table: u32, destination: Ipv4Net, target: map_types::Target) {
        self.tables
            .routes
            .insert(prefix(table, destination), Route::to(target));
    }
}

fn prefix(scope: u32, network: Ipv4Net) -> PrefixKey {
    let bits = ScopedAddress::SCOPE_BITS + u32::from(network.prefix_len());
    (
        bits,
        ScopedAddress {
            scope,
            address: Address::from(network.network()),
        },
    )
}
