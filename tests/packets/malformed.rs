//! Frames with lying or cut headers.

use super::fixtures::{Rows, echo, syn, tcp, udp};
use super::{ETHERNET_LEN, PacketBuilder, protocol};

/// Frames that no NAT may forward, with what is wrong as their name.
pub(super) fn malformed_rows() -> Rows {
    let cut = |builder: PacketBuilder, ip_bytes: usize| {
        let mut frame = builder.build();
        frame.truncate(ETHERNET_LEN + ip_bytes);
        frame
    };
    // Total length tells the truth about a packet too short for its protocol.
    let short = |protocol, length: usize| {
        let whole = tcp().build_ip();
        let segment = &whole[20..20 + length];
        PacketBuilder::ip([10, 40, 2, 101].into(), [198, 51, 100, 80].into(), protocol)
            .payload(segment)
    };
    vec![
        ("malformed_ip_missing", cut(tcp(), 0)),
        ("malformed_ip_1_byte", cut(tcp(), 1)),
        ("malformed_ip_19_bytes", cut(tcp(), 19)),
        ("malformed_ip_header_only_of_more", cut(tcp(), 20)),
        (
            "malformed_cut_one_byte_short",
            cut(tcp().payload_len(10), 49),
        ),
        ("malformed_tcp_cut_39", cut(tcp(), 39)),
        ("malformed_udp_cut_27", cut(udp(), 27)),
        ("malformed_icmp_cut_27", cut(echo(), 27)),
        ("malformed_version_0", tcp().version(0).build()),
        ("malformed_version_5", tcp().version(5).build()),
        ("malformed_version_6", tcp().version(6).build()),
        ("malformed_version_15", tcp().version(15).build()),
        ("malformed_ihl_0", tcp().ihl(0).build()),
        ("malformed_ihl_1", tcp().ihl(1).build()),
        ("malformed_ihl_4", tcp().ihl(4).build()),
        ("malformed_ihl_beyond_frame", udp().ihl(15).build()),
        ("malformed_ihl_eats_tcp_header", syn().ihl(6).build()),
        ("malformed_total_length_0", tcp().total_length(0).build()),
        ("malformed_total_length_19", tcp().total_length(19).build()),
        (
            "malformed_total_length_below_options",
            tcp().ip_options(&[1; 8]).total_length(24).build(),
        ),
        (
            "malformed_total_length_beyond_frame",
            tcp().total_length(41).build(),
        ),
        (
            "malformed_total_length_65535",
            tcp().total_length(65_535).build(),
        ),
        (
            "malformed_total_length_cuts_tcp",
            tcp().total_length(39).build(),
        ),
        ("malformed_tcp_0_bytes", short(protocol::TCP, 0).build()),
        ("malformed_tcp_13_bytes", short(protocol::TCP, 13).build()),
        (
            "malformed_tcp_19_bytes_padded",
            short(protocol::TCP, 19).padded().build(),
        ),
        (
            "malformed_udp_0_bytes_padded",
            short(protocol::UDP, 0).padded().build(),
        ),
        ("malformed_udp_7_bytes", short(protocol::UDP, 7).build()),
        ("malformed_icmp_0_bytes", short(protocol::ICMP, 0).build()),
        (
            "malformed_icmp_7_bytes_padded",
            short(protocol::ICMP, 7).padded().build(),
        ),
        (
            "malformed_tcp_first_fragment_8_bytes",
            short(protocol::TCP, 8).fragment(0, true).build(),
        ),
    ]
}
