//! A reference NAT, written to be read: what the dataplane must do to each packet.
//!
//! It shares no logic with `nat-common`. Packets come apart and together with
//! [`crate::packets`], every checksum of a translated packet is recomputed in
//! full, tables are plain hash maps. The rules are in `decide.rs`, in the order
//! in which they apply.
//!
//! - [`Model::handle`] is a NAT of its own: packet in, [`Output`] out.
//! - [`Model::check`] judges what another NAT did with the same packet. Where
//!   the choice of a port is free it takes over the other's, if it was allowed.
//! - [`random_traffic`] makes the packets.
//!
//! # Limitations
//! - One VPC, profile `aws`: address-and-port-dependent mapping and filtering.
//! - Time only dates the sessions. None expires by itself, because in the real
//!   dataplane an idle session may be there a little longer than its timeout;
//!   [`Model::forget_idle`] removes what is overdue when a test asks for it.
//! - 1:1 translation does not look into fragments of ICMP errors, nor into the
//!   deprecated source quench and redirect: what they quote keeps its addresses.
//!   Nor does it touch checksums of protocols other than TCP and UDP that cover
//!   the IP addresses (UDP-Lite, DCCP).
//! - An ICMP error with a wrong checksum is translated like any other packet that
//!   has one, and stays wrong.

mod check;
mod config;
mod decide;
mod drop_reason;
mod icmp_error;
mod random;
mod rewrite;
mod sessions;
mod traffic;
mod traffic_errors;
mod traffic_kinds;

use std::time::Duration;

pub use check::Actual;
pub use config::{Cidr, ElasticIp, ModelConfig, NatGateway, Route, Subnet, Target, Timeouts};
pub use drop_reason::DropReason;
pub use random::Random;
pub use sessions::{Flow, Session};
pub use traffic::{Traffic, random_traffic};

use decide::Plan;
use rewrite::{Change, End, rewrite, rewrite_error};
use sessions::Sessions;

#[cfg(test)]
mod icmp_error_corner_tests;
#[cfg(test)]
mod icmp_error_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic_tests;
#[cfg(test)]
mod verdict_tests;

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
    /// Goes out translated. The IP packet is final; the Ethernet addresses are
    /// still those it came in with.
    Forward {
        /// Where it leaves.
        egress: Side,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Is answered through the interface it came from, Ethernet header included.
    Reply(Vec<u8>),
}

/// The reference NAT.
#[derive(Clone, Debug)]
pub struct Model {
    config: ModelConfig,
    sessions: Sessions,
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
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What this NAT does with `frame`. A new session keeps its port when it
    /// can, else gets the first free one in the order of the gateway's public
    /// IPs and port ranges. `now` is any monotonic clock.
    pub fn handle(&mut self, now: Duration, ingress: Side, frame: &[u8]) -> Output {
        match self.plan(ingress, frame) {
            Plan::Open { gateway, flow } => {
                let Some(public) = self.choose(gateway, &flow) else {
                    return Output::Drop(DropReason::PortExhausted);
                };
                self.sessions.insert(Session {
                    flow,
                    public,
                    gateway,
                    opened: now,
                    last_used: now,
                });
                self.send_out(now, flow, frame)
            }
            plan => self.carry_out(now, plan, frame),
        }
    }

    /// All sessions, ordered by flow.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.sessions.sorted()
    }

    /// Forgets the sessions idle for longer than their protocol's timeout.
    pub fn forget_idle(&mut self, now: Duration) {
        let timeouts = self.config.timeouts;
        self.sessions.retain(|session| {
            now.saturating_sub(session.last_used) <= timeouts.of(session.flow.protocol)
        });
    }

    /// Does what `plan` says; a plan to open a session has been dealt with.
    fn carry_out(&mut self, now: Duration, plan: Plan, frame: &[u8]) -> Output {
        match plan {
            Plan::Pass => Output::Pass,
            Plan::Drop(reason) => Output::Drop(reason),
            Plan::Reply(frame) => Output::Reply(frame),
            Plan::OneToOne { change, egress } => Output::Forward {
                egress,
                frame: rewrite(frame, change),
            },
            Plan::Error { change, egress } => Output::Forward {
                egress,
                frame: rewrite_error(frame, change),
            },
            Plan::Out(flow) | Plan::Open { flow, .. } => self.send_out(now, flow, frame),
            Plan::In(flow) => {
                self.sessions.touch(&flow, now);
                let change = Change {
                    end: End::Destination,
                    address: *flow.inside.ip(),
                    port: Some(flow.inside.port()),
                };
                let egress = self.config.side_of(*flow.inside.ip());
                Output::Forward {
                    egress,
                    frame: rewrite(frame, change),
                }
            }
        }
    }

    /// Translates a packet of `flow`, which has a session, to the outside.
    fn send_out(&mut self, now: Duration, flow: Flow, frame: &[u8]) -> Output {
        self.sessions.touch(&flow, now);
        let Some(session) = self.sessions.find(&flow) else {
            return Output::Drop(DropReason::NoSession);
        };
        let change = Change {
            end: End::Source,
            address: *session.public.ip(),
            port: Some(session.public.port()),
        };
        Output::Forward {
            egress: Side::Uplink,
            frame: rewrite(frame, change),
        }
    }
}
