//! `nat ports`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;

use super::{Outcome, output};
use crate::{
    pins::Pins,
    ports::{self, PortUse},
};

/// See `nat ports --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Shows the use of the public IPs.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let uses = ports::read(pins)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for each in &uses {
        if arguments.json {
            output::json(&mut out, each)?;
        } else {
            text(&mut out, each)?;
        }
    }
    Ok(out.flush()?)
}

/// For people; `nat status` shows it too.
pub fn text(out: &mut impl io::Write, each: &PortUse) -> io::Result<()> {
    writeln!(
        out,
        "{} (gateway {}): {} session(s), {} ports per protocol{}",
        each.public_ip,
        each.gateway,
        each.sessions,
        each.pool,
        if each.overloads {
            " and destination"
        } else {
            ""
        }
    )?;
    for protocol in &each.protocols {
        if protocol.in_use + protocol.forwarded + protocol.resting == 0 {
            continue;
        }
        write!(out, "  {}: {} in use, ", protocol.protocol, protocol.in_use)?;
        for (count, what) in [
            (protocol.forwarded, "forwarded"),
            (protocol.resting, "resting"),
        ] {
            if count > 0 {
                write!(out, "{count} {what}, ")?;
            }
        }
        writeln!(out, "{} free", protocol.free)?;
    }
    for destination in &each.destinations {
        writeln!(
            out,
            "  to {} {}:{}: {} in use, {} free",
            destination.protocol,
            destination.destination,
            destination.destination_port,
            destination.in_use,
            destination.free
        )?;
    }
    for client in &each.clients {
        writeln!(
            out,
            "  from {} {}: {} session(s)",
            client.vpc, client.client, client.sessions
        )?;
    }
    Ok(())
}
