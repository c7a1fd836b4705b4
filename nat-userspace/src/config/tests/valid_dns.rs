//! What the resolver goes by: every key, and what holds without them.

use super::{SAMPLE, edited};
use crate::config::*;

#[track_caller]
fn accepted(text: &str) -> Config {
    parse("f", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn names_are_answered_unless_a_vpc_wants_none() {
    let config = accepted(SAMPLE);
    assert_eq!(config.node.dns_forwarders, None);
    let vpc = &config.vpcs[0];
    assert!(vpc.dns);
    assert_eq!(vpc.private_domain, DEFAULT_PRIVATE_DOMAIN);
}

#[test]
fn dns_is_read_with_every_key() {
    let config = accepted(&edited(&[
        (
            "name = \"edge-1\"",
            "name = \"edge-1\"\ndns_forwarders = [\"192.0.2.53\", \"127.0.0.53\"]",
        ),
        (
            "internet_gateway = true",
            "internet_gateway = true\ndns = false\nprivate_domain = \"Corp.Example.net\"",
        ),
    ]));
    assert_eq!(
        config.node.dns_forwarders,
        Some(vec![[192, 0, 2, 53].into(), [127, 0, 0, 53].into()])
    );
    let vpc = &config.vpcs[0];
    assert!(!vpc.dns);
    assert_eq!(vpc.private_domain, "corp.example.net");
}
