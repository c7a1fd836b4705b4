//! Names of addresses (RFC 1035 3.5): `10.1.20.10.in-addr.arpa` is about 10.20.1.10.

use std::{net::Ipv4Addr, str};

use hickory_proto::rr::Name;
use ipnet::Ipv4Net;

const SUFFIX: [&str; 2] = ["in-addr", "arpa"];

/// What a name below `in-addr.arpa` is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Reverse {
    /// The addresses that its numbers stand for; a /32 for all four.
    pub net: Ipv4Net,
    /// Nothing is in front of the numbers.
    pub is_whole: bool,
}

/// `None`: it is no such name.
pub fn read(name: &Name) -> Option<Reverse> {
    let mut labels = name.iter().rev();
    for expected in SUFFIX.iter().rev() {
        if !labels.next()?.eq_ignore_ascii_case(expected.as_bytes()) {
            return None;
        }
    }
    let mut labels = labels.peekable();
    let mut octets = [0; 4];
    let mut length = 0;
    for octet in &mut octets {
        let Some(number) = labels.peek().and_then(|label| number(label)) else {
            break;
        };
        *octet = number;
        length += 8;
        labels.next();
    }
    Some(Reverse {
        net: Ipv4Net::new(Ipv4Addr::from(octets), length).ok()?,
        is_whole: labels.next().is_none(),
    })
}

/// Of `name`, which is about addresses of a VPC's CIDR, the zone that says so: it ends where the CIDR's last
/// whole number does.
pub fn zone(name: &Name, cidr: &Ipv4Net) -> Name {
    name.trim_to(SUFFIX.len() + usize::from(cidr.prefix_len() / 8))
}

/// As it is written in such a name: `01` is none.
fn number(label: &[u8]) -> Option<u8> {
    let text = str::from_utf8(label).ok()?;
    let number: u8 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_their_end() {
        let read = |text: &str| {
            // Of any bytes, as they may come.
            let labels = text.split('.').filter(|label| !label.is_empty());
            let name = Name::from_labels(labels.map(str::as_bytes)).expect("a name");
            let found = read(&name)?;
            Some((found.net.to_string(), found.is_whole))
        };
        let net = |text: &str, is_whole| Some((text.to_owned(), is_whole));
        assert_eq!(read("10.1.20.10.in-addr.arpa."), net("10.20.1.10/32", true));
        assert_eq!(read("10.1.20.10.IN-ADDR.ARPA."), net("10.20.1.10/32", true));
        assert_eq!(
            read("x.10.1.20.10.in-addr.arpa."),
            net("10.20.1.10/32", false)
        );
        assert_eq!(read("20.10.in-addr.arpa."), net("10.20.0.0/16", true));
        for no_number in ["01", "256", "-1", "+1", "1x", "_"] {
            let name = format!("{no_number}.1.20.10.in-addr.arpa.");
            assert_eq!(read(&name), net("10.20.1.0/24", false), "{name}");
        }
        assert_eq!(read("in-addr.arpa."), net("0.0.0.0/0", true));
        for other in ["arpa.", "10.in-addr.arpa.net.", "1.ip6.arpa.", "."] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
