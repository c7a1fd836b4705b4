//! Every port serves before one packet is refused, and a refusal is told (RFC 4787 REQ-11, RFC 6888, RFC 5508 REQ-8).
use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use nat_tests::netns::{
    Connection, EXCHANGE, Hook, Namespace,
    crowd::{Hall, close_at_once, join, room_for_files},
    told::{listen_for_errors, told},
};

use crate::{
    attempts::{address, assert_refused_soon, try_connect},
    standing::Standing,
};

const SERVER: &str = "198.51.100.80:8080";
const POOL: std::ops::RangeInclusive<u16> = 1024..=65535;
/// Half of the pool.
const HALF: u16 = 32_256;

pub fn every_port_serves_one_destination_before_one_connection_is_refused(hook: Hook) {
    let total = usize::from(HALF) * 2;
    assert_eq!(total, POOL.len());
    room_for_files(2 * total as u64 + 4096).expect("room");
    let mut standing = Standing::new(hook);
    let lab = &standing.lab;
    for node in [&lab.private_a, &lab.private_b, &lab.internet] {
        node.room_for_connections().expect("room");
    }
    let hall = Hall::open(&lab.internet, address(SERVER), total).expect("a server");
    let start = Instant::now();
    // Both hosts use the same source ports, so that none of the second one's is free.
    let first = crowd_of(&lab.private_a, [10, 40, 2, 101].into(), &hall);
    let between = start.elapsed();
    let second = crowd_of(&lab.private_b, [10, 40, 2, 201].into(), &hall);
    println!(
        "{HALF} connections on their own ports in {between:?}, all {total} in {:?}",
        start.elapsed()
    );
    let guests = hall.guests().expect("all of them at the server");
    let seen: HashSet<SocketAddrV4> = guests.iter().map(|(_, seen)| *seen).collect();
    let expected = POOL.map(|port| SocketAddrV4::new([198, 51, 100, 10].into(), port));
    assert_eq!(seen, expected.collect(), "each port of the pool once");

    // The pool is empty towards this destination, and towards no other.
    assert_refused_soon(&lab.private_b, "10.40.2.201:50000", SERVER);
    assert!(standing.drops("port_exhausted") > 0);
    let other = lab.internet.listen("198.51.100.81:8080").expect("a server");
    let elsewhere = "198.51.100.81:8080";
    let elsewhere = Connection::open(&lab.private_b, "10.40.2.201:50001", elsewhere, &other);
    elsewhere
        .expect("another destination")
        .exchange()
        .expect("data");

    close_at_once(guests.into_iter().map(|(stream, _)| stream)).expect("closing");
    close_at_once(first.into_iter().chain(second)).expect("closing");
    println!("all of it in {:?}", start.elapsed());
    standing.assert_running();
}

/// A connection from each port of the lower half.
fn crowd_of(host: &Namespace, client: Ipv4Addr, hall: &Hall) -> Vec<std::net::TcpStream> {
    let streams = host.run(|| {
        let mut streams = Vec::with_capacity(HALF.into());
        for port in POOL.take(HALF.into()) {
            let from = SocketAddrV4::new(client, port);
            let stream = join(from, address(SERVER), EXCHANGE)
                .map_err(|error| anyhow::anyhow!("{from}: {error}, {} before", hall.accepted()))?;
            streams.push(stream);
        }
        Ok(streams)
    });
    streams.expect("no connection fails")
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
    for (keys, code) in [
        ("", 13),
        ("on_exhaustion = \"admin-prohibited\"", 13),
        ("on_exhaustion = \"host-unreachable\"", 1),
    ] {
        let (standing, held) = with_full_pool(hook, keys);
        assert_refused_soon(&standing.lab.private_b, "10.40.2.201:40410", SERVER);
        assert_eq!(refusal_of_a_datagram(&standing), Some((3, code)), "{keys}");
        for connection in &held {
            connection
                .exchange()
                .expect("those that have a port keep it");
        }
    }
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
