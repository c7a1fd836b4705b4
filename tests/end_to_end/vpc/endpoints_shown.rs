//! What commands say of endpoints and load balancers, and what an operator decides about endpoints at run time.
use nat_tests::netns::{Connection, Hook};
use serde_json::{Value, json};

use super::{
    A, B,
    private_link::{ENDPOINT, NODE, OPEN, by_node, texts},
    reached::{NOTHING, Server},
    side_by_side::Two,
};
use crate::standing::Standing;

/// Further parts of the consumer: a gateway endpoint that a route leads to, and an interface endpoint for an address
/// that a NAT gateway translates to.
const MORE: &str = r#"
  [[vpc.prefix_list]]
  name = "storage"
  entries = ["192.0.2.0/24"]

  [[vpc.endpoint]]
  name = "storage"
  type = "gateway"
  prefix_lists = ["storage"]
  policy = [{ effect = "allow" }]

  [[vpc.endpoint]]
  name = "mail"
  type = "interface"
  address = "198.51.100.80"
  nat_gateway = "egress"
  interfaces = [{ subnet = "beside", private_ip = "10.20.3.61" }]

  [[vpc.endpoint]]
  name = "db"
"#;

fn stand(hook: Hook, service: &str) -> Standing<Two> {
    let (lab, text) = texts(hook, &["first"], service);
    let to_nat = "routes = [{ destination = \"0.0.0.0/0\", target = \"nat-gateway:egress\" }";
    assert!(text.contains(to_nat), "{text}");
    let route = ", { destination = \"prefix-list:storage\", target = \"endpoint:storage\" }";
    let text = text
        .replacen("\n  [[vpc.endpoint]]\n  name = \"db\"\n", MORE, 1)
        .replacen(to_nat, &format!("{to_nat}{route}"), 1);
    Standing::on(lab.site.edge.clone(), lab, &text)
}

impl Standing<Two> {
    fn said(&self, arguments: &[&str]) -> String {
        let said = self.nat.finish(arguments).expect("an end");
        said.success().expect("done")
    }

    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.said(&[arguments, &["--json"]].concat());
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn fails(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let said = self.nat.finish(arguments).expect("an end");
        (said.code, said.stderr)
    }
}

/// The only one of these with this name and type.
fn one<'o>(objects: &'o [Value], key: &str, name: &str) -> &'o Value {
    let mut its = objects.iter().filter(|each| each[key] == name);
    let (found, other) = (its.next(), its.next());
    assert_eq!(other, None, "{objects:?}");
    found.unwrap_or_else(|| panic!("no {key} {name} in {objects:?}"))
}

/// `nat endpoints` and the others tell endpoints, load balancers, NAT gateways and instances apart; none of them
/// needs a controller.
pub fn endpoints_are_shown_as_they_are_held(hook: Hook) {
    let mut standing = stand(hook, OPEN);
    let [consumer, provider] = &standing.lab.vpcs;
    let server = Server::on(&provider.a);
    server.assert_sees(&consumer.a, ENDPOINT, by_node());
    server.assert_sees(&provider.web, NODE, by_node());
    let outside = Server::on(&standing.lab.site.internet);
    let [tcp, udp, _] = super::reached::from("198.51.100.10");
    outside.assert_sees(
        &consumer.a,
        "10.20.3.61",
        [tcp, udp, super::reached::Seen::Nothing],
    );
    standing.kill_nine();

    let all = standing.objects(&["endpoints"]);
    assert_eq!(all.len(), 4, "{all:?}");
    let of_consumer = standing.objects(&["endpoints", "--vpc", "vpc-0"]);
    assert_eq!(of_consumer.len(), 3, "{of_consumer:?}");
    let db = one(&of_consumer, "name", "db");
    let expected = json!({"address": ENDPOINT, "subnet": "beside", "security_groups": []});
    assert_eq!(
        (&db["type"], &db["state"]),
        (&json!("interface"), &json!("available"))
    );
    assert_eq!(db["addresses"], json!([expected]));
    assert_eq!(db["sessions"], 2, "{db}");
    let offer = &db["offers"][0];
    assert_eq!(
        (&offer["protocol"], &offer["port"]),
        (&json!("tcp"), &json!(8080))
    );
    assert_eq!(
        (&offer["target_vpc"], &offer["target_group"]),
        (&json!("vpc-1"), &json!("tcp"))
    );
    let target = json!({"address": A, "port": 8080, "state": "active"});
    assert_eq!(offer["targets"], json!([target]));
    assert_eq!(db["offers"][1]["target_group"], "udp");
    let storage = one(&of_consumer, "name", "storage");
    assert_eq!(storage["type"], "gateway");
    assert_eq!(storage["addresses"], json!([]));
    let route = json!({"route_table": "private", "destination": "192.0.2.0/24"});
    assert!(
        storage["routes"]
            .as_array()
            .expect("routes")
            .contains(&route),
        "{storage}"
    );
    let mail = one(&of_consumer, "name", "mail");
    assert_eq!(mail["offers"][0]["address"], "198.51.100.80");
    assert_eq!(mail["offers"][0]["nat_gateway"], "egress");
    assert_eq!(mail["sessions"], 2, "{mail}");
    let balancer = one(&all, "type", "load-balancer");
    assert_eq!(
        (&balancer["vpc"], &balancer["sessions"]),
        (&json!("vpc-1"), &json!(2))
    );
    let text = standing.said(&["endpoints"]);
    for line in [
        "vpc-0/db, interface, available, 2 session(s)",
        "  everything: 198.51.100.80 by nat-gateway:egress",
        "  for 192.0.2.0/24 in private",
        "    10.20.2.10:8080  active",
    ] {
        assert!(text.lines().any(|each| each == line), "{line} in\n{text}");
    }
    assert_eq!(
        standing.fails(&["endpoints", "--vpc", "nowhere"]).0,
        Some(2)
    );

    let routes = standing.said(&["routes"]);
    assert!(routes.contains("endpoint:storage"), "{routes}");
    assert!(!routes.contains("nat-gateway:endpoint"), "{routes}");
    assert!(!routes.contains('#'), "policies are no tables:\n{routes}");
    let instances = standing.objects(&["instances"]);
    let mut hosts: Vec<_> = instances
        .iter()
        .filter_map(|each| each["private_ip"].as_str())
        .collect();
    hosts.sort_unstable();
    assert_eq!(hosts, [super::WEB, super::WEB, A, B]);
    let ports = standing.objects(&["ports"]);
    let public: Vec<_> = ports
        .iter()
        .filter_map(|each| each["public_ip"].as_str())
        .collect();
    assert_eq!(public, ["198.51.100.10", "198.51.100.11"], "{ports:?}");
    assert_eq!(standing.status()["ports"].as_array().map(Vec::len), Some(2));

    let dumped = standing.objects(&["maps", "dump", "TARGET_TABLES"]);
    assert_eq!(dumped.len(), 2, "{dumped:?}");
    assert_eq!(dumped[0]["value"]["targets"][0]["slots"], 4096);
    let dumped = standing.objects(&["maps", "dump", "LISTENERS"]);
    // Those that are checked have one for the services alone.
    let is_offered = |entry: &&Value| entry["key"]["gateway"].as_u64() < Some(4096);
    assert_eq!(dumped.iter().filter(is_offered).count(), 5, "{dumped:?}");
    assert!(
        standing
            .said(&["maps", "dump", "NAMES"])
            .contains("kind=target_group")
    );

    let metrics = standing.objects(&["metrics"]);
    assert_eq!(metrics.len(), 6, "{metrics:?}");
    let db = one(&metrics, "endpoint", "db");
    assert_eq!(
        (&db["type"], &db["NewConnections"]),
        (&json!("interface"), &json!(1))
    );
    let balancer = one(&metrics, "load_balancer", "db");
    // One is the client's, the others are health checks.
    assert!(
        balancer["NewFlowCount_TCP"].as_u64() >= Some(1),
        "{balancer}"
    );
    assert_eq!(balancer["HealthyHostCount"], 2, "one in each group");
    assert_eq!(balancer["UnHealthyHostCount"], 0);
}

/// An operator accepts and rejects endpoints of a service that the file defines; what was decided outlives the
/// controller, and a decision that is taken back leaves the file's word.
pub fn endpoints_are_accepted_and_rejected_at_run_time(hook: Hook) {
    let mut standing = stand(hook, "");
    let sees = |standing: &Standing<Two>, expected| {
        let server = Server::on(&standing.lab.vpcs[1].a);
        server.assert_sees(&standing.lab.vpcs[0].a, ENDPOINT, expected);
    };
    let state = |standing: &Standing<Two>| {
        let services = standing.objects(&["services"]);
        let service = one(&services, "name", "db");
        assert_eq!(service["acceptance_required"], true);
        let endpoints = service["endpoints"].as_array().expect("endpoints");
        assert_eq!(endpoints.len(), 1, "{service}");
        endpoints[0]["state"].as_str().expect("a state").to_owned()
    };
    let held = |standing: &Standing<Two>| {
        let all = standing.objects(&["endpoints", "--vpc", "vpc-0"]);
        one(&all, "name", "db")["state"].clone()
    };
    assert_eq!(state(&standing), "pendingAcceptance");
    assert_eq!(held(&standing), "unavailable");
    sees(&standing, NOTHING);

    standing.said(&["services", "accept", "vpc-1/db", "vpc-0/db"]);
    assert_eq!(state(&standing), "available");
    assert_eq!(held(&standing), "available");
    sees(&standing, by_node());
    standing.kill_nine();
    standing.start(&[]);
    assert_eq!(state(&standing), "available");
    let [consumer, provider] = &standing.lab.vpcs;
    let listener = provider.a.listen("0.0.0.0:8080").expect("a server");
    let (from, to) = (format!("{A}:40001"), format!("{ENDPOINT}:8080"));
    let held = Connection::open(&consumer.a, &from, &to, &listener).expect("a connection");
    held.exchange().expect("before it is rejected");
    drop(listener);
    standing.said(&["services", "reject", "vpc-1/db", "vpc-0/db"]);
    assert_eq!(state(&standing), "rejected");
    assert!(held.exchange().is_err(), "its endpoint is rejected");
    sees(&standing, NOTHING);
    let services = standing.said(&["services"]);
    let line = "  vpc-0/db  rejected  by vpc-1/endpoint_acceptance/db.vpc-0.db";
    assert!(services.lines().any(|each| each == line), "{services}");
    standing.said(&["delete", "vpc-1/endpoint_acceptance/db.vpc-0.db"]);
    assert_eq!(state(&standing), "pendingAcceptance");

    for (arguments, code, expected) in [
        (
            ["vpc-1/web", "vpc-0/db"],
            1,
            "there is no endpoint service vpc-1/web",
        ),
        (
            ["vpc-1/db", "vpc-0/none"],
            1,
            "there is no endpoint vpc-0/none",
        ),
        (
            ["vpc-1/db", "vpc-0/mail"],
            1,
            "does not ask for service vpc-1/db",
        ),
        (
            ["db", "vpc-0/db"],
            2,
            "write two names with a slash between them",
        ),
    ] {
        let (status, message) = standing.fails(&["services", "accept", arguments[0], arguments[1]]);
        assert_eq!(status, Some(code), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    standing.assert_running();
}
