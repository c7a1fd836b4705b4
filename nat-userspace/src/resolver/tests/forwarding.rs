//! Names that others know.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, RecordType, rdata::opt::EdnsOption},
};

use super::{
    server::{
        CONFIG, NOT_LISTED, OTHER_WEB, PATIENCE, SILENCE, Server, WEB, addresses, exchange, no_way,
        plain_query, query, receive,
    },
    upstream::{Got, Replies, Upstream, answer, bytes},
};
use crate::resolver::{forward::Way, message::Transport, server::Limits};

const NAME: &str = "www.example.com.";

fn way(upstream: &Upstream) -> Way {
    Way {
        port: upstream.port,
        ..no_way()
    }
}

async fn server(upstream: &Upstream) -> Server {
    Server::with(Limits::default(), way(upstream)).await
}

fn one(got: &Got) -> Replies {
    vec![bytes(&answer(got, 1))]
}

fn silent(_: &Got) -> Replies {
    Vec::new()
}

/// The configuration with these forwarders, by their last bytes.
fn forwarders(last: &[u8]) -> String {
    let list: Vec<_> = last
        .iter()
        .map(|last| format!("\"127.0.0.{last}\""))
        .collect();
    CONFIG.replace("\"127.0.0.1\"", &list.join(", "))
}

#[tokio::test]
async fn what_a_forwarder_says_is_passed_on_unchanged() {
    // With a record of a type that nobody knows, and one that the library would write in another way.
    let upstream = Upstream::new(|got| {
        let mut reply = answer(got, 2);
        reply.edns = None;
        let mut bytes = bytes(&reply);
        bytes[7] += 1;
        bytes.extend(b"\x03wWw\x07example\x03com\0\xff\x01\0\x01\0\0\0\x07\0\x03abc");
        vec![bytes]
    })
    .await;
    let server = server(&upstream).await;
    let asked = plain_query("wWw.example.com.", RecordType::A);
    let socket = server.client(WEB).await;
    socket
        .send(&asked.to_vec().expect("a query"))
        .await
        .expect("sent");
    let got_back = receive(&socket).await.expect("an answer");
    let got = upstream.got();
    let [got] = got.as_slice() else {
        panic!("{got:?}");
    };
    assert_eq!(got_back[..2], asked.id.to_be_bytes());
    let mut expected = answer(got, 2);
    expected.edns = None;
    let expected = bytes(&expected);
    assert_eq!(got_back[8..expected.len()], expected[8..]);
    assert!(got_back.ends_with(b"abc"));
    assert!(got.message.recursion_desired && got.message.edns.is_none());
    assert!(
        got.message.queries[0]
            .name()
            .eq_case(asked.queries[0].name())
    );
}

#[tokio::test]
async fn forwarders_are_asked_with_edns_when_the_client_has_it_and_without_its_options() {
    let upstream = Upstream::new(one).await;
    let server = server(&upstream).await;
    let mut asked = query(NAME, RecordType::A);
    asked.metadata.checking_disabled = true;
    asked.metadata.authentic_data = true;
    if let Some(edns) = &mut asked.edns {
        edns.set_dnssec_ok(true);
        edns.options_mut()
            .insert(EdnsOption::Unknown(10, vec![7; 8]));
    }
    let answer = server.ask(WEB, &asked).await;
    assert_eq!(addresses(&answer).len(), 1);
    let got = upstream.got().remove(0).message;
    let edns = got.edns.as_ref().expect("EDNS");
    assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
    assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());
    assert!(got.checking_disabled && got.authentic_data);
}

#[tokio::test]
async fn names_that_forwarders_do_not_know_are_unknown() {
    let upstream = Upstream::new(|got| {
        let mut reply = answer(got, 0);
        reply.metadata.response_code = ResponseCode::NXDomain;
        vec![bytes(&reply)]
    })
    .await;
    let server = server(&upstream).await;
    let answer = server.look_up(WEB, NAME, RecordType::A).await;
    assert_eq!(answer.response_code, ResponseCode::NXDomain);
    assert!(!answer.authoritative);
    assert_eq!(upstream.got().len(), 1);
}

#[tokio::test]
async fn own_names_are_never_forwarded() {
    let upstream = Upstream::new(one).await;
    let server = server(&upstream).await;
    for text in ["web.internal.", "nope.internal.", "9.9.20.10.in-addr.arpa."] {
        server.look_up(WEB, text, RecordType::A).await;
    }
    assert!(upstream.got().is_empty());
    server
        .look_up(OTHER_WEB, "web.internal.", RecordType::A)
        .await;
    assert_eq!(upstream.got().len(), 1);
}

#[tokio::test]
async fn what_is_cut_off_is_asked_for_by_tcp() {
    let upstream = Upstream::new(|got| {
        let mut reply = answer(got, 200);
        if got.transport == Transport::Udp {
            reply = reply.truncate();
        }
        vec![bytes(&reply)]
    })
    .await;
    let server = server(&upstream).await;
    let asked = query(NAME, RecordType::A);
    let whole = server.ask_by_tcp(WEB, &asked).await;
    assert_eq!(addresses(&whole).len(), 200);
    let transports: Vec<_> = upstream.got().iter().map(|got| got.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
    // It does not fit into a datagram here either.
    for asked in [asked, plain_query(NAME, RecordType::A)] {
        let cut = server.ask(WEB, &asked).await;
        assert!(cut.truncation && cut.answers.is_empty(), "{cut}");
        assert_eq!(cut.edns.is_some(), asked.edns.is_some());
    }
}

#[tokio::test]
async fn what_one_server_cuts_off_may_fit_here() {
    let upstream = Upstream::new(|got| {
        let mut reply = answer(got, 3);
        if got.transport == Transport::Udp {
            reply = reply.truncate();
        }
        vec![bytes(&reply)]
    })
    .await;
    let server = server(&upstream).await;
    let answer = server.look_up(WEB, NAME, RecordType::A).await;
    assert!(!answer.truncation && addresses(&answer).len() == 3);
}

#[tokio::test]
async fn the_next_forwarder_is_asked_and_remembered() {
    let first = Upstream::new(silent).await;
    let second = Upstream::at(2, first.port, Arc::new(one))
        .await
        .expect("a port");
    let server = server(&first).await;
    server.show(&forwarders(&[1, 2]));
    let started = Instant::now();
    let answer = server.look_up(WEB, NAME, RecordType::A).await;
    assert_eq!(addresses(&answer).len(), 1);
    assert!(started.elapsed() >= SILENCE);
    assert_eq!((first.got().len(), second.got().len()), (1, 1));
    let started = Instant::now();
    server.look_up(WEB, NAME, RecordType::A).await;
    assert!(started.elapsed() < SILENCE);
    assert_eq!((first.got().len(), second.got().len()), (1, 2));
}

#[tokio::test]
async fn a_forwarder_that_fails_or_refuses_is_as_good_as_silent() {
    for code in [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::NotImp,
    ] {
        let failing = move |got: &Got| {
            let mut reply = answer(got, 0);
            reply.metadata.response_code = code;
            vec![bytes(&reply)]
        };
        let first = Upstream::new(failing).await;
        let second = Upstream::at(2, first.port, Arc::new(one))
            .await
            .expect("a port");
        let server = server(&first).await;
        server.show(&forwarders(&[1, 2]));
        let found = server.look_up(WEB, NAME, RecordType::A).await;
        assert_eq!(addresses(&found).len(), 1);
        drop(second);
        server.show(&forwarders(&[1]));
        let failed = server.look_up(WEB, NAME, RecordType::A).await;
        assert_eq!(failed.response_code, ResponseCode::ServFail, "{code}");
    }
}

#[tokio::test]
async fn when_all_are_silent_it_is_a_failure_in_time() {
    let upstream = Upstream::new(silent).await;
    let server = server(&upstream).await;
    let started = Instant::now();
    let answer = server.look_up(WEB, NAME, RecordType::A).await;
    assert_eq!(answer.response_code, ResponseCode::ServFail);
    assert!(answer.recursion_available && answer.edns.is_some());
    let elapsed = started.elapsed();
    assert!(elapsed >= SILENCE && elapsed < SILENCE * 3, "{elapsed:?}");
    assert_eq!(upstream.got().len(), 2, "it is asked once more");
    // And by a connection as well.
    let by_tcp = server.ask_by_tcp(WEB, &query(NAME, RecordType::A)).await;
    assert_eq!(by_tcp.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn answers_to_something_else_are_not_taken() {
    let upstream = Upstream::new(|got| {
        let right = answer(got, 1);
        let wrong = || answer(got, 9);
        let mut other_id = wrong();
        other_id.metadata.id = other_id.id.wrapping_add(1);
        let mut other_name = wrong();
        other_name.queries[0].set_name(super::server::name("www.example.org."));
        let mut other_type = wrong();
        other_type.queries[0].set_query_type(RecordType::AAAA);
        let mut no_question = wrong();
        no_question.queries.clear();
        let mut a_query = wrong();
        a_query.metadata.message_type = hickory_proto::op::MessageType::Query;
        let all = [
            other_id,
            other_name,
            other_type,
            no_question,
            a_query,
            right,
        ];
        let mut all: Vec<_> = all.iter().map(bytes).collect();
        all.insert(0, vec![1, 2, 3]);
        all
    })
    .await;
    let server = server(&upstream).await;
    let answer = server.look_up(WEB, NAME, RecordType::A).await;
    assert_eq!(addresses(&answer).len(), 1, "{answer}");
}

#[tokio::test]
async fn ids_and_ports_of_forwarded_queries_are_different_ones() {
    const COUNT: usize = 20;
    let upstream = Upstream::new(one).await;
    let server = server(&upstream).await;
    let socket = server.client(WEB).await;
    let asked = query(NAME, RecordType::A);
    for _ in 0..COUNT {
        exchange(&socket, &asked).await;
    }
    let got = upstream.got();
    let ids: BTreeSet<u16> = got.iter().map(|got| got.message.id).collect();
    let ports: BTreeSet<u16> = got.iter().map(|got| got.from.port()).collect();
    assert!(ids.len() > COUNT - 3 && ports.len() > COUNT - 3, "{got:?}");
    let mut ports: Vec<u16> = got.iter().map(|got| got.from.port()).collect();
    ports.dedup_by(|later, earlier| later.wrapping_sub(*earlier) < 3);
    assert!(ports.len() > COUNT / 2, "no sequence: {ports:?}");
}

/// How many queries at once were let through to a forwarder that says nothing.
async fn failed_at_once(server: &Server, from: u8, count: usize) -> usize {
    let socket = server.client(from).await;
    let asked = query(NAME, RecordType::A).to_vec().expect("a query");
    let started = Instant::now();
    for _ in 0..count {
        socket.send(&asked).await.expect("sent");
    }
    let mut at_once = 0;
    while let Some(bytes) = super::server::receive_within(&socket, SILENCE / 2).await {
        let answer = Message::from_vec(&bytes).expect("a message");
        assert_eq!(answer.response_code, ResponseCode::ServFail);
        if started.elapsed() < SILENCE {
            at_once += 1;
        }
    }
    at_once
}

#[tokio::test]
async fn forwarded_queries_at_once_are_limited_for_each_and_for_all() {
    let upstream = Upstream::new(silent).await;
    let limits = Limits {
        forwards: 6,
        forwards_each: 4,
        ..Limits::default()
    };
    let patient = Way {
        attempt: PATIENCE,
        all: PATIENCE,
        ..way(&upstream)
    };
    let server = Server::with(limits, patient).await;
    assert_eq!(failed_at_once(&server, WEB, 10).await, 6);
    assert_eq!(failed_at_once(&server, NOT_LISTED, 10).await, 8);
    assert_eq!(failed_at_once(&server, OTHER_WEB, 10).await, 10);
    assert_eq!(upstream.got().len(), 6);
    // Own names take no such place.
    let own = server.look_up(WEB, "web.internal.", RecordType::A).await;
    assert_eq!(addresses(&own).len(), 1);
}

#[tokio::test]
async fn places_of_forwarded_queries_are_free_again() {
    let upstream = Upstream::new(one).await;
    let limits = Limits {
        forwards: 1,
        ..Limits::default()
    };
    let server = Server::with(limits, way(&upstream)).await;
    for _ in 0..5 {
        let answer = server.look_up(WEB, NAME, RecordType::A).await;
        assert_eq!(answer.response_code, ResponseCode::NoError);
        // It is freed behind the answer.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_servers_of_the_host_are_asked_when_none_are_named() {
    let first = Upstream::new(one).await;
    let second = Upstream::at(2, first.port, Arc::new(one))
        .await
        .expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let resolv_conf = folder.path().join("resolv.conf");
    fs::write(&resolv_conf, "nameserver 127.0.0.2\n").expect("written");
    let way = Way {
        resolv_conf: resolv_conf.clone(),
        ..way(&first)
    };
    let server = Server::with(Limits::default(), way).await;
    server.show(&CONFIG.replace("dns_forwarders = [\"127.0.0.1\"]", ""));
    let answer = server.look_up(WEB, NAME, RecordType::A).await;
    assert_eq!(addresses(&answer).len(), 1);
    assert_eq!((first.got().len(), second.got().len()), (0, 1));
    fs::write(&resolv_conf, "nameserver 127.0.0.1\n# changed\n").expect("written");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.look_up(WEB, NAME, RecordType::A).await;
    assert_eq!((first.got().len(), second.got().len()), (1, 1));
}

#[tokio::test]
async fn an_answer_keeps_its_records() {
    let upstream = Upstream::new(one).await;
    let server = server(&upstream).await;
    let answer = server.look_up(NOT_LISTED, NAME, RecordType::A).await;
    assert_eq!(answer.answers[0].ttl, 7);
    assert!(matches!(answer.answers[0].data, RData::A(_)));
}
