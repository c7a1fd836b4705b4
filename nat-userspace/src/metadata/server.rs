//! Metadata at a socket: connections in, answers out.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, SocketAddrV4},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use axum::{body::Body, extract::Request, http::Response};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time,
};

use nat_common::flow::protocol;

use super::{Catalogue, http, token::Key};
use crate::{
    admission::{Admission, Guest, Quota},
    services::Identify,
};

/// The router is one hop, which takes one off the TTL.
const ROUTER: u32 = 1;
/// TTL of answers without a limit, as it arrives.
const FAR: u32 = 64;
/// How long to wait when no connection can be accepted, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// What the service bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one instance at once. All that nobody knows count as one instance.
    pub connections_each: usize,
    /// Requests of one instance, in the long run.
    pub requests_per_second: u32,
    /// Requests of one instance after a time of rest, at once.
    pub burst: u32,
    /// How long the head of a request may take, and how long a connection may wait for one.
    pub head: Duration,
    /// How large the head of a request may be, in bytes; 8,192 at least.
    pub head_bytes: usize,
    /// How long a connection may last; a request under way is still answered.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_each: 32,
            // AWS takes 1024 packets a second from an interface, and a connection with one request is
            // about ten.
            requests_per_second: 100,
            burst: 200,
            head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            connection: Duration::from_secs(300),
        }
    }
}

/// The time since the Unix epoch.
pub type Clock = dyn Fn() -> Duration + Send + Sync;

/// Serves whoever connects, until the sender of the catalogue is dropped. Each request is answered from
/// the catalogue that is the last one then. Connections end with this.
///
/// # Errors
///
/// When the socket can't be set up. What goes wrong with one connection ends that one only.
pub async fn serve(
    listener: TcpListener,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    identify: Arc<dyn Identify>,
    key: Key,
) -> io::Result<()> {
    let clock = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default()
    };
    let service = Service::new(catalogue, key, Limits::default(), Arc::new(clock));
    service.serve(listener, identify).await
}

/// What all connections share.
#[derive(Clone)]
pub struct Service {
    catalogue: watch::Receiver<Arc<Catalogue>>,
    key: Key,
    limits: Limits,
    admission: Arc<Admission>,
    clock: Arc<Clock>,
}

impl Service {
    pub fn new(
        catalogue: watch::Receiver<Arc<Catalogue>>,
        key: Key,
        limits: Limits,
        clock: Arc<Clock>,
    ) -> Self {
        Self {
            catalogue,
            key,
            limits,
            admission: Admission::new(Quota {
                at_once: limits.connections,
                at_once_each: limits.connections_each,
                per_second: limits.requests_per_second,
                burst: limits.burst,
            }),
            clock,
        }
    }

    /// As [`serve`].
    pub async fn serve(self, listener: TcpListener, identify: Arc<dyn Identify>) -> io::Result<()> {
        // Connections inherit it.
        listener.set_ttl(FAR + ROUTER)?;
        let mut catalogue = self.catalogue.clone();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, SocketAddr::V4(peer))) => {
                        if let Some(guest) = self.guest(&stream, peer, identify.as_ref()) {
                            connections.spawn(self.clone().converse(stream, guest));
                        }
                    }
                    Ok((_, SocketAddr::V6(_))) => {}
                    Err(error) => {
                        log::debug!("metadata: accepting a connection: {error}");
                        time::sleep(BREATH).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                changed = catalogue.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Who it is, if it is let in.
    fn guest(
        &self,
        stream: &TcpStream,
        peer: SocketAddrV4,
        identify: &dyn Identify,
    ) -> Option<Guest> {
        // It is gone already.
        let Ok(SocketAddr::V4(local)) = stream.local_addr() else {
            return None;
        };
        match identify.whose(protocol::TCP, peer, local) {
            Ok(who) => self.admission.enter(who, Instant::now()),
            Err(error) => {
                log::warn!("metadata: nobody can tell whose the connection of {peer} is: {error}");
                None
            }
        }
    }

    async fn converse(self, stream: TcpStream, guest: Guest) {
        let ttl = Arc::new(AtomicU32::new(0));
        let stream = Stream {
            stream: TokioIo::new(stream),
            ttl: Arc::clone(&ttl),
        };
        let answer = service_fn(|request: Request<Incoming>| {
            let response = self.answer(request, &guest, &ttl);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(self.limits.head_bytes)
            .serve_connection(stream, answer);
        let mut connection = pin!(connection);
        // What breaks a connection off is the client's business.
        let ended = time::timeout(self.limits.connection, connection.as_mut()).await;
        if ended.is_err() {
            connection.as_mut().graceful_shutdown();
            let _ = time::timeout(self.limits.head, connection).await;
        }
    }

    fn answer(&self, request: Request<Incoming>, guest: &Guest, ttl: &AtomicU32) -> Response<Body> {
        if !guest.may_ask(Instant::now()) {
            return http::throttled().response;
        }
        let catalogue = Arc::clone(&self.catalogue.borrow());
        // A body is not read: it says nothing.
        let (request, _) = request.into_parts();
        let now = (self.clock)();
        let answer = http::answer(&request, &catalogue, guest.who(), &self.key, now);
        if let Some(hops) = answer.hop_limit {
            ttl.store(hops + ROUTER, Ordering::Relaxed);
        }
        answer.response
    }
}

/// A connection whose TTL is changed before the answer is sent that it is for. It is never raised again:
/// who is too far away to get an answer with a token could otherwise ask for something else by the same
/// connection, and have the kernel send the lost segment once more with a TTL that reaches.
struct Stream {
    stream: TokioIo<TcpStream>,
    /// Zero when it is set.
    ttl: Arc<AtomicU32>,
}

impl Stream {
    fn ready(&mut self) -> io::Result<Pin<&mut TokioIo<TcpStream>>> {
        let ttl = self.ttl.swap(0, Ordering::Relaxed);
        if ttl != 0 {
            self.stream.inner().set_ttl(ttl)?;
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ready()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ready()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
