//! Packets made here, out of the one they answer: a TCP RST for a connection that is not known any
//! more (RFC 9293, 3.5.2), and ICMP errors about packets that can't go on (RFC 792, RFC 1812, 4.3.2).

use crate::{
    address::Address,
    checksum::Sum,
    flow::protocol,
    packet::Packet,
    parse::{IPV4_OFFSET, Ipv4Packet, Transport},
    wire::{EthernetHeader, IcmpHeader, Ipv4Header, TcpFlags, TcpHeader, UdpHeader},
};

/// What a dropped packet is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer(u32);

impl Answer {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A TCP RST.
    pub const RESET: Self = Self(1);
    /// ICMP 11/0: the time to live ran out.
    pub const TIME_EXCEEDED: Self = Self::icmp(11, 0, 0);
    /// ICMP 3/1.
    pub const HOST_UNREACHABLE: Self = Self::icmp(3, 1, 0);
    /// ICMP 3/13.
    pub const PROHIBITED: Self = Self::icmp(3, 13, 0);

    /// ICMP 3/4 with the MTU of the next hop, in bytes (RFC 1191).
    #[inline(always)]
    pub const fn too_big(mtu: u16) -> Self {
        Self::icmp(3, 4, mtu)
    }

    #[inline(always)]
    const fn icmp(kind: u8, code: u8, mtu: u16) -> Self {
        Self((kind as u32) << 24 | (code as u32) << 16 | mtu as u32)
    }

    /// As a number, to be passed on.
    #[inline(always)]
    pub const fn to_raw(self) -> u32 {
        self.0
    }

    /// The inverse of [`Answer::to_raw`].
    #[inline(always)]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// An ICMP error.
    #[inline(always)]
    pub const fn is_icmp(self) -> bool {
        self.0 >> 24 != 0
    }
}

/// What it takes to make another packet of one.
pub trait Reshape: Packet {
    /// Cuts the frame to `length` bytes, or somewhat more behind the end of the IP packet.
    fn truncate(&mut self, length: usize) -> Option<()>;

    /// Makes room of [`PREPENDED`] bytes between the Ethernet header and what follows. What is in
    /// it, and in the Ethernet header, is undefined afterwards.
    fn prepend(&mut self) -> Option<()>;

    /// The transport checksum at `offset` is still to be finished: it holds the sum of the pseudo
    /// header, and who sends the packet replaces it by the checksum of all bytes from the transport
    /// header on.
    fn is_unfinished(&mut self, offset: usize) -> bool;
}

/// Bytes in front of what an ICMP error quotes.
pub const PREPENDED: usize = Ipv4Header::LEN + IcmpHeader::LEN;

/// Bytes an ICMP error quotes at most: the longest IP header and eight of what follows (RFC 792).
const QUOTED: usize = 68;

const TTL: u8 = 64;
/// Precedence of ICMP errors (RFC 1812, 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Turns a TCP segment into the RST that answers it. `None` when there is none to make (the segment
/// is one itself, or has IP options) or the frame is short; it may then be half written.
#[inline(always)]
pub fn reset<P: Reshape + ?Sized>(packet: &mut P, parsed: &Ipv4Packet) -> Option<()> {
    const AT: usize = IPV4_OFFSET + Ipv4Header::LEN;
    let is_segment = matches!(parsed.transport, Transport::Tcp);
    if !is_segment || parsed.transport_offset != AT || parsed.flags.any(TcpFlags::RST) {
        return None;
    }
    let ethernet = packet.load::<EthernetHeader>(0)?;
    let segment = packet.load::<TcpHeader>(AT)?;
    let payload = parsed
        .total_length
        .saturating_sub(Ipv4Header::LEN + segment.header_length());
    let unfinished = packet.is_unfinished(AT + TcpHeader::CHECKSUM);
    let (source, destination) = (parsed.flow.destination, parsed.flow.source);
    let mut answer = segment.reset(payload as u32);
    let pseudo = Sum::pseudo_header(source, destination, protocol::TCP, TcpHeader::LEN as u16);
    answer.set_checksum(if unfinished {
        pseudo.folded()
    } else {
        pseudo.and(answer.sum()).checksum()
    });
    packet.truncate(AT + TcpHeader::LEN)?;
    packet.store(0, ethernet.answer())?;
    let length = (Ipv4Header::LEN + TcpHeader::LEN) as u16;
    let header = Ipv4Header::new(source, destination, protocol::TCP, length, TTL, 0);
    packet.store(IPV4_OFFSET, header)?;
    packet.store(AT, answer)
}

/// Turns a whole echo request into its answer (RFC 792). `None` when it is none, has IP options or a short
/// frame; it may then be half written.
#[inline(always)]
pub fn pong<P: Reshape + ?Sized>(packet: &mut P, parsed: &Ipv4Packet) -> Option<()> {
    const AT: usize = IPV4_OFFSET + Ipv4Header::LEN;
    let is_ping = matches!(parsed.transport, Transport::IcmpEchoRequest);
    if !is_ping || !parsed.is_whole() || parsed.transport_offset != AT {
        return None;
    }
    let ethernet = packet.load::<EthernetHeader>(0)?;
    let message = packet.load::<IcmpHeader>(AT)?;
    packet.store(0, ethernet.answer())?;
    let (source, destination) = (parsed.flow.destination, parsed.flow.source);
    let length = parsed.total_length as u16;
    let header = Ipv4Header::new(source, destination, protocol::ICMP, length, TTL, 0);
    packet.store(IPV4_OFFSET, header)?;
    packet.store(AT, message.answered())
}

/// Turns a packet into the ICMP error about it, sent by `from`. `None` when the frame is short; it may
/// then be half written.
#[inline(always)]
pub fn icmp_error<P: Reshape + ?Sized>(
    packet: &mut P,
    parsed: &Ipv4Packet,
    from: Address,
    answer: Answer,
) -> Option<()> {
    let ethernet = packet.load::<EthernetHeader>(0)?;
    let quoted = if parsed.total_length < QUOTED {
        parsed.total_length & !3
    } else {
        QUOTED
    };
    let field = match parsed.transport {
        Transport::Tcp => parsed.transport_offset + TcpHeader::CHECKSUM,
        Transport::Udp => parsed.transport_offset + UdpHeader::CHECKSUM,
        _ => 0,
    };
    let sum = if field != 0 && packet.is_unfinished(field) {
        // Whoever finishes the checksum makes all from the transport header on sum up to the
        // complement of what stands there now.
        let pseudo = packet.load::<u16>(field)?;
        words(packet, parsed.transport_offset - IPV4_OFFSET)?.add16(!pseudo)
    } else {
        words(packet, quoted)?
    };
    let mut header = IcmpHeader::error(
        (answer.0 >> 24) as u8,
        (answer.0 >> 16) as u8,
        answer.0 as u16,
    );
    header.set_checksum(header.sum().and(sum).checksum());
    packet.truncate(IPV4_OFFSET + quoted)?;
    packet.prepend()?;
    packet.store(0, ethernet.answer())?;
    let length = (PREPENDED + quoted) as u16;
    let (tos, to) = (INTERNETWORK_CONTROL, parsed.flow.source);
    packet.store(
        IPV4_OFFSET,
        Ipv4Header::new(from, to, protocol::ICMP, length, TTL, tos),
    )?;
    packet.store(IPV4_OFFSET + Ipv4Header::LEN, header)
}

/// Sum of the first `length` bytes of the IP packet, a multiple of 4 and at most [`QUOTED`]. Written
/// out: the compiler turns a loop into arithmetic on the end of the packet, which the verifier refuses.
#[inline(always)]
fn words<P: Packet + ?Sized>(packet: &P, length: usize) -> Option<Sum> {
    let mut sum = Sum::NONE;
    macro_rules! add {
        ($($offset:literal)*) => {$(
            if length > $offset {
                let [first, second] = packet.load::<[u16; 2]>(IPV4_OFFSET + $offset)?;
                sum = sum.add16(first).add16(second);
            }
        )*};
    }
    add!(0 4 8 12 16 20 24 28 32 36 40 44 48 52 56 60 64);
    Some(sum)
}
