//! Tests of hairpins: from inside to our own public IPs.

use std::net::SocketAddrV4;

use super::tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{PacketBuilder, protocol, tcp_flags};

use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use tcp_flags::{ACK, SYN};

fn with_gateway(gateway: NatGateway) -> Model {
    let mut config = ModelConfig::classic();
    config.gateways = vec![gateway];
    Model::new(config)
}

fn aws() -> NatGateway {
    NatGateway::new(vec![NAT_PUBLIC])
}

fn shared(gateway: NatGateway) -> NatGateway {
    NatGateway {
        shared_with_host: true,
        ..gateway
    }
}

/// With PRIVATE_B's port 80 behind port 8080.
fn forwarding(gateway: NatGateway) -> NatGateway {
    NatGateway {
        forwards: vec![Forward {
            protocol: protocol::TCP,
            public_ip: NAT_PUBLIC,
            ports: 8080..=8080,
            to: at(PRIVATE_B, 80),
        }],
        ..gateway
    }
}

fn udp(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    PacketBuilder::udp(from, to).payload_len(5).build()
}

fn tcp(from: SocketAddrV4, to: SocketAddrV4, flags: u8) -> Vec<u8> {
    PacketBuilder::tcp(from, to).flags(flags).build()
}

/// Both ends as the receiver of a hairpin sees them.
#[track_caller]
fn seen(nat: &mut Model, ingress: Side, frame: &[u8], egress: Side) -> [SocketAddrV4; 2] {
    let ip = forwarded(nat, ingress, frame, egress);
    assert_eq!(ip.ttl, 63, "one router on the way");
    [ip.source(), ip.destination()]
}

fn packets(nat: &Model) -> Vec<[u64; 2]> {
    let sessions = nat.sessions();
    let both = sessions
        .iter()
        .map(|session| [session.forward.packets, session.reverse.packets]);
    both.collect()
}

#[test]
fn rfc4787_req9a_an_instance_with_a_public_ip_sees_the_sender_s_public_end() {
    let mut nat = classic();
    let (host, web) = (at(PRIVATE_A, 40_001), at(WEB_PUBLIC, 80));
    let public = at(NAT_PUBLIC, 40_001);
    let ends = seen(
        &mut nat,
        PRIVATE_SUBNET,
        &tcp(host, web, SYN),
        PUBLIC_SUBNET,
    );
    assert_eq!(ends, [public, at(WEB_PRIVATE, 80)]);
    let answer = tcp(at(WEB_PRIVATE, 80), public, SYN | ACK);
    assert_eq!(
        seen(&mut nat, PUBLIC_SUBNET, &answer, PRIVATE_SUBNET),
        [web, host]
    );
    assert_eq!(packets(&nat), [[1, 1]]);
    let unasked = tcp(at(WEB_PRIVATE, 81), public, SYN);
    assert_eq!(
        dropped(&mut nat, PUBLIC_SUBNET, &unasked),
        DropReason::NoSession
    );
    // Pings too: RFC 5508 REQ-7.
    let ping = PacketBuilder::echo_request(PRIVATE_A, WEB_PUBLIC, 7, 1).build();
    let ends = seen(&mut nat, PRIVATE_SUBNET, &ping, PUBLIC_SUBNET);
    let id = ends[0].port();
    let answer = PacketBuilder::echo_reply(WEB_PRIVATE, NAT_PUBLIC, id, 1).build();
    let ends = seen(&mut nat, PUBLIC_SUBNET, &answer, PRIVATE_SUBNET);
    assert_eq!(ends, [at(WEB_PUBLIC, 7), at(PRIVATE_A, 7)]);
}

#[test]
fn an_instance_reaches_its_own_public_ip_with_any_protocol() {
    let mut nat = classic();
    for protocol in [protocol::ESP, protocol::GRE] {
        let packet = PacketBuilder::ip(WEB_PRIVATE, WEB_PUBLIC, protocol).payload_len(8);
        let ip = forwarded(&mut nat, PUBLIC_SUBNET, &packet.build(), PUBLIC_SUBNET);
        assert_eq!((ip.src, ip.dst), (WEB_PUBLIC, WEB_PRIVATE));
    }
    assert!(nat.sessions().is_empty());
}

#[test]
fn aws_nobody_is_behind_a_gateway_s_public_ip_and_nothing_is_claimed() {
    let mut nat = with_gateway(aws());
    sent(
        &mut nat,
        PRIVATE_SUBNET,
        &udp(at(PRIVATE_B, 9000), at(SERVER, 53)),
    );
    let to = at(NAT_PUBLIC, 9000);
    for packet in [
        udp(at(PRIVATE_A, 1), to),
        tcp(at(PRIVATE_A, 1), to, SYN),
        tcp(at(PRIVATE_A, 1), to, ACK),
        PacketBuilder::echo_request(PRIVATE_A, NAT_PUBLIC, 1, 1).build(),
        PacketBuilder::ip(PRIVATE_A, NAT_PUBLIC, protocol::GRE).build(),
    ] {
        let output = nat.handle(NOW, PRIVATE_SUBNET, &packet);
        assert_eq!(output, Output::Drop(DropReason::NoSession));
    }
    let from_web = udp(at(WEB_PRIVATE, 1), to);
    assert_eq!(
        dropped(&mut nat, PUBLIC_SUBNET, &from_web),
        DropReason::NoSession
    );
    assert_eq!(nat.sessions().len(), 1);
}

#[test]
fn rfc4787_req9_two_hosts_meet_by_their_public_ends() {
    for (filtering, meets_at_once) in [
        (EndpointIndependent, true),
        (AddressDependent, false),
        (AddressAndPortDependent, false),
    ] {
        let mut nat = with_gateway(aws().rfc(filtering));
        let (a, b) = (at(PRIVATE_A, 1111), at(PRIVATE_B, 2222));
        let b_public = sent(&mut nat, PRIVATE_SUBNET, &udp(b, at(SERVER, 53))).source();
        let first = nat.clone().handle(NOW, PRIVATE_SUBNET, &udp(a, b_public));
        let mut after = nat.clone();
        after.handle(NOW, PRIVATE_SUBNET, &udp(a, b_public));
        assert_eq!(after.sessions().len(), 2, "the sender's session stays");
        let a_public = after.sessions()[0].public;
        if meets_at_once {
            let ends = seen(&mut nat, PRIVATE_SUBNET, &udp(a, b_public), PRIVATE_SUBNET);
            assert_eq!(ends, [a_public, b]);
            assert_eq!(packets(&nat)[0], [1, 0]);
        } else {
            assert_eq!(first, Output::Drop(DropReason::NoSession));
            assert_eq!(packets(&after)[0], [0, 0], "it carried nothing");
            nat = after;
        }
        // The answer opens the other session, and both count.
        let ends = seen(&mut nat, PRIVATE_SUBNET, &udp(b, a_public), PRIVATE_SUBNET);
        assert_eq!(ends, [b_public, a]);
        let again = seen(&mut nat, PRIVATE_SUBNET, &udp(a, b_public), PRIVATE_SUBNET);
        assert_eq!(again, [a_public, b]);
        let sent = u64::from(meets_at_once) + 1;
        assert_eq!(packets(&nat)[0], [sent, 1]);
        assert!(packets(&nat).contains(&[1, 1]));
    }
}

#[test]
fn a_host_may_meet_itself() {
    let mut nat = with_gateway(aws().rfc(EndpointIndependent));
    let host = at(PRIVATE_A, 1111);
    let public = sent(&mut nat, PRIVATE_SUBNET, &udp(host, at(SERVER, 53))).source();
    let ends = seen(&mut nat, PRIVATE_SUBNET, &udp(host, public), PRIVATE_SUBNET);
    assert_eq!(ends, [public, host]);
    assert!(packets(&nat).contains(&[1, 1]), "one session, both halves");
}

#[test]
fn rfc5382_req8_forwarded_ports_are_reached_from_inside() {
    for gateway in [
        shared(aws()),
        aws().rfc(AddressAndPortDependent),
        shared(aws().rfc(AddressDependent)),
    ] {
        let mut nat = with_gateway(forwarding(gateway));
        let (host, door) = (at(PRIVATE_A, 40_001), at(NAT_PUBLIC, 8080));
        let [public, to] = seen(
            &mut nat,
            PRIVATE_SUBNET,
            &tcp(host, door, SYN),
            PRIVATE_SUBNET,
        );
        assert_eq!((*public.ip(), to), (NAT_PUBLIC, at(PRIVATE_B, 80)));
        assert_eq!(nat.sessions().len(), 2);
        let answer = tcp(at(PRIVATE_B, 80), public, SYN | ACK);
        let ends = seen(&mut nat, PRIVATE_SUBNET, &answer, PRIVATE_SUBNET);
        assert_eq!(ends, [door, host]);
        assert_eq!(packets(&nat), [[1, 1], [1, 1]]);
        // From the instance with a public IP: one session, the receiver's.
        let packet = tcp(at(WEB_PRIVATE, 5), door, SYN);
        let ends = seen(&mut nat, PUBLIC_SUBNET, &packet, PRIVATE_SUBNET);
        assert_eq!(ends, [at(WEB_PUBLIC, 5), at(PRIVATE_B, 80)]);
        assert_eq!(nat.sessions().len(), 3);
    }
}

#[test]
fn a_shared_ip_is_the_host_s_where_nobody_inside_is() {
    for gateway in [aws(), aws().rfc(EndpointIndependent)] {
        let is_rfc = gateway.is_rfc();
        let mut nat = with_gateway(forwarding(shared(gateway)));
        let public = sent(
            &mut nat,
            PRIVATE_SUBNET,
            &udp(at(PRIVATE_B, 9000), at(SERVER, 53)),
        );
        for packet in [
            udp(at(PRIVATE_A, 1), at(NAT_PUBLIC, 22)),
            tcp(at(PRIVATE_A, 1), at(NAT_PUBLIC, 22), ACK),
            PacketBuilder::echo_request(PRIVATE_A, NAT_PUBLIC, 9000, 1).build(),
            PacketBuilder::ip(PRIVATE_A, NAT_PUBLIC, protocol::GRE).build(),
        ] {
            passes(&mut nat, PRIVATE_SUBNET, &packet);
        }
        let from_web = udp(at(WEB_PRIVATE, 1), at(NAT_PUBLIC, 22));
        passes(&mut nat, PUBLIC_SUBNET, &from_web);
        let to_b = udp(at(PRIVATE_A, 1), public.source());
        if is_rfc {
            let ip = forwarded(&mut nat, PRIVATE_SUBNET, &to_b, PRIVATE_SUBNET);
            assert_eq!(ip.dst, PRIVATE_B);
        } else {
            passes(&mut nat, PRIVATE_SUBNET, &to_b);
            assert_eq!(nat.sessions().len(), 1);
        }
    }
}

#[test]
fn what_dies_here_or_opens_nothing_claims_nothing() {
    let mut nat = with_gateway(forwarding(aws().rfc(EndpointIndependent)));
    let door = at(NAT_PUBLIC, 8080);
    let dying = PacketBuilder::tcp(at(PRIVATE_A, 1), door)
        .flags(SYN)
        .ttl(1)
        .build();
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &dying),
        DropReason::TtlExpired
    );
    let middle = tcp(at(PRIVATE_A, 1), door, ACK);
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &middle),
        DropReason::NoSession
    );
    assert!(nat.sessions().is_empty());
}

#[test]
fn rfc5508_req7_errors_about_hairpins_are_restored_at_both_ends() {
    let mut nat = classic();
    let (host, web) = (at(PRIVATE_A, 40_001), at(WEB_PUBLIC, 80));
    let public = at(NAT_PUBLIC, 40_001);
    forwarded(&mut nat, PRIVATE_SUBNET, &udp(host, web), PUBLIC_SUBNET);
    let unreachable =
        |from, to, quoted: Vec<u8>| PacketBuilder::icmp(from, to, 3, 3).quoting(&quoted, None);
    let becomes =
        |nat: &mut Model, side, error: &PacketBuilder, egress, expected: PacketBuilder| {
            let output = nat.handle(NOW, side, &error.build());
            assert_eq!(output, gone_to(egress, &expected));
        };
    // The instance about what it got; its sender sees what it sent.
    let got = udp(public, at(WEB_PRIVATE, 80));
    becomes(
        &mut nat,
        PUBLIC_SUBNET,
        &unreachable(WEB_PRIVATE, NAT_PUBLIC, got),
        PRIVATE_SUBNET,
        unreachable(WEB_PUBLIC, PRIVATE_A, udp(host, web)),
    );
    // The host about the answer.
    becomes(
        &mut nat,
        PRIVATE_SUBNET,
        &unreachable(PRIVATE_A, WEB_PUBLIC, udp(web, host)),
        PUBLIC_SUBNET,
        unreachable(NAT_PUBLIC, WEB_PRIVATE, udp(at(WEB_PRIVATE, 80), public)),
    );
    let unknown = unreachable(WEB_PRIVATE, NAT_PUBLIC, udp(public, at(WEB_PRIVATE, 81)));
    assert_eq!(
        dropped(&mut nat, PUBLIC_SUBNET, &unknown.build()),
        DropReason::NoSession
    );
}

#[test]
fn errors_between_two_hosts_behind_one_gateway_find_both_sessions() {
    let mut nat = with_gateway(aws().rfc(EndpointIndependent));
    let (a, b) = (at(PRIVATE_A, 1111), at(PRIVATE_B, 2222));
    let b_public = sent(&mut nat, PRIVATE_SUBNET, &udp(b, at(SERVER, 53))).source();
    let [a_public, _] = seen(&mut nat, PRIVATE_SUBNET, &udp(a, b_public), PRIVATE_SUBNET);
    let error = PacketBuilder::icmp(PRIVATE_B, NAT_PUBLIC, 3, 3);
    let error = error.quoting(&udp(a_public, b), None).build();
    // B has no session towards A yet.
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &error),
        DropReason::NoSession
    );
    forwarded(&mut nat, PRIVATE_SUBNET, &udp(b, a_public), PRIVATE_SUBNET);
    let ip = forwarded(&mut nat, PRIVATE_SUBNET, &error, PRIVATE_SUBNET);
    assert_eq!((ip.src, ip.dst), (NAT_PUBLIC, PRIVATE_A));
}

#[test]
fn errors_to_a_shared_ip_about_the_host_s_own_traffic_pass() {
    let mut nat = with_gateway(shared(aws()));
    let about = |port| {
        let quoted = udp(at(NAT_PUBLIC, port), at(PRIVATE_A, 7));
        PacketBuilder::icmp(PRIVATE_A, NAT_PUBLIC, 3, 3).quoting(&quoted, None)
    };
    passes(&mut nat, PRIVATE_SUBNET, &about(22).build());
    let quoted = udp(at(NAT_PUBLIC, 22), at(WEB_PRIVATE, 7));
    let of_web = PacketBuilder::icmp(WEB_PRIVATE, NAT_PUBLIC, 3, 3).quoting(&quoted, None);
    passes(&mut nat, PUBLIC_SUBNET, &of_web.build());
}
