//! Makes sessions: claims a public address and port for a flow, and enters both halves.
//!
//! A claim is an insert of a new key. With port overloading that is the reverse half: its key holds
//! the remote end too, so one port serves many remotes. With endpoint-independent mapping it is the
//! public half of a binding, which all sessions of an inside address and port share.

use crate::{
    address::{Address, Port},
    clock::{Tick, elapsed},
    deterministic,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{
        Binding, Counter, Gateway, Holds, MAX_PUBLIC_IPS, Session, SessionKey, binding_key,
        bound_key,
    },
    port_pool::{Candidates, PROBES, Part, RANKS, unguessable},
    sessions::{expired_holder, withdraw},
    shared::{
        bind, client_key, count_port, hold_binding, hold_client, live, move_client, permit,
        release_binding, release_client, revoke, uncount_port, wake,
    },
    tables::{Refused, Side, Tables},
};

/// Ticks after which a full pool is walked through again, in case a session ended unnoticed.
const WALK_AGAIN: u32 = 8;

/// A session to be made.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// As the inside host sends it, or would answer.
    pub flow: Flow,
    /// Its VPC.
    pub vpc: u16,
    /// The NAT gateway's number.
    pub gateway: u16,
    /// Now.
    pub now: Tick,
    /// Somebody outside wants it: it takes a binding or a forward that is there, and no new port.
    pub lets_in: bool,
}

/// One search for a free port: through the parts of one pool after the other.
#[derive(Clone, Copy)]
pub struct Search {
    claim: Claim,
    place: Place,
    random: u64,
    /// Claims the public half of a binding, rather than a reverse half.
    binds: bool,
    /// Stops at an expired session that has a port it looks for.
    reclaims: bool,
    outcome: Outcome,
    public: (Address, Port),
    /// The forward half of that session; otherwise empty.
    occupant: SessionKey,
    /// Where the search is: the number of the next part, and what is left of this one.
    next_part: u32,
    slot: u32,
    candidates: Candidates,
    tried: u32,
    left: u32,
    /// What is inserted, here because there is little room on a BPF stack.
    key: SessionKey,
    half: Session,
    bound: Binding,
}

/// Calls of [`Search::attempt`] after which it has gone through everything, and more.
pub const ATTEMPTS: u32 = MAX_PUBLIC_IPS as u32 * (u16::MAX as u32 + RANKS * (PROBES + 1)) + 1;

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

/// Makes the session, or finds that another CPU was faster: either way its forward half is there
/// afterwards, unless there is an error.
///
/// # Errors
///
/// Why there can be no such session.
pub fn claim<T: Tables>(tables: &T, claim: &Claim) -> Result<(), DropReason> {
    for round in 0..ROUNDS {
        if claim_round(tables, claim, round)? {
            return Ok(());
        }
    }
    Err(DropReason::PortExhausted)
}

/// Rounds of a claim, at most.
pub const ROUNDS: u32 = 4;

/// One round of [`claim`]; false when it takes another one. Ending a session takes much of a BPF stack,
/// and so does the search that meets an expired one: the search stops there, the session is ended, and
/// the next round searches again, for what is free by then.
///
/// # Errors
///
/// As for [`claim`].
#[inline(always)]
pub fn claim_round<T: Tables>(tables: &T, claim: &Claim, round: u32) -> Result<bool, DropReason> {
    if round == 0 {
        // What is left of an earlier session of this flow.
        reclaim(
            tables,
            &SessionKey::forward(&claim.flow, claim.vpc),
            claim.now,
        );
    }
    let reclaims = round & 1 == 0;
    let made = make(tables, claim, reclaims);
    if made != Err(DropReason::PortExhausted) {
        return made.map(|()| true);
    }
    if !reclaims && round + 1 < ROUNDS {
        // Somebody else took what was freed.
        return Ok(false);
    }
    if reclaims && let Some(space) = tables.search_space() {
        // SAFETY: the tables' own memory, lent for this claim.
        let occupant = unsafe { (*space).occupant };
        if occupant != SessionKey::default() {
            reclaim(tables, &occupant, claim.now);
            return Ok(false);
        }
    }
    made.map(|()| true)
}

#[inline(always)]
fn reclaim<T: Tables>(tables: &T, key: &SessionKey, now: Tick) {
    if tables.end_if_expired(key, now) {
        tables.count(Counter::SessionsReclaimed);
    }
}

#[inline(never)]
fn make<T: Tables>(tables: &T, claim: &Claim, reclaims: bool) -> Result<(), DropReason> {
    let gateway = tables
        .gateway(u32::from(claim.gateway))
        .ok_or(DropReason::Internal)?;
    if let Some(space) = tables.search_space() {
        // SAFETY: as in `claim`.
        unsafe {
            (*space).occupant = SessionKey::default();
            (*space).reclaims = reclaims;
        }
    }
    let Claim { flow, .. } = *claim;
    let client = client_key(claim.gateway, &flow);
    let mut place = first_place(gateway, claim)?;
    let mut holds = Holds::NOTHING;
    if gateway.is(Gateway::COUNTS_CLIENTS) {
        let limit = gateway.max_sessions_per_client;
        let (slot, has_ports) = hold_client(tables, &client, place.slot, limit)?;
        // Paired pooling (RFC 4787 REQ-2): who has ports on an address goes to no other one.
        place.recorded = slot;
        let is_paired = gateway.is(Gateway::ENDPOINT_INDEPENDENT) && !place.has_block;
        if is_paired && has_ports && slot < gateway.address_count {
            place.slot = slot;
            place.may_move = false;
        }
        holds = Holds::CLIENT;
    }
    let entered = if gateway.is(Gateway::ENDPOINT_INDEPENDENT) {
        bound(tables, gateway, claim, &place, holds)
    } else {
        overload(tables, gateway, claim, &place, holds)
    };
    if entered == Ok(true) {
        tables.count(Counter::SessionsMade);
    } else if holds.include(Holds::CLIENT) {
        release_client(tables, &client);
    }
    entered.map(|_| ())
}

/// Where the search for a port begins. Whole, see [`Outcome`].
#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    /// What the client's entry says.
    recorded: u32,
    may_move: bool,
    /// The client of a deterministic gateway has the ports of `block` only.
    has_block: bool,
    block: Part,
}

/// A client keeps to one public IP as long as it has ports (RFC 4787 REQ-2). A deterministic
/// gateway's has one block of ports on one of them (RFC 7422).
#[inline(always)]
fn first_place(gateway: &Gateway, claim: &Claim) -> Result<Place, DropReason> {
    if gateway.client_count != 0 {
        let block =
            deterministic_block(gateway, claim.flow.source).ok_or(DropReason::PortExhausted)?;
        return Ok(Place {
            slot: block.slot,
            recorded: block.slot,
            may_move: false,
            has_block: true,
            block: Part::block(block.first, block.size),
        });
    }
    let client = Flow {
        source: claim.flow.source,
        ..Flow::default()
    };
    let hash = unguessable(gateway.secret, &client, claim.vpc, 0) as u32;
    let slot = ((u64::from(hash) * u64::from(gateway.address_count)) >> 32) as u32;
    Ok(Place {
        slot,
        recorded: slot,
        may_move: true,
        has_block: false,
        block: Part::block(0, 0),
    })
}

/// The block of a deterministic gateway's client; `None` when the address is none of its clients'.
#[inline(always)]
fn deterministic_block(gateway: &Gateway, client: Address) -> Option<deterministic::Block> {
    deterministic::block(
        gateway.pools[0].size(),
        gateway.address_count,
        gateway.client_count,
        client.offset_from(gateway.clients),
    )
}

/// Under which key it is remembered that no port is left: for `source` (one client, those on one
/// public address, or everybody), towards the remote end of `flow`, or with endpoint-independent
/// mapping towards anybody.
#[inline(always)]
fn exhaustion_key(flow: &Flow, source: Address, gateway: u16, binds: bool) -> SessionKey {
    let mut flow = flow.with_source(source, Port::NONE);
    if binds {
        flow = flow.with_destination(Address::UNSPECIFIED, Port::NONE);
    }
    SessionKey::forward(&flow, gateway)
}

/// A session of `flow` has ended, or with `binds` its binding to this public address: there is a port.
#[inline(always)]
pub fn port_freed<T: Tables>(tables: &T, flow: &Flow, public: Address, gateway: u16, binds: bool) {
    for source in [Address::UNSPECIFIED, flow.source, public] {
        tables.forget_exhausted(&exhaustion_key(flow, source, gateway, binds));
    }
}

/// Profile aws: takes a port towards the remote end, or the one that a forward gives this inside
/// address and port. Answers false when another CPU has made the session.
#[inline(always)]
fn overload<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    place: &Place,
    holds: Holds,
) -> Result<bool, DropReason> {
    if gateway.is(Gateway::FORWARDS)
        && let Some((address, port, _)) =
            hold_binding(tables, &binding_key(claim.gateway, &claim.flow))?
    {
        return enter_bound(tables, gateway, claim, (address, port), holds);
    }
    if claim.lets_in {
        return Err(DropReason::NoSession);
    }
    let (address, port) = search(tables, gateway, claim, place, false)?;
    enter_forward(tables, claim, (address, port), holds)
}

/// Profile rfc: takes the port of the binding that all sessions of this inside address and port share.
/// Answers false when another CPU has made the session.
#[inline(always)]
fn bound<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    place: &Place,
    holds: Holds,
) -> Result<bool, DropReason> {
    let (address, port, held) = hold_or_bind(tables, gateway, claim, place)?;
    let entered = enter_bound(tables, gateway, claim, (address, port), holds.and(held));
    if entered != Ok(true) && held.include(Holds::BINDING) {
        let client = client_key(claim.gateway, &claim.flow);
        release_binding(tables, &binding_key(claim.gateway, &claim.flow), &client);
    }
    entered
}

/// Profile rfc: takes hold of the binding of this inside address and port, or makes it.
#[inline(always)]
fn hold_or_bind<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    place: &Place,
) -> Result<(Address, Port, Holds), DropReason> {
    let key = binding_key(claim.gateway, &claim.flow);
    if let Some(held) = hold_binding(tables, &key)? {
        return Ok(held);
    }
    if claim.lets_in {
        return Err(DropReason::NoSession);
    }
    let client = client_key(claim.gateway, &claim.flow);
    count_port(tables, &client, gateway.max_ports_per_client)?;
    let bound = search(tables, gateway, claim, place, true)
        .and_then(|public| bind(tables, &key, public, claim.gateway, claim.vpc));
    match bound {
        Ok((address, port, is_new)) => {
            if !is_new {
                uncount_port(tables, &client);
            }
            Ok((address, port, Holds::BINDING))
        }
        Err(reason) => {
            uncount_port(tables, &client);
            Err(reason)
        }
    }
}

/// Looks for a free port, on one address after the other, and claims it.
#[inline(never)]
fn search<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    place: &Place,
    binds: bool,
) -> Result<(Address, Port), DropReason> {
    let known_key = searched(gateway, claim, place, binds);
    if let Some(since) = tables.exhausted_since(&known_key)
        && elapsed(claim.now, since) < WALK_AGAIN
    {
        return Err(DropReason::PortExhausted);
    }
    let space = tables.search_space().ok_or(DropReason::Internal)?;
    // SAFETY: the tables' own memory, lent for this search.
    let search = unsafe { &mut *space };
    let reclaims = search.reclaims;
    *search = Search {
        claim: *claim,
        place: *place,
        random: unguessable(gateway.secret, &claim.flow, claim.vpc, tables.random()),
        binds,
        reclaims,
        outcome: Outcome::Nothing,
        public: (Address::UNSPECIFIED, Port::NONE),
        occupant: SessionKey::default(),
        next_part: 0,
        slot: place.slot,
        candidates: Candidates::new(Part::block(0, 0), 0),
        tried: 0,
        left: 0,
        key: SessionKey::default(),
        half: Session::default(),
        bound: Binding::default(),
    };
    tables.search();
    match search.outcome {
        Outcome::Claimed => {
            let moves = binds && !place.has_block && search.slot != place.recorded;
            if moves && !moved(tables, claim, search) {
                return Err(DropReason::ClaimRace);
            }
            Ok(search.public)
        }
        Outcome::TableFull => Err(DropReason::TableFull),
        Outcome::Occupied => Err(DropReason::PortExhausted),
        Outcome::Nothing => {
            // A search that leaves expired sessions alone does not know.
            if reclaims {
                tables.remember_exhausted(&known_key, claim.now);
            }
            Err(DropReason::PortExhausted)
        }
    }
}

/// Notes that a client is on the address of the port that was found; without that the port is given
/// back.
#[inline(never)]
fn moved<T: Tables>(tables: &T, claim: &Claim, search: &Search) -> bool {
    let client = client_key(claim.gateway, &claim.flow);
    let moved = move_client(tables, &client, search.slot);
    if !moved {
        tables.remove_binding(Side::Outside, &search.key);
    }
    moved
}

/// [`exhaustion_key`] of what a search goes through. A client that is bound to one address or block
/// can be out of ports while others are not.
#[inline(always)]
fn searched(gateway: &Gateway, claim: &Claim, place: &Place, binds: bool) -> SessionKey {
    let source = if place.has_block {
        claim.flow.source
    } else if place.may_move {
        Address::UNSPECIFIED
    } else {
        gateway
            .addresses
            .get(place.slot as usize)
            .copied()
            .unwrap_or(Address::UNSPECIFIED)
    };
    exhaustion_key(&claim.flow, source, claim.gateway, binds)
}

impl Search {
    /// One attempt, or the step to the next part; true when it was the last one.
    #[inline(always)]
    pub fn attempt<T: Tables>(&mut self, tables: &T) -> bool {
        let Some(gateway) = tables.gateway(u32::from(self.claim.gateway)) else {
            return true;
        };
        if self.left == 0 {
            return !self.advance(gateway);
        }
        let attempt = self.tried;
        self.tried += 1;
        self.left -= 1;
        let slot = self.slot as usize;
        let (Some(address), Some(pool)) = (gateway.addresses.get(slot), gateway.pools.get(slot))
        else {
            return true;
        };
        let flow = &self.claim.flow;
        // Endpoint-independent mappings are all alike: keeping ports would only give them away.
        let kept = if self.binds {
            Port::NONE
        } else {
            flow.source_port
        };
        let port = self.candidates.port(pool, kept, attempt);
        let inbound = flow.with_source(*address, port).reversed();
        if gateway.is(Gateway::FORWARDS)
            && live(tables, &bound_key(&inbound)).is_some_and(|bound| bound.is_static())
        {
            return false;
        }
        let claimed = if self.binds {
            self.claim_binding(tables, gateway, &inbound)
        } else {
            self.key = SessionKey::reverse(&inbound);
            self.half = self.claim.reverse_half(&self.key);
            let claimed = tables.insert_half(Side::Outside, &self.key, &self.half);
            // The port that is to be kept, and all of them once they are walked through, are taken
            // from sessions that are over.
            let may_reclaim = self.reclaims && (attempt == 0 || attempt >= PROBES);
            if claimed == Err(Refused::Exists)
                && may_reclaim
                && let Some(occupant) = expired_holder(tables, &self.key, self.claim.now)
            {
                self.occupant = occupant;
                self.outcome = Outcome::Occupied;
                return true;
            }
            claimed
        };
        self.public = (*address, port);
        self.outcome = match claimed {
            Ok(()) => Outcome::Claimed,
            // Busy is what kernels before 6.15 may answer under contention.
            Err(Refused::Exists | Refused::Busy) => return false,
            Err(Refused::Full) => Outcome::TableFull,
        };
        true
    }

    /// Goes on to the next part: the ranks of an address in turn, then the next address; false when
    /// there is none.
    #[inline(always)]
    fn advance(&mut self, gateway: &Gateway) -> bool {
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
        let Some(pool) = gateway.pools.get(self.slot as usize) else {
            return false;
        };
        let part = if is_ranked {
            Part::ranked(pool, self.claim.flow.source_port, rank)
        } else if self.place.has_block {
            self.place.block
        } else {
            Part::all(pool)
        };
        self.candidates = Candidates::new(part, self.random);
        self.tried = 0;
        self.left = part.attempts();
        true
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

impl Claim {
    #[inline(always)]
    fn reverse_half(&self, key: &SessionKey) -> Session {
        Session::new(
            key,
            self.flow.source,
            self.flow.source_port,
            self.vpc,
            self.now,
        )
    }
}

/// Not inlined, as [`insert_reverse`]: a half takes much of a BPF stack.
#[inline(never)]
fn insert_forward<T: Tables>(
    tables: &T,
    claim: &Claim,
    public: (Address, Port),
    holds: Holds,
) -> Result<(), Refused> {
    let key = SessionKey::forward(&claim.flow, claim.vpc);
    let half = Session::new(&key, public.0, public.1, claim.gateway, claim.now).holding(holds);
    tables.insert_half(Side::Inside, &key, &half)
}

#[inline(never)]
fn insert_reverse<T: Tables>(
    tables: &T,
    claim: &Claim,
    inbound: &Flow,
    holds: Holds,
) -> Result<(), Refused> {
    let key = SessionKey::reverse(inbound);
    let half = claim.reverse_half(&key).holding(holds);
    tables.insert_half(Side::Outside, &key, &half)
}

/// Enters the session of a flow whose public address and port a binding or a forward decides, with
/// the leave for its remote end. The forward half before the reverse one: nobody else can have that,
/// and another CPU that finds the forward one can go on. Answers false when it was another CPU that made it.
#[inline(never)]
fn enter_bound<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    public: (Address, Port),
    holds: Holds,
) -> Result<bool, DropReason> {
    let inbound = claim.flow.with_source(public.0, public.1).reversed();
    let permits = gateway.is(Gateway::FILTER_BY_ADDRESS);
    let holds = if permits {
        holds.and(Holds::PERMISSION)
    } else {
        holds
    };
    let is_outbound_only =
        gateway.is(Gateway::UDP_OUTBOUND_REFRESH) && claim.flow.protocol == protocol::UDP;
    let reverse_holds = if is_outbound_only {
        Holds::NO_REFRESH
    } else {
        Holds::NOTHING
    };
    if permits {
        let source = (claim.flow.source, claim.flow.source_port);
        permit(tables, &inbound, source, claim.gateway, claim.vpc)?;
    }
    let refused = match insert_forward(tables, claim, public, holds) {
        Ok(()) => match insert_reverse(tables, claim, &inbound, reverse_holds) {
            Ok(()) => return Ok(true),
            Err(refused) => {
                let key = SessionKey::forward(&claim.flow, claim.vpc);
                withdraw(tables, Side::Inside, &key);
                refused_reason(refused)
            }
        },
        Err(Refused::Exists) => {
            if permits {
                revoke(tables, &inbound);
            }
            return Ok(false);
        }
        Err(refused) => refused_reason(refused),
    };
    if permits {
        revoke(tables, &inbound);
    }
    Err(refused)
}

/// Why a session that could not be entered is not there.
#[inline(always)]
const fn refused_reason(refused: Refused) -> DropReason {
    match refused {
        // What is there is being removed.
        Refused::Exists | Refused::Busy => DropReason::ClaimRace,
        Refused::Full => DropReason::TableFull,
    }
}

/// Enters the forward half of a session whose reverse half was just inserted; without it that is
/// given back. Answers false when another CPU has made it.
#[inline(never)]
fn enter_forward<T: Tables>(
    tables: &T,
    claim: &Claim,
    public: (Address, Port),
    holds: Holds,
) -> Result<bool, DropReason> {
    let inserted = insert_forward(tables, claim, public, holds);
    if inserted.is_ok() {
        return Ok(true);
    }
    // Nobody else ever uses a reverse half that has no forward one.
    let inbound = claim.flow.with_source(public.0, public.1).reversed();
    withdraw(tables, Side::Outside, &SessionKey::reverse(&inbound));
    match inserted {
        Ok(()) | Err(Refused::Exists) => Ok(false),
        Err(refused) => Err(refused_reason(refused)),
    }
}
