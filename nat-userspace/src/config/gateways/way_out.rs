//! Checks of the way out of a NAT gateway's own subnet.

use std::collections::HashSet;

use ipnet::Ipv4Net;

use super::draft::NatGatewayDraft;
use crate::config::draft::{Index, RouteTableDraft, Routing, VpcDraft};
use crate::config::place::Report;
use crate::config::suggest::quoted;
use crate::config::types::Target;

pub fn check(
    vpc: &VpcDraft,
    gateway: &NatGatewayDraft,
    index: &Index<'_>,
    report: &mut Report<'_>,
) {
    way_out(vpc, gateway, index, report);
    loops(gateway, index, report);
}

/// A public gateway reaches the internet by the internet gateway, from its own subnet.
fn way_out(vpc: &VpcDraft, gateway: &NatGatewayDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let Some(place) = gateway.public_ips.place.as_ref() else {
        return;
    };
    if gateway.public_ips.items.is_empty() {
        return;
    }
    if !vpc.may_have_internet_gateway() {
        report.error(
            place,
            "a public NAT gateway needs an internet gateway, and the VPC has none",
            "set internet_gateway = true on the VPC, or leave public_ips out for a private gateway",
        );
        return;
    }
    let Some(name) = gateway.subnet.given() else {
        return;
    };
    let Some(subnet) = index.subnets.get(name.value.as_str()) else {
        return;
    };
    let remedy = "route 0.0.0.0/0 of that subnet to \"internet-gateway\"";
    match index.routing_of(subnet) {
        Routing::Unknown => {}
        Routing::Implicit => report.error(
            &name.place,
            format!(
                "subnet {} names no route table and the VPC has no main one, so a public NAT \
                 gateway in it cannot reach the internet",
                quoted(&name.value)
            ),
            remedy,
        ),
        Routing::Table(table) => {
            if may_reach_internet(table) {
                return;
            }
            report.error(
                &name.place,
                format!(
                    "the route table of subnet {} has no route to the internet gateway, so a \
                     public NAT gateway in it cannot reach the internet",
                    quoted(&name.value)
                ),
                remedy,
            );
        }
    }
}

fn may_reach_internet(table: &RouteTableDraft) -> bool {
    let leads_out = |target: &Target| *target == Target::InternetGateway;
    !table.complete
        || table
            .routes
            .iter()
            .any(|route| route.target.is_broken() || route.target.value().is_some_and(leads_out))
}

/// Follows what the gateway sends: a packet that meets the same gateway again never leaves.
fn loops(gateway: &NatGatewayDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let Some(own_name) = gateway.name.value() else {
        return;
    };
    let Some(table) = table_of(gateway, index) else {
        return;
    };
    let to_itself = table.routes.iter().find_map(|route| {
        let own = |target: &Target| matches!(target, Target::NatGateway(name) if name == own_name);
        route
            .target
            .value()
            .is_some_and(own)
            .then(|| route.destination.value())
    });
    if let Some(destination) = to_itself {
        let destination = destination.map_or("a destination".to_owned(), Ipv4Net::to_string);
        report_loop(
            gateway,
            &format!("routes {destination} to this gateway"),
            report,
        );
        return;
    }

    let mut visited = HashSet::new();
    let mut next = default_gateway(table);
    while let Some(name) = next {
        if name == own_name {
            let message = "routes by default to gateways that lead back to this one";
            report_loop(gateway, message, report);
            return;
        }
        if !visited.insert(name) {
            return;
        }
        next = index
            .nat_gateways
            .get(name)
            .and_then(|gateway| table_of(gateway, index))
            .and_then(default_gateway);
    }
}

fn report_loop(gateway: &NatGatewayDraft, what: &str, report: &mut Report<'_>) {
    if let Some(subnet) = gateway.subnet.given() {
        report.error(
            &subnet.place,
            format!(
                "the route table of subnet {} {what}: translated packets would loop",
                quoted(&subnet.value)
            ),
            "put the gateway in a subnet whose routes lead out, such as to \"internet-gateway\"",
        );
    }
}

fn table_of<'a>(gateway: &NatGatewayDraft, index: &Index<'a>) -> Option<&'a RouteTableDraft> {
    let subnet = index.subnets.get(gateway.subnet.value()?.as_str())?;
    match index.routing_of(subnet) {
        Routing::Table(table) => Some(table),
        Routing::Implicit | Routing::Unknown => None,
    }
}

fn default_gateway(table: &RouteTableDraft) -> Option<&str> {
    let by_default = table.routes.iter().filter(|route| {
        route
            .destination
            .value()
            .is_some_and(|net| net.prefix_len() == 0)
    });
    by_default
        .filter_map(|route| route.target.value())
        .find_map(|target| match target {
            Target::NatGateway(name) => Some(name.as_str()),
            Target::Local | Target::InternetGateway | Target::Instance(_) | Target::Blackhole => {
                None
            }
        })
}
