//! Time as the tables keep it: in ticks of 2^27 ns, about 134 ms.

use std::time::Duration;

/// Nanoseconds of a tick.
const TICK: u128 = 1 << 27;

/// Ticks that an idle session lives on behind its timeout when nobody sweeps.
pub(super) const GRACE: u64 = 8;

/// The tick that `now` is in.
pub(super) fn tick(now: Duration) -> u64 {
    (now.as_nanos() >> 27) as u64
}

/// Ticks that cover at least `duration`.
pub(super) fn ticks_in(duration: Duration) -> u64 {
    duration.as_nanos().div_ceil(TICK) as u64
}

/// Whether more than `duration` went by from the tick `since` to `now`.
pub(super) fn is_longer_ago(now: Duration, since: u64, duration: Duration) -> bool {
    tick(now).saturating_sub(since) > ticks_in(duration)
}
