//! The packet that an ICMP error quotes: its header, and as much as was quoted behind it.

use std::net::Ipv4Addr;

use super::{ParseError, be16, be32, parse::ipv4_header_len};

/// A quoted IPv4 packet. Nobody promises more than 8 bytes behind its header, so
/// its total length is not looked at: it tells about the packet, not the quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The IP header, options included.
    pub header: Vec<u8>,
    /// Protocol number.
    pub protocol: u8,
    /// Fragment offset in bytes.
    pub fragment_offset: u16,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// What is there behind the header, padding and extensions included.
    pub segment: Vec<u8>,
}

impl Quote {
    /// Parses what follows the ICMP header of an error. The checksum is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let header_len = ipv4_header_len(bytes)?;
        Ok(Self {
            header: bytes[..header_len].to_vec(),
            protocol: bytes[9],
            fragment_offset: (be16(bytes, 6) & 0x1fff) * 8,
            src: Ipv4Addr::from(be32(bytes, 12)),
            dst: Ipv4Addr::from(be32(bytes, 16)),
            segment: bytes[header_len..].to_vec(),
        })
    }

    /// The first two words behind the header, the ports of TCP and UDP; `None`
    /// in a later fragment, or when not all of the 8 bytes are there that every
    /// error quotes.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let bytes = self.first_8_bytes()?;
        Some((be16(bytes, 0), be16(bytes, 2)))
    }

    /// Type and query id of quoted ICMP; `None` where [`Self::ports`] is.
    #[must_use]
    pub fn icmp_type_and_id(&self) -> Option<(u8, u16)> {
        let bytes = self.first_8_bytes()?;
        Some((bytes[0], be16(bytes, 4)))
    }

    fn first_8_bytes(&self) -> Option<&[u8]> {
        self.segment.get(..8).filter(|_| self.fragment_offset == 0)
    }
}
