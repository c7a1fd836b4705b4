//! How a target is connected to: by whoever knows the network namespace that it is reached from.

use std::{io, net::SocketAddrV4};

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

/// Makes connections. A function from an address to a future of a connection is one.
pub trait Dial: Send + Sync {
    /// Connects to an address. Whoever asks drops the future when it takes too long.
    ///
    /// # Errors
    ///
    /// There is no connection.
    fn dial(&self, to: SocketAddrV4) -> BoxFuture<'_, io::Result<TcpStream>>;
}

impl<Function, Dialing> Dial for Function
where
    Function: Fn(SocketAddrV4) -> Dialing + Send + Sync,
    Dialing: Future<Output = io::Result<TcpStream>> + Send + 'static,
{
    fn dial(&self, to: SocketAddrV4) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(self(to))
    }
}
