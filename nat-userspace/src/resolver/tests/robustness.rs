//! Whatever is sent: nothing panics, and no answer is longer than it may be.

use hickory_proto::{
    op::{Edns, Message},
    rr::{Name, RecordType},
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::server::{CONFIG, crowd, names, query};
use crate::{
    resolver::{
        Names,
        answer::{Decision, decide},
        message::{Asked, DATAGRAM_BYTES, Transport, said},
    },
    services::Who,
};

fn who() -> Who {
    Who {
        vpc: "main".to_owned(),
        private_ip: [10, 20, 1, 10].into(),
    }
}

fn check(bytes: &[u8], names: &Names) -> Result<(), TestCaseError> {
    for transport in [Transport::Udp, Transport::Tcp] {
        for who in [Some(&who()), None] {
            match decide(bytes, transport, names, who) {
                Decision::Ignore => {
                    let is_answer = bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
                    prop_assert!(bytes.len() < 12 || is_answer, "a query has an answer");
                }
                Decision::Answer(answer) => {
                    prop_assert!(bytes.len() >= 12 && answer.len() >= 12);
                    prop_assert_eq!(&answer[..2], &bytes[..2]);
                    prop_assert!(answer[2] & 0x80 != 0, "it is an answer");
                    let limit = allowed(bytes, transport);
                    prop_assert!(answer.len() <= limit, "{} of {limit}", answer.len());
                    prop_assert!(Message::from_vec(&answer).is_ok());
                }
                Decision::Forward(asked) => {
                    prop_assert!(who.is_some());
                    check_forwarded(&asked, bytes, transport)?;
                }
            }
        }
    }
    // What another server sends is read, too.
    let asked = query("example.com.", RecordType::A);
    let _ = said(bytes, &asked);
    Ok(())
}

fn check_forwarded(asked: &Asked, bytes: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    let onward = asked.onward();
    let length = onward.to_vec().map(|bytes| bytes.len());
    prop_assert!(length.is_ok_and(|length| length <= 512), "{:?}", onward);
    for length in [0, 12, 512, 513, 1232, 1233, 65_535] {
        let answer = asked.passed_on(onward.response_code, vec![0; length]);
        let limit = allowed(bytes, transport);
        prop_assert!(answer.is_none_or(|answer| answer.len() <= limit));
    }
    Ok(())
}

/// How long an answer may be, asked in the plainest way.
fn allowed(bytes: &[u8], transport: Transport) -> usize {
    if transport == Transport::Tcp {
        return usize::from(u16::MAX);
    }
    let edns = Message::from_vec(bytes)
        .ok()
        .and_then(|message| message.edns);
    let payload = edns.as_ref().map_or(512, Edns::max_payload);
    payload.clamp(512, DATAGRAM_BYTES).into()
}

fn any_query() -> impl Strategy<Value = Message> {
    const NAMES: &[&str] = &[
        "web.internal.",
        "x.internal.",
        "db.one.internal.",
        "internal.",
        ".",
        "example.com.",
        "crowd.example.net.",
        "10.1.20.10.in-addr.arpa.",
        "20.10.in-addr.arpa.",
    ];
    let edns = proptest::option::of((any::<u16>(), 0..2u8, any::<bool>()));
    let of_type = prop_oneof![Just(1u16), Just(255), Just(12), any::<u16>()];
    let flags = any::<(bool, bool)>();
    (prop::sample::select(NAMES), of_type, edns, flags).prop_map(
        |(text, of_type, edns, (recursion, strange))| {
            let mut message = query(text, RecordType::from(of_type));
            if strange {
                let labels = [&b"a\0b.\xff"[..], b"INTERNAL"];
                message.queries[0].set_name(Name::from_labels(labels).expect("a name"));
            }
            message.metadata.recursion_desired = recursion;
            message.edns = edns.map(|(payload, version, dnssec_ok)| {
                let mut edns = Edns::new();
                edns.set_max_payload(payload);
                edns.set_version(version);
                edns.set_dnssec_ok(dnssec_ok);
                edns
            });
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes, &names(CONFIG))?;
    }

    /// Most bytes are refused for their head, which is right here.
    #[test]
    fn any_bytes_behind_the_head_of_a_query_are_survived(
        counts in prop::collection::vec(0..3u8, 3),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let head = [1, 2, 1, 0, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        check(&[&head[..], &rest].concat(), &names(CONFIG))?;
    }

    #[test]
    fn mangled_queries_are_survived(
        query in any_query(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut bytes = query.to_vec().expect("a query");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes, &names(CONFIG))?;
    }

    #[test]
    fn answers_with_many_addresses_fit(query in any_query()) {
        check(&query.to_vec().expect("a query"), &names(&crowd(150)))?;
    }
}
