//! `nat-lab`: builds a lab, runs the program `nat` in it, and checks what it does: the main job, or a picture.
//! The main job's lab is in netns/, the pictures are in pictures/; this is the command line around them.
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use nat_tests::{
    netns::{Check, Hook, Namespace, Report, main_job::main_job},
    pictures::{self, PICTURES, Picture},
};
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
    Main(Options),
    /// Show a well-known diagram of a VPC, and check that it holds.
    Picture {
        /// Which one.
        #[arg(value_parser = picture())]
        name: &'static Picture,
        #[command(flatten)]
        options: Options,
    },
    /// Print the names of the pictures and what they show. Needs no root.
    Pictures,
    /// Print the programs of the machine that a picture takes beside nat. Needs no root.
    Programs {
        /// Which one.
        #[arg(value_parser = picture())]
        name: &'static Picture,
    },
}

#[derive(clap::Args)]
struct Options {
    /// The program `nat`.
    #[arg(long)]
    nat: PathBuf,
    /// Where to attach the dataplane; several may be named. Left out: xdp and tc, or one where that makes no difference.
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
    let outcome = match Arguments::parse().verb {
        Verb::Main(options) => run(&options, None),
        Verb::Picture { name, options } => run(&options, Some(name)),
        Verb::Pictures => list().map(|()| true).context("the list of pictures"),
        Verb::Programs { name } => {
            name.programs
                .iter()
                .for_each(|program| println!("{program}"));
            Ok(true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nat-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses other names than those there are, with exit status 2.
fn picture() -> impl TypedValueParser<Value = &'static Picture> {
    let names = PICTURES.iter().map(|picture| picture.name);
    PossibleValuesParser::new(names)
        .try_map(|name| pictures::find(&name).with_context(|| format!("no picture {name}")))
}

fn list() -> io::Result<()> {
    let width = PICTURES.iter().map(|picture| picture.name.len()).max();
    let width = width.unwrap_or_default();
    let mut stdout = io::stdout().lock();
    for Picture { name, title, .. } in PICTURES {
        writeln!(stdout, "{name:width$}  {title}")?;
    }
    Ok(())
}

/// Whether every check on every hook held: of a picture, or of the main job.
fn run(options: &Options, picture: Option<&Picture>) -> Result<bool> {
    let mut hooks = hooks(&options.hook);
    if let Some(picture) = picture {
        say(
            options,
            &format!("{}: {}\n{}", picture.name, picture.title, picture.diagram),
        );
        if !picture.on_each_hook && options.hook.is_empty() {
            hooks.truncate(1);
        }
    }
    let mut failed = 0;
    for (position, &hook) in hooks.iter().enumerate() {
        let hold = options.hold && position + 1 == hooks.len();
        say(options, &format!("hook {hook}"));
        let mut report = Report::new(hook, if options.json { print_json } else { print_line });
        let mut show = |nodes: &[&Namespace], text: &str| {
            say(options, text.trim_end());
            if hold {
                hold_until_signal(options, nodes)
            } else {
                Ok(())
            }
        };
        match picture {
            Some(picture) => picture.check(&options.nat, hook, &mut report, &mut show),
            None => main_job(&options.nat, hook, &mut report, |lab, table| {
                show(&lab.nodes(), table)
            })?,
        }
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
fn say(options: &Options, text: &str) {
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

fn hold_until_signal(options: &Options, nodes: &[&Namespace]) -> Result<()> {
    say(options, "\nThe lab stands until Ctrl-C. Its nodes:");
    for node in nodes {
        say(
            options,
            &format!("  {:15} {}", node.label(), node.how_to_enter()),
        );
    }
    let with_dataplane = nodes.iter().filter(|node| node.has_own_mounts());
    let with_dataplane: Vec<_> = with_dataplane.map(|node| node.label()).collect();
    say(
        options,
        &format!(
            "On {}, {} answers for itself.",
            with_dataplane.join(" and "),
            options.nat.display()
        ),
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
