//! Asks other servers, from the network namespace that the process was started in.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use hickory_proto::op::{Message, ResponseCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    host_servers::HostServers,
    message::{Asked, Said, said},
    names::Names,
};

/// Each server is asked so many times. A datagram may get lost.
const ROUNDS: usize = 2;
/// More than any server sends by UDP to one who takes [`super::message::DATAGRAM_BYTES`].
const BUFFER_BYTES: usize = 4096;

/// How others are asked.
#[derive(Debug, Clone)]
pub struct Way {
    /// The port of the servers.
    pub port: u16,
    /// Which says the servers when the configuration does not.
    pub resolv_conf: PathBuf,
    /// How long one has to answer by UDP, and again by TCP.
    pub attempt: Duration,
    /// How long all of them have together.
    pub all: Duration,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            port: 53,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            attempt: Duration::from_millis(1500),
            // Most clients give up after five seconds.
            all: Duration::from_millis(4500),
        }
    }
}

/// Asks one server after the other.
#[derive(Debug)]
pub struct Forwarder {
    way: Way,
    host: HostServers,
    /// The position of the server that answered last: it is asked first.
    first: AtomicUsize,
}

impl Forwarder {
    /// One that has not asked anybody yet.
    pub fn new(way: Way) -> Self {
        Self {
            host: HostServers::new(way.resolv_conf.clone()),
            way,
            first: AtomicUsize::new(0),
        }
    }

    /// What to answer: what a server says, or else that none says anything.
    pub async fn answer(&self, asked: &Asked, names: &Names) -> Option<Vec<u8>> {
        let servers: Vec<IpAddr> = match names.forwarders() {
            Some(servers) => servers.iter().copied().map(IpAddr::from).collect(),
            None => self.host.current(Instant::now()),
        };
        let found = timeout(self.way.all, self.ask_all(asked, &servers)).await;
        match found.ok().flatten() {
            Some((said, bytes)) => asked.passed_on(said.code, bytes),
            None => asked.error(ResponseCode::ServFail),
        }
    }

    async fn ask_all(&self, asked: &Asked, servers: &[IpAddr]) -> Option<(Said, Vec<u8>)> {
        let first = self.first.load(Ordering::Relaxed);
        for turn in 0..servers.len() * ROUNDS {
            let position = (first + turn) % servers.len();
            let server = SocketAddr::new(*servers.get(position)?, self.way.port);
            match self.ask(asked, server).await {
                Ok((said, bytes)) if is_of_use(said) => {
                    self.first.store(position, Ordering::Relaxed);
                    return Some((said, bytes));
                }
                Ok((said, _)) => log::debug!("resolver: {server} says {}", said.code),
                Err(error) => log::debug!("resolver: {server}: {error}"),
            }
        }
        None
    }

    /// By UDP, and by TCP if that holds too little (RFC 7766 5).
    async fn ask(&self, asked: &Asked, server: SocketAddr) -> io::Result<(Said, Vec<u8>)> {
        let message = asked.onward();
        let answer = timeout(self.way.attempt, ask_by_udp(&message, server)).await??;
        if !answer.0.is_truncated {
            return Ok(answer);
        }
        let message = asked.onward();
        timeout(self.way.attempt, ask_by_tcp(&message, server)).await?
    }
}

/// Another server may do better than one that can't or won't.
const fn is_of_use(said: Said) -> bool {
    !matches!(
        said.code,
        ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp
    )
}

/// By a socket of its own, whose port the kernel picks at random; it gets what comes from that server alone.
async fn ask_by_udp(message: &Message, server: SocketAddr) -> io::Result<(Said, Vec<u8>)> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&written(message)?).await?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if let Some(said) = said(bytes, message) {
            return Ok((said, bytes.to_vec()));
        }
    }
}

async fn ask_by_tcp(message: &Message, server: SocketAddr) -> io::Result<(Said, Vec<u8>)> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed(&written(message)?)?).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    let said = said(&bytes, message).ok_or(io::ErrorKind::InvalidData)?;
    Ok((said, bytes))
}

fn written(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(io::Error::other)
}

/// A message as it is sent by TCP: behind its length, in network byte order (RFC 1035 4.2.2).
///
/// # Errors
///
/// When it is longer than 65,535 bytes.
pub fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), message].concat())
}
