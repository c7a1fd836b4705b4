//! Opens sessions: what a new one is translated to.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::Choice;
use super::clock::is_longer_ago;
use super::decide::Stop;
use super::ports::{Rank, first_free, objection, ranks};
use super::sessions::{Outside, Scope};
use super::tcp_state::Half;
use super::{
    DropReason, Filtering, Flow, Mapping, Model, NatGateway, OnExhaustion, Profile, Session, Via,
    deterministic,
};
use crate::packets::protocol;

impl Model {
    /// The session of `flow`, unless it has expired: it stays in the table until
    /// another one takes its place, or a sweep comes.
    pub(super) fn live(&self, now: Duration, flow: &Flow) -> Option<Session> {
        let session = *self.sessions.find(flow)?;
        (!session.is_expired(now, &self.config)).then_some(session)
    }

    /// The session that a remote end reaches at a public one, unless it has expired.
    pub(super) fn live_outside(&self, now: Duration, outside: &Outside) -> Option<Session> {
        let flow = self.sessions.find_outside(outside)?.flow;
        self.live(now, &flow)
    }

    /// Removes a session. RFC 6888 REQ-8: the port of its binding rests, where
    /// anybody's packets to it would reach the next one who gets it.
    pub(super) fn remove(&mut self, now: Duration, flow: &Flow) {
        let Some(session) = self.sessions.find(flow) else {
            return;
        };
        let gateway = session
            .gateway()
            .map(|gateway| &self.config.gateways[gateway]);
        let rests = gateway.is_some_and(|gateway| {
            gateway.profile == Profile::Rfc(Filtering::EndpointIndependent)
                && flow.protocol != protocol::TCP
                && !gateway.port_rest.is_zero()
        });
        if let Some(port) = self.sessions.remove(flow)
            && rests
        {
            self.resting.insert(port, super::clock::tick(now));
        }
    }

    /// Opens a session from inside for `flow`, which has none but an expired one.
    pub(super) fn claim(
        &mut self,
        now: Duration,
        gateway: usize,
        flow: Flow,
        choice: &mut Choice<'_>,
    ) -> Result<Session, Stop> {
        self.remove(now, &flow);
        let client = *flow.inside.ip();
        self.session_quota(gateway, client)?;
        let settings = &self.config.gateways[gateway];
        let forward = settings.forward_to_inside(flow.protocol, flow.inside);
        let (public, mapping) = if let Some(public) = forward {
            (public, Mapping::Forward)
        } else if !settings.is_rfc() {
            (
                self.new_port(now, gateway, &flow, choice)?,
                Mapping::Overloaded,
            )
        } else if let Some(public) = self.sessions.binding_of(gateway, &flow) {
            (public, Mapping::Binding)
        } else {
            let bindings = self.sessions.client(gateway, client).bindings;
            if settings
                .max_ports_per_client
                .is_some_and(|most| bindings >= most)
            {
                return Err(self.exhausted(gateway, DropReason::ClientQuota));
            }
            (
                self.new_port(now, gateway, &flow, choice)?,
                Mapping::Binding,
            )
        };
        Ok(self.open(now, Via::NatGateway(gateway), flow, public, mapping))
    }

    /// Puts a session into the table. What held its place has expired.
    pub(super) fn open(
        &mut self,
        now: Duration,
        via: Via,
        flow: Flow,
        public: SocketAddrV4,
        mapping: Mapping,
    ) -> Session {
        let session = Session {
            flow,
            public,
            mapping,
            via,
            opened: now,
            forward: Half::new(now),
            reverse: Half::new(now),
        };
        if let Some(holder) = self.sessions.find_outside(&session.outside()) {
            let flow = holder.flow;
            self.remove(now, &flow);
        }
        self.sessions.insert(session);
        session
    }

    /// A client that has as many sessions as it may gets no more.
    pub(super) fn session_quota(&self, gateway: usize, client: Ipv4Addr) -> Result<(), Stop> {
        let most = self.config.gateways[gateway].max_sessions_per_client;
        let sessions = self.sessions.client(gateway, client).sessions;
        if most.is_some_and(|most| sessions >= most) {
            return Err(self.exhausted(gateway, DropReason::ClientQuota));
        }
        Ok(())
    }

    fn exhausted(&self, gateway: usize, reason: DropReason) -> Stop {
        match self.config.gateways[gateway].on_exhaustion {
            OnExhaustion::AdminProhibited => Stop::unreachable(reason, 13),
            OnExhaustion::HostUnreachable => Stop::unreachable(reason, 1),
            OnExhaustion::Silent => Stop::drop(reason),
        }
    }

    /// A public port that no forward, binding or session has: the one that another
    /// NAT chose if it was allowed, else the first one that is.
    fn new_port(
        &mut self,
        now: Duration,
        gateway: usize,
        flow: &Flow,
        choice: &mut Choice<'_>,
    ) -> Result<SocketAddrV4, Stop> {
        let offers = self.offers(gateway, flow);
        let homes = self.homes(gateway, flow, offers.len());
        let home = homes.first().copied().unwrap_or(0);
        let mut from_home = offers[home..].iter().chain(&offers[..home]);
        let first = from_home.find_map(|offer| {
            let free = |port| self.is_free(now, gateway, flow, offer.at(port));
            Some(offer.at(first_free(&offer.ranks, free)?))
        });
        let Some(first) = first.filter(|_| !matches!(choice, Choice::NoPort)) else {
            return Err(self.exhausted(gateway, DropReason::PortExhausted));
        };
        let public = choice.public(flow).unwrap_or(first);
        self.settle(now, gateway, flow, &offers, public)
            .map_err(Stop::Complaint)?;
        Ok(public)
    }

    /// The public IPs for a new session of `flow`, each with its ports.
    fn offers(&self, gateway: usize, flow: &Flow) -> Vec<Offer> {
        let (client, settings) = (*flow.inside.ip(), &self.config.gateways[gateway]);
        let offer = |ip, pool: &[RangeInclusive<u16>]| Offer {
            ip,
            ranks: ranks(settings, pool, flow),
        };
        if let Some(clients) = settings.deterministic {
            let block = deterministic::block_of(settings, clients, client);
            return block.iter().map(|(ip, pool)| offer(*ip, pool)).collect();
        }
        // RFC 4787 REQ-2: a client stays on the public IP that it has.
        let paired = self.sessions.client(gateway, client).public_ip;
        let ips = settings.public_ips.iter();
        let ips = ips.filter(|ip| paired.is_none_or(|paired| paired == **ip));
        ips.map(|ip| offer(*ip, settings.ports_of(*ip))).collect()
    }

    /// Checks a choice of `public` among `offers`, and learns from it.
    ///
    /// A client's flows begin at one public IP, its home, which a hash of its own
    /// chooses; the next ones serve when nothing is free there. Where the home may
    /// be is remembered; a choice that no home explains was not allowed.
    fn settle(
        &mut self,
        now: Duration,
        gateway: usize,
        flow: &Flow,
        offers: &[Offer],
        public: SocketAddrV4,
    ) -> Result<(), String> {
        let Some(chosen) = offers.iter().position(|offer| offer.ip == *public.ip()) else {
            return Err(format!(
                "{} is not a public IP for {}",
                public.ip(),
                flow.inside
            ));
        };
        let is_free = |offer: &Offer, port| self.is_free(now, gateway, flow, offer.at(port));
        let offer = &offers[chosen];
        if let Some(objection) = objection(&offer.ranks, public, |port| is_free(offer, port)) {
            return Err(format!("{objection}, for {flow:?}"));
        }
        if offers.len() == 1 {
            return Ok(());
        }
        let is_exhausted =
            |offer: &Offer| first_free(&offer.ranks, |port| is_free(offer, port)).is_none();
        let mut homes = self.homes(gateway, flow, offers.len());
        let before = homes.clone();
        homes.retain(|&home| {
            let mut ip = home;
            while ip != chosen && is_exhausted(&offers[ip]) {
                ip = (ip + 1) % offers.len();
            }
            ip == chosen
        });
        if homes.is_empty() {
            let names: Vec<_> = before.iter().map(|&home| offers[home].ip).collect();
            return Err(format!(
                "{public} was chosen for {flow:?}, whose home is one of {names:?} and not exhausted"
            ));
        }
        self.homes.insert((gateway, *flow.inside.ip()), homes);
        Ok(())
    }

    /// Where a client's home may be, as an index of its offers: anywhere at first.
    fn homes(&self, gateway: usize, flow: &Flow, offers: usize) -> Vec<usize> {
        let known = self.homes.get(&(gateway, *flow.inside.ip()));
        let known = known.filter(|_| offers > 1);
        known.cloned().unwrap_or_else(|| (0..offers).collect())
    }

    /// Whether a new session of `flow` may get a port that is in the pool.
    fn is_free(&self, now: Duration, gateway: usize, flow: &Flow, public: SocketAddrV4) -> bool {
        let settings = &self.config.gateways[gateway];
        if settings.forward_of_public(flow.protocol, public).is_some() {
            return false;
        }
        if settings.is_rfc() {
            return self.sessions.inside_of(flow.protocol, public).is_none()
                && !self.is_resting(now, settings, (flow.protocol, public));
        }
        let outside = Outside {
            scope: Scope::Internet,
            protocol: flow.protocol,
            public,
            remote: flow.remote,
        };
        let holder = self.sessions.find_outside(&outside);
        holder.is_none_or(|holder| holder.is_expired(now, &self.config))
    }

    fn is_resting(&self, now: Duration, gateway: &NatGateway, port: (u8, SocketAddrV4)) -> bool {
        let since = self.resting.get(&port);
        since.is_some_and(|&since| !is_longer_ago(now, since, gateway.port_rest))
    }
}

/// A public IP with its ports.
struct Offer {
    ip: Ipv4Addr,
    ranks: Vec<Rank>,
}

impl Offer {
    fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, port)
    }
}
