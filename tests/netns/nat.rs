//! The program `nat` on a node, used by nothing but its command line.
//! What `nat sessions --json` prints is read in sessions.rs.
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Namespace, Session,
    process::{Finished, finish, wait},
    sessions,
};

/// How long the controller may take to load and attach: the verifier of an emulated guest is slow.
pub const READY: Duration = Duration::from_secs(120);
/// How long any other command may take. `nat explain` loads the programs, too.
const COMMAND: Duration = READY;

/// The program and the node it runs on.
#[derive(Clone, Debug)]
pub struct Nat {
    program: PathBuf,
    node: Namespace,
}

impl Nat {
    pub fn new(program: &Path, node: &Namespace) -> Result<Self> {
        let program = program.canonicalize().with_context(|| {
            format!(
                "no program {}: build it, or name another",
                program.display()
            )
        })?;
        Ok(Self {
            program,
            node: node.clone(),
        })
    }

    /// Starts a controller, `["run", "--config", F]`, and waits for its `ready`.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Controller> {
        let mut child = self
            .node
            .command(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let said = Said::default();
        let (line_seen, lines) = mpsc::channel();
        said.follow(child.stdout.take(), move |line| {
            // Nobody listens any more once `ready` has come.
            let _ = line_seen.send(line.to_owned());
        });
        said.follow(child.stderr.take(), |_| ());
        let mut controller = Controller {
            child,
            said,
            ready: String::new(),
        };
        controller.ready = controller.wait_until_ready(&lines)?;
        Ok(controller)
    }

    /// Runs any other command to its end.
    pub fn finish<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Finished> {
        finish(self.node.command(&self.program).args(arguments), COMMAND)
    }

    /// The one object that a command prints with `--json`.
    pub fn object(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = self
            .finish(arguments.iter().chain(&["--json"]))?
            .success()
            .with_context(|| format!("nat {}", arguments.join(" ")))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The translation table, from `nat sessions --json`.
    pub fn sessions(&self) -> Result<Vec<Session>> {
        let text = self
            .finish(["sessions", "--json"])?
            .success()
            .context("nat sessions --json")?;
        sessions::parse(&text)
    }

    /// The translation table as a person sees it.
    pub fn sessions_table(&self) -> Result<String> {
        self.finish(["sessions"])?.success().context("nat sessions")
    }

    /// How many packets were dropped for this reason, as `nat status` counts them.
    pub fn drops(&self, reason: &str) -> Result<u64> {
        let status = self.object(&["status"])?;
        Ok(status["drops"][reason].as_u64().unwrap_or(0))
    }

    /// Of what `nat explain` says about a packet: the steps that contain `about`, and the outcome.
    pub fn explained(&self, about: &str, protocol: &str, from: &str, to: &str) -> Result<String> {
        let said = self.finish(["explain", protocol, from, to])?.success()?;
        let outcome = said.lines().last();
        let steps = said.lines().filter(|line| line.contains(about));
        let lines: Vec<_> = steps.chain(outcome).map(str::trim).collect();
        Ok(lines.join("; "))
    }

    pub fn down(&self) -> Result<String> {
        self.finish(["down"])?.success().context("nat down")
    }
}

/// A running controller. Dropping it kills it, as does the end of the thread that started it.
#[derive(Debug)]
pub struct Controller {
    child: Child,
    said: Said,
    ready: String,
}

impl Controller {
    /// The line that starts with `ready`.
    pub fn ready(&self) -> &str {
        &self.ready
    }

    /// Everything it has printed, both streams in the order of arrival.
    pub fn said(&self) -> String {
        self.said.text()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`
    pub fn kill_nine(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGHUP
    pub fn hang_up(&self) -> Result<()> {
        Ok(kill(
            Pid::from_raw(self.child.id().try_into()?),
            Signal::SIGHUP,
        )?)
    }

    /// SIGTERM; the exit status.
    pub fn terminate(mut self) -> Result<Option<i32>> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        wait(&mut self.child, COMMAND).context("the controller, after SIGTERM")
    }

    fn wait_until_ready(&mut self, lines: &mpsc::Receiver<String>) -> Result<String> {
        let start = std::time::Instant::now();
        loop {
            match lines.recv_timeout(READY.saturating_sub(start.elapsed())) {
                Ok(line) if line.starts_with("ready") => return Ok(line),
                Ok(_) => (),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!(
                        "no line `ready` from the controller in {} s; it said:\n{}",
                        READY.as_secs(),
                        self.said()
                    )
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let code = wait(&mut self.child, COMMAND)?;
                    let code = code.map_or_else(
                        || "by a signal".to_owned(),
                        |code| format!("with exit status {code}"),
                    );
                    bail!(
                        "the controller ended {code} before `ready`; it said:
{}",
                        self.said()
                    )
                }
            }
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of both output streams.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn follow(
        &self,
        pipe: Option<impl Read + Send + 'static>,
        each: impl Fn(&str) + Send + 'static,
    ) {
        let said = self.clone();
        thread::spawn(move || {
            let Some(pipe) = pipe else { return };
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                said.0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&format!("  {line}\n"));
                each(&line);
            }
        });
    }

    fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
