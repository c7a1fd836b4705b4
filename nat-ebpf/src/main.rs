//! The dataplane: one pipeline on two hooks.
//!
//! A packet's way: [`xdp_packet`] or [`tc_packet`] -> [`flow_cache`], and if its flow had no packet a
//! moment ago -> [`pipeline`] (identify) -> [`leave`] (its source)
//! -> [`arrive`] (its destination) -> [`send`], by [`forward`] -> the verdict table below. Both sides of
//! a translation look into [`kernel_tables`] and [`halves`], and ask the policy by [`decisions`]: [`decide`] answers, by
//! [`policy_maps`] and [`rule_maps`]. ICMP errors go through [`icmp_error`], fragments through
//! [`fragments`], what is too big through [`cut`]. [`remember`] writes what
//! [`flow_cache`] reads. [`refuse`] answers dropped packets,
//! [`arp`] for the public IPs.
//! [`strangers`] are the host's; [`room`] is made in a full table. [`expire`] is run by the controller,
//! [`counters`], [`events`] and [`trace`] tell what happened, [`rehearsal`] what would, [`bounds`], [`sum`],
//! [`settings`], [`turns`] and [`unknown`] serve all.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    allow(internal_features, reason = "see atomics.rs")
)]
#![cfg_attr(
    not(target_arch = "bpf"),
    allow(dead_code, reason = "programs have no host caller")
)]

mod arp;
mod arrive;
mod atomics;
mod bounds;
mod counters;
mod cut;
mod decide;
mod decisions;
mod events;
mod expire;
mod flow_cache;
mod forward;
mod fragments;
mod halves;
mod held;
mod icmp_error;
mod kernel_tables;
mod leave;
mod lines;
mod paths;
mod pipeline;
mod plan;
mod policy_maps;
mod refuse;
mod rehearsal;
mod remember;
mod room;
mod rule_maps;
mod send;
mod session_memory;
mod settings;
mod strangers;
mod sum;
mod tc_packet;
mod ticket;
mod trace;
mod turns;
mod unknown;
mod verdict;
mod xdp_packet;

use aya_ebpf::{
    EbpfContext,
    bindings::{TC_ACT_PIPE, TC_ACT_SHOT, xdp_action},
    macros::{classifier, map, xdp},
    maps::ProgramArray,
    programs::{TcContext, XdpContext},
};
use nat_common::{
    drop_reason::DropReason,
    map_types::{
        CLAIM_STAGE, CUT_STAGE, Counter, ERROR_STAGE, FRAGMENT_STAGE, POLICY_STAGE, SEND_STAGE,
        STAGES, WHOLE_STAGE,
    },
};

use crate::{
    expire::Task,
    forward::{Hook as _, NextHop},
    policy_maps::View,
    tc_packet::TcPacket,
    verdict::Verdict,
    xdp_packet::XdpPacket,
};

/// The programs of each hook by stage. The loader pins them, because they are gone from a map that nobody
/// holds; but not those of `nat explain`.
#[map]
static XDP_STAGES: ProgramArray = ProgramArray::with_max_entries(STAGES, 0);
#[map]
static TC_STAGES: ProgramArray = ProgramArray::with_max_entries(STAGES, 0);

/// Ingress of a NIC, native or generic: the short way, or the next stage.
#[xdp]
pub fn nat_xdp(context: XdpContext) -> u32 {
    let mut packet = XdpPacket::new(context);
    let egress = flow_cache::send(&mut packet);
    if egress != 0 {
        counters::count(Counter::Translated, 1);
        return forward::redirect(egress) as u32;
    }
    decisions::forget();
    let context = packet.program_context();
    go_on_as(&XDP_STAGES, context, WHOLE_STAGE, xdp_action::XDP_DROP)
}

/// Ingress of any interface, and behind `nat_xdp` where that is: the short way, or the next stage.
#[classifier]
pub fn nat_tc(context: TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let egress = flow_cache::send(&mut packet);
    if egress != 0 {
        counters::count(Counter::Translated, packet.segments());
        return forward::redirect(egress) as i32;
    }
    decisions::forget();
    let context = packet.program_context();
    go_on_as(&TC_STAGES, context, WHOLE_STAGE, TC_ACT_SHOT)
}

/// Whole packets in [`nat_xdp`], and all that is not for us.
#[xdp]
#[inline(always)]
pub fn nat_xdp_whole(context: XdpContext) -> u32 {
    xdp_stage::<WHOLE_STAGE>(context)
}

/// Whole packets in [`nat_tc`], and all that is not for us.
#[classifier]
#[inline(always)]
pub fn nat_tc_whole(context: TcContext) -> i32 {
    tc_stage::<WHOLE_STAGE>(context)
}

/// ICMP errors in [`nat_xdp`].
#[xdp]
#[inline(always)]
pub fn nat_xdp_error(context: XdpContext) -> u32 {
    xdp_stage::<ERROR_STAGE>(context)
}

/// ICMP errors in [`nat_tc`].
#[classifier]
#[inline(always)]
pub fn nat_tc_error(context: TcContext) -> i32 {
    tc_stage::<ERROR_STAGE>(context)
}

/// Fragments in [`nat_xdp`].
#[xdp]
#[inline(always)]
pub fn nat_xdp_fragment(context: XdpContext) -> u32 {
    xdp_stage::<FRAGMENT_STAGE>(context)
}

/// Fragments in [`nat_tc`].
#[classifier]
#[inline(always)]
pub fn nat_tc_fragment(context: TcContext) -> i32 {
    tc_stage::<FRAGMENT_STAGE>(context)
}

#[inline(always)]
fn xdp_stage<const STAGE: u32>(context: XdpContext) -> u32 {
    let next = &mut NextHop::unknown(View::now());
    let mut packet = XdpPacket::new(context);
    if let Err(reason) = pipeline::run::<_, STAGE>(&mut packet, next) {
        counters::dropped(reason);
        return match next.verdict {
            Verdict::Answer => forward::redirect(packet.ingress()) as u32,
            _ => xdp_action::XDP_DROP,
        };
    }
    let context = packet.program_context();
    match next.verdict {
        // The TC program sees it next, and counts it.
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::HandUp => count(Counter::HandedUp, xdp_action::XDP_PASS),
        // XDP_TX is not for all: veth leaves such frames lying when its peer has no XDP program.
        Verdict::Answer => {
            counters::count(Counter::ArpAnswered, 1);
            forward::redirect(packet.ingress()) as u32
        }
        Verdict::Forward => {
            counters::count(Counter::Translated, 1);
            forward::redirect(next.interface) as u32
        }
        Verdict::Consumed | Verdict::Cut => xdp_action::XDP_DROP,
        Verdict::Error => go_on_as(&XDP_STAGES, context, ERROR_STAGE, xdp_action::XDP_DROP),
        Verdict::Fragment => go_on_as(&XDP_STAGES, context, FRAGMENT_STAGE, xdp_action::XDP_DROP),
        Verdict::Send => go_on_as(&XDP_STAGES, context, SEND_STAGE, xdp_action::XDP_DROP),
        Verdict::Policy => go_on_as(&XDP_STAGES, context, POLICY_STAGE, xdp_action::XDP_DROP),
        Verdict::Claim => go_on_as(&XDP_STAGES, context, CLAIM_STAGE, xdp_action::XDP_DROP),
        Verdict::Again => go_on_as(&XDP_STAGES, context, WHOLE_STAGE, xdp_action::XDP_DROP),
        Verdict::Pong => {
            counters::count(Counter::PingsAnswered, 1);
            forward::redirect(packet.ingress()) as u32
        }
    }
}

#[inline(always)]
fn tc_stage<const STAGE: u32>(context: TcContext) -> i32 {
    let next = &mut NextHop::unknown(View::now());
    let mut packet = TcPacket::new(context);
    if let Err(reason) = pipeline::run::<_, STAGE>(&mut packet, next) {
        counters::dropped(reason);
        return match next.verdict {
            Verdict::Answer => forward::redirect(packet.ingress()) as i32,
            _ => TC_ACT_SHOT,
        };
    }
    let context = packet.program_context();
    match next.verdict {
        // PIPE lets programs and filters of others see what is not ours.
        Verdict::Pass | Verdict::HandUp => count(Counter::Passed, TC_ACT_PIPE),
        Verdict::Answer => {
            counters::count(Counter::ArpAnswered, 1);
            forward::redirect(packet.ingress()) as i32
        }
        Verdict::Forward => {
            counters::count(Counter::Translated, packet.segments());
            forward::redirect_to_neighbour(next) as i32
        }
        Verdict::Consumed => TC_ACT_SHOT,
        Verdict::Cut => {
            cut::for_mtu(next.mtu);
            go_on_as(&TC_STAGES, context, CUT_STAGE, TC_ACT_SHOT)
        }
        Verdict::Error => go_on_as(&TC_STAGES, context, ERROR_STAGE, TC_ACT_SHOT),
        Verdict::Fragment => go_on_as(&TC_STAGES, context, FRAGMENT_STAGE, TC_ACT_SHOT),
        Verdict::Send => go_on_as(&TC_STAGES, context, SEND_STAGE, TC_ACT_SHOT),
        Verdict::Policy => go_on_as(&TC_STAGES, context, POLICY_STAGE, TC_ACT_SHOT),
        Verdict::Claim => go_on_as(&TC_STAGES, context, CLAIM_STAGE, TC_ACT_SHOT),
        Verdict::Again => go_on_as(&TC_STAGES, context, WHOLE_STAGE, TC_ACT_SHOT),
        Verdict::Pong => {
            counters::count(Counter::PingsAnswered, 1);
            forward::redirect(packet.ingress()) as i32
        }
    }
}

/// Packets in [`nat_tc`] that are too big for their next hop.
#[classifier]
#[inline(always)]
pub fn nat_tc_cut(context: TcContext) -> i32 {
    if !cut::run(&mut TcPacket::new(context)) {
        counters::dropped(DropReason::TooBig);
    }
    TC_ACT_SHOT
}

/// Sends on what other programs of [`nat_xdp`] have decided about.
#[xdp]
#[inline(always)]
pub fn nat_xdp_send(context: XdpContext) -> u32 {
    xdp_stage::<SEND_STAGE>(context)
}

/// Sends on what other programs of [`nat_tc`] have decided about.
#[classifier]
#[inline(always)]
pub fn nat_tc_send(context: TcContext) -> i32 {
    tc_stage::<SEND_STAGE>(context)
}

/// Answers what a packet in [`nat_xdp`] asks of the policy, and starts that over.
#[xdp]
#[inline(always)]
pub fn nat_xdp_policy(context: XdpContext) -> u32 {
    let packet = XdpPacket::new(context);
    let stage = decide::run(&packet).unwrap_or(WHOLE_STAGE);
    let context = packet.program_context();
    go_on_as(&XDP_STAGES, context, stage, xdp_action::XDP_DROP)
}

/// Answers what a packet in [`nat_tc`] asks of the policy, and starts that over.
#[classifier]
#[inline(always)]
pub fn nat_tc_policy(context: TcContext) -> i32 {
    let packet = TcPacket::new(context);
    let stage = decide::run(&packet).unwrap_or(WHOLE_STAGE);
    let context = packet.program_context();
    go_on_as(&TC_STAGES, context, stage, TC_ACT_SHOT)
}

/// Makes the session that a packet in [`nat_xdp`] needs, and starts that over.
#[xdp]
#[inline(always)]
pub fn nat_xdp_claim(context: XdpContext) -> u32 {
    ticket::serve();
    go_on_as(&XDP_STAGES, &context, WHOLE_STAGE, xdp_action::XDP_DROP)
}

/// Makes the session that a packet in [`nat_tc`] needs, and starts that over.
#[classifier]
#[inline(always)]
pub fn nat_tc_claim(context: TcContext) -> i32 {
    ticket::serve();
    go_on_as(&TC_STAGES, &context, WHOLE_STAGE, TC_ACT_SHOT)
}

/// In the place of [`nat_tc_claim`] when `nat explain` asks: finds out about the session, and makes none.
#[classifier]
#[inline(always)]
pub fn nat_tc_rehearse_claim(context: TcContext) -> i32 {
    ticket::rehearse();
    go_on_as(&TC_STAGES, &context, WHOLE_STAGE, TC_ACT_SHOT)
}

/// And in the place of [`nat_tc_send`].
#[classifier]
#[inline(always)]
pub fn nat_tc_rehearse_send(context: TcContext) -> i32 {
    tc_stage::<{ rehearsal::SEND_STAGE }>(context)
}

/// Run by the controller with the keys of sessions that look idle; answers how many it removed.
#[classifier]
#[inline(always)]
pub fn nat_expire(context: TcContext) -> i32 {
    expire::run(TcPacket::new(context), Task::Sweep)
}

/// Run by the controller with the keys of sessions that must not go on; answers how many it removed.
#[classifier]
#[inline(always)]
pub fn nat_end(context: TcContext) -> i32 {
    expire::run(TcPacket::new(context), Task::End)
}

/// Run by the controller with the keys of public ports that look rested; answers how many it freed.
#[classifier]
pub fn nat_wake(context: TcContext) -> i32 {
    expire::run(TcPacket::new(context), Task::Wake)
}

/// Ends this program and starts that of another stage. Where that is not there, the packet is lost.
#[inline(always)]
fn go_on_as<C: EbpfContext, T>(stages: &ProgramArray, context: &C, stage: u32, drop: T) -> T {
    // SAFETY: the context is the program's own, and the array is of its type.
    unsafe { stages.tail_call(context, stage) };
    counters::dropped(DropReason::Internal);
    drop
}

#[inline(always)]
fn count<T>(counter: Counter, action: T) -> T {
    counters::count(counter, 1);
    action
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
