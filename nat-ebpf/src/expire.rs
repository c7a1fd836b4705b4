//! Ends idle sessions. The controller runs it, at least a second apart for the same session, with keys
//! that looked idle to it; whether they are is decided here, on the live entries.

use nat_common::{
    map_types::{Counter, EXPIRE_BATCH, EXPIRE_KEYS_OFFSET, SessionKey},
    packet::Packet,
    sessions,
};

use crate::{counters, kernel_tables::KernelTables, settings, tc_packet::TcPacket};

/// Goes through the keys in `request`; answers how many sessions it removed.
#[inline(always)]
pub fn run(request: &TcPacket) -> i32 {
    let mut removed = 0;
    for index in 0..EXPIRE_BATCH {
        let offset = EXPIRE_KEYS_OFFSET + index * size_of::<SessionKey>();
        let Some(key) = request.load::<SessionKey>(offset) else {
            break;
        };
        if sessions::sweep(&KernelTables, &key, settings::now()) {
            removed += 1;
        }
    }
    counters::count(Counter::SessionsExpired, removed as u64);
    removed
}
