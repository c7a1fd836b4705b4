//! Traffic that starts on the internet: to the web instance's public IP, and where nobody asked for it.
//! Traffic that starts inside is in inside_out.rs.
use std::{
    io::ErrorKind,
    net::{TcpListener, UdpSocket},
    thread,
};

use anyhow::Result;

use super::inside_out::{NAT_ADDRESS, Traffic, UNANSWERED, WEB_PUBLIC, again, seen};
use crate::netns::{
    Connection, Namespace, Picture, Report, SILENCE,
    icmp::Pinger,
    sockets::{connect, exchanged, has_connection, has_datagram, parse, udp_exchange},
};

/// A port no session uses; private hosts listen on it.
const UNUSED: u16 = 40777;
const PROBE: &[u8] = b"nobody asked";

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
    let local = connection
        .as_ref()
        .map_err(again)
        .and_then(|c| Ok(c.server.local_addr()?.to_string()));
    report.same(
        "web sees its private address as its own",
        "10.20.1.10:80",
        local,
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
    let (tcp, udp, ping) = thread::scope(|scope| {
        let tcp = scope.spawn(|| unsolicited_connection(lab));
        let udp = scope.spawn(|| unsolicited_datagram(lab));
        let ping = unsolicited_ping(lab);
        (joined(tcp.join()), joined(udp.join()), ping)
    });
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

fn joined<T>(outcome: thread::Result<T>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn unsolicited_connection(lab: &Picture) -> Result<String> {
    let (from, to) = (
        parse("198.51.100.80:5397")?,
        parse(&format!("{NAT_ADDRESS}:{UNUSED}"))?,
    );
    lab.internet.run(|| {
        Ok(match connect(from, to, UNANSWERED) {
            Ok(_) => "a connection".to_owned(),
            Err(error) if error.kind() == ErrorKind::TimedOut => "no answer".to_owned(),
            Err(error) => error.to_string(),
        })
    })
}

fn unsolicited_datagram(lab: &Picture) -> Result<String> {
    let socket = lab.internet.udp("198.51.100.80:5398")?;
    // Connected, it also hears ICMP errors.
    socket.connect((NAT_ADDRESS, UNUSED))?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.send(PROBE)?;
    Ok(match socket.recv(&mut [0; 64]) {
        Ok(_) => "a datagram".to_owned(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => "no answer".to_owned(),
        Err(error) => error.to_string(),
    })
}

fn unsolicited_ping(lab: &Picture) -> Result<String> {
    let pinger = lab.internet.pinger()?;
    pinger.ask(NAT_ADDRESS, 4243, 1, PROBE)?;
    let answer = pinger.answer(4243, PROBE, SILENCE)?;
    Ok(answer.map_or_else(
        || "no answer".to_owned(),
        |echo| format!("an answer from {}", echo.source),
    ))
}

/// Everything on a private host that would notice such a packet.
struct Witness {
    tcp: TcpListener,
    udp: UdpSocket,
    ping: Pinger,
}

impl Witness {
    fn new(host: &Namespace) -> Result<Self> {
        let address = format!("0.0.0.0:{UNUSED}");
        Ok(Self {
            tcp: host.listen(&address)?,
            udp: host.udp(&address)?,
            ping: host.pinger()?,
        })
    }

    fn seen(&self) -> Result<String> {
        let mut seen = Vec::new();
        if has_connection(&self.tcp)? {
            seen.push("the connection");
        }
        if has_datagram(&self.udp)? {
            seen.push("the datagram");
        }
        if self
            .ping
            .request(PROBE, std::time::Duration::ZERO)?
            .is_some()
        {
            seen.push("the ping");
        }
        Ok(if seen.is_empty() {
            "nothing".to_owned()
        } else {
            seen.join(", ")
        })
    }
}
