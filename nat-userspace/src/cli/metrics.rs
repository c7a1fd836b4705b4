//! `nat metrics`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;
use serde_json::Value;

use super::{Outcome, output};
use crate::{
    metrics::{self, GatewayMetrics},
    pins::Pins,
};

/// See `nat metrics --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One JSON object per NAT gateway and line
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// The text format of Prometheus
    #[arg(long)]
    prometheus: bool,
}

/// Shows what the NAT gateways do.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let all = metrics::read(pins)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.prometheus {
        out.write_all(metrics::exposition(&all).as_bytes())?;
        return Ok(out.flush()?);
    }
    for (number, each) in all.iter().enumerate() {
        if arguments.json {
            output::json(&mut out, each)?;
        } else {
            if number > 0 {
                writeln!(out)?;
            }
            text(&mut out, each)?;
        }
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, each: &GatewayMetrics) -> io::Result<()> {
    writeln!(out, "{}/{}", each.vpc, each.gateway)?;
    let Value::Object(figures) = serde_json::to_value(&each.figures)? else {
        return Ok(());
    };
    let rows: Vec<_> = figures
        .into_iter()
        .map(|(name, value)| vec![format!("  {name}"), value.to_string()])
        .collect();
    output::table(out, &rows)
}
