//! The rules for packets to public IPs: from outside, and of hairpins on their
//! second way.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::decide::{
    Arrival, Leg, Stop, Way, inbound_end, is_later_fragment, is_translated_protocol, remote_port,
};
use super::icmp_error::{error_in, one_to_one};
use super::sessions::Outside;
use super::tcp_state::opens_connection;
use super::{
    Change, Direction, DropReason, End, Filtering, Flow, Mapping, Model, NatGateway, Profile, Side,
};
use crate::packets::{Ipv4, Transport, protocol};

impl Model {
    pub(super) fn packet_from_uplink(&mut self, packet: &Arrival<'_>) -> Result<Way, Stop> {
        let ip = packet.ip;
        if self.config.elastic_of_public(ip.dst).is_some() && !self.may_be_outside(ip.src) {
            return Err(Stop::drop(DropReason::SpoofedSource));
        }
        if let Some((_, gateway)) = self.config.gateway_of_public(ip.dst) {
            let is_shared = gateway.shared_with_host;
            if is_later_fragment(ip) && is_translated_protocol(ip) {
                return self.later_fragment(packet);
            }
            return match self.inbound(packet.now, ip) {
                // Nothing inside asked for it: the host may have.
                Err(Stop::Drop(DropReason::NoSession, _)) if is_shared => Err(Stop::Pass),
                other => other.map(Way::inward),
            };
        }
        if self.config.elastic_of_public(ip.dst).is_some() {
            return self.inbound(packet.now, ip).map(Way::inward);
        }
        let has_passed = is_later_fragment(ip)
            && is_translated_protocol(ip)
            && matches!(self.later_fragment(packet), Err(Stop::Pass));
        if self.config.is_local(ip.dst) && !self.answers_untranslated(ip) && !has_passed {
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

    /// Nobody outside has a sender address of the inside, or one that is none.
    fn may_be_outside(&self, sender: Ipv4Addr) -> bool {
        let first = sender.octets()[0];
        !(self.config.is_local(sender) || first == 0 || first == 127 || first >= 224)
    }

    /// What a packet to one of our public IPs becomes, and where it leaves. Later
    /// fragments to NAT gateways have been dealt with.
    pub(super) fn inbound(&mut self, now: Duration, ip: &Ipv4) -> Result<(Leg, Side), Stop> {
        if let Some(elastic) = self.config.elastic_of_public(ip.dst) {
            let change = Change {
                end: End::Destination,
                address: elastic.private,
                port: None,
            };
            let egress = self.config.side_of(elastic.private);
            return Ok((one_to_one(ip, change)?, egress));
        }
        if let Some(icmp) = error_in(ip) {
            return self.error_from_outside(now, ip.dst, icmp);
        }
        let Some(public) = inbound_end(ip) else {
            return Err(Stop::drop(DropReason::NoSession));
        };
        let outside = Outside {
            protocol: ip.protocol,
            public,
            remote: SocketAddrV4::new(ip.src, remote_port(ip)),
        };
        let (inside, carried) = match self.live_outside(now, &outside) {
            Some(session) => {
                let flow = session.flow;
                (flow.inside, Some((flow, Direction::Reverse)))
            }
            None => self.let_in(now, ip, &outside)?,
        };
        let leg = Leg {
            change: Change {
                end: End::Destination,
                address: *inside.ip(),
                port: Some(inside.port()),
            },
            carried,
            hides_sender: false,
        };
        Ok((leg, self.config.side_of(*inside.ip())))
    }

    /// Where a packet goes that belongs to no session, and the half of a session
    /// that it opened.
    fn let_in(
        &mut self,
        now: Duration,
        ip: &Ipv4,
        outside: &Outside,
    ) -> Result<(SocketAddrV4, Option<(Flow, Direction)>), Stop> {
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
        let Transport::Tcp(tcp) = &ip.transport else {
            return Ok((inside, None));
        };
        if !opens_connection(tcp.flags) {
            return Err(no_session());
        }
        if ip.ttl <= 1 {
            return Err(Stop::ttl_expired());
        }
        let flow = Flow {
            protocol: protocol::TCP,
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
                .inside_of(protocol::TCP, outside.public)
                .is_none()
        {
            return Err(no_session());
        }
        if self.session_quota(gateway, *inside.ip()).is_err() {
            return Err(Stop::drop(DropReason::ClientQuota));
        }
        self.open(now, gateway, flow, outside.public, mapping);
        Ok((inside, Some((flow, Direction::Reverse))))
    }

    /// The inside end bound to a public one, when its filter lets the remote end in.
    fn bound_for(&self, gateway: &NatGateway, outside: &Outside) -> Option<SocketAddrV4> {
        let Outside {
            protocol,
            public,
            remote,
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
    fn inward((leg, egress): (Leg, Side)) -> Self {
        Self {
            legs: vec![leg],
            egress,
            id: None,
        }
    }
}
