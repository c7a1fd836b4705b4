//! The sessions, and all that exists because of them: bindings, what their
//! filters let in, how much each client has.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::tcp_state::Half;

/// Both ends of a conversation as the inside sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Number of the VPC.
    pub vpc: usize,
    /// Whether it is on its way to an instance that a route leads to. What comes back from
    /// there on its way to somewhere else is another flow to the router.
    pub to_instance: bool,
    /// IP protocol number. NAT gateways translate TCP, UDP and ICMP.
    pub protocol: u8,
    /// The inside host. In a ping the query id stands for the port of its sender.
    pub inside: SocketAddrV4,
    /// The remote host; for ICMP port 0.
    pub remote: SocketAddrV4,
}

impl Flow {
    /// Of the first VPC, sent by its inside end.
    #[must_use]
    pub fn new(protocol: u8, inside: SocketAddrV4, remote: SocketAddrV4) -> Self {
        Self {
            vpc: 0,
            to_instance: false,
            protocol,
            inside,
            remote,
        }
    }
}

/// A flow and what it is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The flow.
    pub flow: Flow,
    /// What the remote host sees; for ICMP the query id as port.
    pub public: SocketAddrV4,
    /// Why it sees that.
    pub mapping: Mapping,
    /// Where the packets of the flow are led.
    pub via: Via,
    /// When it was opened.
    pub opened: Duration,
    /// From inside.
    pub forward: Half,
    /// From outside.
    pub reverse: Half,
}

/// Where a subnet's route table leads packets, when it lets them go anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// To their destination in the VPC.
    Local,
    /// To this instance, whatever their destination.
    Instance(usize),
    /// To the internet with the sender's own public IP.
    InternetGateway,
    /// Through this NAT gateway.
    NatGateway(usize),
}

/// Where the public end of a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// It is the inside end: nothing is translated, the flow is only known.
    Unchanged,
    /// The public IP of the instance.
    OneToOne,
    /// Taken for this remote end only (profile aws).
    Overloaded,
    /// Shared by all sessions of the inside end (profile rfc).
    Binding,
    /// Configured: port forwarding.
    Forward,
}

/// Which half of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From inside.
    Forward,
    /// From outside.
    Reverse,
}

/// Where the remote end of a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Internet,
    /// In this VPC; behind an instance that a route leads to, or not.
    Vpc(usize, bool),
}

/// Both ends as the remote one sees them: unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outside {
    pub scope: Scope,
    pub protocol: u8,
    pub public: SocketAddrV4,
    pub remote: SocketAddrV4,
}

/// A public port of a protocol.
pub(super) type PublicPort = (u8, SocketAddrV4);

/// An inside port that sessions bind to one public port.
#[derive(Clone, Copy, Debug)]
struct Binding {
    inside: SocketAddrV4,
    sessions: usize,
}

/// What an inside address has through one gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Client {
    pub sessions: usize,
    pub bindings: usize,
    /// Of its bindings.
    pub public_ip: Option<Ipv4Addr>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_flow: HashMap<Flow, Session>,
    by_outside: HashMap<Outside, Flow>,
    bindings: HashMap<PublicPort, Binding>,
    bound: HashMap<(usize, u8, SocketAddrV4), SocketAddrV4>,
    clients: HashMap<(usize, Ipv4Addr), Client>,
    /// How many sessions a public port has with a remote address.
    partners: HashMap<(PublicPort, Ipv4Addr), usize>,
}

impl Session {
    /// Number of the NAT gateway that translates it.
    #[must_use]
    pub fn gateway(&self) -> Option<usize> {
        match self.via {
            Via::NatGateway(gateway) => Some(gateway),
            _ => None,
        }
    }

    /// Its ends as the remote one sees them.
    pub(super) fn outside(&self) -> Outside {
        let scope = match self.via {
            Via::Local | Via::Instance(_) => Scope::Vpc(self.flow.vpc, self.flow.to_instance),
            Via::InternetGateway | Via::NatGateway(_) => Scope::Internet,
        };
        Outside {
            scope,
            protocol: self.flow.protocol,
            public: self.public,
            remote: self.flow.remote,
        }
    }

    fn public_port(&self) -> PublicPort {
        (self.flow.protocol, self.public)
    }
}

impl Sessions {
    pub(super) fn find(&self, flow: &Flow) -> Option<&Session> {
        self.by_flow.get(flow)
    }

    pub(super) fn find_mut(&mut self, flow: &Flow) -> Option<&mut Session> {
        self.by_flow.get_mut(flow)
    }

    /// The session that a remote end reaches at a public one.
    pub(super) fn find_outside(&self, outside: &Outside) -> Option<&Session> {
        self.find(self.by_outside.get(outside)?)
    }

    /// The inside end that is bound to a public port.
    pub(super) fn inside_of(&self, protocol: u8, public: SocketAddrV4) -> Option<SocketAddrV4> {
        Some(self.bindings.get(&(protocol, public))?.inside)
    }

    /// The public port that an inside end is bound to.
    pub(super) fn binding_of(&self, gateway: usize, flow: &Flow) -> Option<SocketAddrV4> {
        self.bound
            .get(&(gateway, flow.protocol, flow.inside))
            .copied()
    }

    /// Whether a public port has a session with this remote address.
    pub(super) fn has_partner(&self, protocol: u8, public: SocketAddrV4, remote: Ipv4Addr) -> bool {
        self.partners.contains_key(&((protocol, public), remote))
    }

    /// What an inside address has through a gateway.
    pub(super) fn client(&self, gateway: usize, address: Ipv4Addr) -> Client {
        let client = self.clients.get(&(gateway, address));
        client.copied().unwrap_or_default()
    }

    /// # Panics
    /// When the flow or what it is translated to is taken.
    pub(super) fn insert(&mut self, session: Session) {
        let (flow, outside) = (session.flow, session.outside());
        let held = self.by_outside.insert(outside, flow);
        assert!(held.is_none(), "{outside:?} taken by {held:?}");
        let held = self.by_flow.insert(flow, session);
        assert!(held.is_none(), "{flow:?} has a session");
        let Some(gateway) = session.gateway() else {
            return;
        };
        let client = self.clients.entry((gateway, *flow.inside.ip()));
        let client = client.or_default();
        client.sessions += 1;
        if session.mapping != Mapping::Binding {
            return;
        }
        let partner = (session.public_port(), *flow.remote.ip());
        *self.partners.entry(partner).or_default() += 1;
        let binding = self.bindings.entry(session.public_port());
        let binding = binding.or_insert(Binding {
            inside: flow.inside,
            sessions: 0,
        });
        assert_eq!(binding.inside, flow.inside, "bound to two inside ends");
        binding.sessions += 1;
        if binding.sessions == 1 {
            let inside = (gateway, flow.protocol, flow.inside);
            self.bound.insert(inside, session.public);
            client.bindings += 1;
            client.public_ip = Some(*session.public.ip());
        }
    }

    /// Removes a session; answers the public port of its binding when it was the last one.
    pub(super) fn remove(&mut self, flow: &Flow) -> Option<PublicPort> {
        let session = self.by_flow.remove(flow)?;
        self.by_outside.remove(&session.outside());
        let gateway = session.gateway()?;
        let mut freed = None;
        let client_key = (gateway, *flow.inside.ip());
        let client = self.clients.entry(client_key).or_default();
        client.sessions -= 1;
        if session.mapping == Mapping::Binding {
            let partner = (session.public_port(), *flow.remote.ip());
            let count = self.partners.entry(partner).or_default();
            *count -= 1;
            if *count == 0 {
                self.partners.remove(&partner);
            }
            let binding = self.bindings.get_mut(&session.public_port())?;
            binding.sessions -= 1;
            if binding.sessions == 0 {
                self.bindings.remove(&session.public_port());
                self.bound.remove(&(gateway, flow.protocol, flow.inside));
                client.bindings -= 1;
                if client.bindings == 0 {
                    client.public_ip = None;
                }
                freed = Some(session.public_port());
            }
        }
        if client.sessions == 0 {
            self.clients.remove(&client_key);
        }
        freed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_flow.values()
    }
}
