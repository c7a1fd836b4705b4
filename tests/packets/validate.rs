//! Every checksum of a frame recomputed in full, and what is wrong named.

use super::{
    ETHERNET_LEN, Ipv4, Network, Packet, Transport, be16, checksum, checksum_of, icmp_type,
    protocol, put16,
};

/// How a checksum field compares with full computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumState {
    /// As computed.
    Right,
    /// Not as computed. That includes the other representation of zero: 0xffff
    /// where computation gives 0x0000, except where [`may_be_zeros_alone`].
    Wrong {
        /// In the packet.
        found: u16,
        /// Computed.
        expected: u16,
    },
    /// UDP without a checksum, or a protocol that has none.
    Absent,
    /// Cannot be computed from this packet alone: a fragment, or a UDP length
    /// that does not fit.
    Unverifiable,
}

impl ChecksumState {
    fn compare(found: u16, expected: u16) -> Self {
        if found == expected {
            Self::Right
        } else {
            Self::Wrong { found, expected }
        }
    }

    fn complaint(self, what: &str) -> Option<String> {
        match self {
            Self::Wrong { found, expected } => Some(format!(
                "{what} checksum is {found:#06x}, computed {expected:#06x}"
            )),
            _ => None,
        }
    }
}

/// The header checksum of the IPv4 packet `ip`.
#[must_use]
pub fn header_checksum_state(ip: &[u8]) -> ChecksumState {
    let header_len = usize::from(ip.first().copied().unwrap_or(0) & 0x0f) * 4;
    let Some(header) = ip.get(..header_len).filter(|header| header.len() >= 20) else {
        return ChecksumState::Unverifiable;
    };
    let mut header = header.to_vec();
    let found = be16(&header, 10);
    put16(&mut header, 10, 0);
    ChecksumState::compare(found, checksum_of(&header))
}

/// The TCP, UDP or ICMP checksum of the IPv4 packet `ip`.
#[must_use]
pub fn transport_checksum_state(ip: &[u8]) -> ChecksumState {
    let Some((start, end)) = checksum::transport_bounds(ip) else {
        return ChecksumState::Unverifiable;
    };
    let is_later_fragment = be16(ip, 6) & 0x1fff != 0;
    let Some(field) = checksum::checksum_offset(ip[9]).filter(|_| !is_later_fragment) else {
        return ChecksumState::Absent;
    };
    if end - start < checksum::minimum_header(ip[9]) {
        return ChecksumState::Unverifiable;
    }
    let found = be16(ip, start + field);
    if ip[9] == protocol::UDP && found == 0 {
        return ChecksumState::Absent;
    }
    match checksum::transport_checksum(ip) {
        // Both zeros are right for a receiver, and this one also if all words are zero.
        Some(0) if found == 0xffff && may_be_zeros_alone(ip) => ChecksumState::Right,
        Some(expected) => ChecksumState::compare(found, expected),
        None => ChecksumState::Unverifiable,
    }
}

/// Whether the IPv4 packet `ip` is an ICMP echo with identifier 0. Of such a one, all words
/// but the checksum may be zero, which sums up to the other zero than words that cancel each
/// other out: a checksum of all ones is right for both (RFC 1071, 1).
#[must_use]
pub fn may_be_zeros_alone(ip: &[u8]) -> bool {
    let Some((start, end)) = checksum::transport_bounds(ip) else {
        return false;
    };
    let is_later_fragment = be16(ip, 6) & 0x1fff != 0;
    ip[9] == protocol::ICMP
        && !is_later_fragment
        && end - start >= checksum::minimum_header(protocol::ICMP)
        && matches!(ip[start], 0 | 8)
        && ip[start + 4..start + 6] == [0, 0]
}

/// What is wrong with the checksums of `frame`, by full recomputation: IP
/// header, TCP, UDP (0 is none), ICMP, the IP header quoted in an ICMP error
/// and its RFC 4884 extension. Empty when all is right.
///
/// The transport checksum of a fragment cannot be told from the fragment and is
/// not judged, nor is the one quoted in an ICMP error (RFC 5508 REQ-3c): for that
/// see [`translated_checksum_errors`].
#[must_use]
pub fn checksum_errors(frame: &[u8]) -> Vec<String> {
    let packet = match Packet::parse(frame) {
        Ok(packet) => packet,
        Err(error) => return vec![format!("not a packet: {error:?}")],
    };
    let Network::Ipv4(ip) = &packet.network else {
        return Vec::new();
    };
    let start = ETHERNET_LEN + if packet.ethernet.vlan.is_some() { 4 } else { 0 };
    let bytes = &frame[start..];
    let mut errors = Vec::new();
    errors.extend(header_checksum_state(bytes).complaint("IP header"));
    errors.extend(transport_checksum_state(bytes).complaint(transport_name(ip.protocol)));
    if let Transport::Udp(udp) = &ip.transport
        && !ip.is_fragment()
        && usize::from(udp.length) != udp.payload.len() + 8
    {
        let carried = udp.payload.len() + 8;
        errors.push(format!(
            "UDP length is {}, the IP packet carries {carried}",
            udp.length
        ));
    }
    errors.extend(quote_errors(ip));
    errors
}

/// [`checksum_errors`] of `after`, and what only a comparison can tell: that a
/// UDP checksum of `before` was lost, or made up where there was none, and that a
/// transport checksum was right in the complete quote of an ICMP error, and is not
/// any more.
#[must_use]
pub fn translated_checksum_errors(before: &[u8], after: &[u8]) -> Vec<String> {
    let mut errors = checksum_errors(after);
    if let (Some(before), Some(after)) = (udp_checksum(before), udp_checksum(after)) {
        if before != 0 && after == 0 {
            errors.push(format!(
                "UDP checksum {before:#06x} was lost: a computed 0 is 0xffff"
            ));
        }
        if before == 0 && after != 0 {
            errors.push(format!("UDP had no checksum, now it is {after:#06x}"));
        }
    }
    if let (Some(before), Some(after)) = (quoted_packet(before), quoted_packet(after)) {
        errors.extend(quoted_transport_error(&before, &after));
    }
    errors
}

/// What is wrong with the transport checksum that the packet `after` has, quoted
/// in an ICMP error, when it was the packet `before`.
fn quoted_transport_error(before: &[u8], after: &[u8]) -> Option<String> {
    let name = transport_name(before.get(9).copied()?);
    match (
        transport_checksum_state(before),
        transport_checksum_state(after),
    ) {
        (ChecksumState::Right, ChecksumState::Right)
        | (ChecksumState::Absent, ChecksumState::Absent)
        | (ChecksumState::Wrong { .. } | ChecksumState::Unverifiable, _) => None,
        (ChecksumState::Right, state @ ChecksumState::Wrong { .. }) => {
            state.complaint(&format!("quoted {name}"))
        }
        (ChecksumState::Right, _) => Some(format!("quoted {name} checksum was lost")),
        (ChecksumState::Absent, _) => {
            Some(format!("quoted {name} had no checksum, now it has one"))
        }
    }
}

/// What follows the header of an ICMP error that is not a fragment.
fn quoted_packet(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::parse(frame).ok()?;
    let ip = packet.ipv4().filter(|ip| !ip.is_fragment())?;
    match &ip.transport {
        Transport::Icmp(icmp) if icmp_type::is_error(icmp.icmp_type) => Some(icmp.payload.clone()),
        _ => None,
    }
}

fn quote_errors(ip: &Ipv4) -> Vec<String> {
    let Transport::Icmp(icmp) = &ip.transport else {
        return Vec::new();
    };
    if !icmp_type::is_error(icmp.icmp_type) || ip.is_fragment() {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if icmp.payload.first().is_some_and(|first| first >> 4 == 4) {
        errors.extend(header_checksum_state(&icmp.payload).complaint("quoted IP header"));
    }
    // RFC 4884: length in 32-bit words, in byte 5 of the ICMP header.
    let has_extension = matches!(
        icmp.icmp_type,
        icmp_type::UNREACHABLE | icmp_type::TIME_EXCEEDED | icmp_type::PARAMETER_PROBLEM
    ) && icmp.rest[1] != 0;
    let extension = icmp
        .payload
        .get(usize::from(icmp.rest[1]) * 4..)
        .unwrap_or_default();
    if has_extension && extension.len() >= 4 && be16(extension, 2) != 0 {
        let mut computed = extension.to_vec();
        put16(&mut computed, 2, 0);
        let state = ChecksumState::compare(be16(extension, 2), checksum_of(&computed));
        errors.extend(state.complaint("ICMP extension"));
    }
    errors
}

fn udp_checksum(frame: &[u8]) -> Option<u16> {
    match &Packet::parse(frame).ok()?.ipv4()?.transport {
        Transport::Udp(udp) => Some(udp.checksum),
        _ => None,
    }
}

fn transport_name(protocol: u8) -> &'static str {
    match protocol {
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::ICMP => "ICMP",
        _ => "transport",
    }
}
