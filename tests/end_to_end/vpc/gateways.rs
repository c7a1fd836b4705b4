//! The internet gateway and its conditions, and NAT gateways within the VPC.
use nat_tests::netns::Hook;

use super::{
    INTERNET, Lab, NAT, PUBLIC_IP, PUBLIC_IPS, WEB_PUBLIC,
    reached::{NOTHING, Seen, Server, from},
    vpc,
};

const ALL: &[&str] = &["allow 100 all 0.0.0.0/0"];
const ANYBODY: &str = r#"ingress = [{ protocol = "all", source = "0.0.0.0/0" }]"#;

/// A gateway, a route to it, a public IP, and an ACL and a group that allow: take one away and nothing goes.
pub fn internet_gateway_takes_all_of_its_conditions(hook: Hook) {
    let with = |(inward, outward), rules| {
        vpc(hook)
            .with("subnet", "public", "network_acl = \"edge\"")
            .with("instance", "web", "security_groups = [\"web\"]")
            .network_acl("edge", inward, outward)
            .security_group("web", rules)
    };
    let all = with((ALL, ALL), ANYBODY);
    let standing = Lab::with(hook, &all);
    let lab = &standing.lab;
    let (outside, web) = (Server::on(&lab.site.internet), Server::on(&lab.web));
    let assert_connected = |case: &str| {
        println!("{case}");
        outside.assert_sees(&lab.web, INTERNET, from(WEB_PUBLIC));
        web.assert_sees(&lab.site.internet, WEB_PUBLIC, from(INTERNET));
    };
    assert_connected("with all conditions");
    // A public NAT gateway needs a route itself.
    let without_route = all
        .clone()
        .routed("public", &[])
        .routed("private", &[])
        .routed("beside", &[])
        .without("nat_gateway", "egress");
    let without_gateway = without_route.clone().but("internet_gateway = true\n", "");
    let without_gateway = without_gateway.but(PUBLIC_IP, "");
    let cases = [
        ("the route", without_route, "no_route"),
        (
            "the public IP",
            all.clone().but(PUBLIC_IP, ""),
            "no_public_ip",
        ),
        ("the gateway", without_gateway, "no_route"),
        (
            "the ACL's rules for what goes out",
            with((ALL, &[]), ANYBODY),
            "network_acl",
        ),
        (
            "the ACL's rules for what comes in",
            with((&[], ALL), ANYBODY),
            "network_acl",
        ),
        (
            "the group's rules",
            with((ALL, ALL), "egress = []"),
            "security_group",
        ),
    ];
    for (what, text, reason) in cases {
        println!("without {what}");
        standing.reload(&text);
        let before = standing.drops(reason);
        let out = match what {
            // Questions leave, and answers do not come in.
            "the ACL's rules for what comes in" => {
                [Seen::Nothing, Seen::Unanswered, Seen::Unanswered]
            }
            _ => NOTHING,
        };
        outside.assert_sees(&lab.web, INTERNET, out);
        let inward = match what {
            "the ACL's rules for what goes out" => {
                [Seen::Nothing, Seen::Unanswered, Seen::Unanswered]
            }
            "the route" => [Seen::Nothing, Seen::Unanswered, Seen::Unanswered],
            _ => NOTHING,
        };
        web.assert_sees(&lab.site.internet, WEB_PUBLIC, inward);
        assert!(standing.drops(reason) > before, "{reason}");
        standing.reload(&all);
        assert_connected(what);
    }
}

/// Towards a network behind the uplink that knows the VPC by that address alone.
pub fn a_private_nat_gateway_translates_to_its_private_ip(hook: Hook) {
    let private = vpc(hook).but(PUBLIC_IPS, "");
    let standing = Lab::with(hook, &private);
    let lab = &standing.lab;
    let outside = &lab.site.internet;
    outside
        .route("10.20.1.100/32", "198.51.100.1")
        .expect("a route");
    Server::on(outside).assert_sees(&lab.a, INTERNET, from("10.20.1.100"));
    // Nobody comes in by it.
    Server::on(&lab.a).assert_sees(outside, "10.20.1.100", NOTHING);
}

pub fn a_nat_gateway_never_answers_ping(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    // Neither to its own address nor to its public one.
    for (host, to) in [(&lab.a, "10.20.1.100"), (&lab.site.internet, NAT)] {
        let pinger = host.pinger().expect("a socket");
        let to = to.parse().expect("an address");
        pinger.ask(to, 78, 1, b"gateway?").expect("a ping");
        let limit = std::time::Duration::from_secs(1);
        assert_eq!(pinger.answer(78, b"gateway?", limit).expect("a look"), None);
    }
}
