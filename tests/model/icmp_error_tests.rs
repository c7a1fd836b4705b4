//! Tests of ICMP errors. What is expected comes from the builder: the same error,
//! quoting the same packet as the other side of the NAT sees it.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{Packet, PacketBuilder, icmp_type, protocol, tcp_flags};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 88, 99, 1);
const INSIDE_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 254);

/// What a host sends in a connection, or gets; options make its IP header longer.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Echo,
}

const KINDS: [Kind; 4] = [Kind::Tcp, Kind::Udp, Kind::UdpWithoutChecksum, Kind::Echo];
const REMOTE_PORT: u16 = 443;

fn sent_by(kind: Kind, host: SocketAddrV4) -> PacketBuilder {
    let to = at(SERVER, REMOTE_PORT);
    let builder = match kind {
        Kind::Tcp => PacketBuilder::tcp(host, to).flags(tcp_flags::SYN),
        Kind::Udp => PacketBuilder::udp(host, to),
        Kind::UdpWithoutChecksum => PacketBuilder::udp(host, to).without_udp_checksum(),
        Kind::Echo => PacketBuilder::echo_request(*host.ip(), SERVER, host.port(), 7),
    };
    builder.payload_len(39)
}

fn come_for(kind: Kind, host: SocketAddrV4) -> PacketBuilder {
    let from = at(SERVER, REMOTE_PORT);
    let builder = match kind {
        Kind::Tcp => PacketBuilder::tcp(from, host),
        Kind::Udp => PacketBuilder::udp(from, host),
        Kind::UdpWithoutChecksum => PacketBuilder::udp(from, host).without_udp_checksum(),
        Kind::Echo => PacketBuilder::echo_reply(SERVER, *host.ip(), host.port(), 7),
    };
    builder.payload_len(39)
}

fn unreachable(from: Ipv4Addr, to: Ipv4Addr, quoted: &PacketBuilder) -> PacketBuilder {
    PacketBuilder::icmp(from, to, icmp_type::UNREACHABLE, 3).quoting(&quoted.build(), None)
}

/// A NAT with a session of this kind that could not keep its port, and both ends.
fn with_session(kind: Kind) -> (Model, SocketAddrV4, SocketAddrV4) {
    let mut nat = classic();
    let inside = at(PRIVATE_A, 40_001);
    for host in [PRIVATE_B, PRIVATE_A] {
        sent(
            &mut nat,
            PRIVATE_SUBNET,
            &sent_by(kind, at(host, 40_001)).build(),
        );
    }
    let sessions = nat.sessions();
    let session = sessions
        .iter()
        .find(|session| session.flow.inside == inside);
    let public = session.unwrap().public;
    assert_ne!(public.port(), 40_001);
    (nat, inside, public)
}

/// Bytes of inner IP options, with bytes that are quoted behind them.
fn cuts() -> Vec<(usize, usize)> {
    let lengths = [8, 16, 18, 20, 500];
    [0, 4, 40]
        .map(|options| lengths.map(|length| (options, length)))
        .concat()
}

#[track_caller]
fn becomes(nat: &mut Model, ingress: Side, frame: &[u8], egress: Side, expected: &PacketBuilder) {
    assert_eq!(nat.handle(NOW, ingress, frame), gone_to(egress, expected));
}

#[test]
fn rfc5508_req4_outside_error_reaches_the_host_as_if_there_was_no_nat() {
    for kind in KINDS {
        let (mut nat, inside, public) = with_session(kind);
        for (options, length) in cuts() {
            let cut = Some(20 + options + length);
            let error = |to, host| {
                let quoted = sent_by(kind, host).ttl(1).ip_options(&vec![1; options]);
                PacketBuilder::icmp(SERVER, to, icmp_type::UNREACHABLE, 4)
                    .next_hop_mtu(1280)
                    .quoting(&quoted.build(), cut)
            };
            becomes(
                &mut nat,
                Side::Uplink,
                &error(NAT_PUBLIC, public).build(),
                PRIVATE_SUBNET,
                &error(PRIVATE_A, inside),
            );
        }
    }
}

#[test]
fn rfc5508_req5_inside_error_shows_the_public_end_only() {
    for kind in KINDS {
        let (mut nat, inside, public) = with_session(kind);
        for (options, length) in cuts() {
            let cut = Some(20 + options + length);
            let error = |from, host| {
                let quoted = come_for(kind, host).ip_options(&vec![1; options]);
                PacketBuilder::icmp(from, SERVER, icmp_type::TIME_EXCEEDED, 1)
                    .quoting(&quoted.build(), cut)
            };
            for sender in [PRIVATE_A, INSIDE_ROUTER] {
                becomes(
                    &mut nat,
                    PRIVATE_SUBNET,
                    &error(sender, inside).build(),
                    Side::Uplink,
                    &error(NAT_PUBLIC, public),
                );
            }
        }
    }
}

#[test]
fn elastic_ip_is_changed_in_quotes_of_any_protocol_and_fragment() {
    let packets = |host| {
        let (out, back) = (at(host, 80), at(SERVER, 443));
        let gre = |from, to| PacketBuilder::ip(from, to, protocol::GRE).payload_len(3);
        [
            (PacketBuilder::tcp(out, back), PacketBuilder::tcp(back, out)),
            (PacketBuilder::udp(out, back), PacketBuilder::udp(back, out)),
            (gre(host, SERVER), gre(SERVER, host)),
            (
                gre(host, SERVER).fragment(64, false),
                gre(SERVER, host).fragment(64, true),
            ),
            (
                PacketBuilder::icmp(host, SERVER, icmp_type::TIMESTAMP, 0),
                PacketBuilder::icmp(SERVER, host, icmp_type::TIMESTAMP, 0),
            ),
        ]
    };
    for (private, public) in packets(WEB_PRIVATE).iter().zip(&packets(WEB_PUBLIC)) {
        for length in [20, 26, 28, 36, 38, 500] {
            let cut = |error: PacketBuilder, quoted: &PacketBuilder| {
                error.quoting(&quoted.build(), Some(length))
            };
            let error = |from, to, quoted| cut(unreachable(from, to, quoted), quoted);
            becomes(
                &mut classic(),
                Side::Uplink,
                &error(ROUTER, WEB_PUBLIC, &public.0).build(),
                PUBLIC_SUBNET,
                &error(ROUTER, WEB_PRIVATE, &private.0),
            );
            becomes(
                &mut classic(),
                PUBLIC_SUBNET,
                &error(WEB_PRIVATE, SERVER, &private.1).build(),
                Side::Uplink,
                &error(WEB_PUBLIC, SERVER, &public.1),
            );
        }
    }
}

#[test]
fn rfc4787_req12_and_rfc5382_req9_errors_are_not_filtered_by_source_type_or_code() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nat, inside, public) = with_session(kind);
        for (icmp_type, codes) in [(3, 0..16), (11, 0..2), (12, 0..3)] {
            for code in codes {
                let error = |to, host| {
                    PacketBuilder::icmp(ROUTER, to, icmp_type, code)
                        .icmp_rest([1, 0, 3, 4])
                        .quoting(&sent_by(kind, host).build(), Some(28))
                };
                becomes(
                    &mut nat,
                    Side::Uplink,
                    &error(NAT_PUBLIC, public).build(),
                    PRIVATE_SUBNET,
                    &error(PRIVATE_A, inside),
                );
            }
        }
    }
}

#[test]
fn rfc5508_req6_and_rfc4787_req12_errors_neither_open_refresh_nor_remove_a_session() {
    for kind in KINDS {
        let (mut nat, inside, public) = with_session(kind);
        let before = nat.sessions();
        let later = Duration::from_secs(9);
        for (side, error) in [
            (
                Side::Uplink,
                unreachable(SERVER, NAT_PUBLIC, &sent_by(kind, public)),
            ),
            (
                PRIVATE_SUBNET,
                unreachable(PRIVATE_A, SERVER, &come_for(kind, inside)),
            ),
        ] {
            let output = nat.handle(later, side, &error.build());
            assert!(matches!(output, Output::Forward { .. }), "{output:?}");
            let unknown = error
                .payload(&PacketBuilder::udp(at(NAT_PUBLIC, 1), at(OTHER_SERVER, 1)).build_ip());
            let output = nat.handle(later, side, &unknown.build());
            assert_eq!(output, Output::Drop(DropReason::NoSession));
        }
        assert_eq!(nat.sessions(), before);
    }
}

#[test]
fn rfc5508_req4_and_req5_errors_about_unknown_flows_are_dropped() {
    let (mut nat, inside, public) = with_session(Kind::Udp);
    let udp = |from, to| PacketBuilder::udp(from, to).payload_len(9);
    let remote = at(SERVER, REMOTE_PORT);
    let next = |end: SocketAddrV4| at(*end.ip(), end.port() + 1);
    let outside = [
        udp(next(public), remote),
        udp(public, next(remote)),
        udp(public, at(OTHER_SERVER, REMOTE_PORT)),
        udp(at(WEB_PUBLIC, public.port()), remote),
        udp(remote, public),
        udp(inside, remote),
        PacketBuilder::tcp(public, remote),
        PacketBuilder::echo_request(NAT_PUBLIC, SERVER, public.port(), 1),
        PacketBuilder::ip(NAT_PUBLIC, SERVER, protocol::GRE),
        udp(public, remote).fragment(64, false),
    ];
    for quoted in outside {
        let error = unreachable(SERVER, NAT_PUBLIC, &quoted).build();
        assert_eq!(
            dropped(&mut nat, Side::Uplink, &error),
            DropReason::NoSession
        );
    }
    let inside = [
        udp(remote, next(inside)),
        udp(next(remote), inside),
        udp(remote, at(PRIVATE_B, inside.port() + 1)),
        udp(remote, public),
        udp(inside, remote),
        PacketBuilder::tcp(remote, inside),
        PacketBuilder::ip(SERVER, PRIVATE_A, protocol::ESP),
        udp(remote, inside).fragment(64, true),
    ];
    for quoted in inside {
        let error = unreachable(PRIVATE_A, SERVER, &quoted).build();
        assert_eq!(
            dropped(&mut nat, PRIVATE_SUBNET, &error),
            DropReason::NoSession
        );
    }
}

#[test]
fn echo_is_quoted_in_one_direction_only_and_errors_never() {
    let (mut nat, inside, public) = with_session(Kind::Echo);
    let nested = |from, to| unreachable(from, to, &PacketBuilder::echo_reply(to, from, 1, 1));
    let rows = [
        (
            Side::Uplink,
            PacketBuilder::echo_reply(NAT_PUBLIC, SERVER, public.port(), 1),
        ),
        (Side::Uplink, nested(NAT_PUBLIC, SERVER)),
        (Side::Uplink, nested(WEB_PUBLIC, SERVER)),
        (
            PRIVATE_SUBNET,
            PacketBuilder::echo_request(SERVER, PRIVATE_A, inside.port(), 1),
        ),
        (PRIVATE_SUBNET, nested(SERVER, PRIVATE_A)),
        (PUBLIC_SUBNET, nested(SERVER, WEB_PRIVATE)),
    ];
    for (side, quoted) in rows {
        let ip = Packet::parse(&quoted.build())
            .unwrap()
            .ipv4()
            .unwrap()
            .clone();
        let error = unreachable(ip.dst, ip.src, &quoted).build();
        assert_eq!(
            dropped(&mut nat, side, &error),
            DropReason::NoSession,
            "{quoted:?}"
        );
    }
}

#[test]
fn rfc5508_req3a_unreadable_quotes_are_malformed() {
    let (nat, inside, public) = with_session(Kind::Udp);
    let sides = [
        (
            Side::Uplink,
            SERVER,
            NAT_PUBLIC,
            sent_by(Kind::Udp, public),
            true,
        ),
        (
            PRIVATE_SUBNET,
            PRIVATE_A,
            SERVER,
            come_for(Kind::Udp, inside),
            true,
        ),
        (
            Side::Uplink,
            SERVER,
            WEB_PUBLIC,
            sent_by(Kind::Udp, at(WEB_PUBLIC, 1)),
            false,
        ),
        (
            PUBLIC_SUBNET,
            WEB_PRIVATE,
            SERVER,
            come_for(Kind::Udp, at(WEB_PRIVATE, 1)),
            false,
        ),
    ];
    for (side, from, to, quoted, needs_ports) in sides {
        let options = quoted.clone().ip_options(&[1; 8]);
        let rows = [
            (quoted.clone().break_ip_checksum(), 500, true),
            (quoted.clone().version(6), 500, true),
            (quoted.clone().ihl(4), 500, true),
            (quoted.clone().ihl(15), 59, true),
            (quoted.clone(), 0, true),
            (quoted.clone(), 19, true),
            (options.clone(), 27, true),
            (options.clone(), 35, needs_ports),
            (quoted.clone(), 27, needs_ports),
            (quoted.clone().total_length(0), 28, false),
            (quoted.clone().total_length(u16::MAX), 28, false),
            (options, 36, false),
        ];
        for (quoted, length, is_malformed) in rows {
            let error = PacketBuilder::icmp(from, to, icmp_type::TIME_EXCEEDED, 0)
                .quoting(&quoted.build(), Some(length));
            let output = nat.clone().handle(NOW, side, &error.build());
            if is_malformed {
                assert_eq!(
                    output,
                    Output::Drop(DropReason::Malformed),
                    "{quoted:?} cut after {length}"
                );
            } else {
                assert!(
                    matches!(output, Output::Forward { .. }),
                    "{quoted:?} cut after {length}: {output:?}"
                );
            }
        }
    }
}
