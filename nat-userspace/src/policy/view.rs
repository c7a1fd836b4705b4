//! A compiled policy as what decides about packets (`nat_common::policy`), for packets that sessions stand
//! for: what a program asks of the host is not asked here.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nat_common::{
    address::{Address, Port},
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{
        ApplianceKey, BalancedTarget, Gateway, GroupKey, Instance, Interface, Judgement, Listener,
        ListenerKey, PortKey, PublicAddress, Route, SERVICES, ScopedAddress, Session, SessionKey,
        Subnet, TRACKER,
    },
    parse::{Ipv4Packet, Transport},
    policy::{self, Course, Decision, Inside, Leads, Policy, Question, Way, What},
    rules::{Rules, judge_acl, judge_groups},
    sessions::{is_tracker, outside_flow},
    wire::{Fragment, Mac, TcpFlags},
};

use super::{PrefixKey, Tables, prefix};

/// What would become of the packets of a session, in both directions.
///
/// # Errors
///
/// Why they would be dropped.
pub fn judge(tables: &Tables, key: &SessionKey, session: &Session) -> Result<(), DropReason> {
    let view = View {
        tables,
        is_via: key.scope() & SessionKey::VIA_INSTANCE != 0,
    };
    let carried = policy::Session {
        is_there: true,
        flags: 0,
        gateway: session.owner(),
        address: session.mapped_address(),
        far: session.far(),
        ..policy::Session::default()
    };
    let flow = key.flow();
    view.outward(key.vpc(), &flow, carried)?;
    // Both VPCs have been asked.
    if !session.far().is_none() {
        return Ok(());
    }
    let is_translated = session.mapped_address() != flow.source;
    if is_translated || !is_tracker(session.owner()) {
        view.inward(key, session)
    } else if view.is_via {
        Ok(())
    } else {
        let answers = policy::Session {
            flags: policy::Session::ANSWER,
            ..carried
        };
        view.outward(key.vpc(), &flow.reversed(), answers)
    }
}

struct View<'a> {
    tables: &'a Tables,
    /// The session is that of a flow on its way to an instance.
    is_via: bool,
}

impl View<'_> {
    /// Of packets that an inside host sends.
    fn outward(&self, vpc: u16, flow: &Flow, session: policy::Session) -> Result<(), DropReason> {
        // An appliance sends what no subnet has: who it was is not in the session.
        let Some(subnet) = self.subnet_of(vpc, flow.source) else {
            return Ok(());
        };
        let Some(interface) = self.tables.interfaces.get(&subnet.interface) else {
            return Err(DropReason::SpoofedSource);
        };
        let packet = packet(flow);
        let instance = self.instance(vpc, flow.source);
        let question = Question {
            packet: &packet,
            what: what(&packet, 8),
            interface,
            ingress: subnet.interface,
            mac: instance.map_or([0; 6], |instance| instance.mac),
            session: &session,
        };
        let decision = policy::outward(self, &question, &mut Course::default());
        allowed(&decision)?;
        // Its packets would go on, but not by it.
        let leaves_gateway = matches!(decision.way, Way::OneToOne | Way::Local);
        if leaves_gateway && !is_tracker(session.gateway) {
            return Err(DropReason::PolicyChanged);
        }
        Ok(())
    }

    /// Of answers that come to a public IP.
    fn inward(&self, key: &SessionKey, session: &Session) -> Result<(), DropReason> {
        let number = u32::from(session.owner());
        let flow = key.flow();
        let answer = packet(&outside_flow(key, session));
        let interface = self
            .tables
            .interfaces
            .values()
            .find(|interface| interface.is(Interface::SERVICES) == (number == SERVICES));
        let interface = interface.ok_or(DropReason::Internal)?;
        let question = Question {
            packet: &answer,
            what: what(&answer, 0),
            interface,
            ingress: 0,
            mac: [0; 6],
            session: &policy::Session {
                is_there: true,
                ..policy::Session::NONE
            },
        };
        let gateway = (number != TRACKER).then(|| self.tables.gateways.get(&number));
        let inside = Inside {
            vpc: key.vpc(),
            address: flow.source,
            port: flow.source_port,
            gateway: gateway
                .flatten()
                .map_or(Address::UNSPECIFIED, |gateway| gateway.private_ip),
        };
        allowed(&policy::inward(self, &question, flow.destination, &inside))
    }
}

/// The value of the longest prefix in a scope that holds an address; `get` looks one up.
fn longest<'t, V: Copy + 't>(
    get: impl Fn(&PrefixKey) -> Option<&'t V>,
    scope: u32,
    address: Address,
) -> Option<V> {
    (0..=32u8).rev().find_map(|length| {
        let net = Ipv4Net::new(Ipv4Addr::from(address), length).ok()?;
        get(&prefix(scope, net)).copied()
    })
}

fn allowed(decision: &Decision) -> Result<(), DropReason> {
    match decision.way {
        Way::Drop => Err(decision.reason()),
        _ => Ok(()),
    }
}

/// A packet in the middle of a flow.
fn packet(flow: &Flow) -> Ipv4Packet {
    let transport = match flow.protocol {
        protocol::TCP => Transport::Tcp,
        protocol::UDP => Transport::Udp,
        protocol::ICMP if flow.destination_port == Port::NONE => Transport::IcmpEchoRequest,
        protocol::ICMP => Transport::IcmpEchoReply,
        _ => Transport::Opaque,
    };
    Ipv4Packet {
        flow: *flow,
        transport,
        flags: TcpFlags::NONE,
        transport_offset: 0,
        total_length: 0,
        fragment: Fragment::Whole,
        ttl: u8::MAX,
    }
}

fn what(packet: &Ipv4Packet, icmp_type: u8) -> What {
    What::of(packet, PortKey::icmp(icmp_type, 0))
}

impl Policy for View<'_> {
    fn subnet_behind(&self, interface: u32, source: Address) -> Option<Subnet> {
        longest(|key| self.tables.subnets.get(key), interface, source)
    }

    fn subnet_of(&self, vpc: u16, address: Address) -> Option<Subnet> {
        let scope = ScopedAddress::subnets_of_vpc(vpc.into());
        longest(|key| self.tables.subnets.get(key), scope, address)
    }

    fn instance(&self, vpc: u16, address: Address) -> Option<Instance> {
        let scope = vpc.into();
        let key = ScopedAddress { scope, address };
        self.tables.instances.get(&key).copied()
    }

    fn appliance(&self, interface: u32, mac: Mac) -> Option<Address> {
        let key = ApplianceKey {
            interface,
            mac,
            reserved: 0,
        };
        self.tables.appliances.get(&key).copied()
    }

    fn route(&self, table: u32, destination: Address) -> Route {
        longest(|key| self.tables.routes.get(key), table, destination).unwrap_or(Route::NONE)
    }

    fn gateway(&self, number: u32) -> Option<&Gateway> {
        self.tables.gateways.get(&number)
    }

    fn public_address(&self, address: Address) -> PublicAddress {
        let entry = self.tables.public_addresses.get(&address);
        entry.copied().unwrap_or_default()
    }

    fn listener(&self, gateway: u32, protocol: u8, port: Port) -> Option<Listener> {
        let key = ListenerKey {
            gateway,
            port,
            protocol,
            reserved: 0,
        };
        self.tables.listeners.get(&key).copied()
    }

    fn target(&self, table: u32, hash: u32) -> BalancedTarget {
        let table = self.tables.target_tables.get(&table);
        table.map_or(BalancedTarget::default(), |table| table.choose(hash))
    }

    fn has_target(&self, table: u32, address: Address, port: Port) -> bool {
        let table = self.tables.target_tables.get(&table);
        table.is_some_and(|table| table.has(address, port))
    }

    fn is_exempt(&self, gateway: u32, remote: Address, protocol: u8, port: Option<Port>) -> bool {
        longest(|key| self.tables.exemptions.get(key), gateway, remote)
            .is_some_and(|exemptions| exemptions.cover(protocol, port))
    }

    fn is_bound(&self, _flow: &Flow) -> bool {
        true
    }

    fn is_open(&self, _flow: &Flow, _scope: u16) -> bool {
        self.is_via
    }

    fn is_answered(&self, _flow: &Flow) -> bool {
        true
    }

    fn is_answer(&self, _flow: &Flow, _scope: u16) -> bool {
        false
    }

    fn leads(&self, _flow: &Flow) -> Leads {
        Leads::Elsewhere
    }

    fn is_the_hosts(&self, _flow: &Flow, _subnet: &Subnet) -> bool {
        false
    }

    fn acl_allows(&self, ruleset: u32, remote: Address, what: What) -> bool {
        judge_acl(self, ruleset, remote, what.protocol, what.port).allows()
    }

    fn groups_allow(&self, ruleset: u32, remote: Address, remote_set: u32, what: What) -> bool {
        let (protocol, port) = (what.protocol, what.port);
        judge_groups(self, ruleset, remote, remote_set, protocol, port).allows()
    }
}

impl Rules for View<'_> {
    fn class_of_address(&self, ruleset: u32, remote: Address) -> Option<u32> {
        longest(|key| self.tables.rulesets.get(key), ruleset, remote)
    }

    fn class_of_groups(&self, ruleset: u32, set: u32) -> Option<u32> {
        let key = GroupKey { ruleset, set };
        self.tables.group_rules.get(&key).copied()
    }

    fn judgement(&self, class: u32, protocol: u8, port: u16) -> Option<Judgement> {
        let of_port = (PortKey::PROTOCOL_BITS..=PortKey::FULL_BITS).rev();
        let of_port = of_port.map(|bits| {
            let port = u32::from(port) & !(u32::from(u16::MAX) >> (bits - PortKey::PROTOCOL_BITS));
            (PortKey::new(class, protocol, port as u16), bits)
        });
        let of_class = (PortKey::new(class, 0, 0), PortKey::CLASS_BITS);
        of_port
            .chain([of_class])
            .find_map(|key| self.tables.port_rules.get(&key).copied())
    }
}
