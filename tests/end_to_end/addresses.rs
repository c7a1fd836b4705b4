//! Gateways with several public IPs, pools that run out, and quotas (RFC 4787 REQ-2, RFC 6888).
use std::{collections::HashSet, io::ErrorKind, net::Ipv4Addr};

use nat_tests::netns::{Connection, Hook, Namespace, sockets::udp_exchange};

use crate::{
    attempts::{assert_refused_soon, heard_by},
    standing::{RFC, Standing, classic_with_ips},
};

const SERVER: &str = "198.51.100.80:8080";
const PEER: &str = "198.51.100.80:5300";

fn with_ips(hook: Hook, public_ips: &[&str], keys: &str) -> Standing {
    Standing::with_configuration(hook, &classic_with_ips(hook, public_ips, keys))
}

pub fn rfc4787_req2_a_client_stays_on_one_public_ip(hook: Hook) {
    let public_ips = ["198.51.100.10", "198.51.100.11", "198.51.100.12"];
    for keys in ["", RFC] {
        let standing = with_ips(hook, &public_ips, keys);
        let lab = &standing.lab;
        let peers = ["198.51.100.80:5300", "198.51.100.81:5300"];
        let [peer, other] = peers.map(|peer| lab.internet.udp(peer).expect("a server"));
        let listener = lab.internet.listen(SERVER).expect("a server");
        for (host, ip) in [
            (&lab.private_a, "10.40.2.101"),
            (&lab.private_b, "10.40.2.201"),
        ] {
            let mut seen = HashSet::new();
            for number in 0..20 {
                let from = format!("{ip}:{}", 41200 + number);
                let socket = host.udp(&from).expect("a socket");
                for (to, server) in [(peers[0], &peer), (peers[1], &other)] {
                    let address = udp_exchange(&socket, to, server).expect("an exchange");
                    seen.insert(*address.ip());
                }
                let connection = Connection::open(host, &from, SERVER, &listener);
                seen.insert(*connection.expect("a connection").seen.ip());
            }
            assert_eq!(seen.len(), 1, "{keys}, {ip}: {seen:?}");
            let ip = seen.iter().next().expect("one").to_string();
            assert!(public_ips.contains(&ip.as_str()), "{ip}");
        }
    }
}

/// Two addresses with four ports each.
const TWO: [&str; 2] = ["198.51.100.10", "198.51.100.11"];
const FOUR_PORTS: &str = "ports = [\"5000-5003\"]";

/// Opens `count` connections from successive ports; where they were seen.
fn open(
    host: &Namespace,
    first: u16,
    count: u16,
    listener: &std::net::TcpListener,
) -> Vec<Connection> {
    (first..first + count)
        .map(|port| {
            let from = format!("0.0.0.0:{port}");
            let connection = Connection::open(host, &from, SERVER, listener);
            connection.unwrap_or_else(|error| panic!("{from} on {}: {error:#}", host.label()))
        })
        .collect()
}

fn ips(connections: &[Connection]) -> Vec<Ipv4Addr> {
    connections.iter().map(|held| *held.seen.ip()).collect()
}

pub fn profile_aws_spills_over_to_the_next_public_ip(hook: Hook) {
    let standing = with_ips(hook, &TWO, FOUR_PORTS);
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let held = open(&lab.private_a, 41300, 8, &listener);
    let seen: HashSet<_> = held.iter().map(|held| held.seen).collect();
    assert_eq!(seen.len(), 8, "{seen:?}");
    let ips = ips(&held);
    let (full, spilled) = ips.split_at(4);
    assert!(full.iter().all(|ip| *ip == full[0]), "{ips:?}");
    assert!(spilled.iter().all(|ip| *ip == spilled[0]), "{ips:?}");
    assert_ne!(full[0], spilled[0]);
    assert_refused_soon(&lab.private_a, "10.40.2.101:41310", SERVER);
    assert_refused_soon(&lab.private_b, "10.40.2.201:41310", SERVER);
    for connection in &held {
        connection.exchange().expect("with all of them open");
    }
    // Towards another destination every port is free, and the client is back on its first address.
    let other = lab.internet.udp(PEER).expect("a server");
    let socket = lab.private_a.udp("10.40.2.101:41311").expect("a socket");
    let seen = udp_exchange(&socket, PEER, &other).expect("an exchange");
    assert_eq!(*seen.ip(), full[0]);
}

pub fn rfc4787_req2_profile_rfc_never_moves_a_client(hook: Hook) {
    let standing = with_ips(hook, &TWO, &format!("{RFC}\n{FOUR_PORTS}"));
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let held = open(&lab.private_a, 41320, 4, &listener);
    let a_ips = ips(&held);
    assert!(a_ips.iter().all(|ip| *ip == a_ips[0]), "{a_ips:?}");
    assert_refused_soon(&lab.private_a, "10.40.2.101:41330", SERVER);
    // A client without sessions goes where there is room.
    let other = open(&lab.private_b, 41320, 4, &listener);
    let b_ips = ips(&other);
    assert!(b_ips.iter().all(|ip| *ip == b_ips[0]), "{b_ips:?}");
    assert_ne!(a_ips[0], b_ips[0]);
    for connection in held.iter().chain(&other) {
        connection.exchange().expect("with all of them open");
    }
}

pub fn an_address_may_have_ports_of_its_own(hook: Hook) {
    let keys = format!(
        "{FOUR_PORTS}\naddress_ports = [{{ public_ip = \"198.51.100.11\", ports = [\"7000-7001\", \"7010-7011\"] }}]"
    );
    let standing = with_ips(hook, &TWO, &keys);
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let held = open(&lab.private_a, 41340, 8, &listener);
    let mut seen: Vec<_> = held.iter().map(|held| held.seen.to_string()).collect();
    seen.sort();
    let expected = [
        "198.51.100.10:5000",
        "198.51.100.10:5001",
        "198.51.100.10:5002",
        "198.51.100.10:5003",
        "198.51.100.11:7000",
        "198.51.100.11:7001",
        "198.51.100.11:7010",
        "198.51.100.11:7011",
    ];
    assert_eq!(seen, expected);
}

/// RFC 6888 REQ-4: what one client may hold.
pub fn rfc6888_req4_a_client_has_no_more_sessions_than_its_quota(hook: Hook) {
    for keys in ["", RFC] {
        let keys = format!("{keys}\nmax_sessions_per_client = 3");
        let standing = Standing::with_gateway_keys(hook, &keys);
        let lab = &standing.lab;
        let listener = lab.internet.listen(SERVER).expect("a server");
        let held = open(&lab.private_a, 41350, 3, &listener);
        assert_refused_soon(&lab.private_a, "10.40.2.101:41360", SERVER);
        let heard = heard_by(&lab.private_a, "10.40.2.101:41361", "198.51.100.80:9");
        assert_eq!(heard, ErrorKind::HostUnreachable);
        assert!(standing.drops("client_quota") >= 2);
        assert_eq!(standing.drops("port_exhausted"), 0);
        let other = open(&lab.private_b, 41350, 3, &listener);
        for connection in held.iter().chain(&other) {
            connection.exchange().expect("with all of them open");
        }
    }
}

/// RFC 6888 REQ-4 again: ports, each of which may have many sessions.
pub fn rfc6888_req4_a_client_has_no_more_ports_than_its_quota(hook: Hook) {
    let keys = format!("{RFC}\nmax_ports_per_client = 2");
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let peers = ["198.51.100.80:5300", "198.51.100.81:5300"];
    let servers = peers.map(|peer| lab.internet.udp(peer).expect("a server"));
    let mut held = Vec::new();
    for port in [41370, 41371] {
        let from = format!("10.40.2.101:{port}");
        let socket = lab.private_a.udp(&from).expect("a socket");
        for (to, server) in peers.iter().zip(&servers) {
            udp_exchange(&socket, to, server).expect("an exchange");
        }
        held.push(socket);
    }
    let heard = heard_by(&lab.private_a, "10.40.2.101:41372", "198.51.100.80:9");
    assert_eq!(heard, ErrorKind::HostUnreachable);
    assert!(standing.drops("client_quota") >= 1);
    let socket = lab.private_b.udp("10.40.2.201:41372").expect("a socket");
    udp_exchange(&socket, peers[0], &servers[0]).expect("another client's exchange");
    udp_exchange(&held[0], peers[0], &servers[0]).expect("the first one again");
}
