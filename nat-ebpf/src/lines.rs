//! The memory of the flow cache: where the lines and paths of a key are, and how many lines are in use.
//! Few flows are kept close together, so that they stay in the CPU's caches; when they crowd each other out,
//! twice as many lines come into use, until there are no more.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::{bpf_get_smp_processor_id, bpf_loop},
    macros::map,
    maps::{Array, PerCpuArray},
};
use nat_common::{
    flow_cache::{Age, Era, Line, LineKey, Moment, PATHS, Path, WAYS},
    map_types::SessionKey,
    tables::{Side, Tables as _},
};

use crate::{kernel_tables::KernelTables, policy_maps};

/// Lines of all CPUs, those of one after those of the other. Mapped memory begins at a page, so that two
/// lines of the map are one of the CPU's cache.
#[map]
static FLOW_CACHE: Array<Line> = Array::pinned(WAYS, BPF_F_MMAPABLE);

/// Paths of all CPUs.
#[map]
static PATH_CACHE: Array<Path> = Array::pinned(PATHS, BPF_F_MMAPABLE);

/// Lines of one CPU, a power of two. Set by the controller when it loads the programs.
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
    generation: u32,
    era: Era,
    /// Packets so far, and at the last look.
    packets: u64,
    packets_before: u64,
}

#[map]
static FLOW_CACHE_USE: PerCpuArray<Use> = PerCpuArray::with_max_entries(1, 0);

/// In use at first: 256 KB.
const FEWEST: u32 = 8192;

/// Flows without room after which it is seen whether they are many; the part of all packets that is too
/// many for the lines in use; and the one that is too many for looking at lines at all.
const CROWD: u32 = 1024;
const TOO_MANY: u64 = 16;
const FAR_TOO_MANY: u64 = 2;

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
fn cpu() -> u32 {
    // SAFETY: takes nothing, answers a number.
    unsafe { bpf_get_smp_processor_id() }
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

/// What lines have to be of to count on this CPU.
#[inline(always)]
pub fn age(now: &Moment) -> Option<Age> {
    let usage = usage()?;
    if usage.era != Era::at(now) || usage.generation == 0 {
        usage.era = Era::at(now);
        usage.generation = (usage.generation + 1) & u32::from(u16::MAX);
        if usage.generation == 0 {
            void_all();
            usage.generation = 1;
        }
    }
    Some(Age {
        generation: usage.generation as u16,
        window: now.window,
    })
}

/// The numbers of generations begin again: no line may be taken for one of a new generation.
#[inline(never)]
fn void_all() {
    // SAFETY: the callback has the signature the helper calls it with.
    unsafe {
        let step: extern "C" fn(u32, *mut c_void) -> i64 = void;
        bpf_loop(all_lines(), step as *mut c_void, null_mut(), 0);
    }
}

#[inline(never)]
extern "C" fn void(index: u32, _nothing: *mut c_void) -> i64 {
    if let Some(line) = line(cpu() * all_lines() + index) {
        line.generation = 0;
    }
    0
}

/// The first line that a key may be in on this CPU.
#[inline(always)]
fn place(key: &LineKey) -> u32 {
    let lines = usage().map_or(WAYS, |usage| in_use(usage));
    cpu() * all_lines() + key.place(lines)
}

#[inline(always)]
fn line(index: u32) -> Option<&'static mut Line> {
    // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other. Readers in user
    // space may see half a change, and only count.
    FLOW_CACHE
        .get_ptr_mut(index)
        .map(|line| unsafe { &mut *line })
}

/// The line of a flow, unless it is void.
#[inline(always)]
pub fn find(key: &LineKey, age: Age) -> Option<&'static mut Line> {
    let place = place(key);
    let first = line(place)?;
    if first.is_of(key, age) {
        return Some(first);
    }
    let second = line(place + 1)?;
    second.is_of(key, age).then_some(second)
}

/// Counts packets that went on the short way.
#[inline(always)]
pub fn count(packets: u64) {
    if let Some(usage) = usage() {
        usage.packets += packets;
    }
}

/// The line for a flow, to be written: its own, or one that nobody used in this window.
#[inline(always)]
pub fn room(key: &LineKey, age: Age) -> Option<&'static mut Line> {
    let place = place(key);
    let first = line(place)?;
    let second = line(place + 1)?;
    let line = if first.key == *key {
        first
    } else if second.key == *key {
        second
    } else if first.is_idle(age) {
        first
    } else if second.is_idle(age) {
        second
    } else {
        crowded(age);
        return None;
    };
    // Of the key itself, too: it is a void line then.
    if line.packets != 0 {
        give_back(line);
    }
    Some(line)
}

/// A line is written, or its session looked at.
#[inline(always)]
pub fn busy(age: Age) {
    let Some(usage) = usage() else {
        return;
    };
    if usage.window != age.window {
        if usage.lines > FEWEST && usage.busy < usage.lines / TOO_FEW {
            usage.lines /= 2;
        }
        usage.window = age.window;
        usage.busy = 0;
    }
    usage.busy += 1;
}

/// Flows are too many in this window for looking at their lines to be worth it.
#[inline(always)]
pub fn are_overrun(age: Age) -> bool {
    usage().is_some_and(|usage| usage.overrun == age.window.wrapping_add(1))
}

/// A flow has found no room.
#[inline(always)]
fn crowded(age: Age) {
    let Some(usage) = usage() else {
        return;
    };
    usage.crowded += 1;
    if usage.crowded < CROWD {
        return;
    }
    let packets = usage.packets - usage.packets_before;
    let lines = in_use(usage) * 2;
    if lines <= all_lines() {
        if packets < u64::from(CROWD) * TOO_MANY {
            usage.lines = lines;
        }
    } else if packets < u64::from(CROWD) * FAR_TOO_MANY {
        usage.overrun = age.window.wrapping_add(1);
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

#[inline(always)]
fn path_at(place: u32) -> Option<&'static mut Path> {
    // SAFETY: as in `line`.
    PATH_CACHE
        .get_ptr_mut(cpu() * PATHS + place)
        .map(|path| unsafe { &mut *path })
}

/// A path, unless it is of an earlier policy.
#[inline(always)]
pub fn path(key: &LineKey, epoch: u32) -> Option<&'static mut Path> {
    let place = key.place(PATHS);
    let first = path_at(place)?;
    if first.is_of(key, epoch) {
        return Some(first);
    }
    let second = path_at(place + 1)?;
    second.is_of(key, epoch).then_some(second)
}

/// The place for a path, to be written: they all count for half a second only, so that any may go.
#[inline(always)]
pub fn room_for_path(key: &LineKey, now: &Moment) -> Option<&'static mut Path> {
    let place = key.place(PATHS);
    let first = path_at(place)?;
    if first.key == *key || !first.is_checked(now) {
        return Some(first);
    }
    path_at(place + 1)
}
