//! The table of session halves (`nat_common::session_table`), mapped into this process: reading it takes
//! no system call for each entry.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use aya::maps::{Array, Map, MapData};
use memmap2::{MmapOptions, MmapRaw};
use nat_common::{
    map_types::{Session, SessionKey, names},
    session_table::{self, Atomics, Half, Memory, SLOTS},
    tables::Refused,
};

use crate::{
    error::{Error, Result},
    pins::Pins,
};

/// The table of the running dataplane.
pub struct SessionTable {
    lines: MmapRaw,
    index: MmapRaw,
    buckets: u32,
}

impl SessionTable {
    /// Maps it.
    ///
    /// # Errors
    ///
    /// When there is no dataplane or its maps can't be mapped.
    pub fn open(pins: &Pins) -> Result<Self> {
        let index = pins.open(names::SESSION_INDEX)?;
        // The last word is the seed.
        let words = entries(&index, names::SESSION_INDEX)?;
        let buckets = words.saturating_sub(1);
        let lines = pins.open(names::SESSIONS)?;
        Ok(Self {
            lines: map::<Half>(&lines, names::SESSIONS, buckets * SLOTS)?,
            index: map::<u64>(&index, names::SESSION_INDEX, words)?,
            buckets,
        })
    }

    /// Calls `visit` with every half. Those that come or go meanwhile may be missed or seen; none that
    /// stays is missed.
    pub fn for_each(&self, mut visit: impl FnMut(&SessionKey, &Session)) {
        for bucket in 0..self.buckets {
            let Some(word) = self.word(bucket) else {
                return;
            };
            // SAFETY: a word of the mapped index.
            let word = unsafe { self.load(word) };
            // Most are empty, and what follows takes longer.
            if word == 0 {
                continue;
            }
            for line in session_table::taken(word) {
                if let Some(half) = self.read(bucket * SLOTS + line) {
                    visit(&half.key, &half.session);
                }
            }
        }
    }

    /// A copy of what is in a line, unless it is nobody's or changes hands in this moment.
    fn read(&self, line: u32) -> Option<Half> {
        let half = self.line(line)?;
        // SAFETY: a line of the mapped table. Programs change it meanwhile: the same mark before and
        // after shows whose it is, and counters may be of two moments.
        let (before, half, after) = unsafe {
            let mark = &raw const (*half).session.mark;
            (self.load(mark), half.read_volatile(), self.load(mark))
        };
        (before == after && half.is_somebodys()).then_some(half)
    }

    /// The half of a key.
    pub fn get(&self, key: &SessionKey) -> Option<Session> {
        let line = self.find_line(key).checked_sub(1)?;
        self.read(line).map(|half| half.session)
    }

    /// Adds a half, for tests: programs alone add them otherwise, because whoever is killed here leaves the
    /// bucket locked.
    ///
    /// # Errors
    ///
    /// When it is there already, or there is no room for it.
    pub fn insert(&self, key: &SessionKey, session: &Session) -> std::result::Result<(), Refused> {
        session_table::insert(self, key, session)
    }

    /// Removes a half that no program uses any more; false when it is not there.
    pub fn remove(&self, key: &SessionKey) -> bool {
        session_table::remove(self, key)
    }
}

fn entries(map: &MapData, name: &'static str) -> Result<u32> {
    let info = map.info().map_err(Error::map(name))?;
    Ok(info.max_entries())
}

fn map<T>(map: &MapData, name: &'static str, entries: u32) -> Result<MmapRaw> {
    MmapOptions::new()
        .len(size_of::<T>() * entries as usize)
        .map_raw(map.fd().as_fd().as_raw_fd())
        .map_err(Error::io(format!("mapping {name}")))
}

/// Removes what is left of a table whose other map is gone, as it may be when `nat down` was killed: either
/// without the other is worth nothing, and would be taken for a table that is in use.
///
/// # Errors
///
/// When it can't be removed.
pub fn remove_half_a_table(pins: &Pins) -> Result<()> {
    let is_there = |name| pins.map(name).exists();
    match (is_there(names::SESSIONS), is_there(names::SESSION_INDEX)) {
        (true, false) => pins.remove_map(names::SESSIONS),
        (false, true) => pins.remove_map(names::SESSION_INDEX),
        _ => Ok(()),
    }
}

/// Sets the seed of a table that is new, which the programs were told when they were loaded.
///
/// # Errors
///
/// What the kernel says.
pub fn set_seed(pins: &Pins, seed: u64) -> Result<()> {
    let mut index = index(pins)?;
    let last = index.len() - 1;
    index
        .set(last, seed, 0)
        .map_err(Error::map(names::SESSION_INDEX))
}

/// The seed of the table that is there; `None` when there is none, or it never was in use.
///
/// # Errors
///
/// What the kernel says.
pub fn seed(pins: &Pins) -> Result<Option<u64>> {
    if !pins.map(names::SESSION_INDEX).exists() {
        return Ok(None);
    }
    let index = index(pins)?;
    let last = index.len() - 1;
    let seed = index
        .get(&last, 0)
        .map_err(Error::map(names::SESSION_INDEX))?;
    Ok((seed != 0).then_some(seed))
}

fn index(pins: &Pins) -> Result<Array<MapData, u64>> {
    let map = MapData::from_pin(pins.map(names::SESSION_INDEX))
        .map_err(Error::map(names::SESSION_INDEX))?;
    Array::try_from(Map::Array(map)).map_err(Error::map(names::SESSION_INDEX))
}

fn atomic<'a>(word: *const u64) -> &'a AtomicU64 {
    // SAFETY: a word of mapped memory, which is aligned, stays mapped longer than the borrow of its table
    // in each caller, and is only changed as a whole.
    unsafe { AtomicU64::from_ptr(word.cast_mut()) }
}

impl Atomics for SessionTable {
    unsafe fn load(&self, word: *const u64) -> u64 {
        atomic(word).load(SeqCst)
    }

    unsafe fn compare_and_swap(&self, word: *mut u64, old: u64, new: u64) -> bool {
        atomic(word)
            .compare_exchange(old, new, SeqCst, SeqCst)
            .is_ok()
    }

    unsafe fn fetch_add(&self, word: *mut u64, more: u64) -> u64 {
        atomic(word).fetch_add(more, SeqCst)
    }

    unsafe fn fetch_or(&self, word: *mut u64, bits: u64) {
        atomic(word).fetch_or(bits, SeqCst);
    }

    unsafe fn fetch_and(&self, word: *mut u64, bits: u64) {
        atomic(word).fetch_and(bits, SeqCst);
    }
}

impl Memory for SessionTable {
    fn buckets(&self) -> u32 {
        self.buckets
    }

    fn seed(&self) -> u64 {
        // SAFETY: the last word of the mapped index.
        unsafe { self.load(self.index.as_ptr().cast::<u64>().add(self.buckets as usize)) }
    }

    fn word(&self, bucket: u32) -> Option<*mut u64> {
        // SAFETY: within the mapped index.
        (bucket < self.buckets)
            .then(|| unsafe { self.index.as_mut_ptr().cast::<u64>().add(bucket as usize) })
    }

    fn line(&self, line: u32) -> Option<*mut Half> {
        // SAFETY: within the mapped table.
        (line < self.buckets * SLOTS)
            .then(|| unsafe { self.lines.as_mut_ptr().cast::<Half>().add(line as usize) })
    }
}
