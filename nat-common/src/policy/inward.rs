//! Packets to a public IP of ours: whether the ACLs and groups of whom they are for let them in.

use super::{Decision, Policy, Question, Step, Way, lacks_ports, may_enter, may_leave};
use crate::{
    address::{Address, Port},
    drop_reason::DropReason,
    map_types::{Instance, Interface, Ruleset},
    parse::Transport,
};

/// Whom a packet is for, and how it comes to him.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inside {
    /// The VPC.
    pub vpc: u16,
    /// The private IP.
    pub address: Address,
    /// And the port there.
    pub port: Port,
    /// The private IP of the NAT gateway it comes in by; unspecified when it comes in 1:1.
    pub gateway: Address,
}

/// What becomes of a packet to a public IP, whose source is `remote` outside.
#[inline(always)]
pub fn inward<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    remote: Address,
    inside: &Inside,
) -> Decision {
    match decide(policy, question, remote, inside) {
        Ok(decision) => decision,
        Err(DropReason::NoRoute) => Decision::refused(DropReason::NoRoute),
        Err(reason) => Decision::refused(reason).with(Decision::BY_FLOW),
    }
}

#[inline(always)]
fn decide<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    remote: Address,
    inside: &Inside,
) -> Result<Decision, DropReason> {
    let (packet, what) = (question.packet, question.what);
    let subnet = policy
        .subnet_of(inside.vpc, inside.address)
        .ok_or(DropReason::NoRoute)?;
    policy.note(Step::ReceiverSubnet, subnet.number, subnet.interface);
    let receiver: Instance = policy
        .instance(inside.vpc, inside.address)
        .unwrap_or_default();
    // The node's own services, which no rule keeps from anybody.
    if question.interface.is(Interface::SERVICES) {
        return Ok(Decision::to(Way::Inside, subnet.interface).with(Decision::BY_FLOW));
    }
    let is_direct = inside.gateway.is_unspecified();
    let mut flags = 0;
    if receiver.groups != 0 {
        flags |= Decision::TRACKED | Decision::BY_FLOW;
    }
    if subnet.acl != 0 || !is_direct {
        flags |= Decision::BY_FLOW;
    }
    if lacks_ports(packet) && flags != 0 {
        return Ok(Decision::to(Way::Wait, 0));
    }
    let mut is_in_gateways_subnet = false;
    // A gateway that stands for itself, at the host's own address, is in no subnet.
    if !is_direct && let Some(of_gateway) = policy.subnet_of(inside.vpc, inside.gateway) {
        if !may_enter(policy, &of_gateway, remote, what) {
            return Err(DropReason::NetworkAcl);
        }
        is_in_gateways_subnet = of_gateway.number == subnet.number;
        if !is_in_gateways_subnet
            && !may_leave(
                policy,
                &of_gateway,
                inside.address,
                what.to_port(inside.port),
            )
        {
            return Err(DropReason::NetworkAcl);
        }
    }
    if !is_in_gateways_subnet && !may_enter(policy, &subnet, remote, what.to_port(inside.port)) {
        return Err(DropReason::NetworkAcl);
    }
    if !question.session.speaks()
        && !matches!(packet.transport, Transport::IcmpError)
        && receiver.groups != 0
    {
        let ruleset = Ruleset::ingress_of_groups(receiver.groups);
        if !policy.groups_allow(ruleset, remote, 0, what.to_port(inside.port)) {
            return Err(DropReason::SecurityGroup);
        }
    }
    Ok(Decision::to(Way::Inside, subnet.interface).with(flags))
}
