//! Destinations that are reached untranslated (`no_translate`; RFC 6888 REQ-10 has it as an operator's option).
use nat_tests::netns::{
    Connection, EXCHANGE, Hook, Picture,
    configuration::classic,
    raw::{bytes, receive_large},
    sockets::{has_datagram, udp_exchange},
};

use crate::standing::Standing;

const KEYS: &str = r#"
  no_translate = [
    { destination = "198.51.100.81/32" },
    { destination = "198.51.100.80/32", protocol = "tcp", ports = "8443" },
    { destination = "198.51.100.80/32", protocol = "udp", ports = "6000-6010" },
  ]
"#;

/// The classic picture with an internet that knows the way to the private subnet.
fn with_known_subnet(hook: Hook) -> Standing {
    let lab = Picture::build(hook).expect("a lab");
    lab.internet
        .route("10.40.2.0/24", "198.51.100.1")
        .expect("a route");
    Standing::in_lab(lab, &classic(hook, KEYS))
}

pub fn an_exempt_destination_sees_the_private_source(hook: Hook) {
    let mut standing = with_known_subnet(hook);
    let lab = &standing.lab;
    let client = &lab.private_a;
    for (to, is_exempt) in [
        ("198.51.100.81:8080", true),
        ("198.51.100.81:8443", true),
        ("198.51.100.80:8443", true),
        ("198.51.100.80:8442", false),
        ("198.51.100.80:6000", false),
    ] {
        let listener = lab.internet.listen(to).expect("a server");
        let connection = Connection::open(client, "10.40.2.101:41000", to, &listener);
        let connection = connection.unwrap_or_else(|error| panic!("tcp {to}: {error:#}"));
        assert_eq!(connection.seen.to_string(), source(is_exempt), "tcp {to}");
        connection.exchange().expect("data");
    }
    for (to, is_exempt) in [
        ("198.51.100.81:5300", true),
        ("198.51.100.80:6000", true),
        ("198.51.100.80:6010", true),
        ("198.51.100.80:6011", false),
        ("198.51.100.80:8443", false),
    ] {
        let server = lab.internet.udp(to).expect("a server");
        let socket = client.udp("10.40.2.101:41000").expect("a socket");
        let seen = udp_exchange(&socket, to, &server);
        let seen = seen.unwrap_or_else(|error| panic!("udp {to}: {error:#}"));
        assert_eq!(seen.to_string(), source(is_exempt), "udp {to}");
    }
    let (pinger, witness) = (client.pinger(), lab.internet.pinger());
    let (pinger, witness) = (pinger.expect("a socket"), witness.expect("a socket"));
    for (to, expected) in [
        ([198, 51, 100, 81], "10.40.2.101"),
        ([198, 51, 100, 80], "198.51.100.10"),
    ] {
        let payload = format!("ping to {to:?}");
        pinger
            .ping(to.into(), 4100, payload.as_bytes())
            .unwrap_or_else(|error| panic!("{payload}: {error:#}"));
        let request = witness.request(payload.as_bytes(), EXCHANGE);
        let request = request.expect("a socket").expect("a request");
        assert_eq!(request.source.to_string(), expected);
    }
    let sessions = standing.nat.sessions().expect("sessions");
    let lines: Vec<_> = sessions.iter().map(|session| session.line()).collect();
    assert_eq!(lines.len(), 5, "none for what is exempt: {lines:?}");
    standing.assert_running();
}

fn source(is_exempt: bool) -> &'static str {
    if is_exempt {
        "10.40.2.101:41000"
    } else {
        "198.51.100.10:41000"
    }
}

pub fn fragments_to_an_exempt_destination_pass(hook: Hook) {
    let standing = with_known_subnet(hook);
    let lab = &standing.lab;
    let to = "198.51.100.81:5300";
    let server = lab.internet.udp(to).expect("a server");
    let client = lab.private_a.udp("10.40.2.101:41001").expect("a socket");
    let (question, answer) = (bytes(20_000, 1), bytes(20_000, 2));
    client.send_to(&question, to).expect("sending");
    let (arrived, seen) = receive_large(&server).expect("the question");
    assert!(arrived == question, "another question");
    assert_eq!(seen.to_string(), "10.40.2.101:41001");
    server.send_to(&answer, seen).expect("sending");
    let (arrived, _) = receive_large(&client).expect("the answer");
    assert!(arrived == answer, "another answer");
}

/// Who is not exempt gets no packet to a private address, even if it knows the way.
pub fn a_private_address_is_reached_by_exempt_sources_only(hook: Hook) {
    let standing = with_known_subnet(hook);
    let lab = &standing.lab;
    let host = lab.private_a.udp("10.40.2.101:41002").expect("a socket");
    let inside = "10.40.2.101:41002";
    let stranger = lab.internet.udp("198.51.100.80:6011").expect("a socket");
    stranger.send_to(b"let me in", inside).expect("sending");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!has_datagram(&host).expect("a look"), "from a stranger");
    assert!(standing.drops("private_destination") > 0);
    for exempt in ["198.51.100.80:6010", "198.51.100.81:6011"] {
        let socket = lab.internet.udp(exempt).expect("a socket");
        let seen = udp_exchange(&socket, inside, &host);
        let seen = seen.unwrap_or_else(|error| panic!("{exempt}: {error:#}"));
        assert_eq!(seen.to_string(), exempt);
    }
}
