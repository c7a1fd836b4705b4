//! The last stage: what a packet became goes to its next hop, and its session counts it.

use nat_common::{
    clock::Tick,
    drop_reason::DropReason,
    flow_cache::is_plain,
    map_types::{Interface, SessionKey, WHOLE_STAGE},
    parse::Ipv4Packet,
    translate,
};

use crate::{
    flow_cache::{self, Pending},
    forward::{self, Hook, NextHop},
    kernel_tables::reopen_if_closing,
    plan::Plan,
    refuse, settings,
    verdict::Verdict,
};

/// Sends on what `packet` became. Nothing is changed or counted when
/// this hook can't send it there; `next` tells.
#[inline(always)]
pub fn send<H: Hook, const STAGE: u32>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let length = hook.mtu_length(packet);
    // Between two addresses a pair says it to packets that take the short way: where senders have an address
    // each, a path for each of them would only be in the way of others.
    let is_shared = plan.has_session || !is_plain(packet);
    if is_shared && flow_cache::next_hop(hook, &plan.to, plan.inward, length, next) {
        next.verdict = Verdict::Forward;
    } else if let Err(reason) = forward::find_next_hop(hook, &plan.to, length, plan.side(), next) {
        return match reason {
            DropReason::TooBig => refuse::too_big(hook, plan, next),
            other => Err(other),
        };
    } else if !matches!(next.verdict, Verdict::Forward) {
        return Ok(());
    } else if is_shared {
        flow_cache::remember_next_hop(hook, interface.mac, &plan.to, plan.inward, next);
    }
    let (now, flags) = (settings::now(), packet.flags);
    if flags.opens() {
        reopen(interface, packet, plan, now);
    }
    let pending = if STAGE == WHOLE_STAGE {
        flow_cache::take(hook, packet)
    } else {
        Pending::NONE
    };
    let packets = hook.segments() + pending.packets;
    let bytes = hook.bytes(packet) + pending.bytes;
    plan.forward.carry(now, packets, bytes, flags);
    plan.reverse.carry(now, packets, bytes, flags);
    if plan.renumbers {
        translate::renumber(hook, plan.identification).ok_or(DropReason::Malformed)?;
    }
    translate::apply(hook, packet, &plan.to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)
}

/// A SYN in either direction starts a session over that is closing.
#[inline(always)]
fn reopen(interface: &Interface, packet: &Ipv4Packet, plan: &Plan, now: Tick) {
    if !plan.forward.is_none() {
        let key = SessionKey::forward(&packet.flow, interface.vpc);
        reopen_if_closing(&raw const key, now);
    }
    if !plan.reverse.is_none() {
        let key = SessionKey::forward(&plan.to.reversed(), plan.reverse.owner());
        reopen_if_closing(&raw const key, now);
    }
}
