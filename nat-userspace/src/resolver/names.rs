//! What is known of all VPCs' names at one moment, and what it answers. No socket is in here.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::OnceLock};

use hickory_proto::rr::{
    Name, RData, RecordType,
    rdata::{A, HINFO, PTR, SOA},
};
use ipnet::Ipv4Net;
use rustc_hash::{FxHashMap, FxHashSet};

use super::reverse::{self, Reverse};
use crate::config::{Config, EndpointState, Vpc, derived_hostname, endpoint_dns_name};

/// How long an answer about an own name holds, in seconds, also that there is none (RFC 2308).
pub const TTL_SECONDS: u32 = 60;
/// Addresses that an answer has at most: they fit into every datagram that is not small.
pub const MOST_ADDRESSES: usize = 64;

/// Of a configuration, what names are answered from. It does not change; another configuration has another
/// one.
#[derive(Debug, Default)]
pub struct Names {
    forwarders: Option<Vec<Ipv4Addr>>,
    vpcs: FxHashMap<String, Told>,
}

/// What a VPC's names are made of. They are made for the first query: changes of the configuration that nobody
/// asks between cost no more than this.
#[derive(Debug)]
struct Told {
    domain: String,
    cidrs: Vec<Ipv4Net>,
    hosts: Vec<Host>,
    endpoints: Vec<Endpoint>,
    zone: OnceLock<Option<Zone>>,
}

#[derive(Debug)]
struct Host {
    name: String,
    /// Where it is not the one by its address.
    hostname: Option<String>,
    private_ip: Ipv4Addr,
}

/// An interface endpoint that carries packets.
#[derive(Debug)]
struct Endpoint {
    name: String,
    private_dns: Vec<String>,
    addresses: Vec<Ipv4Addr>,
}

/// The names of a VPC, which no other VPC sees.
#[derive(Debug)]
struct Zone {
    /// Every name below it is the VPC's, whether it is there or not.
    domain: Name,
    /// Likewise the names of addresses in these.
    cidrs: Vec<Ipv4Net>,
    /// In lower case, without a dot at the end.
    addresses: FxHashMap<String, Vec<Ipv4Addr>>,
    /// Names without anything of their own, below which there are some of `addresses` (RFC 8020).
    between: FxHashSet<String>,
    hostnames: BTreeMap<Ipv4Addr, String>,
}

/// What a VPC knows of a name.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// It is there.
    Name {
        /// The zone it is in.
        zone: Name,
        /// What it has of the type that was asked for; nothing: only other types.
        data: Vec<RData>,
    },
    /// It is the VPC's, and not there.
    Nothing {
        /// The zone it would be in.
        zone: Name,
    },
    /// Others have to be asked.
    Foreign,
}

impl Names {
    /// Of everything that is configured. It takes time and memory by the number of instances, and so does the
    /// first query about a VPC.
    pub fn of(config: &Config) -> Self {
        let answered = config.vpcs.iter().filter(|vpc| vpc.dns);
        Self {
            forwarders: config.node.dns_forwarders.clone(),
            vpcs: answered
                .map(|vpc| (vpc.name.clone(), Told::of(config, vpc)))
                .collect(),
        }
    }

    /// Who is asked about foreign names, the first one first; `None`: whom the host asks.
    pub fn forwarders(&self) -> Option<&[Ipv4Addr]> {
        self.forwarders.as_deref()
    }

    /// What the VPC of this name knows about `name`; `None`: it has no resolver. Of all types together,
    /// `RecordType::ANY`, there is one record that says nothing (RFC 8482 4.2).
    pub fn find(&self, vpc: &str, name: &Name, of_type: RecordType) -> Option<Found> {
        let found = self.vpcs.get(vpc)?.zone()?.find(name, of_type);
        let found = match found {
            Found::Name { zone, mut data } => {
                if of_type == RecordType::ANY {
                    data = vec![RData::HINFO(HINFO::new(
                        "RFC8482".to_owned(),
                        String::new(),
                    ))];
                } else if of_type == RecordType::SOA && zone == *name {
                    data = vec![RData::SOA(soa(&zone))];
                }
                Found::Name { zone, data }
            }
            other => other,
        };
        Some(found)
    }
}

impl Told {
    fn of(config: &Config, vpc: &Vpc) -> Self {
        let hosts = vpc.instances.iter().map(|instance| Host {
            name: instance.name.clone(),
            hostname: instance.metadata.hostname.clone(),
            private_ip: instance.private_ip,
        });
        let endpoints = vpc.endpoints.iter().filter_map(|endpoint| {
            let state = config.endpoint_state(vpc, endpoint)?;
            let interface = endpoint.interface()?;
            let addresses = interface.interfaces.iter().map(|one| one.private_ip);
            (state == EndpointState::Available).then(|| Endpoint {
                name: endpoint.name.clone(),
                private_dns: interface.private_dns.clone(),
                addresses: addresses.collect(),
            })
        });
        Self {
            domain: vpc.private_domain.clone(),
            cidrs: vpc.cidrs.clone(),
            hosts: hosts.collect(),
            endpoints: endpoints.collect(),
            zone: OnceLock::new(),
        }
    }

    fn zone(&self) -> Option<&Zone> {
        self.zone.get_or_init(|| Zone::of(self)).as_ref()
    }
}

impl Zone {
    /// The one place where names come from: whatever else is to lead to private addresses belongs in here.
    /// `None` does not occur: the domain of a checked configuration is a name.
    fn of(vpc: &Told) -> Option<Self> {
        let mut zone = Self {
            domain: Name::from_ascii(format!("{}.", vpc.domain)).ok()?,
            cidrs: vpc.cidrs.clone(),
            addresses: FxHashMap::default(),
            between: FxHashSet::default(),
            hostnames: BTreeMap::new(),
        };
        zone.addresses.reserve(2 * vpc.hosts.len());
        for instance in &vpc.hosts {
            let hostname = instance
                .hostname
                .clone()
                .unwrap_or_else(|| derived_hostname(instance.private_ip));
            zone.add(&hostname, &vpc.domain, instance.private_ip);
            // The configuration takes names that DNS does not.
            if is_name(&instance.name) {
                let name = format!("{}.{}", instance.name, vpc.domain);
                zone.add(&name, &vpc.domain, instance.private_ip);
            }
            zone.hostnames.insert(instance.private_ip, hostname);
        }
        zone.add_endpoints(vpc);
        Some(zone)
    }

    /// As on AWS, a name of an endpoint hides what else had it.
    fn add_endpoints(&mut self, vpc: &Told) {
        let of_endpoint = |endpoint: &Endpoint| {
            let name = endpoint_dns_name(&endpoint.name, &vpc.domain);
            let is_name = is_name(&name).then_some(name);
            is_name.into_iter().chain(endpoint.private_dns.clone())
        };
        for name in vpc.endpoints.iter().flat_map(of_endpoint) {
            self.addresses.remove(&name);
        }
        for endpoint in &vpc.endpoints {
            for name in of_endpoint(endpoint) {
                for address in &endpoint.addresses {
                    self.add(&name, &vpc.domain, *address);
                    // The first one is that of the endpoint itself.
                    let pointer = self.hostnames.entry(*address);
                    pointer.or_insert_with(|| name.clone());
                }
            }
        }
    }

    /// Lets a name lead to one more address.
    fn add(&mut self, name: &str, domain: &str, address: Ipv4Addr) {
        let name = name.to_ascii_lowercase();
        let inner = name
            .strip_suffix(domain)
            .and_then(|inner| inner.strip_suffix('.'));
        for (at, _) in inner.unwrap_or_default().match_indices('.') {
            if let Some(above) = name.get(at + 1..) {
                self.between.insert(above.to_owned());
            }
        }
        let addresses = self.addresses.entry(name).or_default();
        // An instance may have one name in both ways.
        if addresses.last() != Some(&address) {
            addresses.push(address);
        }
    }

    fn find(&self, name: &Name, of_type: RecordType) -> Found {
        if let Some(reverse) = reverse::read(name)
            && let Some(cidr) = self.cidrs.iter().find(|cidr| cidr.contains(&reverse.net))
        {
            return self.find_reverse(name, &reverse, cidr, of_type);
        }
        let is_inside = self.domain.zone_of(name);
        let text = text(name);
        if let Some(addresses) = text.as_ref().and_then(|text| self.addresses.get(text)) {
            let addresses = addresses.iter().take(MOST_ADDRESSES);
            return Found::Name {
                // A host name elsewhere is a zone of its own: it says nothing about its neighbours.
                zone: if is_inside { &self.domain } else { name }.clone(),
                data: match of_type {
                    RecordType::A => addresses.map(|each| RData::A(A(*each))).collect(),
                    _ => Vec::new(),
                },
            };
        }
        if !is_inside {
            return Found::Foreign;
        }
        let zone = self.domain.clone();
        if *name == zone || text.is_some_and(|text| self.between.contains(&text)) {
            let data = Vec::new();
            return Found::Name { zone, data };
        }
        Found::Nothing { zone }
    }

    fn find_reverse(
        &self,
        name: &Name,
        reverse: &Reverse,
        cidr: &Ipv4Net,
        of_type: RecordType,
    ) -> Found {
        let zone = reverse::zone(name, cidr);
        let addresses = reverse.net.network()..=reverse.net.broadcast();
        let mut below = self.hostnames.range(addresses);
        let first = below.next();
        if !reverse.is_whole || (first.is_none() && *name != zone) {
            return Found::Nothing { zone };
        }
        let is_address = reverse.net.prefix_len() == 32;
        let hostname = first.filter(|_| is_address && of_type == RecordType::PTR);
        let pointer = hostname.and_then(|(_, name)| Name::from_ascii(format!("{name}.")).ok());
        let data = pointer.map(|name| RData::PTR(PTR(name)));
        Found::Name {
            zone,
            data: data.into_iter().collect(),
        }
    }
}

/// DNS takes its labels.
fn is_name(name: &str) -> bool {
    let mut labels = name.split('.');
    labels.all(|label| (1..64).contains(&label.len()))
}

/// Of a zone (RFC 1035 3.3.13). Nobody copies it, so most of it means nothing; the last number is how long
/// something may be known not to be there.
pub fn soa(zone: &Name) -> SOA {
    SOA::new(
        zone.clone(),
        zone.clone(),
        1,
        3600,
        600,
        86_400,
        TTL_SECONDS,
    )
}

/// As [`Zone::add`] has it; `None` for what no such name has in it.
fn text(name: &Name) -> Option<String> {
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            let byte = byte.to_ascii_lowercase();
            if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') {
                return None;
            }
            text.push(char::from(byte));
        }
    }
    Some(text)
}
