//! Walks a spanned TOML document. Every value read knows its place, every mistake is collected, and
//! a table knows which of its keys nobody asked for.

use super::place::{Key, List, Located, Path, Place, Read, Report};
use super::toml::{Entry, Kind, Table, Value};
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
    table: &'d Table<'d>,
    pub place: Place,
    /// Of its keys.
    path: Path,
    known: Vec<&'static str>,
    replaced: Vec<&'static str>,
}

impl<'d> Section<'d> {
    pub fn root(table: &'d Table<'d>) -> Self {
        Self::new(table, Place::nowhere(0))
    }

    pub fn new(table: &'d Table<'d>, place: Place) -> Self {
        Self {
            table,
            path: place.path(),
            place,
            known: Vec::new(),
            replaced: Vec::new(),
        }
    }

    pub fn has(&self, field: &Field) -> bool {
        self.table.get(field.key).is_some()
    }

    /// Where a key stands; `None` when it is absent.
    pub fn place_of_key(&self, field: &Field) -> Option<Place> {
        let entry = self.table.get(field.key)?;
        Some(self.place_of(entry, Key::Plain(field.key)))
    }

    /// Reads a key that may be left out.
    pub fn optional<T>(
        &mut self,
        report: &mut Report<'_>,
        field: &Field,
        convert: impl FnOnce(&'d Value<'d>) -> Result<T, Complaint>,
    ) -> Read<T> {
        let Some((item, place)) = self.take(field.key) else {
            return Read::Absent;
        };
        match convert(item) {
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
        convert: impl FnOnce(&'d Value<'d>) -> Result<T, Complaint>,
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
        convert: impl Fn(&'d Value<'d>) -> Result<T, Complaint>,
    ) -> List<T> {
        self.list_of("a string", report, field, convert)
    }

    /// As [`Self::list`], whose elements are of the type that `each` names.
    pub fn list_of<T>(
        &mut self,
        each: &str,
        report: &mut Report<'_>,
        field: &Field,
        convert: impl Fn(&'d Value<'d>) -> Result<T, Complaint>,
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
            let place = self.element(field, index, element.offset);
            match convert(element) {
                Ok(value) => list.items.push(Located { value, place }),
                Err(complaint) => {
                    list.complete = false;
                    let found = element.type_name();
                    refuse_found(report, &place, complaint, each, found, field);
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
        convert: impl Fn(&'d Value<'d>) -> Result<T, Complaint>,
    ) -> List<T> {
        let mut list = self.list(report, field, convert);
        if list.place.is_none() {
            self.missing(report, field);
            list.complete = false;
        }
        list
    }

    /// Reads a table that may be left out, of any keys with text.
    pub fn texts(&mut self, report: &mut Report<'_>, field: &Field) -> List<(String, String)> {
        let mut list = List::default();
        let Some((item, place)) = self.take(field.key) else {
            return list;
        };
        let path = place.path();
        list.place = Some(place.clone());
        let Some(table) = item.as_table() else {
            list.complete = false;
            let complaint = Complaint::WrongType;
            refuse(report, &place, complaint, field.expects, item, field);
            return list;
        };
        for entry in table.iter() {
            let written = suggest::key(&entry.key);
            let place = Place::new(entry.offset, &path, Key::Foreign(written.into()));
            let Some(text) = entry.value.as_str() else {
                list.complete = false;
                let (complaint, found) = (Complaint::WrongType, entry.value.type_name());
                refuse_found(report, &place, complaint, "a string", found, field);
                continue;
            };
            let value = (entry.key.clone().into_owned(), text.to_owned());
            list.items.push(Located { value, place });
        }
        list
    }

    /// Opens a table that may be left out, written `[key]` or `key = { .. }`.
    pub fn section(&mut self, report: &mut Report<'_>, field: &Field) -> Option<Section<'d>> {
        let (item, place) = self.take(field.key)?;
        match item.as_table() {
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
        let mut open = |table: &'d Table<'d>, offset: usize| {
            let index = sections.len();
            let name = table.get("name").and_then(|entry| entry.value.as_str());
            let key = match name {
                Some(name) if values::is_name(name) => Key::Named(field.key, name.into()),
                _ => Key::Element(field.key, index),
            };
            let place = Place::new(offset, &self.path, key);
            sections.push(Section::new(table, place));
        };
        match &item.kind {
            Kind::Tables(elements) | Kind::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    if let Some(table) = element.as_table() {
                        open(table, element.offset);
                        continue;
                    }
                    complete = false;
                    refuse_found(
                        report,
                        &self.element(field, index, element.offset),
                        Complaint::WrongType,
                        "a table",
                        element.type_name(),
                        field,
                    );
                }
            }
            _ => {
                complete = false;
                refuse(
                    report,
                    &place,
                    Complaint::WrongType,
                    field.expects,
                    item,
                    field,
                );
                // Read on, so that mistakes inside are named in the same run.
                if let Some(table) = item.as_table() {
                    open(table, place.offset);
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
        if let Some(entry) = self.table.get(key) {
            let place = self.place_of(entry, Key::Plain(key));
            report.error(&place, "replaced by other keys", remedy);
        }
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self, report: &mut Report<'_>) {
        for entry in self.table.iter() {
            let key = entry.key.as_ref();
            if self.known.contains(&key) || self.replaced.contains(&key) {
                continue;
            }
            let written = suggest::key(key);
            let place = self.place_of(entry, Key::Foreign(written.as_str().into()));
            let known = self.known.join(", ");
            let remedy = match report.closest(key, &self.known) {
                Some(near) => format!("did you mean {near}? known keys here: {known}"),
                None => format!("remove it; known keys here: {known}"),
            };
            report.error(&place, "unknown key", remedy);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<(&'d Value<'d>, Place)> {
        self.known.push(key);
        let entry = self.table.get(key)?;
        Some((&entry.value, self.place_of(entry, Key::Plain(key))))
    }

    fn place_of(&self, entry: &Entry<'_>, key: Key) -> Place {
        Place::new(entry.offset, &self.path, key)
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

fn refuse(
    report: &mut Report<'_>,
    place: &Place,
    complaint: Complaint,
    expects: &str,
    value: &Value<'_>,
    field: &Field,
) {
    refuse_found(report, place, complaint, expects, value.type_name(), field);
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
