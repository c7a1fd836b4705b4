//! Datagrams in pieces. What the first fragment's ports decide is remembered for the others; those
//! that come before it wait in HELD, and TC sends them in once more when it is there.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray},
};
use nat_common::{
    clock::elapsed,
    flow::Flow,
    map_types::{
        DatagramKey, Fate, FateKind, FateWord, HELD_FRAMES, HELD_PER_DATAGRAM, HeldFrame, Interface,
    },
    parse::{IPV4_OFFSET, Ipv4Packet},
    sessions::is_tracker,
    wire::{EthernetHeader, Ipv4Header},
};

use crate::{
    atomics::{compare_and_swap, fetch_add},
    forward::Hook,
    plan::{Plan, Step},
    settings,
};

#[map]
static FRAGMENTS: LruHashMap<DatagramKey, Fate> = LruHashMap::with_max_entries(16_384, 0);
#[map]
static HELD: Array<HeldFrame> = Array::with_max_entries(HELD_FRAMES, 0);
/// Places of HELD that were given out so far.
#[map]
static PLACES: Array<u64> = Array::with_max_entries(1, 0);
/// The last IP identification of some outside pairs of addresses each.
#[map]
static IDENTIFICATIONS: Array<u64> = Array::with_max_entries(IDENTIFICATION_COUNTERS, 0);
const IDENTIFICATION_COUNTERS: u32 = 4096;

/// Tries of one compare-and-swap, each against another CPU that was faster.
const TRIES: u32 = 8;

/// The key of a fragment's datagram, for which there is no room on the stack.
#[map]
static DATAGRAM: PerCpuArray<DatagramKey> = PerCpuArray::with_max_entries(1, 0);

/// The datagram a fragment belongs to.
#[inline(always)]
pub fn key<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
) -> Option<&'static DatagramKey> {
    let header = hook.load::<Ipv4Header>(IPV4_OFFSET)?;
    let (mut scope, mut station) = (0, [0; 6]);
    if interface.is(Interface::INSIDE) {
        scope = hook.ingress();
        station = hook.load::<EthernetHeader>(0)?.source();
    }
    // SAFETY: this CPU's own slot.
    let key = unsafe { &mut *DATAGRAM.get_ptr_mut(0)? };
    *key = DatagramKey {
        source: packet.flow.source,
        destination: packet.flow.destination,
        identification: header.identification(),
        protocol: u16::from(packet.flow.protocol),
        scope,
        station,
        reserved: 0,
    };
    Some(key)
}

#[inline(always)]
fn find(key: &DatagramKey) -> Option<*mut Fate> {
    let fate = FRAGMENTS.get_ptr_mut(key)?;
    // SAFETY: an entry's memory stays valid.
    let seen = unsafe { (*fate).seen };
    (elapsed(settings::now(), seen) <= Fate::LIFETIME).then_some(fate)
}

#[inline(always)]
fn word(fate: *mut Fate) -> FateWord {
    // SAFETY: an aligned word of an entry, whose memory stays valid.
    FateWord(unsafe { (&raw const (*fate).word).read_volatile() })
}

/// What is known of a fragment's datagram; a later fragment that is to be forwarded finds how in
/// `plan`.
#[inline(never)]
pub fn known(is_first: bool, holds: bool, key: &DatagramKey, plan: &mut Plan) -> Step {
    let Some(fate) = find(key) else {
        return Step::Undecided;
    };
    let kind = word(fate).kind();
    if is_first {
        // Those that are held are TC's to release.
        let hands_up = kind == FateKind::Unknown && !holds;
        return if hands_up {
            Step::HandUp
        } else {
            Step::Undecided
        };
    }
    match kind {
        FateKind::Unknown => Step::Undecided,
        FateKind::Pass => Step::Pass,
        FateKind::Drop => Step::Drop,
        FateKind::Forward => {
            // SAFETY: an entry's memory stays valid; it was complete before its kind said so.
            unsafe {
                plan.to.source = (*fate).source;
                plan.to.destination = (*fate).destination;
                plan.inward = (*fate).flags & Fate::INWARD != 0;
                plan.via = (*fate).via;
                plan.vpc = (*fate).vpc;
                plan.has_own_hop = (*fate).flags & Fate::OWN_HOP != 0;
                plan.renumbers = (*fate).flags & Fate::RENUMBERED != 0;
                plan.identification = (*fate).identification;
            }
            Step::GoOn
        }
    }
}

/// Something is known of this datagram.
#[inline(always)]
pub fn is_known(key: &DatagramKey) -> bool {
    find(key).is_some()
}

/// Remembers what was decided about the first fragment of a datagram; true when others wait for that.
#[inline(always)]
pub fn remember(key: &DatagramKey, decided: Step, plan: &mut Plan) -> bool {
    let kind = match decided {
        Step::GoOn => FateKind::Forward,
        Step::Drop => FateKind::Drop,
        _ => FateKind::Pass,
    };
    let mut fate = Fate {
        word: FateWord::new(kind, 0).0,
        seen: settings::now(),
        source: plan.to.source,
        destination: plan.to.destination,
        identification: 0,
        flags: if plan.inward { Fate::INWARD } else { 0 },
        via: plan.via,
        vpc: plan.vpc,
        reserved: 0,
    };
    if plan.is_far() || plan.is_kept(key.destination) {
        fate.flags |= Fate::OWN_HOP;
    }
    let known = find(key);
    // Tracked flows keep an address of their own.
    let shares_address = !plan.forward.is_none() && !is_tracker(plan.forward.owner);
    if kind == FateKind::Forward && shares_address {
        plan.renumbers = true;
        plan.identification = identification(known, &plan.to);
        fate.identification = plan.identification;
        fate.flags |= Fate::RENUMBERED;
    }
    match known {
        Some(old) => replace(old, &fate),
        None => {
            // Over an expired one, or under another CPU's.
            let _ = FRAGMENTS.insert(key, fate, 0);
            false
        }
    }
}

/// The first fragment of a datagram could not be sent on: the others are dropped, too.
#[inline(never)]
pub fn give_up(key: &DatagramKey) {
    let Some(fate) = find(key) else {
        return;
    };
    for _ in 0..TRIES {
        let old = word(fate);
        let new = FateWord::new(FateKind::Drop, old.held());
        // SAFETY: an aligned word of an entry, whose memory stays valid.
        if unsafe { compare_and_swap(&raw mut (*fate).word, old.0, new.0) } {
            return;
        }
    }
}

/// Writes a fate in place, so that no fragment that is being counted in it is forgotten.
#[inline(never)]
fn replace(old: *mut Fate, new: &Fate) -> bool {
    // SAFETY: an entry's memory stays valid; other CPUs read the rest after the word.
    unsafe {
        (*old).seen = new.seen;
        (*old).source = new.source;
        (*old).destination = new.destination;
        (*old).identification = new.identification;
        (*old).flags = new.flags;
        (*old).via = new.via;
        (*old).vpc = new.vpc;
        for _ in 0..TRIES {
            let before = word(old);
            if compare_and_swap(&raw mut (*old).word, before.0, new.word) {
                return before.held() != 0;
            }
        }
    }
    false
}

/// An IP identification for a datagram that leaves with an address others share: no two of them on
/// their way to the same receiver have the same one (RFC 6864, 5.3; RFC 7857, 9).
#[inline(never)]
fn identification(known: Option<*mut Fate>, to: &Flow) -> u16 {
    if let Some(fate) = known {
        // SAFETY: an entry's memory stays valid.
        let fate = unsafe { &*fate };
        // The same fragment once more.
        if fate.flags & Fate::RENUMBERED != 0
            && fate.source == to.source
            && fate.destination == to.destination
        {
            return fate.identification;
        }
    }
    let pair = u64::from(to.source.raw()) << 32 | u64::from(to.destination.raw());
    let mixed = (pair ^ u64::from(to.protocol)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let index = (mixed >> 52) as u32;
    let Some(counter) = IDENTIFICATIONS.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: an aligned word of an entry.
    let next = unsafe { fetch_add(counter, 1) };
    (next as u16).wrapping_add(mixed as u16).to_be()
}

/// Counts one more waiting fragment of a datagram; false when its first one has come meanwhile, or too
/// many wait already.
#[inline(always)]
pub fn expect(key: &DatagramKey) -> bool {
    let fate = Fate {
        word: FateWord::new(FateKind::Unknown, 1).0,
        seen: settings::now(),
        ..Fate::default()
    };
    let Some(known) = find(key) else {
        return FRAGMENTS.insert(key, fate, 0).is_ok();
    };
    for _ in 0..TRIES {
        let old = word(known);
        if old.kind() != FateKind::Unknown || old.held() >= HELD_PER_DATAGRAM {
            return false;
        }
        let new = FateWord::new(FateKind::Unknown, old.held() + 1);
        // SAFETY: an aligned word of an entry.
        if unsafe { compare_and_swap(&raw mut (*known).word, old.0, new.0) } {
            // SAFETY: as above.
            unsafe { (*known).seen = settings::now() };
            return true;
        }
    }
    false
}

/// The first fragment has come.
#[inline(always)]
pub fn is_decided(key: &DatagramKey) -> bool {
    find(key).is_some_and(|fate| word(fate).kind() != FateKind::Unknown)
}

/// The place for the next waiting fragment, which is that of the one that has waited longest.
#[inline(always)]
pub fn next_place() -> Option<*mut HeldFrame> {
    let counter = PLACES.get_ptr_mut(0)?;
    // SAFETY: an aligned word of an entry.
    let number = unsafe { fetch_add(counter, 1) };
    HELD.get_ptr_mut((number % u64::from(HELD_FRAMES)) as u32)
}

/// The place at `index`, counted from the one that was given out longest ago.
#[inline(always)]
pub fn place(index: u32) -> Option<*mut HeldFrame> {
    // SAFETY: an aligned word of an entry.
    let given = unsafe { (&raw const *PLACES.get(0)?).read_volatile() };
    HELD.get_ptr_mut(((given + u64::from(index)) % u64::from(HELD_FRAMES)) as u32)
}
