//! Loops with many turns: a plain one would have the verifier walk each of them.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::helpers::bpf_loop;

/// What is done in a turn; the arguments are its number and nothing.
pub type Step = extern "C" fn(u32, *mut c_void) -> i64;

/// Answers of a step.
pub const GO_ON: i64 = 0;
pub const STOP: i64 = 1;

/// Calls `step` until it says that is enough, or so many times; answers how often it did.
#[inline(always)]
pub fn take(turns: u32, step: Step) -> u32 {
    // SAFETY: the callback has the signature the helper calls it with.
    unsafe { bpf_loop(turns, step as *mut c_void, null_mut(), 0) as u32 }
}
