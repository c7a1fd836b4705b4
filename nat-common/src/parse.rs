//! From a frame to what the pipeline decides on. [`crate::translate`] writes what comes out of it.

use crate::{
    address::Port,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    packet::Packet,
    wire::{
        EtherType, EthernetHeader, Fragment, IcmpHeader, IcmpType, Ipv4Header, Mac, TcpFlags,
        TcpHeader, UdpHeader,
    },
};

/// Where the IPv4 header starts, in bytes.
pub const IPV4_OFFSET: usize = EthernetHeader::LEN;

/// What kind of frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// IPv4.
    Ipv4 {
        /// The station it is for.
        to: Mac,
    },
    /// ARP.
    Arp,
    /// Anything else, VLAN tags included: the host's business.
    Other,
}

/// What the transport header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Transport {
    /// A TCP segment.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// A ping; the flow's source port is its identifier.
    IcmpEchoRequest,
    /// A ping's answer; the flow's destination port is its identifier.
    IcmpEchoReply,
    /// An error that quotes a packet; see [`crate::icmp_error`].
    IcmpError,
    /// Any other ICMP message.
    IcmpOther,
    /// Another protocol, or a later fragment, whose transport header is elsewhere.
    Opaque,
}

/// An IPv4 packet that is not malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Packet {
    /// Its five-tuple; ports are [`Port::NONE`] where there are none.
    pub flow: Flow,
    /// What its transport header says.
    pub transport: Transport,
    /// Those of a TCP segment. Not in [`Transport`], where they would be uninitialised for other
    /// protocols, which the compiler may fill with what the verifier does not let it copy.
    pub flags: TcpFlags,
    /// Where its transport header starts in the frame, in bytes.
    pub transport_offset: usize,
    /// Length of header and payload, in bytes.
    pub total_length: usize,
    /// Where it stands in a fragmented datagram.
    pub fragment: Fragment,
    /// Time to live.
    pub ttl: u8,
}

impl Ipv4Packet {
    /// A whole ICMP error.
    #[inline(always)]
    pub const fn is_error(&self) -> bool {
        matches!(self.transport, Transport::IcmpError) && self.is_whole()
    }

    /// It shows which flow it is of: it has its ports, or is of a protocol without. Of ICMP that are pings and
    /// their answers.
    #[inline(always)]
    pub const fn shows_flow(&self) -> bool {
        match self.transport {
            Transport::IcmpOther | Transport::IcmpError => false,
            Transport::Opaque => !protocol::is_translated(self.flow.protocol),
            _ => true,
        }
    }

    /// NAT gateways let it in, if somebody waits for it: TCP, UDP and the answers to pings.
    #[inline(always)]
    pub const fn may_come_in(&self) -> bool {
        matches!(
            self.transport,
            Transport::Tcp | Transport::Udp | Transport::IcmpEchoReply
        )
    }

    /// The receiver's port; `None` where there is none to be seen.
    #[inline(always)]
    pub const fn remote_port(&self) -> Option<Port> {
        match self.transport {
            Transport::Tcp | Transport::Udp => Some(self.flow.destination_port),
            _ => None,
        }
    }

    /// The sender's port; `None` where there is none to be seen.
    #[inline(always)]
    pub const fn source_port(&self) -> Option<Port> {
        match self.transport {
            Transport::Tcp | Transport::Udp => Some(self.flow.source_port),
            _ => None,
        }
    }

    /// It is a fragment without the transport header.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        matches!(self.fragment, Fragment::Later)
    }

    /// It is the fragment with the transport header.
    #[inline(always)]
    pub const fn is_first_fragment(&self) -> bool {
        matches!(self.fragment, Fragment::First)
    }

    /// It is not a fragment.
    #[inline(always)]
    pub const fn is_whole(&self) -> bool {
        matches!(self.fragment, Fragment::Whole)
    }
}

/// Reads the Ethernet header; `None` when the frame is shorter than one.
#[inline(always)]
pub fn frame<P: Packet + ?Sized>(packet: &P) -> Option<Frame> {
    let ethernet = packet.load::<EthernetHeader>(0)?;
    Some(if ethernet.is(EtherType::Ipv4) {
        Frame::Ipv4 {
            to: ethernet.destination(),
        }
    } else if ethernet.is(EtherType::Arp) {
        Frame::Arp
    } else {
        Frame::Other
    })
}

/// Reads an IPv4 packet and its transport header.
///
/// # Errors
///
/// [`DropReason::Malformed`] when a header is truncated or a length contradicts the frame's.
#[inline(always)]
pub fn ipv4<P: Packet + ?Sized>(packet: &P) -> Result<Ipv4Packet, DropReason> {
    let header = packet
        .load::<Ipv4Header>(IPV4_OFFSET)
        .ok_or(DropReason::Malformed)?;
    let header_length = header.header_length();
    let total_length = match header.total_length() {
        0 if packet.is_train() => packet
            .length()
            .checked_sub(IPV4_OFFSET)
            .ok_or(DropReason::Malformed)?,
        // Said here, because verifiers before 6.9 do not see that 0 is less than what follows.
        0 => return Err(DropReason::Malformed),
        stated => stated,
    };
    if header.version() != 4
        || header_length < Ipv4Header::LEN
        || total_length < header_length
        || IPV4_OFFSET + total_length > packet.length()
    {
        return Err(DropReason::Malformed);
    }
    let mut parsed = headed(&header, header_length, total_length, header.fragment());
    if !matches!(parsed.fragment, Fragment::Later) {
        transport(packet, &mut parsed, total_length - header_length)?;
    }
    Ok(parsed)
}

/// A packet of which the IP header was read, and no more yet.
#[inline(always)]
const fn headed(
    header: &Ipv4Header,
    header_length: usize,
    total_length: usize,
    fragment: Fragment,
) -> Ipv4Packet {
    Ipv4Packet {
        flow: Flow {
            source: header.source(),
            destination: header.destination(),
            source_port: Port::NONE,
            destination_port: Port::NONE,
            protocol: header.protocol(),
        },
        transport: Transport::Opaque,
        flags: TcpFlags::NONE,
        transport_offset: IPV4_OFFSET + header_length,
        total_length,
        fragment,
        ttl: header.ttl(),
    }
}

/// Reads a packet of the common kind, and nothing else: whole, without IP options, TCP or UDP.
#[inline(always)]
pub fn plain<P: Packet + ?Sized>(packet: &P) -> Option<Ipv4Packet> {
    let header = packet.load::<Ipv4Header>(IPV4_OFFSET)?;
    let total_length = header.total_length();
    if !header.is_plain()
        || total_length < Ipv4Header::LEN
        || IPV4_OFFSET + total_length > packet.length()
    {
        return None;
    }
    let mut parsed = headed(&header, Ipv4Header::LEN, total_length, Fragment::Whole);
    transport(packet, &mut parsed, total_length - Ipv4Header::LEN).ok()?;
    Some(parsed)
}

#[inline(always)]
fn transport<P: Packet + ?Sized>(
    packet: &P,
    parsed: &mut Ipv4Packet,
    payload_length: usize,
) -> Result<(), DropReason> {
    let at = parsed.transport_offset;
    match parsed.flow.protocol {
        protocol::TCP if payload_length >= TcpHeader::LEN => {
            let tcp = packet.load::<TcpHeader>(at).ok_or(DropReason::Malformed)?;
            parsed.flow.source_port = tcp.source();
            parsed.flow.destination_port = tcp.destination();
            parsed.transport = Transport::Tcp;
            parsed.flags = tcp.flags();
        }
        protocol::UDP if payload_length >= UdpHeader::LEN => {
            let udp = packet.load::<UdpHeader>(at).ok_or(DropReason::Malformed)?;
            parsed.flow.source_port = udp.source();
            parsed.flow.destination_port = udp.destination();
            parsed.transport = Transport::Udp;
        }
        protocol::ICMP if payload_length >= IcmpHeader::LEN => {
            let icmp = packet.load::<IcmpHeader>(at).ok_or(DropReason::Malformed)?;
            parsed.transport = match icmp.kind() {
                IcmpType::EchoRequest => {
                    parsed.flow.source_port = icmp.identifier();
                    Transport::IcmpEchoRequest
                }
                IcmpType::EchoReply => {
                    parsed.flow.destination_port = icmp.identifier();
                    Transport::IcmpEchoReply
                }
                IcmpType::Error => Transport::IcmpError,
                IcmpType::Other => Transport::IcmpOther,
            };
        }
        protocol::TCP | protocol::UDP | protocol::ICMP => return Err(DropReason::Malformed),
        _ => {}
    }
    Ok(())
}
