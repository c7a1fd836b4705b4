//! A parser that gives every field of a frame, for assertions.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{
    ETHERNET_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_VLAN, Mac, be16, be32, checksum,
    protocol,
};

/// A parsed frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// What it carries.
    pub network: Network,
    /// Bytes after the IP or ARP packet: padding.
    pub trailer: Vec<u8>,
}

/// An Ethernet header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub dst: Mac,
    /// Source address.
    pub src: Mac,
    /// VLAN id of an 802.1Q tag.
    pub vlan: Option<u16>,
    /// Ethernet type, behind the tag when there is one.
    pub ethertype: u16,
}

/// What an Ethernet frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// An IPv4 packet.
    Ipv4(Ipv4),
    /// An ARP packet for IPv4 over Ethernet.
    Arp(Arp),
    /// Anything else, unparsed.
    Other(Vec<u8>),
}

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Sender's Ethernet address.
    pub sender_mac: Mac,
    /// Sender's IP address.
    pub sender: Ipv4Addr,
    /// Target's Ethernet address.
    pub target_mac: Mac,
    /// Target's IP address.
    pub target: Ipv4Addr,
}

/// An IPv4 packet. All numbers in host order, lengths and offsets in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Header length, options included.
    pub header_len: usize,
    /// Type of service.
    pub tos: u8,
    /// Total length as the header says.
    pub total_length: u16,
    /// Identification.
    pub id: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// More fragments.
    pub more_fragments: bool,
    /// Fragment offset.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: u16,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Options, padding included.
    pub options: Vec<u8>,
    /// What follows the header.
    pub transport: Transport,
}

/// What an IPv4 packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// ICMP.
    Icmp(Icmp),
    /// Another protocol, or a fragment that does not start at offset 0.
    Opaque(Vec<u8>),
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Header length as the data offset says; it may lie.
    pub header_len: usize,
    /// Flags.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Checksum.
    pub checksum: u16,
    /// Options; empty when the data offset lies.
    pub options: Vec<u8>,
    /// Payload; everything after 20 bytes when the data offset lies.
    pub payload: Vec<u8>,
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Length as the header says; it may lie.
    pub length: u16,
    /// Checksum; 0 is none.
    pub checksum: u16,
    /// Everything after the header up to the end of the IP packet.
    pub payload: Vec<u8>,
}

/// An ICMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub checksum: u16,
    /// Bytes 4 to 7.
    pub rest: [u8; 4],
    /// Everything after the 8-byte header.
    pub payload: Vec<u8>,
}

/// Why a frame is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The Ethernet header is cut.
    Ethernet,
    /// Fewer bytes than an IP header, or than its IHL says.
    IpHeader,
    /// The IP version is not 4.
    Version,
    /// IHL below 5.
    Ihl,
    /// Total length below the header's length, or beyond the frame.
    TotalLength,
    /// The TCP, UDP or ICMP header is cut.
    Transport,
    /// The ARP packet is cut, or not for IPv4 over Ethernet.
    Arp,
}

impl Packet {
    /// Parses an Ethernet frame, one 802.1Q tag allowed. Checksums are not
    /// looked at: [`super::checksum_errors`] does that.
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        if frame.len() < ETHERNET_LEN {
            return Err(ParseError::Ethernet);
        }
        let tagged = be16(frame, 12) == ETHERTYPE_VLAN;
        let start = if tagged {
            ETHERNET_LEN + 4
        } else {
            ETHERNET_LEN
        };
        let rest = frame.get(start..).ok_or(ParseError::Ethernet)?;
        let ethernet = Ethernet {
            dst: mac_at(frame, 0),
            src: mac_at(frame, 6),
            vlan: tagged.then(|| be16(frame, 14) & 0x0fff),
            ethertype: be16(frame, start - 2),
        };
        let (network, used) = match ethernet.ethertype {
            ETHERTYPE_IPV4 => {
                let ip = Ipv4::parse(rest)?;
                let used = usize::from(ip.total_length);
                (Network::Ipv4(ip), used)
            }
            ETHERTYPE_ARP => (Network::Arp(Arp::parse(rest)?), 28),
            _ => (Network::Other(rest.to_vec()), rest.len()),
        };
        Ok(Self {
            ethernet,
            network,
            trailer: rest[used..].to_vec(),
        })
    }

    /// The IPv4 packet, when it is one.
    #[must_use]
    pub fn ipv4(&self) -> Option<&Ipv4> {
        match &self.network {
            Network::Ipv4(ip) => Some(ip),
            _ => None,
        }
    }
}

/// How long the header of this IPv4 packet is, options included; all of it is there.
pub(super) fn ipv4_header_len(bytes: &[u8]) -> Result<usize, ParseError> {
    if bytes.len() < 20 {
        return Err(ParseError::IpHeader);
    }
    if bytes[0] >> 4 != 4 {
        return Err(ParseError::Version);
    }
    let header_len = usize::from(bytes[0] & 0x0f) * 4;
    if header_len < 20 {
        return Err(ParseError::Ihl);
    }
    if header_len > bytes.len() {
        return Err(ParseError::IpHeader);
    }
    Ok(header_len)
}

impl Ipv4 {
    /// Parses an IPv4 packet; bytes beyond its total length are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let header_len = ipv4_header_len(bytes)?;
        let total_length = be16(bytes, 2);
        let segment = bytes
            .get(header_len..usize::from(total_length))
            .ok_or(ParseError::TotalLength)?;
        let fragment = be16(bytes, 6);
        let fragment_offset = (fragment & 0x1fff) * 8;
        let transport = if fragment_offset == 0 {
            Transport::parse(bytes[9], segment)?
        } else {
            Transport::Opaque(segment.to_vec())
        };
        Ok(Self {
            header_len,
            tos: bytes[1],
            total_length,
            id: be16(bytes, 4),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset,
            ttl: bytes[8],
            protocol: bytes[9],
            checksum: be16(bytes, 10),
            src: address_at(bytes, 12),
            dst: address_at(bytes, 16),
            options: bytes[20..header_len].to_vec(),
            transport,
        })
    }

    /// Whether this is a fragment, the first one included.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Source address and port; for ICMP the id as port, else port 0.
    #[must_use]
    pub fn source(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.src, self.ports().0)
    }

    /// Destination address and port; for ICMP the id as port, else port 0.
    #[must_use]
    pub fn destination(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.dst, self.ports().1)
    }

    fn ports(&self) -> (u16, u16) {
        match &self.transport {
            Transport::Tcp(tcp) => (tcp.src_port, tcp.dst_port),
            Transport::Udp(udp) => (udp.src_port, udp.dst_port),
            Transport::Icmp(icmp) => (icmp.id(), icmp.id()),
            Transport::Opaque(_) => (0, 0),
        }
    }
}

impl Transport {
    fn parse(protocol: u8, bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() < checksum::minimum_header(protocol) {
            return Err(ParseError::Transport);
        }
        Ok(match protocol {
            protocol::TCP => Self::Tcp(Tcp::parse(bytes)),
            protocol::UDP => Self::Udp(Udp {
                src_port: be16(bytes, 0),
                dst_port: be16(bytes, 2),
                length: be16(bytes, 4),
                checksum: be16(bytes, 6),
                payload: bytes[8..].to_vec(),
            }),
            protocol::ICMP => Self::Icmp(Icmp {
                icmp_type: bytes[0],
                code: bytes[1],
                checksum: be16(bytes, 2),
                rest: [bytes[4], bytes[5], bytes[6], bytes[7]],
                payload: bytes[8..].to_vec(),
            }),
            _ => Self::Opaque(bytes.to_vec()),
        })
    }
}

impl Tcp {
    fn parse(bytes: &[u8]) -> Self {
        let header_len = usize::from(bytes[12] >> 4) * 4;
        let options_end = if (20..=bytes.len()).contains(&header_len) {
            header_len
        } else {
            20
        };
        Self {
            src_port: be16(bytes, 0),
            dst_port: be16(bytes, 2),
            seq: be32(bytes, 4),
            ack: be32(bytes, 8),
            header_len,
            flags: bytes[13],
            window: be16(bytes, 14),
            checksum: be16(bytes, 16),
            options: bytes[20..options_end].to_vec(),
            payload: bytes[options_end..].to_vec(),
        }
    }
}

impl Icmp {
    /// The query id (bytes 4 and 5).
    #[must_use]
    pub fn id(&self) -> u16 {
        be16(&self.rest, 0)
    }

    /// The query's sequence number, or an error's MTU (bytes 6 and 7).
    #[must_use]
    pub fn seq(&self) -> u16 {
        be16(&self.rest, 2)
    }
}

impl Arp {
    fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() < 28 || bytes[..6] != [0, 1, 0x08, 0x00, 6, 4] {
            return Err(ParseError::Arp);
        }
        Ok(Self {
            operation: be16(bytes, 6),
            sender_mac: mac_at(bytes, 8),
            sender: address_at(bytes, 14),
            target_mac: mac_at(bytes, 18),
            target: address_at(bytes, 24),
        })
    }
}

fn mac_at(bytes: &[u8], offset: usize) -> Mac {
    let mut mac = Mac::ZERO;
    mac.0.copy_from_slice(&bytes[offset..offset + 6]);
    mac
}

fn address_at(bytes: &[u8], offset: usize) -> Ipv4Addr {
    Ipv4Addr::from(be32(bytes, offset))
}
