//! Puts another address and port into a packet.

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

/// What one end of a packet becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub end: End,
    pub address: Ipv4Addr,
    /// Port or ICMP query id; `None` leaves what follows the IP header alone.
    pub port: Option<u16>,
}

/// `frame`, which must be a well-formed IPv4 packet, with `change` made and the
/// time to live counted down.
///
/// A checksum that was right is computed anew over everything it covers. One
/// that was wrong, or that belongs to a whole datagram of which this is the
/// first fragment, is off by as much as before: damage stays detectable.
pub(super) fn rewrite(frame: &[u8], change: Change) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let before = frame[ETHERNET_LEN..].to_vec();
    let ip = &mut frame[ETHERNET_LEN..];

    let address_at = if change.end == End::Source { 12 } else { 16 };
    ip[address_at..address_at + 4].copy_from_slice(&change.address.octets());
    ip[8] -= 1;
    let transport = Transport::of(ip);
    if let Some(port) = change.port {
        put16(ip, transport.port_field(change.end), port);
    }

    let header = words(&before, 0..transport.start);
    let changed = words(ip, 0..transport.start);
    let checksum = match header_checksum_state(&before) {
        ChecksumState::Right => {
            put16(ip, 10, 0);
            checksum_of(&ip[..transport.start])
        }
        _ => adjusted(be16(&before, 10), &header, &changed),
    };
    put16(ip, 10, checksum);
    update_transport_checksum(&before, ip, transport);
    frame
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
    let checksum = match computed.unwrap_or_else(|| adjusted(be16(before, field), &old, &new)) {
        // RFC 768: a computed zero is sent as all ones.
        0 if transport.protocol == protocol::UDP => 0xffff,
        checksum => checksum,
    };
    put16(ip, field, checksum);
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
