//! How full the public IPs are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
};

use nat_common::{
    flow::protocol,
    map_types::{Gateway, MAX_PUBLIC_IPS, NameKey, Session, SessionKey, names},
};
use serde::Serialize;

use crate::{
    bpf_batch,
    error::{Error, Result},
    pins::Pins,
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
    /// Ports in its pool, for each protocol and destination.
    pub pool: u32,
    /// Sessions on it.
    pub sessions: usize,
    /// By protocol.
    pub protocols: Vec<ProtocolUse>,
    /// Destinations with the most ports in use.
    pub destinations: Vec<DestinationUse>,
    /// Inside hosts with the most sessions.
    pub clients: Vec<ClientUse>,
}

/// Ports of one protocol. A port in use still serves other destinations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtocolUse {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// Ports that serve at least one destination.
    pub in_use: usize,
    /// Ports that serve none.
    pub free: usize,
}

/// Ports towards one destination: what runs out.
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
    ports: BTreeMap<u8, BTreeSet<u16>>,
    destinations: HashMap<(u8, Ipv4Addr, u16), usize>,
    clients: HashMap<(u32, Ipv4Addr), usize>,
}

/// Every public IP of every NAT gateway.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<PortUse>> {
    let names = Names::read(pins)?;
    let mut tallies: HashMap<Ipv4Addr, Tally> = HashMap::new();
    bpf_batch::for_each::<SessionKey, Session>(&pins.open(names::REVERSE)?, |key, session| {
        let flow = key.flow();
        let tally = tallies.entry(flow.destination.into()).or_default();
        tally.sessions += 1;
        tally
            .ports
            .entry(flow.protocol)
            .or_default()
            .insert(flow.destination_port.get());
        let remote = (flow.protocol, flow.source.into(), flow.source_port.get());
        *tally.destinations.entry(remote).or_default() += 1;
        let client = (u32::from(session.owner()), session.mapped_address().into());
        *tally.clients.entry(client).or_default() += 1;
    })
    .map_err(Error::io("reading the reverse sessions"))?;
    let gateways = aya::maps::Array::<_, Gateway>::try_from(aya::maps::Map::Array(
        pins.open(names::GATEWAYS)?,
    ))
    .map_err(Error::map(names::GATEWAYS))?;
    let mut numbers: Vec<u32> = names
        .of_kind(NameKey::GATEWAY)
        .map(|(number, _)| number)
        .collect();
    numbers.sort_unstable();
    let mut uses = Vec::new();
    for number in numbers {
        let gateway = gateways
            .get(&number, 0)
            .map_err(Error::map(names::GATEWAYS))?;
        let count = (gateway.address_count as usize).min(MAX_PUBLIC_IPS);
        for address in gateway.addresses.iter().take(count) {
            let address = Ipv4Addr::from(*address);
            let tally = tallies.remove(&address).unwrap_or_default();
            uses.push(describe(
                &names,
                number,
                address,
                gateway.pool.size(),
                tally,
            ));
        }
    }
    Ok(uses)
}

fn describe(names: &Names, number: u32, address: Ipv4Addr, pool: u32, tally: Tally) -> PortUse {
    let free = |used: usize| (pool as usize).saturating_sub(used);
    let protocols = [protocol::TCP, protocol::UDP, protocol::ICMP]
        .into_iter()
        .map(|number| {
            let in_use = tally.ports.get(&number).map_or(0, BTreeSet::len);
            ProtocolUse {
                protocol: protocol::name(number),
                in_use,
                free: free(in_use),
            }
        })
        .collect();
    let destinations = most(tally.destinations)
        .map(
            |((number, destination, destination_port), in_use)| DestinationUse {
                protocol: protocol::name(number),
                destination,
                destination_port,
                in_use,
                free: free(in_use),
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
        gateway: names.gateway(number),
        pool,
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
