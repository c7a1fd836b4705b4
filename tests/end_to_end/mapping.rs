//! How a NAT gateway maps and whom it lets in, found out by STUN and by what servers see (RFC 4787, 5382, 5508).
use std::{
    io::ErrorKind,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use nat_tests::netns::{
    Connection, EXCHANGE, Hook, Namespace, Nat, SILENCE, TwoArm,
    icmp::Pinger,
    sessions::find,
    sockets::{receive, udp_exchange},
    stun::{self, Behaviour, Filtering, Mapping},
};

use crate::{
    attempts::{heard_by, hears, side_by_side, wait_until},
    standing::{RFC, Standing, program},
};

const SERVERS: [Ipv4Addr; 2] = [
    Ipv4Addr::new(198, 51, 100, 80),
    Ipv4Addr::new(198, 51, 100, 81),
];
const STUN_PORTS: [u16; 2] = [3478, 3479];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 101);

const EIF: &str = "profile = \"rfc\"\nfiltering = \"endpoint-independent\"";
const ADF: &str = "profile = \"rfc\"\nfiltering = \"address-dependent\"";
const APDF: &str = "profile = \"rfc\"\nfiltering = \"address-and-port-dependent\"";

/// The tester itself: it finds no NAT where there is none.
#[test]
fn without_a_nat_everything_is_endpoint_independent() {
    let node = Namespace::new("alone").expect("a namespace");
    let addresses = [[127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
    let server = stun::Server::start(&node, addresses, STUN_PORTS).expect("a STUN server");
    let client = Ipv4Addr::LOCALHOST;
    let seen = stun::discover(&node, client, [5000, 5001], server.primary());
    let seen = seen.expect("a behaviour");
    assert_eq!(seen.mapping, Mapping::EndpointIndependent);
    assert_eq!(seen.filtering, Filtering::EndpointIndependent);
}

fn stun_server(standing: &Standing) -> stun::Server {
    stun::Server::start(&standing.lab.internet, SERVERS, STUN_PORTS).expect("a STUN server")
}

fn behaviour(hook: Hook, keys: &str, ports: [u16; 2]) -> Behaviour {
    let mut standing = Standing::with_gateway_keys(hook, keys);
    let server = stun_server(&standing);
    let client = &standing.lab.private_a;
    let seen = stun::discover(client, CLIENT, ports, server.primary()).expect("a behaviour");
    standing.assert_running();
    seen
}

pub fn profile_aws_is_address_and_port_dependent_in_mapping_and_filtering(hook: Hook) {
    // A port outside the pool: one inside it would be kept towards every destination.
    let seen = behaviour(hook, "", [600, 40100]);
    assert_eq!(seen.mapping, Mapping::AddressAndPortDependent);
    assert_eq!(seen.filtering, Filtering::AddressAndPortDependent);
}

pub fn rfc4787_req1_mapping_is_endpoint_independent(hook: Hook) {
    side_by_side([600, 40100], |port| {
        let seen = behaviour(hook, RFC, [port, port + 1]);
        assert_eq!(seen.mapping, Mapping::EndpointIndependent, "port {port}");
        assert_eq!(seen.filtering, Filtering::AddressDependent, "the default");
    });
}

/// The same words on the command line of a NAT instance.
pub fn a_nat_instance_takes_profile_and_filtering(hook: Hook) {
    let lab = TwoArm::build(hook).expect("a lab");
    let nat = Nat::new(&program(), &lab.edge).expect("the program");
    for filtering in ["endpoint-independent", "address-and-port-dependent"] {
        let options = ["--profile", "rfc", "--filtering", filtering];
        let arguments = lab.arguments().into_iter().chain(options);
        let controller = nat.start(arguments).expect("a controller");
        let server = stun::Server::start(&lab.internet, SERVERS, STUN_PORTS);
        let server = server.expect("a STUN server");
        let ports = [40105, 40106];
        let seen = stun::discover(&lab.private_a, CLIENT, ports, server.primary());
        let seen = seen.expect("a behaviour");
        assert_eq!(seen.mapping, Mapping::EndpointIndependent);
        let is_open = seen.filtering == Filtering::EndpointIndependent;
        assert_eq!(is_open, filtering == "endpoint-independent", "{seen:?}");
        controller.terminate().expect("SIGTERM");
        nat.down().expect("nat down");
    }
}

pub fn rfc4787_req8_filtering_is_endpoint_independent_where_asked(hook: Hook) {
    let seen = behaviour(hook, EIF, [40100, 40101]);
    assert_eq!(seen.mapping, Mapping::EndpointIndependent);
    assert_eq!(seen.filtering, Filtering::EndpointIndependent);
}

pub fn rfc4787_req8_filtering_is_address_dependent_where_asked(hook: Hook) {
    let seen = behaviour(hook, ADF, [40100, 40101]);
    assert_eq!(seen.mapping, Mapping::EndpointIndependent);
    assert_eq!(seen.filtering, Filtering::AddressDependent);
}

pub fn rfc4787_req8_filtering_is_address_and_port_dependent_where_asked(hook: Hook) {
    let seen = behaviour(hook, APDF, [40100, 40101]);
    assert_eq!(seen.mapping, Mapping::EndpointIndependent);
    assert_eq!(seen.filtering, Filtering::AddressAndPortDependent);
}

/// From one socket of the client to another, and to another host's.
pub fn rfc4787_req9a_a_hairpinned_packet_shows_its_external_source(hook: Hook) {
    for (keys, punch) in [(EIF, false), (EIF, true), (ADF, true), (APDF, true)] {
        let standing = Standing::with_gateway_keys(hook, keys);
        let server = stun_server(&standing);
        let sender = standing.lab.private_a.udp("10.40.2.101:40110");
        let sender = sender.expect("a socket");
        for (host, receiver) in [
            (&standing.lab.private_a, "10.40.2.101:40111"),
            (&standing.lab.private_b, "10.40.2.201:40114"),
        ] {
            let receiver_socket = host.udp(receiver).expect("a socket");
            let seen = stun::hairpin(&receiver_socket, &sender, server.primary(), punch);
            let seen = seen.expect("a STUN server");
            let case = format!("{keys}, punch {punch}, to {receiver}: {seen:?}");
            assert_eq!(seen.seen, Some(seen.sender), "{case}");
            assert!(seen.is_answered, "{case}");
        }
    }
}

/// RFC 4787 REQ-8 holds for hairpinned packets too; profile aws hairpins between its clients not at all.
pub fn a_hairpinned_packet_is_filtered_as_one_from_outside(hook: Hook) {
    let cases = [(ADF, false), (APDF, false), ("", false), ("", true)];
    side_by_side(cases, |(keys, punch)| {
        let standing = Standing::with_gateway_keys(hook, keys);
        let server = stun_server(&standing);
        let sender = standing.lab.private_a.udp("10.40.2.101:40112");
        let receiver = standing.lab.private_b.udp("10.40.2.201:40113");
        let (sender, receiver) = (sender.expect("a socket"), receiver.expect("a socket"));
        let seen = stun::hairpin(&receiver, &sender, server.primary(), punch);
        let seen = seen.expect("a STUN server").seen;
        assert_eq!(seen, None, "{keys}, punch {punch}");
    });
}

pub fn rfc4787_req3_two_endpoints_never_share_a_port(hook: Hook) {
    let keys = format!("{RFC}\nports = [\"5000-5001\"]");
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let servers = ["198.51.100.80:5300", "198.51.100.81:5300"];
    let [one, other] = servers.map(|server| lab.internet.udp(server).expect("a server"));
    let a = lab.private_a.udp("10.40.2.101:40120").expect("a socket");
    let b = lab.private_b.udp("10.40.2.201:40120").expect("a socket");
    let [to_one, to_other] = servers;
    let a_seen = udp_exchange(&a, to_one, &one).expect("private-a's exchange");
    let b_seen = udp_exchange(&b, to_other, &other).expect("private-b's exchange");
    let mut ports = [a_seen.port(), b_seen.port()];
    ports.sort_unstable();
    assert_eq!(ports, [5000, 5001]);
    // Both ports are bound: there is no third endpoint, whatever its destination.
    let heard = heard_by(&lab.private_a, "10.40.2.101:40121", "198.51.100.81:5301");
    assert_eq!(heard, ErrorKind::HostUnreachable);
    // And the bound ones serve every destination.
    let again = udp_exchange(&a, to_other, &other).expect("private-a's other exchange");
    assert_eq!(again, a_seen);
}

/// REQ-3a: ports below 1024 stay below; REQ-4: even stays even. For ICMP identifiers and TCP alike.
pub fn rfc4787_req3a_req4_class_and_parity_of_a_port_are_kept(hook: Hook) {
    let keys = format!("{RFC}\nports = [\"500-1023\", \"20000-29999\"]");
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let udp = lab.internet.udp("198.51.100.80:5300").expect("a server");
    let tcp = lab.internet.listen("198.51.100.80:8080").expect("a server");
    let witness = lab.internet.pinger().expect("a socket");
    let pinger = lab.private_a.pinger().expect("a socket");
    for port in [600, 601, 711, 1022, 40130, 40131, 40132, 40133, 61001] {
        let from = format!("10.40.2.101:{port}");
        let socket = lab.private_a.udp(&from).expect("a socket");
        let seen = udp_exchange(&socket, "198.51.100.80:5300", &udp).expect("an exchange");
        assert_kept("udp", port, seen.port());
        let connection = Connection::open(&lab.private_a, &from, "198.51.100.80:8080", &tcp);
        assert_kept("tcp", port, connection.expect("a connection").seen.port());
        assert_kept(
            "icmp",
            port,
            identifier_seen(&pinger, &witness, SERVERS[0], port),
        );
    }
}

fn assert_kept(protocol: &str, inside: u16, outside: u16) {
    let case = format!("{protocol} {inside} became {outside}");
    assert_eq!(inside < 1024, outside < 1024, "{case}");
    assert_eq!(inside % 2, outside % 2, "{case}");
}

/// Pings from `pinger`; the identifier that arrives at `witness`.
fn identifier_seen(pinger: &Pinger, witness: &Pinger, to: Ipv4Addr, identifier: u16) -> u16 {
    let payload = format!("{identifier} to {to}");
    pinger
        .ask(to, identifier, 1, payload.as_bytes())
        .expect("a request");
    let request = witness
        .request(payload.as_bytes(), EXCHANGE)
        .expect("a socket");
    let answer = pinger.answer(identifier, payload.as_bytes(), EXCHANGE);
    assert!(answer.expect("a socket").is_some(), "no answer: {payload}");
    request.expect("a request").identifier
}

/// REQ-6: what comes in keeps no mapping alive.
pub fn rfc4787_req6_inbound_traffic_does_not_refresh(hook: Hook) {
    const WATCHED: Duration = Duration::from_secs(12);
    let keys = format!("{RFC}\ntimeouts = {{ udp = 3, udp_stream = 3 }}");
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let server = lab.internet.udp("198.51.100.80:5300").expect("a server");
    let client = lab.private_a.udp("10.40.2.101:40140").expect("a socket");
    let seen = udp_exchange(&client, "198.51.100.80:5300", &server).expect("an exchange");
    let start = Instant::now();
    let mut last = Duration::ZERO;
    while start.elapsed() < WATCHED {
        server.send_to(b"still here", seen).expect("sending");
        if hears(&client, b"still here", Duration::from_millis(250)).is_some() {
            last = start.elapsed();
        }
    }
    assert!(
        last > Duration::from_secs(2),
        "the last arrived after {last:?}, within its 3 s"
    );
    assert!(
        last < Duration::from_secs(9),
        "datagrams from outside kept it alive for {last:?}"
    );
}

/// RFC 6888 REQ-8: with endpoint-independent filtering, what still comes for the last holder must not reach the next.
pub fn rfc6888_req8_a_freed_port_rests(hook: Hook) {
    const REST: Duration = Duration::from_secs(6);
    let keys = format!(
        "{EIF}\nports = [\"5000-5000\"]\nport_rest = {}\ntimeouts = {{ udp = 1, udp_stream = 1 }}",
        REST.as_secs()
    );
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let to = "198.51.100.80:5300";
    let server = lab.internet.udp(to).expect("a server");
    let first = lab.private_a.udp("10.40.2.101:40145").expect("a socket");
    let seen = udp_exchange(&first, to, &server).expect("an exchange");
    assert_eq!(seen.to_string(), "198.51.100.10:5000");
    wait_until("the session is gone", Duration::from_secs(20), || {
        standing.nat.sessions().expect("sessions").is_empty()
    });
    let start = Instant::now();
    let heard = heard_by(&lab.private_b, "10.40.2.201:40145", to);
    assert_eq!(heard, ErrorKind::HostUnreachable, "while the port rests");
    let next = lab.private_b.udp("10.40.2.201:40146").expect("a socket");
    let limit = Some(Duration::from_millis(200));
    server.set_read_timeout(limit).expect("a time-out");
    wait_until("the port is free again", REST * 3, || {
        next.send_to(b"now?", to).expect("sending");
        receive(&server).is_ok_and(|(text, _)| text == b"now?")
    });
    // It was freed a little before its end was seen.
    assert!(start.elapsed() > REST / 2, "after {:?}", start.elapsed());
}

/// REQ-12: the error is told, and the mapping stays.
pub fn rfc4787_req12_an_icmp_error_ends_no_mapping(hook: Hook) {
    for keys in ["", RFC] {
        let standing = Standing::with_gateway_keys(hook, keys);
        let lab = &standing.lab;
        let to = "198.51.100.80:5300";
        let server = lab.internet.udp(to).expect("a server");
        let client = lab.private_a.udp("10.40.2.101:40150").expect("a socket");
        let seen = udp_exchange(&client, to, &server).expect("an exchange");
        drop(server);
        client.connect(to).expect("a connected socket");
        client.send(b"anybody there?").expect("a sent packet");
        let refused = receive(&client).expect_err("nobody is there");
        assert!(format!("{refused:#}").contains("refused"), "{refused:#}");

        // The flow cache alone would let the answer in for a while.
        let table = standing.nat.sessions().expect("sessions");
        let session = find(&table, "udp", "10.40.2.101:40150", to).expect("the session");
        assert_eq!(session.state, "two-way");
        let server = lab.internet.udp(to).expect("the server again");
        server.send_to(b"back again", seen).expect("sending");
        let heard = hears(&client, b"back again", SILENCE);
        assert_eq!(heard.map(|from| from.to_string()), Some(to.to_owned()));
    }
}

pub fn rfc5508_req1a_a_query_id_is_mapped_independently_of_the_host_asked(hook: Hook) {
    let standing = Standing::with_gateway_keys(hook, RFC);
    let lab = &standing.lab;
    let witness = lab.internet.pinger().expect("a socket");
    let pinger = lab.private_a.pinger().expect("a socket");
    let other_pinger = lab.private_b.pinger().expect("a socket");
    // Outside the pool: one inside it would be kept towards every host where each has a mapping of its own.
    let identifier = 432;
    let seen = SERVERS.map(|server| identifier_seen(&pinger, &witness, server, identifier));
    assert_eq!(seen[0], seen[1]);
    let other = identifier_seen(&other_pinger, &witness, SERVERS[0], identifier);
    assert_ne!(other, seen[0], "two hosts with one identifier");
}

pub fn rfc5382_req1_a_connections_port_is_mapped_independently_of_the_server(hook: Hook) {
    let standing = Standing::with_gateway_keys(hook, RFC);
    let lab = &standing.lab;
    let mut seen = Vec::new();
    let mut held = Vec::new();
    for server in [
        "198.51.100.80:8080",
        "198.51.100.81:8080",
        "198.51.100.81:8081",
    ] {
        let listener = lab.internet.listen(server).expect("a server");
        // A port outside the pool, for the same reason as above.
        let connection = Connection::open(&lab.private_a, "10.40.2.101:616", server, &listener);
        let connection = connection.expect("a connection");
        seen.push(connection.seen);
        held.push(connection);
    }
    assert!(seen.iter().all(|address| *address == seen[0]), "{seen:?}");
    for connection in &held {
        connection.exchange().expect("with all of them open");
    }
}
