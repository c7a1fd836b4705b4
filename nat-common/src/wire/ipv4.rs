//! IPv4 (RFC 791).

use super::Wire;
use crate::{
    address::Address,
    checksum::{Delta, Sum},
};

pub use network_types::ip::Ipv4Hdr;

/// IPv4 header without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4Header {
    version_and_length: u8,
    tos: u8,
    total_length: u16,
    identification: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: Address,
    destination: Address,
}

// SAFETY: 20 bytes without padding, checked below.
unsafe impl Wire for Ipv4Header {}
const _: () = assert!(size_of::<Ipv4Header>() == Ipv4Hdr::LEN);

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// Holds the transport header.
    First,
    /// Has no transport header.
    Later,
}

impl Ipv4Header {
    /// Length without options, in bytes.
    pub const LEN: usize = Ipv4Hdr::LEN;
    /// Where the checksum stands, in bytes.
    pub const CHECKSUM: usize = 10;
    /// Where the identification stands, in bytes.
    pub const IDENTIFICATION: usize = 4;
    const DONT_FRAGMENT: u16 = 0x4000;
    const MORE_FRAGMENTS: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;

    /// Of a whole packet without options that is not to be fragmented, with its checksum. `length` is
    /// that of header and payload.
    #[inline(always)]
    pub const fn new(
        source: Address,
        destination: Address,
        protocol: u8,
        length: u16,
        ttl: u8,
        tos: u8,
    ) -> Self {
        let mut header = Self {
            version_and_length: 0x45,
            tos,
            total_length: length.to_be(),
            identification: 0,
            fragment: Self::DONT_FRAGMENT.to_be(),
            ttl,
            protocol,
            checksum: 0,
            source,
            destination,
        };
        header.checksum = Sum::NONE
            .add16(u16::from_ne_bytes([header.version_and_length, tos]))
            .add16(header.total_length)
            .add16(header.fragment)
            .add16(u16::from_ne_bytes([ttl, protocol]))
            .add32(source.raw())
            .add32(destination.raw())
            .checksum();
        header
    }

    /// The version field.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.version_and_length >> 4
    }

    /// Length with options, in bytes; 20 to 60 in a valid header.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        ((self.version_and_length & 0x0f) as usize) << 2
    }

    /// It is of version 4, without options, and of a whole packet.
    #[inline(always)]
    pub const fn is_plain(&self) -> bool {
        self.version_and_length == 0x45
            && self.fragment & (Self::MORE_FRAGMENTS | Self::OFFSET).to_be() == 0
    }

    /// Length of header and payload, in bytes.
    #[inline(always)]
    pub const fn total_length(&self) -> usize {
        u16::from_be(self.total_length) as usize
    }

    /// Where it stands in a fragmented datagram.
    #[inline(always)]
    pub const fn fragment(&self) -> Fragment {
        if self.fragment & (Self::MORE_FRAGMENTS | Self::OFFSET).to_be() == 0 {
            Fragment::Whole
        } else if self.fragment & Self::OFFSET.to_be() == 0 {
            Fragment::First
        } else {
            Fragment::Later
        }
    }

    /// The field of flags and offset, in network byte order as `field` is, of a fragment that is cut
    /// from a packet with that one: `units` of 8 bytes further in, and with `more` behind it.
    #[inline(always)]
    pub(crate) const fn fragment_field(field: u16, units: u16, more: bool) -> u16 {
        let field = u16::from_be(field).wrapping_add(units);
        if more {
            (field | Self::MORE_FRAGMENTS).to_be()
        } else {
            field.to_be()
        }
    }

    /// It must not be fragmented on its way.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        self.fragment & Self::DONT_FRAGMENT.to_be() != 0
    }

    /// Bytes of the datagram's payload in front of this fragment's.
    #[inline(always)]
    pub const fn fragment_offset(&self) -> usize {
        ((u16::from_be(self.fragment) & Self::OFFSET) as usize) << 3
    }

    /// What the fragments of a datagram have in common, in network byte order.
    #[inline(always)]
    pub const fn identification(&self) -> u16 {
        self.identification
    }

    /// Time to live.
    #[inline(always)]
    pub const fn ttl(&self) -> u8 {
        self.ttl
    }

    /// IP protocol number.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Sender.
    #[inline(always)]
    pub const fn source(&self) -> Address {
        self.source
    }

    /// Receiver.
    #[inline(always)]
    pub const fn destination(&self) -> Address {
        self.destination
    }

    /// The part of the header a translation writes.
    #[inline(always)]
    pub const fn rewritable(&self) -> Ipv4Rewrite {
        Ipv4Rewrite {
            ttl: self.ttl,
            protocol: self.protocol,
            checksum: self.checksum,
            source: self.source,
            destination: self.destination,
        }
    }
}

/// The last twelve bytes of an IPv4 header without options: all that a translation writes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4Rewrite {
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: Address,
    destination: Address,
}

// SAFETY: 12 bytes without padding, checked below.
unsafe impl Wire for Ipv4Rewrite {}
const _: () = assert!(size_of::<Ipv4Rewrite>() == Ipv4Header::LEN - Ipv4Rewrite::OFFSET);

impl Ipv4Rewrite {
    /// Where it starts in the header, in bytes.
    pub const OFFSET: usize = 8;

    /// One hop further, with other addresses and the checksum to match. `addresses` is the change
    /// the addresses make.
    #[inline(always)]
    #[must_use]
    pub const fn forwarded(self, source: Address, destination: Address, addresses: Delta) -> Self {
        let ttl = self.ttl.wrapping_sub(1);
        let old = u16::from_ne_bytes([self.ttl, self.protocol]);
        let new = u16::from_ne_bytes([ttl, self.protocol]);
        Self {
            ttl,
            protocol: self.protocol,
            checksum: addresses.replace16(old, new).apply(self.checksum),
            source,
            destination,
        }
    }
}

/// The last eight bytes of an IPv4 header without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4Addresses {
    source: Address,
    destination: Address,
}

// SAFETY: 8 bytes without padding, checked below.
unsafe impl Wire for Ipv4Addresses {}
const _: () = assert!(size_of::<Ipv4Addresses>() == Ipv4Header::LEN - Ipv4Addresses::OFFSET);

impl Ipv4Addresses {
    /// Where they start in the header, in bytes.
    pub const OFFSET: usize = 12;

    /// Of these.
    #[inline(always)]
    pub const fn new(source: Address, destination: Address) -> Self {
        Self {
            source,
            destination,
        }
    }
}
