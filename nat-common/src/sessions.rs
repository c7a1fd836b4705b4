//! Sessions in their tables: finding one for a packet, reviving it, ending it. `claim.rs` makes them,
//! `lifecycle.rs` has the timers, `shared.rs` what a session holds besides its halves.

use core::ptr::null_mut;

use crate::{
    address::{Address, Port},
    claim,
    clock::{Tick, elapsed},
    flow::Flow,
    lifecycle::{GRACE, State, overdue},
    map_types::{Counter, Mark, Session, SessionKey},
    shared,
    tables::{Side, Tables},
    tcp_state::{reopens, state},
    wire::TcpFlags,
};

/// A half found alive, with what its packets become.
#[derive(Clone, Copy)]
pub struct Found {
    half: *mut Session,
    /// Address its packets get.
    pub address: Address,
    /// Port its packets get.
    pub port: Port,
}

impl Found {
    /// None. A whole value, because the verifier refuses copies of half an `Option`.
    pub const NONE: Self = Self {
        half: null_mut(),
        address: Address::UNSPECIFIED,
        port: Port::NONE,
    };

    /// Accounts for packets this half carries; without a half there is nothing to do.
    #[inline(always)]
    pub fn carry(&self, now: Tick, packets: u64, bytes: u64, flags: TcpFlags) {
        if self.half.is_null() {
            return;
        }
        // SAFETY: a map element's memory stays valid. Another CPU may write the same counters when
        // a NIC spreads one flow over several: a lost count, nothing else.
        unsafe { (*self.half).carry(now, packets, bytes, flags) };
    }
}

/// Finds the half of this key; false when it is absent, being removed, or expired.
#[inline(always)]
pub fn find<T: Tables>(
    tables: &T,
    side: Side,
    key: &SessionKey,
    now: Tick,
    found: &mut Found,
) -> bool {
    let Some(half) = tables.half(side, key) else {
        return false;
    };
    // SAFETY: a map element's memory stays valid, but may come to serve another key: the mark,
    // read after the rest, tells.
    let (last_seen, mark) = unsafe {
        found.half = half;
        found.address = (*half).mapped_address();
        found.port = (*half).mapped_port();
        let last_seen = (&raw const *half).read_volatile().last_seen();
        (last_seen, Mark(tables.load(&raw const (*half).mark)))
    };
    // One that carried a packet a moment ago needs no closer look.
    if mark.key_and_state() == key.mark(State::Live) && elapsed(now, last_seen) < GRACE {
        return true;
    }
    quiet(tables, side, key, half, now)
}

/// Whether a half that was not used lately may carry a packet: it is not expired, and not dead.
#[inline(never)]
fn quiet<T: Tables>(
    tables: &T,
    side: Side,
    key: &SessionKey,
    half: *mut Session,
    now: Tick,
) -> bool {
    // SAFETY: as in `find`.
    let copy = unsafe { *half };
    let forward_key = match side {
        Side::Inside => *key,
        Side::Outside => forward_key(key, &copy),
    };
    if end_if_expired(tables, &forward_key, now) {
        tables.count(Counter::SessionsReclaimed);
        return false;
    }
    // SAFETY: as in `find`.
    let mark = Mark(unsafe { tables.load(&raw const (*half).mark) });
    mark.key_and_state() == key.mark(State::Live) || revive(tables, half, key)
}

/// Takes a dying half back; false when it is dead or another key's by now.
#[inline(always)]
fn revive<T: Tables>(tables: &T, half: *mut Session, key: &SessionKey) -> bool {
    let revived = swap(tables, half, key, State::Dying, State::Live);
    if revived {
        tables.count(Counter::SessionsRevived);
    }
    revived
}

/// Moves a half from one state to another; false when it is not in the first one.
#[inline(always)]
fn swap<T: Tables>(
    tables: &T,
    half: *mut Session,
    key: &SessionKey,
    from: State,
    to: State,
) -> bool {
    // SAFETY: an aligned word of a map element, only ever changed by compare-and-swap.
    unsafe {
        let mark = Mark(tables.load(&raw const (*half).mark));
        mark.key_and_state() == key.mark(from)
            && tables.compare_and_swap(
                &raw mut (*half).mark,
                mark.0,
                Mark::new(key.mark(to), mark.created()).0,
            )
    }
}

/// Key of the forward half of a reverse one.
#[inline(always)]
pub fn forward_key(key: &SessionKey, reverse: &Session) -> SessionKey {
    let inside = key
        .flow()
        .with_destination(reverse.mapped_address(), reverse.mapped_port());
    SessionKey::forward(&inside.reversed(), reverse.owner())
}

/// The flow of the answers to a forward half, as the reverse table keeps it.
#[inline(always)]
pub fn outside_flow(key: &SessionKey, forward: &Session) -> Flow {
    key.flow()
        .with_source(forward.mapped_address(), forward.mapped_port())
        .reversed()
}

/// Starts a session over when a SYN meets one that is closing (RFC 9293, 3.6.1).
#[inline(never)]
pub fn reopen_if_closing<T: Tables>(tables: &T, key: &SessionKey, now: Tick) {
    let Some(forward) = tables.half(Side::Inside, key) else {
        return;
    };
    // SAFETY: as in `find`.
    let copy = unsafe { *forward };
    let reverse_key = SessionKey::reverse(&outside_flow(key, &copy));
    let Some(reverse) = tables.half(Side::Outside, &reverse_key) else {
        return;
    };
    // SAFETY: as in `Found::carry`.
    unsafe {
        if reopens(state(copy.tcp_seen(), (*reverse).tcp_seen())) {
            let old = Mark(tables.load(&raw const (*forward).mark));
            let new = Mark::new(old.key_and_state(), now);
            tables.compare_and_swap(&raw mut (*forward).mark, old.0, new.0);
            (*forward).forget_flags();
            (*reverse).forget_flags();
        }
    }
}

/// Both halves of one session, as the ways out of the tables see them.
struct Pair {
    key: SessionKey,
    forward: *mut Session,
    forward_copy: Session,
    reverse_key: SessionKey,
    reverse: Option<*mut Session>,
}

impl Pair {
    #[inline(always)]
    fn of<T: Tables>(tables: &T, key: &SessionKey) -> Option<Self> {
        let forward = tables.half(Side::Inside, key)?;
        // SAFETY: a map element's memory stays valid; a copy is all that is decided on.
        let forward_copy = unsafe { *forward };
        let reverse_key = SessionKey::reverse(&outside_flow(key, &forward_copy));
        Some(Self {
            key: *key,
            forward,
            forward_copy,
            reverse_key,
            reverse: tables.half(Side::Outside, &reverse_key),
        })
    }

    /// Ticks by which it is overdue at this moment, and 0 when it is not. A half that is not there
    /// has carried nothing.
    #[inline(always)]
    fn overdue<T: Tables>(&self, tables: &T, now: Tick) -> u32 {
        let Some(gateway) = tables.gateway(u32::from(self.forward_copy.owner())) else {
            return 0;
        };
        // SAFETY: as in `of`.
        let (forward, reverse) = unsafe {
            (
                self.forward.read_volatile(),
                self.reverse
                    .map_or_else(Session::default, |reverse| reverse.read_volatile()),
            )
        };
        overdue(self.key.flow().protocol, now, &forward, &reverse, gateway)
    }

    #[inline(always)]
    fn swap_forward<T: Tables>(&self, tables: &T, from: State, to: State) -> bool {
        swap(tables, self.forward, &self.key, from, to)
    }

    /// False when there is a reverse half, and it is not in the state `from`.
    #[inline(always)]
    fn swap_reverse<T: Tables>(&self, tables: &T, from: State, to: State) -> bool {
        match self.reverse {
            Some(reverse) => swap(tables, reverse, &self.reverse_key, from, to),
            None => true,
        }
    }

    /// Removes a session whose halves are dead, and gives back what it holds.
    #[inline(always)]
    fn remove<T: Tables>(&self, tables: &T) {
        tables.remove_half(Side::Inside, &self.key);
        if self.reverse.is_some() {
            tables.remove_half(Side::Outside, &self.reverse_key);
        }
        let (flow, half) = (self.key.flow(), &self.forward_copy);
        claim::port_freed(tables, &flow, half.mapped_address(), half.owner(), false);
        shared::release(tables, &self.key, &self.forward_copy);
    }
}

/// One step of a sweep for one session; true when that removed it. Sweeps are at least a second apart.
#[inline(never)]
pub fn sweep<T: Tables>(tables: &T, key: &SessionKey, now: Tick) -> bool {
    let Some(pair) = Pair::of(tables, key) else {
        return false;
    };
    if pair.overdue(tables, now) == 0 {
        return false;
    }
    if pair.swap_forward(tables, State::Live, State::Dying) {
        pair.swap_reverse(tables, State::Live, State::Dying);
        return false;
    }
    // The reverse half may have been revived alone; it then starts anew.
    if pair.reverse.is_some() && pair.swap_reverse(tables, State::Live, State::Dying) {
        return false;
    }
    if !pair.swap_forward(tables, State::Dying, State::Dead) {
        return false;
    }
    if !pair.swap_reverse(tables, State::Dying, State::Dead) {
        // An answer came in this moment: both halves live on.
        pair.swap_forward(tables, State::Dead, State::Live);
        return false;
    }
    pair.remove(tables);
    true
}

/// Ends the session of this forward key in one step if it has been overdue for longer than
/// [`GRACE`]; true when it is gone.
#[inline(never)]
pub fn end_if_expired<T: Tables>(tables: &T, key: &SessionKey, now: Tick) -> bool {
    let Some(pair) = Pair::of(tables, key) else {
        return false;
    };
    if pair.overdue(tables, now) <= GRACE {
        return false;
    }
    // Whoever marks the forward half removes both; a packet that comes between finds it dead.
    if !pair.swap_forward(tables, State::Live, State::Dead)
        && !pair.swap_forward(tables, State::Dying, State::Dead)
    {
        return false;
    }
    if !pair.swap_reverse(tables, State::Live, State::Dead)
        && !pair.swap_reverse(tables, State::Dying, State::Dead)
    {
        pair.swap_forward(tables, State::Dead, State::Live);
        return false;
    }
    pair.remove(tables);
    true
}
