//! JSON objects to TOML tables and back. Null and datetimes have no counterpart.

use serde_json::{Map, Number, Value as Json};
use toml_edit::{Array, InlineTable, Item, Table, TableLike, Value};

/// A key whose value TOML can't say.
#[derive(Debug)]
pub struct Unsayable {
    pub key: String,
    pub what: &'static str,
}

/// The table that says the same.
pub fn table(object: &Map<String, Json>) -> Result<Table, Unsayable> {
    let mut table = Table::new();
    for (key, json) in object {
        table.insert(key, Item::Value(value(key, json)?));
    }
    Ok(table)
}

fn value(key: &str, json: &Json) -> Result<Value, Unsayable> {
    let unsayable = |what| Unsayable {
        key: key.to_owned(),
        what,
    };
    Ok(match json {
        Json::Null => return Err(unsayable("null stands for nothing here")),
        Json::Bool(value) => (*value).into(),
        Json::String(value) => value.as_str().into(),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number
                .as_f64()
                .ok_or_else(|| unsayable("the number is too large"))?
                .into(),
        },
        Json::Array(elements) => {
            let elements = elements.iter().map(|element| value(key, element));
            Value::Array(elements.collect::<Result<Array, _>>()?)
        }
        Json::Object(object) => {
            let mut table = InlineTable::new();
            for (key, json) in object {
                table.insert(key, value(key, json)?);
            }
            Value::InlineTable(table)
        }
    })
}

/// What a table of a file says, without these keys.
pub fn object(table: &dyn TableLike, without: &[&str]) -> Map<String, Json> {
    let entries = table.iter().filter(|(key, _)| !without.contains(key));
    entries
        .map(|(key, item)| (key.to_owned(), of_item(item)))
        .collect()
}

fn of_item(item: &Item) -> Json {
    match item {
        Item::None => Json::Null,
        Item::Value(value) => of_value(value),
        Item::Table(table) => Json::Object(object(table, &[])),
        Item::ArrayOfTables(tables) => tables
            .iter()
            .map(|table| Json::Object(object(table, &[])))
            .collect(),
    }
}

fn of_value(value: &Value) -> Json {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(integer) => (*integer.value()).into(),
        Value::Float(float) => Number::from_f64(*float.value()).into(),
        Value::Boolean(boolean) => (*boolean.value()).into(),
        Value::Datetime(datetime) => datetime.value().to_string().into(),
        Value::Array(array) => array.iter().map(of_value).collect(),
        Value::InlineTable(table) => Json::Object(object(table, &[])),
    }
}
