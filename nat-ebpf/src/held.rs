//! Fragments that wait, at TC: their frames are copied to HELD (`fragments.rs`), and put into the
//! packet at hand one by one to be received again when the first fragment of their datagram has come.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS},
    helpers::{
        bpf_clone_redirect, bpf_loop, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};
use nat_common::{
    clock::{Tick, elapsed},
    drop_reason::DropReason,
    map_types::{Counter, DatagramKey, Fate, HELD_BYTES, HELD_FRAMES, HeldFrame},
};

use crate::{atomics::compare_and_swap, counters, fragments, settings, verdict::Verdict};

/// Copies the frame to HELD.
#[inline(never)]
pub fn hold(skb: *mut __sk_buff, key: &DatagramKey) -> Result<Verdict, DropReason> {
    // SAFETY: the program's own context.
    let length = unsafe { (*skb).len };
    if length == 0 || length > HELD_BYTES as u32 {
        return Err(DropReason::Fragment);
    }
    if fragments::expect(key) {
        keep(skb, key)?;
        counters::count(Counter::FragmentsHeld, 1);
    } else if !fragments::is_decided(key) {
        return Err(DropReason::Fragment);
    } else {
        // The first one has come this moment, and nobody looks for this one any more.
        return again(skb)
            .then_some(Verdict::Consumed)
            .ok_or(DropReason::Fragment);
    }
    Ok(Verdict::Consumed)
}

/// A length that was checked before, with bounds that the verifier sees: it loses those of a register
/// that the compiler copies.
///
/// # Safety
///
/// `length` is valid, and what it points to is 1 to [`HELD_BYTES`].
#[inline(always)]
unsafe fn within_bounds(length: *const u32) -> u32 {
    const { assert!(HELD_BYTES.is_power_of_two()) };
    // SAFETY: the caller's.
    let length = unsafe { length.read_volatile() };
    (length.wrapping_sub(1) & (HELD_BYTES as u32 - 1)) + 1
}

/// Writes the frame, which is not too long, to the next place, unless somebody is at it.
#[inline(always)]
fn keep(skb: *mut __sk_buff, key: &DatagramKey) -> Result<(), DropReason> {
    let place = fragments::next_place().ok_or(DropReason::Fragment)?;
    // SAFETY: an entry's memory stays valid, and belongs to who has marked it busy.
    unsafe {
        let state = &raw mut (*place).state;
        let before = state.read_volatile();
        if before == HeldFrame::BUSY || !compare_and_swap(state, before, HeldFrame::BUSY) {
            return Err(DropReason::Fragment);
        }
        let bytes = (&raw mut (*place).bytes).cast();
        let length = within_bounds(&raw const (*skb).len);
        let failed = bpf_skb_load_bytes(skb.cast(), 0, bytes, length);
        if failed != 0 {
            compare_and_swap(state, HeldFrame::BUSY, HeldFrame::FREE);
            return Err(DropReason::Fragment);
        }
        (*place).key = *key;
        (*place).length = length;
        (*place).seen = settings::now();
        compare_and_swap(state, HeldFrame::BUSY, HeldFrame::FULL);
    }
    Ok(())
}

/// What [`release_one`] works on.
struct Release {
    skb: *mut __sk_buff,
    key: DatagramKey,
    now: Tick,
    released: u32,
}

/// Has the waiting fragments of a datagram received again, after this packet itself if `with_this`.
/// The packet is used up; false when it is not.
#[inline(never)]
pub fn release(skb: *mut __sk_buff, key: &DatagramKey, with_this: bool) -> bool {
    if with_this && !again(skb) {
        return false;
    }
    let mut release = Release {
        skb,
        key: *key,
        now: settings::now(),
        released: 0,
    };
    // SAFETY: the callback has the signature the helper calls it with, and what it works on outlives it.
    unsafe {
        let step: extern "C" fn(u32, *mut c_void) -> i64 = release_one;
        bpf_loop(
            HELD_FRAMES,
            step as *mut c_void,
            (&raw mut release).cast(),
            0,
        );
    }
    counters::count(Counter::FragmentsReleased, u64::from(release.released));
    true
}

/// Has a copy of the packet received by the interface it came from.
#[inline(always)]
fn again(skb: *mut __sk_buff) -> bool {
    // SAFETY: the program's own context.
    unsafe { bpf_clone_redirect(skb, (*skb).ifindex, u64::from(BPF_F_INGRESS)) == 0 }
}

#[inline(never)]
extern "C" fn release_one(index: u32, release: *mut c_void) -> i64 {
    // SAFETY: `release` passes its own; an entry's memory stays valid, and belongs to who has marked it
    // busy.
    unsafe {
        let release = &mut *release.cast::<Release>();
        let Some(place) = fragments::place(index) else {
            return 1;
        };
        let state = &raw mut (*place).state;
        if state.read_volatile() != HeldFrame::FULL
            || (*place).key != release.key
            || !compare_and_swap(state, HeldFrame::FULL, HeldFrame::BUSY)
        {
            return 0;
        }
        let is_fresh = elapsed(release.now, (*place).seen) <= Fate::LIFETIME;
        if is_fresh && (*place).key == release.key {
            let length = within_bounds(&raw const (*place).length);
            let bytes = (&raw const (*place).bytes).cast();
            if bpf_skb_change_tail(release.skb, length, 0) == 0
                && bpf_skb_store_bytes(release.skb, 0, bytes, length, 0) == 0
                && again(release.skb)
            {
                release.released += 1;
            }
        }
        compare_and_swap(state, HeldFrame::BUSY, HeldFrame::FREE);
    }
    0
}
