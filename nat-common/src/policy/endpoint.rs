//! What is sent to an interface endpoint or a load balancer, and what its targets answer: the way is that of two
//! VPCs. The consumer's rules have been asked when this begins.

use super::{Decision, Policy, Question, Step, Way, may_enter, may_leave};
use crate::{
    address::Port,
    drop_reason::DropReason,
    map_types::{Far, Instance, Listener, Ruleset},
    parse::Transport,
    port_pool::unguessable,
};

/// Whom a consumer's flow goes to, the target that it has or gets, and by which gateway's ports.
#[inline(always)]
pub fn choose<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    endpoint: u32,
) -> Result<(Far, u32), DropReason> {
    let (packet, flow, session) = (question.packet, &question.packet.flow, question.session);
    if !matches!(packet.transport, Transport::Tcp | Transport::Udp) {
        return Err(DropReason::NoListener);
    }
    let listener = offered(policy, endpoint, flow.protocol, flow.destination_port)
        .ok_or(DropReason::NoListener)?;
    policy.note(Step::Endpoint, endpoint, listener.table);
    let gateway = policy
        .gateway(listener.gateway)
        .ok_or(DropReason::Internal)?;
    let mut far = Far {
        address: listener.address,
        port: flow.destination_port,
        scope: listener.vpc as u16,
    };
    if far.address.is_unspecified() && session.is_there {
        far.address = session.far.address;
        far.port = session.far.port;
        if !policy.has_target(listener.table, far.address, far.port) {
            return Err(DropReason::PolicyChanged);
        }
    } else if far.address.is_unspecified() {
        let hash = unguessable(gateway.secret, flow, question.interface.vpc, 0) as u32;
        let target = policy.target(listener.table, hash);
        if target.port == Port::NONE {
            return Err(DropReason::NoTarget);
        }
        far.address = target.address;
        far.port = target.port;
    }
    let is_same = session.is_of(listener.gateway)
        && gateway.serves(session.address, flow.source)
        && session.far.to_raw() == far.to_raw();
    if session.is_there && !is_same {
        return Err(DropReason::PolicyChanged);
    }
    policy.note(Step::Target, far.address.raw(), u32::from(far.port.get()));
    Ok((far, listener.gateway))
}

/// What an endpoint offers at a port: a listener there, or the address that it stands for.
#[inline(always)]
fn offered<P: Policy>(policy: &P, endpoint: u32, protocol: u8, port: Port) -> Option<Listener> {
    let listener = policy.listener(endpoint, protocol, port);
    listener.or_else(|| policy.listener(endpoint, 0, Port::NONE))
}

/// Whether the target's VPC lets the load balancer's packets in: the ACLs between their subnets, and the
/// target's groups. The load balancer has none.
#[inline(always)]
pub fn reach<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    gateway: u32,
    far: &Far,
) -> Result<(), DropReason> {
    let node = policy
        .gateway(gateway)
        .ok_or(DropReason::Internal)?
        .addresses[0];
    let what = question.what.to_port(far.port);
    let there = policy
        .subnet_of(far.scope, far.address)
        .ok_or(DropReason::NoRoute)?;
    policy.note(Step::ReceiverSubnet, there.number, there.interface);
    if let Some(here) = policy.subnet_of(far.scope, node)
        && here.number != there.number
        && !(may_leave(policy, &here, far.address, what) && may_enter(policy, &there, node, what))
    {
        return Err(DropReason::NetworkAcl);
    }
    let target: Instance = policy.instance(far.scope, far.address).unwrap_or_default();
    if target.groups == 0 || question.session.speaks() {
        return Ok(());
    }
    let ruleset = Ruleset::ingress_of_groups(target.groups);
    if policy.groups_allow(ruleset, node, 0, what) {
        Ok(())
    } else {
        Err(DropReason::SecurityGroup)
    }
}

/// What a target answers goes back to the consumer, from the endpoint: past the ACLs between these two.
#[inline(always)]
pub fn back<P: Policy>(policy: &P, question: &Question<'_>) -> Result<Decision, DropReason> {
    let (session, flow) = (question.session, &question.packet.flow);
    let (vpc, endpoint) = (session.far.scope, session.far.address);
    // The consumer alone opens anything.
    if session.is_over() {
        return Err(DropReason::NoSession);
    }
    let stands_for = policy.instance(vpc, endpoint).unwrap_or_default();
    if !stands_for.is(Instance::IS_ENDPOINT) {
        return Err(DropReason::PolicyChanged);
    }
    let listener = offered(policy, stands_for.gateway, flow.protocol, session.far.port)
        .ok_or(DropReason::PolicyChanged)?;
    let is_the_targets = if listener.address.is_unspecified() {
        policy.has_target(listener.table, flow.source, flow.source_port)
    } else {
        listener.address.raw() == flow.source.raw()
            && session.far.port.raw() == flow.source_port.raw()
    };
    if !is_the_targets
        || !session.is_of(listener.gateway)
        || listener.vpc != u32::from(question.interface.vpc)
    {
        return Err(DropReason::PolicyChanged);
    }
    let what = question.what.to_port(session.port);
    let (Some(here), Some(there)) = (
        policy.subnet_of(vpc, endpoint),
        policy.subnet_of(vpc, session.address),
    ) else {
        return Err(DropReason::NoRoute);
    };
    if here.number != there.number
        && !(may_leave(policy, &here, session.address, what)
            && may_enter(policy, &there, endpoint, what))
    {
        return Err(DropReason::NetworkAcl);
    }
    Ok(Decision::to(Way::Endpoint, 0))
}
