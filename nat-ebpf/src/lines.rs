//! The memory of the flow cache: where the lines of a key are, and how many are in use. Few flows are
//! kept close together, so that they stay in the CPU's caches; when they crowd each other out, twice
//! as many lines come into use.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, PerCpuArray},
};
use nat_common::{
    flow_cache::{Line, LineKey, Moment, ROUTES, WAYS},
    map_types::SessionKey,
    tables::{Side, Tables as _},
};

use crate::{kernel_tables::KernelTables, policy_maps};

/// Lines of all CPUs, one after the other. Mapped memory begins at a page, so that a line of the map is
/// one of the CPU's cache.
#[map]
static FLOW_CACHE: Array<Line> = Array::pinned(WAYS, BPF_F_MMAPABLE);

/// Lines of one CPU for flows, a power of two. Set by the controller when it loads the programs.
#[unsafe(no_mangle)]
static FLOW_CACHE_LINES: u32 = WAYS;

/// How a CPU uses its lines.
#[repr(C)]
#[derive(Clone, Copy)]
struct Use {
    /// Lines in use, a power of two; 0 before the first one.
    lines: u32,
    /// Flows that found no room since `packets`.
    crowded: u32,
    /// In which window, and lines that were written or looked at in it.
    window: u32,
    busy: u32,
    /// The window, and one more, in which flows are too many for all lines there are.
    overrun: u32,
    reserved: u32,
    /// Packets so far, and at the last look.
    packets: u64,
    packets_before: u64,
}

#[map]
static FLOW_CACHE_USE: PerCpuArray<Use> = PerCpuArray::with_max_entries(1, 0);

/// In use at first: 512 KB.
const FEWEST: u32 = 8192;

/// Flows without room after which it is seen whether they are many, and the part of all packets that is
/// too many.
const CROWD: u32 = 1024;
const TOO_MANY: u64 = 16;

/// In a window fewer than one line of so many busy ones: half of them will do.
const TOO_FEW: u32 = 16;

#[inline(always)]
fn all_lines() -> u32 {
    // SAFETY: a constant; volatile, because it is changed when the program is loaded.
    unsafe { (&raw const FLOW_CACHE_LINES).read_volatile() }
}

#[inline(always)]
fn usage() -> Option<&'static mut Use> {
    // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other.
    FLOW_CACHE_USE
        .get_ptr_mut(0)
        .map(|usage| unsafe { &mut *usage })
}

#[inline(always)]
fn in_use(usage: &Use) -> u32 {
    if usage.lines != 0 {
        usage.lines
    } else if FEWEST < all_lines() {
        FEWEST
    } else {
        all_lines()
    }
}

/// The first of this CPU's lines: those of next hops come first.
#[inline(always)]
fn first_line() -> u32 {
    // SAFETY: takes nothing, answers a number.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * (ROUTES + all_lines())
}

/// The first line that a flow's key may be in on this CPU.
#[inline(always)]
fn place(key: &LineKey) -> u32 {
    let lines = usage().map_or(WAYS, |usage| in_use(usage));
    first_line() + ROUTES + key.place(lines)
}

#[inline(always)]
fn line(index: u32) -> Option<&'static mut Line> {
    // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other. Readers in user
    // space may see half a change, and only count.
    FLOW_CACHE
        .get_ptr_mut(index)
        .map(|line| unsafe { &mut *line })
}

/// The line of a flow or of a pair of addresses, unless it is of an earlier policy.
#[inline(always)]
pub fn find(key: &LineKey, epoch: u32) -> Option<&'static mut Line> {
    find_at(place(key), key, epoch)
}

/// As [`find`], of a next hop.
#[inline(always)]
pub fn route(key: &LineKey, epoch: u32) -> Option<&'static mut Line> {
    find_at(first_line() + key.place(ROUTES), key, epoch)
}

#[inline(always)]
fn find_at(place: u32, key: &LineKey, epoch: u32) -> Option<&'static mut Line> {
    let first = line(place)?;
    if first.is_of(key, epoch) {
        return Some(first);
    }
    let second = line(place + 1)?;
    second.is_of(key, epoch).then_some(second)
}

/// Counts packets that went on by a line.
#[inline(always)]
pub fn count(packets: u64) {
    if let Some(usage) = usage() {
        usage.packets += packets;
    }
}

/// The line for a next hop, to be written: they all count for half a second only, so that any may go.
#[inline(always)]
pub fn room_for_route(key: &LineKey, now: &Moment) -> Option<&'static mut Line> {
    let place = first_line() + key.place(ROUTES);
    let first = line(place)?;
    if first.key == *key || !first.is_checked(now) {
        return Some(first);
    }
    line(place + 1)
}

/// The line for a flow or a pair of addresses, to be written: its own, or one that nobody used in this window.
#[inline(always)]
pub fn room(key: &LineKey, now: Moment) -> Option<&'static mut Line> {
    let place = place(key);
    let first = line(place)?;
    let second = line(place + 1)?;
    let line = if first.key == *key {
        first
    } else if second.key == *key {
        second
    } else if first.is_idle(now) {
        first
    } else if second.is_idle(now) {
        second
    } else {
        crowded(now);
        return None;
    };
    // Of the key itself, too: it is a line of an earlier policy then.
    if line.packets != 0 {
        give_back(line);
    }
    Some(line)
}

/// A line is written, or its session looked at.
#[inline(always)]
pub fn busy(window: u32) {
    let Some(usage) = usage() else {
        return;
    };
    if usage.window != window {
        if usage.lines > FEWEST && usage.busy < usage.lines / TOO_FEW {
            usage.lines /= 2;
        }
        usage.window = window;
        usage.busy = 0;
    }
    usage.busy += 1;
}

/// Flows are too many in this window for looking at their lines to be worth it.
#[inline(always)]
pub fn are_overrun(now: &Moment) -> bool {
    usage().is_some_and(|usage| usage.overrun == now.window.wrapping_add(1))
}

/// A flow has found no room.
#[inline(always)]
fn crowded(now: Moment) {
    let Some(usage) = usage() else {
        return;
    };
    usage.crowded += 1;
    if usage.crowded < CROWD {
        return;
    }
    let packets = usage.packets - usage.packets_before;
    let lines = in_use(usage) * 2;
    if packets < u64::from(CROWD) * TOO_MANY {
        if lines <= all_lines() {
            usage.lines = lines;
        } else {
            usage.overrun = now.window.wrapping_add(1);
        }
    }
    usage.crowded = 0;
    usage.packets_before = usage.packets;
}

/// Adds what a line has counted to its session.
#[inline(always)]
fn give_back(line: &mut Line) {
    let (packets, bytes) = line.take_counts();
    if let Some((side, key)) = session_key(line)
        && let Some(half) = KernelTables.half(side, &key)
    {
        // SAFETY: a map element's memory stays valid; at worst another session's count is wrong.
        unsafe { (*half).settle(packets, bytes) };
    }
}

/// Where the half is that carries the packets of a line.
#[inline(always)]
pub fn session_key(line: &Line) -> Option<(Side, SessionKey)> {
    let flow = line.key.flow();
    if line.is_inward() {
        return Some((Side::Outside, SessionKey::reverse(&flow)));
    }
    let interface = policy_maps::interface(line.key.interface())?;
    Some((Side::Inside, SessionKey::forward(&flow, interface.vpc)))
}
