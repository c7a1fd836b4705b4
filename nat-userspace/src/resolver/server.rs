//! The resolver at sockets: queries in, answers out.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nat_common::flow::protocol;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    answer::{Decision, decide},
    forward::{Forwarder, Way, framed},
    message::{Asked, Transport},
    names::Names,
};
use crate::{
    admission::{Admission, Guest, Quota},
    services::{Identify, Who},
};

/// Of a query, in bytes. A name has 255 at most, so this leaves room for any options.
const QUERY_BYTES: usize = 4096;
/// How long to wait when a socket gives nothing, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);
/// How often a failure that every packet may have is told, in seconds.
const COMPLAINT_SECONDS: u64 = 10;

/// What the service bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Queries of one instance in a second, and at once after a second of rest.
    pub queries_per_second: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections of one instance at once. All that nobody knows count as one instance.
    pub connections_each: usize,
    /// Queries at once that other servers are asked about.
    pub forwards: usize,
    /// Those of one instance.
    pub forwards_each: usize,
    /// How long a connection may wait for a query.
    pub idle: Duration,
    /// How long a query may take by a connection from its first byte on, and an answer.
    pub message: Duration,
    /// How long a connection may last.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // AWS takes as many packets from an interface.
            queries_per_second: 1024,
            connections: 256,
            connections_each: 16,
            forwards: 512,
            forwards_each: 128,
            idle: Duration::from_secs(10),
            message: Duration::from_secs(5),
            connection: Duration::from_secs(300),
        }
    }
}

/// Where queries come in: of each local address a socket and a listener, so that answers leave from the
/// address that was asked. They may be bound in another network namespace.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For datagrams.
    pub udp: Vec<StdUdpSocket>,
    /// For connections.
    pub tcp: Vec<StdTcpListener>,
}

/// A resolver for any number of sockets; limits hold for all of them together. Clones are the same one.
#[derive(Clone)]
pub struct Resolver {
    names: watch::Receiver<Arc<Names>>,
    shared: Arc<Shared>,
}

struct Shared {
    identify: Arc<dyn Identify>,
    limits: Limits,
    /// Connections, and queries by whatever way.
    clients: Arc<Admission>,
    /// Queries that other servers are asked about.
    forwards: Arc<Admission>,
    forwarder: Forwarder,
    start: Instant,
    /// In seconds since `start`.
    next_complaint: AtomicU64,
}

impl Resolver {
    /// One that answers from the last of the `names`, and asks others in the network namespace of the thread
    /// that it runs in.
    pub fn new(names: watch::Receiver<Arc<Names>>, identify: Arc<dyn Identify>) -> Self {
        Self::with(names, identify, Limits::default(), Way::default())
    }

    pub(super) fn with(
        names: watch::Receiver<Arc<Names>>,
        identify: Arc<dyn Identify>,
        limits: Limits,
        way: Way,
    ) -> Self {
        let clients = Admission::new(Quota {
            at_once: limits.connections,
            at_once_each: limits.connections_each,
            per_second: limits.queries_per_second,
            burst: limits.queries_per_second,
        });
        let forwards = Admission::new(Quota {
            at_once: limits.forwards,
            at_once_each: limits.forwards_each,
            per_second: u32::MAX,
            burst: u32::MAX,
        });
        let shared = Shared {
            identify,
            limits,
            clients,
            forwards,
            forwarder: Forwarder::new(way),
            start: Instant::now(),
            next_complaint: AtomicU64::new(0),
        };
        Self {
            names,
            shared: Arc::new(shared),
        }
    }

    /// Serves whoever asks at these sockets, until the sender of the names is dropped. Each query is answered
    /// from the names that are the last ones then. Connections end with this, and so do queries under way.
    ///
    /// # Errors
    ///
    /// When a socket can't be set up. What goes wrong with one query or connection ends that one only.
    pub async fn serve(&self, sockets: Sockets) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        for socket in sockets.udp {
            socket.set_nonblocking(true)?;
            let socket = UdpSocket::from_std(socket)?;
            if let SocketAddr::V4(local) = socket.local_addr()? {
                tasks.spawn(self.clone().answer_datagrams(Arc::new(socket), local));
            }
        }
        for listener in sockets.tcp {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn(self.clone().accept(listener));
        }
        let mut names = self.names.clone();
        loop {
            tokio::select! {
                Some(ended) = tasks.join_next() => ended.map_err(io::Error::other)?,
                changed = names.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn answer_datagrams(self, socket: Arc<UdpSocket>, local: SocketAddrV4) {
        let mut forwards = JoinSet::new();
        let mut buffer = vec![0; QUERY_BYTES];
        loop {
            let (length, peer) = tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, SocketAddr::V4(peer))) => (length, peer),
                    Ok(_) => continue,
                    Err(error) => {
                        log::debug!("resolver: receiving at {local}: {error}");
                        sleep(BREATH).await;
                        continue;
                    }
                },
                Some(_) = forwards.join_next() => continue,
            };
            let Some(who) = self.who(protocol::UDP, peer, local) else {
                continue;
            };
            if !self.shared.clients.may_ask(&who, Instant::now()) {
                continue;
            }
            let bytes = buffer.get(..length).unwrap_or_default();
            match self.decide(bytes, Transport::Udp, who.as_ref()) {
                Decision::Ignore => {}
                Decision::Answer(answer) => send(&socket, &answer, peer).await,
                Decision::Forward(asked) => match self.place(who.as_ref()) {
                    Some(place) => {
                        let (resolver, socket) = (self.clone(), Arc::clone(&socket));
                        forwards.spawn(async move {
                            if let Some(answer) = resolver.forward(&asked, place).await {
                                send(&socket, &answer, peer).await;
                            }
                        });
                    }
                    None => {
                        if let Some(answer) = too_many(&asked) {
                            send(&socket, &answer, peer).await;
                        }
                    }
                },
            }
        }
    }

    async fn accept(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(guest) = self.guest(&stream, peer) {
                            connections.spawn(self.clone().converse(stream, guest));
                        }
                    }
                    Err(error) => {
                        log::debug!("resolver: accepting a connection: {error}");
                        sleep(BREATH).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Who it is, if it is let in.
    fn guest(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Guest> {
        let (SocketAddr::V4(peer), Ok(SocketAddr::V4(local))) = (peer, stream.local_addr()) else {
            return None;
        };
        let who = self.who(protocol::TCP, peer, local)?;
        self.shared.clients.enter(who, Instant::now())
    }

    /// Queries of a connection are answered one after the other.
    async fn converse(self, mut stream: TcpStream, guest: Guest) {
        let limits = self.shared.limits;
        let talk = async {
            while let Ok(query) = next_query(&mut stream, &limits).await {
                if !guest.may_ask(Instant::now()) {
                    return;
                }
                let Some(answer) = self.answer(&query, guest.who()).await else {
                    return;
                };
                let Ok(answer) = framed(&answer) else {
                    return;
                };
                // A client that reads nothing is not waited for.
                let sent = timeout(limits.message, stream.write_all(&answer)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        };
        let _ = timeout(limits.connection, talk).await;
    }

    async fn answer(&self, query: &[u8], who: Option<&Who>) -> Option<Vec<u8>> {
        match self.decide(query, Transport::Tcp, who) {
            Decision::Ignore => None,
            Decision::Answer(answer) => Some(answer),
            Decision::Forward(asked) => match self.place(who) {
                Some(place) => self.forward(&asked, place).await,
                None => too_many(&asked),
            },
        }
    }

    fn decide(&self, bytes: &[u8], transport: Transport, who: Option<&Who>) -> Decision {
        let names = Arc::clone(&self.names.borrow());
        decide(bytes, transport, &names, who)
    }

    /// One of those that may ask other servers now.
    fn place(&self, who: Option<&Who>) -> Option<Guest> {
        self.shared.forwards.enter(who.cloned(), Instant::now())
    }

    async fn forward(&self, asked: &Asked, _place: Guest) -> Option<Vec<u8>> {
        let names = Arc::clone(&self.names.borrow());
        self.shared.forwarder.answer(asked, &names).await
    }

    /// Who has sent something; `None` when that can't be found out, and `Some(None)` when it is nobody.
    fn who(&self, protocol: u8, peer: SocketAddrV4, local: SocketAddrV4) -> Option<Option<Who>> {
        match self.shared.identify.whose(protocol, peer, local) {
            Ok(who) => Some(who),
            Err(error) => {
                self.complain(&format!("nobody can tell who asks as {peer}: {error}"));
                None
            }
        }
    }

    fn complain(&self, what: &str) {
        let now = self.shared.start.elapsed().as_secs();
        let next = &self.shared.next_complaint;
        if next.load(Ordering::Relaxed) <= now {
            next.store(now + COMPLAINT_SECONDS, Ordering::Relaxed);
            log::warn!("resolver: {what}");
        }
    }
}

/// A client asks once more, or asks another server.
fn too_many(asked: &Asked) -> Option<Vec<u8>> {
    asked.error(hickory_proto::op::ResponseCode::ServFail)
}

/// What can't be sent is lost, as any datagram may be.
async fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddrV4) {
    if let Err(error) = socket.send_to(answer, peer).await {
        log::debug!("resolver: answering {peer}: {error}");
    }
}

/// The next query of a connection.
///
/// # Errors
///
/// There is none, none in time, or one that is too long.
async fn next_query(stream: &mut TcpStream, limits: &Limits) -> io::Result<Vec<u8>> {
    let high = timeout(limits.idle, stream.read_u8()).await??;
    let rest = async {
        let length = usize::from(u16::from_be_bytes([high, stream.read_u8().await?]));
        if length > QUERY_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut query = vec![0; length];
        stream.read_exact(&mut query).await?;
        Ok(query)
    };
    timeout(limits.message, rest).await?
}
