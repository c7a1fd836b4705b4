//! The rules for packets from inside, in the order in which they apply. The first
//! that fits decides. Routes, ACLs and groups: `policy.rs`; what NAT gateways do:
//! `through_gateway.rs`; from outside: `inbound.rs`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::check::Choice;
use super::icmp_error::{error_in, one_to_one};
use super::made::Answer;
use super::sender::{Origin, Sender};
use super::through_gateway::is_echo_reply;
use super::tracking::{Candidate, ends};
use super::{Change, Direction, DropReason, End, Flow, Model, Session, Side, Target, Via};
use crate::packets::{Ipv4, Transport, icmp_type, protocol};

/// A packet that came in.
pub(super) struct Arrival<'a> {
    pub now: Duration,
    pub ingress: Side,
    pub origin: Origin,
    pub frame: &'a [u8],
    pub ip: &'a Ipv4,
}

/// How a packet is translated and where it leaves.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub legs: Vec<Leg>,
    pub exit: Exit,
    /// Another IP identification.
    pub id: Option<u16>,
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub egress: Side,
    /// Whom it is given to inside.
    pub next_hop: Option<Ipv4Addr>,
}

/// One translation: of a packet between inside and outside there is one, of a
/// hairpin there are two, first to the outside and then to the inside again.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// `None` for what is tracked only.
    pub change: Option<Change>,
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
    /// A later fragment, about which its first one decides.
    Follow,
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
            change: Some(change),
            carried: None,
            hides_sender: false,
        }
    }

    /// Changes nothing, and counts for a session.
    fn tracked(carried: (Flow, Direction)) -> Self {
        Self {
            change: None,
            carried: Some(carried),
            hides_sender: false,
        }
    }

    /// To the outside, by a session.
    pub(super) fn outward(session: &Session) -> Self {
        Self {
            change: Some(Change {
                end: End::Source,
                address: *session.public.ip(),
                port: Some(session.public.port()),
            }),
            carried: Some((session.flow, Direction::Forward)),
            hides_sender: true,
        }
    }
}

impl Model {
    pub(super) fn packet_from_inside(
        &mut self,
        packet: &Arrival<'_>,
        sender: &Sender,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let ip = packet.ip;
        if self.config.is_router(sender.vpc, ip.dst) {
            return Err(Stop::Pass);
        }
        let target = self.config.target(sender.subnet, ip.dst);
        let stays_inside = matches!(target, Some(Target::Local | Target::Instance(_)));
        let session = self.session_from_inside(packet, sender);
        if !stays_inside && self.config.gateway_of_public(ip.dst).is_some() {
            let elastic = self.config.public_of_sender(sender);
            let translated = match elastic.filter(|_| target == Some(Target::InternetGateway)) {
                Some(public) => Some(SocketAddrV4::new(public, remote_port(ip))),
                None => session.map(|session| session.public),
            };
            return self.gateway_destination(packet, sender, translated, choice);
        }
        let is_host = match target {
            Some(Target::Instance(_)) => self.config.is_host(ip.dst),
            _ => self.config.is_own(ip.dst),
        };
        if session.is_none() && is_host {
            return Err(Stop::Pass);
        }
        self.by_route(packet, sender, choice)
    }

    fn session_from_inside(&self, packet: &Arrival<'_>, sender: &Sender) -> Option<Session> {
        let flow = flow_from_inside(packet.ip, sender, false)?;
        let session = self.live(packet.now, &flow)?;
        // NAT gateways let nobody ping from outside. Id 0 stands for no port, too.
        let is_other = session.gateway().is_some() && is_echo_reply(packet.ip);
        (!is_other).then_some(session)
    }

    /// To a NAT gateway's public IP: shared ones are the host's unless somebody
    /// inside is there, and nobody is there by chance on a gateway of profile aws.
    /// `translated` is what the source becomes, if that is known.
    fn gateway_destination(
        &mut self,
        packet: &Arrival<'_>,
        sender: &Sender,
        translated: Option<SocketAddrV4>,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let ip = packet.ip;
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            return Err(Stop::Follow);
        }
        if error_in(ip).is_some() {
            let is_shared = self.config.is_host(ip.dst);
            return match self.by_route(packet, sender, choice) {
                // The host itself may have sent what this is about.
                Err(Stop::Drop(reason, _)) if is_shared && reason != DropReason::Malformed => {
                    Err(Stop::Pass)
                }
                other => other,
            };
        }
        // What has a session goes where that leads.
        if self.session_from_inside(packet, sender).is_none() {
            self.hairpin_gate(packet, translated)?;
        }
        match self.by_route(packet, sender, choice) {
            // The binding went with a session that was over: now nobody has the port.
            Err(stop @ Stop::Drop(DropReason::NoSession, _)) => {
                self.hairpin_gate(packet, translated)?;
                Err(stop)
            }
            other => other,
        }
    }

    /// Where the policy leads. A session goes where it went when it was opened, or nowhere.
    fn by_route(
        &mut self,
        packet: &Arrival<'_>,
        sender: &Sender,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let session = self.session_from_inside(packet, sender);
        let via = self.via(packet.ip, sender, session.is_none())?;
        // To an instance it goes as another flow, and where nobody is filtered as none.
        let receiver = self.config.instance_of(sender.vpc, packet.ip.dst);
        let ends = match via {
            Via::Local => [sender.instance, receiver],
            _ => [sender.instance, None],
        };
        let counts = match via {
            Via::Instance(_) => false,
            Via::NatGateway(_) => true,
            Via::Local | Via::InternetGateway => self.is_one_filtered(ends, packet.ip),
        };
        if counts && session.is_some_and(|session| session.via != via) {
            return Err(Stop::drop(DropReason::PolicyChanged));
        }
        match via {
            Via::Local | Via::Instance(_) => self.unchanged(packet, sender, via),
            Via::InternetGateway => self.one_to_one_outward(packet, sender, session),
            Via::NatGateway(gateway) => match session {
                Some(session) => {
                    if !self.speaks_for(&session.flow, packet.ip) {
                        self.sender_groups(packet.ip, sender)?;
                    }
                    self.onward(packet, Leg::outward(&session))
                }
                None => self.through_gateway(packet, sender, gateway, choice),
            },
        }
    }

    /// Within the VPC.
    fn unchanged(&mut self, packet: &Arrival<'_>, sender: &Sender, via: Via) -> Result<Way, Stop> {
        let ip = packet.ip;
        let to_instance = matches!(via, Via::Instance(_));
        let receiver = match via {
            Via::Instance(instance) => Some(instance),
            _ => self.config.instance_of(sender.vpc, ip.dst),
        };
        let next_hop = match via {
            Via::Instance(instance) => self.config.instances[instance].private,
            _ => ip.dst,
        };
        let new = Candidate {
            ip,
            sender: sender.instance,
            receiver,
            vpc: sender.vpc,
            quoted_sender: ip.dst,
            flow: flow_from_inside(ip, sender, to_instance),
            via,
            public: None,
        };
        let carried = match self.tracked_as(packet.now, &new, to_instance) {
            Some(carried) => {
                let is_own = !to_instance && !carried.0.to_instance;
                if is_own {
                    self.groups_anew(&carried.0, ip, sender.instance, receiver)?;
                }
                Some(carried)
            }
            None => {
                let opened = self.admit(packet.now, &new)?;
                opened.map(|flow| (flow, Direction::Forward))
            }
        };
        Ok(Way {
            legs: carried.map(Leg::tracked).into_iter().collect(),
            exit: self.exit_to(sender.vpc, next_hop)?,
            id: None,
        })
    }

    /// A packet of an instance with a public IP, routed to the internet gateway.
    fn one_to_one_outward(
        &mut self,
        packet: &Arrival<'_>,
        sender: &Sender,
        session: Option<Session>,
    ) -> Result<Way, Stop> {
        let ip = packet.ip;
        let public = self.config.public_of_sender(sender);
        let public = public.ok_or(Stop::drop(DropReason::NoPublicIp))?;
        let change = Change {
            end: End::Source,
            address: public,
            port: None,
        };
        let mut leg = one_to_one(ip, change)?;
        let new = Candidate {
            ip,
            sender: sender.instance,
            receiver: None,
            vpc: sender.vpc,
            quoted_sender: ip.dst,
            flow: flow_from_inside(ip, sender, false),
            via: Via::InternetGateway,
            public: Some(public),
        };
        let flow = match session.filter(|_| self.is_tracked(&new)) {
            Some(session) => {
                self.groups_anew(&session.flow, ip, sender.instance, None)?;
                Some(session.flow)
            }
            None => self.admit(packet.now, &new)?,
        };
        leg.carried = flow.map(|flow| (flow, Direction::Forward));
        self.onward(packet, leg)
    }

    /// What is translated to the outside goes there, or comes in again at once
    /// when its destination is one of our public IPs.
    pub(super) fn onward(&mut self, packet: &Arrival<'_>, outward: Leg) -> Result<Way, Stop> {
        let ip = packet.ip;
        if !self.is_ours(ip.dst) {
            return Ok(Way {
                legs: vec![outward],
                exit: Exit::UPLINK,
                id: None,
            });
        }
        let Some(seen) = outward.after(packet) else {
            return Err(Stop::drop(DropReason::Malformed));
        };
        let (inward, exit) = self.inbound(packet.now, &seen, true)?;
        Ok(Way {
            legs: vec![outward, inward],
            exit,
            id: None,
        })
    }

    /// To an address of a VPC's subnets.
    pub(super) fn exit_to(&self, vpc: usize, address: Ipv4Addr) -> Result<Exit, Stop> {
        let egress = self.config.side_of(vpc, address);
        Ok(Exit {
            egress: egress.ok_or(Stop::drop(DropReason::NoRoute))?,
            next_hop: Some(address),
        })
    }
}

impl Exit {
    pub(super) const UPLINK: Self = Self {
        egress: Side::Uplink,
        next_hop: None,
    };
}

/// The flow of a packet from inside that may have a session.
pub(super) fn flow_from_inside(ip: &Ipv4, sender: &Sender, to_instance: bool) -> Option<Flow> {
    let (inside, remote) = ends(ip)?;
    Some(Flow {
        vpc: sender.vpc,
        to_instance,
        protocol: ip.protocol,
        inside,
        remote,
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
