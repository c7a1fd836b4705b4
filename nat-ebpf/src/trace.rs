//! What `nat explain` is told: the steps of a decision. In the dataplane none of it is any code. What is
//! done then instead of changing tables is in `rehearsal.rs`.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    address::{Address, Port},
    map_types::{TRACED_STEPS, Trace, TracedStep},
    policy::Step,
};

use crate::settings;

#[map]
static STEPS: PerCpuArray<Trace> = PerCpuArray::with_max_entries(1, 0);

/// Steps are noted down, and tables left alone.
#[inline(always)]
pub fn is_on() -> bool {
    settings::mode() == settings::EXPLAIN
}

/// Notes down a step.
#[inline(always)]
pub fn note(step: Step, value: u32, detail: u32) {
    if is_on() {
        write(step as u32, value, detail);
    }
}

/// Notes down an address and port, and another number below 2^16.
#[inline(always)]
pub fn note_end(step: Step, address: Address, port: Port, number: u16) {
    note(
        step,
        address.raw(),
        u32::from(port.get()) | u32::from(number) << 16,
    );
}

#[inline(never)]
fn write(step: u32, value: u32, detail: u32) {
    let Some(trace) = STEPS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own slot.
    let trace = unsafe { &mut *trace };
    let index = trace.count as usize;
    if index >= TRACED_STEPS {
        return;
    }
    if let Some(place) = trace.steps.get_mut(index) {
        *place = TracedStep {
            step,
            value,
            detail,
        };
        trace.count += 1;
    }
}
