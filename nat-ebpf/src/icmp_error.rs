//! ICMP errors about translated packets (RFC 5508): what they quote names the session. They never
//! open, refresh or end one (REQ-6; RFC 4787 REQ-12, RFC 5382 REQ-10).

use nat_common::{
    address::{Address, Port},
    drop_reason::DropReason,
    icmp_error::{self, Quote, Translated},
    map_types::{Interface, SessionKey},
    parse::Ipv4Packet,
};

use crate::{
    forward::{Hook, NextHop, find_next_hop},
    session_maps::{self, Found, REVERSE, SESSIONS},
    verdict::Verdict,
};

/// Ethernet, two of the longest IPv4 headers, ICMP's and TCP's: all that is read or written.
const HEADERS: u32 = 14 + 60 + 8 + 60 + 20;

/// Which way an error goes, and by what it is translated.
#[derive(Clone, Copy)]
pub enum Way {
    /// From outside about a packet that left through a NAT gateway.
    IntoGateway,
    /// From outside to an instance with a public IP.
    IntoInstance(Address),
    /// From inside this VPC about a packet that came in through a NAT gateway.
    OutOfGateway(u16),
    /// From inside, by an instance with this public IP.
    OutOfInstance(Address),
}

/// Translates an error and forwards it, if this hook can; `next` tells.
#[inline(never)]
pub fn forward<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    way: Way,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    hook.reach(HEADERS);
    let quote = icmp_error::quote(hook, packet)?;
    let mut to = Translated {
        source: packet.flow.source,
        destination: packet.flow.destination,
        quoted: quote.flow,
    };
    match way {
        Way::IntoGateway => {
            let (address, port) = mapping(&quote, None)?;
            if quote.flow.source != packet.flow.destination {
                return Err(DropReason::NoSession);
            }
            to.destination = address;
            to.quoted = quote.flow.with_source(address, port);
        }
        Way::OutOfGateway(vpc) => {
            let (address, port) = mapping(&quote, Some(vpc))?;
            to.source = address;
            to.quoted = quote.flow.with_destination(address, port);
        }
        Way::IntoInstance(private) => {
            if quote.is_error() || quote.flow.source != packet.flow.destination {
                return Err(DropReason::NoSession);
            }
            to.destination = private;
            to.quoted = quote.flow.with_source(private, quote.flow.source_port);
        }
        Way::OutOfInstance(public) => {
            if quote.is_error() || quote.flow.destination != packet.flow.source {
                return Err(DropReason::NoSession);
            }
            to.source = public;
            to.quoted = quote
                .flow
                .with_destination(public, quote.flow.destination_port);
        }
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let side = match way {
        Way::IntoGateway | Way::IntoInstance(_) => Interface::INSIDE,
        Way::OutOfGateway(_) | Way::OutOfInstance(_) => Interface::UPLINK,
    };
    find_next_hop(hook, &to.flow(), hook.mtu_length(packet), side, next)?;
    if !matches!(next.verdict, Verdict::Forward) {
        return Ok(());
    }
    icmp_error::apply(hook, packet, &quote, &to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)
}

/// What the quoted packet's other end is on this NAT's other side: the session of its answers.
#[inline(always)]
fn mapping(quote: &Quote, vpc: Option<u16>) -> Result<(Address, Port), DropReason> {
    quote.names_a_session(vpc.is_none())?;
    let answers = quote.flow.reversed();
    let mut found = Found::NONE;
    let is_there = match vpc {
        Some(vpc) => session_maps::find(&SESSIONS, &SessionKey::forward(&answers, vpc), &mut found),
        None => session_maps::find(&REVERSE, &SessionKey::reverse(&answers), &mut found),
    };
    if is_there {
        Ok((found.address, found.port))
    } else {
        Err(DropReason::NoSession)
    }
}
