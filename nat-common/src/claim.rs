//! Makes sessions: claims a public address and port for a flow, and enters both halves.
//!
//! A claim is an insert of a new key. With port overloading that is the reverse half: its key holds
//! the remote end too, so one port serves many remotes. With endpoint-independent mapping it is the
//! public half of a binding, which all sessions of an inside address and port share.

use crate::{
    address::{Address, Port},
    clock::Tick,
    deterministic,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{Counter, Far, Gateway, Holds, Session, SessionKey, binding_key},
    port_pool::{Part, unguessable},
    port_search::{Place, port_freed, search},
    sessions::{is_tracker, withdraw},
    shared::{
        bind, client_key, count_port, hold_binding, hold_client, permit, release_binding,
        release_client, revoke, uncount_port,
    },
    tables::{Refused, Side, Tables},
};

/// A session to be made.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// As the inside host sends it, or would answer.
    pub flow: Flow,
    /// Its VPC, and what else the keys of its session say.
    pub vpc: u16,
    /// The NAT gateway's number.
    pub gateway: u16,
    /// Now.
    pub now: Tick,
    /// What its source becomes, ports unchanged, in a session of [`crate::map_types::TRACKER`].
    pub mapped: Address,
    /// What its destination becomes.
    pub far: Far,
    /// Somebody outside wants it: it takes a binding or a forward that is there, and no new port.
    pub lets_in: bool,
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
    let made = tables.make(claim, reclaims);
    if made != Entry::PortExhausted {
        return made.result();
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
    made.result()
}

#[inline(always)]
fn reclaim<T: Tables>(tables: &T, key: &SessionKey, now: Tick) {
    if tables.end_if_expired(key, now) {
        tables.count(Counter::SessionsReclaimed);
    }
}

/// Makes the session if there is a port for it; with `reclaims` the search stops at one of an expired session.
#[inline(always)]
pub fn make<T: Tables>(tables: &T, claim: &Claim, reclaims: bool) -> Entry {
    let (Some(gateway), Some(space)) = (
        tables.gateway(u32::from(claim.gateway)),
        tables.search_space(),
    ) else {
        return Entry::Internal;
    };
    if is_tracker(claim.gateway) {
        return track(tables, claim);
    }
    let client = client_key(claim.gateway, claim.vpc, &claim.flow);
    // SAFETY: the tables' own memory, lent for this claim; nobody searches yet.
    let place = unsafe { (*space).prepare(claim, reclaims) };
    if !find_place(gateway, claim, place) {
        return Entry::PortExhausted;
    }
    let mut holds = Holds::NOTHING;
    if gateway.is(Gateway::COUNTS_CLIENTS) {
        let limit = gateway.max_sessions_per_client;
        if let Err(reason) = hold_client(tables, &client, place.recorded, limit) {
            return Entry::refused(reason);
        }
        holds = Holds::CLIENT;
    }
    let entry = if gateway.is(Gateway::ENDPOINT_INDEPENDENT) {
        bound(tables, gateway, claim, holds)
    } else {
        overload(tables, gateway, claim, holds)
    };
    if entry == Entry::Made {
        tables.count(Counter::SessionsMade);
    } else if holds.include(Holds::CLIENT) {
        release_client(tables, &client);
    }
    entry
}

/// Enters a session that takes no port. The forward half first: nobody else can have the other one.
#[inline(never)]
fn track<T: Tables>(tables: &T, claim: &Claim) -> Entry {
    let public = (claim.mapped, claim.flow.source_port);
    let inbound = claim.inbound(public);
    match insert_forward(tables, claim, public, Holds::NOTHING) {
        Ok(()) => {}
        Err(Refused::Exists) => return Entry::Found,
        Err(refused) => return Entry::kept_out(refused),
    }
    match insert_reverse(tables, claim, &inbound, Holds::NOTHING) {
        Ok(()) => {
            tables.count(Counter::SessionsMade);
            Entry::Made
        }
        Err(refused) => {
            withdraw_forward(tables, claim);
            Entry::kept_out(refused)
        }
    }
}

/// Where the search for a port begins. A deterministic gateway's client has one block of ports on one of
/// its addresses (RFC 7422); false when this is none of its clients.
#[inline(never)]
fn find_place(gateway: &Gateway, claim: &Claim, place: &mut Place) -> bool {
    place.has_block = gateway.client_count != 0;
    place.may_move = !place.has_block;
    if place.has_block {
        let Some(block) = deterministic_block(gateway, claim.flow.source) else {
            return false;
        };
        place.slot = block.slot;
        place.block = Part::block(block.first, block.size);
    } else {
        let client = Flow {
            source: claim.flow.source,
            ..Flow::default()
        };
        let hash = unguessable(gateway.secret, &client, claim.vpc, 0) as u32;
        place.slot = ((u64::from(hash) * u64::from(gateway.address_count)) >> 32) as u32;
    }
    place.recorded = address_in(gateway, place.slot, claim.flow.source);
    true
}

/// The address in this place of a gateway, for packets from `source`.
#[inline(always)]
pub(crate) fn address_in(gateway: &Gateway, slot: u32, source: Address) -> Address {
    if gateway.is(Gateway::KEEPS_SOURCE) {
        return source;
    }
    let address = gateway.addresses.get(slot as usize);
    address.copied().unwrap_or(Address::UNSPECIFIED)
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

/// Profile aws: takes a port towards the remote end, or the one that a forward gives this inside
/// address and port.
#[inline(always)]
fn overload<T: Tables>(tables: &T, gateway: &Gateway, claim: &Claim, holds: Holds) -> Entry {
    if gateway.is(Gateway::FORWARDS) {
        match hold_binding(tables, &binding_key(claim.gateway, &claim.flow)) {
            Ok(None) => {}
            Ok(Some((address, port, _))) => {
                return enter_bound(tables, gateway, claim, (address, port), holds);
            }
            Err(reason) => return Entry::refused(reason),
        }
    }
    if claim.lets_in {
        return Entry::NoSession;
    }
    match search(tables, gateway, claim, false) {
        Ok(public) => enter_forward(tables, claim, public, holds),
        Err(reason) => Entry::refused(reason),
    }
}

/// Profile rfc: takes the port of the binding that all sessions of this inside address and port share.
#[inline(always)]
fn bound<T: Tables>(tables: &T, gateway: &Gateway, claim: &Claim, holds: Holds) -> Entry {
    let (address, port, held) = match hold_or_bind(tables, gateway, claim) {
        Ok(held) => held,
        Err(reason) => return Entry::refused(reason),
    };
    let entry = enter_bound(tables, gateway, claim, (address, port), holds.and(held));
    if entry != Entry::Made && held.include(Holds::BINDING) {
        let client = client_key(claim.gateway, claim.vpc, &claim.flow);
        release_binding(tables, &binding_key(claim.gateway, &claim.flow), &client);
    }
    entry
}

/// Profile rfc: takes hold of the binding of this inside address and port, or makes it.
#[inline(always)]
fn hold_or_bind<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
) -> Result<(Address, Port, Holds), DropReason> {
    let key = binding_key(claim.gateway, &claim.flow);
    if let Some(held) = hold_binding(tables, &key)? {
        return Ok(held);
    }
    if claim.lets_in {
        return Err(DropReason::NoSession);
    }
    let client = client_key(claim.gateway, claim.vpc, &claim.flow);
    if let Some(before) = count_port(tables, &client, gateway.max_ports_per_client)?
        && let Some(space) = tables.search_space()
    {
        // SAFETY: the tables' own memory, lent for this claim; nobody searches yet.
        unsafe { (*space).pair(before, gateway) };
    }
    let bound = search(tables, gateway, claim, true)
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

impl Claim {
    /// Its flow, to whom it goes in the end.
    #[inline(always)]
    pub(crate) const fn outward(&self) -> Flow {
        let mut flow = self.flow;
        (flow.destination, flow.destination_port) =
            self.far.or((flow.destination, flow.destination_port));
        flow
    }

    /// What comes in for a session by this public end.
    #[inline(always)]
    pub(crate) const fn inbound(&self, public: (Address, Port)) -> Flow {
        let flow = &self.flow;
        let (source, source_port) = self.far.or((flow.destination, flow.destination_port));
        Flow {
            source,
            source_port,
            destination: public.0,
            destination_port: public.1,
            protocol: flow.protocol,
        }
    }

    /// The key of the reverse half of a session with a port, for what comes in.
    #[inline(always)]
    pub(crate) const fn reverse_key(&self, inbound: &Flow) -> SessionKey {
        if self.far.scope == 0 {
            SessionKey::reverse(inbound)
        } else {
            SessionKey::answers(inbound, self.far.scope)
        }
    }

    /// Makes `half` the reverse half of its session, under this key.
    #[inline(always)]
    pub(crate) fn write_reverse_half(&self, key: &SessionKey, holds: Holds, half: &mut Session) {
        let flow = &self.flow;
        *half = Session::new(key, flow.source, flow.source_port, self.vpc, self.now)
            .through(self.gateway)
            .holding(holds);
        if !self.far.is_none() {
            half.lead_to(&Far {
                address: flow.destination,
                port: flow.destination_port,
                scope: 0,
            });
        }
    }
}

/// Not inlined, as [`insert_reverse`], and in memory lent for the claim: there is little room on a BPF
/// stack.
#[inline(never)]
fn insert_forward<T: Tables>(
    tables: &T,
    claim: &Claim,
    public: (Address, Port),
    holds: Holds,
) -> Result<(), Refused> {
    let space = tables.search_space().ok_or(Refused::Busy)?;
    // SAFETY: the tables' own memory, lent for this claim; its search is over.
    let space = unsafe { &mut *space };
    space.key = SessionKey::forward(&claim.flow, claim.vpc);
    space.half = Session::new(&space.key, public.0, public.1, claim.gateway, claim.now)
        .through(claim.gateway)
        .holding(holds);
    space.half.lead_to(&claim.far);
    tables.insert_half(Side::Inside, &space.key, &space.half)
}

#[inline(never)]
fn insert_reverse<T: Tables>(
    tables: &T,
    claim: &Claim,
    inbound: &Flow,
    holds: Holds,
) -> Result<(), Refused> {
    let space = tables.search_space().ok_or(Refused::Busy)?;
    // SAFETY: as above.
    let space = unsafe { &mut *space };
    space.key = if is_tracker(claim.gateway) && claim.mapped == claim.flow.source {
        SessionKey::answers(inbound, claim.vpc)
    } else {
        claim.reverse_key(inbound)
    };
    claim.write_reverse_half(&space.key, holds, &mut space.half);
    tables.insert_half(Side::Outside, &space.key, &space.half)
}

/// What came of making a session. No `Result`: of that, half would be uninitialised where it is handed
/// from one function to another, and the verifier refuses to.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It is there.
    Made,
    /// It is there, and another CPU has made it.
    Found,
    /// It is not, as of [`DropReason::ClaimRace`]; and so on.
    ClaimRace,
    /// [`DropReason::TableFull`].
    TableFull,
    /// [`DropReason::PortExhausted`].
    PortExhausted,
    /// [`DropReason::ClientQuota`].
    ClientQuota,
    /// [`DropReason::NoSession`].
    NoSession,
    /// [`DropReason::Internal`].
    Internal,
}

impl Entry {
    /// From its number.
    #[inline(always)]
    pub fn from_raw(number: u32) -> Self {
        const ALL: [Entry; 7] = [
            Entry::Made,
            Entry::Found,
            Entry::ClaimRace,
            Entry::TableFull,
            Entry::PortExhausted,
            Entry::ClientQuota,
            Entry::NoSession,
        ];
        let entry = ALL.iter().find(|entry| **entry as u32 == number);
        entry.copied().unwrap_or(Self::Internal)
    }

    /// It can't be entered.
    #[inline(always)]
    const fn kept_out(refused: Refused) -> Self {
        match refused {
            // What is there is being removed.
            Refused::Exists | Refused::Busy => Self::ClaimRace,
            Refused::Full => Self::TableFull,
        }
    }

    #[inline(always)]
    const fn refused(reason: DropReason) -> Self {
        match reason {
            DropReason::TableFull => Self::TableFull,
            DropReason::PortExhausted => Self::PortExhausted,
            DropReason::ClientQuota => Self::ClientQuota,
            DropReason::NoSession => Self::NoSession,
            DropReason::Internal => Self::Internal,
            _ => Self::ClaimRace,
        }
    }

    /// True when the session is there.
    #[inline(always)]
    const fn result(self) -> Result<bool, DropReason> {
        Err(match self {
            Self::Made | Self::Found => return Ok(true),
            Self::ClaimRace => DropReason::ClaimRace,
            Self::TableFull => DropReason::TableFull,
            Self::PortExhausted => DropReason::PortExhausted,
            Self::ClientQuota => DropReason::ClientQuota,
            Self::NoSession => DropReason::NoSession,
            Self::Internal => DropReason::Internal,
        })
    }
}

/// Enters the session of a flow whose public address and port a binding or a forward decides, with
/// the leave for its remote end. The forward half before the reverse one: nobody else can have that,
/// and another CPU that finds the forward one can go on.
#[inline(never)]
fn enter_bound<T: Tables>(
    tables: &T,
    gateway: &Gateway,
    claim: &Claim,
    public: (Address, Port),
    holds: Holds,
) -> Entry {
    let inbound = claim.inbound(public);
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
        if let Err(reason) = permit(tables, &inbound, source, claim.gateway, claim.vpc) {
            return Entry::refused(reason);
        }
    }
    let entry = match insert_forward(tables, claim, public, holds) {
        Ok(()) => match insert_reverse(tables, claim, &inbound, reverse_holds) {
            Ok(()) => return Entry::Made,
            Err(refused) => {
                withdraw_forward(tables, claim);
                Entry::kept_out(refused)
            }
        },
        Err(Refused::Exists) => Entry::Found,
        Err(refused) => Entry::kept_out(refused),
    };
    if permits {
        revoke(tables, &inbound);
    }
    entry
}

/// Not inlined, like the next one, for the sake of the small BPF stack.
#[inline(never)]
fn withdraw_forward<T: Tables>(tables: &T, claim: &Claim) {
    let key = SessionKey::forward(&claim.flow, claim.vpc);
    withdraw(tables, Side::Inside, &key);
}

#[inline(never)]
fn withdraw_reverse<T: Tables>(tables: &T, claim: &Claim, public: (Address, Port)) {
    let key = claim.reverse_key(&claim.inbound(public));
    withdraw(tables, Side::Outside, &key);
}

/// Enters the forward half of a session whose reverse half was just inserted; without it that is
/// given back.
#[inline(never)]
fn enter_forward<T: Tables>(
    tables: &T,
    claim: &Claim,
    public: (Address, Port),
    holds: Holds,
) -> Entry {
    let inserted = insert_forward(tables, claim, public, holds);
    if inserted.is_ok() {
        return Entry::Made;
    }
    // Nobody else ever uses a reverse half that has no forward one.
    withdraw_reverse(tables, claim, public);
    if let Some(space) = tables.search_space() {
        // SAFETY: the tables' own memory, lent for this claim.
        let flow = unsafe { &(*space).outward };
        port_freed(tables, flow, public, claim.gateway, false);
    }
    match inserted {
        Ok(()) | Err(Refused::Exists) => Entry::Found,
        Err(refused) => Entry::kept_out(refused),
    }
}
