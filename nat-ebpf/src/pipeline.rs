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
    forward::{self, Hook, Leads, NextHop},
    icmp_error::{self, Way},
    policy_maps, port_claim,
    session_maps::{self, Found, REVERSE, SESSIONS},
    settings,
    verdict::Verdict,
};

/// The whole way of one packet; the verdict and the next hop are left in `next`, which says
/// [`Verdict::Pass`] until something else is decided.
#[inline(always)]
pub fn run<H: Hook>(hook: &mut H, next: &mut NextHop) -> Result<(), DropReason> {
    let Some(interface) = policy_maps::interface(hook.ingress()) else {
        return Ok(());
    };
    match parse::frame(hook) {
        Some(Frame::Ipv4 { to }) if !hook.is_for_us(to, interface.mac) => {
            next.verdict = H::NOT_FOR_US;
            Ok(())
        }
        Some(Frame::Ipv4 { .. }) => ipv4(hook, interface, next),
        Some(Frame::Arp) => {
            next.verdict = arp::answer(hook, interface);
            Ok(())
        }
        Some(Frame::Other) | None => Ok(()),
    }
}

#[inline(always)]
fn ipv4<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let packet = parse::ipv4(hook)?;
    if interface.is(Interface::UPLINK) {
        if let Some(public) = policy_maps::public_address(packet.flow.destination) {
            return match public.purpose() {
                PublicUse::Elastic(_) if !may_come_from_outside(interface, &packet.flow) => {
                    Err(DropReason::SpoofedSource)
                }
                PublicUse::Elastic(private) if packet.is_error() => {
                    icmp_error::forward(hook, &packet, Way::IntoInstance(private), next)
                }
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
            return to_others(hook, interface, &packet.flow);
        }
    }
    from_inside(hook, interface, &packet, next)
}

/// A sender that claims to be inside, or that nobody can be, is not let in to an instance.
#[inline(always)]
fn may_come_from_outside(interface: &Interface, flow: &Flow) -> bool {
    interface.is(Interface::INSIDE)
        || !(flow.source.is_martian() || policy_maps::is_private(flow.source))
}

/// From outside to none of our public IPs: the host's. Nothing goes on to a private address, nor
/// anywhere when the host forwards only because the dataplane needs it to.
#[inline(never)]
fn to_others<H: Hook>(hook: &H, interface: &Interface, flow: &Flow) -> Result<(), DropReason> {
    if policy_maps::is_private(flow.destination) {
        return Err(DropReason::PrivateDestination);
    }
    if interface.is(Interface::FORWARDING_SET)
        && !flow.destination.is_multicast_or_reserved()
        && forward::leads(hook, flow) != Leads::ToHost
    {
        return Err(DropReason::NotForThisHost);
    }
    Ok(())
}

/// To a NAT gateway's public IP: only what somebody inside asked for goes in.
#[inline(always)]
fn from_outside<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    shared: bool,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    if packet.is_error() {
        let forwarded = icmp_error::forward(hook, packet, Way::IntoGateway, next);
        // The host may have asked for it.
        return match forwarded {
            Err(DropReason::NoSession) if shared => Ok(()),
            other => other,
        };
    }
    let mut found = Found::NONE;
    if has_reverse_session(packet)
        && session_maps::find(&REVERSE, &SessionKey::reverse(&packet.flow), &mut found)
    {
        let to = packet.flow.with_destination(found.address, found.port);
        return forward_translated(hook, packet, &to, &found, next);
    }
    if shared {
        Ok(())
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
) -> Result<(), DropReason> {
    let flow = &packet.flow;
    if flow.destination.is_multicast_or_reserved() {
        return Ok(());
    }
    if !is_own_source(hook, interface, flow) {
        return foreign_source(hook, interface, flow);
    }
    if interface.is(Interface::HAS_ELASTIC) && one_to_one(hook, interface, packet, next)? {
        return Ok(());
    }
    let key = SessionKey::forward(flow, interface.vpc);
    let mut found = Found::NONE;
    if packet.is_error()
        || policy::translatable(packet).is_err()
        || !session_maps::find(&SESSIONS, &key, &mut found)
    {
        let Some(gateway) = first_packet(hook, packet)? else {
            return Ok(());
        };
        if packet.is_error() {
            return icmp_error::forward(hook, packet, Way::OutOfGateway(interface.vpc), next);
        }
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
fn foreign_source<H: Hook>(hook: &H, interface: &Interface, flow: &Flow) -> Result<(), DropReason> {
    let is_free = interface.is(Interface::UPLINK) && !interface.is(Interface::FORWARDING_SET);
    if is_free || forward::leads(hook, flow) == Leads::ToHost {
        Ok(())
    } else if interface.is(Interface::UPLINK) {
        Err(DropReason::NotForThisHost)
    } else {
        Err(DropReason::SpoofedSource)
    }
}

/// An instance's public IP serves its packets that are routed to the internet gateway. No session,
/// so any protocol and any fragment. False: the packet is not for the internet gateway.
#[inline(always)]
fn one_to_one<H: Hook>(
    hook: &mut H,
    interface: &Interface,
    packet: &Ipv4Packet,
    next: &mut NextHop,
) -> Result<bool, DropReason> {
    let flow = &packet.flow;
    let Some(elastic) = policy_maps::elastic(interface.vpc, flow.source) else {
        return Ok(false);
    };
    if elastic.interface != hook.ingress() {
        return Err(DropReason::SpoofedSource);
    }
    let Some(Target::InternetGateway) = policy_maps::route(elastic.route_table, flow.destination)
    else {
        return Ok(false);
    };
    if let Some(public) = policy_maps::public_address(flow.destination) {
        return to_own_public_ip(public.is_shared()).map(|()| true);
    }
    if forward::leads(hook, flow) == Leads::ToHost {
        return Ok(true);
    }
    if packet.is_error() {
        let way = Way::OutOfInstance(elastic.public);
        return icmp_error::forward(hook, packet, way, next).map(|()| true);
    }
    let to = flow.with_source(elastic.public, flow.source_port);
    forward_translated(hook, packet, &to, &Found::NONE, next).map(|()| true)
}

/// Decides about a packet without a session: the NAT gateway that is to make one, or `None` for a
/// packet that is the host's.
// Inlined, as everything that branches on what `parse` found: before 6.9 the verifier loses track of
// constants that a function reads from its caller's stack, and takes wrong branches for dead.
#[inline(always)]
fn first_packet<H: Hook>(hook: &H, packet: &Ipv4Packet) -> Result<Option<u32>, DropReason> {
    let flow = &packet.flow;
    let subnet =
        policy_maps::subnet(hook.ingress(), flow.source).ok_or(DropReason::SpoofedSource)?;
    let target = policy_maps::route(subnet.route_table, flow.destination);
    if matches!(target, Some(Target::Local)) {
        return local(hook, flow).map(|()| None);
    }
    if let Some(public) = policy_maps::public_address(flow.destination) {
        return to_own_public_ip(public.is_shared()).map(|()| None);
    }
    match forward::leads(hook, flow) {
        Leads::ToHost => return Ok(None),
        Leads::Forbidden => return Err(DropReason::NoNextHop),
        Leads::Out | Leads::Elsewhere => {}
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
            if packet.ttl <= 1 && !packet.is_error() {
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
    if forward::leads(hook, flow) == Leads::Out {
        return Err(DropReason::NoRoute);
    }
    Ok(())
}

#[inline(always)]
fn to_own_public_ip(shared: bool) -> Result<(), DropReason> {
    if shared {
        Ok(())
    } else {
        Err(DropReason::Hairpin)
    }
}

/// The last stage: what `packet` became goes to its next hop. Nothing is changed or counted when
/// this hook can't send it there; `next` tells.
#[inline(always)]
fn forward_translated<H: Hook>(
    hook: &mut H,
    packet: &Ipv4Packet,
    to: &Flow,
    session: &Found,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    // What changed is the end on the other side: a new receiver is inside, a new sender outside.
    let side = if to.destination == packet.flow.destination {
        Interface::UPLINK
    } else {
        Interface::INSIDE
    };
    forward::find_next_hop(hook, to, hook.mtu_length(packet), side, next)?;
    if !matches!(next.verdict, Verdict::Forward) {
        return Ok(());
    }
    session.carry(
        settings::now(),
        hook.segments(),
        hook.bytes(packet),
        tcp_flags(packet),
    );
    translate::apply(hook, packet, to).ok_or(DropReason::Malformed)?;
    hook.complete(next).ok_or(DropReason::Malformed)
}

#[inline(always)]
fn tcp_flags(packet: &Ipv4Packet) -> TcpFlags {
    match packet.transport {
        Transport::Tcp(flags) => flags,
        _ => TcpFlags::NONE,
    }
}
