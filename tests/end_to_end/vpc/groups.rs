//! Security groups: they allow only, all of an instance's hold together, and they know connections.
use std::{io::ErrorKind, time::Duration};

use nat_tests::{
    netns::{
        Connection, Hook, Path,
        configuration::Configuration,
        raw::{bytes, receive_large},
        sockets::{ANY, udp_exchange},
    },
    packets::PacketBuilder,
};

use super::{
    A, B, C, INTERNET, INTERNET_TOO, Lab, NAT, WEB, WEB_PUBLIC,
    reached::{NOTHING, Seen, Server, from, from_one},
    vpc,
};
use crate::{
    attempts::{heard_by, side_by_side, try_connect},
    path_mtu::{NARROW, carry_both_ways},
};

const TCP_ONLY: fn(&str) -> [Seen; 3] = |source| [from_one(source), Seen::Nothing, Seen::Nothing];
const UDP_ONLY: fn(&str) -> [Seen; 3] = |source| [Seen::Nothing, from_one(source), Seen::Nothing];

/// The VPC with web in these groups.
fn web_in(hook: Hook, groups: &[&str]) -> Configuration {
    vpc(hook).with("instance", "web", &format!("security_groups = {groups:?}"))
}

/// Answers to what goes out pass all the same.
pub fn sg_a_new_group_lets_nothing_in_and_everything_out(hook: Hook) {
    let text = web_in(hook, &["new"])
        .instance("a", "private", A, "security_groups = [\"new\"]")
        .security_group("new", "");
    let mut standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let outside = Server::on(&lab.site.internet);
    let (web, a, c) = (Server::on(&lab.web), Server::on(&lab.a), Server::on(&lab.c));
    outside.assert_sees(&lab.web, INTERNET, from(WEB_PUBLIC));
    outside.assert_sees(&lab.a, INTERNET, from(NAT));
    c.assert_sees(&lab.a, C, from(A));
    web.assert_sees(&lab.site.internet, WEB_PUBLIC, NOTHING);
    web.assert_sees(&lab.c, WEB, NOTHING);
    // Not even from its own group.
    web.assert_sees(&lab.a, WEB, NOTHING);
    a.assert_sees(&lab.c, A, NOTHING);
    assert!(standing.drops("security_group") >= 12);
    standing.assert_running();
}

pub fn sg_rules_of_all_groups_hold_together(hook: Hook) {
    let tcp = r#"ingress = [{ protocol = "tcp", ports = "8080", source = "0.0.0.0/0" }]"#;
    let udp = r#"ingress = [{ protocol = "udp", ports = "5000-5300", source = "10.20.2.0/24" }]"#;
    side_by_side(
        [
            (["tcp"].as_slice(), TCP_ONLY(INTERNET), TCP_ONLY(A)),
            (&["udp"], NOTHING, UDP_ONLY(A)),
            (
                &["tcp", "udp"],
                TCP_ONLY(INTERNET),
                [from_one(A), from_one(A), Seen::Nothing],
            ),
        ],
        |(names, from_outside, from_a)| {
            let text = web_in(hook, names)
                .security_group("tcp", tcp)
                .security_group("udp", udp);
            let standing = Lab::with(hook, &text);
            let lab = &standing.lab;
            let web = Server::on(&lab.web);
            web.assert_sees(&lab.site.internet, WEB_PUBLIC, from_outside);
            web.assert_sees(&lab.a, WEB, from_a);
        },
    );
}

pub fn sg_references_to_groups_and_prefix_lists(hook: Hook) {
    let web_rules = r#"ingress = [
  { protocol = "tcp", ports = "8080", source = "security-group:clients" },
  { protocol = "udp", source = "prefix-list:friends" },
  { protocol = "icmp", icmp_type = 8, source = "security-group:web" },
]"#;
    let text = web_in(hook, &["web"])
        .instance("a", "private", A, "security_groups = [\"clients\"]")
        .instance("b", "private", B, "security_groups = [\"web\"]")
        .security_group(
            "clients",
            r#"egress = [{ protocol = "all", destination = "security-group:web" }]"#,
        )
        .security_group("web", web_rules)
        .prefix_list("friends", &["198.51.100.81/32", "10.20.3.0/24"]);
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let web = Server::on(&lab.web);
    let ping_only = [Seen::Nothing, Seen::Nothing, from_one(B)];
    web.assert_sees(&lab.a, WEB, TCP_ONLY(A));
    web.assert_sees(&lab.b, WEB, ping_only);
    web.assert_sees(&lab.c, WEB, UDP_ONLY(C));
    let from_friend = |address: &str| {
        let socket = lab.site.internet.udp(&format!("{address}:40200"));
        let socket = socket.expect("a socket");
        let text = format!("from {address}");
        let to = format!("{WEB_PUBLIC}:5301");
        let server = lab.web.udp("10.20.1.10:5301").expect("a server");
        socket.send_to(text.as_bytes(), &to).expect("sending");
        crate::attempts::hears(&server, text.as_bytes(), Duration::from_secs(1)).is_some()
    };
    assert!(from_friend(INTERNET_TOO));
    assert!(!from_friend(INTERNET));
    // A group stands for private addresses: by the public IP its members are strangers, and no destination.
    let outside = Server::on(&lab.site.internet);
    outside.assert_sees(&lab.a, INTERNET, NOTHING);
    web.assert_sees(&lab.a, WEB_PUBLIC, NOTHING);
    // Who joins the group is known by it at once.
    standing.reload(&text.instance("c", "beside", C, "security_groups = [\"clients\"]"));
    web.assert_sees(&lab.c, WEB, [from_one(C), from_one(C), Seen::Nothing]);
}

/// A closed port and a narrow link are told of, whatever the groups say about ICMP.
pub fn sg_icmp_errors_of_tracked_flows_pass(hook: Hook) {
    let rules = r#"egress = [{ protocol = "udp", destination = "0.0.0.0/0" }, { protocol = "tcp", destination = "0.0.0.0/0" }]"#;
    let text = web_in(hook, &["web"])
        .instance("a", "private", A, "security_groups = [\"web\"]")
        .security_group("web", rules);
    let lab = Lab::build(hook);
    let path = Path::of(&lab.site.edge, &lab.site.uplink).expect("a path");
    path.narrow_the_middle(NARROW).expect("a narrow link");
    let standing = lab.stand(&text);
    let lab = &standing.lab;
    for (host, own) in [(&lab.web, WEB), (&lab.a, A)] {
        carry_both_ways(host, &path.far, "203.0.113.80:8080");
        let from = format!("{own}:40300");
        let heard = heard_by(host, &from, "198.51.100.80:9");
        assert_eq!(heard, ErrorKind::ConnectionRefused, "{own}, outside");
        let heard = heard_by(host, &from, "10.20.3.10:9");
        assert_eq!(heard, ErrorKind::ConnectionRefused, "{own}, inside");
    }
    // An error about nothing it has sent reaches no filtered instance.
    let dropped = standing.drops("no_session");
    let stranger = lab.site.internet.raw_sender().expect("a socket");
    stranger.send(&unasked_error()).expect("sending");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(standing.drops("no_session"), dropped + 1);
}

/// Port unreachable, to web's public IP, about a datagram that it has never sent.
fn unasked_error() -> Vec<u8> {
    let address = crate::attempts::address;
    let (web, outside) = (address("198.51.100.20:40999"), address("198.51.100.80:9"));
    let quoted = PacketBuilder::udp(web, outside).build_ip();
    PacketBuilder::icmp(*outside.ip(), *web.ip(), 3, 3)
        .payload(&quoted)
        .build_ip()
}

/// Only the first fragment of a datagram has the ports that rules are about.
pub fn sg_and_nacl_rules_about_ports_let_fragments_pass(hook: Hook) {
    let inward = r#"ingress = [{ protocol = "udp", ports = "5301", source = "0.0.0.0/0" }]"#;
    let text = web_in(hook, &["web"])
        .with("subnet", "public", "network_acl = \"edge\"")
        .security_group("web", inward)
        .network_acl(
            "edge",
            &["allow 1 udp 0.0.0.0/0 5301-5302"],
            &["allow 1 udp 0.0.0.0/0 1024-65535"],
        );
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let (question, answer) = (bytes(20_000, 1), bytes(9_000, 2));
    for (host, to) in [(&lab.a, WEB), (&lab.site.internet, WEB_PUBLIC)] {
        let socket = host.udp(ANY).expect("a socket");
        for (port, is_allowed) in [(5301, true), (5302, false), (5303, false)] {
            let server = lab.web.udp(&format!("{WEB}:{port}")).expect("a server");
            let to = format!("{to}:{port}");
            socket.send_to(&question, &to).expect("sending");
            if !is_allowed {
                let limit = Some(Duration::from_millis(700));
                server.set_read_timeout(limit).expect("a time-out");
                assert!(receive_large(&server).is_err(), "{to}");
                continue;
            }
            let (arrived, seen) = receive_large(&server).expect(&to);
            assert!(arrived == question, "another question, {to}");
            server.send_to(&answer, seen).expect("sending");
            let (arrived, _) = receive_large(&socket).expect(&to);
            assert!(arrived == answer, "another answer, {to}");
        }
    }
    assert!(standing.drops("security_group") > 0);
    assert!(standing.drops("network_acl") > 0);
}

/// And new ones are refused.
pub fn sg_tracked_flows_survive_a_rules_removal(hook: Hook) {
    let with_rules = |web, a| {
        web_in(hook, &["web"])
            .instance("a", "private", A, "security_groups = [\"a\"]")
            .security_group("web", web)
            .security_group("a", a)
    };
    let open = with_rules(
        r#"ingress = [{ protocol = "all", source = "0.0.0.0/0" }]"#,
        "",
    );
    let closed = with_rules("egress = []", "egress = []");
    let standing = Lab::with(hook, &open);
    let lab = &standing.lab;
    let (web, outside) = (
        lab.web.listen("0.0.0.0:8081").expect("a server"),
        lab.site.internet.listen("0.0.0.0:8081").expect("a server"),
    );
    let (internet, web_host, a) = (&lab.site.internet, &lab.web, &lab.a);
    let open_all = || {
        [
            (internet, "198.51.100.20:8081", &web),
            (a, "10.20.1.10:8081", &web),
            (web_host, "198.51.100.80:8081", &outside),
            (a, "198.51.100.80:8081", &outside),
        ]
        .map(|(client, to, server)| Connection::open(client, ANY, to, server).expect(to))
    };
    let held = open_all();
    for connection in &held {
        connection.exchange().expect("before the change");
    }
    let server = lab.web.udp("0.0.0.0:5301").expect("a server");
    let socket = lab.a.udp(ANY).expect("a socket");
    udp_exchange(&socket, "10.20.1.10:5301", &server).expect("before the change");
    standing.reload(&closed);
    for connection in &held {
        connection.exchange().expect("after the change");
    }
    udp_exchange(&socket, "10.20.1.10:5301", &server).expect("after the change");
    let before = standing.drops("security_group");
    for (client, to) in [
        (internet, "198.51.100.20:8081"),
        (a, "10.20.1.10:8081"),
        (web_host, "198.51.100.80:8081"),
        (a, "198.51.100.80:8081"),
    ] {
        let (outcome, _) = try_connect(client, ANY, to, Duration::from_millis(900));
        assert_eq!(outcome.expect_err(to), ErrorKind::TimedOut);
    }
    assert!(standing.drops("security_group") >= before + 4);
    for connection in &held {
        connection.exchange().expect("later");
    }
    standing.reload(&open);
    for connection in open_all().iter().chain(&held) {
        connection.exchange().expect("allowed again");
    }
}

/// What the groups allow goes on, from the middle of a connection; the rest stops.
pub fn sg_groups_are_added_under_live_connections(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let web = lab.web.listen("0.0.0.0:8081").expect("a server");
    let open = |client, to| Connection::open(client, ANY, to, &web).expect("a connection");
    let outside = open(&lab.site.internet, "198.51.100.20:8081");
    let inside = open(&lab.a, "10.20.1.10:8081");
    let refused = open(&lab.c, "10.20.1.10:8081");
    for connection in [&outside, &inside, &refused] {
        connection.exchange().expect("before the change");
    }
    let rules = r#"ingress = [{ protocol = "tcp", ports = "8081", source = "198.51.100.0/24" }, { protocol = "tcp", source = "10.20.2.0/24" }]
  egress = []"#;
    standing.reload(&web_in(hook, &["web"]).security_group("web", rules));
    outside.exchange().expect("after the change, from outside");
    inside.exchange().expect("after the change, from inside");
    let mut refused = refused;
    assert!(super::reached::is_cut(&mut refused));
    assert!(standing.drops("security_group") > 0);
}
