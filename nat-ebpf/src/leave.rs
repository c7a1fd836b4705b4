//! Packets from inside: where they are routed, and what their source becomes. The destination is
//! `arrive.rs`'s matter.

use nat_common::{
    claim::Claim,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{Gateway, Interface, PublicAddress, PublicUse, SessionKey, Target},
    parse::Ipv4Packet,
    policy,
    reply::Answer,
    sessions,
    tables::{Side, Tables as _},
};

use crate::{
    arrive::is_bound,
    forward::{self, Hook, Leads},
    kernel_tables::KernelTables,
    plan::{Plan, Step},
    policy_maps, settings, ticket,
};

/// Anti-spoofing: a packet from inside comes by an inside interface, and its source belongs to one of
/// the interface's subnets.
#[inline(always)]
pub fn is_from_inside<H: Hook>(hook: &H, interface: &Interface, flow: &Flow) -> bool {
    if interface.is(Interface::ONE_PREFIX) {
        interface.covers(flow.source)
    } else {
        interface.is(Interface::INSIDE)
            && policy_maps::subnet(hook.ingress(), flow.source).is_some()
    }
}

/// Translates the source of a packet from inside, by its public IP or the session it belongs to.
#[inline(always)]
pub fn translate_source<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    let flow = &packet.flow;
    if interface.is(Interface::HAS_ELASTIC) {
        match one_to_one(hook, interface, flow, plan)? {
            OneToOne::Translated => return Ok(Step::GoOn),
            OneToOne::Pass => return Ok(Step::Pass),
            OneToOne::NotOurs => {}
        }
    }
    let key = SessionKey::forward(flow, interface.vpc);
    let now = settings::now();
    if packet.is_later_fragment()
        || policy::translatable(packet).is_err()
        || !sessions::find(&KernelTables, Side::Inside, &key, now, &mut plan.forward)
    {
        let Some(gateway) = first_packet(hook, packet, plan)? else {
            return Ok(Step::Pass);
        };
        if packet.is_later_fragment() {
            return Ok(Step::Wait);
        }
        let claim = Claim {
            flow: *flow,
            vpc: interface.vpc,
            gateway: gateway as u16,
            now,
            lets_in: false,
        };
        return match ticket::redeem(&claim) {
            None => Ok(Step::Claim),
            Some(reason) => {
                plan.answer = exhaustion(gateway, reason);
                Err(reason)
            }
        };
    }
    plan.to = flow.with_source(plan.forward.address, plan.forward.port);
    plan.has_session = true;
    plan.is_stateless = false;
    Ok(Step::GoOn)
}

/// What a gateway tells hosts inside for which it has no port (RFC 5508 REQ-8, RFC 6888 REQ-11).
#[inline(always)]
fn exhaustion(gateway: u32, reason: DropReason) -> Answer {
    if !matches!(reason, DropReason::PortExhausted | DropReason::ClientQuota) {
        return Answer::NONE;
    }
    match policy_maps::gateway(gateway) {
        Some(gateway) if gateway.is(Gateway::EXHAUSTION_PROHIBITED) => Answer::PROHIBITED,
        Some(gateway) if gateway.is(Gateway::EXHAUSTION_UNREACHABLE) => Answer::HOST_UNREACHABLE,
        _ => Answer::NONE,
    }
}

/// Whether an ICMP error from inside leaves by its sender's public IP, which is then in `plan`, or by a
/// NAT gateway.
#[inline(always)]
pub fn route_error<H: Hook>(
    hook: &H,
    interface: &Interface,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    if interface.is(Interface::HAS_ELASTIC) {
        match one_to_one(hook, interface, &packet.flow, plan)? {
            OneToOne::Translated => return Ok(Step::GoOn),
            OneToOne::Pass => return Ok(Step::Pass),
            OneToOne::NotOurs => {}
        }
    }
    match first_packet(hook, packet, plan)? {
        Some(_) => Ok(Step::GoOn),
        None => Ok(Step::Pass),
    }
}

/// What [`one_to_one`] found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OneToOne {
    Translated,
    Pass,
    /// No instance with a public IP, or not routed to the internet gateway.
    NotOurs,
}

/// An instance's public IP serves its packets that are routed to the internet gateway. No session,
/// so any protocol and any fragment.
#[inline(always)]
fn one_to_one<H: Hook>(
    hook: &H,
    interface: &Interface,
    flow: &Flow,
    plan: &mut Plan,
) -> Result<OneToOne, DropReason> {
    let Some(elastic) = policy_maps::elastic(interface.vpc, flow.source) else {
        return Ok(OneToOne::NotOurs);
    };
    if elastic.interface != hook.ingress() {
        return Err(DropReason::SpoofedSource);
    }
    let Some(Target::InternetGateway) = policy_maps::route(elastic.route_table, flow.destination)
    else {
        return Ok(OneToOne::NotOurs);
    };
    // Who is there at a public IP of ours, `arrive.rs` sees.
    if policy_maps::public_address(flow.destination).is_none()
        && forward::leads(hook, flow) == Leads::ToHost
    {
        return Ok(OneToOne::Pass);
    }
    plan.to = flow.with_source(elastic.public, flow.source_port);
    Ok(OneToOne::Translated)
}

/// Hairpin: a packet to a public IP of ours may reach somebody inside. False: it is the host's own
/// (a shared address, and nobody inside has this port).
///
/// # Errors
///
/// [`DropReason::NoSession`] when nobody can be there, so that no session is made for it.
#[inline(always)]
fn reaches_somebody(flow: &Flow, public: &PublicAddress) -> Result<bool, DropReason> {
    if matches!(public.purpose(), PublicUse::Elastic(_)) {
        return Ok(true);
    }
    if is_bound(flow) {
        return Ok(true);
    }
    if public.is_shared() {
        return Ok(false);
    }
    // With endpoint-independent mapping somebody may come later: hole punching works (RFC 4787 REQ-9).
    match KernelTables.gateway(public.owner()) {
        Some(gateway) if gateway.is(Gateway::ENDPOINT_INDEPENDENT) => Ok(true),
        _ => Err(DropReason::NoSession),
    }
}

/// Decides about a packet without a session: the NAT gateway that is to make one, or `None` for a
/// packet that is the host's.
// Inlined, as everything that branches on what `parse` found: before 6.9 the verifier loses track of
// constants that a function reads from its caller's stack, and takes wrong branches for dead.
#[inline(always)]
fn first_packet<H: Hook>(
    hook: &H,
    packet: &Ipv4Packet,
    plan: &mut Plan,
) -> Result<Option<u32>, DropReason> {
    let flow = &packet.flow;
    let subnet =
        policy_maps::subnet(hook.ingress(), flow.source).ok_or(DropReason::SpoofedSource)?;
    let mut target = policy_maps::route(subnet.route_table, flow.destination);
    let public = policy_maps::public_address(flow.destination);
    if matches!(target, Some(Target::Local)) {
        // NAT loopback: an address of the host within the VPC can be a gateway's too, and have forwards.
        match public {
            Some(public) if public.is_shared() && is_bound(flow) => {
                target = Some(Target::NatGateway(public.owner()));
            }
            _ => return local(hook, flow).map(|()| None),
        }
    }
    let awaits_ports = packet.is_later_fragment() && protocol::is_translated(flow.protocol);
    if let Some(public) = public
        && matches!(public.purpose(), PublicUse::NatGateway)
    {
        if awaits_ports {
            return Ok(Some(public.owner()));
        }
        if public.is_shared() && packet.is_error() {
            return Ok(match target {
                Some(Target::NatGateway(number)) => Some(number),
                _ => None,
            });
        }
    }
    if let Some(public) = public
        && !packet.is_error()
    {
        // Ports decide, even where the route does in the end.
        plan.is_stateless &= matches!(public.purpose(), PublicUse::Elastic(_));
        if !reaches_somebody(flow, &public)? {
            return Ok(None);
        }
    }
    if public.is_none() {
        match forward::leads(hook, flow) {
            Leads::ToHost => return Ok(None),
            Leads::Forbidden => return Err(DropReason::NoNextHop),
            Leads::Out | Leads::Elsewhere => {}
        }
    }
    let number = match target {
        None => return Err(DropReason::NoRoute),
        Some(Target::Blackhole) => return Err(DropReason::Blackhole),
        // An instance with a public IP was served before.
        Some(Target::InternetGateway) => return Err(DropReason::NoPublicIp),
        Some(Target::Local) => return Ok(None),
        Some(Target::NatGateway(number)) => number,
    };
    plan.is_stateless = false;
    let gateway = policy_maps::gateway(number).ok_or(DropReason::Internal)?;
    let port = packet.remote_port();
    if gateway.is(Gateway::EXEMPTS)
        && policy_maps::is_exempt(number, flow.destination, flow.protocol, port)
    {
        return Ok(None);
    }
    if awaits_ports {
        return Ok(Some(number));
    }
    policy::translatable(packet)?;
    if packet.is_error() {
        return Ok(Some(number));
    }
    // Before a port is taken for a packet that goes nowhere.
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if let Err(reason) = policy::may_open(packet) {
        if gateway.is(Gateway::RESETS_UNKNOWN) {
            plan.answer = Answer::RESET;
        }
        return Err(reason);
    }
    Ok(Some(number))
}

/// The host routes within a VPC. An address of it that no subnet here has must not follow the host's
/// default route out of an uplink.
#[inline(always)]
fn local<H: Hook>(hook: &H, flow: &Flow) -> Result<(), DropReason> {
    if forward::leads(hook, flow) == Leads::Out {
        return Err(DropReason::NoRoute);
    }
    Ok(())
}
