//! The translation table as users see it: both halves of every session joined, numbers turned into
//! names. Reads the pinned maps only.

use std::{collections::HashMap, net::Ipv4Addr};

use nat_common::{
    address::Address,
    clock::{Tick, duration, elapsed},
    flow::protocol,
    lifecycle,
    map_types::{Name, NameKey, SERVICES, Session, SessionKey, TRACKER, names},
    sessions::reverse_key,
    tcp_state,
};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    expiry,
    flow_cache::Pending,
    pins::Pins,
    session_table::SessionTable,
};

/// One session, in the fields of the CLI contract. Outward is from inside to outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionRecord {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// VPC of the inside host.
    pub vpc: String,
    /// Inside host.
    pub source: Ipv4Addr,
    /// Its port, or ICMP identifier.
    pub source_port: u16,
    /// Remote host.
    pub destination: Ipv4Addr,
    /// Its port; 0 for ICMP.
    pub destination_port: u16,
    /// Public IP the remote host sees.
    pub translated: Ipv4Addr,
    /// The port, or ICMP identifier, it sees.
    pub translated_port: u16,
    /// NAT gateway, endpoint or load balancer.
    pub gateway: String,
    /// Whom a load balancer has chosen to get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Ipv4Addr>,
    /// And the port there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// TCP: opening, established, half-closed, closing, reset; else one-way or two-way.
    pub state: &'static str,
    /// Since it was made.
    pub age_seconds: u64,
    /// Since its last packet.
    pub idle_seconds: u64,
    /// Packets outward.
    pub packets_out: u64,
    /// Bytes outward, from the IP header on.
    pub bytes_out: u64,
    /// Packets inward.
    pub packets_in: u64,
    /// Bytes inward, from the IP header on.
    pub bytes_in: u64,
}

/// What the way to the node's services is called; no gateway's name is.
pub const SERVICES_NAME: &str = "(services)";

/// Names by kind and number.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<NameKey, Name>);

impl Names {
    /// Of the running dataplane.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn read(pins: &Pins) -> Result<Self> {
        let map = pins.hash_map::<NameKey, Name>(names::NAMES)?;
        map.iter()
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(Error::map(names::NAMES))
    }

    /// The name, or `#number` when it has none.
    pub fn get(&self, kind: u32, number: u32) -> String {
        match self.0.get(&NameKey { kind, number }) {
            Some(name) => name.as_str().to_owned(),
            None => format!("#{number}"),
        }
    }

    /// The gateway's own name, without its VPC; [`SERVICES_NAME`] where it is the way to the node's services,
    /// and a dash in the place of one where security groups keep track of what no gateway translates.
    pub fn gateway(&self, number: u32) -> String {
        if number == TRACKER {
            return "-".to_owned();
        }
        if number == SERVICES {
            return SERVICES_NAME.to_owned();
        }
        let full = self.get(NameKey::GATEWAY, number);
        full.split_once('/')
            .map_or(full.clone(), |(_vpc, name)| name.to_owned())
    }

    /// Every entry of a kind.
    pub fn of_kind(&self, kind: u32) -> impl Iterator<Item = (u32, &str)> {
        self.0
            .iter()
            .filter(move |(key, _)| key.kind == kind)
            .map(|(key, name)| (key.number, name.as_str()))
    }
}

/// All sessions, in the order of the table.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<SessionRecord>> {
    let names = Names::read(pins)?;
    let now = expiry::now()?;
    let mut records = Vec::new();
    for_each(pins, |key, forward, reverse| {
        records.push(record(&names, now, key, forward, reverse));
    })?;
    Ok(records)
}

/// Calls `visit` with the forward key and both halves of every session; one without a reverse half has an
/// empty one. What lines of the flow cache have counted is with them.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn for_each(pins: &Pins, mut visit: impl FnMut(&SessionKey, &Session, &Session)) -> Result<()> {
    let table = SessionTable::open(pins)?;
    let mut sessions = Vec::new();
    table.for_each(|key, session| {
        if key.is_forward() {
            sessions.push((*key, *session));
        }
    });
    // Last: what a line has counted goes to its session, and is better missed than seen twice.
    let pending = Pending::read(pins)?;
    for (key, session) in sessions {
        let reverse_key = reverse_key(&key, &session);
        let answer = table.get(&reverse_key).unwrap_or_default();
        let (out, back) = (pending.forward(&key), pending.reverse(&reverse_key));
        let session = session.settled(out.packets, out.bytes);
        let answer = answer.settled(back.packets, back.bytes);
        visit(&key, &session, &answer);
    }
    Ok(())
}

fn record(
    names: &Names,
    now: Tick,
    key: &SessionKey,
    forward: &Session,
    reverse: &Session,
) -> SessionRecord {
    let (flow, far) = (key.flow(), forward.far());
    let ip = |address: Address| Ipv4Addr::from(address);
    let state = if flow.protocol == protocol::TCP {
        tcp_state::state(forward.tcp_seen(), reverse.tcp_seen()).name()
    } else if reverse.packets() == 0 {
        "one-way"
    } else {
        "two-way"
    };
    SessionRecord {
        protocol: protocol::name(flow.protocol),
        vpc: names.get(NameKey::VPC, u32::from(key.vpc())),
        source: ip(flow.source),
        source_port: flow.source_port.get(),
        destination: ip(flow.destination),
        destination_port: flow.destination_port.get(),
        translated: ip(forward.mapped_address()),
        translated_port: forward.mapped_port().get(),
        gateway: names.gateway(u32::from(forward.owner())),
        target: (!far.is_none()).then(|| ip(far.address)),
        target_port: (!far.is_none()).then(|| far.port.get()),
        state,
        age_seconds: duration(elapsed(now, forward.created())).as_secs(),
        idle_seconds: duration(lifecycle::idle(now, forward, reverse)).as_secs(),
        packets_out: forward.packets(),
        bytes_out: forward.bytes(),
        packets_in: reverse.packets(),
        bytes_in: reverse.bytes(),
    }
}
