//! Per-CPU counters: drops by reason, and everything else by [`Counter`].

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use nat_common::{
    drop_reason::{self, DropReason},
    map_types::{Counter, GatewayCounter, GatewayPeak, GatewayTraffic, MAX_GATEWAYS, TRACKER},
};

#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(drop_reason::COUNT, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);
#[map]
static GATEWAY_COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(GatewayCounter::PLACES, 0);
#[map]
static GATEWAY_TRAFFIC: PerCpuArray<GatewayTraffic> =
    PerCpuArray::with_max_entries(MAX_GATEWAYS, 0);
#[map]
static GATEWAY_PEAKS: Array<GatewayPeak> = Array::with_max_entries(MAX_GATEWAYS, 0);

/// Counts a dropped packet.
#[inline(always)]
pub fn dropped(reason: DropReason) {
    add(&DROPS, reason as u32, 1);
}

/// Counts one for a NAT gateway; [`TRACKER`] is none.
#[inline(always)]
pub fn count_for(gateway: u32, counter: GatewayCounter) {
    if gateway < TRACKER {
        add(&GATEWAY_COUNTERS, counter.place(gateway), 1);
    }
}

/// Counts for a NAT gateway what a half of a session has carried.
#[inline(always)]
pub fn carried(gateway: u16, is_forward: bool, packets: u64, bytes: u64) {
    if u32::from(gateway) < TRACKER
        && let Some(traffic) = GATEWAY_TRAFFIC.get_ptr_mut(u32::from(gateway))
    {
        // SAFETY: as in `add`.
        unsafe { (*traffic).add(is_forward, packets, bytes) };
    }
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
