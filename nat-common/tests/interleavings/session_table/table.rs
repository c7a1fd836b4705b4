//! The table with its words and lines in the open: every step on them is a point where another CPU may go
//! on, and every answer is written down.

use std::{
    cell::{Cell, RefCell, UnsafeCell},
    sync::Arc,
};

use nat_common::{
    address::{Address, Port},
    flow::{Flow, protocol},
    lifecycle::State,
    map_types::{Mark, Session, SessionKey},
    session_table::{
        Atomics, Half, LineNumber, Memory, SLOTS, find, find_line, half, insert, remove,
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

use super::answers::{Answer, Changes, Event, Ledger, Tally};
use crate::tables::tell;

/// As the table lays out its words.
pub const ONE_PASSED: u64 = 1 << 56;
pub const LOCKED: u64 = 1 << 63;
/// After so many a word is left as it is.
const TRIES: u32 = 16;

/// Numbers of keys that fill a table up; those below are left for CPUs to quarrel about.
const CROWD: u32 = 100;

/// A table, and what CPUs did to it.
pub struct Table {
    pub words: Box<[UnsafeCell<u64>]>,
    pub lines: Box<[UnsafeCell<Half>]>,
    pub seed: u64,
    /// Several CPUs are at work.
    pub is_shared: Cell<bool>,
    /// A key that another one's line is taken for.
    pub misread: Cell<Option<(SessionKey, LineNumber)>>,
    pub point: AtomicU32,
    pub changes: RefCell<Vec<Changes>>,
    pub ledger: RefCell<Ledger>,
}

// SAFETY: shuttle runs one thread at a time, all of them on one thread of the system.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

pub const fn passed(word: u64) -> u64 {
    (word & !LOCKED) / ONE_PASSED
}

pub fn key(number: u32) -> SessionKey {
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
pub fn made(number: u32, tick: u32) -> Session {
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
    pub fn new(buckets: u32) -> Self {
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

    pub fn insert(&self, number: u32) -> Answer {
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
    pub fn end(&self, number: u32) -> Answer {
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
    pub fn find(&self, number: u32) -> Answer {
        if thread_rng().r#gen() {
            self.look(number, || find(self, &key(number)))
        } else {
            self.look(number, || half(self, find_line(self, &key(number))))
        }
    }

    pub fn look(&self, number: u32, find: impl FnOnce() -> Option<*mut Session>) -> Answer {
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

    pub fn anything(&self, number: u32) {
        match thread_rng().gen_range(0..4) {
            0 | 1 => self.insert(number),
            2 => self.end(number),
            _ => self.find(number),
        };
    }

    /// Fills all lines, then frees `free` of them. Answers the keys that are left.
    pub fn crowd(&self, free: usize) -> Vec<u32> {
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
    pub fn together(
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
    pub fn words(&self) -> Vec<u64> {
        // SAFETY: one thread runs at a time.
        let words = self.words.iter().map(|word| unsafe { *word.get() });
        words.collect()
    }
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
