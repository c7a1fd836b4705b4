//! Traffic that starts inside the VPC: through the NAT gateway, from the web instance, and inside the VPC.
//! Traffic that starts on the internet is in outside_in.rs.
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};

use crate::netns::{
    Connection, EXCHANGE, Picture, Report,
    icmp::{Echo, Pinger},
    report::again,
    sockets::{exchanged, seen, udp_exchange},
};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);
pub const NAT_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const WEB_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);

/// The same ICMP identifier on both private hosts.
const IDENTIFIER: u16 = 4242;

/// What stays open until the table has been looked at.
pub struct Traffic {
    /// private-a and private-b towards the same server, and private-b towards another.
    pub connections: [Result<Connection>; 3],
    /// private-a's socket, whose mapping is for one peer alone.
    pub udp: UdpSocket,
}

impl Traffic {
    /// Uses private-a's connection once more.
    pub fn held_connection(&self) -> Result<String> {
        let [first, ..] = &self.connections;
        first
            .as_ref()
            .map_err(|_| anyhow::anyhow!("it never opened"))?
            .exchange()
    }
}

pub fn check(lab: &Picture, report: &mut Report) -> Result<Traffic> {
    let connections = check_connections(lab, report)?;
    let udp = check_udp(lab, report)?;
    check_ping(lab, report)?;
    check_web(lab, report)?;
    check_local(lab, report)?;
    Ok(Traffic { connections, udp })
}

fn check_connections(lab: &Picture, report: &mut Report) -> Result<[Result<Connection>; 3]> {
    let server = lab.internet.listen("198.51.100.80:8080")?;
    let other = lab.internet.listen("198.51.100.81:8080")?;
    let open = |host, from, to, listener| Connection::open(host, from, to, listener);
    let a = open(
        &lab.private_a,
        "10.40.2.101:40001",
        "198.51.100.80:8080",
        &server,
    );
    report.same(
        "private-a keeps its source port 40001",
        "198.51.100.10:40001",
        seen(&a),
    );
    let b = open(
        &lab.private_b,
        "10.40.2.201:40001",
        "198.51.100.80:8080",
        &server,
    );
    report.that(
        "private-b's 40001 towards the same server gets another port",
        "198.51.100.10 and a port that is not 40001",
        seen(&b),
        |seen| seen.starts_with("198.51.100.10:") && seen != "198.51.100.10:40001",
    );
    let c = open(
        &lab.private_b,
        "10.40.2.201:40001",
        "198.51.100.81:8080",
        &other,
    );
    report.same(
        "private-b's 40001 towards another server keeps it",
        "198.51.100.10:40001",
        seen(&c),
    );
    // Only now, with all of them open: replies must find their way by the whole four-tuple.
    for (name, connection) in [
        ("private-a's", &a),
        ("private-b's", &b),
        ("private-b's other", &c),
    ] {
        let carried = connection
            .as_ref()
            .map_err(again)
            .and_then(Connection::exchange);
        report.same(
            &format!("{name} connection carries data"),
            &exchanged(),
            carried,
        );
    }
    Ok([a, b, c])
}

fn check_udp(lab: &Picture, report: &mut Report) -> Result<UdpSocket> {
    let server = lab.internet.udp("198.51.100.80:5300")?;
    let private = lab.private_a.udp("10.40.2.101:40002")?;
    let seen = udp_exchange(&private, "198.51.100.80:5300", &server);
    report.same(
        "UDP from private-a and its answer",
        "198.51.100.10:40002",
        seen,
    );
    let web = lab.web.udp("10.20.1.10:40002")?;
    let seen = udp_exchange(&web, "198.51.100.80:5300", &server);
    report.same("UDP from web and its answer", "198.51.100.20:40002", seen);
    Ok(private)
}

fn check_ping(lab: &Picture, report: &mut Report) -> Result<()> {
    let (a, b) = (lab.private_a.pinger()?, lab.private_b.pinger()?);
    let pong = a.ping(SERVER, 7, b"a quick one");
    report.same("ping from private-a is answered by", "198.51.100.80", pong);

    // A socket for each request: which one comes first doesn't matter.
    let servers = [lab.internet.pinger()?, lab.internet.pinger()?];
    a.ask(SERVER, IDENTIFIER, 1, b"from private-a")?;
    b.ask(SERVER, IDENTIFIER, 1, b"from private-b")?;
    let seen = both_requests(&servers);
    let expected = "198.51.100.10 twice, with different identifiers";
    let accept = |(a, b): &(Echo, Echo)| {
        a.source == NAT_ADDRESS && b.source == NAT_ADDRESS && a.identifier != b.identifier
    };
    let held = seen.as_ref().is_ok_and(accept);
    let seen = seen.map(|(a, b)| {
        format!(
            "{} id {} and {} id {}",
            a.source, a.identifier, b.source, b.identifier
        )
    });
    report.that(
        "both private hosts ping with the same identifier",
        expected,
        seen,
        |_| held,
    );
    for (name, host, payload) in [
        ("private-a", &a, b"from private-a"),
        ("private-b", &b, b"from private-b"),
    ] {
        let answer = host
            .answer(IDENTIFIER, payload, EXCHANGE)
            .and_then(|echo| echo.context("no answer"));
        let answer = answer.map(|echo| format!("{} id {}", echo.source, echo.identifier));
        report.same(
            &format!("{name} gets its own answer"),
            "198.51.100.80 id 4242",
            answer,
        );
    }
    Ok(())
}

fn both_requests([for_a, for_b]: &[Pinger; 2]) -> Result<(Echo, Echo)> {
    let a = for_a
        .request(b"from private-a", EXCHANGE)?
        .context("private-a's request never came")?;
    let b = for_b
        .request(b"from private-b", EXCHANGE)?
        .context("private-b's request never came")?;
    Ok((a, b))
}

fn check_web(lab: &Picture, report: &mut Report) -> Result<()> {
    let server = lab.internet.listen("198.51.100.80:8081")?;
    let out = Connection::open(&lab.web, "10.20.1.10:40005", "198.51.100.80:8081", &server);
    report.same(
        "web's own connection leaves from its public IP",
        "198.51.100.20:40005",
        seen(&out),
    );
    let carried = out.as_ref().map_err(again).and_then(Connection::exchange);
    report.same("web's own connection carries data", &exchanged(), carried);
    let pong = lab.web.pinger()?.ping(SERVER, 8, b"web asks");
    report.same("ping from web is answered by", "198.51.100.80", pong);
    Ok(())
}

fn check_local(lab: &Picture, report: &mut Report) -> Result<()> {
    let web = lab.web.listen("10.20.1.10:8082")?;
    let to_web = Connection::open(&lab.private_a, "10.40.2.101:40011", "10.20.1.10:8082", &web);
    report.same(
        "private-a reaches web untranslated",
        "10.40.2.101:40011",
        seen(&to_web),
    );
    let private = lab.private_a.listen("10.40.2.101:8083")?;
    let to_private = Connection::open(&lab.web, "10.20.1.10:40012", "10.40.2.101:8083", &private);
    report.same(
        "web reaches private-a untranslated",
        "10.20.1.10:40012",
        seen(&to_private),
    );
    let carried = to_web.and_then(|connection| connection.exchange());
    report.same("traffic inside the VPC carries data", &exchanged(), carried);
    Ok(())
}
