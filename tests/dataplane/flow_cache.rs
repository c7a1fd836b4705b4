//! Packets that go on by the flow cache: they are the ones that the tables count in the end.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use nat_tests::{
    model::{
        AclRule, Cidr, Filtering, Flow, Instance, ModelConfig, NatGateway, NetworkAcl, Packets,
        Side,
    },
    packets::{Mac, PacketBuilder, addresses},
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    PRIVATE, PUBLIC,
    bench::{Bench, Hook, source},
    vpc::tracked,
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
    assert_eq!(
        bench.gateways_counted(),
        halves,
        "what lines gave back is their gateway's, too"
    );
    let [record] = &bench.records()[..] else {
        panic!("one session");
    };
    assert_eq!((record.packets_out, record.packets_in), (8, 4));
    assert_eq!(record.bytes_out % record.packets_out, 0);
    assert_eq!(record.state, "two-way");
}

/// Nearly all lines there are can be taken: a flow has two places, and moves for others. None of its packets
/// is counted twice, or never.
pub fn flows_that_crowd_each_other_have_lines_too(hook: Hook) {
    const SESSIONS: u16 = 870;
    // Two lines for each of 1,024 sessions, of which 85 % are taken.
    let gateway = NatGateway::new(vec![addresses::NAT_PUBLIC]);
    let mut bench = Bench::with_capacity(hook, 1024, gateway);
    bench.inside(|bench| {
        stay();
        let server = SocketAddrV4::new(addresses::SERVER, 443);
        let insides =
            (0..SESSIONS).map(|port| SocketAddrV4::new(addresses::PRIVATE_A, 10_000 + port));
        let outward = |inside| PacketBuilder::udp(inside, server).build();
        let flows: Vec<_> = insides
            .map(|inside| {
                let first = bench.run_here(PRIVATE, &outward(inside));
                (inside, source(first.forwarded().unwrap()))
            })
            .collect();
        for _ in 0..3 {
            for (inside, public) in &flows {
                let sent = bench.run_here(PRIVATE, &outward(*inside));
                assert_eq!(source(sent.forwarded().unwrap()), *public);
                let answer = PacketBuilder::udp(server, *public).build();
                assert!(bench.run_here(Side::Uplink, &answer).forwarded().is_some());
            }
        }
        let lines = bench.lines();
        let wanted = 2 * usize::from(SESSIONS);
        assert!(lines > wanted - wanted / 50, "{lines} of {wanted}");
        for record in bench.records() {
            assert_eq!((record.packets_out, record.packets_in), (4, 3));
        }
    });
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

/// The station that a frame goes to, as the program wrote it: at TC only on the short way.
fn station(frame: &[u8]) -> Mac {
    Mac(frame[..6].try_into().unwrap())
}

/// Sends a packet so often that the last one takes the short way, and says to which station that went.
fn goes_to(bench: &mut Bench, side: Side, frame: &[u8]) -> Mac {
    for _ in 0..4 {
        assert!(bench.run_here(side, frame).forwarded().is_some());
    }
    station(bench.run_here(side, frame).forwarded().unwrap())
}

/// Lines know the next hop by its number, and ask their path in each half second: also when the last bits of
/// the half second's number are those of then.
pub fn a_neighbour_that_moves_is_followed_within_half_a_second(hook: Hook) {
    let mut bench = Bench::new(hook);
    bench.inside(|bench| {
        stay();
        let (outward, _, inward) = open(bench);
        let moved = |last| Mac([2, 0x77, 0, 0, 0, last]);
        let half_second = Duration::from_nanos(4 << 27);
        for (last, half_seconds) in [1, 2, 16, 32, 64, 256, 8192].into_iter().enumerate() {
            goes_to(bench, PRIVATE, &outward);
            goes_to(bench, Side::Uplink, &inward);
            let [server, host] = [moved(last as u8), moved(last as u8 + 128)];
            bench.move_neighbour(Side::Uplink, addresses::SERVER, server);
            bench.move_neighbour(PRIVATE, addresses::PRIVATE_A, host);
            bench.advance(half_second * half_seconds);
            assert_eq!(goes_to(bench, PRIVATE, &outward), server, "{half_seconds}");
            if half_seconds < 64 {
                assert_eq!(goes_to(bench, Side::Uplink, &inward), host);
            } else {
                // The session is over by then, and this packet made a new one.
                assert!(bench.run_here(PRIVATE, &outward).forwarded().is_some());
            }
        }
    });
}

/// What many instances send goes to one next hop, but what one of them sends may go to another.
pub fn each_instance_goes_by_the_hosts_rule_for_its_own_address(hook: Hook) {
    let mut config = tracked();
    let hosts = [10, 11, 12].map(|last| Ipv4Addr::new(10, 20, 1, last));
    let publics = [20, 21, 22].map(|last| Ipv4Addr::new(198, 51, 100, last));
    config.instances = hosts
        .into_iter()
        .zip(publics)
        .map(|(private, public)| Instance {
            public: Some(public),
            ..Instance {
                private,
                ..config.instances[0].clone()
            }
        })
        .collect();
    let mut bench = Bench::of(hook, config);
    bench.inside(|bench| {
        stay();
        let server = SocketAddrV4::new(addresses::OTHER_SERVER, 443);
        let by = |last| Mac([2, 15, 198, 51, 100, last]);
        let ways = |bench: &mut Bench| {
            hosts.map(|host| {
                let from = SocketAddrV4::new(host, 40_001);
                let frame = PacketBuilder::udp(from, server).build();
                goes_to(bench, PUBLIC, &frame)
            })
        };
        assert_eq!(ways(bench), [by(254); 3]);
        assert_eq!(bench.hops(), 1, "one for all of them");
        bench.route_by_source(publics[1], Ipv4Addr::new(198, 51, 100, 253));
        bench.advance(Duration::from_millis(540));
        assert_eq!(ways(bench), [by(254), by(253), by(254)]);
        assert_eq!(bench.hops(), 2);
    });
}

/// Nobody's hop is another one's while it is in use: packets do without.
pub fn where_hops_have_no_room_packets_take_their_paths(hook: Hook) {
    let mut bench = Bench::new(hook);
    bench.inside(|bench| {
        stay();
        bench.take_all_hops();
        let (outward, _, inward) = open(bench);
        let way = [
            (PRIVATE, outward, [198, 51, 100, 80], 15),
            (Side::Uplink, inward, [10, 40, 2, 101], 17),
        ];
        for (side, frame, [a, b, c, d], network) in &way {
            let expected = Mac([2, *network, *a, *b, *c, *d]);
            assert_eq!(goes_to(bench, *side, frame), expected);
        }
        assert_eq!(bench.hops(), 0);
        bench.advance(Duration::from_secs(1));
        for (side, frame, ..) in &way {
            goes_to(bench, *side, frame);
        }
        assert_eq!(bench.hops(), 2);
    });
}
