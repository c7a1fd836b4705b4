//! Tests of what is dropped, passed or answered.

use std::net::Ipv4Addr;

use super::tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{
    ETHERTYPE_IPV6, FixtureKind, Mac, Network, Packet, PacketBuilder, arp_request, fixtures, put16,
};

#[test]
fn unsolicited_packets_go_nowhere() {
    let mut nat = classic();
    sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let from = |src, port| PacketBuilder::tcp(at(src, port), at(NAT_PUBLIC, 40_001)).build();
    for packet in [
        from(OTHER_SERVER, 443),
        from(SERVER, 444),
        syn(SERVER, NAT_PUBLIC),
    ] {
        assert_eq!(
            dropped(&mut nat, Side::Uplink, &packet),
            DropReason::NoSession
        );
    }
    let private = syn(SERVER, PRIVATE_A);
    assert_eq!(
        dropped(&mut nat, Side::Uplink, &private),
        DropReason::PrivateDestination
    );
    passes(&mut nat, Side::Uplink, &syn(SERVER, OTHER_SERVER));
}

#[test]
fn shared_public_ip_leaves_the_rest_to_the_host() {
    let mut config = ModelConfig::classic();
    config.gateways[0].shared_with_host = true;
    let mut nat = Model::new(config);
    let out = sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let reply = PacketBuilder::tcp(out.destination(), out.source())
        .flags(0x12)
        .build();
    forwarded(&mut nat, Side::Uplink, &reply, PRIVATE_SUBNET);
    passes(&mut nat, Side::Uplink, &syn(SERVER, NAT_PUBLIC));
    passes(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, NAT_PUBLIC));
    passes(
        &mut nat,
        Side::Uplink,
        &arp_request(Mac::SENDER, SERVER, NAT_PUBLIC),
    );
    let fragment = PacketBuilder::udp(at(SERVER, 1), at(NAT_PUBLIC, 1))
        .fragment(0, true)
        .build();
    passes(&mut nat, Side::Uplink, &fragment);
}

#[test]
fn only_a_plain_syn_opens_a_tcp_session() {
    let mut nat = classic();
    for flags in 0..=0xff_u8 {
        let packet = PacketBuilder::tcp(at(PRIVATE_A, 40_001), at(SERVER, 443)).flags(flags);
        let output = nat.clone().handle(NOW, PRIVATE_SUBNET, &packet.build());
        let opens = flags & 0x02 != 0 && flags & 0x15 == 0;
        assert_eq!(
            matches!(output, Output::Forward { .. }),
            opens,
            "flags {flags:#04x}"
        );
    }
    sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let ack = PacketBuilder::tcp(at(PRIVATE_A, 40_001), at(SERVER, 443)).build();
    sent(&mut nat, PRIVATE_SUBNET, &ack);
    assert_eq!(nat.sessions().len(), 1);
}

#[test]
fn each_drop_reason_has_its_packet() {
    use DropReason::*;
    let udp = |from, to| PacketBuilder::udp(at(from, 5353), at(to, 53));
    let forged = Ipv4Addr::new(172, 16, 0, 1);
    let web_neighbour = Ipv4Addr::new(10, 20, 1, 11);
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    let no_subnet = Ipv4Addr::new(10, 40, 77, 7);
    let rows = [
        (SpoofedSource, PRIVATE_SUBNET, udp(forged, SERVER)),
        (SpoofedSource, PRIVATE_SUBNET, udp(WEB_PRIVATE, SERVER)),
        (Blackhole, PRIVATE_SUBNET, udp(PRIVATE_A, nowhere)),
        (NoRoute, PRIVATE_SUBNET, udp(PRIVATE_A, no_subnet)),
        (NoPublicIp, PUBLIC_SUBNET, udp(web_neighbour, SERVER)),
        (
            UnsupportedProtocol,
            PRIVATE_SUBNET,
            PacketBuilder::ip(PRIVATE_A, SERVER, 47),
        ),
        (
            UnsupportedIcmp,
            PRIVATE_SUBNET,
            PacketBuilder::icmp(PRIVATE_A, SERVER, 13, 0),
        ),
        (
            UnsupportedIcmp,
            PRIVATE_SUBNET,
            PacketBuilder::echo_reply(PRIVATE_A, SERVER, 1, 1),
        ),
        (
            Fragment,
            PRIVATE_SUBNET,
            PacketBuilder::icmp(PRIVATE_A, SERVER, 3, 1).fragment(0, true),
        ),
        (
            NoSession,
            Side::Uplink,
            udp(SERVER, NAT_PUBLIC).fragment(0, true),
        ),
        (
            NoSession,
            Side::Uplink,
            PacketBuilder::icmp(SERVER, NAT_PUBLIC, 4, 0),
        ),
        (TtlExpired, PRIVATE_SUBNET, udp(PRIVATE_A, SERVER).ttl(1)),
        (TtlExpired, PUBLIC_SUBNET, udp(WEB_PRIVATE, SERVER).ttl(0)),
        (TtlExpired, Side::Uplink, udp(SERVER, WEB_PUBLIC).ttl(1)),
        (NoSession, PRIVATE_SUBNET, udp(PRIVATE_A, NAT_PUBLIC)),
    ];
    let mut nat = classic();
    for (reason, side, packet) in rows {
        assert_eq!(
            dropped(&mut nat, side, &packet.build()),
            reason,
            "{packet:?}"
        );
    }
    assert!(nat.sessions().is_empty());
    let mut config = ModelConfig::classic();
    config.subnets[1].routes.clear();
    let mut nat = Model::new(config);
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER)),
        NoRoute
    );
}

#[test]
fn malformed_fixtures_are_dropped_and_the_others_are_not() {
    let unreadable_quotes = [
        "icmp_unreachable_quote_0",
        "icmp_unreachable_quote_19",
        "icmp_unreachable_quote_20",
        "icmp_unreachable_quote_bad_checksum",
        "error_inside_quote_0_bytes",
        "error_inside_quote_19_bytes",
        "error_inside_quote_27_bytes",
        "error_inside_quote_cuts_options",
        "error_inside_inner_version_6",
        "error_inside_inner_ihl_4",
        "error_inside_inner_ip_checksum_wrong",
        "error_inside_checksum_wrong",
    ];
    for fixture in fixtures() {
        let output = classic().handle(NOW, PRIVATE_SUBNET, &fixture.frame);
        let is_malformed = output == Output::Drop(DropReason::Malformed);
        assert_eq!(
            is_malformed,
            fixture.kind == FixtureKind::Malformed || unreadable_quotes.contains(&fixture.name),
            "{}",
            fixture.name
        );
    }
    passes(&mut classic(), Side::Uplink, &[0; 13]);
}

#[test]
fn hosts_own_traffic_passes() {
    let mut nat = classic();
    let host = nat.config().host_addresses[0];
    let udp = |from, to| PacketBuilder::udp(at(from, 68), at(to, 67)).build();
    passes(
        &mut nat,
        PRIVATE_SUBNET,
        &udp(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
    );
    passes(
        &mut nat,
        PRIVATE_SUBNET,
        &udp(PRIVATE_A, Ipv4Addr::new(224, 0, 0, 251)),
    );
    passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, host));
    for router in [Ipv4Addr::new(10, 20, 1, 1), Ipv4Addr::new(10, 40, 2, 1)] {
        passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, router));
    }
    passes(
        &mut nat,
        PRIVATE_SUBNET,
        &arp_request(Mac::SENDER, PRIVATE_A, NAT_PUBLIC),
    );
    let mut ipv6 = syn(PRIVATE_A, SERVER);
    put16(&mut ipv6, 12, ETHERTYPE_IPV6);
    passes(&mut nat, PRIVATE_SUBNET, &ipv6);
    let tagged = PacketBuilder::udp(at(SERVER, 1), at(WEB_PUBLIC, 1))
        .vlan(2)
        .build();
    passes(&mut nat, Side::Uplink, &tagged);
}

#[test]
fn arp_is_answered_for_owned_public_ips_only() {
    let mut nat = classic();
    for owned in [NAT_PUBLIC, WEB_PUBLIC] {
        let request = arp_request(Mac::SENDER, SERVER, owned);
        let Output::Reply(reply) = nat.handle(NOW, Side::Uplink, &request) else {
            panic!("no reply for {owned}");
        };
        let reply = Packet::parse(&reply).unwrap();
        let Network::Arp(arp) = reply.network else {
            panic!("not ARP")
        };
        assert_eq!((arp.operation, arp.sender, arp.target), (2, owned, SERVER));
        assert_eq!(arp.sender_mac, nat.config().uplink_mac);
        assert_eq!(reply.ethernet.dst, Mac::SENDER);
    }
    passes(
        &mut nat,
        Side::Uplink,
        &arp_request(Mac::SENDER, SERVER, OTHER_SERVER),
    );
}

#[test]
fn a_session_serves_no_forger_behind_another_interface() {
    let mut nat = classic();
    sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let forged = syn(PRIVATE_A, SERVER);
    assert_eq!(
        dropped(&mut nat, PUBLIC_SUBNET, &forged),
        DropReason::SpoofedSource
    );
}

#[test]
fn a_packet_that_expires_here_takes_no_port() {
    let mut nat = classic();
    let packet = |host, ttl| {
        PacketBuilder::udp(at(host, 5353), at(SERVER, 53))
            .ttl(ttl)
            .build()
    };
    let expiring = dropped(&mut nat, PRIVATE_SUBNET, &packet(PRIVATE_A, 1));
    assert_eq!(expiring, DropReason::TtlExpired);
    let other = sent(&mut nat, PRIVATE_SUBNET, &packet(PRIVATE_B, 2));
    assert_eq!(other.source(), at(NAT_PUBLIC, 5353));
}
