//! Packets made here: TCP resets and ICMP errors that answer dropped packets.

use super::decide::Arrival;
use super::{DropReason, Model, Output};
use crate::packets::{
    ETHERNET_LEN, Icmp, Ipv4, PacketBuilder, Tcp, Transport, be16, icmp_type, tcp_flags,
};

/// What the sender of a dropped packet is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    None,
    /// A TCP reset.
    Reset,
    /// An ICMP error; the MTU of a next hop, or 0.
    Icmp {
        icmp_type: u8,
        code: u8,
        mtu: u16,
    },
}

impl Answer {
    pub(super) fn icmp(icmp_type: u8, code: u8) -> Self {
        Self::Icmp {
            icmp_type,
            code,
            mtu: 0,
        }
    }

    /// The packet is longer than what the next hop takes (RFC 1191).
    pub(super) fn too_big(mtu: u16) -> Self {
        Self::Icmp {
            icmp_type: icmp_type::UNREACHABLE,
            code: 4,
            mtu,
        }
    }
}

impl Model {
    /// Drops a packet and answers its sender, where that is allowed.
    pub(super) fn refuse(
        &self,
        packet: &Arrival<'_>,
        reason: DropReason,
        answer: Answer,
    ) -> Output {
        let made = match (answer, &packet.ip.transport) {
            (Answer::Reset, Transport::Tcp(tcp)) if may_be_reset(packet.ip) => {
                Some(reset(packet.ip, tcp))
            }
            (
                Answer::Icmp {
                    icmp_type,
                    code,
                    mtu,
                },
                _,
            ) if self.config.icmp_errors_made && may_be_complained_about(packet.ip) => {
                let router = self.config.router_address(packet.ingress);
                let error = PacketBuilder::icmp(router, packet.ip.src, icmp_type, code)
                    .next_hop_mtu(mtu)
                    .tos(0xc0)
                    .quoting(packet.frame, Some(quoted_length(packet.frame)));
                Some(error)
            }
            _ => None,
        };
        let Some(made) = made else {
            return Output::Drop(reason);
        };
        let made = made.ttl(64).id(0).dont_fragment();
        let mut reply = made.build();
        // Back to the station that sent the packet.
        reply[..6].copy_from_slice(&packet.frame[6..12]);
        reply[6..12].copy_from_slice(&packet.frame[..6]);
        Output::Refuse { reason, reply }
    }
}

fn may_be_answered(ip: &Ipv4) -> bool {
    let first = ip.src.octets()[0];
    ip.fragment_offset == 0 && first != 0 && first != 127 && first < 224
}

fn may_be_reset(ip: &Ipv4) -> bool {
    may_be_answered(ip) && ip.options.is_empty()
}

/// RFC 1122 section 3.2.2: never about errors.
fn may_be_complained_about(ip: &Ipv4) -> bool {
    let is_other_icmp = match &ip.transport {
        Transport::Icmp(Icmp { icmp_type, .. }) => {
            !matches!(*icmp_type, icmp_type::ECHO_REQUEST | icmp_type::ECHO_REPLY)
        }
        _ => false,
    };
    may_be_answered(ip) && !is_other_icmp
}

/// RFC 9293 section 3.10.7.1.
fn reset(ip: &Ipv4, tcp: &Tcp) -> PacketBuilder {
    let made = PacketBuilder::tcp(ip.destination(), ip.source()).window(0);
    if tcp.flags & tcp_flags::ACK != 0 {
        return made.seq_ack(tcp.ack, 0).flags(tcp_flags::RST);
    }
    // Both take a place in the sequence (RFC 9293, 3.4).
    let ends = [tcp_flags::SYN, tcp_flags::FIN].map(|flag| u32::from(tcp.flags & flag != 0));
    let length = usize::from(ip.total_length) - ip.header_len;
    let payload = length.saturating_sub(tcp.header_len) as u32;
    made.seq_ack(0, tcp.seq.wrapping_add(payload + ends[0] + ends[1]))
        .flags(tcp_flags::RST | tcp_flags::ACK)
}

/// The IP header and what follows, 68 bytes at most, in whole words.
fn quoted_length(frame: &[u8]) -> usize {
    usize::from(be16(frame, ETHERNET_LEN + 2)).min(68) / 4 * 4
}
