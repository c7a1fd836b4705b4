//! The frame of a packet's way: what is no IPv4 packet, what becomes of the rest
//! once the rules have decided.

use std::time::Duration;

use super::check::Choice;
use super::cut::cut;
use super::decide::{Arrival, Exit, Leg, Stop, Way, is_later_fragment, is_translated_protocol};
use super::fragments::is_first;
use super::icmp_error::error_in;
use super::made::Answer;
use super::rewrite::{Header, rewrite, rewrite_error, rewrite_header};
use super::sender::Origin;
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
            origin: self.config.origin(ingress, frame, ip.src),
            frame,
            ip: &ip,
        };
        let (output, way) = self.translate(&packet, choice)?;
        let fragments = match (&output, &way) {
            (Output::Cut(_), Some(way)) => cut(frame, self.config.mtu(way.exit.egress)),
            _ => None,
        };
        let waited = if is_first(&ip) && self.remember(&packet, way, &output) {
            self.released(&packet)
        } else {
            Vec::new()
        };
        if waited.is_empty() && fragments.is_none() {
            return Ok(output);
        }
        let is_release = !waited.is_empty();
        let mut outputs = Vec::new();
        if fragments.is_none() {
            outputs.push(output);
        }
        for (ingress, frame) in waited {
            outputs.push(self.process(now, ingress, &frame, &mut Choice::Own)?);
        }
        // What is cut comes in behind those that waited.
        for fragment in fragments.unwrap_or_default() {
            outputs.push(self.process(now, ingress, &fragment, choice)?);
        }
        Ok(if is_release {
            Output::Release(flat(outputs))
        } else {
            Output::Cut(outputs)
        })
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
        let dst = packet.ip.dst;
        let decided = match packet.origin {
            _ if self.is_followed(packet) => Err(Stop::Follow),
            Origin::Outside => self.packet_from_uplink(packet),
            // Multicast and broadcast, and what nobody may send but to the host.
            _ if dst.is_multicast() || dst.is_broadcast() => Err(Stop::Pass),
            Origin::Forger => Err(Stop::drop(DropReason::SpoofedSource)),
            Origin::Nobody(_) if self.config.is_host(dst) => Err(Stop::Pass),
            Origin::Nobody(reason) => Err(Stop::drop(reason)),
            Origin::Inside(sender) => self.packet_from_inside(packet, &sender, choice),
        };
        let decided = match decided {
            Err(Stop::Follow) => self.later_fragment(packet),
            // Left to the host without its ports, where those of the first one may have had a session.
            Err(Stop::Pass)
                if is_later_fragment(packet.ip) && is_translated_protocol(packet.ip) =>
            {
                match self.later_fragment(packet) {
                    Err(Stop::Early) => Err(Stop::Pass),
                    decided => decided,
                }
            }
            decided => decided,
        };
        let sent = decided.and_then(|way| self.send(packet, way, choice));
        Ok(match sent {
            Ok((output, way)) => (output, Some(way)),
            Err(Stop::Pass) => (Output::Pass, None),
            Err(Stop::Drop(reason, answer)) => (self.refuse(packet, reason, answer), None),
            Err(Stop::Early | Stop::Follow) => (self.hold(packet), None),
            Err(Stop::Complaint(complaint)) => return Err(complaint),
        })
    }

    /// Translates a packet, unless its time to live ends here. What its next hop does not
    /// take at this length is cut, where that may be.
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
        // Outside the host's routes count, and it is in all subnets: what is not to be led there is
        // found out when it would fit.
        let mut subnets = self.config.subnets.iter();
        let misled =
            subnets.find(|subnet| way.exit == Exit::UPLINK && subnet.cidr.contains(ip.dst));
        let egress = misled.map_or(way.exit.egress, |subnet| Side::Inside(subnet.interface));
        let mtu = self.config.mtu(egress);
        if ip.total_length > mtu {
            return self.too_big(packet, way, mtu, choice);
        }
        if misled.is_some() {
            return Err(Stop::drop(DropReason::NoNextHop));
        }
        // A first fragment that was too big for a NAT that does not cut was not seen going on.
        let is_unnumbered = is_later_fragment(ip) && way.id.is_none();
        if is_first(ip) || is_unnumbered {
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
        let Exit { egress, next_hop } = way.exit;
        let output = Output::Forward {
            egress,
            next_hop,
            frame,
        };
        Ok((output, way))
    }

    /// What becomes of a packet that is longer than its way out takes.
    fn too_big(
        &mut self,
        packet: &Arrival<'_>,
        mut way: Way,
        mtu: u16,
        choice: &Choice<'_>,
    ) -> Result<(Output, Way), Stop> {
        let ip = packet.ip;
        if ip.dont_fragment {
            return Err(Stop::Drop(DropReason::TooBig, Answer::too_big(mtu)));
        }
        // In fragments nobody finds the quote.
        if error_in(ip).is_some() {
            return Err(Stop::drop(DropReason::TooBig));
        }
        if !self.config.holds_fragments {
            return Ok((Output::Pass, way));
        }
        if cut(packet.frame, mtu).is_none() {
            return Err(Stop::drop(DropReason::TooBig));
        }
        if is_first(ip) {
            self.give_id(packet, &mut way, choice)?;
        }
        // Its fragments are still to be judged.
        Ok((Output::Cut(Vec::new()), way))
    }
}

impl Leg {
    /// `frame`, which is of the kind of `ip`, with the change of this leg made.
    fn applied_to(&self, frame: &[u8], ip: &Ipv4) -> Vec<u8> {
        match self.change {
            None => frame.to_vec(),
            Some(change) if error_in(ip).is_some() => rewrite_error(frame, change),
            Some(change) => rewrite(frame, change),
        }
    }

    /// The packet as it is after this leg.
    pub(super) fn after(&self, packet: &Arrival<'_>) -> Option<Ipv4> {
        ip_of(&self.applied_to(packet.frame, packet.ip))
    }
}

/// Fragments that are made of those that waited come in behind the others.
fn flat(outputs: Vec<Output>) -> Vec<Output> {
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Cut(fragments) => cut.extend(fragments),
            output => whole.push(output),
        }
    }
    whole.append(&mut cut);
    whole
}

/// The IPv4 packet in a frame; `None` when its headers lie or are cut.
pub(super) fn ip_of(frame: &[u8]) -> Option<Ipv4> {
    match Packet::parse(frame).ok()?.network {
        Network::Ipv4(ip) => Some(ip),
        _ => None,
    }
}
