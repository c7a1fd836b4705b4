//! The bytes, written by hand: the library must not be right only with itself.

use super::server::{Server, WEB, receive, receive_framed, send_framed};

/// Id 0x1234, RD, one question.
const QUERY_HEAD: [u8; 12] = [0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const WEB_INTERNAL: &[u8] = b"\x03wEb\x08internal\0";
const OF_TYPE_A: [u8; 4] = [0, 1, 0, 1];

#[tokio::test]
async fn an_answer_is_what_the_standard_says() {
    let server = Server::new().await;
    let asked = [&QUERY_HEAD, WEB_INTERNAL, &OF_TYPE_A].concat();
    let expected = [
        // QR, AA, RD; RA and no error; one question, one answer.
        &[0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..],
        WEB_INTERNAL,
        &OF_TYPE_A,
        // The name by a pointer, type, class, TTL, length, address.
        &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 20, 1, 10],
    ]
    .concat();
    let socket = server.client(WEB).await;
    socket.send(&asked).await.expect("sent");
    assert_eq!(receive(&socket).await, Some(expected.clone()));
    let mut stream = server.connect(WEB).await;
    send_framed(&mut stream, &asked).await;
    assert_eq!(receive_framed(&mut stream).await, Some(expected));
}

#[tokio::test]
async fn nothing_is_said_as_the_standard_says() {
    let server = Server::new().await;
    let question = b"\x01x\x08internal\0\0\x1c\0\x01";
    let socket = server.client(WEB).await;
    socket
        .send(&[&QUERY_HEAD, &question[..]].concat())
        .await
        .expect("sent");
    let answer = receive(&socket).await.expect("an answer");
    // NXDOMAIN, and one record of the authority section.
    let head = [0x12, 0x34, 0x85, 0x83, 0, 1, 0, 0, 0, 1, 0, 0];
    assert_eq!(answer[..12], head);
    assert_eq!(&answer[12..12 + question.len()], question);
    let soa = &answer[12 + question.len()..];
    // `internal` by a pointer, SOA, IN, 60 s, 24 bytes; both names by pointers; the last number is 60.
    assert_eq!(soa[..12], [0xc0, 14, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24]);
    assert_eq!(
        (&soa[12..16], &soa[soa.len() - 4..]),
        (&[0xc0, 14, 0xc0, 14][..], &[0, 0, 0, 60][..])
    );
}

#[tokio::test]
async fn a_format_error_is_a_head_alone() {
    let server = Server::new().await;
    let socket = server.client(WEB).await;
    socket.send(&QUERY_HEAD).await.expect("sent");
    let expected = vec![0x12, 0x34, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(receive(&socket).await, Some(expected));
}
