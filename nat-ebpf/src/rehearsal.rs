//! What `nat explain` does instead of changing tables: sessions that would be made are entered here alone,
//! and found again by the stages that follow. Everything else is as it is in `kernel_tables.rs`.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use nat_common::{
    claim::{self, Claim, Entry},
    clock::Tick,
    lifecycle::State,
    map_types::{
        Binding, Client, ClientKey, Counter, Gateway, GatewayCounter, Mark, STAGES, Session,
        SessionKey,
    },
    policy::Step,
    port_search::{ATTEMPTS, Search},
    session_table::Atomics,
    sessions,
    tables::{Refused, Side, Tables},
    taken_ports::TakenPorts,
};

use crate::{
    kernel_tables::{CLIENTS, KernelTables},
    plan::Carrier,
    settings, trace, turns,
};

/// The stage that says where a packet would be sent. Beyond those that have a place of their own: it takes
/// that of `nat_common::map_types::SEND_STAGE`.
pub const SEND_STAGE: u32 = STAGES;

/// Halves of the sessions that would be made.
#[map]
static WOULD_BE: HashMap<SessionKey, Session> = HashMap::with_max_entries(16, 0);
/// Halves that would be removed.
#[map]
static GONE: HashMap<SessionKey, u32> = HashMap::with_max_entries(16, 0);
/// And the client that would be counted.
#[map]
static NEW_CLIENT: PerCpuArray<NewClient> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct NewClient {
    client: Client,
    key: ClientKey,
}

/// The tables of the dataplane, of which nothing is changed.
pub struct Rehearsal;

/// Finds a half that would have been made by now.
#[inline(never)]
pub fn find_made(key: &SessionKey, carrier: &mut Carrier) -> bool {
    // Kernel 6.1 takes no argument of a global function for the key of a map, but what is on the stack.
    let on_stack = *key;
    let Some(half) = WOULD_BE.get_ptr_mut(on_stack) else {
        return false;
    };
    // SAFETY: an element of this object's own map, which nobody else uses.
    carrier.set_from(key, unsafe { &*half });
    true
}

/// A session is overdue, and a packet that finds it revives it, or comes too late: it counts as over.
#[inline(never)]
pub fn is_dying(key: &SessionKey) -> bool {
    // SAFETY: a line's memory stays valid.
    KernelTables
        .half(Side::Inside, key)
        .is_some_and(|half| unsafe { Mark((*half).mark) }.key_and_state() == key.mark(State::Dying))
}

/// A session is over: its halves are in nobody's way, because a claim would remove them.
#[inline(never)]
fn forget(key: &SessionKey, now: Tick) -> bool {
    let Some(half) = KernelTables.half(Side::Inside, key) else {
        return false;
    };
    // SAFETY: a line's memory stays valid.
    let reverse = &sessions::reverse_key(key, unsafe { &*half });
    if sessions::expired_holder(&Rehearsal, reverse, now).is_none() {
        return false;
    }
    let _ = GONE.insert(key, 1, u64::from(BPF_ANY));
    let _ = GONE.insert(reverse, 1, u64::from(BPF_ANY));
    true
}

#[inline(always)]
fn new_client(key: &ClientKey) -> Option<*mut Client> {
    let new = NEW_CLIENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own slot.
    unsafe { ((*new).key == *key).then_some(&raw mut (*new).client) }
}

impl Tables for Rehearsal {
    #[inline(always)]
    fn half(&self, side: Side, key: &SessionKey) -> Option<*mut Session> {
        KernelTables.half(side, key)
    }

    #[inline(always)]
    fn insert_half(&self, side: Side, key: &SessionKey, half: &Session) -> Result<(), Refused> {
        if self.half(side, key).is_some() && GONE.get_ptr(key).is_none() {
            return Err(Refused::Exists);
        }
        WOULD_BE
            .insert(key, half, u64::from(BPF_NOEXIST))
            .map_err(|_| Refused::Exists)?;
        // A reverse half is of the claim's flow, too, and the forward one says more.
        if matches!(side, Side::Inside) {
            let (address, port) = (half.mapped_address(), half.mapped_port());
            trace::note_end(Step::Mapping, address, port, half.owner());
        }
        Ok(())
    }

    #[inline(always)]
    fn remove_half(&self, _side: Side, _key: &SessionKey) {}

    #[inline(always)]
    fn binding(&self, side: Side, key: &SessionKey) -> Option<*mut Binding> {
        KernelTables.binding(side, key)
    }

    #[inline(always)]
    fn insert_binding(&self, side: Side, key: &SessionKey, _: &Binding) -> Result<(), Refused> {
        match self.binding(side, key) {
            Some(_) => Err(Refused::Exists),
            None => Ok(()),
        }
    }

    #[inline(always)]
    fn remove_binding(&self, _side: Side, _key: &SessionKey) {}

    #[inline(always)]
    fn client(&self, key: &ClientKey) -> Option<*mut Client> {
        CLIENTS.get_ptr_mut(key).or_else(|| new_client(key))
    }

    #[inline(always)]
    fn insert_client(&self, key: &ClientKey, client: &Client) -> Result<(), Refused> {
        let new = NEW_CLIENT.get_ptr_mut(0).ok_or(Refused::Full)?;
        // SAFETY: this CPU's own slot.
        unsafe {
            (*new).client = *client;
            (*new).key = *key;
        }
        Ok(())
    }

    #[inline(always)]
    fn remove_client(&self, _key: &ClientKey) {}

    #[inline(always)]
    fn gateway(&self, number: u32) -> Option<&Gateway> {
        KernelTables.gateway(number)
    }

    // What is learnt of ports is in maps that are this object's own.

    #[inline(always)]
    fn exhausted_since(&self, key: &SessionKey) -> Option<Tick> {
        KernelTables.exhausted_since(key)
    }

    #[inline(always)]
    fn remember_exhausted(&self, key: &SessionKey, now: Tick) {
        KernelTables.remember_exhausted(key, now);
    }

    #[inline(always)]
    fn forget_exhausted(&self, key: &SessionKey) {
        KernelTables.forget_exhausted(key);
    }

    #[inline(always)]
    fn taken_ports(&self, key: &SessionKey) -> Option<*mut TakenPorts> {
        KernelTables.taken_ports(key)
    }

    #[inline(always)]
    fn add_taken_ports(&self, key: &SessionKey) {
        KernelTables.add_taken_ports(key);
    }

    #[inline(always)]
    fn search_space(&self) -> Option<*mut Search> {
        KernelTables.search_space()
    }

    #[inline(always)]
    fn search(&self) {
        rehearse_search();
    }

    #[inline(always)]
    fn end_if_expired(&self, key: &SessionKey, now: Tick) -> bool {
        forget(key, now)
    }

    #[inline(always)]
    fn make(&self, claim: &Claim, reclaims: bool) -> Entry {
        Entry::from_raw(rehearse_session(claim, u32::from(reclaims)))
    }

    #[inline(always)]
    fn now(&self) -> Tick {
        settings::now()
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        settings::random()
    }

    #[inline(always)]
    fn count(&self, _counter: Counter) {}

    #[inline(always)]
    fn count_for(&self, _gateway: u16, _counter: GatewayCounter) {}
}

/// As `kernel_tables::make_session`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rehearse_session(claim: *const Claim, reclaims: u32) -> u32 {
    if claim.is_null() {
        return Entry::Internal as u32;
    }
    // SAFETY: checked, and the verifier knows its size.
    claim::make(&Rehearsal, unsafe { &*claim }, reclaims != 0) as u32
}

/// As `kernel_tables::search_ports`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rehearse_search() -> u32 {
    turns::take(ATTEMPTS, attempt)
}

#[inline(never)]
extern "C" fn attempt(_index: u32, _nothing: *mut c_void) -> i64 {
    let Some(search) = Rehearsal.search_space() else {
        return turns::STOP;
    };
    // SAFETY: this CPU's own slot.
    i64::from(unsafe { (*search).attempt(&Rehearsal) })
}

/// Every change succeeds, and none is made.
impl Atomics for Rehearsal {
    #[inline(always)]
    unsafe fn load(&self, word: *const u64) -> u64 {
        // SAFETY: the caller's.
        unsafe { word.read_volatile() }
    }

    #[inline(always)]
    unsafe fn compare_and_swap(&self, _word: *mut u64, _old: u64, _new: u64) -> bool {
        true
    }

    /// Whoever lets go of something is never told that nobody else holds it.
    #[inline(always)]
    unsafe fn fetch_add(&self, _word: *mut u64, _more: u64) -> u64 {
        0
    }

    #[inline(always)]
    unsafe fn fetch_or(&self, _word: *mut u64, _bits: u64) {}

    #[inline(always)]
    unsafe fn fetch_and(&self, _word: *mut u64, _bits: u64) {}
}
