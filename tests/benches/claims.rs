//! What it costs to make a session, by how full the pool of ports already is. The real programs, as
//! `tests/dataplane.rs` runs them, on both hooks and in both profiles; one public IP with ports 1024 to
//! 65535, one destination.
//!
//! ```text
//! cargo bench -p nat-tests --bench claims [-- --json]
//! ```
//!
//! A sample is one run of the program by `BPF_PROG_TEST_RUN` with repeat 1, and its time is the
//! `duration` that the kernel answers: the clock is read right before and right behind the program, so
//! the system call and the making of the packet are not in it. What reading the clock costs is, some
//! tens of nanoseconds: `not ours` shows a run that does next to nothing. It would not be fine enough
//! for parts of a packet's way, but is for a whole one. The timer outside the system call is not:
//! that call takes longer than the program.
//!
//! A packet that makes a session goes through the main program, the claim program, and the main program
//! once more, and is translated: all of that is in its time, and nothing of sending it. A session is
//! ended after it was measured, so the pool stays as full as it is said to be; that also means that the
//! entries it takes are warm in the cache. Flows that fill the pool and those that are measured have
//! random ports of the whole range, so full pools are full as they come to be in practice: with runs
//! of neighbouring ports that were taken one after the other.
//!
//! Figures of one machine compare with each other; those of two do not.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../dataplane/audit.rs"]
#[allow(dead_code, reason = "the tests use it")]
mod audit;
#[path = "../dataplane/bench.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod bench;
#[path = "../dataplane/capture.rs"]
#[allow(dead_code, reason = "the tests use it")]
mod capture;
#[path = "../dataplane/counts.rs"]
mod counts;
#[path = "../dataplane/network.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod network;

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddrV4},
    process::ExitCode,
    time::Duration,
};

use bench::{Bench, Hook, Outcome};
use clap::Parser;
use nat_tests::{
    model::{Filtering, Flow, NatGateway, OnExhaustion, Side},
    packets::{PacketBuilder, addresses, protocol, tcp_flags},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::utsname::uname,
    unistd::{Pid, geteuid},
};
use serde::Serialize;

/// What making a session costs, by how full the pool of ports is
#[derive(Parser)]
struct Arguments {
    /// Print one JSON object per line instead of a table
    #[arg(long)]
    json: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const PRIVATE: Side = Side::Inside(1);
const POOL: usize = 65_535 - 1024 + 1;
/// How full the pool is when claims are measured, in thousandths, and how many are: in a nearly full
/// one they take long.
const LEVELS: [(usize, usize); 5] = [
    (0, SAMPLES),
    (HALF, SAMPLES),
    (900, SAMPLES),
    (990, SAMPLES),
    (999, 400),
];
/// The level at which established packets are measured.
const HALF: usize = 500;

/// Runs of a kind of packet that are measured.
const SAMPLES: usize = 2000;
/// Walks through a full pool: they take long.
const WALKS: usize = 30;
/// Longer than it is remembered that a pool is full.
const FORGOTTEN: Duration = Duration::from_millis(1300);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !geteuid().is_root() {
        eprintln!(
            "error: this needs root, to load BPF programs and make network namespaces; run it as root, or build as \
             yourself and run through sudo:\n  cargo bench --config \"target.'cfg(unix)'.runner='sudo -E'\" \
             -p nat-tests --bench claims"
        );
        return ExitCode::FAILURE;
    }
    if !arguments.json {
        print_header();
    }
    for hook in [Hook::Xdp, Hook::Tc] {
        for profile in ["aws", "rfc"] {
            for row in measure(hook, profile) {
                if arguments.json {
                    println!("{}", serde_json::to_string(&row).unwrap());
                } else {
                    println!("{row}");
                }
            }
        }
    }
    ExitCode::SUCCESS
}

/// One line of the result.
#[derive(Serialize)]
struct Row {
    hook: &'static str,
    profile: &'static str,
    packet: &'static str,
    pool_full_percent: f64,
    samples: usize,
    median_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    /// Of the median to that of a claim in an empty pool.
    ratio: f64,
}

fn print_header() {
    let release = uname().map(|system| system.release().to_string_lossy().into_owned());
    println!("kernel {}, times in ns", release.unwrap_or_default());
    println!(
        "{:<4}  {:<7}  {:<24}  {:>9}  {:>7}  {:>9}  {:>9}  {:>9}  {:>8}",
        "HOOK", "PROFILE", "PACKET", "POOL FULL", "SAMPLES", "MEDIAN", "P90", "P99", "RATIO"
    );
}

impl std::fmt::Display for Row {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{:<4}  {:<7}  {:<24}  {:>7} %  {:>7}  {:>9}  {:>9}  {:>9}  {:>8.2}",
            self.hook,
            self.profile,
            self.packet,
            self.pool_full_percent,
            self.samples,
            self.median_ns,
            self.p90_ns,
            self.p99_ns,
            self.ratio
        )
    }
}

/// All rows of one hook and profile.
fn measure(hook: Hook, profile: &'static str) -> Vec<Row> {
    let gateway = NatGateway {
        // What is measured is the refusal, not the ICMP error about it.
        on_exhaustion: OnExhaustion::Silent,
        ..NatGateway::new(vec![addresses::NAT_PUBLIC])
    };
    let gateway = match profile {
        "rfc" => NatGateway {
            on_exhaustion: OnExhaustion::Silent,
            ..gateway.rfc(Filtering::AddressDependent)
        },
        _ => gateway,
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    let series = bench.inside(|bench| {
        stay_on_one_cpu();
        run(bench)
    });
    let is_first_claim = |each: &&Series| each.packet == CLAIM && each.thousandths == 0;
    let unit = series.iter().find(is_first_claim).map_or(1, Series::median);
    let hook = match hook {
        Hook::Xdp => "xdp",
        Hook::Tc => "tc",
    };
    let row = |each: &Series| Row {
        hook,
        profile,
        packet: each.packet,
        pool_full_percent: each.thousandths as f64 / 10.0,
        samples: each.sorted.len(),
        median_ns: each.median(),
        p90_ns: each.at(90),
        p99_ns: each.at(99),
        ratio: each.median() as f64 / unit as f64,
    };
    series.iter().map(row).collect()
}

/// The kernel hands out map elements by CPU.
fn stay_on_one_cpu() {
    let mut cpus = CpuSet::new();
    cpus.set(0).unwrap();
    // A machine may not let us have that one; the figures are only less even then.
    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
}

const NOT_OURS: &str = "not ours";
const ESTABLISHED: &str = "established";
const CLAIM: &str = "makes a session";
const WALK: &str = "refused, after a walk";
const REFUSED: &str = "refused, known";

/// Measured times of one kind of packet.
struct Series {
    packet: &'static str,
    thousandths: usize,
    sorted: Vec<u64>,
}

impl Series {
    /// The times of `count` runs, and of some before them that do not count.
    fn new(
        packet: &'static str,
        thousandths: usize,
        count: usize,
        mut sample: impl FnMut() -> Duration,
    ) -> Self {
        for _ in 0..count / 10 {
            sample();
        }
        let mut sorted: Vec<_> = (0..count).map(|_| sample().as_nanos() as u64).collect();
        sorted.sort_unstable();
        Self {
            packet,
            thousandths,
            sorted,
        }
    }

    /// So many hundredths are not above this.
    fn at(&self, percent: usize) -> u64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied().unwrap_or(0)
    }

    fn median(&self) -> u64 {
        self.at(50)
    }
}

/// Fills the pool from level to level and measures at each. In a thread of the programs' namespace.
fn run(bench: &mut Bench) -> Vec<Series> {
    let mut flows = Flows::new();
    let mut there: Vec<Flow> = Vec::with_capacity(POOL);
    let mut all = Vec::new();
    let other = frame_of_another_protocol();
    all.push(Series::new(NOT_OURS, 0, SAMPLES, || {
        let (outcome, time) = bench.timed_here(PRIVATE, &other);
        assert!(matches!(outcome, Outcome::Pass(_)), "{outcome:?}");
        time
    }));
    for (level, count) in LEVELS {
        fill(bench, &mut flows, &mut there, POOL * level / 1000);
        if level == HALF {
            all.insert(1, established(bench, &mut flows, &there));
        }
        all.push(Series::new(CLAIM, level, count, || {
            let flow = flows.next_measured();
            let (outcome, time) = bench.timed_here(PRIVATE, &syn(&flow));
            assert!(outcome.forwarded().is_some(), "{outcome:?} at {level}");
            assert!(bench.end_here(&flow), "a session that is measured ends");
            time
        }));
    }
    fill(bench, &mut flows, &mut there, POOL);
    let mut refused = |bench: &mut Bench| {
        let (outcome, time) = bench.timed_here(PRIVATE, &syn(&flows.next_measured()));
        assert_eq!(outcome.verdict(), "port_exhausted");
        time
    };
    all.push(Series::new(WALK, 1000, WALKS, || {
        bench.advance(FORGOTTEN);
        refused(bench)
    }));
    all.push(Series::new(REFUSED, 1000, SAMPLES, || refused(bench)));
    all
}

/// Packets of sessions that are there, in random order.
fn established(bench: &mut Bench, flows: &mut Flows, there: &[Flow]) -> Series {
    Series::new(ESTABLISHED, HALF, SAMPLES, || {
        let flow = &there[flows.random(there.len())];
        let (outcome, time) = bench.timed_here(PRIVATE, &segment(flow, tcp_flags::ACK));
        assert!(outcome.forwarded().is_some(), "{outcome:?}");
        time
    })
}

/// Makes sessions until there are so many.
fn fill(bench: &mut Bench, flows: &mut Flows, there: &mut Vec<Flow>, count: usize) {
    while there.len() < count {
        let flow = flows.next_new();
        let outcome = bench.run_here(PRIVATE, &syn(&flow));
        assert!(
            outcome.forwarded().is_some(),
            "{outcome:?} with {} sessions",
            there.len()
        );
        there.push(flow);
    }
    assert_eq!(bench.sessions(), count);
}

/// Random flows to one server, the same in every run.
struct Flows {
    state: u64,
    given: HashSet<(u8, u16)>,
}

/// Hosts whose sessions fill the pool, and the one whose are measured.
const FIRST_HOST: u8 = 10;
const HOSTS: usize = 200;
const MEASURED_HOST: u8 = 250;

impl Flows {
    fn new() -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            given: HashSet::new(),
        }
    }

    /// Of `0..below` (xorshift64*).
    fn random(&mut self, below: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high as usize * below) >> 32
    }

    fn port(&mut self) -> u16 {
        1024 + self.random(POOL) as u16
    }

    /// One that was not there before.
    fn next_new(&mut self) -> Flow {
        loop {
            let host = FIRST_HOST + self.random(HOSTS) as u8;
            let port = self.port();
            if self.given.insert((host, port)) {
                return flow(host, port);
            }
        }
    }

    fn next_measured(&mut self) -> Flow {
        flow(MEASURED_HOST, self.port())
    }
}

fn flow(host: u8, port: u16) -> Flow {
    Flow::new(
        protocol::TCP,
        SocketAddrV4::new(Ipv4Addr::new(10, 40, 2, host), port),
        SocketAddrV4::new(addresses::SERVER, 443),
    )
}

fn syn(flow: &Flow) -> Vec<u8> {
    segment(flow, tcp_flags::SYN)
}

fn segment(flow: &Flow, flags: u8) -> Vec<u8> {
    PacketBuilder::tcp(flow.inside, flow.remote)
        .flags(flags)
        .build()
}

/// The dataplane leaves it to the host.
fn frame_of_another_protocol() -> Vec<u8> {
    const LOCAL_EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];
    let mut frame = syn(&flow(MEASURED_HOST, 1024));
    frame[12..14].copy_from_slice(&LOCAL_EXPERIMENTAL);
    frame
}
