//! Checks of gateway endpoints: their prefix lists and their policies.

use super::draft::{EndpointDraft, StatementDraft};
use super::parse::PREFIX_LISTS;
use crate::config::index::Index;
use crate::config::place::{List, Located, Report};
use crate::config::suggest::quoted;
use crate::config::validate::{dangling, limit, unique};

const MAX_PREFIX_LISTS: usize = 16;
const MAX_STATEMENTS: usize = 64;
/// Instances of a statement, and likewise its destinations.
const MAX_IN_STATEMENT: usize = 256;

pub fn check(endpoint: &EndpointDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let lists = &endpoint.prefix_lists;
    match &lists.place {
        None => super::missing(endpoint, &PREFIX_LISTS, report),
        Some(place) if lists.items.is_empty() && lists.complete => report.error(
            place,
            "the endpoint serves no prefix list",
            format!("name one, as in {}", PREFIX_LISTS.example),
        ),
        Some(_) => {}
    }
    let places = lists.items.iter().map(|list| &list.place);
    limit(
        "prefix lists of an endpoint",
        MAX_PREFIX_LISTS,
        places,
        report,
    );
    let show = |name: &String| format!("prefix list {}", quoted(name));
    unique(lists.items.iter(), show, "name each list once", report);
    for Located { value, place } in &lists.items {
        dangling("prefix list", place, value, &index.prefix_lists, report);
    }
    policy(endpoint, index, report);
}

fn policy(endpoint: &EndpointDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let policy = &endpoint.policy;
    let Some(place) = &policy.place else {
        return;
    };
    // By AWS's rules it would deny everything.
    if policy.items.is_empty() && policy.complete {
        report.error(
            place,
            "the policy has no statement",
            "leave it out to allow everything, or write [{ effect = \"deny\" }] to allow nothing",
        );
    }
    if policy.items.len() > MAX_STATEMENTS {
        report.error(
            place,
            format!("too many statements in a policy: {}", policy.items.len()),
            format!("keep at most {MAX_STATEMENTS}"),
        );
    }
    for statement in &policy.items {
        of_statement(statement, index, report);
    }
}

fn of_statement(statement: &StatementDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let StatementDraft {
        instances,
        destinations,
        ..
    } = statement;
    not_empty(instances, "instances", "every host of the VPC", report);
    not_empty(destinations, "destinations", "every destination", report);
    let show = |name: &String| format!("instance {}", quoted(name));
    unique(instances.items.iter(), show, "name each once", report);
    let show = ToString::to_string;
    unique(destinations.items.iter(), show, "name each once", report);
    for Located { value, place } in &instances.items {
        dangling("instance", place, value, &index.instances, report);
    }
}

/// An empty list could be taken for nobody.
fn not_empty<T>(list: &List<T>, what: &str, all: &str, report: &mut Report<'_>) {
    if let Some(place) = &list.place
        && list.items.is_empty()
        && list.complete
    {
        report.error(
            place,
            format!("the list of {what} is empty"),
            format!("leave it out for {all}, or name some"),
        );
    }
    let places = list.items.iter().map(|item| &item.place);
    let what = format!("{what} in a statement");
    limit(&what, MAX_IN_STATEMENT, places, report);
}
