//! Deterministic NAT (RFC 7422): who had a public port is computed from the configuration, and agrees with what
//! servers see.
use nat_tests::netns::{Connection, EXCHANGE, Hook, Nat, sockets::udp_exchange};

use crate::{
    attempts::heard_by,
    standing::{RFC, Standing, classic_with_ips},
};

const SERVER: &str = "198.51.100.80:8080";
const PEER: &str = "198.51.100.80:5300";
const CONFIGURATION: &str = "/run/nat-lab.toml";

/// What `nat lookup` prints, and its exit status.
fn lookup(nat: &Nat, ip: &str, port: u16, json: bool) -> (String, Option<i32>) {
    let port = port.to_string();
    let mut arguments = vec!["lookup", ip, &port, "--config", CONFIGURATION];
    if json {
        arguments.push("--json");
    }
    let finished = nat.finish(arguments).expect("an end");
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    (text, finished.code)
}

fn assert_traced(nat: &Nat, ip: &str, port: u16, inside: &str) {
    let case = format!("{ip}:{port} of {inside}");
    let (text, code) = lookup(nat, ip, port, false);
    assert_eq!(code, Some(0), "{case}: {text}");
    assert!(names(&text, inside), "{case}: {text}");
    assert!(text.contains("egress"), "{case}: {text}");
    let (text, code) = lookup(nat, ip, port, true);
    assert_eq!(code, Some(0), "{case}: {text}");
    let object: serde_json::Value = serde_json::from_str(text.trim()).expect("one object");
    assert_eq!(object["source"], inside, "{case}: {text}");
    assert_eq!(object["gateway"], "egress", "{case}: {text}");
}

/// Whether `text` has `address` as a word of its own: 10.40.2.10 is not 10.40.2.101.
fn names(text: &str, address: &str) -> bool {
    text.split(|character: char| !character.is_ascii_digit() && character != '.')
        .any(|word| word.trim_end_matches('.') == address)
}

pub fn rfc7422_lookup_agrees_with_what_servers_see(hook: Hook) {
    // 256 clients on two addresses: 128 on each, with 64,512 / 128 = 504 ports.
    let keys = format!("{RFC}\ndeterministic = \"10.40.2.0/24\"");
    let public_ips = ["198.51.100.10", "198.51.100.11"];
    let configuration = classic_with_ips(hook, &public_ips, &keys);
    let standing = Standing::with_configuration(hook, &configuration);
    let (lab, nat) = (&standing.lab, &standing.nat);
    let listener = lab.internet.listen(SERVER).expect("a server");
    let peer = lab.internet.udp(PEER).expect("a server");
    let witness = lab.internet.pinger().expect("a socket");
    for (host, inside, public_ip, block) in [
        (
            &lab.private_a,
            "10.40.2.101",
            "198.51.100.10",
            1024 + 101 * 504,
        ),
        (
            &lab.private_b,
            "10.40.2.201",
            "198.51.100.11",
            1024 + (201 - 128) * 504,
        ),
    ] {
        let block = block..block + 504;
        for number in 0..5 {
            let from = format!("{inside}:{}", 41400 + number);
            let connection = Connection::open(host, &from, SERVER, &listener);
            let socket = host.udp(&from).expect("a socket");
            let identifier = 41400 + number;
            let payload = format!("{inside} {number}");
            let pinger = host.pinger().expect("a socket");
            pinger
                .ping([198, 51, 100, 80].into(), identifier, payload.as_bytes())
                .expect("an answer");
            let request = witness.request(payload.as_bytes(), EXCHANGE);
            let request = request.expect("a socket").expect("a request");
            let exchange = udp_exchange(&socket, PEER, &peer).expect("an exchange");
            let connection = connection.expect("a connection").seen;
            for (ip, port) in [
                (*connection.ip(), connection.port()),
                (*exchange.ip(), exchange.port()),
                (request.source, request.identifier),
            ] {
                assert_eq!(ip.to_string(), public_ip, "{from}");
                assert!(
                    block.contains(&u32::from(port)),
                    "{from}: {port}, {block:?}"
                );
                assert_traced(nat, public_ip, port, inside);
            }
        }
        for port in [block.start, block.end - 1] {
            assert_traced(nat, public_ip, port as u16, inside);
        }
    }
    // Below the pool, and at an address that is no gateway's.
    for (ip, port) in [("198.51.100.10", 1023), ("198.51.100.99", 2000)] {
        let (text, code) = lookup(nat, ip, port, false);
        assert_eq!(code, Some(1), "{ip}:{port}: {text}");
    }
}

/// A block is all that its client gets, however empty the others are.
pub fn rfc7422_a_client_has_its_block_and_no_more(hook: Hook) {
    // 256 clients, 1024 ports: four each.
    let keys = format!("{RFC}\nports = [\"2000-3023\"]\ndeterministic = \"10.40.2.0/24\"");
    let standing = Standing::with_gateway_keys(hook, &keys);
    let lab = &standing.lab;
    let peer = lab.internet.udp(PEER).expect("a server");
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for number in 0..4 {
        let from = format!("10.40.2.101:{}", 41410 + number);
        let socket = lab.private_a.udp(&from).expect("a socket");
        ports.push(
            udp_exchange(&socket, PEER, &peer)
                .expect("an exchange")
                .port(),
        );
        held.push(socket);
    }
    ports.sort_unstable();
    assert_eq!(ports, [2404, 2405, 2406, 2407]);
    let heard = heard_by(&lab.private_a, "10.40.2.101:41414", PEER);
    assert_eq!(heard, std::io::ErrorKind::HostUnreachable);
    let socket = lab.private_b.udp("10.40.2.201:41410").expect("a socket");
    let seen = udp_exchange(&socket, PEER, &peer).expect("another client's exchange");
    assert!((2804..2808).contains(&seen.port()), "{seen}");
}

pub fn lookup_names_the_host_of_a_forward(hook: Hook) {
    let keys = format!(
        "{RFC}\nforward = [{{ protocol = \"tcp\", port = \"8000-8010\", to = \"10.40.2.101:80\" }}]"
    );
    let standing = Standing::with_gateway_keys(hook, &keys);
    let (text, code) = lookup(&standing.nat, "198.51.100.10", 8001, false);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("forward to 10.40.2.101:81"), "{text}");
    let (text, code) = lookup(&standing.nat, "198.51.100.10", 8011, false);
    assert_eq!(code, Some(1), "{text}");
}
