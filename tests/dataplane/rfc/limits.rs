//! Ports and sessions that run out, and those that rest: RFC 6888, RFC 5508 REQ-8.

use std::net::Ipv4Addr;

use nat_tests::{
    model::{Forward, NatGateway, NoTranslate, OnExhaustion, Side},
    packets::{PacketBuilder, addresses, protocol},
};

use super::*;
use crate::{
    PRIVATE,
    bench::{Bench, Hook},
};

fn four_ports(kind: Kind) -> NatGateway {
    NatGateway {
        ports: vec![2000..=2003],
        ..kind.gateway()
    }
}

fn from(number: u16) -> SocketAddrV4 {
    SocketAddrV4::new(addresses::PRIVATE_A, 40_001 + number)
}

/// Whoever comes when every port is taken, those that have one keep it.
pub fn rfc6888_req11d_exhaustion_evicts_no_mapping(hook: Hook) {
    for kind in BOTH {
        let mut bench = Bench::with_gateway(hook, four_ports(kind));
        let held: Vec<_> = (0..4)
            .map(|number| public(&mut bench, &datagram(from(number), server())))
            .collect();
        // Long idle, and the next would be glad of it.
        bench.advance(seconds(298));
        for number in 0..50 {
            let late = datagram(
                SocketAddrV4::new(addresses::PRIVATE_B, 1024 + number),
                server(),
            );
            assert_eq!(verdict(&mut bench, PRIVATE, &late), "port_exhausted");
        }
        assert_eq!(bench.sessions(), 4);
        for (number, end) in held.iter().enumerate() {
            assert!(gets_in(&mut bench, &datagram(server(), *end)), "{kind:?}");
            let again = public(&mut bench, &datagram(from(number as u16), server()));
            assert_eq!(again, *end, "{kind:?}");
        }
    }
}

/// The packet is dropped, its sender told as configured, and it counts.
pub fn rfc5508_req8_and_rfc6888_req11_exhaustion_is_dropped_told_and_counted(hook: Hook) {
    for (kind, on_exhaustion, code) in [
        (Kind::Aws, OnExhaustion::AdminProhibited, 13),
        (Kind::Rfc, OnExhaustion::HostUnreachable, 1),
    ] {
        let gateway = NatGateway {
            on_exhaustion,
            max_sessions_per_client: Some(4),
            ..four_ports(kind)
        };
        let mut bench = Bench::with_gateway(hook, gateway);
        for number in 0..4 {
            public(&mut bench, &datagram(from(number), server()));
        }
        let of_neighbour = datagram(neighbour(), server());
        for (packet, expected) in [
            (of_neighbour, "port_exhausted"),
            (datagram(from(4), server()), "client_quota"),
        ] {
            let (reason, icmp) = refusal(&mut bench, PRIVATE, &packet);
            assert_eq!((reason, icmp.icmp_type, icmp.code), (expected, 3, code));
            assert_eq!(bench.drops(expected), 1);
        }
    }
}

/// Sessions in both profiles, ports in profile rfc; the next client has its own.
pub fn rfc6888_req4_and_rfc6888_req5_quotas_hold_for_each_client(hook: Hook) {
    for (kind, sessions, ports) in [(Kind::Aws, Some(3), None), (Kind::Rfc, None, Some(3))] {
        let gateway = NatGateway {
            max_sessions_per_client: sessions,
            max_ports_per_client: ports,
            ..kind.gateway()
        };
        let mut bench = Bench::with_gateway(hook, gateway);
        for number in 0..3 {
            public(&mut bench, &datagram(from(number), server()));
        }
        let (reason, icmp) = refusal(&mut bench, PRIVATE, &datagram(from(3), server()));
        assert_eq!((reason, icmp.icmp_type, icmp.code), ("client_quota", 3, 13));
        let second = verdict(&mut bench, PRIVATE, &datagram(from(0), other_server()));
        let expected = if ports.is_some() {
            "forward"
        } else {
            "client_quota"
        };
        assert_eq!(second, expected, "{kind:?}: a second session from one port");
        public(&mut bench, &datagram(neighbour(), server()));
        // What has ended does not count.
        bench.advance(seconds(400));
        swept(&mut bench);
        public(&mut bench, &datagram(from(3), server()));
    }
}

/// A forward's sessions bind a client to no address: its own first port may be on any.
pub fn rfc4787_req2_a_client_that_has_only_a_forward_takes_its_first_port_where_one_is(hook: Hook) {
    let second = Ipv4Addr::new(198, 51, 100, 11);
    let host = |number: u16| Ipv4Addr::new(10, 40, 2, 100 + number as u8);
    let hosts = 1..=8;
    let forwards = hosts.clone().map(|number| Forward {
        protocol: protocol::UDP,
        public_ip: second,
        ports: 5000 + number..=5000 + number,
        to: SocketAddrV4::new(host(number), 53),
    });
    let gateway = NatGateway {
        public_ips: vec![addresses::NAT_PUBLIC, second],
        ports: vec![2000..=2001],
        forwards: forwards.collect(),
        ..Kind::Rfc.gateway()
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    for number in hosts {
        let end = |port| SocketAddrV4::new(host(number), port);
        public(&mut bench, &datagram(end(53), server()));
        // One port is left, on either address.
        for other in [20, 21, 22] {
            let other = SocketAddrV4::new(host(other), 40_000);
            public(&mut bench, &datagram(other, server()));
        }
        public(&mut bench, &datagram(end(40_000), server()));
        bench.reset();
    }
}

/// By destination, protocol and port.
pub fn rfc6888_req6_translation_is_off_where_rules_say_so(hook: Hook) {
    for kind in BOTH {
        let rule = NoTranslate {
            destination: "203.0.113.0/24".parse().unwrap(),
            protocol: Some(protocol::UDP),
            ports: Some(443..=443),
        };
        let gateway = NatGateway {
            no_translate: vec![rule],
            ..kind.gateway()
        };
        let mut bench = Bench::with_gateway(hook, gateway);
        let exempt = datagram(host(), other_server());
        assert_eq!(verdict(&mut bench, PRIVATE, &exempt), "pass");
        let back = datagram(other_server(), host());
        assert_eq!(verdict(&mut bench, Side::Uplink, &back), "pass");
        assert_eq!(bench.sessions(), 0);
        let port = SocketAddrV4::new(*other_server().ip(), 444);
        public(&mut bench, &datagram(host(), port));
        public(&mut bench, &syn(host(), other_server()));
        public(&mut bench, &datagram(host(), server()));
    }
}

/// 120 s for UDP and pings where anybody may send to the port; TCP, which is tracked, needs none.
pub fn rfc6888_req8_a_freed_port_rests_for_120_seconds(hook: Hook) {
    let gateway = NatGateway {
        ports: vec![2000..=2000],
        ..Kind::Open.gateway()
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    let second = PacketBuilder::echo_request(addresses::PRIVATE_B, addresses::SERVER, 9, 1);
    let first = PacketBuilder::echo_request(addresses::PRIVATE_A, addresses::SERVER, 7, 1);
    for (first, second) in [
        (datagram(host(), server()), datagram(neighbour(), server())),
        (first, second),
    ] {
        bench.reset();
        public(&mut bench, &first);
        bench.advance(seconds(302));
        assert_eq!(swept(&mut bench), 1);
        bench.advance(seconds(118));
        assert_eq!(verdict(&mut bench, PRIVATE, &second), "port_exhausted");
        bench.advance(seconds(4));
        public(&mut bench, &second);
    }
    bench.reset();
    public(&mut bench, &syn(host(), server()));
    bench.advance(seconds(242));
    assert_eq!(swept(&mut bench), 1);
    public(&mut bench, &syn(neighbour(), server()));
}

/// Every port has its binding, and then there is none, whatever the destination.
pub fn profile_rfc_fills_its_pool_to_the_last_port(hook: Hook) {
    const POOL: u16 = 65_535 - 1024 + 1;
    let mut bench = Bench::with_gateway(hook, Kind::Rfc.gateway());
    let hosts = [7, 8, 9].map(|last| [10, 40, 2, last]);
    let packets: Vec<_> = hosts
        .iter()
        .flat_map(|host| (0..POOL / 3).map(|port| SocketAddrV4::new((*host).into(), 1024 + port)))
        .map(|from| syn(from, server()).build())
        .collect();
    let seen = bench.run_on_cpus(1, PRIVATE, &packets);
    let mut ports: Vec<_> = seen[0]
        .iter()
        .map(|frame| parsed(frame).source().port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), usize::from(POOL), "each port once");
    for to in [server(), other_server()] {
        let late = syn(host(), to);
        assert_eq!(verdict(&mut bench, PRIVATE, &late), "port_exhausted");
    }
}
