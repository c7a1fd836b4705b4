//! NAT gateways with every setting, and what only shows with several addresses or gateways.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{EVERYTHING, PUBLIC_IPS, edited, refused, with};
use crate::config::*;

#[track_caller]
fn gateway(settings: &str) -> NatGateway {
    let config = parse("f", &with(settings)).unwrap_or_else(|errors| panic!("{errors}"));
    config.vpcs[0].nat_gateways[0].clone()
}

#[test]
fn every_setting_is_read() {
    let gateway = gateway(EVERYTHING);
    let second = Ipv4Addr::new(198, 51, 100, 11);
    assert_eq!(gateway.ports_of(gateway.addresses()[0]).len(), 2);
    assert_eq!(gateway.ports_of(second)[0].size(), 1999);
    assert_eq!(gateway.profile, Profile::Rfc);
    assert_eq!(gateway.filtering, Filtering::EndpointIndependent);
    assert_eq!(gateway.max_sessions_per_client, Some(1_048_576));
    assert_eq!(gateway.max_ports_per_client, Some(65_535));
    assert_eq!(gateway.port_rest, Duration::ZERO);
    assert_eq!(gateway.on_exhaustion, OnExhaustion::HostUnreachable);
    assert_eq!(gateway.deterministic, "10.40.0.0/21".parse().ok());
    let rules: Vec<PassRule> = gateway.no_translate.iter().map(|each| each.rule).collect();
    let rule = |protocol, ports: Option<(u16, u16)>| PassRule {
        protocol,
        ports: ports.map(|(first, last)| PortRange { first, last }),
    };
    assert_eq!(
        rules,
        [
            rule(None, None),
            rule(Some(Protocol::Tcp), Some((443, 443))),
            rule(Some(Protocol::Udp), Some((1000, 2000))),
            rule(Some(Protocol::Icmp), None),
            rule(None, Some((53, 53))),
        ]
    );
    let [first, other] = gateway.forwards.as_slice() else {
        panic!("{:?}", gateway.forwards);
    };
    assert_eq!(first.public_ip, second);
    assert_eq!(first.pairs().last(), Some((8010, 90)));
    assert_eq!((other.protocol, other.ports.size()), (Protocol::Udp, 1));
    let timeouts = &gateway.timeouts;
    let seconds = [
        timeouts.tcp_established,
        timeouts.tcp_opening,
        timeouts.tcp_closing,
        timeouts.udp,
        timeouts.udp_stream,
        timeouts.icmp,
    ]
    .map(|each| each.as_secs());
    assert_eq!(seconds, [8000, 6, 7, 120, 180, 60]);
}

#[test]
fn rfc_has_the_timers_and_the_filtering_of_the_rfcs() {
    let plain = gateway("profile = \"rfc\"\n  public_ips = [\"198.51.100.10\"]");
    assert_eq!(plain.filtering, Filtering::AddressDependent);
    assert_eq!(plain.port_rest, Duration::ZERO);
    let seconds = |timeout: Duration| timeout.as_secs();
    assert_eq!(seconds(plain.timeouts.tcp_established), 7440);
    assert_eq!(seconds(plain.timeouts.udp), 300);
    assert_eq!(seconds(plain.timeouts.udp_stream), 300);
    assert_eq!(seconds(plain.timeouts.icmp), 60);

    let open = gateway(
        "profile = \"rfc\"\n  filtering = \"endpoint-independent\"\n  public_ips = [\"198.51.100.10\"]",
    );
    assert_eq!(open.port_rest, DEFAULT_PORT_REST);
}

#[test]
fn rfc4787_req5_and_rfc5382_req5_and_rfc5508_req2_timers_by_default() {
    let seconds = |profile: &str| {
        let text = format!("profile = \"{profile}\"\n  public_ips = [\"198.51.100.10\"]");
        let timeouts = gateway(&text).timeouts;
        [timeouts.udp, timeouts.tcp_established, timeouts.icmp].map(|timer| timer.as_secs())
    };
    assert_eq!(seconds("rfc"), [300, 7440, 60]);
    assert_eq!(seconds("aws"), [350, 350, 60], "as AWS has it");
}

#[test]
fn rfc7857_partial_open_and_closing_have_4_minutes_by_default_and_timers_of_their_own() {
    for profile in ["aws", "rfc"] {
        let text = format!("profile = \"{profile}\"\n  public_ips = [\"198.51.100.10\"]");
        let of = |more: &str| {
            let timeouts = gateway(&format!("{text}\n  {more}")).timeouts;
            [timeouts.tcp_opening, timeouts.tcp_closing].map(|timer| timer.as_secs())
        };
        assert_eq!(of(""), [240, 240]);
        assert_eq!(of("timeouts = { tcp_opening = 60 }"), [60, 240]);
        assert_eq!(of("timeouts = { tcp_closing = 60 }"), [240, 60]);
    }
}

#[test]
fn the_only_address_need_not_be_named_in_a_forward() {
    let forward = "forward = [{ protocol = \"tcp\", port = \"80\", to = \"10.40.2.101:80\" }]";
    let public = gateway(&format!(
        "{PUBLIC_IPS}\n  shared_with_host = true\n  {forward}"
    ));
    assert_eq!(
        public.forwards[0].public_ip,
        Ipv4Addr::new(198, 51, 100, 10)
    );
    let private = gateway(&format!("profile = \"rfc\"\n  {forward}"));
    assert_eq!(private.forwards[0].public_ip, private.private_ip);
}

#[test]
fn a_forward_names_one_of_several_addresses() {
    let text = with(
        "profile = \"rfc\"\n  public_ips = [\"198.51.100.10\", \"198.51.100.11\"]\n  \
         forward = [{ protocol = \"tcp\", port = \"80\", to = \"10.40.2.101:80\" }]",
    );
    assert_eq!(
        refused(&text),
        [
            "f:39: vpc \"main\" / nat_gateway \"egress\" / forward[0] / public_ip: required key is missing: \
             the gateway has several addresses; add public_ip, one of 198.51.100.10, 198.51.100.11"
        ]
    );
}

#[test]
fn deterministic_gateways_have_pools_of_one_size() {
    let text = with(&EVERYTHING.replace("10000-11998", "10000-11999"));
    assert_eq!(
        refused(&text),
        [
            "f:46: vpc \"main\" / nat_gateway \"egress\" / deterministic: the public addresses have pools of \
             different sizes: 198.51.100.10 has 1999 ports, 198.51.100.11 has 2000; give every address as \
             many ports as the others"
        ]
    );
}

#[test]
fn what_passes_in_from_outside_counts_for_all_gateways_together() {
    let rules = |from: u16| {
        let rules = (from..from + 5)
            .map(|port| format!("{{ destination = \"192.0.2.0/24\", ports = \"{}\" }}", port));
        format!("no_translate = [{}]", rules.collect::<Vec<_>>().join(", "))
    };
    let text = edited(&[
        (PUBLIC_IPS, &rules(80)),
        (
            "  [[vpc.instance]]",
            &format!(
                "  [[vpc.nat_gateway]]\n  name = \"other\"\n  subnet = \"public-a\"\n  \
                 private_ip = \"10.20.1.101\"\n  {}\n\n  [[vpc.instance]]",
                rules(90)
            ),
        ),
    ]);
    assert_eq!(
        refused(&text),
        [
            "f:43: vpc \"main\" / nat_gateway \"other\" / no_translate[4]: too many rules hold for \
             192.0.2.0/24 in all gateways together, those around it among them; keep at most 8, for \
             example by joining port ranges"
        ]
    );
}

#[test]
fn forwards_leave_room_for_bindings() {
    let settings = "profile = \"rfc\"\n  public_ips = [\"198.51.100.10\"]\n  \
                    forward = [{ protocol = \"tcp\", port = \"1-512\", to = \"10.40.2.101:1\" },\n  \
                    { protocol = \"udp\", port = \"1-512\", to = \"10.40.2.101:1\" }]";
    assert!(parse("f", &with(settings)).is_ok());
    let text = edited(&[
        (PUBLIC_IPS, settings),
        ("attach = \"auto\"  ", "max_sessions = 1024"),
    ]);
    assert_eq!(
        refused(&text),
        [
            "f:40: vpc \"main\" / nat_gateway \"egress\" / forward[1]: with these, 1024 ports are \
             forwarded; keep at most 512: half of node.max_sessions, and never more than 131072"
        ]
    );
}

#[test]
fn mistakes_in_settings_come_alone() {
    // Each breaks something that other checks look at.
    for (from, to) in [
        ("\"rfc\"", "\"rcf\""),
        ("\"endpoint-independent\"", "\"endpoint\""),
        (
            "\"198.51.100.10\", \"198.51.100.11\"]",
            "\"198.51.100.10\", \"198.51.100\"]",
        ),
        ("\"2000-2999\"", "\"2000\""),
        ("\"10000-11998\"", "\"10000-119980\""),
        ("\"10.40.0.0/21\"", "\"10.40.0.0/210\""),
        ("\"8000-8010\"", "\"8000-80100\""),
        ("\"10.0.0.0/8\"", "\"10.0.0.0\""),
    ] {
        assert_eq!(EVERYTHING.matches(from).count(), 1, "{from}");
        let errors = refused(&with(&EVERYTHING.replace(from, to)));
        assert_eq!(errors.len(), 1, "{to}: {errors:#?}");
    }
}

#[test]
fn a_forward_may_lead_to_an_instance_that_answers_by_the_gateway_somewhere() {
    let forward = "profile = \"rfc\"\n  \
                   forward = [{ protocol = \"tcp\", port = \"80\", to = \"10.20.1.10:80\" }]";
    let out = r#"routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]"#;
    // Partners reach it by the gateway, or all but partners do.
    for routes in [
        r#"routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" },
           { destination = "192.0.2.0/24", target = "nat-gateway:inner" }]"#,
        r#"routes = [{ destination = "192.0.2.0/24", target = "internet-gateway" }]"#,
        r#"routes = [{ destination = "0.0.0.0/0", target = "blackhole" },
           { destination = "192.0.2.0/24", target = "internet-gateway" }]"#,
    ] {
        let inner = "[[vpc.nat_gateway]]\n  name = \"inner\"\n  subnet = \"private-a\"\n  \
                     private_ip = \"10.40.2.9\"";
        let settings = format!("{PUBLIC_IPS}\n  {forward}\n  {inner}");
        let text = edited(&[(out, routes), (PUBLIC_IPS, &settings)]);
        assert!(parse("f", &text).is_ok(), "{text}");
    }
    let settings = format!("{PUBLIC_IPS}\n  {forward}");
    let without_public_ip = [
        ("  public_ip = \"198.51.100.20\"\n", ""),
        (PUBLIC_IPS, &settings),
    ];
    assert!(parse("f", &edited(&without_public_ip)).is_ok());
}

#[test]
fn destinations_are_logged_where_asked() {
    let logs = |node: &str| {
        let text = edited(&[("name = \"edge-1\"", node)]);
        let config = parse("f", &text).unwrap_or_else(|errors| panic!("{errors}"));
        config.node.log_destinations
    };
    assert!(!logs("name = \"edge-1\""));
    assert!(logs("log_destinations = true"));
}
