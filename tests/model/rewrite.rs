//! Puts another address and port into a packet, and into the one an ICMP error quotes.

use std::net::Ipv4Addr;

use crate::packets::{
    ChecksumState, ETHERNET_LEN, adjusted, be16, checksum_of, header_checksum_state, protocol,
    put16, transport_checksum, transport_checksum_state,
};

/// Which end of a packet changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

impl End {
    fn opposite(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// What one end of a packet becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub end: End,
    pub address: Ipv4Addr,
    /// Port or ICMP query id; `None` leaves what follows the IP header alone.
    pub port: Option<u16>,
}

/// The header fields that a router changes whatever it translates.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    /// The time to live becomes one less.
    HopLimit,
    /// The identification becomes this.
    Identification(u16),
}

/// `frame`, which must be a well-formed IPv4 packet, with a field of its header changed.
pub(super) fn rewrite_header(frame: &[u8], header: Header) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let ip = &mut frame[ETHERNET_LEN..];
    let before = ip.to_vec();
    match header {
        Header::HopLimit => ip[8] -= 1,
        Header::Identification(id) => put16(ip, 4, id),
    }
    update_header_checksum(&before, ip);
    frame
}

/// `frame`, which must be a well-formed IPv4 packet, with `change` made.
///
/// A checksum that was right is computed anew over everything it covers. One
/// that was wrong, or that belongs to a whole datagram of which this is the
/// first fragment, is off by as much as before: damage stays detectable.
pub(super) fn rewrite(frame: &[u8], change: Change) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let before = frame[ETHERNET_LEN..].to_vec();
    let ip = &mut frame[ETHERNET_LEN..];

    put_address(ip, change);
    let transport = Transport::of(ip);
    if let Some(port) = change.port {
        put16(ip, transport.port_field(change.end), port);
    }

    update_header_checksum(&before, ip);
    update_transport_checksum(&before, ip, transport);
    frame
}

/// `frame`, which must be an ICMP error with a whole inner IP header, with the
/// address of `change` in its header and `change` made at the other end of the
/// packet it quotes.
///
/// The ICMP checksum is computed anew over everything.
pub(super) fn rewrite_error(frame: &[u8], change: Change) -> Vec<u8> {
    let mut translated = rewrite(
        frame,
        Change {
            port: None,
            ..change
        },
    );
    let ip = &mut translated[ETHERNET_LEN..];
    let end = usize::from(be16(ip, 2));
    let icmp = Transport::of(ip).start;
    let inner = Change {
        end: change.end.opposite(),
        ..change
    };
    rewrite_quote(&mut ip[icmp + 8..end], inner);
    if let Some(checksum) = transport_checksum(ip) {
        put16(ip, icmp + 2, checksum);
    }
    translated
}

/// Makes `change` in a quoted packet. Its transport checksum, as far as it is
/// there, is of bytes that may not be there: right or wrong, it is adjusted.
fn rewrite_quote(quote: &mut [u8], change: Change) {
    let before = quote.to_vec();
    let transport = Transport::of(quote);
    put_address(quote, change);
    put16(quote, 10, 0);
    let checksum = checksum_of(&quote[..transport.start]);
    put16(quote, 10, checksum);
    let is_later_fragment = be16(quote, 6) & 0x1fff != 0;
    if is_later_fragment {
        return;
    }
    if let Some(port) = change.port {
        put16(quote, transport.port_field(change.end), port);
    }
    let whole_field = transport
        .checksum_field()
        .filter(|field| field + 2 <= quote.len());
    let Some(field) = whole_field else {
        return;
    };
    let (old, new) = (transport.covered(&before), transport.covered(quote));
    let is_absent = transport.protocol == protocol::UDP && be16(&before, field) == 0;
    if is_absent || old == new {
        return;
    }
    let checksum = adjusted(be16(&before, field), &old, &new);
    put16(quote, field, transport.as_sent(checksum));
}

fn put_address(ip: &mut [u8], change: Change) {
    let field = if change.end == End::Source { 12 } else { 16 };
    ip[field..field + 4].copy_from_slice(&change.address.octets());
}

/// Computes the header checksum of `ip`, which was `before`, anew, or leaves it off by as
/// much as it was.
pub(super) fn update_header_checksum(before: &[u8], ip: &mut [u8]) {
    let end = Transport::of(ip).start;
    let (old, new) = (words(before, 0..end), words(ip, 0..end));
    let checksum = match header_checksum_state(before) {
        ChecksumState::Right => {
            put16(ip, 10, 0);
            checksum_of(&ip[..end])
        }
        _ => adjusted(be16(before, 10), &old, &new),
    };
    put16(ip, 10, checksum);
}

fn update_transport_checksum(before: &[u8], ip: &mut [u8], transport: Transport) {
    let Some(field) = transport.checksum_field() else {
        return;
    };
    let old = transport.covered(before);
    let new = transport.covered(ip);
    let computed = match transport_checksum_state(before) {
        ChecksumState::Absent => return,
        _ if old == new => return,
        ChecksumState::Right => transport_checksum(ip),
        ChecksumState::Wrong { .. } | ChecksumState::Unverifiable => None,
    };
    let checksum = computed.unwrap_or_else(|| adjusted(be16(before, field), &old, &new));
    put16(ip, field, transport.as_sent(checksum));
}

/// Where the transport header is, and of what.
#[derive(Clone, Copy)]
struct Transport {
    start: usize,
    protocol: u8,
}

impl Transport {
    fn of(ip: &[u8]) -> Self {
        Self {
            start: usize::from(ip[0] & 0x0f) * 4,
            protocol: ip[9],
        }
    }

    fn port_field(self, end: End) -> usize {
        match (self.protocol, end) {
            (protocol::ICMP, _) => self.start + 4,
            (_, End::Source) => self.start,
            (_, End::Destination) => self.start + 2,
        }
    }

    fn checksum_field(self) -> Option<usize> {
        match self.protocol {
            protocol::TCP => Some(self.start + 16),
            protocol::UDP => Some(self.start + 6),
            protocol::ICMP => Some(self.start + 2),
            _ => None,
        }
    }

    /// RFC 768: a computed zero is sent as all ones.
    fn as_sent(self, checksum: u16) -> u16 {
        match checksum {
            0 if self.protocol == protocol::UDP => 0xffff,
            checksum => checksum,
        }
    }

    /// The words under the transport checksum that a translation may change:
    /// addresses and ports; of ICMP the query id alone.
    fn covered(self, ip: &[u8]) -> Vec<u16> {
        if self.protocol == protocol::ICMP {
            return words(ip, self.start + 4..self.start + 6);
        }
        let mut covered = words(ip, 12..20);
        covered.extend(words(ip, self.start..self.start + 4));
        covered
    }
}

/// The words of `range`, the IP header checksum left out.
fn words(ip: &[u8], range: std::ops::Range<usize>) -> Vec<u16> {
    range
        .step_by(2)
        .filter(|&offset| offset != 10)
        .map(|offset| be16(ip, offset))
        .collect()
}
