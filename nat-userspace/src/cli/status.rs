//! `nat status`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;
use nat_common::drop_reason::DropReason;

use super::{Outcome, output, ports};
use crate::{
    pins::Pins,
    status::{self, Status},
};

/// See `nat status --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Shows the dataplane at a glance.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let status = status::read(pins)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        output::json(&mut out, &status)?;
    } else {
        text(&mut out, &status)?;
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, status: &Status) -> io::Result<()> {
    let controller = if status.controller_running {
        "running"
    } else {
        "not running"
    };
    writeln!(out, "node {}, controller {controller}", status.node)?;
    writeln!(
        out,
        "sessions {} of {}",
        status.sessions, status.sessions_capacity
    )?;
    writeln!(out, "\ninterfaces")?;
    for interface in &status.interfaces {
        let vpc = interface
            .vpc
            .as_ref()
            .map(|vpc| format!(" of VPC {vpc}"))
            .unwrap_or_default();
        writeln!(
            out,
            "  {}: {}{vpc}, on {}",
            interface.interface,
            interface.roles.join(" and "),
            interface.hooks.join(" and ")
        )?;
    }
    writeln!(out, "\npublic IPs")?;
    for port_use in &status.ports {
        let mut text = Vec::new();
        ports::text(&mut text, port_use)?;
        for line in String::from_utf8_lossy(&text).lines() {
            writeln!(out, "  {line}")?;
        }
    }
    writeln!(out, "\ncounters")?;
    for (name, value) in &status.counters {
        writeln!(out, "  {name} {value}")?;
    }
    writeln!(out, "\ndrops")?;
    if status.drops.is_empty() {
        writeln!(out, "  none")?;
    }
    for reason in DropReason::ALL {
        if let Some(packets) = status.drops.get(reason.name()) {
            writeln!(
                out,
                "  {} {packets}  ({})",
                reason.name(),
                reason.describe()
            )?;
        }
    }
    Ok(())
}
