//! Packets from inside: where the route leads, and whether ACLs and groups let them go there.

use super::{
    Decision, Leads, Policy, Question, Sender, Session, Step, Way, endpoint, lacks_ports,
    may_enter, may_leave, may_open, sender, translatable,
};
use crate::{
    address::Address,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{
        Far, Gateway, Instance, Interface, ListenerKey, METADATA_IP, METADATA_PORT, PublicAddress,
        PublicUse, RESOLVER_PORT, Route, Ruleset, SERVICES, SessionKey, Subnet, TRACKER,
    },
    parse::{Ipv4Packet, Transport},
    reply::Answer,
};

/// What becomes of a packet from inside.
#[inline(always)]
pub fn outward<P: Policy>(policy: &P, question: &Question<'_>, course: &mut Course) -> Decision {
    course.gateway = TRACKER;
    course.is_by_flow = false;
    course.waits = false;
    let mut decision = match decide(policy, question, course) {
        Ok(decision) => decision,
        Err(_) if course.waits => Decision::to(Way::Wait, 0),
        Err(reason) => Decision::refused(reason),
    };
    decision.gateway = course.gateway;
    if course.is_by_flow {
        decision.with(Decision::BY_FLOW)
    } else {
        decision
    }
}

/// What a decision has looked at and found so far. Whoever asks has the memory: a program takes it from a
/// map, of whose content the verifier expects nothing, where it would follow every constant on the stack
/// through all that comes behind it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Course {
    sender: Sender,
    receiver: Instance,
    public: PublicAddress,
    route: Route,
    far: Far,
    node: Node,
    /// The NAT gateway that the route leads to.
    gateway: u32,
    /// It has looked at ports.
    is_by_flow: bool,
    /// Which the packet does not have.
    waits: bool,
    reserved: u16,
}

impl Course {
    /// Ports are looked at now.
    #[inline(always)]
    const fn takes_ports(&mut self, packet: &Ipv4Packet) -> Result<(), DropReason> {
        self.is_by_flow = true;
        self.waits = lacks_ports(packet);
        if self.waits {
            Err(DropReason::Fragment)
        } else {
            Ok(())
        }
    }
}

/// A value that was just written to memory, as the verifier sees it when it is read from a map: as any. Kept
/// in a register it would follow each of the ways on which it was found through all that comes behind.
#[inline(always)]
fn read_again<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid, aligned and initialised.
    unsafe { (&raw const *place).read_volatile() }
}

#[inline(always)]
fn decide<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    course: &mut Course,
) -> Result<Decision, DropReason> {
    let flow = &question.packet.flow;
    // Once, for whoever asks: each place that asks the host is another way for the verifier. Who has a
    // session does not write to the host; in a strict VPC it may be nobody by now.
    let has_session = question.session.is_there && !question.interface.is(Interface::STRICT);
    let node = of_node(policy, flow, question.interface.vpc, u32::from(has_session));
    course.node = Node(node);
    let node = read_again(&course.node);
    course.sender = match sender(
        policy,
        question.interface,
        question.ingress,
        question.mac,
        flow.source,
    ) {
        Ok(sender) => sender,
        // Whoever it is may write to the host itself, as on any interface.
        Err(DropReason::UnlistedSource) if node == Node::HOST => {
            return Ok(Decision::to(Way::Pass, 0));
        }
        Err(reason) => return Err(reason),
    };
    let sender = read_again(&course.sender);
    course.route = policy.route(sender.subnet.route_table, flow.destination);
    let route = read_again(&course.route);
    policy.note(Step::Route, route.kind(), route.value());
    let (mut kind, mut value) = (route.kind(), route.value());
    course.public = policy.public_address(flow.destination);
    let public = read_again(&course.public);
    // They have no routes, and ask endpoints alone.
    if question.interface.is(Interface::SERVICES) {
        kind = Route::LOCAL;
    }
    // No route leads elsewhere what is for the node's own services.
    let is_served = question.interface.serves_at(flow.destination);
    if is_served {
        kind = Route::NAT_GATEWAY;
        value = SERVICES;
    }
    if sender.subnet.is(Subnet::DIVERTS) && leads_out(policy, kind, value) && !is_served {
        let proxy = diverted(policy, question, course, &sender)?;
        if !proxy.is_unspecified() {
            kind = Route::INSTANCE;
            value = proxy.raw();
        }
    }
    if kind == Route::LOCAL {
        // NAT loopback: an address of the host within the VPC can be a gateway's too, and have forwards.
        if public.is_shared() {
            course.takes_ports(question.packet)?;
        }
        let is_looped =
            public.is_shared() && (question.session.is_of(public.owner()) || policy.is_bound(flow));
        if !is_looped {
            return local(policy, question, course, &sender, node);
        }
        kind = Route::NAT_GATEWAY;
        value = public.owner();
    }
    // What answers somebody within the VPC and now leaves it is a flow of its own.
    let mut afresh = *question;
    if question.session.is_answer() {
        afresh.session = &Session::NONE;
    }
    let question = &afresh;
    let own = if kind == Route::INTERNET_GATEWAY {
        sender.instance.public
    } else {
        Address::UNSPECIFIED
    };
    if is_served {
        asks_a_service(question, &sender)?;
    } else {
        let early = to_public(policy, question, course, (kind, own), public, node)?;
        if !matches!(early.way, Way::Undecided) {
            return Ok(early);
        }
    }
    match kind {
        Route::INTERNET_GATEWAY => one_to_one(policy, question, course, &sender),
        Route::NAT_GATEWAY => gateway(policy, question, course, &sender, value),
        Route::INSTANCE => instance(policy, question, course, &sender, Address::from_raw(value)),
        _ => Err(nowhere(kind)),
    }
}

/// The private IP of the proxy that a packet on its way out goes to first, or unspecified. What it sends itself
/// goes on, and so does what found its way without it.
#[inline(always)]
fn diverted<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    course: &mut Course,
    sender: &Sender,
) -> Result<Address, DropReason> {
    let packet = question.packet;
    if packet.flow.protocol != protocol::TCP {
        return Ok(Address::UNSPECIFIED);
    }
    course.takes_ports(packet)?;
    let subnet = ListenerKey::diversion(sender.subnet.number);
    let Some(diversion) = policy.listener(subnet, protocol::TCP, packet.flow.destination_port)
    else {
        return Ok(Address::UNSPECIFIED);
    };
    let proxy = diversion.address;
    if proxy.raw() == sender.address.raw() || question.session.speaks() {
        return Ok(Address::UNSPECIFIED);
    }
    policy.note(Step::Diversion, proxy.raw(), u32::from(diversion.is_down()));
    if diversion.is_down() {
        Err(DropReason::NoTarget)
    } else {
        Ok(proxy)
    }
}

/// A route of this kind leads out of the VPC, and not by an endpoint.
#[inline(always)]
fn leads_out<P: Policy>(policy: &P, kind: u32, value: u32) -> bool {
    match kind {
        Route::INTERNET_GATEWAY => true,
        Route::NAT_GATEWAY => {
            let gateway = policy.gateway(value);
            gateway.is_some_and(|gateway| !gateway.is(Gateway::KEEPS_SOURCE))
        }
        _ => false,
    }
}

/// A listed instance asks for itself, in a whole packet to a port that somebody answers at: nothing else takes a
/// session there, or goes anywhere.
#[inline(always)]
fn asks_a_service(question: &Question<'_>, sender: &Sender) -> Result<(), DropReason> {
    let packet = question.packet;
    if !packet.is_whole() {
        return Err(DropReason::Fragment);
    }
    let port = packet.flow.destination_port.get();
    let is_answered = if packet.flow.destination == METADATA_IP {
        matches!(packet.transport, Transport::Tcp) && port == METADATA_PORT
    } else {
        matches!(packet.transport, Transport::Tcp | Transport::Udp) && port == RESOLVER_PORT
    };
    if !is_answered {
        return Err(DropReason::NoRoute);
    }
    if sender.address != packet.flow.source {
        return Err(DropReason::SpoofedSource);
    }
    if sender.instance.interface == 0 {
        return Err(DropReason::UnlistedSource);
    }
    Ok(())
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
/// [`Way::Undecided`] when the route does. With `own`, the public IP that the sender has, it leaves.
#[inline(always)]
fn to_public<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    course: &mut Course,
    (route, own): (u32, Address),
    public: PublicAddress,
    node: Node,
) -> Result<Decision, DropReason> {
    const UNDECIDED: Decision = Decision::to(Way::Undecided, 0);
    const PASS: Decision = Decision::to(Way::Pass, 0);
    let (packet, flow) = (question.packet, &question.packet.flow);
    // To an instance goes what others would translate.
    if public.is_none() || route == Route::INSTANCE {
        if question.session.is_there {
            return Ok(UNDECIDED);
        }
        return match node {
            Node::HOST => Ok(PASS),
            Node::ROUTER => Ok(Decision::to(Way::Router, 0)),
            Node::FORBIDDEN => Err(DropReason::NoNextHop),
            _ => Ok(UNDECIDED),
        };
    };
    if matches!(public.purpose(), PublicUse::Elastic(_)) {
        return Ok(UNDECIDED);
    }
    course.takes_ports(packet)?;
    if packet.is_error() {
        let is_the_hosts =
            public.is_shared() && route != Route::NAT_GATEWAY && own.is_unspecified();
        return Ok(if is_the_hosts { PASS } else { UNDECIDED });
    }
    let is_answer = packet.may_come_in()
        && !own.is_unspecified()
        && policy.is_answered(&flow.with_source(own, flow.source_port));
    if question.session.is_there || is_answer || policy.is_bound(flow) {
        return Ok(UNDECIDED);
    }
    if public.is_shared() {
        return Ok(PASS);
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
    course: &mut Course,
    sender: &Sender,
) -> Result<(), DropReason> {
    if sender.subnet.acl == 0 {
        return Ok(());
    }
    course.takes_ports(question.packet)?;
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
    course: &mut Course,
    sender: &Sender,
    subnet: &Subnet,
) -> Result<(), DropReason> {
    if subnet.acl == 0 || subnet.number == sender.subnet.number {
        return Ok(());
    }
    course.takes_ports(question.packet)?;
    let remote = question.packet.flow.source;
    if may_enter(policy, subnet, remote, question.what) {
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
    if question.session.speaks() || matches!(question.packet.transport, Transport::IcmpError) {
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

/// Whether groups keep track of a flow; then its ports count.
#[inline(always)]
fn tracks(
    question: &Question<'_>,
    course: &mut Course,
    sender: &Sender,
    receiver: &Instance,
) -> Result<bool, DropReason> {
    let is_tracked = sender.instance.groups != 0 || receiver.groups != 0;
    if is_tracked {
        course.takes_ports(question.packet)?;
    }
    Ok(is_tracked)
}

#[inline(always)]
const fn tracked(decision: Decision, is_tracked: bool) -> Decision {
    if is_tracked {
        decision.with(Decision::TRACKED)
    } else {
        decision
    }
}

/// The session that carries the packet goes on, if it is one that this policy would make. Where nobody is
/// filtered no session counts.
#[inline(always)]
fn goes_on(question: &Question<'_>, gateway: u32, address: Address) -> Result<(), DropReason> {
    let session = question.session;
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
    course: &mut Course,
    sender: &Sender,
    node: Node,
) -> Result<Decision, DropReason> {
    let flow = &question.packet.flow;
    let vpc = question.interface.vpc;
    // The router's own address may have asked, for whoever wants to know whether somebody is well.
    let is_for_endpoint = question.session.is_answer() && !question.session.far.is_none();
    match node {
        _ if is_for_endpoint => {}
        Node::HOST => return Ok(Decision::to(Way::Pass, 0)),
        Node::ROUTER => return Ok(Decision::to(Way::Router, 0)),
        _ => {}
    }
    let Some(subnet) = policy.subnet_of(vpc, flow.destination) else {
        leave(policy, question, course, sender)?;
        return Err(DropReason::NoRoute);
    };
    policy.note(Step::ReceiverSubnet, subnet.number, subnet.interface);
    course.receiver = receiver(policy, question.interface, flow.destination);
    let receiver = read_again(&course.receiver);
    if subnet.number != sender.subnet.number {
        leave(policy, question, course, sender)?;
        enter(policy, question, course, sender, &subnet)?;
    }
    if is_for_endpoint || receiver.is(Instance::IS_ENDPOINT) {
        return to_endpoint(policy, question, course, sender, &receiver);
    }
    let is_tracked = tracks(question, course, sender, &receiver)?;
    if is_tracked {
        goes_on(question, TRACKER, question.session.address)?;
    }
    // Answers to what went to an instance are answers whichever way they take.
    let is_known = question.session.speaks()
        || (is_tracked
            && question.packet.shows_flow()
            && policy.is_answer(flow, vpc | SessionKey::VIA_INSTANCE));
    if !is_known {
        ask_groups(policy, question, sender, &receiver, receiver.groups)?;
    }
    Ok(tracked(
        Decision::to(Way::Local, subnet.interface),
        is_tracked,
    ))
}

/// To an endpoint or load balancer, which is no host: what it stands for gets the packet.
#[inline(always)]
fn to_endpoint<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    course: &mut Course,
    sender: &Sender,
    receiver: &Instance,
) -> Result<Decision, DropReason> {
    let packet = question.packet;
    course.takes_ports(packet)?;
    let session = question.session;
    if session.is_answer() && !session.far.is_none() {
        course.gateway = u32::from(session.gateway);
        return endpoint::back(policy, question);
    }
    let (far, gateway) = endpoint::choose(policy, question, receiver.gateway)?;
    course.far = far;
    course.gateway = gateway;
    ask_groups(policy, question, sender, receiver, receiver.groups)?;
    let far = read_again(&course.far);
    if far.scope != 0 {
        endpoint::reach(policy, question, course.gateway, &far)?;
    } else if policy
        .gateway(course.gateway)
        .is_some_and(|gateway| gateway.is(Gateway::KEEPS_SOURCE))
    {
        may_keep_source(policy, question, far.address)?;
    }
    if !session.is_there {
        if packet.ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if let Err(reason) = may_open(packet) {
            return Ok(Decision::refused(reason).answered(Answer::RESET));
        }
    }
    Ok(Decision {
        far,
        ..Decision::to(Way::Endpoint, 0)
    })
}

/// Whose the destination is on this node. A number: of an enum that is handed on, part may be uninitialised.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Node(u32);

impl Node {
    /// Nobody's.
    const NOBODY: Self = Self(0);
    /// The host's.
    const HOST: Self = Self(1);
    /// The router's of a subnet.
    const ROUTER: Self = Self(2);
    /// The host's routes forbid it.
    const FORBIDDEN: Self = Self(3);
}

/// Asks the host, whose routes know nothing of subnets that it has no address in.
#[inline(never)]
fn of_node<P: Policy>(policy: &P, flow: &Flow, vpc: u16, has_session: u32) -> u32 {
    let Some(subnet) = policy.subnet_of(vpc, flow.destination) else {
        if has_session != 0 {
            return Node::NOBODY.0;
        }
        return match policy.leads(flow) {
            Leads::ToHost => Node::HOST.0,
            Leads::Forbidden => Node::FORBIDDEN.0,
            Leads::Out | Leads::Elsewhere => Node::NOBODY.0,
        };
    };
    if flow.destination == subnet.router {
        return if subnet.is(Subnet::HOST_IS_ROUTER) {
            Node::HOST.0
        } else {
            Node::ROUTER.0
        };
    }
    if subnet.is(Subnet::HOST_IS_IN_IT) && policy.is_the_hosts(flow, &subnet) {
        return Node::HOST.0;
    }
    Node::NOBODY.0
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
    course: &mut Course,
    sender: &Sender,
) -> Result<Decision, DropReason> {
    let flow = &question.packet.flow;
    leave(policy, question, course, sender)?;
    let public = sender.instance.public;
    if public.is_unspecified() || sender.address != flow.source {
        return Err(DropReason::NoPublicIp);
    }
    policy.note(Step::PublicIp, public.raw(), flow.source.raw());
    let is_tracked = tracks(question, course, sender, &Instance::default())?;
    if is_tracked {
        goes_on(question, TRACKER, public)?;
    }
    ask_groups(policy, question, sender, &Instance::default(), 0)?;
    let decision = Decision::to(Way::OneToOne, public.raw());
    Ok(tracked(decision, is_tracked))
}

/// By a NAT gateway, and from its subnet on by that one's route table.
#[inline(always)]
fn gateway<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    course: &mut Course,
    sender: &Sender,
    number: u32,
) -> Result<Decision, DropReason> {
    let (packet, flow) = (question.packet, &question.packet.flow);
    let gateway = policy.gateway(number).ok_or(DropReason::Internal)?;
    policy.note(Step::Gateway, number, 0);
    course.gateway = number;
    let decision = Decision::to(Way::NatGateway, number);
    let is_service = number == SERVICES;
    if !is_service {
        leave(policy, question, course, sender)?;
    }
    course.is_by_flow = true;
    if gateway.is(Gateway::EXEMPTS)
        && !question.session.is_there
        && policy.is_exempt(
            number,
            flow.destination,
            flow.protocol,
            packet.remote_port(),
        )
    {
        return Ok(Decision::to(Way::Pass, 0));
    }
    course.takes_ports(packet)?;
    through_subnet_of(policy, question, course, sender, number, gateway)?;
    if gateway.is(Gateway::KEEPS_SOURCE) {
        may_keep_source(policy, question, flow.destination)?;
    }
    if gateway.is(Gateway::HAS_POLICY) {
        // Who sends for others needs leave for himself, too.
        for source in [flow.source, sender.address] {
            let ruleset = policy.route(Gateway::policy_table(number), source).value();
            if !policy.acl_allows(ruleset, flow.destination, question.what) {
                return Err(DropReason::EndpointPolicy);
            }
        }
    }
    let has_session = question.session.is_there;
    if has_session {
        goes_on(question, number, question.session.address)?;
        if !gateway.serves(question.session.address, flow.source) {
            return Err(DropReason::PolicyChanged);
        }
    } else {
        translatable(packet)?;
        if packet.is_error() {
            return Ok(decision);
        }
    }
    // Once, for either: each place that asks them is another way for the verifier.
    if !is_service {
        ask_groups(policy, question, sender, &Instance::default(), 0)?;
    }
    if has_session {
        return Ok(decision);
    }
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

/// What keeps its source is from a host of the VPC, and goes to no public IP of ours: who is behind that would take
/// it for one of his own.
#[inline(always)]
fn may_keep_source<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    to: Address,
) -> Result<(), DropReason> {
    let source = question.packet.flow.source;
    if policy.subnet_of(question.interface.vpc, source).is_none() {
        return Err(DropReason::SpoofedSource);
    }
    if policy.public_address(to).is_none() {
        Ok(())
    } else {
        Err(DropReason::NoRoute)
    }
}

/// A packet passes through the subnet that a NAT gateway is in: the ACL at its boundary, both ways, and
/// its route table, which has to lead to the internet gateway where there are public IPs.
#[inline(always)]
fn through_subnet_of<P: Policy>(
    policy: &P,
    question: &Question<'_>,
    course: &mut Course,
    sender: &Sender,
    number: u32,
    gateway: &Gateway,
) -> Result<(), DropReason> {
    let flow = &question.packet.flow;
    // One that stands for itself, at the host's own address, is in no subnet.
    let Some(subnet) = policy.subnet_of(gateway.vpc as u16, gateway.private_ip) else {
        return Ok(());
    };
    enter(policy, question, course, sender, &subnet)?;
    let route = policy.route(subnet.route_table, flow.destination);
    policy.note(Step::GatewaySubnet, subnet.number, route.kind());
    match route.kind() {
        Route::INTERNET_GATEWAY => {}
        // NAT loopback: an address of the host in the VPC.
        Route::LOCAL if !policy.public_address(flow.destination).is_none() => {}
        // Or it is in the subnet that it serves: a host with one arm.
        Route::NAT_GATEWAY if route.value() == number => {}
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
    course: &mut Course,
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
    leave(policy, question, course, sender)?;
    if !receiver.is(Instance::IS_APPLIANCE) {
        return Err(DropReason::SourceDestCheck);
    }
    enter(policy, question, course, sender, &subnet)?;
    let is_tracked = tracks(question, course, sender, &receiver)?;
    // A session of the same flow is that of its second way, from the instance on. Answers are answers
    // whichever way they take.
    let (flow, scope) = (&question.packet.flow, vpc | SessionKey::VIA_INSTANCE);
    let is_known = question.packet.shows_flow()
        && (policy.is_open(flow, scope)
            || policy.is_answer(flow, scope)
            || policy.is_answer(flow, vpc));
    if is_tracked && !is_known {
        let afresh = Question {
            session: &Session::NONE,
            ..*question
        };
        let remote = self::receiver(policy, question.interface, question.packet.flow.destination);
        ask_groups(policy, &afresh, sender, &receiver, remote.groups)?;
    }
    let decision = Decision::to(Way::Instance, address.raw());
    Ok(tracked(decision, is_tracked))
}
