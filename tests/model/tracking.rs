//! Flows that no NAT gateway translates, and whose ends here are filtered: security
//! groups decide about the first packet, a session lets the others through.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::decide::{Stop, is_later_fragment, is_translated_protocol};
use super::icmp_error::{error_in, is_error, readable_quote};
use super::policy::is_of_metadata;
use super::rules::Asked;
use super::sessions::{Outside, Scope};
use super::tcp_state::opens_connection;
use super::{Direction, DropReason, Flow, Mapping, Model, Session, TcpState, Via};
use crate::packets::{Ipv4, Quote, Transport, icmp_type, protocol};

/// A flow that may need a session.
pub(super) struct Candidate<'a> {
    /// The packet as it is on the inside of translations that the other end made.
    pub ip: &'a Ipv4,
    /// The instances at its ends.
    pub sender: Option<usize>,
    pub receiver: Option<usize>,
    /// The VPC, and in it the address that a packet which is quoted by this one was
    /// sent from.
    pub vpc: usize,
    pub quoted_sender: Ipv4Addr,
    /// `None` for what belongs to no flow.
    pub flow: Option<Flow>,
    pub via: Via,
    pub public: Option<Ipv4Addr>,
}

impl Model {
    /// The session within the VPC that a packet is of, and the half that counts it. What a
    /// session was opened for on its way to an instance, or not, goes the same way; its
    /// answers are its answers whichever way they take. Where nobody is filtered, what
    /// goes to an instance is of none.
    pub(super) fn tracked_as(
        &self,
        now: Duration,
        new: &Candidate<'_>,
        to_instance: bool,
    ) -> Option<(Flow, Direction)> {
        if !self.is_tracked(new) {
            return None;
        }
        let flow = new.flow?;
        if let Some(session) = self.live(now, &flow) {
            return Some((session.flow, Direction::Forward));
        }
        let (from, to) = ends(new.ip)?;
        let answered = |to_instance| {
            let outside = Outside {
                scope: Scope::Vpc(new.vpc, to_instance),
                protocol: new.ip.protocol,
                public: to,
                remote: from,
            };
            self.live_outside(now, &outside)
        };
        let session = answered(to_instance).or_else(|| answered(!to_instance))?;
        Some((session.flow, Direction::Reverse))
    }

    /// Whether a session lets a packet through without groups being asked: not a SYN behind the
    /// end of its connection.
    pub(super) fn speaks_for(&self, flow: &Flow, ip: &Ipv4) -> bool {
        let opens = matches!(&ip.transport, Transport::Tcp(tcp) if opens_connection(tcp.flags));
        let state = self.sessions.find(flow).map(Session::tcp_state);
        !(opens && matches!(state, Some(TcpState::Closing | TcpState::Reset)))
    }

    /// Asks the groups about a packet that has a session, where that does not speak for it.
    pub(super) fn groups_anew(
        &self,
        flow: &Flow,
        ip: &Ipv4,
        sender: Option<usize>,
        receiver: Option<usize>,
    ) -> Result<(), Stop> {
        if self.speaks_for(flow, ip) {
            return Ok(());
        }
        self.groups(ip, &Asked::of(ip), sender, receiver)
    }

    /// Whether an end of a flow is filtered.
    pub(super) fn is_tracked(&self, new: &Candidate<'_>) -> bool {
        self.is_one_filtered([new.sender, new.receiver], new.ip)
    }

    /// Whether one of the instances at the ends of a packet's way is filtered.
    pub(super) fn is_one_filtered(&self, ends: [Option<usize>; 2], ip: &Ipv4) -> bool {
        let mut ends = ends.into_iter().flatten();
        let is_filtered = ends.any(|end| self.config.instances[end].is_filtered());
        is_filtered && !is_of_metadata(ip)
    }

    /// Asks the groups about a packet without a session. Answers the flow that it has
    /// opened a session for, because an end is filtered.
    pub(super) fn admit(
        &mut self,
        now: Duration,
        new: &Candidate<'_>,
    ) -> Result<Option<Flow>, Stop> {
        let ip = new.ip;
        if !self.is_tracked(new) {
            return Ok(None);
        }
        if let Some(icmp) = error_in(ip) {
            let quote = readable_quote(icmp)?;
            return if quote.src == ip.dst && self.knows(now, new, &quote)? {
                Ok(None)
            } else {
                Err(Stop::drop(DropReason::NoSession))
            };
        }
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            return Err(Stop::Follow);
        }
        if let Transport::Icmp(icmp) = &ip.transport
            && is_error(icmp.icmp_type)
        {
            // Of an error in fragments nobody finds the quote.
            return Err(Stop::drop(DropReason::Fragment));
        }
        self.groups(ip, &Asked::of(ip), new.sender, new.receiver)?;
        let Some(flow) = new.flow else {
            return Ok(None);
        };
        if ip.ttl <= 1 {
            return Err(Stop::ttl_expired());
        }
        let (public, mapping) = match new.public {
            Some(ip) => (SocketAddrV4::new(ip, flow.inside.port()), Mapping::OneToOne),
            None => (flow.inside, Mapping::Unchanged),
        };
        if self.live(now, &flow).is_some() {
            // Of its own packets it was found: the two talk by another public end.
            return Err(Stop::drop(DropReason::NoSession));
        }
        self.remove(now, &flow);
        self.open(now, new.via, flow, public, mapping);
        Ok(Some(flow))
    }

    /// Whether a quoted packet is one of a live session, in either direction.
    fn knows(&self, now: Duration, new: &Candidate<'_>, quote: &Quote) -> Result<bool, Stop> {
        let Some((from, to)) = quoted_ends(quote, new.quoted_sender)? else {
            return Ok(false);
        };
        let is_it = |session: &Session| {
            let flow = &session.flow;
            let ends = [(flow.inside, flow.remote), (flow.remote, flow.inside)];
            flow.vpc == new.vpc
                && flow.protocol == quote.protocol
                && ends.contains(&(from, to))
                && !session.is_expired(now, &self.config)
        };
        Ok(self.sessions.iter().any(is_it))
    }
}

/// Sender and receiver of a packet as flows have them; `None` for what belongs to none.
/// In a ping the query id stands for the port of who pings.
pub(super) fn ends(ip: &Ipv4) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let at = SocketAddrV4::new;
    match &ip.transport {
        Transport::Tcp(_) | Transport::Udp(_) => Some((ip.source(), ip.destination())),
        Transport::Icmp(icmp) => match icmp.icmp_type {
            icmp_type::ECHO_REQUEST => Some((at(ip.src, icmp.id()), at(ip.dst, 0))),
            icmp_type::ECHO_REPLY => Some((at(ip.src, 0), at(ip.dst, icmp.id()))),
            _ => None,
        },
        Transport::Opaque(_) if is_translated_protocol(ip) => None,
        Transport::Opaque(_) => Some((at(ip.src, 0), at(ip.dst, 0))),
    }
}

/// As [`ends`], of a quoted packet that was sent from `sender`.
fn quoted_ends(
    quote: &Quote,
    sender: Ipv4Addr,
) -> Result<Option<(SocketAddrV4, SocketAddrV4)>, Stop> {
    let malformed = || Stop::drop(DropReason::Malformed);
    let is_translated = matches!(
        quote.protocol,
        protocol::TCP | protocol::UDP | protocol::ICMP
    );
    if quote.fragment_offset != 0 && is_translated {
        return Ok(None);
    }
    let ports = match quote.protocol {
        protocol::TCP | protocol::UDP => quote.ports().ok_or_else(malformed)?,
        protocol::ICMP => match quote.icmp_type_and_id().ok_or_else(malformed)? {
            (icmp_type::ECHO_REQUEST, id) => (id, 0),
            (icmp_type::ECHO_REPLY, id) => (0, id),
            _ => return Ok(None),
        },
        _ => (0, 0),
    };
    let from = SocketAddrV4::new(sender, ports.0);
    Ok(Some((from, SocketAddrV4::new(quote.dst, ports.1))))
}
