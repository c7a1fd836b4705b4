//! What a relay carries: the header, then bytes both ways.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::{PATIENCE, direct, listener};
use crate::balancer::{
    Dial,
    relay::{Limits, Relay, Route, Router},
};

const ENDPOINT: &str = "vpce-0123456789abcdef0";
pub const LIMITS: Limits = Limits {
    connections: 16,
    by_one_endpoint: 16,
    connect: PATIENCE,
    idle: PATIENCE,
    drain: Duration::ZERO,
};

/// A relay to one target, which the test plays itself.
pub struct Relayed {
    pub address: SocketAddrV4,
    target: TcpListener,
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<()>,
}

fn source() -> SocketAddrV4 {
    SocketAddrV4::new([10, 20, 1, 10].into(), 50_000)
}

fn destination() -> SocketAddrV4 {
    SocketAddrV4::new([10, 9, 8, 7].into(), 443)
}

/// To a target that connections go to.
pub fn router(dial: SocketAddrV4) -> Arc<dyn Router> {
    Arc::new(move |peer: SocketAddrV4, local: SocketAddrV4| async move {
        assert!(peer.ip().is_loopback() && local.ip().is_loopback());
        Some(Route {
            source: source(),
            destination: destination(),
            endpoint_id: Some(ENDPOINT.to_owned()),
            dial,
        })
    })
}

impl Relayed {
    pub async fn new(limits: Limits) -> Self {
        let (target, dial) = listener().await;
        Self::with(router(dial), direct(), limits, target).await
    }

    pub async fn with(
        router: Arc<dyn Router>,
        dial: Arc<dyn Dial>,
        limits: Limits,
        target: TcpListener,
    ) -> Self {
        let (listener, address) = listener().await;
        let relay = Relay::new(router, dial, limits);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            relay.serve(listener, stopped).await;
        });
        Self {
            address,
            target,
            stop,
            task,
        }
    }

    pub async fn client(&self) -> TcpStream {
        let connected = timeout(PATIENCE, TcpStream::connect(self.address)).await;
        connected.expect("in time").expect("a connection")
    }

    /// The next connection of the target, before anything is read.
    pub async fn accepted(&self) -> TcpStream {
        let accepted = timeout(PATIENCE, self.target.accept()).await;
        accepted.expect("in time").expect("a connection").0
    }

    /// A connection that is there at both ends; the target has read the header.
    pub async fn connection(&self) -> (TcpStream, TcpStream) {
        let client = self.client().await;
        let mut target = self.accepted().await;
        read_header(&mut target).await;
        (client, target)
    }
}

/// Reads the header, not a byte more, and checks it.
async fn read_header(target: &mut TcpStream) {
    let mut bytes = vec![0; 16];
    target.read_exact(&mut bytes).await.expect("a header");
    let length = u16::from_be_bytes([bytes[14], bytes[15]]);
    bytes.resize(16 + usize::from(length), 0);
    target.read_exact(&mut bytes[16..]).await.expect("a header");
    let config = ParseConfig {
        include_tlvs: true,
        allow_v1: false,
        ..ParseConfig::default()
    };
    let (header, _) = ProxyHeader::parse(&bytes, config).expect("a header");
    let addresses = ProxiedAddress::stream(SocketAddr::V4(source()), SocketAddr::V4(destination()));
    assert_eq!(header.proxied_address(), Some(&addresses));
    assert!(bytes.ends_with(format!("\x01{ENDPOINT}").as_bytes()));
}

/// Reads to the end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.expect("in time").expect("a clean end");
    bytes
}

#[tokio::test]
async fn the_header_comes_first_and_without_a_byte_of_the_client() {
    let relayed = Relayed::new(LIMITS).await;
    let (mut client, mut target) = relayed.connection().await;
    // Some protocols let the server speak first.
    target.write_all(b"hello").await.expect("sent");
    let mut greeting = [0; 5];
    client.read_exact(&mut greeting).await.expect("a greeting");
    assert_eq!(&greeting, b"hello");
    client.write_all(b"question").await.expect("sent");
    client.shutdown().await.expect("half-closed");
    assert_eq!(rest(&mut target).await, b"question");
    drop(target);
    assert_eq!(rest(&mut client).await, b"");
}

#[tokio::test]
async fn what_the_client_sends_early_comes_behind_the_header() {
    let relayed = Relayed::new(LIMITS).await;
    let mut client = relayed.client().await;
    client.write_all(b"early").await.expect("sent");
    client.shutdown().await.expect("half-closed");
    let mut target = relayed.accepted().await;
    read_header(&mut target).await;
    assert_eq!(rest(&mut target).await, b"early");
    target.write_all(b"late").await.expect("sent");
    drop(target);
    assert_eq!(rest(&mut client).await, b"late");
}

#[tokio::test]
async fn a_target_that_has_said_all_still_listens() {
    let relayed = Relayed::new(LIMITS).await;
    let (mut client, mut target) = relayed.connection().await;
    target.write_all(b"all").await.expect("sent");
    target.shutdown().await.expect("half-closed");
    assert_eq!(rest(&mut client).await, b"all");
    client.write_all(b"understood").await.expect("sent");
    drop(client);
    assert_eq!(rest(&mut target).await, b"understood");
}

#[tokio::test]
async fn sixteen_megabytes_go_both_ways_at_once() {
    let relayed = Relayed::new(LIMITS).await;
    let (client, target) = relayed.connection().await;
    // With a prime as its period, so that no block is like another one.
    let bytes = |prime: usize| -> Arc<[u8]> {
        let bytes = (0..16 << 20).map(|at: usize| (at % prime % 256) as u8);
        bytes.collect()
    };
    let (request, answer) = (bytes(65_521), bytes(65_519));
    let mut tasks = Vec::new();
    for (stream, sends, expects) in [
        (client, Arc::clone(&request), Arc::clone(&answer)),
        (target, answer, request),
    ] {
        let (mut reading, mut writing) = stream.into_split();
        tasks.push(tokio::spawn(async move {
            writing.write_all(&sends).await.expect("sent");
            writing.shutdown().await.expect("half-closed");
        }));
        tasks.push(tokio::spawn(async move {
            let mut got = Vec::new();
            reading.read_to_end(&mut got).await.expect("a clean end");
            assert!(*got == *expects, "{} bytes", got.len());
        }));
    }
    for task in tasks {
        let ended = timeout(3 * PATIENCE, task).await;
        ended.expect("in time").expect("no panic");
    }
}
