//! What the controller costs: a start with many elastic IPs, looking at all sessions, and a sweep for
//! idle ones, also beside traffic.
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nat_userspace::{
    config,
    controller::{self, tear_down},
    expiry::{self, Sweeper},
    loader::LoadOptions,
    pins::{DEFAULT_PIN_DIR, Pins},
    sessions, status,
};

use crate::{
    CORE, Run,
    contender::{Contender, Kind},
    core::pin,
    figures::{Cell, Row, Table},
    flows::Way,
    lab::Lab,
    ours::configuration,
    traffic::Amount,
};

const ELASTIC_IPS: [u32; 3] = [0, 1_000, 10_000];
const SESSIONS: u32 = 262_144;

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let mut tables = vec![starts(run)?];
    let levels: &[u64] = match run.is_quick() {
        true => &[100_000],
        false => &[1_000_000, 10_000_000],
    };
    let columns: Vec<String> = levels.iter().map(|level| run.flows_label(*level)).collect();
    let mut times = TIMES.map(|name| Row::empty(name, columns.len()));
    let mut rates = RATES.map(|name| Row::empty(name, columns.len()));
    for (column, level) in levels.iter().enumerate() {
        run.say(&format!("setting up {level} sessions"));
        if let Err(error) = one_level(run, *level, column, &mut times, &mut rates) {
            for row in times.iter_mut().chain(&mut rates) {
                if let Some(cell) = row.cells.get_mut(column) {
                    *cell = Cell::missing(&error);
                }
            }
        }
    }
    tables.push(Table {
        name: "controller",
        title: "Looking at all sessions".to_owned(),
        unit: "milliseconds",
        columns: columns.clone(),
        rows: times.to_vec(),
        reference: None,
        note: "A sweep in which no session is idle; the controller has one a second, or less often when it takes long.",
    });
    tables.push(Table {
        name: "sweep",
        title: "Forwarding while a sweep runs, XDP, one core, from inside out".to_owned(),
        unit: "million packets per second",
        columns,
        rows: rates.to_vec(),
        reference: Some(RATES[0].to_owned()),
        note: "Sweeps without a pause; the controller sweeps for a twentieth of the time at most.",
    });
    Ok(tables)
}

/// How long a controller takes until everything is in place.
fn starts(run: &Run) -> Result<Table> {
    let columns = ELASTIC_IPS.map(|count| format!("{count} elastic IPs"));
    let mut rows = STARTS.map(|name| Row::empty(name, columns.len())).to_vec();
    for round in 1..=run.rounds() {
        for (column, count) in ELASTIC_IPS.into_iter().enumerate() {
            let times = start_and_reload(count)?;
            run.say(&format!(
                "start, round {round}: {count} elastic IPs: {times:?}"
            ));
            for (row, time) in rows.iter_mut().zip(times) {
                row.add(column, Ok(milliseconds(time)));
            }
        }
    }
    Ok(Table {
        name: "start",
        title: "A start, from the configuration's text to programs that are attached; a reload, to tables that \
                are as it says"
            .to_owned(),
        unit: "milliseconds",
        columns: columns.to_vec(),
        rows,
        reference: None,
        note: "Loading the programs is in it: the verifier takes most of a start without elastic IPs.",
    })
}

const STARTS: [&str; 5] = [
    "start",
    "start beside a running dataplane",
    "reload, all elastic IPs go",
    "reload, all of them come",
    "reload, one of them goes",
];

fn start_and_reload(elastic_ips: u32) -> Result<[Duration; STARTS.len()]> {
    let lab = Lab::new(0, 1)?;
    lab.device.run(|| {
        let pins = Pins::new(DEFAULT_PIN_DIR);
        let read = |count: u32| {
            let text = configuration("xdp", SESSIONS, count);
            config::parse("bench", &text).map_err(|error| anyhow::anyhow!("{error}"))
        };
        let start = || -> Result<_> {
            let begun = Instant::now();
            let controller = controller::start(&read(elastic_ips)?, &pins, LoadOptions::default())?;
            Ok((begun.elapsed(), controller))
        };
        let (first, controller) = start()?;
        drop(controller);
        let (second, mut controller) = start()?;
        let mut reload = |count: u32| -> Result<Duration> {
            let begun = Instant::now();
            controller.reload(&read(count)?)?;
            Ok(begun.elapsed())
        };
        let times = [
            first,
            second,
            reload(0)?,
            reload(elastic_ips)?,
            reload(elastic_ips.saturating_sub(1))?,
        ];
        tear_down(&pins)?;
        Ok(times)
    })
}

const TIMES: [&str; 3] = ["sweep", "`nat status`", "`nat sessions`, without printing"];
const RATES: [&str; 2] = ["no sweep", "a sweep on another core"];
const OTHER_CORE: usize = 0;

fn one_level(
    run: &Run,
    level: u64,
    column: usize,
    times: &mut [Row; 3],
    rates: &mut [Row; 2],
) -> Result<()> {
    run.may_hold(&Kind::XdpPat, level * 2)?;
    let mut contender = Contender::new(&Kind::XdpPat, &run.object, level, level, 1)?;
    contender.establish()?;
    for round in 1..=run.rounds() {
        run.say(&format!("looking at {level} sessions, round {round}"));
        let (lab, controller, pins) = contender.ours().context("it is ours")?;
        let taken = lab.device.run(|| {
            let mut sweeper = Sweeper::new(pins)?;
            let sweep = timed(|| sweeper.sweep(controller.programs(), expiry::now()?))?;
            let status = timed(|| status::read(pins))?;
            let sessions = timed(|| sessions::read(pins))?;
            Ok([sweep, status, sessions])
        })?;
        for (row, time) in times.iter_mut().zip(taken) {
            row.add(column, Ok(milliseconds(time)));
        }
        for (row, sweeps) in rates.iter_mut().zip([false, true]) {
            row.add(column, rate_beside(run, &mut contender, sweeps));
        }
    }
    Ok(())
}

/// The rate while sweeps run on another core, or while none do.
fn rate_beside(run: &Run, contender: &mut Contender, sweeps: bool) -> Result<f64> {
    let amount = Amount::Time(run.round_time());
    contender.send(Way::Out, Amount::Time(run.warm_up()), &[CORE])?;
    if !sweeps {
        return Ok(contender.send(Way::Out, amount, &[CORE])?.rate());
    }
    let sent = contender.send_beside(Way::Out, amount, |controller, pins, done| {
        pin(OTHER_CORE)?;
        let mut sweeper = Sweeper::new(pins)?;
        while !done.load(Relaxed) {
            sweeper.sweep(controller.programs(), expiry::now()?)?;
        }
        Ok(())
    })?;
    Ok(sent.rate())
}

fn timed<T, E: Into<anyhow::Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration> {
    let begun = Instant::now();
    work().map_err(Into::into)?;
    Ok(begun.elapsed())
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
