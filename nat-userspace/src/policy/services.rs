//! The way to the node's own services (`services.rs` of the crate): a NAT gateway of every VPC, which is in no
//! subnet and which no rule keeps from anybody.

use std::{net::Ipv4Addr, time::Duration};

use ipnet::Ipv4Net;
use nat_common::{
    address::Address,
    map_types::{
        CHECKER_IP, Gateway, Interface, MAX_PUBLIC_IPS, Name, NameKey, PublicAddress, PublicUse,
        RELAY_NET, SERVICE_NET_BITS, SERVICES, SERVICES_IP, SERVICES_VPC, ScopedAddress, Subnet,
    },
    port_pool::PortPool,
};

use super::{
    Compiler,
    gateway::{port_pool, timeouts},
    prefix,
};
use crate::{
    config::{PortRange, Profile, Timeouts},
    error::Result,
    sessions::SERVICES_NAME,
};

/// Connections that an instance may have to the services at once: a greedy one leaves ports to the others.
const MOST_PER_CLIENT: u32 = 2048;

/// How long such a connection may be idle. The server ends one that says nothing much sooner, and one that is
/// closed has to give its port back, as has a query: an instance that takes another port for each of them asks the
/// resolver 200 times a second in the long run.
const TIMEOUTS: Timeouts = Timeouts {
    tcp_established: Duration::from_secs(60),
    tcp_opening: Duration::from_secs(10),
    tcp_closing: Duration::from_secs(4),
    udp: Duration::from_secs(10),
    udp_stream: Duration::from_secs(10),
    ..Timeouts::of(Profile::Aws)
};

/// The addresses that stand between load balancers and targets.
fn relay_net() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_bits(RELAY_NET), SERVICE_NET_BITS)
}

impl Compiler<'_, '_> {
    /// The interface that the services are behind, if there are any.
    pub(super) fn services(&self) -> Option<u32> {
        let attached = self.facts.attached.iter();
        let mut interfaces = attached.map(|each| &each.interface);
        let services = interfaces.find(|interface| interface.is_services);
        services.map(|interface| interface.index)
    }

    /// Leads to them.
    pub(super) fn way_to_services(&mut self) -> Result<()> {
        let Some(interface) = self.services() else {
            return Ok(());
        };
        let scope = ScopedAddress::subnets_of_vpc(u32::from(SERVICES_VPC));
        let subnet = Subnet {
            interface,
            router: SERVICES_IP,
            ..Subnet::default()
        };
        // Whatever address of theirs is asked.
        let place = prefix(scope, Ipv4Net::default());
        self.tables.subnets.insert(place, subnet);
        // And where they ask from themselves.
        for own in [Ipv4Net::from(Ipv4Addr::from(CHECKER_IP)), relay_net()] {
            self.tables.subnets.insert(prefix(interface, own), subnet);
        }
        if let Some(entry) = self.tables.interfaces.get_mut(&interface) {
            entry.vpc = SERVICES_VPC;
            entry.set(
                Interface::INSIDE | Interface::HAS_INSTANCES | Interface::TRACKS,
                true,
            );
        }
        let name = NameKey {
            kind: NameKey::VPC,
            number: u32::from(SERVICES_VPC),
        };
        self.tables.names.insert(name, Name::new(SERVICES_NAME));
        let mut addresses = [Address::UNSPECIFIED; MAX_PUBLIC_IPS];
        let mut pools = [PortPool::default(); MAX_PUBLIC_IPS];
        addresses[0] = SERVICES_IP;
        pools[0] = port_pool(&[PortRange::default()])?;
        let gateway = Gateway {
            secret: self.secret(SERVICES),
            addresses,
            pools,
            address_count: 1,
            timeouts: timeouts(&TIMEOUTS),
            flags: Gateway::COUNTS_CLIENTS | Gateway::RESETS_UNKNOWN,
            max_sessions_per_client: MOST_PER_CLIENT,
            ..Gateway::default()
        };
        self.tables.gateways.insert(SERVICES, gateway);
        self.tables.public_addresses.insert(
            SERVICES_IP,
            PublicAddress::new(PublicUse::NatGateway, SERVICES, false),
        );
        Ok(())
    }
}
