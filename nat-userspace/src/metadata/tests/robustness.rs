//! Clients that are slow, loud or broken, while others want to be served.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    ID, PLAIN, Server, TOKEN, WEB, is_closed, receive, send,
    server::{NOBODY, NOT_LISTED, OTHER_WEB},
};
use crate::metadata::Limits;

const HASTY: Duration = Duration::from_millis(2500);

fn hasty() -> Limits {
    Limits {
        head: HASTY,
        connections_each: 4,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_head_of_a_megabyte_is_431_and_others_are_served() {
    let server = Server::new().await;
    let mut stream = server.connect(PLAIN).await;
    let head = format!("GET {ID} HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(1 << 20));
    // The server does not wait for its end.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    assert_eq!(server.get(PLAIN, ID).await.status, 200);
    assert_eq!(server.get(OTHER_WEB, ID).await.status, 200);
}

#[tokio::test]
async fn slow_heads_are_cut_off_and_others_are_served_meanwhile() {
    let server = Server::with(hasty(), 1).await;
    let started = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect(PLAIN).await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
        slow.push(stream);
    }
    // The instance has no more connections, others have.
    assert!(is_closed(&mut server.connect(PLAIN).await).await);
    for from in [WEB, OTHER_WEB, NOT_LISTED] {
        assert_ne!(server.get(from, "/").await.status, 503);
    }
    assert!(started.elapsed() < HASTY, "others were not kept waiting");
    // A letter now and then gives no more time.
    let trickle = async {
        for _ in 0..40 {
            tokio::time::sleep(HASTY / 8).await;
            if slow[0].write_all(b"x").await.is_err() {
                break;
            }
        }
    };
    trickle.await;
    assert!(started.elapsed() < HASTY * 4, "{:?}", started.elapsed());
    for stream in &mut slow {
        assert!(is_closed(stream).await);
    }
    assert_eq!(server.get(PLAIN, ID).await.status, 200);
}

#[tokio::test]
async fn a_connection_without_a_request_ends() {
    let server = Server::with(hasty(), 1).await;
    let mut silent = server.connect(PLAIN).await;
    let mut done = server.connect(PLAIN).await;
    send(&mut done, "GET", ID, &[]).await;
    assert_eq!(receive(&mut done).await.expect("an answer").status, 200);
    let started = Instant::now();
    assert!(is_closed(&mut silent).await && is_closed(&mut done).await);
    let elapsed = started.elapsed();
    assert!(elapsed > HASTY / 2 && elapsed < HASTY * 4, "{elapsed:?}");
}

#[tokio::test]
async fn a_connection_ends_after_its_time_however_busy_it_is() {
    let limits = Limits {
        connection: HASTY,
        requests_per_second: 1000,
        ..Limits::default()
    };
    let server = Server::with(limits, 1).await;
    let mut stream = server.connect(PLAIN).await;
    let started = Instant::now();
    let mut answers = 0;
    loop {
        tokio::time::sleep(HASTY / 20).await;
        let request = format!("GET {ID} HTTP/1.1\r\nHost: x\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() {
            break;
        }
        let Some(answer) = receive(&mut stream).await else {
            break;
        };
        assert_eq!(answer.status, 200);
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
    let server = Server::with(limits, 1).await;
    let mut open = Vec::new();
    for from in [PLAIN, PLAIN, WEB] {
        let mut stream = server.connect(from).await;
        send(&mut stream, "GET", "/", &[]).await;
        assert!(receive(&mut stream).await.is_some());
        open.push(stream);
    }
    assert!(is_closed(&mut server.connect(OTHER_WEB).await).await);
    assert!(is_closed(&mut server.connect(NOBODY).await).await);
    drop(open);
    // Until the server has seen that they are gone.
    let started = Instant::now();
    while is_closed_at_once(&server).await {
        assert!(started.elapsed() < Duration::from_secs(5), "no room again");
    }
}

async fn is_closed_at_once(server: &Server) -> bool {
    let mut stream = server.connect(OTHER_WEB).await;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.is_err() || receive(&mut stream).await.is_none()
}

#[tokio::test]
async fn the_body_of_a_put_is_neither_read_nor_waited_for() {
    let server = Server::new().await;
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    for length in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect(WEB).await;
        send(&mut stream, "PUT", TOKEN, &[ttl, length]).await;
        let answer = receive(&mut stream).await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, 80), "{length}");
        // What comes of it later is not taken for a request, and not for ever taken.
        let mut sent = 0;
        while sent < 1 << 26 && stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {
            sent += 1 << 16;
        }
        assert!(sent < 1 << 26, "{length}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_others_are_served() {
    let server = Server::new().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\x01: y\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = server.connect(PLAIN).await;
        stream.write_all(bytes).await.expect("sent");
        stream.shutdown().await.expect("ended");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 "), "{answer:?}");
    }
    assert_eq!(server.get(PLAIN, ID).await.status, 200);
}
