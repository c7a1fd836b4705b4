//! Tests of the packets made here.

use std::net::Ipv4Addr;

use super::tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{
    ETHERNET_LEN, Icmp, Mac, Packet, PacketBuilder, Transport, checksum_errors, icmp_type,
    protocol, tcp_flags,
};

use tcp_flags::{ACK, FIN, PSH, RST, SYN};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 1);
const PUBLIC_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The answer to a dropped packet, as packet and bytes.
#[track_caller]
fn refused(nat: &mut Model, side: Side, frame: &[u8], why: DropReason) -> (Packet, Vec<u8>) {
    let Output::Refuse { reason, reply } = nat.handle(NOW, side, frame) else {
        panic!("not answered");
    };
    assert_eq!(reason, why);
    assert_eq!(checksum_errors(&reply), [""; 0]);
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(reply[..6], frame[6..12], "to the station that sent it");
    assert_eq!(reply[6..12], frame[..6], "from the one it was sent to");
    let ip = packet.ipv4().unwrap();
    assert_eq!((ip.ttl, ip.id, ip.dont_fragment), (64, 0, true));
    (packet.clone(), reply)
}

#[track_caller]
fn only_dropped(nat: &mut Model, side: Side, frame: &[u8]) -> DropReason {
    match nat.handle(NOW, side, frame) {
        Output::Drop(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// The ICMP error that answers a packet, checked but for what it says.
#[track_caller]
fn complaint(nat: &mut Model, side: Side, frame: &[u8], why: DropReason) -> Icmp {
    let (packet, _) = refused(nat, side, frame, why);
    let ip = packet.ipv4().unwrap();
    let about = Packet::parse(frame).unwrap();
    let about = about.ipv4().unwrap();
    let router = nat.config().router_address(side);
    assert_eq!((ip.src, ip.dst, ip.tos), (router, about.src, 0xc0));
    let Transport::Icmp(icmp) = &ip.transport else {
        panic!("not ICMP")
    };
    let quoted = &frame[ETHERNET_LEN..][..icmp.payload.len()];
    assert_eq!(icmp.payload, quoted, "as it came in");
    icmp.clone()
}

#[test]
fn rfc9293_an_unknown_segment_is_reset() {
    let host = at(PRIVATE_A, 40_001);
    let segment = |flags| {
        PacketBuilder::tcp(host, at(SERVER, 443))
            .flags(flags)
            .seq_ack(1000, 77)
    };
    // Flags and payload; then sequence, acknowledgment and flags of the answer.
    let rows = [
        (ACK, 0, (77, 0, RST)),
        (ACK | PSH, 9, (77, 0, RST)),
        (ACK | FIN, 9, (77, 0, RST)),
        (SYN | ACK, 0, (77, 0, RST)),
        (0, 9, (0, 1009, RST | ACK)),
        (FIN, 9, (0, 1010, RST | ACK)),
        (PSH, 0, (0, 1000, RST | ACK)),
    ];
    for (flags, payload, expected) in rows {
        let frame = segment(flags)
            .tcp_options(&[1; 8])
            .payload_len(payload)
            .macs(Mac([2, 0, 0, 0, 9, 9]), Mac([2, 0, 0, 0, 8, 8]))
            .build();
        let (packet, _) = refused(
            &mut classic(),
            PRIVATE_SUBNET,
            &frame,
            DropReason::NoSession,
        );
        let ip = packet.ipv4().unwrap();
        assert_eq!((ip.source(), ip.destination()), (at(SERVER, 443), host));
        let Transport::Tcp(tcp) = &ip.transport else {
            panic!("not TCP")
        };
        assert_eq!(
            (tcp.seq, tcp.ack, tcp.flags),
            expected,
            "flags {flags:#04x}"
        );
        assert_eq!((ip.total_length, ip.tos, tcp.window), (40, 0, 0));
        assert!(tcp.payload.is_empty());
    }
    let mut nat = classic();
    for silent in [
        segment(RST),
        segment(RST | ACK),
        segment(ACK).ip_options(&[1; 4]),
    ] {
        let reason = only_dropped(&mut nat, PRIVATE_SUBNET, &silent.build());
        assert_eq!(reason, DropReason::NoSession);
    }
    let from_outside = PacketBuilder::tcp(at(SERVER, 443), at(NAT_PUBLIC, 40_001)).build();
    only_dropped(&mut nat, Side::Uplink, &from_outside);
}

#[test]
fn only_profile_aws_resets_and_no_limit_of_errors_stops_it() {
    let frame = PacketBuilder::tcp(at(PRIVATE_A, 40_001), at(SERVER, 443)).build();
    let mut config = ModelConfig::classic();
    config.icmp_errors_made = false;
    refused(
        &mut Model::new(config),
        PRIVATE_SUBNET,
        &frame,
        DropReason::NoSession,
    );
    let mut config = ModelConfig::classic();
    let gateway = config.gateways.remove(0);
    config.gateways = vec![gateway.rfc(Filtering::EndpointIndependent)];
    let reason = only_dropped(&mut Model::new(config), PRIVATE_SUBNET, &frame);
    assert_eq!(reason, DropReason::NoSession);
}

#[test]
fn rfc792_an_expiring_packet_is_complained_about_on_either_side() {
    let mut nat = classic();
    sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let udp = |from, to| {
        PacketBuilder::udp(at(from, 5353), at(to, 53))
            .ttl(1)
            .build()
    };
    let reply = PacketBuilder::tcp(at(SERVER, 443), at(NAT_PUBLIC, 40_001)).ttl(1);
    let again = PacketBuilder::tcp(at(PRIVATE_A, 40_001), at(SERVER, 443)).ttl(0);
    for (side, frame, router) in [
        (PRIVATE_SUBNET, udp(PRIVATE_A, SERVER), ROUTER),
        (PRIVATE_SUBNET, again.build(), ROUTER),
        (PUBLIC_SUBNET, udp(WEB_PRIVATE, SERVER), PUBLIC_ROUTER),
        (Side::Uplink, udp(SERVER, WEB_PUBLIC), OUTSIDE),
        (Side::Uplink, reply.build(), OUTSIDE),
    ] {
        assert_eq!(nat.config().router_address(side), router);
        let icmp = complaint(&mut nat, side, &frame, DropReason::TtlExpired);
        assert_eq!((icmp.icmp_type, icmp.code), (icmp_type::TIME_EXCEEDED, 0));
        assert_eq!(icmp.rest, [0; 4]);
    }
    assert_eq!(
        nat.sessions()[0].forward.packets,
        1,
        "what expires is not carried"
    );
    // What would not have been translated anyway is nobody's business.
    let nobody = udp(SERVER, NAT_PUBLIC);
    assert_eq!(
        only_dropped(&mut nat, Side::Uplink, &nobody),
        DropReason::NoSession
    );
}

#[test]
fn what_was_quoted_is_68_bytes_at_most_in_whole_words() {
    for (payload, options, quoted) in [
        (0, 0, 28),
        (1, 0, 28),
        (3, 4, 32),
        (39, 0, 64),
        (40, 0, 68),
        (500, 0, 68),
    ] {
        let frame = PacketBuilder::udp(at(PRIVATE_A, 5353), at(SERVER, 53))
            .payload_len(payload)
            .ip_options(&vec![1; options])
            .padded()
            .ttl(1)
            .build();
        let icmp = complaint(
            &mut classic(),
            PRIVATE_SUBNET,
            &frame,
            DropReason::TtlExpired,
        );
        assert_eq!(icmp.payload.len(), quoted, "{payload} bytes");
    }
}

#[test]
fn rfc1122_errors_other_icmp_and_later_fragments_are_not_complained_about() {
    let mut nat = classic();
    let quoted = PacketBuilder::udp(at(SERVER, 53), at(WEB_PRIVATE, 5353)).build();
    let error = PacketBuilder::icmp(WEB_PRIVATE, SERVER, 3, 3).quoting(&quoted, None);
    let other = PacketBuilder::icmp(WEB_PRIVATE, SERVER, icmp_type::TIMESTAMP, 0);
    let later = PacketBuilder::ip(WEB_PRIVATE, SERVER, protocol::UDP).fragment(64, true);
    for packet in [error, other, later] {
        let reason = only_dropped(&mut nat, PUBLIC_SUBNET, &packet.ttl(1).build());
        assert_eq!(reason, DropReason::TtlExpired);
    }
    for packet in [
        PacketBuilder::echo_request(WEB_PRIVATE, SERVER, 1, 1),
        PacketBuilder::echo_reply(WEB_PRIVATE, SERVER, 1, 1),
        PacketBuilder::ip(WEB_PRIVATE, SERVER, protocol::GRE).payload_len(8),
        PacketBuilder::udp(at(WEB_PRIVATE, 1), at(SERVER, 1)).fragment(0, true),
    ] {
        let frame = packet.ttl(1).build();
        complaint(&mut nat, PUBLIC_SUBNET, &frame, DropReason::TtlExpired);
    }
    let mut config = ModelConfig::classic();
    config.icmp_errors_made = false;
    let frame = PacketBuilder::udp(at(WEB_PRIVATE, 1), at(SERVER, 1))
        .ttl(1)
        .build();
    only_dropped(&mut Model::new(config), PUBLIC_SUBNET, &frame);
}

#[test]
fn rfc4787_req13_too_big_is_told_where_fragments_are_forbidden() {
    let mut config = ModelConfig::classic();
    config.mtus.insert(Side::Uplink, 1400);
    config.mtus.insert(PUBLIC_SUBNET, 1300);
    let mut nat = Model::new(config);
    let udp = |from, to, length: usize| {
        PacketBuilder::udp(at(from, 5353), at(to, 53)).payload_len(length - 28)
    };
    sent(
        &mut nat,
        PRIVATE_SUBNET,
        &udp(PRIVATE_A, SERVER, 1400).dont_fragment().build(),
    );
    forwarded(
        &mut nat,
        Side::Uplink,
        &udp(SERVER, WEB_PUBLIC, 1300).build(),
        PUBLIC_SUBNET,
    );
    for (side, from, to, length, mtu) in [
        (PRIVATE_SUBNET, PRIVATE_A, SERVER, 1401, 1400),
        (PRIVATE_SUBNET, PRIVATE_A, WEB_PUBLIC, 1301, 1300),
        (Side::Uplink, SERVER, WEB_PUBLIC, 1301, 1300),
    ] {
        let packet = udp(from, to, length);
        let frame = packet.clone().dont_fragment().build();
        let icmp = complaint(&mut nat, side, &frame, DropReason::TooBig);
        assert_eq!((icmp.icmp_type, icmp.code), (icmp_type::UNREACHABLE, 4));
        assert_eq!(icmp.seq(), mtu);
    }
    // What is too big opens a session, which does not carry it.
    let sessions = nat.sessions();
    let packets: Vec<_> = sessions
        .iter()
        .map(|session| session.forward.packets)
        .collect();
    assert_eq!(packets, [0, 1]);
}

#[test]
fn rfc5508_req8_and_rfc6888_req11_exhaustion_is_told_as_configured() {
    for (on_exhaustion, code) in [
        (OnExhaustion::AdminProhibited, Some(13)),
        (OnExhaustion::HostUnreachable, Some(1)),
        (OnExhaustion::Silent, None),
    ] {
        for reason in [DropReason::PortExhausted, DropReason::ClientQuota] {
            let mut config = ModelConfig::classic();
            config.gateways[0].on_exhaustion = on_exhaustion;
            if reason == DropReason::ClientQuota {
                config.gateways[0].max_sessions_per_client = Some(1);
            } else {
                config.gateways[0].ports = vec![2000..=2000];
            }
            let mut nat = Model::new(config);
            sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
            let second = PacketBuilder::tcp(at(PRIVATE_A, 40_002), at(SERVER, 443)).flags(SYN);
            let second = second.build();
            match code {
                Some(code) => {
                    let icmp = complaint(&mut nat, PRIVATE_SUBNET, &second, reason);
                    assert_eq!((icmp.icmp_type, icmp.code), (icmp_type::UNREACHABLE, code));
                }
                None => assert_eq!(only_dropped(&mut nat, PRIVATE_SUBNET, &second), reason),
            }
            let elsewhere = syn(PRIVATE_A, OTHER_SERVER);
            let quota = reason == DropReason::ClientQuota;
            let output = nat.handle(NOW, PRIVATE_SUBNET, &elsewhere);
            assert_eq!(matches!(output, Output::Forward { .. }), !quota);
        }
    }
}

#[test]
fn judge_compares_answers_from_the_ethernet_header_on() {
    let frame = PacketBuilder::tcp(at(PRIVATE_A, 40_001), at(SERVER, 443)).build();
    let (_, right) = refused(
        &mut classic(),
        PRIVATE_SUBNET,
        &frame,
        DropReason::NoSession,
    );
    let judge = |reply: &[u8], reason| {
        let actual = Actual::Refuse { reason, reply };
        classic().check(NOW, PRIVATE_SUBNET, &frame, &actual)
    };
    let mut padded = right.clone();
    padded.resize(60, 0);
    assert_eq!(judge(&padded, DropReason::NoSession), Ok(()));
    assert!(judge(&right, DropReason::TtlExpired).is_err());
    for byte in 0..right.len() {
        let mut wrong = right.clone();
        wrong[byte] ^= 1;
        assert!(judge(&wrong, DropReason::NoSession).is_err(), "byte {byte}");
    }
    let silent = Actual::Drop(DropReason::NoSession);
    assert!(
        classic()
            .check(NOW, PRIVATE_SUBNET, &frame, &silent)
            .is_err()
    );
}
