//! Tests of the timers: which applies, and what counts as use.

use std::time::Duration;

use super::tests::*;
use super::*;
use crate::packets::addresses::{NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER};
use crate::packets::{Packet, PacketBuilder, tcp_flags};

use tcp_flags::{ACK, FIN, RST, SYN};

const OUT: Side = PRIVATE_SUBNET;
const IN: Side = Side::Uplink;
/// A tick, and more than what an idle session is left beyond its timeout.
const TICK: Duration = Duration::from_nanos(1 << 27);
const GRACE: Duration = Duration::from_nanos(8 << 27);

/// Timers that tell each other apart.
fn timeouts() -> Timeouts {
    let [tcp, tcp_opening, tcp_closing, udp, udp_stream, icmp] =
        [700, 50, 40, 30, 200, 20].map(Duration::from_secs);
    Timeouts {
        tcp,
        tcp_opening,
        tcp_closing,
        udp,
        udp_stream,
        icmp,
    }
}

fn nat(gateway: NatGateway) -> Model {
    let mut config = ModelConfig::classic();
    config.gateways = vec![NatGateway {
        timeouts: timeouts(),
        ..gateway
    }];
    Model::new(config)
}

fn aws() -> Model {
    nat(NatGateway::new(vec![NAT_PUBLIC]))
}

fn segment(side: Side, flags: u8) -> Vec<u8> {
    let (host, server) = (at(PRIVATE_A, 40_001), at(SERVER, 443));
    let (from, to) = match side {
        Side::Uplink => (server, at(NAT_PUBLIC, 40_001)),
        Side::Inside(_) => (host, server),
    };
    PacketBuilder::tcp(from, to).flags(flags).build()
}

fn udp(side: Side) -> Vec<u8> {
    let (host, server) = (at(PRIVATE_A, 40_001), at(SERVER, 53));
    match side {
        Side::Uplink => PacketBuilder::udp(server, at(NAT_PUBLIC, 40_001)).build(),
        Side::Inside(_) => PacketBuilder::udp(host, server).build(),
    }
}

/// The idle time after which a sweep removes the one session of `nat`, last used at `used`.
#[track_caller]
fn lives_for(nat: &Model, used: Duration, timeout: Duration) {
    let ticks = |duration: Duration| duration.as_nanos() >> 27;
    // The last moment of the last tick that it may be idle.
    let last = (ticks(used) + timeout.as_nanos().div_ceil(1 << 27) + 1) << 27;
    let last = Duration::from_nanos(last as u64 - 1);
    let remaining = |now| {
        let mut nat = nat.clone();
        nat.forget_idle(now);
        nat.sessions().len()
    };
    assert_eq!(remaining(last), 1, "gone before {timeout:?}");
    assert_eq!(
        remaining(last + Duration::from_nanos(1)),
        0,
        "outlived {timeout:?}"
    );
}

/// A NAT that has seen these segments, all at the same time.
fn after(segments: &[(Side, u8)]) -> (Model, TcpState) {
    let mut nat = aws();
    for &(side, flags) in segments {
        let output = nat.handle(NOW, side, &segment(side, flags));
        assert!(matches!(output, Output::Forward { .. }), "{output:?}");
    }
    let state = nat.sessions()[0].tcp_state();
    (nat, state)
}

#[test]
fn rfc7857_each_tcp_state_has_its_timer() {
    use TcpState::*;
    let timeouts = timeouts();
    let open = [(OUT, SYN), (IN, SYN | ACK), (OUT, ACK)];
    type Row<'a> = (&'a [(Side, u8)], TcpState, Duration);
    let rows: [Row<'_>; 9] = [
        (&[], Opening, timeouts.tcp_opening),
        (&[(OUT, ACK), (IN, ACK)], Opening, timeouts.tcp_opening),
        (&[(IN, SYN)], Established, timeouts.tcp),
        (
            &[(IN, SYN | ACK), (OUT, FIN | ACK)],
            HalfClosed,
            timeouts.tcp,
        ),
        (
            &[(IN, SYN | ACK), (IN, FIN | ACK)],
            HalfClosed,
            timeouts.tcp,
        ),
        (
            &[
                (IN, SYN | ACK),
                (IN, FIN | ACK),
                (OUT, FIN | ACK),
                (IN, ACK),
            ],
            Closing,
            timeouts.tcp_closing,
        ),
        (&[(IN, SYN | ACK), (IN, RST)], Reset, timeouts.tcp_closing),
        (
            &[(IN, SYN | ACK), (OUT, RST), (IN, ACK)],
            Reset,
            timeouts.tcp_closing,
        ),
        (
            &[(IN, SYN | ACK), (IN, RST), (IN, ACK)],
            Established,
            timeouts.tcp,
        ),
    ];
    for (segments, state, timeout) in rows {
        let segments = [&open[..1], segments].concat();
        let (nat, reached) = after(&segments);
        assert_eq!(reached, state, "{segments:?}");
        lives_for(&nat, NOW, timeout);
    }
}

#[test]
fn udp_has_a_timer_for_one_way_and_one_for_both_and_icmp_its_own() {
    let timeouts = timeouts();
    let mut nat = aws();
    for _ in 0..3 {
        sent(&mut nat, OUT, &udp(OUT));
        lives_for(&nat, NOW, timeouts.udp);
    }
    forwarded(&mut nat, IN, &udp(IN), OUT);
    lives_for(&nat, NOW, timeouts.udp_stream);
    let mut nat = aws();
    sent(
        &mut nat,
        OUT,
        &PacketBuilder::echo_request(PRIVATE_A, SERVER, 7, 1).build(),
    );
    lives_for(&nat, NOW, timeouts.icmp);
}

#[test]
fn packets_of_either_direction_keep_a_session() {
    let mut nat = aws();
    let second = Duration::from_secs(1);
    nat.handle(NOW, OUT, &udp(OUT));
    nat.handle(20 * second, IN, &udp(IN));
    lives_for(&nat, 20 * second, timeouts().udp_stream);
    nat.handle(30 * second, OUT, &udp(OUT));
    lives_for(&nat, 30 * second, timeouts().udp_stream);
}

#[test]
fn rfc4787_req6_inbound_udp_does_not_keep_a_mapping() {
    let mut nat = nat(NatGateway::new(vec![NAT_PUBLIC]).rfc(Filtering::AddressDependent));
    let second = Duration::from_secs(1);
    nat.handle(NOW, OUT, &udp(OUT));
    let public = nat.sessions()[0].public;
    let reply = PacketBuilder::udp(at(SERVER, 53), public).build();
    let output = nat.handle(20 * second, IN, &reply);
    assert!(matches!(output, Output::Forward { .. }));
    lives_for(&nat, NOW, timeouts().udp_stream);
    nat.handle(30 * second, OUT, &udp(OUT));
    lives_for(&nat, 30 * second, timeouts().udp_stream);
    // TCP is kept by both.
    let syn = segment(OUT, SYN);
    let mut nat = self::nat(NatGateway::new(vec![NAT_PUBLIC]).rfc(Filtering::AddressDependent));
    nat.handle(NOW, OUT, &syn);
    let public = nat.sessions()[0].public;
    let reply = PacketBuilder::tcp(at(SERVER, 443), public)
        .flags(SYN | ACK)
        .build();
    nat.handle(20 * second, IN, &reply);
    lives_for(&nat, 20 * second, timeouts().tcp);
}

#[test]
fn rfc7857_a_repeated_reset_keeps_nothing() {
    let second = Duration::from_secs(1);
    let (mut nat, _) = after(&[(OUT, SYN), (IN, SYN | ACK)]);
    nat.handle(10 * second, IN, &segment(IN, RST));
    lives_for(&nat, 10 * second, timeouts().tcp_closing);
    nat.handle(20 * second, IN, &segment(IN, RST));
    lives_for(&nat, 10 * second, timeouts().tcp_closing);
    // The other side's first one counts, as does what follows a reset.
    nat.handle(30 * second, OUT, &segment(OUT, RST));
    lives_for(&nat, 30 * second, timeouts().tcp_closing);
    nat.handle(35 * second, OUT, &segment(OUT, ACK));
    nat.handle(36 * second, IN, &segment(IN, ACK));
    lives_for(&nat, 36 * second, timeouts().tcp);
}

#[test]
fn a_syn_of_either_side_starts_a_closed_session_over() {
    let closed = [
        (OUT, SYN),
        (IN, SYN | ACK),
        (OUT, FIN | ACK),
        (IN, FIN | ACK),
    ];
    let reset = [(OUT, SYN), (IN, SYN | ACK), (IN, RST)];
    for before in [&closed[..], &reset] {
        for side in [OUT, IN] {
            let (nat, state) = after(&[before, &[(side, SYN)]].concat());
            assert_eq!(state, TcpState::Opening);
            let session = nat.sessions()[0];
            let flags = [session.forward.flags, session.reverse.flags];
            assert_eq!(flags, if side == OUT { [SYN, 0] } else { [0, SYN] });
        }
    }
    // Nothing else does, and nothing starts over what is not closed.
    let (_, state) = after(&[&closed[..], &[(OUT, SYN | ACK)]].concat());
    assert_eq!(state, TcpState::Closing);
    let (_, state) = after(&[&closed[..3], &[(OUT, SYN)]].concat());
    assert_eq!(state, TcpState::HalfClosed);
}

#[test]
fn rfc5508_req6_errors_do_not_keep_a_session() {
    let mut nat = aws();
    nat.handle(NOW, OUT, &udp(OUT));
    let quoted = PacketBuilder::udp(at(NAT_PUBLIC, 40_001), at(SERVER, 53)).build();
    let error = PacketBuilder::icmp(SERVER, NAT_PUBLIC, 3, 3)
        .quoting(&quoted, None)
        .build();
    let later = Duration::from_secs(20);
    assert!(matches!(
        nat.handle(later, IN, &error),
        Output::Forward { .. }
    ));
    lives_for(&nat, NOW, timeouts().udp);
}

#[test]
fn an_expired_session_is_absent_for_its_own_packets() {
    let timeout = timeouts().tcp_opening;
    let ticks = Duration::from_nanos((timeout.as_nanos().div_ceil(1 << 27) as u64) << 27);
    for side in [OUT, IN] {
        let (mut nat, _) = after(&[(OUT, SYN)]);
        let output = nat.handle(ticks + GRACE, side, &segment(side, ACK));
        assert!(
            matches!(output, Output::Forward { .. }),
            "left for eight ticks"
        );
        let (mut nat, _) = after(&[(OUT, SYN)]);
        let output = nat.handle(ticks + GRACE + TICK, side, &segment(side, ACK));
        let reason = match output {
            Output::Drop(reason) | Output::Refuse { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason, DropReason::NoSession);
        nat.forget_idle(ticks + GRACE + TICK);
        assert!(
            nat.sessions().is_empty(),
            "left to the sweep, and gone with it"
        );
    }
}

#[test]
fn the_port_of_an_expired_session_is_free_with_aws() {
    let mut nat = aws();
    let udp = |host, to| PacketBuilder::udp(at(host, 40_001), at(to, 53)).build();
    nat.handle(NOW, OUT, &udp(PRIVATE_A, SERVER));
    nat.handle(NOW, OUT, &udp(PRIVATE_A, OTHER_SERVER));
    let source = |output| match output {
        Output::Forward { frame, .. } => Packet::parse(&frame)
            .unwrap()
            .ipv4()
            .unwrap()
            .source()
            .port(),
        other => panic!("{other:?}"),
    };
    let early = Duration::from_secs(31);
    assert_ne!(
        source(nat.handle(early, OUT, &udp(PRIVATE_B, SERVER))),
        40_001
    );
    let late = Duration::from_secs(32);
    assert_eq!(
        source(nat.handle(late, OUT, &udp(PRIVATE_B, OTHER_SERVER))),
        40_001
    );
    let flows: Vec<_> = nat.sessions().iter().map(|session| session.flow).collect();
    let of_a = flows
        .iter()
        .filter(|flow| *flow.inside.ip() == PRIVATE_A)
        .count();
    assert_eq!(
        (flows.len(), of_a),
        (3, 1),
        "its old holder has lost its session"
    );
}
