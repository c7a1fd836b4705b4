//! Which public ports a gateway may take, and in which order it tries them for a new session.

use crate::{address::Port, flow::Flow};

/// Ranges a pool is made of, at most.
pub const MAX_RANGES: usize = 4;

/// Ports far apart that a new session tries before it asks which ones are taken: as long as half the
/// pool is free, it rarely has to.
pub const PROBES: u32 = 4;

/// A part of up to so many ports is walked through at once.
pub const SMALL: u32 = 64;

/// Ports that a [`Window`] shows. It divides 1024, so that all of them are in one class.
pub const PORTS_PER_WINDOW: u32 = 512;

/// Inclusive, in host byte order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl PortRange {
    /// How many ports it holds.
    #[inline(always)]
    pub const fn size(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }
}

/// The ports of one public IP. An all-zero pool is empty.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortPool {
    ranges: [PortRange; MAX_RANGES],
    count: u32,
    size: u32,
}

impl PortPool {
    /// A pool of disjoint ranges; those beyond [`MAX_RANGES`] and empty ones are an error.
    ///
    /// # Errors
    ///
    /// `None` when there are too many or too few ranges, or one is empty or holds port 0.
    pub fn new(ranges: &[PortRange]) -> Option<Self> {
        let mut pool = Self::default();
        if ranges.is_empty() || ranges.len() > MAX_RANGES {
            return None;
        }
        for (slot, range) in pool.ranges.iter_mut().zip(ranges) {
            if range.first == 0 || range.first > range.last {
                return None;
            }
            *slot = *range;
            pool.count += 1;
            pool.size += range.size();
        }
        Some(pool)
    }

    /// Its ranges.
    pub fn ranges(&self) -> &[PortRange] {
        self.ranges.get(..self.count as usize).unwrap_or(&[])
    }

    /// How many ports it holds.
    #[inline(always)]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The port belongs to it.
    #[inline(always)]
    pub fn contains(&self, port: Port) -> bool {
        let port = port.get();
        let mut inside = false;
        for range in &self.ranges {
            // Unused slots are 0-0, and port 0 is never asked for.
            inside |= port >= range.first && port <= range.last && port != 0;
        }
        inside
    }

    /// The index of a port; [`u32::MAX`] when the pool lacks it.
    #[inline(always)]
    pub fn index_of(&self, port: Port) -> u32 {
        let port = port.get();
        let (mut before, mut index) = (0, u32::MAX);
        for range in &self.ranges {
            if range.first == 0 || port == 0 {
                break;
            }
            if port >= range.first && port <= range.last {
                index = before + (port - range.first) as u32;
            }
            before += range.size();
        }
        index
    }

    /// The port at `index`, counted over all ranges; the pool's first one past the end.
    #[inline(always)]
    pub fn port_at(&self, index: u32) -> Port {
        let mut rest = index;
        for range in &self.ranges {
            if range.first == 0 {
                break;
            }
            if rest < range.size() {
                return Port::new(range.first + rest as u16);
            }
            rest -= range.size();
        }
        Port::new(self.ranges[0].first)
    }
}

/// The ports of a pool that come into question: all, a block of them, or those of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    kind: Kind,
    first: u32,
    size: u32,
}

/// Ports that are alike: on the same side of 1024 (RFC 4787 REQ-3a) and even or odd (REQ-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Kind {
    /// Ports of any kind; the rest does not count.
    any: bool,
    low: bool,
    odd: bool,
}

/// Ranks of [`Part::ranked`].
pub const RANKS: u32 = 4;

impl Part {
    const ANY: Kind = Kind {
        any: true,
        low: false,
        odd: false,
    };

    /// All ports.
    #[inline(always)]
    pub const fn all(pool: &PortPool) -> Self {
        Self::block(0, pool.size)
    }

    /// `size` ports from the one at index `first`, which the pool has.
    #[inline(always)]
    pub const fn block(first: u32, size: u32) -> Self {
        Self {
            kind: Self::ANY,
            first,
            size,
        }
    }

    /// How well a port stands for `original`: rank 0 are those of its class and parity, 1 those of
    /// its class, 2 those of its parity, 3 the rest.
    #[inline(always)]
    pub fn ranked(pool: &PortPool, original: Port, rank: u32) -> Self {
        let port = original.get();
        let kind = Kind {
            any: false,
            low: (port < PRIVILEGED) ^ (rank & 2 != 0),
            odd: (port & 1 != 0) ^ (rank & 1 != 0),
        };
        let mut size = 0;
        for range in &pool.ranges {
            size += kind.of(*range).1;
        }
        Self {
            kind,
            first: 0,
            size,
        }
    }

    /// How many ports.
    #[inline(always)]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// A number for its kind of ports; [`Port::NONE`] when it has ports of any kind.
    #[inline(always)]
    pub const fn kind(&self) -> Port {
        if self.kind.any {
            Port::NONE
        } else {
            self.kind.number()
        }
    }

    /// The same of the ranked parts that a port is in.
    #[inline(always)]
    pub const fn kind_of(port: Port) -> Port {
        Kind {
            any: false,
            low: port.get() < PRIVILEGED,
            odd: port.get() & 1 != 0,
        }
        .number()
    }

    /// The port at `index`, which is below [`Part::size`].
    #[inline(always)]
    pub fn port_at(&self, pool: &PortPool, index: u32) -> Port {
        if self.kind.any {
            return pool.port_at(self.first + index);
        }
        let mut rest = index;
        for range in &pool.ranges {
            let (first, count) = self.kind.of(*range);
            if rest < count {
                return Port::new((first + 2 * rest) as u16);
            }
            rest -= count;
        }
        Port::NONE
    }

    /// The lowest and the highest port that it may have in one of the pool's ranges.
    #[inline(always)]
    fn span(&self, pool: &PortPool, range: usize) -> Option<(u32, u32)> {
        let range_start = pool.ranges.get(..range)?.iter();
        let before: u32 = range_start.map(|range| range.size()).sum();
        let range = pool.ranges.get(range)?;
        if range.first == 0 {
            return None;
        }
        let (mut first, mut last) = (range.first as u32, range.last as u32);
        if self.kind.any {
            let past = self.first + self.size;
            if past <= before || self.first >= before + range.size() {
                return None;
            }
            if self.first > before {
                first += self.first - before;
            }
            if past < before + range.size() {
                last = range.first as u32 + (past - before) - 1;
            }
            return Some((first, last));
        }
        (first, last) = self.kind.clip(first, last);
        (first <= last).then_some((first, last))
    }

    /// How many windows show all of it.
    #[inline(always)]
    pub fn windows(&self, pool: &PortPool) -> u32 {
        let mut count = 0;
        for range in 0..MAX_RANGES {
            if let Some((first, last)) = self.span(pool, range) {
                count += last / PORTS_PER_WINDOW - first / PORTS_PER_WINDOW + 1;
            }
        }
        count
    }

    /// Shows one of them in `window`; past the last, false.
    #[inline(always)]
    pub fn show(&self, pool: &PortPool, number: u32, window: &mut Window) -> bool {
        let mut rest = number;
        for range in 0..MAX_RANGES {
            if let Some((first, last)) = self.span(pool, range) {
                let count = last / PORTS_PER_WINDOW - first / PORTS_PER_WINDOW + 1;
                if rest < count {
                    window.base = ((first / PORTS_PER_WINDOW + rest) * PORTS_PER_WINDOW) as u16;
                    window.first = first as u16;
                    window.last = last as u16;
                    window.kind = self.kind;
                    return true;
                }
                rest -= count;
            }
        }
        false
    }

    /// The port is one of an unranked part.
    #[inline(always)]
    fn contains(&self, pool: &PortPool, port: Port) -> bool {
        let index = pool.index_of(port);
        self.kind.any && index >= self.first && index - self.first < self.size
    }
}

impl Kind {
    #[inline(always)]
    const fn number(self) -> Port {
        Port::new(1 + (self.low as u16) * 2 + self.odd as u16)
    }

    /// A span without the ports of the other class.
    #[inline(always)]
    const fn clip(self, mut first: u32, mut last: u32) -> (u32, u32) {
        if self.low && last >= PRIVILEGED as u32 {
            last = PRIVILEGED as u32 - 1;
        }
        if !self.low && first < PRIVILEGED as u32 {
            first = PRIVILEGED as u32;
        }
        (first, last)
    }

    /// The first port of this kind in a range, and how many there are.
    #[inline(always)]
    const fn of(self, range: PortRange) -> (u32, u32) {
        let (mut first, mut last) = (range.first as u32, range.last as u32);
        // Unused slots are 0-0.
        if first == 0 {
            return (0, 0);
        }
        (first, last) = self.clip(first, last);
        first += (first ^ self.odd as u32) & 1;
        if first > last {
            return (0, 0);
        }
        (first, (last - first) / 2 + 1)
    }
}

/// The first port that needs no privilege.
const PRIVILEGED: u16 = 1024;

/// Up to [`PORTS_PER_WINDOW`] neighbouring ports, of which those between two ports and of one kind
/// belong to a part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// Its first port, belonging to the part or not; a multiple of its size.
    pub base: u16,
    first: u16,
    last: u16,
    kind: Kind,
}

impl Window {
    /// The ports of the part among the 64 of this word of the window, each as a bit.
    #[inline(always)]
    pub const fn word(&self, number: u32) -> u64 {
        let base = self.base as u32 + number * u64::BITS;
        let (first, last) = (self.first as u32, self.last as u32);
        if last < base || first >= base + u64::BITS {
            return 0;
        }
        let mut ports = u64::MAX;
        if first > base {
            ports = ports << (first - base);
        }
        if last < base + u64::BITS - 1 {
            ports &= u64::MAX >> (base + u64::BITS - 1 - last);
        }
        if self.kind.any {
            ports
        } else {
            ports & EVEN << self.kind.odd as u32
        }
    }
}

/// Every second bit, from the lowest on.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// The order in which the ports of a part are tried for one session. Where it starts and how far apart
/// the first ones are can't be guessed (RFC 6056).
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    part: Part,
    start: u32,
    stride: u32,
}

impl Candidates {
    /// `random` decides.
    #[inline(always)]
    pub const fn new(part: Part, random: u64) -> Self {
        Self {
            part,
            start: scale(random as u32, part.size),
            // So short that the probes stay within one round: they are all different.
            stride: 1 + scale((random >> 32) as u32, part.size / PROBES),
        }
    }

    /// The ports in question.
    #[inline(always)]
    pub const fn part(&self) -> &Part {
        &self.part
    }

    /// The first [`PROBES`] candidates are far apart; `kept` is the first of them when the part has it.
    #[inline(always)]
    pub fn probe(&self, pool: &PortPool, kept: Port, number: u32) -> Port {
        if number == 0 && self.part.contains(pool, kept) {
            return kept;
        }
        self.ahead(pool, self.stride as u64 * number as u64)
    }

    /// From the same start on, all of them are walked through.
    #[inline(always)]
    pub fn step(&self, pool: &PortPool, number: u32) -> Port {
        self.ahead(pool, number as u64)
    }

    #[inline(always)]
    fn ahead(&self, pool: &PortPool, ahead: u64) -> Port {
        let index = (self.start as u64 + ahead).checked_rem(self.part.size as u64);
        self.part.port_at(pool, index.unwrap_or(0) as u32)
    }
}

/// `0..size`, evenly, without a division.
#[inline(always)]
const fn scale(random: u32, size: u32) -> u32 {
    ((random as u64 * size as u64) >> 32) as u32
}

/// SipHash-1-3 of a flow under a gateway's secret, with `salt` for freshness: where its walk starts.
// Not inlined: its state would crowd the caller's small BPF stack.
#[inline(never)]
pub const fn unguessable(secret: [u64; 2], flow: &Flow, vpc: u16, salt: u32) -> u64 {
    sip_hash(
        secret,
        [
            flow.source.raw() as u64 | (flow.destination.raw() as u64) << 32,
            flow.source_port.raw() as u64
                | (flow.destination_port.raw() as u64) << 16
                | (salt as u64) << 32,
            flow.protocol as u64 | (vpc as u64) << 8,
        ],
    )
}

#[inline(always)]
const fn sip_hash(key: [u64; 2], words: [u64; 3]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    v = absorb(v, words[0]);
    v = absorb(v, words[1]);
    v = absorb(v, words[2]);
    // The last block holds the length in bytes, modulo 256.
    v = absorb(v, 24 << 56);
    v[2] ^= 0xff;
    v = round(round(round(v)));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
const fn absorb(mut v: [u64; 4], word: u64) -> [u64; 4] {
    v[3] ^= word;
    v = round(v);
    v[0] ^= word;
    v
}

#[inline(always)]
const fn round(v: [u64; 4]) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = v;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use proptest::prelude::*;

    fn pool(ranges: &[(u16, u16)]) -> PortPool {
        let ranges: Vec<_> = ranges
            .iter()
            .map(|&(first, last)| PortRange { first, last })
            .collect();
        PortPool::new(&ranges).unwrap()
    }

    #[test]
    fn index_and_port_are_one_to_one() {
        let pool = pool(&[(1024, 1030), (40_000, 40_002), (65_534, 65_535)]);
        let ports: Vec<_> = (0..pool.size())
            .map(|index| pool.port_at(index).get())
            .collect();
        assert_eq!(
            ports,
            [
                1024, 1025, 1026, 1027, 1028, 1029, 1030, 40_000, 40_001, 40_002, 65_534, 65_535
            ]
        );
        for (index, port) in (0..).zip(ports) {
            assert_eq!(pool.index_of(Port::new(port)), index);
        }
        assert_eq!(pool.index_of(Port::new(1031)), u32::MAX);
    }

    #[test]
    fn the_original_port_is_the_first_candidate_when_the_part_has_it() {
        let pool = pool(&[(1024, 65_535)]);
        let first = |part, port| {
            Candidates::new(part, 0x1234_5678_9abc_def0)
                .probe(&pool, Port::new(port), 0)
                .get()
        };
        assert_eq!(first(Part::all(&pool), 40_001), 40_001);
        assert_ne!(first(Part::all(&pool), 80), 80);
        assert_eq!(first(Part::block(0, 100), 1100), 1100);
        assert_ne!(first(Part::block(0, 100), 40_001), 40_001);
    }

    #[test]
    fn rfc4787_req3a_req4_the_first_rank_is_of_the_same_class_and_parity() {
        let pool = pool(&[(1000, 1031), (2000, 2004)]);
        let ports = |original, rank| {
            let part = Part::ranked(&pool, Port::new(original), rank);
            (0..part.size())
                .map(|index| part.port_at(&pool, index).get())
                .collect::<Vec<_>>()
        };
        assert_eq!(ports(5, 0), (1001..1024).step_by(2).collect::<Vec<_>>());
        assert_eq!(ports(5, 1), (1000..1024).step_by(2).collect::<Vec<_>>());
        assert_eq!(ports(5, 2), [1025, 1027, 1029, 1031, 2001, 2003]);
        assert_eq!(ports(5, 3), [1024, 1026, 1028, 1030, 2000, 2002, 2004]);
        assert_eq!(ports(40_000, 0), ports(5, 3));
    }

    #[test]
    fn rejects_what_is_no_pool() {
        assert!(PortPool::new(&[]).is_none());
        assert!(PortPool::new(&[PortRange { first: 5, last: 4 }]).is_none());
        assert!(PortPool::new(&[PortRange { first: 0, last: 4 }]).is_none());
    }

    #[test]
    fn the_hash_is_the_standard_librarys_siphash_1_3() {
        use std::hash::{DefaultHasher, Hasher as _};
        let words = [1u64, u64::MAX, 0x0123_4567_89ab_cdef];
        let mut standard = DefaultHasher::new();
        for word in words {
            standard.write(&word.to_le_bytes());
        }
        assert_eq!(sip_hash([0, 0], words), standard.finish());
    }

    const FLOW: Flow = Flow {
        source: Address::from_raw(1),
        destination: Address::from_raw(2),
        source_port: Port::new(3),
        destination_port: Port::new(4),
        protocol: 6,
    };

    #[test]
    fn rfc6056_the_choice_depends_on_the_secret_and_on_all_of_the_flow() {
        let chosen = |secret, flow: Flow, salt| unguessable(secret, &flow, 1, salt);
        let elsewhere = unguessable([1, 2], &FLOW, 2, 0);
        assert_ne!(elsewhere, chosen([1, 2], FLOW, 0), "the VPC counts");
        let (address, port) = (Address::from_raw(9), Port::new(9));
        let mut all = std::collections::HashSet::from([chosen([1, 2], FLOW, 0)]);
        for (secret, flow, salt) in [
            ([3, 2], FLOW, 0),
            ([1, 3], FLOW, 0),
            ([1, 2], FLOW, 1),
            ([1, 2], FLOW.with_source(address, FLOW.source_port), 0),
            ([1, 2], FLOW.with_source(FLOW.source, port), 0),
            (
                [1, 2],
                FLOW.with_destination(address, FLOW.destination_port),
                0,
            ),
            ([1, 2], FLOW.with_destination(FLOW.destination, port), 0),
            (
                [1, 2],
                Flow {
                    protocol: 17,
                    ..FLOW
                },
                0,
            ),
        ] {
            assert!(all.insert(chosen(secret, flow, salt)), "{flow:?}, {salt}");
        }
    }

    #[test]
    fn rfc6056_first_candidates_are_spread_evenly_over_the_pool() {
        const PARTS: u32 = 16;
        const EACH: u32 = 1000;
        let pool = pool(&[(1024, 65_535)]);
        let mut counts = [0; PARTS as usize];
        // One flow again and again, as somebody would who wants to guess the next one.
        for salt in 0..PARTS * EACH {
            let random = unguessable([1, 2], &FLOW, 1, salt);
            let candidates = Candidates::new(Part::all(&pool), random);
            let index = pool.index_of(candidates.probe(&pool, Port::NONE, 0));
            counts[(index * PARTS / pool.size()) as usize] += 1;
        }
        // Five standard deviations.
        assert!(
            counts.iter().all(|&count: &u32| count.abs_diff(EACH) < 160),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn probes_are_all_different_and_the_walk_reaches_every_port(
            first in 1u16..60_000, length in 0u16..5000, random in any::<u64>(), kept in 1u16..,
        ) {
            let pool = pool(&[(first, first.saturating_add(length))]);
            let part = Part::all(&pool);
            let candidates = Candidates::new(part, random);
            let distinct = |ports: &mut dyn Iterator<Item = Port>| {
                ports.collect::<std::collections::HashSet<_>>().len() as u32
            };
            let probes = distinct(&mut (0..PROBES).map(|n| candidates.probe(&pool, Port::NONE, n)));
            prop_assert_eq!(probes, PROBES.min(pool.size()));
            let steps = distinct(&mut (0..part.size()).map(|n| candidates.step(&pool, n)));
            prop_assert_eq!(steps, pool.size());
            for number in 0..PROBES {
                prop_assert!(pool.contains(candidates.probe(&pool, Port::new(kept), number)));
            }
        }

        #[test]
        fn the_ranks_together_are_the_pool(
            first in 1u16..3000, length in 0u16..3000, original in 1u16.., random in any::<u64>(),
        ) {
            let pool = pool(&[(first, first + length), (50_000, 50_000 + length)]);
            let mut ports = std::collections::HashSet::new();
            for rank in 0..RANKS {
                let part = Part::ranked(&pool, Port::new(original), rank);
                let candidates = Candidates::new(part, random);
                for number in 0..part.size() {
                    ports.insert(candidates.step(&pool, number).get());
                }
            }
            prop_assert_eq!(ports.len() as u32, pool.size());
            prop_assert!(ports.iter().all(|port| pool.contains(Port::new(*port))));
        }

        #[test]
        fn windows_show_a_part_and_nothing_else(
            ranges in prop::collection::vec((1u16..16_000, 0u16..2000), 1..=MAX_RANGES),
            from in any::<u32>(), size in any::<u32>(), original in 1u16.., kind in 0u32..6,
        ) {
            let ranges: Vec<_> = ranges
                .iter()
                .enumerate()
                .map(|(n, &(first, length))| {
                    let first = first % 14_000 + 1 + n as u16 * 16_000;
                    (first, (first + length).min(n as u16 * 16_000 + 15_999))
                })
                .collect();
            let pool = pool(&ranges);
            let from = from % pool.size();
            let part = match kind {
                4 => Part::all(&pool),
                5 => Part::block(from, 1 + size % (pool.size() - from)),
                rank => Part::ranked(&pool, Port::new(original), rank),
            };
            let mut shown = Vec::new();
            for number in 0..part.windows(&pool) {
                let mut window = Window::default();
                prop_assert!(part.show(&pool, number, &mut window));
                for bit in 0..PORTS_PER_WINDOW {
                    if window.word(bit / 64) >> (bit % 64) & 1 != 0 {
                        shown.push(window.base + bit as u16);
                    }
                }
            }
            prop_assert!(!part.show(&pool, part.windows(&pool), &mut Window::default()));
            let ports: Vec<_> = (0..part.size()).map(|n| part.port_at(&pool, n).get()).collect();
            shown.sort_unstable();
            let mut sorted = ports.clone();
            sorted.sort_unstable();
            prop_assert_eq!(shown, sorted);
        }
    }
}
