//! The names of interface endpoints.

use std::net::Ipv4Addr;

use hickory_proto::rr::{RData, RecordType};

use super::server::{name, names};
use crate::config::tests::ended;
use crate::resolver::{Found, Names};

const DB: [[u8; 4]; 2] = [[10, 20, 1, 50], [10, 40, 2, 50]];
const MAIL: [[u8; 4]; 1] = [[10, 40, 2, 51]];

/// The addresses of a name that the VPC has; `None`: it has none of this name.
fn addresses(names: &Names, vpc: &str, text: &str) -> Option<Vec<[u8; 4]>> {
    match names.find(vpc, &name(text), RecordType::A)? {
        Found::Name { data, .. } => Some(
            data.iter()
                .map(|data| match data {
                    RData::A(address) => address.0.octets(),
                    other => panic!("{other}"),
                })
                .collect(),
        ),
        Found::Nothing { .. } | Found::Foreign => None,
    }
}

fn pointer(names: &Names, vpc: &str, address: [u8; 4]) -> Option<String> {
    let [a, b, c, d] = address;
    let reverse = name(&format!("{d}.{c}.{b}.{a}.in-addr.arpa."));
    match names.find(vpc, &reverse, RecordType::PTR)? {
        Found::Name { data, .. } => data.first().map(ToString::to_string),
        Found::Nothing { .. } | Found::Foreign => None,
    }
}

#[test]
fn names_of_endpoints_lead_to_all_their_interfaces_in_their_vpc() {
    let names = names(&ended(&[]));
    for (text, expected) in [
        ("db.endpoint.internal.", &DB[..]),
        ("DB.Endpoint.Internal.", &DB[..]),
        ("db.example.com.", &DB[..]),
        ("db2.example.com.", &DB[..]),
        ("mail.endpoint.internal.", &MAIL[..]),
    ] {
        assert_eq!(
            addresses(&names, "main", text).as_deref(),
            Some(expected),
            "{text}"
        );
        assert_eq!(addresses(&names, "shared", text), None, "{text}");
    }
    // A gateway endpoint has no address.
    assert_eq!(
        addresses(&names, "main", "storage.endpoint.internal."),
        None
    );
    // What is above a name is there, too (RFC 8020).
    let above = addresses(&names, "main", "endpoint.internal.");
    assert_eq!(above, Some(Vec::new()));
    // Beside it is what the internet says.
    let beside = names.find("main", &name("www.example.com."), RecordType::A);
    assert_eq!(beside, Some(Found::Foreign));
}

#[test]
fn addresses_of_endpoints_lead_to_their_names() {
    let names = names(&ended(&[]));
    for address in DB {
        assert_eq!(
            pointer(&names, "main", address).as_deref(),
            Some("db.endpoint.internal.")
        );
    }
    assert_eq!(
        pointer(&names, "main", MAIL[0]).as_deref(),
        Some("mail.endpoint.internal.")
    );
    assert_eq!(pointer(&names, "main", [10, 40, 2, 52]), None);
}

#[test]
fn an_endpoint_that_is_not_available_has_no_names() {
    for edits in [
        [("accepted = [\"main/db\"]", "accepted = []")].as_slice(),
        &[
            ("accepted = [\"main/db\"]", "accepted = []"),
            ("rejected = [\"main/gone\"]", "rejected = [\"main/db\"]"),
        ],
    ] {
        let names = names(&ended(edits));
        assert_eq!(addresses(&names, "main", "db.endpoint.internal."), None);
        let foreign = names.find("main", &name("db.example.com."), RecordType::A);
        assert_eq!(foreign, Some(Found::Foreign));
        assert_eq!(pointer(&names, "main", DB[0]), None);
        let mail = addresses(&names, "main", "mail.endpoint.internal.");
        assert_eq!(mail.as_deref(), Some(&MAIL[..]));
    }
}

#[test]
fn the_name_of_an_endpoint_hides_that_of_an_instance() {
    let web = (
        "  private_ip = \"10.20.1.10\"\n",
        "  private_ip = \"10.20.1.10\"\n  hostname = \"db.example.com\"\n",
    );
    let names = names(&ended(&[web]));
    let found = addresses(&names, "main", "db.example.com.");
    assert_eq!(found.as_deref(), Some(&DB[..]));
    let other = addresses(&names, "main", "web.internal.");
    assert_eq!(other, Some(vec![Ipv4Addr::new(10, 20, 1, 10).octets()]));
}

#[test]
fn endpoints_are_below_the_private_domain_of_their_vpc() {
    let domain = (
        "internet_gateway = true\n",
        "internet_gateway = true\nprivate_domain = \"one.example.org\"\n",
    );
    let names = names(&ended(&[domain]));
    let found = addresses(&names, "main", "db.endpoint.one.example.org.");
    assert_eq!(found.as_deref(), Some(&DB[..]));
    assert_eq!(addresses(&names, "main", "db.endpoint.internal."), None);
}
