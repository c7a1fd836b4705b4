//! What is asked of a controller, and what it says.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use tokio::sync::oneshot;

use crate::{
    config::{
        ConfigErrors,
        objects::{Kind, ObjectKey, Source},
    },
    error::Error,
};

/// A command and who waits for its answer.
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Only if this is the revision.
    pub expected: Option<u64>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// What can be asked.
#[derive(Debug)]
pub enum Command {
    /// Every object of this VPC and kind.
    List(Option<String>, Option<Kind>),
    /// One object.
    Find(ObjectKey),
    /// Make it, or replace it.
    Put(ObjectKey, Map<String, Json>),
    /// Take it away.
    Delete(ObjectKey),
    /// Replace the file.
    Apply(Source),
    /// What applying it would change.
    Diff(Source),
    /// Figures.
    Status,
}

/// What comes back.
pub type Answer = Result<Reply, Rejection>;

/// It was done.
#[derive(Debug)]
pub struct Reply {
    /// An object was made.
    pub made: bool,
    /// After it.
    pub revision: u64,
    /// What there is to say.
    pub body: Json,
}

/// It was not done, and nothing was changed.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Rejection {
    /// What kind of reason.
    #[serde(skip)]
    pub cause: Cause,
    /// The reasons.
    pub errors: Vec<Mistake>,
}

/// Kinds of reasons, each with a status code of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The request can't be read.
    Malformed,
    /// There is no such object.
    Missing,
    /// It goes against another owner, or against what a running controller can change.
    Conflict,
    /// Somebody else was faster.
    Outdated,
    /// The request is too large.
    TooLarge,
    /// It is not valid.
    Invalid,
    /// The controller could not do it.
    Failed,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// What is wrong.
    pub what: String,
    /// Where: file, line and key, or an object.
    #[serde(rename = "where")]
    pub place: String,
    /// How to mend it.
    pub remedy: String,
}

impl Rejection {
    /// For one reason.
    pub fn new(
        cause: Cause,
        what: impl Into<String>,
        place: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            cause,
            errors: vec![Mistake {
                what: what.into(),
                place: place.into(),
                remedy: remedy.into(),
            }],
        }
    }

    /// For mistakes in a configuration.
    pub fn of_config(cause: Cause, errors: ConfigErrors) -> Self {
        let mistake = |error: crate::config::ConfigError| Mistake {
            place: match (error.line, error.key.as_str()) {
                (0, key) => key.to_owned(),
                (line, "") => format!("{}:{line}", error.file),
                (line, key) => format!("{}:{line}: {key}", error.file),
            },
            what: error.message,
            remedy: error.remedy,
        };
        Self {
            cause,
            errors: errors.0.into_iter().map(mistake).collect(),
        }
    }

    /// Something may have been changed halfway.
    pub fn is_failure(&self) -> bool {
        self.cause == Cause::Failed
    }
}

/// One line per reason.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            index,
            Mistake {
                what,
                place,
                remedy,
            },
        ) in self.errors.iter().enumerate()
        {
            if index > 0 {
                writeln!(f)?;
            }
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
            write!(f, "{what}; {remedy}")?;
        }
        Ok(())
    }
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        let (cause, remedy) = match &error {
            Error::TakesStart(_) => (Cause::Conflict, "start the controller anew with it"),
            Error::NoInterface(_)
            | Error::NoEthernet(_)
            | Error::NoAddress { .. }
            | Error::Overlap(_)
            | Error::TooMany { .. } => (Cause::Invalid, "change the configuration, or the host"),
            _ => (Cause::Failed, "see the controller's log"),
        };
        Self::new(cause, error.to_string(), "", remedy)
    }
}
