//! Packets that go on by the flow cache: they are the ones that the tables count in the end.

use std::net::SocketAddrV4;

use nat_tests::{
    model::Side,
    packets::{PacketBuilder, addresses},
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    PRIVATE,
    bench::{Bench, Hook, source},
};

/// This thread stays on its CPU, whose lines it then meets again.
fn stay() {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
}

/// Packets that lines have counted are in the session's count, also across a change of policy, and
/// the session itself hears of them late.
pub fn counts_are_exact_whoever_counts(hook: Hook) {
    let mut bench = Bench::new(hook);
    bench.inside(|bench| {
        stay();
        count(bench);
    });
}

fn count(bench: &mut Bench) {
    let inside = SocketAddrV4::new(addresses::PRIVATE_A, 40_001);
    let server = SocketAddrV4::new(addresses::SERVER, 443);
    let outward = PacketBuilder::udp(inside, server).build();
    let first = bench.run_here(PRIVATE, &outward);
    let public = source(first.forwarded().unwrap());
    let inward = PacketBuilder::udp(server, public).build();
    let send = |bench: &mut Bench, out: usize, back: usize| {
        for (count, side, frame) in [(out, PRIVATE, &outward), (back, Side::Uplink, &inward)] {
            for _ in 0..count {
                assert!(bench.run_here(side, frame).forwarded().is_some());
            }
        }
    };
    send(bench, 5, 3);
    let halves = bench.halves_counted();
    assert_eq!(halves, (1, 1), "the first packets went by the tables alone");
    bench.void_lines();
    send(bench, 2, 1);
    let [record] = &bench.records()[..] else {
        panic!("one session");
    };
    assert_eq!((record.packets_out, record.packets_in), (8, 4));
    assert_eq!(record.bytes_out % record.packets_out, 0);
    assert_eq!(record.state, "two-way");
}
