//! RFC 4787.

use nat_tests::{
    model::{NatGateway, Side},
    packets::{PacketBuilder, Transport, addresses},
};

use super::*;
use crate::{
    PRIVATE,
    bench::{Bench, Hook},
};

/// Answers come as long as the timer says, which is 120 s at least.
pub fn rfc4787_req5_a_mapping_outlives_its_timer_by_nothing(hook: Hook) {
    for (kind, timer) in [(Kind::Aws, 350), (Kind::Rfc, 300), (Kind::Open, 300)] {
        let mut bench = kind.bench(hook);
        for (wait, is_there) in [(119, true), (timer - 1, true), (timer + 2, false)] {
            bench.reset();
            let public = public(&mut bench, &datagram(host(), server()));
            bench.advance(seconds(wait));
            swept(&mut bench);
            let answer = datagram(server(), public);
            let case = format!("{kind:?} after {wait} s");
            assert_eq!(gets_in(&mut bench, &answer), is_there, "{case}");
        }
    }
}

/// Without a sweep as well.
pub fn rfc4787_req5_an_expired_mapping_lets_nobody_in(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        bench.advance(seconds(400));
        if kind == Kind::Rfc {
            // Bindings and leaves last until the sweep.
            swept(&mut bench);
        }
        assert!(
            !gets_in(&mut bench, &datagram(server(), public)),
            "{kind:?}"
        );
    }
}

/// What goes out keeps a mapping, however old it is.
pub fn rfc4787_req6_packets_from_inside_keep_a_mapping(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let first = public(&mut bench, &datagram(host(), server()));
        for _ in 0..5 {
            bench.advance(seconds(290));
            assert_eq!(swept(&mut bench), 0);
            assert_eq!(public(&mut bench, &datagram(host(), server())), first);
        }
        assert!(gets_in(&mut bench, &datagram(server(), first)));
    }
}

/// What REQ-7 asks for does not hold: who has an address of the VPC outside is refused.
pub fn rfc4787_req7_an_outside_host_with_an_inside_address_is_refused(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let public = public(&mut bench, &datagram(host(), server()));
        let twin = SocketAddrV4::new([10, 40, 2, 7].into(), 443);
        assert!(!gets_in(&mut bench, &datagram(twin, public)), "{kind:?}");
        let elsewhere = SocketAddrV4::new([10, 20, 77, 7].into(), 443);
        assert_eq!(
            verdict(&mut bench, PRIVATE, &datagram(host(), elsewhere)),
            "no_route"
        );
    }
}

/// Payloads that name addresses and ports, as application gateways would change them.
pub fn rfc4787_req10_payloads_are_left_alone(hook: Hook) {
    let ftp = b"PORT 10,40,2,101,156,65\r\n";
    let sip = b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.40.2.101:5060\r\nContact: <sip:a@10.40.2.101:5060>\r\n\r\nc=IN IP4 10.40.2.101\r\n";
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let control = SocketAddrV4::new(addresses::SERVER, 21);
        public(&mut bench, &syn(host(), control));
        let packet = segment(host(), control, tcp_flags::ACK).payload(ftp);
        let Transport::Tcp(tcp) = sent(&mut bench, PRIVATE, &packet).transport else {
            panic!("no TCP");
        };
        assert_eq!(tcp.payload, ftp);
        let proxy = SocketAddrV4::new(addresses::SERVER, 5060);
        let from = SocketAddrV4::new(addresses::PRIVATE_A, 5060);
        let packet = PacketBuilder::udp(from, proxy).payload(sip);
        let Transport::Udp(udp) = sent(&mut bench, PRIVATE, &packet).transport else {
            panic!("no UDP");
        };
        assert_eq!(udp.payload, sip);
    }
}

/// Before the ports run out, while none is left, and afterwards.
pub fn rfc4787_req11_exhaustion_changes_neither_mapping_nor_filtering(hook: Hook) {
    const PORTS: u16 = 4;
    let gateway = NatGateway {
        ports: vec![2000..=2000 + (PORTS - 1)],
        ..Kind::Rfc.gateway()
    };
    let mut bench = Bench::with_gateway(hook, gateway);
    let from = |number| SocketAddrV4::new(addresses::PRIVATE_A, 40_001 + number);
    let stranger = SocketAddrV4::new(addresses::OTHER_SERVER, 9);
    let peer = SocketAddrV4::new(addresses::SERVER, 9);
    let mapped = public(&mut bench, &datagram(from(0), server()));
    let behaves = |bench: &mut Bench| {
        assert_eq!(public(bench, &datagram(from(0), server())), mapped);
        assert!(gets_in(bench, &datagram(peer, mapped)), "a known address");
        assert!(!gets_in(bench, &datagram(stranger, mapped)), "another one");
    };
    behaves(&mut bench);
    for number in 1..PORTS {
        let end = public(&mut bench, &datagram(from(number), server()));
        assert_ne!(end, mapped);
    }
    for number in PORTS..PORTS + 3 {
        for to in [server(), other_server()] {
            let late = datagram(from(number), to);
            let (reason, _) = refusal(&mut bench, PRIVATE, &late);
            assert_eq!(reason, "port_exhausted");
        }
    }
    behaves(&mut bench);
    // One that has a port has it towards everybody.
    let elsewhere = SocketAddrV4::new(addresses::SERVER, 53);
    assert_eq!(public(&mut bench, &datagram(from(0), elsewhere)), mapped);
    bench.advance(seconds(299));
    behaves(&mut bench);
    bench.advance(seconds(5));
    assert!(swept(&mut bench) > 0);
    public(&mut bench, &datagram(from(PORTS), server()));
    behaves(&mut bench);
}

/// Too big for the uplink, and not to be cut.
pub fn rfc4787_req13_too_big_with_df_is_told_the_mtu(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let packet = |length: usize| PacketBuilder::udp(host(), server()).payload_len(length - 28);
        public(&mut bench, &packet(1500).dont_fragment());
        let (reason, icmp) = refusal(&mut bench, PRIVATE, &packet(1501).dont_fragment());
        assert_eq!(reason, "too_big");
        assert_eq!(
            (icmp.icmp_type, icmp.code, icmp.rest),
            (3, 4, [0, 0, 0x05, 0xdc])
        );
    }
}

/// No private address goes out, wherever in a packet.
pub fn rfc3022_no_private_address_leaves_by_the_uplink(hook: Hook) {
    let web = SocketAddrV4::new(addresses::WEB_PRIVATE, 80);
    let router = std::net::Ipv4Addr::new(10, 40, 2, 254);
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let udp = public(&mut bench, &datagram(host(), server()));
        let tcp = public(&mut bench, &syn(host(), server()));
        let ping = PacketBuilder::echo_request(addresses::PRIVATE_A, addresses::SERVER, 7, 1);
        let id = public(&mut bench, &ping).port();
        let mut packets = vec![(PRIVATE, ping)];
        for (from, side) in [(host(), PRIVATE), (web, crate::PUBLIC)] {
            packets.push((side, datagram(from, server())));
            packets.push((side, syn(from, server())));
            packets.push((side, datagram(from, server()).fragment(0, true)));
            let mut about = vec![
                datagram(server(), from),
                segment(server(), from, tcp_flags::SYN),
            ];
            about.push(PacketBuilder::echo_reply(
                addresses::SERVER,
                *from.ip(),
                7,
                1,
            ));
            for quoted in about {
                for sender in [*from.ip(), router] {
                    for (icmp_type, code) in [(3, 3), (11, 0), (12, 0)] {
                        let error = PacketBuilder::icmp(sender, addresses::SERVER, icmp_type, code);
                        packets.push((side, error.quoting(&quoted.build(), None)));
                    }
                }
            }
        }
        // And errors made here about what comes from outside.
        for to in [udp, tcp] {
            packets.push((Side::Uplink, datagram(server(), to).ttl(1)));
            packets.push((Side::Uplink, segment(server(), to, tcp_flags::ACK).ttl(1)));
        }
        let reply = PacketBuilder::echo_reply(addresses::SERVER, addresses::NAT_PUBLIC, id, 1);
        packets.push((Side::Uplink, reply.ttl(1)));
        let to_web = SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
        packets.push((Side::Uplink, datagram(server(), to_web).ttl(1)));
        packets.push((
            Side::Uplink,
            datagram(server(), to_web).payload_len(1473).dont_fragment(),
        ));
        let mut left = 0;
        for (side, packet) in packets {
            let frame = packet.build();
            let out = match (bench.run(side, &frame), side) {
                (Outcome::Forward(out), Side::Inside(_)) => out,
                (Outcome::Refuse(_, out), Side::Uplink) => out,
                _ => continue,
            };
            left += 1;
            for network in [[10, 40, 2], [10, 20, 1]] {
                let leaks = out[14..].windows(3).any(|bytes| bytes == network);
                assert!(!leaks, "{kind:?}: {frame:02x?} left as {out:02x?}");
            }
        }
        assert!(left > 30, "{kind:?}: {left} left");
    }
}

/// Whole datagrams keep the identification of their sender: RFC 6864, 5.3 asks for more.
pub fn rfc6864_a_whole_datagram_keeps_its_identification(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        for from in [host(), neighbour()] {
            let packet = datagram(from, server()).id(777);
            assert_eq!(sent(&mut bench, PRIVATE, &packet).id, 777);
        }
    }
}

/// First fragments of two hosts that use one identification.
pub fn rfc6864_first_fragments_of_two_hosts_get_different_identifications(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let mut ids: Vec<_> = [host(), neighbour()]
            .map(|from| {
                let packet = PacketBuilder::udp(from, server()).payload_len(504);
                sent(&mut bench, PRIVATE, &packet.id(777).fragment(0, true)).id
            })
            .into();
        ids.dedup();
        assert_eq!(ids.len(), 2, "{kind:?}");
    }
}
