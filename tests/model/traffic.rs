//! Random sequences of packets that meet each other: few hosts, few ports, and
//! replies to what the NAT under test really sent. Time passes between them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::random_vpcs::changed;
use super::sender::Origin;
use super::traffic_fragments::Pending;
use super::{ModelConfig, Random, Side, Step, Target};
use crate::packets::{
    FixtureKind, Ipv4, Packet, PacketBuilder, Transport, fixtures, icmp_type, tcp_flags,
};

/// How many translated packets are remembered to be replied to.
const REMEMBERED: usize = 512;

/// An iterator over what happens to a NAT.
///
/// ```
/// use std::time::Duration;
/// use nat_tests::model::{Model, ModelConfig, random_traffic};
///
/// let mut nat = Model::new(ModelConfig::classic());
/// let mut now = Duration::ZERO;
/// let mut traffic = random_traffic(1, 100, nat.config());
/// while let Some(step) = traffic.next() {
///     let Some((ingress, frame)) = step.take(&mut nat, &mut now) else {
///         continue;
///     };
///     let output = nat.handle(now, ingress, &frame);
///     if let Some((frame_in, frame_out)) = output.sent(&frame) {
///         traffic.observe(ingress, frame_in, frame_out);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Traffic {
    pub(super) random: Random,
    pub(super) config: ModelConfig,
    /// Frames with lying or cut headers.
    pub(super) malformed: Vec<Vec<u8>>,
    /// Fragments that are still to come.
    pub(super) pending: Pending,
    left: usize,
    changes: bool,
    translations: Vec<Translation>,
}

/// A packet and what its receiver saw of it.
#[derive(Clone, Debug)]
pub(super) struct Translation {
    pub ingress: Side,
    pub sent: Ipv4,
    pub egress: Side,
    pub seen: Ipv4,
}

impl Translation {
    /// Whether nothing was translated.
    pub(super) fn is_local(&self) -> bool {
        (self.sent.src, self.sent.dst) == (self.seen.src, self.seen.dst)
    }
}

/// Steps with `n` random packets for a NAT with this configuration. The same seed
/// and the same observations give the same steps. Prints the seed.
#[must_use]
pub fn random_traffic(seed: u64, n: usize, config: &ModelConfig) -> Traffic {
    let malformed = fixtures()
        .into_iter()
        .filter(|row| row.kind == FixtureKind::Malformed);
    eprintln!("random traffic: {n} packets, seed {seed:#x}");
    Traffic {
        random: Random::new(seed),
        config: config.clone(),
        malformed: malformed.map(|row| row.frame).collect(),
        pending: Pending::default(),
        left: n,
        changes: false,
        translations: Vec::new(),
    }
}

impl Iterator for Traffic {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.left == 0 {
            return None;
        }
        if self.changes && self.random.one_in(150) {
            self.config = changed(&mut self.random, &self.config);
            return Some(Step::Apply(Box::new(self.config.clone())));
        }
        Some(match self.random.below(240) {
            0 => Step::Sweep,
            1..5 => Step::Advance(self.while_nothing_comes()),
            _ => {
                self.left -= 1;
                let (side, frame) = self.any_packet();
                Step::Packet(side, self.with_station(side, frame))
            }
        })
    }
}

impl Traffic {
    /// This traffic with a change of the configuration now and then, which must be one of
    /// [`super::random_vpcs`].
    #[must_use]
    pub fn with_changes(mut self) -> Self {
        self.changes = true;
        self
    }

    /// Tells what became of a packet: later ones go on with its connection and
    /// reply to it. Call it for each packet that was forwarded.
    pub fn observe(&mut self, ingress: Side, frame_in: &[u8], frame_out: &[u8]) {
        let parsed = |frame| Packet::parse(frame).ok()?.ipv4().cloned();
        let (Some(sent), Some(seen)) = (parsed(frame_in), parsed(frame_out)) else {
            return;
        };
        let egress = self.egress_of(ingress, frame_in, &sent, &seen);
        let translation = Translation {
            ingress,
            sent,
            egress,
            seen,
        };
        if self.translations.len() < REMEMBERED {
            self.translations.push(translation);
        } else {
            let index = self.random.below(REMEMBERED);
            self.translations[index] = translation;
        }
    }

    /// Where a packet was sent on.
    fn egress_of(&self, ingress: Side, frame_in: &[u8], sent: &Ipv4, seen: &Ipv4) -> Side {
        let config = &self.config;
        if sent.dst != seen.dst {
            let instance = config.instance_of_public(sent.dst);
            let vpc = match (instance, config.gateway_of_public(sent.dst)) {
                (Some(instance), _) => Some(config.vpc_of_instance(instance)),
                (None, Some((gateway, _))) => Some(config.vpc_of_gateway(gateway)),
                (None, None) => None,
            };
            let inside = vpc.and_then(|vpc| config.side_of(vpc, seen.dst));
            return inside.unwrap_or(Side::Uplink);
        }
        let Origin::Inside(sender) = config.origin(ingress, frame_in, sent.src) else {
            return Side::Uplink;
        };
        let inside = match config.target(sender.subnet, sent.dst) {
            Some(Target::Instance(instance)) => Some(config.side_of_instance(instance)),
            Some(Target::Local) => config.side_of(sender.vpc, sent.dst),
            _ => None,
        };
        inside.unwrap_or(Side::Uplink)
    }

    /// A moment, seldom as long as a fragment waits, most seldom about as long as a
    /// session may be idle or a port rests.
    fn while_nothing_comes(&mut self) -> Duration {
        let mut timers = Vec::new();
        for gateway in &self.config.gateways {
            let timeouts = &gateway.timeouts;
            timers.extend([timeouts.tcp, timeouts.tcp_opening, timeouts.tcp_closing]);
            timers.extend([timeouts.udp, timeouts.udp_stream, timeouts.icmp]);
            timers.push(gateway.port_rest);
        }
        let millis = match self.random.below(40) {
            0 | 1 if !timers.is_empty() => {
                let timer = self.random.pick(&timers).as_millis() as u64;
                let around = self.random.pick(&[0, 900, 1_000, 1_100, 1_300, 2_300]);
                (timer + around).saturating_sub(1_000)
            }
            2..5 => 28_000 + self.random.below(4_000) as u64,
            5..12 => self.random.below(15_000) as u64,
            _ => self.random.below(800) as u64,
        };
        Duration::from_millis(millis)
    }

    /// What the receiver of an earlier packet answers; `skew` makes it come from a
    /// neighbouring address or port, which filters may not let through.
    pub(super) fn reply(&mut self, skew: bool) -> Option<(Side, PacketBuilder)> {
        let Translation { egress, seen, .. } = self.remembered()?;
        let mut from = seen.destination();
        if skew && self.random.one_in(10) {
            // Nobody outside may be.
            from.set_ip(self.config.subnets.first()?.cidr.nth(101));
        } else if skew && self.random.one_in(2) {
            from.set_ip(Ipv4Addr::from_bits(from.ip().to_bits() ^ 1));
        } else if skew {
            from.set_port(from.port() ^ 1);
        }
        Some((
            egress,
            self.packet_like(&seen, from, seen.source(), icmp_type::ECHO_REPLY)?,
        ))
    }

    /// Another packet of a connection that was translated before.
    pub(super) fn follow_up(&mut self) -> Option<(Side, PacketBuilder)> {
        let Translation { ingress, sent, .. } = self.remembered()?;
        let (from, to) = (sent.source(), sent.destination());
        Some((
            ingress,
            self.packet_like(&sent, from, to, icmp_type::ECHO_REQUEST)?,
        ))
    }

    /// One of the packets that were translated.
    pub(super) fn remembered(&mut self) -> Option<Translation> {
        if self.translations.is_empty() {
            return None;
        }
        let mut index = self.random.below(self.translations.len());
        // Of what was only forwarded there is more than its part.
        if self.translations[index].is_local() && !self.random.one_in(4) {
            index = self.random.below(self.translations.len());
        }
        Some(self.translations[index].clone())
    }

    /// One of the hairpins among them, which are translated twice.
    pub(super) fn remembered_hairpin(&mut self) -> Option<Translation> {
        let is_inside = |side| matches!(side, Side::Inside(_));
        let hairpins: Vec<_> = self
            .translations
            .iter()
            .filter(|one| is_inside(one.ingress) && is_inside(one.egress) && !one.is_local())
            .collect();
        if hairpins.is_empty() {
            return None;
        }
        Some(hairpins[self.random.below(hairpins.len())].clone())
    }

    /// A packet of the protocol of `other`. `None` for a fragment of it that
    /// does not say which ports it has.
    pub(super) fn packet_like(
        &mut self,
        other: &Ipv4,
        from: SocketAddrV4,
        to: SocketAddrV4,
        icmp_type: u8,
    ) -> Option<PacketBuilder> {
        let payload = self.payload();
        let builder = match &other.transport {
            Transport::Tcp(_) => {
                let flags = self.tcp_flags();
                self.tcp(from, to).flags(flags)
            }
            Transport::Udp(_) => self.udp(from, to),
            Transport::Icmp(icmp) => PacketBuilder::icmp(*from.ip(), *to.ip(), icmp_type, 0)
                .icmp_rest([icmp.rest[0], icmp.rest[1], 0, self.random.bits() as u8]),
            Transport::Opaque(_) if other.fragment_offset != 0 => return None,
            Transport::Opaque(_) => PacketBuilder::ip(*from.ip(), *to.ip(), other.protocol),
        };
        Some(builder.payload(&payload))
    }

    /// A TCP segment with random numbers and options.
    pub(super) fn tcp(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> PacketBuilder {
        let (seq, ack) = (self.random.bits() as u32, self.random.bits() as u32);
        let option_bytes = self.random.pick(&[0, 0, 4, 12, 20, 40]);
        let options = self.random.bytes(option_bytes);
        PacketBuilder::tcp(from, to)
            .seq_ack(seq, ack)
            .tcp_options(&options)
    }

    /// A UDP datagram, now and then without checksum.
    pub(super) fn udp(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> PacketBuilder {
        let builder = PacketBuilder::udp(from, to);
        if self.random.one_in(4) {
            builder.without_udp_checksum()
        } else {
            builder
        }
    }

    /// Flags as they come in the middle of connections, and some that never do.
    pub(super) fn tcp_flags(&mut self) -> u8 {
        use tcp_flags::{ACK, FIN, PSH, RST, SYN};
        let strange = self.random.bits() as u8;
        let usual = [
            ACK,
            ACK | PSH,
            ACK | FIN,
            SYN | ACK,
            SYN,
            SYN,
            RST,
            RST | ACK,
            SYN | RST,
            SYN | FIN,
        ];
        if self.random.one_in(10) {
            strange
        } else {
            self.random.pick(&usual)
        }
    }

    /// 0 to 1380 bytes, which fit an MTU of 1500 with all options, seldom more; odd
    /// lengths as often as even ones; sometimes all equal.
    pub(super) fn payload(&mut self) -> Vec<u8> {
        if self.random.one_in(100) {
            let length = 1440 + self.random.below(80);
            return self.random.bytes(length);
        }
        let longest = self.random.pick(&[1, 4, 64, 64, 1380]);
        let length = self.random.below(longest + 1);
        match self.random.below(8) {
            0 => vec![0x00; length],
            1 => vec![0xff; length],
            _ => self.random.bytes(length),
        }
    }
}
