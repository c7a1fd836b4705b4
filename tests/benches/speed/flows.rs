//! Which flows there are. Every flow has a source port and destination of its own, so that a NAT which
//! keeps the source port where it can gives it no other, and answers can be made without asking it.
use std::{fmt, net::Ipv4Addr};

use crate::{
    lab::{CLIENT, Lab, Side},
    plan::Plan,
};

/// Servers are 198.18.0.1 and those after it, from the network for benchmarks (RFC 2544).
const FIRST_SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const SERVER_PORT: u32 = 443;
const FIRST_PORT: u32 = 1024;
/// Of a public address, towards a server.
const PORTS: u64 = 65_536 - FIRST_PORT as u64;
const ALL_BITS: u32 = u32::MAX;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Out,
    In,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Out, Self::In];

    /// The end they are sent from.
    pub fn from(self) -> Side {
        match self {
            Self::Out => Side::Inside,
            Self::In => Side::Outside,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "out",
            Self::In => "in",
        })
    }
}

/// `addresses` times `ports` flows: addresses of servers, or of hosts inside.
#[derive(Clone, Copy, Debug)]
pub struct Flows {
    pub addresses: u32,
    pub ports: u32,
    /// Servers before these belong to other flows.
    pub first_server: u32,
}

impl Flows {
    /// As many flows of one host, or some more.
    pub fn of_one_host(count: u64) -> Self {
        Self::spread(count, count.div_ceil(PORTS).max(1) as u32)
    }

    /// As many, or some more, over so many addresses.
    pub fn spread(count: u64, addresses: u32) -> Self {
        Self {
            addresses,
            ports: count.div_ceil(u64::from(addresses)).max(1) as u32,
            first_server: 0,
        }
    }

    /// As many others.
    pub fn others(self) -> Self {
        Self {
            first_server: self.first_server + self.addresses,
            ..self
        }
    }

    pub fn count(&self) -> u64 {
        u64::from(self.addresses) * u64::from(self.ports)
    }

    fn servers(&self) -> u32 {
        u32::from(FIRST_SERVER) + self.first_server
    }

    /// A host whose addresses are translated to one public address.
    pub fn plan_shared(&self, way: Way, public: Ipv4Addr) -> Plan {
        let (client, public) = (u32::from(CLIENT), u32::from(public));
        match way {
            Way::Out => Plan {
                expected_source: public,
                expected_source_mask: ALL_BITS,
                ..self.out(client)
            },
            Way::In => Plan {
                expected_destination: client,
                expected_destination_mask: ALL_BITS,
                ..self.back(public)
            },
        }
    }

    /// The same host, without translation.
    pub fn plan_routed(&self, way: Way) -> Plan {
        self.plan_shared(way, CLIENT)
    }

    /// Hosts with public addresses of their own, towards one server.
    pub fn plan_one_to_one(&self, way: Way, first: Ipv4Addr, first_public: Ipv4Addr) -> Plan {
        const NETWORK: u32 = 0xffff_0000;
        let (hosts, public) = (u32::from(first), u32::from(first_public));
        match way {
            Way::Out => Plan {
                source: hosts,
                source_step: 1,
                destination_step: 0,
                expected_source: public & NETWORK,
                expected_source_mask: NETWORK,
                ..self.out(hosts)
            },
            Way::In => Plan {
                source_step: 0,
                destination: public,
                destination_step: 1,
                expected_destination: hosts & NETWORK,
                expected_destination_mask: NETWORK,
                ..self.back(public)
            },
        }
    }

    /// From `source` to the servers.
    fn out(&self, source: u32) -> Plan {
        let (router, host) = Lab::macs(Side::Inside);
        Plan {
            source,
            destination: self.servers(),
            source_port: FIRST_PORT,
            destination_port: SERVER_PORT,
            destination_step: 1,
            source_port_step: 1,
            addresses: self.addresses,
            ports: self.ports,
            to: router,
            from: host,
            ..Plan::default()
        }
    }

    /// From the servers to `destination`.
    fn back(&self, destination: u32) -> Plan {
        let (router, host) = Lab::macs(Side::Outside);
        Plan {
            source: self.servers(),
            destination,
            source_port: SERVER_PORT,
            destination_port: FIRST_PORT,
            source_step: 1,
            destination_port_step: 1,
            addresses: self.addresses,
            ports: self.ports,
            to: router,
            from: host,
            ..Plan::default()
        }
    }
}
