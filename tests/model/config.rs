//! What the reference NAT is configured with. What VPCs are made of: `vpc.rs`.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::{Cidr, Instance, NatGateway, Route, Side, Subnet, Target, Vpc};
use crate::packets::{Mac, addresses};

/// VPCs with their gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// The VPCs.
    pub vpcs: Vec<Vpc>,
    /// Subnets of all VPCs with their interfaces and routes.
    pub subnets: Vec<Subnet>,
    /// NAT gateways of all VPCs; routes name them by number.
    pub gateways: Vec<NatGateway>,
    /// Listed hosts of all VPCs; routes name them by number.
    pub instances: Vec<Instance>,
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

impl ModelConfig {
    /// The classic picture: a public subnet 10.20.1.0/24 (interface 0) with a web
    /// instance that has a public IP, a private subnet 10.40.2.0/24 (interface 1)
    /// behind a NAT gateway, which sends 192.0.2.0/24 nowhere.
    #[must_use]
    pub fn classic() -> Self {
        let route = |destination: Cidr, target| Route {
            destination: destination.into(),
            target,
        };
        let subnet = |network, interface, routes| Subnet {
            vpc: 0,
            cidr: Cidr::new(network, 24),
            interface,
            routes,
            acl: None,
        };
        let nowhere = Cidr::new(Ipv4Addr::new(192, 0, 2, 0), 24);
        let public = vec![route(Cidr::EVERYWHERE, Target::InternetGateway)];
        let private = vec![
            route(Cidr::EVERYWHERE, Target::NatGateway(0)),
            route(nowhere, Target::Blackhole),
        ];
        let mut web = Instance::new(0, addresses::WEB_PRIVATE);
        web.public = Some(addresses::WEB_PUBLIC);
        Self {
            vpcs: vec![Vpc::new(vec![
                Cidr::new(Ipv4Addr::new(10, 20, 0, 0), 16),
                Cidr::new(Ipv4Addr::new(10, 40, 0, 0), 16),
            ])],
            subnets: vec![
                subnet(Ipv4Addr::new(10, 20, 1, 0), 0, public),
                subnet(Ipv4Addr::new(10, 40, 2, 0), 1, private),
            ],
            gateways: vec![NatGateway::new(vec![addresses::NAT_PUBLIC])],
            instances: vec![web],
            host_addresses: vec![Ipv4Addr::new(198, 51, 100, 1)],
            uplink_mac: Mac([0x02, 0, 0, 0, 0, 0x10]),
            router_addresses: HashMap::new(),
            mtus: HashMap::new(),
            icmp_errors_made: true,
            holds_fragments: true,
        }
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

    /// The public IPs of instances.
    pub(super) fn instance_publics(&self) -> Vec<Ipv4Addr> {
        let instances = self.instances.iter();
        instances.filter_map(|instance| instance.public).collect()
    }

    /// The NAT gateway that has `address`, with its number.
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
        shared || self.is_own(address)
    }

    /// Whether `address` is the host's alone: outside, or in a subnet as its router, or among
    /// others as its broadcast.
    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        let mut subnets = self.subnets.iter();
        self.host_addresses.contains(&address)
            || subnets
                .any(|subnet| [subnet.cidr.nth(1), subnet.cidr.broadcast()].contains(&address))
    }

    /// Whether `address` is a public IP that only the NAT has.
    pub(super) fn is_owned(&self, address: Ipv4Addr) -> bool {
        self.instance_of_public(address).is_some()
            || self
                .gateway_of_public(address)
                .is_some_and(|(_, gateway)| !gateway.shared_with_host)
    }
}
