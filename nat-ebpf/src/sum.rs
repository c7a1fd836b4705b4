//! Sums over all of a packet for checksums (RFC 1071), chunk by chunk: a packet may not be in one piece,
//! and the kernel's helper takes 512 bytes.

use core::{ffi::c_void, marker::PhantomData, ptr::null_mut};

use aya_ebpf::{
    helpers::{bpf_csum_diff, bpf_loop},
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{checksum::Sum, cut};

use crate::{bounds, forward::Hook};

/// Bytes summed up at a time, at most.
const CHUNK: usize = 512;
/// Chunks of the longest packet.
const CHUNKS: u32 = cut::LONGEST.div_ceil(CHUNK) as u32;

/// What is being summed up. In a map, of whose content the verifier expects nothing.
#[repr(C)]
struct Summing {
    /// Where the next chunk begins, in bytes.
    offset: u32,
    /// Bytes left.
    left: u32,
    /// What the bounds of a chunk's length are checked in.
    taken: u32,
    sum: u32,
    /// The chunk, and zeros up to a multiple of 4.
    chunk: [u8; CHUNK + 4],
}

#[map]
static SUMMING: PerCpuArray<Summing> = PerCpuArray::with_max_entries(1, 0);

/// What [`add_chunk`] gets.
struct Work<H: Hook> {
    context: *mut c_void,
    hook: PhantomData<H>,
}

/// The sum of `length` bytes of the frame from the even `offset` on. `None` when there are less, or more
/// than [`cut::LONGEST`].
#[inline(never)]
pub fn of<H: Hook>(hook: &H, offset: u32, length: u32) -> Option<Sum> {
    let state = SUMMING.get_ptr_mut(0)?;
    let mut work = Work::<H> {
        context: hook.context(),
        hook: PhantomData,
    };
    // SAFETY: this CPU's own slot; the callback has the signature the helper calls it with, and what it
    // works on outlives it.
    unsafe {
        (&raw mut (*state).offset).write_volatile(offset);
        (&raw mut (*state).left).write_volatile(length);
        (&raw mut (*state).sum).write_volatile(0);
        let step: extern "C" fn(u32, *mut c_void) -> i64 = add_chunk::<H>;
        bpf_loop(CHUNKS, step as *mut c_void, (&raw mut work).cast(), 0);
        if (&raw const (*state).left).read_volatile() != 0 {
            return None;
        }
        Some(Sum::NONE.add32((&raw const (*state).sum).read_volatile()))
    }
}

#[inline(never)]
extern "C" fn add_chunk<H: Hook>(_: u32, work: *mut c_void) -> i64 {
    let Some(state) = SUMMING.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: `of` passes its own; this CPU's own slot, and the length is within the chunk.
    unsafe {
        let work = &*work.cast::<Work<H>>();
        let left = (&raw const (*state).left).read_volatile();
        if left == 0 {
            return 1;
        }
        let taken = if left < CHUNK as u32 {
            left
        } else {
            CHUNK as u32
        };
        let Some(length) = bounds::length::<CHUNK>(&raw mut (*state).taken, taken) else {
            return 1;
        };
        let chunk = (&raw mut (*state).chunk).cast::<u8>();
        if !H::copy(work.context, (*state).offset, chunk, length) {
            return 1;
        }
        for index in 0..3 {
            chunk.add(length as usize + index).write_volatile(0);
        }
        let padded = (length + 3) & !3;
        let sum = bpf_csum_diff(null_mut(), 0, chunk.cast(), padded, (*state).sum);
        (*state).sum = sum as u32;
        (*state).offset += length;
        (*state).left = left - length;
    }
    0
}
