//! Per-CPU counters: drops by reason, and everything else by [`Counter`].

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    drop_reason::{self, DropReason},
    map_types::Counter,
};

#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(drop_reason::COUNT, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Counts a dropped packet.
#[inline(always)]
pub fn dropped(reason: DropReason) {
    add(&DROPS, reason as u32, 1);
}

/// Adds to a counter.
#[inline(always)]
pub fn count(counter: Counter, amount: u64) {
    add(&COUNTERS, counter as u32, amount);
}

#[inline(always)]
fn add(map: &PerCpuArray<u64>, index: u32, amount: u64) {
    if let Some(value) = map.get_ptr_mut(index) {
        // SAFETY: this CPU's own slot, and programs on one CPU do not interrupt each other.
        unsafe { *value += amount };
    }
}
