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
use super::validate::unique;

/// Reports each id that another instance of the file has, or would have without one of its own.
pub fn check(draft: &Draft, report: &mut Report<'_>) {
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
    for vpc in &draft.vpcs {
        let others = vpc.instances.iter();
        for other in others.filter(|other| given_id(other).is_none()) {
            let (Some(vpc), Some(name)) = (vpc.name.value(), other.name.value()) else {
                continue;
            };
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
