//! Very many TCP connections at a time: room for them in the process and in the nodes, and a server that accepts all.
use std::{
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{EXCHANGE, Namespace};

/// Connections that wait for their acceptance.
const BACKLOG: i32 = 32_768;

/// Lets this process hold `count` files at a time, at least.
pub fn room_for_files(count: u64) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit`, which outlives the call.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    ensure!(status == 0, std::io::Error::last_os_error());
    limit.rlim_cur = limit.rlim_cur.max(count);
    limit.rlim_max = limit.rlim_max.max(count);
    // SAFETY: the kernel reads one `rlimit`, which outlives the call.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    ensure!(
        status == 0,
        "room for {count} open files: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

impl Namespace {
    /// Lets this node open connections from any port, and accept them as fast as they come.
    pub fn room_for_connections(&self) -> Result<()> {
        for (name, value) in [
            ("net/ipv4/ip_local_port_range", "1024 65535"),
            ("net/core/somaxconn", "65535"),
            ("net/ipv4/tcp_max_syn_backlog", "65535"),
        ] {
            self.set(name, value)?;
        }
        Ok(())
    }
}

/// A server that accepts connections and closes none before it is dropped.
#[derive(Debug)]
pub struct Hall {
    accepted: Arc<AtomicUsize>,
    thread: JoinHandle<Result<Vec<(TcpStream, SocketAddrV4)>>>,
}

impl Hall {
    /// Takes `count` connections on `address`.
    pub fn open(node: &Namespace, address: SocketAddrV4, count: usize) -> Result<Self> {
        let listener = node.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_read_timeout(Some(EXCHANGE))?;
            Ok(TcpListener::from(socket))
        })?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let thread = thread::spawn(move || {
            let mut guests = Vec::with_capacity(count);
            while guests.len() < count {
                let (stream, peer) = listener
                    .accept()
                    .with_context(|| format!("after {} connections", guests.len()))?;
                let SocketAddr::V4(peer) = peer else {
                    bail!("an IPv6 address in an IPv4 lab: {peer}");
                };
                guests.push((stream, peer));
                counter.store(guests.len(), Ordering::Relaxed);
            }
            Ok(guests)
        });
        Ok(Self { accepted, thread })
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// All connections and who the server saw, once the last has come.
    pub fn guests(self) -> Result<Vec<(TcpStream, SocketAddrV4)>> {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Connects in the calling thread's namespace, from exactly `from`.
pub fn join(from: SocketAddrV4, to: SocketAddrV4, limit: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), limit)?;
    Ok(socket.into())
}

/// Closes by RST, so that neither end nor the node keeps anything.
pub fn close_at_once(streams: impl IntoIterator<Item = TcpStream>) -> Result<()> {
    for stream in streams {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}
