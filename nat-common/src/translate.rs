//! Applies a decision to a frame: addresses, ports, TTL and every checksum they touch (RFC 1624).

use crate::{
    address::Port,
    checksum::Delta,
    flow::Flow,
    packet::{Packet, TransportEdit},
    parse::{IPV4_OFFSET, Ipv4Packet, Transport},
    wire::{IcmpHeader, Ipv4Header, Ipv4Rewrite, TcpHeader, UdpHeader},
};

/// Turns `parsed` into a packet of the flow `to`, one hop further. The Ethernet header is left to
/// the forwarding stage. `None` when the frame is shorter than `parsed` says; the frame may then be
/// half written and must not be sent.
#[inline(always)]
pub fn apply<P: Packet + ?Sized>(packet: &mut P, parsed: &Ipv4Packet, to: &Flow) -> Option<()> {
    let addresses = address_change(&parsed.flow, to);
    let ports = port_change(&parsed.flow, to);
    let at = parsed.transport_offset;
    match parsed.transport {
        Transport::Tcp => {
            edit(packet, at + TcpHeader::CHECKSUM, addresses, ports, false)?;
            store_ports(packet, at, &parsed.flow, to)?;
        }
        Transport::Udp => {
            edit(packet, at + UdpHeader::CHECKSUM, addresses, ports, true)?;
            store_ports(packet, at, &parsed.flow, to)?;
        }
        Transport::IcmpEchoRequest => {
            let identifier = (parsed.flow.source_port, to.source_port);
            store_identifier(packet, at, ports, identifier)?;
        }
        Transport::IcmpEchoReply => {
            let identifier = (parsed.flow.destination_port, to.destination_port);
            store_identifier(packet, at, ports, identifier)?;
        }
        Transport::IcmpError | Transport::IcmpOther | Transport::Opaque => {}
    }
    let header = packet.load::<Ipv4Header>(IPV4_OFFSET)?.rewritable();
    packet.store(
        IPV4_OFFSET + Ipv4Rewrite::OFFSET,
        header.forwarded(to.source, to.destination, addresses),
    )
}

/// Gives a packet another IP identification, in network byte order.
#[inline(always)]
pub fn renumber<P: Packet + ?Sized>(packet: &mut P, identification: u16) -> Option<()> {
    let header = packet.load::<Ipv4Header>(IPV4_OFFSET)?;
    let change = Delta::NONE.replace16(header.identification(), identification);
    let checksum = packet.load::<u16>(IPV4_OFFSET + Ipv4Header::CHECKSUM)?;
    packet.store(IPV4_OFFSET + Ipv4Header::CHECKSUM, change.apply(checksum))?;
    packet.store(IPV4_OFFSET + Ipv4Header::IDENTIFICATION, identification)
}

/// The change that other addresses make to a checksum; none where they stay the same.
#[inline(always)]
pub(crate) fn address_change(from: &Flow, to: &Flow) -> Delta {
    let mut change = Delta::NONE;
    if from.source != to.source {
        change = change.replace32(from.source.raw(), to.source.raw());
    }
    if from.destination != to.destination {
        change = change.replace32(from.destination.raw(), to.destination.raw());
    }
    change
}

/// The change that other ports make to a checksum. None where they stay the same, and where 65,535
/// becomes 0, which is the same to a checksum.
#[inline(always)]
pub(crate) fn port_change(from: &Flow, to: &Flow) -> Delta {
    let mut change = Delta::NONE;
    if from.source_port != to.source_port {
        change = change.replace16(from.source_port.raw(), to.source_port.raw());
    }
    if from.destination_port != to.destination_port {
        change = change.replace16(from.destination_port.raw(), to.destination_port.raw());
    }
    change
}

#[inline(always)]
fn edit<P: Packet + ?Sized>(
    packet: &mut P,
    offset: usize,
    pseudo_header: Delta,
    header: Delta,
    zero_is_none: bool,
) -> Option<()> {
    if pseudo_header.is_none() && header.is_none() {
        return Some(());
    }
    packet.edit_transport_checksum(
        offset,
        TransportEdit {
            pseudo_header,
            header,
            zero_is_none,
        },
    )
}

#[inline(always)]
fn store_ports<P: Packet + ?Sized>(
    packet: &mut P,
    offset: usize,
    from: &Flow,
    to: &Flow,
) -> Option<()> {
    if from.source_port == to.source_port && from.destination_port == to.destination_port {
        return Some(());
    }
    packet.store(offset, to.source_port.raw())?;
    packet.store(offset + size_of::<Port>(), to.destination_port.raw())
}

/// ICMP has no pseudo header: only the identifier counts (RFC 3022, 2.2).
#[inline(always)]
fn store_identifier<P: Packet + ?Sized>(
    packet: &mut P,
    offset: usize,
    change: Delta,
    (from, to): (Port, Port),
) -> Option<()> {
    if from == to {
        return Some(());
    }
    edit(
        packet,
        offset + IcmpHeader::CHECKSUM,
        Delta::NONE,
        change,
        false,
    )?;
    // Zeros alone sum up to the other zero than words that cancel out; all ones is right for both
    // (RFC 1624, 3). Only an echo reply may be nothing but zeros.
    if to == Port::NONE && packet.load::<u16>(offset + IcmpHeader::CHECKSUM)? == 0 {
        packet.store(offset + IcmpHeader::CHECKSUM, u16::MAX)?;
    }
    packet.store(offset + IcmpHeader::IDENTIFIER, to.raw())
}
