//! What instances can ask about themselves. Its keys (`parse`, `draft`), what they become (`types`), and
//! here the check that no two instances have the same id. [`crate::metadata`] serves it.

mod draft;
mod parse;
pub mod types;

pub use draft::MetadataDraft;
pub use parse::of_instance;

use rustc_hash::FxHashMap;

use super::draft::{Draft, InstanceDraft};
use super::place::{Located, Place, Report};
use super::suggest::quoted;
use super::validate::{Scope, unique};

/// Reports each id that another instance of the file has, or would have without one of its own.
pub fn check(draft: &Draft, report: &mut Report<'_>, scope: &Scope<'_>) {
    let is_change = scope.vpc.is_some();
    if is_change && scope.newest.is_none() {
        return;
    }
    let instances = || draft.vpcs.iter().flat_map(|vpc| &vpc.instances);
    let given: FxHashMap<&str, &Place> = instances()
        .filter_map(given_id)
        .map(|Located { value, place }| (value.as_str(), place))
        .collect();
    if given.is_empty() {
        return;
    }
    let show = |id: &String| format!("instance id {}", quoted(id));
    let ids = instances().filter_map(given_id);
    unique(ids, show, "give each an id of its own", report);
    let others: Vec<(&str, &str, &InstanceDraft)> = draft
        .vpcs
        .iter()
        .flat_map(|vpc| vpc.instances.iter().map(move |one| (vpc, one)))
        .filter(|(_, one)| given_id(one).is_none())
        .filter_map(|(vpc, one)| {
            Some((vpc.name.value()?.as_str(), one.name.value()?.as_str(), one))
        })
        .collect();
    // A hash for each of many takes its time, and those that were there before go together.
    let is_newest = |vpc: &str, name: &str| scope.vpc == Some(vpc) && scope.newest == Some(name);
    let newest_alone = others.iter().any(|(vpc, name, _)| is_newest(vpc, name));
    for (vpc, name, other) in others {
        if !newest_alone || is_newest(vpc, name) {
            let id = types::derived_id(vpc, name);
            if let Some(place) = given.get(id.as_str()) {
                let position = report.position(&other.place);
                report.error(
                    place,
                    format!("instance {} has this id already ({position})", quoted(name)),
                    "choose another one, or leave it out",
                );
            }
        }
    }
}

fn given_id(instance: &InstanceDraft) -> Option<&Located<String>> {
    instance.metadata.as_ref()?.id.given()
}
