//! What the controller's log says of sessions that could not be made (RFC 6888 REQ-11c), and what it does not
//! say (REQ-12).
use std::{
    thread,
    time::{Duration, Instant},
};

use nat_tests::netns::{Hook, configuration::classic};

use crate::{
    attempts::side_by_side,
    standing::{RFC, Standing},
};

const PEER: &str = "198.51.100.80:5300";

/// One port and one session for each client: the first client's second flow meets its quota, and the other
/// client's first one an empty pool.
fn refuse(hook: Hook, keys: &str, node: &str) -> Standing {
    let keys = format!("ports = [\"5000-5000\"]\nmax_sessions_per_client = 1\n{keys}");
    let text = classic(hook, &keys).with_node(node);
    let standing = Standing::with_configuration(hook, &text);
    let lab = &standing.lab;
    for (host, from) in [
        (&lab.private_a, "10.40.2.101:41400"),
        (&lab.private_a, "10.40.2.101:41401"),
        (&lab.private_b, "10.40.2.201:41400"),
    ] {
        let socket = host.udp(from).expect("a socket");
        socket.send_to(b"a port, please", PEER).expect("sending");
    }
    standing
}

/// Waits until the log says this.
fn assert_says(standing: &Standing, text: &str) {
    let controller = standing.controller.as_ref().expect("a controller");
    let start = Instant::now();
    while !controller.said().contains(text) {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "not in the log: {text}\n{}",
            controller.said()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

const QUOTA: &str =
    "the quota is used up of client 10.40.2.101 of gateway 198.51.100.10, protocol 17";
const PORTS: &str = "no port is free for client 10.40.2.201 of gateway 198.51.100.10, protocol 17";

pub fn rfc6888_req11c_and_req12_refusals_are_logged_without_their_destination(hook: Hook) {
    side_by_side(["", RFC], |keys| {
        let standing = refuse(hook, keys, "");
        assert_says(&standing, QUOTA);
        assert_says(&standing, PORTS);
        let controller = standing.controller.as_ref().expect("a controller");
        let said = controller.said();
        assert!(!said.contains("198.51.100.80"), "{said}");
        assert!(!said.contains("5300"), "{said}");
    });
}

pub fn rfc6888_req12_destinations_are_logged_where_asked(hook: Hook) {
    let standing = refuse(hook, "", "log_destinations = true");
    for text in [QUOTA, PORTS] {
        assert_says(&standing, &format!("{text}, to {PEER}"));
    }
}

/// A table that is full is swept, and then has room again.
pub fn rfc6888_req11c_a_full_table_is_logged_and_serves_again(hook: Hook) {
    let keys = "timeouts = { udp = 2, udp_stream = 2 }";
    let text = classic(hook, keys).with_node("max_sessions = 1024");
    let standing = Standing::with_configuration(hook, &text);
    let lab = &standing.lab;
    let socket = lab.private_a.udp("10.40.2.101:41410").expect("a socket");
    // More than the table holds, the kernel's spare elements included.
    for port in 20_000..22_000 {
        let to = format!("198.51.100.80:{port}");
        // Nobody listens there, which the socket may be told.
        let _ = socket.send_to(b"a session, please", to.as_str());
    }
    assert!(standing.drops("table_full") > 0);
    assert_says(
        &standing,
        "the session table is full for client 10.40.2.101 of gateway 198.51.100.10, protocol 17",
    );
    let start = Instant::now();
    loop {
        let before = standing.drops("table_full");
        for port in 30_000..31_000 {
            let to = format!("198.51.100.81:{port}");
            let _ = socket.send_to(b"a session, please", to.as_str());
        }
        if standing.drops("table_full") == before {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "full for good");
        thread::sleep(Duration::from_millis(500));
    }
}
