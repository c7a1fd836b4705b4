//! A packet for each way through the programs (paths.rs), and what has to come before it.
use std::net::{Ipv4Addr, SocketAddrV4};

use nat_tests::packets::{PacketBuilder, fragments_of, tcp_flags};

use crate::{
    lab::{
        CLIENT, FIRST_INSTANCE, Lab, OWN_PUBLIC,
        Side::{self, Inside, Outside},
    },
    ours::{FIRST_PUBLIC, GATEWAY_PUBLIC},
};

const REMOTE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 200, 1), 443);
/// Makes every frame long enough for the template, which covers the headers.
const PAYLOAD: usize = 80;
const DESTINATION_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;

/// How the program's run ends.
#[derive(Clone, Copy)]
pub enum End {
    Pass,
    Drop,
    Forward,
}

impl End {
    /// The number of XDP's or TC's action.
    pub const fn action(self, xdp: bool) -> u32 {
        match (self, xdp) {
            (Self::Pass, true) => 2,
            (Self::Drop, true) => 1,
            (Self::Forward, true) => 4,
            (Self::Pass, false) => 3,
            (Self::Drop, false) => 2,
            (Self::Forward, false) => 7,
        }
    }
}

/// See the module.
pub struct Path {
    pub name: &'static str,
    pub from: Side,
    pub frame: Vec<u8>,
    pub end: End,
    pub before: Vec<(Side, Vec<u8>)>,
}

pub fn paths() -> Vec<Path> {
    use End::{Drop, Forward, Pass};
    let client = |port| SocketAddrV4::new(CLIENT, port);
    let public = |port| SocketAddrV4::new(GATEWAY_PUBLIC, port);
    let instance = SocketAddrV4::new(FIRST_INSTANCE, 5000);
    let elastic = SocketAddrV4::new(FIRST_PUBLIC, 5000);
    let udp_out = out(&PacketBuilder::udp(client(40_001), REMOTE));
    let tcp = |flags| PacketBuilder::tcp(client(40_002), REMOTE).flags(flags);
    let opened = vec![
        (Inside, out(&tcp(tcp_flags::SYN))),
        (
            Outside,
            back(
                &PacketBuilder::tcp(REMOTE, public(40_002)).flags(tcp_flags::SYN | tcp_flags::ACK),
            ),
        ),
    ];
    let made = || vec![(Inside, udp_out.clone())];
    let quoted = PacketBuilder::udp(public(40_001), REMOTE)
        .payload_len(PAYLOAD)
        .build();
    let error = PacketBuilder::icmp(
        *REMOTE.ip(),
        GATEWAY_PUBLIC,
        DESTINATION_UNREACHABLE,
        PORT_UNREACHABLE,
    )
    .quoting(&quoted, Some(60))
    .build();
    let long = PacketBuilder::udp(client(40_003), REMOTE).payload_len(3 * PAYLOAD);
    let mut pieces = fragments_of(&addressed(long.build(), Inside), PAYLOAD).into_iter();
    let (first, later) = (
        pieces.next().unwrap_or_default(),
        pieces.next().unwrap_or_default(),
    );
    let mut other_protocol = udp_out.clone();
    // Local experimental Ethertype 1 (IEEE 802).
    other_protocol[12..14].copy_from_slice(&[0x88, 0xb5]);
    let path = |name, from, frame, end, before| Path {
        name,
        from,
        frame,
        end,
        before,
    };
    vec![
        path("out, UDP session", Inside, udp_out.clone(), Forward, made()),
        path(
            "in, UDP session",
            Outside,
            back(&PacketBuilder::udp(REMOTE, public(40_001))),
            Forward,
            made(),
        ),
        path(
            "out, TCP session",
            Inside,
            out(&tcp(tcp_flags::ACK)),
            Forward,
            opened.clone(),
        ),
        path(
            "in, TCP session",
            Outside,
            back(&PacketBuilder::tcp(REMOTE, public(40_002))),
            Forward,
            opened,
        ),
        path(
            "out, 1:1",
            Inside,
            out(&PacketBuilder::udp(instance, REMOTE)),
            Forward,
            vec![],
        ),
        path(
            "in, 1:1",
            Outside,
            back(&PacketBuilder::udp(REMOTE, elastic)),
            Forward,
            vec![],
        ),
        path(
            "in, ICMP error about a session",
            Outside,
            addressed(error, Outside),
            Forward,
            made(),
        ),
        path(
            "out, first fragment",
            Inside,
            first.clone(),
            Forward,
            vec![],
        ),
        path(
            "out, later fragment",
            Inside,
            later,
            Forward,
            vec![(Inside, first)],
        ),
        path(
            "in, no session: dropped",
            Outside,
            back(&PacketBuilder::udp(REMOTE, public(9))),
            Drop,
            vec![],
        ),
        path(
            "in, to the host itself: passed",
            Outside,
            back(&PacketBuilder::udp(
                REMOTE,
                SocketAddrV4::new(OWN_PUBLIC, 9),
            )),
            Pass,
            vec![],
        ),
        path("no IPv4: passed", Inside, other_protocol, Pass, vec![]),
    ]
}

fn out(packet: &PacketBuilder) -> Vec<u8> {
    addressed(packet.clone().payload_len(PAYLOAD).build(), Inside)
}

fn back(packet: &PacketBuilder) -> Vec<u8> {
    addressed(packet.clone().payload_len(PAYLOAD).build(), Outside)
}

/// To the device, from the host at that end.
fn addressed(mut frame: Vec<u8>, side: Side) -> Vec<u8> {
    let (router, host) = Lab::macs(side);
    frame.splice(..12, router.into_iter().chain(host));
    frame
}
