//! A packet's way: identify it by interface and addresses, translate its source (`leave.rs`) and its
//! destination (`arrive.rs`) as far as they are ours, and send it on (`send.rs`). A hairpin packet goes
//! through both. ICMP errors and fragments have programs of their own, which keeps the main one small.

use nat_common::{
    drop_reason::DropReason,
    flow::protocol,
    map_types::{ERROR_STAGE, FRAGMENT_STAGE, Interface, PublicUse, WHOLE_STAGE},
    parse::{self, Frame, Ipv4Packet},
    reply::Answer,
};

use crate::{
    arp, arrive, flow_cache,
    forward::{Hook, NextHop},
    fragments,
    icmp_error::{self, Way},
    leave,
    plan::{Plan, Step},
    policy_maps, refuse,
    send::send,
    strangers,
    verdict::Verdict,
};

/// The whole way of one packet in the program of this stage; the verdict and the next hop are left in
/// `next`, which says [`Verdict::Pass`] until something else is decided. A dropped packet that was
/// turned into an answer to its sender says [`Verdict::Answer`] there.
#[inline(always)]
pub fn run<H: Hook, const STAGE: u32>(hook: &mut H, next: &mut NextHop) -> Result<(), DropReason> {
    let Some(interface) = policy_maps::interface(hook.ingress()) else {
        return Ok(());
    };
    match parse::frame(hook) {
        Some(Frame::Ipv4 { to }) if !hook.is_for_us(to, interface.mac) => {
            next.verdict = H::NOT_FOR_US;
            Ok(())
        }
        Some(Frame::Ipv4 { .. }) => ipv4::<H, STAGE>(hook, interface, next),
        Some(Frame::Arp) => {
            next.verdict = arp::answer(hook, interface);
            Ok(())
        }
        Some(Frame::Other) | None => Ok(()),
    }
}

#[inline(always)]
fn ipv4<H: Hook, const STAGE: u32>(
    hook: &mut H,
    interface: &Interface,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let packet = parse::ipv4(hook)?;
    // One that comes to a stage it is not for starts over.
    let stage = if packet.is_error() {
        ERROR_STAGE
    } else if packet.is_whole() {
        WHOLE_STAGE
    } else {
        FRAGMENT_STAGE
    };
    if stage != STAGE {
        next.verdict = match stage {
            ERROR_STAGE => Verdict::Error,
            _ => Verdict::Fragment,
        };
        return if STAGE == WHOLE_STAGE {
            Ok(())
        } else {
            Err(DropReason::Internal)
        };
    }
    let mut plan = Plan::new(&packet.flow, policy_maps::epoch());
    let outcome = match STAGE {
        ERROR_STAGE => error(hook, interface, &packet, &mut plan, next),
        FRAGMENT_STAGE => fragment(hook, interface, &packet, &mut plan, next),
        _ => whole(hook, interface, &packet, &mut plan, next),
    };
    if matches!(outcome, Err(DropReason::TtlExpired)) {
        plan.answer = Answer::TIME_EXCEEDED;
    }
    if outcome.is_err() && refuse::answer(hook, interface, plan.answer) {
        next.verdict = Verdict::Answer;
    }
    outcome
}

#[inline(always)]
fn whole<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    match decide(hook, interface, packet, plan)? {
        Step::GoOn => {
            send::<H, WHOLE_STAGE>(hook, interface, packet, plan, next)?;
            if matches!(next.verdict, Verdict::Forward) {
                flow_cache::remember(hook, interface, packet, plan, next);
            }
            Ok(())
        }
        Step::Claim => {
            next.verdict = Verdict::Claim;
            Ok(())
        }
        Step::Pass | Step::Drop | Step::Wait | Step::HandUp | Step::Undecided => Ok(()),
    }
}

/// A fragment: the first one of a datagram decides for all.
#[inline(always)]
fn fragment<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let datagram = fragments::key(hook, interface, packet).ok_or(DropReason::Malformed)?;
    let mut step = fragments::known(
        packet.is_first_fragment(),
        H::HOLDS_FRAGMENTS,
        datagram,
        plan,
    );
    let mut reason = DropReason::Fragment;
    if step == Step::Undecided {
        // Taken apart, because half of a `Result` is uninitialised.
        (step, reason) = match decide(hook, interface, packet, plan) {
            Ok(step) => (step, DropReason::Fragment),
            Err(reason) => (Step::Drop, reason),
        };
        if packet.is_first_fragment()
            && !plan.is_stateless
            && protocol::is_translated(packet.flow.protocol)
            && step != Step::Claim
            && fragments::remember(datagram, step, plan)
            && hook.release(datagram, true)
        {
            next.verdict = Verdict::Consumed;
            return Ok(());
        }
    }
    match step {
        Step::GoOn => {
            let sent = send::<H, FRAGMENT_STAGE>(hook, interface, packet, plan, next);
            // The rest is of no use to anybody.
            if sent.is_err() && packet.is_first_fragment() {
                fragments::give_up(datagram);
            }
            sent
        }
        Step::Pass | Step::Undecided => Ok(()),
        Step::Drop => Err(reason),
        Step::HandUp => {
            next.verdict = Verdict::HandUp;
            Ok(())
        }
        Step::Claim => {
            next.verdict = Verdict::Claim;
            Ok(())
        }
        Step::Wait => {
            next.verdict = hook.hold(datagram)?;
            // The first one may have come meanwhile.
            if fragments::is_decided(datagram) {
                hook.release(datagram, false);
            }
            Ok(())
        }
    }
}

/// What becomes of a packet that is no ICMP error.
#[inline(always)]
fn decide<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let from_inside = leave::is_from_inside(hook, interface, &packet.flow);
    if from_inside {
        if packet.flow.destination.is_multicast_or_reserved() {
            return Ok(Step::Pass);
        }
        match leave::translate_source(hook, interface, packet, plan)? {
            Step::GoOn => {}
            other => return Ok(other),
        }
    }
    match policy_maps::public_address(plan.to.destination) {
        Some(public) if from_inside || interface.is(Interface::UPLINK) => {
            arrive::translate_destination(interface, packet, &public, from_inside, plan)
        }
        _ if from_inside => Ok(Step::GoOn),
        _ => strangers::to_others(hook, interface, packet, plan).map(|()| Step::Pass),
    }
}

/// An ICMP error goes the way of the packet it quotes, backwards.
#[inline(always)]
fn error<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let from_inside = leave::is_from_inside(hook, interface, &packet.flow);
    let mut out = Way::NONE;
    if from_inside {
        if packet.flow.destination.is_multicast_or_reserved() {
            return Ok(());
        }
        if leave::route_error(hook, interface, packet, plan)? == Step::Pass {
            return Ok(());
        }
        out = if plan.to.source == packet.flow.source {
            Way::out_of_gateway(interface.vpc)
        } else {
            Way::out_of_instance(plan.to.source)
        };
    }
    let mut back = Way::NONE;
    let mut is_shared = false;
    match policy_maps::public_address(packet.flow.destination) {
        Some(public) if from_inside || interface.is(Interface::UPLINK) => {
            is_shared = public.is_shared();
            back = match public.purpose() {
                PublicUse::Elastic(_)
                    if !from_inside && !arrive::may_come_from_outside(interface, &packet.flow) =>
                {
                    return Err(DropReason::SpoofedSource);
                }
                PublicUse::Elastic(private) => Way::into_instance(private),
                PublicUse::NatGateway => Way::INTO_GATEWAY,
            };
        }
        _ if from_inside => {}
        _ => return strangers::to_others(hook, interface, packet, plan),
    }
    match icmp_error::forward(hook, packet, &[out, back], next) {
        // The host may have asked for it.
        Err(DropReason::NoSession) if is_shared => Ok(()),
        other => other,
    }
}
