//! The frame of a packet's way: what is no IPv4 packet, what becomes of the rest
//! once the rules have decided.

use std::time::Duration;

use super::check::Choice;
use super::decide::{Arrival, Leg, Stop, Way};
use super::fragments::is_first;
use super::icmp_error::error_in;
use super::made::Answer;
use super::rewrite::{Header, rewrite, rewrite_error, rewrite_header};
use super::{DropReason, Model, Output, Side};
use crate::packets::{
    ETHERNET_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ipv4, Network, Packet, Transport, arp_reply, be16,
};

impl Model {
    /// What becomes of `frame`; an error when another NAT chose what it must not.
    pub(super) fn process(
        &mut self,
        now: Duration,
        ingress: Side,
        frame: &[u8],
        choice: &mut Choice<'_>,
    ) -> Result<Output, String> {
        if frame.len() < ETHERNET_LEN {
            return Ok(Output::Pass);
        }
        match be16(frame, 12) {
            ETHERTYPE_IPV4 => {}
            ETHERTYPE_ARP if ingress == Side::Uplink => return Ok(self.arp(frame)),
            // IPv6, VLAN tags and all else are the host's.
            _ => return Ok(Output::Pass),
        }
        let Some(ip) = ip_of(frame) else {
            return Ok(Output::Drop(DropReason::Malformed));
        };
        let packet = Arrival {
            now,
            ingress,
            frame,
            ip: &ip,
        };
        let (output, way) = self.translate(&packet, choice)?;
        let released = if is_first(&ip) && self.remember(&packet, way, &output) {
            self.released(&packet)
        } else {
            Vec::new()
        };
        if released.is_empty() {
            return Ok(output);
        }
        let mut outputs = vec![output];
        for (ingress, frame) in released {
            outputs.push(self.process(now, ingress, &frame, &mut Choice::Own)?);
        }
        Ok(Output::Release(outputs))
    }

    /// Requests for public IPs that no interface has are answered here.
    fn arp(&self, frame: &[u8]) -> Output {
        match Packet::parse(frame).map(|packet| packet.network) {
            Ok(Network::Arp(arp)) if arp.operation == 1 && self.config.is_owned(arp.target) => {
                let mac = self.config.uplink_mac;
                Output::Reply(arp_reply(mac, arp.target, arp.sender_mac, arp.sender))
            }
            _ => Output::Pass,
        }
    }

    fn translate(
        &mut self,
        packet: &Arrival<'_>,
        choice: &mut Choice<'_>,
    ) -> Result<(Output, Option<Way>), String> {
        let decided = match packet.ingress {
            Side::Inside(interface) => self.packet_from_inside(packet, interface, choice),
            Side::Uplink => self.packet_from_uplink(packet),
        };
        let sent = decided.and_then(|way| self.send(packet, way, choice));
        Ok(match sent {
            Ok((output, way)) => (output, Some(way)),
            Err(Stop::Pass) => (Output::Pass, None),
            Err(Stop::Drop(reason, answer)) => (self.refuse(packet, reason, answer), None),
            Err(Stop::Early) => (self.hold(packet), None),
            Err(Stop::Complaint(complaint)) => return Err(complaint),
        })
    }

    /// Translates a packet, unless its time to live ends here or its next hop takes
    /// no packets of this length.
    fn send(
        &mut self,
        packet: &Arrival<'_>,
        mut way: Way,
        choice: &Choice<'_>,
    ) -> Result<(Output, Way), Stop> {
        let (now, ip) = (packet.now, packet.ip);
        if ip.ttl <= 1 {
            return Err(Stop::ttl_expired());
        }
        let mtu = self.config.mtu(way.egress);
        if ip.total_length > mtu {
            let answer = if ip.dont_fragment {
                Answer::too_big(mtu)
            } else {
                Answer::None
            };
            return Err(Stop::Drop(DropReason::TooBig, answer));
        }
        if is_first(ip) {
            self.give_id(packet, &mut way, choice)?;
        }
        let mut frame = rewrite_header(packet.frame, Header::HopLimit);
        if let Some(id) = way.id {
            frame = rewrite_header(&frame, Header::Identification(id));
        }
        let flags = match &ip.transport {
            Transport::Tcp(tcp) => tcp.flags,
            _ => 0,
        };
        for leg in &way.legs {
            frame = leg.applied_to(&frame, ip);
            if let Some((flow, direction)) = leg.carried
                && let Some(session) = self.sessions.find_mut(&flow)
            {
                session.carry(now, direction, flags);
            }
        }
        let egress = way.egress;
        Ok((Output::Forward { egress, frame }, way))
    }
}

impl Leg {
    /// `frame`, which is of the kind of `ip`, with the change of this leg made.
    fn applied_to(&self, frame: &[u8], ip: &Ipv4) -> Vec<u8> {
        if error_in(ip).is_some() {
            rewrite_error(frame, self.change)
        } else {
            rewrite(frame, self.change)
        }
    }

    /// The packet as it is after this leg.
    pub(super) fn after(&self, packet: &Arrival<'_>) -> Option<Ipv4> {
        ip_of(&self.applied_to(packet.frame, packet.ip))
    }
}

/// The IPv4 packet in a frame; `None` when its headers lie or are cut.
fn ip_of(frame: &[u8]) -> Option<Ipv4> {
    match Packet::parse(frame).ok()?.network {
        Network::Ipv4(ip) => Some(ip),
        _ => None,
    }
}
