//! What the flow cache remembers of packets that went the long way: what became of them, in a line and in the
//! half that carried them, and where they went on to, in a path. `flow_cache.rs` reads it.

use nat_common::{
    address::{Address, Port},
    flow_cache::{Direction, Hop, LineKey, Moment, Path, has_lines, is_plain},
    map_types::Interface,
    parse::Ipv4Packet,
    wire::Mac,
};

use crate::{
    flow_cache::origin,
    forward::{Hook, NextHop},
    halves::{CARRIED_ONE, REFRESHES, pass_half},
    lines::Lines,
    paths,
    plan::Plan,
    settings,
};

/// What a line has counted that no session has.
#[derive(Clone, Copy)]
pub struct Pending {
    pub packets: u64,
    pub bytes: u64,
}

impl Pending {
    /// Nothing.
    pub const NONE: Self = Self {
        packets: 0,
        bytes: 0,
    };
}

/// Takes over what the line of this packet's flow has counted, for a packet on its long way. The line of
/// one that is not plain ends: the next packet is to tell the session what it is.
#[inline(always)]
pub fn take<H: Hook>(hook: &H, packet: &Ipv4Packet) -> Pending {
    let mut pending = 0;
    if has_lines(packet.flow.protocol) {
        let key = LineKey::of_flow(&packet.flow, origin(hook));
        pending = settle(&key, u32::from(!is_plain(packet)));
    }
    Pending {
        packets: pending >> 32,
        bytes: pending & u64::from(u32::MAX),
    }
}

/// As [`take`]; packets and bytes in one word.
#[inline(never)]
fn settle(key: &LineKey, ends: u32) -> u64 {
    let Some(lines) = Lines::at(&settings::moment()) else {
        return 0;
    };
    let Some(line) = lines.find(key) else {
        return 0;
    };
    let (packets, bytes) = line.take_counts();
    if ends != 0 {
        line.end();
    }
    packets << 32 | bytes
}

/// Remembers what became of a packet that was just sent on; `carried` is what the half said that carried it.
#[inline(always)]
pub fn remember<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &Plan,
    carried: u32,
    next: &NextHop,
) {
    let (flow, origin) = (&packet.flow, origin(hook));
    let is_out = plan.to.source != flow.source || plan.to.source_port != flow.source_port;
    let is_in = plan.to.destination != flow.destination
        || plan.to.destination_port != flow.destination_port;
    // A hairpin packet changes at both ends, by two halves or one that was found by what it became on its way; and
    // one on its way to an instance has another session.
    if (is_out && is_in && !plan.is_far())
        || (plan.is_answer() && plan.reverse.key.flow() != *flow)
        || plan.renumbers
        || !next.is_resolved()
        || !origin.is_some()
        // Their sessions may end too soon for it.
        || (interface.is(Interface::SERVICES) && !plan.is_far())
        || !(plan.has_session || plan.is_stateless || plan.is_steady)
        || (!plan.is_stateless && !plan.via.is_unspecified())
        || plan.reverse.is_of_another_way()
    {
        return;
    }
    let now = settings::moment();
    // Decided under an earlier policy.
    if now.epoch != plan.epoch {
        return;
    }
    if !plan.has_session {
        if !is_plain(packet) {
            return;
        }
        if plan.is_stateless {
            remember_pair(interface, plan, next, &LineKey::of_pair(flow, origin), &now);
            return;
        }
        let to = &plan.to;
        let (becomes, direction) = if to.destination == flow.destination {
            ((to.source, to.source_port), Direction::SteadyOutward)
        } else {
            (
                (to.destination, to.destination_port),
                Direction::SteadyInward,
            )
        };
        if let Some(mut lines) = Lines::at(&now) {
            write(
                &mut lines,
                &LineKey::of_flow(flow, origin),
                becomes,
                direction,
            );
        }
        return;
    }
    let half = if plan.is_answer() {
        &plan.reverse
    } else {
        &plan.forward
    };
    if carried == 0 {
        return;
    }
    let key = half.key;
    pass_half(
        &raw const key,
        u32::from(half.made),
        now.epoch,
        origin.raw(),
    );
    // With the second packet: flows of one packet do not crowd out the others. And the first answer may
    // leave its session less time than has passed.
    if !is_plain(packet)
        || carried & CARRIED_ONE != 0
        || plan.is_far()
        || plan.is_kept(flow.destination)
    {
        return;
    }
    let direction = if !plan.is_answer() {
        Direction::Outward
    } else if plan.to == *flow {
        Direction::Answer
    } else if carried & REFRESHES != 0 {
        Direction::Inward
    } else {
        Direction::InwardOnly
    };
    let becomes = (half.address, half.port);
    if let Some(mut lines) = Lines::at(&now) {
        write(
            &mut lines,
            &LineKey::of_flow(flow, origin),
            becomes,
            direction,
        );
    }
}

/// Writes what becomes of the packets of a half into a line, if there is one for them.
#[inline(always)]
pub fn write(
    lines: &mut Lines,
    key: &LineKey,
    (address, port): (Address, Port),
    direction: Direction,
) {
    if lines.are_overrun() {
        return;
    }
    let Some(line) = lines.room(key) else {
        return;
    };
    let was_idle = line.is_idle(lines.age());
    line.key = *key;
    line.generation = lines.age().generation;
    line.address = address;
    line.port = port;
    line.turn(direction);
    line.look(lines.age());
    line.forget_hop();
    if was_idle {
        lines.busy();
    }
}

#[inline(always)]
fn remember_pair(interface: &Interface, plan: &Plan, next: &NextHop, key: &LineKey, now: &Moment) {
    let Some(pair) = paths::room_for_path(key, now) else {
        return;
    };
    pair.key = *key;
    pair.is_inward = plan.inward;
    pair.address = if plan.inward {
        plan.to.destination
    } else {
        plan.to.source
    };
    lead(pair, interface.mac, next, now);
}

/// Writes a next hop that was just found into a path.
#[inline(always)]
fn lead(path: &mut Path, own: Mac, next: &NextHop, now: &Moment) {
    path.hop = Hop {
        egress: next.interface,
        half_second: now.half_second,
        own,
        mtu: next.mtu,
        destination: next.destination,
        source: next.source,
        reserved: 0,
    };
    path.epoch = now.epoch;
}

/// The next hop of packets that go this way, if somebody asked the host for it in this half second and
/// there is room for a packet of this length.
#[inline(never)]
pub fn next_hop(way: &LineKey, epoch: u32, length: u16, next: &mut NextHop) -> bool {
    let now = settings::moment();
    let Some(path) = paths::path(way, epoch) else {
        return false;
    };
    let hop = &path.hop;
    if !hop.is_checked(&now) || length > hop.mtu {
        return false;
    }
    next.interface = hop.egress;
    next.gateway = path.address;
    next.destination = hop.destination;
    next.source = hop.source;
    next.mtu = hop.mtu;
    true
}

/// Remembers the next hop of packets that go this way, and were sent to `own`.
#[inline(never)]
pub fn remember_next_hop(way: &LineKey, own: Mac, next: &NextHop) {
    let now = settings::moment();
    // Found under an earlier policy.
    if !next.is_resolved() || !way.origin().is_some() || now.epoch != next.view.epoch() {
        return;
    }
    if let Some(path) = paths::room_for_path(way, &now) {
        path.key = *way;
        path.address = next.gateway;
        lead(path, own, next, &now);
    }
}
