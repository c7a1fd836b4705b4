//! The objects of a file: what it says of each, and where.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{Kind, ObjectKey, json};
use crate::config::place::{Place, Report};
use crate::config::toml::{self, Table};

/// What is written of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its line in the file.
    pub line: usize,
    /// Its keys, but for the name that it goes by, as a JSON object. Text takes a tenth of the memory that a tree takes.
    pub spec: String,
}

/// A file taken apart.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// The table `[node]`, which has no name.
    pub node: Option<Written>,
    /// All others.
    pub objects: BTreeMap<ObjectKey, Written>,
}

impl File {
    /// Of a document without mistakes; what has no name, or one that is taken, is left out.
    pub fn of(document: &Table<'_>, report: &Report<'_>) -> Self {
        let node = document.get("node");
        let node = node.and_then(|node| Some((node.value.as_table()?, node.offset)));
        let mut file = Self {
            node: node.map(|(node, at)| written(node, &[], at, report)),
            objects: BTreeMap::new(),
        };
        for (vpc, at) in tables(document, "vpc") {
            let Some(vpc_name) = name(vpc) else { continue };
            let parts = Kind::ALL.into_iter().map(Kind::name);
            let itself: Vec<_> = parts.chain(["name"]).collect();
            let itself = written(vpc, &itself, at, report);
            file.objects
                .entry(ObjectKey::vpc(vpc_name))
                .or_insert(itself);
            for kind in Kind::ALL {
                for (table, at) in tables(vpc, kind.name()) {
                    let Some(name) = name(table) else { continue };
                    let key = ObjectKey::new(vpc_name, kind, name);
                    let written = written(table, &["name"], at, report);
                    file.objects.entry(key).or_insert(written);
                }
            }
        }
        file
    }
}

fn name<'d>(table: &'d Table<'_>) -> Option<&'d str> {
    table.get("name")?.value.as_str()
}

fn written(table: &Table<'_>, without: &[&str], at: usize, report: &Report<'_>) -> Written {
    Written {
        line: report.line_of(&Place::nowhere(at)),
        spec: Json::Object(json::object(table, without)).to_string(),
    }
}

/// The tables of `[[key]]` or `key = [{ .. }]`, each with its offset.
fn tables<'d>(
    table: &'d Table<'d>,
    key: &str,
) -> impl Iterator<Item = (&'d Table<'d>, usize)> + use<'d> {
    let values = match table.get(key).map(|entry| &entry.value.kind) {
        Some(toml::Kind::Tables(values) | toml::Kind::Array(values)) => values.as_slice(),
        _ => &[],
    };
    let tables = values.iter();
    tables.filter_map(|value| Some((value.as_table()?, value.offset)))
}

/// A stored specification.
pub fn parsed(spec: &str) -> Map<String, Json> {
    serde_json::from_str(spec).unwrap_or_default()
}
