//! What differs between two files, object by object and field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::file::{File, Written, parsed};

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// Some of its fields change.
    Changed,
}

/// An object that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectChange {
    /// `vpc/kind/name`, or `node`.
    pub object: String,
    /// What becomes of it.
    pub what: What,
    /// What is written of it.
    pub fields: Vec<FieldChange>,
}

/// A field, or one element of a list, that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Its key.
    pub field: String,
    /// What was written; nothing when it is new.
    pub before: Option<Json>,
    /// What is written; nothing when it goes.
    pub after: Option<Json>,
}

/// All that changes from one file to the other.
pub fn difference(before: &File, after: &File) -> Vec<ObjectChange> {
    let mut changes = Vec::new();
    changes.extend(object("node", before.node.as_ref(), after.node.as_ref()));
    let keys: BTreeSet<_> = before.objects.keys().chain(after.objects.keys()).collect();
    for key in keys {
        let (before, after) = (before.objects.get(key), after.objects.get(key));
        // Most do not change, and their name is not needed then.
        if before.map(|written| &written.spec) != after.map(|written| &written.spec) {
            changes.extend(object(&key.to_string(), before, after));
        }
    }
    changes
}

fn object(name: &str, before: Option<&Written>, after: Option<&Written>) -> Option<ObjectChange> {
    let fields = |written: Option<&Written>| written.map(|written| parsed(&written.spec));
    let what = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => What::Added,
        (Some(_), None) => What::Removed,
        (Some(before), Some(after)) if before.spec == after.spec => return None,
        (Some(_), Some(_)) => What::Changed,
    };
    let fields = self::fields(
        &fields(before).unwrap_or_default(),
        &fields(after).unwrap_or_default(),
    );
    Some(ObjectChange {
        object: name.to_owned(),
        what,
        fields,
    })
}

fn fields(before: &Map<String, Json>, after: &Map<String, Json>) -> Vec<FieldChange> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let (before, after) = (before.get(key), after.get(key));
        let change = |before: Option<&Json>, after: Option<&Json>| FieldChange {
            field: key.clone(),
            before: before.cloned(),
            after: after.cloned(),
        };
        match (before, after) {
            _ if before == after => {}
            (Some(Json::Array(before)), Some(Json::Array(after))) => {
                let (gone, new) = (surplus(before, after), surplus(after, before));
                if gone.is_empty() && new.is_empty() {
                    // Only their order.
                    changes.push(FieldChange {
                        field: key.clone(),
                        before: Some(Json::Array(before.clone())),
                        after: Some(Json::Array(after.clone())),
                    });
                }
                changes.extend(gone.into_iter().map(|element| change(Some(element), None)));
                changes.extend(new.into_iter().map(|element| change(None, Some(element))));
            }
            _ => changes.push(change(before, after)),
        }
    }
    changes
}

/// The elements that the other list does not have, or not as often.
fn surplus<'a>(of: &'a [Json], other: &[Json]) -> Vec<&'a Json> {
    let mut there: BTreeMap<String, usize> = BTreeMap::new();
    for element in other {
        *there.entry(element.to_string()).or_default() += 1;
    }
    let mut is_surplus = |element: &&Json| match there.get_mut(&element.to_string()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    of.iter().filter(|element| is_surplus(element)).collect()
}
