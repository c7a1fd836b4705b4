//! The coarse clock of the tables: ticks of 2^27 ns (about 134 ms) of CLOCK_MONOTONIC_COARSE, which takes
//! a few nanoseconds to read. A shift makes a tick, and 32 bits last for 18 years of uptime.

use core::time::Duration;

/// log2 of nanoseconds per tick.
pub const TICK_SHIFT: u32 = 27;
const NANOSECONDS_PER_TICK: u64 = 1 << TICK_SHIFT;

/// A point in time, in ticks since boot.
pub type Tick = u32;

/// The tick at `nanoseconds` since boot.
#[inline(always)]
pub const fn tick(nanoseconds: u64) -> Tick {
    (nanoseconds >> TICK_SHIFT) as Tick
}

/// Ticks that cover at least `duration`.
pub const fn ticks_in(duration: Duration) -> u32 {
    let ticks = duration.as_nanos().div_ceil(NANOSECONDS_PER_TICK as u128);
    if ticks > u32::MAX as u128 {
        u32::MAX
    } else {
        ticks as u32
    }
}

/// Ticks from `earlier` to `now`; zero when `earlier` is ahead, as another CPU's clock may be.
#[inline(always)]
pub const fn elapsed(now: Tick, earlier: Tick) -> u32 {
    now.saturating_sub(earlier)
}

/// The length of `ticks`.
pub const fn duration(ticks: u32) -> Duration {
    Duration::from_nanos(ticks as u64 * NANOSECONDS_PER_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_shorter_than_asked() {
        for seconds in [1, 2, 60, 350, 432_000] {
            let asked = Duration::from_secs(seconds);
            assert!(duration(ticks_in(asked)) >= asked);
            assert!(duration(ticks_in(asked)) < asked + Duration::from_millis(150));
        }
    }

    #[test]
    fn a_clock_ahead_of_us_is_no_time_ago() {
        assert_eq!(elapsed(5, 7), 0);
        assert_eq!(elapsed(7, 5), 2);
    }
}
