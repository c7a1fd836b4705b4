//! `nat doctor`.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;

use super::{Failure, Outcome, output};
use crate::{
    config::{self, Attach},
    doctor::{self, Health},
    pins::Pins,
};

/// See `nat doctor --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Also check the interfaces of this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also check this interface
    #[arg(long, value_name = "INTERFACE")]
    interface: Vec<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Says what is missing and how to mend it.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let mut interfaces: BTreeSet<String> = arguments.interface.iter().cloned().collect();
    let mut attach = Attach::Auto;
    let config = match &arguments.config {
        Some(path) => Some(config::load(path)?),
        None => None,
    };
    if let Some(config) = &config {
        attach = config.node.attach;
        interfaces.extend(config.interfaces().map(str::to_owned));
    }
    let interfaces: Vec<String> = interfaces.into_iter().collect();
    let mut findings = doctor::examine(pins, &interfaces, attach);
    findings.extend(config.iter().flat_map(doctor::overlaps));
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        if arguments.json {
            output::json(&mut out, finding)?;
            continue;
        }
        let word = match finding.health {
            Health::Ok => "ok",
            Health::Warning => "warning",
            Health::Problem => "PROBLEM",
        };
        println_to(
            &mut out,
            word,
            &finding.check,
            &finding.found,
            &finding.remedy,
        )?;
    }
    if findings
        .iter()
        .any(|finding| finding.health == Health::Problem)
    {
        return Err(Failure::Reported);
    }
    Ok(())
}

fn println_to(
    out: &mut impl std::io::Write,
    word: &str,
    check: &str,
    found: &str,
    remedy: &str,
) -> std::io::Result<()> {
    writeln!(out, "{word:<8}{check}: {found}")?;
    if !remedy.is_empty() {
        writeln!(out, "        mend: {remedy}")?;
    }
    Ok(())
}
