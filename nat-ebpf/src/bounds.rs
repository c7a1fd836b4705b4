//! The one place where packet pointers are made.

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
