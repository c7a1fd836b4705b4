//! Single checks, of targets that are well, slow, loud or broken.

use std::{
    io,
    net::SocketAddrV4,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::sleep,
};

use super::{PATIENCE, direct, nowhere, target};
use crate::balancer::{
    Dial,
    health::{Check, Failure, Kind, Thresholds, perform},
};

const SHORT: Duration = Duration::from_millis(1500);

fn check(address: SocketAddrV4, kind: Kind, timeout: Duration) -> Check {
    Check {
        id: 1,
        address,
        kind,
        interval: Duration::from_secs(10),
        timeout,
        thresholds: Thresholds {
            healthy: 1,
            unhealthy: 1,
        },
    }
}

fn http() -> Kind {
    Kind::Http {
        path: "/health?deep=1".to_owned(),
    }
}

async fn ask(address: SocketAddrV4, timeout: Duration) -> Result<(), Failure> {
    perform(&check(address, http(), timeout), direct().as_ref()).await
}

/// Reads the head of a request.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("text")
}

/// A target that says this to whoever has asked.
async fn saying(what: String) -> SocketAddrV4 {
    let what: Arc<str> = what.into();
    target(move |mut stream| {
        let what = Arc::clone(&what);
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(what.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn answers_of_200_to_399_are_well() {
    for status in [200, 204, 299, 301, 399] {
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let outcome = ask(saying(head).await, PATIENCE).await;
        assert!(outcome.is_ok(), "{status}: {outcome:?}");
    }
    for status in [101, 400, 404, 500, 503, 999] {
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let outcome = ask(saying(head).await, PATIENCE).await;
        assert!(
            matches!(&outcome, Err(Failure::Status(s)) if s.as_u16() == status),
            "{status}: {outcome:?}"
        );
    }
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.0 200 OK\r\n\r\nwell";
    assert!(ask(saying(early.to_owned()).await, PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_request_says_what_is_asked_for_and_by_whom() {
    let (heads, mut asked) = mpsc::unbounded_channel();
    let address = target(move |mut stream| {
        let heads = heads.clone();
        async move {
            let _ = heads.send(request(&mut stream).await);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    })
    .await;
    ask(address, PATIENCE).await.expect("well");
    let head = asked.recv().await.expect("a request").to_lowercase();
    assert!(
        head.starts_with("get /health?deep=1 http/1.1\r\n"),
        "{head}"
    );
    for line in [
        format!("host: {address}"),
        "connection: close".to_owned(),
        format!(
            "user-agent: nat-health-checker/{}",
            env!("CARGO_PKG_VERSION")
        ),
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let silent = target(async |stream: TcpStream| {
        sleep(PATIENCE).await;
        drop(stream);
    })
    .await;
    let tcp =
        async |address| perform(&check(address, Kind::Tcp, PATIENCE), direct().as_ref()).await;
    tcp(silent).await.expect("well");
    let refused = tcp(nowhere().await).await.expect_err("refused");
    assert!(matches!(&refused, Failure::Connect(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(
        text.starts_with("no connection: Connection refused"),
        "{text}"
    );
}

#[tokio::test]
async fn silence_and_a_letter_now_and_then_are_no_answer() {
    let silent = target(async |stream: TcpStream| {
        sleep(PATIENCE).await;
        drop(stream);
    })
    .await;
    let slow = target(async |mut stream: TcpStream| {
        request(&mut stream).await;
        for byte in "HTTP/1.1 200 OK\r\nX-Long: "
            .bytes()
            .chain(std::iter::repeat(b'x'))
        {
            if stream.write_u8(byte).await.is_err() {
                return;
            }
            sleep(SHORT / 20).await;
        }
    })
    .await;
    for address in [silent, slow] {
        let started = Instant::now();
        let failure = ask(address, SHORT).await.expect_err("too slow");
        assert!(
            matches!(failure, Failure::AnswerTimeout(SHORT)),
            "{failure:?}"
        );
        assert_eq!(failure.to_string(), "no answer within 1.5s");
        assert!(started.elapsed() >= SHORT);
    }
}

#[tokio::test]
async fn what_is_no_answer_fails_without_waiting() {
    let endless = target(async |mut stream: TcpStream| {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let reset = target(async |mut stream: TcpStream| {
        request(&mut stream).await;
        stream.set_zero_linger().expect("set");
    })
    .await;
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(2000));
    for (what, address) in [
        ("an endless head", endless),
        ("a huge header", saying(huge).await),
        ("many headers", saying(many).await),
        ("a reset", reset),
        ("the end", saying(String::new()).await),
        (
            "half a head",
            saying("HTTP/1.1 200 OK\r\nX".to_owned()).await,
        ),
        ("something else", saying("SSH-2.0-x\r\n".to_owned()).await),
        (
            "no number",
            saying("HTTP/1.1 2x0 OK\r\n\r\n".to_owned()).await,
        ),
    ] {
        let outcome = ask(address, PATIENCE).await;
        let Err(failure @ Failure::Answer(_)) = outcome else {
            panic!("{what}: {outcome:?}");
        };
        let text = failure.to_string();
        assert!(text.starts_with("no HTTP answer: "), "{what}: {text}");
        assert!(
            what != "a reset" || text.contains("reset by peer"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_body_does_not_matter_however_long_it_is() {
    let endless = target(async |mut stream: TcpStream| {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let never = target(async |mut stream: TcpStream| {
        request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        let _ = stream.write_all(head).await;
        sleep(PATIENCE).await;
    })
    .await;
    for address in [endless, never] {
        ask(address, PATIENCE).await.expect("well");
    }
}

#[tokio::test]
async fn what_is_no_path_is_told() {
    let address = target(async |stream: TcpStream| drop(stream)).await;
    let kind = Kind::Http {
        path: "not a path".to_owned(),
    };
    let outcome = perform(&check(address, kind, PATIENCE), direct().as_ref()).await;
    let text = outcome.expect_err("no path").to_string();
    assert!(
        text.starts_with("nothing can be asked for as `not a path`: "),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_can_not_be_dialled_in_time_is_not_waited_for() {
    let never = |_: SocketAddrV4| std::future::pending::<io::Result<TcpStream>>();
    let check = check(
        SocketAddrV4::new([127, 0, 0, 1].into(), 1),
        http(),
        PATIENCE,
    );
    let dial: &dyn Dial = &never;
    let failure = perform(&check, dial).await.expect_err("no connection");
    assert!(matches!(failure, Failure::ConnectTimeout(PATIENCE)));
    assert_eq!(failure.to_string(), "no connection within 20s");
}
