//! Connections that end well, and those that would like to stay for ever.

use std::time::{Duration, Instant};

use hickory_proto::{op::Message, rr::RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::server::{
    NOBODY, OTHER_WEB, PATIENCE, Server, WEB, addresses, crowd, no_way, plain_query, query,
    receive_framed, send_framed,
};
use crate::resolver::{MOST_ADDRESSES, server::Limits};

const HASTY: Duration = Duration::from_millis(2000);

fn hasty() -> Limits {
    Limits {
        idle: HASTY,
        message: HASTY,
        connections_each: 3,
        ..Limits::default()
    }
}

fn asked() -> Vec<u8> {
    query("web.internal.", RecordType::A)
        .to_vec()
        .expect("a query")
}

#[tokio::test]
async fn many_queries_by_one_connection_are_answered_in_order() {
    let server = Server::new().await;
    let mut stream = server.connect(WEB).await;
    let names = ["web.internal.", "nope.internal.", "db.one.internal."];
    let queries = names.map(|name| plain_query(name, RecordType::A));
    for query in &queries {
        send_framed(&mut stream, &query.to_vec().expect("a query")).await;
    }
    for query in &queries {
        let bytes = receive_framed(&mut stream).await.expect("an answer");
        let answer = Message::from_vec(&bytes).expect("a message");
        assert_eq!((answer.id, &answer.queries), (query.id, &query.queries));
    }
}

#[tokio::test]
async fn a_query_may_come_in_pieces() {
    let server = Server::with(hasty(), no_way()).await;
    let mut stream = server.connect(WEB).await;
    let asked = asked();
    let bytes = [
        &[0, u8::try_from(asked.len()).expect("short")],
        asked.as_slice(),
    ]
    .concat();
    for piece in bytes.chunks(10) {
        stream.write_all(piece).await.expect("sent");
        stream.flush().await.expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(receive_framed(&mut stream).await.is_some());
}

#[tokio::test]
async fn a_connection_without_a_query_ends() {
    let server = Server::with(hasty(), no_way()).await;
    let mut silent = server.connect(WEB).await;
    let mut done = server.connect(WEB).await;
    send_framed(&mut done, &asked()).await;
    assert!(receive_framed(&mut done).await.is_some());
    let started = Instant::now();
    assert_eq!(receive_framed(&mut silent).await, None);
    assert_eq!(receive_framed(&mut done).await, None);
    let elapsed = started.elapsed();
    assert!(elapsed > HASTY / 2 && elapsed < HASTY * 4, "{elapsed:?}");
}

#[tokio::test]
async fn slow_senders_are_cut_off_and_others_are_served_meanwhile() {
    let server = Server::with(hasty(), no_way()).await;
    let started = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect(WEB).await;
        stream.write_all(&[1]).await.expect("sent");
        slow.push(stream);
    }
    // The instance has no more connections, others have, and it may ask by UDP.
    assert_eq!(receive_framed(&mut server.connect(WEB).await).await, None);
    let by_udp = server.look_up(WEB, "web.internal.", RecordType::A).await;
    assert!(!addresses(&by_udp).is_empty());
    for from in [OTHER_WEB, NOBODY] {
        server
            .ask_by_tcp(from, &plain_query("x.corp.example.org.", RecordType::A))
            .await;
    }
    assert!(started.elapsed() < HASTY, "others were not kept waiting");
    // A byte now and then gives no more time.
    for _ in 0..40 {
        tokio::time::sleep(HASTY / 8).await;
        if slow[0].write_all(&[0]).await.is_err() {
            break;
        }
    }
    assert!(started.elapsed() < HASTY * 4, "{:?}", started.elapsed());
    for stream in &mut slow {
        assert_eq!(receive_framed(stream).await, None);
    }
    assert!(
        !addresses(
            &server
                .ask_by_tcp(WEB, &query("web.internal.", RecordType::A))
                .await
        )
        .is_empty()
    );
}

#[tokio::test]
async fn a_query_that_is_too_long_ends_the_connection() {
    let server = Server::new().await;
    let mut stream = server.connect(WEB).await;
    let mut longest = asked();
    longest.resize(4096, 0);
    send_framed(&mut stream, &longest).await;
    assert!(receive_framed(&mut stream).await.is_some());
    let started = Instant::now();
    stream
        .write_all(&4097_u16.to_be_bytes())
        .await
        .expect("sent");
    assert_eq!(receive_framed(&mut stream).await, None);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_not_waited_for() {
    let limits = Limits {
        queries_per_second: u32::MAX,
        ..hasty()
    };
    let server = Server::with(limits, no_way()).await;
    // Long answers, so that they soon fill what the kernel has room for.
    server.show(&crowd(MOST_ADDRESSES));
    let asked = query("crowd.example.net.", RecordType::A);
    let asked = asked.to_vec().expect("a query");
    let mut stream = server.connect(WEB).await;
    let framed = [
        &[0, u8::try_from(asked.len()).expect("short")],
        asked.as_slice(),
    ]
    .concat();
    let flood = async {
        // The server stops reading when nobody takes its answers; then it ends the connection.
        while stream.write_all(&framed).await.is_ok() {}
    };
    let ended = tokio::time::timeout(PATIENCE, flood).await;
    assert!(ended.is_ok(), "it goes on");
}

#[tokio::test]
async fn a_connection_ends_after_its_time_however_busy_it_is() {
    let limits = Limits {
        connection: HASTY,
        ..Limits::default()
    };
    let server = Server::with(limits, no_way()).await;
    let mut stream = server.connect(WEB).await;
    let started = Instant::now();
    let mut answers = 0;
    loop {
        tokio::time::sleep(HASTY / 20).await;
        let asked = asked();
        let framed = [
            &[0, u8::try_from(asked.len()).expect("short")],
            asked.as_slice(),
        ]
        .concat();
        if stream.write_all(&framed).await.is_err() || receive_framed(&mut stream).await.is_none() {
            break;
        }
        answers += 1;
        assert!(started.elapsed() < HASTY * 8, "it goes on");
    }
    assert!(answers > 3 && started.elapsed() >= HASTY, "{answers}");
}

#[tokio::test]
async fn all_connections_together_are_limited() {
    let limits = Limits {
        connections: 3,
        connections_each: 2,
        ..Limits::default()
    };
    let server = Server::with(limits, no_way()).await;
    let mut open = Vec::new();
    for from in [WEB, WEB, OTHER_WEB] {
        let mut stream = server.connect(from).await;
        send_framed(&mut stream, &asked()).await;
        assert!(receive_framed(&mut stream).await.is_some());
        open.push(stream);
    }
    assert_eq!(
        receive_framed(&mut server.connect(NOBODY).await).await,
        None
    );
    drop(open);
    // Until the server has seen that they are gone.
    let started = Instant::now();
    loop {
        let mut stream = server.connect(NOBODY).await;
        let mut byte = [0];
        let refused = tokio::time::timeout(HASTY / 4, stream.read(&mut byte)).await;
        if refused.is_err() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "no room again");
    }
}

#[tokio::test]
async fn without_names_to_come_the_service_ends() {
    let mut server = Server::new().await;
    let mut stream = server.connect(WEB).await;
    server.names = None;
    assert_eq!(receive_framed(&mut stream).await, None);
    let ended = tokio::time::timeout(HASTY * 4, &mut server.task).await;
    assert!(ended.expect("in time").expect("no panic").is_ok());
}
