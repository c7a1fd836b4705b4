//! The short way of a packet whose flow had one a moment ago: what becomes of it is read from this CPU's
//! flow cache (`nat_common::flow_cache`, `lines.rs`) or, where flows are too many for that, from the half of
//! its session, and where it goes on to from the hop that its line knows or from a path (`paths.rs`).
//! `remember.rs` writes them when a packet was sent the long way.

use nat_common::{
    flow::Flow,
    flow_cache::{Direction, Hop, Line, LineKey, Moment, Origin, Path, is_plain},
    map_types::{Interface, SessionKey, Settings},
    parse::{self, Frame, Ipv4Packet},
    sessions::{self, Found, is_tracker},
    translate,
    wire::{EtherType, EthernetHeader, Mac, TcpFlags},
};

use crate::{
    counters,
    forward::Hook,
    kernel_tables::KernelTables,
    leave::is_from_subnet,
    lines::{self, Lines},
    paths,
    policy_maps::{View, is_its_station},
    remember, settings,
};

/// Where the packets of this hook come from.
#[inline(always)]
pub fn origin<H: Hook>(hook: &H) -> Origin {
    Origin::new(hook.ingress(), H::IS_TC)
}

/// What a packet becomes on the short way, and where it goes on to.
struct Outgoing {
    to: Flow,
    hop: &'static Hop,
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
        outgoing.hop.destination,
        outgoing.hop.source,
        EtherType::Ipv4,
    );
    // A frame shorter than it says does not come here: `parse` has seen to that.
    if translate::apply(hook, &packet, &outgoing.to).is_none() || hook.store(0, ethernet).is_none()
    {
        return 0;
    }
    outgoing.hop.egress
}

#[inline(always)]
fn find<H: Hook>(hook: &H, to: Mac, packet: &Ipv4Packet) -> Option<Outgoing> {
    let (view, origin) = (View::now(), origin(hook));
    let settings = view.settings()?;
    let now = &Moment::at(settings::now(), view.epoch(), settings);
    if settings.is(Settings::STATIONS) && !is_its_station(hook, view, &packet.flow) {
        return None;
    }
    // Where sessions are what matters, pairs are but in the way.
    let pairs_matter = settings.is(Settings::ONE_TO_ONE) && !settings.is(Settings::TRACKS);
    if pairs_matter
        && let Some(pair) = paths::path(&LineKey::of_pair(&packet.flow, origin), now.epoch)
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
    let may_be_pair = settings.is(Settings::ONE_TO_ONE)
        || (settings.is(Settings::LOCAL) && interface.is(Interface::INSIDE));
    if !pairs_matter
        && may_be_pair
        && let Some(pair) = paths::path(&LineKey::of_pair(&packet.flow, origin), now.epoch)
    {
        return by_pair(hook, to, packet, now, pair);
    }
    by_session(hook, view, interface, to, packet, now, &mut lines)
}

/// Where packets go on to that become `to`, if somebody asked the host for it in this half second.
#[inline(always)]
fn hop<H: Hook>(
    hook: &H,
    packet: &Ipv4Packet,
    now: &Moment,
    to: &Flow,
    is_answer: bool,
    vpc: u16,
) -> Option<&'static mut Hop> {
    let way = LineKey::of_route(&packet.flow, to, is_answer, vpc, origin(hook));
    let hop = &mut paths::path(&way, now.epoch)?.hop;
    hop.is_checked(now).then_some(hop)
}

/// The frame was meant for us, and is short enough.
#[inline(always)]
fn may_take<H: Hook>(hook: &H, sent_to: Mac, packet: &Ipv4Packet, hop: &Hop) -> bool {
    hook.is_for_us(sent_to, hop.own) && hook.mtu_length(packet) <= hop.mtu
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
    let hop = &pair.hop;
    (hop.is_checked(now) && may_take(hook, sent_to, packet, hop)).then(|| Outgoing {
        to: pair.translate(&packet.flow),
        hop,
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
    let age = lines.age();
    let known = line.hop(age, now).and_then(paths::hop);
    let hop = match known {
        Some(hop) if hop.is_checked(now) => hop,
        _ => {
            let hop = hop(hook, packet, now, &to, line.is_inward(), 0)?;
            paths::tell_hop(line, hop, now);
            hop
        }
    };
    if !may_take(hook, sent_to, packet, hop) {
        return None;
    }
    let (segments, bytes) = (hook.segments(), hook.bytes(packet));
    let is_steady = line.is_steady();
    // Last: a packet that goes nowhere keeps no session alive.
    if line.is_late(age) || !line.has_room(segments, bytes) {
        if is_steady {
            // Rules are asked again. But flows are not too many, if each has its line.
            lines.count();
            return None;
        }
        if !confirm(line, now) || !line.has_room(segments, bytes) {
            return None;
        }
        let is_idle = line.is_idle(age);
        line.look(age);
        if is_idle {
            lines.busy();
        }
    }
    if !is_steady {
        line.count(segments, bytes);
    }
    lines.count();
    Some(Outgoing { to, hop })
}

/// Where flows are so many that they have no lines, and of those that never have one, the half of the session
/// says what a line would.
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
    let (far, becomes) = (found.far(), (found.address, found.port));
    let to = if is_outward {
        far.outward(flow, becomes)
    } else {
        far.inward(flow, becomes)
    };
    let is_kept = !is_outward && to.destination == flow.destination && !is_tracker(found.gateway);
    // A line changes one end, and does not say where the host is to whom addresses alone do not lead.
    let has_line = far.is_none() && !is_kept;
    let receiver = match (has_line, is_outward) {
        (true, _) => 0,
        (false, true) => far.scope,
        (false, false) => found.owner,
    };
    let hop = hop(hook, packet, now, &to, !is_outward, receiver)?;
    if !may_take(hook, sent_to, packet, hop) {
        return None;
    }
    let (segments, bytes) = (hook.segments(), hook.bytes(packet));
    found.carry(now.now, segments, bytes, packet.flags);
    counters::carried(found.gateway, is_outward, segments, bytes);
    lines.count();
    if matches!(direction, Direction::Inward) && !found.refreshes() {
        direction = Direction::InwardOnly;
    }
    if has_line {
        let key = LineKey::of_flow(flow, origin);
        remember::write(lines, &key, becomes, direction);
    }
    Some(Outgoing { to, hop })
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
    let becomes = (found.address, found.port);
    let is_same = is_found && becomes == (line.address, line.port) && found.far().is_none();
    // Of one made anew, what was counted is not its, and its first packet counts where its timers look.
    if !is_same || found.is_new() {
        line.end();
        return false;
    }
    let (packets, bytes) = line.take_counts();
    found.carry(now.now, packets, bytes, TcpFlags::NONE);
    counters::carried(found.gateway, key.is_forward(), packets, bytes);
    true
}
