//! The one-command NAT instance: two arms and one arm, with its host's own traffic left alone.
use nat_tests::netns::{
    Connection, Hook, Nat, OneArm, Session, TwoArm, leftovers::leftovers_text,
    sockets::udp_exchange,
};

use crate::standing::program;

const SERVER: &str = "198.51.100.80:8080";

pub fn host_traffic_is_untouched(hook: Hook) {
    let lab = TwoArm::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    let mut controller = nat.start(lab.arguments()).expect("a controller");
    let server = lab.internet.listen(SERVER).expect("a server");

    // The host's own connections, out (as curl) and in (as ssh), and its datagrams and pings.
    let out = Connection::open(&lab.edge, "198.51.100.1:40010", SERVER, &server)
        .expect("the host's own connection");
    assert_eq!(out.seen.to_string(), "198.51.100.1:40010");
    out.exchange().expect("the host's own connection");
    let ssh = lab.edge.listen("198.51.100.1:22").expect("a listener");
    let inward = Connection::open(
        &lab.internet,
        "198.51.100.80:50022",
        "198.51.100.1:22",
        &ssh,
    )
    .expect("ssh in");
    assert_eq!(inward.seen.to_string(), "198.51.100.80:50022");
    inward.exchange().expect("ssh in");
    let (edge, internet) = (
        lab.edge.udp("198.51.100.1:40020"),
        lab.internet.udp("198.51.100.80:5300"),
    );
    let (edge, internet) = (edge.expect("a socket"), internet.expect("a socket"));
    let seen =
        udp_exchange(&edge, "198.51.100.80:5300", &internet).expect("the host's own datagrams");
    assert_eq!(seen.to_string(), "198.51.100.1:40020");
    let pinger = lab.internet.pinger().expect("a socket");
    pinger
        .ping([198, 51, 100, 1].into(), 11, b"ping to the host")
        .expect("the host answers");
    let pinger = lab.edge.pinger().expect("a socket");
    pinger
        .ping([198, 51, 100, 80].into(), 12, b"ping from the host")
        .expect("the host's own ping");
    let gateway = lab.private_a.pinger().expect("a socket");
    gateway
        .ping([10, 40, 2, 1].into(), 13, b"ping to the gateway")
        .expect("private hosts reach the host itself");
    assert_eq!(
        lines(&nat),
        Vec::<String>::new(),
        "the host's own traffic needs no session"
    );

    // A private host behind the same address, even with the very port the host is using.
    let private = Connection::open(&lab.private_a, "10.40.2.101:40010", SERVER, &server)
        .expect("through the NAT");
    assert_eq!(private.seen.ip(), out.seen.ip());
    assert_ne!(
        private.seen.port(),
        out.seen.port(),
        "the host's own connection has this port"
    );
    private.exchange().expect("through the NAT");
    let socket = lab.private_b.udp("10.40.2.201:40030").expect("a socket");
    let seen = udp_exchange(&socket, "198.51.100.80:5300", &internet).expect("UDP through the NAT");
    assert_eq!(seen.ip().to_string(), "198.51.100.1");
    let pinger = lab.private_b.pinger().expect("a socket");
    pinger
        .ping([198, 51, 100, 80].into(), 14, b"ping through the NAT")
        .expect("ping through the NAT");
    for (name, connection) in [("out", &out), ("in", &inward), ("through", &private)] {
        connection
            .exchange()
            .unwrap_or_else(|error| panic!("{name}, with all of them open: {error:#}"));
    }

    let table = nat.sessions().expect("sessions");
    assert_eq!(table.len(), 3, "one each for TCP, UDP and ping: {table:?}");
    for session in &table {
        assert_eq!(
            session.source.octets()[..3],
            [10, 40, 2],
            "{}",
            session.line()
        );
        assert_eq!(
            session.translated.to_string(),
            "198.51.100.1",
            "{}",
            session.line()
        );
    }
    assert!(
        controller.is_running(),
        "the controller has ended; it said:\n{}",
        controller.said()
    );
}

/// RFC 4787 REQ-7: the uplink's network, which may come by DHCP, is not that of the hosts inside.
pub fn rfc4787_req7_a_network_is_not_inside_and_outside(hook: Hook) {
    let lab = TwoArm::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    let with_cidr = |cidr: &'static str| {
        let arguments = lab.arguments();
        arguments.map(|word| if word == "10.40.2.0/24" { cidr } else { word })
    };
    let refused = nat.finish(with_cidr("198.51.100.0/24")).expect("nat run");
    let said = refused.success().expect_err("the uplink's own network");
    let said = format!("{said:#}");
    let why = "198.51.100.0/24 is the network of uplink uplink0 and of hosts inside on private0";
    assert!(said.contains(why), "{said}");
    assert_eq!(leftovers_text(&lab.edge).expect("a look"), "nothing");

    // A part of it works as far as the host's routes tell the two apart.
    let controller = nat.start(with_cidr("198.51.0.0/16")).expect("a controller");
    let why = "198.51.100.0/24 of uplink uplink0 and 198.51.0.0/16 inside on private0 overlap";
    assert!(controller.said().contains(why), "{}", controller.said());
}

pub fn one_arm_nat_instance(hook: Hook) {
    let lab = OneArm::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    let mut controller = nat.start(lab.arguments()).expect("a controller");
    let server = lab.internet.listen(SERVER).expect("a server");

    let own = Connection::open(&lab.edge, "10.40.2.1:40010", SERVER, &server)
        .expect("the host's own connection");
    assert_eq!(own.seen.to_string(), "10.40.2.1:40010");
    let a =
        Connection::open(&lab.private_a, "10.40.2.101:40001", SERVER, &server).expect("private-a");
    let b =
        Connection::open(&lab.private_b, "10.40.2.201:40001", SERVER, &server).expect("private-b");
    assert_eq!([a.seen.ip(), b.seen.ip()], [own.seen.ip(); 2]);
    assert_ne!(a.seen.port(), b.seen.port());
    let internet = lab.internet.udp("198.51.100.80:5300").expect("a socket");
    let socket = lab.private_a.udp("10.40.2.101:40030").expect("a socket");
    let seen = udp_exchange(&socket, "198.51.100.80:5300", &internet).expect("UDP through the NAT");
    assert_eq!(seen.ip().to_string(), "10.40.2.1");
    let pinger = lab.private_b.pinger().expect("a socket");
    pinger
        .ping([198, 51, 100, 80].into(), 14, b"ping through the NAT")
        .expect("ping through the NAT");

    // Inside the subnet nothing is translated: to the instance itself, and past it.
    let ssh = lab.edge.listen("10.40.2.1:22").expect("a listener");
    let inward = Connection::open(&lab.private_a, "10.40.2.101:50022", "10.40.2.1:22", &ssh)
        .expect("ssh in");
    assert_eq!(inward.seen.to_string(), "10.40.2.101:50022");
    for (name, connection) in [
        ("the host's own", &own),
        ("private-a's", &a),
        ("private-b's", &b),
        ("ssh", &inward),
    ] {
        connection
            .exchange()
            .unwrap_or_else(|error| panic!("{name} connection: {error:#}"));
    }

    let table = nat.sessions().expect("sessions");
    assert_eq!(
        table.len(),
        4,
        "two for TCP, one each for UDP and ping: {table:?}"
    );
    assert!(
        table
            .iter()
            .all(|session| session.translated.to_string() == "10.40.2.1"),
        "{table:?}"
    );
    assert!(
        controller.is_running(),
        "the controller has ended; it said:\n{}",
        controller.said()
    );
}

fn lines(nat: &Nat) -> Vec<String> {
    nat.sessions()
        .expect("sessions")
        .iter()
        .map(Session::line)
        .collect()
}
