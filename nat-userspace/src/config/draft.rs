//! The configuration while it is being checked: every value with its place, mistakes as holes.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::gateways::NatGatewayDraft;
use super::place::{List, Place, Read};
use super::types::{
    Attach, Config, DEFAULT_ICMP_ERRORS_PER_SECOND, DEFAULT_MAX_SESSIONS, DEFAULT_NODE_NAME,
    Instance, Node, Route, RouteTable, Subnet, Target, Vpc,
};

#[derive(Clone)]
pub struct Draft {
    pub node: NodeDraft,
    pub vpcs: Vec<VpcDraft>,
}

#[derive(Clone, Default)]
pub struct NodeDraft {
    pub name: Read<String>,
    pub uplinks: List<String>,
    pub attach: Read<Attach>,
    pub max_sessions: Read<u32>,
    pub icmp_errors: Read<u32>,
    pub log_destinations: Read<bool>,
}

#[derive(Clone)]
pub struct VpcDraft {
    pub name: Read<String>,
    pub cidrs: List<Ipv4Net>,
    pub internet_gateway: Read<bool>,
    pub strict: Read<bool>,
    pub subnets: Vec<SubnetDraft>,
    pub route_tables: Vec<RouteTableDraft>,
    pub nat_gateways: Vec<NatGatewayDraft>,
    pub instances: Vec<InstanceDraft>,
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
    pub destination: Read<Ipv4Net>,
    pub target: Read<Target>,
}

#[derive(Clone)]
pub struct InstanceDraft {
    pub name: Read<String>,
    pub subnet: Read<String>,
    pub private_ip: Read<Ipv4Addr>,
    pub public_ip: Read<Ipv4Addr>,
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

/// The named parts of a VPC; of two with one name, the first.
pub struct Index<'a> {
    pub subnets: HashMap<&'a str, &'a SubnetDraft>,
    pub route_tables: HashMap<&'a str, &'a RouteTableDraft>,
    pub nat_gateways: HashMap<&'a str, &'a NatGatewayDraft>,
    main: Routing<'a>,
}

/// What routes a subnet.
#[derive(Clone, Copy)]
pub enum Routing<'a> {
    Table(&'a RouteTableDraft),
    /// The main table that no file defines: only `local`.
    Implicit,
    /// The file has a mistake here, reported elsewhere.
    Unknown,
}

impl<'a> Index<'a> {
    pub fn new(vpc: &'a VpcDraft) -> Self {
        let main = |table: &&RouteTableDraft| table.main.value() == Some(&true);
        Self {
            subnets: by_name(&vpc.subnets, |subnet| &subnet.name),
            route_tables: by_name(&vpc.route_tables, |table| &table.name),
            nat_gateways: by_name(&vpc.nat_gateways, |gateway| &gateway.name),
            main: match vpc.route_tables.iter().find(main) {
                Some(table) => Routing::Table(table),
                None if vpc.route_tables.iter().any(|table| table.main.is_broken()) => {
                    Routing::Unknown
                }
                None => Routing::Implicit,
            },
        }
    }

    pub fn routing_of(&self, subnet: &SubnetDraft) -> Routing<'a> {
        match &subnet.route_table {
            Read::Absent => self.main,
            Read::Broken => Routing::Unknown,
            Read::Given(name) => match self.route_tables.get(name.value.as_str()) {
                Some(table) => Routing::Table(table),
                None => Routing::Unknown,
            },
        }
    }
}

fn by_name<'a, T>(
    items: &'a [T],
    name: impl Fn(&'a T) -> &'a Read<String>,
) -> HashMap<&'a str, &'a T> {
    let mut index = HashMap::new();
    for item in items {
        if let Some(name) = name(item).value() {
            index.entry(name.as_str()).or_insert(item);
        }
    }
    index
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
            uplinks: self.uplinks.all()?,
            attach: self.attach.or(Attach::default())?,
            max_sessions: self.max_sessions.or(DEFAULT_MAX_SESSIONS)?,
            icmp_errors_per_second: self.icmp_errors.or(DEFAULT_ICMP_ERRORS_PER_SECOND)?,
            log_destinations: self.log_destinations.or(false)?,
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
        })
    }
}
