//! Tests of the sessions of filtered instances that no NAT gateway translates.

use std::time::Duration;

use super::group_tests::*;
use super::tests::*;
use super::vpc_tests::*;
use super::*;
use crate::packets::addresses::{
    OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{Packet, PacketBuilder, fragments_of, icmp_type, protocol, tcp_flags};

#[test]
fn answers_of_a_local_flow_are_not_asked() {
    for packet in [
        from_db(),
        PacketBuilder::tcp(at(PRIVATE_A, 5000), at(WEB_PRIVATE, 53)),
        PacketBuilder::ip(PRIVATE_A, WEB_PRIVATE, protocol::GRE),
    ] {
        let mut nat = filtered(DB, vec![group(vec![], None)]);
        let built = packet.clone().build();
        let answer = match Packet::parse(&built).unwrap().ipv4().unwrap().protocol {
            protocol::UDP => PacketBuilder::udp(at(WEB_PRIVATE, 53), at(PRIVATE_A, 5000)),
            protocol::TCP => PacketBuilder::tcp(at(WEB_PRIVATE, 53), at(PRIVATE_A, 5000)),
            other => PacketBuilder::ip(WEB_PRIVATE, PRIVATE_A, other),
        };
        assert!(!goes(&nat, PUBLIC_SUBNET, &answer));
        given(&mut nat, PRIVATE_SUBNET, &built);
        assert!(goes(&nat, PUBLIC_SUBNET, &answer));
        given(&mut nat, PUBLIC_SUBNET, &answer.build());
        let sessions = nat.sessions();
        assert_eq!(sessions.len(), 1);
        assert_eq!(
            (sessions[0].mapping, sessions[0].via),
            (Mapping::Unchanged, Via::Local)
        );
        assert_eq!(sessions[0].public, sessions[0].flow.inside);
        let packets = [sessions[0].forward.packets, sessions[0].reverse.packets];
        assert_eq!(packets, [1, 1]);
    }
}

#[test]
fn a_ping_is_answered_and_not_returned() {
    let mut nat = filtered(DB, vec![group(vec![], None)]);
    let ping = PacketBuilder::echo_request(PRIVATE_A, WEB_PRIVATE, 7, 1).build();
    given(&mut nat, PRIVATE_SUBNET, &ping);
    let answer = PacketBuilder::echo_reply(WEB_PRIVATE, PRIVATE_A, 7, 1);
    assert!(goes(&nat, PUBLIC_SUBNET, &answer));
    let other = PacketBuilder::echo_reply(WEB_PRIVATE, PRIVATE_A, 8, 1);
    assert!(!goes(&nat, PUBLIC_SUBNET, &other));
    let back = PacketBuilder::echo_request(WEB_PRIVATE, PRIVATE_A, 7, 1);
    assert!(!goes(&nat, PUBLIC_SUBNET, &back));
}

#[test]
fn what_belongs_to_no_flow_is_asked_every_time() {
    let mut nat = filtered(DB, vec![group(vec![], None)]);
    let question = PacketBuilder::icmp(PRIVATE_A, WEB_PRIVATE, icmp_type::TIMESTAMP, 0);
    given(&mut nat, PRIVATE_SUBNET, &question.build());
    assert!(nat.sessions().is_empty());
    let answer = PacketBuilder::icmp(WEB_PRIVATE, PRIVATE_A, 14, 0);
    assert!(!goes(&nat, PUBLIC_SUBNET, &answer));
}

#[test]
fn a_one_to_one_flow_of_a_filtered_instance_has_a_session() {
    let mut nat = filtered(WEB, vec![group(only(SERVER), None)]);
    let stranger = PacketBuilder::udp(at(OTHER_SERVER, 53), at(WEB_PUBLIC, 5000));
    assert!(!goes(&nat, Side::Uplink, &stranger));
    // From inside.
    sent(
        &mut nat,
        PUBLIC_SUBNET,
        &udp(WEB_PRIVATE, OTHER_SERVER).build(),
    );
    let answer = stranger.build();
    forwarded(&mut nat, Side::Uplink, &answer, PUBLIC_SUBNET);
    let session = nat.sessions()[0];
    let packets = [session.forward.packets, session.reverse.packets];
    assert_eq!((session.public, packets), (at(WEB_PUBLIC, 5000), [1, 1]));
    assert_eq!(session.mapping, Mapping::OneToOne);
    // From outside, where egress is closed.
    nat.config.vpcs[0].security_groups[0].egress = Some(vec![]);
    let answer = PacketBuilder::udp(at(WEB_PRIVATE, 53), at(SERVER, 5000));
    assert!(!goes(&nat, PUBLIC_SUBNET, &answer));
    let packet = udp(SERVER, WEB_PUBLIC).build();
    forwarded(&mut nat, Side::Uplink, &packet, PUBLIC_SUBNET);
    assert!(goes(&nat, PUBLIC_SUBNET, &answer));
    assert_eq!(nat.sessions().len(), 2);
    // Not filtered, it has none.
    let mut nat = classic();
    forwarded(&mut nat, Side::Uplink, &packet, PUBLIC_SUBNET);
    assert!(nat.sessions().is_empty());
}

#[test]
fn a_ping_from_outside_is_answered_and_not_returned() {
    let mut nat = filtered(WEB, vec![group(only(SERVER), Some(vec![]))]);
    let ping = PacketBuilder::echo_request(SERVER, WEB_PUBLIC, 7, 1).build();
    forwarded(&mut nat, Side::Uplink, &ping, PUBLIC_SUBNET);
    let answer = PacketBuilder::echo_reply(WEB_PRIVATE, SERVER, 7, 1);
    assert!(goes(&nat, PUBLIC_SUBNET, &answer));
    let back = PacketBuilder::echo_request(WEB_PRIVATE, SERVER, 7, 1);
    assert!(!goes(&nat, PUBLIC_SUBNET, &back));
}

#[test]
fn icmp_errors_pass_to_a_filtered_instance_about_live_sessions_only() {
    let mut nat = filtered(DB, vec![group(vec![], None)]);
    let about = |packet: &PacketBuilder, from, to| {
        let quoted = packet.clone().ttl(1).build();
        PacketBuilder::icmp(from, to, 3, 3).quoting(&quoted, Some(28))
    };
    let near = about(&from_db(), WEB_PRIVATE, PRIVATE_A).build();
    let reason = dropped(&mut nat, PUBLIC_SUBNET, &near);
    assert_eq!(reason, DropReason::NoSession);
    given(&mut nat, PRIVATE_SUBNET, &from_db().build());
    given(&mut nat, PUBLIC_SUBNET, &near);
    for other in [
        about(&udp(PRIVATE_A, APPLIANCE), WEB_PRIVATE, PRIVATE_A),
        about(&udp(PRIVATE_B, WEB_PRIVATE), WEB_PRIVATE, PRIVATE_A),
    ] {
        let reason = dropped(&mut nat, PUBLIC_SUBNET, &other.build());
        assert_eq!(reason, DropReason::NoSession);
    }
    // About an answer, from who is filtered: the same.
    let from_db = |port| {
        let answer = PacketBuilder::udp(at(WEB_PRIVATE, 53), at(PRIVATE_A, port));
        about(&answer, PRIVATE_A, WEB_PRIVATE).build()
    };
    given(&mut nat, PRIVATE_SUBNET, &from_db(5000));
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &from_db(6000));
    assert_eq!(reason, DropReason::NoSession);
    let packets = nat.sessions()[0];
    assert_eq!([packets.forward.packets, packets.reverse.packets], [1, 0]);
    let late = nat.handle(Duration::from_secs(40), PUBLIC_SUBNET, &near);
    assert_eq!(late, Output::Drop(DropReason::NoSession));
}

#[test]
fn icmp_errors_from_outside_pass_to_a_filtered_instance_about_live_sessions_only() {
    let mut nat = filtered(WEB, vec![group(everybody(), None)]);
    let quoted = udp(WEB_PUBLIC, SERVER).build();
    let error = PacketBuilder::icmp(OTHER_SERVER, WEB_PUBLIC, 11, 0).quoting(&quoted, None);
    let reason = dropped(&mut nat, Side::Uplink, &error.clone().build());
    assert_eq!(reason, DropReason::NoSession);
    sent(&mut nat, PUBLIC_SUBNET, &udp(WEB_PRIVATE, SERVER).build());
    forwarded(
        &mut nat,
        Side::Uplink,
        &error.clone().build(),
        PUBLIC_SUBNET,
    );
    nat.config.instances[WEB].groups.clear();
    nat.forget_idle(Duration::from_secs(60));
    forwarded(&mut nat, Side::Uplink, &error.build(), PUBLIC_SUBNET);
}

#[test]
fn tracked_flows_have_timers_of_their_own() {
    let tcp = |flags| PacketBuilder::tcp(at(PRIVATE_A, 5000), at(WEB_PRIVATE, 53)).flags(flags);
    let back = |flags| PacketBuilder::tcp(at(WEB_PRIVATE, 53), at(PRIVATE_A, 5000)).flags(flags);
    let answer = PacketBuilder::udp(at(WEB_PRIVATE, 53), at(PRIVATE_A, 5000));
    let ping = PacketBuilder::echo_request(PRIVATE_A, WEB_PRIVATE, 7, 1);
    let (syn, both) = (tcp_flags::SYN, tcp_flags::SYN | tcp_flags::ACK);
    let rows = [
        (vec![from_db()], 30),
        (vec![from_db(), answer], 180),
        (vec![ping], 30),
        (vec![tcp(syn)], 240),
        (vec![tcp(syn), back(both)], 432_000),
        (vec![tcp(syn), back(both), tcp(tcp_flags::RST)], 240),
    ];
    for (packets, seconds) in rows {
        let mut nat = filtered(DB, vec![group(vec![], None)]);
        for packet in &packets {
            let frame = packet.clone().build();
            let is_answer = frame[26..30] == WEB_PRIVATE.octets();
            let side = if is_answer {
                PUBLIC_SUBNET
            } else {
                PRIVATE_SUBNET
            };
            given(&mut nat, side, &frame);
        }
        nat.forget_idle(Duration::from_secs(seconds - 1));
        assert_eq!(nat.sessions().len(), 1, "{packets:?}");
        nat.forget_idle(Duration::from_secs(seconds + 1));
        assert!(nat.sessions().is_empty(), "{packets:?}");
    }
}

#[test]
fn later_fragments_of_filtered_ends_go_where_the_first_one_went() {
    let mut nat = filtered(DB, vec![group(only(WEB_PRIVATE), None)]);
    let whole = to_db().payload_len(100).build();
    let pieces = fragments_of(&whole, 64);
    assert_eq!(nat.handle(NOW, PUBLIC_SUBNET, &pieces[1]), Output::Hold);
    let released = nat.handle(NOW, PUBLIC_SUBNET, &pieces[0]);
    assert!(matches!(released, Output::Release(all) if all.len() == 2));
    let error = PacketBuilder::icmp(WEB_PRIVATE, PRIVATE_A, 3, 1).fragment(0, true);
    let reason = dropped(&mut nat, PUBLIC_SUBNET, &error.build());
    assert_eq!(reason, DropReason::Fragment);
}
