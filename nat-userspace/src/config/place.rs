//! Values that know where in the file they stand, and the mistakes found there.

use std::fmt;
use std::rc::Rc;

use super::error::{ConfigError, ConfigErrors};
use super::suggest::{closest, quoted};

/// How many names may be compared for all suggestions together: what is wrong ten thousand times over
/// should not take minutes to say.
const MAX_COMPARISONS: usize = 200_000;

/// Where something stands in the file. Every value has one and few are ever shown, so it is cheap to
/// make and written out only when asked for.
#[derive(Debug, Clone)]
pub struct Place {
    /// Byte offset in the text.
    pub offset: usize,
    table: Path,
    key: Key,
}

/// The way to a table: `None` is the document's root.
pub type Path = Option<Rc<Step>>;

/// A table on the way to a key.
#[derive(Debug)]
pub struct Step {
    table: Path,
    key: Key,
}

/// A key in its table.
#[derive(Debug, Clone)]
pub enum Key {
    /// No key, such as the start of the file.
    Nothing,
    /// As it is written in TOML.
    Plain(&'static str),
    /// The same, of keys that nobody knows.
    Foreign(Box<str>),
    /// An element of a list, by its number.
    Element(&'static str, usize),
    /// An element of a list, by its name.
    Named(&'static str, Box<str>),
}

impl Place {
    /// The offset of everything that came by the API and so stands in no file.
    pub const API: usize = usize::MAX;

    /// The place of an object that came by the API, in its VPC.
    pub fn api(vpc: &str, part: Option<(&'static str, &str)>) -> Self {
        let vpc = Self::new(Self::API, &None, Key::Named("vpc", vpc.into()));
        match part {
            Some((kind, name)) => Self::new(Self::API, &vpc.path(), Key::Named(kind, name.into())),
            None => vpc,
        }
    }

    pub fn is_api(&self) -> bool {
        self.offset == Self::API
    }

    /// A key of a table.
    pub fn new(offset: usize, table: &Path, key: Key) -> Self {
        Self {
            offset,
            table: table.clone(),
            key,
        }
    }

    /// A place that is not a key's.
    pub fn nowhere(offset: usize) -> Self {
        Self::new(offset, &None, Key::Nothing)
    }

    /// The way to the keys of the table that is here.
    pub fn path(&self) -> Path {
        match self.key {
            Key::Nothing => None,
            _ => Some(Rc::new(Step {
                table: self.table.clone(),
                key: self.key.clone(),
            })),
        }
    }

    /// A key of the table at this place that is not in the file.
    pub fn child(&self, key: &'static str) -> Self {
        Self::new(self.offset, &self.path(), Key::Plain(key))
    }

    /// The path of the key, as people are shown it.
    pub fn shown(&self) -> String {
        let mut steps = vec![&self.key];
        let mut table = &self.table;
        while let Some(step) = table {
            steps.push(&step.key);
            table = &step.table;
        }
        let keys: Vec<String> = steps.into_iter().rev().map(Key::to_string).collect();
        keys.join(" / ")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Plain(key) => f.write_str(key),
            Self::Foreign(key) => f.write_str(key),
            Self::Element(key, index) => write!(f, "{key}[{index}]"),
            Self::Named(key, name) => write!(f, "{key} {}", quoted(name)),
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
    /// Each with its offset; columns are counted at the end.
    errors: Vec<(usize, ConfigError)>,
    comparisons_left: usize,
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
            comparisons_left: MAX_COMPARISONS,
        }
    }

    /// The candidate that was probably meant by `word`, if there is one and looking is still worth it.
    pub fn closest<'n>(&mut self, word: &str, candidates: &[&'n str]) -> Option<&'n str> {
        self.comparisons_left = self.comparisons_left.checked_sub(candidates.len())?;
        closest(word, candidates.iter().copied())
    }

    pub fn error(&mut self, place: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        let error = ConfigError {
            file: if place.is_api() { "API" } else { self.file }.to_owned(),
            line: if place.is_api() {
                0
            } else {
                self.line_of(place)
            },
            column: 0,
            key: place.shown(),
            message: message.into(),
            remedy: remedy.into(),
        };
        self.errors.push((place.offset, error));
    }

    /// A place in a sentence about another one: `line 7`, or the key of what came by the API.
    pub fn position(&self, place: &Place) -> String {
        if place.is_api() {
            format!("{} (API)", place.shown())
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
        errors.sort_by_key(|(offset, _)| *offset);
        // Of many errors on one long line, each is counted from the one before it.
        let (mut line, mut counted, mut column) = (0, 0, 1);
        let errors = errors.into_iter().map(|(offset, mut error)| {
            if error.line == 0 {
                return error;
            }
            if error.line != line {
                line = error.line;
                counted = self.line_starts[line - 1];
                column = 1;
            }
            let between = self.text.get(counted..offset).unwrap_or_default();
            column += between.chars().count();
            counted = offset;
            error.column = column;
            error
        });
        ConfigErrors(errors.collect())
    }
}
