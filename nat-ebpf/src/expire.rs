//! Ends sessions for the controller, which runs these programs with keys in a test packet: idle ones in
//! two steps, at least a second apart (whether they are idle is decided here, on the live entries), or
//! those that must not go on at once. Frees ports that have rested, in the same way.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use nat_common::{
    map_types::{Counter, EXPIRE_BATCH, EXPIRE_KEYS_OFFSET, SessionKey},
    packet::Packet as _,
    sessions, shared,
};

use crate::{counters, kernel_tables::KernelTables, settings, tc_packet::TcPacket};

/// What is to be done with the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// End these sessions if they are idle.
    Sweep,
    /// End these sessions.
    End,
    /// Free these public ports if they have rested.
    Wake,
}

/// What [`one`] works on.
struct Batch {
    request: TcPacket,
    task: Task,
    removed: u32,
}

/// Goes through the keys in `request`; answers how many entries it removed.
#[inline(always)]
pub fn run(request: TcPacket, task: Task) -> i32 {
    let mut batch = Batch {
        request,
        task,
        removed: 0,
    };
    // SAFETY: the callback has the signature the helper calls it with, and the batch outlives it.
    unsafe {
        let step: extern "C" fn(u32, *mut c_void) -> i64 = one;
        bpf_loop(
            EXPIRE_BATCH as u32,
            step as *mut c_void,
            (&raw mut batch).cast(),
            0,
        );
    }
    if task != Task::Wake {
        counters::count(Counter::SessionsExpired, u64::from(batch.removed));
    }
    batch.removed as i32
}

#[inline(never)]
extern "C" fn one(index: u32, batch: *mut c_void) -> i64 {
    const STOP: i64 = 1;
    // SAFETY: `run` passes its own.
    let batch = unsafe { &mut *batch.cast::<Batch>() };
    let offset = EXPIRE_KEYS_OFFSET + index as usize * size_of::<SessionKey>();
    let Some(key) = batch.request.load::<SessionKey>(offset) else {
        return STOP;
    };
    let removed = match batch.task {
        Task::Sweep => sessions::sweep(&KernelTables, &key, settings::now()),
        Task::End => sessions::end(&KernelTables, &key),
        Task::Wake => shared::wake_rested(&KernelTables, &key),
    };
    batch.removed += u32::from(removed);
    0
}
