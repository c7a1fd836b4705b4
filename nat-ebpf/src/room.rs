//! Room in a full session table, at the cost of sessions that are over.

use core::ffi::c_void;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    clock::Tick,
    map_types::Counter,
    session_table::{Memory as _, SLOTS},
    tables::Tables as _,
};

use crate::{counters, kernel_tables::KernelTables, turns};

/// Lines that are looked at to make room in a full table.
const LOOKED_AT: u32 = 2048;

/// As SEARCH in `kernel_tables.rs`.
#[map]
static ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// What [`end_expired`] works on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Room {
    made: Tick,
    /// The line that is next.
    hand: u32,
    ended: u32,
}

/// The table is full: ends expired sessions in the next part of it, at most once a tick on each CPU.
/// True when that made room.
#[inline(never)]
pub fn make_room(now: Tick) -> bool {
    let Some(room) = ROOM.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own slot.
    unsafe {
        if (*room).made == now {
            return false;
        }
        (*room).made = now;
        (*room).ended = 0;
        turns::take(LOOKED_AT, end_expired);
        (*room).ended != 0
    }
}

#[inline(never)]
extern "C" fn end_expired(_index: u32, _nothing: *mut c_void) -> i64 {
    let Some(room) = ROOM.get_ptr_mut(0) else {
        return turns::STOP;
    };
    // SAFETY: this CPU's own slot.
    let room = unsafe { &mut *room };
    let line = room.hand;
    room.hand = if line + 1 < KernelTables.buckets() * SLOTS {
        line + 1
    } else {
        0
    };
    let Some(half) = KernelTables.line(line) else {
        return turns::GO_ON;
    };
    // SAFETY: a line stays valid; one that is nobody's has a mark of zero, and what is read of one that
    // becomes another's is a key that has to be found again.
    let (key, mark) = unsafe {
        (
            (*half).key,
            (&raw const (*half).session.mark).read_volatile(),
        )
    };
    if mark != 0 && key.is_forward() && KernelTables.end_if_expired(&key, room.made) {
        counters::count(Counter::SessionsReclaimed, 1);
        room.ended += 1;
    }
    turns::GO_ON
}
