//! The table of session halves: one line of a CPU's cache holds a half with its key.
//!
//! Lines stand in buckets of eight. A bucket has a word in an index of its own, with seven bits of each
//! key's hash: a key that is not there costs no line. A key has a favourite line in its bucket, which most
//! keys have: word and line are read at the same time, because it is memory that takes the time here. A key
//! that finds its bucket full goes on to others, at a distance of its own, and is counted in the words of
//! all buckets that it passed over: a search ends at the first one nobody has passed.
//!
//! Whoever adds a key holds its bucket's lock, a bit in the same word, so that a key is there once. Only
//! programs add keys, and nobody can kill a program that holds a lock. Whoever removes a key is the only one
//! who may, as its mark says, and needs none; who only looks for one asks nobody. Of a line that is filled
//! the mark comes last, and of one that is emptied it goes first: who finds a key whose mark is right before
//! and after finds what belongs to it, and who finds a mark finds its key.

use crate::{
    map_types::{Mark, Session, SessionKey},
    tables::Refused,
};

/// Lines of a bucket.
pub const SLOTS: u32 = 8;

/// Buckets that a key may be in.
pub const MOST_BUCKETS: u32 = 16;

/// A half with its key. All-zero is nobody's.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Half {
    /// Its key.
    pub key: SessionKey,
    /// What is kept for it.
    pub session: Session,
}
const _: () = assert!(size_of::<Half>() == 64);

impl Half {
    /// Its mark and its key belong together.
    pub const fn is_somebodys(&self) -> bool {
        Mark(self.session.mark).is_of(&self.key)
    }
}

/// Bits of a word of the index: what it says of each line, how many keys passed over, and the lock.
const BITS: u32 = 7;
const TAG: u64 = (1 << BITS) - 1;
const TAGS: u64 = (1 << (BITS * SLOTS)) - 1;
const ONE_PASSED: u64 = 1 << (BITS * SLOTS);
const LOCKED: u64 = 1 << 63;
const LOW: u64 = TAGS / TAG;
const HIGH: u64 = LOW << (BITS - 1);

/// So many are not counted any more, and never counted down: some may add one at the same time, and the
/// number must not run into the lock.
const MANY_PASSED: u64 = 32;

/// Looks at a lock before it is given up, and tries to change a word.
const SPINS: u32 = 256;
const TRIES: u32 = 16;

/// Where words are changed that others change, too.
pub trait Atomics {
    /// Reads a word that others change meanwhile.
    ///
    /// # Safety
    ///
    /// `word` is valid, aligned, and only changed in these ways while others have it.
    unsafe fn load(&self, word: *const u64) -> u64;

    /// Replaces `old` by `new`; false, and nothing written, when something else is there.
    ///
    /// # Safety
    ///
    /// As for [`Atomics::load`].
    unsafe fn compare_and_swap(&self, word: *mut u64, old: u64, new: u64) -> bool;

    /// Adds to a word, wrapping around; answers what was there before.
    ///
    /// # Safety
    ///
    /// As for [`Atomics::load`].
    unsafe fn fetch_add(&self, word: *mut u64, more: u64) -> u64;

    /// Sets bits of a word.
    ///
    /// # Safety
    ///
    /// As for [`Atomics::load`].
    unsafe fn fetch_or(&self, word: *mut u64, bits: u64);

    /// Clears all other bits of a word.
    ///
    /// # Safety
    ///
    /// As for [`Atomics::load`].
    unsafe fn fetch_and(&self, word: *mut u64, bits: u64);
}

/// The memory of a table.
pub trait Memory: Atomics {
    /// How many buckets it has.
    fn buckets(&self) -> u32;
    /// What its hashes begin with.
    fn seed(&self) -> u64;
    /// A bucket's word of the index.
    fn word(&self, bucket: u32) -> Option<*mut u64>;
    /// A line, counted from the first bucket's first one.
    fn line(&self, line: u32) -> Option<*mut Half>;

    /// As [`find_line`], which is all it does; to be called by another road where that matters, like the
    /// next ones.
    fn find_line(&self, key: &SessionKey) -> LineNumber
    where
        Self: Sized,
    {
        find_line(self, key)
    }

    /// As [`line_in`].
    fn line_in(&self, key: &SessionKey, bucket: u32, tag: u32) -> LineNumber
    where
        Self: Sized,
    {
        line_in(self, key, bucket, tag)
    }

    /// As [`enter`].
    fn enter(&self, key: &SessionKey, session: &Session, bucket: u32, choice: u32) -> bool
    where
        Self: Sized,
    {
        enter(self, key, session, bucket, choice)
    }

    /// As [`lock`].
    fn lock(&self, bucket: u32) -> bool
    where
        Self: Sized,
    {
        lock(self, bucket)
    }

    /// As [`unpass`].
    fn unpass(&self, bucket: u32)
    where
        Self: Sized,
    {
        unpass(self, bucket);
    }
}

/// Buckets for a table that is to take so many halves: a quarter of the lines stays free, so that most keys
/// have their favourite one. A prime, so that every distance leads to all of them.
pub const fn buckets_for(halves: u64) -> u64 {
    let lines = (halves * 4).div_ceil(3);
    let mut buckets = lines.div_ceil(SLOTS as u64);
    while !is_prime(buckets) {
        buckets += 1;
    }
    buckets
}

const fn is_prime(number: u64) -> bool {
    let mut factor = 2;
    while factor * factor <= number {
        if number.is_multiple_of(factor) {
            return false;
        }
        factor += 1;
    }
    number > 1
}

/// A line's number and one more; 0 for none.
pub type LineNumber = u32;

/// It may be in another bucket.
const FURTHER: LineNumber = LineNumber::MAX;

/// A key's bucket, how far it is from there to the next one, and what their words say of the key's line.
#[derive(Clone, Copy)]
struct Place {
    bucket: u32,
    distance: u32,
    tag: u64,
    /// The line of its bucket that it has, if that was free.
    favourite: u32,
}

#[inline(always)]
fn place<M: Memory>(memory: &M, key: &SessionKey) -> Place {
    let (hash, buckets) = (key.hash(memory.seed()), memory.buckets());
    let tag = hash & TAG;
    Place {
        bucket: (((hash >> 32) * u64::from(buckets)) >> 32) as u32,
        // Of one bucket less than there are: neither none nor all of them.
        distance: 1 + (((hash >> 8 & 0xffff) * u64::from(buckets - 1)) >> 16) as u32,
        // 0 is a free line.
        tag: if tag == 0 { 1 } else { tag },
        favourite: (hash >> 24) as u32 % SLOTS,
    }
}

impl Place {
    /// What a line is chosen and marked by: the tag, and above it the favourite line.
    #[inline(always)]
    const fn choice(&self) -> u32 {
        self.tag as u32 | self.favourite << BITS
    }

    /// The next bucket that its key may be in.
    #[inline(always)]
    fn next<M: Memory>(&self, memory: &M, bucket: u32) -> u32 {
        let (next, buckets) = (bucket + self.distance, memory.buckets());
        if next < buckets { next } else { next - buckets }
    }
}

/// The highest bit of each line for which a word says `tag`; of lines behind one of those, now and then
/// too.
#[inline(always)]
const fn lines_of(word: u64, tag: u64) -> u64 {
    let differences = (word & TAGS) ^ (tag * LOW);
    differences.wrapping_sub(LOW) & !differences & HIGH
}

/// Number of the first line among those.
#[inline(always)]
const fn first(lines: u64) -> u32 {
    // The lowest bit, times the number of each line at the distance that brings it to the top.
    const NUMBERS: u64 = {
        let (mut numbers, mut line) = (0, 1);
        while line < SLOTS {
            numbers |= (line as u64) << (TOP - BITS * line);
            line += 1;
        }
        numbers
    };
    const TOP: u32 = 61;
    let lowest = (lines & lines.wrapping_neg()) >> (BITS - 1);
    (lowest.wrapping_mul(NUMBERS) >> TOP) as u32
}

/// The lines of a bucket, by their places in it, that its word says are somebody's.
pub fn taken(word: u64) -> impl Iterator<Item = u32> {
    (0..SLOTS).filter(move |slot| word >> (slot * BITS) & TAG != 0)
}

#[inline(always)]
const fn passed(word: u64) -> u64 {
    (word & !LOCKED) >> (BITS * SLOTS)
}

/// The line of this key in a bucket whose word is `word`.
#[inline(always)]
fn look<M: Memory>(
    memory: &M,
    bucket: u32,
    word: u64,
    tag: u64,
    key: &SessionKey,
) -> Option<(LineNumber, *mut Half)> {
    let mut lines = lines_of(word, tag);
    for _ in 0..SLOTS {
        if lines == 0 {
            break;
        }
        let line = bucket * SLOTS + first(lines);
        let half = memory.line(line)?;
        if is_of(half, key) {
            return Some((line + 1, half));
        }
        lines &= lines - 1;
    }
    None
}

/// Has the processor fetch what is needed next.
#[inline(always)]
fn touch(half: *mut Half) {
    // SAFETY: lines stay valid.
    unsafe { (&raw const (*half).key).cast::<u64>().read_volatile() };
}

/// Has the processor fetch what [`insert`] needs of these keys, all at the same time.
#[inline(always)]
pub fn prepare<M: Memory>(memory: &M, keys: [&SessionKey; 2]) {
    for key in keys {
        let place = place(memory, key);
        if let Some(favourite) = memory.line(place.bucket * SLOTS + place.favourite) {
            touch(favourite);
        }
        if let Some(word) = memory.word(place.bucket) {
            // SAFETY: a word of the index.
            unsafe { memory.load(word) };
        }
    }
}

#[inline(always)]
fn is_of(half: *mut Half, key: &SessionKey) -> bool {
    // SAFETY: lines stay valid; which session is read is for the caller to find out by its mark.
    unsafe { (&raw const (*half).key).read_volatile() == *key }
}

/// The half of a key. Which session it is, its mark tells.
#[inline(always)]
pub fn find<M: Memory>(memory: &M, key: &SessionKey) -> Option<*mut Session> {
    let place = place(memory, key);
    let favourite = memory.line(place.bucket * SLOTS + place.favourite)?;
    touch(favourite);
    let word = memory.word(place.bucket)?;
    // SAFETY: a word of the index.
    let word = unsafe { memory.load(word) };
    if word >> (place.favourite * BITS) & TAG == place.tag && is_of(favourite, key) {
        return Some(session(favourite));
    }
    match look(memory, place.bucket, word, place.tag, key) {
        Some((_, half)) => Some(session(half)),
        None if passed(word) == 0 => None,
        None => half(memory, memory.find_line(key)),
    }
}

/// The half in a line.
#[inline(always)]
pub fn half<M: Memory>(memory: &M, line: LineNumber) -> Option<*mut Session> {
    memory.line(line.checked_sub(1)?).map(session)
}

/// The other line of a pair.
#[inline(always)]
const fn beside(line: u32) -> u32 {
    line ^ 1
}

#[inline(always)]
const fn session(half: *mut Half) -> *mut Session {
    // SAFETY: lines stay valid.
    unsafe { &raw mut (*half).session }
}

/// The line of a key, through all buckets that it may be in.
#[inline(always)]
pub fn find_line<M: Memory>(memory: &M, key: &SessionKey) -> LineNumber {
    let place = place(memory, key);
    let mut bucket = place.bucket;
    for _ in 0..MOST_BUCKETS {
        let line = memory.line_in(key, bucket, place.tag as u32);
        if line != FURTHER {
            return line;
        }
        bucket = place.next(memory, bucket);
    }
    0
}

/// The line of a key with this tag in one of its buckets; [`FURTHER`] when it is not there, and keys passed
/// over.
#[inline(always)]
pub fn line_in<M: Memory>(memory: &M, key: &SessionKey, bucket: u32, tag: u32) -> LineNumber {
    let Some(word) = memory.word(bucket) else {
        return 0;
    };
    // SAFETY: a word of the index.
    let word = unsafe { memory.load(word) };
    match look(memory, bucket, word, u64::from(tag), key) {
        Some((line, _)) => line,
        None if passed(word) == 0 => 0,
        None => FURTHER,
    }
}

/// Adds a half.
///
/// # Errors
///
/// [`Refused::Busy`] when the lock of its bucket can't be had, [`Refused::Full`] when all buckets that the
/// key may be in are full.
#[inline(always)]
pub fn insert<M: Memory>(memory: &M, key: &SessionKey, session: &Session) -> Result<(), Refused> {
    let place = place(memory, key);
    let (true, Some(home)) = (memory.lock(place.bucket), memory.word(place.bucket)) else {
        return Err(Refused::Busy);
    };
    // SAFETY: a word of the index.
    let word = unsafe { memory.load(home) };
    let entered = if look(memory, place.bucket, word, place.tag, key).is_some() {
        Err(Refused::Exists)
    } else if passed(word) == 0 && memory.enter(key, session, place.bucket, place.choice()) {
        Ok(())
    } else if find_line(memory, key) != 0 {
        Err(Refused::Exists)
    } else {
        enter_further(memory, place, key, session)
    };
    // SAFETY: a word of the index.
    unsafe { memory.fetch_and(home, !LOCKED) };
    entered
}

/// Adds a half that is nowhere, whose bucket is locked, and passes over those that are full.
#[inline(always)]
fn enter_further<M: Memory>(
    memory: &M,
    place: Place,
    key: &SessionKey,
    session: &Session,
) -> Result<(), Refused> {
    let mut bucket = place.bucket;
    for _ in 0..MOST_BUCKETS {
        if memory.enter(key, session, bucket, place.choice()) {
            return Ok(());
        }
        if let Some(word) = memory.word(bucket) {
            pass(memory, word);
        }
        bucket = place.next(memory, bucket);
        if bucket == place.bucket {
            break;
        }
    }
    bucket = place.bucket;
    for _ in 0..MOST_BUCKETS {
        memory.unpass(bucket);
        bucket = place.next(memory, bucket);
        if bucket == place.bucket {
            break;
        }
    }
    Err(Refused::Full)
}

/// Writes a half into a free line of a bucket, by its [`Place::choice`]; false when there is none.
#[inline(always)]
pub fn enter<M: Memory>(
    memory: &M,
    key: &SessionKey,
    session: &Session,
    bucket: u32,
    choice: u32,
) -> bool {
    let Some(slot) = memory
        .word(bucket)
        .and_then(|word| take(memory, word, choice))
    else {
        return false;
    };
    let Some(half) = memory.line(bucket * SLOTS + slot) else {
        return false;
    };
    // SAFETY: taken by this caller, and without a mark, so that nobody else touches it. The swap is a fence:
    // the mark comes behind all else, the key too, so that whoever has the line of a session before this one
    // of the same key can't end this one before it is there to be removed.
    unsafe {
        session.copy_without_mark(&raw mut (*half).session);
        (&raw mut (*half).key).write_volatile(*key);
        let mark = &raw mut (*half).session.mark;
        memory.compare_and_swap(mark, memory.load(mark), session.mark);
    }
    true
}

/// Removes a half that is the caller's alone; false when it is not there.
#[inline(always)]
pub fn remove<M: Memory>(memory: &M, key: &SessionKey) -> bool {
    let line = find_line(memory, key);
    let Some(half) = half(memory, line) else {
        return false;
    };
    // SAFETY: lines stay valid. A key that was read in two parts, of two keys, is not that of the mark.
    if !Mark(unsafe { memory.load(&raw const (*half).mark) }).is_of(key) {
        return false;
    }
    leave(memory, place(memory, key), line - 1);
    true
}

#[inline(always)]
fn leave<M: Memory>(memory: &M, place: Place, line: u32) {
    let (last, slot) = (line / SLOTS, line % SLOTS);
    if let Some(half) = memory.line(line) {
        // SAFETY: key and mark are its last owner's, who removes them here.
        unsafe {
            (&raw mut (*half).session.mark).write_volatile(0);
            (&raw mut (*half).key).write_volatile(SessionKey::default());
        }
    }
    if let Some(word) = memory.word(last) {
        // SAFETY: a word of the index.
        unsafe { memory.fetch_and(word, !(TAG << (slot * BITS))) };
    }
    let mut bucket = place.bucket;
    for _ in 0..MOST_BUCKETS {
        if bucket == last {
            break;
        }
        memory.unpass(bucket);
        bucket = place.next(memory, bucket);
    }
}

/// Takes a free line of a bucket for a key.
#[inline(always)]
fn take<M: Memory>(memory: &M, word: *mut u64, choice: u32) -> Option<u32> {
    for _ in 0..TRIES {
        // Taken apart anew each time: what is made of it would crowd the small BPF stack.
        // SAFETY: a number.
        let choice = unsafe { (&raw const choice).read_volatile() };
        let (tag, favourite) = (u64::from(choice) & TAG, choice >> BITS);
        // SAFETY: a word of the index.
        let old = unsafe { memory.load(word) };
        let free = lines_of(old, 0);
        if free == 0 {
            return None;
        }
        let is_free = |slot: u32| old >> (slot * BITS) & TAG == 0;
        let slot = if is_free(favourite) {
            favourite
        } else if is_free(beside(favourite)) {
            beside(favourite)
        } else {
            first(free)
        };
        // SAFETY: as above.
        if unsafe { memory.compare_and_swap(word, old, old | tag << (slot * BITS)) } {
            return Some(slot);
        }
    }
    None
}

/// A key passes over this bucket.
#[inline(always)]
fn pass<M: Memory>(memory: &M, word: *mut u64) {
    // SAFETY: a word of the index.
    unsafe {
        if passed(memory.load(word)) < MANY_PASSED {
            memory.fetch_add(word, ONE_PASSED);
        }
    }
}

/// A key that passed over this bucket is gone. At worst it still counts.
#[inline(always)]
pub fn unpass<M: Memory>(memory: &M, bucket: u32) {
    let Some(word) = memory.word(bucket) else {
        return;
    };
    for _ in 0..TRIES {
        // SAFETY: a word of the index.
        unsafe {
            let old = memory.load(word);
            let count = passed(old);
            if count == 0
                || count >= MANY_PASSED
                || memory.compare_and_swap(word, old, old - ONE_PASSED)
            {
                return;
            }
        }
    }
}

/// Locks a bucket; false when that can't be done.
#[inline(always)]
pub fn lock<M: Memory>(memory: &M, bucket: u32) -> bool {
    let Some(word) = memory.word(bucket) else {
        return false;
    };
    for _ in 0..SPINS {
        // SAFETY: a word of the index.
        unsafe {
            let old = memory.load(word);
            if old & LOCKED == 0 && memory.compare_and_swap(word, old, old | LOCKED) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{cell::UnsafeCell, collections::HashMap};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        address::{Address, Port},
        flow::{Flow, protocol},
    };

    struct Plain {
        words: Vec<UnsafeCell<u64>>,
        lines: Vec<UnsafeCell<Half>>,
        seed: u64,
    }

    impl Plain {
        fn new(buckets: u64, seed: u64) -> Self {
            let lines = buckets * u64::from(SLOTS);
            Self {
                words: (0..buckets).map(|_| UnsafeCell::default()).collect(),
                lines: (0..lines).map(|_| UnsafeCell::default()).collect(),
                seed,
            }
        }

        fn find(&self, key: &SessionKey) -> Option<Session> {
            // SAFETY: one thread.
            find(self, key).map(|session| unsafe { *session })
        }

        fn words(&self) -> Vec<u64> {
            // SAFETY: one thread.
            self.words
                .iter()
                .map(|word| unsafe { *word.get() })
                .collect()
        }
    }

    impl Atomics for Plain {
        unsafe fn load(&self, word: *const u64) -> u64 {
            // SAFETY: the caller's; one thread.
            unsafe { *word }
        }
        unsafe fn compare_and_swap(&self, word: *mut u64, old: u64, new: u64) -> bool {
            // SAFETY: as above.
            unsafe {
                let is_old = *word == old;
                if is_old {
                    *word = new;
                }
                is_old
            }
        }
        unsafe fn fetch_add(&self, word: *mut u64, more: u64) -> u64 {
            // SAFETY: as above.
            unsafe {
                let old = *word;
                *word = old.wrapping_add(more);
                old
            }
        }
        unsafe fn fetch_or(&self, word: *mut u64, bits: u64) {
            // SAFETY: as above.
            unsafe { *word |= bits };
        }
        unsafe fn fetch_and(&self, word: *mut u64, bits: u64) {
            // SAFETY: as above.
            unsafe { *word &= bits };
        }
    }

    impl Memory for Plain {
        fn buckets(&self) -> u32 {
            self.words.len() as u32
        }
        fn seed(&self) -> u64 {
            self.seed
        }
        fn word(&self, bucket: u32) -> Option<*mut u64> {
            self.words.get(bucket as usize).map(UnsafeCell::get)
        }
        fn line(&self, line: u32) -> Option<*mut Half> {
            self.lines.get(line as usize).map(UnsafeCell::get)
        }
    }

    fn key(number: u32) -> SessionKey {
        let flow = Flow {
            source: Address::from_raw(1),
            destination: Address::from_raw(number / 60_000),
            source_port: Port::new((number % 60_000) as u16),
            destination_port: Port::new(443),
            protocol: protocol::TCP,
        };
        SessionKey::forward(&flow, 1)
    }

    fn made(number: u32) -> Session {
        let mark = Address::from_raw(number);
        Session::new(&key(number), mark, Port::new(7), 3, 5)
    }

    #[test]
    fn a_line_is_found_in_a_word() {
        for slot in 0..SLOTS {
            let word = LOCKED | (9 * ONE_PASSED) | 0x5b << (slot * BITS);
            assert_eq!(first(lines_of(word, 0x5b)), slot);
            let free = TAGS & !(TAG << (slot * BITS)) | LOCKED;
            assert_eq!(first(lines_of(free, 0)), slot);
            assert_eq!(passed(word), 9);
        }
        assert_eq!(lines_of(TAGS, 0), 0);
        assert_eq!(lines_of(0x5a5a_5a5a, 0x5b), 0);
    }

    #[test]
    fn a_table_takes_all_halves_it_is_made_for() {
        for (halves, seed) in [(2048, 1), (2048, 2), (100_000, 3), (1 << 21, 4)] {
            let table = Plain::new(buckets_for(halves), seed);
            for number in 0..halves as u32 {
                assert_eq!(
                    insert(&table, &key(number), &made(number)),
                    Ok(()),
                    "{number} of {halves}"
                );
            }
            for number in 0..halves as u32 {
                assert_eq!(table.find(&key(number)), Some(made(number)));
            }
            let passed: Vec<_> = table.words().into_iter().map(passed).collect();
            println!(
                "{halves}: at most {:?} passed over a bucket",
                passed.iter().max()
            );
            for number in 0..halves as u32 {
                assert!(remove(&table, &key(number)));
            }
            assert!(table.words().iter().all(|word| *word == 0));
        }
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let table = Plain::new(3, 9);
        let mut numbers = 0..;
        let full = numbers
            .find(|number| insert(&table, &key(*number), &made(*number)) == Err(Refused::Full));
        assert_eq!(full, Some(3 * SLOTS));
        let words = table.words();
        assert_eq!(insert(&table, &key(1000), &made(1000)), Err(Refused::Full));
        assert_eq!(table.words(), words);
        for number in 0..3 * SLOTS {
            assert!(remove(&table, &key(number)));
        }
        assert_eq!(table.words(), [0; 3]);
    }

    proptest! {
        /// Keys crowd in a few buckets, so that many are far from their own.
        #[test]
        fn a_table_does_what_a_map_does(
            steps in prop::collection::vec((0u32..24, 0u8..3), 1..400), buckets in 1u64..5, seed: u64,
        ) {
            let table = Plain::new(buckets, seed);
            let mut map = HashMap::new();
            for (number, step) in steps {
                let key = key(number);
                match step {
                    0 => {
                        let inserted = insert(&table, &key, &made(number));
                        if map.contains_key(&key) {
                            prop_assert_eq!(inserted, Err(Refused::Exists));
                        } else if map.len() < (buckets * u64::from(SLOTS)) as usize {
                            prop_assert_eq!(inserted, Ok(()));
                            map.insert(key, made(number));
                        } else {
                            prop_assert_eq!(inserted, Err(Refused::Full));
                        }
                    }
                    1 => prop_assert_eq!(remove(&table, &key), map.remove(&key).is_some()),
                    _ => prop_assert_eq!(table.find(&key), map.get(&key).copied()),
                }
                let lines: usize = table.words().into_iter().map(|word| taken(word).count()).sum();
                prop_assert_eq!(lines, map.len());
            }
        }
    }
}
