//! What becomes of objects of two owners; that it is the same however they came there, is in `properties`.

mod properties;

use std::collections::{BTreeMap, BTreeSet};

use nat_common::map_types;
use serde_json::{Map, Value as Json, json};

use super::{Layers, ObjectKey, Objects, Refusal, Source, What, difference, vpcs};
use crate::{
    attach::{Attached, Hook},
    config::{
        Config, EndpointState, Target,
        tests::{SAMPLE, ended, placed},
    },
    host::HostInterface,
    policy::{Facts, Numbering, compile},
};

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
fn a_mistake_of_a_file_is_told_without_others_that_are_none() {
    let mut layers = sample();
    layers
        .put(&key("main/nat_gateway/second"), gateway())
        .expect("valid");
    let wrong = SAMPLE
        .replace("nat-gateway:egress\" }]", "nat-gateway:second\" }]")
        .replace("zone = \"a\"", "zome = \"a\"");
    let errors = Layers::load(source(&wrong), layers.objects().clone(), BTreeSet::new());
    let errors = errors.err().expect("refused").0;
    let keys: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(keys, ["unknown key", "unknown key"]);
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
    // The policy says of a target that is not there that it is gone, not that it was configured so.
    assert_eq!(target(&layers), there);
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
        there
    );
    assert!(load(&BTreeSet::new()).is_err());
    layers.put(&second, gateway()).expect("valid");
    assert_eq!(target(&layers), there);
    assert!(layers.gone().is_empty());
    assert_eq!(layers.config(), &again(&layers));
}

/// What the dataplane gets to know of routes.
fn compiled_targets(layers: &Layers) -> Vec<map_types::Target> {
    let named = |name: &str, index| Attached {
        interface: HostInterface {
            name: name.to_owned(),
            index,
            mac: [2, 0, 0, 0, 0, 1],
            addresses: Vec::new(),
            is_physical: false,
            is_services: false,
        },
        hook: Hook::Tc,
        flags: 0,
    };
    let attached = [("eth0", 1), ("br-public", 2), ("br-private", 3)];
    let facts = Facts {
        attached: &attached.map(|(name, index)| named(name, index)),
        forwarding_set: &BTreeSet::new(),
        secrets: &BTreeMap::new(),

        unhealthy: &BTreeSet::new(),
        random: &mut || 4,
        to_the_tick: false,
        window_shift_before: 0,
    };
    let tables = compile(layers.config(), &mut Numbering::default(), facts).expect("compiles");
    let routes = tables.routes.entries().iter();
    routes.map(|(_, route)| route.target()).collect()
}

#[test]
fn a_route_to_what_was_deleted_is_compiled_as_gone_not_as_a_configured_blackhole() {
    let mut layers = sample();
    let (second, office) = (key("main/nat_gateway/second"), key("main/route/office"));
    let to_it = json!({"route_table": "private", "destination": "192.0.2.0/24", "target": "nat-gateway:second"});
    layers.put(&second, gateway()).expect("valid");
    layers.put(&office, spec(to_it)).expect("valid");
    assert!(!compiled_targets(&layers).contains(&map_types::Target::Gone));
    layers.delete(&second).expect("may go");
    let targets = compiled_targets(&layers);
    assert!(targets.contains(&map_types::Target::Gone), "{targets:?}");
    assert!(
        !targets.contains(&map_types::Target::Blackhole),
        "{targets:?}"
    );
}

#[test]
fn what_no_route_leads_to_any_more_is_forgotten() {
    let mut layers = sample();
    let (second, office) = (key("main/nat_gateway/second"), key("main/route/office"));
    let to_it = json!({"route_table": "private", "destination": "192.0.2.0/24", "target": "nat-gateway:second"});
    layers.put(&second, gateway()).expect("valid");
    layers.put(&office, spec(to_it.clone())).expect("valid");
    layers.delete(&second).expect("may go");
    assert_eq!(layers.gone(), &BTreeSet::from([second.clone()]));
    let change = layers.delete(&office).expect("may go");
    assert!(layers.gone().is_empty());
    layers.undo(change);
    assert_eq!(layers.gone(), &BTreeSet::from([second.clone()]));
    let elsewhere =
        json!({"route_table": "private", "destination": "192.0.2.0/24", "target": "blackhole"});
    layers.put(&office, spec(elsewhere)).expect("valid");
    assert!(layers.gone().is_empty());
    let again = layers.put(&office, spec(to_it));
    assert!(matches!(again, Err(Refusal::Invalid(_))), "it is not there");
    // Nor does a file that was replaced by one without the route hold it.
    let reloaded = Layers::load(source(SAMPLE), Objects::new(), BTreeSet::from([second]));
    assert!(reloaded.expect("valid").gone().is_empty());
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
            spec(json!({"cidrs": ["10.60.0.0/16"], "strict": true, "dns": false, "private_domain": "d.net"})),
        )
        .expect("valid");
    assert_eq!(layers.config(), &again(&layers));
    let dev = &layers.config().vpcs[1];
    assert_eq!(
        (dev.strict, dev.dns, dev.private_domain.as_str()),
        (true, false, "d.net")
    );
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

#[test]
fn what_is_named_by_others_is_needed() {
    let mut layers = sample();
    let groups = key("main/security_group/db");
    let rule = json!({"protocol": "tcp", "ports": "5432", "source": "prefix-list:partners"});
    let group = spec(json!({"ingress": [rule]}));
    assert!(matches!(
        layers.put(&groups, group.clone()),
        Err(Refusal::Invalid(_))
    ));
    let list = key("main/prefix_list/partners");
    let entries = |entry: &str| spec(json!({"entries": ["203.0.113.0/24", entry]}));
    layers
        .put(&list, entries("198.51.100.0/24"))
        .expect("valid");
    layers.put(&groups, group).expect("valid");
    let mut member = db();
    member.insert("security_groups".to_owned(), json!(["db"]));
    layers.put(&key("main/instance/db"), member).expect("valid");
    let to_list = json!({"route_table": "private", "destination": "prefix-list:partners", "target": "blackhole"});
    layers
        .put(&key("main/route/partners"), spec(to_list))
        .expect("valid");
    assert_eq!(layers.config(), &again(&layers));
    for needed in [&groups, &list] {
        let before = layers.config().clone();
        let Err(Refusal::Needed(errors)) = layers.delete(needed) else {
            panic!("{needed} was deleted");
        };
        let text = errors.to_string();
        assert!(
            text.contains(&format!("without {needed} there is no")),
            "{text}"
        );
        assert_eq!(layers.config(), &before);
    }
    // The route looks at the list's entries again.
    let reserved = layers.put(&list, entries("169.254.168.0/24"));
    assert!(matches!(reserved, Err(Refusal::Invalid(_))));
    layers.put(&list, entries("192.0.2.0/24")).expect("valid");
    assert_eq!(layers.config(), &again(&layers));
}

#[test]
fn placement_is_judged_by_what_was_there_first() {
    let mut layers = sample();
    let put = |layers: &mut Layers, name: &str, object| layers.put(&key(name), spec(object));
    for (name, object) in [
        ("main/rack/r1", json!({"zone": "a"})),
        ("main/rack/r2", json!({"zone": "a"})),
        ("main/host/h1", json!({"rack": "r1"})),
        ("main/host/h2", json!({"rack": "r2", "capacity": 1})),
        ("main/placement_group/web", json!({"strategy": "spread"})),
    ] {
        put(&mut layers, name, object).expect("valid");
    }
    let member = |ip: &str, host: &str| json!({"subnet": "private-a", "private_ip": ip, "placement_group": "web", "host": host});
    put(
        &mut layers,
        "main/instance/second",
        member("10.40.2.5", "h1"),
    )
    .expect("valid");
    // By its name it comes before the other.
    let Err(Refusal::Invalid(errors)) = put(
        &mut layers,
        "main/instance/first",
        member("10.40.2.6", "h1"),
    ) else {
        panic!("two members share a rack");
    };
    assert_eq!(
        errors.to_string(),
        "API: vpc \"main\" / instance \"first\" / host: rack \"r1\" has \"second\" (API) already, and the members of spread group \"web\" share no rack; \
         host \"h2\" in rack \"r2\", zone \"a\" has room"
    );
    put(
        &mut layers,
        "main/instance/first",
        member("10.40.2.6", "h2"),
    )
    .expect("valid");
    assert_eq!(layers.config(), &again(&layers));
    assert!(vpcs(layers.objects()).is_err(), "the VPC is the file's");
    let less = put(
        &mut layers,
        "main/host/h2",
        json!({"rack": "r2", "capacity": 0}),
    );
    assert!(matches!(less, Err(Refusal::Invalid(_))));
    for needed in ["host/h2", "rack/r1", "placement_group/web"] {
        let deleted = layers.delete(&key(&format!("main/{needed}")));
        assert!(matches!(deleted, Err(Refusal::Needed(_))), "{needed}");
    }
    assert_eq!(layers.config(), &again(&layers));
}

/// What a controller lists is enough to make its VPCs again.
#[test]
fn vpcs_are_made_of_what_is_listed() {
    let mut layers =
        Layers::load(source(&placed(&[])), Objects::new(), BTreeSet::new()).expect("valid");
    layers.put(&key("main/instance/zz"), db()).expect("valid");
    let listed: Vec<_> = layers.keys().cloned().collect();
    let objects = listed.into_iter().map(|key| {
        let spec = layers.find(&key).expect("it is listed").spec.to_owned();
        (key, spec)
    });
    let mut made = vpcs(&objects.collect()).expect("valid");
    let mut expected = layers.config().vpcs.clone();
    for vpc in made.iter_mut().chain(&mut expected) {
        vpc.subnets.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.route_tables.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.instances.sort_by(|a, b| a.name.cmp(&b.name));
        vpc.placement_groups.sort_by(|a, b| a.name.cmp(&b.name));
    }
    assert_eq!(made, expected);
}

#[test]
fn an_instance_that_routes_lead_to_may_go_and_come_back() {
    let mut layers = sample();
    let appliance = |mac: &str, ip: &str| {
        spec(
            json!({"subnet": "private-a", "private_ip": ip, "source_dest_check": false, "mac": mac}),
        )
    };
    let first = key("main/instance/first");
    let mac = "02:00:00:00:00:0a";
    layers
        .put(&first, appliance(mac, "10.40.2.5"))
        .expect("valid");
    let same_mac = layers.put(&key("main/instance/second"), appliance(mac, "10.40.2.6"));
    assert!(
        matches!(same_mac, Err(Refusal::Invalid(_))),
        "the MAC address is taken"
    );
    let to_it = json!({"route_table": "private", "destination": "192.0.2.0/24", "target": "instance:first"});
    layers
        .put(&key("main/route/first"), spec(to_it))
        .expect("valid");
    let checking = layers.put(
        &first,
        spec(json!({"subnet": "private-a", "private_ip": "10.40.2.5"})),
    );
    assert!(
        matches!(checking, Err(Refusal::Invalid(_))),
        "a route leads to it"
    );
    layers.delete(&first).expect("may go");
    assert_eq!(layers.gone(), &BTreeSet::from([first.clone()]));
    let target = |layers: &Layers| {
        layers.config().vpcs[0].route_tables[1].routes[1]
            .target
            .clone()
    };
    assert_eq!(target(&layers), Target::Instance("first".to_owned()));
    assert_eq!(layers.config(), &again(&layers));
    layers
        .put(&first, appliance(mac, "10.40.2.7"))
        .expect("valid");
    assert_eq!(target(&layers), Target::Instance("first".to_owned()));
    assert_eq!(layers.config(), &again(&layers));
}

#[test]
fn an_endpoint_that_routes_lead_to_may_go_and_come_back() {
    let mut layers = sample();
    let endpoint = key("main/endpoint/far");
    let gateway = || spec(json!({"type": "gateway", "prefix_lists": ["far"]}));
    let list = |entry: &str| spec(json!({"entries": [entry]}));
    let far = key("main/prefix_list/far");
    let part = key("main/route/part");
    let to_part =
        json!({"route_table": "private", "destination": "192.0.2.0/25", "target": "endpoint:far"});
    let early = layers.put(&endpoint, gateway());
    assert!(matches!(early, Err(Refusal::Invalid(_))), "no list yet");
    layers.put(&far, list("192.0.2.0/24")).expect("valid");
    let early = layers.put(&part, spec(to_part.clone()));
    assert!(matches!(early, Err(Refusal::Invalid(_))), "no endpoint yet");
    layers.put(&endpoint, gateway()).expect("valid");
    layers.put(&part, spec(to_part)).expect("valid");
    // The route names no list, but leads to an endpoint that does.
    let less = layers.put(&far, list("192.0.2.128/25"));
    assert!(matches!(less, Err(Refusal::Invalid(_))));
    let other = json!({"type": "interface", "address": "192.0.2.7",
        "interfaces": [{"subnet": "private-a", "private_ip": "10.40.2.5"}]});
    let other = layers.put(&endpoint, spec(other));
    assert!(matches!(other, Err(Refusal::Invalid(_))));
    assert!(matches!(layers.delete(&far), Err(Refusal::Needed(_))));
    assert_eq!(layers.config(), &again(&layers));

    let routes = [("private".to_owned(), "192.0.2.0/25".to_owned())];
    assert_eq!(layers.routes_to(&endpoint), routes);
    layers.delete(&endpoint).expect("may go");
    assert_eq!(layers.gone(), &BTreeSet::from([endpoint.clone()]));
    assert_eq!(layers.config(), &again(&layers));
    // Whatever it was for.
    layers.put(&far, list("192.0.2.128/25")).expect("valid");
    let smaller = layers.put(&endpoint, gateway());
    assert!(matches!(smaller, Err(Refusal::Invalid(_))));
    layers.put(&far, list("192.0.0.0/16")).expect("valid");
    layers.put(&endpoint, gateway()).expect("valid");
    assert!(layers.gone().is_empty());
    assert_eq!(layers.config(), &again(&layers));
}

#[test]
fn what_endpoints_of_another_vpc_need_stays() {
    let text = ended(&[
        (
            "  [[vpc.endpoint_service]]\n  name = \"db\"\n  load_balancer = \"db\"\n  acceptance_required = true\n  \
          allowed_vpcs = [\"main\"]\n  accepted = [\"main/db\"]\n  rejected = [\"main/gone\"]\n",
            "",
        ),
        ("  service = \"shared/db\"\n", "  address = \"192.0.2.9\"\n"),
    ]);
    let mut layers = Layers::load(source(&text), Objects::new(), BTreeSet::new()).expect("valid");
    let consumer = key("main/endpoint/new");
    let service = key("shared/endpoint_service/db");
    let to_it = || {
        spec(json!({"type": "interface", "service": "shared/db",
            "interfaces": [{"subnet": "private-a", "private_ip": "10.40.2.60"}]}))
    };
    let early = layers.put(&consumer, to_it());
    assert!(matches!(early, Err(Refusal::Invalid(_))), "no service yet");
    let offered = spec(json!({"load_balancer": "db"}));
    layers.put(&service, offered).expect("valid");
    layers.put(&consumer, to_it()).expect("valid");
    let state = |layers: &Layers| {
        let vpc = &layers.config().vpcs[0];
        let endpoint = vpc.endpoints.iter().find(|one| one.name == "new")?;
        layers.config().endpoint_state(vpc, endpoint)
    };
    assert_eq!(state(&layers), Some(EndpointState::PendingAcceptance));
    let accepting = json!({"load_balancer": "db", "accepted": ["main/new"]});
    layers.put(&service, spec(accepting)).expect("valid");
    assert_eq!(state(&layers), Some(EndpointState::Available));
    let rejecting = json!({"load_balancer": "db", "rejected": ["main/new"]});
    layers.put(&service, spec(rejecting)).expect("valid");
    assert_eq!(state(&layers), Some(EndpointState::Rejected));
    assert_eq!(layers.config(), &again(&layers));

    let closed = layers.put(
        &service,
        spec(json!({"load_balancer": "db", "allowed_vpcs": ["dev"]})),
    );
    assert!(matches!(closed, Err(Refusal::Invalid(_))));
    let Err(Refusal::Needed(errors)) = layers.delete(&service) else {
        panic!("an endpoint needs it");
    };
    assert_eq!(
        errors.to_string(),
        "API: vpc \"main\" / endpoint \"new\" / service: without shared/endpoint_service/db there is no endpoint service \
         \"shared/db\"; change or delete what is here first"
    );
    layers.delete(&consumer).expect("nobody needs it");
    layers.delete(&service).expect("nobody needs it any more");
    assert_eq!(layers.config(), &again(&layers));
}

#[test]
fn what_is_decided_about_an_endpoint_holds_above_what_the_file_says() {
    let text = ended(&[]);
    let mut layers = Layers::load(source(&text), Objects::new(), BTreeSet::new()).expect("valid");
    let state = |layers: &Layers| {
        let vpc = &layers.config().vpcs[0];
        let endpoint = vpc.endpoints.iter().find(|one| one.name == "db")?;
        layers.config().endpoint_state(vpc, endpoint)
    };
    assert_eq!(
        state(&layers),
        Some(EndpointState::Available),
        "by the file"
    );
    let decision = key("shared/endpoint_acceptance/db.main.db");
    let that = |accepted: bool| {
        spec(json!({"service": "db", "endpoint": "main/db", "accepted": accepted}))
    };
    let change = layers.put(&decision, that(false)).expect("valid");
    assert_eq!(state(&layers), Some(EndpointState::Rejected));
    assert_eq!(layers.config(), &again(&layers));
    layers.undo(change.expect("a change"));
    assert_eq!(state(&layers), Some(EndpointState::Available));
    layers.put(&decision, that(false)).expect("valid");
    layers.put(&decision, that(true)).expect("valid");
    assert_eq!(state(&layers), Some(EndpointState::Available));
    // An endpoint may come later, a service may not, and nobody decides twice.
    let early = json!({"service": "db", "endpoint": "main/later", "accepted": true});
    let early_key = key("shared/endpoint_acceptance/early");
    layers.put(&early_key, spec(early)).expect("valid");
    for (wrong, expected) in [
        (
            json!({"service": "web", "endpoint": "main/db", "accepted": true}),
            "there is no endpoint service \"web\"",
        ),
        (
            json!({"service": "db", "endpoint": "main/db", "accepted": false}),
            "what \"main/db\" is for service \"db\" is already on",
        ),
        (
            json!({"service": "db", "endpoint": "main", "accepted": false}),
            "is not the name of a VPC's endpoint",
        ),
    ] {
        let Err(Refusal::Invalid(errors)) = layers.put(&early_key, spec(wrong)) else {
            panic!("{expected} was accepted");
        };
        assert!(errors.to_string().contains(expected), "{errors}");
    }
    assert_eq!(layers.config(), &again(&layers));
    // A file that has no such service any more leaves it nothing to decide about.
    let errors = Layers::load(source(SAMPLE), layers.objects().clone(), BTreeSet::new());
    let text = errors.err().expect("refused").to_string();
    assert!(text.contains("there is no VPC \"shared\""), "{text}");
    layers.delete(&decision).expect("nobody needs it");
    layers.delete(&early_key).expect("nobody needs it");
    assert_eq!(state(&layers), Some(EndpointState::Available));
}

#[test]
fn what_balances_goes_before_what_it_needs() {
    let mut layers = sample();
    let objects = [
        (
            "main/instance/db",
            json!({"subnet": "private-a", "private_ip": "10.40.2.5", "source_dest_check": false, "mac": "02:00:00:00:00:0a"}),
        ),
        (
            "main/target_group/db",
            json!({"protocol": "tcp", "port": 5432, "targets": ["db"]}),
        ),
        (
            "main/load_balancer/db",
            json!({"subnet": "private-a", "private_ip": "10.40.2.50", "listeners": [{"protocol": "tcp", "port": 5432, "target_group": "db"}]}),
        ),
        ("main/endpoint_service/db", json!({"load_balancer": "db"})),
        ("main/proxy/db", json!({"instance": "db"})),
    ];
    for (name, object) in &objects {
        layers.put(&key(name), spec(object.clone())).expect("valid");
    }
    assert_eq!(layers.config(), &again(&layers));
    for (name, needed_by) in [
        ("main/instance/db", "target_group \"db\""),
        ("main/target_group/db", "load_balancer \"db\""),
        ("main/load_balancer/db", "endpoint_service \"db\""),
    ] {
        let Err(Refusal::Needed(errors)) = layers.delete(&key(name)) else {
            panic!("{name} is needed");
        };
        assert!(errors.to_string().contains(needed_by), "{errors}");
    }
    // A proxy's instance stays one.
    let checking = spec(json!({"subnet": "private-a", "private_ip": "10.40.2.5"}));
    let checking = layers.put(&key("main/instance/db"), checking);
    assert!(matches!(checking, Err(Refusal::Invalid(_))));
    let udp = spec(json!({"protocol": "udp", "port": 5432}));
    let udp = layers.put(&key("main/target_group/db"), udp);
    assert!(matches!(udp, Err(Refusal::Invalid(_))));
    for (name, _) in objects.iter().rev() {
        layers.delete(&key(name)).expect("nobody needs it");
    }
    assert_eq!(layers.config(), sample().config());
}

#[test]
fn a_difference_names_endpoints_and_services() {
    let file = |text: &str| {
        let layers = Layers::load(source(text), Objects::new(), BTreeSet::new());
        layers.expect("valid").file().clone()
    };
    let before = file(&ended(&[]));
    let after = file(&ended(&[
        (
            "accepted = [\"main/db\"]",
            "accepted = [\"main/db\", \"main/mail\"]",
        ),
        ("  ports = [80, 8080]\n", ""),
        ("\"10.40.2.51\"", "\"10.40.2.52\""),
    ]));
    let changes = difference(&before, &after);
    let named: Vec<_> = changes
        .iter()
        .map(|change| (change.object.as_str(), change.fields[0].field.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("main/endpoint/mail", "interfaces"),
            ("main/proxy/squid", "ports"),
            ("shared/endpoint_service/db", "accepted"),
        ]
    );
}
