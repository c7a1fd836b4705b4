//! What a new policy would do to the sessions that are there: [`crate::stale`] says which of them have no
//! place under it, [`crate::policy::judge`] whose packets it would drop.

use std::{collections::BTreeMap, net::Ipv4Addr};

use nat_common::{
    drop_reason::DropReason,
    flow::protocol,
    map_types::{NameKey, SERVICES, Session, SessionKey, TRACKER},
};
use serde::Serialize;

use crate::{
    error,
    pins::Pins,
    policy::{self, Tables},
    session_table::SessionTable,
    sessions::Names,
    stale,
};

/// Sessions that end are listed up to here, and counted beyond.
const LISTED: usize = 1000;

/// What becomes of the sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// How many go on.
    pub keeps: u64,
    /// How many end.
    pub ends: u64,
    /// Both by gateway.
    pub gateways: BTreeMap<String, Counts>,
    /// Those that end, the first thousand of them.
    pub ending: Vec<Ending>,
}

/// Of the sessions of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// How many go on.
    pub keeps: u64,
    /// How many end.
    pub ends: u64,
}

/// A session that would end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
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
    /// NAT gateway.
    pub gateway: String,
    /// Why it ends.
    pub reason: &'static str,
}

/// Looks at every session.
///
/// # Errors
///
/// When the tables can't be read.
pub fn effects(pins: &Pins, policy: &Tables) -> error::Result<Effects> {
    let names = Names::read(pins)?;
    let mut effects = Effects::default();
    SessionTable::open(pins)?.for_each(|key, session| {
        if !key.is_forward() {
            return;
        }
        let gateway = match u32::from(session.owner()) {
            number @ (TRACKER | SERVICES) => names.gateway(number),
            number => names.get(NameKey::GATEWAY, number),
        };
        let counts = effects.gateways.entry(gateway).or_default();
        match fate(policy, key, session) {
            Ok(()) => {
                counts.keeps += 1;
                effects.keeps += 1;
            }
            Err(reason) => {
                counts.ends += 1;
                effects.ends += 1;
                if effects.ending.len() < LISTED {
                    effects.ending.push(ending(&names, key, session, reason));
                }
            }
        }
    });
    Ok(effects)
}

/// Why a session ends, or its packets are dropped from then on.
fn fate(policy: &Tables, key: &SessionKey, session: &Session) -> Result<(), &'static str> {
    stale::judge(policy, key, session).map_err(stale::Reason::text)?;
    policy::judge(policy, key, session).map_err(DropReason::describe)
}

fn ending(names: &Names, key: &SessionKey, session: &Session, reason: &'static str) -> Ending {
    let flow = key.flow();
    Ending {
        protocol: protocol::name(flow.protocol),
        vpc: names.get(NameKey::VPC, u32::from(key.vpc())),
        source: flow.source.into(),
        source_port: flow.source_port.get(),
        destination: flow.destination.into(),
        destination_port: flow.destination_port.get(),
        translated: session.mapped_address().into(),
        translated_port: session.mapped_port().get(),
        gateway: names.gateway(u32::from(session.owner())),
        reason,
    }
}
