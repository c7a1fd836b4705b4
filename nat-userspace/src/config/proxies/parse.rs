//! The keys of proxies: TOML to draft.

use super::draft::ProxyDraft;
use crate::config::balancing::health::health_check;
use crate::config::parse::required_name;
use crate::config::place::Report;
use crate::config::reader::{Field, Section, field};
use crate::config::values::{choice, owned_text, port};

pub fn proxy(section: &mut Section<'_>, report: &mut Report<'_>) -> ProxyDraft {
    const INSTANCE: Field = field("instance", "a string", "instance = \"squid\"");
    const PORTS: Field = field("ports", "an array of integers", "ports = [80, 443]");
    const SUBNETS: Field = field(
        "subnets",
        "an array of strings",
        "subnets = [\"private-a\"]",
    );
    const ON_FAILURE: Field = field("on_failure", "a string", "on_failure = \"closed\"");
    ProxyDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        instance: section.required(report, &INSTANCE, owned_text),
        ports: section.list_of("an integer", report, &PORTS, port),
        subnets: section.list(report, &SUBNETS, owned_text),
        fail_open: section.optional(report, &ON_FAILURE, |value| {
            choice(
                value,
                "what happens to connections while a proxy is unhealthy",
                &[("open", true), ("closed", false)],
            )
        }),
        health_check: health_check(section, report),
    }
}
