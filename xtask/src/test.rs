//! `cargo xtask test`: `cargo test` with what the tests need around it: the set-up, the program `nat`, and root.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{privilege::Privilege, run, setup, tool};

/// Tells the tests where the program under test is.
const NAT_BIN: &str = "NAT_BIN";

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on to `cargo test`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    arguments: Vec<String>,
}

pub fn command(arguments: &Arguments) -> Result<u8> {
    let privilege = Privilege::acquire("running the tests (network namespaces, BPF programs)")?;
    setup::ensure_build()?;
    setup::ensure_tests()?;
    // At one go: with the tests come features of libraries, and what uses those would be built twice.
    let binaries = run::build(&["--tests"])?;

    let mut command = tool::cargo();
    command
        .arg("test")
        .args(&arguments.arguments)
        .env(NAT_BIN, &binaries.nat);
    if let Some(runner) = runner(privilege) {
        command.env(runner_variable()?, runner);
    }
    let status = command.status().context("cannot start cargo")?;
    Ok(tool::exit_code(status))
}

/// What starts a test as root. It is built as this user all the same, so that files in the target folder
/// stay this user's.
pub fn runner(privilege: Privilege) -> Option<&'static str> {
    match privilege {
        Privilege::Root => None,
        Privilege::Sudo => Some("sudo -n -E"),
        Privilege::SudoAsking => Some("sudo -E"),
    }
}

/// The variable that names the program cargo starts the host's test binaries with.
pub fn runner_variable() -> Result<String> {
    let version = tool::capture(
        Command::new("rustc")
            .arg("-vV")
            .current_dir(tool::workspace_root()),
    )?;
    let host = host_triple(&version).context("`rustc -vV` does not say what the host is")?;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace(['-', '.'], "_")
    ))
}

fn host_triple(version: &str) -> Option<&str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_read_from_the_compilers_version() {
        let version = "rustc 1.95.0 (abc 2026-01-01)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(host_triple(version), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host_triple("rustc"), None);
    }
}
