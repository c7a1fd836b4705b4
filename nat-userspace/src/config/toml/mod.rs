//! A TOML document as tables that know where in the text their keys and values stand.
//!
//! `toml_parser` reads the text; `build` makes the tables of what it reports. `toml_edit`, which keeps
//! all that it takes to write a document again, needs several times the time and the memory for the
//! 100,000 routes that a file may have: here it only says what is wrong with a text that is no TOML.

mod build;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use build::{Malformed, parse};
use rustc_hash::FxHashMap;
#[cfg(test)]
pub use tests::read_alike;

/// From this many keys on, a table is searched by hash.
const MANY: usize = 16;

/// What stands behind a key or in an array.
#[derive(Debug)]
pub struct Value<'t> {
    /// Where it begins, in bytes: a table's header, bracket or, when it is made by a dotted key, that key.
    pub offset: usize,
    pub kind: Kind<'t>,
}

/// The kinds of values.
#[derive(Debug)]
pub enum Kind<'t> {
    String(Cow<'t, str>),
    Integer(i64),
    Float,
    Boolean(bool),
    Datetime,
    Array(Vec<Value<'t>>),
    /// `{ .. }`
    Inline(Table<'t>),
    /// `[key]`, or made by `key.other = ..`
    Table(Table<'t>),
    /// `[[key]]`; each is a [`Kind::Table`].
    Tables(Vec<Value<'t>>),
}

impl<'t> Value<'t> {
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_integer(&self) -> Option<i64> {
        match self.kind {
            Kind::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            Kind::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Value<'t>]> {
        match &self.kind {
            Kind::Array(values) => Some(values),
            _ => None,
        }
    }

    /// However it is written.
    pub fn as_table(&self) -> Option<&Table<'t>> {
        match &self.kind {
            Kind::Inline(table) | Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Its type in words.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::String(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float => "a float",
            Kind::Boolean(_) => "a boolean",
            Kind::Datetime => "a date",
            Kind::Array(_) => "an array",
            Kind::Inline(_) | Kind::Table(_) => "a table",
            Kind::Tables(_) => "an array of tables",
        }
    }
}

/// Keys with their values, in the order of the text.
#[derive(Debug, Default)]
pub struct Table<'t> {
    entries: Vec<Entry<'t>>,
    /// Of the entries; only when there are [`MANY`], which most of 100,000 tables have not.
    index: Option<Box<FxHashMap<Cow<'t, str>, usize>>>,
    /// It has no header of its own (yet), but was named on the way to another one.
    implicit: bool,
    /// It was made by a dotted key.
    dotted: bool,
}

/// A key with its value.
#[derive(Debug)]
pub struct Entry<'t> {
    pub key: Cow<'t, str>,
    /// Where the key stands, in bytes.
    pub offset: usize,
    pub value: Value<'t>,
}

impl<'t> Table<'t> {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry<'t>> {
        self.entries.iter()
    }

    pub fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.get(self.position(key)?)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Entry<'t>> {
        let position = self.position(key)?;
        self.entries.get_mut(position)
    }

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|entry| entry.key == key),
        }
    }

    /// Adds a key that is not there.
    pub fn push(&mut self, entry: Entry<'t>) {
        let position = self.entries.len();
        if position == 0 {
            // Most of the tables of a large file are routes, which have two keys.
            self.entries.reserve_exact(2);
        }
        if let Some(index) = &mut self.index {
            index.insert(entry.key.clone(), position);
        }
        self.entries.push(entry);
        if position + 1 == MANY {
            let entries = self.entries.iter().enumerate();
            let index = entries.map(|(position, entry)| (entry.key.clone(), position));
            self.index = Some(Box::new(index.collect()));
        }
    }
}
