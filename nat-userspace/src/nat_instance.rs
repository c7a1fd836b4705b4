//! The configuration behind `nat run --uplink eth0 --inside eth1`: one VPC whose hosts are
//! translated to the uplink's own address, which the host goes on using.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use ipnet::Ipv4Net;

use crate::{
    config::{
        Attach, Clash, Config, DEFAULT_ICMP_ERRORS_PER_SECOND, DEFAULT_MAX_SESSIONS,
        DEFAULT_NODE_NAME, DEFAULT_PORT_REST, DEFAULT_PRIVATE_DOMAIN, DEFAULT_REGION, Destination,
        Filtering, Forward, NatGateway, Node, PortRange, Profile, Protocol, Route, RouteTable,
        Subnet, Target, Timeouts, Vpc, clashes, most_forwarded_ports,
    },
    error::{Error, Result},
    host::{self, HostInterface},
};

/// Names in the tables of a NAT instance.
const VPC: &str = "default";
const TABLE: &str = "inside";
const GATEWAY: &str = "nat-instance";

/// What the command line says.
#[derive(Clone, Debug)]
pub struct NatInstance {
    /// Leads outside.
    pub uplink: String,
    /// Where the hosts are; may be the uplink.
    pub inside: String,
    /// Their addresses; empty means the inside interface's networks.
    pub inside_cidrs: Vec<Ipv4Net>,
    /// Which hook.
    pub attach: Attach,
    /// Ports to translate to; empty means those that the host does not pick for itself.
    pub ports: Vec<PortRange>,
    /// Size of the session table.
    pub max_sessions: Option<u32>,
    /// What is let in.
    pub forwards: Vec<PortForward>,
    /// Whose translation rules it follows.
    pub profile: Profile,
    /// Who outside may write to a mapping; `None` is the profile's default.
    pub filtering: Option<Filtering>,
}

/// Ports of the uplink's address that lead inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The uplink's ports.
    pub ports: PortRange,
    /// Where the first one leads; the others lead to the ports behind it.
    pub to: SocketAddrV4,
}

/// As on the command line.
impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.protocol.name(), self.ports, self.to)
    }
}

impl NatInstance {
    /// The same as a configuration file would say.
    ///
    /// # Errors
    ///
    /// A missing interface, an uplink without an address, nothing that says who is inside, or settings
    /// that contradict each other.
    pub fn config(&self) -> Result<Config> {
        let uplink = host::interface(&self.uplink)?;
        let inside = host::interface(&self.inside)?;
        let public = uplink.addresses.first().ok_or_else(|| Error::NoAddress {
            interface: self.uplink.clone(),
            why: "it is what inside hosts are translated to",
        })?;
        let cidrs = self.cidrs(&inside)?;
        if self.profile == Profile::Aws && self.filtering.is_some() {
            return Err(Error::Usage(
                "profile aws always filters by address and port; leave --filtering out, or add \
                 --profile rfc"
                    .to_owned(),
            ));
        }
        let forwards = self.forwards(public.addr(), &cidrs)?;
        Ok(self.with_facts(public.addr(), &cidrs, forwards))
    }

    fn forwards(&self, public: Ipv4Addr, cidrs: &[Ipv4Net]) -> Result<Vec<Forward>> {
        for forward in &self.forwards {
            let inside = forward.to.ip();
            if !cidrs.iter().any(|cidr| cidr.contains(inside)) {
                return Err(Error::Usage(format!(
                    "--forward {forward}: {inside} is not inside; name a host in {}",
                    cidrs
                        .iter()
                        .map(Ipv4Net::to_string)
                        .collect::<Vec<_>>()
                        .join(" or ")
                )));
            }
        }
        let ports: u32 = self
            .forwards
            .iter()
            .map(|forward| forward.ports.size())
            .sum();
        let most = most_forwarded_ports(self.max_sessions.unwrap_or(DEFAULT_MAX_SESSIONS));
        if ports > most {
            return Err(Error::Usage(format!(
                "{ports} ports are forwarded; forward at most {most}, half of --max-sessions"
            )));
        }
        let forwards: Vec<Forward> = self
            .forwards
            .iter()
            .map(|forward| Forward {
                protocol: forward.protocol,
                ports: forward.ports,
                public_ip: public,
                to: forward.to,
            })
            .collect();
        if let Some((earlier, later, clash)) = clashes(&forwards).first() {
            let (earlier, later) = (self.forwards[*earlier], self.forwards[*later]);
            return Err(Error::Usage(match clash {
                Clash::Public => format!(
                    "--forward {earlier} and --forward {later} have a port in common; forward each \
                     port once"
                ),
                Clash::Inside => format!(
                    "--forward {earlier} and --forward {later} lead to the same port; forward to each \
                     inside port once"
                ),
            }));
        }
        Ok(forwards)
    }

    fn cidrs(&self, inside: &HostInterface) -> Result<Vec<Ipv4Net>> {
        if !self.inside_cidrs.is_empty() {
            return Ok(self.inside_cidrs.iter().map(Ipv4Net::trunc).collect());
        }
        if inside.addresses.is_empty() {
            return Err(Error::NoAddress {
                interface: inside.name.clone(),
                why: "its networks say who is inside (or give --inside-cidr)",
            });
        }
        Ok(inside.addresses.iter().map(Ipv4Net::trunc).collect())
    }

    fn with_facts(&self, public: Ipv4Addr, cidrs: &[Ipv4Net], forwards: Vec<Forward>) -> Config {
        let filtering = match self.profile {
            Profile::Aws => Filtering::AddressAndPortDependent,
            Profile::Rfc => self.filtering.unwrap_or_default(),
        };
        let subnets: Vec<_> = cidrs
            .iter()
            .enumerate()
            .map(|(index, cidr)| Subnet {
                name: format!("inside-{index}"),
                cidr: *cidr,
                zone: None,
                interface: self.inside.clone(),
                route_table: Some(TABLE.to_owned()),
                network_acl: None,
            })
            .collect();
        Config {
            node: Node {
                name: DEFAULT_NODE_NAME.to_owned(),
                region: DEFAULT_REGION.to_owned(),
                uplinks: vec![self.uplink.clone()],
                attach: self.attach,
                max_sessions: self.max_sessions.unwrap_or(DEFAULT_MAX_SESSIONS),
                icmp_errors_per_second: DEFAULT_ICMP_ERRORS_PER_SECOND,
                log_destinations: false,
                metadata: false,
                dns_forwarders: None,
            },
            vpcs: vec![Vpc {
                name: VPC.to_owned(),
                cidrs: cidrs.to_vec(),
                internet_gateway: true,
                strict: false,
                dns: false,
                private_domain: DEFAULT_PRIVATE_DOMAIN.to_owned(),
                nat_gateways: vec![NatGateway {
                    public_ips: vec![public],
                    ports: self.ports(),
                    profile: self.profile,
                    filtering,
                    port_rest: match filtering {
                        Filtering::EndpointIndependent => DEFAULT_PORT_REST,
                        _ => Duration::ZERO,
                    },
                    forwards,
                    timeouts: Timeouts::of(self.profile),
                    shared_with_host: true,
                    ..NatGateway::new(
                        GATEWAY,
                        subnets.first().map_or("", |subnet| subnet.name.as_str()),
                        public,
                    )
                }],
                subnets,
                route_tables: vec![RouteTable {
                    name: TABLE.to_owned(),
                    main: true,
                    routes: vec![Route {
                        destination: Destination::Cidr(Ipv4Net::default()),
                        target: Target::NatGateway(GATEWAY.to_owned()),
                    }],
                }],
                instances: Vec::new(),
                prefix_lists: Vec::new(),
                security_groups: Vec::new(),
                network_acls: Vec::new(),
                racks: Vec::new(),
                hosts: Vec::new(),
                placement_groups: Vec::new(),
                target_groups: Vec::new(),
                load_balancers: Vec::new(),
                endpoint_services: Vec::new(),
                endpoint_acceptances: Vec::new(),
                endpoints: Vec::new(),
                proxies: Vec::new(),
            }],
        }
    }

    fn ports(&self) -> Vec<PortRange> {
        if self.ports.is_empty() {
            besides(host::ephemeral_ports())
        } else {
            self.ports.clone()
        }
    }
}

/// The unprivileged ports that the host does not pick for its own connections: an answer to one of
/// them can only be meant for a host inside. All of them when nothing is left.
fn besides((first, last): (u16, u16)) -> Vec<PortRange> {
    let all = PortRange::default();
    let mut ranges = Vec::new();
    if first > all.first {
        ranges.push(PortRange {
            first: all.first,
            last: first - 1,
        });
    }
    if last < all.last {
        ranges.push(PortRange {
            first: last.max(all.first - 1) + 1,
            last: all.last,
        });
    }
    if ranges.is_empty() { vec![all] } else { ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ephemeral: (u16, u16)) -> Vec<(u16, u16)> {
        besides(ephemeral)
            .iter()
            .map(|range| (range.first, range.last))
            .collect()
    }

    #[test]
    fn the_hosts_own_ports_are_left_to_it() {
        assert_eq!(ranges((32_768, 60_999)), [(1024, 32_767), (61_000, 65_535)]);
        assert_eq!(ranges((1024, 60_999)), [(61_000, 65_535)]);
        assert_eq!(ranges((32_768, 65_535)), [(1024, 32_767)]);
        assert_eq!(ranges((1, 500)), [(1024, 65_535)]);
        assert_eq!(ranges((1024, 65_535)), [(1024, 65_535)]);
    }
}
