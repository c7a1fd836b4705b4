//! What a scenario is made of: one small gateway, tables that are soon full, a few flows.

use std::net::Ipv4Addr;

use nat_common::{
    address::{Address, Port},
    flow::{Flow, protocol},
    map_types::{Binding, Gateway, SessionKey, Timeouts, binding_key, bound_key},
    port_pool::{PortPool, PortRange},
};

use super::tables::{Capacity, GATEWAY, SharedTables, Watch};

/// The VPC of all scenarios.
pub const VPC: u16 = 7;

/// How ports are mapped, and who may write to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Ports are overloaded.
    Aws,
    /// Endpoint-independent mapping and filtering.
    RfcNobody,
    /// Endpoint-independent mapping, address-dependent filtering.
    RfcByAddress,
    /// Endpoint-independent mapping, address-and-port-dependent filtering.
    RfcByPort,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Aws,
        Self::RfcNobody,
        Self::RfcByAddress,
        Self::RfcByPort,
    ];

    /// Those with endpoint-independent mapping.
    pub const RFC: [Self; 3] = [Self::RfcNobody, Self::RfcByAddress, Self::RfcByPort];

    /// Mapping is endpoint-independent.
    pub fn is_rfc(self) -> bool {
        self != Self::Aws
    }
}

/// A gateway, its tables, and the traffic through it.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub profile: Profile,
    /// Public addresses.
    pub addresses: u32,
    /// Ports of each.
    pub ports: u16,
    pub sessions_per_client: u32,
    pub ports_per_client: u32,
    /// Ticks.
    pub rest: u32,
    /// The first client's first port is forwarded to.
    pub forwards: bool,
    pub capacity: Capacity,
    /// One insert in so many is refused as busy; 0 for none.
    pub busy: u32,
    /// One removal in so many is refused as busy; 0 for none.
    pub stubborn: u32,
    /// Inside addresses.
    pub clients: u8,
    /// Ports of each.
    pub client_ports: u8,
    /// Remote ends: each address has two ports.
    pub remotes: u8,
    pub protocol: u8,
    /// Ticks that pass at most while a packet is under way.
    pub skew: u32,
}

/// First port of every pool.
pub const FIRST_PORT: u16 = 5000;
/// The public port that is forwarded, outside the pool and inside it.
pub const FORWARDED: u16 = FIRST_PORT + 1;

impl Setup {
    /// Room for everything, no limits.
    pub fn roomy(profile: Profile) -> Self {
        Self {
            profile,
            addresses: 1,
            ports: 4,
            sessions_per_client: 0,
            ports_per_client: 0,
            rest: 0,
            forwards: false,
            capacity: Capacity {
                halves: 24,
                bindings: 32,
                clients: 12,
            },
            busy: 0,
            stubborn: 0,
            clients: 2,
            client_ports: 2,
            remotes: 2,
            protocol: protocol::UDP,
            skew: 0,
        }
    }

    /// Its gateway.
    pub fn gateway(&self) -> Gateway {
        let range = PortRange {
            first: FIRST_PORT,
            last: FIRST_PORT + self.ports - 1,
        };
        let pool = PortPool::new(&[range]).expect("a range that is not empty");
        let mut gateway = Gateway {
            secret: [1, 2],
            address_count: self.addresses,
            vpc: u32::from(VPC),
            max_sessions_per_client: self.sessions_per_client,
            max_ports_per_client: self.ports_per_client,
            port_rest: self.rest,
            timeouts: Timeouts {
                tcp_established: 60,
                tcp_opening: 24,
                tcp_closing: 16,
                udp: 20,
                udp_stream: 40,
                icmp: 12,
            },
            ..Gateway::default()
        };
        for slot in 0..self.addresses {
            gateway.addresses[slot as usize] = public_address(slot as u8);
            gateway.pools[slot as usize] = pool;
        }
        gateway.flags = match self.profile {
            Profile::Aws => Gateway::RESETS_UNKNOWN,
            Profile::RfcNobody => Gateway::FILTER_NOBODY,
            Profile::RfcByAddress => Gateway::FILTER_BY_ADDRESS,
            Profile::RfcByPort => 0,
        };
        if self.profile.is_rfc() {
            gateway.flags |= Gateway::ENDPOINT_INDEPENDENT
                | Gateway::COUNTS_CLIENTS
                | Gateway::UDP_OUTBOUND_REFRESH;
        }
        if self.sessions_per_client != 0 {
            gateway.flags |= Gateway::COUNTS_CLIENTS;
        }
        if self.forwards {
            gateway.flags |= Gateway::FORWARDS;
        }
        gateway
    }

    /// Its tables, with the forward's entries.
    pub fn tables(&self, on_removal: Watch) -> SharedTables {
        let tables = SharedTables::new(
            self.gateway(),
            self.capacity,
            [self.busy, self.stubborn],
            on_removal,
        );
        if self.forwards {
            let [inside, outside] = self.forward_entries();
            tables.write_static(inside, outside);
        }
        tables
    }

    /// What the controller writes for the forward: in BINDINGS and in BOUND.
    pub fn forward_entries(&self) -> [(SessionKey, Binding); 2] {
        let flow = self.flow(0, 0, 0);
        let public = (public_address(0), Port::new(FORWARDED));
        let inside_key = binding_key(GATEWAY, &flow);
        let outside_key = bound_key(&flow.with_source(public.0, public.1).reversed());
        let inside = Binding::fixed(&inside_key, public.0, public.1, GATEWAY, VPC);
        let outside = Binding::fixed(&outside_key, flow.source, flow.source_port, GATEWAY, VPC);
        [(inside_key, inside), (outside_key, outside)]
    }

    /// One of the flows from inside.
    pub fn flow(&self, client: u8, port: u8, remote: u8) -> Flow {
        Flow {
            source: Address::from(Ipv4Addr::new(10, 0, 0, 10 + client)),
            source_port: Port::new(FIRST_PORT + u16::from(port)),
            destination: Address::from(Ipv4Addr::new(198, 51, 100, 20 + remote / 2)),
            destination_port: match self.protocol {
                protocol::ICMP => Port::NONE,
                _ => Port::new(80 + u16::from(remote % 2)),
            },
            protocol: self.protocol,
        }
    }
}

/// One of the gateway's addresses.
pub fn public_address(slot: u8) -> Address {
    Address::from(Ipv4Addr::new(203, 0, 113, 1 + slot))
}
