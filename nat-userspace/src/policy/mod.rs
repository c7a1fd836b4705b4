//! Compiles a configuration into the entries of the policy maps. Pure: the host's facts and the
//! numbers already given come in, the whole content of every table comes out.
//!
//! `network.rs` has subnets, routes and instances, `gateway.rs` NAT gateways, `filtering.rs` security groups
//! and network ACLs, which `rules/` classifies, `endpoints.rs` endpoints and load balancers, `balancing.rs` their
//! targets and proxies, `drain.rs` public IPs that are given up. `view.rs` asks what was compiled.
//! The largest tables are lists (`sorted.rs`).

mod balancing;
mod drain;
mod endpoints;
mod filtering;
mod gateway;
mod network;
pub mod rules;
mod services;
mod sorted;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::SocketAddrV4,
    time::Duration,
};

use ipnet::Ipv4Net;
use nat_common::{
    address::Address,
    flow::protocol,
    flow_cache,
    lifecycle::shortest_timeout,
    map_types::{
        self, ApplianceKey, Binding, Exemptions, Gateway, GroupKey, Instance, Interface, Judgement,
        Listener, ListenerKey, Name, NameKey, PortKey, PublicAddress, Route, SERVICES,
        ScopedAddress, SessionKey, Settings, Subnet, TRACKER, TargetTable,
    },
};

use self::{
    balancing::Slots,
    rules::{Interner, Rule},
};
use crate::{
    attach::{Attached, Hook},
    config::Config,
    error::{Error, Result},
};

pub use balancing::{Check, Checked, Leaving, Relayed, proxy_group};
pub use drain::{DRAIN, Drains, without_drains};
pub use endpoints::{endpoint_name, load_balancer_name, router_name};
pub use filtering::RULE_BITS;
pub use gateway::port_pool;
pub use sorted::Sorted;
pub use view::judge;

/// Key and prefix length of a longest-prefix map.
pub type PrefixKey = (ScopedAddress, u32);

/// A hash table with a cheap hash: what is in it comes from the configuration alone.
pub type Map<K, V> = rustc_hash::FxHashMap<K, V>;

/// The content of every policy map, for one side: keys say nothing of sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// By interface index.
    pub interfaces: Map<u32, Interface>,
    /// By interface index and source prefix, and by VPC and prefix.
    pub subnets: Map<PrefixKey, Subnet>,
    /// By route table and destination prefix.
    pub routes: Sorted<PrefixKey, Route>,
    /// By number.
    pub gateways: BTreeMap<u32, Gateway>,
    /// By public IP.
    pub public_addresses: Map<Address, PublicAddress>,
    /// By VPC and private IP.
    pub instances: Map<ScopedAddress, Instance>,
    /// By interface and MAC address.
    pub appliances: Map<ApplianceKey, Address>,
    /// Forwards by inside port: their public one.
    pub bindings: Map<SessionKey, Binding>,
    /// Forwards by public port: their inside one.
    pub bound: Map<SessionKey, Binding>,
    /// What endpoints and load balancers offer, and what goes to proxies.
    pub listeners: Map<ListenerKey, Listener>,
    /// By number.
    pub target_tables: Map<u32, TargetTable>,
    /// Whose health is to be checked.
    pub checks: Vec<Check>,
    /// What is relayed, by where connections to it come in.
    pub relays: BTreeMap<SocketAddrV4, Relayed>,
    /// How long a table's targets serve the flows they have when they are deregistered.
    pub deregistration: Map<u32, Duration>,
    /// What is not translated, by gateway (or all of them) and remote prefix.
    pub exemptions: Map<PrefixKey, Exemptions>,
    /// Classes of remote addresses, by ruleset and prefix.
    pub rulesets: Sorted<PrefixKey, u32>,
    /// Classes of remote instances, by ruleset and set of groups.
    pub group_rules: Map<GroupKey, u32>,
    /// What each class says about protocols and ports, by key and prefix length.
    pub port_rules: Sorted<(PortKey, u32), Judgement>,
    /// What holds for the whole node.
    pub settings: Settings,
    /// Numbers to names.
    pub names: Map<NameKey, Name>,
}

/// Gives what has a name a number that it keeps as long as it is there. Numbers of VPCs, route tables and
/// gateways are kept by a new controller, too, because sessions refer to them.
#[derive(Clone, Debug, Default)]
pub struct Numbering {
    numbers: HashMap<(u32, String), u32>,
    taken: BTreeMap<u32, BTreeSet<u32>>,
    used: HashSet<(u32, String)>,
    /// Classes of rules have numbers, too.
    interner: Interner,
    /// What was found out about targets.
    slots: Slots,
}

impl Numbering {
    /// From the names of the running dataplane.
    pub fn new(names: impl IntoIterator<Item = (NameKey, Name)>) -> Self {
        const KEPT: [u32; 4] = [
            NameKey::VPC,
            NameKey::ROUTE_TABLE,
            NameKey::GATEWAY,
            NameKey::TARGET_GROUP,
        ];
        let mut numbering = Self::default();
        for (key, name) in names {
            if KEPT.contains(&key.kind) {
                numbering.give(key.kind, name.as_str().to_owned(), key.number);
            }
        }
        numbering
    }

    fn give(&mut self, kind: u32, name: String, number: u32) {
        self.numbers.insert((kind, name), number);
        self.taken.entry(kind).or_default().insert(number);
    }

    fn number(&mut self, kind: u32, name: &str, first: u32) -> u32 {
        let key = (kind, name.to_owned());
        if let Some(&number) = self.numbers.get(&key) {
            self.used.insert(key);
            return number;
        }
        let taken = self.taken.entry(kind).or_default();
        // The one behind the last, or one that was left between others.
        let behind = taken.last().map_or(first, |last| (last + 1).max(first));
        let number = if behind - first == taken.range(first..).count() as u32 {
            behind
        } else {
            (first..behind)
                .find(|number| !taken.contains(number))
                .unwrap_or(behind)
        };
        self.used.insert(key);
        self.give(kind, name.to_owned(), number);
        number
    }

    /// What was compiled last is what holds: gives up the numbers that it does not have.
    pub fn settle(&mut self) {
        let used = std::mem::take(&mut self.used);
        let taken = &mut self.taken;
        self.numbers.retain(|key, number| {
            let keep = used.contains(key);
            if !keep && let Some(taken) = taken.get_mut(&key.0) {
                taken.remove(number);
            }
            keep
        });
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
    /// The targets and proxies that are not well.
    pub unhealthy: &'a BTreeSet<Checked>,
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
    numbering.used.clear();
    let mut compiler = Compiler {
        tables: Tables::default(),
        routes: Vec::new(),
        numbering,
        metadata: config.node.metadata,
        rulesets: Vec::new(),
        diverting: BTreeSet::new(),
        facts,
    };
    compiler.node(config)?;
    compiler.way_to_services()?;
    compiler.make_room(config);
    let sets = config.vpcs.iter().map(|vpc| compiler.group_sets(vpc));
    let sets: Vec<_> = sets.collect();
    for (vpc, sets) in config.vpcs.iter().zip(&sets) {
        compiler.vpc(vpc, sets)?;
        compiler.endpoints(config, vpc, sets)?;
        compiler.proxies(vpc)?;
    }
    compiler.mark_diverting();
    compiler.mark_endpoints();
    compiler.tables.routes = std::mem::take(&mut compiler.routes).into();
    compiler.one_prefix();
    compiler.filtering(config, &sets)?;
    let gateways = config.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways);
    let rules = gateways.flat_map(|gateway| &gateway.no_translate);
    compiler.exemptions(map_types::ALL_GATEWAYS, rules.copied())?;
    compiler.tracker();
    compiler.window();
    Ok(compiler.tables)
}

struct Compiler<'a, 'n> {
    tables: Tables,
    /// What is to be [`Tables::routes`].
    routes: Vec<(PrefixKey, Route)>,
    numbering: &'n mut Numbering,
    /// Instances are told about themselves.
    metadata: bool,
    /// Rulesets of endpoints.
    rulesets: Vec<(u32, Vec<Rule>)>,
    /// Numbers of subnets of which something goes to a proxy.
    diverting: BTreeSet<u32>,
    facts: Facts<'a>,
}

impl Compiler<'_, '_> {
    /// Tables that grow copy what they have.
    fn make_room(&mut self, config: &Config) {
        for vpc in &config.vpcs {
            let routes = vpc.route_tables.iter().map(|table| table.routes.len());
            self.routes.reserve(routes.sum());
            self.tables.instances.reserve(vpc.instances.len());
            self.tables.public_addresses.reserve(vpc.instances.len());
        }
    }

    /// The number of what has this name.
    fn number(&mut self, kind: u32, name: &str, first: u32) -> u32 {
        let number = self.numbering.number(kind, name, first);
        self.tables
            .names
            .insert(NameKey { kind, number }, Name::new(name));
        number
    }

    /// How long the flow cache may keep a packet from its session, and the timeouts to match: those of
    /// protocols whose packets it sends on.
    fn window(&mut self) {
        let tracks = self.tables.settings.is(Settings::TRACKS);
        let gateways = self.tables.gateways.iter();
        // Nothing remembers packets to the services.
        let gateways = gateways.filter(|(number, _)| match **number {
            TRACKER => tracks,
            SERVICES => false,
            _ => true,
        });
        let timeouts = gateways.map(|(_, gateway)| &gateway.timeouts);
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
            if each.interface.is_services {
                flags |= Interface::UPLINK | Interface::SERVICES;
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
}

fn prefix(scope: u32, network: Ipv4Net) -> PrefixKey {
    let key = ScopedAddress {
        scope,
        address: Address::from(network.network()),
    };
    let bits = ScopedAddress::SCOPE_BITS + u32::from(network.prefix_len());
    (key, bits)
}

fn too_many(what: &'static str, count: usize, limit: usize) -> Error {
    Error::TooMany { what, count, limit }
}
