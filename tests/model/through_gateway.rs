//! What NAT gateways do with packets from inside that have no session.

use std::net::SocketAddrV4;

use super::check::Choice;
use super::decide::{
    Arrival, Leg, Stop, Way, flow_from_inside, inbound_end, is_translated_protocol,
};
use super::icmp_error::{error_in, is_error};
use super::made::Answer;
use super::policy::is_of_metadata;
use super::rules::Asked;
use super::sender::Sender;
use super::sessions::{Outside, Scope};
use super::tcp_state::opens_connection;
use super::{DropReason, Model, NatGateway};
use crate::packets::{Ipv4, Transport, icmp_type, tcp_flags};

impl Model {
    /// Whether a packet to a NAT gateway's public IP may go on, before anything is
    /// claimed for it. `translated` is what its source becomes, if that is known.
    pub(super) fn hairpin_gate(
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
                    scope: Scope::Internet,
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

    /// A packet without a session at a NAT gateway.
    pub(super) fn through_gateway(
        &mut self,
        packet: &Arrival<'_>,
        sender: &Sender,
        gateway: usize,
        choice: &mut Choice<'_>,
    ) -> Result<Way, Stop> {
        let (now, ip) = (packet.now, packet.ip);
        let settings = &self.config.gateways[gateway];
        self.sender_groups(ip, sender)?;
        if let Some(icmp) = error_in(ip) {
            let leg = self.error_from_inside(now, sender, icmp)?;
            return self.onward(packet, leg);
        }
        let Some(flow) = flow_from_inside(ip, sender, false) else {
            return Err(Stop::drop(DropReason::UnsupportedIcmp));
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

    /// Asks the groups of a sender about a new flow; errors are none.
    pub(super) fn sender_groups(&self, ip: &Ipv4, sender: &Sender) -> Result<(), Stop> {
        let is_filtered = |sender: usize| self.config.instances[sender].is_filtered();
        let sender = sender.instance.filter(|&sender| is_filtered(sender));
        let is_error = matches!(&ip.transport, Transport::Icmp(icmp) if is_error(icmp.icmp_type));
        if sender.is_none() || is_error || is_of_metadata(ip) {
            return Ok(());
        }
        self.groups(ip, &Asked::of(ip), sender, None)
    }
}

/// Whether a NAT gateway translates a packet that has no session.
pub(super) fn is_translatable(ip: &Ipv4) -> Result<(), Stop> {
    if !is_translated_protocol(ip) {
        return Err(Stop::drop(DropReason::UnsupportedProtocol));
    }
    match &ip.transport {
        Transport::Icmp(_) if error_in(ip).is_some() => Ok(()),
        // Of an error in fragments one part may be quoted here and the other there.
        Transport::Icmp(icmp) if is_error(icmp.icmp_type) => Err(Stop::drop(DropReason::Fragment)),
        Transport::Icmp(icmp) if icmp.icmp_type != icmp_type::ECHO_REQUEST => {
            Err(Stop::drop(DropReason::UnsupportedIcmp))
        }
        _ => Ok(()),
    }
}

/// Whether a packet answers a ping.
pub(super) fn is_echo_reply(ip: &Ipv4) -> bool {
    matches!(&ip.transport, Transport::Icmp(icmp) if icmp.icmp_type == icmp_type::ECHO_REPLY)
}

/// Whether a rule of the gateway lets a packet to this destination pass as it is.
pub(super) fn is_left_untranslated(gateway: &NatGateway, ip: &Ipv4) -> bool {
    let port = match &ip.transport {
        Transport::Tcp(_) | Transport::Udp(_) => Some(ip.destination().port()),
        Transport::Icmp(_) | Transport::Opaque(_) => None,
    };
    gateway.leaves_untranslated(ip.dst, ip.protocol, port)
}
