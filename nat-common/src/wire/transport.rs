//! TCP (RFC 9293), UDP (RFC 768) and ICMP (RFC 792): the fields a NAT reads and writes.

use network_types::{icmp::Icmpv4Hdr, tcp::TcpHdr, udp::UdpHdr};

use super::Wire;
use crate::{address::Port, checksum::Sum};

/// TCP header without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TcpHeader {
    source: Port,
    destination: Port,
    sequence: u32,
    acknowledgment: u32,
    offset: u8,
    flags: u8,
    window: u16,
    checksum: u16,
    urgent: u16,
}

// SAFETY: 20 bytes without padding, checked below.
unsafe impl Wire for TcpHeader {}
const _: () = assert!(size_of::<TcpHeader>() == TcpHdr::LEN);

impl TcpHeader {
    /// Length without options, in bytes.
    pub const LEN: usize = TcpHdr::LEN;
    /// Where the checksum stands, in bytes.
    pub const CHECKSUM: usize = 16;

    /// Sender's port.
    #[inline(always)]
    pub const fn source(&self) -> Port {
        self.source
    }

    /// Receiver's port.
    #[inline(always)]
    pub const fn destination(&self) -> Port {
        self.destination
    }

    /// Length with options, in bytes, as it says itself.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        ((self.offset >> 4) as usize) << 2
    }

    /// Of the RST that answers this segment with so many bytes of payload (RFC 9293, 3.10.7.1); its
    /// checksum is zero.
    #[inline(always)]
    #[must_use]
    pub const fn reset(&self, payload: u32) -> Self {
        let flags = self.flags();
        let (sequence, acknowledgment, flags) = if flags.any(TcpFlags::ACK) {
            (self.acknowledgment, 0, TcpFlags::RST)
        } else {
            let length = payload
                .wrapping_add(flags.any(TcpFlags::SYN) as u32)
                .wrapping_add(flags.any(TcpFlags::FIN) as u32);
            let end = u32::from_be(self.sequence).wrapping_add(length);
            (0, end.to_be(), TcpFlags::RST.or(TcpFlags::ACK))
        };
        Self {
            source: self.destination,
            destination: self.source,
            sequence,
            acknowledgment,
            offset: (Self::LEN as u8 / 4) << 4,
            flags: flags.bits(),
            window: 0,
            checksum: 0,
            urgent: 0,
        }
    }

    /// Sum of its words.
    #[inline(always)]
    pub const fn sum(&self) -> Sum {
        Sum::NONE
            .add16(self.source.raw())
            .add16(self.destination.raw())
            .add32(self.sequence)
            .add32(self.acknowledgment)
            .add16(u16::from_ne_bytes([self.offset, self.flags]))
            .add16(self.window)
            .add16(self.checksum)
            .add16(self.urgent)
    }

    /// Writes the checksum.
    #[inline(always)]
    pub const fn set_checksum(&mut self, checksum: u16) {
        self.checksum = checksum;
    }

    /// Its flags.
    #[inline(always)]
    pub const fn flags(&self) -> TcpFlags {
        TcpFlags(self.flags)
    }
}

/// TCP flags, as in the header's fourteenth byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// None set.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Opens.
    pub const SYN: Self = Self(0x02);
    /// Aborts.
    pub const RST: Self = Self(0x04);
    /// Acknowledges.
    pub const ACK: Self = Self(0x10);

    /// From the byte in the header.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte in the header.
    #[inline(always)]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Any of `flags` is set.
    #[inline(always)]
    pub const fn any(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// Those set in either.
    #[inline(always)]
    #[must_use]
    pub const fn or(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Those set in both.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, flags: Self) -> Self {
        Self(self.0 & flags.0)
    }

    /// A segment that opens a connection: SYN without ACK, RST or FIN.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.any(Self::SYN) && !self.any(Self(Self::ACK.0 | Self::RST.0 | Self::FIN.0))
    }
}

/// UDP header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UdpHeader {
    source: Port,
    destination: Port,
    length: u16,
    checksum: u16,
}

// SAFETY: 8 bytes without padding, checked below.
unsafe impl Wire for UdpHeader {}
const _: () = assert!(size_of::<UdpHeader>() == UdpHdr::LEN);

impl UdpHeader {
    /// Length in bytes.
    pub const LEN: usize = UdpHdr::LEN;
    /// Where the checksum stands, in bytes.
    pub const CHECKSUM: usize = 6;

    /// Sender's port.
    #[inline(always)]
    pub const fn source(&self) -> Port {
        self.source
    }

    /// Receiver's port.
    #[inline(always)]
    pub const fn destination(&self) -> Port {
        self.destination
    }
}

/// ICMP header, with the identifier and sequence number of query messages.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IcmpHeader {
    kind: u8,
    code: u8,
    checksum: u16,
    identifier: Port,
    sequence: u16,
}

// SAFETY: 8 bytes without padding, checked below.
unsafe impl Wire for IcmpHeader {}
const _: () = assert!(size_of::<IcmpHeader>() == Icmpv4Hdr::LEN);

impl IcmpHeader {
    /// Length in bytes.
    pub const LEN: usize = Icmpv4Hdr::LEN;
    /// Where the checksum stands, in bytes.
    pub const CHECKSUM: usize = 2;
    /// Where the identifier stands, in bytes.
    pub const IDENTIFIER: usize = 4;

    /// Of an error; `mtu` stands in those that tell one. Its checksum is zero.
    #[inline(always)]
    pub const fn error(kind: u8, code: u8, mtu: u16) -> Self {
        Self {
            kind,
            code,
            checksum: 0,
            identifier: Port::NONE,
            sequence: mtu.to_be(),
        }
    }

    /// The answer to this echo request, whose checksum differs by the type alone (RFC 1624).
    #[inline(always)]
    #[must_use]
    pub const fn answered(&self) -> Self {
        let (old, new) = (u16::from_ne_bytes([self.kind, self.code]), 0);
        let sum = Sum::NONE.add16(!self.checksum).add16(!old).add16(new);
        Self {
            kind: 0,
            code: 0,
            checksum: sum.checksum(),
            ..*self
        }
    }

    /// Sum of its words.
    #[inline(always)]
    pub const fn sum(&self) -> Sum {
        Sum::NONE
            .add16(u16::from_ne_bytes([self.kind, self.code]))
            .add16(self.checksum)
            .add16(self.identifier.raw())
            .add16(self.sequence)
    }

    /// Writes the checksum.
    #[inline(always)]
    pub const fn set_checksum(&mut self, checksum: u16) {
        self.checksum = checksum;
    }

    /// What kind of message it is.
    #[inline(always)]
    pub const fn kind(&self) -> IcmpType {
        match self.kind {
            0 => IcmpType::EchoReply,
            8 => IcmpType::EchoRequest,
            3 | 11 | 12 => IcmpType::Error,
            _ => IcmpType::Other,
        }
    }

    /// The identifier of a query.
    #[inline(always)]
    pub const fn identifier(&self) -> Port {
        self.identifier
    }
}

/// ICMP messages a NAT tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpType {
    /// A ping.
    EchoRequest,
    /// Its answer.
    EchoReply,
    /// Destination unreachable, time exceeded or parameter problem: quotes a packet.
    Error,
    /// All other messages.
    Other,
}
