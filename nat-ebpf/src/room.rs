//! Room in a full session table, at the cost of sessions that are over.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::{helpers::bpf_for_each_map_elem, macros::map, maps::PerCpuArray};
use nat_common::{
    clock::Tick,
    map_types::{Counter, Session, SessionKey},
    tables::Tables as _,
};

use crate::{
    counters,
    kernel_tables::{KernelTables, SESSIONS},
};

/// Sessions that are looked at to make room in a full table.
const LOOKED_AT: u32 = 1024;

const GO_ON: i64 = 0;
const STOP: i64 = 1;

/// As SEARCH in `kernel_tables.rs`.
#[map]
static ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// What [`end_expired`] works on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Room {
    made: Tick,
    looked_at: u32,
    ended: u32,
}

/// The table is full: ends expired sessions among the first of it, at most once a tick on each CPU.
/// True when that made room.
#[inline(never)]
pub fn make_room(now: Tick) -> bool {
    let Some(room) = ROOM.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own slot; the map is the kernel's own, and the callback has the signature the
    // helper calls it with.
    unsafe {
        if (*room).made == now {
            return false;
        }
        *room = Room {
            made: now,
            looked_at: 0,
            ended: 0,
        };
        let step: extern "C" fn(*mut c_void, *mut SessionKey, *mut Session, *mut c_void) -> i64 =
            end_expired;
        bpf_for_each_map_elem(
            (&raw const SESSIONS).cast_mut().cast(),
            step as *mut c_void,
            null_mut(),
            0,
        );
        (*room).ended != 0
    }
}

#[inline(never)]
extern "C" fn end_expired(
    _map: *mut c_void,
    key: *mut SessionKey,
    _session: *mut Session,
    _nothing: *mut c_void,
) -> i64 {
    let Some(room) = ROOM.get_ptr_mut(0) else {
        return STOP;
    };
    // SAFETY: this CPU's own slot, and the key of an entry.
    let (room, key) = unsafe { (&mut *room, *key) };
    room.looked_at += 1;
    if KernelTables.end_if_expired(&key, room.made) {
        counters::count(Counter::SessionsReclaimed, 1);
        room.ended += 1;
    }
    if room.looked_at >= LOOKED_AT {
        STOP
    } else {
        GO_ON
    }
}
