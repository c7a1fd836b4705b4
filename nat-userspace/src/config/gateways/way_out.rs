//! Checks of the way out of a NAT gateway's own subnet.

use std::collections::{HashMap, HashSet};

use ipnet::Ipv4Net;

use super::draft::NatGatewayDraft;
use crate::config::draft::{RouteTableDraft, VpcDraft};
use crate::config::index::{Index, Routing};
use crate::config::place::{Located, Report};
use crate::config::suggest::quoted;
use crate::config::types::{Destination, Target};

pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    // Many gateways may share a table with many routes, and many routes a list with many entries, so
    // each is read once.
    let is_default = |prefix: &Located<Ipv4Net>| prefix.value.prefix_len() == 0;
    let default_lists: HashSet<&str> = index
        .prefix_lists
        .iter()
        .filter(|(_, list)| list.entries.items.iter().any(is_default))
        .map(|(name, _)| name)
        .collect();
    let tables = vpc.route_tables.iter();
    let ways: Ways<'_> = tables
        .map(|table| (std::ptr::from_ref(table), Way::of(table, &default_lists)))
        .collect();
    for gateway in &vpc.nat_gateways {
        way_out(vpc, gateway, index, &ways, report);
        loops(gateway, index, &ways, report);
    }
}

type Ways<'a> = HashMap<*const RouteTableDraft, Way<'a>>;

/// What matters here of a route table.
struct Way<'a> {
    may_reach_internet: bool,
    /// The NAT gateways it leads to, with the first destination for which it does.
    gateways: HashMap<&'a str, Option<&'a Destination>>,
    /// The one for 0.0.0.0/0.
    default_gateway: Option<&'a str>,
}

impl<'a> Way<'a> {
    fn of(table: &'a RouteTableDraft, default_lists: &HashSet<&str>) -> Self {
        let mut gateways = HashMap::new();
        let mut last = "";
        for route in &table.routes {
            if let Some(Target::NatGateway(name)) = route.target.value()
                && name != last
            {
                // Most lead to the same one as those before them.
                last = name;
                let destination = route.destination.value();
                gateways.entry(name.as_str()).or_insert(destination);
            }
        }
        Self {
            may_reach_internet: may_reach_internet(table),
            gateways,
            default_gateway: default_gateway(table, default_lists),
        }
    }
}

/// A public gateway reaches the internet by the internet gateway, from its own subnet.
fn way_out(
    vpc: &VpcDraft,
    gateway: &NatGatewayDraft,
    index: &Index<'_>,
    ways: &Ways<'_>,
    report: &mut Report<'_>,
) {
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
    let Some(subnet) = index.subnets.get(&name.value) else {
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
            if way_of(table, ways).is_none_or(|way| way.may_reach_internet) {
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
fn loops(gateway: &NatGatewayDraft, index: &Index<'_>, ways: &Ways<'_>, report: &mut Report<'_>) {
    let way_from = |gateway| table_of(gateway, index).and_then(|table| way_of(table, ways));
    let (Some(own_name), Some(way)) = (gateway.name.value(), way_from(gateway)) else {
        return;
    };
    if let Some(destination) = way.gateways.get(own_name.as_str()) {
        let destination = destination.map_or("a destination".to_owned(), Destination::to_string);
        report_loop(
            gateway,
            &format!("routes {destination} to this gateway"),
            report,
        );
        return;
    }

    // As long as the way is, it leads through each table once.
    let mut visited = HashSet::new();
    let mut next = way.default_gateway;
    while let Some(name) = next {
        if name == own_name {
            let message = "routes by default to gateways that lead back to this one";
            report_loop(gateway, message, report);
            return;
        }
        let table = index
            .nat_gateways
            .get(name)
            .and_then(|gateway| table_of(gateway, index));
        next = table
            .filter(|table| visited.insert(std::ptr::from_ref(*table)))
            .and_then(|table| way_of(table, ways))
            .and_then(|way| way.default_gateway);
    }
}

fn way_of<'w, 'a>(table: &RouteTableDraft, ways: &'w Ways<'a>) -> Option<&'w Way<'a>> {
    ways.get(&std::ptr::from_ref(table))
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
    match index.routing_of(index.subnet(&gateway.subnet)?) {
        Routing::Table(table) => Some(table),
        Routing::Implicit | Routing::Unknown => None,
    }
}

/// A CIDR that is written comes before the same one in a prefix list.
fn default_gateway<'a>(
    table: &'a RouteTableDraft,
    default_lists: &HashSet<&str>,
) -> Option<&'a str> {
    let written = |destination: &Destination| match destination {
        Destination::Cidr(prefix) => prefix.prefix_len() == 0,
        Destination::PrefixList(_) => false,
    };
    let listed = |destination: &Destination| match destination {
        Destination::Cidr(_) => false,
        Destination::PrefixList(name) => default_lists.contains(name.as_str()),
    };
    let first = |is_default: &dyn Fn(&Destination) -> bool| {
        let mut routes = table.routes.iter();
        routes.find(|route| route.destination.value().is_some_and(is_default))
    };
    match first(&written).or_else(|| first(&listed))?.target.value()? {
        Target::NatGateway(name) => Some(name),
        Target::Local
        | Target::InternetGateway
        | Target::Instance(_)
        | Target::Endpoint(_)
        | Target::Blackhole => None,
    }
}
