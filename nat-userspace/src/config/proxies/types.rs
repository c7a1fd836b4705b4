//! Proxies as plain data.

use crate::config::balancing::health::HealthCheck;

/// Ports of a proxy.
pub const MAX_PROXY_PORTS: usize = 16;
/// `ports` when the file gives none.
pub const DEFAULT_PROXY_PORTS: [u16; 2] = [80, 443];

/// TCP connections that leave the VPC go to an instance first, which sees their addresses as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Unique among the VPC's proxies.
    pub name: String,
    /// Name of the instance, which does not check source and destination.
    pub instance: String,
    /// Destination ports of TCP, 1 to [`MAX_PROXY_PORTS`], none twice and none zero.
    pub ports: Vec<u16>,
    /// Names of the subnets whose hosts are concerned; empty: all of the VPC.
    pub subnets: Vec<String>,
    /// While the instance is unhealthy, connections pass it by, rather than being dropped.
    pub fail_open: bool,
    /// How it is found out whether the instance is there; `None`: by the default check.
    pub health_check: Option<HealthCheck>,
}

impl Proxy {
    /// How the instance is checked, with the port: the first one of the proxy if the file gives none.
    pub fn check(&self) -> HealthCheck {
        let check = self.health_check.clone().unwrap_or_default();
        HealthCheck {
            port: check.port.or_else(|| self.ports.first().copied()),
            ..check
        }
    }
}
