//! The objects of a file: what it says of each, and where.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use toml_edit::{Document, Item, TableLike, Value};

use super::{Kind, ObjectKey, json};
use crate::config::place::{Place, Report};

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
    pub fn of(document: &Document<&str>, report: &Report<'_>) -> Self {
        let root = document.as_table();
        let mut file = Self {
            node: root.get("node").and_then(Item::as_table_like).map(|node| {
                let span = root.get("node").and_then(Item::span);
                written(node, &[], span.map_or(0, |span| span.start), report)
            }),
            objects: BTreeMap::new(),
        };
        for (vpc, at) in tables(root, "vpc") {
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

fn name(table: &dyn TableLike) -> Option<&str> {
    table.get("name").and_then(Item::as_str)
}

fn written(table: &dyn TableLike, without: &[&str], at: usize, report: &Report<'_>) -> Written {
    Written {
        line: report.line_of(&Place::nowhere(at)),
        spec: Json::Object(json::object(table, without)).to_string(),
    }
}

/// The tables of `[[key]]` or `key = [{ .. }]`, each with its offset.
fn tables<'d>(table: &'d dyn TableLike, key: &str) -> Vec<(&'d dyn TableLike, usize)> {
    let at = |span: Option<std::ops::Range<usize>>| span.map_or(0, |span| span.start);
    match table.get(key) {
        Some(Item::ArrayOfTables(tables)) => tables
            .iter()
            .map(|table| (table as &dyn TableLike, at(table.span())))
            .collect(),
        Some(Item::Value(Value::Array(array))) => array
            .iter()
            .filter_map(|element| Some((element.as_inline_table()?, at(element.span()))))
            .map(|(table, at)| (table as &dyn TableLike, at))
            .collect(),
        _ => Vec::new(),
    }
}

/// A stored specification.
pub fn parsed(spec: &str) -> Map<String, Json> {
    serde_json::from_str(spec).unwrap_or_default()
}
