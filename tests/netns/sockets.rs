//! TCP and UDP sockets in namespaces, and exchanges over them that never wait for ever.
//! Echo requests are in icmp.rs.
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::{EXCHANGE, Namespace, report::again};

/// Bytes an exchange carries each way: odd, and more than one segment.
pub const EXCHANGED: usize = 4097;

/// Any address, any port.
pub const ANY: &str = "0.0.0.0:0";

impl Namespace {
    /// A listener whose `accept` gives up after [`EXCHANGE`].
    pub fn listen(&self, address: &str) -> Result<TcpListener> {
        self.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&parse(address)?.into())?;
            socket.listen(1024)?;
            socket.set_read_timeout(Some(EXCHANGE))?;
            Ok(TcpListener::from(socket))
        })
        .with_context(|| format!("listening on tcp {address}"))
    }

    /// Connects from `from` (`0.0.0.0:0` for any) to `to`, both as `address:port`.
    pub fn connect(&self, from: &str, to: &str) -> Result<TcpStream> {
        self.run(|| Ok(connect(parse(from)?, parse(to)?, EXCHANGE)?))
            .with_context(|| format!("connecting tcp {from} to {to}"))
    }

    /// A UDP socket whose reads give up after [`EXCHANGE`].
    pub fn udp(&self, address: &str) -> Result<UdpSocket> {
        self.run(|| {
            let socket = UdpSocket::bind(parse(address)?)?;
            socket.set_read_timeout(Some(EXCHANGE))?;
            Ok(socket)
        })
        .with_context(|| format!("binding udp {address}"))
    }
}

pub(super) fn parse(address: &str) -> Result<SocketAddrV4> {
    address
        .parse()
        .with_context(|| format!("{address} is not address:port"))
}

/// Connects in the calling thread's namespace. The port of `from` may have been used a moment ago.
pub fn connect(from: SocketAddrV4, to: SocketAddrV4, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if from.port() == 0 {
        // The port is chosen at connect, by the whole four-tuple.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    }
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), limit)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Takes the next connection, and the client's address as the server sees it.
pub fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddrV4)> {
    let (stream, peer) = listener
        .accept()
        .map_err(in_words)
        .context("no connection")?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    stream.set_nodelay(true)?;
    Ok((stream, v4(peer)?))
}

/// Whether a connection has arrived already; doesn't wait.
pub fn has_connection(listener: &TcpListener) -> Result<bool> {
    listener.set_nonblocking(true)?;
    match listener.accept() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Both ends of an open TCP connection.
#[derive(Debug)]
pub struct Connection {
    pub client: TcpStream,
    pub server: TcpStream,
    /// The client's address as the server sees it.
    pub seen: SocketAddrV4,
}

impl Connection {
    /// Connects `client` from `from` to `to`, where `listener` is reached.
    pub fn open(client: &Namespace, from: &str, to: &str, listener: &TcpListener) -> Result<Self> {
        let client = client.connect(from, to)?;
        let (server, seen) = accept(listener)?;
        Ok(Self {
            client,
            server,
            seen,
        })
    }

    /// [`EXCHANGED`] bytes each way, compared byte by byte; says how many.
    pub fn exchange(&self) -> Result<String> {
        one_way(&self.client, &self.server, 1).context("client to server")?;
        one_way(&self.server, &self.client, 2).context("server to client")?;
        Ok(exchanged())
    }
}

/// The client's address as the server sees it, of a connection that may not have opened.
pub fn seen(connection: &Result<Connection>) -> Result<String> {
    connection
        .as_ref()
        .map(|connection| connection.seen.to_string())
        .map_err(again)
}

/// The server's address as the server itself sees it.
pub fn local(connection: &Result<Connection>) -> Result<String> {
    let connection = connection.as_ref().map_err(again)?;
    Ok(connection.server.local_addr()?.to_string())
}

/// What a successful [`Connection::exchange`] says.
pub fn exchanged() -> String {
    format!("{EXCHANGED} bytes each way")
}

fn one_way(mut from: &TcpStream, mut to: &TcpStream, seed: u8) -> Result<()> {
    let sent: Vec<u8> = (0..EXCHANGED).map(|i| (i % 251) as u8 ^ seed).collect();
    from.write_all(&sent).map_err(in_words).context("writing")?;
    let mut received = vec![0; EXCHANGED];
    to.read_exact(&mut received)
        .map_err(in_words)
        .context("reading")?;
    ensure!(
        sent == received,
        "the bytes that arrived are not those that were sent"
    );
    Ok(())
}

/// A datagram from `client` to `to` and one back; the client's address as the server sees it.
/// The answer must come from `to`.
pub fn udp_exchange(client: &UdpSocket, to: &str, server: &UdpSocket) -> Result<SocketAddrV4> {
    let to = parse(to)?;
    client
        .send_to(b"odd length question", to)
        .context("sending the question")?;
    let (question, seen) = receive(server).context("no question at the server")?;
    ensure!(
        question == b"odd length question",
        "another question arrived: {question:?}"
    );
    server
        .send_to(b"even length answer", seen)
        .with_context(|| format!("the server saw {seen} and cannot answer it"))?;
    let (answer, source) =
        receive(client).with_context(|| format!("the server saw {seen}, its answer is lost"))?;
    ensure!(
        answer == b"even length answer",
        "another answer arrived: {answer:?}"
    );
    ensure!(source == to, "the answer came from {source}, not from {to}");
    Ok(seen)
}

/// The next datagram and its source.
pub fn receive(socket: &UdpSocket) -> Result<(Vec<u8>, SocketAddrV4)> {
    let mut buffer = [0; 2048];
    let (length, source) = socket.recv_from(&mut buffer).map_err(in_words)?;
    Ok((
        buffer.get(..length).unwrap_or_default().to_vec(),
        v4(source)?,
    ))
}

/// Whether a datagram has arrived already; doesn't wait.
pub fn has_datagram(socket: &UdpSocket) -> Result<bool> {
    socket.set_nonblocking(true)?;
    let seen = socket.recv_from(&mut [0; 2048]);
    socket.set_nonblocking(false)?;
    match seen {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A timeout of a blocking socket says "resource temporarily unavailable".
fn in_words(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::WouldBlock => anyhow::anyhow!("nothing came within {} s", EXCHANGE.as_secs()),
        _ => error.into(),
    }
}

fn v4(address: SocketAddr) -> Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(address) => bail!("an IPv6 address in an IPv4 lab: {address}"),
    }
}
