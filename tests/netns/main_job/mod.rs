//! The main job: everything that must hold in the classic picture, from `ready` to nothing left behind.
//! Checks are grouped by who starts the traffic: inside_out.rs, outside_in.rs; then table.rs and this file's end.
mod inside_out;
mod outside_in;
mod table;

use std::path::Path;

use anyhow::{Context, Result};

use super::{
    Controller, Hook, Nat, Picture, Report,
    configuration::{classic, put},
    leftovers::leftovers_text,
    process::Finished,
    sockets::exchanged,
};

/// Builds the picture for `hook`, starts the controller, makes every check, and tears it down again.
/// `show` gets the standing lab and the translation table before the end, and after a failure what the
/// program says of itself; a held lab waits in it.
/// An error is a lab that could not be built; whatever the dataplane does wrong is in `report`.
pub fn main_job(
    program: &Path,
    hook: Hook,
    report: &mut Report,
    show: impl FnOnce(&Picture, &str) -> Result<()>,
) -> Result<()> {
    let lab = Picture::build(hook).context("building the lab")?;
    let nat = Nat::new(program, &lab.edge)?;
    let configuration = put(&lab.edge, &classic(hook, ""))?;
    let controller = nat.start(["run", "--config", configuration]);
    let (ready, controller) = match controller {
        Ok(controller) => (Ok(controller.ready().to_owned()), Some(controller)),
        Err(error) => (Err(error), None),
    };
    report.that(
        "the controller gets ready",
        "a line `ready`",
        ready,
        |seen| seen.starts_with("ready"),
    );
    let Some(controller) = controller else {
        return Ok(());
    };

    let traffic = inside_out::check(&lab, report)?;
    outside_in::check(&lab, report)?;
    outside_in::check_unsolicited(&lab, &traffic, report)?;
    check_arp(&lab, report);
    table::check(&nat, &traffic, report);
    let mut text = nat
        .sessions_table()
        .unwrap_or_else(|error| format!("{error:#}"));
    if !report.all_held() {
        text += &in_its_own_words(&nat, &controller);
    }
    show(&lab, &text)?;

    let code = controller
        .terminate()
        .map(|code| format!("exit status {}", code.unwrap_or(-1)));
    report.same("SIGTERM ends the controller", "exit status 0", code);
    report.same(
        "an open connection goes on without it",
        &exchanged(),
        traffic.held_connection(),
    );
    report.same(
        "nat down succeeds",
        "exit status 0",
        nat.down().map(|_| "exit status 0"),
    );
    report.same(
        "nat down leaves on the edge",
        "nothing",
        leftovers_text(&lab.edge),
    );
    Ok(())
}

/// What helps to find out why a check failed.
fn in_its_own_words(nat: &Nat, controller: &Controller) -> String {
    let status = nat.finish(["status"]).and_then(Finished::success);
    let status = status.unwrap_or_else(|error| format!("{error:#}"));
    let said = controller.said();
    format!("\nnat status:\n{status}\nThe controller said:\n{said}")
}

/// Nobody but the dataplane can have answered for these addresses: they sit on no interface.
fn check_arp(lab: &Picture, report: &mut Report) {
    let expected = "02:00:c6:33:64:01";
    for (owner, address) in [
        ("the NAT gateway", [198, 51, 100, 10]),
        ("the web instance", [198, 51, 100, 20]),
    ] {
        let seen = lab
            .internet
            .neighbour(address.into())
            .map(|mac| mac.unwrap_or_else(|| "no answer".to_owned()));
        report.same(
            &format!("ARP for the public IP of {owner} gives the uplink's MAC"),
            expected,
            seen,
        );
    }
}
