//! The configuration as plain data. [`super::parse`] is what makes a checked one.

use std::net::Ipv4Addr;
use std::time::Duration;

pub use ipnet::Ipv4Net;

/// `node.name` when the file gives none.
pub const DEFAULT_NODE_NAME: &str = "nat";
/// `node.max_sessions` when the file gives none.
pub const DEFAULT_MAX_SESSIONS: u32 = 262_144;

/// Everything one dataplane serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The machine: uplinks, hook, table sizes.
    pub node: Node,
    /// The virtual networks; at least one, with CIDRs that do not overlap.
    pub vpcs: Vec<Vpc>,
}

/// The machine the dataplane runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name of this node in logs and metrics.
    pub name: String,
    /// Interfaces towards the internet; at least one.
    pub uplinks: Vec<String>,
    /// The hook the programs are attached to.
    pub attach: Attach,
    /// Sessions the preallocated table holds.
    pub max_sessions: u32,
}

/// Where the programs are attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attach {
    /// XDP where the driver has it, TC elsewhere.
    #[default]
    Auto,
    /// XDP in the driver.
    Xdp,
    /// XDP in the kernel's generic path.
    XdpGeneric,
    /// TCX, or clsact on kernels before 6.6.
    Tc,
}

impl Attach {
    /// The value in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
        }
    }
}

/// One virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Unique among the VPCs.
    pub name: String,
    /// Its address blocks, /8 to /28; `local` routes for them are implicit.
    pub cidrs: Vec<Ipv4Net>,
    /// Whether an internet gateway is attached.
    pub internet_gateway: bool,
    /// Whether hosts not listed as instances are dropped.
    pub strict: bool,
    /// Its subnets; none overlap.
    pub subnets: Vec<Subnet>,
    /// The route tables the file defines; at most one is the main one.
    pub route_tables: Vec<RouteTable>,
    /// Its NAT gateways.
    pub nat_gateways: Vec<NatGateway>,
    /// Hosts with an identity of their own, such as a public address.
    pub instances: Vec<Instance>,
}

impl Vpc {
    /// The table that routes `subnet`: its own, else the main one. `None` is the implicit main
    /// table, which has only the `local` routes.
    pub fn route_table_of(&self, subnet: &Subnet) -> Option<&RouteTable> {
        match &subnet.route_table {
            Some(name) => self.route_tables.iter().find(|table| table.name == *name),
            None => self.route_tables.iter().find(|table| table.main),
        }
    }
}

/// A part of a VPC behind one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Unique among the VPC's subnets.
    pub name: String,
    /// Inside one of the VPC's CIDRs, /30 or shorter.
    pub cidr: Ipv4Net,
    /// Availability zone.
    pub zone: Option<String>,
    /// The interface its hosts are reached through.
    pub interface: String,
    /// Name of its route table; `None` is the main table.
    pub route_table: Option<String>,
}

/// Routes shared by the subnets that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Unique among the VPC's route tables.
    pub name: String,
    /// Whether it serves subnets that name no table.
    pub main: bool,
    /// The routes written in the file; `local` is implicit.
    pub routes: Vec<Route>,
}

/// One route; the longest matching destination wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Unique in its table.
    pub destination: Ipv4Net,
    /// Where matching packets go.
    pub target: Target,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Inside the VPC.
    Local,
    /// 1:1 by the host's public address.
    InternetGateway,
    /// The NAT gateway of this name, in the same VPC.
    NatGateway(String),
    /// Dropped.
    Blackhole,
}

/// A NAT gateway: many hosts behind few addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatGateway {
    /// Unique among the VPC's NAT gateways.
    pub name: String,
    /// Name of the subnet it lives in; its route table carries the translated packets.
    pub subnet: String,
    /// Its address in that subnet.
    pub private_ip: Ipv4Addr,
    /// Addresses it translates to, at most 8; empty for a private gateway, which translates to
    /// `private_ip`.
    pub public_ips: Vec<Ipv4Addr>,
    /// Source ports it hands out, 1 to 4 ranges that do not overlap.
    pub ports: Vec<PortRange>,
    /// Whose translation rules it follows.
    pub profile: Profile,
    /// When idle sessions end.
    pub timeouts: Timeouts,
    /// Whether the host itself uses the same addresses; unmatched packets are then the host's.
    pub shared_with_host: bool,
}

/// Ports `first..=last`; `1 <= first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port, included.
    pub last: u16,
}

impl Default for PortRange {
    /// 1024-65535, as AWS's NAT gateway uses.
    fn default() -> Self {
        Self {
            first: 1024,
            last: 65535,
        }
    }
}

/// Rules of translation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// As AWS's NAT gateway: the port is kept when free, ports are overloaded per destination.
    #[default]
    Aws,
}

/// How long a session may be idle, per protocol and state; whole seconds, 1 to 432,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP after its handshake (key `tcp`).
    pub tcp_established: Duration,
    /// TCP while opening or closing.
    pub tcp_transitory: Duration,
    /// UDP.
    pub udp: Duration,
    /// ICMP echo.
    pub icmp: Duration,
}

impl Default for Timeouts {
    /// 350 s for TCP and UDP as AWS's NAT gateway; 240 s for opening and closing TCP (RFC 5382
    /// REQ-5) and 60 s for ICMP (RFC 5508 REQ-2), the least those RFCs allow.
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_secs(350),
            tcp_transitory: Duration::from_secs(240),
            udp: Duration::from_secs(350),
            icmp: Duration::from_secs(60),
        }
    }
}

/// A host listed by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Unique among the VPC's instances.
    pub name: String,
    /// Name of its subnet.
    pub subnet: String,
    /// Its address in that subnet.
    pub private_ip: Ipv4Addr,
    /// The address the internet gateway maps to it, 1:1.
    pub public_ip: Option<Ipv4Addr>,
}
