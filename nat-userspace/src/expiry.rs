//! Ends idle sessions: looks for candidates in the forward table and lets the expiry program, which
//! alone may decide, have another look at each.

use std::collections::BTreeMap;

use aya::{
    Ebpf, TestRun as _,
    maps::{Array, MapData},
    programs::{SchedClassifier, TestRunOptions},
};
use nat_common::{
    clock::{Tick, elapsed, tick},
    lifecycle,
    map_types::{Binding, EXPIRE_BATCH, EXPIRE_KEYS_OFFSET, Gateway, Session, SessionKey, names},
};
use nix::time::{ClockId, clock_gettime};

use crate::{
    bpf_batch,
    error::{Error, Result},
    generation::Root,
    leftovers::Leftovers,
    loader::{END_PROGRAM, EXPIRE_PROGRAM, WAKE_PROGRAM, program},
    pins::Pins,
    session_table::SessionTable,
};

/// The dataplane's clock, read from userspace.
///
/// # Errors
///
/// When there is no CLOCK_MONOTONIC_COARSE.
pub fn now() -> Result<Tick> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
        .map_err(|errno| Error::io("reading CLOCK_MONOTONIC_COARSE")(errno.into()))?;
    Ok(tick(std::time::Duration::from(time).as_nanos() as u64))
}

/// Sweeps the tables, once per call; calls are at least a second apart.
pub struct Sweeper {
    pins: Pins,
    leftovers: Leftovers,
    sessions: SessionTable,
    bound: MapData,
    gateways: Array<MapData, Gateway>,
    root: Root,
}

impl Sweeper {
    /// Of the pinned tables.
    ///
    /// # Errors
    ///
    /// When they can't be opened.
    pub fn new(pins: &Pins) -> Result<Self> {
        let gateways = aya::maps::Map::Array(pins.open(names::GATEWAYS)?);
        Ok(Self {
            pins: pins.clone(),
            leftovers: Leftovers::default(),
            sessions: SessionTable::open(pins)?,
            bound: pins.open(names::BOUND)?,
            gateways: Array::try_from(gateways).map_err(Error::map(names::GATEWAYS))?,
            root: Root::open(&pins.open(names::GENERATION)?)?,
        })
    }

    /// One sweep at this time; answers how many sessions it ended.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn sweep(&mut self, ebpf: &mut Ebpf, now: Tick) -> Result<u32> {
        self.leftovers.remove(&self.pins, &self.sessions, now)?;
        run(ebpf, WAKE_PROGRAM, &self.rested(now)?)?;
        run(ebpf, EXPIRE_PROGRAM, &self.candidates(now))
    }

    /// A gateway as the policy has it that holds; all zeros when there is none.
    fn gateway(&self, number: u16) -> Gateway {
        let place = self.root.side().gateway(number.into());
        self.gateways.get(&place, 0).unwrap_or_default()
    }

    /// Public ports whose rest looks over; only gateways that let anybody in have them rest.
    fn rested(&self, now: Tick) -> Result<Vec<SessionKey>> {
        let mut keys = Vec::new();
        bpf_batch::for_each::<SessionKey, Binding>(&self.bound, |key, binding| {
            if binding.freed != 0 {
                let rest = self.gateway(binding.gateway).port_rest;
                if elapsed(now, binding.freed) > rest {
                    keys.push(*key);
                }
            }
        })
        .map_err(Error::io("reading the bindings"))?;
        Ok(keys)
    }

    /// Sessions whose forward half has been quiet for longer than the shortest timer that may apply.
    fn candidates(&self, now: Tick) -> Vec<SessionKey> {
        let mut shortest: BTreeMap<u16, [u32; 256]> = BTreeMap::new();
        let mut keys = Vec::new();
        let quiet = Session::default();
        self.sessions.for_each(|key, session| {
            if !key.is_forward() {
                return;
            }
            let limits = shortest.entry(session.owner()).or_insert_with(|| {
                let gateway = self.gateway(session.owner());
                let mut limits = [0; 256];
                for (protocol, limit) in limits.iter_mut().enumerate() {
                    let timeouts = &gateway.timeouts;
                    *limit = lifecycle::shortest_timeout(protocol as u8, timeouts);
                }
                limits
            });
            let limit = limits[usize::from(key.flow().protocol)];
            if lifecycle::idle(now, session, &quiet) > limit {
                keys.push(*key);
            }
        });
        keys
    }
}

/// Ends the sessions of these forward keys at once; answers how many.
///
/// # Errors
///
/// What the kernel says.
pub fn end(ebpf: &mut Ebpf, keys: &[SessionKey]) -> Result<u32> {
    run(ebpf, END_PROGRAM, keys)
}

/// Gives keys to one of the programs that end sessions; answers how many it ended.
fn run(ebpf: &mut Ebpf, name: &str, keys: &[SessionKey]) -> Result<u32> {
    let program: &SchedClassifier = program::<SchedClassifier>(ebpf, name)?;
    let mut removed = 0;
    for keys in keys.chunks(EXPIRE_BATCH) {
        let request = request(keys);
        let options = TestRunOptions {
            data_in: Some(&request),
            ..TestRunOptions::default()
        };
        removed += program.test_run(options)?.return_value;
    }
    Ok(removed)
}

fn request(keys: &[SessionKey]) -> Vec<u8> {
    let mut bytes = vec![0; EXPIRE_KEYS_OFFSET];
    for key in keys {
        bytes.extend_from_slice(&key.to_bytes());
    }
    bytes
}
