//! Packets whose checksum has a chosen value: one payload word, or the IP
//! identification, is solved for it.

use super::addresses::{NAT_PUBLIC, PRIVATE_A};
use super::fixtures::{Rows, echo, syn, tcp, udp};
use super::{PacketBuilder, be16, checksum, checksum_of, folded_sum, put16};

/// `builder` with a two-byte payload that gives its TCP, UDP or ICMP checksum
/// the value `wanted`. A computed 0 is 0xffff in UDP and 0x0000 elsewhere.
///
/// # Panics
/// When no payload does: 0xffff outside UDP, or a protocol without checksum.
#[must_use]
#[track_caller]
pub fn with_transport_checksum(builder: &PacketBuilder, wanted: u16) -> PacketBuilder {
    let checksum = |builder: &PacketBuilder| {
        let ip = builder.build_ip();
        let field = checksum::checksum_offset(ip[9]).expect("a protocol with a checksum");
        be16(&ip, usize::from(ip[0] & 0x0f) * 4 + field)
    };
    let solved = builder
        .clone()
        .payload(&solve(checksum(&builder.clone().payload(&[0, 0])), wanted));
    assert_eq!(checksum(&solved), wanted, "no payload gives this checksum");
    solved
}

/// `builder` with the IP identification that gives its header checksum the
/// value `wanted`.
///
/// # Panics
/// When `wanted` is 0xffff, which no header sums up to.
#[must_use]
#[track_caller]
pub fn with_header_checksum(builder: &PacketBuilder, wanted: u16) -> PacketBuilder {
    let checksum = |builder: &PacketBuilder| be16(&builder.build_ip(), 10);
    let word = solve(checksum(&builder.clone().id(0)), wanted);
    let solved = builder.clone().id(u16::from_be_bytes(word));
    assert_eq!(
        checksum(&solved),
        wanted,
        "no identification gives this checksum"
    );
    solved
}

/// Where an incremental update meets 0x0000 and 0xffff.
pub(super) fn corner_rows() -> Rows {
    let before = |builder: PacketBuilder, value| with_transport_checksum(&builder, value).build();
    let after = |builder: PacketBuilder, value| {
        let translated = builder.clone().source(NAT_PUBLIC);
        with_transport_checksum(&translated, value)
            .source(PRIVATE_A)
            .build()
    };
    let header_after = |value| {
        let translated = udp().source(NAT_PUBLIC).ttl(63);
        with_header_checksum(&translated, value)
            .source(PRIVATE_A)
            .ttl(64)
            .build()
    };
    vec![
        ("tcp_checksum_0000_before", before(tcp(), 0x0000)),
        ("tcp_checksum_0001_before", before(tcp(), 0x0001)),
        ("tcp_checksum_fffe_before", before(tcp(), 0xfffe)),
        ("tcp_checksum_0000_after", after(syn(), 0x0000)),
        ("tcp_checksum_0001_after", after(syn(), 0x0001)),
        ("tcp_checksum_fffe_after", after(syn(), 0xfffe)),
        ("udp_checksum_ffff_before", before(udp(), 0xffff)),
        ("udp_checksum_0001_before", before(udp(), 0x0001)),
        ("udp_checksum_fffe_before", before(udp(), 0xfffe)),
        ("udp_checksum_ffff_after", after(udp(), 0xffff)),
        ("udp_checksum_0001_after", after(udp(), 0x0001)),
        ("udp_checksum_fffe_after", after(udp(), 0xfffe)),
        ("icmp_checksum_0000_before", before(echo(), 0x0000)),
        ("icmp_checksum_0001_before", before(echo(), 0x0001)),
        ("icmp_checksum_fffe_before", before(echo(), 0xfffe)),
        (
            "ip_checksum_0000_before",
            with_header_checksum(&udp(), 0x0000).build(),
        ),
        (
            "ip_checksum_0001_before",
            with_header_checksum(&udp(), 0x0001).build(),
        ),
        (
            "ip_checksum_fffe_before",
            with_header_checksum(&udp(), 0xfffe).build(),
        ),
        ("ip_checksum_0000_after", header_after(0x0000)),
        ("ip_checksum_0001_after", header_after(0x0001)),
        ("ip_checksum_fffe_after", header_after(0xfffe)),
    ]
}

/// `frame` with a right TCP or ICMP checksum of 0x0000 written as 0xffff, the
/// other zero: receivers take it, full computation never gives it.
pub(super) fn with_other_zero(mut frame: Vec<u8>, field: usize) -> Vec<u8> {
    assert_eq!(
        be16(&frame, field),
        0,
        "only a zero has another representation"
    );
    put16(&mut frame, field, 0xffff);
    frame
}

/// The word that, put where a zero word was, turns `checksum` into `wanted`.
fn solve(checksum: u16, wanted: u16) -> [u8; 2] {
    // One's complement: sum + word = wanted sum, so word = wanted sum - sum.
    let words = [!wanted, checksum].map(u16::to_be_bytes).concat();
    debug_assert_eq!(folded_sum(&words), !checksum_of(&words));
    folded_sum(&words).to_be_bytes()
}
