//! RFC 5508 and RFC 4884; RFC 4787 REQ-12.

use std::net::Ipv4Addr;

use nat_tests::{
    model::Side,
    packets::{PacketBuilder, Quote, addresses, icmp_type},
};

use super::*;
use crate::{PRIVATE, PUBLIC, bench::Hook};

const IN: Side = Side::Uplink;

/// An error from a router that sent nothing else.
fn error(to: Ipv4Addr, quoted: &PacketBuilder) -> PacketBuilder {
    PacketBuilder::icmp(Ipv4Addr::new(192, 88, 99, 1), to, icmp_type::UNREACHABLE, 3)
        .quoting(&quoted.build(), None)
}

/// An error that was sent on, and the packet it quotes.
#[track_caller]
fn sent_error(bench: &mut Bench, side: Side, error: &PacketBuilder) -> (Ipv4, Icmp, Quote) {
    let ip = sent(bench, side, error);
    let Transport::Icmp(icmp) = ip.transport.clone() else {
        panic!("no ICMP: {ip:?}");
    };
    let quote = Quote::parse(&icmp.payload).unwrap();
    (ip, icmp, quote)
}

fn ping(id: u16) -> PacketBuilder {
    PacketBuilder::echo_request(addresses::PRIVATE_A, addresses::SERVER, id, 1)
}

fn pong(id: u16) -> PacketBuilder {
    PacketBuilder::echo_reply(addresses::SERVER, addresses::NAT_PUBLIC, id, 1)
}

/// Errors of every type, from every side and about every kind of session, hostile ones included.
pub fn rfc4787_req12_icmp_never_removes_a_mapping(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let udp = public(&mut bench, &datagram(host(), server()));
        let tcp = public(&mut bench, &syn(host(), server()));
        let id = public(&mut bench, &ping(7)).port();
        let echo = PacketBuilder::echo_request(addresses::NAT_PUBLIC, addresses::SERVER, id, 1);
        let outward = [datagram(udp, server()), syn(tcp, server()), echo];
        let back = PacketBuilder::echo_reply(addresses::SERVER, addresses::PRIVATE_A, 7, 1);
        let inward = [
            datagram(server(), host()),
            segment(server(), host(), tcp_flags::ACK),
            back,
        ];
        for icmp_type in 0..=20 {
            for code in [0, 3, 4, 9, 13] {
                let rest = [0, 0, 0, 68];
                for quoted in &outward {
                    let packet = error(addresses::NAT_PUBLIC, quoted);
                    run_as(&mut bench, IN, &packet, icmp_type, code, rest);
                }
                for quoted in &inward {
                    let from = addresses::PRIVATE_A;
                    let packet = PacketBuilder::icmp(from, addresses::SERVER, 3, 3);
                    let packet = packet.quoting(&quoted.build(), None);
                    run_as(&mut bench, PRIVATE, &packet, icmp_type, code, rest);
                }
            }
        }
        assert!(gets_in(&mut bench, &datagram(server(), udp)), "{kind:?}");
        let answer = segment(server(), tcp, tcp_flags::SYN | tcp_flags::ACK);
        assert!(gets_in(&mut bench, &answer), "{kind:?}");
        assert!(gets_in(&mut bench, &pong(id)), "{kind:?}");
        assert_eq!(public(&mut bench, &datagram(host(), server())), udp);
        assert_eq!(public(&mut bench, &ping(7)).port(), id);
    }
}

/// Runs an error as one of another type.
fn run_as(
    bench: &mut Bench,
    side: Side,
    packet: &PacketBuilder,
    icmp_type: u8,
    code: u8,
    rest: [u8; 4],
) {
    let ip = parsed(&packet.build());
    let Transport::Icmp(icmp) = ip.transport else {
        panic!("no ICMP");
    };
    let other = PacketBuilder::icmp(ip.src, ip.dst, icmp_type, code)
        .icmp_rest(rest)
        .payload(&icmp.payload);
    bench.run(side, &other.build());
}

pub fn rfc5508_req1_a_ping_and_its_answer_pass(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let id = public(&mut bench, &ping(7)).port();
        let answer = sent(&mut bench, IN, &pong(id));
        assert_eq!(
            answer.destination(),
            SocketAddrV4::new(addresses::PRIVATE_A, 7)
        );
        if kind != Kind::Aws {
            let other =
                PacketBuilder::echo_request(addresses::PRIVATE_A, addresses::OTHER_SERVER, 7, 1);
            assert_eq!(public(&mut bench, &other).port(), id, "REQ-1a");
        }
    }
}

pub fn rfc5508_req2_a_query_session_lives_for_60_seconds(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        for (wait, is_there) in [(59, true), (62, false)] {
            bench.reset();
            let id = public(&mut bench, &ping(7)).port();
            bench.advance(seconds(wait));
            swept(&mut bench);
            assert_eq!(
                gets_in(&mut bench, &pong(id)),
                is_there,
                "{kind:?} after {wait} s"
            );
        }
    }
}

/// In both directions, wherever the damage is, and for messages of any length.
pub fn rfc5508_req3_an_error_with_a_wrong_checksum_is_dropped(hook: Hook) {
    let to_web = SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        for length in [0, 1, 2, 3, 470, 475, 476, 477, 500, 1000, 1400] {
            let long = |from, to| PacketBuilder::udp(from, to).payload_len(length);
            let inside = PacketBuilder::icmp(addresses::PRIVATE_A, addresses::SERVER, 3, 3);
            let ways = [
                (IN, error(addresses::NAT_PUBLIC, &long(public, server()))),
                (
                    PRIVATE,
                    inside.quoting(&long(server(), host()).build(), None),
                ),
                (IN, error(addresses::WEB_PUBLIC, &long(to_web, server()))),
            ];
            for (side, right) in ways {
                sent_error(&mut bench, side, &right);
                let frame = right.build();
                for at in [36, 40, 41, frame.len() / 2, frame.len() - 1] {
                    let mut wrong = frame.clone();
                    wrong[at] ^= 0x10;
                    let seen = bench.run_for_verdict(side, &wrong);
                    assert_eq!(seen, "malformed", "{kind:?}, byte {at} of {}", frame.len());
                }
                // What is no part of the message does not count.
                let padded = right.clone().trailer(&[0xaa; 7]);
                sent_error(&mut bench, side, &padded);
            }
        }
    }
}

pub fn rfc5508_req3a_a_quote_with_a_wrong_ip_checksum_is_dropped(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        for options in [0, 4, 40] {
            let quoted = datagram(public, server()).ip_options(&vec![1; options]);
            sent_error(&mut bench, IN, &error(addresses::NAT_PUBLIC, &quoted));
            let wrong = error(addresses::NAT_PUBLIC, &quoted.break_ip_checksum());
            assert_eq!(verdict(&mut bench, IN, &wrong), "malformed");
            let quoted = datagram(server(), host()).ip_options(&vec![1; options]);
            let wrong = PacketBuilder::icmp(addresses::PRIVATE_A, addresses::SERVER, 3, 3)
                .quoting(&quoted.break_ip_checksum().build(), None);
            assert_eq!(verdict(&mut bench, PRIVATE, &wrong), "malformed");
        }
    }
}

pub fn rfc5508_req3b_ip_options_in_a_quote_are_skipped(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        for options in (4..=40).step_by(4) {
            // Options that look like ports and more.
            let bytes: Vec<_> = (0..options as u8).map(|byte| 0x40 | byte).collect();
            let quoted = datagram(public, server()).ip_options(&bytes);
            let (ip, _, quote) = sent_error(&mut bench, IN, &error(addresses::NAT_PUBLIC, &quoted));
            assert_eq!((ip.dst, quote.src), (*host().ip(), *host().ip()));
            assert_eq!(quote.ports(), Some((host().port(), server().port())));
            assert_eq!(quote.header[20..], bytes);
        }
    }
}

pub fn rfc5508_req3c_a_quoted_transport_checksum_is_not_validated(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let udp = public(&mut bench, &datagram(host(), server()));
        let tcp = public(&mut bench, &syn(host(), server()));
        for quoted in [datagram(udp, server()), syn(tcp, server())] {
            let wrong = error(addresses::NAT_PUBLIC, &quoted.break_transport_checksum());
            let (_, _, quote) = sent_error(&mut bench, IN, &wrong);
            assert_eq!(quote.ports(), Some((host().port(), server().port())));
        }
    }
}

/// The extension stays as it was, and so does the length of the quote, which counts 32-bit words.
pub fn rfc4884_and_rfc5508_req3d_extensions_are_no_part_of_the_quote(hook: Hook) {
    // An MPLS label stack (RFC 4950).
    let objects = [0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff];
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        for length in [9, 60, 100, 101, 200, 500] {
            let quoted = PacketBuilder::udp(public, server()).payload_len(length);
            let packet = error(addresses::NAT_PUBLIC, &quoted).extension(&objects);
            let Transport::Icmp(before) = parsed(&packet.build()).transport else {
                panic!("no ICMP");
            };
            let (_, after, quote) = sent_error(&mut bench, IN, &packet);
            assert_eq!(after.rest, before.rest, "the length is left alone");
            assert_eq!(after.payload.len(), before.payload.len());
            let end = usize::from(after.rest[1]) * 4;
            assert_eq!(after.payload[end..], before.payload[end..]);
            assert_eq!(quote.src, *host().ip());
        }
    }
}

/// As if there was no NAT: the inside packet is quoted, and the router is the sender.
pub fn rfc5508_req4_an_error_from_outside_is_about_the_inside_packet(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let udp = public(&mut bench, &datagram(host(), server()));
        let tcp = public(&mut bench, &syn(host(), server()));
        for (inside, quoted) in [
            (datagram(host(), server()), datagram(udp, server())),
            (syn(host(), server()), syn(tcp, server())),
        ] {
            let (ip, icmp, _) = sent_error(&mut bench, IN, &error(addresses::NAT_PUBLIC, &quoted));
            assert_eq!(
                (ip.src, ip.dst),
                (Ipv4Addr::new(192, 88, 99, 1), *host().ip())
            );
            assert_eq!((icmp.icmp_type, icmp.code), (icmp_type::UNREACHABLE, 3));
            assert_eq!(icmp.payload, inside.build_ip());
        }
        // Nothing is known of these.
        let next = SocketAddrV4::new(*udp.ip(), udp.port() ^ 1);
        for quoted in [datagram(next, server()), datagram(udp, other_server())] {
            let unknown = error(addresses::NAT_PUBLIC, &quoted);
            assert_eq!(verdict(&mut bench, IN, &unknown), "no_session");
        }
    }
}

/// From the host and from a router before it: only public addresses are seen.
pub fn rfc5508_req5_and_rfc5508_req5c_an_error_from_inside_shows_the_public_end(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        for from in [addresses::PRIVATE_A, Ipv4Addr::new(10, 40, 2, 254)] {
            let about = |quoted: PacketBuilder| {
                PacketBuilder::icmp(from, addresses::SERVER, icmp_type::UNREACHABLE, 3)
                    .quoting(&quoted.build(), None)
            };
            let known = about(datagram(server(), host()));
            let (ip, icmp, _) = sent_error(&mut bench, PRIVATE, &known);
            assert_eq!((ip.src, ip.dst), (addresses::NAT_PUBLIC, addresses::SERVER));
            assert_eq!((icmp.icmp_type, icmp.code), (icmp_type::UNREACHABLE, 3));
            assert_eq!(icmp.payload, datagram(server(), public).build_ip());
            let unknown = about(datagram(server(), neighbour()));
            assert_eq!(verdict(&mut bench, PRIVATE, &unknown), "no_session");
        }
    }
}

/// Neither do they keep one, nor do they end it before its time.
pub fn rfc5508_req6_errors_neither_refresh_nor_end_a_session(hook: Hook) {
    for kind in BOTH {
        let timer = if kind == Kind::Aws { 350 } else { 300 };
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        bench.advance(seconds(timer - 2));
        let outside = error(addresses::NAT_PUBLIC, &datagram(public, server()));
        let inside = PacketBuilder::icmp(addresses::PRIVATE_A, addresses::SERVER, 3, 3)
            .quoting(&datagram(server(), host()).build(), None);
        sent_error(&mut bench, IN, &outside);
        sent_error(&mut bench, PRIVATE, &inside);
        assert_eq!((swept(&mut bench), bench.sessions()), (0, 1), "{kind:?}");
        bench.advance(seconds(4));
        assert_eq!((swept(&mut bench), bench.sessions()), (1, 0), "{kind:?}");
    }
}

/// A ping to a 1:1 address, and the error about a hairpinned datagram.
pub fn rfc5508_req7_pings_and_errors_are_hairpinned(hook: Hook) {
    let web = SocketAddrV4::new(addresses::WEB_PUBLIC, 9);
    let private = SocketAddrV4::new(addresses::WEB_PRIVATE, 9);
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let ping = PacketBuilder::echo_request(addresses::PRIVATE_A, *web.ip(), 7, 1);
        let request = sent(&mut bench, PRIVATE, &ping);
        assert_eq!(
            (request.src, request.dst),
            (addresses::NAT_PUBLIC, *private.ip())
        );
        let id = request.source().port();
        let pong = PacketBuilder::echo_reply(*private.ip(), addresses::NAT_PUBLIC, id, 1);
        let answer = sent(&mut bench, PUBLIC, &pong);
        assert_eq!(answer.src, *web.ip());
        assert_eq!(
            answer.destination(),
            SocketAddrV4::new(addresses::PRIVATE_A, 7)
        );

        let arrived = sent(&mut bench, PRIVATE, &datagram(host(), web));
        let quoted = datagram(arrived.source(), private);
        let error = PacketBuilder::icmp(*private.ip(), addresses::NAT_PUBLIC, 3, 3)
            .quoting(&quoted.build(), None);
        let (ip, icmp, quote) = sent_error(&mut bench, PUBLIC, &error);
        assert_eq!((ip.src, ip.dst), (*web.ip(), *host().ip()));
        assert_eq!(ip.dst, quote.src, "REQ-7a");
        assert_eq!(icmp.payload, datagram(host(), web).build_ip());
    }
}

/// Unreachable and time exceeded both ways, and echo.
pub fn rfc5508_req10_unreachable_time_exceeded_and_echo_are_handled(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        for (icmp_type, code) in [(3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (11, 1)] {
            let packet = |from, to, quoted: PacketBuilder| {
                PacketBuilder::icmp(from, to, icmp_type, code).quoting(&quoted.build(), Some(28))
            };
            let inward = packet(
                addresses::SERVER,
                addresses::NAT_PUBLIC,
                datagram(public, server()),
            );
            let (_, icmp, _) = sent_error(&mut bench, IN, &inward);
            assert_eq!((icmp.icmp_type, icmp.code), (icmp_type, code));
            let outward = packet(
                addresses::PRIVATE_A,
                addresses::SERVER,
                datagram(server(), host()),
            );
            let (_, icmp, _) = sent_error(&mut bench, PRIVATE, &outward);
            assert_eq!((icmp.icmp_type, icmp.code), (icmp_type, code));
        }
        let id = super::public(&mut bench, &ping(7)).port();
        assert!(gets_in(&mut bench, &pong(id)));
        let (reason, icmp) = refusal(&mut bench, PRIVATE, &datagram(host(), server()).ttl(1));
        assert_eq!((reason, icmp.icmp_type, icmp.code), ("ttl_expired", 11, 0));
    }
}

/// What is no query, answer or error needs no support.
pub fn rfc5508_req11_other_icmp_is_dropped(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        for icmp_type in [9, 10, 13, 14, 15, 16, 17, 18, 40] {
            let out = PacketBuilder::icmp(addresses::PRIVATE_A, addresses::SERVER, icmp_type, 0);
            assert_eq!(verdict(&mut bench, PRIVATE, &out), "unsupported_icmp");
            let back = PacketBuilder::icmp(addresses::SERVER, addresses::NAT_PUBLIC, icmp_type, 0);
            assert_eq!(verdict(&mut bench, IN, &back), "no_session");
        }
        assert_eq!(bench.sessions(), 0);
    }
}

/// RFC 768 in a quote: no checksum stays none.
pub fn rfc768_a_quoted_datagram_without_checksum_stays_without(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        let quoted = datagram(public, server()).without_udp_checksum();
        let packet = error(addresses::NAT_PUBLIC, &quoted);
        let (_, _, quote) = sent_error(&mut bench, IN, &packet);
        assert_eq!(quote.segment[6..8], [0, 0]);
    }
}
