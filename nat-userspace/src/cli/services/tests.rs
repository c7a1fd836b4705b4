//! Services, their endpoints, and decisions about these.

use serde_json::json;

use super::*;
use crate::config;

const TEXT: &str = r#"
[node]
uplink = ["eth0"]

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16"]

  [[vpc.subnet]]
  name = "a"
  cidr = "10.20.1.0/24"
  interface = "br-main"

  [[vpc.endpoint]]
  name = "db"
  type = "interface"
  service = "shared/db"
  interfaces = [{ subnet = "a", private_ip = "10.20.1.50" }]

  [[vpc.endpoint]]
  name = "other"
  type = "interface"
  service = "shared/db"
  interfaces = [{ subnet = "a", private_ip = "10.20.1.51" }]

  [[vpc.endpoint]]
  name = "mail"
  type = "interface"
  address = "192.0.2.25"
  interfaces = [{ subnet = "a", private_ip = "10.20.1.52" }]

[[vpc]]
name = "shared"
cidrs = ["10.50.0.0/16"]

  [[vpc.subnet]]
  name = "a"
  cidr = "10.50.1.0/24"
  interface = "br-shared"

  [[vpc.load_balancer]]
  name = "db"
  subnet = "a"
  private_ip = "10.50.1.50"

  [[vpc.endpoint_service]]
  name = "db"
  load_balancer = "db"
  allowed_vpcs = ["main"]
  accepted = ["main/db"]
"#;

fn vpcs() -> Vec<Vpc> {
    config::parse("f", TEXT).expect("valid").vpcs
}

fn decision(service: &str, endpoint: &str) -> Decision {
    Decision {
        service: pair(service).expect("a pair"),
        endpoint: pair(endpoint).expect("a pair"),
    }
}

fn decide(vpcs: &mut [Vpc], name: &str, endpoint: &str, accepted: bool) {
    vpcs[1]
        .endpoint_acceptances
        .push(config::EndpointAcceptance {
            name: name.to_owned(),
            service: "db".to_owned(),
            endpoint: endpoint.to_owned(),
            accepted,
        });
}

#[test]
fn a_service_says_who_asks_for_it() {
    let mut vpcs = vpcs();
    decide(&mut vpcs, "x", "main/other", false);
    let records = records(&vpcs);
    assert_eq!(
        serde_json::to_value(&records[0]).expect("JSON"),
        json!({
            "vpc": "shared", "name": "db", "load_balancer": "db", "acceptance_required": true,
            "allowed_vpcs": ["main"],
            "endpoints": [
                {"vpc": "main", "name": "db", "state": "available", "acceptance": null},
                {"vpc": "main", "name": "other", "state": "rejected",
                    "acceptance": "shared/endpoint_acceptance/x"},
            ],
        })
    );
    let mut out = Vec::new();
    text(&mut out, &records[0]).expect("text");
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        "shared/db, load balancer db, acceptance required, for main\n  main/db     available\n  \
         main/other  rejected   by shared/endpoint_acceptance/x\n"
    );
}

#[test]
fn a_decision_holds_above_the_lists_of_the_service() {
    let mut vpcs = vpcs();
    let state = |vpcs: &[Vpc]| vpcs[1].state_of("db", "main", "db");
    assert_eq!(state(&vpcs), Some(EndpointState::Available));
    decide(&mut vpcs, "x", "main/db", false);
    assert_eq!(state(&vpcs), Some(EndpointState::Rejected));
    assert_eq!(vpcs[1].state_of("mail", "main", "db"), None);
}

#[test]
fn the_next_decision_about_an_endpoint_takes_the_place_of_the_last() {
    let mut vpcs = vpcs();
    let key = |vpcs: &[Vpc]| {
        let key = acceptance(vpcs, &decision("shared/db", "main/other"));
        key.unwrap_or_else(|failure| panic!("{}", failure.into_text()))
    };
    let name = key(&vpcs).to_string();
    assert_eq!(name, "shared/endpoint_acceptance/db.main.other");
    decide(&mut vpcs, "by-hand", "main/other", true);
    assert_eq!(key(&vpcs).name, "by-hand");
}

#[test]
fn nothing_is_decided_about_what_is_not_there() {
    for (service, endpoint, expected) in [
        ("nowhere/db", "main/db", "there is no VPC nowhere"),
        ("shared/db", "nowhere/db", "there is no VPC nowhere"),
        (
            "shared/web",
            "main/db",
            "there is no endpoint service shared/web",
        ),
        ("shared/db", "main/web", "there is no endpoint main/web"),
        (
            "shared/db",
            "main/mail",
            "endpoint main/mail does not ask for service shared/db",
        ),
    ] {
        let Err(Failure::Failed(text)) = acceptance(&vpcs(), &decision(service, endpoint)) else {
            panic!("{service} and {endpoint}");
        };
        assert!(text.starts_with(expected), "{text}");
    }
    for text in ["db", "a/b/c", "/db", "shared/", "a b/c"] {
        assert!(pair(text).is_err(), "{text}");
    }
}

#[test]
fn names_of_decisions_are_names_and_differ() {
    let name = |service: &str, endpoint: &str| name_for(service, &pair(endpoint).expect("a pair"));
    let long = "n".repeat(64);
    let names = [
        name("db", "main/db"),
        name("a.b", "c/d"),
        name("a", "b.c/d"),
        name(&long, &format!("{long}/{long}")),
    ];
    for (index, name) in names.iter().enumerate() {
        assert!(
            ObjectKey::new("main", Kind::EndpointAcceptance, name).is_valid(),
            "{name}"
        );
        assert!(!names[..index].contains(name), "{name}");
    }
}
