use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::{File, Kind, Layers, ObjectKey, Objects, Refusal, Source, What, difference};
use crate::config::{Config, Target, parse, tests::SAMPLE};

fn key(text: &str) -> ObjectKey {
    text.parse().expect("a key")
}

fn spec(json: Json) -> Map<String, Json> {
    json.as_object().expect("an object").clone()
}

fn source(text: &str) -> Source {
    Source {
        name: "file.toml".to_owned(),
        text: text.to_owned(),
    }
}

fn sample() -> Layers {
    Layers::load(source(SAMPLE), Objects::new(), BTreeSet::new()).expect("valid")
}

fn db() -> Map<String, Json> {
    spec(json!({"subnet": "private-a", "private_ip": "10.40.2.5"}))
}

/// Loads the same file and objects anew: the configuration must be the same.
fn again(layers: &Layers) -> Config {
    let loaded = Layers::load(
        layers.source().clone(),
        layers.objects().clone(),
        layers.gone().clone(),
    );
    loaded.expect("what was accepted loads").config().clone()
}

fn gateway() -> Map<String, Json> {
    spec(
        json!({"subnet": "public-a", "private_ip": "10.20.1.101", "public_ips": ["198.51.100.30"]}),
    )
}

#[test]
fn an_object_joins_those_of_the_file_and_goes_again() {
    let mut layers = sample();
    let before = layers.config().clone();
    let db = key("main/instance/db");
    let change = layers.put(&db, self::db()).expect("valid").expect("new");
    assert_eq!(layers.config().vpcs[0].instances[1].name, "db");
    assert_eq!(layers.config(), &again(&layers));
    assert!(layers.put(&db, self::db()).expect("valid").is_none());
    layers.undo(change);
    assert_eq!(layers.config(), &before);
    assert!(layers.objects().is_empty());
    layers.put(&db, self::db()).expect("valid");
    layers.delete(&db).expect("is there");
    assert_eq!(layers.config(), &before);
    assert!(matches!(layers.delete(&db), Err(Refusal::Missing)));
}

#[test]
fn what_is_the_files_stays_the_files() {
    let mut layers = sample();
    let web = key("main/instance/web");
    for refusal in [layers.put(&web, db()).err(), layers.delete(&web).err()] {
        let Some(Refusal::OfTheFile { file, line }) = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!((file.as_str(), line), ("file.toml", 39));
    }
    let mut objects = Objects::new();
    objects.insert(web, Json::Object(db()).to_string());
    let errors = Layers::load(source(SAMPLE), objects, BTreeSet::new()).err();
    let text = errors.expect("refused").to_string();
    assert!(text.contains("file.toml:39 declares it, too"), "{text}");
    assert!(text.contains("delete main/instance/web"), "{text}");
}

#[test]
fn a_mistake_changes_nothing_and_is_told_with_its_key() {
    let mut layers = sample();
    let before = layers.config().clone();
    let db = key("main/instance/db");
    for (object, expected) in [
        (
            json!({"subnet": "private-b", "private_ip": "10.40.2.5"}),
            "did you mean \"private-a\"",
        ),
        (
            json!({"subnet": "private-a", "private_ip": "10.40.2.5", "colour": 1}),
            "unknown key",
        ),
        (
            json!({"subnet": "private-a", "private_ip": null}),
            "null stands for nothing",
        ),
        (
            json!({"subnet": "private-a", "private_ip": "10.20.1.10"}),
            "10.20.1.10",
        ),
        (
            json!({"name": "dc", "subnet": "private-a", "private_ip": "10.40.2.5"}),
            "another name",
        ),
        (
            json!({"subnet": "public-a", "private_ip": "10.20.1.10"}),
            "line ",
        ),
    ] {
        let Err(Refusal::Invalid(errors)) = layers.put(&db, spec(object)) else {
            panic!("{expected} was accepted");
        };
        let text = errors.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("vpc \"main\" / instance \"db\""), "{text}");
        assert_eq!(layers.config(), &before);
    }
    let elsewhere = layers.put(&key("other/instance/db"), self::db());
    assert!(matches!(elsewhere, Err(Refusal::Invalid(_))));
}

#[test]
fn a_file_that_leaves_an_object_dangling_is_refused() {
    let mut layers = sample();
    layers.put(&key("main/instance/db"), db()).expect("valid");
    let without = SAMPLE.replace("private-a", "private-b");
    let errors = Layers::load(source(&without), layers.objects().clone(), BTreeSet::new());
    let text = errors.err().expect("refused").to_string();
    assert!(
        text.contains("API: vpc \"main\" / instance \"db\" / subnet: there is no subnet"),
        "{text}"
    );
}

#[test]
fn routes_join_a_table_of_any_owner() {
    let mut layers = sample();
    let route = |table: &str, to: &str| {
        spec(json!({"route_table": table, "destination": to, "target": "nat-gateway:egress"}))
    };
    let office = key("main/route/office");
    layers
        .put(&office, route("private", "192.0.2.0/24"))
        .expect("valid");
    layers
        .put(&key("main/route/lab"), route("private", "192.0.3.0/24"))
        .expect("valid");
    assert_eq!(layers.config().vpcs[0].route_tables[1].routes.len(), 3);
    assert_eq!(layers.config(), &again(&layers));
    for wrong in [
        route("private", "0.0.0.0/0"),
        route("nowhere", "192.0.2.0/24"),
    ] {
        assert!(matches!(
            layers.put(&office, wrong),
            Err(Refusal::Invalid(_))
        ));
        assert_eq!(layers.config(), &again(&layers));
    }
    let own = key("main/route_table/own");
    let blackhole =
        |to: &str| spec(json!({"routes": [{"destination": to, "target": "blackhole"}]}));
    layers.put(&own, blackhole("10.0.0.0/8")).expect("valid");
    layers
        .put(&office, route("own", "192.0.2.0/24"))
        .expect("moves");
    layers.put(&own, blackhole("11.0.0.0/8")).expect("valid");
    let own_table = &layers.config().vpcs[0].route_tables[2];
    assert_eq!(own_table.routes.len(), 2);
    assert_eq!(layers.config(), &again(&layers));
    let clash = layers.put(&own, blackhole("192.0.2.0/24"));
    assert!(matches!(clash, Err(Refusal::Invalid(_))));
    let Err(Refusal::Needed(errors)) = layers.delete(&own) else {
        panic!("a table with a route in it was deleted");
    };
    assert!(errors.to_string().contains("main/route/office is in it"));
    assert_eq!(layers.config(), &again(&layers));
}

#[test]
fn routes_to_what_is_gone_are_blackholes_until_it_is_there_again() {
    let mut layers = sample();
    let second = key("main/nat_gateway/second");
    layers.put(&second, gateway()).expect("valid");
    let to_it = json!({"route_table": "private", "destination": "192.0.2.0/24", "target": "nat-gateway:second"});
    layers
        .put(&key("main/route/office"), spec(to_it))
        .expect("valid");
    let target = |layers: &Layers| {
        layers.config().vpcs[0].route_tables[1].routes[1]
            .target
            .clone()
    };
    let there = Target::NatGateway("second".to_owned());
    assert_eq!(target(&layers), there);
    let change = layers.delete(&second).expect("may go");
    assert_eq!(target(&layers), Target::Blackhole);
    assert_eq!(
        layers.routes_to(&second),
        [("private".to_owned(), "192.0.2.0/24".to_owned())]
    );
    assert_eq!(layers.config(), &again(&layers));
    layers.undo(change);
    assert_eq!(target(&layers), there);
    layers.delete(&second).expect("may go");
    // A file may lead to it, too, as long as it is remembered.
    let file = SAMPLE.replace(
        "target = \"nat-gateway:egress\" }",
        "target = \"nat-gateway:egress\" }, { destination = \"192.0.4.0/24\", target = \"nat-gateway:second\" }",
    );
    let load =
        |gone: &BTreeSet<_>| Layers::load(source(&file), layers.objects().clone(), gone.clone());
    let loaded = load(layers.gone()).expect("valid");
    assert_eq!(
        loaded.config().vpcs[0].route_tables[1].routes[1].target,
        Target::Blackhole
    );
    assert!(load(&BTreeSet::new()).is_err());
    layers.put(&second, gateway()).expect("valid");
    assert_eq!(target(&layers), there);
    assert!(layers.gone().is_empty());
    assert_eq!(layers.config(), &again(&layers));
}

#[test]
fn a_vpc_of_the_api_has_parts_of_its_own_and_goes_last() {
    let mut layers = sample();
    let before = layers.config().clone();
    let vpc = ObjectKey::vpc("dev");
    layers
        .put(&vpc, spec(json!({"cidrs": ["10.60.0.0/16"]})))
        .expect("valid");
    let subnet = key("dev/subnet/a");
    layers
        .put(
            &subnet,
            spec(json!({"cidr": "10.60.1.0/24", "interface": "dev0"})),
        )
        .expect("valid");
    layers
        .put(
            &vpc,
            spec(json!({"cidrs": ["10.60.0.0/16"], "strict": true})),
        )
        .expect("valid");
    assert_eq!(layers.config(), &again(&layers));
    let smaller = layers.put(&vpc, spec(json!({"cidrs": ["10.30.0.0/16"]})));
    assert!(matches!(smaller, Err(Refusal::Invalid(_))));
    let with_parts = layers.put(&vpc, spec(json!({"cidrs": ["10.60.0.0/16"], "subnet": []})));
    assert!(matches!(with_parts, Err(Refusal::Invalid(_))));
    assert!(matches!(layers.delete(&vpc), Err(Refusal::Needed(_))));
    layers.delete(&subnet).expect("nothing needs it");
    layers.delete(&vpc).expect("it is empty");
    assert_eq!(layers.config(), &before);
}

#[test]
fn a_difference_names_objects_and_fields() {
    let other = SAMPLE
        .replace("10.20.1.10\"", "10.20.1.11\"")
        .replace(
            "routes = [{ destination = \"0.0.0.0/0\", target = \"nat-gateway:egress\" }]",
            "routes = []",
        )
        .replace("name = \"edge-1\"", "name = \"edge-2\"")
        .replace("name = \"private-a\"", "name = \"private-b\"");
    let (before, after) = (
        sample(),
        Layers::load(source(&other), Objects::new(), BTreeSet::new()),
    );
    let changes = difference(before.file(), after.expect("valid").file());
    let named: Vec<_> = changes
        .iter()
        .map(|change| (change.object.as_str(), change.what))
        .collect();
    assert_eq!(
        named,
        [
            ("node", What::Changed),
            ("main/route_table/private", What::Changed),
            ("main/subnet/private-a", What::Removed),
            ("main/subnet/private-b", What::Added),
            ("main/instance/web", What::Changed),
        ]
    );
    assert_eq!(changes[1].fields.len(), 1);
    assert_eq!(changes[1].fields[0].after, None);
    assert_eq!(changes[4].fields[0].before, Some(json!("10.20.1.10")));
    assert!(difference(before.file(), before.file()).is_empty());
}

/// Each object of the file either stays there or is put by the API.
fn split(keep: impl Fn(usize) -> bool) -> (String, Objects) {
    let (base, rest) = WHOLE.split_once("#objects\n").expect("a mark");
    let all = Layers::load(source(WHOLE), Objects::new(), BTreeSet::new()).expect("valid");
    let mut text = base.to_owned();
    let mut objects = Objects::new();
    for (number, part) in rest.split("\n\n").enumerate() {
        if keep(number) {
            text.push_str(part);
            text.push_str("\n\n");
            continue;
        }
        let alone = format!("{base}{part}");
        let document = toml_edit::Document::parse(alone.as_str()).expect("TOML");
        let report = crate::config::place::Report::new("", &alone);
        for key in File::of(&document, &report).objects.into_keys() {
            if key.kind != Kind::Vpc {
                let spec = all.find(&key).expect("is there").spec.to_owned();
                objects.insert(key, spec);
            }
        }
    }
    (text, objects)
}

const WHOLE: &str = r#"[node]
uplink = ["eth0"]

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true
#objects
[[vpc.subnet]]
name = "public-a"
cidr = "10.20.1.0/24"
interface = "br-public"
route_table = "public"

[[vpc.subnet]]
name = "private-a"
cidr = "10.40.2.0/24"
interface = "br-private"
route_table = "private"

[[vpc.route_table]]
name = "public"
routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]

[[vpc.route_table]]
name = "private"
routes = [{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }, { destination = "192.0.2.0/24", target = "nat-gateway:other" }]

[[vpc.nat_gateway]]
name = "egress"
subnet = "public-a"
private_ip = "10.20.1.100"
public_ips = ["198.51.100.10"]
profile = "rfc"
no_translate = [{ destination = "192.0.2.0/24", protocol = "tcp", ports = "443" }]

[[vpc.nat_gateway]]
name = "other"
subnet = "public-a"
private_ip = "10.20.1.101"
public_ips = ["198.51.100.11"]

[[vpc.instance]]
name = "web"
subnet = "public-a"
private_ip = "10.20.1.10"
public_ip = "198.51.100.20"

[[vpc.instance]]
name = "db"
subnet = "private-a"
private_ip = "10.40.2.5"
"#;

/// With every list by name: the API's come behind the file's.
fn sorted(config: &Config) -> Config {
    let mut config = config.clone();
    for vpc in &mut config.vpcs {
        vpc.subnets.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.route_tables.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.nat_gateways.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.instances.sort_by(|a, b| a.name.cmp(&b.name));
    }
    config
}

proptest! {
    #[test]
    fn who_owns_an_object_makes_no_difference(of_file in prop::collection::vec(any::<bool>(), 8)) {
        let whole = parse("whole.toml", WHOLE).expect("valid");
        let (text, objects) = split(|number| of_file[number]);
        let count = of_file.iter().filter(|of_file| !**of_file).count();
        prop_assert_eq!(objects.len(), count);
        let layers = Layers::load(source(&text), objects, BTreeSet::new()).expect("valid");
        prop_assert_eq!(sorted(layers.config()), sorted(&whole));
    }

    /// Whatever the order of changes: what is accepted loads again to the same, what is refused
    /// leaves it as it was, and a change of one object is judged as the whole would be.
    #[test]
    fn changes_one_by_one_come_to_the_same_as_all_at_once(
        steps in prop::collection::vec((0usize..14, any::<bool>(), any::<bool>()), 1..24),
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
    let mut text = SAMPLE.replace("10.40.0.0/16", "10.40.0.0/16\", \"10.64.0.0/12");
    for table in 0..200 {
        text.push_str(&format!(
            "[[vpc.route_table]]\nname = \"t{table}\"\nroutes = [\n"
        ));
        for route in 0..500 {
            let (a, b) = (route / 250, route % 250);
            text.push_str(&format!(
                "{{ destination = \"20.{table}.{}.0/24\", target = \"nat-gateway:egress\" }},\n",
                a * 128 + b / 2 + b % 2 * 0
            ).replace(".0/24", if b % 2 == 0 { ".0/25" } else { ".128/25" }));
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
    layers.put(&key("main/instance/db"), db()).expect("valid");
    let put = start.elapsed();
    println!("load {load:?}, put {put:?}");
    assert!(put * 20 < load, "load {load:?}, put {put:?}");
}
