//! Load balancers and target groups. Their keys (`parse`, `draft`), what they become (`types`), the health checks
//! that proxies have, too (`health`), and here their checks. Addresses are checked in `addresses`.

mod draft;
pub mod health;
mod parse;
pub mod types;

pub use draft::{LoadBalancerDraft, TargetGroupDraft};
pub use parse::{load_balancer, target_group};

use super::draft::VpcDraft;
use super::gateways::types::Protocol;
use super::index::Index;
use super::place::{Located, Report};
use super::suggest::quoted;
use super::validate::{dangling, limit, subnet_reference, unique, unique_names};
use types::{MAX_LISTENERS, MAX_TARGETS};

const MAX_LOAD_BALANCERS: usize = 64;
/// Each listener of each load balancer may have one of its own.
const MAX_TARGET_GROUPS: usize = MAX_LOAD_BALANCERS * MAX_LISTENERS;

/// Reports the mistakes in a VPC's load balancers and target groups.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let names = vpc.target_groups.iter().map(|group| &group.name);
    unique_names("target group", names, report);
    let names = vpc.load_balancers.iter().map(|balancer| &balancer.name);
    unique_names("load balancer", names, report);
    let places = vpc.target_groups.iter().map(|group| &group.place);
    limit("target groups in a VPC", MAX_TARGET_GROUPS, places, report);
    let places = vpc.load_balancers.iter().map(|balancer| &balancer.place);
    limit(
        "load balancers in a VPC",
        MAX_LOAD_BALANCERS,
        places,
        report,
    );
    for group in &vpc.target_groups {
        targets(group, index, report);
    }
    for balancer in &vpc.load_balancers {
        subnet_reference(&balancer.subnet, index, report);
        listeners(balancer, index, report);
    }
}

fn targets(group: &TargetGroupDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let targets = &group.targets.items;
    let places = targets.iter().map(|target| &target.place);
    limit("targets in a group", MAX_TARGETS, places, report);
    let show = |name: &String| format!("target {}", quoted(name));
    unique(targets.iter(), show, "name each target once", report);
    for Located { value, place } in targets {
        dangling("instance", place, value, &index.instances, report);
    }
    if let Some(check) = &group.health_check {
        health::check(check, report);
    }
    if let Some(proxied) = group.proxy_protocol_v2.given()
        && proxied.value
        && group.protocol.value() == Some(&Protocol::Udp)
    {
        report.error(
            &proxied.place,
            "only TCP has the proxy protocol",
            "remove proxy_protocol_v2: targets of UDP see who sends",
        );
    }
}

fn listeners(balancer: &LoadBalancerDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let listeners = &balancer.listeners;
    let places = listeners.iter().map(|listener| &listener.place);
    limit(
        "listeners of a load balancer",
        MAX_LISTENERS,
        places,
        report,
    );
    let ports: Vec<_> = listeners
        .iter()
        .filter_map(|listener| {
            let port = listener.port.given()?;
            Some(Located {
                value: (*listener.protocol.value()?, port.value),
                place: port.place.clone(),
            })
        })
        .collect();
    unique(
        ports.iter(),
        |(protocol, port)| format!("a listener for {} port {port}", protocol.name()),
        "give each listener a port of its own",
        report,
    );
    for listener in listeners {
        let Some(Located { value, place }) = listener.target_group.given() else {
            continue;
        };
        let Some(group) = index.target_groups.get(value) else {
            dangling("target group", place, value, &index.target_groups, report);
            continue;
        };
        if let (Some(own), Some(of_group)) = (listener.protocol.value(), group.protocol.value())
            && own != of_group
        {
            let position = report.position(&group.place);
            report.error(
                place,
                format!(
                    "target group {} ({position}) is for {}, and the listener for {}",
                    quoted(value),
                    of_group.name(),
                    own.name()
                ),
                "name a group of the listener's protocol",
            );
        }
    }
}
