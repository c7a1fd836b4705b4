//! Forwarded ports: visitors from outside reach a host inside (DNAT), with a NAT instance and by configuration.
use std::{io::ErrorKind, time::Duration};

use nat_tests::netns::{
    Connection, Hook, Namespace, Nat, OneArm, SILENCE, TwoArm, sockets::udp_exchange,
};

use crate::{
    attempts::{hears, side_by_side, try_connect},
    standing::{RFC, Standing, program},
};

/// A connection from `visitor` to `to` that arrives at `listens` on `host`, where the visitor's own address is seen.
fn assert_visited(visitor: &Namespace, from: &str, to: &str, host: &Namespace, listens: &str) {
    let listener = host.listen(listens).expect("a server");
    let connection = Connection::open(visitor, from, to, &listener);
    let connection = connection.unwrap_or_else(|error| panic!("{from} to {to}: {error:#}"));
    assert_eq!(connection.seen.to_string(), from, "to {to}");
    connection.exchange().expect("data");
}

fn assert_datagrams_arrive(
    visitor: &Namespace,
    from: &str,
    to: &str,
    host: &Namespace,
    listens: &str,
) {
    let server = host.udp(listens).expect("a server");
    let socket = visitor.udp(from).expect("a socket");
    let seen = udp_exchange(&socket, to, &server);
    let seen = seen.unwrap_or_else(|error| panic!("{from} to {to}: {error:#}"));
    assert_eq!(seen.to_string(), from, "to {to}");
}

pub fn a_nat_instance_forwards_ports_and_keeps_its_own(hook: Hook) {
    let lab = TwoArm::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    let forward = [
        "--forward",
        "tcp:8080=10.40.2.101:80",
        "--forward",
        "udp:5353=10.40.2.101:53",
        "--forward",
        "tcp:8000-8002=10.40.2.201:9000",
    ];
    let arguments = lab.arguments().into_iter().chain(forward);
    let mut controller = nat.start(arguments).expect("a controller");
    let (a, b, visitor) = (&lab.private_a, &lab.private_b, &lab.internet);

    for from in ["198.51.100.80:50400", "198.51.100.81:50400"] {
        assert_visited(visitor, from, "198.51.100.1:8080", a, "10.40.2.101:80");
        assert_datagrams_arrive(visitor, from, "198.51.100.1:5353", a, "10.40.2.101:53");
    }
    for (port, inside) in [(8000, 9000), (8001, 9001), (8002, 9002)] {
        let (to, listens) = (
            format!("198.51.100.1:{port}"),
            format!("10.40.2.201:{inside}"),
        );
        assert_visited(visitor, "198.51.100.80:50401", &to, b, &listens);
    }

    // The host's own services go on, beside the forwarded ports and on the port after the range.
    for port in [22, 8003, 80] {
        let address = format!("198.51.100.1:{port}");
        let from = "198.51.100.80:50402";
        assert_visited(visitor, from, &address, &lab.edge, &address);
    }
    let from = "198.51.100.80:50403";
    let own = "198.51.100.1:5300";
    assert_datagrams_arrive(visitor, from, own, &lab.edge, own);
    // And so does its own way out, and the hosts'.
    let server = visitor.listen("198.51.100.80:8081").expect("a server");
    for (client, from) in [
        (&lab.edge, "198.51.100.1:40900"),
        (a, "10.40.2.101:40900"),
        (b, "10.40.2.201:40900"),
    ] {
        let connection = Connection::open(client, from, "198.51.100.80:8081", &server);
        let connection = connection.unwrap_or_else(|error| panic!("{from}: {error:#}"));
        assert_eq!(connection.seen.ip().to_string(), "198.51.100.1");
        connection.exchange().expect("data");
    }
    assert!(controller.is_running(), "{}", controller.said());
}

pub fn a_one_arm_instance_forwards_ports(hook: Hook) {
    let lab = OneArm::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    let forward = ["--forward", "tcp:8080=10.40.2.201:80"];
    let arguments = lab.arguments().into_iter().chain(forward);
    let mut controller = nat.start(arguments).expect("a controller");
    let (from, to) = ("198.51.100.80:50410", "10.40.2.1:8080");
    assert_visited(&lab.internet, from, to, &lab.private_b, "10.40.2.201:80");
    let own = "10.40.2.1:22";
    assert_visited(&lab.internet, from, own, &lab.edge, own);
    assert!(controller.is_running(), "{}", controller.said());
}

const FORWARDS: &str = r#"
  forward = [
    { protocol = "tcp", port = "8080", to = "10.40.2.101:80" },
    { protocol = "udp", port = "5353", to = "10.40.2.201:53" },
    { protocol = "tcp", port = "8000-8010", to = "10.40.2.201:8000" },
  ]
"#;

pub fn forwards_of_a_configuration_let_anybody_in(hook: Hook) {
    let cases = ["address-dependent", "address-and-port-dependent"];
    side_by_side(cases, |filtering| {
        let keys = format!("{RFC}\nfiltering = \"{filtering}\"\n{FORWARDS}");
        let mut standing = Standing::with_gateway_keys(hook, &keys);
        let lab = &standing.lab;
        let (a, b, visitor) = (&lab.private_a, &lab.private_b, &lab.internet);
        for from in ["198.51.100.80:50420", "198.51.100.81:50421"] {
            assert_visited(visitor, from, "198.51.100.10:8080", a, "10.40.2.101:80");
            assert_datagrams_arrive(visitor, from, "198.51.100.10:5353", b, "10.40.2.201:53");
            for port in [8000, 8007, 8010] {
                let (to, listens) = (
                    format!("198.51.100.10:{port}"),
                    format!("10.40.2.201:{port}"),
                );
                assert_visited(visitor, from, &to, b, &listens);
            }
        }
        // One more than the range is nobody's, and neither is a forwarded port of the other protocol.
        let _listeners = [
            b.listen("0.0.0.0:8011").expect("a listener"),
            b.listen("0.0.0.0:53").expect("a listener"),
        ];
        for to in ["198.51.100.10:8011", "198.51.100.10:5353"] {
            let (outcome, _) = try_connect(visitor, "0.0.0.0:0", to, SILENCE);
            assert_eq!(
                outcome.expect_err("no forward"),
                ErrorKind::TimedOut,
                "{to}"
            );
        }
        standing.assert_running();
    });
}

/// The mapping holds in both directions: what the server sends on its own shows the forwarded port.
pub fn a_forwarded_host_keeps_its_public_port_on_its_way_out(hook: Hook) {
    let standing = Standing::with_gateway_keys(hook, &format!("{RFC}\n{FORWARDS}"));
    let lab = &standing.lab;
    let server = lab.private_b.udp("10.40.2.201:53").expect("a socket");
    for outside in ["198.51.100.80:5300", "198.51.100.81:5301"] {
        let peer = lab.internet.udp(outside).expect("a socket");
        let seen = udp_exchange(&server, outside, &peer).expect("an exchange");
        assert_eq!(seen.to_string(), "198.51.100.10:5353");
    }
    let listener = lab.internet.listen("198.51.100.80:8081").expect("a server");
    let connection = Connection::open(
        &lab.private_a,
        "10.40.2.101:80",
        "198.51.100.80:8081",
        &listener,
    );
    let connection = connection.expect("a connection");
    assert_eq!(connection.seen.to_string(), "198.51.100.10:8080");
    connection.exchange().expect("data");
}

/// No dynamic mapping takes a port that a forward holds.
pub fn a_forwarded_port_is_given_to_nobody_else(hook: Hook) {
    let keys = format!(
        "{RFC}\nports = [\"5000-5003\"]\n\
         forward = [{{ protocol = \"udp\", port = \"5002\", to = \"10.40.2.201:53\" }}]"
    );
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let to = "198.51.100.80:5300";
    let peer = lab.internet.udp(to).expect("a server");
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for number in 0..3 {
        let from = format!("10.40.2.101:{}", 40910 + number);
        let socket = lab.private_a.udp(&from).expect("a socket");
        ports.push(
            udp_exchange(&socket, to, &peer)
                .expect("an exchange")
                .port(),
        );
        held.push(socket);
    }
    ports.sort_unstable();
    assert_eq!(ports, [5000, 5001, 5003]);
    let refused = crate::attempts::heard_by(&lab.private_a, "10.40.2.101:40913", to);
    assert_eq!(refused, ErrorKind::HostUnreachable);
    let server = lab.private_b.udp("10.40.2.201:53").expect("a server");
    peer.send_to(b"to the forward", "198.51.100.10:5002")
        .expect("sending");
    let heard = hears(&server, b"to the forward", Duration::from_secs(5));
    assert_eq!(heard.map(|from| from.to_string()), Some(to.to_owned()));
}
