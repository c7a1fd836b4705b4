//! Packets to a public IP of ours, from outside or back from inside (hairpin): what their destination
//! becomes. Only what somebody inside asked for, or offers, goes in, and what the policy lets in.

use nat_common::{
    address::Address,
    claim::Claim,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{
        Far, Interface, METADATA_IP, PublicAddress, PublicUse, RESOLVER_IP, SERVICES, SessionKey,
        Settings, TRACKER, bound_key,
    },
    parse::{Ipv4Packet, Transport},
    policy::{Decision, Inside, Session, Way},
    shared,
};

use crate::{
    decisions, flow_cache,
    forward::Hook,
    halves::{self, find_half, is_bound},
    kernel_tables::KernelTables,
    leave::without_flow,
    plan::{Plan, Step},
    policy_maps::View,
    settings, ticket,
};

/// Translates the destination of a packet whose source is that of `plan` by now.
#[inline(always)]
pub fn translate_destination<H: Hook>(
    hook: &H,
    view: View,
    interface: &Interface,
    packet: &Ipv4Packet,
    public: &PublicAddress,
    from_inside: bool,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    plan.inward = true;
    let awaits_ports = packet.is_later_fragment() && protocol::is_translated(packet.flow.protocol);
    // Nobody is let in without a session who can't be where the packet comes from.
    let may_open = || from_inside || may_come_from_outside(view, interface, &packet.flow);
    if !may_come_to(interface, public) {
        return Err(DropReason::NoSession);
    }
    match public.purpose() {
        PublicUse::Elastic(_) if !may_open() => Err(DropReason::SpoofedSource),
        PublicUse::NatGateway if awaits_ports => Ok(Step::Wait),
        purpose => {
            let may_be_found = match purpose {
                PublicUse::NatGateway => packet.may_come_in(),
                PublicUse::Elastic(_) => packet.shows_flow() && view.has_setting(Settings::TRACKS),
            };
            let is_found = may_be_found && find(hook, plan);
            let is_over = is_found && packet.flags.opens() && is_over(plan) != 0;
            if is_found && !is_over && !from_inside && plan.reverse.has_passed != 0 {
                return Ok(take_session(plan));
            }
            match purpose {
                PublicUse::Elastic(private) => to_instance(
                    view,
                    packet,
                    public.owner() as u16,
                    private,
                    (is_found, is_over),
                    plan,
                ),
                PublicUse::NatGateway => {
                    plan.gateway = public.owner() as u16;
                    plan.is_stateless = false;
                    let found = (is_found, is_over);
                    match to_gateway(view, packet, public.owner(), found, may_open, plan) {
                        // The host's own; from inside, if nobody there has the port either.
                        Err(DropReason::NoSession)
                            if public.is_shared() && !(from_inside && is_somebodys(&plan.to)) =>
                        {
                            Ok(Step::Pass)
                        }
                        other => other,
                    }
                }
            }
        }
    }
}

/// Somebody inside may have been left his address by a gateway endpoint, so that answers come to it.
#[inline(always)]
pub fn may_be_kept(view: View, interface: &Interface, packet: &Ipv4Packet) -> bool {
    interface.is(Interface::UPLINK)
        && view.has_setting(Settings::KEEPS_SOURCES)
        && view.is_private(packet.flow.destination)
}

/// An answer by a gateway endpoint; [`Step::Undecided`] when it is none.
#[inline(always)]
pub fn kept<H: Hook>(
    hook: &H,
    view: View,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    plan.is_stateless = false;
    if packet.is_later_fragment() {
        return Ok(Step::Wait);
    }
    if !find(hook, plan) {
        return Ok(Step::Undecided);
    }
    plan.inward = true;
    plan.gateway = plan.reverse.gateway;
    let is_over = packet.flags.opens() && is_over(plan) != 0;
    // Nobody opens anything from there.
    if is_over {
        return Err(DropReason::NoSession);
    }
    if plan.reverse.has_passed != 0 {
        return Ok(take_session(plan));
    }
    let inside = Inside {
        vpc: plan.reverse.owner,
        address: plan.reverse.address,
        port: plan.reverse.port,
        gateway: Address::UNSPECIFIED,
    };
    Ok(match ask(view, (true, false), inside, plan)? {
        Some(_) => take_session(plan),
        None => Step::Decide,
    })
}

/// Somebody inside has the public address and port that a flow is addressed to.
#[inline(always)]
fn is_somebodys(flow: &Flow) -> bool {
    let key = bound_key(flow);
    is_bound(&raw const key) != 0
}

/// The services' address is theirs alone: nobody speaks for them from elsewhere, nor they to others.
#[inline(always)]
pub fn may_come_to(interface: &Interface, public: &PublicAddress) -> bool {
    let is_theirs = matches!(public.purpose(), PublicUse::NatGateway) && public.owner() == SERVICES;
    is_theirs == interface.is(Interface::SERVICES)
}

/// A sender that claims to be inside or to have a public IP of ours, or that nobody can be, is not let in to
/// an instance.
#[inline(always)]
pub fn may_come_from_outside(view: View, interface: &Interface, flow: &Flow) -> bool {
    interface.is(Interface::INSIDE)
        || !(flow.source.is_martian()
            || flow.source == METADATA_IP
            || flow.source == RESOLVER_IP
            || view.is_private(flow.source)
            || view.public_address(flow.source).is_some())
}

/// The session of a packet to a public IP.
#[inline(always)]
fn find<H: Hook>(hook: &H, plan: &mut Plan) -> bool {
    let key = SessionKey::reverse(&plan.to);
    let (epoch, origin) = (plan.epoch, flow_cache::origin(hook).raw());
    find_half(&raw const key, &raw mut plan.reverse, epoch, origin) != 0
}

/// The session of [`find`] was closed; 1 for true.
#[inline(never)]
fn is_over(plan: &Plan) -> u32 {
    let key = plan.reverse.forward_key(&plan.to);
    halves::is_over(&raw const key)
}

/// The packet becomes what its session says.
#[inline(always)]
fn take_session(plan: &mut Plan) -> Step {
    plan.vpc = plan.reverse.owner;
    plan.to = plan.reverse.inward(&plan.to);
    plan.has_session = true;
    plan.is_stateless = false;
    Step::GoOn
}

/// What the policy says about letting the packet in.
#[inline(always)]
fn ask(
    view: View,
    (is_found, is_over): (bool, bool),
    inside: Inside,
    plan: &mut Plan,
) -> Result<Option<&'static Decision>, DropReason> {
    let session = Session {
        is_there: is_found,
        flags: Session::over_if(is_over),
        address: inside.address,
        ..Session::default()
    };
    // To those inside it comes from the endpoint that they asked.
    let far = plan.reverse.far.or((plan.to.source, plan.to.source_port));
    let source = if plan.reverse.is_far() {
        far.0
    } else {
        plan.to.source
    };
    let Some(decision) = decisions::inward(view, plan.stage, &session, source, inside) else {
        return Ok(None);
    };
    plan.is_stateless &= !decision.is(Decision::BY_FLOW);
    match decision.way {
        Way::Inside | Way::Wait => Ok(Some(decision)),
        _ => Err(decision.reason()),
    }
}

/// To an instance's public IP: with a session only where security groups keep track.
#[inline(always)]
fn to_instance(
    view: View,
    packet: &Ipv4Packet,
    vpc: u16,
    private: Address,
    (is_found, is_over): (bool, bool),
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let inside = Inside {
        vpc,
        address: private,
        port: plan.to.destination_port,
        gateway: Address::UNSPECIFIED,
    };
    let Some(decision) = ask(view, (is_found, is_over), inside, plan)? else {
        return Ok(Step::Decide);
    };
    if matches!(decision.way, Way::Wait) {
        plan.is_stateless = false;
        return Ok(Step::Wait);
    }
    let public = plan.to.destination;
    let inward = plan.to.with_destination(private, inside.port);
    if !decision.is(Decision::TRACKED) {
        plan.reverse.forget();
        plan.vpc = vpc;
        plan.to = inward;
        plan.is_steady = true;
        return Ok(Step::GoOn);
    }
    if is_found {
        return Ok(take_session(plan));
    }
    plan.is_stateless = false;
    if !packet.shows_flow() {
        plan.vpc = vpc;
        plan.to = inward;
        return without_flow(packet);
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    claim(&Claim {
        flow: inward.reversed(),
        vpc,
        gateway: TRACKER as u16,
        now: settings::now(),
        mapped: public,
        far: Far::NONE,
        lets_in: false,
    })
}

#[inline(always)]
fn claim(claim: &Claim) -> Result<Step, DropReason> {
    match ticket::redeem(claim) {
        None => Ok(Step::Claim),
        Some(reason) => Err(reason),
    }
}

/// To a NAT gateway's public IP.
#[inline(always)]
fn to_gateway(
    view: View,
    packet: &Ipv4Packet,
    number: u32,
    (is_found, is_over): (bool, bool),
    may_open: impl Fn() -> bool,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    if !packet.may_come_in() {
        return Err(DropReason::NoSession);
    }
    let gateway = view.gateway(number).ok_or(DropReason::Internal)?;
    let mut inside = Inside {
        vpc: plan.reverse.owner,
        address: plan.reverse.address,
        port: plan.reverse.port,
        gateway: gateway.private_ip,
    };
    if plan.reverse.is_far() {
        inside.gateway = Address::UNSPECIFIED;
    }
    let mut opens_by = number as u16;
    if !is_found {
        if !may_open() {
            return Err(DropReason::NoSession);
        }
        let Some(admitted) = shared::admitted(&KernelTables, &plan.to, gateway) else {
            return Err(DropReason::NoSession);
        };
        if matches!(packet.transport, Transport::Tcp) && !packet.flags.opens() {
            return Err(DropReason::NoSession);
        }
        opens_by = admitted.gateway;
        inside.vpc = admitted.vpc;
        inside.address = admitted.address;
        inside.port = admitted.port;
    }
    let Some(decision) = ask(view, (is_found, is_over), inside, plan)? else {
        return Ok(Step::Decide);
    };
    if is_found {
        return Ok(take_session(plan));
    }
    let inward = plan.to.with_destination(inside.address, inside.port);
    let is_tracked = decision.is(Decision::TRACKED) && matches!(packet.transport, Transport::Udp);
    if !matches!(packet.transport, Transport::Tcp) && !is_tracked {
        // No session: whoever writes from outside fills no table and keeps no mapping.
        plan.vpc = inside.vpc;
        plan.to = inward;
        return Ok(Step::GoOn);
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    claim(&Claim {
        flow: inward.reversed(),
        vpc: inside.vpc,
        gateway: opens_by,
        now: settings::now(),
        mapped: Address::UNSPECIFIED,
        far: Far::NONE,
        lets_in: true,
    })
}
