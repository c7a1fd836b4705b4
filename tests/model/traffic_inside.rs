//! In random traffic, what stays inside a VPC, and the stations that frames come from.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Instance, Side, Traffic};
use crate::packets::{ETHERNET_LEN, Mac, PacketBuilder, icmp_type, protocol, tcp_flags};

/// Ports that rules and clients have.
const PORTS: [u16; 6] = [443, 80, 53, 7, 40_001, 5353];

impl Traffic {
    /// From a host to another one of its VPC, seldom to its router.
    pub(super) fn within_vpc(&mut self) -> Option<(Side, PacketBuilder)> {
        let (side, host) = self.inside_host()?;
        let mut others = Vec::new();
        for _ in 0..8 {
            let (other_side, other) = self.inside_host()?;
            if self.config.vpc_of_side(side) == self.config.vpc_of_side(other_side) {
                others.push(other);
            }
        }
        let other = match others.first() {
            Some(&other) if !self.random.one_in(20) => other,
            _ => self.config.router_address(side),
        };
        let (from, to) = (
            self.client(host),
            SocketAddrV4::new(other, self.random.pick(&PORTS)),
        );
        let flags = self.tcp_flags();
        let builder = match self.random.below(12) {
            0..4 => self.tcp(from, to).flags(tcp_flags::SYN),
            4 => self.tcp(from, to).flags(flags),
            5..8 => self.udp(from, to),
            8 | 9 => PacketBuilder::echo_request(host, other, from.port(), 1),
            10 => PacketBuilder::icmp(host, other, icmp_type::TIMESTAMP, 0),
            _ => PacketBuilder::ip(host, other, protocol::GRE),
        };
        let payload = self.payload();
        Some((side, builder.payload(&payload)))
    }

    /// What an appliance got, sent on by it.
    pub(super) fn passed_on(&mut self) -> Option<(Side, PacketBuilder)> {
        for _ in 0..16 {
            let got = self.remembered()?;
            if self.appliance_on(got.egress).is_some() && got.is_local() {
                let (from, to) = (got.seen.source(), got.seen.destination());
                let builder = self.packet_like(&got.seen, from, to, icmp_type::ECHO_REQUEST)?;
                return Some((got.egress, builder));
            }
        }
        None
    }

    /// The frame as it comes from the station that has its source; now and then from another.
    pub(super) fn with_station(&mut self, side: Side, mut frame: Vec<u8>) -> Vec<u8> {
        let Some(vpc) = self.config.vpc_of_side(side) else {
            return frame;
        };
        let Some(source) = frame.get(ETHERNET_LEN + 12..ETHERNET_LEN + 16) else {
            return frame;
        };
        let source = Ipv4Addr::new(source[0], source[1], source[2], source[3]);
        let instance = self.config.instance_of(vpc, source);
        let own = instance.and_then(|number| self.config.instances[number].mac);
        let appliance = self.appliance_on(side);
        if own.is_none() && appliance.is_none() {
            return frame;
        }
        let is_foreign = self.config.side_of(vpc, source) != Some(side);
        let mac = match self.random.below(32) {
            0 => None,
            1..5 => appliance,
            _ if is_foreign => appliance,
            _ => own,
        };
        if let Some(mac) = mac {
            frame[6..12].copy_from_slice(&mac.0);
        }
        frame
    }

    /// The MAC of an appliance on a side.
    fn appliance_on(&self, side: Side) -> Option<Mac> {
        let is_it = |(number, instance): &(usize, &Instance)| {
            !instance.source_dest_check && self.config.side_of_instance(*number) == side
        };
        let mut instances = self.config.instances.iter().enumerate();
        instances.find(is_it)?.1.mac
    }
}
