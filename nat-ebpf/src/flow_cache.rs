//! The short way of a packet whose flow had one a moment ago: what becomes of it is read from this CPU's
//! flow cache (`nat_common::flow_cache`, `lines.rs`) or, where flows are too many for that, from the half
//! of its session, and where it goes on to from a path. `pipeline.rs` writes them when it has sent a packet
//! the long way.

use nat_common::{
    address::{Address, Port},
    flow::Flow,
    flow_cache::{Direction, Line, LineKey, Moment, Origin, Path, has_lines, is_plain},
    map_types::{Interface, SessionKey, Settings},
    parse::{self, Frame, Ipv4Packet},
    sessions::{self, Found},
    translate,
    wire::{EtherType, EthernetHeader, Mac, TcpFlags},
};

use crate::{
    forward::{Hook, NextHop},
    halves::{CARRIED_ONE, REFRESHES, pass_half},
    kernel_tables::KernelTables,
    leave::{is_from_subnet, sender},
    lines::{self, Lines},
    plan::Plan,
    policy_maps::{View, is_its_station},
    settings,
};

/// Where the packets of this hook come from.
#[inline(always)]
pub fn origin<H: Hook>(hook: &H) -> Origin {
    Origin::new(hook.ingress(), H::IS_TC)
}

/// What a packet becomes on the short way, and the path it takes.
struct Outgoing {
    to: Flow,
    path: &'static Path,
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
    if !is_plain(&packet) || !origin(hook).is_some() {
        return 0;
    }
    let Some(outgoing) = find(hook, to, &packet) else {
        return 0;
    };
    let ethernet = EthernetHeader::new(
        outgoing.path.destination,
        outgoing.path.source,
        EtherType::Ipv4,
    );
    // A frame shorter than it says does not come here: `parse` has seen to that.
    if translate::apply(hook, &packet, &outgoing.to).is_none() || hook.store(0, ethernet).is_none()
    {
        return 0;
    }
    outgoing.path.egress
}

#[inline(always)]
fn find<H: Hook>(hook: &H, to: Mac, packet: &Ipv4Packet) -> Option<Outgoing> {
    let (view, origin) = (View::now(), origin(hook));
    let settings = view.settings()?;
    let now = &Moment::at(settings::now(), view.epoch(), settings);
    if settings.is(Settings::STATIONS) && !is_its_station(hook, view, &packet.flow) {
        return None;
    }
    let has_public_ips = settings.is(Settings::ONE_TO_ONE);
    if has_public_ips
        && let Some(pair) = lines::path(&LineKey::of_pair(&packet.flow, origin), now.epoch)
    {
        return by_pair(hook, to, packet, now, pair);
    }
    let mut lines = Lines::at(now)?;
    if !lines.are_overrun()
        && let Some(line) = lines.find(&LineKey::of_flow(&packet.flow, origin))
    {
        return by_line(hook, to, packet, now, &mut lines, line);
    }
    let interface = view.interface(hook.ingress())?;
    // Last: where sessions are what matters, pairs are but in the way.
    if !has_public_ips
        && settings.is(Settings::LOCAL)
        && interface.is(Interface::INSIDE)
        && let Some(pair) = lines::path(&LineKey::of_pair(&packet.flow, origin), now.epoch)
    {
        return by_pair(hook, to, packet, now, pair);
    }
    by_session(hook, view, interface, to, packet, now, &mut lines)
}

/// The path of packets that become `to`, if somebody asked the host for it in this half second, and this
/// one may take it.
#[inline(always)]
fn path<H: Hook>(
    hook: &H,
    sent_to: Mac,
    packet: &Ipv4Packet,
    now: &Moment,
    to: &Flow,
    is_answer: bool,
) -> Option<&'static Path> {
    let way = LineKey::of_route(&packet.flow, to, is_answer, origin(hook));
    let path = lines::path(&way, now.epoch)?;
    may_take(hook, sent_to, packet, now, path).then_some(path)
}

#[inline(always)]
fn may_take<H: Hook>(
    hook: &H,
    sent_to: Mac,
    packet: &Ipv4Packet,
    now: &Moment,
    path: &Path,
) -> bool {
    path.is_checked(now) && hook.is_for_us(sent_to, path.own) && hook.mtu_length(packet) <= path.mtu
}

/// Between two addresses no session is needed.
#[inline(always)]
fn by_pair<H: Hook>(
    hook: &H,
    sent_to: Mac,
    packet: &Ipv4Packet,
    now: &Moment,
    pair: &'static Path,
) -> Option<Outgoing> {
    may_take(hook, sent_to, packet, now, pair).then(|| Outgoing {
        to: pair.translate(&packet.flow),
        path: pair,
    })
}

#[inline(always)]
fn by_line<H: Hook>(
    hook: &H,
    sent_to: Mac,
    packet: &Ipv4Packet,
    now: &Moment,
    lines: &mut Lines,
    line: &mut Line,
) -> Option<Outgoing> {
    let to = line.translate(&packet.flow);
    let path = path(hook, sent_to, packet, now, &to, line.is_inward())?;
    // Last: a packet that goes nowhere keeps no session alive.
    if !line.counts_more() {
        return None;
    }
    if line.is_late(lines.age()) {
        if !confirm(line, now) {
            return None;
        }
        let is_idle = line.is_idle(lines.age());
        line.look(lines.age());
        if is_idle {
            lines.busy();
        }
    }
    let segments = hook.segments();
    line.packets += segments as u16;
    line.bytes += hook.bytes(packet) as u32;
    lines.count(segments);
    Some(Outgoing { to, path })
}

/// Where flows are so many that they have no lines, the half of the session says what a line would.
#[inline(always)]
fn by_session<H: Hook>(
    hook: &H,
    view: View,
    interface: &Interface,
    sent_to: Mac,
    packet: &Ipv4Packet,
    now: &Moment,
    lines: &mut Lines,
) -> Option<Outgoing> {
    let (flow, origin) = (&packet.flow, origin(hook));
    let is_from_inside = is_from_subnet(hook, view, interface, flow);
    let vpc = if is_from_inside { interface.vpc } else { 0 };
    let mut key = SessionKey::forward(flow, vpc);
    let mut found = Found::NONE;
    let mut direction = if is_from_inside {
        Direction::Outward
    } else {
        Direction::Inward
    };
    if !sessions::find_passed(&KernelTables, &key, now, origin, &mut found) {
        if !is_from_inside || !interface.is(Interface::TRACKS) {
            return None;
        }
        key = SessionKey::answers(flow, vpc);
        direction = Direction::Answer;
        if !sessions::find_passed(&KernelTables, &key, now, origin, &mut found) {
            return None;
        }
    }
    let is_outward = matches!(direction, Direction::Outward);
    let to = if is_outward {
        flow.with_source(found.address, found.port)
    } else {
        flow.with_destination(found.address, found.port)
    };
    let path = path(hook, sent_to, packet, now, &to, !is_outward)?;
    let segments = hook.segments();
    found.carry(now.now, segments, hook.bytes(packet), packet.flags);
    lines.count(segments);
    if matches!(direction, Direction::Inward) && !found.refreshes() {
        direction = Direction::InwardOnly;
    }
    let becomes = (found.address, found.port);
    write(lines, &LineKey::of_flow(flow, origin), becomes, direction);
    Some(Outgoing { to, path })
}

/// Looks at the session of a line, and gives it the line's counts; false when its packets no longer go
/// that way. Under the same policy, the session is all that may have changed.
#[inline(never)]
fn confirm(line: &mut Line, now: &Moment) -> bool {
    let mut found = Found::NONE;
    let Some((side, key)) = lines::session_key(line) else {
        return false;
    };
    let is_found = sessions::find(&KernelTables, side, &key, now.now, &mut found);
    let is_same = is_found && found.address == line.address && found.port == line.port;
    // Of one made anew, what was counted is not its, and its first packet counts where its timers look.
    if !is_same || found.is_new() {
        line.end();
        return false;
    }
    let (packets, bytes) = line.take_counts();
    found.carry(now.now, packets, bytes, TcpFlags::NONE);
    true
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
    // A hairpin packet changes at both ends, and one on its way to an instance has another session.
    if (is_out && is_in)
        || plan.renumbers
        || !next.is_resolved()
        || !origin.is_some()
        || !(plan.has_session || plan.is_stateless)
        || (plan.has_session && !plan.via.is_unspecified())
        || plan.reverse.is_of_another_way()
    {
        return;
    }
    // What an appliance sends for others may be what they send themselves by the same interface.
    if interface.is(Interface::HAS_APPLIANCES)
        && sender(hook, next.view).is_some_and(|own| own != flow.source)
    {
        return;
    }
    let now = settings::moment();
    // Decided under an earlier policy.
    if now.epoch != plan.epoch {
        return;
    }
    if !plan.has_session {
        if is_plain(packet) {
            remember_pair(interface, plan, next, &LineKey::of_pair(flow, origin), &now);
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
    if !is_plain(packet) || carried & CARRIED_ONE != 0 {
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
fn write(lines: &mut Lines, key: &LineKey, (address, port): (Address, Port), direction: Direction) {
    if lines.are_overrun() {
        return;
    }
    let Some(line) = lines.room(key) else {
        return;
    };
    line.key = *key;
    line.generation = lines.age().generation;
    line.address = address;
    line.port = port;
    line.turn(direction);
    line.look(lines.age());
    lines.busy();
}

#[inline(always)]
fn remember_pair(interface: &Interface, plan: &Plan, next: &NextHop, key: &LineKey, now: &Moment) {
    let Some(pair) = lines::room_for_path(key, now) else {
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
    path.own = own;
    path.egress = next.interface;
    path.destination = next.destination;
    path.source = next.source;
    path.mtu = next.mtu;
    path.window = now.window;
    path.epoch = now.epoch;
    path.checked = now.checked;
}

/// The next hop of packets that go this way, if somebody asked the host for it in this half second and
/// there is room for a packet of this length.
#[inline(never)]
pub fn next_hop(way: &LineKey, epoch: u32, length: u16, next: &mut NextHop) -> bool {
    let now = settings::moment();
    let Some(path) = lines::path(way, epoch) else {
        return false;
    };
    if !path.is_checked(&now) || length > path.mtu {
        return false;
    }
    next.interface = path.egress;
    next.gateway = path.address;
    next.destination = path.destination;
    next.source = path.source;
    next.mtu = path.mtu;
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
    if let Some(path) = lines::room_for_path(way, &now) {
        path.key = *way;
        path.address = next.gateway;
        lead(path, own, next, &now);
    }
}
