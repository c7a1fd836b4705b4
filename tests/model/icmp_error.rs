//! ICMP errors (RFC 5508): whose packet they quote decides what becomes of them.
//!
//! The host that a translation is about stands at one end of the error and at the
//! other end of the packet it quotes: what was sent comes back quoted.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::decide::{Exit, Leg, Stop};
use super::sender::Sender;
use super::sessions::{Outside, Scope};
use super::{Change, DropReason, End, Flow, Model};
use crate::packets::{Icmp, Ipv4, Quote, Transport, folded_sum, icmp_type, protocol};

/// The ICMP message in `ip`, when it is an error that is translated with its quote.
/// A fragment of one is not: the quote may be elsewhere.
pub(super) fn error_in(ip: &Ipv4) -> Option<&Icmp> {
    match &ip.transport {
        Transport::Icmp(icmp) if is_error(icmp.icmp_type) && !ip.is_fragment() => Some(icmp),
        _ => None,
    }
}

pub(super) fn is_error(icmp_type: u8) -> bool {
    matches!(
        icmp_type,
        icmp_type::UNREACHABLE | icmp_type::TIME_EXCEEDED | icmp_type::PARAMETER_PROBLEM
    )
}

impl Model {
    /// An error in `ip` to a NAT gateway's address. Errors change no session; one that
    /// has expired is none to them either.
    pub(super) fn error_from_outside(
        &self,
        now: Duration,
        ip: &Ipv4,
        icmp: &Icmp,
    ) -> Result<(Leg, Exit), Stop> {
        let quote = readable_quote(icmp)?;
        let (from, remote) = ends(&quote, icmp_type::ECHO_REQUEST)?;
        let outside = Outside {
            scope: Scope::Internet,
            protocol: quote.protocol,
            public: from,
            remote,
        };
        let session = self.live_outside(now, &outside);
        let Some(session) = session.filter(|_| quote.src == ip.dst) else {
            return Err(Stop::drop(DropReason::NoSession));
        };
        let inside = session.flow.inside;
        let leg = Leg::stateless(Change {
            end: End::Destination,
            address: *inside.ip(),
            port: Some(inside.port()),
        });
        Ok((leg, self.enter_session(ip, &session)?))
    }

    /// An error from inside, routed to a NAT gateway. Its sender need not be the
    /// host that the session belongs to.
    pub(super) fn error_from_inside(
        &self,
        now: Duration,
        sender: &Sender,
        icmp: &Icmp,
    ) -> Result<Leg, Stop> {
        let quote = readable_quote(icmp)?;
        let (remote, inside) = ends(&quote, icmp_type::ECHO_REPLY)?;
        let flow = Flow {
            vpc: sender.vpc,
            to_instance: false,
            protocol: quote.protocol,
            inside,
            remote,
        };
        let session = self.live(now, &flow);
        let session = session.filter(|session| session.gateway().is_some());
        let session = session.ok_or(Stop::drop(DropReason::NoSession))?;
        Ok(Leg::stateless(Change {
            end: End::Source,
            address: *session.public.ip(),
            port: Some(session.public.port()),
        }))
    }
}

/// A packet of an instance with a public IP, of which `change` is to be made: when it is an
/// error, it must quote the same address.
pub(super) fn one_to_one(ip: &Ipv4, change: Change) -> Result<Leg, Stop> {
    let Some(icmp) = error_in(ip) else {
        return Ok(Leg::stateless(change));
    };
    let quote = readable_quote(icmp)?;
    let is_same_host = match change.end {
        End::Source => quote.dst == ip.src,
        End::Destination => quote.src == ip.dst,
    };
    // What it quotes in turn would keep its addresses. Nobody sends errors about errors.
    let is_nested = quote.protocol == protocol::ICMP
        && quote
            .icmp_type_and_id()
            .is_some_and(|(icmp_type, _)| is_error(icmp_type));
    if is_same_host && !is_nested {
        Ok(Leg::stateless(change))
    } else {
        Err(Stop::drop(DropReason::NoSession))
    }
}

/// The quote of an error whose checksum is right and whose inner IP header is whole and
/// right. The latter's checksum is
/// right as receivers see it: either zero may stand for zero.
pub(super) fn readable_quote(icmp: &Icmp) -> Result<Quote, Stop> {
    let malformed = || Stop::drop(DropReason::Malformed);
    if !is_intact(icmp) {
        return Err(malformed());
    }
    let quote = Quote::parse(&icmp.payload).map_err(|_| malformed())?;
    if folded_sum(&quote.header) == 0xffff {
        Ok(quote)
    } else {
        Err(malformed())
    }
}

/// Whether the checksum of a whole message is right.
fn is_intact(icmp: &Icmp) -> bool {
    let [high, low] = icmp.checksum.to_be_bytes();
    let header = [icmp.icmp_type, icmp.code, high, low];
    folded_sum(&[&header, &icmp.rest, &icmp.payload[..]].concat()) == 0xffff
}

/// Both ends of a quoted packet that a session may carry, as sessions have them:
/// of an echo of this type the query id stands for the port of its one end.
fn ends(quote: &Quote, echo_type: u8) -> Result<(SocketAddrV4, SocketAddrV4), Stop> {
    let no_session = || Stop::drop(DropReason::NoSession);
    let malformed = || Stop::drop(DropReason::Malformed);
    if quote.fragment_offset != 0 {
        return Err(no_session());
    }
    let (from, to) = match quote.protocol {
        protocol::TCP | protocol::UDP => quote.ports().ok_or_else(malformed)?,
        protocol::ICMP => match quote.icmp_type_and_id().ok_or_else(malformed)? {
            (icmp_type, _) if icmp_type != echo_type => return Err(no_session()),
            (icmp_type::ECHO_REQUEST, id) => (id, 0),
            (_, id) => (0, id),
        },
        _ => return Err(no_session()),
    };
    Ok((
        SocketAddrV4::new(quote.src, from),
        SocketAddrV4::new(quote.dst, to),
    ))
}
