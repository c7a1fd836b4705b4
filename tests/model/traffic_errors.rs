//! ICMP errors in random traffic: about packets of connections that were
//! translated, and about what only looks like one.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::traffic::Translation;
use super::{Side, Traffic};
use crate::packets::{ETHERNET_LEN, PacketBuilder, be16, icmp_type, protocol};

/// How much is quoted at most: with all headers it fits an MTU of 1500.
const LONGEST_QUOTE: usize = 1200;

/// Who complains to whom about what.
struct Complaint {
    side: Side,
    from: Ipv4Addr,
    to: Ipv4Addr,
    quoted: PacketBuilder,
}

impl Traffic {
    /// An error about a packet of a connection that was translated before: about
    /// what its receiver saw, or from inside about what came back.
    pub(super) fn icmp_error(&mut self) -> Option<(Side, PacketBuilder)> {
        let hairpin = self.random.one_in(4).then(|| self.remembered_hairpin());
        let translation = match hairpin.flatten() {
            Some(hairpin) => hairpin,
            None => self.remembered()?,
        };
        let complaint = if translation.ingress == Side::Uplink || self.random.one_in(2) {
            self.complaint_of_receiver(&translation)?
        } else {
            self.complaint_of_sender(&translation)?
        };
        let quoted = self.with_unusual_inner_header(complaint.quoted);
        let quoted = quoted.build();
        let length = self.quoted_length(&quoted);
        let (icmp_type, code, rest) = self.error_type();
        let error = PacketBuilder::icmp(complaint.from, complaint.to, icmp_type, code)
            .icmp_rest(rest)
            .quoting(&quoted, Some(length.min(LONGEST_QUOTE)));
        let error = if self.random.one_in(5) {
            let words = self.random.below(4);
            let objects = self.random.bytes(words * 4);
            error.extension(&objects)
        } else {
            error
        };
        Some((complaint.side, error))
    }

    /// By the receiver of a packet, or somebody in between.
    fn complaint_of_receiver(&mut self, about: &Translation) -> Option<Complaint> {
        let seen = &about.seen;
        let (from, to) = self.ends(seen.source(), seen.destination());
        let query = self.echo_type(icmp_type::ECHO_REQUEST);
        let mut senders = vec![seen.dst; 2];
        match about.egress {
            Side::Uplink => {
                senders.extend([Ipv4Addr::new(192, 88, 99, 1), Ipv4Addr::new(10, 1, 2, 3)]);
            }
            Side::Inside(_) => senders.push(self.router_near(about.egress, seen.dst)?),
        }
        Some(Complaint {
            side: about.egress,
            from: self.random.pick(&senders),
            to: seen.src,
            quoted: self.packet_like(seen, from, to, query)?,
        })
    }

    /// By the sender of a packet, or a router next to it, about an answer.
    fn complaint_of_sender(&mut self, about: &Translation) -> Option<Complaint> {
        let sent = &about.sent;
        let (from, to) = self.ends(sent.destination(), sent.source());
        let reply = self.echo_type(icmp_type::ECHO_REPLY);
        let router = self.router_near(about.ingress, sent.src)?;
        let forged = Ipv4Addr::new(172, 16, 0, 1);
        let neighbour = Ipv4Addr::from_bits(router.to_bits() & !0xff | 101);
        let senders = [sent.src; 6];
        let senders = senders
            .into_iter()
            .chain([router, router, neighbour, forged]);
        let senders: Vec<_> = senders.collect();
        let interface = self.random.below(self.config.subnets.len());
        let side = if self.random.one_in(20) {
            Side::Inside(self.config.subnets[interface].interface)
        } else {
            about.ingress
        };
        Some(Complaint {
            side,
            from: self.random.pick(&senders),
            to: sent.dst,
            quoted: self.packet_like(sent, from, to, reply)?,
        })
    }

    /// An address in the subnet of a host on this side; of another one there for
    /// whom an appliance sends for.
    fn router_near(&self, side: Side, host: Ipv4Addr) -> Option<Ipv4Addr> {
        let config = &self.config;
        let near = config.subnet_of(config.vpc_of_side(side)?, host);
        let mut subnets = config.subnets.iter();
        let subnet = match near {
            Some(near) => &config.subnets[near],
            None => subnets.find(|subnet| Side::Inside(subnet.interface) == side)?,
        };
        Some(subnet.cidr.nth(254))
    }

    /// Both ends of a quoted packet; now and then one that no session has.
    fn ends(
        &mut self,
        mut from: SocketAddrV4,
        mut to: SocketAddrV4,
    ) -> (SocketAddrV4, SocketAddrV4) {
        let neighbour = |ip: &Ipv4Addr| Ipv4Addr::from_bits(ip.to_bits() ^ 1);
        match self.random.below(30) {
            0 => from.set_ip(neighbour(from.ip())),
            1 => to.set_ip(neighbour(to.ip())),
            2 => from.set_port(from.port() ^ 1),
            3 => to.set_port(to.port() ^ 1),
            4 => (from, to) = (to, from),
            _ => {}
        }
        (from, to)
    }

    /// The usual type of a quoted echo, seldom one that does not fit.
    fn echo_type(&mut self, usual: u8) -> u8 {
        if self.random.one_in(10) {
            let unusual = [
                icmp_type::ECHO_REQUEST,
                icmp_type::ECHO_REPLY,
                icmp_type::TIMESTAMP,
                icmp_type::UNREACHABLE,
                icmp_type::REDIRECT,
            ];
            self.random.pick(&unusual)
        } else {
            usual
        }
    }

    /// Type, code and bytes 4 to 7 of the error.
    fn error_type(&mut self) -> (u8, u8, [u8; 4]) {
        let other = [
            icmp_type::SOURCE_QUENCH,
            icmp_type::REDIRECT,
            icmp_type::TIMESTAMP,
            icmp_type::ECHO_REPLY,
            17,
        ];
        let word = (self.random.bits() as u16).to_be_bytes();
        match self.random.below(20) {
            0..6 => (icmp_type::UNREACHABLE, self.random.below(16) as u8, [0; 4]),
            6..11 => (icmp_type::UNREACHABLE, 4, [0, 0, word[0], word[1]]),
            11..16 => (icmp_type::TIME_EXCEEDED, word[0] & 1, [0; 4]),
            16..19 => (icmp_type::PARAMETER_PROBLEM, 0, [word[0], 0, 0, 0]),
            _ => (self.random.pick(&other), word[0], [word[1], 0, 0, 0]),
        }
    }

    /// The packet as it may look where it met its end: hardly any time to live,
    /// options, fragments, and what cannot be told or trusted.
    fn with_unusual_inner_header(&mut self, quoted: PacketBuilder) -> PacketBuilder {
        let quoted = quoted
            .id(self.random.bits() as u16)
            .tos(self.random.pick(&[0, 0, 0, 0xb8]))
            .ttl(self.random.pick(&[0, 1, 1, 1, 63, 255]));
        match self.random.below(40) {
            0..6 => {
                let words = 1 + self.random.below(10);
                quoted.ip_options(&vec![1; words * 4])
            }
            6..8 => quoted.break_ip_checksum(),
            8..11 => quoted.break_transport_checksum(),
            11..13 => quoted.fragment(0, true),
            13..15 => quoted.fragment(64, self.random.one_in(2)),
            15 => quoted.version(self.random.pick(&[0, 5, 6, 15])),
            16 => quoted.ihl(self.random.pick(&[0, 1, 4, 6, 15])),
            17 => {
                let length = self.random.pick(&[0, 19, 28, 40, 1500, u16::MAX]);
                quoted.total_length(length)
            }
            18 => self.of_another_protocol(&quoted),
            19 => self.nested(&quoted),
            20..26 => quoted.dont_fragment(),
            _ => quoted,
        }
    }

    fn of_another_protocol(&mut self, quoted: &PacketBuilder) -> PacketBuilder {
        let (from, to) = addresses_of(&quoted.build());
        let other = self.random.pick(&[protocol::GRE, protocol::ESP, 255]);
        let length = self.random.below(40);
        PacketBuilder::ip(from, to, other).payload_len(length)
    }

    /// An error between the same ends: nobody may complain about it.
    fn nested(&mut self, quoted: &PacketBuilder) -> PacketBuilder {
        let frame = quoted.build();
        let (from, to) = addresses_of(&frame);
        let (icmp_type, code, rest) = self.error_type();
        PacketBuilder::icmp(from, to, icmp_type, code)
            .icmp_rest(rest)
            .quoting(&frame, Some(28))
    }

    /// The 8 bytes behind the header that all quote, or 20, or all there is, or
    /// as much as RFC 1812 allows, or less than there may be.
    fn quoted_length(&mut self, quoted: &[u8]) -> usize {
        let header = usize::from(quoted[ETHERNET_LEN] & 0x0f) * 4;
        match self.random.below(40) {
            0..12 => header + 8,
            12..20 => header + 20,
            20..34 => quoted.len() - ETHERNET_LEN,
            34..36 => 548,
            36..38 => header + 16 + self.random.below(4),
            38 => header + self.random.below(8),
            _ => self.random.below(header + 1),
        }
    }
}

/// Source and destination of the IP packet in `frame`.
pub(super) fn addresses_of(frame: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let address = |offset: usize| {
        let high = u32::from(be16(frame, ETHERNET_LEN + offset));
        Ipv4Addr::from(high << 16 | u32::from(be16(frame, ETHERNET_LEN + offset + 2)))
    };
    (address(12), address(16))
}
