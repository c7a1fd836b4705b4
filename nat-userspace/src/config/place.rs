//! Values that know where in the file they stand, and the mistakes found there.

use super::error::{ConfigError, ConfigErrors};

/// Where something stands in the file.
#[derive(Debug, Clone)]
pub struct Place {
    /// Byte offset in the text.
    pub offset: usize,
    /// Path of the key.
    pub key: String,
}

impl Place {
    /// The offset of everything that came by the API and so stands in no file.
    pub const API: usize = usize::MAX;

    /// The place of an object that came by the API; `key` names it.
    pub fn api(key: String) -> Self {
        Self {
            offset: Self::API,
            key,
        }
    }

    pub fn is_api(&self) -> bool {
        self.offset == Self::API
    }

    /// A place that is not a key's.
    pub fn nowhere(offset: usize) -> Self {
        Self {
            offset,
            key: String::new(),
        }
    }

    /// A key beside or below this place that is not in the file.
    pub fn child(&self, key: &str) -> Self {
        Self {
            offset: self.offset,
            key: join(&self.key, key),
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Located<T> {
    pub value: T,
    pub place: Place,
}

/// What reading one key gave.
#[derive(Debug, Clone, Default)]
pub enum Read<T> {
    #[default]
    Absent,
    /// It was there, or had to be, and the mistake is reported.
    Broken,
    Given(Located<T>),
}

impl<T> Read<T> {
    pub fn given(&self) -> Option<&Located<T>> {
        match self {
            Self::Given(located) => Some(located),
            Self::Absent | Self::Broken => None,
        }
    }

    pub fn value(&self) -> Option<&T> {
        self.given().map(|located| &located.value)
    }

    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }

    /// The value of a key that must be there.
    pub fn required(self) -> Option<T> {
        match self {
            Self::Given(located) => Some(located.value),
            Self::Absent | Self::Broken => None,
        }
    }

    /// The value of a key that may be left out.
    pub fn optional(self) -> Option<Option<T>> {
        match self {
            Self::Given(located) => Some(Some(located.value)),
            Self::Absent => Some(None),
            Self::Broken => None,
        }
    }

    /// The value of a key with a default.
    pub fn or(self, default: T) -> Option<T> {
        self.optional().map(|value| value.unwrap_or(default))
    }
}

/// A list read from one key.
#[derive(Debug, Clone)]
pub struct List<T> {
    pub items: Vec<Located<T>>,
    /// Where the list starts; `None` when the key is absent.
    pub place: Option<Place>,
    /// False when something of it could not be read, which was reported.
    pub complete: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            place: None,
            complete: true,
        }
    }
}

impl<T> List<T> {
    pub fn all(self) -> Option<Vec<T>> {
        self.complete
            .then(|| self.items.into_iter().map(|item| item.value).collect())
    }
}

/// The mistakes found so far.
pub struct Report<'a> {
    file: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
    errors: Vec<ConfigError>,
}

impl<'a> Report<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(offset, _)| offset + 1))
            .collect();
        Self {
            file,
            text,
            line_starts,
            errors: Vec::new(),
        }
    }

    pub fn error(&mut self, place: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        let (file, line, column) = if place.is_api() {
            ("API", 0, 0)
        } else {
            let line = self.line_of(place);
            let start = self.line_starts[line - 1];
            let before = self.text.get(start..place.offset).unwrap_or_default();
            (self.file, line, before.chars().count() + 1)
        };
        self.errors.push(ConfigError {
            file: file.to_owned(),
            line,
            column,
            key: place.key.clone(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// A place in a sentence about another one: `line 7`, or the key of what came by the API.
    pub fn position(&self, place: &Place) -> String {
        if place.is_api() {
            format!("{} (API)", place.key)
        } else {
            format!("line {}", self.line_of(place))
        }
    }

    /// The line of a place in the file, from 1.
    pub fn line_of(&self, place: &Place) -> usize {
        self.line_starts
            .partition_point(|start| *start <= place.offset)
            .max(1)
    }

    /// Takes over what another report has found.
    pub fn append(&mut self, other: &mut Report<'_>) {
        self.errors.append(&mut other.errors);
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The errors in the order of the file; the report starts afresh.
    pub fn finish(&mut self) -> ConfigErrors {
        let mut errors = std::mem::take(&mut self.errors);
        errors.sort_by_key(|error| (error.line, error.column));
        ConfigErrors(errors)
    }
}

/// Appends a key to the path of its table.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path} / {key}")
    }
}
