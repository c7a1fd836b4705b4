//! Tells by the counters what a program did with a packet that did not come out.

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
    seen_fragments: [u64; 2],
}

const FRAGMENTS: [Counter; 2] = [Counter::FragmentsHeld, Counter::FragmentsReleased];

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
            seen_fragments: [0; 2],
        };
        counts.settle();
        Ok(counts)
    }

    /// Takes the counters as they are for granted.
    pub fn settle(&mut self) {
        self.seen_drops = self.drops();
        self.seen_fragments = self.fragments();
    }

    /// What became of the one packet since.
    pub fn change(&mut self) -> Outcome {
        let now = self.drops();
        let changed: Vec<_> = (0..now.len())
            .filter(|&reason| now[reason] != self.seen_drops[reason])
            .collect();
        if changed.is_empty() {
            let [held, released] = self.seen_fragments;
            self.seen_fragments = self.fragments();
            return match self.seen_fragments {
                [now, same] if now == held + 1 && same == released => Outcome::Hold,
                [same, now] if same == held && now > released => {
                    Outcome::Release((now - released) as usize)
                }
                other => panic!("dropped without a reason; fragments held and released: {other:?}"),
            };
        }
        assert_eq!(changed.len(), 1, "a dropped packet has exactly one reason");
        assert_eq!(now[changed[0]], self.seen_drops[changed[0]] + 1);
        self.seen_drops = now;
        Outcome::Drop(DropReason::ALL[changed[0]].name())
    }

    fn drops(&self) -> Vec<u64> {
        (0..drop_reason::COUNT)
            .map(|reason| sum(&self.drops, reason))
            .collect()
    }

    fn fragments(&self) -> [u64; 2] {
        FRAGMENTS.map(|counter| sum(&self.counters, counter as u32))
    }
}

fn sum(map: &PerCpuArray<MapData, u64>, index: u32) -> u64 {
    map.get(&index, 0).unwrap().iter().sum()
}
