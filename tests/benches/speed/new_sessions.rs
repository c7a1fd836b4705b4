//! How many sessions a second can be made: every packet is the first of its flow.
use anyhow::{Result, ensure};

use crate::{
    Run,
    contender::{Contender, Kind},
    figures::{Cell, Row, Table},
    flows::{Flows, Way},
    forwarding::told,
};

pub fn measure(run: &Run) -> Result<Vec<Table>> {
    let makes_sessions =
        |kind: &Kind| !matches!(kind, Kind::Limit | Kind::Kernel | Kind::XdpElastic);
    let kinds = run.kinds_and(Kind::Inserts);
    let kinds: Vec<_> = kinds.into_iter().filter(makes_sessions).collect();
    let flows = Flows::of_one_host(run.new_sessions());
    // Everything that will be made, with as much again so that no table gets crowded.
    let room = flows.count() * run.rounds() as u64 * 2;
    let mut rows: Vec<Row> = kinds
        .iter()
        .map(|kind| Row::empty(kind.label(), 1))
        .collect();
    let mut ready = Vec::new();
    for (row, kind) in rows.iter_mut().zip(&kinds) {
        run.say(&format!("setting up {}", kind.label()));
        let contender = run
            .may_hold(kind, room)
            .and_then(|()| Contender::new(kind, &run.object, 1, room, 1));
        match contender {
            Ok(contender) => ready.push((row, contender)),
            Err(error) => row.cells = vec![Cell::missing(&error)],
        }
    }
    let mut next = flows;
    for round in 1..=run.rounds() {
        // None has met these before.
        next = next.others();
        for (row, contender) in &mut ready {
            let outcome = sample(contender, &next);
            run.say(&format!(
                "new sessions, round {round}: {}: {}",
                row.name,
                told(&outcome)
            ));
            row.add(0, outcome);
        }
    }
    Ok(vec![Table {
        name: "new-sessions",
        title: "One core, every packet opens a flow".to_owned(),
        unit: "thousand sessions per second",
        columns: vec![format!("{} at a time", flows.count())],
        rows,
        reference: Some(Kind::Nft.label().to_owned()),
        note: "UDP from inside, flows that were never seen, one packet each, forwarded and counted at the far end.",
    }])
}

/// Of flows that were never seen.
pub fn sample(contender: &mut Contender, flows: &Flows) -> Result<f64> {
    let before = contender.sessions()?;
    let sent = contender.send_in_order(flows, Way::Out, flows.count())?;
    let after = contender.sessions()?;
    ensure!(
        sent.received == sent.sent,
        "of {} first packets {} arrived",
        sent.sent,
        sent.received
    );
    if let (Some(before), Some(after)) = (before, after) {
        let made = after.saturating_sub(before);
        ensure!(
            made == flows.count(),
            "{} flows made {made} sessions",
            flows.count()
        );
    }
    Ok(sent.rate() * 1e3)
}
