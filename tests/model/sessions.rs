//! The sessions of the reference NAT, and which ports are free.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::{Model, NatGateway};

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
    /// Index of the NAT gateway.
    pub gateway: usize,
    /// When it was opened.
    pub opened: Duration,
    /// When it last carried a packet, in either direction.
    pub last_used: Duration,
}

/// Both ends as the outside sees them. Unique: that is all that overloading asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Outside {
    protocol: u8,
    public: SocketAddrV4,
    remote: SocketAddrV4,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_flow: HashMap<Flow, Session>,
    by_outside: HashMap<Outside, Flow>,
}

impl Sessions {
    pub(super) fn find(&self, flow: &Flow) -> Option<&Session> {
        self.by_flow.get(flow)
    }

    /// The flow that `remote` reaches at `public`.
    pub(super) fn find_outside(
        &self,
        protocol: u8,
        public: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Option<Flow> {
        self.by_outside
            .get(&Outside {
                protocol,
                public,
                remote,
            })
            .copied()
    }

    /// # Panics
    /// When the flow or what it is translated to is taken.
    pub(super) fn insert(&mut self, session: Session) {
        let Session { flow, public, .. } = session;
        let Flow {
            protocol, remote, ..
        } = flow;
        let outside = Outside {
            protocol,
            public,
            remote,
        };
        assert!(
            self.by_outside.insert(outside, flow).is_none(),
            "{outside:?} taken"
        );
        assert!(
            self.by_flow.insert(flow, session).is_none(),
            "{flow:?} has a session"
        );
    }

    pub(super) fn touch(&mut self, flow: &Flow, now: Duration) {
        if let Some(session) = self.by_flow.get_mut(flow) {
            session.last_used = now;
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Session) -> bool) {
        self.by_flow.retain(|_, session| keep(session));
        let Self {
            by_flow,
            by_outside,
        } = self;
        by_outside.retain(|_, flow| by_flow.contains_key(flow));
    }

    pub(super) fn sorted(&self) -> Vec<Session> {
        let mut sessions: Vec<_> = self.by_flow.values().copied().collect();
        sessions.sort_by_key(|session| session.flow);
        sessions
    }
}

impl Model {
    /// What a new session of `flow` is translated to; `None` when every port of
    /// every public IP is in use towards its remote end.
    pub(super) fn choose(&self, gateway: usize, flow: &Flow) -> Option<SocketAddrV4> {
        let gateway = &self.config.gateways[gateway];
        let ips = || gateway.public_ips.iter().copied();
        let kept = ips()
            .map(|ip| SocketAddrV4::new(ip, flow.inside.port()))
            .find(|&public| self.is_free(gateway, flow, public));
        kept.or_else(|| {
            let ports = || gateway.ports.iter().cloned().flatten();
            ips()
                .flat_map(|ip| ports().map(move |port| SocketAddrV4::new(ip, port)))
                .find(|&public| self.is_free(gateway, flow, public))
        })
    }

    /// Records a session that another NAT opened, if it was allowed to: `public`
    /// is in the gateway's pool and free towards the remote end, and the port
    /// was kept if it could be on that public IP.
    pub fn adopt(
        &mut self,
        now: Duration,
        gateway: usize,
        flow: Flow,
        public: SocketAddrV4,
    ) -> Result<(), String> {
        let pool = &self.config.gateways[gateway];
        if self.sessions.find(&flow).is_some() {
            return Err(format!("{flow:?} already has a session"));
        }
        if self.config.subnet_of(*flow.inside.ip()).is_none() {
            return Err(format!("{} is in no subnet", flow.inside.ip()));
        }
        if !pool.public_ips.contains(public.ip()) {
            return Err(format!(
                "{} is not a public IP of gateway {gateway}",
                public.ip()
            ));
        }
        if !pool.has_port(public.port()) {
            return Err(format!("port {} is not in the pool", public.port()));
        }
        if let Some(other) = self
            .sessions
            .find_outside(flow.protocol, public, flow.remote)
        {
            return Err(format!(
                "{public} serves {} towards {}",
                other.inside, flow.remote
            ));
        }
        let kept = SocketAddrV4::new(*public.ip(), flow.inside.port());
        if public != kept && self.is_free(pool, &flow, kept) {
            return Err(format!("{public} was chosen, but {kept} was free"));
        }
        self.sessions.insert(Session {
            flow,
            public,
            gateway,
            opened: now,
            last_used: now,
        });
        Ok(())
    }

    fn is_free(&self, gateway: &NatGateway, flow: &Flow, public: SocketAddrV4) -> bool {
        gateway.has_port(public.port())
            && self
                .sessions
                .find_outside(flow.protocol, public, flow.remote)
                .is_none()
    }
}
