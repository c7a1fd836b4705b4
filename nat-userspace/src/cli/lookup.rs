//! `nat lookup`.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use clap::Args;

use super::{Failure, Outcome, output};
use crate::{
    config,
    lookup::{self, By, Holder},
};

/// See `nat lookup --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Address of a NAT gateway, as seen from outside
    #[arg(value_name = "PUBLIC_IP")]
    public_ip: Ipv4Addr,
    /// Its port, or ICMP identifier
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Says who is behind the port.
pub fn run(arguments: &Arguments) -> Outcome {
    let config = config::load(&arguments.config)?;
    let public = SocketAddrV4::new(arguments.public_ip, arguments.port);
    let holders = lookup::lookup(&config, public)
        .map_err(|reason| Failure::Failed(format!("{public} is not covered: {reason}")))?;
    let mut out = io::stdout().lock();
    for holder in &holders {
        if arguments.json {
            output::json(&mut out, holder)?;
        } else {
            text(&mut out, holder)?;
        }
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, holder: &Holder) -> io::Result<()> {
    let Holder {
        public_ip,
        public_port,
        gateway,
        vpc,
        source,
        ..
    } = holder;
    let protocols = holder.protocols.join(", ");
    write!(out, "{public_ip}:{public_port} {protocols}: ")?;
    match &holder.by {
        By::Forward { source_port } => write!(out, "forward to {source}:{source_port}")?,
        By::Deterministic { ports } => {
            write!(out, "{source}, which has ports {}", ports.join(", "))?;
        }
    }
    writeln!(out, " (VPC {vpc}, gateway {gateway})")
}
