//! A packet's way: identify it by interface and addresses, translate its source (`leave.rs`) and its
//! destination (`arrive.rs`) as far as they are ours, and send it on (`send.rs`). A hairpin packet goes
//! through both. What no session knows is asked of the policy (`decisions.rs`). ICMP errors and fragments
//! have programs of their own, which keeps the main one small.

use nat_common::{
    address::Address,
    drop_reason::DropReason,
    flow::protocol,
    map_types::{
        ERROR_STAGE, FRAGMENT_STAGE, GatewayCounter, Interface, PublicUse, SEND_STAGE, WHOLE_STAGE,
    },
    parse::{self, Frame, Ipv4Packet},
    policy::{self, Decision, Session},
    reply::{self, Answer},
};

use crate::{
    arp, arrive, counters, decisions,
    forward::{Hook, NextHop},
    fragments,
    icmp_error::{self, Way},
    leave,
    plan::{self, Plan, Step},
    policy_maps::View,
    refuse, rehearsal, send, strangers, unknown,
    verdict::Verdict,
};

/// The whole way of one packet in the program of this stage; the verdict and the next hop are left in
/// `next`, which says [`Verdict::Pass`] until something else is decided. A dropped packet that was
/// turned into an answer to its sender says [`Verdict::Answer`] there.
#[inline(always)]
pub fn run<H: Hook, const STAGE: u32>(hook: &mut H, next: &mut NextHop) -> Result<(), DropReason> {
    let Some(interface) = next.view.interface(hook.ingress()) else {
        return Ok(());
    };
    match parse::frame(hook) {
        Some(Frame::Ipv4 { to }) if !hook.is_for_us(to, interface.mac) => {
            next.verdict = H::NOT_FOR_US;
            Ok(())
        }
        Some(Frame::Ipv4 { .. }) => ipv4::<H, STAGE>(hook, interface, next),
        Some(Frame::Arp) => {
            next.verdict = arp::answer(hook, next.view, interface);
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
    let packet = unknown::packet(parse::ipv4(hook)?);
    if STAGE == SEND_STAGE || STAGE == rehearsal::SEND_STAGE {
        return send::<H, STAGE>(hook, interface, &packet, next);
    }
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
    let plan = plan::begin(&packet.flow, next.view.epoch(), STAGE).ok_or(DropReason::Internal)?;
    let outcome = match STAGE {
        ERROR_STAGE => error(hook, interface, &packet, plan, next),
        FRAGMENT_STAGE => fragment(hook, interface, &packet, plan, next),
        _ => whole(hook, interface, &packet, plan, next),
    };
    answered(hook, plan, outcome.map_err(unknown::reason), next)
}

/// A packet that is dropped may be turned into an answer to its sender.
#[inline(always)]
fn answered<H: Hook>(
    hook: &mut H,
    plan: &mut Plan,
    outcome: Result<(), DropReason>,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let Err(reason) = outcome else {
        return outcome;
    };
    // The policy was changed meanwhile, twice: what was read of it is nobody's.
    if !next.view.is_whole() {
        next.verdict = Verdict::Again;
        return Ok(());
    }
    counters::count_for(u32::from(plan.gateway), GatewayCounter::Drops);
    if matches!(reason, DropReason::TtlExpired) {
        plan.answer = Answer::TIME_EXCEEDED;
    }
    if refuse::answer(hook, plan.answer) {
        next.verdict = Verdict::Answer;
    }
    Err(reason)
}

/// What others have decided about goes on.
#[inline(always)]
fn send<H: Hook, const STAGE: u32>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let plan = plan::last().ok_or(DropReason::Internal)?;
    next.view = View::of(plan.epoch);
    let outcome = send::send::<H, STAGE>(hook, interface, packet, plan, next);
    // The rest of a datagram is of no use to anybody.
    if outcome.is_err()
        && packet.is_first_fragment()
        && let Some(datagram) = fragments::key(hook, interface, packet)
    {
        fragments::give_up(datagram);
    }
    answered(hook, plan, outcome, next)
}

#[inline(always)]
fn whole<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    match decide(hook, next.view, interface, packet, plan)? {
        Step::GoOn => {
            next.verdict = Verdict::Send;
            Ok(())
        }
        Step::Claim => {
            next.verdict = Verdict::Claim;
            Ok(())
        }
        Step::Decide => {
            next.verdict = Verdict::Policy;
            Ok(())
        }
        // Nobody else has this address.
        Step::AnswerPing if reply::pong(hook, packet).is_none() => Err(DropReason::NoRoute),
        Step::AnswerPing => {
            next.verdict = Verdict::Pong;
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
        (step, reason) = match decide(hook, next.view, interface, packet, plan) {
            Ok(step) => (step, DropReason::Fragment),
            Err(reason) => (Step::Drop, reason),
        };
        // Where ports did not count, the others find their own way: but not by what is known of an
        // earlier datagram, or while some of them wait. Who may not send decides for nobody.
        let is_from_nobody = matches!(
            reason,
            DropReason::SpoofedSource | DropReason::UnlistedSource
        );
        if packet.is_first_fragment()
            && (!plan.is_stateless || (!is_from_nobody && fragments::is_known(datagram)))
            && protocol::is_translated(packet.flow.protocol)
            && step != Step::Claim
            && step != Step::Decide
            && fragments::remember(datagram, step, plan)
            && hook.release(datagram, true)
        {
            next.verdict = Verdict::Consumed;
            return Ok(());
        }
    }
    match step {
        Step::GoOn => {
            next.verdict = Verdict::Send;
            Ok(())
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
        Step::Decide => {
            next.verdict = Verdict::Policy;
            Ok(())
        }
        Step::AnswerPing => Err(DropReason::Fragment),
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
    view: View,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let from_inside = leave::is_from_inside(hook, view, interface, &packet.flow);
    if from_inside {
        if packet.flow.destination.is_multicast_or_broadcast() {
            return Ok(Step::Pass);
        }
        match leave::translate_source(hook, view, interface, packet, plan)? {
            Step::GoOn => {}
            other => return Ok(other),
        }
        if plan.inward {
            return Ok(Step::GoOn);
        }
    }
    match view.public_address(plan.to.destination) {
        Some(public) if from_inside || interface.is(Interface::UPLINK) => {
            arrive::translate_destination(hook, view, interface, packet, &public, from_inside, plan)
        }
        _ if from_inside => Ok(Step::GoOn),
        _ if packet.may_come_in() && arrive::may_be_kept(view, interface, packet) => {
            match arrive::kept(hook, view, packet, plan)? {
                Step::Undecided => {
                    strangers::to_others(hook, view, interface, packet)?;
                    Ok(Step::Pass)
                }
                step => Ok(step),
            }
        }
        _ => {
            // From outside ports may decide.
            plan.is_stateless = interface.is(Interface::INSIDE);
            strangers::to_others(hook, view, interface, packet)?;
            Ok(Step::Pass)
        }
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
    let view = next.view;
    let from_inside = leave::is_from_inside(hook, view, interface, &packet.flow);
    let public = view.public_address(packet.flow.destination);
    let is_shared = public.is_some_and(|public| public.is_shared());
    let mut out = Way::NONE;
    if from_inside {
        if packet.flow.destination.is_multicast_or_broadcast() {
            return Ok(());
        }
        let Some(decision) = decisions::outward(view, ERROR_STAGE, &Session::NONE) else {
            next.verdict = Verdict::Policy;
            return Ok(());
        };
        plan.gateway = decision.gateway as u16;
        let (value, vpc) = (Address::from_raw(decision.value), interface.vpc);
        let is_tracked = decision.is(Decision::TRACKED);
        out = match decision.way {
            policy::Way::Pass | policy::Way::Router => return Ok(()),
            policy::Way::NatGateway => Way::out_of_gateway(vpc),
            policy::Way::OneToOne => Way::out_of_instance(value, vpc, is_tracked),
            policy::Way::Local | policy::Way::Instance => {
                if matches!(decision.way, policy::Way::Instance) {
                    plan.via = value;
                }
                plan.vpc = vpc;
                plan.inward = true;
                next.verdict = Verdict::Send;
                return if is_tracked {
                    icmp_error::is_about_a_session(hook, packet, vpc)
                } else {
                    Ok(())
                };
            }
            _ => {
                return match decision.reason() {
                    DropReason::SpoofedSource => Err(DropReason::SpoofedSource),
                    // The host may have asked for it, whatever keeps others from getting it.
                    _ if is_shared => Ok(()),
                    reason => Err(reason),
                };
            }
        };
    }
    let (mut back, mut is_kept) = (Way::NONE, false);
    match public {
        Some(public) if !arrive::may_come_to(interface, &public) => {
            return Err(DropReason::NoSession);
        }
        Some(public) if from_inside || interface.is(Interface::UPLINK) => {
            back = match public.purpose() {
                PublicUse::Elastic(_)
                    if !from_inside
                        && !arrive::may_come_from_outside(view, interface, &packet.flow) =>
                {
                    return Err(DropReason::SpoofedSource);
                }
                PublicUse::Elastic(private) => Way::into_instance(private, public.owner() as u16),
                PublicUse::NatGateway => Way::into_gateway(
                    view.gateway(public.owner())
                        .map_or(Address::UNSPECIFIED, |gateway| gateway.private_ip),
                ),
            };
        }
        _ if from_inside => {}
        _ if arrive::may_be_kept(view, interface, packet) => {
            is_kept = true;
            back = Way::into_gateway(Address::UNSPECIFIED);
        }
        _ => return strangers::to_others(hook, view, interface, packet),
    }
    match icmp_error::forward(hook, packet, &[out, back], next) {
        // It is not about what went by a gateway endpoint.
        Err(DropReason::NoSession) if is_kept => {
            strangers::to_others(hook, view, interface, packet)
        }
        // Nobody inside gets it, and the host may have asked for it.
        Err(DropReason::NoSession) if is_shared => Ok(()),
        Err(DropReason::NetworkAcl | DropReason::SecurityGroup | DropReason::NoRoute)
            if is_shared && from_inside =>
        {
            Ok(())
        }
        other => other,
    }
}
