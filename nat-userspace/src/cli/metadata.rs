//! `nat metadata`: what an instance is told about itself.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Failure, Outcome, bad, no_vpc, output, source::Source};
use crate::{
    config::{Instance, MetadataAccess, Vpc},
    metadata::{Described, Tree},
};

/// See `nat metadata --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every path that an instance can read, and what is there
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// The VPC, when several have an instance of this name
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Shows.
pub fn run(socket: &Path, arguments: &Arguments) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    say(socket, arguments, &mut out)?;
    Ok(out.flush()?)
}

fn say(socket: &Path, arguments: &Arguments, out: &mut impl io::Write) -> Outcome {
    let Command::Show(arguments) = &arguments.command;
    let (region, vpcs) = arguments.source.region_and_vpcs(socket)?;
    let (vpc, instance) = find(&vpcs, arguments)?;
    show(&region, vpc, instance, arguments.source.json, out)
}

/// The instance in the VPC that is named, or the only one of this name.
fn find<'v>(
    vpcs: &'v [Vpc],
    arguments: &ShowArguments,
) -> Result<(&'v Vpc, &'v Instance), Failure> {
    let name = &arguments.instance;
    let wanted = |vpc: &&Vpc| arguments.vpc.as_ref().is_none_or(|name| vpc.name == *name);
    if let (Some(vpc), None) = (&arguments.vpc, vpcs.iter().find(wanted)) {
        return Err(no_vpc(vpc));
    }
    let mut found = vpcs.iter().filter(wanted).filter_map(|vpc| {
        let mut instances = vpc.instances.iter();
        let instance = instances.find(|instance| instance.name == *name)?;
        Some((vpc, instance))
    });
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(bad(format!(
            "several VPCs have an instance {name}: name one with --vpc"
        ))),
        (None, _) => Err(bad(format!("there is no instance {name}"))),
    }
}

fn show(
    region: &str,
    vpc: &Vpc,
    instance: &Instance,
    json: bool,
    out: &mut impl io::Write,
) -> Outcome {
    let metadata = &instance.metadata;
    let tree = Tree::of(&Described {
        region,
        vpc,
        instance,
    });
    let is_served = metadata.access != MetadataAccess::Disabled;
    let values: BTreeMap<_, _> = tree.values().filter(|_| is_served).collect();
    let access = metadata.access.name();
    if json {
        let shown = json!({
            "vpc": vpc.name, "instance": instance.name, "metadata": access,
            "hop_limit": metadata.hop_limit, "values": values,
        });
        output::json(out, &shown)?;
        return Ok(());
    }
    let name = &instance.name;
    let hops = metadata.hop_limit;
    writeln!(
        out,
        "instance {name} of VPC {}: {access}, hop limit {hops}",
        vpc.name
    )?;
    let rows = values.into_iter().map(|(path, value)| {
        let value = in_a_line(value);
        vec![format!("/latest/{path}"), value]
    });
    output::table(out, &rows.collect::<Vec<_>>())?;
    Ok(())
}

/// Lists with commas, and the document without its line feeds.
fn in_a_line(value: &str) -> String {
    match serde_json::from_str(value) {
        Ok(document @ Json::Object(_)) => document.to_string(),
        _ => value.replace('\n', ", "),
    }
}
