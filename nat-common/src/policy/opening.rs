//! What may open a session through a NAT gateway.

use crate::{
    drop_reason::DropReason,
    parse::{Ipv4Packet, Transport},
    wire::Fragment,
};

/// Whether this packet from inside may belong to a session of a NAT gateway.
///
/// # Errors
///
/// The reason to drop it: not TCP, UDP, an ICMP echo request or an ICMP error, or a fragment of the
/// latter, which may quote less than it takes.
#[inline(always)]
pub const fn translatable(packet: &Ipv4Packet) -> Result<(), DropReason> {
    match packet.transport {
        Transport::Tcp | Transport::Udp | Transport::IcmpEchoRequest => Ok(()),
        Transport::IcmpError if matches!(packet.fragment, Fragment::Whole) => Ok(()),
        Transport::IcmpError => Err(DropReason::Fragment),
        Transport::IcmpEchoReply | Transport::IcmpOther => Err(DropReason::UnsupportedIcmp),
        Transport::Opaque => Err(DropReason::UnsupportedProtocol),
    }
}

/// Whether a packet without a session may open one.
///
/// # Errors
///
/// [`DropReason::NoSession`] for a TCP segment that is not a SYN.
#[inline(always)]
pub const fn may_open(packet: &Ipv4Packet) -> Result<(), DropReason> {
    match packet.transport {
        Transport::Tcp if !packet.flags.opens() => Err(DropReason::NoSession),
        _ => Ok(()),
    }
}
