//! Every port serves before one packet is refused, and a refusal is told (RFC 4787 REQ-11, RFC 6888, RFC 5508 REQ-8).
use std::{
    collections::{HashMap, HashSet},
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use anyhow::Context;
use nat_tests::netns::{
    Connection, EXCHANGE, Hook, Namespace,
    crowd::{Hall, close_at_once, join, stay, vanish},
    told::{listen_for_errors, told},
};

use crate::{
    attempts::{address, assert_refused_soon, side_by_side, try_connect},
    standing::Standing,
};

const SERVER: &str = "198.51.100.80:8080";
const POOL: std::ops::RangeInclusive<u16> = 1024..=65535;
/// Half of the pool.
const HALF: u16 = 32_256;
/// Connections that can't keep their source port.
const SEARCHED: u16 = 2048;

pub fn every_port_serves_one_destination_before_one_connection_is_refused(hook: Hook) {
    let total = usize::from(HALF) * 2;
    assert_eq!(total, POOL.len());
    let mut standing = Standing::new(hook);
    let lab = &standing.lab;
    let hall = Hall::open(&lab.internet, address(SERVER), total).expect("a server");
    let start = Instant::now();
    // The last ones come from source ports that the other host has taken: theirs must be found in a pool that is
    // all but full.
    let (a, b) = ([10, 40, 2, 101].into(), [10, 40, 2, 201].into());
    let on_their_own = HALF - SEARCHED;
    let mut stayed_inside = crowd_of(&lab.private_a, a, 1024, HALF);
    stayed_inside.extend(crowd_of(&lab.private_b, b, 1024 + HALF, on_their_own));
    let between = start.elapsed();
    stayed_inside.extend(crowd_of(&lab.private_b, b, 1024, SEARCHED));
    println!(
        "{total} connections in {:?}, all but the last {SEARCHED} in {between:?}",
        start.elapsed()
    );

    // The pool is empty towards this destination, and towards no other.
    assert_refused_soon(&lab.private_b, "10.40.2.201:20000", SERVER);
    assert!(standing.drops("port_exhausted") > 0);
    let elsewhere = "198.51.100.81:8080";
    let other = lab.internet.listen(elsewhere).expect("a server");
    let elsewhere = Connection::open(&lab.private_b, "10.40.2.201:20001", elsewhere, &other);
    elsewhere
        .expect("another destination")
        .exchange()
        .expect("data");

    let mut seen = HashSet::new();
    let mut stayed = HashMap::new();
    for guest in hall.guests(total).expect("all of them at the server") {
        seen.insert(guest.seen);
        if let Some((number, server)) = guest.stayed {
            stayed.insert(number, (guest.seen, server));
        }
    }
    let expected = POOL.map(|port| SocketAddrV4::new([198, 51, 100, 10].into(), port));
    assert!(seen == expected.collect(), "not each port of the pool once");
    for (number, client) in stayed_inside {
        let (seen, server) = stayed.remove(&number).expect("the server's end");
        let connection = Connection {
            client,
            server,
            seen,
        };
        let carried = connection.exchange();
        carried.unwrap_or_else(|error| panic!("{seen}: {error:#}"));
        close_at_once(connection.server).expect("closing");
    }
    println!("all of it in {:?}", start.elapsed());
    standing.assert_running();
}

/// A connection from each of `count` ports from `first` on. All stay open for the NAT and the server; those given
/// back, with the number they told the server, are open on this end too.
fn crowd_of(host: &Namespace, client: Ipv4Addr, first: u16, count: u16) -> Vec<(u32, TcpStream)> {
    const STAYS: u16 = 100;
    host.set("net/ipv4/ip_local_port_range", "1024 65535")
        .expect("every port");
    let stayed = host.run(|| {
        let mut stayed = Vec::new();
        for port in first..=first + (count - 1) {
            let from = SocketAddrV4::new(client, port);
            let stream = join(from, address(SERVER), EXCHANGE)
                .with_context(|| format!("connection {} from {from}", port - first))?;
            if port % STAYS == 0 {
                let [.., host] = client.octets();
                let number = u32::from(host) << 16 | u32::from(port);
                stay(&stream, number)?;
                stayed.push((number, stream));
            } else {
                vanish(stream)?;
            }
        }
        Ok(stayed)
    });
    stayed.expect("no connection fails")
}

const FOUR_PORTS: &str = "ports = [\"5000-5003\"]";

/// Four connections that take every port towards the server.
fn with_full_pool(hook: Hook, keys: &str) -> (Standing, Vec<Connection>) {
    let standing = Standing::with_gateway_keys(hook, &format!("{FOUR_PORTS}\n{keys}"));
    let lab = &standing.lab;
    let listener = lab.internet.listen(SERVER).expect("a server");
    let held = (0..4)
        .map(|number| {
            let from = format!("10.40.2.101:{}", 40400 + number);
            Connection::open(&lab.private_a, &from, SERVER, &listener).expect("a connection")
        })
        .collect();
    (standing, held)
}

/// RFC 5508 REQ-8: "administratively prohibited" unless another answer is configured.
pub fn rfc5508_req8_exhaustion_is_told_as_configured(hook: Hook) {
    let cases = [
        ("", 13),
        ("on_exhaustion = \"admin-prohibited\"", 13),
        ("on_exhaustion = \"host-unreachable\"", 1),
    ];
    side_by_side(cases, |(keys, code)| {
        let (standing, held) = with_full_pool(hook, keys);
        assert_refused_soon(&standing.lab.private_b, "10.40.2.201:40410", SERVER);
        assert_eq!(refusal_of_a_datagram(&standing), Some((3, code)), "{keys}");
        for connection in &held {
            connection
                .exchange()
                .expect("those that have a port keep it");
        }
    });
}

pub fn exhaustion_is_silent_where_asked(hook: Hook) {
    let (standing, held) = with_full_pool(hook, "on_exhaustion = \"silent\"");
    let limit = Duration::from_secs(3);
    let (outcome, _) = try_connect(&standing.lab.private_b, "10.40.2.201:40411", SERVER, limit);
    assert_eq!(outcome.expect_err("no port"), ErrorKind::TimedOut);
    assert_eq!(refusal_of_a_datagram(&standing), None);
    assert!(standing.drops("port_exhausted") > 0);
    for connection in &held {
        connection
            .exchange()
            .expect("those that have a port keep it");
    }
}

/// Uses up the ports for UDP too; type and code of the error that the fifth datagram brings, and that the edge sent.
fn refusal_of_a_datagram(standing: &Standing) -> Option<(u8, u8)> {
    let socket = |number: u16| {
        let from = format!("10.40.2.201:{}", 40420 + number);
        standing.lab.private_b.udp(&from).expect("a socket")
    };
    // Nobody listens there; that answer comes from the server.
    let to = "198.51.100.80:9";
    let answers: Vec<_> = (0..5)
        .map(|number| {
            let socket = socket(number);
            listen_for_errors(&socket).expect("a socket option");
            socket.send_to(b"a port, please", to).expect("sending");
            told(&socket, Duration::from_secs(2)).expect("an error queue")
        })
        .collect();
    let (last, served) = answers.split_last().expect("five");
    for answer in served {
        let answer = answer.expect("a closed port is told");
        assert_eq!((answer.icmp_type, answer.code), (3, 3), "{answer:?}");
        assert_eq!(answer.by, Ipv4Addr::new(198, 51, 100, 80));
    }
    last.map(|answer| {
        assert_eq!(answer.by, Ipv4Addr::new(10, 40, 2, 1), "{answer:?}");
        (answer.icmp_type, answer.code)
    })
}
