//! The configuration while it is being checked: every value with its place, mistakes as holes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::balancing::{LoadBalancerDraft, TargetGroupDraft};
use super::endpoints::{EndpointAcceptanceDraft, EndpointDraft, EndpointServiceDraft};
use super::filtering::{NetworkAclDraft, PrefixListDraft, SecurityGroupDraft};
use super::gateways::NatGatewayDraft;
use super::metadata::MetadataDraft;
use super::place::{List, Place, Read};
use super::placement::{HostDraft, PlacementDraft, PlacementGroupDraft, RackDraft};
use super::proxies::ProxyDraft;
use super::types::{
    Attach, Config, DEFAULT_ICMP_ERRORS_PER_SECOND, DEFAULT_MAX_SESSIONS, DEFAULT_NODE_NAME,
    DEFAULT_PRIVATE_DOMAIN, DEFAULT_REGION, Destination, Instance, InstanceMetadata,
    InstancePlacement, Node, Route, RouteTable, Subnet, Target, Vpc,
};

#[derive(Clone, Default)]
pub struct Draft {
    pub node: NodeDraft,
    pub vpcs: Vec<VpcDraft>,
}

#[derive(Clone, Default)]
pub struct NodeDraft {
    pub name: Read<String>,
    pub region: Read<String>,
    pub uplinks: List<String>,
    pub attach: Read<Attach>,
    pub max_sessions: Read<u32>,
    pub icmp_errors: Read<u32>,
    pub log_destinations: Read<bool>,
    pub metadata: Read<bool>,
    pub dns_forwarders: List<Ipv4Addr>,
}

#[derive(Clone)]
pub struct VpcDraft {
    pub name: Read<String>,
    pub cidrs: List<Ipv4Net>,
    pub internet_gateway: Read<bool>,
    pub strict: Read<bool>,
    pub dns: Read<bool>,
    pub private_domain: Read<String>,
    pub subnets: Vec<SubnetDraft>,
    pub route_tables: Vec<RouteTableDraft>,
    pub nat_gateways: Vec<NatGatewayDraft>,
    pub instances: Vec<InstanceDraft>,
    pub prefix_lists: Vec<PrefixListDraft>,
    pub security_groups: Vec<SecurityGroupDraft>,
    pub network_acls: Vec<NetworkAclDraft>,
    pub racks: Vec<RackDraft>,
    pub hosts: Vec<HostDraft>,
    pub placement_groups: Vec<PlacementGroupDraft>,
    pub target_groups: Vec<TargetGroupDraft>,
    pub load_balancers: Vec<LoadBalancerDraft>,
    pub endpoint_services: Vec<EndpointServiceDraft>,
    pub endpoint_acceptances: Vec<EndpointAcceptanceDraft>,
    pub endpoints: Vec<EndpointDraft>,
    pub proxies: Vec<ProxyDraft>,
    /// Route targets that the API has deleted: their routes are blackholes until they are there again.
    pub gone: Vec<Target>,
}

#[derive(Clone)]
pub struct SubnetDraft {
    pub place: Place,
    pub name: Read<String>,
    pub cidr: Read<Ipv4Net>,
    pub zone: Read<String>,
    pub interface: Read<String>,
    pub route_table: Read<String>,
    pub network_acl: Read<String>,
}

#[derive(Clone)]
pub struct RouteTableDraft {
    pub place: Place,
    pub name: Read<String>,
    pub main: Read<bool>,
    pub routes: Vec<RouteDraft>,
    /// False when a route could not be read.
    pub complete: bool,
}

#[derive(Clone)]
pub struct RouteDraft {
    pub place: Place,
    /// The name of the API's route that this is; `None` for one written in its table.
    pub object: Option<String>,
    pub destination: Read<Destination>,
    pub target: Read<Target>,
}

#[derive(Clone)]
pub struct InstanceDraft {
    pub place: Place,
    pub name: Read<String>,
    pub subnet: Read<String>,
    pub private_ip: Read<Ipv4Addr>,
    pub public_ip: Read<Ipv4Addr>,
    pub security_groups: List<String>,
    pub source_dest_check: Read<bool>,
    pub mac: Read<[u8; 6]>,
    /// `None` when it says nothing about it.
    pub placement: Option<Box<PlacementDraft>>,
    /// `None` when it says nothing about it.
    pub metadata: Option<Box<MetadataDraft>>,
}

impl VpcDraft {
    /// The VPC for people.
    pub fn title(&self) -> &str {
        self.name.value().map_or("?", String::as_str)
    }

    /// False only when the file says so, or leaves it out.
    pub fn may_have_internet_gateway(&self) -> bool {
        self.internet_gateway.is_broken() || self.internet_gateway.value() == Some(&true)
    }
}

impl Draft {
    /// The finished configuration; `None` when something could not be read.
    pub fn build(self) -> Option<Config> {
        Some(Config {
            node: self.node.build()?,
            vpcs: self
                .vpcs
                .into_iter()
                .map(VpcDraft::build)
                .collect::<Option<_>>()?,
        })
    }
}

impl NodeDraft {
    pub fn build(self) -> Option<Node> {
        Some(Node {
            name: self.name.or(DEFAULT_NODE_NAME.to_owned())?,
            region: self.region.or(DEFAULT_REGION.to_owned())?,
            uplinks: self.uplinks.all()?,
            attach: self.attach.or(Attach::default())?,
            max_sessions: self.max_sessions.or(DEFAULT_MAX_SESSIONS)?,
            icmp_errors_per_second: self.icmp_errors.or(DEFAULT_ICMP_ERRORS_PER_SECOND)?,
            log_destinations: self.log_destinations.or(false)?,
            metadata: self.metadata.or(true)?,
            dns_forwarders: match self.dns_forwarders.place {
                Some(_) => Some(self.dns_forwarders.all()?),
                None => None,
            },
        })
    }
}

impl VpcDraft {
    pub fn build(self) -> Option<Vpc> {
        Some(Vpc {
            name: self.name.required()?,
            cidrs: self.cidrs.all()?,
            internet_gateway: self.internet_gateway.or(false)?,
            strict: self.strict.or(false)?,
            dns: self.dns.or(true)?,
            private_domain: self.private_domain.or(DEFAULT_PRIVATE_DOMAIN.to_owned())?,
            subnets: self
                .subnets
                .into_iter()
                .map(SubnetDraft::build)
                .collect::<Option<_>>()?,
            route_tables: self
                .route_tables
                .into_iter()
                .map(RouteTableDraft::build)
                .collect::<Option<_>>()?,
            nat_gateways: self
                .nat_gateways
                .into_iter()
                .map(NatGatewayDraft::build)
                .collect::<Option<_>>()?,
            instances: self
                .instances
                .into_iter()
                .map(InstanceDraft::build)
                .collect::<Option<_>>()?,
            prefix_lists: self
                .prefix_lists
                .into_iter()
                .map(PrefixListDraft::build)
                .collect::<Option<_>>()?,
            security_groups: self
                .security_groups
                .into_iter()
                .map(SecurityGroupDraft::build)
                .collect::<Option<_>>()?,
            network_acls: self
                .network_acls
                .into_iter()
                .map(NetworkAclDraft::build)
                .collect::<Option<_>>()?,
            racks: self
                .racks
                .into_iter()
                .map(RackDraft::build)
                .collect::<Option<_>>()?,
            hosts: self
                .hosts
                .into_iter()
                .map(HostDraft::build)
                .collect::<Option<_>>()?,
            placement_groups: self
                .placement_groups
                .into_iter()
                .map(PlacementGroupDraft::build)
                .collect::<Option<_>>()?,
            target_groups: self
                .target_groups
                .into_iter()
                .map(TargetGroupDraft::build)
                .collect::<Option<_>>()?,
            load_balancers: self
                .load_balancers
                .into_iter()
                .map(LoadBalancerDraft::build)
                .collect::<Option<_>>()?,
            endpoint_services: self
                .endpoint_services
                .into_iter()
                .map(EndpointServiceDraft::build)
                .collect::<Option<_>>()?,
            endpoint_acceptances: self
                .endpoint_acceptances
                .into_iter()
                .map(EndpointAcceptanceDraft::build)
                .collect::<Option<_>>()?,
            endpoints: self
                .endpoints
                .into_iter()
                .map(EndpointDraft::build)
                .collect::<Option<_>>()?,
            proxies: self
                .proxies
                .into_iter()
                .map(ProxyDraft::build)
                .collect::<Option<_>>()?,
        })
    }
}

impl SubnetDraft {
    pub fn build(self) -> Option<Subnet> {
        Some(Subnet {
            name: self.name.required()?,
            cidr: self.cidr.required()?,
            zone: self.zone.optional()?,
            interface: self.interface.required()?,
            route_table: self.route_table.optional()?,
            network_acl: self.network_acl.optional()?,
        })
    }
}

impl RouteTableDraft {
    pub fn build(self) -> Option<RouteTable> {
        Some(RouteTable {
            name: self.name.required()?,
            main: self.main.or(false)?,
            routes: self
                .routes
                .into_iter()
                .map(RouteDraft::build)
                .collect::<Option<_>>()?,
        })
    }
}

impl RouteDraft {
    pub fn build(self) -> Option<Route> {
        Some(Route {
            destination: self.destination.required()?,
            target: self.target.required()?,
        })
    }
}

impl InstanceDraft {
    pub fn build(self) -> Option<Instance> {
        Some(Instance {
            name: self.name.required()?,
            subnet: self.subnet.required()?,
            private_ip: self.private_ip.required()?,
            public_ip: self.public_ip.optional()?,
            security_groups: self.security_groups.all()?,
            source_dest_check: self.source_dest_check.or(true)?,
            mac: self.mac.optional()?,
            placement: match self.placement {
                Some(placement) => placement.build()?,
                None => InstancePlacement::default(),
            },
            metadata: match self.metadata {
                Some(metadata) => metadata.build()?,
                None => InstanceMetadata::default(),
            },
        })
    }
}
