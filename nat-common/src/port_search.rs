//! Looks for a free port and claims it by inserting its key. One address after the other, and on each,
//! with endpoint-independent mapping, one rank after the other: the next part comes when the one before
//! has no port left, not before. In a part a few ports are probed; when those are taken, the ones not
//! known to be taken are tried (`taken_ports.rs`), and when there are none, all of them.

use crate::{
    address::{Address, Port},
    claim::{Claim, address_in},
    clock::{Tick, elapsed},
    drop_reason::DropReason,
    flow::Flow,
    map_types::{Binding, Gateway, Holds, MAX_PUBLIC_IPS, Paired, Session, SessionKey, bound_key},
    port_pool::{
        Candidates, MAX_RANGES, PORTS_PER_WINDOW, PROBES, Part, PortPool, RANKS, SMALL, Window,
        unguessable,
    },
    sessions::expired_holder,
    shared::{client_key, live, move_client, remove_public, wake},
    tables::{Refused, Side, Tables},
    taken_ports::{learn, taken_key, unlearn},
};

/// Ticks after which a full part is walked through again, in case a session ended unnoticed.
const WALK_AGAIN: u32 = 8;

/// Ports that were not known to be taken, and are, after which a part is walked through: there is
/// little to learn from those that are left.
const SURPRISES: u32 = 64;

/// Where the search for a port begins. Whole, see [`Outcome`].
#[derive(Clone, Copy)]
pub struct Place {
    /// Index of the public IP.
    pub slot: u32,
    /// What the client's entry says.
    pub recorded: Address,
    /// Others come next.
    pub may_move: bool,
    /// The client of a deterministic gateway has the ports of `block` only.
    pub has_block: bool,
    /// See `has_block`.
    pub block: Part,
}

/// One search for a free port: through the parts of one pool after the other.
#[derive(Clone, Copy)]
pub struct Search {
    claim: Claim,
    /// Its flow, to whom it goes in the end.
    pub(crate) outward: Flow,
    place: Place,
    random: u64,
    /// Claims the public half of a binding, rather than a reverse half.
    binds: bool,
    /// Stops at an expired session that has a port it looks for.
    pub(crate) reclaims: bool,
    outcome: Outcome,
    public: (Address, Port),
    /// The forward half of that session; otherwise empty.
    pub(crate) occupant: SessionKey,
    /// Where the search is: the number of the next part, and what is left of this one.
    next_part: u32,
    slot: u32,
    candidates: Candidates,
    phase: Phase,
    windows: u32,
    window: Window,
    tried: u32,
    left: u32,
    surprises: u32,
    /// Since when all parts so far are known to be full.
    since: Tick,
    /// What is looked up and inserted, here because there is little room on a BPF stack.
    pub(crate) key: SessionKey,
    all_key: SessionKey,
    part_key: SessionKey,
    window_key: SessionKey,
    pub(crate) half: Session,
    bound: Binding,
}

/// Calls of [`Search::attempt`] after which it has gone through everything, and more.
pub const ATTEMPTS: u32 = MAX_PUBLIC_IPS as u32
    * (u16::MAX as u32 + RANKS * (PROBES + SURPRISES + 2 * MAX_WINDOWS + MAX_STEPS))
    + 1;
/// Of one part.
const MAX_WINDOWS: u32 = u16::MAX as u32 / PORTS_PER_WINDOW + MAX_RANGES as u32;
/// Calls that only go on to the next phase, of one part.
const MAX_STEPS: u32 = 5;

/// How a search goes through a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It does not.
    Over,
    /// Some far apart.
    Probe,
    /// It goes on to the next window.
    Window,
    /// Those of the window that are not known to be taken.
    Unknown,
    /// All of them.
    Walk,
}

/// How a search went so far. Without a payload: of an enum that has one, part is uninitialised, and
/// the verifier refuses copies of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// No port is free.
    Nothing,
    /// The one in [`Search::public`] was claimed.
    Claimed,
    /// An expired session has the port.
    Occupied,
    /// The table is full.
    TableFull,
}

/// Looks for a free port, on one address after the other, and claims it.
///
/// # Errors
///
/// Why there is none to be had.
#[inline(never)]
pub fn search<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    binds: bool,
) -> Result<(Address, Port), DropReason> {
    let space = tables.search_space().ok_or(DropReason::Internal)?;
    // SAFETY: the tables' own memory, lent for this claim.
    let search = unsafe { &mut *space };
    search.all_key = search.searched(gateway, binds);
    if let Some(since) = tables.exhausted_since(&search.all_key)
        && elapsed(claim.now, since) < WALK_AGAIN
    {
        return Err(DropReason::PortExhausted);
    }
    search.random = unguessable(gateway.secret, &claim.flow, claim.vpc, tables.random());
    search.binds = binds;
    search.outcome = Outcome::Nothing;
    search.next_part = 0;
    search.slot = search.place.slot;
    search.phase = Phase::Over;
    search.left = 0;
    search.since = claim.now;
    tables.search();
    // SAFETY: as above.
    let search = unsafe { &*space };
    match search.outcome {
        Outcome::Claimed => {
            let place = &search.place;
            let moves = binds && !place.has_block && search.public.0 != place.recorded;
            if moves && !moved(tables, claim, search) {
                return Err(DropReason::ClaimRace);
            }
            Ok(search.public)
        }
        Outcome::TableFull => Err(DropReason::TableFull),
        Outcome::Occupied => Err(DropReason::PortExhausted),
        Outcome::Nothing => {
            // A search that leaves expired sessions alone does not know.
            if search.reclaims {
                tables.remember_exhausted(&search.all_key, search.since);
            }
            Err(DropReason::PortExhausted)
        }
    }
}

/// Notes that a client is on the address of the port that was found; without that the port is given
/// back.
#[inline(never)]
fn moved<T: Tables>(tables: &T, claim: &Claim, search: &Search) -> bool {
    let client = client_key(claim.gateway, claim.vpc, &claim.flow);
    let moved = move_client(tables, &client, search.place.recorded, search.public.0);
    if !moved {
        remove_public(tables, &search.key);
        port_freed(tables, &search.outward, search.public, claim.gateway, true);
    }
    moved
}

/// Under which key it is remembered that no port is left: for `source` (one client, those on one
/// public address, or everybody), towards the remote end of `flow`, or with endpoint-independent
/// mapping towards anybody; there `rank` tells the ports of one rank from all of them.
#[inline(always)]
fn exhaustion_key(
    flow: &Flow,
    source: Address,
    rank: Port,
    gateway: u16,
    binds: bool,
) -> SessionKey {
    let mut flow = flow.with_source(source, Port::NONE);
    if binds {
        flow = flow.with_destination(Address::UNSPECIFIED, rank);
    }
    SessionKey::forward(&flow, gateway)
}

/// A session of `flow` has ended, or with `binds` its binding to this public end: there is a port.
#[inline(always)]
pub fn port_freed<T: Tables>(
    tables: &T,
    flow: &Flow,
    public: (Address, Port),
    gateway: u16,
    binds: bool,
) {
    unlearn(tables, flow, public, binds);
    for source in [Address::UNSPECIFIED, flow.source, public.0] {
        forget_exhausted(tables, flow, source, Port::NONE, gateway, binds);
    }
    if binds {
        let rank = Part::kind_of(public.1);
        forget_exhausted(tables, flow, public.0, rank, gateway, true);
    }
}

/// Not inlined, for the sake of the small BPF stack.
#[inline(never)]
fn forget_exhausted<T: Tables>(
    tables: &T,
    flow: &Flow,
    source: Address,
    rank: Port,
    gateway: u16,
    binds: bool,
) {
    tables.forget_exhausted(&exhaustion_key(flow, source, rank, gateway, binds));
}

impl Search {
    /// Gets ready for a claim; where the search is to begin, the caller says.
    #[inline(always)]
    pub(crate) fn prepare(&mut self, claim: &Claim, reclaims: bool) -> &mut Place {
        self.claim = *claim;
        self.outward = claim.outward();
        self.reclaims = reclaims;
        self.occupant = SessionKey::default();
        &mut self.place
    }

    /// Paired pooling (RFC 4787 REQ-2): a client that has ports on an address goes to no other one.
    #[inline(always)]
    pub(crate) fn pair(&mut self, before: Paired, gateway: &Gateway) {
        let place = &mut self.place;
        place.recorded = before.address();
        if place.has_block || before.ports() == 0 {
            return;
        }
        for (slot, address) in (0..gateway.address_count).zip(&gateway.addresses) {
            if *address == place.recorded {
                place.slot = slot;
                place.may_move = false;
            }
        }
    }

    /// [`exhaustion_key`] of all that the search goes through. A client that is bound to one address or
    /// block can be out of ports while others are not.
    #[inline(always)]
    fn searched(&self, gateway: &Gateway, binds: bool) -> SessionKey {
        let flow = &self.outward;
        let source = if self.place.has_block || gateway.is(Gateway::KEEPS_SOURCE) {
            flow.source
        } else if self.place.may_move {
            Address::UNSPECIFIED
        } else {
            address_in(gateway, self.place.slot, flow.source)
        };
        exhaustion_key(flow, source, Port::NONE, self.claim.gateway, binds)
    }

    /// One attempt, or one step on the way to the next; true when it was the last one. What it calls is
    /// not inlined, for the sake of the small BPF stack.
    #[inline(always)]
    pub fn attempt<T: Tables>(&mut self, tables: &T) -> bool {
        if self.left == 0 {
            return !self.go_on(tables);
        }
        match self.phase {
            Phase::Over => return true,
            Phase::Window => {
                self.show_window(tables);
                return false;
            }
            Phase::Probe | Phase::Walk => {
                self.next_candidate(tables);
                self.tried += 1;
                self.left -= 1;
            }
            Phase::Unknown => {
                if !self.next_unknown(tables) {
                    self.tried += 1;
                    self.left -= 1;
                    self.phase = Phase::Window;
                    return false;
                }
                self.surprises += 1;
                if self.surprises == SURPRISES {
                    self.left = 0;
                }
            }
        }
        self.outcome = self.claim_port(tables);
        if self.teaches() {
            self.learn(tables);
        }
        self.outcome != Outcome::Nothing
    }

    /// What came of the attempt is worth remembering. A walk through a part that is known to be full
    /// has nothing to teach, unless it finds a port.
    #[inline(always)]
    fn teaches(&self) -> bool {
        let is_news = match self.phase {
            Phase::Unknown => true,
            Phase::Walk => self.surprises == SURPRISES || self.outcome == Outcome::Claimed,
            Phase::Probe | Phase::Window | Phase::Over => false,
        };
        is_news && self.is_large() && matches!(self.outcome, Outcome::Nothing | Outcome::Claimed)
    }

    /// The port to keep. Endpoint-independent mappings are all alike: keeping ports would only give
    /// them away.
    #[inline(always)]
    fn kept(&self) -> Port {
        if self.binds {
            Port::NONE
        } else {
            self.claim.flow.source_port
        }
    }

    /// What comes in for the port that is tried.
    #[inline(always)]
    fn inbound(&self) -> Flow {
        self.claim.inbound(self.public)
    }

    #[inline(always)]
    fn is_large(&self) -> bool {
        self.candidates.part().size() > SMALL
    }

    /// The ports of the address the search is at.
    #[inline(always)]
    fn pool<'a, T: Tables>(&self, tables: &'a T) -> Option<&'a PortPool> {
        let gateway = tables.gateway(u32::from(self.claim.gateway))?;
        gateway.pools.get(self.slot as usize)
    }

    #[inline(never)]
    fn next_candidate<T: Tables>(&mut self, tables: &T) {
        let Some(pool) = self.pool(tables) else {
            return;
        };
        let port = if self.phase == Phase::Probe {
            self.candidates.probe(pool, self.kept(), self.tried)
        } else {
            self.candidates.step(pool, self.tried)
        };
        self.public.1 = port;
    }

    /// Goes on to the next window of a part.
    #[inline(never)]
    fn show_window<T: Tables>(&mut self, tables: &T) {
        let Some(pool) = self.pool(tables) else {
            return;
        };
        let turned = (self.random as u32 >> 9).wrapping_add(self.tried);
        let number = turned.checked_rem(self.windows).unwrap_or(0);
        self.candidates.part().show(pool, number, &mut self.window);
        self.public.1 = Port::new(self.window.base);
        self.window_key = taken_key(&self.inbound(), self.binds);
        if tables.taken_ports(&self.window_key).is_none() {
            tables.add_taken_ports(&self.window_key);
        }
        self.phase = Phase::Unknown;
    }

    /// Finds a port in the window that is not known to be taken; false when there is none.
    #[inline(never)]
    fn next_unknown<T: Tables>(&mut self, tables: &T) -> bool {
        let Some(taken) = tables.taken_ports(&self.window_key) else {
            return false;
        };
        // SAFETY: an entry's memory stays valid, and any bits will do.
        self.public.1 = unsafe { (*taken).free(&self.window, (self.random >> 40) as u32) };
        self.public.1 != Port::NONE
    }

    /// Remembers that the port is taken.
    #[inline(never)]
    fn learn<T: Tables>(&mut self, tables: &T) {
        self.window_key = taken_key(&self.inbound(), self.binds);
        learn(tables, &self.window_key, self.public.1);
    }

    /// Claims the port in `public`, if it is free.
    #[inline(always)]
    fn claim_port<T: Tables>(&mut self, tables: &T) -> Outcome {
        let Some(gateway) = tables.gateway(u32::from(self.claim.gateway)) else {
            return Outcome::TableFull;
        };
        // The port that is to be kept, and all of them once they are walked through, are taken from
        // sessions that are over.
        let may_reclaim = self.reclaims
            && (self.phase == Phase::Walk || (self.phase == Phase::Probe && self.tried == 1));
        let inbound = self.inbound();
        if gateway.is(Gateway::FORWARDS)
            && live(tables, &bound_key(&inbound)).is_some_and(|bound| bound.is_static())
        {
            return Outcome::Nothing;
        }
        let claimed = if self.binds {
            self.claim_binding(tables, gateway, &inbound)
        } else {
            self.key = self.claim.reverse_key(&inbound);
            self.claim
                .write_reverse_half(&self.key, Holds::NOTHING, &mut self.half);
            if self.phase == Phase::Probe {
                tables.prepare(
                    &self.key,
                    &SessionKey::forward(&self.claim.flow, self.claim.vpc),
                );
            }
            let claimed = tables.insert_half(Side::Outside, &self.key, &self.half);
            if claimed == Err(Refused::Exists)
                && may_reclaim
                && let Some(occupant) = expired_holder(tables, &self.key, self.claim.now)
            {
                self.occupant = occupant;
                return Outcome::Occupied;
            }
            claimed
        };
        match claimed {
            Ok(()) => Outcome::Claimed,
            // Busy is what kernels before 6.15 may answer under contention.
            Err(Refused::Exists | Refused::Busy) => Outcome::Nothing,
            Err(Refused::Full) => Outcome::TableFull,
        }
    }

    /// Goes on to the next phase of a part, or to the next part; false when there is none.
    #[inline(never)]
    fn go_on<T: Tables>(&mut self, tables: &T) -> bool {
        self.tried = 0;
        match self.phase {
            Phase::Probe if self.is_large() => {
                self.phase = Phase::Window;
                self.left = self.windows;
                return true;
            }
            Phase::Probe | Phase::Window | Phase::Unknown => {
                self.phase = Phase::Walk;
                self.left = self.candidates.part().size();
                return true;
            }
            // A search that leaves expired sessions alone does not know.
            Phase::Walk if self.reclaims && self.is_remembered() => {
                tables.remember_exhausted(&self.part_key, self.claim.now);
            }
            Phase::Walk | Phase::Over => {}
        }
        self.advance(tables)
    }

    /// Goes on to the next part: the ranks of an address in turn, then the next address; false when
    /// there is none.
    #[inline(always)]
    fn advance<T: Tables>(&mut self, tables: &T) -> bool {
        let Some(gateway) = tables.gateway(u32::from(self.claim.gateway)) else {
            return false;
        };
        let is_ranked = self.binds && !self.place.has_block;
        let (turn, rank) = if is_ranked {
            (self.next_part / RANKS, self.next_part % RANKS)
        } else {
            (self.next_part, 0)
        };
        if turn >= gateway.address_count || (turn != 0 && !self.place.may_move) {
            return false;
        }
        self.next_part += 1;
        self.slot = self.place.slot + turn;
        if self.slot >= gateway.address_count {
            self.slot -= gateway.address_count;
        }
        let slot = self.slot as usize;
        let Some(pool) = gateway.pools.get(slot) else {
            return false;
        };
        let address = address_in(gateway, self.slot, self.claim.flow.source);
        self.public.0 = address;
        let flow = &self.outward;
        let part = if is_ranked {
            Part::ranked(pool, flow.source_port, rank)
        } else if self.place.has_block {
            self.place.block
        } else {
            Part::all(pool)
        };
        self.candidates = Candidates::new(part, self.random);
        self.windows = part.windows(pool);
        self.surprises = 0;
        self.phase = Phase::Probe;
        self.left = if self.is_large() { PROBES } else { 1 };
        self.part_key = exhaustion_key(flow, address, part.kind(), self.claim.gateway, self.binds);
        if part.size() == 0 || self.is_known_full(tables) {
            self.phase = Phase::Over;
            self.left = 0;
        }
        true
    }

    /// It is remembered of this part that it is full. Of a small one it is quickly found out, and the
    /// block of a client is all that the client has.
    #[inline(always)]
    fn is_remembered(&self) -> bool {
        self.is_large() && !self.place.has_block
    }

    #[inline(always)]
    fn is_known_full<T: Tables>(&mut self, tables: &T) -> bool {
        if !self.is_remembered() {
            return false;
        }
        let Some(since) = tables.exhausted_since(&self.part_key) else {
            return false;
        };
        let age = elapsed(self.claim.now, since);
        if age < WALK_AGAIN && age > elapsed(self.claim.now, self.since) {
            self.since = since;
        }
        age < WALK_AGAIN
    }

    #[inline(always)]
    fn claim_binding<T: Tables>(
        &mut self,
        tables: &T,
        gateway: &Gateway,
        inbound: &Flow,
    ) -> Result<(), Refused> {
        self.key = bound_key(inbound);
        let Claim {
            flow,
            vpc,
            gateway: number,
            ..
        } = self.claim;
        self.bound = Binding::held(&self.key, flow.source, flow.source_port, number, vpc);
        match tables.insert_binding(Side::Outside, &self.key, &self.bound) {
            Err(Refused::Exists) if wake(tables, &self.key, gateway.port_rest) => {
                tables.insert_binding(Side::Outside, &self.key, &self.bound)
            }
            other => other,
        }
    }
}
