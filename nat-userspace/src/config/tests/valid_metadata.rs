//! What instances are told about themselves: every key, and what holds without them.

use std::collections::BTreeMap;

use super::{SAMPLE, described, edited};
use crate::config::*;

#[track_caller]
fn accepted(text: &str) -> Config {
    parse("f", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn metadata_is_read_with_every_key() {
    let config = accepted(&described(&[(
        "name = \"edge-1\"",
        "name = \"edge-1\"\nregion = \"eu-1\"",
    )]));
    assert_eq!(config.node.region, "eu-1");
    let [web, dark] = config.vpcs[0].instances.as_slice() else {
        panic!("{:?}", config.vpcs[0].instances);
    };
    let text = |text: &str| Some(text.to_owned());
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        web.metadata,
        InstanceMetadata {
            access: MetadataAccess::Required,
            hop_limit: 2,
            serves_tags: true,
            id: text("i-0123456789abcdef0"),
            instance_type: text("t3.micro"),
            image: text("ami-00000000000000abc"),
            hostname: text("web.example.net"),
            tags: BTreeMap::from([tag("Name", "web"), tag("a:b", "c d")]),
        }
    );
    assert_eq!(
        dark.metadata,
        InstanceMetadata {
            access: MetadataAccess::Disabled,
            tags: BTreeMap::from([tag("not served", "1")]),
            ..InstanceMetadata::default()
        }
    );
}

#[test]
fn an_instance_has_an_id_a_type_and_a_host_name_without_being_given_any() {
    let config = accepted(SAMPLE);
    let web = &config.vpcs[0].instances[0];
    // Known by heart, because it must be the same with every version.
    assert_eq!(web.id("main"), "i-3d96e7e7f021413aa");
    assert_ne!(web.id("dev"), web.id("main"));
    assert_eq!(web.instance_type(), DEFAULT_INSTANCE_TYPE);
    assert_eq!(web.hostname(), "ip-10-20-1-10.internal");
    assert_eq!(config.node.region, DEFAULT_REGION);
}

#[test]
fn as_many_tags_as_are_allowed_are_read_and_one_more_is_refused() {
    let tags = |count: usize| {
        let tags: Vec<_> = (0..count).map(|n| format!("k{n} = \"v\"")).collect();
        let tags = format!(
            "public_ip = \"198.51.100.20\"\n  tags = {{ {} }}",
            tags.join(", ")
        );
        edited(&[("public_ip = \"198.51.100.20\"", &tags)])
    };
    assert_eq!(
        accepted(&tags(MAX_TAGS)).vpcs[0].instances[0]
            .metadata
            .tags
            .len(),
        MAX_TAGS
    );
    assert_eq!(
        super::refused(&tags(MAX_TAGS + 1)),
        ["f:44: vpc \"main\" / instance \"web\" / tags / k50: too many tags: 51; keep at most 50"]
    );
}
