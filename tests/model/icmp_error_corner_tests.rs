//! Tests of ICMP errors: checksums, extensions, order of the rules, random traffic.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::tests::*;
use super::traffic_tests::crowded;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{
    ETHERNET_LEN, Ipv4, Packet, PacketBuilder, Quote, Transport, be16, checksum_errors, icmp_type,
    put16, translated_checksum_errors, with_header_checksum, with_transport_checksum,
};

/// Where things are in a frame whose headers have no options.
const ICMP_CHECKSUM: usize = ETHERNET_LEN + 22;
const INNER: usize = ETHERNET_LEN + 28;
const INNER_UDP_CHECKSUM: usize = INNER + 26;

fn sent_udp(host: Ipv4Addr) -> PacketBuilder {
    PacketBuilder::udp(at(host, 5353), at(SERVER, 53)).payload_len(9)
}

fn come_udp(host: Ipv4Addr) -> PacketBuilder {
    PacketBuilder::udp(at(SERVER, 53), at(host, 5353)).payload_len(9)
}

fn unreachable(from: Ipv4Addr, to: Ipv4Addr, quoted: &PacketBuilder) -> PacketBuilder {
    PacketBuilder::icmp(from, to, icmp_type::UNREACHABLE, 3).quoting(&quoted.build(), None)
}

/// A NAT with one session, whose port was kept.
fn with_udp_session() -> Model {
    let mut nat = classic();
    sent(&mut nat, PRIVATE_SUBNET, &sent_udp(PRIVATE_A).build());
    nat
}

#[track_caller]
fn frame_out(nat: &mut Model, ingress: Side, frame: &[u8]) -> Vec<u8> {
    match nat.handle(NOW, ingress, frame) {
        Output::Forward { frame, .. } => frame,
        other => panic!("not forwarded: {other:?}"),
    }
}

/// One error from each side, through the NAT gateway and 1:1.
fn four_ways() -> [(Side, PacketBuilder); 4] {
    [
        (
            Side::Uplink,
            unreachable(SERVER, NAT_PUBLIC, &sent_udp(NAT_PUBLIC)),
        ),
        (
            PRIVATE_SUBNET,
            unreachable(PRIVATE_A, SERVER, &come_udp(PRIVATE_A)),
        ),
        (
            Side::Uplink,
            unreachable(SERVER, WEB_PUBLIC, &sent_udp(WEB_PUBLIC)),
        ),
        (
            PUBLIC_SUBNET,
            unreachable(WEB_PRIVATE, SERVER, &come_udp(WEB_PRIVATE)),
        ),
    ]
}

#[test]
fn rfc5508_req3a_either_zero_is_a_right_inner_ip_checksum() {
    let mut nat = with_udp_session();
    let quoted = with_header_checksum(&sent_udp(NAT_PUBLIC), 0x0000).build();
    let error = |quoted: &[u8]| {
        PacketBuilder::icmp(SERVER, NAT_PUBLIC, icmp_type::TIME_EXCEEDED, 0)
            .quoting(quoted, None)
            .build()
    };
    let mut other = quoted.clone();
    put16(&mut other, ETHERNET_LEN + 10, 0xffff);
    let out = frame_out(&mut nat, Side::Uplink, &error(&quoted));
    assert_eq!(frame_out(&mut nat, Side::Uplink, &error(&other)), out);
    assert_eq!(checksum_errors(&out), [""; 0]);
}

#[test]
fn rfc5508_req3c_a_wrong_inner_transport_checksum_stays_wrong_by_as_much() {
    for (side, error) in four_ways() {
        let right = error.build();
        let mut wrong = right.clone();
        let value = be16(&right, INNER_UDP_CHECKSUM);
        put16(&mut wrong, INNER_UDP_CHECKSUM, value ^ 0x0100);
        let icmp = be16(&right, ICMP_CHECKSUM);
        // One word of the message went up by 0x100, or down: so goes the checksum, the other way.
        let icmp_after = if value & 0x0100 == 0 {
            icmp.wrapping_sub(0x0100)
        } else {
            icmp.wrapping_add(0x0100)
        };
        put16(&mut wrong, ICMP_CHECKSUM, icmp_after);
        assert_eq!(
            checksum_errors(&wrong),
            [""; 0],
            "the error itself is right"
        );
        let mut nat = with_udp_session();
        let right_out = frame_out(&mut nat, side, &right);
        let wrong_out = frame_out(&mut nat, side, &wrong);
        assert_eq!(checksum_errors(&wrong_out), [""; 0]);
        assert_eq!(
            i32::from(be16(&wrong_out, INNER_UDP_CHECKSUM))
                - i32::from(be16(&right_out, INNER_UDP_CHECKSUM)),
            i32::from(value ^ 0x0100) - i32::from(value)
        );
    }
}

#[test]
fn half_a_quoted_checksum_is_left_alone() {
    let tcp = |from, to| PacketBuilder::tcp(at(from, 5353), at(to, 53));
    let udp = |from, to| PacketBuilder::udp(at(from, 5353), at(to, 53));
    for (quoted, length) in [(tcp(WEB_PUBLIC, SERVER), 37), (udp(WEB_PUBLIC, SERVER), 27)] {
        let error = unreachable(SERVER, WEB_PUBLIC, &quoted);
        let error = error.quoting(&quoted.build(), Some(length)).build();
        let out = frame_out(&mut classic(), Side::Uplink, &error);
        assert_eq!(out[INNER + 20..], error[INNER + 20..]);
        assert_eq!(checksum_errors(&out), [""; 0]);
    }
}

#[test]
fn rfc5508_req3d_extensions_are_left_alone() {
    let objects = [0, 8, 1, 1, 0, 1, 0x41, 0xff];
    for (side, error) in four_ways() {
        let frame = error.extension(&objects).build();
        let out = frame_out(&mut with_udp_session(), side, &frame);
        assert_eq!(translated_checksum_errors(&frame, &out), [""; 0]);
        assert_eq!(out[INNER + 28..], frame[INNER + 28..]);
        assert_eq!(out.len(), INNER + 128 + 12);
    }
}

#[test]
fn rfc5508_req3_an_error_with_a_wrong_checksum_is_malformed() {
    for (side, error) in four_ways() {
        let mut nat = with_udp_session();
        frame_out(&mut nat, side, &error.build());
        let wrong = error.break_transport_checksum().build();
        assert_eq!(
            nat.handle(NOW, side, &wrong),
            Output::Drop(DropReason::Malformed)
        );
    }
}

#[test]
fn rfc768_quoted_udp_checksum_neither_vanishes_nor_appears() {
    let mut nat = with_udp_session();
    let seen = PacketBuilder::udp(at(NAT_PUBLIC, 5353), at(SERVER, 53));
    let sent = PacketBuilder::udp(at(PRIVATE_A, 5353), at(SERVER, 53));
    let all_ones = with_transport_checksum(&sent, 0xffff).source(NAT_PUBLIC);
    for (quoted, expected) in [(all_ones, 0xffff), (seen.without_udp_checksum(), 0)] {
        for length in [28, 30] {
            let error = unreachable(SERVER, NAT_PUBLIC, &quoted);
            let error = error.quoting(&quoted.build(), Some(length)).build();
            let out = frame_out(&mut nat, Side::Uplink, &error);
            assert_eq!(be16(&out, INNER_UDP_CHECKSUM), expected);
        }
    }
}

#[test]
fn rules_about_any_packet_come_before_the_quote() {
    use DropReason::*;
    let unreadable = |from, to| PacketBuilder::icmp(from, to, icmp_type::UNREACHABLE, 1);
    let forged = Ipv4Addr::new(172, 16, 0, 1);
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    let neighbour = Ipv4Addr::new(10, 20, 1, 11);
    let rows = [
        (SpoofedSource, PRIVATE_SUBNET, unreadable(forged, SERVER)),
        (Blackhole, PRIVATE_SUBNET, unreadable(PRIVATE_A, nowhere)),
        (Malformed, PRIVATE_SUBNET, unreadable(PRIVATE_A, WEB_PUBLIC)),
        (NoPublicIp, PUBLIC_SUBNET, unreadable(neighbour, SERVER)),
        (
            Fragment,
            PRIVATE_SUBNET,
            unreadable(PRIVATE_A, SERVER).fragment(0, true),
        ),
        (
            NoSession,
            Side::Uplink,
            unreadable(SERVER, NAT_PUBLIC).fragment(0, true),
        ),
        (
            PrivateDestination,
            Side::Uplink,
            unreadable(SERVER, PRIVATE_A),
        ),
        (
            Malformed,
            PRIVATE_SUBNET,
            unreadable(PRIVATE_A, SERVER).ttl(1),
        ),
        (
            Malformed,
            Side::Uplink,
            unreadable(SERVER, NAT_PUBLIC).ttl(1),
        ),
        (
            NoSession,
            Side::Uplink,
            unreachable(SERVER, NAT_PUBLIC, &sent_udp(OTHER_SERVER)).ttl(1),
        ),
        (
            NoSession,
            PUBLIC_SUBNET,
            unreachable(WEB_PRIVATE, SERVER, &come_udp(neighbour)).ttl(1),
        ),
        (
            NoSession,
            Side::Uplink,
            unreachable(SERVER, WEB_PUBLIC, &sent_udp(NAT_PUBLIC)).ttl(1),
        ),
    ];
    let mut nat = with_udp_session();
    for (reason, side, error) in rows {
        assert_eq!(dropped(&mut nat, side, &error.build()), reason, "{error:?}");
    }
    for (side, error) in four_ways() {
        let expiring = error.ttl(1).build();
        assert_eq!(dropped(&mut nat, side, &expiring), TtlExpired);
    }
    let multicast = Ipv4Addr::new(224, 0, 0, 251);
    passes(
        &mut nat,
        PRIVATE_SUBNET,
        &unreadable(PRIVATE_A, multicast).build(),
    );
}

#[test]
fn shared_public_ip_leaves_errors_about_the_host_to_it() {
    let mut config = ModelConfig::classic();
    config.gateways[0].shared_with_host = true;
    let mut nat = Model::new(config);
    sent(&mut nat, PRIVATE_SUBNET, &sent_udp(PRIVATE_A).build());
    let about = |quoted: &PacketBuilder| unreachable(SERVER, NAT_PUBLIC, quoted).build();
    let error = about(&sent_udp(NAT_PUBLIC));
    forwarded(&mut nat, Side::Uplink, &error, PRIVATE_SUBNET);
    let of_host = PacketBuilder::tcp(at(NAT_PUBLIC, 22), at(SERVER, 9));
    passes(&mut nat, Side::Uplink, &about(&of_host));
    let ping_reply = PacketBuilder::echo_reply(NAT_PUBLIC, SERVER, 1, 1);
    passes(&mut nat, Side::Uplink, &about(&ping_reply));
    let unreadable = about(&of_host.break_ip_checksum());
    assert_eq!(
        dropped(&mut nat, Side::Uplink, &unreadable),
        DropReason::Malformed
    );
}

#[test]
fn an_error_to_one_public_ip_is_not_about_another() {
    let other = Ipv4Addr::new(198, 51, 100, 11);
    let mut config = ModelConfig::classic();
    config.gateways[0].public_ips.push(other);
    let mut nat = Model::new(config);
    sent(&mut nat, PRIVATE_SUBNET, &sent_udp(PRIVATE_A).build());
    let to = |public| unreachable(SERVER, public, &sent_udp(NAT_PUBLIC)).build();
    forwarded(&mut nat, Side::Uplink, &to(NAT_PUBLIC), PRIVATE_SUBNET);
    assert_eq!(
        dropped(&mut nat, Side::Uplink, &to(other)),
        DropReason::NoSession
    );
}

#[test]
fn fragments_of_errors_of_an_elastic_ip_keep_what_they_quote() {
    for (side, error) in &four_ways()[2..] {
        for (offset, more) in [(0, true), (64, false)] {
            let frame = error.clone().fragment(offset, more).build();
            let out = frame_out(&mut classic(), *side, &frame);
            assert_eq!(out[ETHERNET_LEN + 20..], frame[ETHERNET_LEN + 20..]);
        }
    }
}

#[test]
fn other_types_are_not_taken_for_errors() {
    for icmp_type in [4, 5, 9, 13, 17, 30, 255] {
        let error = |from, to, quoted: &PacketBuilder| {
            PacketBuilder::icmp(from, to, icmp_type, 0).quoting(&quoted.build(), None)
        };
        let inside = error(PRIVATE_A, SERVER, &come_udp(PRIVATE_A)).build();
        let outside = error(SERVER, NAT_PUBLIC, &sent_udp(NAT_PUBLIC)).build();
        let mut nat = with_udp_session();
        assert_eq!(
            dropped(&mut nat, PRIVATE_SUBNET, &inside),
            DropReason::UnsupportedIcmp
        );
        assert_eq!(
            dropped(&mut nat, Side::Uplink, &outside),
            DropReason::NoSession
        );
    }
}

fn ip_of(frame: &[u8]) -> Ipv4 {
    Packet::parse(frame).unwrap().ipv4().unwrap().clone()
}

/// What an unfragmented error of a translated type quotes.
fn quote_of(frame: &[u8]) -> Option<Quote> {
    let ip = Packet::parse(frame).ok()?.ipv4()?.clone();
    match &ip.transport {
        Transport::Icmp(icmp) if matches!(icmp.icmp_type, 3 | 11 | 12) && !ip.is_fragment() => {
            Quote::parse(&icmp.payload).ok()
        }
        _ => None,
    }
}

#[test]
fn random_errors_cross_every_way_and_quote_the_host_that_they_are_about() {
    let mut crossed: BTreeMap<(&str, &str, u8), u32> = BTreeMap::new();
    let mut dropped: BTreeMap<&str, u32> = BTreeMap::new();
    for config in [ModelConfig::classic(), crowded()] {
        let mut nat = Model::new(config.clone());
        let mut traffic = random_traffic(8, 20_000, &config);
        let mut now = NOW;
        while let Some(step) = traffic.next() {
            let Some((ingress, frame)) = step.take(&mut nat, &mut now) else {
                continue;
            };
            let quote = quote_of(&frame);
            let sessions = quote.as_ref().map(|_| nat.sessions());
            let output = nat.handle(now, ingress, &frame);
            assert!(sessions.is_none_or(|before| before == nat.sessions()));
            match output {
                Output::Forward {
                    frame: out, egress, ..
                } => {
                    traffic.observe(ingress, &frame, &out);
                    let Some(before) = quote else { continue };
                    let (ip, after) = (ip_of(&out), quote_of(&out).unwrap());
                    // Nothing is translated within the VPC.
                    if before == after {
                        continue;
                    }
                    let way = match (ingress, egress) {
                        (Side::Uplink, _) => "in",
                        (_, Side::Uplink) => "out",
                        _ => "hairpin",
                    };
                    let public = if way == "in" { before.src } else { after.dst };
                    if way == "in" {
                        assert_eq!((before.dst, ip_of(&frame).src), (after.dst, ip.src));
                    } else {
                        assert_eq!(after.dst, ip.src);
                    }
                    if way == "out" {
                        assert_eq!((before.src, ip_of(&frame).dst), (after.src, ip.dst));
                    } else {
                        assert_eq!(after.src, ip.dst);
                    }
                    let elastic = config.instance_of_public(public).is_some();
                    let kind = if elastic { "1:1" } else { "gateway" };
                    *crossed.entry((way, kind, before.protocol)).or_default() += 1;
                }
                Output::Drop(reason) if quote.is_some() => {
                    *dropped.entry(reason.name()).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    for way in ["in", "out", "hairpin"] {
        for kind in ["1:1", "gateway"] {
            for protocol in [1, 6, 17] {
                let count = crossed.get(&(way, kind, protocol)).copied().unwrap_or(0);
                let least = if way == "hairpin" { 0 } else { 3 };
                assert!(count >= least, "{way} {kind} {protocol}: {crossed:?}");
            }
        }
    }
    for kind in ["1:1", "gateway"] {
        for protocol in [6, 17] {
            let count = crossed.get(&("hairpin", kind, protocol));
            assert!(count.is_some_and(|count| *count >= 3), "{crossed:?}");
        }
    }
    for reason in ["malformed", "no_session", "ttl_expired", "spoofed_source"] {
        assert!(dropped.contains_key(reason), "{reason}: {dropped:?}");
    }
}
