//! `nat routes`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;

use super::{Failure, Outcome, output};
use crate::{
    pins::Pins,
    routes::{self, TableRecord},
};

/// See `nat routes --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this VPC
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Shows the route tables as the dataplane holds them.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let mut tables = routes::read(pins)?;
    if let Some(vpc) = &arguments.vpc {
        tables.retain(|table| table.vpc == *vpc);
        // Every VPC that has a subnet has a table.
        if tables.is_empty() {
            let text = format!("nat: there is no VPC {vpc} with a subnet");
            return Err(Failure::BadInput(text));
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for (index, table) in tables.iter().enumerate() {
        if arguments.json {
            output::json(&mut out, table)?;
            continue;
        }
        if index > 0 {
            writeln!(out)?;
        }
        text(&mut out, table)?;
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, table: &TableRecord) -> io::Result<()> {
    let users = match table.subnets.as_slice() {
        [] => "of no subnet".to_owned(),
        subnets => format!("of {}", subnets.join(", ")),
    };
    writeln!(out, "{}/{}, {users}", table.vpc, table.route_table)?;
    let rows: Vec<_> = table
        .routes
        .iter()
        .map(|route| {
            let why = route.reason.map(|why| format!(" ({why})"));
            let target = format!("{}{}", route.target, why.unwrap_or_default());
            vec![format!("  {}", route.destination), target]
        })
        .collect();
    output::table(out, &rows)
}
