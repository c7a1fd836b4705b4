//! The short way of a packet whose flow had one a moment ago: what became of that is read from this
//! CPU's flow cache (`nat_common::flow_cache`, `lines.rs`), and nothing else is looked up. `pipeline.rs`
//! writes the lines when it has sent a packet the long way.

use nat_common::{
    address::Port,
    flow::Flow,
    flow_cache::{Line, LineKey, Moment, Origin, has_lines, is_plain},
    map_types::{Interface, Passed, SessionKey, Settings},
    parse::{self, Frame, Ipv4Packet},
    sessions::{self, Found},
    translate,
    wire::{EtherType, EthernetHeader, Mac, TcpFlags},
};

use crate::{
    forward::{Hook, NextHop},
    kernel_tables::KernelTables,
    leave::is_from_inside,
    lines,
    plan::Plan,
    policy_maps, settings,
};

#[inline(always)]
fn origin<H: Hook>(hook: &H) -> Origin {
    Origin::new(hook.ingress(), H::IS_TC)
}

/// What a packet becomes on the short way.
struct Outgoing {
    to: Flow,
    ethernet: EthernetHeader,
    /// Index of the interface to redirect it to.
    egress: u32,
}

/// Sends a packet on the short way: it is translated and complete, and the answer is the interface to
/// redirect it to. 0: nothing was changed, and it goes the long way.
#[inline(always)]
pub fn send<H: Hook>(hook: &mut H) -> u32 {
    let Some(Frame::Ipv4 { to }) = parse::frame(hook) else {
        return 0;
    };
    let Some(packet) = parse::plain(hook) else {
        return 0;
    };
    if !is_plain(&packet) {
        return 0;
    }
    let now = settings::moment();
    let outgoing = match find(hook, &packet, &now) {
        Some(line) => by_line(hook, to, &packet, &now, line),
        None => by_session(hook, to, &packet, &now),
    };
    let Some(outgoing) = outgoing else {
        return 0;
    };
    // A frame shorter than it says does not come here: `parse` has seen to that.
    if translate::apply(hook, &packet, &outgoing.to).is_none()
        || hook.store(0, outgoing.ethernet).is_none()
    {
        return 0;
    }
    outgoing.egress
}

/// The line of a packet.
#[inline(always)]
fn find<H: Hook>(hook: &H, packet: &Ipv4Packet, now: &Moment) -> Option<&'static mut Line> {
    let origin = origin(hook);
    if policy_maps::has_setting(Settings::ONE_TO_ONE)
        && let Some(line) = lines::find(&LineKey::of_pair(&packet.flow, origin), now.epoch)
    {
        return Some(line);
    }
    if lines::are_overrun(now) {
        return None;
    }
    lines::find(&LineKey::of_flow(&packet.flow, origin), now.epoch)
}

#[inline(always)]
fn by_line<H: Hook>(
    hook: &H,
    to: Mac,
    packet: &Ipv4Packet,
    now: &Moment,
    line: &'static mut Line,
) -> Option<Outgoing> {
    if !hook.is_for_us(to, line.own) {
        return None;
    }
    let (is_late, length) = (line.is_late(*now), hook.mtu_length(packet) as usize);
    if !line.takes(length) {
        return None;
    }
    if (is_late || line.checked != now.checked) && (!check(line, now) || !line.takes(length)) {
        return None;
    }
    // Last: a packet that goes nowhere keeps no session alive.
    if is_late && !confirm(line, now) {
        return None;
    }
    let segments = hook.segments();
    line.packets += segments as u32;
    line.bytes += hook.bytes(packet) as u32;
    lines::count(segments);
    Some(Outgoing {
        to: line.translate(&packet.flow),
        ethernet: EthernetHeader::new(line.destination, line.source, EtherType::Ipv4),
        egress: line.egress,
    })
}

/// Where flows are so many that they have no lines, the half of the session says what a line would, but
/// for the next hop, which many flows have in common.
#[inline(always)]
fn by_session<H: Hook>(hook: &H, to: Mac, packet: &Ipv4Packet, now: &Moment) -> Option<Outgoing> {
    let (flow, origin) = (&packet.flow, origin(hook));
    let interface = policy_maps::interface(hook.ingress())?;
    if !origin.is_some() || !hook.is_for_us(to, interface.mac) {
        return None;
    }
    let is_outward = is_from_inside(hook, interface, flow);
    let vpc = if is_outward { interface.vpc } else { 0 };
    let key = SessionKey::forward(flow, vpc);
    let mut found = Found::NONE;
    if !sessions::find_passed(&KernelTables, &key, now, origin, &mut found) {
        return None;
    }
    let to = if is_outward {
        flow.with_source(found.address, found.port)
    } else {
        flow.with_destination(found.address, found.port)
    };
    let route = lines::route(&LineKey::of_route(&to, !is_outward, origin), now.epoch)?;
    if !route.is_checked(now) || !route.takes(hook.mtu_length(packet) as usize) {
        return None;
    }
    let segments = hook.segments();
    found.carry(now.now, segments, hook.bytes(packet), packet.flags);
    lines::count(segments);
    let outgoing = Outgoing {
        to,
        ethernet: EthernetHeader::new(route.destination, route.source, EtherType::Ipv4),
        egress: route.egress,
    };
    if !lines::are_overrun(now)
        && let Some(line) = lines::room(&LineKey::of_flow(flow, origin), *now)
    {
        line.key = LineKey::of_flow(flow, origin);
        write(line, interface.mac, &found, !is_outward);
        line.follow(route);
        line.window = now.window;
        line.epoch = now.epoch;
        lines::busy(now.window);
    }
    Some(outgoing)
}

/// Writes what becomes of the packets of a half into a line.
#[inline(always)]
fn write(line: &mut Line, own: Mac, half: &Found, inward: bool) {
    line.own = own;
    line.address = half.address;
    line.port = half.port;
    line.direction = if !inward {
        Line::OUTWARD
    } else if half.refreshes() {
        Line::INWARD
    } else {
        Line::INWARD_ONLY
    };
}

/// Looks at the session of a line, and gives it the line's counts; false when its packets no longer go
/// that way. Under the same policy, the session is all that may have changed.
#[inline(never)]
fn confirm(line: &mut Line, now: &Moment) -> bool {
    if line.key.is_of_flow() {
        let mut found = Found::NONE;
        let Some((side, key)) = lines::session_key(line) else {
            return false;
        };
        let is_found = sessions::find(&KernelTables, side, &key, now.now, &mut found);
        if !is_found || found.address != line.address || found.port != line.port {
            line.end();
            return false;
        }
        // Made anew: its first packet counts where its timers look.
        if found.is_new() {
            return false;
        }
        let (packets, bytes) = line.take_counts();
        found.carry(now.now, packets, bytes, TcpFlags::NONE);
    }
    line.window = now.window;
    lines::busy(now.window);
    true
}

/// Looks at the next hop of a line; false when nobody has asked the host for it in this half second.
#[inline(never)]
fn check(line: &mut Line, now: &Moment) -> bool {
    let flow = line.translate(&line.key.flow());
    let origin = line.key.origin();
    let route = LineKey::of_route(&flow, line.is_inward(), origin);
    match lines::route(&route, now.epoch) {
        Some(route) if route.is_checked(now) => {
            line.follow(route);
            true
        }
        _ => false,
    }
}

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
    let Some(line) = lines::find(key, policy_maps::epoch()) else {
        return 0;
    };
    let (packets, bytes) = line.take_counts();
    if ends != 0 {
        line.end();
    }
    packets << 32 | bytes
}

/// Remembers what became of a packet that was just sent on.
#[inline(always)]
pub fn remember<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &Plan,
    next: &NextHop,
) {
    let (flow, origin) = (&packet.flow, origin(hook));
    let is_out = plan.to.source != flow.source || plan.to.source_port != flow.source_port;
    let is_in = plan.to.destination != flow.destination
        || plan.to.destination_port != flow.destination_port;
    // A hairpin packet changes at both ends.
    if !is_plain(packet)
        || is_out == is_in
        || plan.renumbers
        || !next.is_resolved()
        || !origin.is_some()
        || !(plan.has_session || plan.is_stateless)
    {
        return;
    }
    let key = if plan.has_session {
        LineKey::of_flow(flow, origin)
    } else {
        LineKey::of_pair(flow, origin)
    };
    let now = settings::moment();
    // Decided under an earlier policy.
    if now.epoch != plan.epoch {
        return;
    }
    let half = if plan.inward {
        &plan.reverse
    } else {
        &plan.forward
    };
    half.pass(Passed {
        epoch: now.epoch,
        origin,
    });
    // With the second packet: flows of one packet do not crowd out the others. And the first answer may
    // leave its session less time than has passed.
    if plan.has_session && (half.has_carried_one() || lines::are_overrun(&now)) {
        return;
    }
    let Some(line) = lines::room(&key, now) else {
        return;
    };
    line.key = key;
    if plan.has_session {
        write(line, interface.mac, half, plan.inward);
    } else {
        line.own = interface.mac;
        line.port = Port::NONE;
        (line.address, line.direction) = if plan.inward {
            (plan.to.destination, Line::INWARD)
        } else {
            (plan.to.source, Line::OUTWARD)
        };
    }
    lead(line, next, now);
    lines::busy(now.window);
}

/// Writes a next hop that was just found into a line.
#[inline(always)]
fn lead(line: &mut Line, next: &NextHop, now: Moment) {
    line.egress = next.interface;
    line.destination = next.destination;
    line.source = next.source;
    line.mtu = next.mtu;
    line.window = now.window;
    line.epoch = now.epoch;
    line.checked = now.checked;
}

/// The next hop of packets that become `flow`, if somebody asked the host for it in this half second and
/// there is room for a packet of this length.
#[inline(never)]
pub fn next_hop<H: Hook>(
    hook: &H,
    flow: &Flow,
    inward: bool,
    length: u16,
    next: &mut NextHop,
) -> bool {
    let now = settings::moment();
    let key = LineKey::of_route(flow, inward, origin(hook));
    let Some(line) = lines::route(&key, now.epoch) else {
        return false;
    };
    if !line.is_checked(&now) || length > line.mtu {
        return false;
    }
    next.interface = line.egress;
    next.gateway = line.address;
    next.destination = line.destination;
    next.source = line.source;
    next.mtu = line.mtu;
    true
}

/// Remembers the next hop of packets that become `flow`.
#[inline(never)]
pub fn remember_next_hop<H: Hook>(hook: &H, flow: &Flow, inward: bool, next: &NextHop) {
    let (now, origin) = (settings::moment(), origin(hook));
    if !next.is_resolved() || !origin.is_some() {
        return;
    }
    let key = LineKey::of_route(flow, inward, origin);
    if let Some(line) = lines::room_for_route(&key, &now) {
        line.key = key;
        line.address = next.gateway;
        lead(line, next, now);
    }
}
