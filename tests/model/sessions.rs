//! The sessions, and all that exists because of them: bindings, what their
//! filters let in, how much each client has.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::tcp_state::Half;

/// Both ends of a conversation as the inside sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// IP protocol number: TCP, UDP or ICMP.
    pub protocol: u8,
    /// The inside host; for ICMP the query id as port.
    pub inside: SocketAddrV4,
    /// The remote host; for ICMP port 0.
    pub remote: SocketAddrV4,
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
    /// Index of the NAT gateway.
    pub gateway: usize,
    /// When it was opened.
    pub opened: Duration,
    /// From inside.
    pub forward: Half,
    /// From outside.
    pub reverse: Half,
}

/// Where the public port of a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
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

/// Both ends as the outside sees them: unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outside {
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
    /// Its ends as the outside sees them.
    pub(super) fn outside(&self) -> Outside {
        Outside {
            protocol: self.flow.protocol,
            public: self.public,
            remote: self.flow.remote,
        }
    }

    fn public_port(&self) -> PublicPort {
        (self.flow.protocol, self.public)
    }

    fn client(&self) -> (usize, Ipv4Addr) {
        (self.gateway, *self.flow.inside.ip())
    }

    fn inside_port(&self) -> (usize, u8, SocketAddrV4) {
        (self.gateway, self.flow.protocol, self.flow.inside)
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
        let client = self.clients.entry(session.client()).or_default();
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
            self.bound.insert(session.inside_port(), session.public);
            client.bindings += 1;
            client.public_ip = Some(*session.public.ip());
        }
    }

    /// Removes a session; answers the public port of its binding when it was the last one.
    pub(super) fn remove(&mut self, flow: &Flow) -> Option<PublicPort> {
        let session = self.by_flow.remove(flow)?;
        self.by_outside.remove(&session.outside());
        let mut freed = None;
        let client = self.clients.entry(session.client()).or_default();
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
                self.bound.remove(&session.inside_port());
                client.bindings -= 1;
                if client.bindings == 0 {
                    client.public_ip = None;
                }
                freed = Some(session.public_port());
            }
        }
        if client.sessions == 0 {
            self.clients.remove(&session.client());
        }
        freed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_flow.values()
    }
}
