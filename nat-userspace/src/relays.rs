//! Connections to target groups with `proxy_protocol_v2`: the dataplane brings them to the services, which tell the
//! target whose each one is before they pass it on (`balancer/relay.rs`).

use std::{
    collections::{BTreeMap, HashMap},
    hash::{Hash as _, Hasher as _},
    net::SocketAddrV4,
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::future::BoxFuture;
use rustc_hash::FxHasher;
use tokio::sync::oneshot;

use crate::{
    balancer::{
        Dial,
        relay::{Limits, Relay, Route, Router},
    },
    error::Result,
    policy::Relayed,
    services::{Clients, Services},
};

type Targets = Arc<RwLock<HashMap<SocketAddrV4, Relayed>>>;

/// All of them.
pub struct Relays {
    relay: Relay,
    targets: Targets,
    /// A listener ends when what is here is dropped.
    listening: HashMap<SocketAddrV4, oneshot::Sender<()>>,
}

impl Relays {
    /// None yet.
    pub fn new(clients: Arc<Clients>, dial: Arc<dyn Dial>) -> Self {
        let targets = Targets::default();
        let router = Finder {
            clients,
            targets: Arc::clone(&targets),
        };
        Self {
            relay: Relay::new(Arc::new(router), dial, Limits::default()),
            targets,
            listening: HashMap::new(),
        }
    }

    /// Relays these from now on. Connections that are there go on, but for those of a listener that is gone.
    ///
    /// # Errors
    ///
    /// What keeps a listener from listening.
    pub fn set(
        &mut self,
        services: &Services,
        wanted: BTreeMap<SocketAddrV4, Relayed>,
    ) -> Result<()> {
        self.listening.retain(|at, _| wanted.contains_key(at));
        let new = wanted.keys().filter(|at| !self.listening.contains_key(at));
        let new: Vec<_> = new.copied().collect();
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) =
            wanted.into_iter().collect();
        if new.is_empty() {
            return Ok(());
        }
        for (at, listener) in services.listeners(&new)? {
            let (stop, stopped) = oneshot::channel::<()>();
            self.listening.insert(at, stop);
            let relay = self.relay.clone();
            tokio::spawn(async move {
                let stopped = async {
                    // Its other end says nothing: it is dropped.
                    let _ = stopped.await;
                };
                relay.serve(listener, stopped).await;
            });
        }
        Ok(())
    }
}

/// Finds out whose a connection is, and where it goes.
struct Finder {
    clients: Arc<Clients>,
    targets: Targets,
}

impl Finder {
    fn find(&self, peer: SocketAddrV4, local: SocketAddrV4) -> Option<Route> {
        let consumer = match self.clients.consumer(peer, local) {
            Ok(consumer) => consumer?,
            Err(error) => {
                log::warn!("whose a connection to {local} is can't be found out: {error}");
                return None;
            }
        };
        let mut hasher = FxHasher::default();
        (consumer.source, consumer.destination).hash(&mut hasher);
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        // Its upper half is the better one.
        let dial = targets
            .get(&local)?
            .choose((hasher.finish() >> 32) as u32)?;
        Some(Route {
            source: consumer.source,
            destination: consumer.destination,
            endpoint_id: consumer.endpoint,
            dial,
        })
    }
}

impl Router for Finder {
    fn route(&self, peer: SocketAddrV4, local: SocketAddrV4) -> BoxFuture<'_, Option<Route>> {
        Box::pin(async move { self.find(peer, local) })
    }
}
