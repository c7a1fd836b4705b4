//! Kernel memory of the whole state for each session, as the kernel accounts for the maps; of
//! nftables, by how much more the kernel's own objects take.
use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use nat_common::map_types::names;
use nat_userspace::pins::Pins;

use crate::{
    Run,
    contender::{Contender, Kind},
    figures::{Cell, Row, Table},
    ours::DEFAULT_CAPACITY,
};

/// Maps below this are told together.
const WORTH_A_ROW: f64 = 1.0;

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    // A smaller table than the default would have the default's size all the same.
    let sessions = run.many().max(u64::from(DEFAULT_CAPACITY));
    let mut rows = Vec::new();
    run.say(&format!("memory of {sessions} sessions of ours"));
    match ours(run, sessions) {
        Ok(mut found) => rows.append(&mut found),
        Err(error) => rows.push(Row {
            name: "ours".to_owned(),
            cells: vec![Cell::missing(&error); 2],
        }),
    }
    run.say(&format!("memory of {sessions} connections of netfilter"));
    let nft = nft(run, sessions).map_or_else(|error| Cell::missing(&error), Cell::one);
    rows.push(Row {
        name: "nftables masquerade, without its buckets".to_owned(),
        cells: vec![Cell::Missing("netfilter allocates by need".to_owned()), nft],
    });
    Ok(vec![Table {
        name: "memory",
        title: format!("Kernel memory, in a table for {sessions} sessions"),
        unit: "bytes per session",
        columns: vec!["empty".to_owned(), "nine tenths full".to_owned()],
        rows,
        reference: None,
        note: "Maps: `memlock` in fdinfo, divided by the capacity. nftables: growth of unreclaimable slab memory, \
               which other programs' doings disturb.",
    }])
}

fn ours(run: &Run, sessions: u64) -> Result<Vec<Row>> {
    run.may_hold(&Kind::XdpPat, sessions)?;
    let mut contender = Contender::new(
        &Kind::XdpPat,
        &run.object,
        sessions / 10 * 9,
        sessions * 4 / 5,
        1,
    )?;
    let empty = maps(&mut contender)?;
    contender.establish()?;
    let full = maps(&mut contender)?;
    let mut rows = Vec::new();
    let mut others = [0.0; 2];
    let mut whole = [0.0; 2];
    for ((name, empty), (_, full)) in empty.into_iter().zip(full) {
        let each = [empty, full].map(|bytes| bytes as f64 / sessions as f64);
        for (sum, bytes) in whole.iter_mut().zip(each) {
            *sum += bytes;
        }
        if each.iter().any(|bytes| *bytes >= WORTH_A_ROW) {
            rows.push(row(name, each));
        } else {
            for (sum, bytes) in others.iter_mut().zip(each) {
                *sum += bytes;
            }
        }
    }
    rows.push(row("other maps", others));
    rows.push(row("ours, the whole state", whole));
    Ok(rows)
}

fn row(name: &str, bytes: [f64; 2]) -> Row {
    Row {
        name: name.to_owned(),
        cells: bytes.map(Cell::one).to_vec(),
    }
}

/// Every pinned map and its bytes.
fn maps(contender: &mut Contender) -> Result<Vec<(&'static str, u64)>> {
    let (lab, _, pins) = contender.ours().context("it is ours")?;
    lab.device.run(|| all(pins))
}

fn all(pins: &Pins) -> Result<Vec<(&'static str, u64)>> {
    names::ALL
        .iter()
        .map(|name| Ok((*name, bytes(&pins.open(name)?)?)))
        .collect()
}

fn bytes(map: &MapData) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("no memlock in fdinfo")?.trim().parse()?)
}

fn nft(run: &Run, sessions: u64) -> Result<f64> {
    run.may_hold(&Kind::Nft, sessions)?;
    let mut contender = Contender::new(&Kind::Nft, &run.object, sessions, sessions, 1)?;
    let before = slabs()?;
    contender.establish()?;
    let after = slabs()?;
    Ok((after as f64 - before as f64) / sessions as f64)
}

/// Unreclaimable slab memory of the machine, in bytes.
fn slabs() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("SUnreclaim:"));
    let kilobytes: u64 = line
        .context("no SUnreclaim in /proc/meminfo")?
        .trim_end_matches("kB")
        .trim()
        .parse()?;
    Ok(kilobytes << 10)
}
