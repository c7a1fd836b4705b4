//! The rules for packets from inside, in the order in which they apply. The first
//! that fits decides. From outside: `inbound.rs`.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::check::Choice;
use super::icmp_error::{error_in, one_to_one};
use super::made::Answer;
use super::sessions::Outside;
use super::tcp_state::opens_connection;
use super::{
    Change, Direction, DropReason, ElasticIp, End, Flow, Model, NatGateway, Session, Side, Subnet,
    Target,
};
use crate::packets::{Ipv4, Transport, icmp_type, protocol, tcp_flags};

/// A packet that came in.
pub(super) struct Arrival<'a> {
    pub now: Duration,
    pub ingress: Side,
    pub frame: &'a [u8],
    pub ip: &'a Ipv4,
}

/// How a packet is translated and where it leaves.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub legs: Vec<Leg>,
    pub egress: Side,
    /// Another IP identification.
    pub id: Option<u16>,
}

/// One translation: of a packet between inside and outside there is one, of a
/// hairpin there are two, first to the outside and then to the inside again.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub change: Change,
    /// The half of a session that counts the packet.
    pub carried: Option<(Flow, Direction)>,
    /// IP identifications are those of one sender for the receiver, who sees many
    /// senders as one (RFC 6864): fragments get another.
    pub hides_sender: bool,
}

/// Why a packet is not translated.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// It is the host's.
    Pass,
    Drop(DropReason, Answer),
    /// A later fragment, whose first one has not been seen.
    Early,
    /// Another NAT chose what it must not.
    Complaint(String),
}

impl Stop {
    pub(super) fn drop(reason: DropReason) -> Self {
        Self::Drop(reason, Answer::None)
    }

    /// Dropped, and the sender told by ICMP type 3.
    pub(super) fn unreachable(reason: DropReason, code: u8) -> Self {
        Self::Drop(reason, Answer::icmp(icmp_type::UNREACHABLE, code))
    }

    pub(super) fn ttl_expired() -> Self {
        Self::Drop(
            DropReason::TtlExpired,
            Answer::icmp(icmp_type::TIME_EXCEEDED, 0),
        )
    }
}

impl Leg {
    /// Changes an end without a session.
    pub(super) fn stateless(change: Change) -> Self {
        Self {
            change,
            carried: None,
            hides_sender: false,
        }
    }

    /// To the outside, by a session.
    fn outward(session: &Session) -> Self {
        Self {
            change: Change {
                end: End::Source,
                address: *session.public.ip(),
                port: Some(session.public.port()),
            },
            carried: Some((session.flow, Direction::Forward)),
            hides_sender: true,
        }
    }
}

impl Model {
    pub(super) fn packet_from_inside(
        &mut self,
        packet: &Arrival<'_>,
        interface: u32,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let (now, ip) = (packet.now, packet.ip);
        if ip.dst.octets()[0] >= 224 {
            return Err(Stop::Pass);
        }
        let subnet = self.config.subnet_of(ip.src).cloned();
        let Some(subnet) = subnet.filter(|subnet| subnet.interface == interface) else {
            return Err(if self.config.is_host(ip.dst) {
                Stop::Pass
            } else {
                Stop::drop(DropReason::SpoofedSource)
            });
        };
        if let Some(elastic) = self.config.elastic_of_private(ip.src).copied()
            && !self.config.is_local(ip.dst)
            && subnet.target(ip.dst) == Some(Target::InternetGateway)
        {
            return self.elastic_source(packet, elastic);
        }
        let session = flow_from_inside(ip).and_then(|flow| self.live(now, &flow));
        if session.is_none() && self.config.is_local(ip.dst) {
            // The host routes within the VPC, but not to where no subnet is.
            return Err(match self.config.subnet_of(ip.dst) {
                Some(_) => Stop::Pass,
                None => Stop::drop(DropReason::NoRoute),
            });
        }
        if self.config.gateway_of_public(ip.dst).is_some() {
            let translated = session.map(|session| session.public);
            return self.gateway_destination(packet, &subnet, translated, choice);
        }
        if session.is_none() && self.config.host_addresses.contains(&ip.dst) {
            return Err(Stop::Pass);
        }
        self.through_target(packet, &subnet, choice)
    }

    /// To a NAT gateway's public IP: shared ones are the host's unless somebody
    /// inside is there, and nobody is there by chance on a gateway of profile aws.
    fn gateway_destination(
        &mut self,
        packet: &Arrival<'_>,
        subnet: &Subnet,
        translated: Option<SocketAddrV4>,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let ip = packet.ip;
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            return self.later_fragment(packet);
        }
        if error_in(ip).is_some() {
            let is_shared = self.config.is_host(ip.dst);
            return match self.through_target(packet, subnet, choice) {
                // The host itself may have sent what this is about.
                Err(Stop::Drop(reason, _)) if is_shared && reason != DropReason::Malformed => {
                    Err(Stop::Pass)
                }
                other => other,
            };
        }
        self.by_hairpin_gate(packet, translated, |nat| {
            nat.through_target(packet, subnet, choice)
        })
    }

    /// Where `way` leads a packet to a NAT gateway's public IP, if it may go on.
    fn by_hairpin_gate(
        &mut self,
        packet: &Arrival<'_>,
        translated: Option<SocketAddrV4>,
        way: impl FnOnce(&mut Self) -> Result<Way, Stop>,
    ) -> Result<Way, Stop> {
        self.hairpin_gate(packet, translated)?;
        match way(self) {
            // The binding went with a session that was over: now nobody has the port.
            Err(stop @ Stop::Drop(DropReason::NoSession, _)) => {
                self.hairpin_gate(packet, translated)?;
                Err(stop)
            }
            other => other,
        }
    }

    /// Whether a packet to a NAT gateway's public IP may go on, before anything is
    /// claimed for it. `translated` is what its source becomes, if that is known.
    fn hairpin_gate(
        &mut self,
        packet: &Arrival<'_>,
        translated: Option<SocketAddrV4>,
    ) -> Result<(), Stop> {
        let Some((index, gateway)) = self.config.gateway_of_public(packet.ip.dst) else {
            return Ok(());
        };
        let (is_rfc, is_shared) = (gateway.is_rfc(), gateway.shared_with_host);
        let somebody_is_there = inbound_end(packet.ip).is_some_and(|public| {
            let protocol = packet.ip.protocol;
            let answers = translated.is_some_and(|remote| {
                let outside = Outside {
                    protocol,
                    public,
                    remote,
                };
                self.live_outside(packet.now, &outside).is_some()
            });
            let gateway = &self.config.gateways[index];
            answers
                || gateway.forward_of_public(protocol, public).is_some()
                || is_rfc && self.sessions.inside_of(protocol, public).is_some()
        });
        match (somebody_is_there, is_shared, is_rfc) {
            (true, _, _) => Ok(()),
            (false, true, _) => Err(Stop::Pass),
            (false, false, true) => Ok(()),
            (false, false, false) => Err(Stop::drop(DropReason::NoSession)),
        }
    }

    /// A packet of an instance with a public IP, routed to the internet gateway.
    fn elastic_source(&mut self, packet: &Arrival<'_>, elastic: ElasticIp) -> Result<Way, Stop> {
        let ip = packet.ip;
        let is_gateways = self.config.gateway_of_public(ip.dst).is_some();
        if self.config.host_addresses.contains(&ip.dst) && !is_gateways {
            return Err(Stop::Pass);
        }
        let change = Change {
            end: End::Source,
            address: elastic.public,
            port: None,
        };
        if !is_gateways {
            return self.onward(packet, one_to_one(ip, change)?);
        }
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            return self.later_fragment(packet);
        }
        if error_in(ip).is_some() {
            let way = one_to_one(ip, change).and_then(|leg| self.onward(packet, leg));
            return match way {
                Err(Stop::Drop(DropReason::NoSession, _)) if self.config.is_host(ip.dst) => {
                    Err(Stop::Pass)
                }
                other => other,
            };
        }
        let source = SocketAddrV4::new(elastic.public, remote_port(ip));
        self.by_hairpin_gate(packet, Some(source), |nat| {
            nat.onward(packet, Leg::stateless(change))
        })
    }

    /// Where the subnet's route table leads.
    fn through_target(
        &mut self,
        packet: &Arrival<'_>,
        subnet: &Subnet,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        // A session was routed when it was opened.
        if let Some(flow) = flow_from_inside(packet.ip)
            && let Some(session) = self.live(packet.now, &flow)
        {
            return self.onward(packet, Leg::outward(&session));
        }
        match subnet.target(packet.ip.dst) {
            None => Err(Stop::drop(DropReason::NoRoute)),
            Some(Target::Blackhole) => Err(Stop::drop(DropReason::Blackhole)),
            Some(Target::InternetGateway) => Err(Stop::drop(DropReason::NoPublicIp)),
            Some(Target::NatGateway(gateway)) => self.through_gateway(packet, gateway, choice),
        }
    }

    /// A packet without a session at a NAT gateway.
    fn through_gateway(
        &mut self,
        packet: &Arrival<'_>,
        gateway: usize,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let (now, ip) = (packet.now, packet.ip);
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            match self.later_fragment(packet) {
                Err(Stop::Early) => {}
                known => return known,
            }
        }
        let settings = &self.config.gateways[gateway];
        if is_left_untranslated(settings, ip) {
            return Err(Stop::Pass);
        }
        if !is_translated_protocol(ip) {
            return Err(Stop::drop(DropReason::UnsupportedProtocol));
        }
        if is_later_fragment(ip) {
            return self.later_fragment(packet);
        }
        if let Some(icmp) = error_in(ip) {
            let leg = self.error_from_inside(now, icmp)?;
            return self.onward(packet, leg);
        }
        let Some(flow) = flow_from_inside(ip) else {
            return Err(Stop::drop(unsupported_icmp(ip)));
        };
        if ip.ttl <= 1 {
            return Err(Stop::ttl_expired());
        }
        if let Transport::Tcp(tcp) = &ip.transport
            && !opens_connection(tcp.flags)
        {
            let answer = if settings.is_rfc() || tcp.flags & tcp_flags::RST != 0 {
                Answer::None
            } else {
                Answer::Reset
            };
            return Err(Stop::Drop(DropReason::NoSession, answer));
        }
        let session = self.claim(now, gateway, flow, choice)?;
        self.onward(packet, Leg::outward(&session))
    }

    /// What is translated to the outside goes there, or comes in again at once
    /// when its destination is one of our public IPs.
    fn onward(&mut self, packet: &Arrival<'_>, outward: Leg) -> Result<Way, Stop> {
        let ip = packet.ip;
        let is_ours = self.config.elastic_of_public(ip.dst).is_some()
            || self.config.gateway_of_public(ip.dst).is_some();
        if !is_ours {
            return Ok(Way {
                legs: vec![outward],
                egress: Side::Uplink,
                id: None,
            });
        }
        let Some(seen) = outward.after(packet) else {
            return Err(Stop::drop(DropReason::Malformed));
        };
        let (inward, egress) = self.inbound(packet.now, &seen)?;
        Ok(Way {
            legs: vec![outward, inward],
            egress,
            id: None,
        })
    }
}

/// The flow of a packet from inside that may have a session.
fn flow_from_inside(ip: &Ipv4) -> Option<Flow> {
    let remote_port = match &ip.transport {
        Transport::Tcp(_) | Transport::Udp(_) => ip.destination().port(),
        Transport::Icmp(icmp) if icmp.icmp_type == icmp_type::ECHO_REQUEST => 0,
        Transport::Icmp(_) | Transport::Opaque(_) => return None,
    };
    Some(Flow {
        protocol: ip.protocol,
        inside: ip.source(),
        remote: SocketAddrV4::new(ip.dst, remote_port),
    })
}

/// The public end of a packet from outside that may have a session or a binding.
pub(super) fn inbound_end(ip: &Ipv4) -> Option<SocketAddrV4> {
    match &ip.transport {
        Transport::Tcp(_) | Transport::Udp(_) => Some(ip.destination()),
        Transport::Icmp(icmp) if icmp.icmp_type == icmp_type::ECHO_REPLY => Some(ip.destination()),
        Transport::Icmp(_) | Transport::Opaque(_) => None,
    }
}

/// The port of the remote end, of a packet that comes from it. ICMP has none.
pub(super) fn remote_port(ip: &Ipv4) -> u16 {
    match &ip.transport {
        Transport::Icmp(_) => 0,
        _ => ip.source().port(),
    }
}

pub(super) fn is_later_fragment(ip: &Ipv4) -> bool {
    ip.fragment_offset != 0
}

pub(super) fn is_translated_protocol(ip: &Ipv4) -> bool {
    matches!(ip.protocol, protocol::TCP | protocol::UDP | protocol::ICMP)
}

/// Why ICMP that opens nothing is dropped: of an error in fragments one part may
/// be quoted here and the other there.
fn unsupported_icmp(ip: &Ipv4) -> DropReason {
    match &ip.transport {
        Transport::Icmp(icmp) if super::icmp_error::is_error(icmp.icmp_type) => {
            DropReason::Fragment
        }
        _ => DropReason::UnsupportedIcmp,
    }
}

/// Whether a rule of the gateway lets a packet to this destination pass as it is.
fn is_left_untranslated(gateway: &NatGateway, ip: &Ipv4) -> bool {
    let port = match &ip.transport {
        Transport::Tcp(_) | Transport::Udp(_) => Some(ip.destination().port()),
        Transport::Icmp(_) | Transport::Opaque(_) => None,
    };
    gateway.leaves_untranslated(ip.dst, ip.protocol, port)
}
