//! Traffic that starts on the internet: to the web instance's public IP, and where nobody asked for it.
//! Traffic that starts inside is in inside_out.rs.
use anyhow::Result;

use super::inside_out::{NAT_ADDRESS, Traffic, WEB_PUBLIC};
use crate::netns::{
    Connection, Picture, Report,
    sockets::{exchanged, has_datagram, local, seen, udp_exchange},
    unanswered::{PROBE, Witness, attempt},
};

pub fn check(lab: &Picture, report: &mut Report) -> Result<()> {
    let server = lab.web.listen("0.0.0.0:80")?;
    let connection = Connection::open(
        &lab.internet,
        "198.51.100.80:50080",
        "198.51.100.20:80",
        &server,
    );
    report.same(
        "web sees its visitor's own address",
        "198.51.100.80:50080",
        seen(&connection),
    );
    report.same(
        "web sees its private address as its own",
        "10.20.1.10:80",
        local(&connection),
    );
    report.same(
        "web answers its visitor",
        &exchanged(),
        connection.and_then(|c| c.exchange()),
    );

    let (visitor, server) = (
        lab.internet.udp("198.51.100.81:50081")?,
        lab.web.udp("0.0.0.0:5300")?,
    );
    let seen = udp_exchange(&visitor, "198.51.100.20:5300", &server);
    report.same(
        "UDP to web's public IP and its answer",
        "198.51.100.81:50081",
        seen,
    );

    let pong = lab.internet.pinger()?.ping(WEB_PUBLIC, 9, b"anybody there");
    report.same(
        "ping to web's public IP is answered by",
        "198.51.100.20",
        pong,
    );
    Ok(())
}

/// What comes to the NAT gateway's address without a session goes nowhere and gets no answer.
pub fn check_unsolicited(lab: &Picture, traffic: &Traffic, report: &mut Report) -> Result<()> {
    let hosts = [Witness::new(&lab.private_a)?, Witness::new(&lab.private_b)?];

    // The peer of private-a's mapping is 198.51.100.80 alone.
    let stranger = lab.internet.udp("198.51.100.81:5399")?;
    stranger.send_to(PROBE, (NAT_ADDRESS, 40002))?;
    let [tcp, udp, ping] = attempt(&lab.internet, NAT_ADDRESS);
    report.same("an unsolicited SYN to the NAT address", "no answer", tcp);
    report.same(
        "an unsolicited datagram to the NAT address",
        "no answer",
        udp,
    );
    report.same("an unsolicited ping to the NAT address", "no answer", ping);
    for (name, host) in ["private-a", "private-b"].into_iter().zip(&hosts) {
        report.same(&format!("{name} sees of all that"), "nothing", host.seen());
    }
    let leaked =
        has_datagram(&traffic.udp).map(|leaked| if leaked { "its datagram" } else { "nothing" });
    report.same(
        "a stranger's datagram to a mapped port brings private-a",
        "nothing",
        leaked,
    );
    Ok(())
}
