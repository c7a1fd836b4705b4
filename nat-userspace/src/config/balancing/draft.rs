//! Load balancers and target groups while they are being checked.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::health::{HealthCheck, HealthCheckDraft};
use super::types::{DEFAULT_DEREGISTRATION_DELAY, Listener, LoadBalancer, TargetGroup};
use crate::config::gateways::types::Protocol;
use crate::config::place::{List, Place, Read};

#[derive(Clone)]
pub struct LoadBalancerDraft {
    pub place: Place,
    pub name: Read<String>,
    pub subnet: Read<String>,
    pub private_ip: Read<Ipv4Addr>,
    pub listeners: Vec<ListenerDraft>,
    /// False when a listener could not be read.
    pub complete: bool,
}

#[derive(Clone)]
pub struct ListenerDraft {
    pub place: Place,
    pub protocol: Read<Protocol>,
    pub port: Read<u16>,
    pub target_group: Read<String>,
}

#[derive(Clone)]
pub struct TargetGroupDraft {
    pub place: Place,
    pub name: Read<String>,
    pub protocol: Read<Protocol>,
    pub port: Read<u16>,
    pub targets: List<String>,
    pub health_check: Option<HealthCheckDraft>,
    pub proxy_protocol_v2: Read<bool>,
    pub deregistration_delay: Read<Duration>,
}

impl LoadBalancerDraft {
    pub fn build(self) -> Option<LoadBalancer> {
        Some(LoadBalancer {
            name: self.name.required()?,
            subnet: self.subnet.required()?,
            private_ip: self.private_ip.required()?,
            listeners: self
                .listeners
                .into_iter()
                .map(ListenerDraft::build)
                .collect::<Option<_>>()
                .filter(|_| self.complete)?,
        })
    }
}

impl ListenerDraft {
    fn build(self) -> Option<Listener> {
        Some(Listener {
            protocol: self.protocol.required()?,
            port: self.port.required()?,
            target_group: self.target_group.required()?,
        })
    }
}

impl TargetGroupDraft {
    pub fn build(self) -> Option<TargetGroup> {
        Some(TargetGroup {
            name: self.name.required()?,
            protocol: self.protocol.required()?,
            port: self.port.required()?,
            targets: self.targets.all()?,
            health_check: match self.health_check {
                Some(check) => check.build()?,
                None => HealthCheck::default(),
            },
            proxy_protocol_v2: self.proxy_protocol_v2.or(false)?,
            deregistration_delay: self.deregistration_delay.or(DEFAULT_DEREGISTRATION_DELAY)?,
        })
    }
}
