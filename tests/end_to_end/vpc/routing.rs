//! Routing within a VPC, and where route tables lead.
use std::{net::Ipv4Addr, time::Duration};

use nat_tests::netns::{
    Hook,
    sockets::{ANY, has_datagram},
    told::{Fragmentation, listen_for_errors, path_mtu, set_fragmentation, told},
};

use super::{
    A, B, C, INTERNET, INTERNET_TOO, Lab, NAT, WEB,
    reached::{NOTHING, Server, from},
    vpc,
};

pub fn subnets_on_two_interfaces_reach_each_other(hook: Hook) {
    let mut standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    Server::on(&lab.web).assert_sees(&lab.a, WEB, from(A));
    Server::on(&lab.a).assert_sees(&lab.web, A, from(WEB));
    assert!(standing.nat.sessions().expect("sessions").is_empty());
    standing.assert_running();
}

pub fn two_subnets_on_one_interface_reach_each_other(hook: Hook) {
    let mut standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    Server::on(&lab.c).assert_sees(&lab.a, C, from(A));
    Server::on(&lab.a).assert_sees(&lab.c, A, from(C));
    // Within a subnet hosts reach each other on their own.
    Server::on(&lab.b).assert_sees(&lab.a, B, from(A));
    standing.assert_running();
}

pub fn a_routed_packet_is_one_hop_older(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let server = lab.web.udp("10.20.1.10:5300").expect("a server");
    let socket = lab.a.udp(ANY).expect("a socket");
    socket.set_ttl(1).expect("a TTL");
    listen_for_errors(&socket).expect("errors");
    socket.send_to(b"old", "10.20.1.10:5300").expect("sending");
    let expired = told(&socket, Duration::from_secs(5)).expect("a look");
    let expired = expired.expect("time exceeded");
    assert_eq!((expired.icmp_type, expired.code), (11, 0));
    assert_eq!(expired.by, Ipv4Addr::new(10, 20, 2, 1));
    assert!(!has_datagram(&server).expect("a look"));
    assert_eq!(standing.drops("ttl_expired"), 1);
    socket.set_ttl(2).expect("a TTL");
    socket.send_to(b"new", "10.20.1.10:5300").expect("sending");
    server.recv(&mut [0; 8]).expect("a datagram");
}

pub fn path_mtu_is_found_between_subnets(hook: Hook) {
    const NARROW: u32 = 1280;
    let lab = Lab::build(hook);
    lab.site.edge.mtu("public0", NARROW).expect("a narrow link");
    let standing = lab.stand(&vpc(hook));
    let lab = &standing.lab;
    let socket = lab.a.udp(ANY).expect("a socket");
    socket.connect("10.20.1.10:5300").expect("a peer");
    set_fragmentation(&socket, Fragmentation::Never).expect("DF");
    listen_for_errors(&socket).expect("errors");
    socket.send(&[7; 1400]).expect("sending");
    let too_big = told(&socket, Duration::from_secs(5)).expect("a look");
    let too_big = too_big.expect("fragmentation needed");
    assert_eq!(
        (too_big.icmp_type, too_big.code, too_big.mtu),
        (3, 4, NARROW)
    );
    assert_eq!(too_big.by, Ipv4Addr::new(10, 20, 2, 1));
    assert_eq!(path_mtu(&socket).expect("a path MTU"), NARROW as i32);
    Server::on(&lab.web).assert_sees(&lab.a, WEB, from(A));
}

/// The router's address is on no interface of the host.
pub fn the_router_answers_arp_and_ping_without_a_host_address(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    for (host, router) in [
        (&lab.web, [10, 20, 1, 1]),
        (&lab.a, [10, 20, 2, 1]),
        (&lab.c, [10, 20, 3, 1]),
        // And that of another subnet.
        (&lab.a, [10, 20, 1, 1]),
    ] {
        let pinger = host.pinger().expect("a socket");
        let payload = format!("ping {router:?}");
        let seen = pinger.ping(router.into(), 77, payload.as_bytes());
        assert_eq!(seen.expect("an answer"), Ipv4Addr::from(router));
    }
    assert!(standing.counter("arp_answered") >= 3);
}

/// Where the host has the router's address, it is the one that answers, also with its own services.
pub fn the_host_answers_where_it_has_the_routers_address(hook: Hook) {
    let lab = Lab::build(hook);
    let edge = &lab.site.edge;
    edge.address("public0", "10.20.1.1/24").expect("an address");
    edge.address("private0", "10.20.2.1/24")
        .expect("an address");
    let standing = lab.stand(&vpc(hook));
    let lab = &standing.lab;
    let own = Server::on(&lab.site.edge);
    own.assert_sees(&lab.a, "10.20.2.1", from(A));
    own.assert_sees(&lab.web, "10.20.1.1", from(WEB));
    Server::on(&lab.web).assert_sees(&lab.a, WEB, from(A));
    // The subnet in which it has none is served all the same.
    Server::on(&lab.c).assert_sees(&lab.web, C, from(WEB));
    assert_eq!(standing.counter("arp_answered"), 1, "for 10.20.3.1 alone");
}

pub fn route_tables_longest_prefix_wins(hook: Hook) {
    let routes = [
        ("0.0.0.0/0", "nat-gateway:egress"),
        ("198.51.100.0/24", "blackhole"),
        ("198.51.100.81/32", "nat-gateway:egress"),
        ("10.20.1.0/28", "blackhole"),
    ];
    let standing = Lab::with(hook, &vpc(hook).routed("private", &routes));
    let lab = &standing.lab;
    let server = Server::at(&lab.site.internet, INTERNET);
    server.assert_sees(&lab.a, INTERNET, NOTHING);
    Server::at(&lab.site.internet, INTERNET_TOO).assert_sees(&lab.a, INTERNET_TOO, from(NAT));
    // Of another table.
    server.assert_sees(&lab.c, INTERNET, from(NAT));
    // More specific than `local`.
    Server::on(&lab.web).assert_sees(&lab.a, WEB, NOTHING);
    Server::on(&lab.c).assert_sees(&lab.a, C, from(A));
    assert!(standing.drops("blackhole") >= 6);
}

pub fn route_tables_a_written_route_beats_a_prefix_list(hook: Hook) {
    let routes = [
        ("0.0.0.0/0", "nat-gateway:egress"),
        ("prefix-list:servers", "blackhole"),
        ("198.51.100.81/32", "nat-gateway:egress"),
    ];
    let text = vpc(hook)
        .routed("private", &routes)
        .prefix_list("servers", &["198.51.100.80/32", "198.51.100.81/32"]);
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let server = Server::at(&lab.site.internet, INTERNET);
    server.assert_sees(&lab.a, INTERNET, NOTHING);
    let server = Server::at(&lab.site.internet, INTERNET_TOO);
    server.assert_sees(&lab.a, INTERNET_TOO, from(NAT));
}

/// Subnets that name no table have the main one; without one, `local` is all they have.
pub fn route_tables_the_main_table_serves_the_rest(hook: Hook) {
    let text = vpc(hook).but("  route_table = \"beside\"\n", "");
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let server = Server::on(&lab.site.internet);
    server.assert_sees(&lab.c, INTERNET, NOTHING);
    assert!(standing.drops("no_route") >= 3);
    Server::on(&lab.web).assert_sees(&lab.c, WEB, from(C));
    standing.reload(&text.with("route_table", "beside", "main = true"));
    server.assert_sees(&lab.c, INTERNET, from(NAT));
    Server::on(&lab.web).assert_sees(&lab.c, WEB, from(C));
}
