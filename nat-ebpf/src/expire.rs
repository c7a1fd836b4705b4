//! Removes idle sessions, in the two steps that `nat_common::lifecycle` describes. The controller
//! runs it, at least a second apart for the same session, with keys that looked idle to it; whether
//! they are is decided here, on the live entries.

use nat_common::{
    flow::Flow,
    lifecycle::{State, expired},
    map_types::{Counter, EXPIRE_BATCH, EXPIRE_KEYS_OFFSET, Session, SessionKey},
    packet::Packet,
};

use crate::{
    counters, policy_maps,
    port_claim::port_freed,
    session_maps::{REVERSE, SESSIONS, swap},
    settings,
    tc_packet::TcPacket,
};

/// Goes through the keys in `request`; answers how many sessions it removed.
#[inline(always)]
pub fn run(request: &TcPacket) -> i32 {
    let mut removed = 0;
    for index in 0..EXPIRE_BATCH {
        let offset = EXPIRE_KEYS_OFFSET + index * size_of::<SessionKey>();
        let Some(key) = request.load::<SessionKey>(offset) else {
            break;
        };
        if step(&key) {
            removed += 1;
        }
    }
    counters::count(Counter::SessionsExpired, removed as u64);
    removed
}

/// One step for one session; true when that removed it.
#[inline(never)]
fn step(key: &SessionKey) -> bool {
    let Some(forward) = SESSIONS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: a map element's memory stays valid; a copy is all that is decided on.
    let forward_copy = unsafe { *forward };
    let flow: Flow = key.flow();
    let outside = flow
        .with_source(forward_copy.mapped_address(), forward_copy.mapped_port())
        .reversed();
    let reverse_key = SessionKey::reverse(&outside);
    let reverse = REVERSE.get_ptr_mut(reverse_key);
    // SAFETY: as above.
    let reverse_copy = reverse.map_or_else(Session::default, |reverse| unsafe { *reverse });
    let Some(gateway) = policy_maps::gateway(u32::from(forward_copy.owner())) else {
        return false;
    };
    let idle = expired(
        flow.protocol,
        settings::now(),
        &forward_copy,
        &reverse_copy,
        &gateway.timeouts,
    );
    if !idle {
        return false;
    }
    if swap(forward, key, State::Live, State::Dying) {
        if let Some(reverse) = reverse {
            swap(reverse, &reverse_key, State::Live, State::Dying);
        }
        return false;
    }
    // The reverse half may have been revived alone; it then starts anew.
    if reverse.is_some_and(|reverse| swap(reverse, &reverse_key, State::Live, State::Dying)) {
        return false;
    }
    // One that is dead already is what an earlier run could not finish.
    if !swap(forward, key, State::Dying, State::Dead)
        && !swap(forward, key, State::Dead, State::Dead)
    {
        return false;
    }
    if let Some(reverse) = reverse {
        if !swap(reverse, &reverse_key, State::Dying, State::Dead)
            && !swap(reverse, &reverse_key, State::Dead, State::Dead)
        {
            // An answer came in this moment: both halves live on.
            swap(forward, key, State::Dead, State::Live);
            return false;
        }
        if REVERSE.remove(reverse_key).is_err() {
            return false;
        }
    }
    port_freed(&flow, forward_copy.owner());
    SESSIONS.remove(key).is_ok()
}
