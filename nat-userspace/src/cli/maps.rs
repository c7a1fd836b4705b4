//! `nat maps` and `nat maps dump`.

use std::io::{self, BufWriter, Write as _};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Failure, Outcome, output};
use crate::{error::Error, maps, pins::Pins};

/// See `nat maps --help`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every entry of one map
    Dump {
        /// The map, as `nat maps` names it
        #[arg(value_name = "NAME")]
        name: String,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
}

/// Shows the maps, or one map's entries.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    match &arguments.command {
        Some(Command::Dump { name, json }) => {
            let entries = maps::dump(pins, &name.to_uppercase()).map_err(|error| match error {
                Error::NoSuchMap { .. } => Failure::BadInput(format!("nat: {error}")),
                other => other.into(),
            })?;
            for entry in &entries {
                if *json {
                    output::json(&mut out, entry)?;
                } else {
                    writeln!(
                        out,
                        "{}  ->  {}",
                        plain(&entry["key"]),
                        plain(&entry["value"])
                    )?;
                }
            }
        }
        None => {
            let list = maps::list(pins)?;
            if arguments.json {
                for map in &list {
                    output::json(&mut out, map)?;
                }
            } else {
                let heading = ["NAME", "TYPE", "ENTRIES", "CAPACITY", "MEMORY"];
                let mut rows = vec![heading.map(str::to_owned).to_vec()];
                rows.extend(list.iter().map(|map| {
                    vec![
                        map.name.clone(),
                        map.kind.clone(),
                        map.entries.to_string(),
                        map.capacity.to_string(),
                        output::bytes(map.memory_bytes),
                    ]
                }));
                output::table(&mut out, &rows)?;
            }
        }
    }
    Ok(out.flush()?)
}

/// `name=value` pairs instead of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
