//! Fragments through PAT and 1:1: in order, out of order, and more than anybody can hold (RFC 4787 REQ-14, RFC 6864).
use std::{
    io::{self, Read, Write},
    net::{SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::Context;
use nat_tests::netns::{
    Connection, EXCHANGE, Hook, Namespace, Path,
    http::{Pattern, compare},
    raw::{FRAGMENT, RawSender, bytes, datagram_in_fragments, receive_large},
    sockets::{accept, udp_exchange},
};

use crate::{
    attempts::address,
    standing::{RFC, Standing},
};

const SERVER: &str = "198.51.100.80:5300";
/// Forty-one fragments.
const LARGE: usize = 60_000;

pub fn rfc4787_req14_large_datagrams_pass_both_ways(hook: Hook) {
    for keys in ["", RFC] {
        let standing = Standing::with_gateway_keys(hook, keys);
        let lab = &standing.lab;
        let server = lab.internet.udp(SERVER).expect("a server");
        for (host, from) in [
            (&lab.private_a, "10.40.2.101:40500"),
            (&lab.private_b, "10.40.2.201:40500"),
            (&lab.web, "10.20.1.10:40500"),
        ] {
            let client = host.udp(from).expect("a socket");
            for length in [1473, 2961, LARGE] {
                large_exchange(&client, &server, length)
                    .unwrap_or_else(|error| panic!("{from}, {length} bytes: {error:#}"));
            }
        }
    }
}

/// A datagram of `length` bytes to the server and another one back; the client as the server saw it.
fn large_exchange(
    client: &UdpSocket,
    server: &UdpSocket,
    length: usize,
) -> anyhow::Result<SocketAddrV4> {
    let (question, answer) = (bytes(length, 1), bytes(length, 2));
    client.send_to(&question, SERVER)?;
    let (arrived, seen) = receive_large(server)?;
    anyhow::ensure!(arrived == question, "another question");
    server.send_to(&answer, seen)?;
    let (arrived, source) = receive_large(client)?;
    anyhow::ensure!(arrived == answer, "another answer");
    anyhow::ensure!(source == address(SERVER), "an answer from {source}");
    Ok(seen)
}

/// Each order of five fragments that is tried: backwards, the first in the middle, the first two exchanged.
const ORDERS: [[usize; 5]; 3] = [[4, 3, 2, 1, 0], [1, 2, 0, 3, 4], [1, 0, 2, 3, 4]];

pub fn rfc4787_req14_fragments_pass_out_of_order(hook: Hook) {
    for keys in ["", RFC] {
        let standing = Standing::with_gateway_keys(hook, keys);
        let lab = &standing.lab;
        let server = lab.internet.udp(SERVER).expect("a server");
        let outside = lab.internet.raw_sender().expect("a raw socket");
        for (host, from) in [
            (&lab.private_a, "10.40.2.101:40510"),
            (&lab.web, "10.20.1.10:40510"),
        ] {
            let client = host.udp(from).expect("a socket");
            let inside = host.raw_sender().expect("a raw socket");
            for (number, order) in ORDERS.into_iter().enumerate() {
                let case = format!("{from}, order {order:?}");
                let id = 1000 + number as u16;
                let question = bytes(5 * FRAGMENT - 100, number as u8);
                send_in_order(&inside, from, SERVER, id, &question, order);
                let arrived = receive_large(&server);
                let (arrived, seen) = arrived.unwrap_or_else(|error| panic!("{case}: {error:#}"));
                assert!(arrived == question, "{case}: another question");

                let answer = bytes(5 * FRAGMENT - 99, 0x80 | number as u8);
                let to = seen.to_string();
                send_in_order(&outside, SERVER, &to, id, &answer, order);
                let arrived = receive_large(&client);
                let (arrived, source) =
                    arrived.unwrap_or_else(|error| panic!("{case}, back: {error:#}"));
                assert!(arrived == answer, "{case}: another answer");
                assert_eq!(source, address(SERVER), "{case}");
            }
        }
    }
}

fn send_in_order(
    sender: &RawSender,
    from: &str,
    to: &str,
    id: u16,
    payload: &[u8],
    order: [usize; 5],
) {
    let pieces = datagram_in_fragments(address(from), address(to), id, payload, FRAGMENT);
    assert_eq!(pieces.len(), order.len());
    for index in order {
        sender.send(&pieces[index]).expect("sending a fragment");
    }
}

/// RFC 6864: behind one public address the identifications of two hosts must not meet.
pub fn rfc6864_hosts_with_the_same_ip_id_are_kept_apart(hook: Hook) {
    let standing = Standing::new(hook);
    let lab = &standing.lab;
    let server = lab.internet.udp(SERVER).expect("a server");
    let senders: Vec<_> = [
        (&lab.private_a, "10.40.2.101:40520", 3),
        (&lab.private_b, "10.40.2.201:40521", 4),
    ]
    .into_iter()
    .map(|(host, from, seed)| {
        let payload = bytes(3 * FRAGMENT - 8, seed);
        let pieces = datagram_in_fragments(address(from), address(SERVER), 777, &payload, FRAGMENT);
        (host.raw_sender().expect("a raw socket"), pieces, payload)
    })
    .collect();
    // Interleaved: a's first, b's first, a's second, and so on.
    for index in 0..3 {
        for (sender, pieces, _) in &senders {
            sender.send(&pieces[index]).expect("sending a fragment");
        }
    }
    let mut arrived: Vec<_> = (0..2)
        .map(|_| receive_large(&server).expect("a whole datagram").0)
        .collect();
    arrived.sort();
    let mut sent: Vec<_> = senders.into_iter().map(|(_, _, payload)| payload).collect();
    sent.sort();
    assert!(arrived == sent, "pieces of two datagrams were put together");
}

pub fn a_large_ping_is_answered(hook: Hook) {
    let standing = Standing::new(hook);
    let lab = &standing.lab;
    let payload = bytes(4000, 5);
    for host in [&lab.private_a, &lab.private_b, &lab.web] {
        let pinger = host.pinger().expect("a socket");
        let answered = pinger.ping([198, 51, 100, 80].into(), 4321, &payload);
        assert_eq!(
            answered.expect("an answer").to_string(),
            "198.51.100.80",
            "{}",
            host.label()
        );
    }
    // And inwards, to a host with a public address of its own.
    let pinger = lab.internet.pinger().expect("a socket");
    let answered = pinger.ping([198, 51, 100, 20].into(), 4321, &payload);
    answered.expect("an answer");
}

/// Segments that a router outside cut, because their sender allowed it.
pub fn fragmented_tcp_segments_arrive(hook: Hook) {
    const LENGTH: u64 = 300_001;
    let standing = Standing::new(hook);
    let path = Path::behind(&standing.lab).expect("a path");
    path.narrow_the_middle(1280).expect("a narrow link");
    path.far
        .set("net/ipv4/ip_no_pmtu_disc", "1")
        .expect("DF off");
    let listener = path.far.listen("203.0.113.80:8080").expect("a server");
    let client = standing
        .lab
        .private_a
        .connect("0.0.0.0:0", "203.0.113.80:8080");
    let mut client = client.expect("a connection");
    let (server, _) = accept(&listener).expect("a connection");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            io::copy(&mut Pattern::new(LENGTH), &mut &server).expect("sending");
            server.shutdown(std::net::Shutdown::Write).expect("the end");
        });
        compare(&mut client, LENGTH).expect("identical");
    });
    let end = client.read(&mut [0; 1]).expect("the end");
    assert_eq!(end, 0);
    client.write_all(b"thanks").expect("writing");
}

/// REQ-14a. Whole packets and fragments of others pass, whatever one host sends.
pub fn rfc4787_req14a_a_flood_of_fragments_hurts_nobody_else(hook: Hook) {
    let mut standing = Standing::new(hook);
    let lab = &standing.lab;
    // The flood goes to a node of its own, whose reassembly may overflow.
    let drain = Namespace::new("drain").expect("a namespace");
    let plugged = lab.switch_uplink.plug(&drain, "eth0", "198.51.100.90/24");
    plugged.expect("a link");
    let server = lab.internet.udp(SERVER).expect("a server");
    let listener = lab.internet.listen("198.51.100.80:8080").expect("a server");
    let client = lab.private_b.udp("10.40.2.201:40530").expect("a socket");
    let flooder = lab.private_a.raw_sender().expect("a raw socket");
    let connection = Connection::open(
        &lab.private_b,
        "10.40.2.201:40531",
        "198.51.100.80:8080",
        &listener,
    )
    .expect("a connection");

    for kind in [Flood::LaterWithoutFirst, Flood::FirstWithoutLater] {
        for round in 0..20 {
            flood(&flooder, kind, round);
            let others = || -> anyhow::Result<()> {
                udp_exchange(&client, SERVER, &server).context("a datagram")?;
                connection.exchange().context("a connection")?;
                large_exchange(&client, &server, LARGE).context("a fragmented datagram")?;
                Ok(())
            };
            others().unwrap_or_else(|error| panic!("{kind:?}, round {round}: {error:#}"));
        }
    }
    standing.assert_running();
}

#[derive(Clone, Copy, Debug)]
enum Flood {
    LaterWithoutFirst,
    FirstWithoutLater,
}

/// A thousand fragments, each of another datagram.
fn flood(sender: &RawSender, kind: Flood, round: u16) {
    const COUNT: u16 = 1000;
    for number in 0..COUNT {
        let pieces = datagram_in_fragments(
            address("10.40.2.101:40532"),
            address("198.51.100.90:9999"),
            1 + round * COUNT + number,
            &bytes(1000, 6),
            504,
        );
        let piece = match kind {
            Flood::LaterWithoutFirst => &pieces[1],
            Flood::FirstWithoutLater => &pieces[0],
        };
        sender.send(piece).expect("sending a fragment");
    }
}

/// Fragments of a datagram that nothing inside asked for.
pub fn unsolicited_fragments_reach_nobody(hook: Hook) {
    let standing = Standing::new(hook);
    let lab = &standing.lab;
    let witness = lab.private_a.udp("10.40.2.101:40540").expect("a socket");
    let limit = Some(Duration::from_secs(1));
    witness.set_read_timeout(limit).expect("a time-out");
    let outside = lab.internet.raw_sender().expect("a raw socket");
    for order in ORDERS {
        let payload = bytes(5 * FRAGMENT - 8, 7);
        let (from, to) = ("198.51.100.80:5399", "198.51.100.10:40540");
        send_in_order(&outside, from, to, 2000, &payload, order);
    }
    receive_large(&witness).expect_err("nobody asked for it");
    // What is asked for still comes.
    let server = lab.internet.udp(SERVER).expect("a server");
    witness
        .set_read_timeout(Some(EXCHANGE))
        .expect("a time-out");
    large_exchange(&witness, &server, LARGE).expect("an exchange");
}
