//! A packet's way: identify it by interface and public IP, find or make its session, translate,
//! forward. The first packet of a flow leaves the straight line in [`first_packet`].

use nat_common::{
    drop_reason::DropReason,
    flow::Flow,
    map_types::{Interface, PublicUse, SessionKey, Target},
    parse::{self, Frame, Ipv4Packet, Transport},
    policy, translate,
    wire::TcpFlags,
};

use crate::{
    arp, events,
    forward::{self, Hook, NextHop},
    policy_maps, port_claim,
    session_maps::{self, Found, REVERSE, SESSIONS},
    settings,
    verdict::Verdict,
};

/// The whole way of one packet. [`Verdict::Forward`] leaves the next hop in `next`.
#[inline(always)]
pub fn run<H: Hook>(hook: &mut H, next: &mut NextHop) -> Result<Verdict, DropReason> {
    let Some(interface) = policy_maps::interface(hook.ingress()) else {
        return Ok(Verdict::Pass);
    };
    match parse::frame(hook) {
        Some(Frame::Ipv4) => ipv4(hook, &interface, next),
        Some(Frame::Arp) => Ok(arp::answer(hook, &interface)),
        Some(Frame::Other) | None => Ok(Verdict::Pass),
    }
}

#[inline(always)]
fn ipv4<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    next: &mut NextHop,
) -> Result<Verdict, DropReason> {
    let packet = parse::ipv4(hook)?;
    if interface.is(Interface::UPLINK) {
        if let Some(public) = policy_maps::public_address(packet.flow.destination) {
            return match public.purpose() {
                PublicUse::Elastic(private) => {
                    let to = packet
                        .flow
                        .with_destination(private, packet.flow.destination_port);
                    forward_translated(hook, &packet, &to, &Found::NONE, next)
                }
                PublicUse::NatGateway => from_outside(hook, &packet, public.is_shared(), next),
            };
        }
        if !interface.is(Interface::INSIDE) {
            return if policy_maps::is_private(packet.flow.destination) {
                Err(DropReason::PrivateDestination)
            } else {
                Ok(Verdict::Pass)
            };
        }
    }
    from_inside(hook, interface, &packet, next)
}

/// To a NAT gateway's public IP: only what somebody inside asked for goes in.
#[inline(always)]
fn from_outside<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    shared: bool,
    next: &mut NextHop,
) -> Result<Verdict, DropReason> {
    let mut found = Found::NONE;
    if has_reverse_session(packet)
        && session_maps::find(&REVERSE, &SessionKey::reverse(&packet.flow), &mut found)
    {
        let to = packet.flow.with_destination(found.address, found.port);
        return forward_translated(hook, packet, &to, &found, next);
    }
    if shared {
        Ok(Verdict::Pass)
    } else {
        Err(DropReason::NoSession)
    }
}

#[inline(always)]
fn has_reverse_session(packet: &Ipv4Packet) -> bool {
    packet.is_whole()
        && matches!(
            packet.transport,
            Transport::Tcp(_) | Transport::Udp | Transport::IcmpEchoReply
        )
}

#[inline(always)]
fn from_inside<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    next: &mut NextHop,
) -> Result<Verdict, DropReason> {
    let flow = &packet.flow;
    if flow.destination.is_multicast_or_reserved() {
        return Ok(Verdict::Pass);
    }
    if !is_own_source(hook, interface, flow) {
        return foreign_source(hook, interface, flow);
    }
    if interface.is(Interface::HAS_ELASTIC)
        && let Some(verdict) = one_to_one(hook, interface, packet, next)?
    {
        return Ok(verdict);
    }
    let key = SessionKey::forward(flow, interface.vpc);
    let mut found = Found::NONE;
    if policy::translatable(packet).is_err() || !session_maps::find(&SESSIONS, &key, &mut found) {
        let Some(gateway) = first_packet(hook, packet)? else {
            return Ok(Verdict::Pass);
        };
        let made = port_claim::claim(flow, interface.vpc, gateway, settings::now());
        if let Err(reason) = made {
            events::claim_failed(hook.context(), flow, reason);
            return Err(reason);
        }
        if !session_maps::find(&SESSIONS, &key, &mut found) {
            return Err(DropReason::ClaimRace);
        }
    }
    let to = flow.with_source(found.address, found.port);
    if let Transport::Tcp(flags) = packet.transport
        && flags.opens()
    {
        session_maps::reopen_if_closing(
            &key,
            &SessionKey::reverse(&to.reversed()),
            settings::now(),
        );
    }
    forward_translated(hook, packet, &to, &found, next)
}

/// Anti-spoofing: the source belongs to a subnet of this interface.
#[inline(always)]
fn is_own_source<H: Hook>(hook: &H, interface: &Interface, flow: &Flow) -> bool {
    if interface.is(Interface::ONE_PREFIX) {
        interface.covers(flow.source)
    } else {
        policy_maps::subnet(hook.ingress(), flow.source).is_some()
    }
}

/// What others send may be meant for the host, but is never forwarded. On a one-armed host the same
/// interface carries the host's own traffic.
#[inline(never)]
fn foreign_source<H: Hook>(
    hook: &H,
    interface: &Interface,
    flow: &Flow,
) -> Result<Verdict, DropReason> {
    if interface.is(Interface::UPLINK) || forward::is_for_host(hook, flow) {
        Ok(Verdict::Pass)
    } else {
        Err(DropReason::SpoofedSource)
    }
}

/// An instance's public IP serves its packets that are routed to the internet gateway. No session,
/// so any protocol and any fragment.
#[inline(always)]
fn one_to_one<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    next: &mut NextHop,
) -> Result<Option<Verdict>, DropReason> {
    let flow = &packet.flow;
    let Some(elastic) = policy_maps::elastic(interface.vpc, flow.source) else {
        return Ok(None);
    };
    if elastic.interface != hook.ingress() {
        return Err(DropReason::SpoofedSource);
    }
    let Some(Target::InternetGateway) = policy_maps::route(elastic.route_table, flow.destination)
    else {
        return Ok(None);
    };
    if let Some(public) = policy_maps::public_address(flow.destination) {
        return to_own_public_ip(public.is_shared()).map(Some);
    }
    if forward::is_for_host(hook, flow) {
        return Ok(Some(Verdict::Pass));
    }
    let to = flow.with_source(elastic.public, flow.source_port);
    forward_translated(hook, packet, &to, &Found::NONE, next).map(Some)
}

/// Decides about a packet without a session: the NAT gateway that is to make one, or `None` for a
/// packet that is the host's.
#[inline(never)]
fn first_packet<H: Hook>(hook: &H, packet: &Ipv4Packet) -> Result<Option<u32>, DropReason> {
    let flow = &packet.flow;
    let subnet =
        policy_maps::subnet(hook.ingress(), flow.source).ok_or(DropReason::SpoofedSource)?;
    let target = policy_maps::route(subnet.route_table, flow.destination);
    if matches!(target, Some(Target::Local)) {
        return local(hook, flow).map(|()| None);
    }
    if let Some(public) = policy_maps::public_address(flow.destination) {
        return to_own_public_ip(public.is_shared()).map(|_pass| None);
    }
    if forward::is_for_host(hook, flow) {
        return Ok(None);
    }
    match target {
        None => Err(DropReason::NoRoute),
        Some(Target::Blackhole) => Err(DropReason::Blackhole),
        // An instance with a public IP was served before.
        Some(Target::InternetGateway) => Err(DropReason::NoPublicIp),
        Some(Target::Local) => Ok(None),
        Some(Target::NatGateway(gateway)) => {
            policy::translatable(packet)?;
            policy::may_open(packet)?;
            // Before a port is taken for a packet that goes nowhere.
            if packet.ttl <= 1 {
                return Err(DropReason::TtlExpired);
            }
            Ok(Some(gateway))
        }
    }
}

/// The host routes within a VPC. An address of it that no subnet here has must not follow the host's
/// default route out of an uplink.
#[inline(always)]
fn local<H: Hook>(hook: &H, flow: &Flow) -> Result<(), DropReason> {
    match policy_maps::interface(forward::leads_to(hook, flow)) {
        Some(egress) if egress.is(Interface::UPLINK) && !egress.is(Interface::INSIDE) => {
            Err(DropReason::NoRoute)
        }
        _ => Ok(()),
    }
}

#[inline(always)]
fn to_own_public_ip(shared: bool) -> Result<Verdict, DropReason> {
    if shared {
        Ok(Verdict::Pass)
    } else {
        Err(DropReason::Hairpin)
    }
}

/// The last stage: what `packet` became goes to its next hop. Nothing is changed or counted when
/// this hook can't send it there.
#[inline(always)]
fn forward_translated<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    to: &Flow,
    session: &Found,
    next: &mut NextHop,
) -> Result<Verdict, DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    forward::find_next_hop(hook, to, hook.mtu_length(packet), next)?;
    if !hook.can_deliver(next) {
        return Ok(Verdict::HandUp);
    }
    session.carry(
        settings::now(),
        hook.segments(),
        hook.bytes(packet),
        tcp_flags(packet),
    );
    translate::apply(hook, packet, to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)?;
    Ok(Verdict::Forward)
}

#[inline(always)]
fn tcp_flags(packet: &Ipv4Packet) -> TcpFlags {
    match packet.transport {
        Transport::Tcp(flags) => flags,
        _ => TcpFlags::NONE,
    }
}
