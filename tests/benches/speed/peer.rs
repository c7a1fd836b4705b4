//! Another program in the place of ours: `--peer 'NAME=COMMAND'`.
use std::{
    process::{Child, Stdio},
    str::FromStr,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::lab::{CLIENTS, INSIDE, Lab, OWN_PUBLIC, UPLINK};

/// See the module. The command finds the interfaces and addresses in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    command: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, command)) if !name.is_empty() && !command.is_empty() => Ok(Self {
                name: name.to_owned(),
                command: command.to_owned(),
            }),
            _ => Err("write NAME=COMMAND, for example 'mine=./mine --wan $NAT_UPLINK'".to_owned()),
        }
    }
}

/// A peer that is set up. Dropping it kills the command and all that it started.
pub struct Running(Child);

impl Peer {
    /// Runs the command in the device's namespace and lets it go on.
    pub fn start(&self, lab: &Lab) -> Result<Running> {
        let folder = std::env::current_dir()?;
        let child = lab
            .device
            .command("/bin/sh")
            .args(["-c", "cd \"$NAT_FOLDER\" && eval \"$NAT_COMMAND\""])
            .env("NAT_COMMAND", &self.command)
            .env("NAT_FOLDER", folder)
            .env("NAT_INSIDE", INSIDE)
            .env("NAT_UPLINK", UPLINK)
            .env("NAT_INSIDE_CIDR", CLIENTS)
            .env("NAT_PUBLIC_IP", OWN_PUBLIC.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        Ok(Running(child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A command is the leader of its own process group; one that has ended is no error.
        if let Ok(group) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}
