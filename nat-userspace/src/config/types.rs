//! The configuration as plain data. [`super::parse`] is what makes a checked one.

use std::fmt;
use std::net::Ipv4Addr;

pub use ipnet::Ipv4Net;
use rustc_hash::{FxHashMap, FxHashSet};

pub use super::balancing::health::{HealthCheck, HealthCheckKind};
pub use super::balancing::types::{
    DEFAULT_DEREGISTRATION_DELAY, Listener, LoadBalancer, MAX_LISTENERS, MAX_TARGETS, TargetGroup,
};
pub use super::dns::{DEFAULT_PRIVATE_DOMAIN, MAX_DNS_FORWARDERS};
pub use super::endpoints::types::{
    Endpoint, EndpointAcceptance, EndpointInterface, EndpointKind, EndpointService, EndpointState,
    EndpointStatement, Front, GatewayEndpoint, InterfaceEndpoint, MAX_ENDPOINT_INTERFACES,
    MAX_ENDPOINTS, endpoint_dns_name,
};
pub use super::filtering::types::{
    AclRule, DEFAULT_ACL, GroupRule, NetworkAcl, Ports, PrefixList, Remote, RuleProtocol,
    SecurityGroup,
};
pub use super::gateways::types::{
    AddressPorts, Filtering, Forward, NatGateway, NoTranslate, OnExhaustion, PassRule, PortRange,
    Profile, Protocol, Timeouts,
};
pub use super::metadata::types::{
    DEFAULT_HOP_LIMIT, DEFAULT_INSTANCE_TYPE, DEFAULT_REGION, InstanceMetadata, MAX_HOP_LIMIT,
    MAX_TAGS, MetadataAccess, derived_hostname,
};
pub use super::placement::types::{
    Host, InstancePlacement, MAX_PARTITIONS, PlacementGroup, Rack, SpreadLevel, Strategy,
};
pub use super::proxies::types::{DEFAULT_PROXY_PORTS, MAX_PROXY_PORTS, Proxy};

/// `node.name` when the file gives none.
pub const DEFAULT_NODE_NAME: &str = "nat";
/// `node.max_sessions` when the file gives none.
pub const DEFAULT_MAX_SESSIONS: u32 = 262_144;
/// `node.icmp_errors_per_second` when the file gives none.
pub const DEFAULT_ICMP_ERRORS_PER_SECOND: u32 = 100;

/// Everything one dataplane serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The machine: uplinks, hook, table sizes.
    pub node: Node,
    /// The virtual networks; at least one. CIDRs of two may overlap, their interfaces and public
    /// addresses are their own.
    pub vpcs: Vec<Vpc>,
}

impl Config {
    /// Every interface it names, the uplinks first; one with two roles is named twice.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let subnets = self.vpcs.iter().flat_map(|vpc| &vpc.subnets);
        let inside = subnets.map(|subnet| subnet.interface.as_str());
        self.node.uplinks.iter().map(String::as_str).chain(inside)
    }

    /// Somebody's health is checked.
    pub fn is_checked(&self) -> bool {
        let mut vpcs = self.vpcs.iter();
        vpcs.any(|vpc| !vpc.target_groups.is_empty() || !vpc.proxies.is_empty())
    }

    /// The endpoint service of this name, of the VPC of that name.
    pub fn endpoint_service(&self, vpc: &str, name: &str) -> Option<&EndpointService> {
        let vpc = self.vpcs.iter().find(|one| one.name == vpc)?;
        vpc.endpoint_services.iter().find(|one| one.name == name)
    }

    /// How an interface endpoint of a VPC stands; one that is for an address is available.
    pub fn endpoint_state(&self, vpc: &Vpc, endpoint: &Endpoint) -> Option<EndpointState> {
        match &endpoint.interface()?.front {
            Front::Address { .. } => Some(EndpointState::Available),
            Front::Service {
                vpc: provider,
                service,
            } => {
                let provider = self.vpcs.iter().find(|one| one.name == *provider)?;
                provider.state_of(service, &vpc.name, &endpoint.name)
            }
        }
    }
}

/// The machine the dataplane runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name of this node in logs and metrics.
    pub name: String,
    /// The region that instances are told they are in.
    pub region: String,
    /// Interfaces towards the internet; at least one.
    pub uplinks: Vec<String>,
    /// The hook the programs are attached to.
    pub attach: Attach,
    /// Sessions the preallocated table holds.
    pub max_sessions: u32,
    /// ICMP errors it makes itself, per CPU and second, at most.
    pub icmp_errors_per_second: u32,
    /// Whether the log names the remote ends that hosts inside write to.
    pub log_destinations: bool,
    /// Whether instances are told about themselves.
    pub metadata: bool,
    /// Whom the VPCs' resolver asks about names that are not its own, on port 53, the first one first; `None`:
    /// the name servers of the host.
    pub dns_forwarders: Option<Vec<Ipv4Addr>>,
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
    /// Its address blocks, /8 to /28, apart from each other; `local` routes for them are implicit.
    pub cidrs: Vec<Ipv4Net>,
    /// Whether an internet gateway is attached.
    pub internet_gateway: bool,
    /// Whether hosts not listed as instances are dropped.
    pub strict: bool,
    /// Whether the node's resolver answers its hosts.
    pub dns: bool,
    /// What the names of its instances are below: in lower case, without a dot at its end.
    pub private_domain: String,
    /// Its subnets; none overlap.
    pub subnets: Vec<Subnet>,
    /// The route tables the file defines; at most one is the main one.
    pub route_tables: Vec<RouteTable>,
    /// Its NAT gateways.
    pub nat_gateways: Vec<NatGateway>,
    /// Hosts with an identity of their own, such as a public address.
    pub instances: Vec<Instance>,
    /// Its prefix lists.
    pub prefix_lists: Vec<PrefixList>,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// Its network ACLs.
    pub network_acls: Vec<NetworkAcl>,
    /// The racks that its hosts are in.
    pub racks: Vec<Rack>,
    /// The machines that its instances run on, as far as they are declared.
    pub hosts: Vec<Host>,
    /// Its placement groups.
    pub placement_groups: Vec<PlacementGroup>,
    /// Instances that do the same, for its load balancers.
    pub target_groups: Vec<TargetGroup>,
    /// Its load balancers.
    pub load_balancers: Vec<LoadBalancer>,
    /// What it offers to other VPCs.
    pub endpoint_services: Vec<EndpointService>,
    /// What was decided about endpoints of others for them.
    pub endpoint_acceptances: Vec<EndpointAcceptance>,
    /// Its ways to services of others.
    pub endpoints: Vec<Endpoint>,
    /// Where connections that leave it go first.
    pub proxies: Vec<Proxy>,
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

    /// Where its hosts ask for names, besides 169.254.169.253: the base of its first address block plus two.
    pub fn resolver(&self) -> Option<Ipv4Addr> {
        let base = self.cidrs.first()?.network().to_bits();
        self.dns.then(|| Ipv4Addr::from_bits(base + 2))
    }

    /// How another VPC's endpoint stands with the service of this name: as was decided about it, or else as the
    /// service's lists say. `None`: there is no such service.
    pub fn state_of(&self, service: &str, vpc: &str, endpoint: &str) -> Option<EndpointState> {
        let mut services = self.endpoint_services.iter();
        let found = services.find(|one| one.name == service)?;
        Some(match self.acceptance_of(service, vpc, endpoint) {
            Some(decided) if decided.accepted => EndpointState::Available,
            Some(_) => EndpointState::Rejected,
            None => found.state_of(vpc, endpoint),
        })
    }

    /// What was decided about another VPC's endpoint for the service of this name.
    pub fn acceptance_of(
        &self,
        service: &str,
        vpc: &str,
        endpoint: &str,
    ) -> Option<&EndpointAcceptance> {
        let mut decided = self.endpoint_acceptances.iter();
        decided.find(|one| {
            one.service == service && one.endpoint.split_once('/') == Some((vpc, endpoint))
        })
    }

    /// The ACL of `subnet`: its own, else the one called [`DEFAULT_ACL`]. `None`: everything passes.
    pub fn acl_of(&self, subnet: &Subnet) -> Option<&NetworkAcl> {
        let name = subnet.network_acl.as_deref().unwrap_or(DEFAULT_ACL);
        self.network_acls.iter().find(|acl| acl.name == name)
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
    /// Name of its network ACL; `None` is the one called [`DEFAULT_ACL`], if there is one.
    pub network_acl: Option<String>,
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

impl RouteTable {
    /// Its routes with prefix lists taken apart, each prefix once: a CIDR that is written comes before
    /// the same one in a prefix list, and an earlier list before a later one.
    pub fn entries<'a>(&'a self, vpc: &'a Vpc) -> impl Iterator<Item = (Ipv4Net, &'a Target)> {
        let lists: FxHashMap<&str, &[Ipv4Net]> = vpc
            .prefix_lists
            .iter()
            .map(|list| (list.name.as_str(), list.entries.as_slice()))
            .collect();
        let written = self.routes.iter().filter_map(|route| {
            let Destination::Cidr(prefix) = &route.destination else {
                return None;
            };
            Some((*prefix, &route.target))
        });
        let listed = self.routes.iter().flat_map(move |route| {
            let entries: &'a [Ipv4Net] = match &route.destination {
                Destination::Cidr(_) => &[],
                Destination::PrefixList(name) => {
                    lists.get(name.as_str()).copied().unwrap_or_default()
                }
            };
            entries.iter().map(|prefix| (*prefix, &route.target))
        });
        // CIDRs that are written are different ones anyway.
        let is_list = |route: &Route| matches!(route.destination, Destination::PrefixList(_));
        let has_lists = self.routes.iter().any(is_list);
        let mut seen = FxHashSet::default();
        written
            .chain(listed)
            .filter(move |(prefix, _)| !has_lists || seen.insert(*prefix))
    }
}

/// One route; the longest matching destination wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Unique in its table.
    pub destination: Destination,
    /// Where matching packets go.
    pub target: Target,
}

/// What a route is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// These addresses.
    Cidr(Ipv4Net),
    /// Each entry of the prefix list of this name, in the same VPC.
    PrefixList(String),
}

/// As it is written in the file.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(prefix) => write!(f, "{prefix}"),
            Self::PrefixList(name) => write!(f, "prefix-list:{name}"),
        }
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Inside the VPC.
    Local,
    /// 1:1 by the host's public address.
    InternetGateway,
    /// The NAT gateway of this name, in the same VPC, or one that the API has deleted.
    NatGateway(String),
    /// The instance of this name, in the same VPC, which does not check source and destination, or one
    /// that the API has deleted.
    Instance(String),
    /// The gateway endpoint of this name, in the same VPC, or one that the API has deleted.
    Endpoint(String),
    /// Dropped.
    Blackhole,
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
    /// Names of its security groups, 1 to 16; empty: it is not filtered.
    pub security_groups: Vec<String>,
    /// Whether it gets and sends only packets of its own address.
    pub source_dest_check: bool,
    /// How it is known on its interface; always there when `source_dest_check` is false.
    pub mac: Option<[u8; 6]>,
    /// Where it runs, and with regard to which others. Packets do not depend on it.
    pub placement: InstancePlacement,
    /// What it is told about itself, and how. Packets do not depend on it.
    pub metadata: InstanceMetadata,
}
