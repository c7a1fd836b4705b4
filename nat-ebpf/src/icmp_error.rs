//! ICMP errors about translated packets (RFC 5508): what they quote names the session. They never
//! open, refresh or end one (REQ-6; RFC 4787 REQ-12, RFC 5382 REQ-10).

use nat_common::{
    address::{Address, Port},
    drop_reason::DropReason,
    flow::Flow,
    icmp_error::{self, Quote, Translated},
    map_types::{Interface, SessionKey},
    parse::{IPV4_OFFSET, Ipv4Packet},
    sessions::{self, Found},
    tables::Side,
};

use crate::{
    forward::{Hook, NextHop, find_next_hop},
    kernel_tables::KernelTables,
    settings, sum,
    verdict::Verdict,
};

/// Ethernet, two of the longest IPv4 headers, ICMP's and TCP's: all that is read or written.
const HEADERS: u32 = 14 + 60 + 8 + 60 + 20;

/// What is done to one end of an error, and to the other end of the packet it quotes. Without
/// payloads: of an enum that is passed on, part would be uninitialised.
#[derive(Clone, Copy)]
pub struct Way {
    kind: Kind,
    value: u32,
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    OutOfGateway,
    OutOfInstance,
    IntoGateway,
    IntoInstance,
}

impl Way {
    /// Nothing.
    pub const NONE: Self = Self::of(Kind::None, 0);
    /// To a NAT gateway's public IP, about a packet that left through it.
    pub const INTO_GATEWAY: Self = Self::of(Kind::IntoGateway, 0);

    #[inline(always)]
    const fn of(kind: Kind, value: u32) -> Self {
        Self { kind, value }
    }

    /// From inside this VPC about a packet that came in through a NAT gateway.
    #[inline(always)]
    pub const fn out_of_gateway(vpc: u16) -> Self {
        Self::of(Kind::OutOfGateway, vpc as u32)
    }

    /// From inside, by an instance with this public IP.
    #[inline(always)]
    pub const fn out_of_instance(public: Address) -> Self {
        Self::of(Kind::OutOfInstance, public.raw())
    }

    /// To the public IP of an instance with this private one.
    #[inline(always)]
    pub const fn into_instance(private: Address) -> Self {
        Self::of(Kind::IntoInstance, private.raw())
    }
}

/// Translates an error the way out, then the way back, and forwards it, if this hook can; `next` tells.
/// Both are there when it leaves to a public IP of ours (hairpin).
#[inline(never)]
pub fn forward<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    [out, back]: &[Way; 2],
    next: &mut NextHop,
) -> Result<(), DropReason> {
    // RFC 5508 REQ-3.
    if !has_right_checksum(hook, packet) {
        return Err(DropReason::Malformed);
    }
    hook.reach(HEADERS);
    let quote = icmp_error::quote(hook, packet)?;
    let mut to = Translated {
        source: packet.flow.source,
        destination: packet.flow.destination,
        quoted: quote.flow,
    };
    match out.kind {
        Kind::OutOfGateway => {
            let (address, port) = mapping(&quote, &to.quoted, Some(out.value as u16))?;
            to.source = address;
            to.quoted = to.quoted.with_destination(address, port);
        }
        Kind::OutOfInstance => {
            let public = Address::from_raw(out.value);
            if quote.is_error() || to.quoted.destination != to.source {
                return Err(DropReason::NoSession);
            }
            to.source = public;
            to.quoted = to
                .quoted
                .with_destination(public, to.quoted.destination_port);
        }
        _ => {}
    }
    match back.kind {
        Kind::IntoGateway => {
            quote.names_a_session(true)?;
            if to.quoted.source != to.destination {
                return Err(DropReason::NoSession);
            }
            let (address, port) = mapping(&quote, &to.quoted, None)?;
            to.destination = address;
            to.quoted = to.quoted.with_source(address, port);
        }
        Kind::IntoInstance => {
            let private = Address::from_raw(back.value);
            if quote.is_error() || to.quoted.source != to.destination {
                return Err(DropReason::NoSession);
            }
            to.destination = private;
            to.quoted = to.quoted.with_source(private, to.quoted.source_port);
        }
        _ => {}
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let side = match back.kind {
        Kind::IntoGateway | Kind::IntoInstance => Interface::INSIDE,
        _ => Interface::UPLINK,
    };
    find_next_hop(hook, &to.flow(), hook.mtu_length(packet), side, next)?;
    if !matches!(next.verdict, Verdict::Forward) {
        return Ok(());
    }
    icmp_error::apply(hook, packet, &quote, &to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)
}

/// Of the whole message. Longer ones than are summed up don't exist: RFC 1812, 4.3.2.3 ends errors at
/// 576 bytes.
#[inline(always)]
fn has_right_checksum<H: Hook>(hook: &H, packet: &Ipv4Packet) -> bool {
    let length = IPV4_OFFSET + packet.total_length - packet.transport_offset;
    let sum = sum::of(hook, packet.transport_offset as u32, length as u32);
    sum.is_some_and(|sum| sum.folded() == u16::MAX)
}

/// What the quoted packet's other end is on this NAT's other side: the session of its answers.
#[inline(always)]
fn mapping(quote: &Quote, quoted: &Flow, vpc: Option<u16>) -> Result<(Address, Port), DropReason> {
    quote.names_a_session(vpc.is_none())?;
    let (answers, now) = (quoted.reversed(), settings::now());
    let mut found = Found::NONE;
    let (side, key) = match vpc {
        Some(vpc) => (Side::Inside, SessionKey::forward(&answers, vpc)),
        None => (Side::Outside, SessionKey::reverse(&answers)),
    };
    if sessions::find(&KernelTables, side, &key, now, &mut found) {
        Ok((found.address, found.port))
    } else {
        Err(DropReason::NoSession)
    }
}
