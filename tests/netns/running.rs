//! The dataplane of a node from `ready` to nothing left behind, each step of its life a check.
//! The main job and the pictures are made of it.
use std::{
    ffi::OsStr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Controller, Namespace, Nat, Report, leftovers::leftovers_text, process::Finished, report::again,
};

/// A node whose controller got ready. Dropped, it ends the controller; the dataplane goes with its node.
#[derive(Debug)]
pub struct Running {
    // Fields are dropped in this order: the controller ends before its node goes.
    controller: Option<Controller>,
    pub nat: Nat,
    node: Namespace,
    place: String,
}

impl Running {
    /// Starts a controller on `node`, which checks call `place`, such as "the edge". Nothing when it does not get
    /// ready, which the report tells.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        (node, place): (&Namespace, &str),
        arguments: impl IntoIterator<Item = A>,
        report: &mut Report,
    ) -> Result<Option<Self>> {
        let nat = Nat::new(program, node)?;
        let controller = nat.start(arguments);
        let ready = controller.as_ref().map(Controller::ready).map_err(again);
        report.that(
            &format!("the controller on {place} gets ready"),
            "a line `ready`",
            ready,
            |seen| seen.starts_with("ready"),
        );
        Ok(controller.ok().map(|controller| Self {
            controller: Some(controller),
            nat,
            node: node.clone(),
            place: place.to_owned(),
        }))
    }

    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// Has the controller go on with another file.
    pub fn apply(&self, file: &str, check: &str, report: &mut Report) {
        let said = self.nat.finish(["apply", file]).and_then(Finished::success);
        report.same(check, "exit status 0", said.map(|_| "exit status 0"));
    }

    /// How many lines with these words the controller has said.
    pub fn has_said(&self, words: &str) -> usize {
        let said = self.controller.as_ref().map(Controller::said);
        let said = said.unwrap_or_default();
        said.lines().filter(|line| line.contains(words)).count()
    }

    /// The line with these words behind `before` others, which the controller may still be about to say.
    pub fn says(&self, words: &str, before: usize, limit: Duration) -> Result<String> {
        let controller = self.controller.as_ref().context("it has ended")?;
        let start = Instant::now();
        loop {
            let said = controller.said();
            let mut lines = said.lines().filter(|line| line.contains(words));
            if let Some(line) = lines.nth(before) {
                return Ok(line.trim().to_owned());
            }
            if start.elapsed() > limit {
                bail!("not within {} s", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What helps to find out why a check failed.
    pub fn in_its_own_words(&self) -> String {
        let status = self.nat.finish(["status"]).and_then(Finished::success);
        let status = status.unwrap_or_else(|error| format!("{error:#}"));
        let said = self.controller.as_ref().map(Controller::said);
        let said = said.unwrap_or_default();
        let place = &self.place;
        format!("\nnat status on {place}:\n{status}\nThe controller on {place} said:\n{said}")
    }

    /// Ends the controller. The dataplane stays.
    pub fn terminate(&mut self, report: &mut Report) {
        let Some(controller) = self.controller.take() else {
            return;
        };
        let code = controller
            .terminate()
            .map(|code| format!("exit status {}", code.unwrap_or(-1)));
        let check = format!("SIGTERM ends the controller on {}", self.place);
        report.same(&check, "exit status 0", code);
    }

    /// Ends the dataplane, of which nothing is left then.
    pub fn take_down(self, report: &mut Report) {
        let place = &self.place;
        report.same(
            &format!("nat down on {place} succeeds"),
            "exit status 0",
            self.nat.down().map(|_| "exit status 0"),
        );
        report.same(
            &format!("nat down leaves on {place}"),
            "nothing",
            leftovers_text(&self.node),
        );
    }
}
