//! Load balancers and target groups as plain data.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::health::HealthCheck;
use crate::config::gateways::types::Protocol;

/// Instances of a target group.
pub const MAX_TARGETS: usize = 64;
/// Listeners of a load balancer.
pub const MAX_LISTENERS: usize = 16;
/// `deregistration_delay` when the file gives none, as on AWS.
pub const DEFAULT_DEREGISTRATION_DELAY: Duration = Duration::from_secs(300);

/// One address for many instances, for TCP and UDP: AWS's Network Load Balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Unique among the VPC's load balancers.
    pub name: String,
    /// Name of the subnet it lives in.
    pub subnet: String,
    /// Its address in that subnet.
    pub private_ip: Ipv4Addr,
    /// What it listens for, at most [`MAX_LISTENERS`]; none has the protocol and port of another.
    pub listeners: Vec<Listener>,
}

/// What comes to a port of a load balancer goes to one of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP, that of its target group.
    pub protocol: Protocol,
    /// Not zero.
    pub port: u16,
    /// Name of the group, in the same VPC.
    pub target_group: String,
}

/// Instances that do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// Unique among the VPC's target groups.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where its targets listen; not zero.
    pub port: u16,
    /// Names of instances of the VPC, at most [`MAX_TARGETS`], none twice.
    pub targets: Vec<String>,
    /// How it is found out which of them are there.
    pub health_check: HealthCheck,
    /// Whether the targets are told who connects, before the first byte of a connection; only with TCP.
    pub proxy_protocol_v2: bool,
    /// How long connections to a target that is taken out may go on; whole seconds, 0 to 3600.
    pub deregistration_delay: Duration,
}

impl TargetGroup {
    /// Where its targets are checked.
    pub fn health_port(&self) -> u16 {
        self.health_check.port.unwrap_or(self.port)
    }
}
