//! The translation table as `nat sessions --json` prints it: one object per line.
//! The command itself is run by nat.rs.
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Report;

/// One session, with every field the command line promises. For ICMP echo the ports hold the identifier.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Session {
    pub protocol: String,
    pub vpc: String,
    pub source: Ipv4Addr,
    pub source_port: u16,
    pub destination: Ipv4Addr,
    pub destination_port: u16,
    pub translated: Ipv4Addr,
    pub translated_port: u16,
    pub gateway: String,
    pub state: String,
    pub age_seconds: f64,
    pub idle_seconds: f64,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
}

impl Session {
    pub fn inside(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.source, self.source_port)
    }

    pub fn outside(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.translated, self.translated_port)
    }

    pub fn peer(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.destination, self.destination_port)
    }

    /// `tcp 10.40.2.101:40001 -> 198.51.100.80:8080 as 198.51.100.10:40001`
    pub fn line(&self) -> String {
        format!(
            "{} {} -> {} as {}",
            self.protocol,
            self.inside(),
            self.peer(),
            self.outside()
        )
    }
}

/// Reads the whole output; an unknown field is no error, a missing one is.
pub fn parse(text: &str) -> Result<Vec<Session>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a session: {line}")))
        .collect()
}

/// The session of `protocol` from `inside` to `peer`, if the table holds it.
pub fn find<'a>(
    table: &'a [Session],
    protocol: &str,
    inside: &str,
    peer: &str,
) -> Option<&'a Session> {
    table.iter().find(|session| {
        session.protocol == protocol
            && session.inside().to_string() == inside
            && session.peer().to_string() == peer
    })
}

/// Checks that the table holds a session whose inside host is seen as `outside`.
pub fn expect(
    report: &mut Report,
    table: &[Session],
    protocol: &str,
    inside: &str,
    peer: &str,
    outside: &str,
) {
    let expected = format!("{protocol} {inside} -> {peer} as {outside}");
    let seen = find(table, protocol, inside, peer)
        .map(Session::line)
        .context("no such session");
    report.same(
        &format!("the table holds {protocol} {inside} to {peer}"),
        &expected,
        seen,
    );
}

/// Their lines, or `none`.
pub fn list<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> String {
    let lines: Vec<_> = sessions.into_iter().map(Session::line).collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"protocol":"tcp","vpc":"main","source":"10.40.2.101","source_port":40001,
        "destination":"198.51.100.80","destination_port":8080,"translated":"198.51.100.10","translated_port":40001,
        "gateway":"egress","state":"established","age_seconds":3,"idle_seconds":0.5,"packets_out":4,"bytes_out":400,
        "packets_in":3,"bytes_in":300}"#;

    #[test]
    fn a_line_becomes_a_session() {
        let table = parse(&LINE.replace('\n', " ")).expect("a session");
        let session =
            find(&table, "tcp", "10.40.2.101:40001", "198.51.100.80:8080").expect("found");
        assert_eq!(
            session.line(),
            "tcp 10.40.2.101:40001 -> 198.51.100.80:8080 as 198.51.100.10:40001"
        );
        assert!(find(&table, "udp", "10.40.2.101:40001", "198.51.100.80:8080").is_none());
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = parse(
            &LINE
                .replace('\n', " ")
                .replace(r#""gateway":"egress","#, ""),
        )
        .expect_err("no gateway");
        assert!(
            format!("{error:#}").contains("missing field `gateway`"),
            "{error:#}"
        );
    }
}
