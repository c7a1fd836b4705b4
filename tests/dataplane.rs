//! The real programs, run packet by packet through `BPF_PROG_TEST_RUN` and judged by the reference
//! NAT of `model/`. The bench they run on is `dataplane/bench.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dataplane/audit.rs"]
mod audit;
#[path = "dataplane/bench.rs"]
mod bench;
#[path = "dataplane/capture.rs"]
mod capture;
#[path = "dataplane/counts.rs"]
mod counts;
#[path = "dataplane/random.rs"]
mod random;

use std::time::Duration;

use bench::{Bench, Hook};
use nat_tests::{
    model::{NatGateway, Side, Step, Timeouts},
    packets::{
        FixtureKind, PacketBuilder, addresses, arp_request, fixtures, with_transport_checksum,
    },
};
use random::Judge;

const PUBLIC: Side = Side::Inside(0);
const PRIVATE: Side = Side::Inside(1);

/// Runs one packet and has the model judge it; answers the frame that came out.
fn judged(bench: &mut Bench, judge: &mut Judge, ingress: Side, frame: &[u8]) -> Option<Vec<u8>> {
    let step = Step::Packet(ingress, frame.to_vec());
    let sent = bench
        .inside(|bench| judge.step(bench, &step))
        .unwrap_or_else(|complaint| panic!("{complaint}\npacket in by {ingress:?}: {frame:02x?}"));
    sent.map(|(_, _, out)| out)
}

fn compare_fixtures(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    for fixture in fixtures().iter().filter(|row| hook.takes(&row.frame)) {
        for ingress in [PRIVATE, PUBLIC, Side::Uplink] {
            println!("{} ({:?}) by {ingress:?}", fixture.name, fixture.kind);
            judged(&mut bench, &mut judge, ingress, &fixture.frame);
        }
    }
    assert!(fixtures().iter().any(|row| row.kind == FixtureKind::Good));
}

/// Both hooks are run by the same names.
macro_rules! on_both_hooks {
    ($($name:ident => $body:expr;)*) => {
        mod xdp {
            $(#[test] fn $name() { $body(super::Hook::Xdp) })*
        }
        mod tc {
            $(#[test] fn $name() { $body(super::Hook::Tc) })*
        }
    };
}

on_both_hooks! {
    random_traffic_equals_the_model => super::random::compare;
    every_fixture_equals_the_model => super::compare_fixtures;
    pat_keeps_the_port_when_free_and_overloads_it => super::pat_keeps_and_overloads;
    one_to_one_needs_no_session => super::one_to_one_needs_no_session;
    rfc768_computed_zero_checksum_goes_out_as_all_ones => super::zero_checksum_corner;
    arp_for_public_ips_is_answered_on_the_uplink_only => super::arp;
    an_unknown_neighbour_is_left_to_the_kernel => super::unknown_neighbour;
    a_host_that_did_not_forward_is_made_no_router => super::closed_host;
    a_frame_for_another_station_is_left_alone => super::other_station;
    a_private_sender_outside_reaches_no_instance => super::spoofed_outside;
    an_answer_whose_subnet_is_gone_never_leaves_by_the_uplink => super::subnet_gone;
    a_pool_fills_to_its_last_port_and_the_next_session_is_told_why => super::full_pool;
    a_port_that_is_freed_is_found_at_once => super::freed_port;
    two_cpus_racing_on_a_new_flow_end_with_one_mapping => super::race;
    an_idle_session_ends_in_two_steps_and_a_packet_between_them_keeps_it => super::expiry;
    a_vpc_address_without_a_subnet_never_leaves_by_the_uplink => super::no_subnet;
    a_table_that_is_full_drops_with_its_reason_and_keeps_what_it_has => super::full_table;
}

fn syn(host: std::net::Ipv4Addr, port: u16, server: std::net::Ipv4Addr) -> Vec<u8> {
    let to = std::net::SocketAddrV4::new(server, 443);
    PacketBuilder::tcp(std::net::SocketAddrV4::new(host, port), to)
        .flags(nat_tests::packets::tcp_flags::SYN)
        .tcp_options(&[2, 4, 5, 0xb4])
        .build()
}

fn pat_keeps_and_overloads(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut port = |host, server| {
        let out = bench.run(PRIVATE, &syn(host, 40_001, server));
        bench::source(out.forwarded().unwrap())
    };
    let first = port(addresses::PRIVATE_A, addresses::SERVER);
    assert_eq!((*first.ip(), first.port()), (addresses::NAT_PUBLIC, 40_001));
    let second = port(addresses::PRIVATE_B, addresses::SERVER);
    assert_eq!(*second.ip(), addresses::NAT_PUBLIC);
    assert_ne!(second.port(), 40_001, "taken towards this server");
    let other = port(addresses::PRIVATE_B, addresses::OTHER_SERVER);
    assert_eq!(other.port(), 40_001, "free towards that server");
    let again = port(addresses::PRIVATE_B, addresses::SERVER);
    assert_eq!(again, second, "one session, one mapping");
}

fn one_to_one_needs_no_session(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let client = std::net::SocketAddrV4::new(addresses::SERVER, 50_000);
    let public = std::net::SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
    for length in [0, 1, 7, 1400] {
        let packet = PacketBuilder::udp(client, public)
            .payload_len(length)
            .build();
        judged(&mut bench, &mut judge, Side::Uplink, &packet).expect("goes in");
        let web = std::net::SocketAddrV4::new(addresses::WEB_PRIVATE, 80);
        let packet = PacketBuilder::udp(web, client).payload_len(length).build();
        judged(&mut bench, &mut judge, PUBLIC, &packet).expect("goes out");
    }
    assert_eq!(bench.sessions(), 0);
}

fn zero_checksum_corner(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 53);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    // The payload that gives the translated packet an all-ones checksum gives this one another.
    let outside =
        with_transport_checksum(&PacketBuilder::udp(public, server).payload_len(5), 0xffff);
    let inside = outside.clone().source(*host.ip()).build();
    let out = judged(&mut bench, &mut judge, PRIVATE, &inside).expect("goes out");
    assert_eq!(&out[40..42], [0xff, 0xff]);
    let unsummed = PacketBuilder::udp(host, server)
        .without_udp_checksum()
        .payload_len(5)
        .build();
    let out = judged(&mut bench, &mut judge, PRIVATE, &unsummed).expect("goes out");
    assert_eq!(&out[40..42], [0, 0]);
}

fn arp(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let ask = |target| arp_request(nat_tests::packets::Mac::SENDER, addresses::SERVER, target);
    for target in [
        addresses::NAT_PUBLIC,
        addresses::WEB_PUBLIC,
        addresses::OTHER_SERVER,
    ] {
        for ingress in [Side::Uplink, PRIVATE] {
            judged(&mut bench, &mut judge, ingress, &ask(target));
        }
    }
    assert_eq!(bench.counter("arp_answered"), 2);
}

fn unknown_neighbour(hook: Hook) {
    let mut bench = Bench::new(hook);
    let packet = syn(addresses::PRIVATE_A, 40_001, bench::NEVER_SEEN);
    let out = bench.run(PRIVATE, &packet);
    match hook {
        // XDP leaves it unchanged to TC, whose session is the one XDP made.
        Hook::Xdp => assert!(out.forwarded().is_none()),
        Hook::Tc => assert!(out.forwarded().is_some()),
    }
    assert_eq!(bench.sessions(), 1);
}

fn full_table(hook: Hook) {
    let mut bench = Bench::with_capacity(hook, 1024);
    let mut dropped = 0;
    for number in 0..1100u16 {
        let packet = syn(addresses::PRIVATE_A, 10_000 + number, addresses::SERVER);
        dropped += u32::from(bench.run_for_verdict(PRIVATE, &packet) == "table_full");
    }
    assert_eq!(bench.drops("table_full"), u64::from(dropped));
    assert_eq!(bench.sessions() as u32, 1100 - dropped);
    assert!(dropped >= 76, "no more than the table holds");
    let out = bench.run(
        PRIVATE,
        &syn(addresses::PRIVATE_A, 10_000, addresses::SERVER),
    );
    assert!(
        out.forwarded().is_some(),
        "the first session is still there"
    );
    let reverse = bench.reverse_sessions();
    assert_eq!(
        reverse,
        bench.sessions(),
        "a failed claim gives its port back"
    );
}

fn race(hook: Hook) {
    const FLOWS: u16 = 2000;
    const CPUS: usize = 2;
    let mut bench = Bench::new(hook);
    let packets: Vec<_> = (0..FLOWS)
        .map(|number| {
            // Two hosts that want the same port, so that claims collide as well.
            let host = [addresses::PRIVATE_A, addresses::PRIVATE_B][usize::from(number % 2)];
            syn(host, 20_000 + number / 2, addresses::SERVER)
        })
        .collect();
    let seen = bench.run_on_cpus(CPUS, PRIVATE, &packets);
    for (number, packet) in packets.iter().enumerate() {
        let mappings: Vec<_> = seen.iter().map(|cpu| bench::source(&cpu[number])).collect();
        assert!(
            mappings.iter().all(|mapping| *mapping == mappings[0]),
            "{packet:02x?}: {mappings:?}"
        );
    }
    let mut taken: Vec<_> = seen[0].iter().map(|frame| bench::source(frame)).collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(
        taken.len(),
        usize::from(FLOWS),
        "no public tuple serves two sessions"
    );
    assert_eq!(bench.sessions(), usize::from(FLOWS));
    assert_eq!(
        bench.reverse_sessions(),
        usize::from(FLOWS),
        "no claim leaks"
    );
}

/// The classic gateway with sessions that last a second.
fn short_lived() -> NatGateway {
    let second = Duration::from_secs(1);
    NatGateway {
        timeouts: Timeouts {
            tcp: second,
            tcp_opening: second,
            tcp_closing: second,
            udp: second,
            udp_stream: second,
            icmp: second,
        },
        ..NatGateway::new(vec![addresses::NAT_PUBLIC])
    }
}

fn expiry(hook: Hook) {
    let over = Duration::from_millis(1600);
    let mut bench = Bench::with_gateway(hook, short_lived());
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 53);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    let out = PacketBuilder::udp(host, server).payload_len(3).build();
    let back = PacketBuilder::udp(server, public).payload_len(3).build();
    assert!(bench.run(PRIVATE, &out).forwarded().is_some());
    for (ingress, packet) in [(PRIVATE, &out), (Side::Uplink, &back)] {
        bench.advance(over);
        assert_eq!(bench.sweep(), 0, "the first step only marks it");
        assert!(bench.run(ingress, packet).forwarded().is_some());
        assert_eq!(bench.sweep(), 0, "it just carried a packet by {ingress:?}");
        assert_eq!(bench.sessions(), 1);
    }
    assert_eq!(bench.counter("sessions_revived"), 2);
    bench.advance(over);
    let mut removed = 0;
    for _ in 0..3 {
        removed += bench.sweep();
    }
    assert_eq!(removed, 1);
    assert_eq!(
        (bench.sessions(), bench.reverse_sessions()),
        (0, 0),
        "both halves are gone"
    );
    assert!(bench.run(Side::Uplink, &back).forwarded().is_none());
}

fn no_subnet(hook: Hook) {
    let mut bench = Bench::new(hook);
    let nowhere = std::net::Ipv4Addr::new(10, 20, 77, 7);
    bench.run(PRIVATE, &syn(addresses::PRIVATE_A, 40_001, nowhere));
    assert_eq!(bench.drops("no_route"), 1);
    let outcome = bench.run(
        PRIVATE,
        &syn(addresses::PRIVATE_A, 40_001, addresses::WEB_PRIVATE),
    );
    assert!(
        matches!(outcome, bench::Outcome::Pass(_)),
        "a subnet that is there: {outcome:?}"
    );
}

/// Three hosts that want the same ports, so that two thirds of the sessions have to search.
fn contenders(ports_each: u16) -> Vec<Vec<u8>> {
    let hosts = [7, 8, 9].map(|last| std::net::Ipv4Addr::new(10, 40, 2, last));
    hosts
        .iter()
        .flat_map(|host| (0..ports_each).map(|port| syn(*host, 1024 + port, addresses::SERVER)))
        .collect()
}

fn full_pool(hook: Hook) {
    const POOL: usize = 65_535 - 1024 + 1;
    let mut bench = Bench::new(hook);
    let packets = contenders((POOL / 3) as u16);
    let seen = bench.run_on_cpus(1, PRIVATE, &packets);
    let mut taken: Vec<_> = seen[0]
        .iter()
        .map(|frame| bench::source(frame).port())
        .collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(
        taken.len(),
        POOL,
        "every port of the pool serves one session"
    );
    for _ in 0..20 {
        let late = syn(addresses::PRIVATE_A, 50_000, addresses::SERVER);
        assert!(bench.run(PRIVATE, &late).forwarded().is_none());
    }
    assert_eq!(bench.drops("port_exhausted"), 20);
    let elsewhere = syn(addresses::PRIVATE_A, 50_000, addresses::OTHER_SERVER);
    let out = bench.run(PRIVATE, &elsewhere);
    assert_eq!(
        bench::source(out.forwarded().unwrap()).port(),
        50_000,
        "another server is free"
    );
}

fn freed_port(hook: Hook) {
    let gateway = NatGateway {
        ports: vec![2000..=2002],
        ..short_lived()
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    for packet in contenders(1) {
        assert!(bench.run(PRIVATE, &packet).forwarded().is_some());
    }
    let late = syn(addresses::PRIVATE_A, 50_000, addresses::SERVER);
    assert!(bench.run(PRIVATE, &late).forwarded().is_none());
    bench.advance(Duration::from_millis(1200));
    assert!(
        bench.run(PRIVATE, &late).forwarded().is_none(),
        "idle is not ended"
    );
    while bench.sweep() == 0 {}
    assert!(bench.run(PRIVATE, &late).forwarded().is_some());
}

fn other_station(hook: Hook) {
    use nat_tests::packets::Mac;
    let mut bench = Bench::new(hook);
    let mut frame = syn(addresses::PRIVATE_A, 40_001, addresses::SERVER);
    for station in [Mac([2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]), Mac::BROADCAST] {
        frame[..6].copy_from_slice(&station.0);
        let outcome = bench.run(PRIVATE, &frame);
        assert!(matches!(outcome, bench::Outcome::Pass(_)), "{outcome:?}");
    }
    assert_eq!(bench.sessions(), 0);
}

fn spoofed_outside(hook: Hook) {
    let mut bench = Bench::new(hook);
    let web = std::net::SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
    let senders = [
        "10.40.2.77",
        "10.20.1.10",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    ];
    for sender in senders {
        let sender = std::net::SocketAddrV4::new(sender.parse().unwrap(), 4000);
        let packet = PacketBuilder::udp(sender, web).payload_len(4).build();
        assert!(
            bench.run(Side::Uplink, &packet).forwarded().is_none(),
            "{sender}"
        );
    }
    assert_eq!(bench.drops("spoofed_source"), senders.len() as u64);
}

fn subnet_gone(hook: Hook) {
    let mut bench = Bench::new(hook);
    let host = std::net::SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = std::net::SocketAddrV4::new(addresses::SERVER, 53);
    let public = std::net::SocketAddrV4::new(addresses::NAT_PUBLIC, 40_001);
    let out = PacketBuilder::udp(host, server).payload_len(3).build();
    assert!(bench.run(PRIVATE, &out).forwarded().is_some());
    bench.take_down(PRIVATE);
    let back = PacketBuilder::udp(server, public).payload_len(3).build();
    assert_eq!(bench.run_for_verdict(Side::Uplink, &back), "no_next_hop");
}

fn closed_host(hook: Hook) {
    let mut bench = Bench::on_closed_host(hook);
    let sender = std::net::SocketAddrV4::new(addresses::SERVER, 4000);
    let mut to = |ip: &str| {
        let receiver = std::net::SocketAddrV4::new(ip.parse().unwrap(), 22);
        bench.run_for_verdict(Side::Uplink, &PacketBuilder::udp(sender, receiver).build())
    };
    assert_eq!(to("198.51.100.1"), "pass", "the host itself");
    assert_eq!(to("224.0.0.251"), "pass", "multicast");
    assert_eq!(to("198.51.100.81"), "not_for_this_host");
    assert_eq!(to("10.40.2.101"), "private_destination");
}
