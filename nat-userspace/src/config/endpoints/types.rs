//! Endpoints and endpoint services as plain data.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Endpoints of a VPC.
pub const MAX_ENDPOINTS: usize = 256;
/// Interfaces that the interface endpoints of all VPCs have together.
pub const MAX_ENDPOINT_INTERFACES: usize = 1000;

/// A way from a VPC to a service, without the internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Unique among the VPC's endpoints.
    pub name: String,
    /// How hosts come to it.
    pub kind: EndpointKind,
}

impl Endpoint {
    /// What it is, if it has addresses of its own.
    pub const fn interface(&self) -> Option<&InterfaceEndpoint> {
        match &self.kind {
            EndpointKind::Interface(interface) => Some(interface),
            EndpointKind::Gateway(_) => None,
        }
    }
}

/// What an interface endpoint is called anyway, in a VPC with this domain.
pub fn endpoint_dns_name(endpoint: &str, domain: &str) -> String {
    format!("{endpoint}.endpoint.{domain}").to_ascii_lowercase()
}

/// How hosts come to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointKind {
    /// By routes.
    Gateway(GatewayEndpoint),
    /// By its own addresses.
    Interface(InterfaceEndpoint),
}

/// Routes of prefix lists lead to it; what passes keeps its source address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEndpoint {
    /// Names of the prefix lists that it serves, in the same VPC; at least one, none twice.
    pub prefix_lists: Vec<String>,
    /// What may pass; empty: everything. What a statement denies is denied, and so is what none allows.
    pub policy: Vec<EndpointStatement>,
}

/// Some hosts and some destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatement {
    /// Whether they are allowed or denied.
    pub allow: bool,
    /// Names of instances of the VPC, none twice; empty: every host of the VPC.
    pub instances: Vec<String>,
    /// None twice; empty: every destination.
    pub destinations: Vec<Ipv4Net>,
}

/// Addresses in subnets that stand for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceEndpoint {
    /// What its addresses stand for.
    pub front: Front,
    /// At least one; at most one in a subnet.
    pub interfaces: Vec<EndpointInterface>,
    /// Names of its security groups, at most 16; empty: it is not filtered.
    pub security_groups: Vec<String>,
    /// Names that hosts of the VPC get its addresses for, in lower case, unique in the VPC.
    pub private_dns: Vec<String>,
}

/// What an interface endpoint stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Front {
    /// An endpoint service of another VPC, which allows this one.
    Service {
        /// The name of that VPC.
        vpc: String,
        /// The name of the service.
        service: String,
    },
    /// An address outside the VPC.
    Address {
        /// Where its packets go.
        address: Ipv4Addr,
        /// The NAT gateway of the VPC that translates their source; `None`: it is kept.
        nat_gateway: Option<String>,
    },
}

/// An endpoint's address in a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointInterface {
    /// Name of the subnet.
    pub subnet: String,
    /// Its address there.
    pub private_ip: Ipv4Addr,
}

/// A load balancer that other VPCs reach by their endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointService {
    /// Unique among the VPC's endpoint services.
    pub name: String,
    /// Name of the load balancer, in the same VPC.
    pub load_balancer: String,
    /// Whether an endpoint waits until it is accepted.
    pub acceptance_required: bool,
    /// The names of the VPCs that may have endpoints for it; `None`: every one of the node.
    pub allowed_vpcs: Option<Vec<String>>,
    /// Endpoints that are accepted, each as `VPC/ENDPOINT`, whether they are there or not.
    pub accepted: Vec<String>,
    /// Endpoints that are rejected, likewise; none is in both.
    pub rejected: Vec<String>,
}

/// What an operator has decided about an endpoint of another VPC. It holds above the lists of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAcceptance {
    /// Unique among the VPC's.
    pub name: String,
    /// Name of the endpoint service, in the same VPC.
    pub service: String,
    /// The endpoint as `VPC/ENDPOINT`, whether it is there or not; none has two for one service.
    pub endpoint: String,
    /// Otherwise it is rejected.
    pub accepted: bool,
}

impl EndpointService {
    /// How an endpoint of a VPC stands with it, by its own lists.
    pub fn state_of(&self, vpc: &str, endpoint: &str) -> EndpointState {
        let is_it = |name: &String| {
            let parts = name.split_once('/');
            parts == Some((vpc, endpoint))
        };
        if self.rejected.iter().any(is_it) {
            EndpointState::Rejected
        } else if !self.acceptance_required || self.accepted.iter().any(is_it) {
            EndpointState::Available
        } else {
            EndpointState::PendingAcceptance
        }
    }

    /// A VPC may have endpoints for it.
    pub fn allows(&self, vpc: &str) -> bool {
        let allowed = self.allowed_vpcs.as_ref();
        allowed.is_none_or(|allowed| allowed.iter().any(|name| name == vpc))
    }
}

/// How an interface endpoint stands with its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointState {
    /// Nobody has decided.
    PendingAcceptance,
    /// It works.
    Available,
    /// It does not.
    Rejected,
}

impl EndpointState {
    /// As AWS calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingAcceptance => "pendingAcceptance",
            Self::Available => "available",
            Self::Rejected => "rejected",
        }
    }
}
