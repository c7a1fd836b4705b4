//! What a VPC is made of. Subnets, instances and NAT gateways of all VPCs are in the
//! lists of [`super::ModelConfig`]; what else they name is in their own VPC's lists.

use std::net::Ipv4Addr;
use std::str::FromStr;

use super::rules::{NetworkAcl, SecurityGroup};
use super::sender::Sender;
use super::{Cidr, ModelConfig, Side};
use crate::packets::Mac;

/// A VPC. Its addresses may be another one's, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vpc {
    /// Its address ranges; what is in them is local.
    pub cidrs: Vec<Cidr>,
    /// Whether hosts that are no instances are dropped.
    pub strict: bool,
    /// Destinations and peers by list.
    pub prefix_lists: Vec<Vec<Cidr>>,
    /// Who may talk to instances.
    pub security_groups: Vec<SecurityGroup>,
    /// What may cross the boundaries of subnets.
    pub network_acls: Vec<NetworkAcl>,
}

/// A subnet and its route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Number of its VPC.
    pub vpc: usize,
    /// Its addresses.
    pub cidr: Cidr,
    /// The interface it is behind; several subnets of one VPC may share one.
    pub interface: u32,
    /// Routes besides the local ones.
    pub routes: Vec<Route>,
    /// Its ACL among those of its VPC; without one everything is allowed.
    pub acl: Option<usize>,
}

/// A route; the longest prefix wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// For these destinations.
    pub destination: Destination,
    /// To there.
    pub target: Target,
}

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address range.
    Cidr(Cidr),
    /// All entries of this prefix list of the VPC.
    PrefixList(usize),
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Within the VPC, to the destination itself.
    Local,
    /// 1:1, with the public IP of the source.
    InternetGateway,
    /// Through the NAT gateway with this number.
    NatGateway(usize),
    /// To the instance with this number, unchanged.
    Instance(usize),
    /// Nowhere.
    Blackhole,
}

/// A listed host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Number of its subnet.
    pub subnet: usize,
    /// Its address.
    pub private: Ipv4Addr,
    /// Its address on the internet.
    pub public: Option<Ipv4Addr>,
    /// Its security groups among those of its VPC; without any it is not filtered.
    pub groups: Vec<usize>,
    /// Whether it sends from its own address alone, and gets packets to that alone.
    pub source_dest_check: bool,
    /// What its frames come from.
    pub mac: Option<Mac>,
}

impl Instance {
    /// One that is not filtered, without a public IP.
    #[must_use]
    pub fn new(subnet: usize, private: Ipv4Addr) -> Self {
        Self {
            subnet,
            private,
            public: None,
            groups: Vec::new(),
            source_dest_check: true,
            mac: None,
        }
    }

    /// This instance as one that sends from any address, known by its MAC.
    #[must_use]
    pub fn appliance(mut self, mac: Mac) -> Self {
        self.source_dest_check = false;
        self.mac = Some(mac);
        self
    }

    /// Whether security groups filter what it sends and gets.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        !self.groups.is_empty()
    }
}

impl From<Cidr> for Destination {
    fn from(cidr: Cidr) -> Self {
        Self::Cidr(cidr)
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Cidr)
    }
}

impl ModelConfig {
    /// The subnet of a VPC that `address` is in.
    pub(super) fn subnet_of(&self, vpc: usize, address: Ipv4Addr) -> Option<usize> {
        let is_it = |subnet: &Subnet| subnet.vpc == vpc && subnet.cidr.contains(address);
        self.subnets.iter().position(is_it)
    }

    /// The interface towards an address of a VPC.
    pub(super) fn side_of(&self, vpc: usize, address: Ipv4Addr) -> Option<Side> {
        let subnet = &self.subnets[self.subnet_of(vpc, address)?];
        Some(Side::Inside(subnet.interface))
    }

    /// The interface towards an instance.
    pub(super) fn side_of_instance(&self, instance: usize) -> Side {
        Side::Inside(self.subnets[self.instances[instance].subnet].interface)
    }

    /// The VPC on a side; `None` outside.
    pub(super) fn vpc_of_side(&self, side: Side) -> Option<usize> {
        match side {
            Side::Inside(interface) => self.vpc_of_interface(interface),
            Side::Uplink => None,
        }
    }

    /// The VPC whose subnets an interface has.
    pub(super) fn vpc_of_interface(&self, interface: u32) -> Option<usize> {
        let mut subnets = self.subnets.iter();
        let subnet = subnets.find(|subnet| subnet.interface == interface)?;
        Some(subnet.vpc)
    }

    /// The VPC that a NAT gateway is in.
    pub(super) fn vpc_of_gateway(&self, gateway: usize) -> usize {
        self.subnets[self.gateways[gateway].subnet].vpc
    }

    pub(super) fn vpc_of_instance(&self, instance: usize) -> usize {
        self.subnets[self.instances[instance].subnet].vpc
    }

    /// Whether `address` is one of a VPC.
    pub(super) fn is_local(&self, vpc: usize, address: Ipv4Addr) -> bool {
        let mut cidrs = self.vpcs[vpc].cidrs.iter();
        cidrs.any(|cidr| cidr.contains(address))
    }

    /// Whether `address` is one of any VPC.
    pub(super) fn is_private(&self, address: Ipv4Addr) -> bool {
        (0..self.vpcs.len()).any(|vpc| self.is_local(vpc, address))
    }

    /// Whether `address` of a VPC is the router's: the first one of a subnet, the host's own
    /// on the subnet's interface, or the last one, which the host takes for everybody's.
    pub(super) fn is_router(&self, vpc: usize, address: Ipv4Addr) -> bool {
        self.subnet_of(vpc, address).is_some_and(|subnet| {
            let subnet = &self.subnets[subnet];
            let side = Side::Inside(subnet.interface);
            address == subnet.cidr.nth(1)
                || address == self.router_address(side)
                || address == subnet.cidr.broadcast()
        })
    }

    /// The instance of a VPC with a private address.
    pub(super) fn instance_of(&self, vpc: usize, address: Ipv4Addr) -> Option<usize> {
        let mut numbers = 0..self.instances.len();
        numbers.find(|&number| {
            self.instances[number].private == address && self.vpc_of_instance(number) == vpc
        })
    }

    /// The instance with a public IP.
    pub(super) fn instance_of_public(&self, address: Ipv4Addr) -> Option<usize> {
        let mut instances = self.instances.iter();
        instances.position(|instance| instance.public == Some(address))
    }

    /// The public IP of a private address.
    pub(super) fn public_of(&self, vpc: usize, private: Ipv4Addr) -> Option<Ipv4Addr> {
        self.instances[self.instance_of(vpc, private)?].public
    }

    /// The public IP of a sender: nobody has another's.
    pub(super) fn public_of_sender(&self, sender: &Sender) -> Option<Ipv4Addr> {
        let own = sender.instance.filter(|_| sender.appliance.is_none())?;
        self.instances[own].public
    }

    /// The target of a subnet's route table for `destination`: of the longest prefix;
    /// of equal ones local, then what is written, then the first prefix list.
    pub(super) fn target(&self, subnet: usize, destination: Ipv4Addr) -> Option<Target> {
        let subnet = &self.subnets[subnet];
        let vpc = &self.vpcs[subnet.vpc];
        let mut best: Option<(u8, Target)> = None;
        let mut offer = |prefix: &Cidr, target| {
            let is_better = best.is_none_or(|(length, _)| prefix.length() > length);
            if prefix.contains(destination) && is_better {
                best = Some((prefix.length(), target));
            }
        };
        for cidr in &vpc.cidrs {
            offer(cidr, Target::Local);
        }
        for route in &subnet.routes {
            if let Destination::Cidr(cidr) = &route.destination {
                offer(cidr, route.target);
            }
        }
        for list in &vpc.prefix_lists_of(&subnet.routes) {
            for prefix in list.0 {
                offer(prefix, list.1);
            }
        }
        best.map(|(_, target)| target)
    }
}

impl Vpc {
    /// With these addresses, and nothing else.
    #[must_use]
    pub fn new(cidrs: Vec<Cidr>) -> Self {
        Self {
            cidrs,
            ..Self::default()
        }
    }

    /// The prefix lists that routes name, in the order of the VPC, each with its target.
    fn prefix_lists_of(&self, routes: &[Route]) -> Vec<(&[Cidr], Target)> {
        let lists = self.prefix_lists.iter().enumerate();
        let of_list = |(number, list)| {
            let is_it = move |route: &&Route| route.destination == Destination::PrefixList(number);
            let route = routes.iter().find(is_it)?;
            Some((Vec::as_slice(list), route.target))
        };
        lists.filter_map(of_list).collect()
    }
}
