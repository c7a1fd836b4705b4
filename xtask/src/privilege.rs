//! Root: loading BPF programs and making network namespaces need it, building does not.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::tool;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    Root,
    /// sudo that answers without a password.
    Sudo,
    /// sudo that will ask at the terminal.
    SudoAsking,
}

impl Privilege {
    /// Finds out how to become root.
    ///
    /// # Errors
    /// When there is no way, with what to do; `purpose` says what for.
    pub fn acquire(purpose: &str) -> Result<Self> {
        if nix::unistd::geteuid().is_root() {
            return Ok(Self::Root);
        }
        if tool::find("sudo").is_some() {
            let silent = Command::new("sudo")
                .args(["-n", "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if silent.is_ok_and(|status| status.success()) {
                return Ok(Self::Sudo);
            }
            if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                return Ok(Self::SudoAsking);
            }
            bail!(
                "{purpose} needs root, and sudo asks for a password where no terminal is there to give it; \
                 run this command as root, or from a terminal, or allow sudo without a password"
            );
        }
        bail!(
            "{purpose} needs root, and there is no sudo; run this command as root, or install sudo"
        );
    }

    /// The command line that runs `program` as root.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        let sudo = |flags: &[&str]| {
            let mut command = Command::new("sudo");
            command.args(flags).arg("--").arg(program.as_ref());
            command
        };
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => sudo(&["-n"]),
            Self::SudoAsking => sudo(&[]),
        }
    }
}
