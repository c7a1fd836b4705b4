//! What `nat explain` is told: the steps of a decision. In the dataplane TRACE is a constant 0, and none
//! of it is any code.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    map_types::{TRACED_STEPS, Trace, TracedStep},
    policy::Step,
};

/// Set in the object that `nat explain` loads: steps are noted down, and nothing is changed in the tables.
#[unsafe(no_mangle)]
static TRACE: u32 = 0;

#[map]
static STEPS: PerCpuArray<Trace> = PerCpuArray::with_max_entries(1, 0);

/// Steps are noted down, and tables left alone.
#[inline(always)]
pub fn is_on() -> bool {
    // SAFETY: a constant; volatile, because it is changed when the program is loaded.
    unsafe { (&raw const TRACE).read_volatile() != 0 }
}

/// Notes down a step.
#[inline(always)]
pub fn note(step: Step, value: u32, detail: u32) {
    if is_on() {
        write(step as u32, value, detail);
    }
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
