//! The session tables as BPF maps, for the logic in `nat_common::{sessions, shared, claim}`. Of the table of
//! halves, `session_memory.rs` has the memory.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{HashMap, LruHashMap, PerCpuArray},
};
use nat_common::{
    claim::{self, Claim, Entry},
    clock::Tick,
    map_types::{
        Binding, Client, ClientKey, Counter, Gateway, GatewayCounter, Session, SessionKey,
    },
    port_search::{ATTEMPTS, Search},
    session_table, sessions,
    tables::{Refused, Side, Tables},
    taken_ports::TakenPorts,
};

use crate::{
    counters,
    policy_maps::View,
    session_memory::{half_line, inserted, prepare, remove_half},
    settings, turns,
};

/// Sized by the controller when it loads the programs.
pub const CAPACITY: u32 = 262_144;

#[map]
static BINDINGS: HashMap<SessionKey, Binding> = HashMap::pinned(CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static BOUND: HashMap<SessionKey, Binding> = HashMap::pinned(CAPACITY, BPF_F_NO_PREALLOC);
#[map]
pub static CLIENTS: HashMap<ClientKey, Client> = HashMap::pinned(CAPACITY, BPF_F_NO_PREALLOC);
/// Towards whom a gateway has no port left. Walking through a full pool takes milliseconds; this keeps
/// it from happening for every packet.
#[map]
static EXHAUSTED: LruHashMap<SessionKey, Tick> = LruHashMap::with_max_entries(4096, 0);
/// Ports known to be taken, for a hundred remote ends towards which pools are nearly full.
#[map]
static TAKEN_PORTS: LruHashMap<SessionKey, TakenPorts> = LruHashMap::with_max_entries(16_384, 0);
/// What [`attempt`] works on. In a map, where the verifier expects nothing of a
/// value: on the stack it would follow every counter through every turn of the loop.
#[map]
static SEARCH: PerCpuArray<Search> = PerCpuArray::with_max_entries(1, 0);

const EEXIST: i32 = -17;
const EBUSY: i32 = -16;

/// The maps of this dataplane.
pub struct KernelTables;

#[inline(always)]
fn insert<K, V>(map: &HashMap<K, V>, key: &K, value: &V) -> Result<(), Refused> {
    match map.insert(key, value, u64::from(BPF_NOEXIST)) {
        Ok(()) => Ok(()),
        Err(EEXIST) => Err(Refused::Exists),
        Err(EBUSY) => Err(Refused::Busy),
        Err(_) => Err(Refused::Full),
    }
}

#[inline(always)]
fn bindings(side: Side) -> &'static HashMap<SessionKey, Binding> {
    match side {
        Side::Inside => &BINDINGS,
        Side::Outside => &BOUND,
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn half(&self, _side: Side, key: &SessionKey) -> Option<*mut Session> {
        session_table::half(self, half_line(key))
    }

    /// Faster, and with more code and stack.
    #[inline(always)]
    fn half_at_once(&self, key: &SessionKey) -> Option<*mut Session> {
        session_table::find(self, key)
    }

    #[inline(always)]
    fn insert_half(&self, _side: Side, key: &SessionKey, half: &Session) -> Result<(), Refused> {
        inserted(key, half)
    }

    #[inline(always)]
    fn prepare(&self, reverse: &SessionKey, forward: &SessionKey) {
        prepare(reverse, forward);
    }

    #[inline(always)]
    fn remove_half(&self, _side: Side, key: &SessionKey) {
        remove_half(key);
    }

    #[inline(always)]
    fn binding(&self, side: Side, key: &SessionKey) -> Option<*mut Binding> {
        bindings(side).get_ptr_mut(key)
    }

    #[inline(always)]
    fn insert_binding(&self, side: Side, key: &SessionKey, value: &Binding) -> Result<(), Refused> {
        insert(bindings(side), key, value)
    }

    #[inline(always)]
    fn remove_binding(&self, side: Side, key: &SessionKey) {
        let _ = bindings(side).remove(key);
    }

    #[inline(always)]
    fn client(&self, key: &ClientKey) -> Option<*mut Client> {
        CLIENTS.get_ptr_mut(key)
    }

    #[inline(always)]
    fn insert_client(&self, key: &ClientKey, client: &Client) -> Result<(), Refused> {
        insert(&CLIENTS, key, client)
    }

    #[inline(always)]
    fn remove_client(&self, key: &ClientKey) {
        let _ = CLIENTS.remove(key);
    }

    #[inline(always)]
    fn gateway(&self, number: u32) -> Option<&Gateway> {
        View::now().gateway(number)
    }

    #[inline(always)]
    fn exhausted_since(&self, key: &SessionKey) -> Option<Tick> {
        // SAFETY: one word, copied at once; a stale one only delays or repeats a walk.
        unsafe { EXHAUSTED.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_exhausted(&self, key: &SessionKey, now: Tick) {
        let _ = EXHAUSTED.insert(key, now, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn forget_exhausted(&self, key: &SessionKey) {
        let _ = EXHAUSTED.remove(key);
    }

    #[inline(always)]
    fn taken_ports(&self, key: &SessionKey) -> Option<*mut TakenPorts> {
        TAKEN_PORTS.get_ptr_mut(key)
    }

    #[inline(always)]
    fn add_taken_ports(&self, key: &SessionKey) {
        // Not copied: it would take half of what is left of the stack.
        static NONE: TakenPorts = TakenPorts::NONE;
        let none = &NONE;
        let _ = TAKEN_PORTS.insert(key, none, u64::from(BPF_NOEXIST));
    }

    #[inline(always)]
    fn search_space(&self) -> Option<*mut Search> {
        SEARCH.get_ptr_mut(0)
    }

    #[inline(always)]
    fn search(&self) {
        search_ports();
    }

    #[inline(always)]
    fn end_if_expired(&self, key: &SessionKey, now: Tick) -> bool {
        end_if_expired(key, now) != 0
    }

    #[inline(always)]
    fn make(&self, claim: &Claim, reclaims: bool) -> Entry {
        Entry::from_raw(make_session(claim, u32::from(reclaims)))
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
    fn count(&self, counter: Counter) {
        counters::count(counter, 1);
    }

    #[inline(always)]
    fn count_for(&self, gateway: u16, counter: GatewayCounter) {
        counters::count_for(u32::from(gateway), counter);
    }
}

/// As [`sessions::end_if_expired`]; 1 for true. A global function, like the next ones: the verifier looks at it
/// once, not anew for each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn end_if_expired(key: *const SessionKey, now: Tick) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    let key = unsafe { *key };
    u32::from(sessions::end_if_expired(&KernelTables, &key, now))
}

/// As [`claim::make`]; the number of an [`Entry`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_session(claim: *const Claim, reclaims: u32) -> u32 {
    if claim.is_null() {
        return Entry::Internal as u32;
    }
    // SAFETY: checked, and the verifier knows its size.
    claim::make(&KernelTables, unsafe { &*claim }, reclaims != 0) as u32
}

/// Goes through what SEARCH says.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_ports() -> u32 {
    turns::take(ATTEMPTS, attempt)
}

#[inline(never)]
extern "C" fn attempt(_index: u32, _nothing: *mut c_void) -> i64 {
    let Some(search) = SEARCH.get_ptr_mut(0) else {
        return turns::STOP;
    };
    // SAFETY: this CPU's own slot.
    let search = unsafe { &mut *search };
    if search.attempt(&KernelTables) {
        turns::STOP
    } else {
        turns::GO_ON
    }
}
