//! What sessions share and hold together: bindings, permissions, clients. Each is an entry that counts
//! its holders in its lease; who lets go last closes it, so that nobody takes hold any more, and then
//! removes it.

use crate::{
    address::{Address, Port},
    clock::elapsed,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    lifecycle::State,
    map_types::{
        Binding, Client, ClientKey, Gateway, Holds, Lease, Paired, SERVICES, Session, SessionKey,
        binding_key, bound_key, permission_key,
    },
    port_search::port_freed,
    sessions::outside_flow,
    tables::{Refused, Side, Tables},
    taken_ports::unlearn,
};

/// Tries of one compare-and-swap, each against another CPU that was faster.
const TRIES: u32 = 4;

/// The marks of an entry's key in the states that matter here.
#[derive(Clone, Copy)]
struct Marks {
    live: u32,
    dead: u32,
}

impl Marks {
    #[inline(always)]
    const fn of(key: &SessionKey) -> Self {
        Self {
            live: key.mark(State::Live),
            dead: key.mark(State::Dead),
        }
    }

    #[inline(always)]
    const fn of_client(key: &ClientKey) -> Self {
        Self {
            live: key.mark(State::Live),
            dead: key.mark(State::Dead),
        }
    }
}

/// What became of an attempt to take hold of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    Held,
    /// As many hold it as may.
    Limit,
    /// It is being removed.
    Gone,
}

/// Takes hold of an entry unless `limit` do already; 0 is no limit.
#[inline(never)]
fn hold<T: Tables>(tables: &T, lease: *mut u64, marks: Marks, limit: u32) -> Hold {
    for _ in 0..TRIES {
        // SAFETY: a word of an entry that the tables handed out.
        let old = Lease(unsafe { tables.load(lease) });
        if old.key_and_state() != marks.live {
            return Hold::Gone;
        }
        if limit != 0 && old.count() >= limit {
            return Hold::Limit;
        }
        let new = Lease::new(marks.live, old.count().saturating_add(1));
        // SAFETY: as above.
        if unsafe { tables.compare_and_swap(lease, old.0, new.0) } {
            return Hold::Held;
        }
    }
    Hold::Gone
}

/// Lets go of an entry that the caller holds; true when nobody does any more and it is closed: it is
/// then the caller's to remove.
#[inline(never)]
fn let_go<T: Tables>(tables: &T, lease: *mut u64, marks: Marks) -> bool {
    const ONE: u64 = Lease::new(0, 1).0;
    // SAFETY: a word of an entry that the tables handed out.
    unsafe {
        let held = Lease(tables.load(lease));
        if held.key_and_state() != marks.live || held.count() == 0 {
            return false;
        }
        // By a subtraction, which never fails: a hold that is not given back is one for good.
        let before = Lease(tables.fetch_add(lease, ONE.wrapping_neg()));
        before.count() == 1
            && tables.compare_and_swap(
                lease,
                Lease::new(marks.live, 0).0,
                Lease::new(marks.dead, 0).0,
            )
    }
}

/// Adds to the number of a client's bindings unless it has `limit`, 0 being none, and answers what there
/// was before.
#[inline(always)]
fn add_port<T: Tables>(tables: &T, client: *mut Client, limit: u32) -> Option<Paired> {
    for _ in 0..TRIES {
        // SAFETY: a word of an entry that the tables handed out.
        unsafe {
            let paired = &raw mut (*client).paired;
            let old = Paired(tables.load(paired));
            if limit != 0 && old.ports() >= limit {
                return None;
            }
            let new = Paired::new(old.address(), old.ports().wrapping_add(1));
            if tables.compare_and_swap(paired, old.0, new.0) {
                return Some(old);
            }
        }
    }
    None
}

#[inline(always)]
fn remove_port<T: Tables>(tables: &T, key: &ClientKey) {
    if let Some(client) = tables.client(key) {
        // SAFETY: as above.
        unsafe {
            let paired = &raw mut (*client).paired;
            for _ in 0..TRIES {
                let old = Paired(tables.load(paired));
                // Its binding may be from before clients were counted.
                if old.ports() == 0 || tables.compare_and_swap(paired, old.0, old.0 - 1) {
                    return;
                }
            }
        }
    }
}

/// The client of a flow from inside. Those of the way to the node's services are of all VPCs.
#[inline(always)]
pub const fn client_key(gateway: u16, vpc: u16, flow: &Flow) -> ClientKey {
    let vpc = if gateway as u32 == SERVICES { vpc } else { 0 };
    ClientKey {
        gateway: gateway as u32 | (vpc as u32) << ClientKey::VPC_SHIFT,
        address: flow.source,
    }
}

/// Takes hold of a client's entry, making it with `address` when there is none.
///
/// # Errors
///
/// [`DropReason::ClientQuota`], or [`DropReason::ClaimRace`] and [`DropReason::TableFull`].
#[inline(never)]
pub fn hold_client<T: Tables>(
    tables: &T,
    key: &ClientKey,
    address: Address,
    limit: u32,
) -> Result<(), DropReason> {
    let marks = Marks::of_client(key);
    for _ in 0..2 {
        if let Some(client) = tables.client(key) {
            // SAFETY: an entry's memory stays valid.
            let lease = unsafe { &raw mut (*client).lease };
            return match hold(tables, lease, marks, limit) {
                Hold::Held => Ok(()),
                Hold::Limit => Err(DropReason::ClientQuota),
                Hold::Gone => Err(DropReason::ClaimRace),
            };
        }
        let client = Client {
            lease: Lease::new(marks.live, 1).0,
            paired: Paired::new(address, 0).0,
        };
        match tables.insert_client(key, &client) {
            Ok(()) => return Ok(()),
            Err(Refused::Exists) => {}
            Err(Refused::Busy) => return Err(DropReason::ClaimRace),
            Err(Refused::Full) => return Err(DropReason::TableFull),
        }
    }
    Err(DropReason::ClaimRace)
}

/// A client found its first port on another address than it was given. False when another CPU has counted
/// one too, and looks for it on the former.
#[inline(always)]
pub fn move_client<T: Tables>(tables: &T, key: &ClientKey, from: Address, to: Address) -> bool {
    let Some(client) = tables.client(key) else {
        return false;
    };
    let (from, to) = (Paired::new(from, 1), Paired::new(to, 1));
    // SAFETY: a word of an entry that the caller holds.
    unsafe { tables.compare_and_swap(&raw mut (*client).paired, from.0, to.0) }
}

/// Lets go of a client's entry.
#[inline(always)]
pub fn release_client<T: Tables>(tables: &T, key: &ClientKey) {
    if let Some(client) = tables.client(key) {
        // SAFETY: an entry's memory stays valid.
        let lease = unsafe { &raw mut (*client).lease };
        if let_go(tables, lease, Marks::of_client(key)) {
            tables.remove_client(key);
        }
    }
}

/// Finds the binding of an inside address and port and takes hold of it. `None`: there is none, or
/// it is a forward's, which is not held: the second value tells.
///
/// # Errors
///
/// [`DropReason::ClaimRace`] when it is being removed in this moment.
#[inline(always)]
pub fn hold_binding<T: Tables>(
    tables: &T,
    key: &SessionKey,
) -> Result<Option<(Address, Port, Holds)>, DropReason> {
    let Some(binding) = tables.binding(Side::Inside, key) else {
        return Ok(None);
    };
    // SAFETY: an entry's memory stays valid; the lease, read after the rest, tells whose it is.
    let (copy, lease) = unsafe { (*binding, &raw mut (*binding).lease) };
    // SAFETY: as above.
    let is_live = Lease(unsafe { tables.load(lease) }).key_and_state() == key.mark(State::Live);
    if copy.is_static() && is_live {
        return Ok(Some((copy.address, copy.port, Holds::NOTHING)));
    }
    match hold(tables, lease, Marks::of(key), 0) {
        // SAFETY: as above.
        Hold::Held => unsafe { Ok(Some(((*binding).address, (*binding).port, Holds::BINDING))) },
        Hold::Limit | Hold::Gone => Err(DropReason::ClaimRace),
    }
}

/// Counts a new binding of a client, and answers what it had before.
///
/// # Errors
///
/// [`DropReason::ClientQuota`], or [`DropReason::ClaimRace`].
#[inline(always)]
pub fn count_port<T: Tables>(
    tables: &T,
    key: &ClientKey,
    limit: u32,
) -> Result<Option<Paired>, DropReason> {
    match tables.client(key) {
        Some(client) => match add_port(tables, client, limit) {
            None if limit == 0 => Err(DropReason::ClaimRace),
            None => Err(DropReason::ClientQuota),
            before => Ok(before),
        },
        None => Ok(None),
    }
}

/// The inverse of [`count_port`], when nothing came of it.
#[inline(always)]
pub fn uncount_port<T: Tables>(tables: &T, key: &ClientKey) {
    remove_port(tables, key);
}

/// Makes the inside half of a binding whose public half the caller has claimed. When another CPU was
/// faster, its own is given back, and the other's held.
///
/// # Errors
///
/// [`DropReason::ClaimRace`] or [`DropReason::TableFull`]; the public half is then given back.
#[inline(always)]
pub fn bind<T: Tables>(
    tables: &T,
    key: &SessionKey,
    public: (Address, Port),
    gateway: u16,
    vpc: u16,
) -> Result<(Address, Port, bool), DropReason> {
    let (address, port) = public;
    let refused = match insert_held(tables, key, public, gateway, vpc) {
        Ok(()) => return Ok((address, port, true)),
        Err(refused) => refused,
    };
    let inbound = key.flow().with_source(address, port).reversed();
    remove_public(tables, &bound_key(&inbound));
    port_freed(tables, &key.flow(), public, gateway, true);
    match refused {
        Refused::Exists => match hold_binding(tables, key)? {
            Some((address, port, _)) => Ok((address, port, false)),
            None => Err(DropReason::ClaimRace),
        },
        Refused::Busy => Err(DropReason::ClaimRace),
        Refused::Full => Err(DropReason::TableFull),
    }
}

/// Not inlined, for the sake of the small BPF stack.
#[inline(never)]
fn insert_held<T: Tables>(
    tables: &T,
    key: &SessionKey,
    public: (Address, Port),
    gateway: u16,
    vpc: u16,
) -> Result<(), Refused> {
    let binding = Binding::held(key, public.0, public.1, gateway, vpc);
    tables.insert_binding(Side::Inside, key, &binding)
}

/// Lets go of the binding of an inside address and port. The last one to do so ends it: the public
/// port is free again, at once or after its rest.
#[inline(never)]
pub fn release_binding<T: Tables>(tables: &T, key: &SessionKey, client: &ClientKey) {
    let Some(binding) = tables.binding(Side::Inside, key) else {
        return;
    };
    // SAFETY: an entry's memory stays valid; the caller holds this one.
    let copy = unsafe { *binding };
    // SAFETY: as above.
    let lease = unsafe { &raw mut (*binding).lease };
    if copy.is_static() || !let_go(tables, lease, Marks::of(key)) {
        return;
    }
    let flow = key.flow();
    let public = (copy.address, copy.port);
    let public_key = bound_key(&flow.with_source(public.0, public.1).reversed());
    if !rest(tables, &public_key, copy.gateway) {
        remove_public(tables, &public_key);
    }
    tables.remove_binding(Side::Inside, key);
    remove_port(tables, client);
    port_freed(tables, &flow, public, copy.gateway, true);
}

/// Removes the public half of a binding, which nobody but the caller has. Closed first: should the
/// kernel refuse to remove it, nobody is let in by it, and everybody can tell that it is left over.
#[inline(always)]
pub fn remove_public<T: Tables>(tables: &T, key: &SessionKey) {
    if let Some(bound) = tables.binding(Side::Outside, key) {
        // SAFETY: an entry's memory stays valid; a word of it, changed by compare-and-swap.
        unsafe {
            let lease = &raw mut (*bound).lease;
            let (live, dead) = (key.mark(State::Live), key.mark(State::Dead));
            let (held, closed) = (Lease::new(live, 1), Lease::new(dead, 0));
            tables.compare_and_swap(lease, held.0, closed.0);
        }
    }
    tables.remove_binding(Side::Outside, key);
}

/// Lets a public port rest before it serves somebody else (RFC 6888 REQ-8); false when it need not.
/// Only UDP and ICMP under endpoint-independent filtering have to: a TCP session lasts until both
/// sides have forgotten it, and other filterings keep out who wrote to the port's former owner.
#[inline(always)]
fn rest<T: Tables>(tables: &T, key: &SessionKey, gateway: u16) -> bool {
    let Some(gateway) = tables.gateway(u32::from(gateway)) else {
        return false;
    };
    let needs = gateway.is(Gateway::FILTER_NOBODY) && key.flow().protocol != protocol::TCP;
    let (true, Some(bound)) = (
        needs && gateway.port_rest != 0,
        tables.binding(Side::Outside, key),
    ) else {
        return false;
    };
    // SAFETY: an entry's memory stays valid, and the binding's last holder alone changes it.
    unsafe {
        (&raw mut (*bound).freed).write_volatile(tables.now());
        let old = Lease(tables.load(&raw const (*bound).lease));
        let new = Lease::new(key.mark(State::Dying), 0);
        tables.compare_and_swap(&raw mut (*bound).lease, old.0, new.0)
    }
}

/// Frees a public port that has rested long enough; true when this call did, and it can be claimed.
#[inline(always)]
pub fn wake<T: Tables>(tables: &T, key: &SessionKey, rest: u32) -> bool {
    let Some(bound) = tables.binding(Side::Outside, key) else {
        return false;
    };
    // SAFETY: as above; the compare-and-swap makes one caller the owner.
    unsafe {
        let old = Lease(tables.load(&raw const (*bound).lease));
        let freed = (&raw const (*bound).freed).read_volatile();
        let is_over = rest == 0 || elapsed(tables.now(), freed) > rest;
        let rested = is_over
            && old.key_and_state() == key.mark(State::Dying)
            && tables.compare_and_swap(
                &raw mut (*bound).lease,
                old.0,
                Lease::new(key.mark(State::Dead), 0).0,
            );
        if rested {
            tables.remove_binding(Side::Outside, key);
        }
        rested
    }
}

/// Frees a public port of any gateway that has rested long enough; true when this call did.
pub fn wake_rested<T: Tables>(tables: &T, key: &SessionKey) -> bool {
    let Some(bound) = tables.binding(Side::Outside, key) else {
        return false;
    };
    // SAFETY: an entry's memory stays valid; `wake` looks at whose it is.
    let number = unsafe { (*bound).gateway };
    // One that is gone has no rest.
    let rest = tables
        .gateway(u32::from(number))
        .map_or(0, |gateway| gateway.port_rest);
    let is_awake = wake(tables, key, rest);
    if is_awake {
        let inbound = key.flow();
        let public = (inbound.destination, inbound.destination_port);
        unlearn(tables, &inbound.reversed(), public, true);
    }
    is_awake
}

/// Gives the remote address of `inbound` leave to write to its public address and port.
///
/// # Errors
///
/// [`DropReason::ClaimRace`] or [`DropReason::TableFull`].
#[inline(never)]
pub fn permit<T: Tables>(
    tables: &T,
    inbound: &Flow,
    inside: (Address, Port),
    gateway: u16,
    vpc: u16,
) -> Result<(), DropReason> {
    let key = permission_key(inbound);
    for _ in 0..2 {
        if let Some(permission) = tables.binding(Side::Outside, &key) {
            // SAFETY: an entry's memory stays valid.
            let lease = unsafe { &raw mut (*permission).lease };
            return match hold(tables, lease, Marks::of(&key), 0) {
                Hold::Held => Ok(()),
                Hold::Limit | Hold::Gone => Err(DropReason::ClaimRace),
            };
        }
        let permission = Binding::held(&key, inside.0, inside.1, gateway, vpc);
        match tables.insert_binding(Side::Outside, &key, &permission) {
            Ok(()) => return Ok(()),
            Err(Refused::Exists) => {}
            Err(Refused::Busy) => return Err(DropReason::ClaimRace),
            Err(Refused::Full) => return Err(DropReason::TableFull),
        }
    }
    Err(DropReason::ClaimRace)
}

/// Takes a leave back.
#[inline(never)]
pub fn revoke<T: Tables>(tables: &T, inbound: &Flow) {
    let key = permission_key(inbound);
    if let Some(permission) = tables.binding(Side::Outside, &key) {
        // SAFETY: an entry's memory stays valid.
        let lease = unsafe { &raw mut (*permission).lease };
        if let_go(tables, lease, Marks::of(&key)) {
            tables.remove_binding(Side::Outside, &key);
        }
    }
}

/// Gives back all that a session holds.
#[inline(always)]
pub fn release<T: Tables>(tables: &T, key: &SessionKey, forward: &Session) {
    let (flow, gateway, holds) = (key.flow(), forward.owner(), forward.holds());
    let client = client_key(gateway, key.vpc(), &flow);
    if holds.include(Holds::PERMISSION) {
        revoke(tables, &outside_flow(key, forward));
    }
    if holds.include(Holds::BINDING) {
        release_binding(tables, &binding_key(gateway, &flow), &client);
    }
    if holds.include(Holds::CLIENT) {
        release_client(tables, &client);
    }
}

/// Who behind `inbound`'s public address and port lets its sender in, without a session: the inside
/// address and port, the gateway and the VPC.
#[inline(always)]
pub fn admitted<T: Tables>(tables: &T, inbound: &Flow, gateway: &Gateway) -> Option<Binding> {
    let key = bound_key(inbound);
    if gateway.flags & (Gateway::FORWARDS | Gateway::FILTER_NOBODY) != 0
        && let Some(binding) = live(tables, &key)
        && (binding.is_static() || gateway.is(Gateway::FILTER_NOBODY))
    {
        return Some(binding);
    }
    if gateway.is(Gateway::FILTER_BY_ADDRESS) {
        return live(tables, &permission_key(inbound));
    }
    None
}

/// A copy of an entry in BOUND that is neither resting nor being removed.
#[inline(always)]
pub fn live<T: Tables>(tables: &T, key: &SessionKey) -> Option<Binding> {
    let binding = tables.binding(Side::Outside, key)?;
    // SAFETY: an entry's memory stays valid; the lease, read after the rest, tells whose it is.
    let copy = unsafe { *binding };
    // SAFETY: as above.
    let lease = Lease(unsafe { tables.load(&raw const (*binding).lease) });
    (lease.key_and_state() == key.mark(State::Live)).then_some(copy)
}
