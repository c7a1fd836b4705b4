//! Who is behind a public address and port, as far as the configuration alone decides it: forwards,
//! and the blocks of deterministic gateways (RFC 7422). Nothing is asked of a running dataplane.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use nat_common::{address::Port, deterministic, port_pool::PortPool};
use serde::Serialize;

use crate::{
    config::{Config, NatGateway, PortRange, Protocol, Vpc, client_count},
    policy,
};

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
    let pool = policy::port_pool(gateway.ports_of(*public.ip())).map_err(|_| nobody())?;
    let size = pool.size();
    let (addresses, count) = (gateway.addresses().len() as u32, client_count(clients));
    let index = pool.index_of(Port::new(public.port()));
    let number = deterministic::client(size, addresses, count, slot, index).ok_or_else(nobody)?;
    let block = deterministic::block(size, addresses, count, number).ok_or_else(nobody)?;
    let first = u32::from(clients.network());
    let source = first.checked_add(number).ok_or_else(nobody)?;
    Ok((source.into(), ranges(&pool, block.first, block.size)))
}

/// The ports of a block as the ranges they are made of.
fn ranges(pool: &PortPool, first: u32, size: u32) -> Vec<String> {
    let (mut before, end) = (0, first + size);
    let mut parts = Vec::new();
    for range in pool.ranges() {
        let (from, to) = (first.max(before), end.min(before + range.size()));
        if from < to {
            let part = PortRange {
                first: pool.port_at(from).get(),
                last: pool.port_at(to - 1).get(),
            };
            parts.push(part.to_string());
        }
        before += range.size();
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config;

    fn config(gateway: &str) -> Config {
        let text = format!(
            "node.uplink = [\"eth0\"]\n[[vpc]]\nname = \"main\"\ncidrs = [\"10.0.0.0/16\"]\ninternet_gateway = true\n\
             [[vpc.subnet]]\nname = \"a\"\ncidr = \"10.0.0.0/24\"\ninterface = \"eth1\"\n\
             [[vpc.route_table]]\nname = \"t\"\nmain = true\n\
             routes = [{{ destination = \"0.0.0.0/0\", target = \"internet-gateway\" }}]\n\
             [[vpc.instance]]\nname = \"web\"\nsubnet = \"a\"\nprivate_ip = \"10.0.0.9\"\npublic_ip = \"192.0.2.9\"\n\
             [[vpc.nat_gateway]]\nname = \"egress\"\nsubnet = \"a\"\nprivate_ip = \"10.0.0.4\"\n\
             profile = \"rfc\"\n{gateway}\n"
        );
        config::parse("f", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn at(config: &Config, public: &str) -> Result<Vec<Holder>, NotCovered> {
        lookup(config, public.parse().unwrap())
    }

    #[test]
    fn a_forward_comes_before_the_block_of_its_port() {
        let config = config(
            "public_ips = [\"192.0.2.1\"]\ndeterministic = \"10.0.0.0/24\"\nports = [\"1000-1511\", \"2000-2511\"]\n\
             forward = [{ protocol = \"udp\", port = \"1010-1012\", to = \"10.0.0.7:53\" }]",
        );
        let holders = at(&config, "192.0.2.1:1011").unwrap();
        let [forward, block] = holders.as_slice() else {
            panic!("{holders:?}");
        };
        assert_eq!(forward.protocols, ["udp"]);
        assert_eq!(forward.source, Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!(forward.by, By::Forward { source_port: 54 });
        assert_eq!(block.protocols, ["tcp", "icmp"]);
        assert_eq!(block.source, Ipv4Addr::new(10, 0, 0, 2));
        let ports = vec!["1008-1011".to_owned()];
        assert_eq!(block.by, By::Deterministic { ports });
    }

    #[test]
    fn what_the_configuration_does_not_say_is_said() {
        let dynamic = config("public_ips = [\"192.0.2.1\"]");
        let gateway = "egress".to_owned();
        let said = |public| at(&dynamic, public).unwrap_err();
        assert_eq!(said("192.0.2.2:80"), NotCovered::UnknownAddress);
        assert_eq!(said("192.0.2.1:2000"), NotCovered::Dynamic { gateway });
        assert!(matches!(said("192.0.2.9:80"), NotCovered::Elastic { .. }));
    }

    #[test]
    fn rfc7422_every_port_belongs_to_one_client_or_to_nobody() {
        let config = config(
            "public_ips = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\"]\ndeterministic = \"10.0.0.0/24\"\n\
             ports = [\"1000-1499\", \"3000-3404\"]\n\
             address_ports = [{ public_ip = \"192.0.2.2\", ports = [\"5000-5904\"] }]",
        );
        let mut blocks: BTreeMap<Ipv4Addr, (Ipv4Addr, Vec<String>, u32)> = BTreeMap::new();
        for last in 1..=3 {
            for port in 1..=u16::MAX {
                let public = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), port);
                let Ok(holders) = lookup(&config, public) else {
                    continue;
                };
                let [holder] = holders.as_slice() else {
                    panic!("{holders:?}");
                };
                let By::Deterministic { ports } = &holder.by else {
                    panic!("{holder:?}");
                };
                let (ip, block, count) = blocks
                    .entry(holder.source)
                    .or_insert_with(|| (*public.ip(), ports.clone(), 0));
                assert_eq!((*ip, &*block), (*public.ip(), ports));
                *count += 1;
            }
        }
        // 86 clients on each of two addresses, 84 on the third; 905 ports are 10 for each of 86.
        assert_eq!(blocks.len(), 256);
        assert!(blocks.values().all(|(_, _, count)| *count == 10));
        let (_, ports, _) = &blocks[&Ipv4Addr::new(10, 0, 0, 50)];
        assert_eq!(ports, &["3000-3009"]);
    }
}
