//! How full the public IPs are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
};

use nat_common::{
    address::{Address, Port},
    flow::protocol,
    lifecycle::State,
    map_types::{Binding, Gateway, Lease, NameKey, SessionKey, names},
    port_pool::PortPool,
};
use serde::Serialize;

use crate::{
    bpf_batch,
    endpoints::Owner,
    error::{Error, Result},
    generation::Side,
    pins::Pins,
    session_table::SessionTable,
    sessions::Names,
};

/// Entries of the "most used" lists.
const MOST: usize = 5;

/// One public IP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortUse {
    /// The address.
    pub public_ip: Ipv4Addr,
    /// The NAT gateway that translates to it.
    pub gateway: String,
    /// Ports in its pool: for each protocol, and with port overloading for each destination.
    pub pool: u32,
    /// A port serves several destinations for different hosts (profile aws).
    pub overloads: bool,
    /// Sessions on it.
    pub sessions: usize,
    /// By protocol.
    pub protocols: Vec<ProtocolUse>,
    /// Destinations with the most ports in use.
    pub destinations: Vec<DestinationUse>,
    /// Inside hosts with the most sessions.
    pub clients: Vec<ClientUse>,
}

/// Ports of one protocol. With port overloading, a port in use still serves other destinations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtocolUse {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// Ports that serve at least one destination.
    pub in_use: usize,
    /// Ports that a forward holds, used or not.
    pub forwarded: usize,
    /// Ports that were freed and rest.
    pub resting: usize,
    /// Ports of the pool that are none of these.
    pub free: usize,
}

/// Ports towards one destination: with port overloading, what runs out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationUse {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// Remote host.
    pub destination: Ipv4Addr,
    /// Its port; 0 for ICMP.
    pub destination_port: u16,
    /// Ports in use towards it.
    pub in_use: usize,
    /// Ports left towards it.
    pub free: usize,
}

/// Sessions of one inside host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientUse {
    /// Its VPC.
    pub vpc: String,
    /// The host.
    pub client: Ipv4Addr,
    /// Its sessions.
    pub sessions: usize,
}

#[derive(Default)]
struct Tally {
    sessions: usize,
    ports: BTreeMap<u8, Ports>,
    destinations: HashMap<(u8, Ipv4Addr, u16), usize>,
    clients: HashMap<(u32, Ipv4Addr), usize>,
}

/// Ports of one protocol that are taken.
#[derive(Default)]
struct Ports {
    used: BTreeSet<u16>,
    forwarded: BTreeSet<u16>,
    resting: BTreeSet<u16>,
}

impl Ports {
    /// Ports of the pool that are not.
    fn free(&self, pool: &PortPool) -> usize {
        let mut taken: BTreeSet<u16> = self.used.union(&self.forwarded).copied().collect();
        taken.extend(&self.resting);
        let of_pool = taken.iter().filter(|port| pool.contains(Port::new(**port)));
        (pool.size() as usize).saturating_sub(of_pool.count())
    }
}

/// Every public IP of every NAT gateway.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<PortUse>> {
    let names = Names::read(pins)?;
    let mut tallies: HashMap<Ipv4Addr, Tally> = HashMap::new();
    SessionTable::open(pins)?.for_each(|key, session| {
        if key.is_forward() {
            return;
        }
        let flow = key.flow();
        let tally = tallies.entry(flow.destination.into()).or_default();
        tally.sessions += 1;
        tally
            .ports
            .entry(flow.protocol)
            .or_default()
            .used
            .insert(flow.destination_port.get());
        let remote = (flow.protocol, flow.source.into(), flow.source_port.get());
        *tally.destinations.entry(remote).or_default() += 1;
        let client = (u32::from(session.owner()), session.mapped_address().into());
        *tally.clients.entry(client).or_default() += 1;
    });
    bpf_batch::for_each::<SessionKey, Binding>(&pins.open(names::BOUND)?, |key, bound| {
        let flow = key.flow();
        let rests = Lease(bound.lease).key_and_state() == key.mark(State::Dying);
        if flow.source != Address::UNSPECIFIED || !(rests || bound.is_static()) {
            return;
        }
        let tally = tallies.entry(flow.destination.into()).or_default();
        let ports = tally.ports.entry(flow.protocol).or_default();
        let set = if rests {
            &mut ports.resting
        } else {
            &mut ports.forwarded
        };
        set.insert(flow.destination_port.get());
    })
    .map_err(Error::io("reading the bindings"))?;
    let here = Side::current(pins)?;
    let gateways = aya::maps::Array::<_, Gateway>::try_from(aya::maps::Map::Array(
        pins.open(names::GATEWAYS)?,
    ))
    .map_err(Error::map(names::GATEWAYS))?;
    let mut numbers: Vec<u32> = names
        .of_kind(NameKey::GATEWAY)
        // Endpoints and load balancers have no public IP.
        .filter(|(_, name)| Owner::of(name).is_nat_gateway())
        .map(|(number, _)| number)
        .collect();
    numbers.sort_unstable();
    let mut uses = Vec::new();
    for number in numbers {
        let gateway = gateways
            .get(&here.gateway(number), 0)
            .map_err(Error::map(names::GATEWAYS))?;
        let count = gateway.address_count as usize;
        for (address, pool) in gateway.addresses.iter().zip(&gateway.pools).take(count) {
            let address = Ipv4Addr::from(*address);
            let tally = tallies.remove(&address).unwrap_or_default();
            let overloads = !gateway.is(Gateway::ENDPOINT_INDEPENDENT);
            let names_of = (names.gateway(number), &names);
            uses.push(describe(names_of, address, pool, overloads, tally));
        }
    }
    Ok(uses)
}

fn describe(
    (gateway, names): (String, &Names),
    address: Ipv4Addr,
    pool: &PortPool,
    overloads: bool,
    mut tally: Tally,
) -> PortUse {
    let protocols: Vec<ProtocolUse> = [protocol::TCP, protocol::UDP, protocol::ICMP]
        .into_iter()
        .map(|number| {
            let ports = tally.ports.entry(number).or_default();
            ProtocolUse {
                protocol: protocol::name(number),
                in_use: ports.used.len(),
                forwarded: ports.forwarded.len(),
                resting: ports.resting.len(),
                free: ports.free(pool),
            }
        })
        .collect();
    let free_towards = |number: u8, in_use: usize| {
        let ports = tally.ports.get(&number);
        if overloads {
            let forwarded = ports.map_or(0, |ports| {
                let forwarded = ports.forwarded.iter();
                forwarded
                    .filter(|port| pool.contains(Port::new(**port)))
                    .count()
            });
            (pool.size() as usize).saturating_sub(in_use + forwarded)
        } else {
            ports.map_or(pool.size() as usize, |ports| ports.free(pool))
        }
    };
    let destinations = most(tally.destinations)
        .map(
            |((number, destination, destination_port), in_use)| DestinationUse {
                protocol: protocol::name(number),
                destination,
                destination_port,
                in_use,
                free: free_towards(number, in_use),
            },
        )
        .collect();
    let clients = most(tally.clients)
        .map(|((vpc, client), sessions)| ClientUse {
            vpc: names.get(NameKey::VPC, vpc),
            client,
            sessions,
        })
        .collect();
    PortUse {
        public_ip: address,
        gateway,
        pool: pool.size(),
        overloads,
        sessions: tally.sessions,
        protocols,
        destinations,
        clients,
    }
}

fn most<K: Ord>(counts: HashMap<K, usize>) -> impl Iterator<Item = (K, usize)> {
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sorted.into_iter().take(MOST)
}
