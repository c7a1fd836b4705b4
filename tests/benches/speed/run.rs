//! What is asked for on the command line, and the run through all themes.
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use nix::unistd::geteuid;

use crate::{
    conntrack,
    contender::{Contender, Kind},
    control, core, cores, endpoints,
    figures::Table,
    filtering, forwarding, html,
    machine::{Machine, Report},
    memory, new_sessions, paths,
    peer::Peer,
    policy, programs, tcp, text,
};

/// How fast it is, beside what else could be in its place
#[derive(Parser)]
pub struct Arguments {
    /// The generator's object, which `cargo xtask bench` builds
    #[arg(long, env = "NAT_GENERATOR", value_name = "FILE")]
    generator: Option<PathBuf>,
    /// Fewer flows, fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Keep everything else off all cores while a rate is measured: other work on the machine has to wait
    #[arg(long)]
    alone: bool,
    /// Only this theme (may be given more than once): forwarding, new-sessions, tcp, paths, programs, memory,
    /// cores, control, filtering, policy, endpoints
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only these numbers of flows
    #[arg(long, value_name = "N", value_delimiter = ',')]
    flows: Vec<u64>,
    /// Only contenders with this in their name (may be given more than once)
    #[arg(long, value_name = "TEXT")]
    contender: Vec<String>,
    /// Another program beside ours (may be given more than once)
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Peer>,
    /// Rounds of each figure
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Write all figures with their samples there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report with plots there
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where the report goes when nobody says
    #[arg(long, env = "NAT_BENCH_FOLDER", value_name = "FOLDER", hide = true)]
    folder: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all themes need to know.
pub struct Run {
    arguments: Arguments,
    begun: Instant,
    /// The generator's programs.
    pub object: Vec<u8>,
}

type Theme = (&'static str, fn(&Run) -> Result<Vec<Table>>);
const THEMES: [Theme; 11] = [
    ("forwarding", forwarding::measure),
    ("new-sessions", new_sessions::measure),
    ("tcp", tcp::measure),
    ("paths", paths::measure),
    ("programs", programs::measure),
    ("memory", memory::measure),
    ("cores", cores::measure),
    ("control", control::measure),
    ("filtering", filtering::measure),
    ("policy", policy::measure),
    ("endpoints", endpoints::measure),
];

/// Takes all figures that were asked for and shows them.
pub fn all(arguments: Arguments) -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "this needs root, to load BPF programs and make network namespaces: run `cargo xtask bench`"
    );
    let path = arguments
        .generator
        .as_ref()
        .context("the generator's object is missing: run `cargo xtask bench`, which builds it")?;
    let object = fs::read(path).with_context(|| path.display().to_string())?;
    for name in &arguments.only {
        if !THEMES.iter().any(|(theme, _)| theme == name) {
            let known = THEMES.map(|(theme, _)| theme).join(", ");
            bail!("--only {name}: there is no such theme; there are {known}");
        }
    }
    core::be_alone(arguments.alone);
    let run = Run {
        arguments,
        begun: Instant::now(),
        object,
    };
    run.say("waiting for other runs to end, if there are any");
    let most = run.levels().into_iter().max().unwrap_or(0);
    let _raised = match conntrack::Raised::new(most.max(1 << 20)) {
        Ok(raised) => Some(raised),
        Err(error) => {
            run.say(&format!("nftables will be short of room: {error:#}"));
            None
        }
    };
    let mut failed = Vec::new();
    let mut machine = Machine::now()?;
    println!("{}", machine.text());
    let mut tables = Vec::new();
    for (name, measure) in THEMES {
        if !run.arguments.only.is_empty() && !run.arguments.only.iter().any(|each| each == name) {
            continue;
        }
        match measure(&run) {
            Ok(found) => {
                for table in &found {
                    println!("{}", text::table(table));
                }
                tables.extend(found);
            }
            // The other themes' figures are worth having.
            Err(error) => {
                eprintln!("error: theme {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    machine.end()?;
    println!("{}", machine.text());
    run.write(&Report { machine, tables })?;
    ensure!(failed.is_empty(), "no figures of {}", failed.join(", "));
    Ok(())
}

impl Run {
    /// Progress.
    pub fn say(&self, line: &str) {
        eprintln!("[{:>5.0} s] {line}", self.begun.elapsed().as_secs_f64());
    }

    fn write(&self, report: &Report) -> Result<()> {
        let arguments = &self.arguments;
        if let Some(path) = &arguments.json {
            write(path, &serde_json::to_string_pretty(report)?)?;
        }
        let usual = arguments
            .folder
            .as_ref()
            .map(|folder| folder.join("report.html"));
        if let Some(path) = arguments.html.clone().or(usual) {
            write(&path, &html::page(report))?;
            println!("report: {}", path.display());
        }
        Ok(())
    }

    pub fn is_quick(&self) -> bool {
        self.arguments.quick
    }

    /// Exchanges of a byte in a round.
    pub fn exchanges(&self) -> usize {
        if self.arguments.quick { 10_000 } else { 50_000 }
    }

    /// Connections that are opened in a round.
    pub fn connections(&self) -> usize {
        if self.arguments.quick { 800 } else { 2_000 }
    }

    pub fn rounds(&self) -> usize {
        let usual = if self.arguments.quick { 3 } else { 5 };
        self.arguments.rounds.unwrap_or(usual)
    }

    pub fn round_time(&self) -> Duration {
        Duration::from_millis(if self.arguments.quick { 300 } else { 1000 })
    }

    pub fn warm_up(&self) -> Duration {
        self.round_time() / 5
    }

    /// Sessions that are made in a round.
    pub fn new_sessions(&self) -> u64 {
        if self.arguments.quick {
            100_000
        } else {
            400_000
        }
    }

    /// Sessions where it is about many.
    pub fn many(&self) -> u64 {
        if self.arguments.quick {
            100_000
        } else {
            1_000_000
        }
    }

    /// Numbers of flows.
    pub fn levels(&self) -> Vec<u64> {
        if !self.arguments.flows.is_empty() {
            return self.arguments.flows.clone();
        }
        let mut levels = vec![1, 1_000, 50_000];
        if !self.arguments.quick {
            levels.extend([1_000_000, 10_000_000]);
        }
        levels
    }

    /// Numbers of flows, of these or those that were asked for.
    pub fn levels_of(&self, usual: &[u64]) -> Vec<u64> {
        match self.arguments.flows.as_slice() {
            [] => usual.to_vec(),
            asked => asked.to_vec(),
        }
    }

    pub fn flows_label(&self, flows: u64) -> String {
        let amount = match flows {
            _ if flows >= 1_000_000 && flows.is_multiple_of(1_000_000) => {
                format!("{}M", flows / 1_000_000)
            }
            _ if flows >= 1_000 && flows.is_multiple_of(1_000) => format!("{}k", flows / 1_000),
            _ => flows.to_string(),
        };
        format!("{amount} flow{}", if flows == 1 { "" } else { "s" })
    }

    /// Contenders of rates.
    pub fn kinds(&self) -> Vec<Kind> {
        self.kinds_and(None)
    }

    /// Those that are measured, and behind the limit what a part of the work alone takes.
    pub fn kinds_and(&self, part: impl Into<Option<Kind>>) -> Vec<Kind> {
        let mut kinds = vec![Kind::Limit];
        kinds.extend(part.into());
        kinds.extend([
            Kind::Kernel,
            Kind::Nft,
            Kind::XdpPat,
            Kind::XdpElastic,
            Kind::TcPat,
        ]);
        kinds.extend(self.arguments.peer.iter().cloned().map(Kind::Peer));
        kinds.retain(|kind| self.wants(kind));
        kinds
    }

    /// Asked for by `--contender`, as the limit always is.
    pub fn wants(&self, kind: &Kind) -> bool {
        *kind == Kind::Limit || self.wants_named(kind.label())
    }

    pub fn wants_named(&self, label: &str) -> bool {
        let wanted = &self.arguments.contender;
        wanted.is_empty() || wanted.iter().any(|text| label.contains(text))
    }

    /// With so many established flows, and `queues` cores on a link.
    pub fn set_up(&self, kind: &Kind, flows: u64, queues: u32) -> Result<Contender> {
        self.may_hold(kind, flows)?;
        let mut contender = Contender::new(kind, &self.object, flows, flows, queues)?;
        contender.establish()?;
        Ok(contender)
    }

    /// Refuses what this machine has no memory for.
    pub fn may_hold(&self, kind: &Kind, flows: u64) -> Result<()> {
        // Measured, with room to spare: a session of ours in a table that is a quarter larger, a
        // connection of netfilter with its extensions.
        let bytes = match kind {
            Kind::Limit | Kind::Kernel | Kind::XdpElastic => 0,
            Kind::LookUp => 256 * flows,
            // Two tables of entries of 104 bytes for each of two programs.
            Kind::Inserts => 500 * flows,
            Kind::XdpPat | Kind::TcPat | Kind::Filtered(_) => 400 * flows,
            Kind::Nft | Kind::Peer(_) => 600 * flows,
        };
        if *kind == Kind::Nft && !conntrack::nft_answers() {
            bail!(
                "there is no `nft`: install the package nftables (Debian: apt-get install nftables)"
            );
        }
        if *kind == Kind::Nft {
            conntrack::has_room(flows)?;
        }
        let free = available_memory()?;
        ensure!(
            bytes < free / 10 * 9,
            "takes about {} MB, and {} MB of memory are left",
            bytes >> 20,
            free >> 20
        );
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn available_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .context("no MemAvailable in /proc/meminfo")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kilobytes << 10)
}
