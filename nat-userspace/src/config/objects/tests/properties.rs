//! Who owns an object, and in which order objects came, makes no difference.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::{again, db, gateway, key, sample, source, spec};
use crate::config::objects::{File, Kind, Layers, ObjectKey, Objects};
use crate::config::{
    Config, parse,
    place::Report,
    tests::{EVERYTHING, METADATA, PLACEMENT, PUBLIC_IPS, SAMPLE, ended, filtered},
    toml,
};

/// Each object of the file either stays there or is put by the API.
fn split(whole: &str, keep: impl Fn(usize) -> bool) -> (String, Objects) {
    let first = whole.find("  [[vpc.subnet]]").expect("an object");
    let (base, rest) = whole.split_at(first);
    let all = Layers::load(source(whole), Objects::new(), BTreeSet::new()).expect("valid");
    let keys_of = |text: &str| {
        let document = toml::parse(text).expect("TOML");
        File::of(&document, &Report::new("", text)).objects
    };
    let of_base = keys_of(base);
    let mut text = base.to_owned();
    let mut objects = Objects::new();
    for (number, part) in rest.split("\n\n").enumerate() {
        if keep(number) {
            text.push_str(part);
            text.push_str("\n\n");
            continue;
        }
        for key in keys_of(&format!("{base}{part}")).into_keys() {
            if !of_base.contains_key(&key) {
                let spec = all.find(&key).expect("is there").spec.to_owned();
                objects.insert(key, spec);
            }
        }
    }
    (text, objects)
}

/// Objects of every kind with every setting, and a second gateway that is routed to. A blank line stands
/// between two objects.
fn whole() -> String {
    let of_private = "target = \"nat-gateway:egress\" }]";
    let with_other = "target = \"nat-gateway:egress\" }, { destination = \"192.0.3.0/24\", target = \"nat-gateway:other\" }]";
    let of_public = "route_table = \"public\"";
    let text = filtered(&[
        (PUBLIC_IPS, EVERYTHING),
        (of_private, with_other),
        (
            of_public,
            "route_table = \"public\"\n  network_acl = \"closed\"",
        ),
    ]);
    let (_, placed) = PLACEMENT.split_once("\n\n").expect("a second object");
    let (own, _) = METADATA.split_once("\n\n").expect("a second object");
    let described = format!(
        "[[vpc.instance]]\nname = \"told\"\nsubnet = \"private-a\"\nprivate_ip = \"10.40.2.20\"\n{own}"
    );
    text + r#"
  [[vpc.nat_gateway]]
  name = "other"
  subnet = "public-a"
  private_ip = "10.20.1.101"
  public_ips = ["198.51.100.12"]

"# + placed
        + "\n"
        + &described
}

/// The sample with endpoints, the objects of one of its VPCs as `split` takes them and those of the other at the
/// beginning.
fn of_two_vpcs(first: &str) -> String {
    let text = ended(&[("\n\n  [vpc.target", "\n  [vpc.target")]);
    let (node, rest) = text.split_once("[[vpc]]").expect("a VPC");
    let (main, shared) = rest.split_once("[[vpc]]").expect("another VPC");
    let (first, second) = if first == "main" {
        (main, shared)
    } else {
        (shared, main)
    };
    let first = first.replace("\n  ", "\n");
    format!("{node}[[vpc]]{first}\n[[vpc]]{}\n", second.trim_end())
}

/// With every list by name: the API's come behind the file's.
fn sorted(config: &Config) -> Config {
    let mut config = config.clone();
    for vpc in &mut config.vpcs {
        vpc.subnets.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.route_tables.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.nat_gateways.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.instances.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.prefix_lists.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.security_groups.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.network_acls.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.racks.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.placement_groups.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.target_groups.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.load_balancers.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.endpoint_services.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.endpoint_acceptances.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.proxies.sort_by(|a, b| a.name.cmp(&b.name));
    }
    config
}

proptest! {
    #[test]
    fn who_owns_an_object_makes_no_difference(of_file in prop::collection::vec(any::<bool>(), 30)) {
        let text = whole();
        let whole = parse("whole.toml", &text).expect("valid");
        let (text, objects) = split(&text, |number| of_file[number]);
        let count = of_file.iter().filter(|of_file| !**of_file).count();
        prop_assert_eq!(objects.len(), count);
        let layers = Layers::load(source(&text), objects, BTreeSet::new()).expect("valid");
        prop_assert_eq!(sorted(layers.config()), sorted(&whole));
    }

    #[test]
    fn who_owns_endpoints_and_what_they_lead_to_makes_no_difference(
        of_file in prop::collection::vec(any::<bool>(), 20),
        first in prop::sample::select(&["main", "shared"][..]),
    ) {
        let text = of_two_vpcs(first);
        let whole = parse("whole.toml", &text).expect("valid");
        let (text, objects) = split(&text, |number| of_file[number]);
        let layers = Layers::load(source(&text), objects, BTreeSet::new()).expect("valid");
        prop_assert_eq!(sorted(layers.config()), sorted(&whole));
    }

    /// Whatever the order of changes: what is accepted loads again to the same, what is refused
    /// leaves it as it was, and a change of one object is judged as the whole would be.
    #[test]
    fn changes_one_by_one_come_to_the_same_as_all_at_once(
        steps in prop::collection::vec((0usize..CHOICES, any::<bool>(), any::<bool>()), 1..24),
    ) {
        let mut layers = sample();
        for (which, delete, undo) in steps {
            let (key, object) = choice(which);
            let before = layers.config().clone();
            let mut objects = layers.objects().clone();
            let done = if delete {
                layers.delete(&key).map(Some)
            } else {
                objects.insert(key.clone(), Json::Object(object.clone()).to_string());
                layers.put(&key, object)
            };
            match done {
                Ok(change) => {
                    prop_assert_eq!(layers.config(), &again(&layers));
                    if let (Some(change), true) = (change, undo) {
                        layers.undo(change);
                        prop_assert_eq!(layers.config(), &before);
                        prop_assert_eq!(layers.config(), &again(&layers));
                    }
                }
                Err(_) => {
                    prop_assert_eq!(layers.config(), &before);
                    if !delete {
                        let whole = Layers::load(source(SAMPLE), objects, layers.gone().clone());
                        prop_assert!(whole.is_err());
                    }
                }
            }
        }
    }
}

/// Values of every sort, right ones among them, under keys that are known and others.
fn any_object() -> impl Strategy<Value = Map<String, Json>> {
    const TEXTS: &[&str] = &[
        "private-a",
        "10.40.2.7",
        "10.20.0.0/16",
        "tcp",
        "80",
        "nat-gateway:egress",
        "allow",
        "interface",
        "main/x",
        "endpoint:x",
        "",
        "\u{0}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        prop::sample::select(TEXTS).prop_map(Json::from),
    ];
    const KEYS: &[&str] = &[
        "name",
        "subnet",
        "private_ip",
        "public_ips",
        "cidr",
        "cidrs",
        "routes",
        "ingress",
        "egress",
        "rule",
        "protocol",
        "ports",
        "source",
        "target",
        "destination",
        "route_table",
        "entries",
        "strategy",
        "host",
        "interface",
        "metadata",
        "dns",
        "private_domain",
        "tags",
        "id",
        "type",
        "service",
        "policy",
        "prefix_lists",
        "interfaces",
        "listeners",
        "targets",
        "health_check",
        "instance",
        "accepted",
        "a b",
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop::sample::select(KEYS).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    });
    let key = prop::sample::select(KEYS).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..5).prop_map(|map| map.into_iter().collect())
}

proptest! {
    /// Whatever is put: it is refused and nothing changes, or it holds.
    #[test]
    fn nonsense_is_refused(kind in prop::sample::select(Kind::ALL.as_slice()), object in any_object()) {
        let mut layers = sample();
        let before = layers.config().clone();
        let key = match kind {
            Kind::Vpc => ObjectKey::vpc("dev"),
            kind => ObjectKey::new("main", kind, "x"),
        };
        match layers.put(&key, object) {
            Ok(_) => prop_assert_eq!(layers.config(), &again(&layers)),
            Err(_) => prop_assert_eq!(layers.config(), &before),
        }
    }
}

/// Of [`choice`].
const CHOICES: usize = 54;

const ID: &str = "i-0123456789abcdef0";

fn choice(which: usize) -> (ObjectKey, Map<String, Json>) {
    let route = |table: &str, to: &str, target: &str| json!({"route_table": table, "destination": to, "target": target});
    let table =
        |target: &str| json!({"routes": [{"destination": "192.0.9.0/24", "target": target}]});
    let (name, object) = match which {
        0 => (
            "main/instance/db",
            json!({"subnet": "private-a", "private_ip": "10.40.2.5"}),
        ),
        1 => (
            "main/instance/db",
            json!({"subnet": "own", "private_ip": "10.20.7.5"}),
        ),
        2 => (
            "main/instance/app",
            json!({"subnet": "private-a", "private_ip": "10.40.2.5"}),
        ),
        3 => ("main/nat_gateway/second", Json::Object(gateway())),
        4 => (
            "main/nat_gateway/second",
            json!({"subnet": "own", "private_ip": "10.20.7.6"}),
        ),
        5 => (
            "main/route/a",
            route("private", "192.0.2.0/24", "nat-gateway:second"),
        ),
        6 => ("main/route/a", route("own", "192.0.2.0/24", "blackhole")),
        7 => (
            "main/route/b",
            route("own", "192.0.9.0/24", "nat-gateway:egress"),
        ),
        8 => ("main/route_table/own", table("nat-gateway:second")),
        9 => ("main/route_table/own", table("internet-gateway")),
        10 => (
            "main/subnet/own",
            json!({"cidr": "10.20.7.0/24", "interface": "br-own"}),
        ),
        11 => (
            "main/subnet/own",
            json!({"cidr": "10.20.8.0/24", "interface": "br-own", "route_table": "own"}),
        ),
        12 => ("dev/vpc/dev", json!({"cidrs": ["10.60.0.0/16"]})),
        33 => (
            "dev/vpc/dev",
            json!({"cidrs": ["10.60.0.0/16"], "dns": false, "private_domain": "Dev.example.net"}),
        ),
        13 => ("main/prefix_list/far", json!({"entries": ["192.0.9.0/24"]})),
        14 => (
            "main/prefix_list/far",
            json!({"entries": ["169.254.168.0/24"]}),
        ),
        15 => (
            "main/route/c",
            route("own", "prefix-list:far", "instance:app"),
        ),
        16 => (
            "main/instance/app",
            json!({
                "subnet": "private-a", "private_ip": "10.40.2.7", "source_dest_check": false,
                "mac": "02:00:00:00:00:0a", "security_groups": ["web"],
            }),
        ),
        17 => (
            "main/security_group/web",
            json!({"ingress": [{"protocol": "tcp", "source": "prefix-list:far"}]}),
        ),
        18 => ("main/security_group/web", json!({})),
        19 => ("main/network_acl/default", json!({"ingress": []})),
        20 => ("main/rack/a1", json!({"zone": "a"})),
        21 => ("main/rack/a1", json!({})),
        22 => ("main/host/x", json!({"rack": "a1"})),
        23 => ("main/host/x", json!({"rack": "a1", "capacity": 1})),
        24 => ("main/host/y", json!({"rack": "a1"})),
        25 => ("main/placement_group/g", json!({"strategy": "spread"})),
        26 => (
            "main/placement_group/g",
            json!({"strategy": "spread", "spread_level": "host"}),
        ),
        27 => ("main/placement_group/g", json!({"strategy": "cluster"})),
        28 => (
            "main/instance/app",
            json!({"subnet": "private-a", "private_ip": "10.40.2.7", "placement_group": "g", "host": "x"}),
        ),
        29 => (
            "main/instance/db",
            json!({"subnet": "private-a", "private_ip": "10.40.2.5", "placement_group": "g", "host": "y"}),
        ),
        30 => (
            "main/instance/db",
            json!({"subnet": "private-a", "private_ip": "10.40.2.5", "id": ID, "tags": {"a b": "c"}}),
        ),
        31 => (
            "main/instance/app",
            json!({"subnet": "private-a", "private_ip": "10.40.2.7", "id": ID, "metadata": "required"}),
        ),
        // The one of the sample's own instance.
        32 => (
            "main/instance/app",
            json!({"subnet": "private-a", "private_ip": "10.40.2.7", "id": "i-3d96e7e7f021413aa"}),
        ),
        34 => (
            "main/endpoint/far",
            json!({"type": "gateway", "prefix_lists": ["far"]}),
        ),
        35 => (
            "main/endpoint/far",
            json!({"type": "interface", "address": "192.0.9.9", "interfaces": [{"subnet": "private-a", "private_ip": "10.40.2.5"}]}),
        ),
        36 => (
            "main/route/d",
            route("private", "prefix-list:far", "endpoint:far"),
        ),
        37 => (
            "main/route/d",
            route("private", "192.0.9.128/25", "endpoint:far"),
        ),
        38 => (
            "main/prefix_list/far",
            json!({"entries": ["192.0.9.128/26"]}),
        ),
        39 => (
            "main/endpoint/dev",
            json!({"type": "interface", "service": "dev/x", "interfaces": [{"subnet": "private-a", "private_ip": "10.40.2.8"}]}),
        ),
        40 => (
            "dev/load_balancer/x",
            json!({"subnet": "x", "private_ip": "10.60.7.50", "listeners": [{"protocol": "tcp", "port": 80, "target_group": "x"}]}),
        ),
        41 => (
            "dev/load_balancer/x",
            json!({"subnet": "x", "private_ip": "10.60.7.51"}),
        ),
        42 => ("dev/target_group/x", json!({"protocol": "tcp", "port": 80})),
        43 => (
            "dev/target_group/x",
            json!({"protocol": "udp", "port": 80, "targets": ["x"]}),
        ),
        44 => (
            "dev/instance/x",
            json!({"subnet": "x", "private_ip": "10.60.7.7"}),
        ),
        45 => ("dev/endpoint_service/x", json!({"load_balancer": "x"})),
        46 => (
            "dev/endpoint_service/x",
            json!({"load_balancer": "x", "allowed_vpcs": ["main"], "accepted": ["main/dev"]}),
        ),
        47 => (
            "dev/endpoint_service/x",
            json!({"load_balancer": "x", "allowed_vpcs": []}),
        ),
        48 => ("main/proxy/x", json!({"instance": "app"})),
        49 => (
            "main/proxy/y",
            json!({"instance": "app", "ports": [80], "subnets": ["own"]}),
        ),
        50 => ("main/proxy/y", json!({"instance": "app", "ports": [81]})),
        51 => (
            "dev/endpoint_acceptance/x",
            json!({"service": "x", "endpoint": "main/dev", "accepted": true}),
        ),
        52 => (
            "dev/endpoint_acceptance/y",
            json!({"service": "x", "endpoint": "main/dev", "accepted": false}),
        ),
        _ => (
            "dev/subnet/x",
            json!({"cidr": "10.60.7.0/24", "interface": "dev0"}),
        ),
    };
    (key(name), spec(object))
}

/// One instance beside many objects costs little: what it has nothing to do with is not read again.
#[test]
fn one_object_among_many_is_cheap() {
    const PUTS: u32 = 20;
    let mut text = SAMPLE.replace("10.40.0.0/16", "10.40.0.0/16\", \"10.64.0.0/12");
    for table in 0..200 {
        text.push_str(&format!(
            "[[vpc.route_table]]\nname = \"t{table}\"\nroutes = [\n"
        ));
        for route in 0..500 {
            let (third, fourth) = (route / 2, route % 2 * 128);
            text.push_str(&format!(
                "{{ destination = \"20.{table}.{third}.{fourth}/25\", target = \"nat-gateway:egress\" }},\n",
            ));
        }
        text.push_str("]\n");
    }
    text.push_str(
        "[[vpc.subnet]]\nname = \"many\"\ncidr = \"10.64.0.0/16\"\ninterface = \"br-many\"\n",
    );
    for number in 10..10_010 {
        let (a, b) = (number / 250, number % 250 + 4);
        text.push_str(&format!(
            "[[vpc.instance]]\nname = \"i{number}\"\nsubnet = \"many\"\nprivate_ip = \"10.64.{a}.{b}\"\n"
        ));
    }
    let start = Instant::now();
    let loaded = Layers::load(source(&text), Objects::new(), BTreeSet::new());
    let mut layers = loaded.expect("valid");
    let load = start.elapsed();
    let start = Instant::now();
    for last in 5..5 + PUTS {
        let mut object = db();
        object.insert("private_ip".to_owned(), format!("10.40.2.{last}").into());
        layers
            .put(&key(&format!("main/instance/db{last}")), object)
            .expect("valid");
    }
    let put = start.elapsed() / PUTS;
    println!("load {load:?}, put {put:?}");
    assert!(put * 20 < load, "load {load:?}, put {put:?}");
}
