//! Who is behind a public address and port, as far as the configuration alone decides it: forwards,
//! and the blocks of deterministic gateways (RFC 7422). Nothing is asked of a running dataplane.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use nat_common::deterministic;
use serde::Serialize;

use crate::config::{Config, NatGateway, PortRange, Protocol, Vpc, client_count};

/// One host behind the port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// For which protocols.
    pub protocols: Vec<&'static str>,
    /// The address asked for.
    pub public_ip: Ipv4Addr,
    /// The port asked for.
    pub public_port: u16,
    /// The NAT gateway.
    pub gateway: String,
    /// Its VPC.
    pub vpc: String,
    /// The inside host.
    pub source: Ipv4Addr,
    /// How it comes to the port.
    #[serde(flatten)]
    pub by: By,
}

/// How a host comes to a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum By {
    /// A forward leads to it.
    Forward {
        /// The host's port.
        source_port: u16,
    },
    /// The port lies in its block.
    Deterministic {
        /// All ports of the block.
        ports: Vec<String>,
    },
}

/// Why the configuration does not say who is behind a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCovered {
    /// No NAT gateway has the address.
    UnknownAddress,
    /// An instance has it for itself.
    Elastic {
        /// The instance.
        instance: String,
        /// Its private address.
        private_ip: Ipv4Addr,
    },
    /// The gateway chooses ports as sessions come.
    Dynamic {
        /// The gateway.
        gateway: String,
    },
    /// The port is in nobody's block.
    Nobody {
        /// The gateway.
        gateway: String,
    },
}

impl fmt::Display for NotCovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAddress => {
                write!(f, "no NAT gateway of this configuration has the address")
            }
            Self::Elastic {
                instance,
                private_ip,
            } => write!(
                f,
                "the address is that of instance {instance} alone, {private_ip}"
            ),
            Self::Dynamic { gateway } => write!(
                f,
                "NAT gateway {gateway} is not deterministic: its ports serve whoever needs one; \
                 `nat sessions` shows who does now"
            ),
            Self::Nobody { gateway } => {
                write!(f, "NAT gateway {gateway} gives the port to no client")
            }
        }
    }
}

/// Who is behind the port; several when it depends on the protocol.
///
/// # Errors
///
/// Why the configuration does not say.
pub fn lookup(config: &Config, public: SocketAddrV4) -> Result<Vec<Holder>, NotCovered> {
    for vpc in &config.vpcs {
        for gateway in &vpc.nat_gateways {
            let mut addresses = gateway.addresses().iter();
            if let Some(slot) = addresses.position(|address| address == public.ip()) {
                return behind(vpc, gateway, slot as u32, public);
            }
        }
        let has_it = |instance: &&crate::config::Instance| instance.public_ip == Some(*public.ip());
        if let Some(instance) = vpc.instances.iter().find(has_it) {
            return Err(NotCovered::Elastic {
                instance: instance.name.clone(),
                private_ip: instance.private_ip,
            });
        }
    }
    Err(NotCovered::UnknownAddress)
}

fn behind(
    vpc: &Vpc,
    gateway: &NatGateway,
    slot: u32,
    public: SocketAddrV4,
) -> Result<Vec<Holder>, NotCovered> {
    let holder = |protocols, source, by| Holder {
        protocols,
        public_ip: *public.ip(),
        public_port: public.port(),
        gateway: gateway.name.clone(),
        vpc: vpc.name.clone(),
        source,
        by,
    };
    let mut rest = vec![Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
    let mut holders = Vec::new();
    for forward in gateway
        .forwards
        .iter()
        .filter(|forward| forward.public_ip == *public.ip())
    {
        let to = forward
            .pairs()
            .find(|(outside, _)| *outside == public.port());
        if let Some((_, source_port)) = to {
            let protocols = vec![forward.protocol.name()];
            holders.push(holder(
                protocols,
                *forward.to.ip(),
                By::Forward { source_port },
            ));
            rest.retain(|protocol| *protocol != forward.protocol);
        }
    }
    match client(gateway, slot, public) {
        Ok((source, ports)) => {
            let protocols = rest.into_iter().map(Protocol::name).collect();
            holders.push(holder(protocols, source, By::Deterministic { ports }));
        }
        Err(reason) if holders.is_empty() => return Err(reason),
        Err(_) => {}
    }
    Ok(holders)
}

/// The client whose block the port lies in, and the block.
fn client(
    gateway: &NatGateway,
    slot: u32,
    public: SocketAddrV4,
) -> Result<(Ipv4Addr, Vec<String>), NotCovered> {
    let name = || gateway.name.clone();
    let Some(clients) = gateway.deterministic else {
        return Err(NotCovered::Dynamic { gateway: name() });
    };
    let nobody = || NotCovered::Nobody { gateway: name() };
    let pool = gateway.ports_of(*public.ip());
    let size = pool.iter().map(|range| range.size()).sum();
    let (addresses, count) = (gateway.addresses().len() as u32, client_count(clients));
    let index = index_in(pool, public.port()).ok_or_else(nobody)?;
    let number = deterministic::client(size, addresses, count, slot, index).ok_or_else(nobody)?;
    let block = deterministic::block(size, addresses, count, number).ok_or_else(nobody)?;
    let first = u32::from(clients.network());
    let source = first.checked_add(number).ok_or_else(nobody)?;
    Ok((source.into(), ranges(pool, block.first, block.size)))
}

fn index_in(pool: &[PortRange], port: u16) -> Option<u32> {
    let mut before = 0;
    for range in pool {
        if range.contains(port) {
            return Some(before + u32::from(port - range.first));
        }
        before += range.size();
    }
    None
}

/// The ports of a block as the ranges they are made of.
fn ranges(pool: &[PortRange], first: u32, size: u32) -> Vec<String> {
    let (mut before, end) = (0, first + size);
    let mut parts = Vec::new();
    for range in pool {
        let (from, to) = (first.max(before), end.min(before + range.size()));
        if from < to {
            let port = |index: u32| range.first + (index - before) as u16;
            let part = PortRange {
                first: port(from),
                last: port(to - 1),
            };
            parts.push(part.to_string());
        }
        before += range.size();
    }
    parts
}
