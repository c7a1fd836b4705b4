//! What the figures were taken on: they compare within a run, and not with those of another machine.
use std::fs;

use anyhow::{Context as _, Result};
use nix::sys::utsname::uname;
use serde::Serialize;

use crate::figures::Table;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub tables: Vec<Table>,
}

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub kernel: String,
    pub processor: String,
    pub cores: usize,
    /// Runnable threads on average in the last minute, before the run and after it. The bench itself
    /// makes one.
    pub load_before: f64,
    pub load_after: f64,
    pub options: Vec<String>,
}

impl Machine {
    /// Before the run.
    pub fn now() -> Result<Self> {
        let load = load()?;
        let cpus = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == "model name").then(|| value.trim().to_owned())
        });
        Ok(Self {
            kernel: uname()?.release().to_string_lossy().into_owned(),
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            load_before: load,
            load_after: load,
            options: std::env::args().skip(1).collect(),
        })
    }

    /// After it.
    pub fn end(&mut self) -> Result<()> {
        self.load_after = load()?;
        Ok(())
    }

    /// In a line.
    pub fn text(&self) -> String {
        format!(
            "kernel {}, {}, {} cores, load {} before and {} after",
            self.kernel, self.processor, self.cores, self.load_before, self.load_after
        )
    }
}

fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = text.split_whitespace().next().unwrap_or("0");
    Ok(first.parse()?)
}
