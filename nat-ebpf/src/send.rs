//! The last stage: what a packet became goes to its next hop, and its session counts it.

use nat_common::{
    clock::Tick,
    drop_reason::DropReason,
    flow_cache::{LineKey, is_plain},
    map_types::{Interface, SessionKey},
    parse::Ipv4Packet,
    translate,
};

use crate::{
    flow_cache,
    forward::{self, Hook, NextHop},
    halves::reopen_if_closing,
    leave,
    plan::{self, Plan},
    refuse, rehearsal,
    remember::{self, Pending},
    settings,
    verdict::Verdict,
};

/// Sends on what `packet` became. Nothing is changed or counted when
/// this hook can't send it there; `next` tells. In a rehearsal nothing is either way.
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
    let is_by_flow = plan.has_session || (plan.is_steady && !plan.is_stateless);
    let is_shared =
        plan.via.is_unspecified() && !plan.has_own_hop && (is_by_flow || !is_plain(packet));
    let to = plan.to;
    // To a host inside, of which there may be two with this address: the public IP tells which.
    let is_inward =
        plan.is_answer() || (!plan.is_far() && to.destination != packet.flow.destination);
    let vpc = plan.vpc_told(packet.flow.destination);
    let way = LineKey::of_route(&packet.flow, &to, is_inward, vpc, flow_cache::origin(hook));
    if is_shared && remember::next_hop(&way, plan.epoch, length, next) {
        next.verdict = Verdict::Forward;
    } else {
        let (routed, vpc) = (plan.routed(), plan.vpc_of_receiver());
        if let Err(reason) = forward::find_next_hop(hook, &routed, length, vpc, next) {
            return match reason {
                DropReason::TooBig => refuse::too_big(hook, packet, plan, next),
                other => Err(other),
            };
        }
        if !matches!(next.verdict, Verdict::Forward) {
            return Ok(());
        }
        if is_shared {
            remember::remember_next_hop(&way, interface.mac, next);
        }
    }
    // What was decided so far is of one generation of the policy, or it is decided anew.
    if !next.view.is_whole() {
        return Err(DropReason::Internal);
    }
    if STAGE == rehearsal::SEND_STAGE {
        plan::note(next.interface, next.gateway.raw());
        return Ok(());
    }
    // As long as the frame says who sent it.
    let is_remembered =
        packet.is_whole() && !leave::is_for_others(hook, next.view, interface, &packet.flow);
    let (now, flags) = (settings::now(), packet.flags);
    if flags.opens() {
        reopen(plan, now);
    }
    let pending = if packet.is_whole() {
        remember::take(hook, packet)
    } else {
        Pending::NONE
    };
    let packets = hook.segments() + pending.packets;
    let bytes = hook.bytes(packet) + pending.bytes;
    let mut carried = plan.forward.carry(now, packets, bytes, flags);
    if plan.is_answer() {
        carried = plan.reverse.carry(now, packets, bytes, flags);
    }
    if plan.renumbers {
        translate::renumber(hook, plan.identification).ok_or(DropReason::Malformed)?;
    }
    translate::apply(hook, packet, &to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)?;
    if is_remembered {
        remember::remember(hook, interface, packet, plan, carried, next);
    }
    Ok(())
}

/// A SYN in either direction starts a session over that is closing. Its forward half is another one's then,
/// by its time.
#[inline(always)]
fn reopen(plan: &mut Plan, now: Tick) {
    if !plan.forward.is_none() {
        let key = plan.forward.key;
        if reopen_if_closing(&raw const key, now) != 0 {
            plan.forward.made = now as u16;
        }
    }
    if !plan.reverse.is_none() {
        let key = SessionKey::forward(&plan.to.reversed(), plan.reverse.owner);
        reopen_if_closing(&raw const key, now);
    }
}
