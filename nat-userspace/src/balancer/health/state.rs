//! Whether a target is healthy, by what its checks say. Time comes in.

use std::time::SystemTime;

/// How many checks of one outcome in a row it takes. Zero counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes, for an unhealthy target to be healthy.
    pub healthy: u32,
    /// Failures, for a target to be unhealthy.
    pub unhealthy: u32,
}

/// What is known of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing yet.
    Initial,
    Healthy,
    Unhealthy,
}

/// A target as its last checks have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub status: Status,
    /// When it got this status.
    pub since: SystemTime,
    /// Why the last check failed, of a target that is not healthy.
    pub reason: Option<String>,
}

/// Counts outcomes.
#[derive(Debug, Clone)]
pub struct Health {
    state: State,
    /// Outcomes in a row that speak against the status.
    against: u32,
}

impl Health {
    /// Of a target that nothing is known of.
    pub const fn new(now: SystemTime) -> Self {
        Self {
            state: State {
                status: Status::Initial,
                since: now,
                reason: None,
            },
            against: 0,
        }
    }

    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Takes in the outcome of a check, a failure with its reason.
    ///
    /// As on AWS the threshold of successes is for targets that have been unhealthy: the first success of a
    /// new one is enough. A new one that fails gets as many checks as a healthy one.
    pub fn observe(
        &mut self,
        outcome: Result<(), String>,
        thresholds: Thresholds,
        now: SystemTime,
    ) {
        let (status, enough) = match (self.state.status, &outcome) {
            (Status::Initial, Ok(())) => (Status::Healthy, 1),
            (Status::Unhealthy, Ok(())) => (Status::Healthy, thresholds.healthy),
            (Status::Initial | Status::Healthy, Err(_)) => {
                (Status::Unhealthy, thresholds.unhealthy)
            }
            (status @ Status::Healthy, Ok(())) | (status @ Status::Unhealthy, Err(_)) => {
                (status, u32::MAX)
            }
        };
        if status == self.state.status {
            self.against = 0;
        } else {
            self.against = self.against.saturating_add(1);
        }
        if self.against >= enough.max(1) {
            self.against = 0;
            self.state.status = status;
            self.state.since = now;
        }
        match (self.state.status, outcome) {
            (Status::Healthy, _) => self.state.reason = None,
            (_, Err(reason)) => self.state.reason = Some(reason),
            // It is why it has not been trusted yet.
            (_, Ok(())) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        healthy: 3,
        unhealthy: 2,
    };

    /// The statuses after each of some outcomes, `+` and `-`, a second apart.
    fn statuses(outcomes: &str, thresholds: Thresholds) -> (String, State) {
        let mut health = Health::new(SystemTime::UNIX_EPOCH);
        let mut statuses = String::new();
        for (number, outcome) in (1..).zip(outcomes.chars()) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
            let outcome = match outcome {
                '+' => Ok(()),
                _ => Err(format!("failure {number}")),
            };
            health.observe(outcome, thresholds, now);
            statuses.push(match health.state().status {
                Status::Initial => 'i',
                Status::Healthy => 'h',
                Status::Unhealthy => 'u',
            });
        }
        (statuses, health.state().clone())
    }

    #[test]
    fn each_change_takes_its_threshold_in_a_row() {
        for (outcomes, expected) in [
            ("+", "h"),
            ("--", "iu"),
            ("-+-", "ihh"),
            ("+-+-+--", "hhhhhhu"),
            ("--++-+++", "iuuuuuuh"),
            ("--+++-+", "iuuuhhh"),
        ] {
            assert_eq!(statuses(outcomes, THRESHOLDS).0, expected, "{outcomes}");
        }
    }

    #[test]
    fn a_threshold_of_zero_is_one() {
        let none = Thresholds {
            healthy: 0,
            unhealthy: 0,
        };
        assert_eq!(statuses("-+-++", none).0, "uhuhh");
    }

    #[test]
    fn since_is_the_last_change_and_the_reason_the_last_failure() {
        let state = |outcomes| {
            let (_, state) = statuses(outcomes, THRESHOLDS);
            let since = state.since.duration_since(SystemTime::UNIX_EPOCH);
            (since.expect("later").as_secs(), state.reason)
        };
        let failure = |number| Some(format!("failure {number}"));
        assert_eq!(state(""), (0, None));
        assert_eq!(state("-"), (0, failure(1)));
        assert_eq!(state("---"), (2, failure(3)));
        assert_eq!(state("---++"), (2, failure(3)));
        assert_eq!(state("---+++"), (6, None));
        // It is healthy all the while.
        assert_eq!(state("++-"), (1, None));
    }
}
