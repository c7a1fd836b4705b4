//! `cargo xtask run`: builds everything and runs the main job in the lab (tests/lab_main.rs), here or in a VM.
//!
//! The lab's stdout is this command's stdout; all that this command says itself goes to stderr.

use std::{os::unix::process::CommandExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{privilege::Privilege, setup, tool, vm};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only this hook (may be given more than once); all by default
    #[arg(long, value_name = "HOOK", value_parser = ["xdp", "xdp-generic", "tc", "all"])]
    hook: Vec<String>,
    /// Keep the lab and print how to enter it
    #[arg(long, conflicts_with = "vm")]
    hold: bool,
    /// Print the checks as JSON, one object per line
    #[arg(long)]
    json: bool,
    /// Run in a test VM
    #[arg(long)]
    vm: bool,
    /// The VM's kernel: a version that apt knows (6.1, 6.12, ...), a .deb, or a bzImage
    #[arg(
        long,
        value_name = "VERSION|PATH",
        default_value = "6.1",
        requires = "vm"
    )]
    kernel: String,
    /// How long the VM may take
    #[arg(long, value_name = "MINUTES", default_value_t = 10, requires = "vm")]
    time_limit: u64,
}

pub fn command(arguments: &Arguments) -> Result<u8> {
    if arguments.vm {
        setup::ensure_build()?;
        setup::ensure_vm()?;
        // Before the build, so that a kernel that is not to be had is told at once.
        let kernel = vm::kernel::Kernel::find(&arguments.kernel)?;
        let binaries = build()?;
        let limit = Duration::from_secs(arguments.time_limit * 60);
        let lab = lab_arguments(arguments, "/bin/nat");
        let command: Vec<String> = std::iter::once("/bin/nat-lab".to_owned())
            .chain(lab)
            .collect();
        return vm::run(&kernel, &[binaries.nat, binaries.lab], &command, limit);
    }

    // Before the build, so that nobody waits for minutes to read that root is needed.
    let privilege = Privilege::acquire("running the lab (network namespaces, BPF programs)")?;
    setup::ensure_build()?;
    let binaries = build()?;
    let nat = binaries
        .nat
        .to_str()
        .context("the path of the target folder is not UTF-8")?;
    // In this program's place: signals and the exit status are the lab's own.
    let error = privilege
        .command(&binaries.lab)
        .args(lab_arguments(arguments, nat))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", binaries.lab.display()))
}

/// The programs of the main job.
pub struct Binaries {
    pub nat: PathBuf,
    pub lab: PathBuf,
}

/// Builds `nat` (with the BPF object inside) and `nat-lab`.
pub fn build() -> Result<Binaries> {
    let mut command = tool::cargo();
    command.args([
        "build",
        "--release",
        "--package",
        "nat-userspace",
        "--package",
        "nat-tests",
        "--bins",
    ]);
    tool::run(&mut command)?;
    let folder = tool::target_dir()?.join("release");
    let binaries = Binaries {
        nat: folder.join("nat"),
        lab: folder.join("nat-lab"),
    };
    for binary in [&binaries.nat, &binaries.lab] {
        if !binary.is_file() {
            bail!(
                "the build left no program at {}; run this command as `cargo xtask`",
                binary.display()
            );
        }
    }
    Ok(binaries)
}

fn lab_arguments(arguments: &Arguments, nat: &str) -> Vec<String> {
    let mut words = vec!["main".to_owned(), "--nat".to_owned(), nat.to_owned()];
    for hook in &arguments.hook {
        words.extend(["--hook".to_owned(), hook.clone()]);
    }
    for (given, flag) in [(arguments.hold, "--hold"), (arguments.json, "--json")] {
        if given {
            words.push(flag.to_owned());
        }
    }
    words
}
