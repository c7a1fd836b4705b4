//! The Internet checksum (RFC 1071), always summed over all bytes.

use super::{be16, protocol, put16};

/// One's complement sum of `bytes` as big-endian words, an odd last byte
/// padded with zero, carries folded in. Not inverted.
#[must_use]
pub fn folded_sum(bytes: &[u8]) -> u16 {
    let sum = bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    fold(sum)
}

/// The checksum of `bytes`: the inverted sum. A checksum field inside `bytes`
/// must hold zero for the result to be the value to write there.
#[must_use]
pub fn checksum_of(bytes: &[u8]) -> u16 {
    !folded_sum(bytes)
}

/// A checksum after the words `old` it covers became `new`: RFC 1624, equation 3.
///
/// Only for packets whose checksum cannot be computed from their own bytes: the
/// first fragment of a datagram, and those that were wrong before.
#[must_use]
pub fn adjusted(checksum: u16, old: &[u16], new: &[u16]) -> u16 {
    let removed: u64 = old.iter().map(|&word| u64::from(!word)).sum();
    let added: u64 = new.iter().map(|&word| u64::from(word)).sum();
    !fold(u64::from(!checksum) + removed + added)
}

/// The TCP or UDP checksum of the IPv4 packet `ip` by full computation over
/// pseudo-header and segment, as the value to write: a UDP result of zero is
/// given as 0xffff (RFC 768). For ICMP the checksum over the message alone.
///
/// `None` when there is none to compute: another protocol, a fragment, headers
/// that do not fit, a UDP length that does not fit.
#[must_use]
pub fn transport_checksum(ip: &[u8]) -> Option<u16> {
    let (start, end) = transport_bounds(ip)?;
    let is_fragment = be16(ip, 6) & 0x3fff != 0;
    if is_fragment {
        return None;
    }
    let protocol = ip[9];
    let mut covered = ip[start..end].to_vec();
    let field = checksum_offset(protocol)?;
    if covered.len() < minimum_header(protocol) {
        return None;
    }
    put16(&mut covered, field, 0);
    if protocol == protocol::ICMP {
        return Some(checksum_of(&covered));
    }
    if protocol == protocol::UDP {
        let length = usize::from(be16(&covered, 4));
        if length < 8 || length > covered.len() {
            return None;
        }
        covered.truncate(length);
    }
    let length = u16::try_from(covered.len()).ok()?;
    let mut bytes = ip[12..20].to_vec();
    bytes.extend([0, protocol]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(covered);
    match (protocol, checksum_of(&bytes)) {
        (protocol::UDP, 0) => Some(0xffff),
        (_, checksum) => Some(checksum),
    }
}

/// Writes IP header checksum and transport checksum into the IPv4 packet `ip`,
/// as far as they can be computed from it. A UDP checksum is written even where
/// there was none. Does nothing to what has no whole IP header.
pub fn fill_checksums(ip: &mut [u8]) {
    let Some((start, _)) = transport_bounds(ip) else {
        return;
    };
    put16(ip, 10, 0);
    let header = checksum_of(&ip[..start]);
    put16(ip, 10, header);
    if let (Some(checksum), Some(field)) = (transport_checksum(ip), checksum_offset(ip[9])) {
        put16(ip, start + field, checksum);
    }
}

/// Where the checksum sits in the header of `protocol`.
pub(super) fn checksum_offset(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        protocol::ICMP => Some(2),
        _ => None,
    }
}

/// Bytes the header of `protocol` has at least.
pub(super) fn minimum_header(protocol: u8) -> usize {
    match protocol {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMP => 8,
        _ => 0,
    }
}

/// Start and end of what follows the IP header, by IHL and total length.
pub(super) fn transport_bounds(ip: &[u8]) -> Option<(usize, usize)> {
    let start = usize::from(ip.first()? & 0x0f) * 4;
    let end = usize::from(be16(ip, 2));
    (start >= 20 && start <= end && end <= ip.len()).then_some((start, end))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
