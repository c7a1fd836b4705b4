//! Who gets nothing, and what is no query.

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{DNSClass, RecordType},
};

use super::server::{
    NOBODY, NOT_TO_BE_TOLD, SILENCE, Server, UNANSWERED, WEB, addresses, exchange, plain_query,
    query, receive, receive_framed, receive_within, send_framed,
};
use crate::resolver::server::Limits;

#[tokio::test]
async fn whom_nobody_knows_is_refused_whatever_the_question() {
    let server = Server::new().await;
    for from in [NOBODY, UNANSWERED] {
        for text in ["web.internal.", "example.com.", "10.1.20.10.in-addr.arpa."] {
            let asked = query(text, RecordType::A);
            for answer in [
                server.ask(from, &asked).await,
                server.ask_by_tcp(from, &asked).await,
            ] {
                assert_eq!(answer.response_code, ResponseCode::Refused, "{answer}");
                assert!(answer.all_sections().next().is_none());
            }
        }
    }
}

#[tokio::test]
async fn who_can_not_be_told_now_gets_nothing() {
    let server = Server::new().await;
    let socket = server.client(NOT_TO_BE_TOLD).await;
    let asked = query("web.internal.", RecordType::A)
        .to_vec()
        .expect("a query");
    socket.send(&asked).await.expect("sent");
    assert_eq!(receive_within(&socket, SILENCE).await, None);
    let mut stream = server.connect(NOT_TO_BE_TOLD).await;
    assert_eq!(receive_framed(&mut stream).await, None);
    let answer = server.look_up(WEB, "web.internal.", RecordType::A).await;
    assert_eq!(answer.response_code, ResponseCode::NoError);
}

#[tokio::test]
async fn classes_and_types_that_names_do_not_have_are_refused() {
    let server = Server::new().await;
    for (class, of_type) in [
        (DNSClass::CH, RecordType::TXT),
        (DNSClass::ANY, RecordType::A),
        (DNSClass::IN, RecordType::AXFR),
        (DNSClass::IN, RecordType::IXFR),
        (DNSClass::IN, RecordType::OPT),
        (DNSClass::IN, RecordType::from(253)),
    ] {
        let mut asked = plain_query("web.internal.", of_type);
        asked.queries[0].set_query_class(class);
        let answer = server.ask(WEB, &asked).await;
        assert_eq!(answer.response_code, ResponseCode::Refused, "{answer}");
        assert!(answer.answers.is_empty());
    }
}

#[tokio::test]
async fn other_operations_are_not_implemented() {
    let server = Server::new().await;
    for op_code in [
        OpCode::Status,
        OpCode::Notify,
        OpCode::Update,
        OpCode::Unknown(9),
    ] {
        let mut asked = plain_query("web.internal.", RecordType::A);
        asked.metadata.op_code = op_code;
        let answer = server.ask(WEB, &asked).await;
        assert_eq!(
            (answer.response_code, answer.op_code),
            (ResponseCode::NotImp, op_code)
        );
    }
}

#[tokio::test]
async fn another_version_of_edns_is_refused_by_its_own_code() {
    let server = Server::new().await;
    let mut asked = query("web.internal.", RecordType::A);
    if let Some(edns) = &mut asked.edns {
        edns.set_version(1);
    }
    let answer = server.ask(WEB, &asked).await;
    assert_eq!(u16::from(answer.response_code), 16, "{answer}");
    assert!(answer.answers.is_empty());
    assert_eq!(answer.edns.expect("EDNS").version(), 0);
}

#[tokio::test]
async fn queries_that_can_not_be_read_are_format_errors() {
    let server = Server::new().await;
    let valid = query("web.internal.", RecordType::A)
        .to_vec()
        .expect("a query");
    let mut two = plain_query("web.internal.", RecordType::A);
    two.add_query(two.queries[0].clone());
    let none = {
        let mut message = plain_query("web.internal.", RecordType::A);
        message.queries.clear();
        message
    };
    // A name that points to itself, behind a head with one question.
    let mut endless = valid[..12].to_vec();
    endless[11] = 0;
    endless.extend([0xc0, 12, 0, 1, 0, 1]);
    let mut many = valid.clone();
    many[4..6].copy_from_slice(&[0xff, 0xff]);
    for bytes in [
        valid[..valid.len() - 1].to_vec(),
        valid[..14].to_vec(),
        valid[..12].to_vec(),
        two.to_vec().expect("a query"),
        none.to_vec().expect("a query"),
        endless,
        many,
    ] {
        let socket = server.client(WEB).await;
        socket.send(&bytes).await.expect("sent");
        let answer = receive(&socket).await.expect("an answer");
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!(answer.response_code, ResponseCode::FormErr, "{bytes:?}");
        assert_eq!(answer.id.to_be_bytes(), bytes[..2]);
    }
}

#[tokio::test]
async fn answers_and_what_has_no_head_are_not_answered() {
    let server = Server::new().await;
    let mut answer = plain_query("web.internal.", RecordType::A).into_response();
    answer.metadata.response_code = ResponseCode::FormErr;
    let answer = answer.to_vec().expect("a message");
    let socket = server.client(WEB).await;
    for bytes in [&answer[..], &answer[..11], b""] {
        socket.send(bytes).await.expect("sent");
        assert_eq!(receive_within(&socket, SILENCE).await, None, "{bytes:?}");
    }
    let asked = query("web.internal.", RecordType::A);
    assert!(!addresses(&exchange(&socket, &asked).await).is_empty());
}

#[tokio::test]
async fn who_asks_too_often_gets_no_answers_and_others_do() {
    let limits = Limits {
        queries_per_second: 20,
        ..Limits::default()
    };
    let server = Server::with(limits, super::server::no_way()).await;
    let socket = server.client(WEB).await;
    let asked = query("web.internal.", RecordType::A)
        .to_vec()
        .expect("a query");
    for _ in 0..100 {
        socket.send(&asked).await.expect("sent");
    }
    let mut answers = 0;
    while receive_within(&socket, SILENCE).await.is_some() {
        answers += 1;
    }
    assert!((20..40).contains(&answers), "{answers}");
    let from_another = server.look_up(NOBODY, "web.internal.", RecordType::A).await;
    assert_eq!(from_another.response_code, ResponseCode::Refused);
    // It counts by whatever way they come.
    for _ in 0..60 {
        socket.send(&asked).await.expect("sent");
    }
    let mut stream = server.connect(WEB).await;
    let mut answered = 0;
    for _ in 0..100 {
        send_framed_if_open(&mut stream, &asked).await;
        if receive_framed(&mut stream).await.is_none() {
            break;
        }
        answered += 1;
    }
    assert!(answered < 40, "{answered}");
}

async fn send_framed_if_open(stream: &mut tokio::net::TcpStream, message: &[u8]) {
    use tokio::io::AsyncWriteExt as _;
    let length = u16::try_from(message.len()).expect("not too long");
    let _ = stream
        .write_all(&[&length.to_be_bytes(), message].concat())
        .await;
}

#[tokio::test]
async fn a_query_with_padding_and_other_options_is_answered() {
    let server = Server::new().await;
    // Cookie and padding, in front of an OPT record by hand.
    let mut bytes = plain_query("web.internal.", RecordType::A)
        .to_vec()
        .expect("a query");
    bytes[11] = 1;
    bytes.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0]);
    let options = [&[0, 10, 0, 8][..], &[7; 8], &[0, 12, 0, 200], &[0; 200]].concat();
    bytes.extend(u16::try_from(options.len()).expect("few").to_be_bytes());
    bytes.extend(options);
    let mut stream = server.connect(WEB).await;
    send_framed(&mut stream, &bytes).await;
    let answer = receive_framed(&mut stream).await.expect("an answer");
    let answer = Message::from_vec(&answer).expect("a message");
    assert_eq!(addresses(&answer).len(), 1);
    assert!(answer.edns.expect("EDNS").options().as_ref().is_empty());
}
