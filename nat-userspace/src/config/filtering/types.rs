//! Security groups, network ACLs and prefix lists as plain data.

use ipnet::Ipv4Net;
use nat_common::flow::protocol;

use crate::config::gateways::types::PortRange;

/// CIDRs that routes and rules name together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixList {
    /// Unique among the VPC's prefix lists.
    pub name: String,
    /// 1 to 1,000, none twice.
    pub entries: Vec<Ipv4Net>,
}

/// What may come to an instance and go from it. Stateful: answers pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Unique among the VPC's security groups.
    pub name: String,
    /// What may come in; empty: nothing.
    pub ingress: Vec<GroupRule>,
    /// What may go out; empty: nothing.
    pub egress: Vec<GroupRule>,
}

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRule {
    /// Of these packets.
    pub protocol: RuleProtocol,
    /// To these ports.
    pub ports: Ports,
    /// From these sources (ingress) or to these destinations (egress).
    pub remote: Remote,
}

impl GroupRule {
    /// Everything, from or to everybody.
    pub fn everything() -> Self {
        Self {
            protocol: RuleProtocol::All,
            ports: Ports::All,
            remote: Remote::Cidr(Ipv4Net::default()),
        }
    }
}

/// The other side of what a security group allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remote {
    /// Addresses.
    Cidr(Ipv4Net),
    /// The addresses of the prefix list of this name, in the same VPC.
    PrefixList(String),
    /// The instances that are in the security group of this name, in the same VPC.
    Group(String),
}

/// What may cross the border of a subnet. Stateless: each direction is judged by its own packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAcl {
    /// Unique among the VPC's ACLs.
    pub name: String,
    /// What comes into the subnet, in the order of the rule numbers; what no rule matches is denied.
    pub ingress: Vec<AclRule>,
    /// What leaves the subnet, likewise.
    pub egress: Vec<AclRule>,
}

/// The name of the ACL of the subnets that name none.
pub const DEFAULT_ACL: &str = "default";

/// One rule of an ACL; the first that matches decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclRule {
    /// 1 to 32766, unique in its direction.
    pub number: u16,
    /// Whether what it matches passes.
    pub allow: bool,
    /// Of these packets.
    pub protocol: RuleProtocol,
    /// To these ports.
    pub ports: Ports,
    /// From these sources (ingress) or to these destinations (egress).
    pub remote: Ipv4Net,
}

/// The protocols of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleProtocol {
    /// Any.
    All,
    /// The one of this IP protocol number.
    Number(u8),
}

impl RuleProtocol {
    /// Whether ports can be told apart.
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::Number(protocol::TCP | protocol::UDP))
    }

    /// Whether it has ICMP types.
    pub const fn is_icmp(self) -> bool {
        matches!(self, Self::Number(protocol::ICMP))
    }
}

/// The destination ports of a rule, or what ICMP has instead of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ports {
    /// All, and what has no port.
    All,
    /// These; only with TCP and UDP.
    Range(PortRange),
    /// This type of ICMP; only with ICMP.
    Icmp {
        /// The type.
        icmp_type: u8,
        /// The code; `None`: all of them.
        code: Option<u8>,
    },
}
