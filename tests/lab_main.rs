//! `nat-lab`: builds the lab of the classic picture, runs the program `nat` in it, and checks the main job.
//! The lab and its checks are in netns/; this is the command line around them.
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use nat_tests::netns::{Check, Hook, Picture, Report, main_job::main_job};
use tokio::signal::unix::{SignalKind, signal};

/// A lab of network namespaces for the NAT dataplane. Needs root.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check the main job: translation both ways, and nothing else let through.
    Main(Main),
}

#[derive(clap::Args)]
struct Main {
    /// The program `nat`.
    #[arg(long)]
    nat: PathBuf,
    /// Where to attach the dataplane; several may be named. Left out: xdp and tc.
    #[arg(long)]
    hook: Vec<Choice>,
    /// Keep the lab of the last hook until Ctrl-C, and print how to enter its nodes.
    #[arg(long)]
    hold: bool,
    /// Print one object per check: check, hook, expected, seen, ok.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Choice {
    Xdp,
    XdpGeneric,
    Tc,
    All,
}

fn main() -> ExitCode {
    let Arguments {
        verb: Verb::Main(options),
    } = Arguments::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nat-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every check on every hook held.
fn run(options: &Main) -> Result<bool> {
    let hooks = hooks(&options.hook);
    let mut failed = 0;
    for (position, &hook) in hooks.iter().enumerate() {
        let hold = options.hold && position + 1 == hooks.len();
        say(options, &format!("hook {hook}"));
        let mut report = Report::new(hook, if options.json { print_json } else { print_line });
        main_job(&options.nat, hook, &mut report, |lab, table| {
            say(options, table.trim_end());
            if hold {
                hold_until_signal(options, lab)
            } else {
                Ok(())
            }
        })?;
        let missed = report.failed().count();
        failed += missed;
        say(
            options,
            &format!(
                "hook {hook}: {} checks, {missed} failed",
                report.checks().len()
            ),
        );
    }
    Ok(failed == 0)
}

fn hooks(choices: &[Choice]) -> Vec<Hook> {
    if choices.is_empty() {
        return vec![Hook::Xdp, Hook::Tc];
    }
    let chosen = |hook: &Hook| {
        let choice = match hook {
            Hook::Xdp => Choice::Xdp,
            Hook::XdpGeneric => Choice::XdpGeneric,
            Hook::Tc => Choice::Tc,
        };
        choices.contains(&Choice::All) || choices.contains(&choice)
    };
    Hook::ALL.into_iter().filter(chosen).collect()
}

/// What is for a person: out of the way of the objects when those are asked for.
fn say(options: &Main, text: &str) {
    if options.json {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

fn print_line(check: &Check) {
    println!("{}", check.line());
}

fn print_json(check: &Check) {
    let mut stdout = io::stdout().lock();
    // A reader that has gone away misses nothing: the exit status says it all.
    let _ = serde_json::to_writer(&mut stdout, check)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(stdout));
}

fn hold_until_signal(options: &Main, lab: &Picture) -> Result<()> {
    say(options, "\nThe lab stands until Ctrl-C. Its nodes:");
    for node in lab.nodes() {
        say(
            options,
            &format!("  {:15} {}", node.label(), node.how_to_enter()),
        );
    }
    say(
        options,
        &format!("On the edge, {} answers for itself.", options.nat.display()),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("waiting for Ctrl-C")?;
        let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
        Ok(())
    })
}
