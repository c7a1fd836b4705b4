//! Packets that go on by the flow cache: they are the ones that the tables count in the end.

use std::{net::SocketAddrV4, time::Duration};

use nat_tests::{
    model::{AclRule, Cidr, Filtering, Flow, ModelConfig, NatGateway, NetworkAcl, Packets, Side},
    packets::{PacketBuilder, addresses},
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    PRIVATE, PUBLIC,
    bench::{Bench, Hook, source},
};

/// This thread stays on its CPU, whose lines it then meets again.
fn stay() {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
}

/// Opens a session: what its host sends, its public end, and the answer.
fn open(bench: &mut Bench) -> (Vec<u8>, SocketAddrV4, Vec<u8>) {
    let inside = SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = SocketAddrV4::new(addresses::SERVER, 443);
    let outward = PacketBuilder::udp(inside, server).build();
    let first = bench.run_here(PRIVATE, &outward);
    let public = source(first.forwarded().unwrap());
    let inward = PacketBuilder::udp(server, public).build();
    (outward, public, inward)
}

/// Packets that lines have counted are in the session's count, also across a change of policy, and
/// the session itself hears of them late.
pub fn counts_are_exact_whoever_counts(hook: Hook) {
    let mut bench = Bench::new(hook);
    bench.inside(|bench| {
        stay();
        count(bench);
    });
}

fn count(bench: &mut Bench) {
    let (outward, _, inward) = open(bench);
    let send = |bench: &mut Bench, out: usize, back: usize| {
        for (count, side, frame) in [(out, PRIVATE, &outward), (back, Side::Uplink, &inward)] {
            for _ in 0..count {
                assert!(bench.run_here(side, frame).forwarded().is_some());
            }
        }
    };
    send(bench, 5, 3);
    let halves = bench.halves_counted();
    assert_eq!(halves, (2, 2), "the first packets went by the tables alone");
    bench.void_lines();
    send(bench, 2, 1);
    let halves = bench.halves_counted();
    assert_eq!(
        halves,
        (7, 4),
        "the first packet each way went by the tables"
    );
    let [record] = &bench.records()[..] else {
        panic!("one session");
    };
    assert_eq!((record.packets_out, record.packets_in), (8, 4));
    assert_eq!(record.bytes_out % record.packets_out, 0);
    assert_eq!(record.state, "two-way");
}

/// CPUs count the generations of their lines in 16 bits, and begin again: a line from the time before is
/// void, though its number comes back, and its session may be over.
pub fn a_line_is_void_when_the_number_of_its_generation_comes_back(hook: Hook) {
    let mut bench = Bench::new(hook);
    bench.inside(|bench| {
        stay();
        let inside = SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
        let outward = |port| {
            let server = SocketAddrV4::new(addresses::SERVER, port);
            PacketBuilder::udp(inside, server).build()
        };
        let sends = |bench: &mut Bench, port| {
            assert!(
                bench
                    .run_here(PRIVATE, &outward(port))
                    .forwarded()
                    .is_some()
            );
        };
        for _ in 0..3 {
            sends(bench, 443);
        }
        let flow = Flow::new(17, inside, SocketAddrV4::new(addresses::SERVER, 443));
        assert!(bench.end_here(&flow));
        bench.set_generation_of_lines(u16::MAX);
        bench.void_lines();
        // Generation 1 again, as at first.
        sends(bench, 444);
        sends(bench, 443);
        assert_eq!(bench.sessions(), 2, "the packet made a session anew");
    });
}

/// A half is passed for packets that come in where the last ones did, though others that come in here have
/// just been sent to the same host.
pub fn an_answer_that_comes_from_inside_is_none(hook: Hook) {
    let gateway = NatGateway::new(vec![addresses::NAT_PUBLIC]);
    let gateway = gateway.rfc(Filtering::EndpointIndependent);
    let mut bench = Bench::with_gateway(hook, gateway);
    bench.inside(|bench| {
        stay();
        let (_, public, inward) = open(bench);
        for _ in 0..2 {
            assert!(bench.run_here(Side::Uplink, &inward).forwarded().is_some());
        }
        let neighbour = SocketAddrV4::new(addresses::PRIVATE_B, 40_002);
        let hairpin = PacketBuilder::udp(neighbour, public).build();
        assert!(bench.run_here(PRIVATE, &hairpin).forwarded().is_some());
        assert!(bench.run_here(PRIVATE, &inward).forwarded().is_none());
    });
}

/// What a line has counted for a session that is over is not the next one's, whose peer has not
/// answered yet.
pub fn counts_of_a_session_that_is_over_go_to_nobody(hook: Hook) {
    let gateway = NatGateway {
        ports: vec![1024..=1024],
        ..NatGateway::new(vec![addresses::NAT_PUBLIC])
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    bench.inside(|bench| {
        stay();
        outlive(bench);
    });
}

fn outlive(bench: &mut Bench) {
    let server = SocketAddrV4::new(addresses::SERVER, 443);
    let public = SocketAddrV4::new(addresses::NAT_PUBLIC, 1024);
    let sends = |bench: &mut Bench, side, from, to| {
        let frame = PacketBuilder::udp(from, to).build();
        assert!(bench.run_here(side, &frame).forwarded().is_some());
    };
    let before = SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    sends(bench, PRIVATE, before, server);
    for _ in 0..4 {
        sends(bench, Side::Uplink, server, public);
    }
    bench.advance(Duration::from_secs(400));
    let after = SocketAddrV4::new(addresses::PRIVATE_B, 40_002);
    sends(bench, PRIVATE, after, server);
    // So many that each line becomes another flow's.
    for port in 1..50_000 {
        if port % 5000 == 0 {
            bench.advance(Duration::from_secs(1));
        }
        let other = SocketAddrV4::new(addresses::OTHER_SERVER, port);
        for _ in 0..2 {
            sends(bench, PRIVATE, before, other);
        }
    }
    let records = bench.records();
    let record = records
        .iter()
        .find(|each| each.destination == *server.ip())
        .unwrap();
    assert_eq!(
        (record.packets_out, record.packets_in, record.state),
        (1, 0, "one-way")
    );
}

/// The first answer makes a conversation of it. Where those may be silent for less time than has passed,
/// and answers keep no session, the next one finds it over.
pub fn an_answer_that_comes_too_late_for_more_leaves_no_line(hook: Hook) {
    let mut gateway = NatGateway::new(vec![addresses::NAT_PUBLIC]).rfc(Filtering::AddressDependent);
    gateway.timeouts.udp_stream = Duration::from_secs(2);
    let mut bench = Bench::with_gateway(hook, gateway);
    bench.inside(|bench| {
        stay();
        let inside = SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
        let server = SocketAddrV4::new(addresses::SERVER, 443);
        let first = bench.run_here(PRIVATE, &PacketBuilder::udp(inside, server).build());
        let public = source(first.forwarded().unwrap());
        let answer = PacketBuilder::udp(server, public).build();
        bench.advance(Duration::from_secs(10));
        assert!(bench.run_here(Side::Uplink, &answer).forwarded().is_some());
        // By the binding, which is there until a sweep: no session has carried it.
        assert!(bench.run_here(Side::Uplink, &answer).forwarded().is_some());
        assert_eq!(bench.records()[0].packets_in, 1);
    });
}

/// A session whose packets all go on by lines is in use, and one whose lines are still there may be over.
pub fn a_line_looks_at_its_session(hook: Hook) {
    let mut bench = Bench::with_gateway(hook, NatGateway::new(vec![addresses::NAT_PUBLIC]));
    bench.inside(|bench| {
        stay();
        let server = SocketAddrV4::new(addresses::SERVER, 443);
        let [host, public] = [addresses::PRIVATE_A, addresses::NAT_PUBLIC];
        let run = |bench: &mut Bench, port| {
            let outward = PacketBuilder::udp(SocketAddrV4::new(host, port), server).build();
            let inward = PacketBuilder::udp(server, SocketAddrV4::new(public, port)).build();
            [(PRIVATE, outward), (Side::Uplink, inward)]
                .map(|(side, frame)| bench.run_here(side, &frame).verdict())
        };
        let sweep = |bench: &mut Bench| {
            bench.sweep_here();
            bench.advance(Duration::from_secs(1));
            bench.sweep_here()
        };
        const PASS: [&str; 2] = ["forward"; 2];
        for port in [40_001, 40_001] {
            assert_eq!(run(bench, port), PASS);
        }
        for _ in 0..4 {
            bench.advance(Duration::from_secs(200));
            // Asks for the next hops, so that the packets behind it need not.
            assert_eq!(run(bench, 50_000), PASS);
            assert_eq!(run(bench, 40_001), PASS);
            assert_eq!(sweep(bench), 0, "it is in use");
        }
        bench.advance(Duration::from_secs(355));
        assert_eq!(sweep(bench), 2);
        assert_eq!(run(bench, 50_009), PASS);
        let frame = PacketBuilder::udp(server, SocketAddrV4::new(public, 40_001)).build();
        let verdict = bench.run_here(Side::Uplink, &frame).verdict();
        assert_eq!(verdict, "no_session");
    });
}

/// Where ACLs alone decide there is no session, and yet packets take the short way: until the next policy.
pub fn what_acls_alone_let_pass_has_a_line_under_one_policy(hook: Hook) {
    let everybody: Cidr = "0.0.0.0/0".parse().unwrap();
    let rule = |number, allow, packets| AclRule {
        number,
        allow,
        packets,
        peer: everybody,
    };
    let all = || vec![rule(100, true, Packets::ALL)];
    let with = |ingress, egress| {
        let mut config = ModelConfig::classic();
        config.vpcs[0].network_acls = vec![NetworkAcl { ingress, egress }];
        config.subnets[0].acl = Some(0);
        config
    };
    let server = SocketAddrV4::new(addresses::SERVER, 443);
    let inside = SocketAddrV4::new(addresses::WEB_PRIVATE, 8080);
    let public = SocketAddrV4::new(addresses::WEB_PUBLIC, 8080);
    let outward = PacketBuilder::udp(inside, server).build();
    let inward = PacketBuilder::udp(server, public).build();
    let allowed = with(all(), all());
    let mut bench = Bench::of(hook, allowed.clone());
    bench.inside(|bench| {
        stay();
        for _ in 0..3 {
            for (side, frame) in [(PUBLIC, &outward), (Side::Uplink, &inward)] {
                let before = bench.counter("translated");
                assert!(bench.run_here(side, frame).forwarded().is_some());
                assert_eq!(bench.counter("translated"), before + 1);
            }
        }
        assert_eq!(bench.sessions(), 0);
        assert!(bench.has_line(inside, server) && bench.has_line(server, public));
        // What one packet may, says nothing about the other port or the other direction.
        bench.apply_here(&with(vec![], all()));
        assert!(bench.run_here(PUBLIC, &outward).forwarded().is_some());
        assert!(bench.run_here(Side::Uplink, &inward).forwarded().is_none());
        bench.apply_here(&allowed);
        assert!(bench.run_here(Side::Uplink, &inward).forwarded().is_some());
    });
}
