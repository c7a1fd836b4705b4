//! Checks the draft as a whole: names, references, interfaces, routes, limits. Addresses are
//! checked in `addresses`, NAT gateways in `gateways`.

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::Ipv4Net;

use super::draft::{Draft, Index, InstanceDraft, RouteTableDraft, VpcDraft};
use super::place::{Located, Place, Read, Report};
use super::suggest::{closest, listed, quoted};
use super::types::Target;
use super::{addresses, gateways};

const MAX_SUBNETS: usize = 65_535;
const MAX_NAT_GATEWAYS: usize = 4_096;
const MAX_ROUTE_TABLES: usize = 256;
const MAX_ROUTES: usize = 500;

/// Reports every mistake that shows only when parts are held against each other.
pub fn check(draft: &Draft, report: &mut Report<'_>) {
    check_again(draft, report, |_, _| true);
}

/// The same after a change to a draft that held none. Whether the routes of a table are looked at
/// again is for `touched` to say: there may be many of them, and most changes concern none.
pub fn check_again(
    draft: &Draft,
    report: &mut Report<'_>,
    touched: impl Fn(&VpcDraft, &RouteTableDraft) -> bool,
) {
    uplinks(draft, report);
    limits(draft, report);
    unique_names("VPC", draft.vpcs.iter().map(|vpc| &vpc.name), report);
    interfaces(draft, report);
    for vpc in &draft.vpcs {
        let index = Index::new(vpc);
        let names = vpc.subnets.iter().map(|subnet| &subnet.name);
        unique_names("subnet", names, report);
        let names = vpc.route_tables.iter().map(|table| &table.name);
        unique_names("route table", names, report);
        let names = vpc.nat_gateways.iter().map(|gateway| &gateway.name);
        unique_names("NAT gateway", names, report);
        let names = vpc.instances.iter().map(|instance| &instance.name);
        unique_names("instance", names, report);

        subnet_references(vpc, &index, report);
        main_tables(vpc, report);
        for table in vpc.route_tables.iter().filter(|table| touched(vpc, table)) {
            routes(vpc, table, &index, report);
        }
        for instance in &vpc.instances {
            self::instance(vpc, instance, &index, report);
        }
        gateways::check(vpc, &index, report);
    }
    addresses::check(draft, report);
    gateways::check_together(draft, report);
}

fn uplinks(draft: &Draft, report: &mut Report<'_>) {
    let uplinks = &draft.node.uplinks;
    if let Some(place) = uplinks.place.as_ref()
        && uplinks.items.is_empty()
        && uplinks.complete
    {
        report.error(
            place,
            "there is no uplink",
            "name the interface towards the internet, as in uplink = [\"eth0\"]",
        );
    }
    let show = |name: &String| format!("uplink {}", quoted(name));
    unique(uplinks.items.iter(), show, "remove one of them", report);
}

fn limits(draft: &Draft, report: &mut Report<'_>) {
    let subnets = draft.vpcs.iter().flat_map(|vpc| &vpc.subnets);
    let places = subnets.map(|subnet| &subnet.place);
    limit("subnets in all VPCs together", MAX_SUBNETS, places, report);

    let gateways = draft.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways);
    let places = gateways.map(|gateway| &gateway.place);
    limit(
        "NAT gateways in all VPCs together",
        MAX_NAT_GATEWAYS,
        places,
        report,
    );

    for vpc in &draft.vpcs {
        let places = vpc.route_tables.iter().map(|table| &table.place);
        limit("route tables in a VPC", MAX_ROUTE_TABLES, places, report);
        for table in &vpc.route_tables {
            let places = table.routes.iter().map(|route| &route.place);
            limit("routes in a table", MAX_ROUTES, places, report);
        }
    }
}

/// Reports the first item past a limit.
pub fn limit<'a>(
    what: &str,
    max: usize,
    mut places: impl Iterator<Item = &'a Place>,
    report: &mut Report<'_>,
) {
    if let Some(place) = places.nth(max) {
        let count = max + 1 + places.count();
        report.error(
            place,
            format!("too many {what}: {count}"),
            format!("keep at most {max}"),
        );
    }
}

fn unique_names<'a>(
    kind: &str,
    names: impl Iterator<Item = &'a Read<String>>,
    report: &mut Report<'_>,
) {
    let names = names.filter_map(Read::given);
    let show = |name: &String| format!("{kind} {}", quoted(name));
    unique(names, show, "give each a name of its own", report);
}

/// Reports each value that an earlier one of `values` already has.
pub fn unique<'a, T: Eq + Hash + 'a>(
    values: impl Iterator<Item = &'a Located<T>>,
    show: impl Fn(&T) -> String,
    remedy: &str,
    report: &mut Report<'_>,
) {
    let mut seen: HashMap<&T, &Place> = HashMap::new();
    for Located { value, place } in values {
        if let Some(first) = seen.get(value) {
            let position = report.position(first);
            report.error(
                place,
                format!("{} is already on {position}", show(value)),
                remedy,
            );
        } else {
            seen.insert(value, place);
        }
    }
}

/// A packet's VPC is known by the interface it comes in on.
fn interfaces(draft: &Draft, report: &mut Report<'_>) {
    let mut owners: HashMap<&str, (usize, &VpcDraft, &Place)> = HashMap::new();
    for (number, vpc) in draft.vpcs.iter().enumerate() {
        for interface in vpc
            .subnets
            .iter()
            .filter_map(|subnet| subnet.interface.given())
        {
            let (owner, owning, first) =
                *owners
                    .entry(&interface.value)
                    .or_insert((number, vpc, &interface.place));
            if owner != number {
                let position = report.position(first);
                report.error(
                    &interface.place,
                    format!(
                        "interface {} already belongs to VPC {} ({position})",
                        quoted(&interface.value),
                        quoted(owning.title()),
                    ),
                    "give each VPC interfaces of its own",
                );
            }
        }
    }
}

fn subnet_references(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    for name in vpc
        .subnets
        .iter()
        .filter_map(|subnet| subnet.route_table.given())
    {
        if !index.route_tables.contains_key(name.value.as_str()) {
            let known = names(vpc.route_tables.iter().map(|table| &table.name));
            dangling("route table", name, &name.value, &known, report);
        }
    }
}

/// Reports a reference to a subnet that is not there.
pub fn subnet_reference(
    vpc: &VpcDraft,
    name: &Read<String>,
    index: &Index<'_>,
    report: &mut Report<'_>,
) {
    if let Some(name) = name.given()
        && !index.subnets.contains_key(name.value.as_str())
    {
        let known = names(vpc.subnets.iter().map(|subnet| &subnet.name));
        dangling("subnet", name, &name.value, &known, report);
    }
}

fn names<'a>(names: impl Iterator<Item = &'a Read<String>>) -> Vec<&'a str> {
    names.filter_map(Read::value).map(String::as_str).collect()
}

fn dangling<T>(
    kind: &str,
    reference: &Located<T>,
    name: &str,
    known: &[&str],
    report: &mut Report<'_>,
) {
    let existing = listed(known.iter().copied());
    let remedy = if known.is_empty() {
        format!("define the {kind} first: this VPC has none")
    } else if let Some(near) = closest(name, known.iter().copied()) {
        format!("did you mean {}? this VPC has: {existing}", quoted(near))
    } else {
        format!("define it or name one this VPC has: {existing}")
    };
    report.error(
        &reference.place,
        format!("there is no {kind} {}", quoted(name)),
        remedy,
    );
}

fn main_tables(vpc: &VpcDraft, report: &mut Report<'_>) {
    let mut mains = vpc
        .route_tables
        .iter()
        .filter_map(|table| table.main.given())
        .filter(|main| main.value);
    let Some(first) = mains.next() else {
        return;
    };
    let position = report.position(&first.place);
    for second in mains {
        report.error(
            &second.place,
            format!("the VPC already has a main route table ({position})"),
            "leave main = true on one table only",
        );
    }
}

fn routes(vpc: &VpcDraft, table: &RouteTableDraft, index: &Index<'_>, report: &mut Report<'_>) {
    // AWS keeps this block for services of the host.
    const RESERVED: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(169, 254, 168, 0), 22);

    let destinations = || {
        table
            .routes
            .iter()
            .filter_map(|route| route.destination.given())
    };
    unique(
        destinations(),
        |net| format!("a route to {net}"),
        "keep one route per destination in a table",
        report,
    );
    for destination in destinations().filter(|net| RESERVED.contains(&net.value)) {
        report.error(
            &destination.place,
            format!(
                "{} lies in {RESERVED}, which is reserved",
                destination.value
            ),
            "remove the route",
        );
    }
    for route in &table.routes {
        let Some(target) = route.target.given() else {
            continue;
        };
        if let Some(destination) = route.destination.given() {
            local_route(vpc, destination, target, report);
        }
        match &target.value {
            gone if vpc.gone.contains(gone) => {}
            Target::InternetGateway if !vpc.may_have_internet_gateway() => report.error(
                &target.place,
                "the VPC has no internet gateway",
                "set internet_gateway = true on the VPC, or remove the route",
            ),
            Target::NatGateway(name) if !index.nat_gateways.contains_key(name.as_str()) => {
                let known = names(vpc.nat_gateways.iter().map(|gateway| &gateway.name));
                dangling("NAT gateway", target, name, &known, report);
            }
            _ => {}
        }
    }
}

fn local_route(
    vpc: &VpcDraft,
    destination: &Located<Ipv4Net>,
    target: &Located<Target>,
    report: &mut Report<'_>,
) {
    let mut cidrs = vpc.cidrs.items.iter().map(|cidr| cidr.value);
    let inside = cidrs.find(|cidr| cidr.contains(&destination.value));
    match (inside, &target.value) {
        (Some(_), Target::Local) => {}
        (Some(cidr), _) => report.error(
            &destination.place,
            format!(
                "{} lies in {cidr}, the VPC's own, which is always local",
                destination.value
            ),
            "remove the route: this version supports no other target inside a VPC",
        ),
        (None, Target::Local) if vpc.cidrs.complete => report.error(
            &target.place,
            format!(
                "{} lies in no CIDR of the VPC, so it is not local",
                destination.value
            ),
            "remove the route or choose another target",
        ),
        (None, _) => {}
    }
}

fn instance(vpc: &VpcDraft, instance: &InstanceDraft, index: &Index<'_>, report: &mut Report<'_>) {
    subnet_reference(vpc, &instance.subnet, index, report);
    if let Some(public_ip) = instance.public_ip.given()
        && !vpc.may_have_internet_gateway()
    {
        report.error(
            &public_ip.place,
            "a public address needs an internet gateway, and the VPC has none",
            "set internet_gateway = true on the VPC, or remove public_ip",
        );
    }
}
