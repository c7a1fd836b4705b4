//! Named packets worth trying on anything that reads or rewrites packets.
//!
//! Well-formed ones go from a private host to a server, and ICMP errors the other
//! way as well (`quote_rows.rs`); "after" in a name means after the source became
//! the NAT gateway's address, ports kept.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::addresses::{PRIVATE_A, SERVER};
use super::corner::{with_other_zero, with_transport_checksum};
use super::{
    PacketBuilder, be16, corner, fragments_of, icmp_type, malformed, protocol, quote_rows,
    tcp_flags,
};

/// A packet with a name.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// What it is, in snake case.
    pub name: &'static str,
    /// What a NAT may make of it.
    pub kind: FixtureKind,
    /// The Ethernet frame.
    pub frame: Vec<u8>,
}

/// How good a [`Fixture`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixtureKind {
    /// Everything is right.
    Good,
    /// Parses, but a checksum or an inner length is not what it should be.
    Damaged,
    /// Headers lie or are cut: not to be forwarded.
    Malformed,
}

/// All fixtures; names are unique.
#[must_use]
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    all.extend(rows(FixtureKind::Good, tcp_rows()));
    all.extend(rows(FixtureKind::Good, udp_rows()));
    all.extend(rows(FixtureKind::Good, icmp_rows()));
    all.extend(rows(FixtureKind::Good, ip_rows()));
    all.extend(rows(FixtureKind::Good, corner::corner_rows()));
    all.extend(rows(FixtureKind::Good, quote_rows::quote_rows()));
    all.extend(rows(FixtureKind::Damaged, damaged_rows()));
    all.extend(rows(FixtureKind::Damaged, quote_rows::damaged_quote_rows()));
    all.extend(rows(FixtureKind::Malformed, malformed::malformed_rows()));
    all
}

/// Names with frames, before they get their kind.
pub(super) type Rows = Vec<(&'static str, Vec<u8>)>;

fn rows(kind: FixtureKind, rows: Rows) -> impl Iterator<Item = Fixture> {
    rows.into_iter()
        .map(move |(name, frame)| Fixture { name, kind, frame })
}

pub(super) fn tcp() -> PacketBuilder {
    PacketBuilder::tcp(client(40_001), server(443))
}

pub(super) fn syn() -> PacketBuilder {
    tcp().flags(tcp_flags::SYN)
}

pub(super) fn udp() -> PacketBuilder {
    PacketBuilder::udp(client(40_001), server(53))
}

pub(super) fn echo() -> PacketBuilder {
    PacketBuilder::echo_request(PRIVATE_A, SERVER, 4001, 1)
}

fn client(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(PRIVATE_A, port)
}

fn server(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(SERVER, port)
}

fn tcp_rows() -> Rows {
    // MSS 1460, SACK permitted, timestamps, NOP, window scale 7: what Linux sends.
    let linux_options = [
        2, 4, 5, 0xb4, 4, 2, 8, 10, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    vec![
        ("tcp_syn", syn().build()),
        (
            "tcp_syn_linux_options",
            syn().tcp_options(&linux_options).build(),
        ),
        (
            "tcp_syn_options_40_bytes",
            syn().tcp_options(&[1; 40]).build(),
        ),
        ("tcp_syn_with_payload", syn().payload_len(11).build()),
        (
            "tcp_syn_ack",
            tcp().flags(tcp_flags::SYN | tcp_flags::ACK).build(),
        ),
        ("tcp_ack", tcp().build()),
        (
            "tcp_fin_ack",
            tcp().flags(tcp_flags::FIN | tcp_flags::ACK).build(),
        ),
        ("tcp_rst", tcp().flags(tcp_flags::RST).build()),
        ("tcp_no_flags", tcp().flags(0).build()),
        ("tcp_all_flags", tcp().flags(0xff).build()),
        ("tcp_payload_1", tcp().payload_len(1).build()),
        ("tcp_payload_2", tcp().payload_len(2).build()),
        ("tcp_payload_1447", tcp().payload_len(1447).build()),
        ("tcp_payload_1460", tcp().payload_len(1460).build()),
        (
            "tcp_options_odd_payload",
            tcp()
                .tcp_options(&linux_options[6..17])
                .payload_len(13)
                .build(),
        ),
        ("tcp_padded_to_60", tcp().padded().build()),
        (
            "tcp_source_port_0",
            PacketBuilder::tcp(client(0), server(443)).flags(2).build(),
        ),
        (
            "tcp_source_port_80",
            PacketBuilder::tcp(client(80), server(443)).flags(2).build(),
        ),
        (
            "tcp_source_port_65535",
            PacketBuilder::tcp(client(65_535), server(443))
                .flags(2)
                .build(),
        ),
    ]
}

fn udp_rows() -> Rows {
    vec![
        ("udp_empty", udp().build()),
        ("udp_empty_padded_to_60", udp().padded().build()),
        ("udp_payload_1", udp().payload_len(1).build()),
        (
            "udp_payload_1_padded_to_60",
            udp().payload_len(1).padded().build(),
        ),
        ("udp_payload_511", udp().payload_len(511).build()),
        ("udp_payload_1472", udp().payload_len(1472).build()),
        (
            "udp_no_checksum",
            udp().payload_len(32).without_udp_checksum().build(),
        ),
        (
            "udp_no_checksum_odd",
            udp().payload_len(33).without_udp_checksum().build(),
        ),
        (
            "udp_no_checksum_empty",
            udp().without_udp_checksum().build(),
        ),
        ("udp_payload_zeros", udp().payload(&[0; 64]).build()),
        ("udp_payload_ones", udp().payload(&[0xff; 64]).build()),
        (
            "udp_trailer_not_zero",
            udp().payload_len(3).trailer(&[0xaa; 9]).build(),
        ),
    ]
}

fn icmp_rows() -> Rows {
    let quoted = PacketBuilder::udp(server(53), client(40_001))
        .payload_len(600)
        .ttl(1)
        .build();
    let with_options = PacketBuilder::udp(server(53), client(40_001))
        .ip_options(&[7, 7, 4, 0, 0, 0, 0])
        .build();
    let error = |code| PacketBuilder::icmp(PRIVATE_A, SERVER, icmp_type::UNREACHABLE, code);
    vec![
        ("icmp_echo_request", echo().payload_len(56).build()),
        ("icmp_echo_request_empty", echo().build()),
        ("icmp_echo_request_odd", echo().payload_len(57).build()),
        ("icmp_echo_request_1472", echo().payload_len(1472).build()),
        (
            "icmp_echo_request_padded_to_60",
            echo().payload_len(3).padded().build(),
        ),
        (
            "icmp_echo_id_0",
            PacketBuilder::echo_request(PRIVATE_A, SERVER, 0, 0).build(),
        ),
        (
            "icmp_echo_id_65535",
            PacketBuilder::echo_request(PRIVATE_A, SERVER, 65_535, 1).build(),
        ),
        (
            "icmp_echo_reply",
            PacketBuilder::echo_reply(PRIVATE_A, SERVER, 4001, 1).build(),
        ),
        (
            "icmp_timestamp",
            PacketBuilder::icmp(PRIVATE_A, SERVER, 13, 0)
                .payload_len(12)
                .build(),
        ),
        (
            "icmp_port_unreachable",
            error(3).quoting(&quoted, Some(28)).build(),
        ),
        ("icmp_unreachable_quote_0", error(3).build()),
        (
            "icmp_unreachable_quote_19",
            error(3).quoting(&quoted, Some(19)).build(),
        ),
        (
            "icmp_unreachable_quote_20",
            error(3).quoting(&quoted, Some(20)).build(),
        ),
        (
            "icmp_unreachable_quote_548",
            error(3).quoting(&quoted, Some(548)).build(),
        ),
        (
            "icmp_unreachable_quote_options",
            error(3).quoting(&with_options, Some(36)).build(),
        ),
        (
            "icmp_frag_needed",
            error(4)
                .next_hop_mtu(1280)
                .quoting(&quoted, Some(28))
                .build(),
        ),
        (
            "icmp_time_exceeded_extension",
            PacketBuilder::icmp(PRIVATE_A, SERVER, icmp_type::TIME_EXCEEDED, 0)
                .quoting(&quoted, Some(128))
                // One MPLS label stack object (RFC 4950).
                .extension(&[0, 8, 1, 1, 0, 1, 0x41, 0xff])
                .build(),
        ),
    ]
}

fn ip_rows() -> Rows {
    let whole_udp = udp().payload_len(2001).build();
    let udp_pieces = fragments_of(&whole_udp, 1480);
    let tcp_pieces = fragments_of(&tcp().payload_len(100).build(), 64);
    let ping_pieces = fragments_of(&echo().payload_len(99).build(), 80);
    let with = |ttl| tcp().ttl(ttl).build();
    vec![
        ("ip_ttl_0", with(0)),
        ("ip_ttl_1", with(1)),
        ("ip_ttl_2", with(2)),
        ("ip_ttl_255", with(255)),
        ("ip_tos_ff", syn().tos(0xff).build()),
        ("ip_dont_fragment", syn().dont_fragment().build()),
        ("ip_id_0", syn().id(0).build()),
        ("ip_id_65535", syn().id(65_535).build()),
        ("ip_options_4", syn().ip_options(&[1; 4]).build()),
        (
            "ip_options_40_tcp",
            syn().ip_options(&[1; 40]).payload_len(5).build(),
        ),
        (
            "ip_options_40_udp",
            udp().ip_options(&[1; 40]).payload_len(5).build(),
        ),
        (
            "ip_options_20_icmp",
            echo().ip_options(&[1; 20]).payload_len(5).build(),
        ),
        (
            "ip_options_record_route",
            udp()
                .ip_options(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0])
                .build(),
        ),
        ("ip_fragment_udp_first", udp_pieces[0].clone()),
        ("ip_fragment_udp_last", udp_pieces[1].clone()),
        (
            "ip_fragment_udp_last_padded",
            udp().fragment(1480, false).padded().build(),
        ),
        ("ip_fragment_tcp_first", tcp_pieces[0].clone()),
        ("ip_fragment_tcp_last", tcp_pieces[1].clone()),
        ("ip_fragment_icmp_first", ping_pieces[0].clone()),
        ("ip_fragment_icmp_last", ping_pieces[1].clone()),
        (
            "ip_gre",
            ip(protocol::GRE).payload(&[0, 0, 8, 0, 1, 2, 3]).build(),
        ),
        (
            "ip_gre_padded_to_60",
            ip(protocol::GRE).payload(&[0, 0, 8, 0]).padded().build(),
        ),
        ("ip_esp", ip(protocol::ESP).payload_len(40).build()),
        ("ip_protocol_255_empty", ip(255).build()),
        (
            "ip_to_broadcast",
            udp().destination(Ipv4Addr::BROADCAST).build(),
        ),
        (
            "ip_to_multicast",
            udp().destination(Ipv4Addr::new(224, 0, 0, 251)).build(),
        ),
        ("vlan_tagged_tcp", syn().vlan(7).build()),
    ]
}

fn ip(protocol: u8) -> PacketBuilder {
    PacketBuilder::ip(PRIVATE_A, SERVER, protocol)
}

fn damaged_rows() -> Rows {
    let tcp_zero = with_transport_checksum(&syn(), 0x0000).build();
    let icmp_zero = with_transport_checksum(&echo(), 0x0000).build();
    debug_assert_eq!(be16(&tcp_zero, 50), 0);
    vec![
        (
            "tcp_checksum_wrong",
            syn().break_transport_checksum().build(),
        ),
        ("tcp_checksum_other_zero", with_other_zero(tcp_zero, 50)),
        (
            "udp_checksum_wrong",
            udp().payload_len(9).break_transport_checksum().build(),
        ),
        (
            "udp_length_below_8",
            udp().payload_len(9).udp_length(7).build(),
        ),
        (
            "udp_length_too_long",
            udp().payload_len(9).udp_length(18).build(),
        ),
        (
            "udp_length_short_of_packet",
            udp().payload_len(9).udp_length(12).build(),
        ),
        (
            "icmp_checksum_wrong",
            echo().payload_len(9).break_transport_checksum().build(),
        ),
        ("icmp_checksum_other_zero", with_other_zero(icmp_zero, 36)),
        (
            "ip_checksum_wrong",
            udp().payload_len(9).break_ip_checksum().build(),
        ),
        (
            "icmp_unreachable_quote_bad_checksum",
            PacketBuilder::icmp(PRIVATE_A, SERVER, icmp_type::UNREACHABLE, 1)
                .quoting(&udp().break_ip_checksum().build(), Some(28))
                .build(),
        ),
    ]
}
