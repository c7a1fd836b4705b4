//! Sessions in their tables: finding one for a packet, reviving it, ending it. `claim.rs` makes them,
//! `lifecycle.rs` has the timers, `shared.rs` what a session holds besides its halves.

use core::ptr::null_mut;

use crate::{
    address::{Address, Port},
    clock::{Tick, elapsed},
    flow::{Flow, protocol},
    flow_cache::{Moment, Origin},
    lifecycle::{GRACE, State, overdue},
    map_types::{Counter, Far, GatewayCounter, Holds, Mark, Passed, Session, SessionKey, TRACKER},
    port_search::port_freed,
    shared,
    tables::{Side, Tables},
    tcp_state::{TcpState, reopens, state},
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
    far: u64,
    /// The last bits of when it was made.
    pub made: u16,
    /// The NAT gateway's number (forward half), or the scope of the forward half's key (reverse half).
    pub owner: u16,
    /// The NAT gateway's number; [`TRACKER`] is none.
    pub gateway: u16,
}

impl Found {
    /// None. A whole value, because the verifier refuses copies of half an `Option`.
    pub const NONE: Self = Self {
        half: null_mut(),
        address: Address::UNSPECIFIED,
        port: Port::NONE,
        far: 0,
        made: 0,
        owner: 0,
        gateway: TRACKER as u16,
    };

    /// Reads what is mapped, in this moment.
    ///
    /// # Safety
    ///
    /// `half` is one that the tables handed out.
    #[inline(always)]
    unsafe fn read(&mut self, half: *mut Session) {
        self.half = half;
        // SAFETY: the caller's.
        unsafe {
            (self.address, self.port, self.owner) = Session::mapped(half);
            self.gateway = Session::gateway_now(half, self.owner);
            self.far = Session::far_now(half).to_raw();
        }
    }

    /// What its packets get at their far end.
    #[inline(always)]
    pub const fn far(&self) -> Far {
        Far::from_raw(self.far)
    }

    /// There is none.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.half.is_null()
    }

    /// It has carried no packet yet.
    #[inline(always)]
    pub fn is_new(&self) -> bool {
        // SAFETY: as in `carry`; at worst a packet is looked at more closely than it need be.
        self.half.is_null() || unsafe { (*self.half).packets() == 0 }
    }

    /// It has carried one packet.
    #[inline(always)]
    pub fn has_carried_one(&self) -> bool {
        // SAFETY: as above.
        self.half.is_null() || unsafe { (*self.half).packets() == 1 }
    }

    /// Its packets keep the session alive.
    #[inline(always)]
    pub fn refreshes(&self) -> bool {
        // SAFETY: as above.
        self.half.is_null() || unsafe { !(*self.half).holds().include(Holds::NO_REFRESH) }
    }

    /// Its packets went the whole way, under this policy, and came in there.
    #[inline(always)]
    pub fn has_passed(&self, epoch: u32, origin: Origin) -> bool {
        // SAFETY: as in `carry`; the word says whose it is.
        !self.half.is_null()
            && origin.is_some()
            && unsafe { (*self.half).passed() == Passed::new(epoch, origin, self.made) }
    }

    /// Its packets go the whole way, under this policy, and came in there.
    #[inline(always)]
    pub fn pass(&self, epoch: u32, origin: Origin) {
        if !self.half.is_null() {
            // SAFETY: as in `carry`.
            unsafe { (*self.half).pass(Passed::new(epoch, origin, self.made)) };
        }
    }

    /// Accounts for packets this half carries; without a half there is nothing to do.
    #[inline(always)]
    pub fn carry(&self, now: Tick, packets: u64, bytes: u64, flags: TcpFlags) {
        if self.half.is_null() {
            return;
        }
        // SAFETY: a line's memory stays valid. Another CPU may write the same counters when
        // a NIC spreads one flow over several: a lost count, and one that is off by 2^32 where both count
        // the packet that is the first of so many.
        unsafe { (*self.half).carry(now, packets, bytes, flags) };
    }
}

/// Finds the half of this key; false when it is absent, being removed, or expired. An expired session
/// stays where it is until a claim or a sweep ends it.
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
    // SAFETY: a line's memory stays valid, but may come to serve another key, or another
    // session of this one: the same mark before and after shows that what was read is its own.
    let (before, last_seen) = unsafe {
        let before = Mark(tables.load(&raw const (*half).mark));
        (before, (*half).last_seen_now())
    };
    // One that carried a packet a moment ago needs no closer look.
    let is_fresh =
        before.key_and_state() == key.mark(State::Live) && elapsed(now, last_seen) < GRACE;
    if !is_fresh && !is_usable(tables, side, key, half, before.created(), now) {
        found.half = null_mut();
        return false;
    }
    // SAFETY: as above.
    let mark = unsafe {
        found.read(half);
        Mark(tables.load(&raw const (*half).mark))
    };
    found.made = mark.created() as u16;
    let is_found =
        mark.key_and_state() == key.mark(State::Live) && mark.created() == before.created();
    if !is_found {
        found.half = null_mut();
    }
    is_found
}

/// Finds a half that [`find`] has found a moment ago, in another program: the same session's, and in use.
#[inline(always)]
pub fn find_again<T: Tables>(tables: &T, side: Side, key: &SessionKey, made: u16) -> Found {
    let mut found = Found::NONE;
    if let Some(half) = tables.half(side, key) {
        // SAFETY: as in `find`.
        let mark = unsafe {
            found.read(half);
            Mark(tables.load(&raw const (*half).mark))
        };
        found.made = mark.created() as u16;
        let is_in_use = mark.key_and_state() == key.mark(State::Live)
            || mark.key_and_state() == key.mark(State::Dying);
        if !is_in_use || found.made != made {
            found.half = null_mut();
        }
    }
    found
}

/// As [`find`], of a half whose packets went the whole way through the stages under this policy and came
/// in there: they still go that way. False of one that carried none for so long that it has to be looked
/// at more closely.
#[inline(always)]
pub fn find_passed<T: Tables>(
    tables: &T,
    key: &SessionKey,
    now: &Moment,
    origin: Origin,
    found: &mut Found,
) -> bool {
    let Some(half) = tables.half_at_once(key) else {
        return false;
    };
    // SAFETY: as in `find`.
    unsafe {
        let before = tables.load(&raw const (*half).mark);
        found.read(half);
        let (last_seen, passed) = ((*half).last_seen_now(), (*half).passed());
        let mark = tables.load(&raw const (*half).mark);
        found.made = Mark(mark).created() as u16;
        mark == before
            && Mark(mark).key_and_state() == key.mark(State::Live)
            && elapsed(now.now, last_seen) < now.fresh
            && passed == Passed::new(now.epoch, origin, found.made)
    }
}

/// Whether a half that was not used lately may carry a packet: it is not expired, and not dead.
#[inline(never)]
fn is_usable<T: Tables>(
    tables: &T,
    side: Side,
    key: &SessionKey,
    half: *mut Session,
    created: Tick,
    now: Tick,
) -> bool {
    // SAFETY: as in `find`.
    let (other_key, other_side) = unsafe {
        match side {
            Side::Inside => (reverse_key(key, &*half), Side::Outside),
            Side::Outside => (forward_key(key, &*half), Side::Inside),
        }
    };
    let Some(other) = tables.half(other_side, &other_key) else {
        return false;
    };
    let (forward, reverse) = match side {
        Side::Inside => (half, other),
        Side::Outside => (other, half),
    };
    // SAFETY: as in `find`; whatever is read of an element that serves another key by now does not
    // count, because the mark tells.
    unsafe {
        let Some(gateway) = tables.gateway(u32::from((*forward).owner())) else {
            return false;
        };
        if overdue(key.flow().protocol, now, &*forward, &*reverse, gateway) > GRACE {
            return false;
        }
        // Still the session that was found, not a new one of this key in the same memory.
        let mark = Mark(tables.load(&raw const (*half).mark));
        mark.created() == created
            && (mark.key_and_state() == key.mark(State::Live) || revive(tables, half, key, created))
    }
}

/// Takes a dying half back; false when it is dead or another session's by now.
#[inline(always)]
fn revive<T: Tables>(tables: &T, half: *mut Session, key: &SessionKey, created: Tick) -> bool {
    let revived = swap_of(tables, half, key, created, State::Dying, State::Live);
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

/// As [`swap`], of the session that was made at this time alone.
#[inline(always)]
fn swap_of<T: Tables>(
    tables: &T,
    half: *mut Session,
    key: &SessionKey,
    created: Tick,
    from: State,
    to: State,
) -> bool {
    let (from, to) = (
        Mark::new(key.mark(from), created),
        Mark::new(key.mark(to), created),
    );
    // SAFETY: as in `swap`.
    unsafe { tables.compare_and_swap(&raw mut (*half).mark, from.0, to.0) }
}

/// Key of the forward half of a reverse one.
#[inline(always)]
pub fn forward_key(key: &SessionKey, reverse: &Session) -> SessionKey {
    let inside = (reverse.mapped_address(), reverse.mapped_port());
    let end = reverse.far().or(key.source());
    SessionKey::between(inside, end, key.protocol(), reverse.owner())
}

/// Key of the reverse half of a forward one. Of a session that translates nothing the answers are in the
/// VPC, too.
#[inline(always)]
pub fn reverse_key(key: &SessionKey, forward: &Session) -> SessionKey {
    let far = forward.far();
    let public = (forward.mapped_address(), forward.mapped_port());
    let scope = if public.0.raw() == key.source().0.raw() && is_tracker(forward.owner()) {
        key.scope() | SessionKey::ANSWERS
    } else if far.scope != 0 {
        far.scope | SessionKey::ANSWERS
    } else {
        0
    };
    let end = far.or(key.destination());
    SessionKey::between(end, public, key.protocol(), scope)
}

/// Sessions of this gateway are there to keep track of flows, and have no ports of a pool.
#[inline(always)]
pub const fn is_tracker(gateway: u16) -> bool {
    gateway as u32 == TRACKER
}

/// The flow of a forward half, to whom it goes in the end.
#[inline(always)]
const fn outward_flow(key: &SessionKey, forward: &Session) -> Flow {
    let mut flow = key.flow();
    (flow.destination, flow.destination_port) =
        forward.far().or((flow.destination, flow.destination_port));
    flow
}

/// The flow of the answers to a forward half, as the key of the reverse half has it.
#[inline(always)]
pub fn outside_flow(key: &SessionKey, forward: &Session) -> Flow {
    let flow = key.flow();
    let (source, source_port) = forward.far().or((flow.destination, flow.destination_port));
    Flow {
        source,
        source_port,
        destination: forward.mapped_address(),
        destination_port: forward.mapped_port(),
        protocol: flow.protocol,
    }
}

/// Starts a session over when a SYN meets one that is closing (RFC 9293, 3.6.1). True when its forward
/// half is made now by that.
#[inline(always)]
pub fn reopen_if_closing<T: Tables>(tables: &T, key: &SessionKey, now: Tick) -> bool {
    let Some(forward) = tables.half(Side::Inside, key) else {
        return false;
    };
    // SAFETY: as in `find`.
    let copy = unsafe { *forward };
    let reverse_key = reverse_key(key, &copy);
    let Some(reverse) = tables.half(Side::Outside, &reverse_key) else {
        return false;
    };
    // SAFETY: as in `Found::carry`.
    unsafe {
        let old = Mark(tables.load(&raw const (*forward).mark));
        let is_in_use = old.key_and_state() == key.mark(State::Live)
            || old.key_and_state() == key.mark(State::Dying);
        // Not of one that is being removed: whoever does relies on its mark.
        if !is_in_use || !reopens(state(copy.tcp_seen(), (*reverse).tcp_seen())) {
            return false;
        }
        let new = Mark::new(key.mark(State::Live), now);
        let is_new = tables.compare_and_swap(&raw mut (*forward).mark, old.0, new.0);
        (*forward).forget_flags();
        (*reverse).forget_flags();
        is_new
    }
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nothing came for too long.
    Idle,
    /// Somebody said so.
    Told,
}

/// The session of this forward key carried a connection that is over: a SYN opens a new one.
#[inline(always)]
pub fn is_over<T: Tables>(tables: &T, key: &SessionKey) -> bool {
    let Some(forward) = tables.half(Side::Inside, key) else {
        return false;
    };
    // SAFETY: as in `find`; whoever is wrong about it asks the policy once more.
    let forward = unsafe { *forward };
    let Some(reverse) = tables.half(Side::Outside, &reverse_key(key, &forward)) else {
        return false;
    };
    // SAFETY: as above.
    reopens(state(forward.tcp_seen(), unsafe { (*reverse).tcp_seen() }))
}

/// Both halves of one session, as the ways out of the tables see them.
struct Pair {
    key: SessionKey,
    forward: *mut Session,
    forward_copy: Session,
    reverse_key: SessionKey,
    /// Null when there is none. Not an `Option`, of which half would be uninitialised.
    reverse: *mut Session,
}

impl Pair {
    #[inline(always)]
    fn of<T: Tables>(tables: &T, key: &SessionKey) -> Option<Self> {
        let forward = tables.half(Side::Inside, key)?;
        // SAFETY: a line's memory stays valid; a copy is all that is decided on.
        let forward_copy = unsafe { *forward };
        let reverse_key = reverse_key(key, &forward_copy);
        Some(Self {
            key: *key,
            forward,
            forward_copy,
            reverse_key,
            reverse: tables
                .half(Side::Outside, &reverse_key)
                .unwrap_or(null_mut()),
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
                if self.reverse.is_null() {
                    Session::default()
                } else {
                    self.reverse.read_volatile()
                },
            )
        };
        overdue(self.key.flow().protocol, now, &forward, &reverse, gateway)
    }

    /// False when it is not in the state `from`, or another session of this key by now.
    #[inline(always)]
    fn swap_forward<T: Tables>(&self, tables: &T, from: State, to: State) -> bool {
        let created = self.forward_copy.created();
        swap_of(tables, self.forward, &self.key, created, from, to)
    }

    /// False when there is a reverse half, and it is not in the state `from`.
    #[inline(always)]
    fn swap_reverse<T: Tables>(&self, tables: &T, from: State, to: State) -> bool {
        self.reverse.is_null() || swap(tables, self.reverse, &self.reverse_key, from, to)
    }

    /// Marks it dead and removes it; true when it is gone.
    #[inline(always)]
    fn end<T: Tables>(&self, tables: &T, why: Why) -> bool {
        // Whoever marks the forward half removes both; a packet that comes between finds it dead.
        if !self.swap_forward(tables, State::Live, State::Dead)
            && !self.swap_forward(tables, State::Dying, State::Dead)
        {
            return false;
        }
        if !self.swap_reverse(tables, State::Live, State::Dead)
            && !self.swap_reverse(tables, State::Dying, State::Dead)
        {
            self.swap_forward(tables, State::Dead, State::Live);
            return false;
        }
        self.remove(tables, why);
        true
    }

    /// Counts for its gateway that a session has ended whose halves are dead.
    #[inline(always)]
    fn account<T: Tables>(&self, tables: &T, why: Why) {
        let gateway = self.forward_copy.owner();
        if is_tracker(gateway) {
            return;
        }
        let seen;
        let mut answered = TcpFlags::NONE;
        // SAFETY: as in `of`; nobody writes to the halves of a dead session.
        unsafe {
            seen = (*self.forward).tcp_seen();
            if !self.reverse.is_null() {
                answered = (*self.reverse).tcp_seen();
            }
        }
        if seen.and(answered).any(TcpFlags::SYN) {
            tables.count_for(gateway, GatewayCounter::Established);
        }
        let is_over = self.key.flow().protocol == protocol::TCP
            && !matches!(
                state(seen, answered),
                TcpState::Established | TcpState::HalfClosed
            );
        if why == Why::Idle && !is_over {
            tables.count_for(gateway, GatewayCounter::IdleTimeouts);
        }
    }

    /// Removes a session whose halves are dead, and gives back what it holds. The forward half last:
    /// as long as it is there, nobody enters the session anew, to find the rest in the way.
    #[inline(always)]
    fn remove<T: Tables>(&self, tables: &T, why: Why) {
        self.account(tables, why);
        if !self.reverse.is_null() {
            tables.remove_half(Side::Outside, &self.reverse_key);
        }
        shared::release(tables, &self.key, &self.forward_copy);
        tables.remove_half(Side::Inside, &self.key);
        let half = &self.forward_copy;
        if is_tracker(half.owner()) {
            return;
        }
        let flow = outward_flow(&self.key, half);
        let public = (half.mapped_address(), half.mapped_port());
        port_freed(tables, &flow, public, half.owner(), false);
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
    if !pair.reverse.is_null() && pair.swap_reverse(tables, State::Live, State::Dying) {
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
    pair.remove(tables, Why::Idle);
    true
}

/// Takes back a half that was just inserted, because the rest of its session could not be. Marked
/// first, so that nobody finds it in memory that serves no key or another one.
#[inline(never)]
pub fn withdraw<T: Tables>(tables: &T, side: Side, key: &SessionKey) {
    if let Some(half) = tables.half(side, key) {
        // A sweep of the session before may have marked it dying, and a packet revived it.
        for from in [State::Live, State::Dying, State::Live] {
            if swap(tables, half, key, from, State::Dead) {
                break;
            }
        }
    }
    tables.remove_half(side, key);
}

/// Ends the session of this forward key in one step if it has been overdue for longer than
/// [`GRACE`]; true when it is gone.
#[inline(always)]
pub fn end_if_expired<T: Tables>(tables: &T, key: &SessionKey, now: Tick) -> bool {
    let Some(pair) = Pair::of(tables, key) else {
        return false;
    };
    if pair.overdue(tables, now) <= GRACE {
        return false;
    }
    pair.end(tables, Why::Idle)
}

/// Ends the session of this forward key, whatever it is doing; true when it is gone.
#[inline(never)]
pub fn end<T: Tables>(tables: &T, key: &SessionKey) -> bool {
    match Pair::of(tables, key) {
        Some(pair) => pair.end(tables, Why::Told),
        None => false,
    }
}

/// The forward key of the session that has this reverse key, if it is expired for longer than
/// [`GRACE`].
#[inline(always)]
pub fn expired_holder<T: Tables>(tables: &T, key: &SessionKey, now: Tick) -> Option<SessionKey> {
    let reverse = tables.half(Side::Outside, key)?;
    // SAFETY: a line's memory stays valid; a decision is made on the session as a whole, later.
    let forward_key = unsafe { forward_key(key, &*reverse) };
    let forward = tables.half(Side::Inside, &forward_key)?;
    // SAFETY: as above.
    unsafe {
        let gateway = tables.gateway(u32::from((*forward).owner()))?;
        let overdue = overdue(key.flow().protocol, now, &*forward, &*reverse, gateway);
        (overdue > GRACE).then_some(forward_key)
    }
}
