//! `cargo xtask bench`: builds the generator's object and runs tests/benches/speed/, beside what else could be
//! in the place of `nat`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{build_ebpf, privilege::Privilege, setup, test, tool};

/// Tells the bench where its generator is.
const GENERATOR: &str = "NAT_GENERATOR";
/// Tells it where to write what it was not told where.
const TARGET: &str = "NAT_BENCH_FOLDER";

#[derive(clap::Args)]
pub struct Arguments {
    /// Options of the bench; `cargo xtask bench --help` shows them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

pub fn command(arguments: &Arguments) -> Result<u8> {
    let asks = arguments
        .options
        .iter()
        .any(|word| ["--help", "-h"].contains(&word.as_str()));
    let privilege = Privilege::acquire("running the bench (network namespaces, BPF programs)")?;
    setup::ensure_build()?;
    if !asks && let Err(error) = setup::ensure_bench() {
        eprintln!("bench: {error:#}; the figures of nftables will be missing");
    }
    let target = tool::target_dir()?;
    let object = build_ebpf::build(&tool::workspace_root(), &target.join("bpf"))
        .map_err(anyhow::Error::msg)?;
    let generator = object.with_file_name(build_ebpf::GENERATOR);

    let mut command = tool::cargo();
    command
        .args(["bench", "--package", "nat-tests", "--bench", "speed", "--"])
        .args(&arguments.options)
        .env(GENERATOR, &generator)
        .env(TARGET, target.join("bench"));
    run_as_root(&mut command, privilege, &generator)
}

fn run_as_root(command: &mut Command, privilege: Privilege, generator: &Path) -> Result<u8> {
    if let Some(runner) = test::runner(privilege) {
        command.env(test::runner_variable()?, runner);
    }
    let status = command
        .status()
        .with_context(|| format!("cannot start cargo for {}", generator.display()))?;
    Ok(tool::exit_code(status))
}
