//! What rules cost: packets of established flows, which are never asked again, and first packets, which
//! should take as long whether there is one rule or a thousand.
use anyhow::Result;

use crate::{
    Run,
    contender::{Contender, Kind},
    figures::{Cell, Row, Table},
    filters::{Filter, Filtered},
    flows::Way,
    forwarding::{self, told},
    new_sessions,
};

/// Rules each way: the least, what AWS allows in a group by default, and what it allows an instance.
const RULES: [u32; 3] = [1, 60, 1_000];
const LEVELS: [u64; 3] = [1, 1_000, 50_000];

/// Where packets go through: hook, whether by public addresses of the hosts' own, and what the tables of
/// established flows and of new sessions are called.
type Place = (&'static str, bool, &'static str);
const PLACES: [Place; 4] = [
    ("xdp", false, "filtering-gateway-xdp"),
    ("xdp", true, "filtering-1to1-xdp"),
    ("tc", false, "filtering-gateway-tc"),
    ("tc", true, "filtering-1to1-tc"),
];

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for place in PLACES {
        tables.extend(established(run, place));
    }
    tables.push(first_packets(run));
    Ok(tables)
}

/// A row for each filter; those of TC, which does the same, are fewer.
fn established(run: &Run, (attach, one_to_one, name): Place) -> Option<Table> {
    let mut filters = vec![Filter::None];
    filters.extend(RULES.map(Filter::Group));
    filters.extend(RULES.map(Filter::Acl));
    if attach == "tc" {
        filters = vec![Filter::None, Filter::Group(1_000), Filter::Acl(1_000)];
    }
    let kinds: Vec<Kind> = filters
        .into_iter()
        .map(|filter| Kind::Filtered(Filtered::new(attach, one_to_one, filter)))
        .filter(|kind| run.wants(kind))
        .collect();
    let reference = kinds.first()?.label().to_owned();
    let levels = run.levels_of(&LEVELS);
    let columns: Vec<(Way, u64)> = Way::BOTH
        .into_iter()
        .flat_map(|way| levels.iter().map(move |level| (way, *level)))
        .collect();
    let mut rows: Vec<Row> = kinds
        .iter()
        .map(|kind| Row::empty(kind.label(), columns.len()))
        .collect();
    for level in levels {
        let mut ready = Vec::new();
        for (row, kind) in rows.iter_mut().zip(&kinds) {
            run.say(&format!("setting up {} with {level} flows", kind.label()));
            match run.set_up(kind, level, 1) {
                Ok(contender) => ready.push((row, contender)),
                Err(error) => {
                    let of_level = row.cells.iter_mut().zip(&columns);
                    for (cell, _) in of_level.filter(|(_, column)| column.1 == level) {
                        *cell = Cell::missing(&error);
                    }
                }
            }
        }
        for round in 1..=run.rounds() {
            for (row, contender) in &mut ready {
                for (column, (way, _)) in columns.iter().enumerate().filter(|(_, c)| c.1 == level) {
                    let outcome = forwarding::sample(run, contender, *way);
                    run.say(&format!(
                        "{}, {level} flows, round {round}, {way}: {}",
                        row.name,
                        told(&outcome)
                    ));
                    row.add(column, outcome);
                }
            }
        }
    }
    let label = |(way, level): &(Way, u64)| format!("{way}, {}", run.flows_label(*level));
    Some(Table {
        name,
        title: format!("One core, 64-byte frames of established flows, beside: {reference}"),
        unit: "million packets per second",
        columns: columns.iter().map(label).collect(),
        rows,
        reference: Some(reference),
        note: "The last of the rules allows the packets. 1:1 without groups keeps no sessions, with groups it does.",
    })
}

/// A column for each way to make sessions, and a row for each number of rules.
fn first_packets(run: &Run) -> Table {
    let mut rows: Vec<Row> = RULES.map(|count| Row::empty(&rules(count), 0)).to_vec();
    let mut columns = Vec::new();
    for (attach, one_to_one, _) in PLACES {
        for (word, filter) in [
            ("groups", Filter::Group as fn(u32) -> Filter),
            ("ACL", Filter::Acl),
        ] {
            let filtered = RULES.map(|count| Filtered::new(attach, one_to_one, filter(count)));
            if !filtered.iter().all(Filtered::makes_sessions) {
                continue;
            }
            let kinds = filtered.map(Kind::Filtered);
            if !kinds.iter().any(|kind| run.wants(kind)) {
                continue;
            }
            let path = if one_to_one { "1:1" } else { "NAT gateway" };
            columns.push(format!("{}, {path}, {word}", attach.to_uppercase()));
            for (row, cell) in rows.iter_mut().zip(column(run, &kinds)) {
                row.cells.push(cell);
            }
        }
    }
    Table {
        name: "filtering-new",
        title: "One core, every packet opens a flow, by rules".to_owned(),
        unit: "thousand sessions per second",
        columns,
        rows,
        reference: Some(rules(1)),
        note: "UDP from inside, flows that were never seen, one packet each. The last of the rules allows them.",
    }
}

fn column(run: &Run, kinds: &[Kind; RULES.len()]) -> [Cell; RULES.len()] {
    let count = run.new_sessions();
    let room = count * run.rounds() as u64 * 2;
    let mut cells = RULES.map(|_| Cell::Samples(Vec::new()));
    let mut ready = Vec::new();
    for (cell, kind) in cells.iter_mut().zip(kinds) {
        run.say(&format!("setting up {}", kind.label()));
        let contender = run
            .may_hold(kind, room)
            .and_then(|()| Contender::new(kind, &run.object, count, room, 1));
        match contender {
            Ok(contender) => ready.push((cell, contender)),
            Err(error) => *cell = Cell::missing(&error),
        }
    }
    for round in 1..=run.rounds() {
        for (cell, contender) in &mut ready {
            // None has met these before.
            contender.flows = contender.flows.others();
            let flows = contender.flows;
            let outcome = new_sessions::sample(contender, &flows);
            run.say(&format!(
                "new sessions, {}, round {round}: {}",
                contender.kind.label(),
                told(&outcome)
            ));
            cell.add(outcome);
        }
    }
    cells
}

fn rules(count: u32) -> String {
    match count {
        1 => "one rule".to_owned(),
        _ => format!("{count} rules"),
    }
}
