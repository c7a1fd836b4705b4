//! The tree of an instance, without a socket.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::server::config;
use crate::{
    metadata::{Catalogue, Tree},
    services::Who,
};

fn tree(private_ip: [u8; 4]) -> Tree {
    let config = config(&[]);
    let who = Who {
        vpc: "main".to_owned(),
        private_ip: private_ip.into(),
    };
    let catalogue = Catalogue::of(&config);
    Tree::of(&catalogue.find(&who).expect("is listed"))
}

fn web() -> Tree {
    tree([10, 20, 1, 10])
}

#[test]
fn an_instance_sees_all_that_is_configured() {
    let shown: Vec<_> = tree_but_the_document(&web());
    let macs = "meta-data/network/interfaces/macs/02:00:00:00:00:0b";
    let of_mac = |key: &str, value: &str| (format!("{macs}/{key}"), value.to_owned());
    let of = |key: &str, value: &str| (format!("meta-data/{key}"), value.to_owned());
    assert_eq!(
        shown,
        [
            of("ami-id", "ami-00000000000000abc"),
            of("hostname", "web.example.net"),
            of("instance-id", "i-0123456789abcdef0"),
            of("instance-type", "t3.micro"),
            of("local-hostname", "web.example.net"),
            of("local-ipv4", "10.20.1.10"),
            of("mac", "02:00:00:00:00:0b"),
            of_mac("device-number", "0"),
            of_mac("local-ipv4s", "10.20.1.10"),
            of_mac("mac", "02:00:00:00:00:0b"),
            of_mac("public-ipv4s", "198.51.100.20"),
            of_mac("subnet-id", "public-a"),
            of_mac("subnet-ipv4-cidr-block", "10.20.1.0/24"),
            of_mac("vpc-id", "main"),
            of_mac("vpc-ipv4-cidr-block", "10.20.0.0/16"),
            of_mac("vpc-ipv4-cidr-blocks", "10.20.0.0/16\n10.40.0.0/16"),
            of("placement/availability-zone", "a"),
            of("placement/region", "local"),
            of("public-ipv4", "198.51.100.20"),
            of("tags/instance/Name", "web"),
            of("tags/instance/a:b", "c d"),
        ]
    );
}

fn tree_but_the_document(tree: &Tree) -> Vec<(String, String)> {
    let values = tree
        .values()
        .filter(|(path, _)| path.starts_with("meta-data/"));
    values
        .map(|(path, value)| (path.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn an_instance_without_a_mac_and_a_zone_and_with_hidden_tags_sees_nothing_of_them() {
    let config = config(&[]);
    let who = Who {
        vpc: "dev".to_owned(),
        private_ip: [10, 20, 1, 10].into(),
    };
    let catalogue = Catalogue::of(&config);
    let paths =
        |tree: &Tree| -> Vec<String> { tree.values().map(|(path, _)| path.to_owned()).collect() };
    assert_eq!(
        paths(&Tree::of(&catalogue.find(&who).expect("is listed"))),
        [
            "dynamic/instance-identity/document",
            "meta-data/hostname",
            "meta-data/instance-id",
            "meta-data/instance-type",
            "meta-data/local-hostname",
            "meta-data/local-ipv4",
            "meta-data/placement/region",
        ]
    );
    let dark = paths(&tree([10, 40, 2, 11]));
    assert!(dark.iter().all(|path| !path.contains("tags")), "{dark:?}");
}

#[test]
fn placement_and_groups_are_those_of_the_configuration() {
    let text = crate::config::tests::placed(&[]);
    let config = crate::config::parse("f", &text).expect("valid");
    let catalogue = Catalogue::of(&config);
    let of = |private_ip: [u8; 4], path: &str| {
        let who = Who {
            vpc: "main".to_owned(),
            private_ip: private_ip.into(),
        };
        let tree = Tree::of(&catalogue.find(&who).expect("is listed"));
        tree.find(&format!("/latest/meta-data/{path}"))
            .map(|value| value.into_owned())
    };
    let db_1 = [10, 40, 2, 11];
    assert_eq!(of(db_1, "placement/group-name").as_deref(), Some("db"));
    assert_eq!(of(db_1, "placement/partition-number").as_deref(), Some("1"));
    assert_eq!(of(db_1, "placement/host-id").as_deref(), Some("a1-1"));
    assert_eq!(of([10, 40, 2, 12], "placement/host-id"), None);
    assert_eq!(of(db_1, "security-groups"), None);
    let text = crate::config::tests::filtered(&[]);
    let config = crate::config::parse("f", &text).expect("valid");
    let catalogue = Catalogue::of(&config);
    let who = Who {
        vpc: "main".to_owned(),
        private_ip: [10, 20, 1, 10].into(),
    };
    let tree = Tree::of(&catalogue.find(&who).expect("is listed"));
    let groups = tree.find("/latest/meta-data/security-groups");
    assert_eq!(groups.as_deref(), Some("web\nadmin"));
}

#[test]
fn listings_end_each_line_and_mark_directories() {
    let tree = web();
    let found = |path: &str| tree.find(path).map(|found| found.into_owned());
    let versions = found("/").expect("versions");
    assert!(versions.starts_with("2009-04-04\n") && versions.ends_with("\nlatest\n"));
    for (path, expected) in [
        ("/latest", "dynamic\nmeta-data\n"),
        ("/latest/", "dynamic\nmeta-data\n"),
        ("/2009-04-04/", "dynamic\nmeta-data\n"),
        ("/latest/dynamic", "instance-identity/\n"),
        ("/latest/dynamic/instance-identity/", "document\n"),
        ("/latest/meta-data/placement", "availability-zone\nregion\n"),
        (
            "/latest/meta-data/network/interfaces/macs/",
            "02:00:00:00:00:0b/\n",
        ),
        ("/latest/meta-data/tags/instance", "Name\na:b\n"),
        ("/latest/meta-data/tags/instance/a:b", "c d"),
        ("/latest/meta-data/tags/instance/a%3ab", "c d"),
        ("/2021-07-15/meta-data/mac", "02:00:00:00:00:0b"),
        ("/latest/meta-data/mac/", "02:00:00:00:00:0b"),
        (
            "/latest/meta-data/",
            "ami-id\nhostname\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/\n\
             placement/\npublic-ipv4\ntags/\n",
        ),
    ] {
        assert_eq!(found(path).as_deref(), Some(expected), "{path}");
    }
    for path in [
        "",
        "latest",
        "//",
        "/latest//",
        "/latest/meta-data/mac//",
        "/latest/meta-data/ma",
        "/latest/meta-data/placement//region",
        "/latest/meta-data%2fmac",
        "/latest/meta-data/mac%",
        "/latest/meta-data/%ff",
        "/latest/meta-data/%+1",
        "/newest/meta-data/",
        "/latest/user-data",
    ] {
        assert_eq!(found(path), None, "{path}");
    }
}

#[test]
fn the_identity_document_says_who_it_is() {
    let found = web()
        .find("/latest/dynamic/instance-identity/document")
        .map(|found| found.into_owned());
    let document: serde_json::Value =
        serde_json::from_str(&found.expect("a document")).expect("JSON");
    for (key, expected) in [
        ("availabilityZone", "a"),
        ("imageId", "ami-00000000000000abc"),
        ("instanceId", "i-0123456789abcdef0"),
        ("instanceType", "t3.micro"),
        ("privateIp", "10.20.1.10"),
        ("region", "local"),
        ("version", "2017-09-30"),
    ] {
        assert_eq!(document[key], expected, "{key}");
    }
    for key in ["accountId", "pendingTime", "kernelId"] {
        assert_eq!(document.get(key), Some(&serde_json::Value::Null), "{key}");
    }
    assert!(document["architecture"].is_string());
}

/// As clients do that copy all of it.
#[test]
fn walking_down_from_the_top_finds_every_value_once() {
    let tree = web();
    let mut found = BTreeMap::new();
    let mut directories = vec!["dynamic/".to_owned(), "meta-data/".to_owned()];
    while let Some(directory) = directories.pop() {
        let listing = tree
            .find(&format!("/latest/{directory}"))
            .expect("a directory");
        for name in listing.lines() {
            let path = format!("{directory}{name}");
            if name.ends_with('/') {
                directories.push(path);
                continue;
            }
            let value = tree.find(&format!("/latest/{path}")).expect("a value");
            assert_eq!(found.insert(path, value.into_owned()), None);
        }
    }
    let expected = tree
        .values()
        .map(|(path, value)| (path.to_owned(), value.to_owned()));
    assert_eq!(found, expected.collect());
}

fn any_path() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "/",
        "latest",
        "meta-data",
        "mac",
        "tags",
        "instance",
        "%",
        "%2",
        "%2f",
        "%00",
        "..",
        "Name",
        "2009-04-04",
        "dynamic",
        "network",
        "é",
    ];
    prop_oneof![
        any::<String>(),
        prop::collection::vec(prop::sample::select(WORDS), 0..12).prop_map(|words| words.concat()),
    ]
}

proptest! {
    #[test]
    fn any_path_is_found_or_not(path in any_path()) {
        let tree = web();
        if let Some(found) = tree.find(&path) {
            prop_assert!(path.starts_with('/'));
            let value = tree.values().any(|(_, value)| value == found);
            prop_assert!(value || found.ends_with('\n'), "{}", found);
        }
    }

    #[test]
    fn whatever_is_below_a_value_is_nothing(rest in "/[a-z/%.]{1,10}") {
        let tree = web();
        for (path, _) in tree.values() {
            let below = format!("/latest/{path}{rest}");
            prop_assert!(tree.find(&below).is_none(), "{}", below);
        }
    }
}
