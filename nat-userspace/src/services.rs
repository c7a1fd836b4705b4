//! Where the node's own services listen: a network namespace of their own, so that they need no address of the
//! host's, with one pair of interfaces to the dataplane. It lasts as long as its sockets: nothing is left on
//! the host when the controller is gone. Whom they answer says [`Identify`].

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket},
    os::fd::AsRawFd as _,
    sync::mpsc,
    thread,
};

use aya::maps::{HashMap, MapData, MapError};
use futures_util::{TryStreamExt as _, future::BoxFuture};
use nat_common::{
    address::{Address, Port},
    flow::{Flow, protocol},
    map_types::{
        CHECKER_IP, METADATA_IP, METADATA_PORT, Name, NameKey, RELAY_NET, RESOLVER_PORT,
        SERVICE_NET_BITS, SERVICES_IP, SERVICES_VPC, SessionKey, names,
    },
};
use nix::{
    net::if_::{if_indextoname, if_nametoindex},
    sched::{CloneFlags, setns, unshare},
    sys::socket::{setsockopt, sockopt::IpBindAddressNoPort},
};
use rtnetlink::{
    Handle, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
    packet_route::{
        link::{LinkAttribute, LinkMessage},
        route::{RouteScope, RouteType},
    },
};

use tokio::{
    net::{TcpSocket, TcpStream},
    sync::oneshot,
};

use crate::{
    balancer::Dial,
    error::{Error, Result},
    host::{self, HostInterface},
    pins::Pins,
    resolver::Sockets,
    session_table::SessionTable,
};

/// The namespace's end of the pair, and the other one: before the host has it, and with a number there.
const INNER: &str = "services";
const OUTER: &str = "nat-services";
const OUTER_NUMBERED: &str = "nat-services%d";

/// The kernel's own table of local addresses.
const LOCAL_TABLE: u32 = 255;

/// The MTU of the pair: the kernel then offers and makes segments that go through any instance's interface,
/// without being told.
const MTU: u32 = 1280;

/// A host of a VPC, as what it sends is known to be its.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    /// The name of its VPC.
    pub vpc: String,
    /// Its private address.
    pub private_ip: Ipv4Addr,
}

/// Tells hosts by what they send to the services.
pub trait Identify: Send + Sync {
    /// Who has sent what came to the service at `local` from `peer`, both as the service's socket has them,
    /// by this protocol, a number of [`nat_common::flow::protocol`]. It is asked once for each connection,
    /// before anything is read from it, and once for each datagram. `None`: nobody that could be told.
    ///
    /// # Errors
    ///
    /// It can't be found out now; whoever it is gets nothing.
    fn whose(
        &self,
        protocol: u8,
        peer: SocketAddrV4,
        local: SocketAddrV4,
    ) -> io::Result<Option<Who>>;
}

/// A way to the services, on which nobody answers yet.
pub struct Services {
    /// The host's end of the pair.
    pub interface: HostInterface,
    /// Gets what comes to the metadata address, until somebody serves it.
    pub metadata: Option<TcpListener>,
    namespace: File,
    /// Where the resolver is asked.
    resolvers: BTreeSet<Ipv4Addr>,
}

impl Services {
    /// Makes the namespace and what is in it.
    ///
    /// # Errors
    ///
    /// What the kernel says; nothing is left then.
    pub fn open() -> Result<Self> {
        let failed = Error::io("making the network namespace of the services");
        // A thread that has entered a namespace is of no other use.
        let made = thread::spawn(make)
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("its thread has panicked")))
            .and_then(|(index, metadata, namespace)| {
                let name = if_indextoname(index)?;
                Ok((name.to_string_lossy().into_owned(), metadata, namespace))
            });
        let (name, metadata, namespace) = made.map_err(failed)?;
        let interface = HostInterface {
            is_services: true,
            ..host::interface(&name)?
        };
        Ok(Self {
            interface,
            metadata: Some(metadata),
            namespace,
            resolvers: BTreeSet::new(),
        })
    }

    /// Makes connections from within the namespace.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn caller(&self) -> Result<Caller> {
        let namespace = self.namespace.try_clone();
        let caller = namespace.and_then(Caller::new);
        caller.map_err(Error::io("entering the network namespace of the services"))
    }

    /// Listeners at these addresses, each with its own.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn listeners(
        &self,
        at: &[SocketAddrV4],
    ) -> Result<Vec<(SocketAddrV4, tokio::net::TcpListener)>> {
        let bound = within(&self.namespace, || bind_listeners(at)).and_then(|bound| {
            let listeners = bound.into_iter().map(tokio::net::TcpListener::from_std);
            listeners.collect::<io::Result<Vec<_>>>()
        });
        let bound = bound.map_err(Error::io("binding the listeners of load balancers"))?;
        Ok(at.iter().copied().zip(bound).collect())
    }

    /// Sockets for the resolver at those of `addresses` that have none yet. One that is no longer asked keeps
    /// its own.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn resolver_sockets(
        &mut self,
        addresses: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Result<Sockets> {
        let addresses = addresses.into_iter();
        let new: BTreeSet<_> = addresses
            .filter(|address| !self.resolvers.contains(address))
            .collect();
        if new.is_empty() {
            return Ok(Sockets::default());
        }
        let bound = within(&self.namespace, || bind_resolver(&new));
        let sockets = bound.map_err(Error::io("binding the resolver's sockets"))?;
        self.resolvers.extend(new);
        Ok(sockets)
    }
}

/// Does this in a thread that enters the namespace, and is of no other use behind it.
fn within<T: Send>(namespace: &File, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let enter = || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    };
    let done = thread::scope(|scope| scope.spawn(enter).join());
    done.unwrap_or_else(|_| Err(io::Error::other("its thread has panicked")))
}

/// Listeners at these addresses of the calling thread's namespace.
fn bind_listeners(at: &[SocketAddrV4]) -> io::Result<Vec<TcpListener>> {
    let bind = |at: &SocketAddrV4| {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    at.iter().map(bind).collect()
}

/// Whom to give a socket.
type Wanted = oneshot::Sender<io::Result<TcpSocket>>;

/// Makes connections from within the namespace of the services, by sockets of a thread that is in there.
pub struct Caller(mpsc::Sender<Wanted>);

impl Caller {
    fn new(namespace: File) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Wanted>();
        let (entered, has_entered) = mpsc::channel();
        thread::spawn(move || {
            let result = setns(namespace, CloneFlags::CLONE_NEWNET);
            let is_in = result.is_ok();
            // Who waits for it is there.
            let _ = entered.send(result.map_err(io::Error::from));
            while is_in && let Ok(wanted) = receiver.recv() {
                // Who has given up does not want it.
                let _ = wanted.send(TcpSocket::new_v4());
            }
        });
        let gone = |_| io::Error::other("its thread has panicked");
        has_entered.recv().map_err(gone)??;
        Ok(Self(sender))
    }
}

impl Dial for Caller {
    fn dial(&self, to: SocketAddrV4) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            let (wanted, socket) = oneshot::channel();
            let gone = || io::Error::other("there is no way into the services' namespace");
            self.0.send(wanted).map_err(|_| gone())?;
            let socket = socket.await.map_err(|_| gone())??;
            // A port is taken towards whom it connects to, not from all others.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(SocketAddr::from((Ipv4Addr::from(CHECKER_IP), 0)))?;
            socket.connect(to.into()).await
        })
    }
}

/// Sockets at these addresses, which the calling thread's namespace gets.
fn bind_resolver(addresses: &BTreeSet<Ipv4Addr>) -> io::Result<Sockets> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let mut sockets = Sockets::default();
    for address in addresses {
        runtime.block_on(async {
            let (connection, inner, _) = new_connection()?;
            tokio::spawn(connection);
            let add = inner.address().add(index("lo"), (*address).into(), 32);
            add.execute().await.map_err(io::Error::other)
        })?;
        let at = SocketAddrV4::new(*address, RESOLVER_PORT);
        sockets.udp.push(UdpSocket::bind(at)?);
        sockets.tcp.push(TcpListener::bind(at)?);
    }
    Ok(sockets)
}

/// Knows by the dataplane's sessions who has sent what comes to the services.
pub struct Clients {
    sessions: SessionTable,
    names: HashMap<MapData, NameKey, Name>,
}

impl Clients {
    /// Of the running dataplane.
    ///
    /// # Errors
    ///
    /// When its maps can't be opened.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self {
            sessions: SessionTable::open(pins)?,
            names: pins.hash_map(names::NAMES)?,
        })
    }
}

/// Who uses a service of another VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// His address and port in his VPC.
    pub source: SocketAddrV4,
    /// Whom he has asked there.
    pub destination: SocketAddrV4,
    /// His endpoint, as `VPC/NAME`; `None` when he has asked the load balancer itself.
    pub endpoint: Option<String>,
}

impl Clients {
    /// Who has opened the connection that came to `local` from `peer`. `None`: nobody that could be told.
    ///
    /// # Errors
    ///
    /// It can't be found out now.
    pub fn consumer(
        &self,
        peer: SocketAddrV4,
        local: SocketAddrV4,
    ) -> io::Result<Option<Consumer>> {
        let answer = Flow {
            source: Address::from(*local.ip()),
            destination: Address::from(*peer.ip()),
            source_port: Port::new(local.port()),
            destination_port: Port::new(peer.port()),
            protocol: protocol::TCP,
        };
        let key = SessionKey::answers(&answer, SERVICES_VPC);
        let Some(session) = self.sessions.get(&key) else {
            return Ok(None);
        };
        let end = |address: Address, port: Port| SocketAddrV4::new(address.into(), port.get());
        let gateway = NameKey {
            kind: NameKey::GATEWAY,
            number: u32::from(session.gateway()),
        };
        let name = match self.names.get(&gateway, 0) {
            Ok(name) => name.as_str().to_owned(),
            // It has just gone.
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(io::Error::other(error)),
        };
        let endpoint = name
            .split_once("/endpoint:")
            .map(|(vpc, endpoint)| format!("{vpc}/{endpoint}"));
        Ok(Some(Consumer {
            source: end(session.mapped_address(), session.mapped_port()),
            destination: end(session.far().address, session.far().port),
            endpoint,
        }))
    }
}

impl Identify for Clients {
    fn whose(
        &self,
        protocol: u8,
        peer: SocketAddrV4,
        local: SocketAddrV4,
    ) -> io::Result<Option<Who>> {
        let answer = Flow {
            source: Address::from(*local.ip()),
            destination: Address::from(*peer.ip()),
            source_port: Port::new(local.port()),
            destination_port: Port::new(peer.port()),
            protocol,
        };
        let Some(session) = self.sessions.get(&SessionKey::reverse(&answer)) else {
            return Ok(None);
        };
        let vpc = NameKey {
            kind: NameKey::VPC,
            number: u32::from(session.owner()),
        };
        match self.names.get(&vpc, 0) {
            Ok(name) => Ok(Some(Who {
                vpc: name.as_str().to_owned(),
                private_ip: session.mapped_address().into(),
            })),
            // It has just gone.
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// The index of the host's end, the listener, and the namespace.
fn make() -> io::Result<(u32, TcpListener, File)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let (connection, host, _) = new_connection()?;
        tokio::spawn(connection);
        let host_namespace = File::open("/proc/thread-self/ns/net")?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let (connection, inner, _) = new_connection()?;
        tokio::spawn(connection);
        let outer = connect(&host, &inner, &host_namespace)
            .await
            .map_err(io::Error::other)?;
        let metadata = TcpListener::bind(SocketAddrV4::new(METADATA_IP.into(), METADATA_PORT))?;
        metadata.set_nonblocking(true)?;
        Ok((outer, metadata, namespace))
    })
}

/// Makes the pair, gives the host its end, and answers the index that this has there. Made in here, so that
/// nothing is left on the host of a start that was killed.
async fn connect(
    host: &Handle,
    inner: &Handle,
    host_namespace: &File,
) -> std::result::Result<u32, rtnetlink::Error> {
    let pair = LinkVeth::new(INNER, OUTER).build();
    inner.link().add(pair).execute().await?;
    let (inner_mac, outer_mac) = (
        mac(&link(inner, INNER).await?),
        mac(&link(inner, OUTER).await?),
    );
    let (lo, index, outer) = (index("lo"), index(INNER), index(OUTER));
    let leave = LinkUnspec::new_with_index(outer)
        .name(OUTER_NUMBERED)
        .setns_by_fd(host_namespace.as_raw_fd())
        .build();
    inner.link().set(leave).execute().await?;
    let outer = peer(&link(inner, INNER).await?);
    for (handle, index) in [(inner, lo), (inner, index), (host, outer)] {
        let mut up = LinkUnspec::new_with_index(index).up();
        if index != lo {
            up = up.mtu(MTU);
        }
        let up = up.build();
        handle.link().set(up).execute().await?;
    }
    let address = Ipv4Addr::from(METADATA_IP);
    inner
        .address()
        .add(index, address.into(), 32)
        .execute()
        .await?;
    inner
        .address()
        .add(index, Ipv4Addr::from(CHECKER_IP).into(), 32)
        .execute()
        .await?;
    let dataplane = Ipv4Addr::from(SERVICES_IP);
    let to_dataplane = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(dataplane, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    let everything = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(dataplane)
        .build();
    // Of these each one is an address of the services.
    let relays = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::from_bits(RELAY_NET), SERVICE_NET_BITS)
        .output_interface(lo)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .table_id(LOCAL_TABLE)
        .build();
    for route in [to_dataplane, everything, relays] {
        inner.route().add(route).execute().await?;
    }
    // Neither end has an address that the other one could ask for it.
    let clients = Ipv4Addr::from(SERVICES_IP);
    for (handle, index, neighbour, mac) in [
        (inner, index, clients, outer_mac),
        (host, outer, address, inner_mac),
    ] {
        handle
            .neighbours()
            .add(index, neighbour.into())
            .link_layer_address(&mac)
            .execute()
            .await?;
    }
    Ok(outer)
}

/// The index of an interface in this thread's namespace; 0 when there is none.
fn index(name: &str) -> u32 {
    if_nametoindex(name).unwrap_or(0)
}

async fn link(handle: &Handle, name: &str) -> std::result::Result<LinkMessage, rtnetlink::Error> {
    let mut links = handle.link().get().match_name(name).execute();
    let link = links.try_next().await?;
    link.ok_or(rtnetlink::Error::RequestFailed)
}

fn mac(link: &LinkMessage) -> Vec<u8> {
    let mac = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(mac) => Some(mac.clone()),
            _ => None,
        });
    mac.unwrap_or_default()
}

/// The index of the other end of a pair, where that is.
fn peer(link: &LinkMessage) -> u32 {
    let peer = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Link(peer) => Some(*peer),
            _ => None,
        });
    peer.unwrap_or(0)
}
