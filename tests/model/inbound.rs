//! The rules for packets to public IPs: from outside, and of hairpins on their
//! second way.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::decide::{
    Arrival, Exit, Leg, Stop, Way, inbound_end, is_later_fragment, is_translated_protocol,
    remote_port,
};
use super::icmp_error::{error_in, one_to_one};
use super::rules::{Asked, Toward};
use super::sessions::{Outside, Scope};
use super::tcp_state::opens_connection;
use super::tracking::{Candidate, ends};
use super::{
    Change, Direction, DropReason, End, Filtering, Flow, Mapping, Model, NatGateway, Profile,
    Session, Via,
};
use crate::packets::{Ipv4, Transport, protocol};

impl Model {
    pub(super) fn packet_from_uplink(&mut self, packet: &Arrival<'_>) -> Result<Way, Stop> {
        let ip = packet.ip;
        let is_ours = self.is_ours(ip.src);
        let is_spoofed = is_ours || !self.may_be_outside(ip.src);
        if self.config.instance_of_public(ip.dst).is_some() && is_spoofed {
            return Err(Stop::drop(DropReason::SpoofedSource));
        }
        if let Some((_, gateway)) = self.config.gateway_of_public(ip.dst) {
            let is_shared = gateway.shared_with_host;
            if is_later_fragment(ip) && is_translated_protocol(ip) {
                return self.later_fragment(packet);
            }
            return match self.inbound(packet.now, ip, !is_ours) {
                // Nothing inside asked for it: the host may have.
                Err(Stop::Drop(DropReason::NoSession, _)) if is_shared => Err(Stop::Pass),
                other => other.map(Way::inward),
            };
        }
        if self.config.instance_of_public(ip.dst).is_some() {
            return self.inbound(packet.now, ip, true).map(Way::inward);
        }
        if is_later_fragment(ip) && is_translated_protocol(ip) {
            match self.later_fragment(packet) {
                Err(Stop::Early) => {}
                decided => return decided,
            }
        }
        if self.config.is_private(ip.dst) && !self.answers_untranslated(ip) {
            return Err(Stop::drop(DropReason::PrivateDestination));
        }
        Err(Stop::Pass)
    }

    /// Whether a packet to an inside address is of what a gateway left untranslated.
    fn answers_untranslated(&self, ip: &Ipv4) -> bool {
        let port = match &ip.transport {
            Transport::Tcp(_) | Transport::Udp(_) => Some(ip.source().port()),
            Transport::Icmp(_) | Transport::Opaque(_) => None,
        };
        let mut gateways = self.config.gateways.iter();
        gateways.any(|gateway| gateway.leaves_untranslated(ip.src, ip.protocol, port))
    }

    /// Whether an address is a public one of ours, which nobody outside has.
    pub(super) fn is_ours(&self, address: Ipv4Addr) -> bool {
        self.config.instance_of_public(address).is_some()
            || self.config.gateway_of_public(address).is_some()
    }

    /// Nobody outside has a sender address of the inside, or one that is none.
    fn may_be_outside(&self, sender: Ipv4Addr) -> bool {
        let first = sender.octets()[0];
        !(self.config.is_private(sender) || first == 0 || first == 127 || first >= 224)
    }

    /// What a packet to one of our public IPs becomes, and where it leaves. Later
    /// fragments to NAT gateways have been dealt with. Who has no session opens one only where it may.
    pub(super) fn inbound(
        &mut self,
        now: Duration,
        ip: &Ipv4,
        may_open: bool,
    ) -> Result<(Leg, Exit), Stop> {
        if let Some(instance) = self.config.instance_of_public(ip.dst) {
            return self.one_to_one_inward(now, ip, instance);
        }
        if let Some(icmp) = error_in(ip) {
            return self.error_from_outside(now, ip, icmp);
        }
        let Some(public) = inbound_end(ip) else {
            return Err(Stop::drop(DropReason::NoSession));
        };
        let outside = Outside {
            scope: Scope::Internet,
            protocol: ip.protocol,
            public,
            remote: SocketAddrV4::new(ip.src, remote_port(ip)),
        };
        if let Some(session) = self.live_outside(now, &outside) {
            let flow = session.flow;
            let exit = self.enter_session(ip, &session)?;
            if !self.speaks_for(&flow, ip) {
                self.client_groups(ip, flow.vpc, flow.inside)?;
            }
            let leg = inward_leg(flow.inside, Some((flow, Direction::Reverse)));
            return Ok((leg, exit));
        }
        if may_open {
            self.let_in(now, ip, &outside)
        } else {
            Err(Stop::drop(DropReason::NoSession))
        }
    }

    /// To the client of a NAT gateway's session, if the ACLs on the way let it.
    pub(super) fn enter_session(&self, ip: &Ipv4, session: &Session) -> Result<Exit, Stop> {
        let flow = &session.flow;
        let no_session = Stop::drop(DropReason::NoSession);
        let gateway = session.gateway().ok_or(no_session)?;
        self.enter_client(ip, gateway, flow.inside)
    }

    /// To the client at `inside`; an appliance may have sent for somebody who is not.
    fn enter_client(&self, ip: &Ipv4, gateway: usize, inside: SocketAddrV4) -> Result<Exit, Stop> {
        let vpc = self.config.vpc_of_gateway(gateway);
        let exit = self.exit_to(vpc, *inside.ip())?;
        if let Some(subnet) = self.config.subnet_of(vpc, *inside.ip()) {
            self.enter_gateway(ip, gateway, (subnet, inside))?;
        }
        Ok(exit)
    }

    /// To the public IP of an instance.
    fn one_to_one_inward(
        &mut self,
        now: Duration,
        ip: &Ipv4,
        number: usize,
    ) -> Result<(Leg, Exit), Stop> {
        let instance = &self.config.instances[number];
        let (subnet, private) = (instance.subnet, instance.private);
        let vpc = self.config.vpc_of_instance(number);
        let change = Change {
            end: End::Destination,
            address: private,
            port: None,
        };
        let mut leg = one_to_one(ip, change)?;
        self.acl(subnet, Toward::Ingress, ip, &Asked::of(ip), ip.src)?;
        // Who is filtered no more needs none of the sessions it had.
        let is_tracked = self.is_one_filtered([None, Some(number)], ip);
        let known = ends(ip)
            .filter(|_| is_tracked)
            .and_then(|(remote, public)| {
                let outside = Outside {
                    scope: Scope::Internet,
                    protocol: ip.protocol,
                    public,
                    remote,
                };
                self.live_outside(now, &outside)
            });
        let flow = match known {
            Some(session) => {
                self.groups_anew(&session.flow, ip, None, Some(number))?;
                Some(session.flow)
            }
            None => {
                let flow = ends(ip).map(|(remote, public)| Flow {
                    vpc,
                    to_instance: false,
                    protocol: ip.protocol,
                    inside: SocketAddrV4::new(private, public.port()),
                    remote,
                });
                let new = Candidate {
                    ip,
                    sender: None,
                    receiver: Some(number),
                    vpc,
                    quoted_sender: private,
                    flow,
                    via: Via::InternetGateway,
                    public: Some(ip.dst),
                };
                self.admit(now, &new)?
            }
        };
        leg.carried = flow.map(|flow| (flow, Direction::Reverse));
        Ok((leg, self.exit_to(vpc, private)?))
    }

    /// Where a packet goes that belongs to no session. It opens one when it is TCP, or UDP
    /// to a filtered instance.
    fn let_in(&mut self, now: Duration, ip: &Ipv4, outside: &Outside) -> Result<(Leg, Exit), Stop> {
        let no_session = || Stop::drop(DropReason::NoSession);
        let (gateway, settings) = self
            .config
            .gateway_of_public(*outside.public.ip())
            .ok_or_else(no_session)?;
        let forward = settings.forward_of_public(outside.protocol, outside.public);
        let (inside, mapping) = match forward {
            Some(inside) => (inside, Mapping::Forward),
            None => (
                self.bound_for(settings, outside).ok_or_else(no_session)?,
                Mapping::Binding,
            ),
        };
        if !self.may_be_outside(ip.src) {
            return Err(no_session());
        }
        if let Transport::Tcp(tcp) = &ip.transport
            && !opens_connection(tcp.flags)
        {
            return Err(no_session());
        }
        let exit = self.enter_client(ip, gateway, inside)?;
        let vpc = self.config.vpc_of_gateway(gateway);
        let is_filtered = self.client_groups(ip, vpc, inside)?;
        let is_tracked = outside.protocol == protocol::UDP && is_filtered;
        if outside.protocol != protocol::TCP && !is_tracked {
            return Ok((inward_leg(inside, None), exit));
        }
        if ip.ttl <= 1 {
            return Err(Stop::ttl_expired());
        }
        let flow = Flow {
            vpc,
            to_instance: false,
            protocol: outside.protocol,
            inside,
            remote: outside.remote,
        };
        if self.live(now, &flow).is_some() {
            return Err(no_session());
        }
        self.remove(now, &flow);
        // Its binding may have gone with it.
        if mapping == Mapping::Binding
            && self
                .sessions
                .inside_of(outside.protocol, outside.public)
                .is_none()
        {
            return Err(no_session());
        }
        if self.session_quota(gateway, *inside.ip()).is_err() {
            return Err(Stop::drop(DropReason::ClientQuota));
        }
        let via = Via::NatGateway(gateway);
        self.open(now, via, flow, outside.public, mapping);
        Ok((inward_leg(inside, Some((flow, Direction::Reverse))), exit))
    }

    /// Asks the groups of a gateway's client about a packet to it; whether it has any.
    fn client_groups(&self, ip: &Ipv4, vpc: usize, inside: SocketAddrV4) -> Result<bool, Stop> {
        let instance = self.config.instance_of(vpc, *inside.ip());
        let is_filtered = self.is_one_filtered([None, instance], ip);
        if is_filtered {
            let asked = Asked::of(ip).at_port(inside.port());
            self.groups(ip, &asked, None, instance)?;
        }
        Ok(is_filtered)
    }

    /// The inside end bound to a public one, when its filter lets the remote end in.
    fn bound_for(&self, gateway: &NatGateway, outside: &Outside) -> Option<SocketAddrV4> {
        let Outside {
            protocol,
            public,
            remote,
            ..
        } = *outside;
        let inside = self.sessions.inside_of(protocol, public)?;
        let is_let_in = match gateway.profile {
            Profile::Rfc(Filtering::EndpointIndependent) => true,
            Profile::Rfc(Filtering::AddressDependent) => {
                self.sessions.has_partner(protocol, public, *remote.ip())
            }
            Profile::Rfc(Filtering::AddressAndPortDependent) | Profile::Aws => false,
        };
        is_let_in.then_some(inside)
    }
}

impl Way {
    fn inward((leg, exit): (Leg, Exit)) -> Self {
        Self {
            legs: vec![leg],
            exit,
            id: None,
        }
    }
}

/// Back to an inside end.
fn inward_leg(inside: SocketAddrV4, carried: Option<(Flow, Direction)>) -> Leg {
    let change = Change {
        end: End::Destination,
        address: *inside.ip(),
        port: Some(inside.port()),
    };
    Leg {
        carried,
        ..Leg::stateless(change)
    }
}
