//! SIGHUP under live traffic: what the new policy allows keeps its mapping, what it forbids stops for a reason.
use nat_tests::netns::{
    Connection, Hook,
    sockets::{ANY, udp_exchange},
};

use super::{A, Lab, reached::is_cut, vpc};

const SERVER: &str = "198.51.100.80:8081";
const PEER: &str = "198.51.100.80:5301";
const HELD: &str = "10.20.2.10:40001";

pub fn a_change_elsewhere_keeps_mappings_under_live_traffic(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let (listener, datagrams) = (
        lab.site.internet.listen(SERVER).expect("a server"),
        lab.site.internet.udp(PEER).expect("a server"),
    );
    let held = Connection::open(&lab.a, HELD, SERVER, &listener).expect("a connection");
    let socket = lab.a.udp(HELD).expect("a socket");
    let before = udp_exchange(&socket, PEER, &datagrams).expect("an answer");
    let changes = [
        vpc(hook).routed("beside", &[]),
        vpc(hook).instance("a", "private", A, ""),
        vpc(hook)
            .with("subnet", "beside", "network_acl = \"closed\"")
            .network_acl("closed", &[], &[]),
        vpc(hook),
    ];
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            for _ in 0..400 {
                held.exchange().expect("TCP during the changes");
                let seen = udp_exchange(&socket, PEER, &datagrams).expect("UDP during the changes");
                assert_eq!(seen, before);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        for text in changes.iter().cycle().take(12) {
            standing.reload(text);
        }
        if let Err(panic) = traffic.join() {
            std::panic::resume_unwind(panic);
        }
    });
    let sessions = standing.nat.sessions().expect("sessions");
    assert_eq!(sessions.len(), 2, "{sessions:?}");
}

pub fn a_forbidden_connection_stops_for_a_counted_reason(hook: Hook) {
    let public_ips = "public_ips = [\"198.51.100.11\"]";
    let other = vpc(hook).nat_gateway("other", "public", "10.20.1.101", public_ips);
    let to = |target: &str| other.clone().routed("private", &[("0.0.0.0/0", target)]);
    let standing = Lab::with(hook, &other);
    let lab = &standing.lab;
    let listener = lab.site.internet.listen(SERVER).expect("a server");
    let closed = other
        .clone()
        .with("subnet", "private", "network_acl = \"closed\"")
        .network_acl("closed", &[], &[]);
    for (reason, text) in [
        ("policy_changed", to("nat-gateway:other")),
        ("blackhole", to("blackhole")),
        ("no_route", other.clone().routed("private", &[])),
        ("no_public_ip", to("internet-gateway")),
        ("network_acl", closed),
    ] {
        println!("{reason}");
        standing.reload(&other);
        let mut held = Connection::open(&lab.a, ANY, SERVER, &listener).expect("a connection");
        held.exchange().expect("allowed");
        assert_eq!(held.seen.ip().to_string(), super::NAT);
        let before = standing.drops(reason);
        standing.reload(&text);
        assert!(is_cut(&mut held), "{reason}");
        assert!(standing.drops(reason) > before, "{reason}");
        // Back again it goes on where it stopped.
        standing.reload(&other);
        let mut late = [0; 12];
        let limit = Some(nat_tests::netns::EXCHANGE);
        held.server.set_read_timeout(limit).expect("a time-out");
        std::io::Read::read_exact(&mut held.server, &mut late).expect("what was written before");
        held.exchange().expect("allowed again");
    }
}
