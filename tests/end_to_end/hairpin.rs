//! From inside to a public address of the dataplane, and back inside (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7).
use nat_tests::netns::{
    Connection, EXCHANGE, Hook, Namespace, Nat, OneArm, Picture, TwoArm, configuration::classic,
    icmp::Pinger, sockets::udp_exchange,
};

use crate::{
    attempts::try_connect,
    standing::{RFC, Standing, program},
};

const WEB: &str = "198.51.100.20";

/// The classic picture with a second host that has a public address of its own.
fn with_second_web(hook: Hook, keys: &str) -> (Standing, Namespace) {
    let lab = Picture::build(hook).expect("a lab");
    let web_b = Namespace::new("web-b").expect("a namespace");
    lab.switch_public
        .plug(&web_b, "eth0", "10.20.1.11/24")
        .expect("a link");
    web_b.route("0.0.0.0/0", "10.20.1.1").expect("a route");
    let configuration = classic(hook, keys).instance(
        "web-b",
        "public-a",
        "10.20.1.11",
        "public_ip = \"198.51.100.21\"",
    );
    (Standing::in_lab(lab, &configuration), web_b)
}

/// One connection, one datagram each way, and one ping from `client` to `to`, where `server` is; each is seen to come
/// from `expected`.
fn assert_reached(client: &Namespace, to: &str, server: &Namespace, expected: &str) {
    let case = format!("{} to {to}", client.label());
    let address = format!("{to}:8080");
    let listener = server.listen("0.0.0.0:8080").expect("a server");
    let connection = Connection::open(client, "0.0.0.0:40800", &address, &listener);
    let connection = connection.unwrap_or_else(|error| panic!("{case}: {error:#}"));
    assert_eq!(connection.seen.ip().to_string(), expected, "{case}");
    connection.exchange().expect("data");

    let address = format!("{to}:5300");
    let socket = server.udp("0.0.0.0:5300").expect("a server");
    let sender = client.udp("0.0.0.0:40801").expect("a socket");
    let seen = udp_exchange(&sender, &address, &socket);
    let seen = seen.unwrap_or_else(|error| panic!("{case}: {error:#}"));
    assert_eq!(seen.ip().to_string(), expected, "{case}");

    let (asking, witness) = (client.pinger(), server.pinger());
    let (asking, witness) = (asking.expect("a socket"), witness.expect("a socket"));
    assert_pinged(&asking, to, &witness, expected);
}

fn assert_pinged(asking: &Pinger, to: &str, witness: &Pinger, expected: &str) {
    let payload = format!("ping to {to}");
    let answered = asking.ping(to.parse().expect("an address"), 4800, payload.as_bytes());
    assert_eq!(answered.expect("an answer").to_string(), to);
    let request = witness.request(payload.as_bytes(), EXCHANGE);
    let request = request.expect("a socket").expect("a request");
    assert_eq!(request.source.to_string(), expected);
}

pub fn rfc4787_req9_a_private_host_reaches_another_ones_elastic_ip(hook: Hook) {
    for keys in ["", RFC] {
        let standing = Standing::with_gateway_keys(hook, keys);
        let lab = &standing.lab;
        for host in [&lab.private_a, &lab.private_b] {
            assert_reached(host, WEB, &lab.web, "198.51.100.10");
        }
    }
}

pub fn rfc5508_req7_two_elastic_ips_reach_each_other(hook: Hook) {
    let (standing, web_b) = with_second_web(hook, "");
    let web = &standing.lab.web;
    assert_reached(web, "198.51.100.21", &web_b, WEB);
    assert_reached(&web_b, WEB, web, "198.51.100.21");
    let sessions = standing.nat.sessions().expect("sessions");
    assert!(sessions.is_empty(), "1:1 needs none: {sessions:?}");
}

pub fn rfc4787_req9_a_host_reaches_itself_by_its_own_elastic_ip(hook: Hook) {
    let standing = Standing::new(hook);
    let web = &standing.lab.web;
    assert_reached(web, WEB, web, WEB);
}

/// RFC 5508 REQ-7: errors about hairpinned packets as well.
pub fn rfc5508_req7_a_hairpinned_packets_error_comes_back(hook: Hook) {
    let standing = Standing::new(hook);
    for host in [&standing.lab.private_a, &standing.lab.web] {
        let heard = crate::attempts::heard_by(host, "0.0.0.0:40810", "198.51.100.20:9");
        assert_eq!(
            heard,
            std::io::ErrorKind::ConnectionRefused,
            "{}",
            host.label()
        );
    }
}

pub fn rfc4787_req9_a_forwarded_port_is_reached_from_inside(hook: Hook) {
    let keys = format!(
        "{RFC}\nforward = [\n\
         {{ protocol = \"tcp\", port = \"8000\", to = \"10.40.2.201:80\" }},\n\
         {{ protocol = \"udp\", port = \"5353\", to = \"10.40.2.201:53\" }},\n]"
    );
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let listener = lab.private_b.listen("10.40.2.201:80").expect("a server");
    let server = lab.private_b.udp("10.40.2.201:53").expect("a server");
    // Another host, the server itself, and a host with a public address of its own.
    for (client, expected) in [
        (&lab.private_a, "198.51.100.10"),
        (&lab.private_b, "198.51.100.10"),
        (&lab.web, WEB),
    ] {
        let case = client.label();
        let to = "198.51.100.10:8000";
        let connection = Connection::open(client, "0.0.0.0:40820", to, &listener);
        let connection = connection.unwrap_or_else(|error| panic!("{case}: {error:#}"));
        assert_eq!(connection.seen.ip().to_string(), expected, "{case}");
        connection.exchange().expect("data");
        let socket = client.udp("0.0.0.0:40821").expect("a socket");
        let seen = udp_exchange(&socket, "198.51.100.10:5353", &server);
        let seen = seen.unwrap_or_else(|error| panic!("{case}: {error:#}"));
        assert_eq!(seen.ip().to_string(), expected, "{case}");
    }
    // No other port of that address leads anywhere.
    let limit = std::time::Duration::from_secs(2);
    let (outcome, _) = try_connect(&lab.private_a, "0.0.0.0:0", "198.51.100.10:8001", limit);
    outcome.expect_err("nobody is there");
}

/// NAT loopback of a NAT instance: hosts reach a neighbour by the address that the world knows.
pub fn a_two_arm_instance_loops_a_forwarded_port_back(hook: Hook) {
    let lab = TwoArm::build(hook).expect("a lab");
    let hosts = [&lab.private_a, &lab.private_b];
    assert_looped_back(hosts, &lab.edge, lab.arguments(), "198.51.100.1");
}

/// The same with a single interface, by which the packet comes and goes.
pub fn a_one_arm_instance_loops_a_forwarded_port_back(hook: Hook) {
    let lab = OneArm::build(hook).expect("a lab");
    let hosts = [&lab.private_a, &lab.private_b];
    assert_looped_back(hosts, &lab.edge, lab.arguments(), "10.40.2.1");
}

/// With a controller on `edge`, whose own address is `public`.
fn assert_looped_back(
    [client, server]: [&Namespace; 2],
    edge: &Namespace,
    arguments: [&str; 9],
    public: &str,
) {
    let nat = Nat::new(&program(), edge).expect("the program");
    let forward = ["--forward", "tcp:8080=10.40.2.201:80"];
    let arguments = arguments.into_iter().chain(forward);
    let _controller = nat.start(arguments).expect("a controller");
    let listener = server.listen("10.40.2.201:80").expect("a server");
    for from in [client, server] {
        let connection =
            Connection::open(from, "0.0.0.0:40830", &format!("{public}:8080"), &listener);
        let connection = connection.unwrap_or_else(|error| panic!("{}: {error:#}", from.label()));
        assert_eq!(connection.seen.ip().to_string(), public, "{}", from.label());
        connection.exchange().expect("data");
    }
    // The rest of that address is the host's.
    let own = edge.listen("0.0.0.0:22").expect("a listener");
    let ssh = Connection::open(client, "0.0.0.0:40831", &format!("{public}:22"), &own);
    let ssh = ssh.expect("a connection to the host");
    ssh.exchange().expect("data");
    let pong = client.pinger().expect("a socket");
    let pong = pong.ping(
        public.parse().expect("an address"),
        4830,
        b"the host itself",
    );
    assert_eq!(pong.expect("an answer").to_string(), public);
}
