//! The dataplane: one pipeline on two hooks.
//!
//! A packet's way: [`xdp_packet`] or [`tc_packet`] -> [`pipeline`] (identify, decide) ->
//! [`session_maps`] or, for the first packet, [`policy_maps`] and [`port_claim`] -> [`forward`]
//! -> the verdict table below. [`arp`] answers for the public IPs, [`expire`] is run by the
//! controller, [`counters`] and [`events`] tell what happened, [`bounds`] and [`settings`] serve all.
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
mod atomics;
mod bounds;
mod counters;
mod events;
mod expire;
mod forward;
mod icmp_error;
mod pipeline;
mod policy_maps;
mod port_claim;
mod session_maps;
mod settings;
mod tc_packet;
mod verdict;
mod xdp_packet;

use aya_ebpf::{
    bindings::{TC_ACT_PIPE, TC_ACT_SHOT, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use nat_common::map_types::Counter;

use crate::{
    forward::{Hook as _, NextHop},
    tc_packet::TcPacket,
    verdict::Verdict,
    xdp_packet::XdpPacket,
};

/// Ingress of a NIC, native or generic.
#[xdp]
pub fn nat_xdp(context: XdpContext) -> u32 {
    let mut packet = XdpPacket::new(context);
    let mut next = NextHop::NONE;
    if let Err(reason) = pipeline::run(&mut packet, &mut next) {
        counters::dropped(reason);
        return xdp_action::XDP_DROP;
    }
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
    }
}

/// Ingress of any interface, and the second stage of those that have `nat_xdp`.
#[classifier]
pub fn nat_tc(context: TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let mut next = NextHop::NONE;
    if let Err(reason) = pipeline::run(&mut packet, &mut next) {
        counters::dropped(reason);
        return TC_ACT_SHOT;
    }
    match next.verdict {
        // PIPE lets programs and filters of others see what is not ours.
        Verdict::Pass | Verdict::HandUp => count(Counter::Passed, TC_ACT_PIPE),
        Verdict::Answer => {
            counters::count(Counter::ArpAnswered, 1);
            forward::redirect(packet.ingress()) as i32
        }
        Verdict::Forward => {
            counters::count(Counter::Translated, packet.segments());
            forward::redirect_to_neighbour(&next) as i32
        }
    }
}

/// Run by the controller with the keys of sessions that look idle; answers how many it removed.
#[classifier]
pub fn nat_expire(context: TcContext) -> i32 {
    expire::run(&TcPacket::new(context))
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
