//! What the programs say to the controller's log, at most about once a second for each reason.

use aya_ebpf::{EbpfContext, macros::map, maps::PerCpuArray};
use aya_log_ebpf::warn;
use core::ffi::c_void;
use nat_common::{
    drop_reason::{self, DropReason},
    flow::Flow,
};

use crate::settings;

/// Ticks between two messages of one reason from one CPU.
const QUIET: u32 = 8;

#[map]
static LAST_SAID: PerCpuArray<u32> = PerCpuArray::with_max_entries(drop_reason::COUNT, 0);

struct Context(*mut c_void);

impl EbpfContext for Context {
    fn as_ptr(&self) -> *mut c_void {
        self.0
    }
}

/// A session could not be made.
#[inline(never)]
pub fn claim_failed(context: *mut c_void, flow: &Flow, reason: DropReason) {
    let Some(last) = LAST_SAID.get_ptr_mut(reason as u32) else {
        return;
    };
    let now = settings::now();
    // SAFETY: this CPU's own slot.
    unsafe {
        if now.wrapping_sub(*last) < QUIET {
            return;
        }
        *last = now;
    }
    let context = Context(context);
    let source = u32::from_be(flow.source.raw());
    let destination = u32::from_be(flow.destination.raw());
    let (source_port, destination_port) = (flow.source_port.get(), flow.destination_port.get());
    match reason {
        DropReason::PortExhausted => warn!(
            &context,
            "no free port for protocol {} {:i}:{} -> {:i}:{}",
            flow.protocol,
            source,
            source_port,
            destination,
            destination_port
        ),
        DropReason::TableFull => warn!(
            &context,
            "session table full: protocol {} {:i}:{} -> {:i}:{} dropped",
            flow.protocol,
            source,
            source_port,
            destination,
            destination_port
        ),
        _ => {}
    }
}
