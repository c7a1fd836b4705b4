//! Another configuration for a NAT that has sessions.

use std::time::Duration;

use super::{Mapping, Model, ModelConfig, Session, Via};

impl Model {
    /// Goes on with another configuration, in which numbers of VPCs, subnets, NAT
    /// gateways and instances mean the same as before. Sessions stay, but for those
    /// whose public IP or port is not theirs any more.
    ///
    /// # Panics
    /// When `config` contradicts itself, see [`ModelConfig::problems`].
    #[track_caller]
    pub fn apply(&mut self, now: Duration, config: ModelConfig) {
        let problems = config.problems();
        assert!(problems.is_empty(), "bad model configuration: {problems:?}");
        let sessions = self.sessions.iter();
        let misfits = sessions.filter(|session| !fits(&config, session));
        let misfits: Vec<_> = misfits.map(|session| session.flow).collect();
        for flow in misfits {
            self.remove(now, &flow);
        }
        // Homes are places in the list of a gateway's public IPs.
        self.homes.retain(|(gateway, _), _| {
            let [before, after] = [&self.config, &config].map(|config| {
                config
                    .gateways
                    .get(*gateway)
                    .map(|gateway| &gateway.public_ips)
            });
            before == after
        });
        self.fragments.change();
        self.config = config;
    }
}

/// Whether nobody else has the public end of a session. One of a forward that is gone goes on.
fn fits(config: &ModelConfig, session: &Session) -> bool {
    let flow = &session.flow;
    let (protocol, public) = (flow.protocol, session.public);
    match session.via {
        Via::Local | Via::Instance(_) => true,
        Via::InternetGateway => config.public_of(flow.vpc, *flow.inside.ip()) == Some(*public.ip()),
        Via::NatGateway(number) => config.gateways.get(number).is_some_and(|gateway| {
            let forwarded = gateway.forward_of_public(protocol, public);
            let forward = gateway.forward_to_inside(protocol, flow.inside);
            gateway.public_ips.contains(public.ip())
                && forwarded.is_none_or(|inside| inside == flow.inside)
                && (session.mapping != Mapping::Binding
                    || forward.is_none_or(|forward| forward == public))
        }),
    }
}
