//! Atomic changes of words. The BPF target of rustc offers no atomic read-modify-write types, although the
//! instruction exists since the third version of the instruction set.

/// Replaces `old` by `new` at `word`; false, and nothing written, when something else is there.
///
/// # Safety
///
/// `word` is valid and aligned, and is only ever written by this module while shared.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn compare_and_swap(word: *mut u64, old: u64, new: u64) -> bool {
    use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg};
    // SAFETY: the caller's.
    unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new).1 }
}

/// Adds `more` to `word`; answers what was there before.
///
/// # Safety
///
/// As for [`compare_and_swap`].
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, more: u64) -> u64 {
    use core::intrinsics::{AtomicOrdering::SeqCst, atomic_xadd};
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word, more) }
}

/// As on the BPF target.
///
/// # Safety
///
/// As on the BPF target.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn fetch_add(word: *mut u64, more: u64) -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    // SAFETY: the caller's.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(more, SeqCst)
}

/// As on the BPF target.
///
/// # Safety
///
/// As on the BPF target.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn compare_and_swap(word: *mut u64, old: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    // SAFETY: the caller's.
    unsafe { AtomicU64::from_ptr(word) }
        .compare_exchange(old, new, SeqCst, SeqCst)
        .is_ok()
}

/// Sets `bits` in `word`.
///
/// # Safety
///
/// As for [`compare_and_swap`].
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn fetch_or(word: *mut u64, bits: u64) {
    use core::intrinsics::{AtomicOrdering::SeqCst, atomic_or};
    // SAFETY: the caller's.
    unsafe { atomic_or::<u64, u64, { SeqCst }>(word, bits) };
}

/// Clears all bits of `word` but `bits`.
///
/// # Safety
///
/// As for [`fetch_or`].
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn fetch_and(word: *mut u64, bits: u64) {
    use core::intrinsics::{AtomicOrdering::SeqCst, atomic_and};
    // SAFETY: the caller's.
    unsafe { atomic_and::<u64, u64, { SeqCst }>(word, bits) };
}

/// As on the BPF target.
///
/// # Safety
///
/// As on the BPF target.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn fetch_or(word: *mut u64, bits: u64) {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    // SAFETY: the caller's.
    unsafe { AtomicU64::from_ptr(word) }.fetch_or(bits, SeqCst);
}

/// As on the BPF target.
///
/// # Safety
///
/// As on the BPF target.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn fetch_and(word: *mut u64, bits: u64) {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    // SAFETY: the caller's.
    unsafe { AtomicU64::from_ptr(word) }.fetch_and(bits, SeqCst);
}
