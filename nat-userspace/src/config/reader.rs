//! Walks a spanned TOML document. Every value read knows its place, every mistake is collected, and
//! a table knows which of its keys nobody asked for.

use toml_edit::{Item, Table, TableLike, Value};

use super::place::{Key, List, Located, Path, Place, Read, Report};
use super::{suggest, values};

/// Why a value was not accepted.
pub enum Complaint {
    WrongType,
    Invalid { message: String, remedy: String },
}

impl Complaint {
    pub fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// A key the configuration knows.
pub struct Field {
    pub key: &'static str,
    /// Its type in words.
    pub expects: &'static str,
    /// How it is written.
    pub example: &'static str,
}

/// Shorthand for a [`Field`].
pub const fn field(key: &'static str, expects: &'static str, example: &'static str) -> Field {
    Field {
        key,
        expects,
        example,
    }
}

/// A table being read.
pub struct Section<'d> {
    table: &'d dyn TableLike,
    pub place: Place,
    /// Of its keys.
    path: Path,
    known: Vec<&'static str>,
    replaced: Vec<&'static str>,
}

impl<'d> Section<'d> {
    pub fn root(table: &'d Table) -> Self {
        Self::new(table, Place::nowhere(0))
    }

    pub fn new(table: &'d dyn TableLike, place: Place) -> Self {
        Self {
            table,
            path: place.path(),
            place,
            known: Vec::new(),
            replaced: Vec::new(),
        }
    }

    pub fn has(&self, field: &Field) -> bool {
        self.table.contains_key(field.key)
    }

    /// Reads a key that may be left out.
    pub fn optional<T>(
        &mut self,
        report: &mut Report<'_>,
        field: &Field,
        convert: impl FnOnce(&'d Value) -> Result<T, Complaint>,
    ) -> Read<T> {
        let Some((item, place)) = self.take(field.key) else {
            return Read::Absent;
        };
        let converted = item
            .as_value()
            .ok_or(Complaint::WrongType)
            .and_then(convert);
        match converted {
            Ok(value) => Read::Given(Located { value, place }),
            Err(complaint) => {
                refuse(report, &place, complaint, field.expects, item, field);
                Read::Broken
            }
        }
    }

    /// Reads a key that must be there.
    pub fn required<T>(
        &mut self,
        report: &mut Report<'_>,
        field: &Field,
        convert: impl FnOnce(&'d Value) -> Result<T, Complaint>,
    ) -> Read<T> {
        match self.optional(report, field, convert) {
            Read::Absent => {
                self.missing(report, field);
                Read::Broken
            }
            read => read,
        }
    }

    /// Reads an array of values that may be left out.
    pub fn list<T>(
        &mut self,
        report: &mut Report<'_>,
        field: &Field,
        convert: impl Fn(&'d Value) -> Result<T, Complaint>,
    ) -> List<T> {
        let mut list = List::default();
        let Some((item, place)) = self.take(field.key) else {
            return list;
        };
        let Some(array) = item.as_array() else {
            refuse(
                report,
                &place,
                Complaint::WrongType,
                field.expects,
                item,
                field,
            );
            list.complete = false;
            list.place = Some(place);
            return list;
        };
        for (index, element) in array.iter().enumerate() {
            let offset = element.span().map_or(place.offset, |span| span.start);
            let place = self.element(field, index, offset);
            match convert(element) {
                Ok(value) => list.items.push(Located { value, place }),
                Err(complaint) => {
                    list.complete = false;
                    let found = values::type_name(element);
                    refuse_found(report, &place, complaint, "a string", found, field);
                }
            }
        }
        list.place = Some(place);
        list
    }

    /// Reads an array of values that must be there; it may be empty.
    pub fn required_list<T>(
        &mut self,
        report: &mut Report<'_>,
        field: &Field,
        convert: impl Fn(&'d Value) -> Result<T, Complaint>,
    ) -> List<T> {
        let mut list = self.list(report, field, convert);
        if list.place.is_none() {
            self.missing(report, field);
            list.complete = false;
        }
        list
    }

    /// Opens a table that may be left out, written `[key]` or `key = { .. }`.
    pub fn section(&mut self, report: &mut Report<'_>, field: &Field) -> Option<Section<'d>> {
        let (item, place) = self.take(field.key)?;
        match item.as_table_like() {
            Some(table) => Some(Section::new(table, place)),
            None => {
                refuse(
                    report,
                    &place,
                    Complaint::WrongType,
                    field.expects,
                    item,
                    field,
                );
                None
            }
        }
    }

    /// Opens an array of tables, written `[[key]]` or `key = [{ .. }]`. The flag is false when
    /// something of it was no table.
    pub fn sections(&mut self, report: &mut Report<'_>, field: &Field) -> (Vec<Section<'d>>, bool) {
        let Some((item, place)) = self.take(field.key) else {
            return (Vec::new(), true);
        };
        let mut sections = Vec::new();
        let mut complete = true;
        let mut open = |table: &'d dyn TableLike, offset: Option<usize>| {
            let index = sections.len();
            let name = table.get("name").and_then(Item::as_str);
            let key = match name {
                Some(name) if values::is_name(name) => Key::Named(field.key, name.into()),
                _ => Key::Element(field.key, index),
            };
            let place = Place::new(offset.unwrap_or(place.offset), &self.path, key);
            sections.push(Section::new(table, place));
        };
        match item {
            Item::ArrayOfTables(tables) => {
                for table in tables {
                    open(table, table.span().map(|span| span.start));
                }
            }
            Item::Value(Value::Array(array)) => {
                for (index, element) in array.iter().enumerate() {
                    let offset = element.span().map(|span| span.start);
                    if let Some(table) = element.as_inline_table() {
                        open(table, offset);
                        continue;
                    }
                    complete = false;
                    let place = self.element(field, index, offset.unwrap_or(place.offset));
                    let found = values::type_name(element);
                    refuse_found(
                        report,
                        &place,
                        Complaint::WrongType,
                        "a table",
                        found,
                        field,
                    );
                }
            }
            other => {
                complete = false;
                refuse(
                    report,
                    &place,
                    Complaint::WrongType,
                    field.expects,
                    other,
                    field,
                );
                // Read on, so that mistakes inside are named in the same run.
                if let Some(table) = other.as_table_like() {
                    open(table, None);
                }
            }
        }
        (sections, complete)
    }

    /// As [`Self::sections`], each read by `read` as a whole.
    pub fn each<T>(
        &mut self,
        report: &mut Report<'_>,
        field: &Field,
        read: impl Fn(&mut Self, &mut Report<'_>) -> T,
    ) -> Vec<T> {
        let (sections, _) = self.sections(report, field);
        sections
            .into_iter()
            .map(|section| section.whole(report, &read))
            .collect()
    }

    /// All of this table; keys that `read` does not ask for are reported.
    pub fn whole<T>(
        mut self,
        report: &mut Report<'_>,
        read: impl FnOnce(&mut Self, &mut Report<'_>) -> T,
    ) -> T {
        let whole = read(&mut self, report);
        self.finish(report);
        whole
    }

    /// Refuses a key that others stand for now; `remedy` names them.
    pub fn replaced(&mut self, report: &mut Report<'_>, key: &'static str, remedy: &str) {
        self.replaced.push(key);
        if let Some((spelt, item)) = self.table.get_key_value(key) {
            let place = self.place_of(spelt, item, Key::Plain(key));
            report.error(&place, "replaced by other keys", remedy);
        }
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self, report: &mut Report<'_>) {
        for (key, _) in self.table.iter() {
            if self.known.contains(&key) || self.replaced.contains(&key) {
                continue;
            }
            let Some((spelt, item)) = self.table.get_key_value(key) else {
                continue;
            };
            let written = suggest::key(key);
            let shown = Key::Foreign(written.as_str().into());
            let place = self.place_of(spelt, item, shown);
            if is_planned(key) {
                let remedy = format!("remove {written}");
                report.error(&place, "not supported in this version", remedy);
                continue;
            }
            let known = self.known.join(", ");
            let remedy = match report.closest(key, &self.known) {
                Some(near) => format!("did you mean {near}? known keys here: {known}"),
                None => format!("remove it; known keys here: {known}"),
            };
            report.error(&place, "unknown key", remedy);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<(&'d Item, Place)> {
        self.known.push(key);
        let (spelt, item) = self.table.get_key_value(key)?;
        Some((item, self.place_of(spelt, item, Key::Plain(key))))
    }

    fn place_of(&self, spelt: &toml_edit::Key, item: &Item, key: Key) -> Place {
        let span = spelt.span().or_else(|| item.span());
        let offset = span.map_or(self.place.offset, |span| span.start);
        Place::new(offset, &self.path, key)
    }

    /// An element of a list that is a key of this table.
    fn element(&self, field: &Field, index: usize, offset: usize) -> Place {
        Place::new(offset, &self.path, Key::Element(field.key, index))
    }

    fn missing(&self, report: &mut Report<'_>, field: &Field) {
        report.error(
            &self.place.child(field.key),
            "required key is missing",
            format!("add {}", field.example),
        );
    }
}

/// Words of the design that are not built yet. They are refused by name, so that nobody takes them for
/// misspelt.
fn is_planned(key: &str) -> bool {
    key.starts_with("endpoint")
}

fn refuse(
    report: &mut Report<'_>,
    place: &Place,
    complaint: Complaint,
    expects: &str,
    item: &Item,
    field: &Field,
) {
    let found = match item {
        Item::Value(value) => values::type_name(value),
        Item::ArrayOfTables(_) => "an array of tables",
        Item::Table(_) | Item::None => "a table",
    };
    refuse_found(report, place, complaint, expects, found, field);
}

fn refuse_found(
    report: &mut Report<'_>,
    place: &Place,
    complaint: Complaint,
    expects: &str,
    found: &str,
    field: &Field,
) {
    match complaint {
        Complaint::Invalid { message, remedy } => report.error(place, message, remedy),
        Complaint::WrongType => report.error(
            place,
            format!("expected {expects}, found {found}"),
            format!("write {}", field.example),
        ),
    }
}
