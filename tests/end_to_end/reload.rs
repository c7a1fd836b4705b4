//! SIGHUP: the running controller takes up a changed configuration, or goes on with the one it has.
use nat_tests::netns::{Connection, Hook, configuration::classic};

use crate::standing::{READ, RFC, Standing, classic_with_ips};

const SERVER: &str = "198.51.100.80:8080";
const HELD: &str = "10.40.2.101:40001";

/// What is new holds at once, and a connection that may go on does, with its mapping.
pub fn a_changed_configuration_is_taken_up_and_connections_go_on(hook: Hook) {
    let mut standing = Standing::new(hook);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&standing.lab.private_a, HELD, SERVER, &server);
    let held = held.expect("a connection");
    held.exchange().expect("before the change");
    let elsewhere = "198.51.100.81:8080";
    let other = standing.lab.internet.listen(elsewhere).expect("a server");

    let rules = r#"no_translate = [{ destination = "198.51.100.81/32" }]
  ports = ["2000-2999"]"#;
    standing.configure(&classic(hook, rules));
    standing
        .lab
        .internet
        .route("10.40.2.0/24", "198.51.100.1")
        .expect("a route");
    standing.hang_up(READ);
    held.exchange().expect("after the change");
    let lab = &standing.lab;
    let exempt = Connection::open(&lab.private_a, "10.40.2.101:41000", elsewhere, &other);
    let exempt = exempt.expect("an untranslated connection");
    assert_eq!(exempt.seen.to_string(), "10.40.2.101:41000");
    let new = Connection::open(&lab.private_a, "10.40.2.101:41001", SERVER, &server);
    let port = new.expect("a new connection").seen.port();
    assert!((2000..=2999).contains(&port), "{port} is of the old pool");

    // And back: the dataplane holds what a start on that configuration would leave.
    standing.configure(&classic(hook, ""));
    standing.hang_up(READ);
    let maps = |standing: &Standing| {
        [
            "GATEWAYS",
            "EXEMPTIONS",
            "ROUTES",
            "PUBLIC_ADDRESSES",
            "INTERFACES",
        ]
        .map(|map| {
            let dump = standing.nat.finish(["maps", "dump", map, "--json"]);
            let text = dump.and_then(|dump| dump.success()).expect("nat maps dump");
            // Each controller makes a pair of interfaces of its own for its services.
            let lasting = |line: &&str| !line.contains("\"services\"");
            let mut lines: Vec<_> = text.lines().filter(lasting).map(str::to_owned).collect();
            lines.sort();
            lines
        })
    };
    let reloaded = maps(&standing);
    held.exchange().expect("after the second change");
    standing.terminate();
    standing.start(&[]);
    assert_eq!(reloaded, maps(&standing));
    held.exchange().expect("with a new controller");
    standing.assert_running();
}

/// A public IP that is given up serves the sessions it has, and takes no new ones. Those of a gateway that
/// is gone end.
pub fn nat_gateway_a_public_ip_that_is_given_up_drains(hook: Hook) {
    let both = ["198.51.100.10", "198.51.100.11"];
    let text = classic_with_ips(hook, &both, "");
    let mut standing = Standing::with_configuration(hook, &text);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&standing.lab.private_a, HELD, SERVER, &server);
    let held = held.expect("a connection");
    held.exchange().expect("before the change");
    let own = held.seen.ip().to_string();
    let others: Vec<_> = both.into_iter().filter(|ip| *ip != own).collect();
    let text = classic_with_ips(hook, &others, "");
    standing.configure(&text);
    standing.hang_up(READ);
    held.exchange().expect("on the address that drains");
    let new = Connection::open(
        &standing.lab.private_a,
        "10.40.2.101:41001",
        SERVER,
        &server,
    );
    let seen = new.expect("a new connection").seen.ip().to_string();
    assert_eq!([seen.as_str()], *others);
    standing.configure(&text.replace("egress", "another"));
    standing.hang_up("2 session(s) ended");
    assert!(held.exchange().is_err(), "its gateway is gone");
    standing.assert_running();
}

/// Nothing changes when the file is wrong, or asks for what takes a start; both are said.
pub fn a_reload_that_is_refused_changes_nothing(hook: Hook) {
    let mut standing = Standing::new(hook);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&standing.lab.private_a, HELD, SERVER, &server);
    let held = held.expect("a connection");
    let good = classic(hook, "");
    for (text, expected) in [
        (good.replace("egress", "ingress of"), "not taken over"),
        (good.replace("public_ip = ", "publicip = "), "did you mean"),
        (
            good.replace("[[vpc]]", "max_sessions = 4096\n[[vpc]]"),
            "node.max_sessions is another",
        ),
        (
            good.replace("\"private0\"", "\"public0\""),
            "its interfaces are others",
        ),
        (
            good.replace("\"private0\"", "\"nowhere0\""),
            "interface nowhere0 does not exist",
        ),
    ] {
        standing.configure(&text);
        standing.hang_up(expected);
        held.exchange().expect("as before");
    }
    standing.configure(&good);
    standing.hang_up(READ);
    standing.assert_running();
}

/// Where a client's public IP stands in the list is no matter: its next port is on it, too.
pub fn rfc4787_req2_a_client_stays_on_its_public_ip_when_others_go(hook: Hook) {
    let all = ["198.51.100.10", "198.51.100.11", "198.51.100.12"];
    let mut standing = Standing::with_configuration(hook, &classic_with_ips(hook, &all, RFC));
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let open = |standing: &Standing, from: &str| {
        Connection::open(&standing.lab.private_a, from, SERVER, &server).expect("a connection")
    };
    let held = [HELD, "10.40.2.101:40002"].map(|from| open(&standing, from));
    let own = held[0].seen.ip().to_string();
    let place = all.iter().position(|ip| *ip == own).expect("one of them");
    // From the first place to the second, from another one to the first.
    let left = match place {
        0 => [all[1], all[0]],
        _ => [all[place], all[0]],
    };
    standing.configure(&classic_with_ips(hook, &left, RFC));
    standing.hang_up(READ);
    for from in ["10.40.2.101:40003", "10.40.2.101:40004"] {
        assert_eq!(open(&standing, from).seen.ip(), held[0].seen.ip());
    }
    held[1].exchange().expect("as before");
    standing.assert_running();
}
