//! Relays connections to targets that want to know by the PROXY protocol whose they are.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{SocketAddr, SocketAddrV4},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Dial,
    copy::{self, copy},
    proxy_protocol,
};

/// How long to wait when no connection can be accepted, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Where a connection goes, and what the target is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose connection it is, as the target should see it.
    pub source: SocketAddrV4,
    /// Whom it was for, as the target should see it.
    pub destination: SocketAddrV4,
    /// By which endpoint it came, if it came by one.
    pub endpoint_id: Option<String>,
    /// The target.
    pub dial: SocketAddrV4,
}

/// Knows where connections go. A function from two addresses to a future of a route does.
pub trait Router: Send + Sync {
    /// Where the connection goes that came from `peer` to `local`, both as the listener's socket has them.
    /// `None`: nowhere.
    fn route(&self, peer: SocketAddrV4, local: SocketAddrV4) -> BoxFuture<'_, Option<Route>>;
}

impl<Function, Routing> Router for Function
where
    Function: Fn(SocketAddrV4, SocketAddrV4) -> Routing + Send + Sync,
    Routing: Future<Output = Option<Route>> + Send + 'static,
{
    fn route(&self, peer: SocketAddrV4, local: SocketAddrV4) -> BoxFuture<'_, Option<Route>> {
        Box::pin(self(peer, local))
    }
}

/// What a relay bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, by all listeners.
    pub connections: usize,
    /// And those by one endpoint, so that it does not take those of the others; who asks without one counts as one.
    pub by_one_endpoint: usize,
    /// How long it may take to find a target, to connect to it and to send it the header.
    pub connect: Duration,
    /// How long a connection may last without a byte of either side.
    pub idle: Duration,
    /// How long connections may go on when the relay is stopped.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Two descriptors each.
            connections: 4096,
            by_one_endpoint: 1024,
            connect: Duration::from_secs(10),
            // As a network load balancer of AWS.
            idle: Duration::from_secs(350),
            drain: Duration::ZERO,
        }
    }
}

/// A relay for any number of listeners. Clones are the same one.
#[derive(Clone)]
pub struct Relay {
    router: Arc<dyn Router>,
    dial: Arc<dyn Dial>,
    limits: Limits,
    places: Arc<Semaphore>,
    shares: Shares,
}

/// Connections by each endpoint that has some, by its id, and by none.
type Counts = HashMap<Option<String>, usize>;

/// See [`Limits::by_one_endpoint`].
#[derive(Debug, Clone, Default)]
struct Shares(Arc<Mutex<Counts>>);

/// A connection of an endpoint's share, which is given back when this is dropped.
struct Place {
    endpoint_id: Option<String>,
    shares: Shares,
}

impl Shares {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when the endpoint has as many as it may have.
    fn take(&self, endpoint_id: &Option<String>, most: usize) -> Option<Place> {
        let mut counts = self.counts();
        let count = counts.entry(endpoint_id.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            endpoint_id: endpoint_id.clone(),
            shares: self.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        if let Entry::Occupied(mut count) = counts.entry(std::mem::take(&mut self.endpoint_id)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Why a target is not reached.
#[derive(Debug, thiserror::Error)]
enum Unreached {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Header(#[from] proxy_protocol::Error),
    #[error("the header can't be sent: {0}")]
    Send(#[source] io::Error),
}

impl Relay {
    /// One without connections yet.
    pub fn new(router: Arc<dyn Router>, dial: Arc<dyn Dial>, limits: Limits) -> Self {
        let most = limits.connections.min(Semaphore::MAX_PERMITS);
        Self {
            router,
            dial,
            limits,
            places: Arc::new(Semaphore::new(most)),
            shares: Shares::default(),
        }
    }

    /// Relays whoever connects, until `stop` is done. Then nobody is accepted any more, and connections end
    /// by themselves in time or are reset. They are reset at once when this is dropped.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, SocketAddr::V4(peer))) => self.admit(client, peer, &mut connections),
                    Ok((_, SocketAddr::V6(_))) => {}
                    Err(error) => {
                        log::debug!("relay: accepting a connection: {error}");
                        sleep(BREATH).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut stop => break,
            }
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.drain, ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn admit(&self, client: TcpStream, peer: SocketAddrV4, connections: &mut JoinSet<()>) {
        // It is gone already.
        let Ok(SocketAddr::V4(local)) = client.local_addr() else {
            return;
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            log::debug!("relay: {peer} is one too many");
            return;
        };
        let relay = self.clone();
        connections.spawn(async move {
            relay.converse(client, peer, local).await;
            drop(place);
        });
    }

    async fn converse(&self, client: TcpStream, peer: SocketAddrV4, local: SocketAddrV4) {
        let mut client = ResetUnlessWhole::new(client);
        let reach = async {
            let Some(route) = self.router.route(peer, local).await else {
                return Ok(None);
            };
            let most = self.limits.by_one_endpoint;
            let Some(place) = self.shares.take(&route.endpoint_id, most) else {
                log::debug!("relay: {peer} is one too many by {:?}", route.endpoint_id);
                return Ok(None);
            };
            let target = self.reach(&route).await;
            target
                .map(|target| Some((target, place)))
                .map_err(|error| (route.dial, error))
        };
        let (mut target, _place) = match timeout(self.limits.connect, reach).await {
            Ok(Ok(Some(reached))) => reached,
            Ok(Ok(None)) => {
                client.is_whole = true;
                return;
            }
            Ok(Err((target, error))) => {
                log::debug!("relay: the target {target} of {peer}: {error}");
                return;
            }
            Err(_) => {
                log::debug!("relay: no target for {peer} in time");
                return;
            }
        };
        let copied = copy(&mut client.stream, &mut target.stream, self.limits.idle).await;
        if let Err(error @ copy::Error::Idle(_)) = &copied {
            log::debug!("relay: {peer}: {error}");
        }
        client.is_whole = copied.is_ok();
        target.is_whole = copied.is_ok();
    }

    /// A connection to the target, on which the header is sent.
    async fn reach(&self, route: &Route) -> Result<ResetUnlessWhole, Unreached> {
        let endpoint_id = route.endpoint_id.as_deref();
        let header = proxy_protocol::encode(route.source, route.destination, endpoint_id)?;
        let target = self.dial.dial(route.dial).await;
        let mut target = ResetUnlessWhole::new(target.map_err(Unreached::Connect)?);
        let sent = target.stream.write_all(&header).await;
        sent.map_err(Unreached::Send)?;
        Ok(target)
    }
}

/// A connection that is reset when it is dropped early, so that the other side does not take what it got for
/// the whole.
struct ResetUnlessWhole {
    stream: TcpStream,
    is_whole: bool,
}

impl ResetUnlessWhole {
    fn new(stream: TcpStream) -> Self {
        // Who sends in small pieces has a reason; without it they are only late.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            is_whole: false,
        }
    }
}

impl Drop for ResetUnlessWhole {
    fn drop(&mut self) {
        if !self.is_whole {
            // What can't be reset is closed.
            let _ = self.stream.set_zero_linger();
        }
    }
}
