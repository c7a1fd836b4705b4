//! When the tables are swept: each second, less often where sweeps take long, and out of turn when a
//! packet has found the session table full.

use std::time::{Duration, Instant};

/// Between two looks whether it is time. Never less between two sweeps, because the two steps of a
/// removal must be apart.
pub const LOOK: Duration = Duration::from_secs(1);

/// Sweeps use at most one part in this many of a CPU's time,
const SHARE: u32 = 20;
/// and one in this many while the table is full.
const SHARE_WHEN_FULL: u32 = 2;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    ended: Instant,
    took: Duration,
    refused: u64,
}

impl Pace {
    /// The first sweep is due a second from `now`; so many packets have found the table full by then.
    pub const fn new(now: Instant, refused: u64) -> Self {
        Self {
            ended: now,
            took: Duration::ZERO,
            refused,
        }
    }

    /// Whether the tables are to be swept now, when so many packets have found the table full.
    pub fn is_due(&mut self, now: Instant, refused: u64) -> bool {
        let is_full = refused != self.refused;
        self.refused = refused;
        let share = if is_full { SHARE_WHEN_FULL } else { SHARE };
        now.duration_since(self.ended) >= LOOK.max(self.took * (share - 1))
    }

    /// A sweep has ended, and taken so much of a CPU's time: what it waited for others does not count.
    pub fn swept(&mut self, ended: Instant, took: Duration) {
        self.ended = ended;
        self.took = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> impl Fn(Instant) -> Instant {
        move |start| start + Duration::from_secs(seconds)
    }

    #[test]
    fn long_sweeps_are_rare_until_the_table_is_full() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 5);
        assert!(!pace.is_due(start, 5));
        assert!(pace.is_due(after(1)(start), 5));
        // Ten seconds of work: 190 of rest, or 10 when somebody needs the room.
        pace.swept(after(10)(start), Duration::from_secs(10));
        assert!(!pace.is_due(after(199)(start), 5));
        assert!(pace.is_due(after(200)(start), 5));
        assert!(!pace.is_due(after(19)(start), 6));
        assert!(pace.is_due(after(20)(start), 7));
        assert!(!pace.is_due(after(21)(start), 7), "no packet since");
    }

    #[test]
    fn two_sweeps_are_a_second_apart_however_full_the_table_is() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 0);
        pace.swept(start, Duration::ZERO);
        assert!(!pace.is_due(start + Duration::from_millis(999), 1));
        assert!(pace.is_due(after(1)(start), 2));
    }
}
