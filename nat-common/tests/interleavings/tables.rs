//! Tables with the hazards of the kernel's preallocated hash maps: the memory of a removed entry stays
//! valid, keeps its contents, and serves the next key at once. Every operation lets other CPUs run
//! before it and after it.

use std::{
    cell::{Cell, RefCell, UnsafeCell},
    collections::HashMap,
};

use nat_common::{
    clock::Tick,
    lifecycle::State,
    map_types::{
        Binding, Client, ClientKey, Counter, Gateway, GatewayCounter, Session, SessionKey,
    },
    port_search::{ATTEMPTS, Search},
    session_table::Atomics,
    tables::{Refused, Side, Tables},
    taken_ports::TakenPorts,
};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, ThreadId},
};

/// Words of the memory for one search.
const SEARCH_WORDS: usize = size_of::<Search>().div_ceil(8);

/// The gateway of all scenarios.
pub const GATEWAY: u16 = 3;

/// How many entries each table takes.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Of each side's halves.
    pub halves: usize,
    /// Of each of BINDINGS and BOUND.
    pub bindings: usize,
    /// Of CLIENTS.
    pub clients: usize,
}

/// One hash map.
struct Slab<K, V> {
    keys: RefCell<Vec<Option<K>>>,
    free: RefCell<Vec<usize>>,
    memory: Box<[UnsafeCell<V>]>,
}

impl<K: Copy + PartialEq, V: Copy + Default> Slab<K, V> {
    fn new(capacity: usize) -> Self {
        Self {
            keys: RefCell::new(vec![None; capacity]),
            free: RefCell::new((0..capacity).rev().collect()),
            memory: (0..capacity).map(|_| UnsafeCell::default()).collect(),
        }
    }

    fn index(&self, key: &K) -> Option<usize> {
        self.keys.borrow().iter().position(|at| *at == Some(*key))
    }

    fn get(&self, key: &K) -> Option<*mut V> {
        self.index(key).map(|index| self.memory[index].get())
    }

    fn insert(&self, key: &K, value: &V, reuses_last: bool) -> Result<(), Refused> {
        if self.index(key).is_some() {
            return Err(Refused::Exists);
        }
        let mut free = self.free.borrow_mut();
        let index = if reuses_last || free.is_empty() {
            free.pop().ok_or(Refused::Full)?
        } else {
            free.remove(0)
        };
        // SAFETY: one thread runs at a time, and none of them keeps a reference.
        unsafe { *self.memory[index].get() = *value };
        self.keys.borrow_mut()[index] = Some(*key);
        Ok(())
    }

    fn remove(&self, key: &K) {
        if let Some(index) = self.index(key) {
            self.keys.borrow_mut()[index] = None;
            self.free.borrow_mut().push(index);
        }
    }

    fn entries(&self) -> Vec<(K, V)> {
        let keys = self.keys.borrow();
        let entries = keys.iter().zip(&self.memory);
        entries
            // SAFETY: as above.
            .filter_map(|(key, value)| key.map(|key| (key, unsafe { *value.get() })))
            .collect()
    }
}

/// Tells what happens when a schedule is replayed.
pub fn tell(what: impl FnOnce() -> String) {
    if std::env::var_os("NAT_INTERLEAVINGS_REPLAY").is_some() {
        let cpu = shuttle::current::get_current_task().map_or(0, usize::from);
        eprintln!("cpu {cpu}: {}", what());
    }
}

/// What is told of removals of halves before they happen.
pub type Watch = Box<dyn Fn(&SharedTables, Side, &SessionKey)>;

/// All tables, and the clock.
pub struct SharedTables {
    halves: [Slab<SessionKey, Session>; 2],
    bindings: [Slab<SessionKey, Binding>; 2],
    clients: Slab<ClientKey, Client>,
    gateway: Gateway,
    exhausted: RefCell<Vec<(SessionKey, Tick)>>,
    taken_ports: RefCell<HashMap<SessionKey, Box<UnsafeCell<TakenPorts>>>>,
    clock: Cell<Tick>,
    search_spaces: RefCell<HashMap<ThreadId, Box<UnsafeCell<[u64; SEARCH_WORDS]>>>>,
    /// One insert in so many is refused as busy; 0 for none.
    busy: Cell<u32>,
    /// One removal in so many is, too.
    stubborn: Cell<u32>,
    point: AtomicU32,
    steps: Cell<u64>,
    on_removal: Watch,
}

// SAFETY: shuttle runs one thread at a time, all of them on one thread of the system.
unsafe impl Sync for SharedTables {}
// SAFETY: as above.
unsafe impl Send for SharedTables {}

const fn number(side: Side) -> usize {
    match side {
        Side::Inside => 0,
        Side::Outside => 1,
    }
}

impl SharedTables {
    /// Empty tables with one gateway.
    pub fn new(
        gateway: Gateway,
        capacity: Capacity,
        [busy, stubborn]: [u32; 2],
        on_removal: Watch,
    ) -> Self {
        Self {
            halves: [Slab::new(capacity.halves), Slab::new(capacity.halves)],
            bindings: [Slab::new(capacity.bindings), Slab::new(capacity.bindings)],
            clients: Slab::new(capacity.clients),
            gateway,
            exhausted: RefCell::default(),
            clock: Cell::new(1000),
            search_spaces: RefCell::default(),
            taken_ports: RefCell::default(),
            busy: Cell::new(busy),
            stubborn: Cell::new(stubborn),
            point: AtomicU32::new(0),
            steps: Cell::new(0),
            on_removal,
        }
    }

    /// Lets other CPUs run.
    pub fn point(&self) {
        self.steps.set(self.steps.get() + 1);
        self.point.load(Ordering::SeqCst);
    }

    fn between<R>(&self, operation: impl FnOnce() -> R) -> R {
        self.point();
        let result = operation();
        self.point();
        result
    }

    fn insert<K: Copy + PartialEq, V: Copy + Default>(
        &self,
        slab: &Slab<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), Refused> {
        self.between(|| {
            if self.busy.get() != 0 && thread_rng().gen_ratio(1, self.busy.get()) {
                return Err(Refused::Busy);
            }
            slab.insert(key, value, thread_rng().gen_ratio(3, 4))
        })
    }

    fn remove<K: Copy + PartialEq, V: Copy + Default>(&self, slab: &Slab<K, V>, key: &K) {
        let refuses = self.stubborn.get() != 0 && thread_rng().gen_ratio(1, self.stubborn.get());
        tell(|| format!("the removal is refused: {refuses}"));
        if !refuses {
            slab.remove(key);
        }
    }

    /// Removes what is marked dead, as the controller does some time later.
    pub fn remove_leftovers(&self) {
        for side in [Side::Inside, Side::Outside] {
            for (key, half) in self.all_halves(side) {
                if half.mark as u32 == key.mark(State::Dead) {
                    self.halves[number(side)].remove(&key);
                }
            }
            for (key, binding) in self.all_bindings(side) {
                if binding.lease as u32 == key.mark(State::Dead) {
                    self.bindings[number(side)].remove(&key);
                }
            }
        }
        for (key, client) in self.all_clients() {
            if client.lease as u32 == key.mark(State::Dead) {
                self.clients.remove(&key);
            }
        }
    }

    /// Refuses nothing as busy any more.
    pub fn calm_down(&self) {
        self.busy.set(0);
        self.stubborn.set(0);
    }

    /// Operations so far.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// What the clock shows, without letting anybody run.
    pub fn clock(&self) -> Tick {
        self.clock.get()
    }

    /// Sets the clock.
    pub fn set_clock(&self, now: Tick) {
        self.clock.set(now);
    }

    /// The only gateway.
    pub fn only_gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// A copy of a half, without letting anybody run.
    pub fn peek(&self, side: Side, key: &SessionKey) -> Option<Session> {
        // SAFETY: one thread runs at a time.
        self.halves[number(side)]
            .get(key)
            .map(|half| unsafe { *half })
    }

    /// A copy of a binding, without letting anybody run.
    pub fn peek_binding(&self, side: Side, key: &SessionKey) -> Option<Binding> {
        // SAFETY: as above.
        self.bindings[number(side)]
            .get(key)
            .map(|binding| unsafe { *binding })
    }

    /// All halves of one side.
    pub fn all_halves(&self, side: Side) -> Vec<(SessionKey, Session)> {
        self.halves[number(side)].entries()
    }

    /// All entries of BINDINGS or BOUND.
    pub fn all_bindings(&self, side: Side) -> Vec<(SessionKey, Binding)> {
        self.bindings[number(side)].entries()
    }

    /// All clients.
    pub fn all_clients(&self) -> Vec<(ClientKey, Client)> {
        self.clients.entries()
    }
}

impl Tables for SharedTables {
    fn half(&self, side: Side, key: &SessionKey) -> Option<*mut Session> {
        self.between(|| {
            let half = self.halves[number(side)].get(key);
            tell(|| format!("half {side:?} {key:?}: {half:?}"));
            half
        })
    }

    fn insert_half(&self, side: Side, key: &SessionKey, half: &Session) -> Result<(), Refused> {
        let inserted = self.insert(&self.halves[number(side)], key, half);
        tell(|| format!("inserted {side:?} {key:?}: {inserted:?}"));
        inserted
    }

    fn remove_half(&self, side: Side, key: &SessionKey) {
        self.between(|| {
            (self.on_removal)(self, side, key);
            tell(|| format!("remove {side:?} {key:?}"));
            self.remove(&self.halves[number(side)], key);
        });
    }

    fn binding(&self, side: Side, key: &SessionKey) -> Option<*mut Binding> {
        self.between(|| self.bindings[number(side)].get(key))
    }

    fn insert_binding(&self, side: Side, key: &SessionKey, value: &Binding) -> Result<(), Refused> {
        self.insert(&self.bindings[number(side)], key, value)
    }

    fn remove_binding(&self, side: Side, key: &SessionKey) {
        self.between(|| self.remove(&self.bindings[number(side)], key));
    }

    fn client(&self, key: &ClientKey) -> Option<*mut Client> {
        self.between(|| self.clients.get(key))
    }

    fn insert_client(&self, key: &ClientKey, client: &Client) -> Result<(), Refused> {
        self.insert(&self.clients, key, client)
    }

    fn remove_client(&self, key: &ClientKey) {
        self.between(|| self.remove(&self.clients, key));
    }

    fn gateway(&self, number: u32) -> Option<&Gateway> {
        self.point();
        (number == u32::from(GATEWAY)).then_some(&self.gateway)
    }

    fn exhausted_since(&self, key: &SessionKey) -> Option<Tick> {
        self.between(|| {
            let exhausted = self.exhausted.borrow();
            exhausted
                .iter()
                .find(|(at, _)| at == key)
                .map(|(_, since)| *since)
        })
    }

    fn remember_exhausted(&self, key: &SessionKey, now: Tick) {
        self.between(|| {
            let mut exhausted = self.exhausted.borrow_mut();
            exhausted.retain(|(at, _)| at != key);
            exhausted.push((*key, now));
        });
    }

    fn forget_exhausted(&self, key: &SessionKey) {
        self.between(|| self.exhausted.borrow_mut().retain(|(at, _)| at != key));
    }

    fn taken_ports(&self, key: &SessionKey) -> Option<*mut TakenPorts> {
        self.between(|| self.taken_ports.borrow().get(key).map(|taken| taken.get()))
    }

    fn add_taken_ports(&self, key: &SessionKey) {
        self.between(|| {
            self.taken_ports.borrow_mut().entry(*key).or_default();
        });
    }

    fn search_space(&self) -> Option<*mut Search> {
        let mut spaces = self.search_spaces.borrow_mut();
        let space = spaces
            .entry(thread::current().id())
            .or_insert_with(|| Box::new(UnsafeCell::new([0; SEARCH_WORDS])));
        Some(space.get().cast())
    }

    fn search(&self) {
        let Some(search) = self.search_space() else {
            return;
        };
        for _ in 0..ATTEMPTS {
            // SAFETY: this thread's own, and one thread runs at a time.
            if unsafe { (*search).attempt(self) } {
                return;
            }
        }
    }

    fn now(&self) -> Tick {
        self.clock.get()
    }

    fn random(&self) -> u32 {
        thread_rng().r#gen()
    }

    fn count(&self, _counter: Counter) {}

    fn count_for(&self, _gateway: u16, _counter: GatewayCounter) {}
}

impl Atomics for SharedTables {
    unsafe fn load(&self, word: *const u64) -> u64 {
        self.point();
        // SAFETY: the caller's promise; one thread runs at a time.
        unsafe { word.read() }
    }

    unsafe fn compare_and_swap(&self, word: *mut u64, old: u64, new: u64) -> bool {
        self.point();
        // SAFETY: as above.
        unsafe {
            let same = word.read() == old;
            if same {
                word.write(new);
            }
            tell(|| format!("{word:?}: {old:x} -> {new:x} {same}"));
            same
        }
    }

    unsafe fn fetch_add(&self, word: *mut u64, more: u64) -> u64 {
        self.point();
        // SAFETY: as above.
        unsafe {
            let old = word.read();
            word.write(old.wrapping_add(more));
            tell(|| format!("{word:?}: {old:x} + {more:x}"));
            old
        }
    }

    unsafe fn fetch_or(&self, word: *mut u64, bits: u64) {
        self.point();
        // SAFETY: as above.
        unsafe { *word |= bits };
    }

    unsafe fn fetch_and(&self, word: *mut u64, bits: u64) {
        self.point();
        // SAFETY: as above.
        unsafe { *word &= bits };
    }
}
