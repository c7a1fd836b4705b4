//! `nat placement`: where instances run, and where another one of a placement group could.

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Outcome, bad, no_vpc, output, source::Source};
use crate::{
    config::{MAX_PARTITIONS, Strategy, Vpc},
    placement::{Picture, Request, Site, partitions, plan},
};

/// See `nat placement --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Propose a host for a new member of a placement group, or say why none fits
    Plan(PlanArguments),
    /// Draw zones, racks, hosts and placement groups
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct PlanArguments {
    /// The placement group
    #[arg(value_name = "GROUP")]
    group: String,
    /// The VPC, when several have a group of this name
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    /// Only in this zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only in this partition of a partition group
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PARTITIONS)))]
    partition: Option<u32>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Only this VPC
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Plans or shows.
pub fn run(socket: &Path, arguments: &Arguments) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    say(socket, arguments, &mut out)?;
    Ok(out.flush()?)
}

fn say(socket: &Path, arguments: &Arguments, out: &mut impl io::Write) -> Outcome {
    match &arguments.command {
        Command::Plan(arguments) => propose(&arguments.source.vpcs(socket)?, arguments, out),
        Command::Show(arguments) => show(&arguments.source.vpcs(socket)?, arguments, out),
    }
}

fn propose(vpcs: &[Vpc], arguments: &PlanArguments, out: &mut impl io::Write) -> Outcome {
    let vpc = vpc_with(vpcs, arguments)?;
    let site = Site::of(vpc);
    let name = &arguments.group;
    let Some(group) = site.group(name) else {
        return Err(bad(format!("there is no placement group {name}")));
    };
    let strategy = site.groups()[group].strategy;
    if let Some(partition) = arguments.partition
        && partition > partitions(strategy)
    {
        return Err(bad(match strategy {
            Strategy::Partition { partitions } => {
                format!("group {name} has {partitions} partition(s): use 1 to {partitions}")
            }
            _ => format!("{} group {name} has no partitions", strategy.name()),
        }));
    }
    let request = Request {
        group,
        zone: arguments.zone.as_deref().map(Some),
        partition: arguments.partition,
    };
    let proposal = plan(&site, &request).map_err(|misfit| {
        Failure::Failed(format!(
            "nothing fits in {} group {name}: {misfit}",
            strategy.name()
        ))
    })?;
    let host = &site.hosts()[proposal.host];
    let rack = &site.racks()[host.rack];
    let subnets = site.subnets_in(rack.zone);
    if arguments.source.json {
        let proposal = json!({
            "vpc": vpc.name, "group": name, "host": host.name, "rack": rack.name, "zone": rack.zone,
            "partition": proposal.partition, "subnets": subnets, "why": proposal.why,
        });
        output::json(out, &proposal)?;
        return Ok(());
    }
    let partition = proposal.partition;
    let shown = partition.map_or_else(String::new, |number| format!(", partition {number}"));
    let written = partition.map_or_else(String::new, |number| format!(", partition = {number}"));
    let title = rack
        .zone
        .map_or_else(|| "no zone".to_owned(), |zone| format!("zone {zone}"));
    writeln!(
        out,
        "host {}, rack {}, {title}{shown}",
        host.name, rack.name
    )?;
    writeln!(out, "  why: {}", proposal.why)?;
    writeln!(
        out,
        "  write: placement_group = {name:?}, host = {:?}{written}, in a subnet of {title}: {}",
        host.name,
        subnets.join(", ")
    )?;
    Ok(())
}

/// The VPC that is named, or the only one with such a group.
fn vpc_with<'v>(vpcs: &'v [Vpc], arguments: &PlanArguments) -> Result<&'v Vpc, Failure> {
    let name = &arguments.group;
    let wanted = |vpc: &&Vpc| match &arguments.vpc {
        Some(wanted) => vpc.name == *wanted,
        None => vpc.placement_groups.iter().any(|group| group.name == *name),
    };
    let mut found = vpcs.iter().filter(wanted);
    match (found.next(), found.next(), &arguments.vpc) {
        (Some(vpc), None, _) => Ok(vpc),
        (Some(_), Some(_), _) => Err(bad(format!(
            "several VPCs have a placement group {name}: name one with --vpc"
        ))),
        (None, _, Some(vpc)) => Err(no_vpc(vpc)),
        (None, _, None) => Err(bad(format!("there is no placement group {name}"))),
    }
}

fn show(vpcs: &[Vpc], arguments: &ShowArguments, out: &mut impl io::Write) -> Outcome {
    let wanted = |vpc: &&Vpc| arguments.vpc.as_ref().is_none_or(|name| vpc.name == *name);
    if let (Some(name), None) = (&arguments.vpc, vpcs.iter().find(wanted)) {
        return Err(no_vpc(name));
    }
    for (index, vpc) in vpcs.iter().filter(wanted).enumerate() {
        let site = Site::of(vpc);
        let picture = Picture::of(&vpc.name, &site);
        if arguments.source.json {
            output::json(out, &picture)?;
            continue;
        }
        if index > 0 {
            writeln!(out)?;
        }
        picture.draw(out)?;
        if !picture.groups.is_empty() {
            writeln!(out)?;
            output::table(out, &picture.table())?;
        }
    }
    Ok(())
}
