//! How a relay's connections end: by limits, by the target, and with the relay.

use std::{
    io::{self, ErrorKind},
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    PATIENCE, direct, listener, nowhere,
    relay::{LIMITS, Relayed, router},
};
use crate::balancer::relay::{Limits, Route};

const SHORT: Duration = Duration::from_millis(500);

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// How it ends, without a byte.
async fn end(stream: &mut TcpStream) -> End {
    let read = timeout(PATIENCE, stream.read(&mut [0])).await;
    match read.expect("in time") {
        Ok(0) => End::Closed,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_target_that_refuses_resets_the_client_and_others_go_on() {
    let (target, _) = listener().await;
    let router = router(nowhere().await);
    let relayed = Relayed::with(router, direct(), LIMITS, target).await;
    for _ in 0..3 {
        assert_eq!(end(&mut relayed.client().await).await, End::Reset);
    }
}

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_resets_the_client() {
    let (target, dial) = listener().await;
    let never = |_: SocketAddrV4| std::future::pending::<io::Result<TcpStream>>();
    let limits = Limits {
        connect: SHORT,
        ..LIMITS
    };
    let relayed = Relayed::with(router(dial), Arc::new(never), limits, target).await;
    let started = Instant::now();
    assert_eq!(end(&mut relayed.client().await).await, End::Reset);
    assert!(started.elapsed() >= SHORT);
}

#[tokio::test]
async fn whoever_has_no_route_is_closed() {
    let (target, _) = listener().await;
    let nowhere = |_: SocketAddrV4, _: SocketAddrV4| std::future::ready(Option::<Route>::None);
    let relayed = Relayed::with(Arc::new(nowhere), direct(), LIMITS, target).await;
    assert_eq!(end(&mut relayed.client().await).await, End::Closed);
}

#[tokio::test]
async fn a_reset_of_either_side_is_one_for_the_other() {
    let relayed = Relayed::new(LIMITS).await;
    let (mut client, target) = relayed.connection().await;
    target.set_zero_linger().expect("set");
    drop(target);
    assert_eq!(end(&mut client).await, End::Reset);
    let (client, mut target) = relayed.connection().await;
    client.set_zero_linger().expect("set");
    drop(client);
    assert_eq!(end(&mut target).await, End::Reset);
}

#[tokio::test]
async fn silence_of_both_sides_resets_both() {
    let relayed = Relayed::new(Limits {
        // A slow machine has time to say something before it is over.
        idle: 4 * SHORT,
        ..LIMITS
    })
    .await;
    let (mut client, mut target) = relayed.connection().await;
    let started = Instant::now();
    assert_eq!(end(&mut client).await, End::Reset);
    assert_eq!(end(&mut target).await, End::Reset);
    assert!(started.elapsed() < PATIENCE / 2);
    // Also when one of them has nothing more to say.
    let (mut client, mut target) = relayed.connection().await;
    client.shutdown().await.expect("half-closed");
    assert_eq!(end(&mut target).await, End::Closed);
    assert_eq!(end(&mut client).await, End::Reset);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_there_is_room_again_when_one_ends() {
    let relayed = Relayed::new(Limits {
        connections: 2,
        ..LIMITS
    })
    .await;
    let (first, _target) = relayed.connection().await;
    let (mut second, mut other) = relayed.connection().await;
    assert_eq!(end(&mut relayed.client().await).await, End::Closed);
    drop(first);
    drop(_target);
    // The relay learns of it soon.
    let started = Instant::now();
    while timeout(SHORT, end(&mut relayed.client().await))
        .await
        .is_ok()
    {
        assert!(started.elapsed() < PATIENCE, "there is no room again");
        sleep(SHORT / 10).await;
    }
    second.write_all(b"x").await.expect("sent");
    assert_eq!(other.read_u8().await.expect("carried"), b'x');
}

/// Three connections by one endpoint, then those by another one.
#[tokio::test]
async fn an_endpoint_has_its_share_and_others_have_theirs() {
    let (target, dial) = listener().await;
    let number = AtomicUsize::new(0);
    let router = move |peer: SocketAddrV4, local: SocketAddrV4| {
        let endpoint = match number.fetch_add(1, Ordering::Relaxed) {
            0..3 => "vpc/first",
            _ => "vpc/second",
        };
        std::future::ready(Some(Route {
            source: peer,
            destination: local,
            endpoint_id: Some(endpoint.to_owned()),
            dial,
        }))
    };
    let limits = Limits {
        by_one_endpoint: 2,
        ..LIMITS
    };
    let relayed = Relayed::with(Arc::new(router), direct(), limits, target).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push((relayed.client().await, relayed.accepted().await));
    }
    assert_eq!(end(&mut relayed.client().await).await, End::Closed);
    let (_second, _target) = (relayed.client().await, relayed.accepted().await);
    drop(held);
}

#[tokio::test]
async fn when_it_is_stopped_connections_are_reset_and_nobody_is_accepted() {
    let relayed = Relayed::new(LIMITS).await;
    let (mut client, mut target) = relayed.connection().await;
    drop(relayed.stop);
    let ended = timeout(PATIENCE, relayed.task).await;
    ended.expect("in time").expect("no panic");
    assert_eq!(end(&mut client).await, End::Reset);
    assert_eq!(end(&mut target).await, End::Reset);
    let refused = TcpStream::connect(relayed.address).await;
    assert_eq!(
        refused.expect_err("refused").kind(),
        ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn connections_that_end_in_time_end_whole_when_it_is_stopped() {
    let mut relayed = Relayed::new(Limits {
        drain: PATIENCE,
        ..LIMITS
    })
    .await;
    let (mut client, mut target) = relayed.connection().await;
    relayed.stop.send(()).expect("it runs");
    assert!(timeout(SHORT, &mut relayed.task).await.is_err());
    client.write_all(b"x").await.expect("sent");
    assert_eq!(target.read_u8().await.expect("carried"), b'x');
    drop(client);
    assert_eq!(end(&mut target).await, End::Closed);
    drop(target);
    let ended = timeout(PATIENCE, relayed.task).await;
    ended.expect("in time").expect("no panic");
}

#[tokio::test]
async fn when_it_is_dropped_connections_are_reset() {
    let relayed = Relayed::new(LIMITS).await;
    let (mut client, mut target) = relayed.connection().await;
    relayed.task.abort();
    assert_eq!(end(&mut client).await, End::Reset);
    assert_eq!(end(&mut target).await, End::Reset);
}
