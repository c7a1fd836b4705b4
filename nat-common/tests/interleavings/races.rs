//! Races that a few operations make, each in one scenario.

use std::{sync::Arc, sync::Mutex};

use nat_common::{
    drop_reason::DropReason,
    flow::Flow,
    lifecycle::GRACE,
    map_types::{Holds, SessionKey, binding_key},
    sessions::outside_flow,
    shared::{client_key, hold_binding, release_binding},
    tables::{Side, Tables},
    wire::TcpFlags,
};
use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};

use super::{cpu::World, explore::together, setup::VPC, tables::GATEWAY};

/// One packet of each of these flows at once, each on its own CPU; answers what became of them.
fn at_once(world: &Arc<World>, flows: &[Flow]) -> Vec<Result<(u32, u16), DropReason>> {
    let results = Arc::new(Mutex::new(vec![Err(DropReason::Internal); flows.len()]));
    let threads: Vec<_> = flows
        .iter()
        .enumerate()
        .map(|(at, flow)| {
            let (world, results, flow) = (Arc::clone(world), Arc::clone(&results), *flow);
            thread::spawn(move || {
                let found = world.packet_out(&flow, TcpFlags::SYN);
                let became = found.map(|found| (found.address.raw(), found.port.get()));
                results.lock().expect("nobody panicked")[at] = became;
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a CPU goes on");
    }
    let results = results.lock().expect("nobody panicked");
    results.clone()
}

/// Several packets of one new flow: all go on, all by the same port.
pub fn one_new_flow(world: &Arc<World>) {
    let cpus = thread_rng().gen_range(2..=4);
    let became = at_once(world, &vec![world.setup.flow(0, 0, 0); cpus]);
    assert!(
        became[0].is_ok() && became.iter().all(|other| *other == became[0]),
        "packets of one flow became {became:?}"
    );
}

/// Two flows of one inside address and port, new at once, with all packets going on.
pub fn two_flows_of_one_port(world: &Arc<World>) {
    let flows = [0, 1, 0].map(|remote| world.setup.flow(0, 0, remote));
    let became = at_once(world, &flows);
    assert!(became.iter().all(Result::is_ok), "{became:?}");
    if world.setup.profile.is_rfc() {
        assert!(became.iter().all(|other| *other == became[0]), "{became:?}");
    }
}

/// As many flows as ports, at once, all get one; the next one none, until one of them ends.
pub fn the_last_port(world: &Arc<World>) {
    let ports = u32::from(world.setup.ports) * world.setup.addresses;
    let flows: Vec<_> = (0..ports)
        .map(|client| world.setup.flow(client as u8, 0, 0))
        .collect();
    let became = at_once(world, &flows);
    assert!(became.iter().all(Result::is_ok), "{became:?}");
    let late = world.setup.flow(ports as u8, 0, 0);
    let later = world.setup.flow(ports as u8 + 1, 0, 0);
    let refused = at_once(world, &[late, later]);
    assert_eq!(refused, [Err(DropReason::PortExhausted); 2]);
    // All are expired now. With overloading the port is simply taken; a binding must end first, which
    // is known at once, and its port rest.
    world.pass(100);
    if world.setup.profile.is_rfc() {
        let expired = flows[thread_rng().gen_range(0..flows.len())];
        assert_eq!(at_once(world, &[late]), [Err(DropReason::PortExhausted)]);
        assert!(world.end_if_expired(&SessionKey::forward(&expired, VPC)));
        if world.rests() {
            world.pass(world.setup.rest - 1);
            assert_eq!(at_once(world, &[late]), [Err(DropReason::PortExhausted)]);
            // Longer than that is remembered.
            world.pass(10);
        }
    }
    let admitted = at_once(world, &[late]);
    assert!(admitted[0].is_ok(), "{admitted:?}");
}

/// In a pool that is too large to be walked through at once: the last two ports go to two of three who
/// want them, and one that is freed to the next, whatever was learnt about which are taken.
pub fn the_last_ports_of_a_large_pool(world: &Arc<World>) {
    let ports = world.setup.ports as u8;
    let flow = |client| world.setup.flow(client, 0, 0);
    for client in 2..ports {
        let made = world.packet_out(&flow(client), TcpFlags::SYN);
        made.expect("there are ports left");
    }
    let became = at_once(world, &[flow(0), flow(1), flow(ports)]);
    let made = became.iter().filter(|became| became.is_ok()).count();
    assert_eq!(made, 2, "{became:?}");
    world.pass(100);
    let expired = flow(thread_rng().gen_range(2..ports));
    assert!(world.end_if_expired(&SessionKey::forward(&expired, VPC)));
    let became = at_once(world, &[flow(ports + 1)]);
    assert!(became[0].is_ok(), "{became:?}");
}

/// A session that has just expired meets packets of both directions, one that wants its port, and a
/// sweep.
pub fn expiry(world: &Arc<World>) {
    let flow = world.setup.flow(0, 0, 0);
    let key = SessionKey::forward(&flow, VPC);
    let made = world.packet_out(&flow, TcpFlags::SYN);
    made.expect("an empty table takes a session");
    let timeout = match world.setup.protocol {
        6 => 24,
        17 => 20,
        _ => 12,
    };
    // A sweep may have seen it. Until the grace ends a packet revives it; after that anybody ends it.
    world.pass(timeout + thread_rng().gen_range(0..3));
    if thread_rng().r#gen() {
        world.sweep(&key);
    }
    world.pass(thread_rng().gen_range(GRACE - 2..GRACE + 2));
    together(world, 4, |world, cpu| {
        let flow = world.setup.flow(0, 0, 0);
        let key = SessionKey::forward(&flow, VPC);
        let flags = [TcpFlags::SYN, TcpFlags::RST][thread_rng().gen_range(0..2)];
        match (cpu, thread_rng().r#gen()) {
            (0, _) | (1, false) => {
                let _ = world.packet_out(&flow, TcpFlags::SYN);
            }
            // Wants the same port in the profile aws.
            (1, true) => {
                let _ = world.packet_out(&world.setup.flow(1, 0, 0), TcpFlags::SYN);
            }
            (2, _) => {
                if let Some(half) = world.tables.peek(Side::Inside, &key) {
                    let _ = world.packet_in(&outside_flow(&key, &half), flags);
                }
            }
            _ => {
                world.sweep(&key);
            }
        }
    });
}

/// The last session of a binding ends on one CPU while others make sessions that share it.
pub fn the_end_of_a_binding(world: &Arc<World>) {
    let flow = world.setup.flow(0, 0, 0);
    let made = world.packet_out(&flow, TcpFlags::SYN);
    made.expect("an empty table takes a session");
    world.pass(200);
    together(world, 3, |world, cpu| {
        let flow = world.setup.flow(0, 0, 0);
        match cpu {
            0 => {
                world.end_if_expired(&SessionKey::forward(&flow, VPC));
            }
            1 => {
                let other = world.setup.flow(0, 0, 1);
                let _ = world.packet_out(&other, TcpFlags::SYN);
            }
            _ => {
                let _ = world.packet_out(&flow, TcpFlags::SYN);
            }
        }
    });
}

/// What is sent from outside alone does not keep a UDP session past the sweeps (RFC 4787 REQ-6).
pub fn answers_alone(world: &Arc<World>) {
    let flow = world.setup.flow(0, 0, 0);
    let key = SessionKey::forward(&flow, VPC);
    let made = world.packet_out(&flow, TcpFlags::NONE);
    let made = made.expect("an empty table takes a session");
    let inbound = flow.with_source(made.address, made.port).reversed();
    // The longer of both timers, the grace, and sweeps a second apart.
    for tick in 1..40 + GRACE + 3 * 9 {
        world.pass(1);
        let _ = world.packet_in(&inbound, TcpFlags::NONE);
        if tick % 9 == 0 {
            world.sweep(&key);
        }
    }
    assert!(world.packet_in(&inbound, TcpFlags::NONE).is_err());
    assert_eq!(world.tables.peek(Side::Inside, &key), None);
    // PCT wants a choice.
    together(world, 2, |world, _| world.tables.point());
}

/// The controller has taken a forward away and writes it anew, while the binding of another inside
/// port ends and is asked for.
pub fn a_forward_is_rewritten(world: &Arc<World>) {
    let made = world.packet_out(&world.setup.flow(1, 0, 0), TcpFlags::SYN);
    made.expect("an empty table takes a session");
    world.pass(200);
    let [(inside_key, _), _] = world.setup.forward_entries();
    world.tables.remove_binding(Side::Inside, &inside_key);
    together(world, 2, |world, cpu| {
        let flow = world.setup.flow(1, 0, 0);
        let [(inside_key, inside), _] = world.setup.forward_entries();
        if cpu == 0 {
            world.end_if_expired(&SessionKey::forward(&flow, VPC));
            let written = world
                .tables
                .insert_binding(Side::Inside, &inside_key, &inside);
            assert_eq!(written, Ok(()));
            return;
        }
        let key = binding_key(GATEWAY, &flow);
        if let Ok(Some((address, port, holds))) = hold_binding(&world.tables, &key) {
            assert_ne!((address, port), (inside.address, inside.port));
            assert_eq!(holds, Holds::BINDING);
            release_binding(&world.tables, &key, &client_key(GATEWAY, 0, &flow));
        }
    });
}
