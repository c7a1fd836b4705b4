//! ICMP errors that quote a translated packet (RFC 5508): the quote is turned back into the packet
//! its sender knows, and every checksum follows. [`crate::translate`] does whole packets.

use crate::{
    address::{Address, Port},
    checksum::Delta,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    packet::{Packet, TransportEdit},
    parse::{IPV4_OFFSET, Ipv4Packet},
    translate::{address_change, port_change},
    wire::{
        Fragment, IcmpHeader, IcmpType, Ipv4Addresses, Ipv4Header, Ipv4Rewrite, TcpHeader,
        UdpHeader,
    },
};

/// What an error must quote of a transport header (RFC 792).
const QUOTED_TRANSPORT: usize = 8;

/// What is known of the quoted transport header.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quoted {
    /// Ports and a checksum.
    Tcp,
    /// Ports: the quote ends before the checksum.
    TcpPorts,
    /// Ports and a checksum, which may be zero for none.
    Udp,
    /// A ping's identifier and a checksum without pseudo header.
    EchoRequest,
    /// The same of the answer to one.
    EchoReply,
    /// Less than eight bytes are quoted.
    CutShort,
    /// An error again: nothing answers for what it quotes.
    Nested,
    /// Another protocol or message, or a later fragment.
    Opaque,
}

/// The packet an error is about, as far as it is quoted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Its flow, in the direction it had.
    pub flow: Flow,
    ip_offset: usize,
    transport_offset: usize,
    /// What of it can be translated.
    pub quoted: Quoted,
}

impl Quote {
    /// It is an error itself, which no error may be about (RFC 1122, 3.2.2).
    #[inline(always)]
    pub const fn is_error(&self) -> bool {
        matches!(self.quoted, Quoted::Nested)
    }

    /// Security groups can tell which flow it belongs to.
    ///
    /// # Errors
    ///
    /// As for [`Quote::names_a_session`].
    #[inline(always)]
    pub const fn names_a_flow(&self) -> Result<(), DropReason> {
        match self.quoted {
            Quoted::Tcp
            | Quoted::TcpPorts
            | Quoted::Udp
            | Quoted::EchoRequest
            | Quoted::EchoReply => Ok(()),
            Quoted::CutShort => Err(DropReason::Malformed),
            Quoted::Opaque if !protocol::is_translated(self.flow.protocol) => Ok(()),
            Quoted::Nested | Quoted::Opaque => Err(DropReason::NoSession),
        }
    }

    /// A NAT gateway can tell which session it belongs to, when it was sent out (`outward`) or let in:
    /// pings go out, their answers come in.
    ///
    /// # Errors
    ///
    /// [`DropReason::Malformed`] when too little is quoted, [`DropReason::NoSession`] when nothing of
    /// the kind is ever translated.
    #[inline(always)]
    pub const fn names_a_session(&self, outward: bool) -> Result<(), DropReason> {
        match self.quoted {
            Quoted::Tcp | Quoted::TcpPorts | Quoted::Udp => Ok(()),
            Quoted::EchoRequest if outward => Ok(()),
            Quoted::EchoReply if !outward => Ok(()),
            Quoted::CutShort => Err(DropReason::Malformed),
            Quoted::EchoRequest | Quoted::EchoReply | Quoted::Nested | Quoted::Opaque => {
                Err(DropReason::NoSession)
            }
        }
    }
}

/// What an error becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translated {
    /// Its sender.
    pub source: Address,
    /// Its receiver.
    pub destination: Address,
    /// The flow it quotes.
    pub quoted: Flow,
}

impl Translated {
    /// The error's own flow, for the forwarding stage.
    #[inline(always)]
    pub const fn flow(&self) -> Flow {
        Flow {
            source: self.source,
            destination: self.destination,
            source_port: Port::NONE,
            destination_port: Port::NONE,
            protocol: protocol::ICMP,
        }
    }
}

/// Reads what `error`, a whole ICMP error, quotes.
///
/// # Errors
///
/// [`DropReason::Malformed`] when the quoted IP header is truncated, contradicts itself or has a wrong
/// checksum (RFC 5508 REQ-3a). The quoted transport checksum is never looked at (REQ-3c).
#[inline(always)]
pub fn quote<P: Packet + ?Sized>(packet: &P, error: &Ipv4Packet) -> Result<Quote, DropReason> {
    let end = IPV4_OFFSET + error.total_length;
    let ip_offset = error.transport_offset + IcmpHeader::LEN;
    let header = packet
        .load::<Ipv4Header>(ip_offset)
        .ok_or(DropReason::Malformed)?;
    let transport_offset = ip_offset + header.header_length();
    if header.version() != 4
        || header.header_length() < Ipv4Header::LEN
        || transport_offset > end
        || !has_right_checksum(packet, ip_offset, header.header_length())
    {
        return Err(DropReason::Malformed);
    }
    let mut quote = Quote {
        flow: Flow {
            source: header.source(),
            destination: header.destination(),
            source_port: Port::NONE,
            destination_port: Port::NONE,
            protocol: header.protocol(),
        },
        ip_offset,
        transport_offset,
        quoted: Quoted::Opaque,
    };
    if !matches!(header.fragment(), Fragment::Later) {
        transport(packet, &mut quote, end.saturating_sub(transport_offset))?;
    }
    Ok(quote)
}

#[inline(always)]
fn has_right_checksum<P: Packet + ?Sized>(packet: &P, at: usize, length: usize) -> bool {
    let Some(fixed) = packet.load::<[u16; Ipv4Header::LEN / 2]>(at) else {
        return false;
    };
    let mut sum = 0;
    for word in fixed {
        sum += u32::from(word);
    }
    if length > Ipv4Header::LEN {
        let Some(options) = options_sum(packet, at, length) else {
            return false;
        };
        sum += options;
    }
    Delta::sum_is_whole(sum)
}

/// Sum of the options' words, four bytes at a time. Written out: the compiler turns a loop into
/// arithmetic on the end of the packet, which the verifier refuses.
#[inline(always)]
fn options_sum<P: Packet + ?Sized>(packet: &P, at: usize, length: usize) -> Option<u32> {
    let mut sum = 0;
    macro_rules! add {
        ($($offset:literal)*) => {$(
            if length > $offset {
                let [first, second] = packet.load::<[u16; 2]>(at + $offset)?;
                sum += u32::from(first) + u32::from(second);
            }
        )*};
    }
    add!(20 24 28 32 36 40 44 48 52 56);
    Some(sum)
}

#[inline(always)]
fn transport<P: Packet + ?Sized>(
    packet: &P,
    quote: &mut Quote,
    length: usize,
) -> Result<(), DropReason> {
    let at = quote.transport_offset;
    if !matches!(
        quote.flow.protocol,
        protocol::TCP | protocol::UDP | protocol::ICMP
    ) {
        return Ok(());
    }
    if length < QUOTED_TRANSPORT {
        quote.quoted = Quoted::CutShort;
        return Ok(());
    }
    if quote.flow.protocol == protocol::ICMP {
        let icmp = packet.load::<IcmpHeader>(at).ok_or(DropReason::Malformed)?;
        match icmp.kind() {
            IcmpType::EchoRequest => {
                quote.flow.source_port = icmp.identifier();
                quote.quoted = Quoted::EchoRequest;
            }
            IcmpType::EchoReply => {
                quote.flow.destination_port = icmp.identifier();
                quote.quoted = Quoted::EchoReply;
            }
            IcmpType::Error => quote.quoted = Quoted::Nested,
            IcmpType::Other => {}
        }
        return Ok(());
    }
    // TCP's ports stand where UDP's do.
    let ports = packet.load::<UdpHeader>(at).ok_or(DropReason::Malformed)?;
    quote.flow.source_port = ports.source();
    quote.flow.destination_port = ports.destination();
    quote.quoted = if quote.flow.protocol == protocol::UDP {
        Quoted::Udp
    } else if length >= TcpHeader::CHECKSUM + size_of::<u16>() {
        Quoted::Tcp
    } else {
        Quoted::TcpPorts
    };
    Ok(())
}

/// Turns `error` with its `quote` into `to`, one hop further. `None` when the frame is shorter than
/// they say; it may then be half written and must not be sent.
#[inline(always)]
pub fn apply<P: Packet + ?Sized>(
    packet: &mut P,
    error: &Ipv4Packet,
    quote: &Quote,
    to: &Translated,
) -> Option<()> {
    // The error's checksum covers all that changes in the quote.
    let mut change = Delta::NONE;
    let addresses = address_change(&quote.flow, &to.quoted);
    let ports = port_change(&quote.flow, &to.quoted);

    let at = quote.ip_offset + Ipv4Header::CHECKSUM;
    change = change
        .and(addresses)
        .and(edit(packet, at, addresses, false)?);
    packet.store(
        quote.ip_offset + Ipv4Addresses::OFFSET,
        Ipv4Addresses::new(to.quoted.source, to.quoted.destination),
    )?;

    let at = quote.transport_offset;
    match quote.quoted {
        Quoted::Tcp | Quoted::TcpPorts => {
            if quote.quoted == Quoted::Tcp {
                let both = addresses.and(ports);
                change = change.and(edit(packet, at + TcpHeader::CHECKSUM, both, false)?);
            }
            change = change.and(ports);
            store_ports(packet, at, &to.quoted)?;
        }
        Quoted::Udp => {
            let both = addresses.and(ports);
            change = change
                .and(edit(packet, at + UdpHeader::CHECKSUM, both, true)?)
                .and(ports);
            store_ports(packet, at, &to.quoted)?;
        }
        Quoted::EchoRequest | Quoted::EchoReply => {
            change = change
                .and(edit(packet, at + IcmpHeader::CHECKSUM, ports, false)?)
                .and(ports);
            // One of the two is the identifier, the other is none.
            let identifier = to.quoted.source_port.raw() | to.quoted.destination_port.raw();
            packet.store(at + IcmpHeader::IDENTIFIER, identifier)?;
        }
        Quoted::CutShort | Quoted::Nested | Quoted::Opaque => {}
    }

    if !change.is_none() {
        packet.edit_transport_checksum(
            error.transport_offset + IcmpHeader::CHECKSUM,
            TransportEdit {
                header: change,
                ..TransportEdit::default()
            },
        )?;
    }
    let outer = address_change(&error.flow, &to.flow());
    let header = packet.load::<Ipv4Header>(IPV4_OFFSET)?.rewritable();
    packet.store(
        IPV4_OFFSET + Ipv4Rewrite::OFFSET,
        header.forwarded(to.source, to.destination, outer),
    )
}

/// Edits a quoted checksum by `delta` and answers the change that this is itself.
#[inline(always)]
fn edit<P: Packet + ?Sized>(
    packet: &mut P,
    at: usize,
    delta: Delta,
    zero_is_none: bool,
) -> Option<Delta> {
    if delta.is_none() {
        return Some(Delta::NONE);
    }
    let old = packet.load::<u16>(at)?;
    let new = if zero_is_none {
        delta.apply_udp(old)
    } else {
        delta.apply(old)
    };
    packet.store(at, new)?;
    Some(Delta::NONE.replace16(old, new))
}

#[inline(always)]
fn store_ports<P: Packet + ?Sized>(packet: &mut P, at: usize, to: &Flow) -> Option<()> {
    packet.store(at, to.source_port.raw())?;
    packet.store(at + size_of::<Port>(), to.destination_port.raw())
}
