//! The short way of a packet whose flow had one a moment ago: what became of that is read from this
//! CPU's flow cache (`nat_common::flow_cache`), and nothing else is looked up. `pipeline.rs` writes the
//! lines.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE, helpers::bpf_get_smp_processor_id, macros::map, maps::Array,
};
use nat_common::{
    address::Port,
    flow_cache::{Line, LineKey, Moment, WAYS, has_lines, is_plain},
    map_types::{Interface, SessionKey, Settings},
    parse::{self, Frame, Ipv4Packet},
    tables::{Side, Tables as _},
    translate,
    wire::{EtherType, EthernetHeader},
};

use crate::{
    forward::{Hook, NextHop},
    kernel_tables::KernelTables,
    plan::Plan,
    policy_maps, settings,
};

/// Lines of all CPUs, one after the other. Mapped memory begins at a page, so that a line of the map is
/// one of the CPU's cache.
#[map]
static FLOW_CACHE: Array<Line> = Array::pinned(WAYS, BPF_F_MMAPABLE);

/// Lines of one CPU, a power of two. Set by the controller when it loads the programs.
#[unsafe(no_mangle)]
static FLOW_CACHE_LINES: u32 = WAYS;

#[inline(always)]
fn lines() -> u32 {
    // SAFETY: a constant; volatile, because it is changed when the program is loaded.
    unsafe { (&raw const FLOW_CACHE_LINES).read_volatile() }
}

/// The first line that a key may be in on this CPU.
#[inline(always)]
fn place(key: &LineKey) -> u32 {
    // SAFETY: takes nothing, answers a number.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * lines() + key.place(lines())
}

#[inline(always)]
fn line(index: u32) -> Option<&'static mut Line> {
    // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other. Readers in user
    // space may see half a change, and only count.
    FLOW_CACHE
        .get_ptr_mut(index)
        .map(|line| unsafe { &mut *line })
}

/// The line that holds for a packet of this key.
#[inline(always)]
fn find(key: &LineKey, now: Moment, length: usize) -> Option<&'static mut Line> {
    let place = place(key);
    let first = line(place)?;
    if first.holds(key, now, length) {
        return Some(first);
    }
    let second = line(place + 1)?;
    second.holds(key, now, length).then_some(second)
}

/// Sends a packet on by the line of its flow: it is translated and complete, and the answer is the
/// interface to redirect it to. 0: nothing was changed, and it goes the long way.
#[inline(always)]
pub fn send<H: Hook>(hook: &mut H) -> u32 {
    let Some(Frame::Ipv4 { to }) = parse::frame(hook) else {
        return 0;
    };
    let Ok(packet) = parse::ipv4(hook) else {
        return 0;
    };
    if !is_plain(&packet) {
        return 0;
    }
    let now = settings::moment();
    let length = hook.mtu_length(&packet) as usize;
    let mut found = None;
    if policy_maps::has_setting(Settings::ONE_TO_ONE) {
        found = find(&LineKey::of_pair(&packet.flow, hook.ingress()), now, length);
    }
    if found.is_none() {
        found = find(&LineKey::of_flow(&packet.flow, hook.ingress()), now, length);
    }
    let Some(line) = found else {
        return 0;
    };
    if !hook.is_for_us(to, line.own) {
        return 0;
    }
    line.packets += hook.segments() as u32;
    line.bytes += hook.bytes(&packet) as u32;
    let to = line.translate(&packet.flow);
    let ethernet = EthernetHeader::new(line.destination, line.source, EtherType::Ipv4);
    let egress = line.egress;
    // A frame shorter than it says does not come here: `parse` has seen to that.
    if translate::apply(hook, &packet, &to).is_none() || hook.store(0, ethernet).is_none() {
        return 0;
    }
    egress
}

/// What a line has counted that no session has.
#[derive(Clone, Copy)]
pub struct Pending {
    pub packets: u64,
    pub bytes: u64,
}

/// Takes over what the line of this packet's flow has counted. The line of one that is not plain ends:
/// the next packet is to tell the session what it is.
#[inline(never)]
fn settle(key: &LineKey, ends: u32) -> u64 {
    let place = place(key);
    let mut pending = 0;
    for way in 0..WAYS {
        if let Some(line) = line(place + way)
            && line.key == *key
        {
            pending = u64::from(line.packets) << 32 | u64::from(line.bytes);
            line.packets = 0;
            line.bytes = 0;
            if ends != 0 {
                line.moment = Moment::default();
            }
        }
    }
    pending
}

/// As [`settle`], for a packet on its long way.
#[inline(always)]
pub fn take<H: Hook>(hook: &H, packet: &Ipv4Packet) -> Pending {
    if !has_lines(packet.flow.protocol) || !packet.is_whole() {
        return Pending {
            packets: 0,
            bytes: 0,
        };
    }
    let key = LineKey::of_flow(&packet.flow, hook.ingress());
    let pending = settle(&key, u32::from(!is_plain(packet)));
    Pending {
        packets: pending >> 32,
        bytes: pending & u64::from(u32::MAX),
    }
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
    let flow = &packet.flow;
    let is_out = plan.to.source != flow.source || plan.to.source_port != flow.source_port;
    let is_in = plan.to.destination != flow.destination
        || plan.to.destination_port != flow.destination_port;
    // A hairpin packet changes at both ends.
    if !is_plain(packet)
        || is_out == is_in
        || plan.renumbers
        || next.destination == [0; 6]
        || !LineKey::has_room_for(hook.ingress())
        || !(plan.has_session || plan.is_stateless)
    {
        return;
    }
    let key = if plan.has_session {
        LineKey::of_flow(flow, hook.ingress())
    } else {
        LineKey::of_pair(flow, hook.ingress())
    };
    write(&key, interface, plan, next);
}

/// Writes the line of a key, in place of one that no longer holds.
#[inline(always)]
fn write(key: &LineKey, interface: &Interface, plan: &Plan, next: &NextHop) {
    let now = settings::moment();
    let Some(line) = room(key, now) else {
        return;
    };
    let (address, port) = if plan.inward {
        (plan.to.destination, plan.to.destination_port)
    } else {
        (plan.to.source, plan.to.source_port)
    };
    line.key = *key;
    line.own = interface.mac;
    line.mtu = next.mtu;
    line.moment = now;
    line.egress = next.interface;
    line.packets = 0;
    line.bytes = 0;
    line.address = address;
    line.port = if plan.has_session { port } else { Port::NONE };
    line.destination = next.destination;
    line.source = next.source;
    line.inward = u8::from(plan.inward);
}

/// The line for a key: its own, or one that holds for nobody any more.
#[inline(always)]
fn room(key: &LineKey, now: Moment) -> Option<&'static mut Line> {
    let place = place(key);
    let first = line(place)?;
    if first.key == *key {
        return Some(first);
    }
    let second = line(place + 1)?;
    if second.key == *key {
        return Some(second);
    }
    let line = if first.moment != now {
        first
    } else if second.moment != now {
        second
    } else {
        return None;
    };
    if line.packets != 0 {
        give_back(line);
    }
    Some(line)
}

/// Adds what a line has counted to its session.
#[inline(always)]
fn give_back(line: &Line) {
    let flow = line.key.flow();
    let (side, key) = if line.inward == 0 {
        let Some(interface) = policy_maps::interface(line.key.interface()) else {
            return;
        };
        (Side::Inside, SessionKey::forward(&flow, interface.vpc))
    } else {
        (Side::Outside, SessionKey::reverse(&flow))
    };
    if let Some(half) = KernelTables.half(side, &key) {
        // SAFETY: a map element's memory stays valid; at worst another session's count is wrong.
        unsafe { (*half).count(u64::from(line.packets), u64::from(line.bytes)) };
    }
}
