//! ICMP errors about packets between a private host, the web instance and a
//! server, as they arrive at the NAT from either side.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::addresses::{NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, SERVER, WEB_PRIVATE, WEB_PUBLIC};
use super::corner::with_other_zero;
use super::fixtures::Rows;
use super::{
    ETHERNET_LEN, PacketBuilder, fragments_of, icmp_type, protocol, put16, with_header_checksum,
    with_transport_checksum,
};

/// Where a quoted packet's transport header begins in its frame.
const TRANSPORT: usize = ETHERNET_LEN + 20;

/// What the public address sent, as a router on the internet quotes it.
fn sent(port: u16) -> (SocketAddrV4, SocketAddrV4) {
    (at(NAT_PUBLIC, 40_001), at(SERVER, port))
}

/// What came in for the private host, as it quotes it.
fn came_in(port: u16) -> (SocketAddrV4, SocketAddrV4) {
    (at(SERVER, port), at(PRIVATE_A, 40_001))
}

fn at(ip: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, port)
}

fn tcp((from, to): (SocketAddrV4, SocketAddrV4)) -> PacketBuilder {
    PacketBuilder::tcp(from, to).payload_len(33).ttl(1)
}

fn udp((from, to): (SocketAddrV4, SocketAddrV4)) -> PacketBuilder {
    PacketBuilder::udp(from, to).payload_len(33).ttl(1)
}

/// An error to the sender of the packet in `frame`, from its receiver.
fn error(frame: &[u8], icmp_type: u8, code: u8, length: Option<usize>) -> PacketBuilder {
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    PacketBuilder::icmp(
        address(ETHERNET_LEN + 16),
        address(ETHERNET_LEN + 12),
        icmp_type,
        code,
    )
    .quoting(frame, length)
}

fn unreachable(quoted: &PacketBuilder, length: Option<usize>) -> PacketBuilder {
    error(&quoted.build(), icmp_type::UNREACHABLE, 3, length)
}

pub(super) fn quote_rows() -> Rows {
    let mut rows = rows_of_both_directions();
    rows.extend(rows_about_icmp());
    rows.extend(rows_about_the_web_instance());
    rows.extend(odd_quote_rows());
    rows
}

fn rows_of_both_directions() -> Rows {
    let whole = |builder: PacketBuilder| unreachable(&builder, None).build();
    let cut = |builder: PacketBuilder, length| unreachable(&builder, Some(length)).build();
    let extended = |builder: PacketBuilder, length| {
        let error = error(&builder.build(), icmp_type::TIME_EXCEEDED, 0, length);
        error.extension(&[0, 8, 1, 1, 0, 1, 0x41, 0xff]).build()
    };
    let other_type = |builder: PacketBuilder, icmp_type, rest| {
        let error = error(&builder.build(), icmp_type, 0, Some(28));
        error.icmp_rest(rest).build()
    };
    let first_fragment = |builder: PacketBuilder| {
        let pieces = fragments_of(&builder.build(), 32);
        error(&pieces[0], icmp_type::TIME_EXCEEDED, 1, None).build()
    };
    let later_fragment = |builder: PacketBuilder| {
        let pieces = fragments_of(&builder.build(), 32);
        error(&pieces[1], icmp_type::TIME_EXCEEDED, 0, None).build()
    };
    let via_router =
        |builder: PacketBuilder, router| unreachable(&builder, Some(28)).source(router).build();
    vec![
        ("error_outside_tcp_whole", whole(tcp(sent(443)))),
        ("error_outside_tcp_8_bytes", cut(tcp(sent(443)), 28)),
        ("error_outside_tcp_17_bytes", cut(tcp(sent(443)), 37)),
        ("error_outside_tcp_18_bytes", cut(tcp(sent(443)), 38)),
        ("error_outside_udp_whole", whole(udp(sent(53)))),
        ("error_outside_udp_cut_odd", cut(udp(sent(53)), 41)),
        (
            "error_outside_udp_no_checksum",
            whole(udp(sent(53)).without_udp_checksum()),
        ),
        (
            "error_outside_inner_options",
            cut(udp(sent(53)).ip_options(&[7, 7, 4, 0, 0, 0, 0]), 36),
        ),
        (
            "error_outside_inner_options_40",
            whole(tcp(sent(443)).ip_options(&[1; 40])),
        ),
        (
            "error_outside_outer_options",
            unreachable(&udp(sent(53)), Some(28))
                .ip_options(&[1; 40])
                .build(),
        ),
        (
            "error_outside_time_exceeded",
            other_type(udp(sent(53)), icmp_type::TIME_EXCEEDED, [0; 4]),
        ),
        (
            "error_outside_parameter_problem",
            other_type(udp(sent(53)), icmp_type::PARAMETER_PROBLEM, [9, 0, 0, 0]),
        ),
        (
            "error_outside_source_quench",
            other_type(udp(sent(53)), icmp_type::SOURCE_QUENCH, [0; 4]),
        ),
        (
            "error_outside_redirect",
            other_type(udp(sent(53)), icmp_type::REDIRECT, [198, 51, 100, 3]),
        ),
        (
            "error_outside_frag_needed",
            error(
                &tcp(sent(443)).build(),
                icmp_type::UNREACHABLE,
                4,
                Some(548),
            )
            .next_hop_mtu(1280)
            .build(),
        ),
        ("error_outside_extension", extended(udp(sent(53)), None)),
        (
            "error_outside_extension_short_quote",
            extended(tcp(sent(443)), Some(28)),
        ),
        (
            "error_outside_first_fragment",
            first_fragment(udp(sent(53))),
        ),
        (
            "error_outside_later_fragment",
            later_fragment(udp(sent(53))),
        ),
        (
            "error_outside_from_router",
            via_router(udp(sent(53)), OTHER_SERVER),
        ),
        ("error_outside_unknown_port", whole(udp(sent(54)))),
        ("error_inside_tcp_whole", whole(tcp(came_in(443)))),
        ("error_inside_tcp_8_bytes", cut(tcp(came_in(443)), 28)),
        ("error_inside_tcp_17_bytes", cut(tcp(came_in(443)), 37)),
        ("error_inside_tcp_18_bytes", cut(tcp(came_in(443)), 38)),
        ("error_inside_udp_whole", whole(udp(came_in(53)))),
        (
            "error_inside_udp_no_checksum",
            whole(udp(came_in(53)).without_udp_checksum()),
        ),
        (
            "error_inside_udp_becomes_all_ones",
            whole(udp_of_checksum_zero()),
        ),
        (
            "error_inside_inner_options_40",
            whole(tcp(came_in(443)).ip_options(&[1; 40])),
        ),
        ("error_inside_extension", extended(tcp(came_in(443)), None)),
        (
            "error_inside_first_fragment",
            first_fragment(udp(came_in(53))),
        ),
        (
            "error_inside_later_fragment",
            later_fragment(udp(came_in(53))),
        ),
        (
            "error_inside_from_router",
            via_router(udp(came_in(53)), Ipv4Addr::new(10, 40, 2, 254)),
        ),
        ("error_inside_unknown_port", whole(udp(came_in(54)))),
        (
            "error_inside_ttl_1",
            unreachable(&udp(came_in(53)), None).ttl(1).build(),
        ),
        (
            "error_inside_fragment",
            unreachable(&udp(came_in(53)), None)
                .fragment(0, true)
                .build(),
        ),
    ]
}

fn rows_about_icmp() -> Rows {
    let request = PacketBuilder::echo_request(NAT_PUBLIC, SERVER, 4001, 1).payload_len(31);
    let reply = PacketBuilder::echo_reply(SERVER, PRIVATE_A, 4001, 1).payload_len(31);
    let wrong_way = PacketBuilder::echo_request(SERVER, PRIVATE_A, 4001, 1).payload_len(31);
    let nested = unreachable(&udp((at(PRIVATE_A, 1), at(SERVER, 1))), None)
        .source(SERVER)
        .destination(PRIVATE_A);
    let gre = PacketBuilder::ip(SERVER, PRIVATE_A, protocol::GRE).payload_len(31);
    vec![
        (
            "error_outside_echo_request",
            unreachable(&request, None).build(),
        ),
        (
            "error_outside_echo_request_8_bytes",
            unreachable(&request, Some(28)).build(),
        ),
        ("error_inside_echo_reply", unreachable(&reply, None).build()),
        (
            "error_inside_echo_request",
            unreachable(&wrong_way, None).build(),
        ),
        ("error_inside_nested", unreachable(&nested, None).build()),
        ("error_inside_gre", unreachable(&gre, None).build()),
    ]
}

fn rows_about_the_web_instance() -> Rows {
    let sent = (at(WEB_PUBLIC, 80), at(SERVER, 50_000));
    let came_in = (at(SERVER, 50_000), at(WEB_PRIVATE, 80));
    let gre = PacketBuilder::ip(SERVER, WEB_PRIVATE, protocol::GRE).payload_len(3);
    let later = &fragments_of(&udp(came_in).build(), 32)[1];
    vec![
        (
            "error_outside_web_tcp",
            unreachable(&tcp(sent), None).build(),
        ),
        (
            "error_outside_web_udp_cut",
            unreachable(&udp(sent), Some(28)).build(),
        ),
        (
            "error_inside_web_tcp",
            unreachable(&tcp(came_in), None).build(),
        ),
        (
            "error_inside_web_udp_7_bytes",
            unreachable(&udp(came_in), Some(27)).build(),
        ),
        (
            "error_inside_web_tcp_17_bytes",
            unreachable(&tcp(came_in), Some(37)).build(),
        ),
        ("error_inside_web_gre", unreachable(&gre, None).build()),
        (
            "error_inside_web_later_fragment",
            error(later, icmp_type::TIME_EXCEEDED, 1, None).build(),
        ),
        (
            "error_inside_web_fragment",
            unreachable(&tcp(came_in), None).fragment(0, true).build(),
        ),
        (
            "error_inside_web_about_another",
            unreachable(&tcp(came_in), None)
                .source(WEB_PRIVATE)
                .quoting(&udp((at(SERVER, 53), at(PRIVATE_A, 40_001))).build(), None)
                .build(),
        ),
    ]
}

/// A datagram to the private host whose checksum, computed for the public address,
/// is the zero that UDP sends as all ones.
fn udp_of_checksum_zero() -> PacketBuilder {
    let (from, to) = came_in(53);
    let seen = PacketBuilder::udp(from, at(NAT_PUBLIC, 40_001));
    with_transport_checksum(&seen, 0xffff).destination(*to.ip())
}

pub(super) fn damaged_quote_rows() -> Rows {
    let frame_of = |builder: PacketBuilder| builder.build();
    let about = |frame: &[u8]| error(frame, icmp_type::UNREACHABLE, 3, None).build();
    let other_zero = |builder: PacketBuilder| {
        let frame = with_header_checksum(&builder, 0x0000).build();
        about(&with_other_zero(frame, ETHERNET_LEN + 10))
    };
    vec![
        (
            "error_outside_checksum_wrong",
            unreachable(&udp(sent(53)), None)
                .break_transport_checksum()
                .build(),
        ),
        (
            "error_outside_ip_checksum_wrong",
            unreachable(&udp(sent(53)), None)
                .break_ip_checksum()
                .build(),
        ),
        (
            "error_outside_inner_ip_checksum_wrong",
            about(&frame_of(udp(sent(53)).break_ip_checksum())),
        ),
        (
            "error_outside_inner_ip_checksum_other_zero",
            other_zero(udp(sent(53))),
        ),
        (
            "error_inside_checksum_wrong",
            unreachable(&tcp(came_in(443)), None)
                .break_transport_checksum()
                .build(),
        ),
        (
            "error_inside_inner_ip_checksum_wrong",
            about(&frame_of(tcp(came_in(443)).break_ip_checksum())),
        ),
        (
            "error_inside_inner_ip_checksum_other_zero",
            other_zero(tcp(came_in(443))),
        ),
    ]
}

/// Errors whose quote cannot be read, or whose inner transport checksum is wrong:
/// nothing that a receiver of the error itself would notice.
fn odd_quote_rows() -> Rows {
    let cut = |length| unreachable(&udp(came_in(53)), Some(length)).build();
    let mut wrong_tcp = tcp(came_in(443)).build();
    put16(&mut wrong_tcp, TRANSPORT + 16, 0x1234);
    vec![
        ("error_inside_quote_0_bytes", cut(0)),
        ("error_inside_quote_19_bytes", cut(19)),
        ("error_inside_quote_27_bytes", cut(27)),
        (
            "error_inside_quote_cuts_options",
            unreachable(&udp(came_in(53)).ip_options(&[1; 8]), Some(27)).build(),
        ),
        (
            "error_inside_inner_version_6",
            unreachable(&udp(came_in(53)).version(6), None).build(),
        ),
        (
            "error_inside_inner_ihl_4",
            unreachable(&udp(came_in(53)).ihl(4), None).build(),
        ),
        (
            "error_inside_inner_total_length_0",
            unreachable(&udp(came_in(53)).total_length(0), None).build(),
        ),
        (
            "error_inside_inner_total_length_65535",
            unreachable(&udp(came_in(53)).total_length(65_535), None).build(),
        ),
        (
            "error_inside_inner_tcp_sum_wrong",
            error(&wrong_tcp, icmp_type::UNREACHABLE, 3, None).build(),
        ),
    ]
}
