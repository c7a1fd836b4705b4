//! What the table was asked and what it answered, and whether a map could have answered so.

use std::collections::{BTreeMap, HashSet};

/// What came of things, to see that a scenario does what it is for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub schedules: u64,
    pub steps: u64,
    pub inserted: u64,
    /// Of those, past a full bucket.
    pub passed_over: u64,
    pub exists: u64,
    pub busy: u64,
    pub full: u64,
    pub removed: u64,
    /// Halves that somebody else marked dead first.
    pub lost: u64,
    pub found: u64,
    pub missed: u64,
    /// Looks at a half that was changing hands.
    pub half_done: u64,
    /// Changes that were given up, after which a count may stay.
    pub given_up: u64,
    /// A bucket was passed too often to count.
    pub saturated: u64,
}

impl Tally {
    /// Adds that of one more schedule.
    pub fn add(&mut self, tally: &Self) {
        self.schedules += 1;
        self.steps += tally.steps;
        self.inserted += tally.inserted;
        self.exists += tally.exists;
        self.busy += tally.busy;
        self.full += tally.full;
        self.removed += tally.removed;
        self.lost += tally.lost;
        self.found += tally.found;
        self.missed += tally.missed;
        self.half_done += tally.half_done;
        self.given_up += tally.given_up;
        self.passed_over += tally.passed_over;
        self.saturated += tally.saturated;
    }
}

/// What one operation did to the words.
#[derive(Clone, Copy, Default, Debug)]
pub struct Changes {
    pub passed: u32,
    pub unpassed: u32,
    pub failures: u32,
    pub has_given_up: bool,
}

/// What was asked of the table, and its answer. A half goes by the tick it was made at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Inserted(u32),
    Exists,
    Full,
    /// The lock could not be had.
    Busy,
    Found(u32),
    Missed,
    /// Found, but its mark is not that of a live half, or changed.
    NotLive,
    /// Marked dead: the half is the caller's alone.
    Ended(u32),
    /// Its mark was another one when it was to be marked dead.
    Lost(u32),
    Removed(u32),
}

/// What a map has for a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum There {
    Nothing,
    Live(u32),
    Dead(u32),
}

impl Answer {
    /// What a map has for the key after it gave this answer; `None` when it would not have given it.
    fn after(self, before: There) -> Option<There> {
        use There::{Dead, Live, Nothing};
        let (is_right, after) = match self {
            Self::Inserted(tick) => (before == Nothing, Live(tick)),
            Self::Exists => (before != Nothing, before),
            Self::Full | Self::Missed => (before == Nothing, before),
            Self::Busy => (true, before),
            Self::Found(tick) => (before == Live(tick), before),
            Self::NotLive => (!matches!(before, Live(_)), before),
            Self::Ended(tick) => (before == Live(tick), Dead(tick)),
            Self::Lost(tick) => (before != Live(tick), before),
            Self::Removed(tick) => (before == Dead(tick), Nothing),
        };
        is_right.then_some(after)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub began: u32,
    pub ended: u32,
    pub answer: Answer,
    pub changes: Changes,
}

#[derive(Default)]
pub struct Ledger {
    pub time: u32,
    pub halves: u32,
    pub events: BTreeMap<u32, Vec<Event>>,
    pub tally: Tally,
}

/// There is an order of these operations on one key, none of which began after the next one had ended,
/// in which a map answers the same.
pub fn could_be_a_maps(events: &[Event]) -> bool {
    let all = (1 << events.len()) - 1;
    let mut open = vec![(0u128, There::Nothing)];
    let mut seen = HashSet::new();
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        if !seen.insert((done, state)) {
            continue;
        }
        let left = || (0..events.len()).filter(|at| done >> at & 1 == 0);
        let soonest = left().map(|at| events[at].ended).min();
        for at in left().filter(|at| Some(events[*at].began) < soonest) {
            if let Some(after) = events[at].answer.after(state) {
                open.push((done | 1 << at, after));
            }
        }
    }
    false
}
