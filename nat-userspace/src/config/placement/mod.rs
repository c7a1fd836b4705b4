//! Racks, hosts and placement groups. Their keys (`parse`, `draft`), what they become (`types`), and
//! their checks: here of names and settings; who may be where is judged by [`crate::placement`], and
//! `findings` says it in words.

mod draft;
mod findings;
mod parse;
pub mod types;

pub use draft::{HostDraft, PlacementDraft, PlacementGroupDraft, RackDraft};
pub use parse::{host, of_instance, placement_group, rack};

use draft::StrategyName;

use super::draft::{InstanceDraft, VpcDraft};
use super::index::Index;
use super::place::{Located, Place, Read, Report};
use super::validate::{dangling, unique_names};
use super::values::is_name;
use crate::placement::{Site, Wish};

/// Reports the mistakes in a VPC's racks, hosts and placement groups, and in what instances say about
/// them. Of two instances that do not go together, the one called `newest` is wrong, or else the later
/// one.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>, newest: Option<&str>) {
    unique_names("rack", vpc.racks.iter().map(|rack| &rack.name), report);
    unique_names("host", vpc.hosts.iter().map(|host| &host.name), report);
    let names = vpc.placement_groups.iter().map(|group| &group.name);
    unique_names("placement group", names, report);

    for Located { value, place } in vpc.hosts.iter().filter_map(|host| host.rack.given()) {
        dangling("rack", place, value, &index.racks, report);
    }
    for group in &vpc.placement_groups {
        settings(group, report);
    }
    for instance in &vpc.instances {
        if let Some(placement) = &instance.placement {
            references(placement, index, report);
        }
    }
    if vpc.racks.is_empty() && vpc.placement_groups.is_empty() {
        return;
    }
    let (site, instances) = site(vpc, newest);
    findings::report(&site, &instances, report);
}

/// Settings that belong to another strategy.
fn settings(group: &PlacementGroupDraft, report: &mut Report<'_>) {
    let Some(strategy) = group.strategy.value() else {
        return;
    };
    let mut foreign = |place: Option<&Place>, own: StrategyName, key: &str, word: &str| {
        if let Some(place) = place
            && *strategy != own
        {
            report.error(
                place,
                format!("only {word} groups have {key}"),
                format!("remove {key}, or write strategy = \"{word}\""),
            );
        }
    };
    let place = group.partitions.given().map(|given| &given.place);
    foreign(place, StrategyName::Partition, "partitions", "partition");
    let place = group.spread_level.given().map(|given| &given.place);
    foreign(place, StrategyName::Spread, "spread_level", "spread");
}

fn references(placement: &PlacementDraft, index: &Index<'_>, report: &mut Report<'_>) {
    if let Some(Located { value, place }) = placement.group.given() {
        let groups = &index.placement_groups;
        dangling("placement group", place, value, groups, report);
    }
    if let Some(Located { value, place }) = placement.rack.given() {
        dangling("rack", place, value, &index.racks, report);
    }
    if let Some(Located { value, place }) = placement.host.given() {
        dangling("host", place, value, &index.hosts, report);
    }
    if let Some(partition) = placement.partition.given()
        && matches!(placement.group, Read::Absent)
    {
        report.error(
            &partition.place,
            "a partition is one of a placement group, and the instance names none",
            "add placement_group, or remove partition",
        );
    }
}

/// What of it could be read, and the instances by the numbers of its residents.
fn site<'a>(vpc: &'a VpcDraft, newest: Option<&str>) -> (Site<'a>, Vec<&'a InstanceDraft>) {
    let mut site = Site::default();
    for subnet in &vpc.subnets {
        if let (Some(name), false) = (named(&subnet.name), subnet.zone.is_broken()) {
            site.add_subnet(name, named(&subnet.zone));
        }
    }
    for rack in &vpc.racks {
        if let (Some(name), false) = (named(&rack.name), rack.zone.is_broken()) {
            site.add_rack(name, named(&rack.zone));
        }
    }
    for host in &vpc.hosts {
        if let (Some(name), Some(rack)) = (named(&host.name), named(&host.rack)) {
            site.add_host(name, rack, host.capacity.value().copied());
        }
    }
    for group in &vpc.placement_groups {
        if let (Some(name), Some(strategy)) = (named(&group.name), group.strategy()) {
            site.add_group(name, strategy);
        }
    }
    let is_newest = |instance: &InstanceDraft| newest.is_some() && named(&instance.name) == newest;
    let mut residents = Vec::new();
    for last in [false, true] {
        for instance in &vpc.instances {
            let Some(placement) = instance.placement.as_deref() else {
                continue;
            };
            let (Some(name), Some(subnet)) = (named(&instance.name), named(&instance.subnet))
            else {
                continue;
            };
            if is_newest(instance) == last
                && !placement.is_broken()
                && site.add_instance(name, subnet, wish(placement))
            {
                residents.push(instance);
            }
        }
    }
    (site, residents)
}

fn wish(placement: &PlacementDraft) -> Wish<'_> {
    Wish {
        group: named(&placement.group),
        partition: placement.partition.value().copied(),
        rack: named(&placement.rack),
        host: named(&placement.host),
        running: placement.running.value().copied().unwrap_or(true),
    }
}

/// A name, if it can be one.
fn named(name: &Read<String>) -> Option<&str> {
    let name = name.value().map(String::as_str);
    name.filter(|name| is_name(name))
}
