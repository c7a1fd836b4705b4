//! What can go wrong between the controller and the kernel, said so that a user can mend it.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use crate::overlap::Overlap;

/// Errors of the library; configuration mistakes are [`crate::config::ConfigErrors`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not enough rights.
    #[error(
        "{what}: not permitted; run it as root (it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; to tell instances about themselves also CAP_SYS_ADMIN and CAP_NET_BIND_SERVICE)"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// Nothing is pinned.
    #[error("no dataplane at {}; start one with `nat run`, or name its folder with --pin-dir", .0.display())]
    NoDataplane(PathBuf),
    /// A dataplane of another version is pinned.
    #[error("{} holds a dataplane of another version ({found}); this is {expected}: end that one with its own `nat down`", .path.display())]
    OtherLayout {
        /// The pin folder.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What this binary uses.
        expected: String,
    },
    /// A pinned map does not fit this binary or configuration.
    #[error(
        "the pinned map {name} has {what} {found}, but {expected} is wanted; sessions would be lost, so nothing was changed: {remedy}"
    )]
    MapMismatch {
        /// The map.
        name: String,
        /// Which property.
        what: &'static str,
        /// What the pinned map has.
        found: u32,
        /// What is wanted.
        expected: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// A table of the policy has no room.
    #[error(
        "the configuration has more entries than the table {name} holds; the policy before it holds on: write fewer routes, rules or instances"
    )]
    MapFull {
        /// The map.
        name: &'static str,
    },
    /// Another controller is there.
    #[error("another controller is running on {}; stop it first (SIGTERM leaves the dataplane running)", .0.display())]
    AlreadyRunning(PathBuf),
    /// A change that a running controller can't make.
    #[error("{0}; nothing was changed")]
    TakesStart(&'static str),
    /// An interface is missing.
    #[error(
        "interface {0} does not exist in this network namespace; `ip link` lists those that do"
    )]
    NoInterface(String),
    /// An interface without Ethernet headers.
    #[error("interface {0} is no Ethernet interface (a tunnel, for example); name one that is")]
    NoEthernet(String),
    /// An interface has no address where one is needed.
    #[error(
        "interface {interface} has no IPv4 address, but {why}; give it one with `ip address add`"
    )]
    NoAddress {
        /// The interface.
        interface: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// The same network is inside and outside.
    #[error("{0}; give the hosts inside another network")]
    Overlap(Overlap),
    /// An interface can't take the program.
    #[error("cannot attach {hook} to {interface}: {reason}; {remedy}")]
    Attach {
        /// Which hook.
        hook: &'static str,
        /// Where.
        interface: String,
        /// What the kernel said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The tables have no room for the configuration.
    #[error("{what}: {count} are configured, {limit} fit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The store of the API's objects can't be used.
    #[error("the store {} {what}; {remedy}", .path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The API's socket can't be used.
    #[error("the socket {} {what}; {remedy}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The command line contradicts itself, or the host.
    #[error("{0}")]
    Usage(String),
    /// The programs were refused.
    #[error("the kernel refused the dataplane: {0}; `nat doctor` says what it lacks")]
    Load(String),
    /// The user named a map that is none.
    #[error("there is no map {name}; there are {known}")]
    NoSuchMap {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A map operation failed.
    #[error(
        "map {name}: {}; if it was left by a start that did not end well, `nat down` removes it",
        chain(source)
    )]
    Map {
        /// The map.
        name: String,
        /// What the kernel said.
        source: MapError,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on what.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An I/O error with what was tried; missing rights become [`Error::NotPermitted`].
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { what },
            _ => Self::Io { what, source },
        }
    }

    /// EPERM says that rights are missing; what the verifier refuses is EACCES.
    fn from_kernel(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            let errno = cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::raw_os_error);
            if errno == Some(libc::EPERM) {
                return Self::NotPermitted {
                    what: "loading the dataplane into the kernel".to_owned(),
                };
            }
            next = cause.source();
        }
        Self::Load(shorten(&chain(error)))
    }

    /// An error of a map of this name.
    pub fn map(name: &str) -> impl FnOnce(MapError) -> Self {
        let name = name.to_owned();
        move |source| Self::Map { name, source }
    }
}

impl From<EbpfError> for Error {
    fn from(error: EbpfError) -> Self {
        Self::from_kernel(&error)
    }
}

impl From<ProgramError> for Error {
    fn from(error: ProgramError) -> Self {
        Self::from_kernel(&error)
    }
}

/// The verifier tells its whole way; what it stumbled over stands at the end.
fn shorten(text: &str) -> String {
    const LAST_LINES: usize = 6;
    let lines: Vec<_> = text.trim_end().lines().collect();
    if lines.len() <= LAST_LINES + 1 {
        return lines.join("\n");
    }
    let (first, last) = (lines.first(), lines.get(lines.len() - LAST_LINES..));
    let kept = first
        .into_iter()
        .chain(&["[...]"])
        .chain(last.unwrap_or_default());
    kept.copied().collect::<Vec<_>>().join("\n")
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
