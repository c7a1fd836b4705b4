//! Packets that go nowhere: what their sender hears of them, and what their receiver would have noticed.
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{
    Namespace, SILENCE,
    icmp::Pinger,
    sockets::{ANY, connect, has_connection, has_datagram, parse},
};

/// A port no session uses; a [`Witness`] listens on it.
const UNUSED: u16 = 40777;
/// What such a datagram or ping carries.
pub const PROBE: &[u8] = b"nobody asked";
/// Long enough for a SYN to be sent again.
const UNANSWERED: Duration = Duration::from_secs(3);

/// A connection, a datagram and a ping to `to`, all at the same time: what comes back, mostly `no answer`.
pub fn attempt(node: &Namespace, to: Ipv4Addr) -> [Result<String>; 3] {
    thread::scope(|scope| {
        let tcp = scope.spawn(|| connection(node, to));
        let udp = scope.spawn(|| datagram(node, to));
        let ping = ping(node, to);
        [joined(tcp.join()), joined(udp.join()), ping]
    })
}

fn joined<T>(outcome: thread::Result<T>) -> T {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn connection(node: &Namespace, to: Ipv4Addr) -> Result<String> {
    let (from, to) = (parse(ANY)?, SocketAddrV4::new(to, UNUSED));
    node.run(|| {
        Ok(match connect(from, to, UNANSWERED) {
            Ok(_) => "a connection".to_owned(),
            Err(error) if error.kind() == ErrorKind::TimedOut => "no answer".to_owned(),
            Err(error) => error.to_string(),
        })
    })
}

fn datagram(node: &Namespace, to: Ipv4Addr) -> Result<String> {
    let socket = node.udp(ANY)?;
    // Connected, it also hears ICMP errors.
    socket.connect((to, UNUSED))?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.send(PROBE)?;
    Ok(match socket.recv(&mut [0; 64]) {
        Ok(_) => "a datagram".to_owned(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => "no answer".to_owned(),
        Err(error) => error.to_string(),
    })
}

fn ping(node: &Namespace, to: Ipv4Addr) -> Result<String> {
    let pinger = node.pinger()?;
    pinger.ask(to, 4243, 1, PROBE)?;
    let answer = pinger.answer(4243, PROBE, SILENCE)?;
    Ok(answer.map_or_else(
        || "no answer".to_owned(),
        |echo| format!("an answer from {}", echo.source),
    ))
}

/// Everything on a host that would notice an [`attempt`] to reach it.
pub struct Witness {
    tcp: TcpListener,
    udp: UdpSocket,
    ping: Pinger,
}

impl Witness {
    pub fn new(host: &Namespace) -> Result<Self> {
        let address = format!("0.0.0.0:{UNUSED}");
        Ok(Self {
            tcp: host.listen(&address)?,
            udp: host.udp(&address)?,
            ping: host.pinger()?,
        })
    }

    /// What has come: `nothing`, or which of the three.
    pub fn seen(&self) -> Result<String> {
        let mut seen = Vec::new();
        if has_connection(&self.tcp)? {
            seen.push("the connection");
        }
        if has_datagram(&self.udp)? {
            seen.push("the datagram");
        }
        if self.ping.request(PROBE, Duration::ZERO)?.is_some() {
            seen.push("the ping");
        }
        Ok(if seen.is_empty() {
            "nothing".to_owned()
        } else {
            seen.join(", ")
        })
    }
}
