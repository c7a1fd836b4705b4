//! The kinds of packets in random traffic, and how often each comes.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Route, Side, Target, Traffic};
use crate::packets::{
    ETHERNET_LEN, ETHERTYPE_IPV6, Mac, PacketBuilder, arp_request, icmp_type, protocol, put16,
    tcp_flags, with_transport_checksum,
};

/// Servers on the internet: few, so that ports collide.
const SERVERS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(198, 51, 100, 80),
    Ipv4Addr::new(198, 51, 100, 81),
    Ipv4Addr::new(203, 0, 113, 80),
];
const SERVER_PORTS: [u16; 4] = [443, 80, 53, 7];
/// Source ports and query ids: inside usual pools and below them.
const CLIENT_PORTS: [u16; 8] = [40_001, 40_002, 40_003, 5353, 1024, 65_535, 1023, 80];

impl Traffic {
    /// A packet of any kind. Most are good and meet earlier ones.
    pub(super) fn any_packet(&mut self) -> (Side, Vec<u8>) {
        if let Some(fragment) = self.pending_fragment() {
            return fragment;
        }
        let built = match self.random.below(124) {
            0..24 => self.new_connection(),
            24..36 => self.follow_up(),
            36 => self.forged_follow_up(),
            37..55 => self.reply(false),
            55..61 => self.reply(true),
            61..66 => self.elastic_ip_packet(),
            66..71 => Some(self.unsolicited()),
            71..76 => Some(self.unusual_from_inside()),
            76..83 => self.icmp_error(),
            83..88 => return self.fragments(),
            88..92 => return self.malformed(),
            92..94 => return self.not_ipv4(),
            94..102 => self.hairpin(),
            102..108 => self.opening_forward(),
            110..121 => self.within_vpc(),
            121..124 => self.passed_on(),
            _ => Some(self.host_packet()),
        };
        match built {
            Some((side, builder)) => (side, self.with_unusual_header(builder).build()),
            // Nothing was translated yet, or nothing is configured to be.
            None => {
                let (side, builder) = self.unsolicited();
                (side, builder.build())
            }
        }
    }

    /// A packet from `host` whose transport checksum will be next to a zero, or
    /// the zero its protocol sends, after translation with the port kept.
    fn corner_of_checksums(&mut self, side: Side, host: Ipv4Addr) -> PacketBuilder {
        let config = &self.config;
        let vpc = config.vpc_of_side(side);
        let elastic = vpc.and_then(|vpc| config.public_of(vpc, host));
        let gateway = config
            .gateways
            .first()
            .and_then(|gateway| gateway.public_ips.first());
        let public = elastic.or(gateway.copied()).unwrap_or(host);
        let (from, to) = (self.client(public), self.server());
        let (builder, zero) = if self.random.one_in(2) {
            (self.tcp(from, to).flags(tcp_flags::SYN), 0x0000)
        } else {
            (PacketBuilder::udp(from, to), 0xffff)
        };
        let wanted = self.random.pick(&[zero, 0x0001, 0xfffe]);
        with_transport_checksum(&builder, wanted).source(host)
    }

    /// The first packet of a connection from inside: through a NAT gateway or 1:1,
    /// as the source's subnet is routed.
    pub(super) fn new_connection(&mut self) -> Option<(Side, PacketBuilder)> {
        let (side, host) = self.inside_host()?;
        if self.random.one_in(12) {
            return Some((side, self.corner_of_checksums(side, host)));
        }
        let (from, to) = (self.client(host), self.server());
        let (side, from) = self.forwarded_end().unwrap_or((side, from));
        let host = *from.ip();
        let payload = self.payload();
        let builder = match self.random.below(8) {
            0..4 => self.tcp(from, to).flags(tcp_flags::SYN),
            4..6 => self.udp(from, to),
            _ => PacketBuilder::echo_request(host, *to.ip(), from.port(), 1),
        };
        Some((side, builder.payload(&payload)))
    }

    /// A packet of a translated connection, but from any of the interfaces.
    fn forged_follow_up(&mut self) -> Option<(Side, PacketBuilder)> {
        let (_, builder) = self.follow_up()?;
        let index = self.random.below(self.config.subnets.len());
        Some((Side::Inside(self.config.subnets[index].interface), builder))
    }

    pub(super) fn elastic_ip_packet(&mut self) -> Option<(Side, PacketBuilder)> {
        let public = self.config.instance_publics();
        let (from, payload) = (self.server(), self.payload());
        if public.is_empty() {
            return None;
        }
        let public = self.random.pick(&public);
        let to = SocketAddrV4::new(public, self.random.pick(&SERVER_PORTS));
        let builder = match self.random.below(5) {
            0 => self.tcp(from, to).flags(tcp_flags::SYN),
            1 => self.udp(from, to),
            2 => PacketBuilder::echo_request(*from.ip(), public, 7, 1),
            3 => PacketBuilder::icmp(*from.ip(), public, icmp_type::TIMESTAMP, 0),
            _ => PacketBuilder::ip(*from.ip(), public, protocol::GRE),
        };
        Some((Side::Uplink, builder.payload(&payload)))
    }

    /// From the internet to where nothing waits for it.
    pub(super) fn unsolicited(&mut self) -> (Side, PacketBuilder) {
        let mut targets: Vec<_> = self
            .config
            .gateways
            .iter()
            .flat_map(|gateway| gateway.public_ips.clone())
            .collect();
        targets.extend(
            self.config
                .subnets
                .iter()
                .map(|subnet| subnet.cidr.nth(101)),
        );
        targets.push(Ipv4Addr::new(233, 252, 0, 1));
        targets.push(Ipv4Addr::new(198, 51, 100, 99));
        let target = self.random.pick(&targets);
        let (from, to) = (self.server(), self.client(target));
        let flags = self.tcp_flags();
        let builder = match self.random.below(6) {
            0 | 1 => self.tcp(from, to).flags(flags),
            2 => self.udp(from, to),
            3 => PacketBuilder::echo_request(*from.ip(), target, to.port(), 1),
            4 => PacketBuilder::echo_reply(*from.ip(), target, to.port(), 1),
            _ => PacketBuilder::ip(*from.ip(), target, protocol::ESP),
        };
        (Side::Uplink, builder.payload_len(9))
    }

    /// From inside what no NAT gateway takes: other protocols and ICMP types, the
    /// middle of unknown connections, forged sources, blackholes, owned public IPs.
    fn unusual_from_inside(&mut self) -> (Side, PacketBuilder) {
        let Some((side, host)) = self.inside_host() else {
            return self.unsolicited();
        };
        let (from, to) = (self.client(host), self.server());
        let flags = self.tcp_flags();
        let forged = Ipv4Addr::new(172, 16, 0, 1 + self.random.below(9) as u8);
        let neighbours: Vec<_> = self
            .config
            .subnets
            .iter()
            .map(|subnet| subnet.cidr.nth(77))
            .collect();
        let mut owned = self.config.instance_publics();
        owned.extend(
            self.config
                .gateways
                .iter()
                .flat_map(|gateway| &gateway.public_ips),
        );
        owned.push(Ipv4Addr::new(192, 0, 2, 9));
        let builder = match self.random.below(8) {
            0 => PacketBuilder::ip(host, *to.ip(), protocol::GRE),
            1 => PacketBuilder::icmp(host, *to.ip(), icmp_type::TIMESTAMP, 0),
            2 => PacketBuilder::echo_reply(host, *to.ip(), from.port(), 1),
            3 => self.tcp(from, to).flags(flags),
            4 => self
                .tcp(SocketAddrV4::new(forged, 40_001), to)
                .flags(tcp_flags::SYN),
            5 => self.udp(from, to).source(self.random.pick(&neighbours)),
            _ => {
                let to = SocketAddrV4::new(self.random.pick(&owned), to.port());
                self.udp(from, to)
            }
        };
        (side, builder.payload_len(5))
    }

    /// A frame with lying or cut headers, where a good one would be translated.
    fn malformed(&mut self) -> (Side, Vec<u8>) {
        let index = self.random.below(self.malformed.len());
        let mut frame = self.malformed[index].clone();
        let inbound = self
            .random
            .one_in(2)
            .then(|| self.elastic_ip_packet())
            .flatten();
        let good = inbound.or_else(|| self.new_connection());
        let (side, good) = good.unwrap_or_else(|| self.unsolicited());
        if frame.len() >= ETHERNET_LEN + 20 {
            frame[26..34].copy_from_slice(&good.build()[26..34]);
        }
        (side, frame)
    }

    /// ARP for owned and other addresses, IPv6, VLAN tags, unknown types.
    fn not_ipv4(&mut self) -> (Side, Vec<u8>) {
        let side = match self.inside_host() {
            Some((side, _)) if self.random.one_in(3) => side,
            _ => Side::Uplink,
        };
        let mut targets = self.config.instance_publics();
        targets.extend(
            self.config
                .gateways
                .iter()
                .flat_map(|gateway| &gateway.public_ips),
        );
        targets.push(SERVERS[0]);
        let target = self.random.pick(&targets);
        let mut request = arp_request(Mac::SENDER, SERVERS[1], target);
        let frame = match self.random.below(6) {
            0..3 => request,
            3 => {
                request.resize(60, 0);
                request
            }
            4 => {
                put16(&mut request, 12, ETHERTYPE_IPV6);
                request
            }
            _ => {
                let (from, to) = (self.server(), self.client(target));
                self.udp(from, to).vlan(5).build()
            }
        };
        (side, frame)
    }

    /// What the host's own stack is to get, or the kernel routes locally.
    fn host_packet(&mut self) -> (Side, PacketBuilder) {
        let Some((side, host)) = self.inside_host() else {
            return self.unsolicited();
        };
        let mut targets = self.config.host_addresses.clone();
        targets.extend(self.config.subnets.iter().map(|subnet| subnet.cidr.nth(9)));
        targets.extend([Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 251)]);
        // No subnet has it.
        let cidrs = self.config.vpcs.iter().flat_map(|vpc| &vpc.cidrs);
        let nowhere = cidrs.map(|cidr| cidr.nth(0x4d07));
        targets.extend(nowhere);
        let (from, to) = (self.client(host), self.random.pick(&targets));
        (
            side,
            self.udp(from, SocketAddrV4::new(to, 68)).payload_len(7),
        )
    }

    /// Options of this length, some of them for the first fragment alone, some cut short.
    fn ip_options(&mut self, length: usize) -> Vec<u8> {
        let mut options = Vec::new();
        while options.len() < length {
            match self.random.below(8) {
                0 => options.extend([7, 7, 4, 0, 0, 0, 0]),
                1 => options.extend([0x83, 7, 4, 1, 2, 3, 4]),
                2 => options.extend([0x94, 4, 0, 0]),
                3 => options.extend([0x44, 4, 5, 0]),
                4 if self.random.one_in(8) => options.push(0),
                5 if self.random.one_in(8) => options.extend([7, self.random.bits() as u8]),
                _ => options.push(1),
            }
        }
        options.truncate(length);
        options
    }

    /// Now and then an unusual TTL, TOS, options, padding, or a wrong checksum.
    pub(super) fn with_unusual_header(&mut self, mut builder: PacketBuilder) -> PacketBuilder {
        builder = builder.id(self.random.bits() as u16);
        if self.random.one_in(8) {
            builder = builder.ttl(self.random.pick(&[0, 1, 2, 3, 128, 255]));
        }
        if self.random.one_in(8) {
            builder = builder.tos(self.random.bits() as u8);
        }
        if self.random.one_in(4) {
            builder = builder.dont_fragment();
        }
        if self.random.one_in(10) {
            let words = 1 + self.random.below(10);
            builder = builder.ip_options(&self.ip_options(words * 4));
        }
        if self.random.one_in(5) {
            builder = builder.padded();
        }
        match self.random.below(60) {
            0 => builder.break_ip_checksum(),
            1 => builder.break_transport_checksum(),
            _ => builder,
        }
    }

    /// A host in one of the subnets: one of three behind a NAT gateway, one of the
    /// others, an instance. Most are of those that get anywhere.
    pub(super) fn inside_host(&mut self) -> Option<(Side, Ipv4Addr)> {
        let config = &self.config;
        let instances = 0..config.instances.len();
        let mut hosts: Vec<_> = instances
            .flat_map(|number| {
                let private = config.instances[number].private;
                [(config.side_of_instance(number), private); 2]
            })
            .collect();
        for subnet in &config.subnets {
            let is_nat = |route: &Route| matches!(route.target, Target::NatGateway(_));
            let offsets: &[u32] = if subnet.routes.iter().any(is_nat) {
                &[101, 150, 201, 101, 150, 201]
            } else {
                &[101]
            };
            let side = Side::Inside(subnet.interface);
            hosts.extend(
                offsets
                    .iter()
                    .map(|&offset| (side, subnet.cidr.nth(offset))),
            );
        }
        if hosts.is_empty() {
            return None;
        }
        Some(self.random.pick(&hosts))
    }

    pub(super) fn client(&mut self, host: Ipv4Addr) -> SocketAddrV4 {
        SocketAddrV4::new(host, self.random.pick(&CLIENT_PORTS))
    }

    pub(super) fn server(&mut self) -> SocketAddrV4 {
        SocketAddrV4::new(self.random.pick(&SERVERS), self.random.pick(&SERVER_PORTS))
    }
}
