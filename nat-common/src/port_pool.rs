//! Which public ports a gateway may take, and in which order it tries them for a new session.

use crate::{address::Port, flow::Flow};

/// Ranges a pool is made of, at most.
pub const MAX_RANGES: usize = 4;

/// Ports far apart that a new session tries on a public IP before it walks through all of them: as
/// long as the pool is not nearly full, one of these is free.
pub const PROBES: u32 = 32;

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

    /// Attempts after which every port was tried.
    #[inline(always)]
    pub const fn attempts(&self) -> u32 {
        PROBES + self.size
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

/// The ports to try for one session on one public IP: the original one first when the pool has it,
/// then some far apart, then all of them. Where that starts and how far apart they are can't be
/// guessed (RFC 6056).
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    start: u32,
    stride: u32,
}

impl Candidates {
    /// `random` decides where the walk starts and how far it steps.
    #[inline(always)]
    pub const fn new(pool: &PortPool, random: u64) -> Self {
        Self {
            start: scale(random as u32, pool.size),
            // So short that the probes stay within one round: they are all different.
            stride: 1 + scale((random >> 32) as u32, pool.size / PROBES),
        }
    }

    /// The candidate of this attempt, counted from 0.
    #[inline(always)]
    pub fn port(&self, pool: &PortPool, original: Port, attempt: u32) -> Port {
        if attempt == 0 && pool.contains(original) {
            return original;
        }
        let ahead = if attempt < PROBES {
            self.stride as u64 * attempt as u64
        } else {
            (attempt - PROBES) as u64
        };
        let index = (self.start as u64 + ahead).checked_rem(pool.size as u64);
        pool.port_at(index.unwrap_or(0) as u32)
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
    }

    #[test]
    fn the_original_port_is_the_first_candidate_when_the_pool_has_it() {
        let pool = pool(&[(1024, 65_535)]);
        let candidates = Candidates::new(&pool, 0x1234_5678_9abc_def0);
        assert_eq!(candidates.port(&pool, Port::new(40_001), 0).get(), 40_001);
        assert_ne!(candidates.port(&pool, Port::new(80), 0).get(), 80);
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

    proptest! {
        #[test]
        fn attempts_reach_every_port_and_probes_are_all_different(
            first in 1u16..60_000, length in 0u16..5000, random in any::<u64>(),
        ) {
            let pool = pool(&[(first, first.saturating_add(length))]);
            let candidates = Candidates::new(&pool, random);
            let outside = Port::NONE;
            let tried = |attempts| {
                let ports: std::collections::HashSet<_> =
                    (0..attempts).map(|attempt| candidates.port(&pool, outside, attempt)).collect();
                ports.len() as u32
            };
            prop_assert_eq!(tried(PROBES), PROBES.min(pool.size()));
            prop_assert_eq!(tried(pool.attempts()), pool.size());
        }

        #[test]
        fn every_candidate_is_in_the_pool(
            first in 1u16..65_535, length in 0u16..2000, random in any::<u64>(), original in 1u16..,
        ) {
            let pool = pool(&[(first, first.saturating_add(length))]);
            let candidates = Candidates::new(&pool, random);
            for attempt in 0..pool.attempts() {
                prop_assert!(pool.contains(candidates.port(&pool, Port::new(original), attempt)));
            }
        }
    }
}
