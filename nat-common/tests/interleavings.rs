//! Sessions under interleavings of several CPUs, on tables with the hazards of the kernel's
//! (`interleavings/tables.rs`). Every operation of a table is a point where another CPU may go on; which
//! one does is chosen at random, from a seed that is printed.
//!
//! `NAT_INTERLEAVINGS` multiplies the number of schedules, `NAT_INTERLEAVINGS_SEED` sets the seed. With
//! `NAT_INTERLEAVINGS_REPLAY` as the file a failure has left its schedule in, and
//! `NAT_INTERLEAVINGS_TITLE` as the last title printed before it ("quotas, Aws, protocol 1"), a test
//! repeats just that, and tells step by step what happens.

#[path = "interleavings/audit.rs"]
mod audit;
#[path = "interleavings/cpu.rs"]
mod cpu;
#[path = "interleavings/explore.rs"]
mod explore;
#[path = "interleavings/races.rs"]
mod races;
#[path = "interleavings/session_table/mod.rs"]
mod session_table;
#[path = "interleavings/setup.rs"]
mod setup;
#[path = "interleavings/tables.rs"]
mod tables;

use nat_common::flow::protocol;

use explore::{Scenario, anything, explore};
use setup::{Profile, Setup};
use tables::Capacity;

const PROTOCOLS: [u8; 3] = [protocol::UDP, protocol::TCP, protocol::ICMP];

/// Any operations, with every profile and protocol.
fn everywhere(name: &str, schedules: usize, with: impl Fn(Setup) -> Setup) {
    race(name, schedules, anything, with);
}

/// One scenario, with every profile and protocol.
fn race(name: &str, schedules: usize, scenario: Scenario, with: impl Fn(Setup) -> Setup) {
    for profile in Profile::ALL {
        for protocol in PROTOCOLS {
            let setup = with(Setup {
                protocol,
                ..Setup::roomy(profile)
            });
            explore(name, schedules, setup, scenario);
        }
    }
}

#[test]
fn with_room_for_all() {
    everywhere("room", 120, |setup| setup);
}

#[test]
fn of_one_flow() {
    everywhere("one flow", 120, |setup| Setup {
        clients: 1,
        client_ports: 1,
        remotes: 1,
        ..setup
    });
}

#[test]
fn in_a_pool_that_is_too_small() {
    everywhere("small pool", 60, |setup| Setup { ports: 2, ..setup });
    everywhere("one port", 60, |setup| Setup { ports: 1, ..setup });
}

#[test]
fn on_two_addresses() {
    everywhere("two addresses", 120, |setup| Setup {
        addresses: 2,
        ports: 2,
        ..setup
    });
}

#[test]
fn under_quotas() {
    everywhere("quotas", 120, |setup| Setup {
        sessions_per_client: 2,
        ports_per_client: 1,
        ..setup
    });
}

#[test]
fn while_ports_rest() {
    everywhere("rest", 120, |setup| Setup {
        rest: 30,
        ports: 3,
        ..setup
    });
}

#[test]
fn beside_a_forward() {
    everywhere("forward", 120, |setup| Setup {
        forwards: true,
        ..setup
    });
}

#[test]
fn while_a_forward_is_rewritten() {
    for profile in Profile::RFC {
        let setup = Setup {
            forwards: true,
            ..Setup::roomy(profile)
        };
        explore("rewritten", 1500, setup, races::a_forward_is_rewritten);
    }
}

#[test]
fn in_tables_that_are_full() {
    everywhere("few halves", 70, |mut setup| {
        setup.capacity.halves = 3;
        setup
    });
    everywhere("few bindings", 70, |mut setup| {
        setup.capacity.bindings = 4;
        setup
    });
    everywhere("few clients", 70, |mut setup| {
        setup.capacity.clients = 1;
        setup
    });
}

#[test]
fn in_tables_that_are_busy() {
    everywhere("busy", 120, |setup| Setup { busy: 6, ..setup });
}

#[test]
fn what_a_refused_removal_leaves_is_marked_dead() {
    everywhere("stubborn", 120, |setup| Setup {
        stubborn: 4,
        ..setup
    });
    everywhere("stubborn while ports rest", 60, |setup| Setup {
        stubborn: 4,
        rest: 30,
        ports: 3,
        ..setup
    });
    everywhere("stubborn and full", 60, |mut setup| {
        setup.stubborn = 4;
        setup.busy = 6;
        setup.capacity.bindings = 6;
        setup
    });
}

#[test]
fn while_time_passes() {
    everywhere("skew", 120, |setup| Setup { skew: 6, ..setup });
}

#[test]
fn all_packets_of_a_new_flow_go_one_way() {
    race("one new flow", 100, races::one_new_flow, |setup| setup);
    race("two flows", 100, races::two_flows_of_one_port, |setup| {
        setup
    });
}

#[test]
fn a_pool_fills_to_its_last_port() {
    for (addresses, ports, rest) in [(1, 3, 0), (2, 2, 0), (1, 2, 60)] {
        let with = |setup| Setup {
            addresses,
            ports,
            rest,
            ..setup
        };
        race("the last port", 40, races::the_last_port, with);
    }
    let scenario = races::the_last_ports_of_a_large_pool;
    race("a large pool", 2, scenario, |mut setup| {
        // In profile rfc each of two ranks is still a large part.
        setup.ports = 140;
        setup.clients = 142;
        setup.capacity = Capacity {
            halves: 300,
            bindings: 600,
            clients: 150,
        };
        setup
    });
}

#[test]
fn a_session_expires_once() {
    race("expiry", 150, races::expiry, |setup| setup);
    race("expiry, one port", 100, races::expiry, |setup| Setup {
        ports: 1,
        ..setup
    });
}

#[test]
fn a_binding_ends_with_its_last_session() {
    race(
        "the end of a binding",
        100,
        races::the_end_of_a_binding,
        |setup| setup,
    );
    race(
        "the end of a port",
        100,
        races::the_end_of_a_binding,
        |setup| Setup {
            ports: 1,
            rest: 30,
            ..setup
        },
    );
}

#[test]
fn rfc4787_req6_answers_alone_keep_no_session() {
    for profile in [
        Profile::RfcNobody,
        Profile::RfcByAddress,
        Profile::RfcByPort,
    ] {
        explore(
            "answers alone",
            2,
            Setup::roomy(profile),
            races::answers_alone,
        );
    }
}
