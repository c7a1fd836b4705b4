//! The main job: everything that must hold in the classic picture, from `ready` to nothing left behind.
//! Checks are grouped by who starts the traffic: inside_out.rs, outside_in.rs; then table.rs and this file's end.
mod inside_out;
mod outside_in;
mod table;

use std::path::Path;

use anyhow::{Context, Result};

use super::{
    Hook, Picture, Report, Running,
    configuration::{classic, put},
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
    let configuration = put(&lab.edge, &classic(hook, ""))?;
    let place = (&lab.edge, "the edge");
    let arguments = ["run", "--config", configuration];
    let Some(mut running) = Running::start(program, place, arguments, report)? else {
        return Ok(());
    };

    let traffic = inside_out::check(&lab, report)?;
    outside_in::check(&lab, report)?;
    outside_in::check_unsolicited(&lab, &traffic, report)?;
    check_arp(&lab, report);
    table::check(&running.nat, &traffic, report);
    let mut text = running
        .nat
        .sessions_table()
        .unwrap_or_else(|error| format!("{error:#}"));
    if !report.all_held() {
        text += &running.in_its_own_words();
    }
    show(&lab, &text)?;

    running.terminate(report);
    report.same(
        "an open connection goes on without it",
        &exchanged(),
        traffic.held_connection(),
    );
    running.take_down(report);
    Ok(())
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
