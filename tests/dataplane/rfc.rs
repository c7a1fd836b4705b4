//! What the RFCs ask of a NAT, one requirement each, on packets through the real programs.
//! docs/conformance.md names these tests; `tests/conformance.rs` sees to that.
//!
//! Tests of one gateway share a bench: to set one up takes seconds.

use std::{
    net::SocketAddrV4,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use nat_tests::{
    model::{Filtering, NatGateway, Side},
    packets::{
        Icmp, Ipv4, Packet, PacketBuilder, Transport, addresses, checksum_errors, tcp_flags,
        translated_checksum_errors,
    },
};

use crate::{
    PRIVATE,
    bench::{Bench, Hook, Outcome},
};

#[path = "rfc/icmp.rs"]
pub mod icmp;
#[path = "rfc/limits.rs"]
pub mod limits;
#[path = "rfc/tcp.rs"]
pub mod tcp;
#[path = "rfc/too_big.rs"]
pub mod too_big;
#[path = "rfc/udp.rs"]
pub mod udp;

/// A gateway that tests share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Aws,
    /// Address-dependent filtering.
    Rfc,
    /// Endpoint-independent filtering.
    Open,
}

const BOTH: [Kind; 2] = [Kind::Aws, Kind::Rfc];
const ALL: [Kind; 3] = [Kind::Aws, Kind::Rfc, Kind::Open];

impl Kind {
    fn gateway(self) -> NatGateway {
        let aws = NatGateway::new(vec![addresses::NAT_PUBLIC]);
        match self {
            Self::Aws => aws,
            Self::Rfc => aws.rfc(Filtering::AddressDependent),
            Self::Open => aws.rfc(Filtering::EndpointIndependent),
        }
    }

    /// A bench with this gateway, as new.
    fn bench(self, hook: Hook) -> MutexGuard<'static, Bench> {
        static BENCHES: [OnceLock<Mutex<Bench>>; 6] = [const { OnceLock::new() }; 6];
        let slot = &BENCHES[self as usize * 2 + usize::from(hook == Hook::Tc)];
        let bench = slot.get_or_init(|| Mutex::new(Bench::with_gateway(hook, self.gateway())));
        // Another test's failure is none of this one's.
        let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
        bench.reset();
        bench.settle(0);
        bench
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn host() -> SocketAddrV4 {
    SocketAddrV4::new(addresses::PRIVATE_A, 40_001)
}

fn neighbour() -> SocketAddrV4 {
    SocketAddrV4::new(addresses::PRIVATE_B, 40_001)
}

fn server() -> SocketAddrV4 {
    SocketAddrV4::new(addresses::SERVER, 443)
}

fn other_server() -> SocketAddrV4 {
    SocketAddrV4::new(addresses::OTHER_SERVER, 443)
}

fn datagram(from: SocketAddrV4, to: SocketAddrV4) -> PacketBuilder {
    PacketBuilder::udp(from, to).payload_len(9)
}

fn segment(from: SocketAddrV4, to: SocketAddrV4, flags: u8) -> PacketBuilder {
    PacketBuilder::tcp(from, to).flags(flags)
}

fn syn(from: SocketAddrV4, to: SocketAddrV4) -> PacketBuilder {
    segment(from, to, tcp_flags::SYN)
}

fn parsed(frame: &[u8]) -> Ipv4 {
    Packet::parse(frame).unwrap().ipv4().unwrap().clone()
}

/// The IP packet that was sent on; what was right is right afterwards.
#[track_caller]
fn sent(bench: &mut Bench, side: Side, packet: &PacketBuilder) -> Ipv4 {
    let frame = packet.build();
    match bench.run(side, &frame) {
        Outcome::Forward(out) => {
            if checksum_errors(&frame).is_empty() {
                assert_eq!(translated_checksum_errors(&frame, &out), [""; 0]);
            }
            parsed(&out)
        }
        other => panic!("not sent on: {other:?}"),
    }
}

/// The public end that a packet from inside is sent on with.
#[track_caller]
fn public(bench: &mut Bench, packet: &PacketBuilder) -> SocketAddrV4 {
    sent(bench, PRIVATE, packet).source()
}

#[track_caller]
fn verdict(bench: &mut Bench, side: Side, packet: &PacketBuilder) -> &'static str {
    bench.run_for_verdict(side, &packet.build())
}

/// Whether a packet from outside gets in; otherwise it is dropped in silence.
#[track_caller]
fn gets_in(bench: &mut Bench, packet: &PacketBuilder) -> bool {
    match bench.run(Side::Uplink, &packet.build()) {
        Outcome::Forward(_) => true,
        Outcome::Drop("no_session") => false,
        other => panic!("{other:?}"),
    }
}

/// The reason and the ICMP error that a packet is refused with.
#[track_caller]
fn refusal(bench: &mut Bench, side: Side, packet: &PacketBuilder) -> (&'static str, Icmp) {
    match bench.run(side, &packet.build()) {
        Outcome::Refuse(reason, reply) => {
            assert_eq!(checksum_errors(&reply), [""; 0]);
            let Transport::Icmp(icmp) = parsed(&reply).transport else {
                panic!("no ICMP error: {reply:02x?}");
            };
            (reason, icmp)
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Lets the sweep of the controller end what is over.
pub fn swept(bench: &mut Bench) -> u32 {
    bench.sweep() + bench.sweep()
}
