//! What `nat sessions --json` must say about the traffic made so far.
//! The connections are still open (inside_out.rs).
use anyhow::{Context, Result};

use super::inside_out::{SERVER, Traffic};
use crate::netns::{
    Nat, Report, Session,
    report::again,
    sessions::{expect, find, list},
    sockets::seen,
};

pub fn check(nat: &Nat, traffic: &Traffic, report: &mut Report) {
    let table = nat.sessions();
    let size = table.as_ref().map(Vec::len).map_err(again);
    report.that(
        "nat sessions --json lists sessions with every field",
        "at least 5 lines",
        size,
        |seen| seen.parse().is_ok_and(|lines: usize| lines >= 5),
    );
    let Ok(table) = table else { return };

    let [a, b, c] = &traffic.connections;
    for (inside, peer, connection) in [
        ("10.40.2.101:40001", "198.51.100.80:8080", a),
        ("10.40.2.201:40001", "198.51.100.80:8080", b),
        ("10.40.2.201:40001", "198.51.100.81:8080", c),
    ] {
        // The table and the server must agree on the translated address.
        if let Ok(seen_by_server) = seen(connection) {
            expect(report, &table, "tcp", inside, peer, &seen_by_server);
        }
    }
    expect(
        report,
        &table,
        "udp",
        "10.40.2.101:40002",
        "198.51.100.80:5300",
        "198.51.100.10:40002",
    );

    let pings = table
        .iter()
        .filter(|session| session.protocol == "icmp" && session.destination == SERVER);
    report.that(
        "the table holds both hosts' pings",
        "198.51.100.10 for 10.40.2.101 and 10.40.2.201",
        Ok(list(pings.clone())),
        |_| {
            ["10.40.2.101", "10.40.2.201"].iter().all(|host| {
                pings.clone().any(|ping| {
                    ping.source.to_string() == *host
                        && ping.translated.to_string() == "198.51.100.10"
                })
            })
        },
    );

    let strangers = table
        .iter()
        .filter(|session| !from_private_subnet(session) || to_vpc(session));
    let strangers = list(strangers);
    report.same(
        "web's traffic and the VPC's own need no session",
        "none",
        Ok(strangers),
    );
    report.that(
        "the session of private-a's connection counts",
        "established traffic: at least 3 packets and 4097 bytes each way, vpc main, gateway egress",
        first(&table),
        |_| find(&table, "tcp", "10.40.2.101:40001", "198.51.100.80:8080").is_some_and(counts),
    );
}

fn first(table: &[Session]) -> Result<String> {
    let session =
        find(table, "tcp", "10.40.2.101:40001", "198.51.100.80:8080").context("no such session")?;
    Ok(format!(
        "{}: {} packets and {} bytes out, {} packets and {} bytes in, vpc {}, gateway {}",
        session.state,
        session.packets_out,
        session.bytes_out,
        session.packets_in,
        session.bytes_in,
        session.vpc,
        session.gateway
    ))
}

fn counts(session: &Session) -> bool {
    session.packets_out >= 3
        && session.packets_in >= 3
        && session.bytes_out >= 4097
        && session.bytes_in >= 4097
        && session.vpc == "main"
        && session.gateway == "egress"
}

fn from_private_subnet(session: &Session) -> bool {
    matches!(session.source.octets(), [10, 40, 2, _])
}

fn to_vpc(session: &Session) -> bool {
    matches!(session.destination.octets(), [10, 20 | 40, _, _])
}
