//! Tells by the counters what a program did with a packet that did not come out.

use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, PerCpuArray};
use nat_common::{
    drop_reason::{self, DropReason},
    map_types::{Counter, names},
};
use nat_userspace::pins::Pins;

use crate::bench::Outcome;

/// The counters as they were when last looked at.
pub struct Counts {
    drops: PerCpuArray<MapData, u64>,
    counters: PerCpuArray<MapData, u64>,
    seen_drops: Vec<u64>,
    seen_fragments: [u64; 3],
}

const FRAGMENTS: [Counter; 3] = [
    Counter::FragmentsHeld,
    Counter::FragmentsReleased,
    Counter::Fragmented,
];

impl Counts {
    /// Of the pinned maps; to be called in the namespace they are pinned in.
    pub fn new(pins: &Pins) -> anyhow::Result<Self> {
        let open = |name| -> anyhow::Result<_> {
            let data = pins.open(name)?;
            Ok(PerCpuArray::try_from(Map::PerCpuArray(data))?)
        };
        let mut counts = Self {
            drops: open(names::DROPS)?,
            counters: open(names::COUNTERS)?,
            seen_drops: Vec::new(),
            seen_fragments: [0; 3],
        };
        counts.settle(0);
        Ok(counts)
    }

    /// Waits until so many more packets were dropped, and takes the counters for granted.
    pub fn settle(&mut self, dropped: u64) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let (start, before) = (Instant::now(), self.seen_drops.iter().sum::<u64>());
        loop {
            self.seen_drops = self.drops();
            self.seen_fragments = self.fragments();
            if self.seen_drops.iter().sum::<u64>() >= before + dropped || start.elapsed() > PATIENCE
            {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether more packets were dropped for this reason.
    pub fn has_more(&self, reason: &str) -> bool {
        let mut known = DropReason::ALL.iter();
        let reason = known.position(|known| known.name() == reason);
        reason.is_some_and(|reason| self.drops()[reason] != self.seen_drops[reason])
    }

    /// What became of the one packet since.
    pub fn change(&mut self) -> Outcome {
        let [held, released, cut] = self.seen_fragments;
        self.seen_fragments = self.fragments();
        if self.seen_fragments[1] > released {
            return Outcome::Release;
        }
        if self.seen_fragments[0] > held {
            return Outcome::Hold;
        }
        if self.seen_fragments[2] > cut {
            return Outcome::Cut;
        }
        let now = self.drops();
        let changed: Vec<_> = (0..now.len())
            .filter(|&reason| now[reason] != self.seen_drops[reason])
            .collect();
        let reasons: Vec<_> = changed
            .iter()
            .map(|&reason| {
                (
                    DropReason::ALL[reason].name(),
                    now[reason] - self.seen_drops[reason],
                )
            })
            .collect();
        assert_eq!(
            changed.len(),
            1,
            "a dropped packet has exactly one reason: {reasons:?}"
        );
        assert_eq!(now[changed[0]], self.seen_drops[changed[0]] + 1);
        self.seen_drops = now;
        Outcome::Drop(DropReason::ALL[changed[0]].name())
    }

    fn drops(&self) -> Vec<u64> {
        (0..drop_reason::COUNT)
            .map(|reason| sum(&self.drops, reason))
            .collect()
    }

    fn fragments(&self) -> [u64; 3] {
        FRAGMENTS.map(|counter| sum(&self.counters, counter as u32))
    }
}

fn sum(map: &PerCpuArray<MapData, u64>, index: u32) -> u64 {
    map.get(&index, 0).unwrap().iter().sum()
}
