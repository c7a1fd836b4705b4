//! Very many TCP connections at a time, which need hardly any open file: the server leaves them in its accept queue,
//! and clients vanish without a word.
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{EXCHANGE, Namespace, sockets::accept};

/// A server whose accept queue holds a whole crowd.
#[derive(Debug)]
pub struct Hall(TcpListener);

/// A connection as the server found it in its queue.
#[derive(Debug)]
pub struct Guest {
    /// The client's address as the server sees it.
    pub seen: SocketAddrV4,
    /// Of a client that has stayed: the number it said, and the connection.
    pub stayed: Option<(u32, TcpStream)>,
}

impl Hall {
    /// Room for `count` connections that nobody accepts yet.
    pub fn open(node: &Namespace, address: SocketAddrV4, count: usize) -> Result<Self> {
        let room = (count + 1024).to_string();
        node.set("net/core/somaxconn", &room)?;
        node.set("net/ipv4/tcp_max_syn_backlog", &room)?;
        node.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(count + 1024)?)?;
            socket.set_read_timeout(Some(EXCHANGE))?;
            Ok(Self(TcpListener::from(socket)))
        })
    }

    /// Accepts `count` connections. Those whose client said nothing are ended by a RST.
    pub fn guests(&self, count: usize) -> Result<Vec<Guest>> {
        (0..count)
            .map(|number| guest(&self.0).with_context(|| format!("after {number} connections")))
            .collect()
    }
}

fn guest(listener: &TcpListener) -> Result<Guest> {
    let (mut stream, seen) = accept(listener)?;
    let mut number = [0; 4];
    stream.set_nonblocking(true)?;
    let stayed = match stream.read_exact(&mut number) {
        Ok(()) => {
            stream.set_nonblocking(false)?;
            Some((u32::from_be_bytes(number), stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            close_at_once(stream)?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Guest { seen, stayed })
}

/// Connects in the calling thread's namespace, from exactly `from`.
pub fn join(from: SocketAddrV4, to: SocketAddrV4, limit: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), limit)?;
    Ok(socket.into())
}

/// Stays, and says so.
pub fn stay(mut stream: &TcpStream, number: u32) -> std::io::Result<()> {
    stream.write_all(&number.to_be_bytes())?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))
}

/// Forgets this end of a connection without sending anything: for everybody else it is open.
pub fn vanish(stream: TcpStream) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an int behind `on`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(status == 0, std::io::Error::last_os_error());
    // A socket under repair is closed silently.
    drop(stream);
    Ok(())
}

/// Closes by RST, so that neither end nor the node keeps anything.
pub fn close_at_once(stream: TcpStream) -> Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}
