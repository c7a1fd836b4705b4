//! `nat metrics`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{Outcome, output};
use crate::{metrics, pins::Pins};

/// See `nat metrics --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One JSON object per line: of NAT gateways, endpoints and load balancers
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// The text format of Prometheus
    #[arg(long)]
    prometheus: bool,
}

/// Shows what NAT gateways, endpoints and load balancers do.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let all = metrics::read(pins)?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.prometheus {
        out.write_all(metrics::exposition(&all).as_bytes())?;
        return Ok(out.flush()?);
    }
    let mut shown = Shown {
        out,
        json: arguments.json,
        any: false,
    };
    for each in &all.gateways {
        shown.add(&each.vpc, &each.gateway, each)?;
    }
    for each in &all.endpoints {
        shown.add(&each.vpc, &format!("endpoint:{}", each.endpoint), each)?;
    }
    for each in &all.load_balancers {
        let name = format!("load-balancer:{}", each.load_balancer);
        shown.add(&each.vpc, &name, each)?;
    }
    Ok(shown.out.flush()?)
}

struct Shown<W> {
    out: W,
    json: bool,
    any: bool,
}

impl<W: io::Write> Shown<W> {
    fn add(&mut self, vpc: &str, name: &str, each: &impl Serialize) -> io::Result<()> {
        if self.json {
            return output::json(&mut self.out, each);
        }
        if self.any {
            writeln!(self.out)?;
        }
        self.any = true;
        writeln!(self.out, "{vpc}/{name}")?;
        figures(&mut self.out, &serde_json::to_value(each)?)
    }
}

fn figures(out: &mut impl io::Write, of: &Value) -> io::Result<()> {
    let figures = of.as_object().into_iter().flatten();
    let figures = figures.filter(|(_, value)| value.is_number());
    let rows: Vec<_> = figures
        .map(|(name, value)| vec![format!("  {name}"), value.to_string()])
        .collect();
    output::table(out, &rows)
}
