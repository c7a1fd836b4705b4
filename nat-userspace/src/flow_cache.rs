//! What the flow cache has counted: packets that no session's own count has yet.

use std::collections::HashMap;

use nat_common::{
    flow_cache::Line,
    map_types::{SessionKey, names},
};

use crate::{
    bpf_batch,
    error::{Error, Result},
    generation,
    pins::Pins,
};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

/// What is yet to be added to halves of sessions.
#[derive(Debug, Default)]
pub struct Pending {
    forward: HashMap<SessionKey, Counts>,
    reverse: HashMap<SessionKey, Counts>,
}

impl Pending {
    /// Reads it from the running dataplane.
    ///
    /// # Errors
    ///
    /// When there is none or its maps can't be read.
    pub fn read(pins: &Pins) -> Result<Self> {
        let mut vpcs = HashMap::new();
        for (index, interface) in generation::interfaces(pins)? {
            vpcs.insert(index, interface.vpc);
        }
        let mut pending = Self::default();
        bpf_batch::for_each::<u32, Line>(&pins.open(names::FLOW_CACHE)?, |_, line| {
            if line.packets() == 0 {
                return;
            }
            let flow = line.key.flow();
            let vpc = vpcs.get(&line.key.interface()).copied().unwrap_or(0);
            let counts = if line.is_answer() {
                pending.reverse.entry(SessionKey::answers(&flow, vpc))
            } else if line.is_inward() {
                pending.reverse.entry(SessionKey::reverse(&flow))
            } else {
                pending.forward.entry(SessionKey::forward(&flow, vpc))
            };
            let counts = counts.or_default();
            counts.packets += line.packets();
            counts.bytes += line.bytes();
        })
        .map_err(Error::io("reading the flow cache"))?;
        Ok(pending)
    }

    /// Of a forward half.
    pub fn forward(&self, key: &SessionKey) -> Counts {
        self.forward.get(key).copied().unwrap_or_default()
    }

    /// Of a reverse half.
    pub fn reverse(&self, key: &SessionKey) -> Counts {
        self.reverse.get(key).copied().unwrap_or_default()
    }
}
