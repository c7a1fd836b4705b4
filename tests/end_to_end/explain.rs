//! `nat explain` says what then becomes of a real packet, and changes nothing.
use std::time::Duration;

use nat_tests::netns::{
    Connection, Hook, Namespace,
    configuration::{Configuration, classic},
};
use serde_json::Value;

use crate::{attempts::try_connect, map_bytes::of_all_maps, standing::Standing};

/// A gateway's subnet with an ACL, a web instance that is an appliance too, and a client with a group.
pub fn configuration(hook: Hook, gateway_keys: &str) -> Configuration {
    let routes = [
        ("0.0.0.0/0", "nat-gateway:egress"),
        ("192.0.2.0/24", "blackhole"),
        ("203.0.113.0/24", "instance:web"),
    ];
    let appliance = r#"source_dest_check = false
mac = "02:00:0a:14:01:0a"
security_groups = ["web"]"#;
    let web = r#"ingress = [
  { protocol = "tcp", ports = "23-80", source = "0.0.0.0/0" },
  { protocol = "tcp", ports = "8080", source = "security-group:client" },
]"#;
    classic(hook, gateway_keys)
        .with_node("max_sessions = 4096")
        .with("subnet", "public-a", "network_acl = \"edge\"")
        .routed("private", &routes)
        .with("instance", "web", appliance)
        .instance(
            "client",
            "private-a",
            "10.40.2.101",
            "security_groups = [\"client\"]",
        )
        .security_group("web", web)
        .security_group("client", "")
        .network_acl(
            "edge",
            &["deny 90 tcp 0.0.0.0/0 23", "allow 100 all 0.0.0.0/0"],
            &["deny 80 tcp 198.51.100.81/32 25", "allow 100 all 0.0.0.0/0"],
        )
}

impl Standing {
    /// What `nat explain tcp FROM TO --json` says.
    pub fn explain(&self, protocol: &str, from: &str, to: &str) -> Value {
        let said = self.nat.object(&["explain", protocol, from, to]);
        said.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// It says `reason`, and so it is.
    fn both_drop(&self, client: &Namespace, from: &str, to: &str, reason: &str) -> Value {
        let said = self.explain("tcp", from, to);
        assert_eq!(said["verdict"], "drop", "{from} to {to}: {said:#}");
        assert_eq!(said["reason"], reason, "{from} to {to}: {said:#}");
        let before = self.drops(reason);
        let (outcome, _) = try_connect(client, from, to, Duration::from_secs(1));
        assert!(outcome.is_err(), "{from} to {to} is let through");
        assert!(self.drops(reason) > before, "{from} to {to}: not {reason}");
        said
    }

    /// It says where the packet goes, and there a server sees it with the source that was said.
    fn both_forward(
        &self,
        (client, from): (&Namespace, &str),
        (server, at): (&Namespace, &str),
        to: &str,
    ) -> (Value, Connection) {
        let said = self.explain("tcp", from, to);
        assert_eq!(said["verdict"], "forward", "{from} to {to}: {said:#}");
        let end = |name: &str| {
            let (address, port) = (&said["forwarded"][name], format!("{name}_port"));
            let address = address.as_str().unwrap_or_default();
            format!("{address}:{}", said["forwarded"][port])
        };
        let (source, destination) = (end("source"), end("destination"));
        assert_eq!(destination, at, "{from} to {to}: {said:#}");
        let listener = server.listen(at).expect("a server");
        let connection = Connection::open(client, from, to, &listener);
        let connection = connection.unwrap_or_else(|error| panic!("{from} to {to}: {error:#}"));
        assert_eq!(connection.seen.to_string(), source, "{from} to {to}");
        connection.exchange().expect("an exchange");
        (said, connection)
    }
}

/// The step of this kind, the last one.
pub fn step<'a>(said: &'a Value, kind: &str) -> &'a Value {
    let steps = said["steps"].as_array().expect("steps");
    let found = steps.iter().rev().find(|step| step["step"] == kind);
    found.unwrap_or_else(|| panic!("no step {kind}: {said:#}"))
}

fn has_step(said: &Value, kind: &str) -> bool {
    let steps = said["steps"].as_array().expect("steps");
    steps.iter().any(|step| step["step"] == kind)
}

pub fn explain_agrees_about_a_nat_gateway(hook: Hook) {
    for keys in ["", "profile = \"rfc\"\nports = [\"5000-5000\"]"] {
        let standing = Standing::with_configuration(hook, &configuration(hook, keys));
        let lab = &standing.lab;
        let server = (&lab.internet, "198.51.100.80:8080");
        let client = (&lab.private_a, "10.40.2.101:41000");
        let (said, _held) = standing.both_forward(client, server, server.1);
        let mapping = step(&said, "mapping");
        assert_eq!(mapping["address"], "198.51.100.10", "{said:#}");
        assert_eq!(mapping["gateway"], "egress");
        assert_eq!(step(&said, "route")["destination"], "0.0.0.0/0");
        assert_eq!(step(&said, "route")["target"], "nat-gateway:egress");
        assert_eq!(step(&said, "gateway-subnet")["target"], "internet-gateway");
        assert_eq!(step(&said, "next-hop")["interface"], "uplink0");
        assert!(!has_step(&said, "session"), "{said:#}");

        // Now there is one.
        let again = standing.explain("tcp", client.1, server.1);
        assert_eq!(again["forwarded"], said["forwarded"]);
        assert_eq!(step(&again, "session")["port"], mapping["port"]);
        assert!(!has_step(&again, "mapping"), "{again:#}");
        assert!(!has_step(&again, "security-groups"), "{again:#}");

        // The gateway's subnet has the ACL.
        let to = "198.51.100.81:25";
        let said = standing.both_drop(&lab.private_b, "10.40.2.201:41001", to, "network_acl");
        let acl = step(&said, "network-acl");
        assert_eq!(
            (&acl["network_acl"], &acl["rule"]),
            (&"edge".into(), &80.into())
        );
        if !keys.is_empty() {
            // The one port is taken.
            let (from, to) = ("10.40.2.201:41002", "198.51.100.80:8081");
            standing.both_drop(&lab.private_b, from, to, "port_exhausted");
        }
    }
}

pub fn explain_agrees_about_acls_and_groups_within_the_vpc(hook: Hook) {
    let standing = Standing::with_configuration(hook, &configuration(hook, ""));
    let lab = &standing.lab;
    let (stranger, client) = (
        (&lab.private_b, "10.40.2.201:41001"),
        (&lab.private_a, "10.40.2.101:41001"),
    );
    let web = |port| (&lab.web, format!("10.20.1.10:{port}"));

    let (server, at) = web(80);
    let (said, _held) = standing.both_forward(stranger, (server, &at), &at);
    assert_eq!(step(&said, "route")["target"], "local");
    assert_eq!(step(&said, "receiver-subnet")["subnet"], "public-a");
    let acl = step(&said, "network-acl");
    assert_eq!((&acl["rule"], &acl["allowed"]), (&100.into(), &true.into()));
    let groups = step(&said, "security-groups");
    assert_eq!(groups["security_group"], "web");
    assert_eq!(groups["rule"], 0);

    // Known by its group.
    let (server, at) = web(8080);
    let (said, _held) = standing.both_forward(client, (server, &at), &at);
    assert_eq!(step(&said, "security-groups")["rule"], 1);
    assert_eq!(step(&said, "instance")["security_groups"][0], "client");
    let said = standing.both_drop(stranger.0, "10.40.2.201:41002", &at, "security_group");
    let groups = step(&said, "security-groups");
    assert_eq!(
        (&groups["direction"], &groups["allowed"]),
        (&"ingress".into(), &false.into())
    );

    let (_, at) = web(23);
    let said = standing.both_drop(stranger.0, "10.40.2.201:41003", &at, "network_acl");
    let acl = step(&said, "network-acl");
    assert_eq!(
        (&acl["direction"], &acl["rule"]),
        (&"ingress".into(), &90.into())
    );
}

pub fn explain_agrees_about_routes(hook: Hook) {
    let standing = Standing::with_configuration(hook, &configuration(hook, ""));
    let lab = &standing.lab;
    // What the host knows no way to is left to it.
    let unknown = standing.explain("tcp", "10.40.2.201:41001", "192.0.2.1:80");
    assert_eq!(unknown["verdict"], "pass", "{unknown:#}");
    let way_out = lab.edge.route("0.0.0.0/0", "198.51.100.80");
    way_out.expect("a route");
    let said = standing.both_drop(
        &lab.private_b,
        "10.40.2.201:41001",
        "192.0.2.1:80",
        "blackhole",
    );
    let route = step(&said, "route");
    assert_eq!(route["destination"], "192.0.2.0/24");
    assert_eq!(route["reason"], "configured");
    let to = "10.40.77.1:80";
    let said = standing.both_drop(&lab.private_b, "10.40.2.201:41001", to, "no_route");
    assert_eq!(step(&said, "route")["target"], "local");

    // To an instance, unchanged.
    let there = "203.0.113.9:80";
    lab.web.address("lo", "203.0.113.9/32").expect("an address");
    let client = (&lab.private_b, "10.40.2.201:41002");
    let (said, _held) = standing.both_forward(client, (&lab.web, there), there);
    assert_eq!(step(&said, "route")["target"], "instance:10.20.1.10");
    assert_eq!(step(&said, "next-hop")["next_hop"], "10.20.1.10");

    let to_router = standing.explain("icmp", "10.40.2.101", "10.40.2.1");
    assert_eq!(
        to_router["verdict"], "pass",
        "the host has that address: {to_router:#}"
    );
}

pub fn explain_agrees_about_packets_from_outside(hook: Hook) {
    let standing = Standing::with_configuration(hook, &configuration(hook, ""));
    let lab = &standing.lab;
    let outside = &lab.internet;
    let client = (outside, "198.51.100.80:41001");
    let (said, _held) =
        standing.both_forward(client, (&lab.web, "10.20.1.10:80"), "198.51.100.20:80");
    assert_eq!(said["vpc"], Value::Null);
    assert_eq!(said["interface"], "uplink0");
    assert_eq!(step(&said, "security-groups")["rule"], 0);
    assert_eq!(step(&said, "network-acl")["rule"], 100);
    assert!(!has_step(&said, "session"), "{said:#}");
    let again = standing.explain("tcp", client.1, "198.51.100.20:80");
    assert!(
        has_step(&again, "session") && !has_step(&again, "mapping"),
        "{again:#}"
    );

    let from = "198.51.100.80:41002";
    let said = standing.both_drop(outside, from, "198.51.100.20:443", "security_group");
    assert_eq!(step(&said, "security-groups")["direction"], "ingress");
    let failing = said["internet_gateway"]
        .as_array()
        .expect("conditions")
        .iter();
    let failing: Vec<_> = failing.filter(|each| each["holds"] == false).collect();
    assert_eq!(failing[0]["condition"], "security-groups", "{said:#}");
    let said = standing.both_drop(outside, from, "198.51.100.20:23", "network_acl");
    assert_eq!(step(&said, "network-acl")["rule"], 90);
    standing.both_drop(outside, from, "198.51.100.10:80", "no_session");
}

/// Not one byte of any map is another one afterwards.
pub fn explain_changes_nothing(hook: Hook) {
    for keys in [
        "",
        "profile = \"rfc\"\nmax_sessions_per_client = 9\nfiltering = \"address-dependent\"",
    ] {
        let mut standing = Standing::with_configuration(hook, &configuration(hook, keys));
        let lab = &standing.lab;
        let servers = ["198.51.100.80:8080", "198.51.100.81:8080"]
            .map(|at| lab.internet.listen(at).expect("a server"));
        let from = "10.40.2.101:41000";
        let held = Connection::open(&lab.private_a, from, "198.51.100.80:8080", &servers[0]);
        let held = held.expect("a connection");
        held.exchange().expect("an exchange");
        // It would sweep.
        standing.terminate();
        let flows = [
            ("tcp", from, "198.51.100.80:8080"),
            ("tcp", "10.40.2.101:41001", "198.51.100.81:8080"),
            ("icmp", "10.40.2.201", "198.51.100.80"),
            ("47", "10.40.2.201", "198.51.100.80"),
            ("tcp", "10.40.2.101:41000", "10.20.1.10:8080"),
            ("tcp", "10.40.2.201:41000", "10.20.1.10:23"),
            ("tcp", "10.40.2.201:41000", "198.51.100.20:80"),
            ("tcp", "198.51.100.80:41000", "198.51.100.20:80"),
            ("tcp", "198.51.100.80:41000", "198.51.100.10:443"),
            ("tcp", "198.51.100.80:8080", "198.51.100.10:41000"),
        ];
        let forwarded = flows
            .iter()
            .filter(|flow| is_forwarded_without_a_trace(&standing, flow));
        assert!(forwarded.count() >= 6, "{keys}");
        held.exchange().expect("the dataplane goes on");
    }
}

fn is_forwarded_without_a_trace(standing: &Standing, flow: &(&str, &str, &str)) -> bool {
    let maps = || of_all_maps(&standing.lab.edge).expect("the maps");
    // The kernels at both ends may ask for each other in between, and ARP is counted.
    for _ in 0..3 {
        let before = maps();
        assert!(before.len() > 20 && before.contains_key("SESSIONS"));
        let said = standing.explain(flow.0, flow.1, flow.2);
        let after = maps();
        assert_eq!(before.len(), after.len(), "other maps are pinned");
        let other: Vec<_> = before
            .iter()
            .filter(|(name, bytes)| after.get(*name) != Some(bytes))
            .map(|(name, _)| name.as_str())
            .collect();
        if other.is_empty() {
            return said["verdict"] == "forward";
        }
        assert_eq!(other, ["COUNTERS"], "changed by {flow:?}");
    }
    panic!("COUNTERS change with every explanation of {flow:?}");
}
