//! What the reference NAT is configured with: one VPC.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::Side;
use crate::packets::{Mac, addresses, protocol};

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
    /// When idle sessions may go.
    pub timeouts: Timeouts,
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

/// A NAT gateway.
#[derive(Clone, Debug)]
pub struct NatGateway {
    /// What it translates to.
    pub public_ips: Vec<Ipv4Addr>,
    /// The ports and ICMP ids it uses, on each public IP.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Whether the public IPs are the host's too: what matches no session goes there.
    pub shared_with_host: bool,
}

/// A public IP of one instance.
#[derive(Clone, Copy, Debug)]
pub struct ElasticIp {
    /// The instance's private address.
    pub private: Ipv4Addr,
    /// Its address on the internet.
    pub public: Ipv4Addr,
}

/// Idle timeouts.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Of TCP.
    pub tcp: Duration,
    /// Of UDP.
    pub udp: Duration,
    /// Of ICMP queries.
    pub icmp: Duration,
}

impl Timeouts {
    /// The timeout of an IP protocol number.
    #[must_use]
    pub fn of(&self, protocol: u8) -> Duration {
        match protocol {
            protocol::TCP => self.tcp,
            protocol::UDP => self.udp,
            _ => self.icmp,
        }
    }
}

impl Default for Timeouts {
    /// 350 s for TCP and UDP as NAT gateways have it, 60 s for ICMP (RFC 5508 REQ-2).
    fn default() -> Self {
        let idle = Duration::from_secs(350);
        Self {
            tcp: idle,
            udp: idle,
            icmp: Duration::from_secs(60),
        }
    }
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
            gateways: vec![NatGateway {
                public_ips: vec![addresses::NAT_PUBLIC],
                ports: vec![1024..=65_535],
                shared_with_host: false,
            }],
            elastic_ips: vec![ElasticIp {
                private: addresses::WEB_PRIVATE,
                public: addresses::WEB_PUBLIC,
            }],
            host_addresses: vec![Ipv4Addr::new(198, 51, 100, 1)],
            uplink_mac: Mac([0x02, 0, 0, 0, 0, 0x10]),
            timeouts: Timeouts::default(),
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
        for range in self.gateways.iter().flat_map(|gateway| &gateway.ports) {
            if range.is_empty() {
                problems.push(format!("ports {range:?}: empty"));
            }
        }
        problems
    }

    /// The subnet `address` is in; the longest prefix wins.
    pub(super) fn subnet_of(&self, address: Ipv4Addr) -> Option<&Subnet> {
        let matching = self
            .subnets
            .iter()
            .filter(|subnet| subnet.cidr.contains(address));
        matching.max_by_key(|subnet| subnet.cidr.length)
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

    pub(super) fn gateway_of_public(&self, address: Ipv4Addr) -> Option<&NatGateway> {
        self.gateways
            .iter()
            .find(|gateway| gateway.public_ips.contains(&address))
    }

    /// Whether `address` is the host's, alone or shared.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        let shared = self
            .gateway_of_public(address)
            .is_some_and(|gateway| gateway.shared_with_host);
        shared || self.host_addresses.contains(&address)
    }

    /// Whether `address` is a public IP that only the NAT has.
    pub(super) fn is_owned(&self, address: Ipv4Addr) -> bool {
        self.elastic_of_public(address).is_some()
            || self
                .gateway_of_public(address)
                .is_some_and(|gateway| !gateway.shared_with_host)
    }
}

impl NatGateway {
    /// Whether `port` is in the pool.
    #[must_use]
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|range| range.contains(&port))
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
            .max_by_key(|route| route.destination.length)
            .map(|route| route.target)
    }
}

/// An address range like 10.20.0.0/16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: Ipv4Addr,
    length: u8,
}

impl Cidr {
    /// The range of `length` (0 to 32) leading bits of `network`.
    #[must_use]
    #[track_caller]
    pub fn new(network: Ipv4Addr, length: u8) -> Self {
        assert!(length <= 32, "prefix length {length}");
        Self { network, length }
    }

    /// Whether `address` is in the range.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let differing = self.network.to_bits() ^ address.to_bits();
        differing.leading_zeros() >= u32::from(self.length)
    }

    /// The address `offset` behind the first one, inside the range or not.
    #[must_use]
    pub fn nth(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().wrapping_add(offset))
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not an address range");
        let (network, length) = text.split_once('/').ok_or_else(error)?;
        let network = network.parse().map_err(|_| error())?;
        let length = length.parse().map_err(|_| error())?;
        if length > 32 {
            return Err(error());
        }
        Ok(Self { network, length })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}
