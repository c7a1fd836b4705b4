//! `cargo xtask`: set-up, the main job in a lab, the tests, the bench, and the same job in a VM.
//!
//! Inside the VM this very program is PID 1 (vm/guest.rs): the guest needs no shell and no other tools.

mod bench;
mod build_ebpf;
mod packages;
mod privilege;
mod run;
mod setup;
mod test;
mod tool;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Development commands of the NAT dataplane"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the build needs: rust-src, a private bpf-linker; with --vm also qemu
    Setup(setup::Arguments),
    /// Build everything and run the main job or a picture in a lab of network namespaces, here or in a VM
    Run(run::Arguments),
    /// Run all tests: host tests, BPF_PROG_TEST_RUN and labs
    Test(test::Arguments),
    /// Measure speed and memory, beside the kernel's own NAT
    #[command(disable_help_flag = true)]
    Bench(bench::Arguments),
    /// Run any program in a test VM, with its shared libraries
    Vm(vm::Arguments),
    /// Build the BPF object alone and print its path
    BuildEbpf,
}

fn main() -> ExitCode {
    if vm::guest::is_guest() {
        vm::guest::main();
    }
    match dispatch(Arguments::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::Setup(arguments) => setup::command(&arguments),
        Command::Run(arguments) => run::command(&arguments),
        Command::Test(arguments) => test::command(&arguments),
        Command::Bench(arguments) => bench::command(&arguments),
        Command::Vm(arguments) => vm::command(&arguments),
        Command::BuildEbpf => {
            setup::ensure_build()?;
            let object =
                build_ebpf::build(&tool::workspace_root(), &tool::target_dir()?.join("bpf"))
                    .map_err(anyhow::Error::msg)?;
            println!("{}", object.display());
            Ok(0)
        }
    }
}
