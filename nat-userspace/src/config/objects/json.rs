//! JSON objects to the tables of a TOML document and back. Null has no counterpart.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::config::place::Place;
use crate::config::toml::{Entry, Kind, Table, Value};

/// A key whose value TOML can't say.
#[derive(Debug)]
pub struct Unsayable {
    pub key: String,
    pub what: &'static str,
}

/// The table that says the same, under this name.
pub fn table<'j>(name: &'j str, object: &'j Map<String, Json>) -> Result<Table<'j>, Unsayable> {
    let mut table = of_object(object)?;
    table.push(entry("name", Kind::String(Cow::Borrowed(name))));
    Ok(table)
}

const fn entry<'j>(key: &'j str, kind: Kind<'j>) -> Entry<'j> {
    Entry {
        key: Cow::Borrowed(key),
        offset: Place::API,
        value: value(kind),
    }
}

const fn value(kind: Kind<'_>) -> Value<'_> {
    Value {
        offset: Place::API,
        kind,
    }
}

fn of_object(object: &Map<String, Json>) -> Result<Table<'_>, Unsayable> {
    let mut table = Table::default();
    for (key, json) in object {
        table.push(entry(key, of_json(key, json)?));
    }
    Ok(table)
}

fn of_json<'j>(key: &str, json: &'j Json) -> Result<Kind<'j>, Unsayable> {
    Ok(match json {
        Json::Null => {
            return Err(Unsayable {
                key: key.to_owned(),
                what: "null stands for nothing here",
            });
        }
        Json::Bool(value) => Kind::Boolean(*value),
        Json::String(text) => Kind::String(Cow::Borrowed(text)),
        Json::Number(number) => number.as_i64().map_or(Kind::Float, Kind::Integer),
        Json::Array(elements) => {
            let elements = elements.iter().map(|element| of_json(key, element));
            Kind::Array(
                elements
                    .map(|kind| kind.map(value))
                    .collect::<Result<_, _>>()?,
            )
        }
        Json::Object(object) => Kind::Inline(of_object(object)?),
    })
}

/// What a table of a file says, without these keys.
pub fn object(table: &Table<'_>, without: &[&str]) -> Map<String, Json> {
    let entries = table.iter();
    let entries = entries.filter(|entry| !without.contains(&entry.key.as_ref()));
    entries
        .map(|entry| (entry.key.clone().into_owned(), of_value(&entry.value)))
        .collect()
}

fn of_value(value: &Value<'_>) -> Json {
    match &value.kind {
        Kind::String(text) => text.as_ref().into(),
        Kind::Integer(number) => (*number).into(),
        Kind::Boolean(value) => (*value).into(),
        // No key takes one.
        Kind::Float | Kind::Datetime => Json::Null,
        Kind::Array(values) | Kind::Tables(values) => values.iter().map(of_value).collect(),
        Kind::Inline(table) | Kind::Table(table) => Json::Object(object(table, &[])),
    }
}
