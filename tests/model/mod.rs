//! A reference NAT, written to be read: what the dataplane must do to each packet.
//!
//! It shares no logic with `nat-common`. Packets come apart and together with
//! [`crate::packets`], every checksum of a translated packet is recomputed in
//! full, tables are plain hash maps.
//!
//! - The rules are in `decide.rs` (from inside) and `inbound.rs` (to public IPs), in
//!   the order in which they apply; `sender.rs` says who sent a packet, `policy.rs` what
//!   routes, ACLs and groups say about it, `rules.rs` what rules fit, `tracking.rs` which
//!   flows are known without being translated.
//! - `claim.rs` and `ports.rs` say which public ends new sessions may get,
//!   `tcp_state.rs` when sessions end, `fragments.rs` what fragments share, `cut.rs` how
//!   there come to be more of them, `made.rs` what senders of dropped packets are told.
//! - [`Model::handle`] is a NAT of its own: packet in, [`Output`] out.
//! - [`Model::check`] judges what another NAT did with the same packet. Where
//!   a choice is free it takes over the other's, if it was allowed.
//! - [`random_traffic`] makes packets, lets time pass and changes the policy,
//!   [`random_config`] makes gateways, [`random_vpcs`] makes VPCs; [`shrink`] finds the few steps that matter to a failure.
//!
//! # Limitations
//! - 1:1 translation does not look into fragments of ICMP errors, nor into the
//!   deprecated source quench and redirect: what they quote keeps its addresses.
//!   Nor does it touch checksums of protocols other than TCP and UDP that cover
//!   the IP addresses (UDP-Lite, DCCP).
//! - Tables never fill up, and no limit of ICMP errors per second is reached.

mod apply;
mod check;
mod cidr;
mod claim;
mod clock;
mod config;
mod cut;
mod decide;
mod deterministic;
mod drop_reason;
mod fragments;
mod gateway;
mod icmp_error;
mod inbound;
mod made;
mod policy;
mod ports;
mod problems;
mod process;
mod random;
mod random_config;
mod random_rules;
mod random_vpcs;
mod rewrite;
mod rules;
mod sender;
mod sessions;
mod steps;
mod tcp_state;
mod through_gateway;
mod toml;
mod toml_vpc;
mod tracking;
mod traffic;
mod traffic_errors;
mod traffic_fragments;
mod traffic_hairpins;
mod traffic_inside;
mod traffic_kinds;
mod vpc;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub use check::Actual;
pub use cidr::Cidr;
pub use config::ModelConfig;
pub use drop_reason::DropReason;
pub use gateway::{Filtering, Forward, NatGateway, NoTranslate, OnExhaustion, Profile, Timeouts};
pub use random::Random;
pub use random_config::random_config;
pub use random_vpcs::random_vpcs;
pub use rules::{AclRule, GroupRule, NetworkAcl, Packets, Peer, SecurityGroup};
pub use sessions::{Direction, Flow, Mapping, Session, Via};
pub use steps::{Step, shrink};
pub use tcp_state::{Half, TcpState};
pub use traffic::{Traffic, random_traffic};
pub use vpc::{Destination, Instance, Route, Subnet, Target, Vpc};

use crate::packets::{ETHERNET_LEN, be16};

use check::Choice;
use fragments::Fragments;
use rewrite::{Change, End};
use sessions::{PublicPort, Sessions};

#[cfg(test)]
mod acl_tests;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod filtering_tests;
#[cfg(test)]
mod fragment_tests;
#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod hairpin_tests;
#[cfg(test)]
mod icmp_error_corner_tests;
#[cfg(test)]
mod icmp_error_tests;
#[cfg(test)]
mod made_tests;
#[cfg(test)]
mod mapping_tests;
#[cfg(test)]
mod steps_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
#[cfg(test)]
mod tracking_tests;
#[cfg(test)]
mod traffic_tests;
#[cfg(test)]
mod verdict_tests;
#[cfg(test)]
mod vpc_tests;
#[cfg(test)]
mod vpc_traffic_tests;

/// Where a packet comes in or goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The subnet interface with this number, see [`Subnet::interface`].
    Inside(u32),
    /// The interface towards the internet.
    Uplink,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Goes unchanged to the host's own stack.
    Pass,
    /// Is dropped.
    Drop(DropReason),
    /// Is dropped, and its sender is told.
    Refuse {
        /// Why.
        reason: DropReason,
        /// A TCP reset or an ICMP error, through the interface the packet came from,
        /// Ethernet header included.
        reply: Vec<u8>,
    },
    /// Goes on, translated or not. The IP packet is final; the Ethernet addresses are
    /// still those it came in with.
    Forward {
        /// Where it leaves.
        egress: Side,
        /// Whom it is given to; `None` outside.
        next_hop: Option<Ipv4Addr>,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Is answered through the interface it came from, Ethernet header included.
    Reply(Vec<u8>),
    /// Is too big for its next hop, and cut: what becomes of its fragments.
    Cut(Vec<Output>),
    /// Is a later fragment, and waits for the first one of its datagram.
    Hold,
    /// What becomes of a first fragment, and then of those that waited for it, in
    /// the order in which they came. What is cut comes behind all others.
    Release(Vec<Output>),
}

impl Output {
    /// The packet that was sent on, as it came in and as it went out. Of fragments that
    /// are released or cut it is the first one: nobody can reply to the others.
    #[must_use]
    pub fn sent<'a>(&'a self, frame_in: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        match self {
            Self::Forward { frame, .. } => Some((frame_in, frame)),
            Self::Release(outputs) | Self::Cut(outputs) => {
                let mut sent = outputs.iter().filter_map(|output| output.sent(frame_in));
                sent.find(|(_, out)| has_ports(out))
            }
            _ => None,
        }
    }
}

/// Whether an IP packet is not a later fragment.
fn has_ports(frame: &[u8]) -> bool {
    be16(frame, ETHERNET_LEN + 6) & 0x1fff == 0
}

/// The reference NAT.
#[derive(Clone, Debug)]
pub struct Model {
    config: ModelConfig,
    sessions: Sessions,
    fragments: Fragments,
    /// Public ports of ended bindings, and the tick at which they ended.
    resting: HashMap<PublicPort, u64>,
    /// By gateway and client: indices of the public IPs that may be its first choice.
    homes: HashMap<(usize, Ipv4Addr), Vec<usize>>,
}

impl Model {
    /// A NAT without sessions.
    ///
    /// # Panics
    /// When `config` contradicts itself, see [`ModelConfig::problems`].
    #[must_use]
    #[track_caller]
    pub fn new(config: ModelConfig) -> Self {
        let problems = config.problems();
        assert!(problems.is_empty(), "bad model configuration: {problems:?}");
        Self {
            config,
            sessions: Sessions::default(),
            fragments: Fragments::default(),
            resting: HashMap::new(),
            homes: HashMap::new(),
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What this NAT does with `frame`. Where it may choose, it takes the first that
    /// is allowed, in the order of the gateway's public IPs and port ranges. `now`
    /// is any monotonic clock, of which ticks of 2^27 ns count.
    pub fn handle(&mut self, now: Duration, ingress: Side, frame: &[u8]) -> Output {
        self.decide(now, ingress, frame, Choice::Own)
    }

    /// [`Self::handle`] when there is no port.
    pub fn handle_without_port(&mut self, now: Duration, ingress: Side, frame: &[u8]) -> Output {
        self.decide(now, ingress, frame, Choice::NoPort)
    }

    /// By its own choices, which are allowed.
    fn decide(
        &mut self,
        now: Duration,
        ingress: Side,
        frame: &[u8],
        mut choice: Choice<'_>,
    ) -> Output {
        match self.process(now, ingress, frame, &mut choice) {
            Ok(output) => output,
            Err(complaint) => unreachable!("chose what is not allowed: {complaint}"),
        }
    }

    /// All sessions, ordered by flow, expired ones included.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let mut sessions: Vec<_> = self.sessions.iter().copied().collect();
        sessions.sort_by_key(|session| session.flow);
        sessions
    }

    /// What a flow is translated to.
    #[must_use]
    pub fn mapping(&self, flow: &Flow) -> Option<SocketAddrV4> {
        Some(self.sessions.find(flow)?.public)
    }

    /// Forgets the sessions idle for longer than their timeout, as a sweep does.
    pub fn forget_idle(&mut self, now: Duration) {
        self.forget_idle_where(now, now, |_| true);
    }

    /// As [`Self::forget_idle`], of those that were idle at `then` and for which `is_gone`.
    pub fn forget_idle_where(
        &mut self,
        then: Duration,
        now: Duration,
        mut is_gone: impl FnMut(&Flow) -> bool,
    ) {
        let sessions = self.sessions.iter();
        let idle = sessions.filter(|session| session.is_idle(then, &self.config));
        let idle: Vec<_> = idle.map(|session| session.flow).collect();
        for flow in idle {
            if is_gone(&flow) {
                self.remove(now, &flow);
            }
        }
        self.fragments.forget(then);
    }
}
