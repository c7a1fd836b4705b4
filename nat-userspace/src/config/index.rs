//! The named parts of a VPC while it is being checked, and what they say together.

use ipnet::Ipv4Net;
use rustc_hash::FxHashMap;

use super::balancing::{LoadBalancerDraft, TargetGroupDraft};
use super::draft::{InstanceDraft, RouteTableDraft, SubnetDraft, VpcDraft};
use super::endpoints::{EndpointDraft, EndpointServiceDraft};
use super::filtering::{NetworkAclDraft, PrefixListDraft, SecurityGroupDraft};
use super::gateways::NatGatewayDraft;
use super::place::Read;
use super::placement::{HostDraft, PlacementGroupDraft, RackDraft};
use super::types::Destination;

/// The named parts of a VPC.
pub struct Index<'a> {
    pub subnets: Parts<'a, SubnetDraft>,
    pub route_tables: Parts<'a, RouteTableDraft>,
    pub nat_gateways: Parts<'a, NatGatewayDraft>,
    pub instances: Parts<'a, InstanceDraft>,
    pub prefix_lists: Parts<'a, PrefixListDraft>,
    pub security_groups: Parts<'a, SecurityGroupDraft>,
    pub network_acls: Parts<'a, NetworkAclDraft>,
    pub racks: Parts<'a, RackDraft>,
    pub hosts: Parts<'a, HostDraft>,
    pub placement_groups: Parts<'a, PlacementGroupDraft>,
    pub target_groups: Parts<'a, TargetGroupDraft>,
    pub load_balancers: Parts<'a, LoadBalancerDraft>,
    pub endpoint_services: Parts<'a, EndpointServiceDraft>,
    pub endpoints: Parts<'a, EndpointDraft>,
    main: Routing<'a>,
}

/// The parts of one kind; of two with one name, the first.
pub struct Parts<'a, T> {
    by_name: FxHashMap<&'a str, &'a T>,
    /// In the order of the file.
    pub names: Vec<&'a str>,
}

impl<'a, T> Parts<'a, T> {
    fn new(items: &'a [T], name: impl Fn(&'a T) -> &'a Read<String>) -> Self {
        let mut by_name = FxHashMap::default();
        by_name.reserve(items.len());
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            if let Some(name) = name(item).value() {
                by_name.entry(name.as_str()).or_insert(item);
                names.push(name.as_str());
            }
        }
        Self { by_name, names }
    }

    pub fn get(&self, name: &str) -> Option<&'a T> {
        self.by_name.get(name).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a T)> {
        self.by_name.iter().map(|(name, part)| (*name, *part))
    }
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
            subnets: Parts::new(&vpc.subnets, |subnet| &subnet.name),
            route_tables: Parts::new(&vpc.route_tables, |table| &table.name),
            nat_gateways: Parts::new(&vpc.nat_gateways, |gateway| &gateway.name),
            instances: Parts::new(&vpc.instances, |instance| &instance.name),
            prefix_lists: Parts::new(&vpc.prefix_lists, |list| &list.name),
            security_groups: Parts::new(&vpc.security_groups, |group| &group.name),
            network_acls: Parts::new(&vpc.network_acls, |acl| &acl.name),
            racks: Parts::new(&vpc.racks, |rack| &rack.name),
            hosts: Parts::new(&vpc.hosts, |host| &host.name),
            placement_groups: Parts::new(&vpc.placement_groups, |group| &group.name),
            target_groups: Parts::new(&vpc.target_groups, |group| &group.name),
            load_balancers: Parts::new(&vpc.load_balancers, |balancer| &balancer.name),
            endpoint_services: Parts::new(&vpc.endpoint_services, |service| &service.name),
            endpoints: Parts::new(&vpc.endpoints, |endpoint| &endpoint.name),
            main: match vpc.route_tables.iter().find(main) {
                Some(table) => Routing::Table(table),
                None if vpc.route_tables.iter().any(|table| table.main.is_broken()) => {
                    Routing::Unknown
                }
                None => Routing::Implicit,
            },
        }
    }

    /// The subnet of this name, if the name could be read and there is one.
    pub fn subnet(&self, name: &Read<String>) -> Option<&'a SubnetDraft> {
        self.subnets.get(name.value()?)
    }

    pub fn routing_of(&self, subnet: &SubnetDraft) -> Routing<'a> {
        match &subnet.route_table {
            Read::Absent => self.main,
            Read::Broken => Routing::Unknown,
            Read::Given(name) => match self.route_tables.get(&name.value) {
                Some(table) => Routing::Table(table),
                None => Routing::Unknown,
            },
        }
    }

    /// The prefixes a route is for; none when its prefix list is not there.
    pub fn prefixes(&self, destination: &Destination) -> impl Iterator<Item = Ipv4Net> + use<'a> {
        let (written, list) = match destination {
            Destination::Cidr(prefix) => (Some(*prefix), None),
            Destination::PrefixList(name) => (None, self.prefix_lists.get(name)),
        };
        let entries = list.into_iter().flat_map(|list| &list.entries.items);
        written.into_iter().chain(entries.map(|entry| entry.value))
    }
}
