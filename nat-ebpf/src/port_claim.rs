//! Claims a public address and port for a new session. Inserting the reverse half with
//! `BPF_NOEXIST` is the claim: its key holds the remote end too, so one port serves many remotes.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{bpf_get_prandom_u32, bpf_loop},
    macros::map,
    maps::LruHashMap,
};
use nat_common::{
    address::{Address, Port},
    clock::{Tick, elapsed},
    drop_reason::DropReason,
    flow::Flow,
    map_types::{Counter, Gateway, Session, SessionKey},
    port_pool::{Candidates, unguessable},
};

use crate::{
    counters, policy_maps,
    session_maps::{REVERSE, SESSIONS},
};

const EEXIST: i32 = -17;
const EBUSY: i32 = -16;

/// What [`try_port`] works on: one search for a free port.
struct Search {
    flow: Flow,
    vpc: u16,
    gateway: u32,
    first_address: u32,
    random: u64,
    now: Tick,
    outcome: Result<Option<(Address, Port)>, DropReason>,
}

/// Makes the session of `flow` through the gateway of this number, or finds that another CPU was
/// faster: either way the forward half is there afterwards.
#[inline(never)]
pub fn claim(flow: &Flow, vpc: u16, gateway_number: u32, now: Tick) -> Result<(), DropReason> {
    let gateway = policy_maps::gateway(gateway_number).ok_or(DropReason::Internal)?;
    // SAFETY: takes nothing, answers a number.
    let salt = unsafe { bpf_get_prandom_u32() };
    let mut search = Search {
        flow: *flow,
        vpc,
        gateway: gateway_number,
        first_address: first_address(gateway, flow, vpc),
        random: unguessable(gateway.secret, flow, vpc, salt),
        now,
        outcome: Ok(None),
    };
    if is_exhausted(&search) {
        return Err(DropReason::PortExhausted);
    }
    let attempts = gateway.address_count.wrapping_mul(gateway.pool.attempts());
    // A plain loop would have the verifier walk every attempt.
    // SAFETY: the callback has the signature the helper calls it with, and the search outlives it.
    unsafe {
        let step: extern "C" fn(u32, *mut c_void) -> i64 = try_port;
        bpf_loop(attempts, step as *mut c_void, (&raw mut search).cast(), 0);
    }
    match search.outcome {
        Ok(Some((address, port))) => insert_forward(&search, address, port),
        Ok(None) => {
            remember_exhausted(&search);
            Err(DropReason::PortExhausted)
        }
        Err(reason) => Err(reason),
    }
}

const GO_ON: i64 = 0;
const STOP: i64 = 1;

/// One attempt: every address gets its share of them, one address after the other.
#[inline(never)]
extern "C" fn try_port(index: u32, search: *mut c_void) -> i64 {
    // SAFETY: `claim` passes its own search.
    let search = unsafe { &mut *search.cast::<Search>() };
    let Some(gateway) = policy_maps::gateway(search.gateway) else {
        return STOP;
    };
    let attempts = gateway.pool.attempts();
    let (Some(turn), Some(attempt)) = (index.checked_div(attempts), index.checked_rem(attempts))
    else {
        return STOP;
    };
    let mut slot = search.first_address + turn;
    if slot >= gateway.address_count {
        slot -= gateway.address_count;
    }
    if slot >= gateway.address_count {
        return STOP;
    }
    let Some(address) = gateway.addresses.get(slot as usize) else {
        return STOP;
    };
    let candidates = Candidates::new(&gateway.pool, search.random);
    let original = search.flow.source_port;
    let port = candidates.port(&gateway.pool, original, attempt);
    let outside = search.flow.with_source(*address, port).reversed();
    let key = SessionKey::reverse(&outside);
    let half = Session::new(&key, search.flow.source, original, search.vpc, search.now);
    match REVERSE.insert(key, half, u64::from(BPF_NOEXIST)) {
        Ok(()) => search.outcome = Ok(Some((*address, port))),
        // Busy is what kernels before 6.15 may answer under contention.
        Err(EEXIST | EBUSY) => return GO_ON,
        Err(_) => search.outcome = Err(DropReason::TableFull),
    }
    STOP
}

/// Towards whom a gateway has no port left. Walking through a full pool takes milliseconds; this keeps
/// it from happening for every packet.
#[map]
static EXHAUSTED: LruHashMap<SessionKey, Tick> = LruHashMap::with_max_entries(4096, 0);

/// Ticks after which a full pool is walked through again, in case a session ended unnoticed.
const WALK_AGAIN: u32 = 8;

/// The remote end under the gateway's number, which is below 65,536.
#[inline(always)]
fn remote(flow: &Flow, gateway: u32) -> SessionKey {
    let remote = flow.with_source(Address::UNSPECIFIED, Port::NONE);
    SessionKey::forward(&remote, gateway as u16)
}

#[inline(always)]
fn is_exhausted(search: &Search) -> bool {
    // SAFETY: one word, copied at once; a stale one only delays or repeats a walk.
    let since = unsafe { EXHAUSTED.get(remote(&search.flow, search.gateway)) };
    since.is_some_and(|since| elapsed(search.now, *since) < WALK_AGAIN)
}

#[inline(always)]
fn remember_exhausted(search: &Search) {
    let key = remote(&search.flow, search.gateway);
    let _ = EXHAUSTED.insert(key, search.now, u64::from(BPF_ANY));
}

/// A session of `flow` through this gateway has ended: there is a port again.
#[inline(always)]
pub fn port_freed(flow: &Flow, gateway: u16) {
    let _ = EXHAUSTED.remove(remote(flow, u32::from(gateway)));
}

/// A client keeps to one public IP as long as it has ports (RFC 4787 REQ-2).
#[inline(always)]
fn first_address(gateway: &Gateway, flow: &Flow, vpc: u16) -> u32 {
    let client = Flow {
        source: flow.source,
        ..Flow::default()
    };
    let hash = unguessable(gateway.secret, &client, vpc, 0) as u32;
    ((u64::from(hash) * u64::from(gateway.address_count)) >> 32) as u32
}

/// The claim holds; without a forward half it is given back.
#[inline(never)]
fn insert_forward(search: &Search, address: Address, port: Port) -> Result<(), DropReason> {
    let key = SessionKey::forward(&search.flow, search.vpc);
    let forward = Session::new(&key, address, port, search.gateway as u16, search.now);
    let inserted = SESSIONS.insert(key, forward, u64::from(BPF_NOEXIST));
    if inserted.is_ok() {
        counters::count(Counter::SessionsMade, 1);
        return Ok(());
    }
    // Nobody else ever uses a reverse half that has no forward one.
    let outside = search.flow.with_source(address, port).reversed();
    let _ = REVERSE.remove(SessionKey::reverse(&outside));
    match inserted {
        Err(EEXIST) => Ok(()),
        Err(EBUSY) => Err(DropReason::ClaimRace),
        _ => Err(DropReason::TableFull),
    }
}
