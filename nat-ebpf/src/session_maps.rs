//! The session tables. One session is two entries, a forward and a reverse half; the reverse one is
//! the claim on the public port (`port_claim.rs`), and `expire.rs` takes both away.

use core::ptr::null_mut;

use aya_ebpf::{macros::map, maps::HashMap};
use nat_common::{
    address::{Address, Port},
    clock::Tick,
    lifecycle::State,
    map_types::{Counter, Mark, Session, SessionKey},
    tcp_state::{self, reopens},
    wire::TcpFlags,
};

use crate::{atomics::compare_and_swap, counters};

/// Sized by the controller when it loads the programs.
const CAPACITY: u32 = 262_144;

#[map]
pub static SESSIONS: HashMap<SessionKey, Session> = HashMap::pinned(CAPACITY, 0);
#[map]
pub static REVERSE: HashMap<SessionKey, Session> = HashMap::pinned(CAPACITY, 0);

/// A half found alive, with what its packets become.
pub struct Found {
    session: *mut Session,
    /// Address its packets get.
    pub address: Address,
    /// Port its packets get.
    pub port: Port,
}

impl Found {
    /// None. A whole value, because the verifier refuses copies of half an `Option`.
    pub const NONE: Self = Self {
        session: null_mut(),
        address: Address::UNSPECIFIED,
        port: Port::NONE,
    };

    /// Accounts for packets this half carries; without a half there is nothing to do.
    #[inline(always)]
    pub fn carry(&self, now: Tick, packets: u64, bytes: u64, flags: TcpFlags) {
        if self.session.is_null() {
            return;
        }
        // SAFETY: a map element's memory stays valid. Another CPU may write the same counters when
        // a NIC spreads one flow over several: a lost count, nothing else.
        unsafe { (*self.session).carry(now, packets, bytes, tcp_state::recorded(flags)) };
    }
}

/// Finds the half of this key; false when it is absent or being removed.
#[inline(always)]
pub fn find(map: &HashMap<SessionKey, Session>, key: &SessionKey, found: &mut Found) -> bool {
    let Some(session) = map.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: a map element's memory stays valid, but may come to serve another key: the mark,
    // read after the rest, tells.
    let seen = unsafe {
        found.session = session;
        found.address = (*session).mapped_address();
        found.port = (*session).mapped_port();
        Mark((&raw const (*session).mark).read_volatile())
    };
    seen.key_and_state() == key.mark(State::Live) || revive(session, key)
}

/// Takes a dying half back; false when it is dead or another key's by now.
#[inline(never)]
fn revive(session: *mut Session, key: &SessionKey) -> bool {
    let revived = swap(session, key, State::Dying, State::Live);
    if revived {
        counters::count(Counter::SessionsRevived, 1);
    }
    revived
}

/// Moves a half from one state to another; false when it is not in the first one.
#[inline(always)]
pub fn swap(session: *mut Session, key: &SessionKey, from: State, to: State) -> bool {
    // SAFETY: an aligned word of a map element.
    let mark = Mark(unsafe { (&raw const (*session).mark).read_volatile() });
    mark.key_and_state() == key.mark(from)
        && replace(session, mark, Mark::new(key.mark(to), mark.created()))
}

#[inline(always)]
fn replace(session: *mut Session, old: Mark, new: Mark) -> bool {
    // SAFETY: an aligned word of a map element, only ever changed here.
    unsafe { compare_and_swap(&raw mut (*session).mark, old.0, new.0) }
}

/// Starts a session over when a SYN from inside meets one that is closing (RFC 9293, 3.6.1).
#[inline(never)]
pub fn reopen_if_closing(key: &SessionKey, reverse_key: &SessionKey, now: Tick) {
    let (Some(forward), Some(reverse)) =
        (SESSIONS.get_ptr_mut(key), REVERSE.get_ptr_mut(reverse_key))
    else {
        return;
    };
    // SAFETY: as in `Found::carry`.
    unsafe {
        if reopens(tcp_state::state(
            (*forward).tcp_seen(),
            (*reverse).tcp_seen(),
        )) {
            let old = Mark((&raw const (*forward).mark).read_volatile());
            replace(forward, old, Mark::new(old.key_and_state(), now));
            (*forward).forget_flags();
            (*reverse).forget_flags();
        }
    }
}
