//! Endpoints and load balancers as the dataplane holds them: where they are, what they offer, and who serves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use nat_common::{
    address::Port,
    flow::protocol,
    map_types::{
        Gateway, Instance, Listener, ListenerKey, NameKey, SERVICES_VPC, TARGET_SLOTS, TargetTable,
    },
};
use serde::Serialize;

use crate::{
    error::Result,
    held::{Held, HeldInstance, HeldRoute},
    pins::Pins,
    session_table::SessionTable,
};

/// An endpoint or a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointRecord {
    /// Its VPC.
    pub vpc: String,
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EndpointType,
    /// `available`, or `unavailable` when nothing is offered at it.
    pub state: &'static str,
    /// Its own addresses; none of a gateway endpoint.
    pub addresses: Vec<AddressRecord>,
    /// What is offered at them.
    pub offers: Vec<Offer>,
    /// What leads to a gateway endpoint.
    pub routes: Vec<WayRecord>,
    /// Sessions by it.
    pub sessions: usize,
}

/// What has a gateway of its own that is no NAT gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointType {
    /// Routes lead to it.
    Gateway,
    /// It has addresses of its own.
    Interface,
    /// It has one, for instances of its VPC.
    LoadBalancer,
}

impl EndpointType {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Interface => "interface",
            Self::LoadBalancer => "load-balancer",
        }
    }
}

/// An address of an endpoint or load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// The subnet it is in.
    pub subnet: Option<String>,
    /// The security groups that it is behind; none: it is not filtered.
    pub security_groups: Vec<String>,
}

/// What is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// `tcp` or `udp`; nothing where it is every protocol.
    pub protocol: Option<&'static str>,
    /// The port; nothing where it is every port.
    pub port: Option<u16>,
    /// The one address that serves it, unless a target group does.
    pub address: Option<Ipv4Addr>,
    /// The NAT gateway that packets to that address go by; nothing: they keep their source.
    pub nat_gateway: Option<String>,
    /// The VPC of the target group.
    pub target_vpc: Option<String>,
    /// The target group that serves it.
    pub target_group: Option<String>,
    /// Its targets.
    pub targets: Vec<TargetRecord>,
}

/// A target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TargetRecord {
    /// Its private IP.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Whether it gets flows.
    pub state: TargetState,
}

/// How a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// It gets new flows.
    Active,
    /// It is registered, and gets none.
    Unhealthy,
    /// It was deregistered, and serves the flows it has for some time yet.
    Draining,
}

impl TargetState {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        }
    }
}

/// What leads to a gateway endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WayRecord {
    /// The route table.
    pub route_table: String,
    /// What it leads there.
    pub destination: String,
}

/// Whose gateway has such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A NAT gateway's of this name.
    NatGateway(&'a str),
    /// An endpoint's.
    Endpoint(&'a str),
    /// A load balancer's.
    LoadBalancer(&'a str),
    /// That of a subnet's router, which asks whether proxies there are well.
    Router(&'a str),
}

impl<'a> Owner<'a> {
    /// Of a gateway's name, with or without its VPC.
    pub fn of(name: &'a str) -> Self {
        let name = name.split_once('/').map_or(name, |(_vpc, name)| name);
        match name.split_once(':') {
            Some(("endpoint", name)) => Self::Endpoint(name),
            Some(("load-balancer", name)) => Self::LoadBalancer(name),
            Some(("router", name)) => Self::Router(name),
            _ => Self::NatGateway(name),
        }
    }

    /// It is a NAT gateway's.
    pub const fn is_nat_gateway(self) -> bool {
        matches!(self, Self::NatGateway(_))
    }
}

/// The targets of a table, with how each is.
pub fn targets(table: &TargetTable) -> Vec<TargetRecord> {
    let taking: BTreeSet<u8> = table.slots.iter().copied().collect();
    let places = (0u8..).zip(&table.targets);
    let places = places.filter(|(_, target)| target.port != Port::NONE);
    places
        .map(|(place, target)| TargetRecord {
            address: target.address.into(),
            port: target.port.get(),
            state: if target.is_draining != 0 {
                TargetState::Draining
            } else if taking.contains(&place) {
                TargetState::Active
            } else {
                TargetState::Unhealthy
            },
        })
        .collect()
}

/// How many slots each target of a table has, by its place.
pub fn slots(table: &TargetTable) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    for place in table.slots {
        *counts.entry(place).or_default() += 1;
    }
    counts.remove(&TargetTable::NOBODY);
    debug_assert!(counts.values().sum::<usize>() <= TARGET_SLOTS);
    counts
}

/// Reads them all, by VPC, type and name.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<EndpointRecord>> {
    let held = Held::read(pins)?;
    let gateways = held.gateways()?;
    let parts = Parts {
        addresses: by_gateway(held.instances()?),
        listeners: held.listeners()?,
        tables: held.target_tables()?,
        routes: held.routes(None)?,
        sessions: sessions(pins)?,
        held,
    };
    let mut records: Vec<_> = gateways
        .iter()
        .filter_map(|(number, gateway)| parts.record(*number, gateway))
        .collect();
    records.sort_by(|a, b| (&a.vpc, a.kind, &a.name).cmp(&(&b.vpc, b.kind, &b.name)));
    Ok(records)
}

/// The addresses of endpoints, by their gateways.
fn by_gateway(instances: Vec<HeldInstance>) -> BTreeMap<u32, Vec<HeldInstance>> {
    let mut addresses: BTreeMap<u32, Vec<HeldInstance>> = BTreeMap::new();
    let endpoints = instances.into_iter();
    for each in endpoints.filter(|each| each.instance.is(Instance::IS_ENDPOINT)) {
        addresses
            .entry(each.instance.gateway)
            .or_default()
            .push(each);
    }
    addresses
}

/// Sessions by gateway, and by VPC and whom they are to.
#[derive(Default)]
struct Sessions {
    by_gateway: BTreeMap<u32, usize>,
    by_destination: BTreeMap<(u32, u16, Ipv4Addr), usize>,
}

fn sessions(pins: &Pins) -> Result<Sessions> {
    let mut counts = Sessions::default();
    SessionTable::open(pins)?.for_each(|key, session| {
        // What checks targets is nobody's who uses them.
        if key.is_forward() && key.vpc() != SERVICES_VPC {
            let gateway = u32::from(session.owner());
            let to = (gateway, key.vpc(), key.flow().destination.into());
            *counts.by_gateway.entry(gateway).or_default() += 1;
            *counts.by_destination.entry(to).or_default() += 1;
        }
    });
    Ok(counts)
}

/// All that records are made of.
struct Parts<'a> {
    held: Held<'a>,
    addresses: BTreeMap<u32, Vec<HeldInstance>>,
    listeners: Vec<(ListenerKey, Listener)>,
    tables: BTreeMap<u32, TargetTable>,
    routes: Vec<HeldRoute>,
    sessions: Sessions,
}

impl Parts<'_> {
    fn record(&self, number: u32, gateway: &Gateway) -> Option<EndpointRecord> {
        let full = self.held.names.get(NameKey::GATEWAY, number);
        let addresses = self.addresses.get(&number).map(Vec::as_slice);
        let addresses = addresses.unwrap_or_default();
        let (kind, name) = match Owner::of(&full) {
            Owner::NatGateway(_) | Owner::Router(_) => return None,
            Owner::LoadBalancer(name) => (EndpointType::LoadBalancer, name),
            // One for an address may keep the source, too, and has addresses itself.
            Owner::Endpoint(name) if addresses.is_empty() && gateway.is(Gateway::KEEPS_SOURCE) => {
                (EndpointType::Gateway, name)
            }
            Owner::Endpoint(name) => (EndpointType::Interface, name),
        };
        let its = || {
            let listeners = self.listeners.iter();
            listeners.filter(move |(key, _)| key.gateway == number)
        };
        let is_available = kind == EndpointType::Gateway || its().next().is_some();
        // Those that go by a NAT gateway count as that one's.
        let carriers: BTreeSet<u32> = its()
            .map(|(_, listener)| listener.gateway)
            .filter(|carrier| *carrier != number)
            .collect();
        let carried = carriers.into_iter().flat_map(|carrier| {
            let to = addresses.iter();
            to.map(move |each| (carrier, each.vpc, each.private))
        });
        let counts = &self.sessions;
        let carried = carried.filter_map(|to| counts.by_destination.get(&to));
        let own = counts.by_gateway.get(&number).copied().unwrap_or(0);
        Some(EndpointRecord {
            vpc: self.held.names.get(NameKey::VPC, gateway.vpc),
            name: name.to_owned(),
            kind,
            state: if is_available {
                "available"
            } else {
                "unavailable"
            },
            addresses: addresses.iter().map(|each| self.address(each)).collect(),
            offers: its()
                .map(|(key, listener)| self.offer(key, listener))
                .collect(),
            routes: match kind {
                EndpointType::Gateway => self.ways(number),
                _ => Vec::new(),
            },
            sessions: own + carried.sum::<usize>(),
        })
    }

    fn address(&self, each: &HeldInstance) -> AddressRecord {
        let held = &self.held;
        let subnet = held.subnet_of(each.vpc, each.private);
        AddressRecord {
            address: each.private,
            subnet: subnet.map(|each| held.name(NameKey::SUBNET, each.subnet.number)),
            security_groups: held.groups(each.instance.groups),
        }
    }

    fn offer(&self, key: &ListenerKey, listener: &Listener) -> Offer {
        let held = &self.held;
        let mut offer = Offer {
            protocol: (key.protocol != 0).then(|| protocol::name(key.protocol)),
            port: (key.port != Port::NONE).then(|| key.port.get()),
            address: None,
            nat_gateway: None,
            target_vpc: None,
            target_group: None,
            targets: Vec::new(),
        };
        if listener.address.is_unspecified() {
            let table = self.tables.get(&listener.table);
            offer.target_vpc = Some(held.names.get(NameKey::VPC, listener.vpc));
            offer.target_group = Some(held.name(NameKey::TARGET_GROUP, listener.table));
            offer.targets = table.map(targets).unwrap_or_default();
        } else {
            let is_carried = listener.gateway != key.gateway;
            offer.address = Some(listener.address.into());
            offer.nat_gateway = is_carried.then(|| held.gateway(listener.gateway));
        }
        offer
    }

    fn ways(&self, number: u32) -> Vec<WayRecord> {
        let routes = self.routes.iter();
        let routes = routes
            .filter(|route| route.target == nat_common::map_types::Target::NatGateway(number));
        routes
            .map(|route| WayRecord {
                route_table: self.held.name(NameKey::ROUTE_TABLE, route.table),
                destination: route.destination.to_string(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use nat_common::{address::Address, map_types::BalancedTarget};

    use super::*;
    use crate::policy::{endpoint_name, load_balancer_name, router_name};

    #[test]
    fn names_of_gateways_tell_whose_they_are() {
        let (endpoint, balancer) = (
            endpoint_name("main", "db"),
            load_balancer_name("main", "db"),
        );
        assert_eq!(Owner::of(&endpoint), Owner::Endpoint("db"));
        assert_eq!(Owner::of("endpoint:db"), Owner::Endpoint("db"));
        assert_eq!(Owner::of(&balancer), Owner::LoadBalancer("db"));
        let router = router_name("main", "private");
        assert_eq!(Owner::of(&router), Owner::Router("private"));
        assert_eq!(Owner::of("main/endpoint"), Owner::NatGateway("endpoint"));
        assert!(Owner::of("main/egress").is_nat_gateway());
    }

    #[test]
    fn a_target_is_active_when_it_has_slots() {
        let mut table = TargetTable::default();
        for (place, last) in [(0, 1), (1, 2), (3, 4)] {
            table.targets[place] = BalancedTarget {
                address: Address::from_wire([10, 0, 0, last]),
                port: Port::new(80),
                is_draining: 0,
            };
        }
        table.targets[3].is_draining = 1;
        table.slots[7] = 1;
        table.slots[8] = 1;
        let states: Vec<_> = targets(&table)
            .iter()
            .map(|target| (target.address.octets()[3], target.state))
            .collect();
        assert_eq!(
            states,
            [
                (1, TargetState::Unhealthy),
                (2, TargetState::Active),
                (4, TargetState::Draining)
            ]
        );
        assert_eq!(slots(&table), BTreeMap::from([(1, 2)]));
        assert!(targets(&TargetTable::default()).is_empty());
    }
}
