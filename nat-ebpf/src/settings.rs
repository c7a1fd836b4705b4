//! The clock, and what the programs are told once, when they are loaded.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use nat_common::clock::{Tick, tick};

/// The coarse clock of the tables.
#[inline(always)]
pub fn now() -> Tick {
    // SAFETY: takes nothing, answers a number.
    tick(unsafe { bpf_ktime_get_boot_ns() })
}
