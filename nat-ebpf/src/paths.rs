//! Where packets go on to: the paths of this CPU, and the hops that lines know by their numbers. `lines.rs`
//! has the lines.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use nat_common::flow_cache::{HOPS, Hop, Line, LineKey, Moment, PATHS, PLACES, Path};

use crate::lines::cpu;

/// Paths of all CPUs, those of one after those of the other.
#[map]
static PATH_CACHE: Array<Path> = Array::with_max_entries(PATHS, BPF_F_MMAPABLE);

/// Hops of all CPUs, in the same way.
#[map]
static HOP_CACHE: Array<Hop> = Array::with_max_entries(HOPS, BPF_F_MMAPABLE);

#[inline(always)]
fn path_at(index: u32) -> Option<&'static mut Path> {
    // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other.
    PATH_CACHE
        .get_ptr_mut(index)
        .map(|path| unsafe { &mut *path })
}

/// A path of this CPU, unless it is of an earlier policy.
#[inline(always)]
pub fn path(key: &LineKey, epoch: u32) -> Option<&'static mut Path> {
    let place = cpu() * PATHS + key.place(PATHS);
    for other in 0..PLACES {
        let path = path_at(place ^ other)?;
        if path.is_of(key, epoch) {
            return Some(path);
        }
    }
    None
}

/// The place for a path, to be written: its own, or one that does not count in this half second.
#[inline(always)]
pub fn room_for_path(key: &LineKey, now: &Moment) -> Option<&'static mut Path> {
    let place = cpu() * PATHS + key.place(PATHS);
    let mut free = None;
    for other in 0..PLACES {
        let path = path_at(place ^ other)?;
        if path.key == *key {
            return Some(path);
        }
        if free.is_none() && !path.counts(now) {
            free = Some(path);
        }
    }
    free
}

/// A hop of this CPU by its number.
#[inline(always)]
pub fn hop(number: u32) -> Option<&'static mut Hop> {
    // SAFETY: as in `path_at`.
    HOP_CACHE
        .get_ptr_mut(cpu() * HOPS + number)
        .map(|hop| unsafe { &mut *hop })
}

/// Tells a line the hop of its path. Where so many are in use that this one has no place, the line asks its
/// path each time.
#[inline(never)]
pub fn tell_hop(line: &mut Line, told: &Hop, now: &Moment) {
    line.forget_hop();
    let place = told.place();
    let mut free = HOPS;
    for other in 0..PLACES {
        let number = place ^ other;
        let Some(hop) = hop(number) else {
            return;
        };
        if hop.equals(told) {
            hop.half_second = now.half_second;
            line.go_by(number, now);
            return;
        }
        if free == HOPS && !hop.is_checked(now) {
            free = number;
        }
    }
    if free < HOPS
        && let Some(hop) = hop(free)
    {
        *hop = *told;
        hop.half_second = now.half_second;
        line.go_by(free, now);
    }
}
