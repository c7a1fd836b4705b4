//! Tests of fragments through a NAT gateway.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{
    Ipv4, Packet, PacketBuilder, checksum_errors, fragments_of, protocol, tcp_flags,
};

fn datagram(from: SocketAddrV4, to: SocketAddrV4, id: u16) -> Vec<Vec<u8>> {
    let whole = PacketBuilder::udp(from, to).payload_len(500).id(id).build();
    fragments_of(&whole, 200)
}

fn outgoing(id: u16) -> Vec<Vec<u8>> {
    datagram(at(PRIVATE_A, 40_001), at(SERVER, 53), id)
}

#[track_caller]
fn sent_frame(output: Output) -> Vec<u8> {
    match output {
        Output::Forward { frame, .. } => frame,
        other => panic!("not forwarded: {other:?}"),
    }
}

fn ip_of(frame: &[u8]) -> Ipv4 {
    Packet::parse(frame).unwrap().ipv4().unwrap().clone()
}

/// The datagram that these fragments were, with this identification.
fn joined(fragments: &[Vec<u8>], id: u16) -> Vec<u8> {
    let first = ip_of(&fragments[0]);
    let data: Vec<u8> = fragments
        .iter()
        .flat_map(|frame| frame[34..].to_vec())
        .collect();
    PacketBuilder::ip(first.src, first.dst, first.protocol)
        .payload(&data)
        .ttl(first.ttl)
        .id(id)
        .build()
}

#[test]
fn rfc4787_req14_fragments_in_order_are_the_translated_datagram() {
    let mut nat = classic();
    let out: Vec<_> = outgoing(7)
        .iter()
        .map(|piece| sent_frame(nat.handle(NOW, PRIVATE_SUBNET, piece)))
        .collect();
    assert_eq!(out.len(), 3);
    let whole = joined(&out, 0);
    assert_eq!(checksum_errors(&whole), [""; 0]);
    let ip = ip_of(&whole);
    assert_eq!((ip.source(), ip.dst), (at(NAT_PUBLIC, 40_001), SERVER));
    assert_eq!(nat.sessions()[0].forward.packets, 1, "the first one counts");
    let ids: Vec<_> = out.iter().map(|frame| ip_of(frame).id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    // The answer keeps its identification.
    for piece in datagram(at(SERVER, 53), at(NAT_PUBLIC, 40_001), 9) {
        let frame = sent_frame(nat.handle(NOW, Side::Uplink, &piece));
        assert_eq!((ip_of(&frame).dst, ip_of(&frame).id), (PRIVATE_A, 9));
    }
}

#[test]
fn rfc6864_two_hosts_get_different_identifications() {
    let mut nat = classic();
    let of_b = datagram(at(PRIVATE_B, 40_001), at(SERVER, 53), 7);
    let mut ids = Vec::new();
    for pieces in [outgoing(7), of_b, outgoing(8)] {
        ids.push(ip_of(&sent_frame(nat.handle(NOW, PRIVATE_SUBNET, &pieces[0]))).id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    // Whole packets keep theirs, and so do those of elastic IPs.
    let whole = PacketBuilder::udp(at(PRIVATE_A, 1), at(SERVER, 53))
        .id(7)
        .build();
    assert_eq!(sent(&mut nat, PRIVATE_SUBNET, &whole).id, 7);
    let of_web = datagram(at(WEB_PRIVATE, 1), at(SERVER, 53), 7);
    assert_eq!(
        ip_of(&sent_frame(nat.handle(NOW, PUBLIC_SUBNET, &of_web[0]))).id,
        7
    );
}

#[test]
fn judge_takes_any_identification_that_no_other_datagram_has() {
    let mut nat = classic();
    let seen = |host: Ipv4Addr, to, id| {
        let port = if host == PRIVATE_A { 1111 } else { 2222 };
        let pieces = datagram(at(host, port), at(to, 53), 7);
        let translated = ip_of(&pieces[0]);
        let out = datagram(at(NAT_PUBLIC, port), at(to, 53), id);
        let out = PacketBuilder::ip(NAT_PUBLIC, to, translated.protocol)
            .payload(&out[0][34..])
            .ttl(63)
            .id(id)
            .fragment(0, true)
            .build();
        (pieces, out)
    };
    let mut check = |now, host, to, id| {
        let (pieces, out) = seen(host, to, id);
        let actual = Actual::Forward {
            egress: None,
            next_hop: None,
            frame: &out,
        };
        nat.check(now, PRIVATE_SUBNET, &pieces[0], &actual)
    };
    assert_eq!(check(NOW, PRIVATE_A, SERVER, 500), Ok(()));
    assert_eq!(
        check(NOW, PRIVATE_A, SERVER, 500),
        Ok(()),
        "the same datagram"
    );
    assert_eq!(
        check(NOW, PRIVATE_B, OTHER_SERVER, 500),
        Ok(()),
        "another receiver"
    );
    let same = check(NOW, PRIVATE_B, SERVER, 500);
    assert!(same.unwrap_err().contains("identification"));
    assert_eq!(
        check(Duration::from_secs(31), PRIVATE_B, SERVER, 500),
        Ok(())
    );
}

#[test]
fn later_fragments_share_the_fate_of_the_first() {
    let no_translate = NoTranslate {
        destination: "203.0.113.0/24".parse().unwrap(),
        protocol: Some(protocol::UDP),
        ports: Some(53..=53),
    };
    let mut config = ModelConfig::classic();
    config.gateways[0].no_translate = vec![no_translate];
    config.gateways[0].ports = vec![40_001..=40_001];
    let mut nat = Model::new(config);
    for piece in datagram(at(PRIVATE_A, 1), at(OTHER_SERVER, 53), 7) {
        passes(&mut nat, PRIVATE_SUBNET, &piece);
    }
    let taken = PacketBuilder::udp(at(PRIVATE_B, 1), at(SERVER, 53)).build();
    sent(&mut nat, PRIVATE_SUBNET, &taken);
    let pieces = outgoing(7);
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &pieces[0]),
        DropReason::PortExhausted
    );
    let output = nat.handle(NOW, PRIVATE_SUBNET, &pieces[1]);
    assert_eq!(output, Output::Drop(DropReason::Fragment));
    let pieces = datagram(at(SERVER, 1), at(NAT_PUBLIC, 1), 7);
    assert_eq!(
        dropped(&mut nat, Side::Uplink, &pieces[0]),
        DropReason::NoSession
    );
    assert_eq!(
        dropped(&mut nat, Side::Uplink, &pieces[1]),
        DropReason::Fragment
    );
}

#[test]
fn a_first_fragment_opens_what_a_whole_packet_would() {
    let segment = |flags| {
        let whole = PacketBuilder::tcp(at(PRIVATE_A, 40_001), at(SERVER, 443))
            .flags(flags)
            .payload_len(400)
            .build();
        fragments_of(&whole, 200)
    };
    let mut nat = classic();
    let middle = segment(tcp_flags::ACK);
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &middle[0]),
        DropReason::NoSession
    );
    let opening = segment(tcp_flags::SYN);
    for piece in &opening {
        sent_frame(nat.handle(NOW, PRIVATE_SUBNET, piece));
    }
    assert_eq!(nat.sessions().len(), 1);
    let ping = PacketBuilder::echo_request(PRIVATE_A, SERVER, 1, 1).payload_len(300);
    let out: Vec<_> = fragments_of(&ping.build(), 96)
        .iter()
        .map(|piece| sent_frame(nat.handle(NOW, PRIVATE_SUBNET, piece)))
        .collect();
    assert_eq!(checksum_errors(&joined(&out, 0)), [""; 0]);
}

#[test]
fn rfc4787_req14a_later_fragments_wait_for_the_first() {
    let mut nat = classic();
    let pieces = outgoing(7);
    let others = outgoing(8);
    for piece in [&pieces[2], &others[1], &pieces[1]] {
        assert_eq!(nat.handle(NOW, PRIVATE_SUBNET, piece), Output::Hold);
    }
    let Output::Release(outputs) = nat.handle(NOW, PRIVATE_SUBNET, &pieces[0]) else {
        panic!("not released");
    };
    let frames: Vec<_> = outputs.into_iter().map(sent_frame).collect();
    let in_order = [frames[0].clone(), frames[2].clone(), frames[1].clone()];
    assert_eq!(checksum_errors(&joined(&in_order, 0)), [""; 0]);
    let offsets: Vec<_> = frames
        .iter()
        .map(|frame| ip_of(frame).fragment_offset)
        .collect();
    assert_eq!(offsets, [0, 400, 200], "in the order in which they came");
    // Released once; the other datagram waits on.
    sent_frame(nat.handle(NOW, PRIVATE_SUBNET, &pieces[0]));
    assert!(matches!(
        nat.handle(NOW, PRIVATE_SUBNET, &others[0]),
        Output::Release(outputs) if outputs.len() == 2
    ));
}

#[test]
fn what_waited_for_a_first_fragment_that_is_dropped_is_dropped() {
    let mut nat = classic();
    let pieces = datagram(at(SERVER, 1), at(NAT_PUBLIC, 1), 7);
    assert_eq!(nat.handle(NOW, Side::Uplink, &pieces[1]), Output::Hold);
    assert_eq!(
        nat.handle(NOW, Side::Uplink, &pieces[0]),
        Output::Release(vec![
            Output::Drop(DropReason::NoSession),
            Output::Drop(DropReason::Fragment),
        ])
    );
}

#[test]
fn a_hook_that_cannot_hold_passes_later_fragments() {
    let mut config = ModelConfig::classic();
    config.holds_fragments = false;
    let mut nat = Model::new(config);
    let pieces = outgoing(7);
    passes(&mut nat, PRIVATE_SUBNET, &pieces[1]);
    sent_frame(nat.handle(NOW, PRIVATE_SUBNET, &pieces[0]));
    sent_frame(nat.handle(NOW, PRIVATE_SUBNET, &pieces[1]));
}

#[test]
fn few_fragments_wait_and_the_oldest_are_lost() {
    let later = |id, offset| {
        PacketBuilder::ip(PRIVATE_A, SERVER, protocol::UDP)
            .payload_len(8)
            .id(id)
            .fragment(offset, true)
            .build()
    };
    let first = |id| {
        let udp = PacketBuilder::udp(at(PRIVATE_A, 1), at(SERVER, 53)).payload_len(8);
        udp.id(id).fragment(0, true).build()
    };
    let released = |nat: &mut Model, id| match nat.handle(NOW, PRIVATE_SUBNET, &first(id)) {
        Output::Release(outputs) => outputs[1..]
            .iter()
            .map(|output| ip_of(&sent_frame(output.clone())).fragment_offset)
            .collect(),
        _ => Vec::new(),
    };
    let mut nat = classic();
    for number in 1..=65 {
        nat.handle(NOW, PRIVATE_SUBNET, &later(7, number * 8));
    }
    let expected: Vec<_> = (2..=65).map(|number| number * 8).collect();
    assert_eq!(released(&mut nat, 7), expected);
    for id in 0..=512 {
        nat.handle(NOW, PRIVATE_SUBNET, &later(1000 + id, 8));
    }
    assert_eq!(released(&mut nat, 1000), [0; 0]);
    assert_eq!(released(&mut nat, 1001), [8]);
    let long = |payload| {
        PacketBuilder::ip(PRIVATE_A, SERVER, protocol::UDP)
            .payload_len(payload)
            .id(9)
            .fragment(8, true)
            .build()
    };
    assert_eq!(nat.handle(NOW, PRIVATE_SUBNET, &long(2014)), Output::Hold);
    let too_long = nat.handle(NOW, PRIVATE_SUBNET, &long(2015));
    assert_eq!(too_long, Output::Drop(DropReason::Fragment));
}

#[test]
fn fragments_are_remembered_for_half_a_minute() {
    let (soon, late) = (Duration::from_millis(30_000), Duration::from_millis(30_300));
    let mut nat = classic();
    let pieces = outgoing(7);
    nat.handle(NOW, PRIVATE_SUBNET, &pieces[0]);
    sent_frame(nat.handle(soon, PRIVATE_SUBNET, &pieces[1]));
    assert_eq!(nat.handle(late, PRIVATE_SUBNET, &pieces[2]), Output::Hold);
    let mut nat = classic();
    nat.handle(NOW, PRIVATE_SUBNET, &pieces[1]);
    sent_frame(nat.handle(late, PRIVATE_SUBNET, &pieces[0]));
}

#[test]
fn a_forged_first_fragment_decides_nothing() {
    let mut nat = classic();
    let pieces = outgoing(7);
    assert_eq!(nat.handle(NOW, PRIVATE_SUBNET, &pieces[1]), Output::Hold);
    let forged = nat.handle(NOW, PUBLIC_SUBNET, &pieces[0]);
    assert_eq!(forged, Output::Drop(DropReason::SpoofedSource));
    assert_eq!(nat.handle(NOW, PRIVATE_SUBNET, &pieces[2]), Output::Hold);
    let Output::Release(outputs) = nat.handle(NOW, PRIVATE_SUBNET, &pieces[0]) else {
        panic!("not released");
    };
    assert_eq!(outputs.len(), 3);
}

#[test]
fn fragments_of_hairpins_change_at_both_ends() {
    let mut nat = classic();
    let pieces = datagram(at(PRIVATE_A, 40_001), at(WEB_PUBLIC, 53), 7);
    let out: Vec<_> = pieces
        .iter()
        .map(|piece| sent_frame(nat.handle(NOW, PRIVATE_SUBNET, piece)))
        .collect();
    let whole = joined(&out, 0);
    assert_eq!(checksum_errors(&whole), [""; 0]);
    let ip = ip_of(&whole);
    assert_eq!(
        (ip.source(), ip.destination()),
        (at(NAT_PUBLIC, 40_001), at(WEB_PRIVATE, 53))
    );
    // And back, of which one way needs no session.
    for piece in datagram(at(WEB_PRIVATE, 53), at(NAT_PUBLIC, 40_001), 7) {
        let ip = ip_of(&sent_frame(nat.handle(NOW, PUBLIC_SUBNET, &piece)));
        assert_eq!((ip.src, ip.dst, ip.id), (WEB_PUBLIC, PRIVATE_A, 7));
    }
}

#[test]
fn rfc4787_req13a_a_packet_that_is_too_big_is_cut_and_translated() {
    let mut config = ModelConfig::classic();
    config.mtus.insert(Side::Uplink, 576);
    config.mtus.insert(Side::Inside(1), 300);
    let mut nat = Model::new(config);
    let (host, server) = (at(PRIVATE_A, 40_001), at(SERVER, 53));
    let mapped = at(NAT_PUBLIC, 40_001);
    for (side, from, to, mtu, (seen_from, seen_to)) in [
        (PRIVATE_SUBNET, host, server, 576, (mapped, server)),
        (Side::Uplink, server, mapped, 300, (server, host)),
    ] {
        let frame = PacketBuilder::udp(from, to).payload_len(1000).id(7).build();
        let Output::Cut(outputs) = nat.handle(NOW, side, &frame) else {
            panic!("not cut");
        };
        let fragments: Vec<_> = outputs.into_iter().map(sent_frame).collect();
        assert!(fragments.iter().all(|frame| frame.len() <= 14 + mtu));
        for fragment in &fragments {
            assert_eq!(checksum_errors(fragment), [""; 0]);
            assert_eq!(ip_of(fragment).id, ip_of(&fragments[0]).id);
        }
        let whole = joined(&fragments, 0);
        assert_eq!(checksum_errors(&whole), [""; 0]);
        let ip = ip_of(&whole);
        assert_eq!((ip.source(), ip.destination()), (seen_from, seen_to));
        assert_eq!(ip.total_length, 1028);
    }
    let mut handing_up = Model::new(ModelConfig {
        holds_fragments: false,
        ..nat.config().clone()
    });
    let frame = PacketBuilder::udp(host, server).payload_len(1000).build();
    assert_eq!(handing_up.handle(NOW, PRIVATE_SUBNET, &frame), Output::Pass);
}
