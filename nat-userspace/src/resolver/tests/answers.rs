//! What a VPC's hosts are told about its names.

use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType},
};

use super::server::{
    CONFIG, NOT_LISTED, OTHER_WEB, Server, UNANSWERED, WEB, addresses, client, crowd, exchange,
    name, names, plain_query, query,
};
use crate::resolver::{Found, MOST_ADDRESSES, TTL_SECONDS};

const WEB_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 10);

/// That something is not there, by an SOA of this zone.
#[track_caller]
fn assert_nothing(answer: &Message, code: ResponseCode, zone: &str) {
    assert_eq!(answer.response_code, code, "{answer}");
    assert!(
        answer.authoritative && answer.answers.is_empty(),
        "{answer}"
    );
    let [authority] = answer.authorities.as_slice() else {
        panic!("{answer}");
    };
    assert_eq!((&authority.name, authority.ttl), (&name(zone), TTL_SECONDS));
    let RData::SOA(soa) = &authority.data else {
        panic!("{answer}");
    };
    assert_eq!(soa.minimum, TTL_SECONDS);
}

#[tokio::test]
async fn names_of_instances_lead_to_their_private_addresses() {
    let server = Server::new().await;
    for (text, expected) in [
        ("ip-10-20-1-10.internal.", vec![WEB_ADDRESS]),
        ("web.internal.", vec![WEB_ADDRESS]),
        ("WEB.Internal.", vec![WEB_ADDRESS]),
        ("db.one.internal.", vec![[10, 40, 16, 9].into()]),
        (
            "db.example.net.",
            vec![[10, 40, 16, 9].into(), [10, 40, 16, 10].into()],
        ),
    ] {
        for from in [WEB, NOT_LISTED] {
            let answer = server.look_up(from, text, RecordType::A).await;
            assert_eq!(answer.response_code, ResponseCode::NoError, "{answer}");
            assert_eq!(addresses(&answer), expected, "{text}");
            assert!(answer.authoritative && answer.recursion_available && answer.recursion_desired);
            for record in &answer.answers {
                // As it was written.
                assert!(record.name.eq_case(&name(text)), "{answer}");
                assert_eq!(record.ttl, TTL_SECONDS);
            }
        }
    }
}

#[tokio::test]
async fn addresses_of_instances_lead_to_their_host_names() {
    let server = Server::new().await;
    for (text, expected) in [
        ("10.1.20.10.in-addr.arpa.", "ip-10-20-1-10.internal."),
        ("9.16.40.10.IN-ADDR.ARPA.", "db.example.net."),
    ] {
        let answer = server.look_up(WEB, text, RecordType::PTR).await;
        let [record] = answer.answers.as_slice() else {
            panic!("{answer}");
        };
        let RData::PTR(found) = &record.data else {
            panic!("{answer}");
        };
        assert_eq!(found.0, name(expected));
        assert!(answer.authoritative);
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_with_an_soa_of_its_zone() {
    let server = Server::new().await;
    let nothing = ResponseCode::NXDomain;
    let other_type = ResponseCode::NoError;
    for (text, of_type, code, zone) in [
        ("nope.internal.", RecordType::A, nothing, "internal."),
        ("a.web.internal.", RecordType::A, nothing, "internal."),
        (
            "ip-10-20-1-11.internal.",
            RecordType::AAAA,
            nothing,
            "internal.",
        ),
        ("web.internal.", RecordType::AAAA, other_type, "internal."),
        ("web.internal.", RecordType::SOA, other_type, "internal."),
        ("internal.", RecordType::NS, other_type, "internal."),
        // Only `db.one.internal` is there.
        ("one.internal.", RecordType::A, other_type, "internal."),
        (
            "db.example.net.",
            RecordType::MX,
            other_type,
            "db.example.net.",
        ),
        (
            "11.1.20.10.in-addr.arpa.",
            RecordType::PTR,
            nothing,
            "20.10.in-addr.arpa.",
        ),
        (
            "x.10.1.20.10.in-addr.arpa.",
            RecordType::PTR,
            nothing,
            "20.10.in-addr.arpa.",
        ),
        (
            "2.20.10.in-addr.arpa.",
            RecordType::PTR,
            nothing,
            "20.10.in-addr.arpa.",
        ),
        (
            "1.20.10.in-addr.arpa.",
            RecordType::PTR,
            other_type,
            "20.10.in-addr.arpa.",
        ),
        (
            "20.10.in-addr.arpa.",
            RecordType::NS,
            other_type,
            "20.10.in-addr.arpa.",
        ),
        (
            "10.1.20.10.in-addr.arpa.",
            RecordType::A,
            other_type,
            "20.10.in-addr.arpa.",
        ),
        (
            "1.31.40.10.in-addr.arpa.",
            RecordType::PTR,
            nothing,
            "40.10.in-addr.arpa.",
        ),
        (
            "31.40.10.in-addr.arpa.",
            RecordType::PTR,
            nothing,
            "40.10.in-addr.arpa.",
        ),
    ] {
        let answer = server.look_up(WEB, text, of_type).await;
        assert_nothing(&answer, code, zone);
    }
}

#[tokio::test]
async fn a_zone_has_an_soa() {
    let server = Server::new().await;
    for zone in ["internal.", "20.10.in-addr.arpa."] {
        let answer = server.look_up(WEB, zone, RecordType::SOA).await;
        let [record] = answer.answers.as_slice() else {
            panic!("{answer}");
        };
        assert!(matches!(&record.data, RData::SOA(_)) && record.name == name(zone));
    }
}

#[tokio::test]
async fn a_vpc_sees_its_own_names_only() {
    let server = Server::new().await;
    let dev = server
        .look_up(OTHER_WEB, "build_1.corp.example.org.", RecordType::A)
        .await;
    assert_eq!(addresses(&dev), [WEB_ADDRESS]);
    let unknown = ["web.internal.", "db.one.internal.", "db.example.net."];
    for text in unknown {
        let mut asked = query(text, RecordType::A);
        asked.metadata.recursion_desired = false;
        let answer = server.ask(OTHER_WEB, &asked).await;
        assert_eq!(answer.response_code, ResponseCode::Refused, "{answer}");
        assert!(!answer.authoritative && answer.answers.is_empty());
    }
    let answer = server
        .look_up(OTHER_WEB, "10.1.20.10.in-addr.arpa.", RecordType::PTR)
        .await;
    assert!(!answer.answers.is_empty());
    let other_address = "9.16.40.10.in-addr.arpa.";
    assert_eq!(
        names(CONFIG).find("dev", &name(other_address), RecordType::PTR),
        Some(Found::Foreign)
    );
}

#[test]
fn other_names_are_for_others_to_answer() {
    let names = names(CONFIG);
    for text in [
        ".",
        "example.net.",
        "www.db.example.net.",
        "internal.net.",
        "xinternal.",
        "10.in-addr.arpa.",
        "in-addr.arpa.",
        "1.21.10.in-addr.arpa.",
        "1.32.40.10.in-addr.arpa.",
        // The /20 says nothing about the whole /16.
        "40.10.in-addr.arpa.",
    ] {
        let found = names.find("main", &name(text), RecordType::A);
        assert_eq!(found, Some(Found::Foreign), "{text}");
    }
    // One label that looks like two.
    let single = Name::from_labels([&b"a.internal"[..]]).expect("a name");
    assert_eq!(
        names.find("main", &single, RecordType::A),
        Some(Found::Foreign)
    );
    for vpc in ["mute", "none"] {
        assert_eq!(names.find(vpc, &name("web.internal."), RecordType::A), None);
    }
}

/// What is one label of bytes is not taken for several.
#[test]
fn labels_with_dots_in_them_are_no_names_of_instances() {
    let names = names(CONFIG);
    for labels in [&[&b"db.one"[..], b"internal"][..], &[b"web\0", b"internal"]] {
        let name = Name::from_labels(labels.iter().copied()).expect("a name");
        let found = names.find("main", &name, RecordType::A);
        assert!(matches!(found, Some(Found::Nothing { .. })), "{name}");
    }
}

#[tokio::test]
async fn of_all_types_there_is_one_record_that_says_nothing() {
    let server = Server::new().await;
    let answer = server.look_up(WEB, "web.internal.", RecordType::ANY).await;
    let [record] = answer.answers.as_slice() else {
        panic!("{answer}");
    };
    let RData::HINFO(hinfo) = &record.data else {
        panic!("{answer}");
    };
    assert_eq!(&*hinfo.cpu, b"RFC8482");
    let nothing = server.look_up(WEB, "nope.internal.", RecordType::ANY).await;
    assert_nothing(&nothing, ResponseCode::NXDomain, "internal.");
}

#[tokio::test]
async fn without_recursion_own_names_are_answered_and_others_refused() {
    let server = Server::new().await;
    let mut own = query("web.internal.", RecordType::A);
    own.metadata.recursion_desired = false;
    let answer = server.ask(WEB, &own).await;
    assert_eq!(addresses(&answer), [WEB_ADDRESS]);
    assert!(!answer.recursion_desired);
    let mut other = query("example.com.", RecordType::A);
    other.metadata.recursion_desired = false;
    let answer = server.ask(WEB, &other).await;
    assert_eq!(answer.response_code, ResponseCode::Refused);
}

#[tokio::test]
async fn the_next_query_sees_what_has_changed() {
    let server = Server::new().await;
    assert_eq!(
        addresses(&server.look_up(WEB, "web.internal.", RecordType::A).await),
        [WEB_ADDRESS]
    );
    server.show(
        &CONFIG
            .replace("name = \"Web\"", "name = \"shop\"")
            .replace("dns = false", ""),
    );
    let gone = server.look_up(WEB, "web.internal.", RecordType::A).await;
    assert_nothing(&gone, ResponseCode::NXDomain, "internal.");
    let new = server.look_up(WEB, "shop.internal.", RecordType::A).await;
    assert_eq!(addresses(&new), [WEB_ADDRESS]);
    let answered = server
        .look_up(UNANSWERED, "web.internal.", RecordType::A)
        .await;
    assert_eq!(addresses(&answered), [WEB_ADDRESS]);
}

#[tokio::test]
async fn answers_leave_from_the_address_that_was_asked() {
    let server = Server::new().await;
    let socket = client(WEB, server.second_udp).await;
    let answer = exchange(&socket, &query("web.internal.", RecordType::A)).await;
    assert_eq!(addresses(&answer), [WEB_ADDRESS]);
}

#[tokio::test]
async fn what_does_not_fit_is_cut_off_and_whole_by_tcp() {
    let server = Server::new().await;
    server.show(&crowd(60));
    let asked = plain_query("crowd.example.net.", RecordType::A);
    let cut = server.ask(WEB, &asked).await;
    assert!(
        cut.truncation && cut.answers.is_empty() && cut.edns.is_none(),
        "{cut}"
    );
    assert_eq!(cut.queries, asked.queries);
    assert!(bytes_of(&cut) <= 512);
    let whole = server.ask_by_tcp(WEB, &asked).await;
    assert!(!whole.truncation);
    assert_eq!(addresses(&whole).len(), 60);
    let mut small = query("crowd.example.net.", RecordType::A);
    if let Some(edns) = &mut small.edns {
        edns.set_max_payload(900);
    }
    let cut = server.ask(WEB, &small).await;
    assert!(cut.truncation && cut.edns.is_some(), "{cut}");
    let with_edns = server
        .look_up(WEB, "crowd.example.net.", RecordType::A)
        .await;
    assert!(!with_edns.truncation && addresses(&with_edns).len() == 60);
}

#[tokio::test]
async fn a_name_leads_to_so_many_addresses_at_most_and_they_fit() {
    let server = Server::new().await;
    server.show(&crowd(150));
    let answer = server
        .look_up(WEB, "crowd.example.net.", RecordType::A)
        .await;
    assert!(!answer.truncation);
    assert_eq!(addresses(&answer).len(), MOST_ADDRESSES);
}

fn bytes_of(message: &Message) -> usize {
    message.to_vec().expect("a message").len()
}

#[tokio::test]
async fn edns_is_answered_with_edns_and_nothing_else_is() {
    let server = Server::new().await;
    let plain = server
        .ask(WEB, &plain_query("web.internal.", RecordType::A))
        .await;
    assert_eq!(plain.edns, None);
    for dnssec_ok in [false, true] {
        let mut asked = query("web.internal.", RecordType::A);
        if let Some(edns) = &mut asked.edns {
            edns.set_dnssec_ok(dnssec_ok);
        }
        let answer = server.ask(WEB, &asked).await;
        let edns = answer.edns.expect("EDNS");
        assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
        assert_eq!(edns.flags().dnssec_ok, dnssec_ok);
    }
}
