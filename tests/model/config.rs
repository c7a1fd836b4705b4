//! What the reference NAT is configured with: one VPC.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::{Cidr, NatGateway, Side};
use crate::packets::{Mac, addresses};

/// One VPC with its gateways.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The VPC's address ranges; what is in them is local.
    pub vpc_cidrs: Vec<Cidr>,
    /// Subnets with their interfaces and routes.
    pub subnets: Vec<Subnet>,
    /// NAT gateways; routes name them by index.
    pub gateways: Vec<NatGateway>,
    /// Public IPs that belong to one instance each.
    pub elastic_ips: Vec<ElasticIp>,
    /// The host's own addresses. Those of gateways shared with it count too.
    pub host_addresses: Vec<Ipv4Addr>,
    /// The address ARP answers on the uplink give.
    pub uplink_mac: Mac,
    /// The host's address where ICMP errors are made, see [`Self::router_address`].
    pub router_addresses: HashMap<Side, Ipv4Addr>,
    /// The longest IP packet that leaves by a side, see [`Self::mtu`].
    pub mtus: HashMap<Side, u16>,
    /// Whether senders of packets that are dropped get ICMP errors.
    pub icmp_errors_made: bool,
    /// Whether a later fragment waits for its first one, and a packet that is too big is
    /// cut; otherwise they pass.
    pub holds_fragments: bool,
}

/// A subnet and its route table.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its addresses.
    pub cidr: Cidr,
    /// The interface it is behind; several subnets may share one.
    pub interface: u32,
    /// Routes besides the local one.
    pub routes: Vec<Route>,
}

/// A route; the longest prefix wins.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// For these destinations.
    pub destination: Cidr,
    /// To there.
    pub target: Target,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// 1:1, with the elastic IP of the source.
    InternetGateway,
    /// Through the NAT gateway with this index.
    NatGateway(usize),
    /// Nowhere.
    Blackhole,
}

/// A public IP of one instance.
#[derive(Clone, Copy, Debug)]
pub struct ElasticIp {
    /// The instance's private address.
    pub private: Ipv4Addr,
    /// Its address on the internet.
    pub public: Ipv4Addr,
}

impl ModelConfig {
    /// The classic picture: a public subnet 10.20.1.0/24 (interface 0) with a web
    /// instance that has a public IP, a private subnet 10.40.2.0/24 (interface 1)
    /// behind a NAT gateway, which sends 192.0.2.0/24 nowhere.
    #[must_use]
    pub fn classic() -> Self {
        let everywhere = Cidr::new(Ipv4Addr::UNSPECIFIED, 0);
        let route = |destination, target| Route {
            destination,
            target,
        };
        Self {
            vpc_cidrs: vec![
                Cidr::new(Ipv4Addr::new(10, 20, 0, 0), 16),
                Cidr::new(Ipv4Addr::new(10, 40, 0, 0), 16),
            ],
            subnets: vec![
                Subnet {
                    cidr: Cidr::new(Ipv4Addr::new(10, 20, 1, 0), 24),
                    interface: 0,
                    routes: vec![route(everywhere, Target::InternetGateway)],
                },
                Subnet {
                    cidr: Cidr::new(Ipv4Addr::new(10, 40, 2, 0), 24),
                    interface: 1,
                    routes: vec![
                        route(everywhere, Target::NatGateway(0)),
                        route(
                            Cidr::new(Ipv4Addr::new(192, 0, 2, 0), 24),
                            Target::Blackhole,
                        ),
                    ],
                },
            ],
            gateways: vec![NatGateway::new(vec![addresses::NAT_PUBLIC])],
            elastic_ips: vec![ElasticIp {
                private: addresses::WEB_PRIVATE,
                public: addresses::WEB_PUBLIC,
            }],
            host_addresses: vec![Ipv4Addr::new(198, 51, 100, 1)],
            uplink_mac: Mac([0x02, 0, 0, 0, 0, 0x10]),
            router_addresses: HashMap::new(),
            mtus: HashMap::new(),
            icmp_errors_made: true,
            holds_fragments: true,
        }
    }

    /// What contradicts itself; empty when nothing does.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut public: Vec<_> = self
            .elastic_ips
            .iter()
            .map(|elastic| elastic.public)
            .collect();
        public.extend(self.gateways.iter().flat_map(|gateway| &gateway.public_ips));
        for (what, mut addresses) in [
            ("public IP", public),
            (
                "elastic private IP",
                self.elastic_ips
                    .iter()
                    .map(|elastic| elastic.private)
                    .collect(),
            ),
        ] {
            addresses.sort();
            for pair in addresses.windows(2).filter(|pair| pair[0] == pair[1]) {
                problems.push(format!("{what} {} is there twice", pair[0]));
            }
        }
        for subnet in &self.subnets {
            for route in &subnet.routes {
                if let Target::NatGateway(index) = route.target
                    && index >= self.gateways.len()
                {
                    problems.push(format!("subnet {}: no NAT gateway {index}", subnet.cidr));
                }
            }
        }
        for elastic in &self.elastic_ips {
            if self.subnet_of(elastic.private).is_none() {
                problems.push(format!("elastic IP {}: not in a subnet", elastic.private));
            }
        }
        for (index, gateway) in self.gateways.iter().enumerate() {
            problems.extend(gateway.problems());
            for forward in &gateway.forwards {
                if self.subnet_of(*forward.to.ip()).is_none() {
                    problems.push(format!("forward to {}: not in a subnet", forward.to));
                }
            }
            let clients = self.subnets.iter().filter(|subnet| {
                let mut routes = subnet.routes.iter();
                routes.any(|route| route.target == Target::NatGateway(index))
            });
            for subnet in clients {
                let covers = |all: &Cidr| {
                    all.contains(subnet.cidr.nth(0)) && all.length() <= subnet.cidr.length()
                };
                if gateway
                    .deterministic
                    .as_ref()
                    .is_some_and(|all| !covers(all))
                {
                    problems.push(format!("deterministic: {} is not in it", subnet.cidr));
                }
            }
        }
        problems
    }

    /// The host's address on a side, where its ICMP errors come from: unless
    /// configured its first own address on the uplink, and the first address of
    /// the first subnet of an inside interface.
    #[must_use]
    pub fn router_address(&self, side: Side) -> Ipv4Addr {
        if let Some(address) = self.router_addresses.get(&side) {
            return *address;
        }
        let address = match side {
            Side::Uplink => self.host_addresses.first().copied(),
            Side::Inside(interface) => self
                .subnets
                .iter()
                .find(|subnet| subnet.interface == interface)
                .map(|subnet| subnet.cidr.nth(1)),
        };
        address.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// The longest IP packet that leaves by a side; 1500 unless configured.
    #[must_use]
    pub fn mtu(&self, side: Side) -> u16 {
        self.mtus.get(&side).copied().unwrap_or(1500)
    }

    /// The subnet `address` is in; the longest prefix wins.
    pub(super) fn subnet_of(&self, address: Ipv4Addr) -> Option<&Subnet> {
        let matching = self
            .subnets
            .iter()
            .filter(|subnet| subnet.cidr.contains(address));
        matching.max_by_key(|subnet| subnet.cidr.length())
    }

    /// The interface towards an inside address.
    pub(super) fn side_of(&self, address: Ipv4Addr) -> Side {
        match self.subnet_of(address) {
            Some(subnet) => Side::Inside(subnet.interface),
            None => unreachable!("{address} was checked to be in a subnet"),
        }
    }

    pub(super) fn is_local(&self, address: Ipv4Addr) -> bool {
        self.vpc_cidrs.iter().any(|cidr| cidr.contains(address))
    }

    pub(super) fn elastic_of_private(&self, address: Ipv4Addr) -> Option<&ElasticIp> {
        self.elastic_ips
            .iter()
            .find(|elastic| elastic.private == address)
    }

    pub(super) fn elastic_of_public(&self, address: Ipv4Addr) -> Option<&ElasticIp> {
        self.elastic_ips
            .iter()
            .find(|elastic| elastic.public == address)
    }

    /// The NAT gateway that has `address`, with its index.
    pub(super) fn gateway_of_public(&self, address: Ipv4Addr) -> Option<(usize, &NatGateway)> {
        self.gateways
            .iter()
            .enumerate()
            .find(|(_, gateway)| gateway.public_ips.contains(&address))
    }

    /// Whether `address` is the host's, alone or shared.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        let shared = self
            .gateway_of_public(address)
            .is_some_and(|(_, gateway)| gateway.shared_with_host);
        shared || self.host_addresses.contains(&address)
    }

    /// Whether `address` is a public IP that only the NAT has.
    pub(super) fn is_owned(&self, address: Ipv4Addr) -> bool {
        self.elastic_of_public(address).is_some()
            || self
                .gateway_of_public(address)
                .is_some_and(|(_, gateway)| !gateway.shared_with_host)
    }
}

impl Subnet {
    /// The target for `destination`; the longest prefix wins.
    #[must_use]
    pub fn target(&self, destination: Ipv4Addr) -> Option<Target> {
        let matching = self
            .routes
            .iter()
            .filter(|route| route.destination.contains(destination));
        matching
            .max_by_key(|route| route.destination.length())
            .map(|route| route.target)
    }
}
