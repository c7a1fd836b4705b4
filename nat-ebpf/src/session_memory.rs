//! The memory of the table of halves, `nat_common::session_table`, and what is done there, in functions that
//! the verifier looks at once.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use nat_common::{
    map_types::{Session, SessionKey},
    session_table::{self, Atomics, Half, LineNumber, Memory},
    tables::Refused,
};

use crate::{
    atomics,
    kernel_tables::{CAPACITY, KernelTables},
};

/// The halves of all sessions. Mapped memory begins at a page, so that a
/// line of the map is one of the CPU's cache.
#[map]
static SESSIONS: Array<Half> = Array::pinned(CAPACITY, BPF_F_MMAPABLE);
/// A word for each of its buckets, and behind them the seed.
#[map]
static SESSION_INDEX: Array<u64> = Array::pinned(CAPACITY, BPF_F_MMAPABLE);

/// Buckets of SESSIONS, and what their hashes begin with. Set by the controller when it loads the programs.
#[unsafe(no_mangle)]
static SESSION_BUCKETS: u32 = 1;
#[unsafe(no_mangle)]
static SESSION_SEED: u64 = 0;

impl Atomics for KernelTables {
    #[inline(always)]
    unsafe fn load(&self, word: *const u64) -> u64 {
        // SAFETY: the caller's.
        unsafe { word.read_volatile() }
    }

    #[inline(always)]
    unsafe fn compare_and_swap(&self, word: *mut u64, old: u64, new: u64) -> bool {
        // SAFETY: the caller's.
        unsafe { atomics::compare_and_swap(word, old, new) }
    }

    #[inline(always)]
    unsafe fn fetch_add(&self, word: *mut u64, more: u64) -> u64 {
        // SAFETY: the caller's.
        unsafe { atomics::fetch_add(word, more) }
    }

    #[inline(always)]
    unsafe fn fetch_or(&self, word: *mut u64, bits: u64) {
        // SAFETY: the caller's.
        unsafe { atomics::fetch_or(word, bits) }
    }

    #[inline(always)]
    unsafe fn fetch_and(&self, word: *mut u64, bits: u64) {
        // SAFETY: the caller's.
        unsafe { atomics::fetch_and(word, bits) }
    }
}

impl Memory for KernelTables {
    #[inline(always)]
    fn buckets(&self) -> u32 {
        // SAFETY: a constant; volatile, because it is changed when the program is loaded.
        unsafe { (&raw const SESSION_BUCKETS).read_volatile() }
    }

    #[inline(always)]
    fn seed(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (&raw const SESSION_SEED).read_volatile() }
    }

    #[inline(always)]
    fn word(&self, bucket: u32) -> Option<*mut u64> {
        SESSION_INDEX.get_ptr_mut(bucket)
    }

    #[inline(always)]
    fn line(&self, line: u32) -> Option<*mut Half> {
        SESSIONS.get_ptr_mut(line)
    }

    #[inline(always)]
    fn find_line(&self, key: &SessionKey) -> LineNumber {
        half_line(key)
    }

    #[inline(always)]
    fn line_in(&self, key: &SessionKey, bucket: u32, tag: u32) -> LineNumber {
        half_line_in(key, bucket, tag)
    }

    #[inline(always)]
    fn enter(&self, key: &SessionKey, half: &Session, bucket: u32, choice: u32) -> bool {
        enter(key, half, bucket, choice) != 0
    }

    #[inline(always)]
    fn lock(&self, bucket: u32) -> bool {
        lock(bucket) != 0
    }

    #[inline(always)]
    fn unpass(&self, bucket: u32) {
        unpass(bucket);
    }
}

/// As [`session_table::find_line`]. A global function, like the next ones: the verifier looks at it once,
/// not anew for each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn half_line(key: *const SessionKey) -> LineNumber {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    session_table::find_line(&KernelTables, unsafe { &*key })
}

/// As [`session_table::line_in`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn half_line_in(key: *const SessionKey, bucket: u32, tag: u32) -> LineNumber {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    session_table::line_in(&KernelTables, unsafe { &*key }, bucket, tag)
}

/// Answers of [`insert_half`].
const DONE: u32 = 0;
const EXISTS: u32 = 1;
const FULL: u32 = 2;
const BUSY: u32 = 3;

/// As [`session_table::insert`].
#[inline(always)]
pub fn inserted(key: &SessionKey, half: &Session) -> Result<(), Refused> {
    match insert_half(key, half) {
        DONE => Ok(()),
        EXISTS => Err(Refused::Exists),
        FULL => Err(Refused::Full),
        _ => Err(Refused::Busy),
    }
}

/// The same, answered by a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn insert_half(key: *const SessionKey, half: *const Session) -> u32 {
    if key.is_null() || half.is_null() {
        return BUSY;
    }
    // SAFETY: checked, and the verifier knows their sizes.
    match unsafe { session_table::insert(&KernelTables, &*key, &*half) } {
        Ok(()) => DONE,
        Err(Refused::Exists) => EXISTS,
        Err(Refused::Full) => FULL,
        Err(Refused::Busy) => BUSY,
    }
}

/// As [`session_table::enter`]; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn enter(
    key: *const SessionKey,
    half: *const Session,
    bucket: u32,
    choice: u32,
) -> u32 {
    if key.is_null() || half.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows their sizes.
    unsafe {
        u32::from(session_table::enter(
            &KernelTables,
            &*key,
            &*half,
            bucket,
            choice,
        ))
    }
}

/// As [`session_table::lock`]; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lock(bucket: u32) -> u32 {
    u32::from(session_table::lock(&KernelTables, bucket))
}

/// As [`session_table::unpass`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn unpass(bucket: u32) -> u32 {
    session_table::unpass(&KernelTables, bucket);
    1
}

/// As [`session_table::prepare`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare(reverse: *const SessionKey, forward: *const SessionKey) -> u32 {
    if reverse.is_null() || forward.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows their size.
    session_table::prepare(&KernelTables, unsafe { [&*reverse, &*forward] });
    1
}

/// As [`session_table::remove`]; 1 for true.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn remove_half(key: *const SessionKey) -> u32 {
    if key.is_null() {
        return 0;
    }
    // SAFETY: checked, and the verifier knows its size.
    u32::from(session_table::remove(&KernelTables, unsafe { &*key }))
}
