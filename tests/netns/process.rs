//! Running a program to its end within a time limit, with its output kept.
//! The long-lived controller is in nat.rs.
use std::{
    io::Read,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit status; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    /// Standard output as text, given that the program succeeded.
    pub fn success(self) -> Result<String> {
        if self.code != Some(0) {
            bail!("exit status {}: {}", self.status(), self.stderr.trim());
        }
        Ok(String::from_utf8(self.stdout)?)
    }

    /// Everything it said.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned() + &self.stderr
    }

    pub fn status(&self) -> String {
        self.code.map_or_else(
            || "none (ended by a signal)".to_owned(),
            |code| code.to_string(),
        )
    }
}

/// Runs `command` without input; kills it after `limit`.
pub fn finish(command: &mut Command, limit: Duration) -> Result<Finished> {
    finish_with(command, Stdio::null(), limit)
}

/// Runs `command` with `input` as its standard input; kills it after `limit`.
pub fn finish_with(command: &mut Command, input: Stdio, limit: Duration) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let code =
        wait(&mut child, limit).with_context(|| format!("{name} {:?}", command.get_args()))?;
    let text = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Ok(Finished {
        code,
        stdout: text(stdout),
        stderr: String::from_utf8_lossy(&text(stderr)).into_owned(),
    })
}

/// Waits for `child` to end; kills it after `limit` and says so.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<i32>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("still running after {} s, killed", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Reads a pipe to its end beside the program, so that it never waits for us.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks ends the text; what came before it counts.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}
