//! The keys of load balancers and target groups: TOML to draft.

use super::draft::{ListenerDraft, LoadBalancerDraft, TargetGroupDraft};
use super::health::health_check;
use crate::config::gateways::types::Protocol;
use crate::config::parse::{PRIVATE_IP, SUBNET_NAME, required_name};
use crate::config::place::Report;
use crate::config::reader::{Complaint, Field, Section, field};
use crate::config::toml::Value;
use crate::config::values::{address, boolean, choice, owned_text, port, seconds};

const PROTOCOL: Field = field("protocol", "a string", "protocol = \"tcp\"");
const PORT: Field = field("port", "an integer", "port = 443");

pub fn load_balancer(section: &mut Section<'_>, report: &mut Report<'_>) -> LoadBalancerDraft {
    const LISTENERS: Field = field(
        "listeners",
        "an array of tables",
        "listeners = [{ protocol = \"tcp\", port = 443, target_group = \"web\" }]",
    );
    let name = required_name(section, report);
    let subnet = section.required(report, &SUBNET_NAME, owned_text);
    let private_ip = section.required(report, &PRIVATE_IP, address);
    let (listeners, complete) = section.sections(report, &LISTENERS);
    LoadBalancerDraft {
        place: section.place.clone(),
        name,
        subnet,
        private_ip,
        listeners: listeners
            .into_iter()
            .map(|section| section.whole(report, listener))
            .collect(),
        complete,
    }
}

fn listener(section: &mut Section<'_>, report: &mut Report<'_>) -> ListenerDraft {
    const TARGET_GROUP: Field = field("target_group", "a string", "target_group = \"web\"");
    ListenerDraft {
        place: section.place.clone(),
        protocol: section.required(report, &PROTOCOL, protocol),
        port: section.required(report, &PORT, port),
        target_group: section.required(report, &TARGET_GROUP, owned_text),
    }
}

pub fn target_group(section: &mut Section<'_>, report: &mut Report<'_>) -> TargetGroupDraft {
    const TARGETS: Field = field("targets", "an array of strings", "targets = [\"web-1\"]");
    const PROXY_PROTOCOL: Field = field(
        "proxy_protocol_v2",
        "true or false",
        "proxy_protocol_v2 = true",
    );
    const DELAY: Field = field(
        "deregistration_delay",
        "whole seconds",
        "deregistration_delay = 300",
    );
    TargetGroupDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        protocol: section.required(report, &PROTOCOL, protocol),
        port: section.required(report, &PORT, port),
        targets: section.list(report, &TARGETS, owned_text),
        health_check: health_check(section, report),
        proxy_protocol_v2: section.optional(report, &PROXY_PROTOCOL, boolean),
        deregistration_delay: section.optional(report, &DELAY, seconds(0..=3600)),
    }
}

fn protocol(value: &Value<'_>) -> Result<Protocol, Complaint> {
    choice(
        value,
        "a protocol that is balanced",
        &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
    )
}
