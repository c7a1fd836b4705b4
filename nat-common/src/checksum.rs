//! Incremental Internet checksums (RFC 1071, RFC 1624). Sums are over 16-bit words as loaded from
//! memory: one's complement addition does not care about byte order as long as all words share it.

use crate::address::Address;

/// The change that edits of a packet make to a one's complement sum: the sum of `!old + new`.
///
/// A change of nothing is [`Delta::NONE`]; it is distinct from an edit that leaves a word as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta(u32);

impl Delta {
    /// No edit at all.
    pub const NONE: Self = Self(0);

    /// Adds the replacement of one 16-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn replace16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u32 + new as u32)
    }

    /// Adds the replacement of one 32-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn replace32(self, old: u32, new: u32) -> Self {
        self.replace16(old as u16, new as u16)
            .replace16((old >> 16) as u16, (new >> 16) as u16)
    }

    /// Both changes together.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The words under a right checksum, itself among them, sum up to all ones.
    #[inline(always)]
    pub const fn sum_is_whole(sum: u32) -> bool {
        fold(sum) == 0xffff
    }

    /// Nothing was edited.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The folded sum, in the byte order of the packet as loaded: what `bpf_l4_csum_replace` takes
    /// as a difference.
    #[inline(always)]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum field after the change (RFC 1624, equation 3).
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold((!checksum) as u32 + self.folded() as u32)
    }

    /// [`Delta::apply`] for UDP: zero means "no checksum" and stays; a computed zero is sent as
    /// all ones (RFC 768).
    #[inline(always)]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            changed => changed,
        }
    }
}

/// A one's complement sum of words as loaded from memory, for checksums computed from the start
/// (RFC 1071). Room for 65,536 words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u32);

impl Sum {
    /// Of nothing.
    pub const NONE: Self = Self(0);

    /// The pseudo header of TCP and UDP; `length` is that of transport header and payload.
    #[inline(always)]
    pub const fn pseudo_header(
        source: Address,
        destination: Address,
        protocol: u8,
        length: u16,
    ) -> Self {
        Self::NONE
            .add32(source.raw())
            .add32(destination.raw())
            .add16((protocol as u16).to_be())
            .add16(length.to_be())
    }

    /// With one more 16-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn add16(self, word: u16) -> Self {
        Self(self.0 + word as u32)
    }

    /// With one more 32-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn add32(self, word: u32) -> Self {
        self.add16(word as u16).add16((word >> 16) as u16)
    }

    /// Both sums together.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum in 16 bits.
    #[inline(always)]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum of what was summed up.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }
}

#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(words: &[u16]) -> u16 {
        let sum: u64 = words.iter().map(|&word| u64::from(word)).sum();
        let mut sum = sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn corner() -> impl Strategy<Value = u16> {
        prop_oneof![
            Just(0u16),
            Just(0xffff),
            Just(1),
            Just(0xfffe),
            any::<u16>()
        ]
    }

    proptest! {
        #[test]
        fn rfc1624_incremental_equals_full_recomputation(
            mut words in proptest::collection::vec(corner(), 2..12),
            edits in proptest::collection::vec((any::<proptest::sample::Index>(), corner()), 1..8),
            address in (corner(), corner()),
        ) {
            // A real packet's sum is never zero: the version, the protocol or a port is not.
            words.push(0x0045);
            let before = full(&words);
            let mut delta = Delta::NONE;
            for (index, new) in edits {
                let at = index.index(words.len() - 1);
                delta = delta.replace16(words[at], new);
                words[at] = new;
            }
            let both = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
            let (new, old) = (both(address.0, address.1), both(words[1], words[0]));
            delta = delta.replace32(old, new);
            (words[1], words[0]) = address;
            prop_assert_eq!(delta.apply(before), full(&words));
        }

        #[test]
        fn two_steps_equal_one(sum in any::<u16>(), a in any::<(u32, u32)>(), b in any::<(u16, u16)>()) {
            let first = Delta::NONE.replace32(a.0, a.1);
            let second = Delta::NONE.replace16(b.0, b.1);
            prop_assert_eq!(second.apply(first.apply(sum)), first.and(second).apply(sum));
            prop_assert_eq!(second.apply_udp(first.apply_udp(sum)), first.and(second).apply_udp(sum));
        }
    }

    #[test]
    fn rfc768_zero_udp_checksum_stays_zero_and_computed_zero_becomes_all_ones() {
        let delta = Delta::NONE.replace16(1, 2);
        assert_eq!(delta.apply_udp(0), 0);
        let becomes_zero = delta.folded();
        assert_eq!(delta.apply(becomes_zero), 0);
        assert_eq!(delta.apply_udp(becomes_zero), 0xffff);
    }
}
