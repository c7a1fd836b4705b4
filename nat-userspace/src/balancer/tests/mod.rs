//! Checks and relays by sockets of the loopback.

mod checker;
mod checks;
mod relay;
mod relay_ends;

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};

use super::Dial;

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn direct() -> Arc<dyn Dial> {
    Arc::new(|to: SocketAddrV4| TcpStream::connect(to))
}

async fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    match listener.local_addr().expect("an address") {
        SocketAddr::V4(address) => (listener, address),
        SocketAddr::V6(_) => unreachable!("it is bound to IPv4"),
    }
}

/// A target that does this with each connection, as long as the test lasts.
async fn target<Treat, Treated>(treat: Treat) -> SocketAddrV4
where
    Treat: Fn(TcpStream) -> Treated + Send + 'static,
    Treated: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// Where nobody listens: the address of a listener that is gone.
async fn nowhere() -> SocketAddrV4 {
    // Of an address that no other test takes ports of.
    let listener = TcpListener::bind(("127.77.0.9", 0)).await.expect("a port");
    match listener.local_addr().expect("an address") {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("it is bound to IPv4"),
    }
}
