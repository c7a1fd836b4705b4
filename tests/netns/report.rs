//! Checks with what was expected and what was seen, each printed as soon as it is known.
//! The main job fills one (main_job.rs); its exit status comes from it.
use anyhow::Result;
use serde::Serialize;

use super::Hook;

/// One thing that must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub check: String,
    pub hook: String,
    pub expected: String,
    pub seen: String,
    pub ok: bool,
}

impl Check {
    /// One line for a person.
    pub fn line(&self) -> String {
        let verdict = if self.ok { "ok  " } else { "FAIL" };
        format!(
            "{verdict}  {}  expected {}  seen {}",
            self.check,
            self.expected,
            self.seen.replace('\n', " | ")
        )
    }
}

/// The checks made on one hook.
#[derive(Debug)]
pub struct Report {
    hook: Hook,
    checks: Vec<Check>,
    print: fn(&Check),
}

impl Report {
    /// `print` is called with every check as it is made.
    pub fn new(hook: Hook, print: fn(&Check)) -> Self {
        Self {
            hook,
            checks: Vec::new(),
            print,
        }
    }

    /// Holds if what was seen reads exactly as expected. An error was seen, too, and is never expected.
    pub fn same(&mut self, check: &str, expected: &str, seen: Result<impl ToString>) {
        self.that(check, expected, seen, |seen| seen == expected);
    }

    /// Holds if `accept` says so of what was seen; `expected` says in words what it accepts.
    pub fn that(
        &mut self,
        check: &str,
        expected: &str,
        seen: Result<impl ToString>,
        accept: impl FnOnce(&str) -> bool,
    ) {
        let (seen, ok) = match seen {
            Ok(seen) => {
                let seen = seen.to_string();
                let ok = accept(&seen);
                (seen, ok)
            }
            Err(error) => (format!("error: {error:#}"), false),
        };
        let check = Check {
            check: check.to_owned(),
            hook: self.hook.to_string(),
            expected: expected.to_owned(),
            seen,
            ok,
        };
        (self.print)(&check);
        self.checks.push(check);
    }

    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.ok)
    }

    /// At least one check was made, and none failed.
    pub fn all_held(&self) -> bool {
        !self.checks.is_empty() && self.failed().next().is_none()
    }
}

/// An error once more, for a second check that depends on the same thing.
pub fn again(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_or_a_difference_fails() {
        let mut report = Report::new(Hook::Tc, |_| ());
        assert!(!report.all_held(), "nothing was checked");
        report.same("one", "1", Ok(1));
        assert!(report.all_held());
        report.same("two", "2", Ok("3"));
        report.that(
            "three",
            "anything",
            Err::<u8, _>(anyhow::anyhow!("broken")),
            |_| true,
        );
        assert_eq!(report.failed().count(), 2);
        assert_eq!(
            report.checks()[2].line(),
            "FAIL  three  expected anything  seen error: broken"
        );
    }
}
