//! Checks of interface endpoints: what they stand for, where they are, and their names.

use rustc_hash::FxHashMap;

use super::draft::{EndpointDraft, EndpointType};
use super::parse::{ADDRESS, INTERFACES, SERVICE};
use super::types::endpoint_dns_name;
use crate::config::addresses::not_unicast;
use crate::config::draft::VpcDraft;
use crate::config::index::Index;
use crate::config::place::{Located, Read, Report};
use crate::config::suggest::quoted;
use crate::config::types::DEFAULT_PRIVATE_DOMAIN;
use crate::config::validate::{dangling, limit, subnet_reference, unique};

const MAX_PRIVATE_DNS: usize = 32;

pub fn check(endpoint: &EndpointDraft, vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    front(endpoint, vpc, index, report);
    interfaces(endpoint, index, report);
    let names = endpoint.private_dns.items.iter().map(|name| &name.place);
    limit(
        "private DNS names of an endpoint",
        MAX_PRIVATE_DNS,
        names,
        report,
    );
}

fn front(endpoint: &EndpointDraft, vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    match (&endpoint.service, &endpoint.address) {
        (Read::Absent, Read::Absent) => report.error(
            &endpoint.place.child(SERVICE.key),
            "the endpoint stands for nothing",
            format!("add {}, or {}", SERVICE.example, ADDRESS.example),
        ),
        (Read::Given(_), Read::Given(address)) => report.error(
            &address.place,
            "the endpoint stands for a service already",
            "remove address or service",
        ),
        _ => {}
    }
    if let Some(Located { value, place }) = endpoint.address.given() {
        let mut cidrs = vpc.cidrs.items.iter();
        if let Some(block) = not_unicast(*value) {
            report.error(
                place,
                format!("{value} lies in {block}, where no host is"),
                "use the unicast address of a server",
            );
        } else if let Some(cidr) = cidrs.find(|cidr| cidr.value.contains(value)) {
            report.error(
                place,
                format!(
                    "{value} lies in {}, the VPC's own, where hosts need no endpoint",
                    cidr.value
                ),
                "use an address outside the VPC, or remove the endpoint",
            );
        }
    }
    if let Some(Located { value, place }) = endpoint.nat_gateway.given() {
        dangling("NAT gateway", place, value, &index.nat_gateways, report);
        if matches!(endpoint.address, Read::Absent) && endpoint.service.given().is_some() {
            report.error(
                place,
                "packets to a service are not translated by a NAT gateway",
                "remove nat_gateway, or write address instead of service",
            );
        }
    }
}

fn interfaces(endpoint: &EndpointDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let interfaces = &endpoint.interfaces;
    match &interfaces.place {
        None => super::missing(endpoint, &INTERFACES, report),
        Some(place) if interfaces.items.is_empty() && interfaces.complete => report.error(
            place,
            "the endpoint is in no subnet",
            format!("write one at least, as in {}", INTERFACES.example),
        ),
        Some(_) => {}
    }
    let subnets = interfaces.items.iter().map(|interface| &interface.subnet);
    for subnet in subnets.clone() {
        subnet_reference(subnet, index, report);
    }
    unique(
        subnets.filter_map(Read::given),
        |subnet| format!("an interface in subnet {}", quoted(subnet)),
        "keep one in each subnet",
        report,
    );
}

/// Reports names that lead to two endpoints.
pub fn names(vpc: &VpcDraft, report: &mut Report<'_>) {
    let is_interface = |one: &&EndpointDraft| one.kind.value() == Some(&EndpointType::Interface);
    let endpoints = || vpc.endpoints.iter().filter(is_interface);
    let names = || endpoints().flat_map(|endpoint| &endpoint.private_dns.items);
    let show = |name: &String| format!("private DNS name {}", quoted(name));
    unique(names(), show, "give each endpoint names of its own", report);

    let domain = match &vpc.private_domain {
        Read::Absent => DEFAULT_PRIVATE_DOMAIN,
        Read::Broken => return,
        Read::Given(domain) => &domain.value,
    };
    let defaults: FxHashMap<String, &EndpointDraft> = endpoints()
        .filter_map(|endpoint| Some((endpoint_dns_name(endpoint.name.value()?, domain), endpoint)))
        .collect();
    for Located { value, place } in names() {
        if let Some(endpoint) = defaults.get(value) {
            let position = report.position(&endpoint.place);
            report.error(
                place,
                format!(
                    "{} is what an endpoint is called anyway ({position})",
                    quoted(value)
                ),
                "choose another name, or leave it out",
            );
        }
    }
}
