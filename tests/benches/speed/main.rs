//! How fast it is, beside what else could be in its place: `cargo xtask bench`, which builds the
//! generator's object and starts this. docs/performance.md says what each figure means.
//!
//! A lab (lab.rs) has a contender (contender.rs) in the middle, traffic.rs sends through it, and a file
//! for each theme takes figures (figures.rs), which text.rs and html.rs show.

mod channels;
mod conntrack;
mod contender;
mod control;
mod core;
mod cores;
mod endpoint_lab;
mod endpoints;
mod figures;
mod filtering;
mod filters;
mod flows;
mod forwarding;
mod html;
mod lab;
mod large;
mod machine;
mod memory;
mod new_sessions;
mod ours;
mod packets;
mod paths;
mod peer;
#[path = "../../../nat-ebpf/src/generator/plan.rs"]
mod plan;
mod policy;
mod programs;
mod run;
#[path = "../../verifier/programs.rs"]
mod sizes;
mod svg;
mod tcp;
mod text;
mod traffic;

use std::process::ExitCode;

use clap::Parser as _;

pub use run::Run;

/// The core that figures of one core are taken on. Interrupts and other programs like the first one.
pub const CORE: usize = 1;

fn main() -> ExitCode {
    match run::all(run::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
