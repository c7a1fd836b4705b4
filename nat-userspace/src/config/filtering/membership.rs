//! Checks of what instances, endpoints and subnets name: their security groups and network ACLs.

use rustc_hash::FxHashMap;

use super::rules::{MAX_RULES, directions, weight};
use crate::config::draft::VpcDraft;
use crate::config::index::Index;
use crate::config::place::{List, Report};
use crate::config::suggest::quoted;
use crate::config::validate::{dangling, limit, unique};

/// Security groups of an instance.
const MAX_GROUPS: usize = 16;

/// How many rules a group has, by direction.
type Weights<'a> = FxHashMap<&'a str, [(&'static str, usize); 2]>;

pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    for name in vpc
        .subnets
        .iter()
        .filter_map(|subnet| subnet.network_acl.given())
    {
        dangling(
            "network ACL",
            &name.place,
            &name.value,
            &index.network_acls,
            report,
        );
    }
    let weights: Weights<'_> = index
        .security_groups
        .iter()
        .map(|(name, group)| {
            let weights = directions(group).map(|(direction, rules)| {
                let weights = rules.rules.iter().map(|rule| weight(rule, index));
                (direction, weights.sum())
            });
            (name, weights)
        })
        .collect();
    let instances = vpc.instances.iter();
    let instances = instances.map(|instance| ("an instance", &instance.security_groups));
    let endpoints = vpc.endpoints.iter();
    let endpoints = endpoints.map(|endpoint| ("an endpoint", &endpoint.security_groups));
    for (member, list) in instances.chain(endpoints) {
        groups(member, list, index, report);
        together(list, &weights, report);
    }
}

fn groups(member: &str, groups: &List<String>, index: &Index<'_>, report: &mut Report<'_>) {
    if let Some(place) = groups.place.as_ref()
        && groups.items.is_empty()
        && groups.complete
    {
        report.error(
            place,
            "the list of security groups is empty",
            format!(
                "leave it out for {member} that is not filtered, or name a group whose ingress and \
                 egress are empty for one that nothing reaches"
            ),
        );
    }
    let places = groups.items.iter().map(|group| &group.place);
    if groups.items.len() > MAX_GROUPS {
        // There are many members, and most have few.
        let what = format!("security groups on {member}");
        limit(&what, MAX_GROUPS, places, report);
    }
    let show = |name: &String| format!("security group {}", quoted(name));
    unique(groups.items.iter(), show, "name each group once", report);
    for group in &groups.items {
        dangling(
            "security group",
            &group.place,
            &group.value,
            &index.security_groups,
            report,
        );
    }
}

/// A group that has too many rules alone was reported as one.
fn together(groups: &List<String>, weights: &Weights<'_>, report: &mut Report<'_>) {
    let Some(place) = groups.place.as_ref() else {
        return;
    };
    let mut totals = [("", 0); 2];
    for group in groups.items.iter().take(MAX_GROUPS) {
        let Some(weights) = weights.get(group.value.as_str()) else {
            continue;
        };
        if weights.iter().any(|(_, weight)| *weight > MAX_RULES) {
            return;
        }
        for (total, (direction, weight)) in totals.iter_mut().zip(weights) {
            *total = (*direction, total.1 + weight);
        }
    }
    for (direction, total) in totals {
        if total > MAX_RULES {
            report.error(
                place,
                format!(
                    "its security groups have {total} {direction} rules together, a prefix list \
                     counting as its entries"
                ),
                format!("keep at most {MAX_RULES}: name fewer groups, or join rules"),
            );
        }
    }
}
