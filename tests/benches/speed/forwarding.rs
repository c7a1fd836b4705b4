//! How many packets a core forwards, by how many flows they belong to.
use anyhow::{Result, ensure};

use crate::{
    CORE, Run, conntrack,
    contender::{Contender, Kind},
    figures::{Cell, Row, Table},
    flows::Way,
    traffic::Amount,
};

/// Packets that don't arrive are no figure; more than this part of them, and the sample is none.
pub const TOLERATED_LOSS: f64 = 0.01;

/// More flows than these take so long to go through that the first ones are idle at the end.
const MOST_KEPT_UP: u64 = 1_000_000;

/// One table for each way.
pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let kinds = run.kinds_and(Kind::LookUp);
    let levels = run.levels();
    let mut tables: Vec<Table> = Way::BOTH
        .iter()
        .map(|way| empty(run, &kinds, &levels, *way))
        .collect();
    for (column, level) in levels.iter().enumerate() {
        let mut contenders = set_up(run, &kinds, *level, &mut tables, column);
        for round in 1..=run.rounds() {
            for (row, contender) in &mut contenders {
                for (way, table) in Way::BOTH.iter().zip(&mut tables) {
                    let outcome = sample(run, contender, *way);
                    run.say(&format!(
                        "{}, {level} flows, round {round}: {} {way}: {}",
                        table.name,
                        contender.kind.label(),
                        told(&outcome)
                    ));
                    table.rows[*row].add(column, outcome);
                }
            }
        }
    }
    Ok(tables)
}

fn empty(run: &Run, kinds: &[Kind], levels: &[u64], way: Way) -> Table {
    let (name, title) = match way {
        Way::Out => (
            "forwarding-out",
            "One core, 64-byte frames, from inside out",
        ),
        Way::In => ("forwarding-in", "One core, 64-byte frames, from outside in"),
    };
    let row = |kind: &Kind| Row::empty(kind.label(), levels.len());
    Table {
        name,
        title: title.to_owned(),
        unit: "million packets per second",
        columns: levels.iter().map(|level| run.flows_label(*level)).collect(),
        rows: kinds.iter().map(row).collect(),
        reference: Some(Kind::Limit.label().to_owned()),
        note: "Generator, contender and sink on one core. Flows at random, all of them established before.",
    }
}

/// Those that could be set up, with their rows; the others' cells say why not.
fn set_up(
    run: &Run,
    kinds: &[Kind],
    level: u64,
    tables: &mut [Table],
    column: usize,
) -> Vec<(usize, Contender)> {
    let mut ready = Vec::new();
    for (row, kind) in kinds.iter().enumerate() {
        run.say(&format!("setting up {} with {level} flows", kind.label()));
        match run.set_up(kind, level, 1) {
            Ok(contender) => ready.push((row, contender)),
            Err(error) => {
                run.say(&format!("{}: {error:#}", kind.label()));
                for table in &mut *tables {
                    if let Some(cell) = table.rows[row].cells.get_mut(column) {
                        *cell = Cell::missing(&error);
                    }
                }
            }
        }
    }
    ready
}

/// Of established flows.
pub fn sample(run: &Run, contender: &mut Contender, way: Way) -> Result<f64> {
    // Flows that go on: each has had a packet in the seconds before, whoever was measured meanwhile.
    let flows = contender.flows;
    if flows.count() <= MOST_KEPT_UP {
        contender.send_in_order(&flows, way, flows.count())?;
    }
    // What the others left in the caches goes first.
    contender.send(way, Amount::Time(run.warm_up()), &[CORE])?;
    let sent = contender.send(way, Amount::Time(run.round_time()), &[CORE])?;
    if contender.kind == Kind::Nft {
        conntrack::has_room(contender.flows.count())?;
    }
    ensure!(
        sent.loss() <= TOLERATED_LOSS,
        "{:.1} % of the packets did not arrive",
        sent.loss() * 100.0
    );
    Ok(sent.rate())
}

/// For the progress.
pub fn told(outcome: &Result<f64>) -> String {
    match outcome {
        Ok(value) => crate::figures::number(*value),
        Err(error) => format!("{error:#}"),
    }
}
