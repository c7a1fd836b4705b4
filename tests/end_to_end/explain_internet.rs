//! What `nat explain` says is in the way of an instance to the internet, and `nat routes` and `nat instances`.
use std::time::Duration;

use nat_tests::netns::{Hook, configuration::Configuration};
use serde_json::Value;

use crate::{
    attempts::try_connect,
    explain::{configuration, step},
    standing::Standing,
};

const WEB: &str = "10.20.1.10:41001";
const SERVER: &str = "198.51.100.80:8080";

/// What a web instance has of what it takes.
#[derive(Clone, Copy)]
struct Given {
    gateway: bool,
    route: bool,
    public_ip: bool,
    group: bool,
    acl: bool,
}

fn web_alone(hook: Hook, given: Given) -> Configuration {
    let public_ip = match given.public_ip {
        true => "public_ip = \"198.51.100.20\"",
        false => "",
    };
    let routes = [("0.0.0.0/0", "internet-gateway")];
    let egress = match given.group {
        true => r#"egress = [{ protocol = "tcp", ports = "8080", destination = "0.0.0.0/0" }]"#,
        false => "egress = []",
    };
    let outward = match given.acl {
        true => "allow 70 all 0.0.0.0/0",
        false => "deny 70 all 0.0.0.0/0",
    };
    let with_gateway = Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet(
            "public-a",
            "10.20.1.0/24",
            "public0",
            "route_table = \"public\"\nnetwork_acl = \"edge\"",
        )
        .route_table("public", if given.route { &routes } else { &[] })
        .instance(
            "web",
            "public-a",
            "10.20.1.10",
            &format!("security_groups = [\"web\"]\n{public_ip}"),
        )
        .security_group("web", egress)
        .network_acl("edge", &["allow 100 all 0.0.0.0/0"], &[outward]);
    match given.gateway {
        true => with_gateway,
        false => with_gateway.but("internet_gateway = true", "internet_gateway = false"),
    }
}

pub fn explain_names_what_the_internet_gateway_lacks_first(hook: Hook) {
    let mut given = Given {
        gateway: false,
        route: false,
        public_ip: false,
        group: false,
        acl: false,
    };
    let mut standing = Standing::with_configuration(hook, &web_alone(hook, given));
    let _listener = standing.lab.internet.listen(SERVER).expect("a server");
    let order = [
        "gateway-attached",
        "route",
        "public-ip",
        "security-groups",
        "network-acl",
    ];
    for expected in order {
        let said = standing.explain("tcp", WEB, SERVER);
        assert_eq!(said["verdict"], "drop", "{said:#}");
        let conditions = said["internet_gateway"].as_array().expect("conditions");
        let names: Vec<_> = conditions
            .iter()
            .map(|each| each["condition"].as_str())
            .collect();
        assert_eq!(names, order.map(Some), "{said:#}");
        let first = conditions.iter().find(|each| each["holds"] == false);
        let first = first.expect("something is in the way");
        assert_eq!(first["condition"], expected, "{said:#}");
        assert!(first["mend"].as_str().is_some_and(|mend| !mend.is_empty()));
        let words = standing
            .nat
            .finish(["explain", "tcp", WEB, SERVER])
            .expect("nat explain");
        let words = words.success().expect("exit status 0 whatever the verdict");
        assert!(words.contains(&format!("FAIL {expected}: ")), "{words}");
        assert!(
            words.contains(first["mend"].as_str().expect("a text")),
            "{words}"
        );
        // And so it is.
        let reason = said["reason"].as_str().expect("a reason").to_owned();
        let before = standing.drops(&reason);
        let (outcome, _) = try_connect(&standing.lab.web, WEB, SERVER, Duration::from_secs(1));
        assert!(outcome.is_err(), "{expected} is not in the way");
        assert!(standing.drops(&reason) > before, "not {reason}");
        match expected {
            "gateway-attached" => given.gateway = true,
            "route" => given.route = true,
            "public-ip" => given.public_ip = true,
            "security-groups" => given.group = true,
            _ => given.acl = true,
        }
        standing.terminate();
        standing.configure(&web_alone(hook, given));
        standing.start(&[]);
    }
    let said = standing.explain("tcp", WEB, SERVER);
    assert_eq!(said["verdict"], "forward", "{said:#}");
    assert_eq!(step(&said, "public-ip")["public_ip"], "198.51.100.20");
    let conditions = said["internet_gateway"].as_array().expect("conditions");
    assert!(
        conditions.iter().all(|each| each["holds"] == true),
        "{said:#}"
    );
    let (outcome, _) = try_connect(&standing.lab.web, WEB, SERVER, Duration::from_secs(5));
    outcome.expect("a connection");
}

fn objects(standing: &Standing, arguments: &[&str]) -> Vec<Value> {
    let said = standing.nat.finish(arguments).expect("nat").success();
    let said = said.expect("objects");
    let lines = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"));
    lines.collect()
}

pub fn routes_and_instances_are_shown_as_they_are_held(hook: Hook) {
    let mut standing = Standing::with_configuration(hook, &configuration(hook, ""));
    // They work without a controller.
    standing.terminate();
    let tables = objects(&standing, &["routes", "--vpc", "main", "--json"]);
    let names: Vec<_> = tables
        .iter()
        .map(|table| table["route_table"].as_str())
        .collect();
    assert_eq!(names, [Some("private"), Some("public")]);
    let private = &tables[0];
    assert_eq!(private["subnets"][0], "private-a");
    let targets: Vec<_> = private["routes"]
        .as_array()
        .expect("routes")
        .iter()
        .map(|route| (route["destination"].as_str(), route["target"].as_str()))
        .collect();
    for expected in [
        ("0.0.0.0/0", "nat-gateway:egress"),
        ("10.20.0.0/16", "local"),
        ("192.0.2.0/24", "blackhole"),
        ("203.0.113.0/24", "instance:10.20.1.10"),
    ] {
        let expected = (Some(expected.0), Some(expected.1));
        assert!(targets.contains(&expected), "{expected:?}: {targets:?}");
    }
    for unknown in [
        ["routes", "--vpc", "nowhere"],
        ["sessions", "--vpc", "nowhere"],
        ["sessions", "--gateway", "nobody"],
    ] {
        let finished = standing.nat.finish(unknown).expect("an end");
        assert_eq!(finished.code, Some(2), "{unknown:?}: {finished:?}");
    }
    for known in [
        ["--vpc", "main"],
        ["--gateway", "egress"],
        ["--gateway", "-"],
    ] {
        let finished = standing.nat.finish(["sessions"].iter().chain(&known));
        finished.expect("an end").success().expect("an empty table");
    }

    let instances = objects(&standing, &["instances", "--json"]);
    assert_eq!(instances.len(), 2);
    let web = &instances[0];
    assert_eq!(web["private_ip"], "10.20.1.10");
    assert_eq!(web["public_ip"], "198.51.100.20");
    assert_eq!(
        (&web["subnet"], &web["interface"]),
        (&"public-a".into(), &"public0".into())
    );
    assert_eq!(web["security_groups"][0], "web");
    assert_eq!(web["mac"], "02:00:0a:14:01:0a");
    assert_eq!(web["source_dest_check"], false);
    assert_eq!(instances[1]["source_dest_check"], true);
    assert_eq!(instances[1]["public_ip"], Value::Null);

    // Wrong usage, and nothing else, is exit status 2.
    for arguments in [
        ["explain", "tcp", "10.40.2.101", "198.51.100.80"].as_slice(),
        &["explain", "sctp", "10.40.2.101", "198.51.100.80"],
        &[
            "explain",
            "icmp",
            "10.40.9.1",
            "198.51.100.80",
            "--vpc",
            "main",
        ],
    ] {
        let said = standing.nat.finish(arguments).expect("nat explain");
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.stderr);
    }
    standing.nat.down().expect("nat down");
    let said = standing
        .nat
        .finish(["explain", "icmp", "10.40.2.101", "198.51.100.80"]);
    assert_eq!(
        said.expect("nat explain").code,
        Some(1),
        "there is no dataplane"
    );
}
