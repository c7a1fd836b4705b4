//! `nat check`.

use std::{io::Write as _, path::PathBuf};

use clap::Args;

use super::Outcome;
use crate::config;

/// See `nat check --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Validates the file.
pub fn run(arguments: &Arguments) -> Outcome {
    let config = config::load(&arguments.file)?;
    let count = |of: fn(&config::Vpc) -> usize| config.vpcs.iter().map(of).sum::<usize>();
    writeln!(
        std::io::stdout(),
        "{}: valid: {} VPC(s), {} subnet(s), {} route table(s), {} NAT gateway(s), {} instance(s)",
        arguments.file.display(),
        config.vpcs.len(),
        count(|vpc| vpc.subnets.len()),
        count(|vpc| vpc.route_tables.len()),
        count(|vpc| vpc.nat_gateways.len()),
        count(|vpc| vpc.instances.len()),
    )?;
    Ok(())
}
