//! Target groups as tables of targets, and what goes to proxies: what health has a say in.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use nat_common::{
    address::{Address, Port},
    flow::protocol,
    map_types::{
        BalancedTarget, CHECKED_NET, Instance, Interface, Listener, ListenerKey, NameKey,
        RELAY_NET, SERVICES_VPC, ScopedAddress, Subnet, TargetTable,
    },
};

use super::{Compiler, Map, Tables, endpoints::router_name, network::router};
use crate::{
    balancer::slots,
    config::{HealthCheck, MAX_TARGETS, TargetGroup, Vpc},
    error::Result,
};

/// A target whose health is checked: of a target group, or of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checked {
    /// The name of its VPC.
    pub vpc: String,
    /// The name of its target group, or `proxy:` and that of the proxy.
    pub group: String,
    /// Its private IP.
    pub address: Ipv4Addr,
}

/// `VPC/GROUP/ADDRESS`
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vpc, self.group, self.address)
    }
}

/// How somebody's health is checked, from the network namespace of the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Who it is.
    pub whom: Checked,
    /// Where he is reached from there.
    pub at: SocketAddrV4,
    /// How.
    pub how: HealthCheck,
}

/// Where connections are relayed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// The targets.
    pub targets: TargetTable,
    /// Where each of them is reached from the network namespace of the services.
    pub by_way_of: Vec<(Address, SocketAddrV4)>,
}

impl Relayed {
    /// Where a connection with this hash goes, if there is a target.
    pub fn choose(&self, hash: u32) -> Option<SocketAddrV4> {
        let target = self.targets.choose(hash);
        let mut ways = self.by_way_of.iter();
        let way = ways.find(|(address, _)| *address == target.address);
        way.filter(|_| target.port != Port::NONE).map(|(_, at)| *at)
    }
}

/// How a proxy's health is known.
pub fn proxy_group(proxy: &str) -> String {
    format!("proxy:{proxy}")
}

/// Tables of slots that are kept, at most: some 10 KB each.
const MOST_KEPT: usize = 512;

/// Tables of slots, by the targets' identities.
#[derive(Clone, Debug, Default)]
pub struct Slots(HashMap<Vec<u64>, Vec<u16>>);

impl Slots {
    fn of(&mut self, targets: Vec<u64>) -> &[u16] {
        // Of targets that come and go there are many sets.
        if self.0.len() >= MOST_KEPT {
            self.0.clear();
        }
        self.0
            .entry(targets)
            .or_insert_with_key(|targets| slots::table(targets, slots::TABLE_SIZE))
    }
}

/// Numbers of listeners that are for the services alone begin here; no gateway has such a number.
const CHECKED: u32 = 1 << 29;

impl Compiler<'_, '_> {
    /// Lets the services reach somebody in a VPC, who sees them at the addresses of a gateway, and checks his
    /// health.
    fn check(&mut self, vpc: u32, whom: Checked, gateway: u32, how: &HealthCheck, port: u16) {
        if self.services().is_none() {
            return;
        }
        let number = self.number(NameKey::CHECKED, &whom.to_string(), 1);
        let at = Ipv4Addr::from_bits(CHECKED_NET | number);
        self.stand_in(u32::from(SERVICES_VPC), at, CHECKED | number, 0);
        let key = ListenerKey {
            gateway: CHECKED | number,
            ..ListenerKey::default()
        };
        let listener = Listener {
            table: 0,
            vpc,
            gateway,
            address: whom.address.into(),
        };
        self.tables.listeners.insert(key, listener);
        self.tables.checks.push(Check {
            whom,
            at: SocketAddrV4::new(at, how.port.unwrap_or(port)),
            how: how.clone(),
        });
    }

    /// The table of a target group, whose targets are checked by this gateway. Those that are unhealthy get no new
    /// flows, unless all are.
    pub(super) fn target_table(&mut self, vpc: &Vpc, group: &TargetGroup, gateway: u32) -> u32 {
        let name = format!("{}/{}", vpc.name, group.name);
        let number = self.number(NameKey::TARGET_GROUP, &name, 1);
        if self.tables.target_tables.contains_key(&number) {
            return number;
        }
        let instances = group.targets.iter().filter_map(|name| {
            let mut instances = vpc.instances.iter();
            instances.find(|instance| instance.name == *name)
        });
        let addresses: Vec<Ipv4Addr> = instances.map(|each| each.private_ip).collect();
        let is_healthy = |address: &Ipv4Addr| {
            !self.facts.unhealthy.contains(&Checked {
                vpc: vpc.name.clone(),
                group: group.name.clone(),
                address: *address,
            })
        };
        let any_healthy = addresses.iter().any(is_healthy);
        let mut table = TargetTable::default();
        let mut taking: Vec<(u8, u64)> = Vec::new();
        for (position, address) in (0..).zip(&addresses).take(MAX_TARGETS) {
            let target = BalancedTarget {
                address: Address::from(*address),
                port: Port::new(group.port),
                is_draining: 0,
            };
            table.targets[usize::from(position)] = target;
            if is_healthy(address) || !any_healthy {
                let identity = u64::from(address.to_bits()) << 16 | u64::from(group.port);
                taking.push((position, identity));
            }
        }
        let identities = taking.iter().map(|(_, identity)| *identity).collect();
        let chosen = self.numbering.slots.of(identities);
        for (slot, chosen) in table.slots.iter_mut().zip(chosen) {
            if let Some((position, _)) = taking.get(usize::from(*chosen)) {
                *slot = *position;
            }
        }
        self.tables.target_tables.insert(number, table);
        let vpc_number = self.number(NameKey::VPC, &vpc.name, 1);
        for address in &addresses {
            let whom = Checked {
                vpc: vpc.name.clone(),
                group: group.name.clone(),
                address: *address,
            };
            self.check(vpc_number, whom, gateway, &group.health_check, group.port);
        }
        let delay = group.deregistration_delay;
        self.tables.deregistration.insert(number, delay);
        number
    }

    /// Has the services relay connections to the targets of a group, each of which begins with whose it is; the
    /// address at which they get them.
    pub(super) fn relay(
        &mut self,
        vpc: &Vpc,
        group: &TargetGroup,
        table: u32,
        port: u16,
    ) -> Ipv4Addr {
        let at = SocketAddrV4::new(Ipv4Addr::from_bits(RELAY_NET | table), port);
        if self.tables.relays.contains_key(&at) {
            return *at.ip();
        }
        let is_its = |check: &&Check| check.whom.vpc == vpc.name && check.whom.group == group.name;
        let checks = self.tables.checks.iter().filter(is_its);
        let by_way_of = checks.map(|check| {
            let at = SocketAddrV4::new(*check.at.ip(), group.port);
            (Address::from(check.whom.address), at)
        });
        let relay = Relayed {
            by_way_of: by_way_of.collect(),
            targets: self
                .tables
                .target_tables
                .get(&table)
                .copied()
                .unwrap_or_default(),
        };
        self.tables.relays.insert(at, relay);
        *at.ip()
    }

    /// What leaves the subnets of a VPC for its proxies.
    pub(super) fn proxies(&mut self, vpc: &Vpc) -> Result<()> {
        for proxy in &vpc.proxies {
            let mut instances = vpc.instances.iter();
            let Some(instance) = instances.find(|each| each.name == proxy.instance) else {
                continue;
            };
            let address = instance.private_ip;
            let whom = Checked {
                vpc: vpc.name.clone(),
                group: proxy_group(&proxy.name),
                address,
            };
            let is_down = self.facts.unhealthy.contains(&whom);
            let mut subnets = vpc.subnets.iter();
            if let Some(subnet) = subnets.find(|each| each.name == instance.subnet) {
                // It is asked by its router.
                let number = self.number(NameKey::VPC, &vpc.name, 1);
                let name = router_name(&vpc.name, &subnet.name);
                let asker = router(subnet.cidr).into();
                let gateway = self.own_gateway(&name, asker, 0, number)?;
                let check = proxy.check();
                self.check(number, whom, gateway, &check, check.port.unwrap_or(0));
            }
            if is_down && proxy.fail_open {
                continue;
            }
            let concerned =
                |name: &String| proxy.subnets.is_empty() || proxy.subnets.contains(name);
            for subnet in vpc.subnets.iter().filter(|each| concerned(&each.name)) {
                let name = format!("{}/{}", vpc.name, subnet.name);
                let number = self.number(NameKey::SUBNET, &name, 1);
                self.diverting.insert(number);
                for port in &proxy.ports {
                    let key = ListenerKey {
                        gateway: ListenerKey::diversion(number),
                        port: Port::new(*port),
                        protocol: protocol::TCP,
                        reserved: 0,
                    };
                    let listener = Listener::diversion(address.into(), is_down);
                    self.tables.listeners.insert(key, listener);
                }
            }
        }
        Ok(())
    }

    /// Says so in subnets of which something goes to a proxy.
    pub(super) fn mark_diverting(&mut self) {
        for subnet in self.tables.subnets.values_mut() {
            if self.diverting.contains(&subnet.number) {
                subnet.flags |= Subnet::DIVERTS;
            }
        }
    }

    /// Interfaces of VPCs with endpoints or load balancers have to look for them.
    pub(super) fn mark_endpoints(&mut self) {
        let endpoints: BTreeSet<u32> = self
            .tables
            .instances
            .iter()
            .filter(|(_, instance)| instance.is(Instance::IS_ENDPOINT))
            .map(|(key, _): (&ScopedAddress, _)| key.scope)
            .collect();
        // Who asks for services, or is checked by them.
        let answering: BTreeSet<u32> = self
            .tables
            .listeners
            .values()
            .map(|listener| listener.vpc)
            .collect();
        for interface in self.tables.interfaces.values_mut() {
            let vpc = u32::from(interface.vpc);
            if endpoints.contains(&vpc) {
                interface.set(Interface::HAS_INSTANCES, true);
            }
            if vpc != 0 && answering.contains(&vpc) {
                interface.set(Interface::TRACKS, true);
            }
        }
    }
}

/// The targets that were deregistered, by table, address and port, and until when they serve the flows they
/// have.
#[derive(Clone, Debug, Default)]
pub struct Leaving(HashMap<(u32, Address, u16), Instant>);

impl Leaving {
    /// Has the tables of `next` serve what they give up of what they have in `held`, for the time that the group
    /// says from `now` on, or for the rest of it.
    pub fn carry_over(&mut self, held: &Tables, next: &mut Tables, now: Instant) {
        let mut kept = HashMap::new();
        for (number, before) in &held.target_tables {
            let Some(table) = next.target_tables.get_mut(number) else {
                continue;
            };
            let delay = next.deregistration.get(number);
            let delay = delay.copied().unwrap_or(Duration::ZERO);
            for target in before.targets.iter().filter(|each| each.port != Port::NONE) {
                let key = (*number, target.address, target.port.get());
                let until = self.0.get(&key).copied().unwrap_or(now + delay);
                if until <= now || table.has(target.address, target.port) {
                    continue;
                }
                let mut places = table.targets.iter_mut();
                if let Some(place) = places.find(|each| each.port == Port::NONE) {
                    *place = BalancedTarget {
                        is_draining: 1,
                        ..*target
                    };
                    kept.insert(key, until);
                }
            }
        }
        self.0 = kept;
    }

    /// Some of it is over.
    pub fn are_due(&self, now: Instant) -> bool {
        self.0.values().any(|until| *until <= now)
    }
}

/// Without the targets that were deregistered.
pub fn without_leaving(tables: &mut Map<u32, TargetTable>) {
    for table in tables.values_mut() {
        for target in &mut table.targets {
            if target.is_draining != 0 {
                *target = BalancedTarget::default();
            }
        }
    }
}
