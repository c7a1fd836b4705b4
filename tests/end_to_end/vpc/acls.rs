//! Network ACLs: numbered rules at the boundary of a subnet, which know no connections.
use nat_tests::netns::{Connection, Hook, configuration::Configuration, sockets::ANY};

use super::{
    A, B, C, INTERNET, Lab, NAT, WEB, WEB_PUBLIC,
    reached::{NOTHING, Seen, Server, from, from_one, is_cut},
    vpc,
};

const ALL: &str = "allow 32766 all 0.0.0.0/0";

fn with_acl(hook: Hook, subnet: &str, inward: &[&str], outward: &[&str]) -> Configuration {
    vpc(hook)
        .with("subnet", subnet, "network_acl = \"tested\"")
        .network_acl("tested", inward, outward)
}

/// The order of their numbers counts, not that of the file, and the first that matches decides.
pub fn nacl_the_lowest_matching_number_decides(hook: Hook) {
    let text = with_acl(
        hook,
        "public",
        &[
            "allow 300 all 0.0.0.0/0",
            "deny 200 tcp 10.20.2.0/24",
            "allow 100 tcp 10.20.2.11/32 8000-8100",
            "deny 150 udp 0.0.0.0/0 5300",
        ],
        &[ALL],
    );
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let web = Server::on(&lab.web);
    web.assert_sees(&lab.a, WEB, [Seen::Nothing, Seen::Nothing, from_one(A)]);
    web.assert_sees(&lab.b, WEB, [from_one(B), Seen::Nothing, from_one(B)]);
    web.assert_sees(&lab.c, WEB, [from_one(C), Seen::Nothing, from_one(C)]);
    let outside = [from_one(INTERNET), Seen::Nothing, from_one(INTERNET)];
    web.assert_sees(&lab.site.internet, WEB_PUBLIC, outside);
    assert!(standing.drops("network_acl") >= 5);
}

/// What no rule matches is denied.
pub fn nacl_without_a_match_denies(hook: Hook) {
    let text = with_acl(hook, "public", &["allow 1 tcp 10.20.2.0/24"], &[ALL]);
    let standing = Lab::with(hook, &text);
    let web = Server::on(&standing.lab.web);
    let tcp_only = [from_one(A), Seen::Nothing, Seen::Nothing];
    web.assert_sees(&standing.lab.a, WEB, tcp_only);
    web.assert_sees(&standing.lab.c, WEB, NOTHING);
}

/// Answers need a rule of their own, and a live connection has no privilege.
pub fn nacl_is_stateless(hook: Hook) {
    let mine = ["allow 100 all 0.0.0.0/0"];
    let text = with_acl(hook, "public", &mine, &[]);
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let web = Server::on(&lab.web);
    let question_only = [Seen::Nothing, Seen::Unanswered, Seen::Unanswered];
    web.assert_sees(&lab.a, WEB, question_only);
    web.assert_sees(&lab.site.internet, WEB_PUBLIC, question_only);
    // Answers go to the ports of clients.
    let answers = ["allow 100 tcp 0.0.0.0/0 1024-65535"];
    standing.reload(&with_acl(hook, "public", &mine, &answers));
    let tcp_answered = |source| [from_one(source), Seen::Unanswered, Seen::Unanswered];
    web.assert_sees(&lab.a, WEB, tcp_answered(A));
    web.assert_sees(&lab.site.internet, WEB_PUBLIC, tcp_answered(INTERNET));
    let listener = lab.web.listen("0.0.0.0:8081").expect("a server");
    let open = |host, to| Connection::open(host, ANY, to, &listener);
    let mut held = [
        open(&lab.a, "10.20.1.10:8081").expect("a connection"),
        open(&lab.site.internet, "198.51.100.20:8081").expect("a connection"),
    ];
    for connection in &held {
        connection.exchange().expect("allowed");
    }
    standing.reload(&with_acl(
        hook,
        "public",
        &["deny 1 tcp 0.0.0.0/0", ALL],
        &answers,
    ));
    let before = standing.drops("network_acl");
    for connection in &mut held {
        assert!(is_cut(connection), "a rule forbids it now");
    }
    assert!(standing.drops("network_acl") > before);
}

pub fn nacl_is_evaluated_at_the_subnet_boundary_only(hook: Hook) {
    let text = with_acl(hook, "private", &[], &[]);
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    // Within the subnet, through the router's interface or past it.
    Server::on(&lab.b).assert_sees(&lab.a, B, from(A));
    let pinger = lab.a.pinger().expect("a socket");
    pinger
        .ping([10, 20, 2, 1].into(), 79, b"the router is in the subnet")
        .expect("an answer");
    // Across it nothing goes, on the same interface either.
    Server::on(&lab.c).assert_sees(&lab.a, C, NOTHING);
    Server::on(&lab.a).assert_sees(&lab.c, A, NOTHING);
    Server::on(&lab.site.internet).assert_sees(&lab.a, INTERNET, NOTHING);
    // Subnets without it are as before.
    Server::on(&lab.web).assert_sees(&lab.c, WEB, from(C));
    assert!(standing.drops("network_acl") >= 9);
}

/// What goes through a NAT gateway crosses the border of its subnet twice in each direction.
pub fn nacl_of_the_nat_gateways_subnet_counts(hook: Hook) {
    let cases: [(&[&str], &[&str], [Seen; 3]); 5] = [
        (&[ALL], &[ALL], from(NAT)),
        // In: what clients send, and answers.
        (
            &["allow 1 all 10.20.2.0/24"],
            &[ALL],
            [Seen::Nothing, Seen::Unanswered, Seen::Unanswered],
        ),
        (&["allow 1 all 198.51.100.0/24"], &[ALL], NOTHING),
        // Out: what clients send, and answers.
        (
            &[ALL],
            &["allow 1 all 198.51.100.0/24"],
            [Seen::Nothing, Seen::Unanswered, Seen::Unanswered],
        ),
        (&[ALL], &["allow 1 all 10.20.2.0/24"], NOTHING),
    ];
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let outside = Server::on(&lab.site.internet);
    for (inward, outward, expected) in cases {
        println!("in {inward:?} out {outward:?}");
        standing.reload(&with_acl(hook, "public", inward, outward));
        outside.assert_sees(&lab.a, INTERNET, expected);
    }
    assert!(standing.drops("network_acl") >= 12);
    // Ports are those of the packet at that border: answers come to the gateway's port, not the client's service.
    standing.reload(&with_acl(
        hook,
        "public",
        &[
            "allow 1 tcp 10.20.2.0/24 8080",
            "allow 2 tcp 198.51.100.0/24 1024-65535",
        ],
        &[
            "allow 1 tcp 198.51.100.0/24 8080",
            "allow 2 tcp 10.20.2.0/24 1024-65535",
        ],
    ));
    outside.assert_sees(
        &lab.a,
        INTERNET,
        [from_one(NAT), Seen::Nothing, Seen::Nothing],
    );
}

/// The ACL named `default` is that of the subnets that name none.
pub fn nacl_default_serves_subnets_that_name_none(hook: Hook) {
    let text = vpc(hook)
        .with("subnet", "public", "network_acl = \"open\"")
        .network_acl("open", &[ALL], &[ALL]);
    let standing = Lab::with(hook, &text);
    let lab = &standing.lab;
    let web = Server::on(&lab.web);
    web.assert_sees(&lab.a, WEB, from(A));
    standing.reload(&text.clone().network_acl("default", &[], &[]));
    web.assert_sees(&lab.a, WEB, NOTHING);
    web.assert_sees(&lab.site.internet, WEB_PUBLIC, from(INTERNET));
    standing.reload(&text);
    web.assert_sees(&lab.a, WEB, from(A));
}
