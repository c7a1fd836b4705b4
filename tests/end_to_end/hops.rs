//! Traceroute through the edge: it is a hop like any router (RFC 1812 sect. 5.3.1), and what lies behind it answers.
use std::{net::Ipv4Addr, time::Duration};

use nat_tests::netns::{
    Hook, Path,
    told::{Told, traceroute},
};

use crate::{
    attempts::address,
    standing::{RFC, Standing},
};

const LIMIT: Duration = Duration::from_secs(3);

fn expired(by: &str) -> Option<Told> {
    Some(Told {
        icmp_type: 11,
        code: 0,
        by: by.parse().expect("an address"),
        mtu: 0,
    })
}

fn arrived(by: &str) -> Option<Told> {
    Some(Told {
        icmp_type: 3,
        code: 3,
        by: by.parse().expect("an address"),
        mtu: 0,
    })
}

pub fn every_hop_answers_a_traceroute_from_inside(hook: Hook) {
    for keys in ["", RFC] {
        let mut standing = Standing::with_gateway_keys(hook, keys);
        let path = Path::behind(&standing.lab).expect("a path");
        let [near, far] = Path::ROUTERS;
        for (host, edge) in [
            (&standing.lab.private_a, "10.40.2.1"),
            (&standing.lab.web, "10.20.1.1"),
        ] {
            let socket = host.udp("0.0.0.0:40700").expect("a socket");
            let to = address(&format!("{}:33434", Path::FAR));
            let seen = traceroute(&socket, to, 8, LIMIT).expect("an error queue");
            let expected = [
                expired(edge),
                expired(near),
                expired(far),
                arrived(Path::FAR),
            ];
            assert_eq!(seen, expected, "from {}", host.label());
        }
        assert!(standing.drops("ttl_expired") >= 2);
        standing.assert_running();
        drop(path);
    }
}

/// To a host with a public address: the edge answers with its uplink's address, the host with its public one.
pub fn every_hop_answers_a_traceroute_from_outside(hook: Hook) {
    let standing = Standing::new(hook);
    let path = Path::behind(&standing.lab).expect("a path");
    let socket = path.far.udp("0.0.0.0:40701").expect("a socket");
    let seen = traceroute(&socket, address("198.51.100.20:33434"), 8, LIMIT);
    let expected = [
        expired("203.0.113.1"),
        expired("192.0.2.1"),
        expired("198.51.100.1"),
        arrived("198.51.100.20"),
    ];
    assert_eq!(seen.expect("an error queue"), expected);
    // Who asks for nobody's mapping is not told where it ends.
    let nobody = address("198.51.100.10:33434");
    let seen = traceroute(&socket, nobody, 4, Duration::from_secs(1)).expect("an error queue");
    assert_eq!(seen.get(2..), Some([None, None].as_slice()), "{seen:?}");
}

/// `node.icmp_errors_per_second` bounds what one sender can make the edge send.
pub fn icmp_errors_made_here_are_limited(hook: Hook) {
    const LIMITED: usize = 5;
    let configuration = nat_tests::netns::configuration::classic(hook, "")
        .with_node(&format!("icmp_errors_per_second = {LIMITED}"));
    let standing = Standing::with_configuration(hook, &configuration);
    let socket = standing.lab.private_a.udp("10.40.2.101:40702");
    let socket = socket.expect("a socket");
    nat_tests::netns::told::listen_for_errors(&socket).expect("a socket option");
    socket.set_ttl(1).expect("a socket option");
    for _ in 0..200 {
        // The error about an earlier one may be reported here.
        let _ = socket.send_to(b"one hop", "198.51.100.80:9");
    }
    let mut errors = 0;
    let limit = Duration::from_millis(500);
    while let Some(told) = nat_tests::netns::told::told(&socket, limit).expect("an error queue") {
        assert_eq!(told.by, Ipv4Addr::new(10, 40, 2, 1));
        errors += 1;
    }
    // Two hundred packets take less than a second or a little more, on one CPU or on several.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(errors >= LIMITED, "{errors} errors");
    assert!(errors <= 3 * LIMITED * cpus, "{errors} errors");
}
