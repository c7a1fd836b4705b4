//! The one place where packet pointers are made, and where lengths for the kernel's helpers are checked.

use nat_common::wire::Wire;

/// No header a NAT touches starts further in, and the verifier wants a bound.
const MAX_OFFSET: usize = 0x3ff;

/// A pointer to a `T` at `offset` between `data` and `data_end`.
#[inline(always)]
pub fn at<T: Wire>(data: usize, data_end: usize, offset: usize) -> Option<*mut T> {
    if offset > MAX_OFFSET {
        return None;
    }
    let start = data + offset;
    if start + size_of::<T>() > data_end {
        return None;
    }
    Some(start as *mut T)
}

/// A length from 1 to `MAX`, with bounds that the verifier sees. Verifiers before 6.8 do not conclude
/// from `length != 0` that it is 1 at least, so one less is checked, and goes through `slot` to keep the
/// compiler from undoing that.
///
/// # Safety
///
/// `slot` is valid, and nobody else's.
#[inline(always)]
pub unsafe fn length<const MAX: usize>(slot: *mut u32, length: u32) -> Option<u32> {
    // SAFETY: the caller's.
    let less_one = unsafe {
        slot.write_volatile(length.wrapping_sub(1));
        slot.read_volatile()
    };
    if less_one < MAX as u32 {
        Some(less_one + 1)
    } else {
        None
    }
}
