//! Health checks, of target groups and of proxies: what they are, their keys, and their checks.

use std::time::Duration;

use crate::config::place::{Read, Report};
use crate::config::reader::{Complaint, Field, Section, field};
use crate::config::suggest::quoted;
use crate::config::toml::Value;
use crate::config::values::{choice, integer, port, seconds, text};

/// `path` of an HTTP check when the file gives none.
const DEFAULT_PATH: &str = "/";
const MAX_PATH: usize = 1024;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// Of `timeout`, unless the interval is shorter. AWS has it for HTTP.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(6);
const DEFAULT_HEALTHY: u8 = 3;
const DEFAULT_UNHEALTHY: u8 = 2;

/// How it is found out whether somebody does his work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is tried.
    pub kind: HealthCheckKind,
    /// Where; not zero. `None`: the port of the target group, or the first one of the proxy.
    pub port: Option<u16>,
    /// From one check to the next; whole seconds, 1 to 300.
    pub interval: Duration,
    /// How long an answer may take; whole seconds, 1 to 120, not longer than the interval.
    pub timeout: Duration,
    /// So many checks in a row that go well make it healthy; 1 to 10.
    pub healthy_threshold: u8,
    /// So many in a row that do not make it unhealthy; 1 to 10.
    pub unhealthy_threshold: u8,
}

/// What a health check tries. UDP cannot be checked, so its targets are checked by one of these, as on AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheckKind {
    /// A connection.
    Tcp,
    /// A GET that is answered with 200 to 399.
    Http {
        /// It begins with a slash, and is visible ASCII.
        path: String,
    },
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            kind: HealthCheckKind::Tcp,
            port: None,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            healthy_threshold: DEFAULT_HEALTHY,
            unhealthy_threshold: DEFAULT_UNHEALTHY,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Http,
}

#[derive(Clone)]
pub struct HealthCheckDraft {
    kind: Read<Kind>,
    path: Read<String>,
    port: Read<u16>,
    interval: Read<Duration>,
    timeout: Read<Duration>,
    healthy_threshold: Read<u32>,
    unhealthy_threshold: Read<u32>,
}

impl HealthCheckDraft {
    pub fn build(self) -> Option<HealthCheck> {
        let interval = self.interval.or(DEFAULT_INTERVAL)?;
        let threshold = |read: Read<u32>, default: u8| u8::try_from(read.or(default.into())?).ok();
        Some(HealthCheck {
            kind: match self.kind.or(Kind::Tcp)? {
                Kind::Tcp => HealthCheckKind::Tcp,
                Kind::Http => HealthCheckKind::Http {
                    path: self.path.or(DEFAULT_PATH.to_owned())?,
                },
            },
            port: self.port.optional()?,
            interval,
            timeout: self.timeout.or(interval.min(DEFAULT_TIMEOUT))?,
            healthy_threshold: threshold(self.healthy_threshold, DEFAULT_HEALTHY)?,
            unhealthy_threshold: threshold(self.unhealthy_threshold, DEFAULT_UNHEALTHY)?,
        })
    }
}

/// Reads a health check that may be left out.
pub fn health_check(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
) -> Option<HealthCheckDraft> {
    const HEALTH_CHECK: Field = field(
        "health_check",
        "a table",
        "health_check = { protocol = \"http\", path = \"/health\" }",
    );
    let section = section.section(report, &HEALTH_CHECK)?;
    Some(section.whole(report, keys))
}

fn keys(section: &mut Section<'_>, report: &mut Report<'_>) -> HealthCheckDraft {
    const PROTOCOL: Field = field("protocol", "a string", "protocol = \"http\"");
    const PATH: Field = field("path", "a string", "path = \"/health\"");
    const PORT: Field = field("port", "an integer", "port = 8080");
    const INTERVAL: Field = field("interval", "whole seconds", "interval = 10");
    const TIMEOUT: Field = field("timeout", "whole seconds", "timeout = 6");
    const HEALTHY: Field = field("healthy_threshold", "an integer", "healthy_threshold = 3");
    const UNHEALTHY: Field = field(
        "unhealthy_threshold",
        "an integer",
        "unhealthy_threshold = 2",
    );
    const KINDS: [(&str, Kind); 2] = [("tcp", Kind::Tcp), ("http", Kind::Http)];
    HealthCheckDraft {
        kind: section.optional(report, &PROTOCOL, |value| {
            choice(value, "a protocol of health checks", &KINDS)
        }),
        path: section.optional(report, &PATH, path),
        port: section.optional(report, &PORT, port),
        interval: section.optional(report, &INTERVAL, seconds(1..=300)),
        timeout: section.optional(report, &TIMEOUT, seconds(1..=120)),
        healthy_threshold: section.optional(report, &HEALTHY, integer(1..=10)),
        unhealthy_threshold: section.optional(report, &UNHEALTHY, integer(1..=10)),
    }
}

fn path(value: &Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    let is_path = text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic());
    if is_path && text.len() <= MAX_PATH {
        return Ok(text.to_owned());
    }
    Err(Complaint::invalid(
        format!("{} is not a path", quoted(text)),
        format!(
            "begin it with '/', and use up to {MAX_PATH} visible ASCII characters, as in \"/health\""
        ),
    ))
}

/// Reports keys that do not go together.
pub fn check(draft: &HealthCheckDraft, report: &mut Report<'_>) {
    if let Some(path) = draft.path.given()
        && !draft.kind.is_broken()
        && draft.kind.value() != Some(&Kind::Http)
    {
        report.error(
            &path.place,
            "only HTTP checks have a path",
            "write protocol = \"http\", or remove path",
        );
    }
    let interval = match &draft.interval {
        Read::Given(interval) => interval.value,
        Read::Absent => DEFAULT_INTERVAL,
        Read::Broken => return,
    };
    if let Some(timeout) = draft.timeout.given()
        && timeout.value > interval
    {
        report.error(
            &timeout.place,
            format!(
                "a check may take {} s, and after {} s comes the next one",
                timeout.value.as_secs(),
                interval.as_secs()
            ),
            "make timeout no longer than interval",
        );
    }
}
