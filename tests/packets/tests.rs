//! Tests of the builder, the parser and the checksum oracle.

use std::collections::HashSet;

use super::addresses::{PRIVATE_A, SERVER};
use super::fixtures::FixtureKind;
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|index| u8::from_str_radix(&digits[index..index + 2], 16).unwrap())
        .collect()
}

fn parsed(frame: &[u8]) -> Ipv4 {
    Packet::parse(frame).unwrap().ipv4().unwrap().clone()
}

/// A DNS query as captured: UDP with an odd number of words and a checksum.
fn captured_dns_query() -> Vec<u8> {
    hex("00c09f32418c 00e018b10cad 0800
         45000038 00004000 40116547 c0a8aa08 c0a8aa14
         801b0035 002485ed
         1032 0100 0001 0000 0000 0000 06676f6f676c6503636f6d00 0010 0001")
}

/// The SYN of an HTTP connection as captured, with MSS and SACK options.
fn captured_http_syn() -> Vec<u8> {
    hex("feff20000100 000001000000 0800
         45000030 0f414000 800691eb 91fea0ed 41d0e4df
         0d2c0050 38affe13 00000000 70022238 c30c0000 020405b4 01010402")
}

#[test]
fn rfc1071_example_sums_up() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(folded_sum(&bytes), 0xddf2);
    assert_eq!(checksum_of(&bytes), 0x220d);
}

#[test]
fn odd_last_byte_is_padded_with_zero() {
    assert_eq!(folded_sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
}

#[test]
fn rfc1624_example_gives_zero_not_ffff() {
    assert_eq!(adjusted(0xdd2f, &[0x5555], &[0x3285]), 0x0000);
}

#[test]
fn captured_packets_are_right() {
    assert_eq!(checksum_errors(&captured_dns_query()), [""; 0]);
    assert_eq!(checksum_errors(&captured_http_syn()), [""; 0]);
}

#[test]
fn builder_makes_the_captured_dns_query() {
    let captured = captured_dns_query();
    let built = PacketBuilder::udp(
        "192.168.170.8:32795".parse().unwrap(),
        "192.168.170.20:53".parse().unwrap(),
    )
    .macs(
        Mac([0x00, 0xe0, 0x18, 0xb1, 0x0c, 0xad]),
        Mac([0x00, 0xc0, 0x9f, 0x32, 0x41, 0x8c]),
    )
    .id(0)
    .dont_fragment()
    .payload(&captured[42..])
    .build();
    assert_eq!(built, captured);
}

#[test]
fn builder_makes_the_captured_http_syn() {
    let built = PacketBuilder::tcp(
        "145.254.160.237:3372".parse().unwrap(),
        "65.208.228.223:80".parse().unwrap(),
    )
    .macs(Mac([0, 0, 1, 0, 0, 0]), Mac([0xfe, 0xff, 0x20, 0, 1, 0]))
    .id(0x0f41)
    .dont_fragment()
    .ttl(128)
    .flags(tcp_flags::SYN)
    .seq_ack(0x38af_fe13, 0)
    .window(0x2238)
    .tcp_options(&[2, 4, 5, 0xb4, 1, 1, 4, 2])
    .build();
    assert_eq!(built, captured_http_syn());
}

#[test]
fn windows_ping_has_its_well_known_checksum() {
    let ping = PacketBuilder::echo_request(PRIVATE_A, SERVER, 1, 1)
        .payload(b"abcdefghijklmnopqrstuvwabcdefghi")
        .build();
    assert_eq!(be16(&ping, 36), 0x4d5a);
}

#[test]
fn parser_gives_back_what_the_builder_was_told() {
    let frame = PacketBuilder::tcp("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap())
        .vlan(42)
        .tos(0x2e)
        .ttl(9)
        .ip_options(&[1; 6])
        .flags(tcp_flags::FIN | tcp_flags::ACK)
        .seq_ack(5, 6)
        .tcp_options(&[1, 1, 1])
        .payload(b"abc")
        .padded()
        .trailer(b"xy")
        .build();
    let packet = Packet::parse(&frame).unwrap();
    assert_eq!(packet.ethernet.vlan, Some(42));
    assert_eq!(packet.trailer, b"xy");
    let ip = packet.ipv4().unwrap();
    assert_eq!((ip.tos, ip.ttl, ip.header_len), (0x2e, 9, 28));
    assert_eq!(ip.source().to_string(), "10.0.0.1:1");
    assert_eq!(ip.destination().to_string(), "10.0.0.2:2");
    let Transport::Tcp(tcp) = &ip.transport else {
        panic!("not TCP")
    };
    assert_eq!((tcp.seq, tcp.ack, tcp.header_len), (5, 6, 24));
    assert_eq!(tcp.options, [1, 1, 1, 0]);
    assert_eq!(tcp.payload, b"abc");
}

#[test]
fn arp_is_built_and_parsed() {
    let request = arp_request(Mac::SENDER, PRIVATE_A, SERVER);
    assert_eq!(request.len(), 42);
    let Network::Arp(arp) = Packet::parse(&request).unwrap().network else {
        panic!("not ARP")
    };
    assert_eq!(
        (arp.operation, arp.sender, arp.target),
        (1, PRIVATE_A, SERVER)
    );
    assert_eq!((arp.sender_mac, arp.target_mac), (Mac::SENDER, Mac::ZERO));
    let reply = Packet::parse(&arp_reply(Mac::GATEWAY, SERVER, Mac::SENDER, PRIVATE_A)).unwrap();
    assert_eq!(reply.ethernet.dst, Mac::SENDER);
    let Network::Arp(arp) = reply.network else {
        panic!("not ARP")
    };
    assert_eq!(
        (arp.operation, arp.sender, arp.sender_mac),
        (2, SERVER, Mac::GATEWAY)
    );
}

#[test]
fn fixture_names_are_unique_and_kinds_are_true() {
    let mut names = HashSet::new();
    for Fixture { name, kind, frame } in fixtures() {
        assert!(names.insert(name), "{name} twice");
        let errors = checksum_errors(&frame);
        match kind {
            FixtureKind::Malformed => assert!(Packet::parse(&frame).is_err(), "{name} parses"),
            FixtureKind::Damaged => {
                assert!(Packet::parse(&frame).is_ok(), "{name} does not parse");
                assert!(!errors.is_empty(), "{name} has nothing wrong");
            }
            FixtureKind::Good => assert!(errors.is_empty(), "{name}: {errors:?}"),
        }
    }
}

#[test]
fn fixtures_named_after_a_checksum_have_it() {
    let value = |name: &str| {
        let digits = name.split('_').nth(2).unwrap();
        u16::from_str_radix(digits, 16).unwrap()
    };
    let corners = fixtures()
        .into_iter()
        .filter(|row| row.name.contains("_checksum_") && row.kind == FixtureKind::Good);
    let mut seen = 0;
    for Fixture { name, frame, .. } in corners.filter(|row| !row.name.contains("no_checksum")) {
        let mut frame = frame;
        if name.ends_with("_after") {
            frame[22] -= 1;
            frame[26..30].copy_from_slice(&addresses::NAT_PUBLIC.octets());
            fill_checksums(&mut frame[ETHERNET_LEN..]);
        }
        let field = match name.split('_').next().unwrap() {
            "ip" => 24,
            "tcp" => 50,
            "udp" => 40,
            _ => 36,
        };
        assert_eq!(be16(&frame, field), value(name), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 21);
}

#[test]
fn padded_fixtures_are_60_bytes_ending_in_zeros() {
    for Fixture { name, frame, .. } in fixtures()
        .into_iter()
        .filter(|row| row.name.contains("padded"))
    {
        assert_eq!(frame.len(), MIN_FRAME_LEN, "{name}");
        assert_eq!(frame.last(), Some(&0), "{name}");
    }
}

#[test]
fn each_broken_checksum_is_named() {
    let quoted = PacketBuilder::echo_request(PRIVATE_A, SERVER, 1, 1)
        .break_ip_checksum()
        .build();
    let unreachable = PacketBuilder::icmp(PRIVATE_A, SERVER, icmp_type::UNREACHABLE, 1);
    let mut extension = unreachable
        .clone()
        .quoting(&quoted[..0], None)
        .extension(&[0; 4])
        .build();
    *extension.last_mut().unwrap() ^= 1;
    fill_checksums(&mut extension[ETHERNET_LEN..]);
    let rows = [
        ("IP header", fixtures::udp().break_ip_checksum().build()),
        ("UDP", fixtures::udp().break_transport_checksum().build()),
        ("TCP", fixtures::tcp().break_transport_checksum().build()),
        ("ICMP", fixtures::echo().break_transport_checksum().build()),
        (
            "quoted IP header",
            unreachable.quoting(&quoted, Some(28)).build(),
        ),
        ("ICMP extension", extension),
    ];
    for (name, frame) in rows {
        let errors = checksum_errors(&frame);
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        assert!(
            errors[0].starts_with(&format!("{name} checksum is 0x")),
            "{errors:?}"
        );
    }
}

#[test]
fn any_flipped_bit_of_a_packet_is_noticed() {
    let frame = fixtures::syn()
        .tcp_options(&[2, 4, 5, 0xb4])
        .payload_len(7)
        .build();
    for bit in ETHERNET_LEN * 8..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!checksum_errors(&flipped).is_empty(), "bit {bit}");
    }
}

#[test]
fn lost_and_invented_udp_checksums_are_noticed() {
    let with = fixtures::udp().payload_len(4);
    let without = with.clone().without_udp_checksum().build();
    let with = with.build();
    assert!(translated_checksum_errors(&with, &with).is_empty());
    assert!(translated_checksum_errors(&without, &without).is_empty());
    assert_eq!(translated_checksum_errors(&with, &without).len(), 1);
    assert_eq!(translated_checksum_errors(&without, &with).len(), 1);
}

#[test]
fn what_a_translation_breaks_in_a_quote_is_noticed() {
    let error = |quoted: &PacketBuilder, length| {
        PacketBuilder::icmp(SERVER, PRIVATE_A, icmp_type::TIME_EXCEEDED, 0)
            .quoting(&quoted.build(), length)
            .build()
    };
    let udp = fixtures::udp().payload_len(4);
    let (tcp, echo) = (fixtures::tcp(), fixtures::echo());
    for quoted in [&udp, &tcp, &echo] {
        let right = error(quoted, None);
        let wrong = error(&quoted.clone().break_transport_checksum(), None);
        assert_eq!(translated_checksum_errors(&right, &right), [""; 0]);
        assert_eq!(translated_checksum_errors(&right, &wrong).len(), 1);
        assert_eq!(translated_checksum_errors(&wrong, &wrong), [""; 0]);
    }
    let (whole, cut) = (error(&udp, None), error(&udp, Some(28)));
    assert_eq!(translated_checksum_errors(&cut, &cut), [""; 0]);
    assert_eq!(translated_checksum_errors(&whole, &cut).len(), 1);
    let without = error(&udp.without_udp_checksum(), None);
    assert_eq!(translated_checksum_errors(&without, &without), [""; 0]);
    assert_eq!(translated_checksum_errors(&whole, &without).len(), 1);
    assert_eq!(translated_checksum_errors(&without, &whole).len(), 1);
}

#[test]
fn fragments_carry_the_whole_segment() {
    let whole = fixtures::udp()
        .ip_options(&[7, 3, 4, 0x94, 4, 0, 0])
        .payload_len(1001)
        .build();
    let pieces = fragments_of(&whole, 300);
    assert_eq!(pieces.len(), 4);
    let mut segment: Vec<u8> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let ip = parsed(piece);
        assert!(checksum_errors(piece).is_empty());
        assert_eq!(usize::from(ip.fragment_offset), segment.len());
        assert_eq!(ip.more_fragments, index < 3);
        assert_eq!(
            ip.options,
            if index == 0 {
                vec![7, 3, 4, 0x94, 4, 0, 0, 0]
            } else {
                vec![0x94, 4, 0, 0]
            }
        );
        segment.extend(&piece[ETHERNET_LEN + ip.header_len..]);
    }
    assert_eq!(segment, whole[ETHERNET_LEN + 28..]);
}

#[test]
fn wrong_protocol_setters_panic() {
    let misused = std::panic::catch_unwind(|| fixtures::udp().flags(tcp_flags::SYN));
    assert!(misused.is_err());
}
