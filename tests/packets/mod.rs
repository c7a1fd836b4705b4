//! Packets for tests: a builder, a parser, and checks by full recomputation.
//!
//! This is the oracle for what the dataplane sends, so it shares no code with
//! `nat-common`: every checksum here is summed from scratch over the bytes.
//!
//! ```
//! use nat_tests::packets::{self, PacketBuilder, tcp_flags};
//!
//! let syn = PacketBuilder::tcp("10.40.2.101:40001".parse()?, "198.51.100.80:443".parse()?)
//!     .flags(tcp_flags::SYN)
//!     .build();
//! assert!(packets::checksum_errors(&syn).is_empty());
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

mod arp;
mod build;
mod checksum;
mod corner;
mod fields;
mod fixtures;
mod fragment;
mod malformed;
mod parse;
mod quote;
mod quote_rows;
mod validate;

pub use arp::{arp_reply, arp_request};
pub use build::{Mac, PacketBuilder, tcp_flags};
pub use checksum::{adjusted, checksum_of, fill_checksums, folded_sum, transport_checksum};
pub use corner::{with_header_checksum, with_transport_checksum};
pub use fixtures::{Fixture, FixtureKind, fixtures};
pub use fragment::{fragments_of, join};
pub use parse::{Arp, Ethernet, Icmp, Ipv4, Network, Packet, ParseError, Tcp, Transport, Udp};
pub use quote::Quote;
pub use validate::{
    ChecksumState, checksum_errors, header_checksum_state, may_be_zeros_alone,
    translated_checksum_errors, transport_checksum_state,
};

#[cfg(test)]
mod tests;

/// Length of an Ethernet header without a VLAN tag.
pub const ETHERNET_LEN: usize = 14;
/// Shortest Ethernet frame without its check sequence; shorter ones arrive padded.
pub const MIN_FRAME_LEN: usize = 60;
/// Ethernet type of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethernet type of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethernet type of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// Ethernet type of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// IP protocol numbers the tests use.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// GRE: has no ports.
    pub const GRE: u8 = 47;
    /// ESP: has no ports.
    pub const ESP: u8 = 50;
}

/// ICMP types the tests use.
pub mod icmp_type {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (deprecated by RFC 6633, still an error that quotes).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp request: a query, not an error.
    pub const TIMESTAMP: u8 = 13;

    /// Whether this type quotes the packet it complains about.
    #[must_use]
    pub fn is_error(icmp_type: u8) -> bool {
        matches!(
            icmp_type,
            UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
        )
    }
}

/// The addresses of the classic picture: two private hosts behind a NAT
/// gateway, a web instance with a public IP, servers on the internet.
pub mod addresses {
    use std::net::Ipv4Addr;

    /// First private host.
    pub const PRIVATE_A: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 101);
    /// Second private host.
    pub const PRIVATE_B: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 201);
    /// The web instance as the VPC sees it.
    pub const WEB_PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 10);
    /// The web instance as the internet sees it.
    pub const WEB_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);
    /// What the NAT gateway translates to.
    pub const NAT_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// A server on the internet.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);
    /// Another server on the internet.
    pub const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
}

/// Big-endian 16 bits at `offset`; 0 when they are not there.
pub(crate) fn be16(bytes: &[u8], offset: usize) -> u16 {
    match bytes.get(offset..offset + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// Big-endian 32 bits at `offset`; 0 when they are not there.
pub(crate) fn be32(bytes: &[u8], offset: usize) -> u32 {
    u32::from(be16(bytes, offset)) << 16 | u32::from(be16(bytes, offset + 2))
}

/// Writes `value` big-endian at `offset`, which must be inside `bytes`.
pub(crate) fn put16(bytes: &mut [u8], offset: usize, value: u16) {
    bytes[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
}
