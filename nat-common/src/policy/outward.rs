//! Packets from inside: where the route leads, and whether ACLs and groups let them go there.

use super::{
    Decision, Leads, Policy, Question, Sender, Session, Step, Way, lacks_ports, may_enter,
    may_leave, may_open, sender, translatable,
};
use crate::{
    address::Address,
    drop_reason::DropReason,
    flow::Flow,
    map_types::{
        Gateway, Instance, Interface, PublicAddress, PublicUse, Route, Ruleset, Subnet, TRACKER,
    },
    parse::Transport,
    reply::Answer,
};

/// What becomes of a packet from inside.
#[inline(always)]
pub fn outward<P: Policy>(policy: &P, question: &Question<'_>) -> Decision {
    match decide(policy, question) {
        Ok(decision) => decision,
        Err(reason) => Decision::refused(reason),
    }
}

#[inline(always)]
fn decide<P: Policy>(policy: &P, question: &Question<'_>) -> Result<Decision, DropReason> {
    let flow = &question.packet.flow;
    let sender = match sender(
        policy,
        question.interface,
        question.ingress,
        question.mac,
        flow.source,
    ) {
        Ok(sender) => sender,
        // Whoever it is may write to the host itself, as on any interface.
        Err(DropReason::UnlistedSource) if is_the_hosts(policy, question) => {
            return Ok(Decision::to(Way::Pass, 0));
        }
        Err(reason) => return Err(reason),
    };
    let route = policy.route(sender.subnet.route_table, flow.destination);
    policy.note(Step::Route, route.kind(), route.value());
    let (mut kind, mut value) = (route.kind(), route.value());
    let public = policy.public_address(flow.destination);
    if kind == Route::LOCAL {
        // NAT loopback: an address of the host within the VPC can be a gateway's too, and have forwards.
        match public {
            Some(public)
                if public.is_shared()
                    && (question.session.is_of(public.owner()) || policy.is_bound(flow)) =>
            {
                kind = Route::NAT_GATEWAY;
                value = public.owner();
            }
            _ => return local(policy, question, &sender),
        }
    }
    // Who has a public IP of his own is not asked who is there at another one: `inward.rs` sees.
    let is_direct = kind == Route::INTERNET_GATEWAY && !sender.instance.public.is_unspecified();
    if !is_direct || public.is_none() {
        let early = to_public(policy, question, kind, public)?;
        if !matches!(early.way, Way::Undecided) {
            return Ok(early);
        }
    }
    match kind {
        Route::INTERNET_GATEWAY => one_to_one(policy, question, &sender),
        Route::NAT_GATEWAY => gateway(policy, question, &sender, value),
        Route::INSTANCE => instance(policy, question, &sender, Address::from_raw(value)),
        _ => Err(nowhere(kind)),
    }
}

/// Why a route that leads nowhere does not.
#[inline(always)]
const fn nowhere(kind: u32) -> DropReason {
    match kind {
        Route::BLACKHOLE | Route::GONE => DropReason::Blackhole,
        _ => DropReason::NoRoute,
    }
}

/// What a public IP of ours, or the host, makes of a packet before its route counts;
/// [`Way::Undecided`] when the route does.
#[inline(always)]
fn to_public<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    route: u32,
    public: Option<PublicAddress>,
) -> Result<Decision, DropReason> {
    const UNDECIDED: Decision = Decision::to(Way::Undecided, 0);
    const PASS: Decision = Decision::to(Way::Pass, 0);
    let (packet, flow) = (question.packet, &question.packet.flow);
    let Some(public) = public else {
        if question.session.is_there {
            return Ok(UNDECIDED);
        }
        // The host's routes know nothing of subnets that it has no address in.
        if let Some(subnet) = policy.subnet_of(question.interface.vpc, flow.destination) {
            return Ok(Decision::to(to_node(policy, flow, &subnet), 0));
        }
        return match policy.leads(flow) {
            Leads::ToHost => Ok(PASS),
            Leads::Forbidden => Err(DropReason::NoNextHop),
            Leads::Out | Leads::Elsewhere => Ok(UNDECIDED),
        };
    };
    if matches!(public.purpose(), PublicUse::Elastic(_)) {
        return Ok(UNDECIDED);
    }
    if lacks_ports(packet) {
        return Ok(Decision::to(Way::Wait, 0));
    }
    if packet.is_error() {
        let is_the_hosts = public.is_shared() && route != Route::NAT_GATEWAY;
        return Ok(if is_the_hosts { PASS } else { UNDECIDED });
    }
    if question.session.is_there || policy.is_bound(flow) {
        return Ok(UNDECIDED);
    }
    if public.is_shared() {
        return Ok(PASS.with(Decision::BY_FLOW));
    }
    // With endpoint-independent mapping somebody may come later: hole punching works (RFC 4787 REQ-9).
    match policy.gateway(public.owner()) {
        Some(gateway) if gateway.is(Gateway::ENDPOINT_INDEPENDENT) => Ok(UNDECIDED),
        _ => Err(DropReason::NoSession),
    }
}

/// Out of the sender's subnet: its ACL.
#[inline(always)]
fn leave<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
) -> Result<(), DropReason> {
    let remote = question.packet.flow.destination;
    if may_leave(policy, &sender.subnet, remote, question.what) {
        Ok(())
    } else {
        Err(DropReason::NetworkAcl)
    }
}

/// Into a subnet that the sender is not in: its ACL.
#[inline(always)]
fn enter<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
    subnet: &Subnet,
) -> Result<(), DropReason> {
    let remote = question.packet.flow.source;
    if subnet.number == sender.subnet.number || may_enter(policy, subnet, remote, question.what) {
        Ok(())
    } else {
        Err(DropReason::NetworkAcl)
    }
}

/// The groups of the sender, and of the receiver if that is an instance here, about a new flow to an
/// address whose instance has the set of groups `remote_set`.
#[inline(always)]
fn ask_groups<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
    receiver: &Instance,
    remote_set: u32,
) -> Result<(), DropReason> {
    let (flow, what) = (&question.packet.flow, question.what);
    if question.session.is_there || question.packet.is_error() {
        return Ok(());
    }
    let set = sender.instance.groups;
    if set != 0 {
        let ruleset = Ruleset::egress_of_groups(set);
        if !policy.groups_allow(ruleset, flow.destination, remote_set, what) {
            return Err(DropReason::SecurityGroup);
        }
    }
    if receiver.groups != 0 {
        let ruleset = Ruleset::ingress_of_groups(receiver.groups);
        if !policy.groups_allow(ruleset, flow.source, set, what) {
            return Err(DropReason::SecurityGroup);
        }
    }
    Ok(())
}

/// What a decision is in which groups or ACLs, of which one is not 0, have a say.
#[inline(always)]
const fn weight(sender: &Sender, receiver: &Instance, acls: u32) -> u32 {
    let mut flags = 0;
    if sender.instance.groups != 0 || receiver.groups != 0 {
        flags |= Decision::TRACKED | Decision::BY_FLOW;
    }
    if acls != 0 {
        flags |= Decision::BY_FLOW;
    }
    flags
}

/// The session that carries the packet goes on, if it is one that this policy would make.
#[inline(always)]
fn goes_on(question: &Question<'_>, gateway: u32, address: Address) -> Result<(), DropReason> {
    let session = &question.session;
    if !session.is_there || (session.is_of(gateway) && session.address == address) {
        Ok(())
    } else {
        Err(DropReason::PolicyChanged)
    }
}

/// Within the VPC.
#[inline(always)]
fn local<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
) -> Result<Decision, DropReason> {
    let (packet, flow) = (question.packet, &question.packet.flow);
    let vpc = question.interface.vpc;
    let Some(subnet) = policy.subnet_of(vpc, flow.destination) else {
        return match policy.leads(flow) {
            Leads::ToHost => Ok(Decision::to(Way::Pass, 0)),
            _ => Err(DropReason::NoRoute),
        };
    };
    policy.note(Step::ReceiverSubnet, subnet.number, subnet.interface);
    let of_node = to_node(policy, flow, &subnet);
    if !matches!(of_node, Way::Undecided) {
        return Ok(Decision::to(of_node, 0));
    }
    let receiver = receiver(policy, question.interface, flow.destination);
    let is_inside = subnet.number == sender.subnet.number;
    let acls = if is_inside {
        0
    } else {
        sender.subnet.acl | subnet.acl
    };
    let flags = weight(sender, &receiver, acls);
    if lacks_ports(packet) && flags != 0 {
        return Ok(Decision::to(Way::Wait, 0));
    }
    if !is_inside {
        leave(policy, question, sender)?;
        enter(policy, question, sender, &subnet)?;
    }
    goes_on(question, TRACKER, question.session.address)?;
    // The answers that an appliance brings back.
    let is_answer = sender.address != flow.source && policy.is_carried_via(flow, vpc);
    if !is_answer {
        ask_groups(policy, question, sender, &receiver, receiver.groups)?;
    }
    Ok(Decision::to(Way::Local, subnet.interface).with(flags))
}

/// A packet to the host itself. Its routes know nothing of subnets that it has no address in.
#[inline(always)]
fn is_the_hosts<P: Policy>(policy: &P, question: &Question<'_>) -> bool {
    let flow = &question.packet.flow;
    match policy.subnet_of(question.interface.vpc, flow.destination) {
        Some(subnet) => matches!(to_node(policy, flow, &subnet), Way::Pass),
        None => policy.leads(flow) == Leads::ToHost,
    }
}

/// To the router's address of a subnet, or the host's own in it; [`Way::Undecided`] when it is neither.
#[inline(always)]
fn to_node<P: Policy>(policy: &P, flow: &Flow, subnet: &Subnet) -> Way {
    if flow.destination == subnet.router {
        return if subnet.is(Subnet::HOST_IS_ROUTER) {
            Way::Pass
        } else {
            Way::Router
        };
    }
    if subnet.is(Subnet::HOST_IS_IN_IT) && policy.is_the_hosts(flow, subnet) {
        return Way::Pass;
    }
    Way::Undecided
}

#[inline(always)]
fn receiver<P: Policy>(policy: &P, interface: &Interface, address: Address) -> Instance {
    if !interface.is(Interface::HAS_INSTANCES) {
        return Instance::default();
    }
    policy.instance(interface.vpc, address).unwrap_or_default()
}

/// By the internet gateway, which translates 1:1.
#[inline(always)]
fn one_to_one<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
) -> Result<Decision, DropReason> {
    let (packet, flow) = (question.packet, &question.packet.flow);
    let flags = weight(sender, &Instance::default(), sender.subnet.acl);
    if lacks_ports(packet) && flags != 0 {
        return Ok(Decision::to(Way::Wait, 0));
    }
    leave(policy, question, sender)?;
    let public = sender.instance.public;
    if public.is_unspecified() || sender.address != flow.source {
        return Err(DropReason::NoPublicIp);
    }
    policy.note(Step::PublicIp, public.raw(), flow.source.raw());
    goes_on(question, TRACKER, public)?;
    ask_groups(policy, question, sender, &Instance::default(), 0)?;
    Ok(Decision::to(Way::OneToOne, public.raw()).with(flags))
}

/// By a NAT gateway, and from its subnet on by that one's route table.
#[inline(always)]
fn gateway<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
    number: u32,
) -> Result<Decision, DropReason> {
    let (packet, flow) = (question.packet, &question.packet.flow);
    let gateway = policy.gateway(number).ok_or(DropReason::Internal)?;
    policy.note(Step::Gateway, number, 0);
    let decision = Decision::to(Way::NatGateway, number).with(Decision::BY_FLOW);
    if lacks_ports(packet) && sender.subnet.acl != 0 {
        return Ok(Decision::to(Way::Wait, 0));
    }
    leave(policy, question, sender)?;
    if gateway.is(Gateway::EXEMPTS)
        && !question.session.is_there
        && policy.is_exempt(
            number,
            flow.destination,
            flow.protocol,
            packet.remote_port(),
        )
    {
        return Ok(Decision::to(Way::Pass, 0).with(Decision::BY_FLOW));
    }
    if lacks_ports(packet) {
        return Ok(Decision::to(Way::Wait, 0));
    }
    translatable(packet)?;
    through_subnet_of(policy, question, sender, number, gateway)?;
    if packet.is_error() {
        return Ok(decision);
    }
    if question.session.is_there {
        let is_its = gateway.serves(question.session.address);
        goes_on(question, number, question.session.address)?;
        return if is_its {
            Ok(decision)
        } else {
            Err(DropReason::PolicyChanged)
        };
    }
    ask_groups(policy, question, sender, &Instance::default(), 0)?;
    // Before a port is taken for a packet that goes nowhere.
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if let Err(reason) = may_open(packet) {
        let refused = Decision::refused(reason);
        let resets = gateway.is(Gateway::RESETS_UNKNOWN);
        return Ok(if resets && matches!(packet.transport, Transport::Tcp) {
            refused.answered(Answer::RESET)
        } else {
            refused
        });
    }
    Ok(decision)
}

/// A packet passes through the subnet that a NAT gateway is in: the ACL at its boundary, both ways, and
/// its route table, which has to lead to the internet gateway where there are public IPs.
#[inline(always)]
fn through_subnet_of<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
    number: u32,
    gateway: &Gateway,
) -> Result<(), DropReason> {
    let flow = &question.packet.flow;
    // One that stands for itself, at the host's own address, is in no subnet.
    let Some(subnet) = policy.subnet_of(gateway.vpc as u16, gateway.private_ip) else {
        return Ok(());
    };
    enter(policy, question, sender, &subnet)?;
    let route = policy.route(subnet.route_table, flow.destination);
    policy.note(Step::GatewaySubnet, subnet.number, route.kind());
    match route.kind() {
        Route::INTERNET_GATEWAY => {}
        // NAT loopback: an address of the host in the VPC.
        Route::LOCAL if policy.public_address(flow.destination).is_some() => {}
        // Or it is in the subnet that it serves: a host with one arm.
        Route::NAT_GATEWAY if route.value() == number => {}
        Route::LOCAL | Route::NAT_GATEWAY | Route::INSTANCE if !gateway.is(Gateway::IS_PUBLIC) => {}
        other => return Err(nowhere(other)),
    }
    if may_leave(policy, &subnet, flow.destination, question.what) {
        Ok(())
    } else {
        Err(DropReason::NetworkAcl)
    }
}

/// To an instance that a route leads to.
#[inline(always)]
fn instance<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    sender: &Sender,
    address: Address,
) -> Result<Decision, DropReason> {
    let vpc = question.interface.vpc;
    let (Some(receiver), Some(subnet)) = (
        policy.instance(vpc, address),
        policy.subnet_of(vpc, address),
    ) else {
        return Err(DropReason::Blackhole);
    };
    // What it sends itself would come back to it for ever.
    if address == sender.address {
        return Err(DropReason::Blackhole);
    }
    let acl = if subnet.number == sender.subnet.number {
        0
    } else {
        subnet.acl
    };
    let flags = weight(sender, &receiver, sender.subnet.acl | acl);
    if lacks_ports(question.packet) && flags != 0 {
        return Ok(Decision::to(Way::Wait, 0));
    }
    leave(policy, question, sender)?;
    if !receiver.is(Instance::IS_APPLIANCE) {
        return Err(DropReason::SourceDestCheck);
    }
    enter(policy, question, sender, &subnet)?;
    // A session of the same flow is that of its second way, from the instance on.
    let is_new =
        flags & Decision::TRACKED != 0 && !policy.is_carried_via(&question.packet.flow, vpc);
    if is_new {
        let afresh = Question {
            session: Session::default(),
            ..*question
        };
        let remote = self::receiver(policy, question.interface, question.packet.flow.destination);
        ask_groups(policy, &afresh, sender, &receiver, remote.groups)?;
    }
    Ok(Decision::to(Way::Instance, address.raw()).with(flags))
}
