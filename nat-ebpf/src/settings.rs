//! The clock and randomness, and what the programs are told when they are loaded.

use aya_ebpf::{
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns},
    macros::map,
    maps::Array,
};
use nat_common::{
    clock::{Tick, tick},
    flow_cache::Moment,
};

use crate::policy_maps::View;

/// Set by tests that turn the clock themselves and want the same choices every time. In the dataplane
/// it is a constant 0, and what depends on it is no code at all.
#[unsafe(no_mangle)]
static TEST_CLOCK: u32 = 0;

/// The tests' clock, in ticks.
#[map]
static CLOCK: Array<Tick> = Array::with_max_entries(1, 0);

#[inline(always)]
fn is_test() -> bool {
    // SAFETY: a constant; volatile, because it is changed when the program is loaded.
    unsafe { (&raw const TEST_CLOCK).read_volatile() != 0 }
}

/// The coarse clock of the tables.
#[inline(always)]
pub fn now() -> Tick {
    if is_test() {
        return CLOCK.get(0).copied().unwrap_or(0);
    }
    // SAFETY: takes nothing, answers a number.
    tick(unsafe { bpf_ktime_get_coarse_ns() })
}

/// When it is, for the flow cache.
#[inline(always)]
pub fn moment() -> Moment {
    let view = View::now();
    view.settings().map_or_else(Moment::default, |settings| {
        Moment::at(now(), view.epoch(), settings)
    })
}

/// A random number, to salt choices with.
#[inline(always)]
pub fn random() -> u32 {
    if is_test() {
        return 0;
    }
    // SAFETY: takes nothing, answers a number.
    unsafe { bpf_get_prandom_u32() }
}
