//! Packets from inside: who may send them, and what their source becomes, by the session they belong to or
//! by what the policy says (`decisions.rs`). The destination is `arrive.rs`'s matter.

use nat_common::{
    address::Address,
    claim::Claim,
    drop_reason::DropReason,
    flow::Flow,
    map_types::{Far, Gateway, Interface, SessionKey, TRACKER},
    parse::{Ipv4Packet, Transport},
    policy::{Decision, Session, Way},
    reply::Answer,
    sessions::is_tracker,
    wire::EthernetHeader,
};

use crate::{
    decisions, flow_cache,
    forward::Hook,
    halves::{find_half, is_over},
    plan::{Plan, Step},
    policy_maps::{View, is_its_station},
    settings, ticket,
};

/// Anti-spoofing: a packet from inside comes by an inside interface, and its source belongs to one of
/// the interface's subnets, or its sender is an appliance.
#[inline(always)]
pub fn is_from_inside<H: Hook>(hook: &H, view: View, interface: &Interface, flow: &Flow) -> bool {
    is_from_subnet(hook, view, interface, flow)
        || (interface.is(Interface::HAS_APPLIANCES) && sender(hook, view).is_some())
}

/// Its source belongs to one of the interface's subnets.
#[inline(always)]
pub fn is_from_subnet<H: Hook>(hook: &H, view: View, interface: &Interface, flow: &Flow) -> bool {
    if interface.is(Interface::ONE_PREFIX) {
        interface.covers(flow.source)
    } else {
        interface.is(Interface::INSIDE) && view.subnet_behind(hook.ingress(), flow.source).is_some()
    }
}

/// The private IP of the appliance that sent the packet, if one did.
#[inline(always)]
pub fn sender<H: Hook>(hook: &H, view: View) -> Option<Address> {
    let header = hook.load::<EthernetHeader>(0)?;
    view.appliance(hook.ingress(), header.source())
}

/// An appliance sent the packet for somebody else, who may send the same flow by the same interface.
#[inline(always)]
pub fn is_for_others<H: Hook>(hook: &H, view: View, interface: &Interface, flow: &Flow) -> bool {
    interface.is(Interface::HAS_APPLIANCES)
        && sender(hook, view).is_some_and(|own| own != flow.source)
}

/// Translates the source of a packet from inside.
#[inline(always)]
pub fn translate_source<H: Hook>(
    hook: &H,
    view: View,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let flow = &packet.flow;
    plan.vpc = interface.vpc;
    let mut session = Session::default();
    if packet.shows_flow() {
        session = find(hook, interface, packet, interface.vpc, plan);
        plan.gateway = if session.is_there {
            session.gateway
        } else {
            TRACKER as u16
        };
        // Nobody outside pings by a NAT gateway: this is a ping of the number 0, which has no port either.
        if matches!(packet.transport, Transport::IcmpEchoReply) && !is_tracker(session.gateway) {
            session = Session::default();
            plan.forget_sessions();
        }
        if !session.is_over()
            && plan.has_passed()
            && packet.is_whole()
            && is_its_station(hook, view, flow)
        {
            return Ok(take_session(flow, plan));
        }
    }
    let Some(decision) = decisions::outward(view, plan.stage, &session) else {
        return Ok(Step::Decide);
    };
    plan.gateway = decision.gateway as u16;
    plan.is_stateless = !decision.is(Decision::BY_FLOW);
    match decision.way {
        Way::Pass => Ok(Step::Pass),
        Way::Wait => {
            plan.is_stateless = false;
            Ok(Step::Wait)
        }
        Way::NatGateway if session.is_there && !session.is_answer() => Ok(take_session(flow, plan)),
        Way::Endpoint if session.is_there => Ok(take_session(flow, plan)),
        Way::NatGateway | Way::Endpoint => {
            plan.is_stateless = false;
            plan.forget_sessions();
            let scope = interface.vpc;
            let (gateway, far) = (decision.gateway as u16, &decision.far);
            claim(scope, gateway, Address::UNSPECIFIED, far, flow, view, plan)
        }
        Way::OneToOne | Way::Local | Way::Instance => {
            untranslated(hook, interface, packet, view, decision, session, plan)
        }
        Way::Router => Ok(Step::AnswerPing),
        Way::Drop => {
            plan.answer = Answer::from_raw(decision.answer);
            Err(decision.reason())
        }
        Way::Undecided | Way::Inside => Err(DropReason::Internal),
    }
}

/// A packet of no flow, where security groups keep track: they are asked about each.
#[inline(always)]
pub const fn without_flow(packet: &Ipv4Packet) -> Result<Step, DropReason> {
    match packet.transport {
        // In fragments: what it is about may be in another one.
        Transport::IcmpError => Err(DropReason::Fragment),
        _ => Ok(Step::GoOn),
    }
}

/// The session of a flow within this scope, found from either of its ends.
#[inline(always)]
fn find<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
    scope: u16,
    plan: &mut Plan,
) -> Session {
    let (flow, opens) = (&packet.flow, packet.flags.opens());
    let (epoch, origin) = (plan.epoch, flow_cache::origin(hook).raw());
    let key = SessionKey::forward(flow, scope);
    if find_half(&raw const key, &raw mut plan.forward, epoch, origin) != 0 {
        return Session {
            is_there: true,
            flags: Session::over_if(opens && is_over(&raw const plan.forward.key) != 0),
            gateway: plan.forward.owner,
            address: plan.forward.address,
            far: plan.forward.far,
            ..Session::default()
        };
    }
    if interface.is(Interface::TRACKS) && is_answer(hook, flow, scope, plan) {
        let reverse = &plan.reverse;
        let mut session = Session {
            is_there: true,
            flags: Session::ANSWER | Session::over_if(opens && is_answer_over(flow, plan) != 0),
            gateway: TRACKER as u16,
            address: flow.source,
            ..Session::default()
        };
        if reverse.is_far() {
            session.gateway = reverse.gateway;
            session.address = reverse.address;
            session.port = reverse.port;
            session.far = Far {
                scope: reverse.owner,
                ..reverse.far
            };
        }
        return session;
    }
    Session::default()
}

/// The session that [`is_answer`] found was closed; 1 for true.
#[inline(never)]
fn is_answer_over(flow: &Flow, plan: &Plan) -> u32 {
    let key = plan.reverse.forward_key(flow);
    is_over(&raw const key)
}

/// A flow within this scope has this one for its answers.
#[inline(always)]
fn is_answer<H: Hook>(hook: &H, flow: &Flow, scope: u16, plan: &mut Plan) -> bool {
    let (epoch, origin) = (plan.epoch, flow_cache::origin(hook).raw());
    let key = SessionKey::answers(flow, scope);
    find_half(&raw const key, &raw mut plan.reverse, epoch, origin) != 0
}

/// The packet becomes what its session says.
#[inline(always)]
fn take_session(flow: &Flow, plan: &mut Plan) -> Step {
    if plan.is_far() && plan.forward.is_none() {
        plan.to = plan.reverse.inward(flow);
        plan.vpc = plan.reverse.owner;
        plan.inward = true;
    } else if plan.is_far() {
        plan.to = plan.forward.outward(flow);
        plan.vpc = plan.forward.far.scope;
        plan.inward = plan.forward.far.scope != 0;
    } else if plan.forward.is_none() {
        plan.inward = true;
    } else {
        plan.to = flow.with_source(plan.forward.address, plan.forward.port);
        plan.inward = is_tracker(plan.forward.owner)
            && plan.forward.address == flow.source
            && plan.forward.port == flow.source_port;
    }
    plan.has_session = true;
    plan.is_stateless = false;
    Step::GoOn
}

/// By a public IP, within the VPC, or to an instance that a route leads to: with a session only where
/// security groups keep track.
#[inline(always)]
fn untranslated<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
    view: View,
    decision: &Decision,
    session: Session,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let flow = &packet.flow;
    let mut mapped = flow.source;
    match decision.way {
        Way::OneToOne => mapped = Address::from_raw(decision.value),
        Way::Instance => plan.via = Address::from_raw(decision.value),
        _ => {}
    }
    let is_via = matches!(decision.way, Way::Instance);
    let is_its = !session.is_answer() || matches!(decision.way, Way::Local);
    if session.is_there && is_its && !is_via && decision.is(Decision::TRACKED) {
        return Ok(take_session(flow, plan));
    }
    plan.to = flow.with_source(mapped, flow.source_port);
    plan.inward = !matches!(decision.way, Way::OneToOne);
    plan.forget_sessions();
    if !decision.is(Decision::TRACKED) {
        // What is to a public IP of ours depends on who holds that, too.
        plan.is_steady = view.public_address(flow.destination).is_none();
        return Ok(Step::GoOn);
    }
    plan.is_stateless = false;
    if !packet.shows_flow() {
        return without_flow(packet);
    }
    let (here, there) = if is_via {
        (interface.vpc | SessionKey::VIA_INSTANCE, interface.vpc)
    } else {
        (interface.vpc, interface.vpc | SessionKey::VIA_INSTANCE)
    };
    let is_known = (is_via && find(hook, interface, packet, here, plan).is_there)
        || (!matches!(decision.way, Way::OneToOne) && is_answer(hook, flow, there, plan));
    if is_known {
        plan.has_session = true;
        return Ok(Step::GoOn);
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    claim(here, TRACKER as u16, mapped, &Far::NONE, flow, view, plan)
}

/// The packet needs a session.
#[inline(always)]
fn claim(
    scope: u16,
    gateway: u16,
    mapped: Address,
    far: &Far,
    flow: &Flow,
    view: View,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let claim = Claim {
        flow: *flow,
        vpc: scope,
        gateway,
        now: settings::now(),
        mapped,
        far: *far,
        lets_in: false,
    };
    match ticket::redeem(&claim) {
        None => Ok(Step::Claim),
        Some(reason) => {
            plan.answer = exhaustion(view, u32::from(gateway), reason);
            Err(reason)
        }
    }
}

/// What a gateway tells hosts inside for which it has no port (RFC 5508 REQ-8, RFC 6888 REQ-11).
#[inline(always)]
fn exhaustion(view: View, gateway: u32, reason: DropReason) -> Answer {
    if !matches!(reason, DropReason::PortExhausted | DropReason::ClientQuota) {
        return Answer::NONE;
    }
    match view.gateway(gateway) {
        Some(gateway) if gateway.is(Gateway::EXHAUSTION_PROHIBITED) => Answer::PROHIBITED,
        Some(gateway) if gateway.is(Gateway::EXHAUSTION_UNREACHABLE) => Answer::HOST_UNREACHABLE,
        _ => Answer::NONE,
    }
}
