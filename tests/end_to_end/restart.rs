//! A controller that dies and is followed by another, with the profile and the forwards of RFC-minded users.
//! The same in profile aws is in controller.rs.
use std::time::Duration;

use nat_tests::netns::{Connection, Hook, leftovers::leftovers_text, sockets::udp_exchange};

use crate::standing::{RFC, Standing, classic_with_ips};

const SERVER: &str = "198.51.100.80:8080";

pub fn mappings_and_forwards_outlive_their_controller(hook: Hook) {
    let keys = format!(
        "{RFC}\nforward = [{{ protocol = \"tcp\", port = \"8000\", to = \"10.40.2.201:80\" }}]"
    );
    let mut standing = Standing::with_gateway_keys(hook, &keys);
    let internet = standing.lab.internet.clone();
    let (a, b) = (
        standing.lab.private_a.clone(),
        standing.lab.private_b.clone(),
    );
    let server = internet.listen(SERVER).expect("a server");
    let forwarded = b.listen("10.40.2.201:80").expect("a server");
    let peers = [
        "198.51.100.80:5300",
        "198.51.100.81:5300",
        "198.51.100.81:5301",
    ];
    let [first, second, third] = peers.map(|peer| internet.udp(peer).expect("a server"));

    let out = Connection::open(&a, "10.40.2.101:41100", SERVER, &server).expect("a connection");
    let socket = a.udp("10.40.2.101:41101").expect("a socket");
    let mapped = udp_exchange(&socket, peers[0], &first).expect("an exchange");
    let visit = |from: &str| {
        let visit = Connection::open(&internet, from, "198.51.100.10:8000", &forwarded);
        let visit = visit.unwrap_or_else(|error| panic!("{from}: {error:#}"));
        assert_eq!(visit.seen.to_string(), from);
        visit
    };
    let mut held = vec![out, visit("198.51.100.80:50500")];
    let holds = |held: &[Connection], when: &str| {
        for connection in held {
            let carried = connection.exchange();
            carried.unwrap_or_else(|error| panic!("{}, {when}: {error:#}", connection.seen));
        }
    };
    holds(&held, "before the controller dies");

    standing.kill_nine();
    holds(&held, "without a controller");
    held.push(visit("198.51.100.80:50501"));
    let seen = udp_exchange(&socket, peers[1], &second).expect("a new session of the mapping");
    assert_eq!(seen, mapped, "without a controller");

    standing.start(&[]);
    holds(&held, "with the new controller");
    held.push(visit("198.51.100.81:50502"));
    let seen = udp_exchange(&socket, peers[2], &third).expect("a new session of the mapping");
    assert_eq!(seen, mapped, "with the new controller");
    let seen = udp_exchange(&socket, peers[0], &first).expect("the first session");
    assert_eq!(seen, mapped, "with the new controller");
    // A port that is bound is not bound again.
    let rival = b.udp("10.40.2.201:41101").expect("a socket");
    let seen = udp_exchange(&rival, peers[2], &third).expect("another host's session");
    assert_ne!(seen, mapped);
    holds(&held, "in the end");
    standing.assert_running();

    assert_eq!(standing.terminate(), Some(0), "SIGTERM");
    holds(&held, "after the end of the controller");
    standing.nat.down().expect("nat down");
    let left = leftovers_text(&standing.lab.edge).expect("a look");
    assert_eq!(left, "nothing");
}

/// What the flow cache says of a session that a new controller ended does not hold any more.
pub fn lines_of_an_earlier_controller_lead_nowhere(hook: Hook) {
    let both = ["198.51.100.10", "198.51.100.11"];
    let mut standing = Standing::with_configuration(hook, &classic_with_ips(hook, &both, ""));
    let internet = standing.lab.internet.clone();
    let peers = ["198.51.100.80:5300", "198.51.100.81:5301"];
    let [first, second] = peers.map(|peer| internet.udp(peer).expect("a server"));
    let host = standing.lab.private_a.clone();
    let socket = host.udp("10.40.2.101:41101").expect("a socket");
    let mut mapped = udp_exchange(&socket, peers[0], &first).expect("an exchange");
    for _ in 0..3 {
        mapped = udp_exchange(&socket, peers[0], &first).expect("an exchange");
    }
    standing.kill_nine();
    let text = classic_with_ips(hook, &both, "").replace("egress", "another");
    standing.configure(&text);
    standing.start(&[]);
    // Others still go to that host.
    let other = host.udp("10.40.2.101:41102").expect("a socket");
    for _ in 0..2 {
        udp_exchange(&other, peers[1], &second).expect("another session");
    }
    first.send_to(b"too late", mapped).expect("sent");
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let heard = socket.recv_from(&mut [0; 64]);
    assert!(heard.is_err(), "its gateway is gone");
    standing.assert_running();
}

/// What is written in the configuration holds after a restart, and what is no longer written doesn't.
pub fn a_new_controller_takes_up_new_forwards(hook: Hook) {
    let keys = |forwards: &[(u16, u16)]| {
        let forwards = forwards.iter().map(|(port, inside)| {
            format!("{{ protocol = \"tcp\", port = \"{port}\", to = \"10.40.2.201:{inside}\" }}")
        });
        let forwards: Vec<_> = forwards.collect();
        format!("{RFC}\nforward = [{}]", forwards.join(", "))
    };
    // One gets another public port, the other one goes.
    let mut standing = Standing::with_gateway_keys(hook, &keys(&[(8000, 80), (8002, 82)]));
    let (internet, b) = (
        standing.lab.internet.clone(),
        standing.lab.private_b.clone(),
    );
    let forwarded = b.listen("10.40.2.201:80").expect("a server");
    let old = Connection::open(
        &internet,
        "198.51.100.80:50510",
        "198.51.100.10:8000",
        &forwarded,
    )
    .expect("the old forward");
    assert_eq!(standing.terminate(), Some(0), "SIGTERM");
    standing.configure(&nat_tests::netns::configuration::classic(
        hook,
        &keys(&[(8001, 80)]),
    ));
    standing.start(&[]);
    let new = Connection::open(
        &internet,
        "198.51.100.80:50511",
        "198.51.100.10:8001",
        &forwarded,
    )
    .expect("the new forward");
    new.exchange().expect("data");
    old.exchange().expect("a session that exists goes on");
    let limit = Duration::from_secs(2);
    // From another address: the old session would let its own peer in.
    let _listener = b.listen("10.40.2.201:82").expect("a listener");
    for to in ["198.51.100.10:8000", "198.51.100.10:8002"] {
        let from = "198.51.100.81:50512";
        let (outcome, _) = crate::attempts::try_connect(&internet, from, to, limit);
        outcome.expect_err("the old forward is gone");
    }
}
