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
    flow::Flow,
    map_types::{
        Binding, Counter, Gateway, Holds, MAX_PUBLIC_IPS, Session, SessionKey, binding_key,
        bound_key,
    },
    port_pool::{Candidates, PROBES, Part, RANKS, unguessable},
    sessions::{end_if_expired, forward_key},
    shared::{
        bind, client_key, count_port, hold_binding, hold_client, live, move_client, permit,
        release_binding, release_client, revoke, uncount_port, wake,
    },
    tables::{Refused, Side, Tables},
};

/// Ticks after which a full pool is walked through again, in case a session ended unnoticed.
const WALK_AGAIN: u32 = 8;

/// A session to be made.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// As the inside host sends it, or would answer.
    pub flow: Flow,
    /// Its VPC.
    pub vpc: u16,
    /// The NAT gateway's number.
    pub gateway: u16,
    /// Now.
    pub now: Tick,
}

/// One search for a free port among a part of one pool.
pub struct Search {
    claim: Claim,
    candidates: Candidates,
    slot: u32,
    /// Claims the public half of a binding, rather than a reverse half.
    binds: bool,
    outcome: Outcome,
    public: (Address, Port),
}

/// How a search went so far. Without a payload: of an enum that has one, part is uninitialised, and
/// the verifier refuses copies of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// No port is free.
    Nothing,
    /// The one in [`Search::public`] was claimed.
    Claimed,
    /// The table is full.
    TableFull,
}

/// Makes the session, or finds that another CPU was faster: either way its forward half is there
/// afterwards, unless there is an error.
///
/// # Errors
///
/// Why there can be no such session.
#[inline(never)]
pub fn claim<T: Tables>(tables: &T, claim: &Claim) -> Result<(), DropReason> {
    let gateway = tables
        .gateway(u32::from(claim.gateway))
        .ok_or(DropReason::Internal)?;
    let Claim { flow, .. } = *claim;
    let client = client_key(claim.gateway, &flow);
    let mut place = first_place(gateway, claim)?;
    let mut holds = Holds::NOTHING;
    if gateway.is(Gateway::COUNTS_CLIENTS) {
        let limit = gateway.max_sessions_per_client;
        let (slot, is_new) = hold_client(tables, &client, place.slot, limit)?;
        // Paired pooling (RFC 4787 REQ-2): only who has no sessions yet may go to another address.
        if gateway.is(Gateway::ENDPOINT_INDEPENDENT) && place.block.is_none() {
            place.slot = slot;
            place.may_move = is_new;
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

/// Where the search for a port begins.
struct Place {
    slot: u32,
    may_move: bool,
    /// The block of a deterministic gateway's client; all ports otherwise.
    block: Option<Part>,
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
            may_move: false,
            block: Some(Part::block(block.first, block.size)),
        });
    }
    let client = Flow {
        source: claim.flow.source,
        ..Flow::default()
    };
    let hash = unguessable(gateway.secret, &client, claim.vpc, 0) as u32;
    Ok(Place {
        slot: ((u64::from(hash) * u64::from(gateway.address_count)) >> 32) as u32,
        may_move: true,
        block: None,
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
    let random = unguessable(gateway.secret, &claim.flow, claim.vpc, tables.random());
    let mut search = Search {
        claim: *claim,
        candidates: Candidates::new(Part::block(0, 0), 0),
        slot: place.slot,
        binds,
        outcome: Outcome::Nothing,
        public: (Address::UNSPECIFIED, Port::NONE),
    };
    for turn in 0..MAX_PUBLIC_IPS as u32 {
        if turn >= gateway.address_count || (turn != 0 && !place.may_move) {
            break;
        }
        search.slot = place.slot + turn;
        if search.slot >= gateway.address_count {
            search.slot -= gateway.address_count;
        }
        search_address(tables, gateway, place, random, &mut search);
        match search.outcome {
            Outcome::Claimed => {
                if turn != 0 && binds {
                    move_client(tables, &client_key(claim.gateway, &claim.flow), search.slot);
                }
                return Ok(search.public);
            }
            Outcome::TableFull => return Err(DropReason::TableFull),
            Outcome::Nothing => {}
        }
    }
    tables.remember_exhausted(&known_key, claim.now);
    Err(DropReason::PortExhausted)
}

/// [`exhaustion_key`] of what a search goes through. A client that is bound to one address or block
/// can be out of ports while others are not.
#[inline(always)]
fn searched(gateway: &Gateway, claim: &Claim, place: &Place, binds: bool) -> SessionKey {
    let source = match place.block {
        Some(_) => claim.flow.source,
        None if place.may_move => Address::UNSPECIFIED,
        None => gateway
            .addresses
            .get(place.slot as usize)
            .copied()
            .unwrap_or(Address::UNSPECIFIED),
    };
    exhaustion_key(&claim.flow, source, claim.gateway, binds)
}

/// Looks through the ports of one address.
#[inline(always)]
fn search_address<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    place: &Place,
    random: u64,
    search: &mut Search,
) {
    let Some(pool) = gateway.pools.get(search.slot as usize) else {
        return;
    };
    if search.binds && place.block.is_none() {
        for rank in 0..RANKS {
            let part = Part::ranked(pool, search.claim.flow.source_port, rank);
            search_part(tables, part, random, search);
            if search.outcome != Outcome::Nothing {
                return;
            }
        }
    } else {
        let part = place.block.unwrap_or(Part::all(pool));
        search_part(tables, part, random, search);
    }
}

#[inline(always)]
fn search_part<T: Tables>(tables: &T, part: Part, random: u64, search: &mut Search) {
    search.candidates = Candidates::new(part, random);
    tables.search(part.attempts(), search);
}

impl Search {
    /// One attempt; true when it was the last one.
    #[inline(always)]
    pub fn attempt<T: Tables>(&mut self, tables: &T, attempt: u32) -> bool {
        let Some(gateway) = tables.gateway(u32::from(self.claim.gateway)) else {
            return true;
        };
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
            // The port that is to be kept, and all of them once they are walked through, are taken
            // from sessions that are over.
            self.claim_reverse(tables, &inbound, attempt == 0 || attempt >= PROBES)
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

    #[inline(always)]
    fn claim_binding<T: Tables>(
        &self,
        tables: &T,
        gateway: &Gateway,
        inbound: &Flow,
    ) -> Result<(), Refused> {
        let key = bound_key(inbound);
        let Claim {
            flow,
            vpc,
            gateway: number,
            ..
        } = self.claim;
        let bound = Binding::held(&key, flow.source, flow.source_port, number, vpc);
        match tables.insert_binding(Side::Outside, &key, &bound) {
            Err(Refused::Exists)
                if gateway.port_rest != 0 && wake(tables, &key, gateway.port_rest) =>
            {
                tables.insert_binding(Side::Outside, &key, &bound)
            }
            other => other,
        }
    }

    #[inline(always)]
    fn claim_reverse<T: Tables>(
        &self,
        tables: &T,
        inbound: &Flow,
        reclaims: bool,
    ) -> Result<(), Refused> {
        let key = SessionKey::reverse(inbound);
        let half = self.claim.reverse_half(&key);
        match insert_half(tables, Side::Outside, &key, &half, self.claim.now) {
            Err(Refused::Exists) if reclaims && frees_expired(tables, &key, self.claim.now) => {
                tables.insert_half(Side::Outside, &key, &half)
            }
            other => other,
        }
    }
}

/// Ends the session of a reverse half if it is expired; true when it was.
#[inline(never)]
fn frees_expired<T: Tables>(tables: &T, key: &SessionKey, now: Tick) -> bool {
    let Some(half) = tables.half(Side::Outside, key) else {
        return false;
    };
    // SAFETY: an entry's memory stays valid; the session it names is looked at as a whole.
    let copy = unsafe { *half };
    let ended = end_if_expired(tables, &forward_key(key, &copy), now);
    if ended {
        tables.count(Counter::SessionsReclaimed);
    }
    ended
}

/// Inserts a half, in a full table after having made room.
#[inline(always)]
fn insert_half<T: Tables>(
    tables: &T,
    side: Side,
    key: &SessionKey,
    half: &Session,
    now: Tick,
) -> Result<(), Refused> {
    match tables.insert_half(side, key, half) {
        Err(Refused::Full) if tables.make_room(now) => tables.insert_half(side, key, half),
        other => other,
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

    #[inline(always)]
    fn forward_half(&self, key: &SessionKey, public: (Address, Port)) -> Session {
        Session::new(key, public.0, public.1, self.gateway, self.now)
    }
}

/// Enters the session of a flow whose public address and port a binding or a forward decides, with
/// the leave for its remote end. The forward half first: nobody else can have the reverse one, and
/// another CPU that finds it there can go on. Answers false when it was another CPU that made it.
#[inline(always)]
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
    let key = SessionKey::forward(&claim.flow, claim.vpc);
    let forward = claim.forward_half(&key, public).holding(holds);
    match insert_half(tables, Side::Inside, &key, &forward, claim.now) {
        Ok(()) => {}
        Err(Refused::Exists) => return Ok(false),
        Err(refused) => return Err(refused_reason(refused)),
    }
    let source = (claim.flow.source, claim.flow.source_port);
    let permitted = if permits {
        permit(tables, &inbound, source, claim.gateway, claim.vpc)
    } else {
        Ok(())
    };
    let reverse_key = SessionKey::reverse(&inbound);
    let reverse = claim.reverse_half(&reverse_key);
    let entered = match permitted {
        Ok(()) => insert_half(tables, Side::Outside, &reverse_key, &reverse, claim.now)
            .map_err(refused_reason),
        Err(reason) => Err(reason),
    };
    if let Err(reason) = entered {
        if permits && permitted.is_ok() {
            revoke(tables, &inbound);
        }
        tables.remove_half(Side::Inside, &key);
        return Err(reason);
    }
    Ok(true)
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
    let (address, port) = public;
    let key = SessionKey::forward(&claim.flow, claim.vpc);
    let half = claim.forward_half(&key, public).holding(holds);
    let inserted = insert_half(tables, Side::Inside, &key, &half, claim.now);
    if inserted.is_ok() {
        return Ok(true);
    }
    // Nobody else ever uses a reverse half that has no forward one.
    let inbound = claim.flow.with_source(address, port).reversed();
    tables.remove_half(Side::Outside, &SessionKey::reverse(&inbound));
    match inserted {
        Ok(()) | Err(Refused::Exists) => Ok(false),
        Err(refused) => Err(refused_reason(refused)),
    }
}
