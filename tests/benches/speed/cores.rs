//! What a second core adds: each core has a generator, and links have a queue for each.
use anyhow::{Result, ensure};

use crate::{
    CORE, Run,
    contender::Contender,
    figures::{Cell, Row, Table},
    flows::Way,
    forwarding::told,
    traffic::Amount,
};

const CORES: [&[usize]; 2] = [&[CORE], &[0, CORE]];
const FLOWS: u64 = 50_000;
/// Two cores may meet on a ring that is full for a moment.
const TOLERATED_LOSS: f64 = 0.05;

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let kinds = run.kinds();
    let mut rows: Vec<Row> = kinds
        .iter()
        .map(|kind| Row::empty(kind.label(), CORES.len() + 1))
        .collect();
    let mut ready = Vec::new();
    for (row, kind) in rows.iter_mut().zip(&kinds) {
        run.say(&format!("setting up {}", kind.label()));
        match run.set_up(kind, FLOWS, 2) {
            Ok(contender) => ready.push((row, contender)),
            Err(error) => row.cells = vec![Cell::missing(&error); CORES.len() + 1],
        }
    }
    for round in 1..=run.rounds() {
        for (row, contender) in &mut ready {
            let mut rates = Vec::new();
            for (column, cores) in CORES.iter().enumerate() {
                let outcome = sample(run, contender, cores);
                run.say(&format!(
                    "{} core(s), round {round}: {}: {}",
                    cores.len(),
                    row.name,
                    told(&outcome)
                ));
                rates.extend(outcome.as_ref().ok().copied());
                row.add(column, outcome);
            }
            if let [one, two] = *rates {
                row.add(CORES.len(), Ok(two / one));
            }
        }
    }
    Ok(vec![Table {
        name: "cores",
        title: format!("Two cores against one, {FLOWS} flows, from inside out"),
        unit: "million packets per second",
        columns: ["1 core", "2 cores", "times"].map(str::to_owned).to_vec(),
        rows,
        reference: None,
        note: "Both cores send packets of the same flows. On a machine of two cores everything else that runs takes \
               its part from these figures.",
    }])
}

fn sample(run: &Run, contender: &mut Contender, cores: &[usize]) -> Result<f64> {
    contender.send(Way::Out, Amount::Time(run.warm_up()), cores)?;
    let sent = contender.send(Way::Out, Amount::Time(run.round_time()), cores)?;
    ensure!(
        sent.loss() <= TOLERATED_LOSS,
        "{:.1} % of the packets did not arrive",
        sent.loss() * 100.0
    );
    Ok(sent.rate())
}
