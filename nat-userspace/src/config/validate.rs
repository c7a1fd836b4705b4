//! Checks the draft as a whole: names, references, interfaces, limits. Addresses are checked in
//! `addresses`, routes in `routes`, instances in `instances`, NAT gateways in `gateways`, security
//! groups and network ACLs in `filtering`, where instances run in `placement`, their ids in `metadata`,
//! load balancers in `balancing`, endpoints in `endpoints`, proxies in `proxies`.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::draft::{Draft, RouteTableDraft, VpcDraft};
use super::index::{Index, Parts};
use super::place::{Located, Place, Read, Report};
use super::suggest::{listed, quoted};
use super::{
    addresses, balancing, dns, endpoints, filtering, gateways, instances, metadata, placement,
    proxies, routes,
};

const MAX_SUBNETS: usize = 65_535;
const MAX_NAT_GATEWAYS: usize = 4_096;
const MAX_ROUTE_TABLES: usize = 256;

/// Reports every mistake that shows only when parts are held against each other.
pub fn check(draft: &Draft, report: &mut Report<'_>) {
    check_again(draft, report, &Scope::ALL);
}

/// What a change of a draft without mistakes can have to do with. Most changes concern little of it,
/// and there may be much.
pub struct Scope<'a> {
    /// Only this VPC, besides what VPCs share.
    pub vpc: Option<&'a str>,
    /// What routes lead to, too.
    pub ways: bool,
    /// The tables whose routes are looked at.
    pub tables: &'a dyn Fn(&RouteTableDraft) -> bool,
    /// The instance that is new: of two that do not go together, it is the wrong one.
    pub newest: Option<&'a str>,
}

impl Scope<'_> {
    const ALL: Self = Self {
        vpc: None,
        ways: true,
        tables: &|_| true,
        newest: None,
    };
}

/// The same after a change.
pub fn check_again(draft: &Draft, report: &mut Report<'_>, scope: &Scope<'_>) {
    uplinks(draft, report);
    dns::check(draft, report);
    limits(draft, report);
    unique_names("VPC", draft.vpcs.iter().map(|vpc| &vpc.name), report);
    interfaces(draft, report);
    let wanted = |vpc: &&VpcDraft| scope.vpc.is_none_or(|name| vpc.title() == name);
    for vpc in draft.vpcs.iter().filter(wanted) {
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
        routes::check(vpc, &index, report, scope.tables);
        instances::check(vpc, &index, report);
        filtering::check(vpc, &index, report);
        placement::check(vpc, &index, report, scope.newest);
        gateways::check(vpc, &index, report, scope.ways);
        balancing::check(vpc, &index, report);
        endpoints::check(vpc, &index, report);
        proxies::check(vpc, &index, report);
    }
    addresses::check(draft, report);
    metadata::check(draft, report, scope);
    gateways::check_together(draft, report);
    endpoints::check_together(draft, report);
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

pub fn unique_names<'a>(
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
    // Of 10,000 instances most have a single group, and tables have hundreds of routes.
    let most = values.size_hint().1;
    if most.is_some_and(|most| most < 2) {
        return;
    }
    let mut seen: FxHashMap<&T, &Place> = FxHashMap::default();
    seen.reserve(most.unwrap_or(0));
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
    let mut owners: FxHashMap<&str, (usize, &VpcDraft, &Place)> = FxHashMap::default();
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
    let tables = vpc.subnets.iter().map(|subnet| &subnet.route_table);
    for Located { value, place } in tables.filter_map(Read::given) {
        dangling("route table", place, value, &index.route_tables, report);
    }
}

/// Reports a reference to a subnet that is not there.
pub fn subnet_reference(name: &Read<String>, index: &Index<'_>, report: &mut Report<'_>) {
    if let Some(Located { value, place }) = name.given() {
        dangling("subnet", place, value, &index.subnets, report);
    }
}

/// Reports `name`, given at `place`, when no part of the VPC has it.
pub fn dangling<T>(
    kind: &str,
    place: &Place,
    name: &str,
    parts: &Parts<'_, T>,
    report: &mut Report<'_>,
) {
    if parts.get(name).is_some() {
        return;
    }
    let existing = listed(parts.names.iter().copied());
    let remedy = if parts.names.is_empty() {
        format!("define the {kind} first: this VPC has none")
    } else if let Some(near) = report.closest(name, &parts.names) {
        format!("did you mean {}? this VPC has: {existing}", quoted(near))
    } else {
        format!("define it or name one this VPC has: {existing}")
    };
    report.error(
        place,
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
