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

/// What the programs are loaded for. In the dataplane it is the constant [`DATAPLANE`], and what depends on
/// another one is no code at all.
#[unsafe(no_mangle)]
static MODE: u32 = DATAPLANE;

/// Packets are sent on.
pub const DATAPLANE: u32 = 0;
/// Tests turn the clock themselves and want the same choices every time.
const TEST: u32 = 1;
/// `nat explain` asks what would become of a packet: steps are noted down, and nothing is changed in the
/// tables.
pub const EXPLAIN: u32 = 2;

/// The tests' clock, in ticks.
#[map]
static CLOCK: Array<Tick> = Array::with_max_entries(1, 0);

/// See [`MODE`].
#[inline(always)]
pub fn mode() -> u32 {
    // SAFETY: a constant; volatile, because it is changed when the program is loaded.
    unsafe { (&raw const MODE).read_volatile() }
}

/// The coarse clock of the tables.
#[inline(always)]
pub fn now() -> Tick {
    if mode() == TEST {
        return CLOCK.get(0).copied().unwrap_or(0);
    }
    coarse_clock()
}

/// As [`now`], unless it is a test.
#[inline(always)]
pub fn coarse_clock() -> Tick {
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
    if mode() == TEST {
        return 0;
    }
    // SAFETY: takes nothing, answers a number.
    unsafe { bpf_get_prandom_u32() }
}
