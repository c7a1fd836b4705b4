//! Random sequences of packets that meet each other: few hosts, few ports, and
//! replies to what the NAT under test really sent.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{ModelConfig, Random, Side};
use crate::packets::{
    FixtureKind, Ipv4, Packet, PacketBuilder, Transport, fixtures, icmp_type, tcp_flags,
};

/// How many translated packets are remembered to be replied to.
const REMEMBERED: usize = 512;

/// An iterator over packets with the side they come in by.
///
/// ```
/// use std::time::Duration;
/// use nat_tests::model::{Model, ModelConfig, Output, random_traffic};
///
/// let mut nat = Model::new(ModelConfig::classic());
/// let mut traffic = random_traffic(1, 100, nat.config());
/// while let Some((ingress, frame)) = traffic.next() {
///     if let Output::Forward { frame: sent, .. } = nat.handle(Duration::ZERO, ingress, &frame) {
///         traffic.observe(ingress, &frame, &sent);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Traffic {
    pub(super) random: Random,
    pub(super) config: ModelConfig,
    /// Frames with lying or cut headers.
    pub(super) malformed: Vec<Vec<u8>>,
    left: usize,
    translations: Vec<Translation>,
}

/// A packet of the inside and what the internet saw of it.
#[derive(Clone, Debug)]
pub(super) struct Translation {
    pub ingress: Side,
    pub sent: Ipv4,
    pub seen: Ipv4,
}

/// `n` random packets for a NAT with this configuration. The same seed and the
/// same observations give the same packets. Prints the seed.
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
        left: n,
        translations: Vec::new(),
    }
}

impl Iterator for Traffic {
    type Item = (Side, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.any_packet())
    }
}

impl Traffic {
    /// Tells what became of a packet: later ones go on with its connection and
    /// reply to it. Call it for each packet that was forwarded.
    pub fn observe(&mut self, ingress: Side, frame_in: &[u8], frame_out: &[u8]) {
        if ingress == Side::Uplink {
            return;
        }
        let parsed = |frame| Packet::parse(frame).ok()?.ipv4().cloned();
        let (Some(sent), Some(seen)) = (parsed(frame_in), parsed(frame_out)) else {
            return;
        };
        let translation = Translation {
            ingress,
            sent,
            seen,
        };
        if self.translations.len() < REMEMBERED {
            self.translations.push(translation);
        } else {
            let index = self.random.below(REMEMBERED);
            self.translations[index] = translation;
        }
    }

    /// What the remote host answers to an earlier packet; `skew` makes it come
    /// from a neighbouring address or port, which must not get through.
    pub(super) fn reply(&mut self, skew: bool) -> Option<(Side, PacketBuilder)> {
        let seen = self.remembered()?.seen;
        let mut from = seen.destination();
        if skew && self.random.one_in(2) {
            from.set_ip(Ipv4Addr::from_bits(from.ip().to_bits() ^ 1));
        } else if skew {
            from.set_port(from.port() ^ 1);
        }
        Some((
            Side::Uplink,
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

    /// One of the packets of the inside that were translated.
    pub(super) fn remembered(&mut self) -> Option<Translation> {
        if self.translations.is_empty() {
            return None;
        }
        let index = self.random.below(self.translations.len());
        Some(self.translations[index].clone())
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

    /// 0 to 1380 bytes, which fit an MTU of 1500 with all options; odd lengths as
    /// often as even ones; sometimes all equal.
    pub(super) fn payload(&mut self) -> Vec<u8> {
        let longest = self.random.pick(&[1, 4, 64, 64, 1380]);
        let length = self.random.below(longest + 1);
        match self.random.below(8) {
            0 => vec![0x00; length],
            1 => vec![0xff; length],
            _ => self.random.bytes(length),
        }
    }
}
