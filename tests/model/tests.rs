//! Tests of translation, one rule each.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{
    FixtureKind, Ipv4, Packet, PacketBuilder, Transport, be16, fixtures, fragments_of, protocol,
    tcp_flags, translated_checksum_errors, with_transport_checksum,
};

pub(super) const NOW: Duration = Duration::ZERO;
pub(super) const PUBLIC_SUBNET: Side = Side::Inside(0);
pub(super) const PRIVATE_SUBNET: Side = Side::Inside(1);

pub(super) fn classic() -> Model {
    Model::new(ModelConfig::classic())
}

pub(super) fn at(ip: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, port)
}

pub(super) fn syn(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    PacketBuilder::tcp(at(from, 40_001), at(to, 443))
        .flags(tcp_flags::SYN)
        .build()
}

/// The IP packet that was forwarded, its checksums known to be right.
#[track_caller]
pub(super) fn forwarded(model: &mut Model, ingress: Side, frame: &[u8], to: Side) -> Ipv4 {
    match model.handle(NOW, ingress, frame) {
        Output::Forward {
            egress, frame: out, ..
        } => {
            assert_eq!(egress, to);
            assert_eq!(translated_checksum_errors(frame, &out), [""; 0]);
            Packet::parse(&out).unwrap().ipv4().unwrap().clone()
        }
        other => panic!("not forwarded: {other:?}"),
    }
}

/// This packet, a router further on, to the host that it is for.
pub(super) fn gone_to(egress: Side, packet: &PacketBuilder) -> Output {
    let frame = packet.clone().ttl(63).build();
    let next_hop = Packet::parse(&frame).unwrap().ipv4().unwrap().dst;
    Output::Forward {
        egress,
        next_hop: (egress != Side::Uplink).then_some(next_hop),
        frame,
    }
}

#[track_caller]
pub(super) fn sent(model: &mut Model, ingress: Side, frame: &[u8]) -> Ipv4 {
    forwarded(model, ingress, frame, Side::Uplink)
}

#[track_caller]
pub(super) fn dropped(model: &mut Model, ingress: Side, frame: &[u8]) -> DropReason {
    match model.handle(NOW, ingress, frame) {
        Output::Drop(reason) | Output::Refuse { reason, .. } => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

#[track_caller]
pub(super) fn passes(model: &mut Model, ingress: Side, frame: &[u8]) {
    assert_eq!(model.handle(NOW, ingress, frame), Output::Pass);
}

#[test]
fn first_host_keeps_its_port_and_the_second_gets_another() {
    let mut nat = classic();
    let first = sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let second = sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_B, SERVER));
    assert_eq!(first.source(), at(NAT_PUBLIC, 40_001));
    assert_eq!(second.src, NAT_PUBLIC);
    assert_ne!(second.source().port(), 40_001);
    assert_eq!(first.ttl, 63);
}

#[test]
fn towards_another_server_or_port_the_port_is_kept_again() {
    let mut nat = classic();
    sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let other_server = sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_B, OTHER_SERVER));
    assert_eq!(other_server.source(), at(NAT_PUBLIC, 40_001));
    let to_port_80 = PacketBuilder::tcp(at(PRIVATE_B, 40_001), at(SERVER, 80))
        .flags(2)
        .build();
    let other_port = sent(&mut nat, PRIVATE_SUBNET, &to_port_80);
    assert_eq!(other_port.source(), at(NAT_PUBLIC, 40_001));
}

#[test]
fn tcp_and_udp_do_not_take_each_others_ports() {
    let mut nat = classic();
    sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let udp = PacketBuilder::udp(at(PRIVATE_B, 40_001), at(SERVER, 443)).build();
    assert_eq!(
        sent(&mut nat, PRIVATE_SUBNET, &udp).source(),
        at(NAT_PUBLIC, 40_001)
    );
}

#[test]
fn port_outside_the_pool_is_not_kept() {
    let mut nat = classic();
    let low = PacketBuilder::udp(at(PRIVATE_A, 1023), at(SERVER, 53)).build();
    assert_eq!(
        sent(&mut nat, PRIVATE_SUBNET, &low).source(),
        at(NAT_PUBLIC, 1024)
    );
}

#[test]
fn replies_reach_the_host_that_asked() {
    let mut nat = classic();
    for host in [PRIVATE_A, PRIVATE_B] {
        let out = sent(&mut nat, PRIVATE_SUBNET, &syn(host, SERVER));
        let reply = PacketBuilder::tcp(out.destination(), out.source())
            .flags(0x12)
            .build();
        let back = forwarded(&mut nat, Side::Uplink, &reply, PRIVATE_SUBNET);
        assert_eq!(back.source(), at(SERVER, 443));
        assert_eq!(back.destination(), at(host, 40_001));
    }
}

#[test]
fn ping_ids_are_kept_or_changed_and_restored() {
    let mut nat = classic();
    for (host, kept) in [(PRIVATE_A, true), (PRIVATE_B, false)] {
        let ping = PacketBuilder::echo_request(host, SERVER, 4001, 9)
            .payload_len(57)
            .build();
        let out = sent(&mut nat, PRIVATE_SUBNET, &ping);
        let Transport::Icmp(request) = &out.transport else {
            panic!("not ICMP")
        };
        assert_eq!(request.id() == 4001, kept);
        assert_eq!(request.seq(), 9);
        let reply = PacketBuilder::echo_reply(SERVER, NAT_PUBLIC, request.id(), 9).build();
        let back = forwarded(&mut nat, Side::Uplink, &reply, PRIVATE_SUBNET);
        assert_eq!((back.dst, back.destination().port()), (host, 4001));
    }
}

#[test]
fn elastic_ip_is_translated_both_ways_without_a_session() {
    let mut nat = classic();
    let inbound = forwarded(
        &mut nat,
        Side::Uplink,
        &syn(SERVER, WEB_PUBLIC),
        PUBLIC_SUBNET,
    );
    assert_eq!(inbound.destination(), at(WEB_PRIVATE, 443));
    for protocol in [protocol::GRE, protocol::ESP, 255] {
        let packet = PacketBuilder::ip(WEB_PRIVATE, SERVER, protocol)
            .payload_len(31)
            .build();
        assert_eq!(sent(&mut nat, PUBLIC_SUBNET, &packet).src, WEB_PUBLIC);
    }
    assert!(nat.sessions().is_empty());
}

#[test]
fn fragments_of_an_elastic_ip_fit_together_after_translation() {
    let mut nat = classic();
    for whole in [
        PacketBuilder::udp(at(WEB_PRIVATE, 5000), at(SERVER, 53))
            .payload_len(1001)
            .build(),
        PacketBuilder::tcp(at(WEB_PRIVATE, 5000), at(SERVER, 53))
            .payload_len(1001)
            .build(),
    ] {
        let mut segment = Vec::new();
        for piece in fragments_of(&whole, 256) {
            let Output::Forward { frame, .. } = nat.handle(NOW, PUBLIC_SUBNET, &piece) else {
                panic!("not forwarded");
            };
            segment.extend(frame[34..].to_vec());
        }
        let Output::Forward { frame, .. } = nat.handle(NOW, PUBLIC_SUBNET, &whole) else {
            panic!("not forwarded");
        };
        assert_eq!(segment, frame[34..]);
    }
}

#[test]
fn pool_fills_to_its_last_port_on_every_public_ip() {
    let mut config = ModelConfig::classic();
    config.gateways[0].ports = vec![2000..=2001, 65_535..=65_535];
    config.gateways[0]
        .public_ips
        .push(Ipv4Addr::new(198, 51, 100, 11));
    let mut nat = Model::new(config);
    let packet = |port, to| PacketBuilder::udp(at(PRIVATE_A, port), at(to, 53)).build();
    for port in 1..=6 {
        sent(&mut nat, PRIVATE_SUBNET, &packet(port, SERVER));
    }
    let seventh = packet(7, SERVER);
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &seventh),
        DropReason::PortExhausted
    );
    sent(&mut nat, PRIVATE_SUBNET, &packet(7, OTHER_SERVER));
    nat.forget_idle(NOW + Duration::from_secs(351));
    assert!(nat.sessions().is_empty());
    sent(&mut nat, PRIVATE_SUBNET, &seventh);
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut nat = classic();
    let udp = PacketBuilder::udp(at(PRIVATE_A, 40_001), at(SERVER, 53)).payload_len(33);
    for damaged in [
        udp.clone().break_transport_checksum(),
        udp.break_ip_checksum(),
    ] {
        let Output::Forward { frame, .. } = nat.handle(NOW, PRIVATE_SUBNET, &damaged.build())
        else {
            panic!("not forwarded");
        };
        assert_eq!(crate::packets::checksum_errors(&frame).len(), 1);
    }
}

#[test]
fn good_fixtures_are_right_after_translation_and_have_the_checksum_they_are_named_after() {
    let mut named = 0;
    for fixture in fixtures()
        .iter()
        .filter(|row| row.kind == FixtureKind::Good)
    {
        let output = classic().handle(NOW, PRIVATE_SUBNET, &fixture.frame);
        let Output::Forward { frame, .. } = output else {
            continue;
        };
        assert_eq!(
            translated_checksum_errors(&fixture.frame, &frame),
            [""; 0],
            "{}",
            fixture.name
        );
        if let Some(name) = fixture.name.strip_suffix("_after") {
            let field = match &name[..3] {
                "tcp" => 50,
                "udp" => 40,
                _ => 24,
            };
            assert_eq!(
                be16(&frame, field),
                u16::from_str_radix(&name[name.len() - 4..], 16).unwrap()
            );
            named += 1;
        }
    }
    assert_eq!(named, 9);
}

#[test]
fn udp_checksum_of_a_first_fragment_does_not_vanish() {
    let udp = PacketBuilder::udp(at(WEB_PUBLIC, 5000), at(SERVER, 53));
    let whole = with_transport_checksum(&udp, 0xffff)
        .source(WEB_PRIVATE)
        .build();
    let first = &fragments_of(&whole, 8)[0];
    let out = sent(&mut classic(), PUBLIC_SUBNET, first);
    let Transport::Udp(udp) = out.transport else {
        panic!("not UDP")
    };
    assert_eq!(udp.checksum, 0xffff);
}

#[test]
fn longest_prefix_wins_in_any_order() {
    let mut config = ModelConfig::classic();
    let nowhere = PacketBuilder::udp(at(PRIVATE_A, 5353), at(Ipv4Addr::new(192, 0, 2, 9), 53));
    for _ in 0..2 {
        let output = Model::new(config.clone()).handle(NOW, PRIVATE_SUBNET, &nowhere.build());
        assert_eq!(output, Output::Drop(DropReason::Blackhole));
        config.subnets[1].routes.reverse();
    }
}

#[test]
fn sessions_are_dated() {
    let mut nat = classic();
    let second = Duration::from_secs(1);
    nat.handle(second, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let reply = PacketBuilder::tcp(at(SERVER, 443), at(NAT_PUBLIC, 40_001)).build();
    nat.handle(3 * second, Side::Uplink, &reply);
    let session = nat.sessions()[0];
    assert_eq!(session.opened, second);
    let ticks = [session.forward.last_seen, session.reverse.last_seen];
    assert_eq!(ticks, [1_000_000_000 >> 27, 3_000_000_000_u64 >> 27]);
    nat.forget_idle(243 * second);
    assert_eq!(nat.sessions().len(), 1);
}
