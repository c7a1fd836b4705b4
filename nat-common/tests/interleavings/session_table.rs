//! The table of session halves itself, with few buckets, so that keys crowd and pass over full ones. Every
//! answer is written down with the time it took: in the end they must be those that a map could have
//! given, one operation after the other. Halves are removed as `sessions.rs` does it: by whoever marks one
//! dead, and nobody else.

use std::{
    cell::{Cell, RefCell, UnsafeCell},
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use nat_common::{
    address::{Address, Port},
    flow::{Flow, protocol},
    lifecycle::State,
    map_types::{Mark, Session, SessionKey},
    session_table::{
        Atomics, Half, LineNumber, Memory, SLOTS, find, find_line, half, insert, remove, taken,
    },
    tables::Refused,
    wire::TcpFlags,
};
use shuttle::{
    current,
    rand::{Rng, thread_rng},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use super::{explore::repeat, tables::tell};

/// As the table lays out its words.
const ONE_PASSED: u64 = 1 << 56;
const LOCKED: u64 = 1 << 63;
/// So many are counted, and stay; CPUs that count one at the same time may make it more.
const MANY_PASSED: u64 = 32;
const MOST_PASSED: u64 = MANY_PASSED + MOST_CPUS as u64;
/// After so many a word is left as it is.
const TRIES: u32 = 16;

/// CPUs at work at the same time.
const MOST_CPUS: usize = 4;

/// Numbers of keys that fill a table up; those below are left for CPUs to quarrel about.
const CROWD: u32 = 100;

/// What came of things, to see that a scenario does what it is for.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    schedules: u64,
    steps: u64,
    inserted: u64,
    /// Of those, past a full bucket.
    passed_over: u64,
    exists: u64,
    busy: u64,
    full: u64,
    removed: u64,
    /// Halves that somebody else marked dead first.
    lost: u64,
    found: u64,
    missed: u64,
    /// Looks at a half that was changing hands.
    half_done: u64,
    /// Changes that were given up, after which a count may stay.
    given_up: u64,
    /// A bucket was passed too often to count.
    saturated: u64,
}

/// What one operation did to the words.
#[derive(Clone, Copy, Default, Debug)]
struct Changes {
    passed: u32,
    unpassed: u32,
    failures: u32,
    has_given_up: bool,
}

/// What was asked of the table, and its answer. A half goes by the tick it was made at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Inserted(u32),
    Exists,
    Full,
    /// The lock could not be had.
    Busy,
    Found(u32),
    Missed,
    /// Found, but its mark is not that of a live half, or changed.
    NotLive,
    /// Marked dead: the half is the caller's alone.
    Ended(u32),
    /// Its mark was another one when it was to be marked dead.
    Lost(u32),
    Removed(u32),
}

/// What a map has for a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum There {
    Nothing,
    Live(u32),
    Dead(u32),
}

impl Answer {
    /// What a map has for the key after it gave this answer; `None` when it would not have given it.
    fn after(self, before: There) -> Option<There> {
        use There::{Dead, Live, Nothing};
        let (is_right, after) = match self {
            Self::Inserted(tick) => (before == Nothing, Live(tick)),
            Self::Exists => (before != Nothing, before),
            Self::Full | Self::Missed => (before == Nothing, before),
            Self::Busy => (true, before),
            Self::Found(tick) => (before == Live(tick), before),
            Self::NotLive => (!matches!(before, Live(_)), before),
            Self::Ended(tick) => (before == Live(tick), Dead(tick)),
            Self::Lost(tick) => (before != Live(tick), before),
            Self::Removed(tick) => (before == Dead(tick), Nothing),
        };
        is_right.then_some(after)
    }
}

#[derive(Clone, Copy, Debug)]
struct Event {
    began: u32,
    ended: u32,
    answer: Answer,
    changes: Changes,
}

#[derive(Default)]
struct Ledger {
    time: u32,
    halves: u32,
    events: BTreeMap<u32, Vec<Event>>,
    tally: Tally,
}

/// A table, and what CPUs did to it.
struct Table {
    words: Box<[UnsafeCell<u64>]>,
    lines: Box<[UnsafeCell<Half>]>,
    seed: u64,
    /// Several CPUs are at work.
    is_shared: Cell<bool>,
    /// A key that another one's line is taken for.
    misread: Cell<Option<(SessionKey, LineNumber)>>,
    point: AtomicU32,
    changes: RefCell<Vec<Changes>>,
    ledger: RefCell<Ledger>,
}

// SAFETY: shuttle runs one thread at a time, all of them on one thread of the system.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

const fn passed(word: u64) -> u64 {
    (word & !LOCKED) / ONE_PASSED
}

fn key(number: u32) -> SessionKey {
    let flow = Flow {
        source: Address::from_raw(1),
        destination: Address::from_raw(2),
        source_port: Port::new(number as u16),
        destination_port: Port::new(443),
        protocol: protocol::TCP,
    };
    SessionKey::forward(&flow, 1)
}

/// The half of a key that was made at this tick: all of it tells which one it is.
fn made(number: u32, tick: u32) -> Session {
    let mut session = Session::new(
        &key(number),
        Address::from_raw(tick << 16 | number),
        Port::new(tick as u16),
        number as u16,
        tick,
    );
    session.carry(tick, u64::from(tick), u64::from(number), TcpFlags::NONE);
    session
}

impl Table {
    fn new(buckets: u32) -> Self {
        Self {
            words: (0..buckets).map(|_| UnsafeCell::default()).collect(),
            lines: (0..buckets * SLOTS)
                .map(|_| UnsafeCell::default())
                .collect(),
            seed: thread_rng().r#gen(),
            is_shared: Cell::new(false),
            misread: Cell::default(),
            point: AtomicU32::new(0),
            changes: RefCell::default(),
            ledger: RefCell::default(),
        }
    }

    /// Lets other CPUs run.
    fn point(&self) {
        if self.is_shared.get() {
            self.judge_lines();
            self.ledger.borrow_mut().tally.steps += 1;
            self.point.load(Ordering::SeqCst);
        }
    }

    fn between<R>(&self, operation: impl FnOnce() -> R) -> R {
        self.point();
        let result = operation();
        self.point();
        result
    }

    fn changes<R>(&self, change: impl FnOnce(&mut Changes) -> R) -> R {
        let cpu = current::get_current_task().map_or(0, usize::from);
        let mut changes = self.changes.borrow_mut();
        if changes.len() <= cpu {
            changes.resize(cpu + 1, Changes::default());
        }
        change(&mut changes[cpu])
    }

    /// One operation, from its first step to its last.
    fn answer(&self, number: u32, operation: impl FnOnce() -> Answer) -> Answer {
        let tick = |table: &Self| {
            let mut ledger = table.ledger.borrow_mut();
            ledger.time += 1;
            ledger.time
        };
        self.changes(|changes| *changes = Changes::default());
        let began = tick(self);
        let answer = operation();
        let changes = self.changes(|changes| *changes);
        let event = Event {
            began,
            ended: tick(self),
            answer,
            changes,
        };
        tell(|| format!("key {number}: {event:?}"));
        let mut ledger = self.ledger.borrow_mut();
        ledger.events.entry(number).or_default().push(event);
        ledger.tally.given_up += u64::from(changes.has_given_up);
        answer
    }

    /// Counts what CPUs do beside each other.
    fn tally(&self, count: impl FnOnce(&mut Tally)) {
        if self.is_shared.get() {
            count(&mut self.ledger.borrow_mut().tally);
        }
    }

    fn insert(&self, number: u32) -> Answer {
        let tick = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.halves += 1;
            ledger.halves
        };
        let answer = self.answer(number, || {
            match insert(self, &key(number), &made(number, tick)) {
                Ok(()) => Answer::Inserted(tick),
                Err(Refused::Exists) => Answer::Exists,
                Err(Refused::Busy) => Answer::Busy,
                Err(Refused::Full) => Answer::Full,
            }
        });
        let has_passed = self.changes(|changes| changes.passed != 0);
        self.tally(|tally| match answer {
            Answer::Inserted(_) => {
                tally.inserted += 1;
                tally.passed_over += u64::from(has_passed);
            }
            Answer::Exists => tally.exists += 1,
            Answer::Full => tally.full += 1,
            _ => tally.busy += 1,
        });
        answer
    }

    /// Removes a half, if nobody else does.
    fn end(&self, number: u32) -> Answer {
        let key = key(number);
        let answer = self.answer(number, || {
            let Some(half) = find(self, &key) else {
                return Answer::Missed;
            };
            // SAFETY: lines stay valid.
            let mark = unsafe { &raw mut (*half).mark };
            // SAFETY: as above.
            let live = Mark(unsafe { self.load(mark) });
            if live.key_and_state() != key.mark(State::Live) {
                return Answer::NotLive;
            }
            let tick = live.created();
            let dead = Mark::new(key.mark(State::Dead), tick);
            // SAFETY: as above.
            if unsafe { self.compare_and_swap(mark, live.0, dead.0) } {
                Answer::Ended(tick)
            } else {
                Answer::Lost(tick)
            }
        });
        let Answer::Ended(tick) = answer else {
            self.tally(|tally| tally.lost += u64::from(answer != Answer::Missed));
            return answer;
        };
        self.tally(|tally| tally.removed += 1);
        self.answer(number, || {
            assert!(
                remove(self, &key),
                "{number}, made at {tick}, is its remover's alone, but not there"
            );
            Answer::Removed(tick)
        })
    }

    /// By either road, at random.
    fn find(&self, number: u32) -> Answer {
        if thread_rng().r#gen() {
            self.look(number, || find(self, &key(number)))
        } else {
            self.look(number, || half(self, find_line(self, &key(number))))
        }
    }

    fn look(&self, number: u32, find: impl FnOnce() -> Option<*mut Session>) -> Answer {
        let answer = self.answer(number, || {
            let Some(half) = find() else {
                return Answer::Missed;
            };
            // SAFETY: lines stay valid, and one thread runs at a time.
            let (before, session, after) = unsafe {
                let mark = &raw const (*half).mark;
                (self.load(mark), half.read(), self.load(mark))
            };
            let is_its_own = Mark(before).key_and_state() == key(number).mark(State::Live);
            if before != after || !is_its_own {
                self.tally(|tally| tally.half_done += 1);
                return Answer::NotLive;
            }
            let tick = Mark(before).created();
            assert_eq!(
                session,
                made(number, tick),
                "the half of {number} is another session's"
            );
            Answer::Found(tick)
        });
        self.tally(|tally| match answer {
            Answer::Found(_) => tally.found += 1,
            _ => tally.missed += 1,
        });
        answer
    }

    fn anything(&self, number: u32) {
        match thread_rng().gen_range(0..4) {
            0 | 1 => self.insert(number),
            2 => self.end(number),
            _ => self.find(number),
        };
    }

    /// Fills all lines, then frees `free` of them. Answers the keys that are left.
    fn crowd(&self, free: usize) -> Vec<u32> {
        let lines = self.lines.len() as u32;
        let mut numbers: Vec<_> = (CROWD..CROWD + lines).collect();
        for number in &numbers {
            assert!(matches!(self.insert(*number), Answer::Inserted(_)));
        }
        for _ in 0..free {
            let number = numbers.swap_remove(thread_rng().gen_range(0..numbers.len()));
            assert!(matches!(self.end(number), Answer::Removed(_)));
        }
        numbers
    }

    /// Runs `work` on several CPUs at once.
    fn together(
        self: &Arc<Self>,
        cpus: usize,
        work: impl Fn(&Self, usize) + Clone + Send + 'static,
    ) {
        self.is_shared.set(true);
        let threads: Vec<_> = (0..cpus)
            .map(|cpu| {
                let (table, work) = (Arc::clone(self), work.clone());
                thread::spawn(move || work(&table, cpu))
            })
            .collect();
        for thread in threads {
            thread.join().expect("a CPU goes on");
        }
        self.is_shared.set(false);
    }

    /// The words, without letting anybody run.
    fn words(&self) -> Vec<u64> {
        // SAFETY: one thread runs at a time.
        let words = self.words.iter().map(|word| unsafe { *word.get() });
        words.collect()
    }

    fn lines_in_use(&self) -> Vec<Half> {
        let mut lines = Vec::new();
        for (bucket, word) in self.words().into_iter().enumerate() {
            for slot in taken(word) {
                // SAFETY: one thread runs at a time.
                lines.push(unsafe { *self.lines[bucket * SLOTS as usize + slot as usize].get() });
            }
        }
        lines
    }

    /// No key is in two lines, whoever is at work.
    fn judge_lines(&self) {
        let lines = self.lines_in_use();
        for (at, half) in lines.iter().enumerate() {
            let is_elsewhere = lines[at + 1..].iter().any(|other| other.key == half.key);
            assert!(
                half.key == SessionKey::default() || !is_elsewhere,
                "{:?} is in two lines",
                half.key
            );
        }
    }

    /// Nobody is at work: each line is complete, and answers were those of a map.
    fn audit(&self) {
        let mut there = 0;
        for half in self.lines_in_use() {
            assert!(half.is_somebodys(), "{half:?} is nobody's");
        }
        let numbers: Vec<_> = self.ledger.borrow().events.keys().copied().collect();
        for number in numbers {
            self.look(number, || find(self, &key(number)));
            let last = self.look(number, || half(self, find_line(self, &key(number))));
            assert!(
                matches!(last, Answer::Found(_) | Answer::Missed),
                "{number} is left behind dead"
            );
            there += usize::from(last != Answer::Missed);
            let ledger = self.ledger.borrow();
            let events = &ledger.events[&number];
            assert!(
                could_be_a_maps(events),
                "no map gives these answers for key {number}: {events:#?}"
            );
        }
        assert_eq!(self.lines_in_use().len(), there, "lines that nobody finds");
    }

    /// Removes everything: nothing is left, but the counts of buckets that were passed too often to count.
    fn clear(&self) {
        let numbers: Vec<_> = self.ledger.borrow().events.keys().copied().collect();
        for number in numbers {
            let answer = self.end(number);
            assert!(matches!(answer, Answer::Removed(_) | Answer::Missed));
        }
        for line in &self.lines {
            // SAFETY: one thread runs at a time.
            let line = unsafe { *line.get() };
            assert_eq!((line.key, line.session.mark), Default::default());
        }
        let words = self.words();
        assert!(
            words
                .iter()
                .all(|word| word % ONE_PASSED == 0 && word & LOCKED == 0)
        );
        if self.ledger.borrow().tally.given_up != 0 {
            return;
        }
        let counts: Vec<_> = words.into_iter().map(passed).collect();
        assert!(
            counts
                .iter()
                .all(|count| matches!(*count, 0 | MANY_PASSED..MOST_PASSED)),
            "keys that are gone are counted: {counts:?}"
        );
        if counts.iter().all(|count| *count == 0) {
            self.judge_counts();
        }
    }

    /// Whatever a key passed over it took back, and at once when it did not fit.
    fn judge_counts(&self) {
        for (number, events) in &self.ledger.borrow().events {
            let (mut passed, mut unpassed) = (0, 0);
            for Event {
                answer, changes, ..
            } in events
            {
                passed += changes.passed;
                unpassed += changes.unpassed;
                if *answer == Answer::Full {
                    assert_ne!(changes.passed, 0);
                    assert_eq!(changes.passed, changes.unpassed, "Full leaves a trace");
                }
            }
            assert_eq!(passed, unpassed, "of key {number}");
        }
    }
}

/// There is an order of these operations on one key, none of which began after the next one had ended,
/// in which a map answers the same.
fn could_be_a_maps(events: &[Event]) -> bool {
    let all = (1 << events.len()) - 1;
    let mut open = vec![(0u128, There::Nothing)];
    let mut seen = HashSet::new();
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        if !seen.insert((done, state)) {
            continue;
        }
        let left = || (0..events.len()).filter(|at| done >> at & 1 == 0);
        let soonest = left().map(|at| events[at].ended).min();
        for at in left().filter(|at| Some(events[*at].began) < soonest) {
            if let Some(after) = events[at].answer.after(state) {
                open.push((done | 1 << at, after));
            }
        }
    }
    false
}

impl Atomics for Table {
    unsafe fn load(&self, word: *const u64) -> u64 {
        // SAFETY: the caller's promise; one thread runs at a time.
        self.between(|| unsafe { word.read() })
    }

    unsafe fn compare_and_swap(&self, word: *mut u64, old: u64, new: u64) -> bool {
        self.between(|| {
            // SAFETY: as above.
            let is_old = unsafe { word.read() } == old;
            if is_old {
                // SAFETY: as above.
                unsafe { word.write(new) };
            }
            tell(|| format!("{word:?}: {old:x} -> {new:x} {is_old}"));
            self.changes(|changes| {
                changes.failures = if is_old { 0 } else { changes.failures + 1 };
                changes.has_given_up |= changes.failures >= TRIES;
                changes.unpassed += u32::from(is_old && new.wrapping_add(ONE_PASSED) == old);
            });
            is_old
        })
    }

    unsafe fn fetch_add(&self, word: *mut u64, more: u64) -> u64 {
        self.between(|| {
            self.changes(|changes| changes.passed += u32::from(more == ONE_PASSED));
            // SAFETY: as above.
            unsafe {
                let old = word.read();
                word.write(old.wrapping_add(more));
                tell(|| format!("{word:?}: {old:x} + {more:x}"));
                old
            }
        })
    }

    unsafe fn fetch_or(&self, word: *mut u64, bits: u64) {
        // SAFETY: as above.
        self.between(|| unsafe { *word |= bits });
    }

    unsafe fn fetch_and(&self, word: *mut u64, bits: u64) {
        self.between(|| {
            tell(|| format!("{word:?}: & {bits:x}"));
            // SAFETY: as above.
            unsafe { *word &= bits };
        });
    }
}

impl Memory for Table {
    fn buckets(&self) -> u32 {
        self.words.len() as u32
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn word(&self, bucket: u32) -> Option<*mut u64> {
        self.point();
        self.words.get(bucket as usize).map(UnsafeCell::get)
    }

    fn line(&self, line: u32) -> Option<*mut Half> {
        self.point();
        self.lines.get(line as usize).map(UnsafeCell::get)
    }

    fn find_line(&self, key: &SessionKey) -> LineNumber {
        match self.misread.get() {
            Some((misread, line)) if misread == *key => line,
            _ => find_line(self, key),
        }
    }
}

/// One scenario in an empty table of each size; what came of it must be enough.
fn race(
    name: &str,
    sizes: &[u32],
    schedules: usize,
    scenario: fn(&Arc<Table>),
    is_enough: fn(u32, &Tally) -> bool,
) {
    for &buckets in sizes {
        let sum = Arc::new(Mutex::new(Tally::default()));
        let total = Arc::clone(&sum);
        let run = move || {
            let table = Arc::new(Table::new(buckets));
            scenario(&table);
            table.audit();
            table.clear();
            total.lock().expect("nobody panicked").add(&table);
        };
        let title = format!("{name}, buckets {buckets}");
        repeat(&title, &buckets, schedules, run);
        let tally = *sum.lock().expect("nobody panicked");
        println!("{tally:?}");
        assert!(
            tally.schedules == 0 || is_enough(buckets, &tally),
            "{title} does not do what it is for: {tally:?}"
        );
    }
}

impl Tally {
    fn add(&mut self, table: &Table) {
        let tally = table.ledger.borrow().tally;
        self.schedules += 1;
        self.steps += tally.steps;
        self.inserted += tally.inserted;
        self.exists += tally.exists;
        self.busy += tally.busy;
        self.full += tally.full;
        self.removed += tally.removed;
        self.lost += tally.lost;
        self.found += tally.found;
        self.missed += tally.missed;
        self.half_done += tally.half_done;
        self.given_up += tally.given_up;
        self.passed_over += tally.passed_over;
        self.saturated += tally.saturated;
    }
}

fn cpus() -> usize {
    thread_rng().gen_range(2..=MOST_CPUS)
}

#[test]
fn operations_answer_as_if_one_came_after_the_other() {
    let scenario = |table: &Arc<Table>| {
        let left = table.crowd(thread_rng().gen_range(1..=4));
        for _ in 0..2 {
            let left = left.clone();
            table.together(cpus(), move |table, _| {
                for _ in 0..thread_rng().gen_range(1..=5) {
                    // Now and then one that crowds, too: its line becomes free for another.
                    match thread_rng().gen_range(0..6) {
                        4 => table.anything(left[0]),
                        5 => table.anything(left[1]),
                        number => table.anything(number),
                    }
                }
            });
            table.audit();
        }
    };
    race("anything", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules / 4;
        let is_found = tally.found > tally.schedules && tally.half_done > 0;
        is_found && passes_over && tally.exists > tally.schedules && tally.full > 100
    });
}

#[test]
fn of_two_inserts_of_a_key_one_succeeds() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(thread_rng().gen_range(1..=3));
        let cpus = cpus();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let given = Arc::clone(&answers);
        table.together(cpus, move |table, _| {
            let answer = table.insert(0);
            given.lock().expect("nobody panicked").push(answer);
        });
        let mut answers = answers.lock().expect("nobody panicked").clone();
        answers.retain(|answer| !matches!(answer, Answer::Exists | Answer::Busy));
        assert!(matches!(answers[..], [Answer::Inserted(_)]), "{answers:?}");
    };
    race("one key", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules / 8;
        passes_over && tally.exists > tally.schedules
    });
}

#[test]
fn of_two_that_end_a_key_one_removes_it() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(thread_rng().gen_range(1..=3));
        assert!(matches!(table.insert(0), Answer::Inserted(_)));
        let cpus = cpus();
        let removed = Arc::new(Mutex::new(0));
        let count = Arc::clone(&removed);
        table.together(cpus, move |table, _| {
            if matches!(table.end(0), Answer::Removed(_)) {
                *count.lock().expect("nobody panicked") += 1;
            }
        });
        assert_eq!(*removed.lock().expect("nobody panicked"), 1);
    };
    race("one removal", &[1, 2, 3], 300, scenario, |_, tally| {
        tally.removed == tally.schedules && tally.lost > tally.schedules / 2
    });
}

#[test]
fn a_key_that_stays_is_found_while_others_come_and_go() {
    let scenario = |table: &Arc<Table>| {
        let others = table.crowd(thread_rng().gen_range(1..=3));
        table.together(4, move |table, cpu| match cpu {
            0 => {
                if matches!(table.insert(0), Answer::Inserted(_)) {
                    for _ in 0..3 {
                        assert!(matches!(table.find(0), Answer::Found(_)));
                    }
                }
            }
            // What they leave free is where the first one goes, and what it passed over.
            1 => {
                for number in &others[..2] {
                    table.end(*number);
                }
                table.insert(1);
                table.end(1);
            }
            2 => {
                for number in 2..4 {
                    table.insert(number);
                    table.end(number);
                }
            }
            _ => {
                for number in &others[2..] {
                    assert!(matches!(table.find(*number), Answer::Found(_)));
                }
            }
        });
    };
    race("one stays", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules / 8;
        passes_over && tally.found > 3 * tally.schedules && tally.removed > 3 * tally.schedules
    });
}

#[test]
fn a_line_that_changes_hands_is_nobodys_in_between() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(1);
        table.together(4, |table, cpu| {
            for number in [0, 1, 0] {
                match cpu {
                    0 => {
                        table.insert(number);
                        table.end(number);
                    }
                    1 => {
                        table.end(number);
                        table.insert(1 - number);
                    }
                    _ => {
                        table.find(number);
                    }
                }
            }
        });
    };
    race("one line", &[1, 2, 3], 400, scenario, |buckets, tally| {
        let passes_over = buckets == 1 || tally.passed_over > tally.schedules;
        passes_over && tally.half_done > 5 && tally.removed > 2 * tally.schedules
    });
}

#[test]
fn a_line_whose_key_was_read_in_two_parts_is_not_emptied() {
    let scenario = |table: &Arc<Table>| {
        let other = table.crowd(2)[0];
        assert!(matches!(table.insert(0), Answer::Inserted(_)));
        table.together(3, move |table, cpu| match cpu {
            // Looks like the line of a key that is not there.
            0 => {
                let line = find_line(table, &key(other));
                table.misread.set(Some((key(1), line)));
                assert!(!remove(table, &key(1)));
                table.misread.set(None);
            }
            1 => {
                table.end(0);
                table.insert(0);
            }
            _ => {
                assert!(matches!(table.find(other), Answer::Found(_)));
            }
        });
        assert!(matches!(table.find(other), Answer::Found(_)));
    };
    race("misread", &[1, 2, 3], 100, scenario, |_, tally| {
        tally.removed == tally.schedules
    });
}

#[test]
fn a_key_that_comes_anew_into_its_line_is_there_or_not() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(thread_rng().gen_range(1..=2));
        table.insert(0);
        table.together(3, |table, cpu| {
            for _ in 0..3 {
                match cpu {
                    0 => {
                        table.end(0);
                        table.insert(0);
                    }
                    1 => {
                        table.end(0);
                    }
                    _ => {
                        table.find(0);
                    }
                }
            }
        });
    };
    race("anew", &[1, 2], 1500, scenario, |_, tally| {
        tally.removed > 2 * tally.schedules && tally.half_done > tally.schedules / 4
    });
}

#[test]
fn a_key_that_comes_home_from_further_on_has_left_its_line_there() {
    let scenario = |table: &Arc<Table>| {
        let others = table.crowd(1);
        table.insert(0);
        table.together(3, move |table, cpu| match cpu {
            0 => {
                table.end(0);
            }
            // Its own bucket may get room.
            1 => {
                for number in &others[..4] {
                    table.end(*number);
                }
            }
            _ => {
                for _ in 0..3 {
                    table.insert(0);
                }
            }
        });
    };
    race("home", &[2, 3], 1000, scenario, |_, tally| {
        tally.inserted > tally.schedules / 3 && tally.exists > tally.schedules
    });
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let scenario = |table: &Arc<Table>| {
        table.crowd(0);
        let words = table.words();
        table.together(cpus(), |table, cpu| {
            table.insert(cpu as u32);
            table.find(0);
            table.insert(0);
        });
        if table.ledger.borrow().tally.given_up == 0 {
            assert_eq!(table.words(), words);
        }
    };
    race("full", &[1, 2, 3], 150, scenario, |_, tally| {
        tally.full > 2 * tally.schedules && tally.given_up * 100 < tally.schedules
    });
}

/// Numbers of keys of one bucket: they all begin at the first one's.
fn of_one_bucket(table: &Table, count: usize) -> Vec<u32> {
    let empty = Table {
        seed: table.seed,
        ..Table::new(table.buckets())
    };
    let bucket = |number: u32| {
        let key = key(number);
        assert_eq!(insert(&empty, &key, &made(number, 1)), Ok(()));
        let line = find_line(&empty, &key) - 1;
        assert!(remove(&empty, &key));
        line / SLOTS
    };
    let first = bucket(0);
    (0..)
        .filter(|number| bucket(*number) == first)
        .take(count)
        .collect()
}

#[test]
fn a_bucket_passed_by_too_many_to_count_stays_passed() {
    let scenario = |table: &Arc<Table>| {
        let numbers = of_one_bucket(table, 60);
        // All but the first eight pass: some fewer than are counted, or some more.
        let count = thread_rng().gen_range(36..=46);
        let (many, stay) = (MANY_PASSED as usize + SLOTS as usize, 30..count);
        for number in &numbers[..count] {
            assert!(matches!(table.insert(*number), Answer::Inserted(_)));
        }
        let shared = numbers.clone();
        table.together(MOST_CPUS, move |table, cpu| {
            for at in 0..2 {
                let number = |first: usize| shared[first + 2 * cpu + at];
                table.insert(number(50));
                assert!(matches!(
                    table.find(shared[thread_rng().gen_range(stay.clone())]),
                    Answer::Found(_)
                ));
                assert!(matches!(table.end(number(8)), Answer::Removed(_)));
                table.end(number(50));
            }
        });
        for number in &numbers[..30] {
            table.end(*number);
        }
        let counted = table.words().into_iter().map(passed).max();
        assert!(count < many || counted >= Some(MANY_PASSED));
        // Those that are left are found.
        table.audit();
        for number in &numbers[30..count] {
            assert!(matches!(table.end(*number), Answer::Removed(_)));
        }
        if counted >= Some(MANY_PASSED) {
            table.ledger.borrow_mut().tally.saturated += 1;
        }
    };
    race("too many", &[17], 100, scenario, |_, tally| {
        let is_either = 0 < tally.saturated && tally.saturated < tally.schedules;
        is_either && tally.removed > 4 * tally.schedules
    });
}
