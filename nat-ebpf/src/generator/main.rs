//! The bench's programs: what sends, what counts, and what they are compared with.
//! They are run and attached by tests/benches/speed/traffic.rs and paths.rs, and are no part of `nat`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    not(target_arch = "bpf"),
    allow(dead_code, reason = "programs have no host caller")
)]

mod bare;
mod frame;
mod plan;
mod template;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action},
    helpers::bpf_redirect,
    macros::{classifier, map, xdp},
    maps::{Array, PerCpuArray, ProgramArray},
    programs::{TcContext, XdpContext},
};

use plan::{Plan, Position, Seen, Template};

#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
#[map]
static POSITION: PerCpuArray<Position> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);
#[map]
static TEMPLATE: Array<Template> = Array::with_max_entries(1, 0);
/// The program that [`again_xdp`] runs after putting the frame back.
#[map]
static UNDER_XDP: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// The same for [`again_tc`]: a program array takes programs of one type.
#[map]
static UNDER_TC: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Where [`bounce`] and the others send to; set when it is loaded.
#[unsafe(no_mangle)]
static TARGET: u32 = 0;

/// Makes a packet of the plan and sends it out of the interface it is run on, in live-frames mode.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let (Some(plan), Some(position)) = (PLAN.get(0), POSITION.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this CPU's own slot, and the programs of one CPU run one after the other.
    let position = unsafe { &mut *position };
    let (address, port) = frame::choose(plan, position);
    match frame::write(&context, plan, address, port) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_ABORTED,
    }
}

/// Counts what arrives, and ends it.
#[xdp]
pub fn sink(context: XdpContext) -> u32 {
    let (Some(plan), Some(seen)) = (PLAN.get(0), SEEN.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: as above.
    let seen = unsafe { &mut *seen };
    if frame::is_expected(&context, plan) {
        seen.expected += 1;
    } else {
        seen.others += 1;
    }
    xdp_action::XDP_DROP
}

/// The least that can be done with a packet: it goes on to the next interface as it is.
#[xdp]
pub fn bounce(_context: XdpContext) -> u32 {
    bounced(0)
}

/// As [`bounce`], with one look-up in a table that is as large as the flows need.
#[xdp]
pub fn bounce_looking_up(context: XdpContext) -> u32 {
    match bare::look_up(&context) {
        Some(detour) => bounced(detour),
        None => xdp_action::XDP_ABORTED,
    }
}

/// As [`bounce`], with both halves of a session made for the packet.
#[xdp]
pub fn bounce_inserting(context: XdpContext) -> u32 {
    match bare::insert(&context) {
        Some(()) => bounced(0),
        None => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn bounced(detour: u32) -> u32 {
    // SAFETY: a constant; volatile, because it is set when the program is loaded.
    let target = unsafe { (&raw const TARGET).read_volatile() };
    // SAFETY: takes two numbers.
    unsafe { bpf_redirect(target + detour, 0) as u32 }
}

/// Puts the frame back as it was and runs the program under test on it: by `BPF_PROG_TEST_RUN` with many
/// repeats every run sees the same packet.
#[xdp]
pub fn again_xdp(context: XdpContext) -> u32 {
    if let Some(template) = TEMPLATE.get(0)
        && template::put(template, context.data(), context.data_end()).is_some()
    {
        // SAFETY: the context is the program's own, and the array is of its type.
        unsafe { UNDER_XDP.tail_call(&context, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// As [`again_xdp`], for TC.
#[classifier]
pub fn again_tc(context: TcContext) -> i32 {
    if let Some(template) = TEMPLATE.get(0)
        && template::put(template, context.data(), context.data_end()).is_some()
    {
        // SAFETY: as above.
        unsafe { UNDER_TC.tail_call(&context, 0) };
    }
    TC_ACT_SHOT
}

/// Stands for a program that costs nothing.
#[xdp]
pub fn nothing_xdp(_context: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// As [`nothing_xdp`], for TC.
#[classifier]
pub fn nothing_tc(_context: TcContext) -> i32 {
    TC_ACT_SHOT
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
