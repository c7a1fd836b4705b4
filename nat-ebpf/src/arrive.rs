//! Packets to a public IP of ours, from outside or back from inside (hairpin): what their destination
//! becomes. Only what somebody inside asked for, or offers, goes in.

use nat_common::{
    claim::Claim,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{Interface, PublicAddress, PublicUse, SessionKey, bound_key},
    parse::{Ipv4Packet, Transport},
    sessions, shared,
    tables::Side,
};

use crate::{
    kernel_tables::KernelTables,
    plan::{Plan, Step},
    policy_maps, settings, ticket,
};

/// Translates the destination of a packet whose source is that of `plan` by now.
#[inline(always)]
pub fn translate_destination(
    interface: &Interface,
    packet: &Ipv4Packet,
    public: &PublicAddress,
    from_inside: bool,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    plan.inward = true;
    match public.purpose() {
        PublicUse::Elastic(_)
            if !from_inside && !may_come_from_outside(interface, &packet.flow) =>
        {
            Err(DropReason::SpoofedSource)
        }
        PublicUse::Elastic(private) => {
            plan.to = plan.to.with_destination(private, plan.to.destination_port);
            Ok(Step::GoOn)
        }
        PublicUse::NatGateway
            if packet.is_later_fragment() && protocol::is_translated(packet.flow.protocol) =>
        {
            Ok(Step::Wait)
        }
        PublicUse::NatGateway => {
            plan.is_stateless = false;
            // Nobody is let in without a session who can't be where the packet comes from.
            let may_open = from_inside || may_come_from_outside(interface, &packet.flow);
            match to_gateway(packet, public.owner(), may_open, plan) {
                // The host's own; from inside, if nobody there has the port either.
                Err(DropReason::NoSession)
                    if public.is_shared() && !(from_inside && is_bound(&plan.to)) =>
                {
                    Ok(Step::Pass)
                }
                other => other,
            }
        }
    }
}

/// Somebody inside has the public address and port that a flow is addressed to.
#[inline(always)]
pub fn is_bound(flow: &Flow) -> bool {
    shared::live(&KernelTables, &bound_key(flow)).is_some()
}

/// A sender that claims to be inside, or that nobody can be, is not let in to an instance.
#[inline(always)]
pub fn may_come_from_outside(interface: &Interface, flow: &Flow) -> bool {
    interface.is(Interface::INSIDE)
        || !(flow.source.is_martian() || policy_maps::is_private(flow.source))
}

/// To a NAT gateway's public IP.
#[inline(always)]
fn to_gateway(
    packet: &Ipv4Packet,
    gateway: u32,
    may_open: bool,
    plan: &mut Plan,
) -> Result<Step, DropReason> {
    if !matches!(
        packet.transport,
        Transport::Tcp | Transport::Udp | Transport::IcmpEchoReply
    ) {
        return Err(DropReason::NoSession);
    }
    let (key, now) = (SessionKey::reverse(&plan.to), settings::now());
    let opens = packet.flags.opens();
    if !sessions::find(&KernelTables, Side::Outside, &key, now, &mut plan.reverse) {
        if !may_open {
            return Err(DropReason::NoSession);
        }
        let gateway = policy_maps::gateway(gateway).ok_or(DropReason::Internal)?;
        let Some(inside) = shared::admitted(&KernelTables, &plan.to, gateway) else {
            return Err(DropReason::NoSession);
        };
        if !matches!(packet.transport, Transport::Tcp) {
            // No session: whoever writes from outside fills no table and keeps no mapping.
            plan.to = plan.to.with_destination(inside.address, inside.port);
            return Ok(Step::GoOn);
        }
        if !opens {
            return Err(DropReason::NoSession);
        }
        if packet.ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        let inward = plan.to.with_destination(inside.address, inside.port);
        let claim = Claim {
            flow: inward.reversed(),
            vpc: inside.vpc,
            gateway: inside.gateway,
            now,
            lets_in: true,
        };
        return match ticket::redeem(&claim) {
            None => Ok(Step::Claim),
            // The two have a session by another public port.
            Some(DropReason::ClaimRace) => Err(DropReason::NoSession),
            Some(reason) => Err(reason),
        };
    }
    plan.to = plan
        .to
        .with_destination(plan.reverse.address, plan.reverse.port);
    plan.has_session = true;
    Ok(Step::GoOn)
}
