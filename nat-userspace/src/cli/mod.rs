//! The command line. Exit status: 0 done, 1 it failed, 2 bad usage or bad configuration. Data goes
//! to stdout, everything else to stderr.

mod apply;
mod check;
mod client;
mod doctor;
mod down;
mod endpoints;
mod explain;
mod instances;
mod lookup;
mod maps;
mod metadata;
mod metrics;
mod objects;
mod output;
mod placement;
mod ports;
mod routes;
mod run;
mod services;
mod sessions;
mod source;
mod status;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    api::DEFAULT_SOCKET,
    config::ConfigErrors,
    error::Error,
    pins::{DEFAULT_PIN_DIR, Pins},
};

/// NAT gateway, internet gateway and NAT instance in the kernel's packet path.
#[derive(Debug, Parser)]
#[command(name = "nat", version, arg_required_else_help = true)]
struct Cli {
    /// Folder on a BPF file system where maps and links are pinned
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pin_dir: PathBuf,
    /// Where a running controller answers
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller in the foreground; prints `ready` and what is attached where
    Run(run::Arguments),
    /// Have the running controller go on with another configuration file
    Apply(apply::Arguments),
    /// Show what applying a file would change, and which sessions would end
    Diff(apply::Arguments),
    /// Show the objects of the running controller, and whose they are
    Get(objects::GetArguments),
    /// Make or replace an object beside those of the file
    Put(objects::PutArguments),
    /// Delete an object that was put
    Delete(objects::DeleteArguments),
    /// Validate a configuration file and change nothing
    Check(check::Arguments),
    /// Show attached hooks, counts, pool use and drops by reason
    Status(status::Arguments),
    /// Show the translation table
    Sessions(sessions::Arguments),
    /// Show how full each public IP is, and towards whom
    Ports(ports::Arguments),
    /// Say who is behind a public address and port, from the configuration alone
    Lookup(lookup::Arguments),
    /// Say what would become of a packet, and why: each step, and the rule and mapping that decided
    Explain(explain::Arguments),
    /// Show the route tables as the dataplane holds them
    Routes(routes::Arguments),
    /// Show the listed instances as the dataplane holds them
    Instances(instances::Arguments),
    /// Show endpoints and load balancers as the dataplane holds them
    Endpoints(endpoints::Arguments),
    /// Show endpoint services and who asks for them; accept or reject an endpoint
    Services(services::Arguments),
    /// Say where instances run, and where another one of a placement group could
    Placement(placement::Arguments),
    /// Show what an instance is told about itself
    Metadata(metadata::Arguments),
    /// Show what each NAT gateway, endpoint and load balancer does, by the names that AWS gives these figures
    Metrics(metrics::Arguments),
    /// Show the BPF maps: entries, capacity, memory
    Maps(maps::Arguments),
    /// Check what the dataplane needs of this host
    Doctor(doctor::Arguments),
    /// Detach and unpin everything
    Down,
}

/// Why a command did not end well.
enum Failure {
    /// It failed: exit status 1.
    Failed(String),
    /// The configuration or the usage is wrong: exit status 2.
    BadInput(String),
    /// The command has said all there is to say: exit status 1.
    Reported,
}

impl Failure {
    /// What there is to say about it.
    fn into_text(self) -> String {
        match self {
            Self::Failed(text) | Self::BadInput(text) => text,
            Self::Reported => String::new(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Usage(message) => Self::BadInput(format!("nat: {message}")),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::BadInput(errors.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("writing the output: {error}"))
    }
}

type Outcome = Result<(), Failure>;

fn bad(what: String) -> Failure {
    Failure::BadInput(format!("nat: {what}"))
}

fn no_vpc(name: &str) -> Failure {
    bad(format!("there is no VPC {name}"))
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Run(_)) {
        end_quietly_when_the_reader_is_gone();
    }
    let pins = Pins::new(&cli.pin_dir);
    let outcome = match cli.command {
        Command::Run(arguments) => run::run(&pins, &cli.socket, &arguments),
        Command::Apply(arguments) => apply::apply(&cli.socket, &arguments),
        Command::Diff(arguments) => apply::diff(&cli.socket, &arguments),
        Command::Get(arguments) => objects::get(&cli.socket, &arguments),
        Command::Put(arguments) => objects::put(&cli.socket, &arguments),
        Command::Delete(arguments) => objects::delete(&cli.socket, &arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&pins, &arguments),
        Command::Sessions(arguments) => sessions::run(&pins, &arguments),
        Command::Ports(arguments) => ports::run(&pins, &arguments),
        Command::Lookup(arguments) => lookup::run(&arguments),
        Command::Explain(arguments) => explain::run(&pins, &arguments),
        Command::Routes(arguments) => routes::run(&pins, &arguments),
        Command::Instances(arguments) => instances::run(&pins, &arguments),
        Command::Endpoints(arguments) => endpoints::run(&pins, &arguments),
        Command::Services(arguments) => services::run(&cli.socket, &arguments),
        Command::Placement(arguments) => placement::run(&cli.socket, &arguments),
        Command::Metadata(arguments) => metadata::run(&cli.socket, &arguments),
        Command::Metrics(arguments) => metrics::run(&pins, &arguments),
        Command::Maps(arguments) => maps::run(&pins, &arguments),
        Command::Doctor(arguments) => doctor::run(&pins, &arguments),
        Command::Down => down::run(&pins),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::FAILURE,
        Err(Failure::Failed(message)) => {
            eprintln!("nat: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::BadInput(message)) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// `nat sessions | head` is no failure: the default action of SIGPIPE, which Rust turns off.
fn end_quietly_when_the_reader_is_gone() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action runs no code of ours.
    let restored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    debug_assert!(restored.is_ok());
}
