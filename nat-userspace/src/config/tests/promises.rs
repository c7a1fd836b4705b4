//! What a checked configuration promises, asked again in the plainest way.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::promises_of_endpoints::{check_endpoints, serves};
use super::promises_of_filtering::{check_entries, check_filtering};
use super::promises_of_metadata::check_metadata;
use crate::config::{
    Config, Filtering, Ipv4Net, MAX_DNS_FORWARDERS, NatGateway, PassRule, PortRange, Profile,
    Protocol, Target, Vpc,
};
use crate::placement::{Site, tests::holds};

pub fn check_promises(config: &Config) -> Result<(), TestCaseError> {
    prop_assert!(!config.node.uplinks.is_empty() && !config.vpcs.is_empty());
    let mut public: Vec<Ipv4Addr> = Vec::new();
    let mut interfaces: Vec<(&str, &str)> = Vec::new();
    check_metadata(config)?;
    check_endpoints(config)?;
    if let Some(forwarders) = &config.node.dns_forwarders {
        prop_assert!((1..=MAX_DNS_FORWARDERS).contains(&forwarders.len()));
    }
    for vpc in &config.vpcs {
        check_apart(&vpc.cidrs)?;
        let domain = &vpc.private_domain;
        prop_assert!(!domain.is_empty() && domain.len() < 189 && !domain.ends_with("arpa"));
        prop_assert_eq!(domain, &domain.to_ascii_lowercase());
        let own = vpc.subnets.iter().map(|subnet| subnet.interface.as_str());
        interfaces.extend(own.map(|interface| (interface, vpc.name.as_str())));
        check_filtering(vpc)?;
        let subnet = |name: &str| vpc.subnets.iter().find(|subnet| subnet.name == name);
        let gateway = |name: &str| vpc.nat_gateways.iter().any(|gateway| gateway.name == name);
        for (n, one) in vpc.subnets.iter().enumerate() {
            prop_assert!(vpc.cidrs.iter().any(|cidr| cidr.contains(&one.cidr)));
            prop_assert!(one.route_table.is_none() || vpc.route_table_of(one).is_some());
            for other in &vpc.subnets[n + 1..] {
                prop_assert!(one.name != other.name);
                prop_assert!(!one.cidr.contains(&other.cidr) && !other.cidr.contains(&one.cidr));
            }
        }
        for gateway in &vpc.nat_gateways {
            check_gateway(vpc, gateway)?;
        }
        for table in &vpc.route_tables {
            check_entries(vpc, table)?;
        }
        for route in vpc.route_tables.iter().flat_map(|table| &table.routes) {
            match &route.target {
                Target::NatGateway(name) => prop_assert!(gateway(name)),
                Target::InternetGateway => prop_assert!(vpc.internet_gateway),
                Target::Instance(name) => {
                    let mut instances = vpc.instances.iter();
                    prop_assert!(instances.any(|one| one.name == *name && !one.source_dest_check));
                }
                Target::Endpoint(name) => {
                    let endpoint = vpc.endpoints.iter().find(|one| one.name == *name);
                    prop_assert!(endpoint.is_some_and(|endpoint| serves(vpc, endpoint, route)));
                }
                Target::Local | Target::Blackhole => {}
            }
        }
        let gateways = vpc
            .nat_gateways
            .iter()
            .map(|gateway| (&gateway.subnet, gateway.private_ip));
        let instances = vpc
            .instances
            .iter()
            .map(|instance| (&instance.subnet, instance.private_ip));
        let balancers = vpc
            .load_balancers
            .iter()
            .map(|balancer| (&balancer.subnet, balancer.private_ip));
        let endpoints = vpc.endpoints.iter().filter_map(|one| one.interface());
        let endpoints = endpoints
            .flat_map(|endpoint| &endpoint.interfaces)
            .map(|interface| (&interface.subnet, interface.private_ip));
        let mut private: Vec<_> = gateways
            .chain(instances)
            .chain(balancers)
            .chain(endpoints)
            .collect();
        for (name, address) in &private {
            prop_assert!(subnet(name).is_some_and(|subnet| subnet.cidr.contains(address)));
        }
        private.sort_by_key(|(_, address)| *address);
        prop_assert!(private.windows(2).all(|pair| pair[0].1 != pair[1].1));
        prop_assert!(holds(&Site::of(vpc)));
        public.extend(
            vpc.nat_gateways
                .iter()
                .flat_map(|gateway| gateway.addresses().iter().copied()),
        );
        public.extend(
            vpc.instances
                .iter()
                .filter_map(|instance| instance.public_ip),
        );
    }
    interfaces.sort();
    interfaces.dedup();
    prop_assert!(interfaces.windows(2).all(|pair| pair[0].0 != pair[1].0));
    let count = public.len();
    public.sort();
    public.dedup();
    prop_assert_eq!(public.len(), count);
    Ok(())
}

fn check_apart(blocks: &[Ipv4Net]) -> Result<(), TestCaseError> {
    for (n, one) in blocks.iter().enumerate() {
        let mut others = blocks[n + 1..].iter();
        prop_assert!(others.all(|other| !one.contains(other) && !other.contains(one)));
    }
    Ok(())
}

fn check_gateway(vpc: &Vpc, gateway: &NatGateway) -> Result<(), TestCaseError> {
    let own = |address: &Ipv4Addr| gateway.addresses().contains(address);
    let is_open = gateway.filtering == Filtering::EndpointIndependent;
    if gateway.profile == Profile::Aws {
        prop_assert_eq!(gateway.filtering, Filtering::AddressAndPortDependent);
        prop_assert!(gateway.forwards.is_empty() || gateway.shared_with_host);
        prop_assert!(gateway.max_ports_per_client.is_none());
    }
    prop_assert!(gateway.port_rest.is_zero() || is_open);
    for (n, entry) in gateway.address_ports.iter().enumerate() {
        prop_assert!(own(&entry.public_ip));
        let mut later = gateway.address_ports[n + 1..].iter();
        prop_assert!(later.all(|other| other.public_ip != entry.public_ip));
    }
    let sizes = gateway.addresses().iter().map(|address| {
        let ranges = gateway.ports_of(*address);
        let mut ports: Vec<u16> = ranges
            .iter()
            .flat_map(|range| range.first..=range.last)
            .collect();
        let count = ports.len();
        ports.sort();
        ports.dedup();
        (1..=4).contains(&ranges.len()) && ports.len() == count && ports[0] > 0
    });
    prop_assert!(sizes.into_iter().all(|is_pool| is_pool));
    check_forwards(vpc, gateway)?;
    if let Some(clients) = gateway.deterministic {
        let sizes = gateway.addresses().iter().map(|address| {
            gateway
                .ports_of(*address)
                .iter()
                .map(|range| u64::from(range.size()))
                .sum::<u64>()
        });
        let sizes: Vec<u64> = sizes.collect();
        let per_address = (1u64 << (32 - clients.prefix_len())).div_ceil(sizes.len() as u64);
        prop_assert!(
            sizes
                .iter()
                .all(|size| *size == sizes[0] && *size >= per_address)
        );
        for subnet in &vpc.subnets {
            let mut routes = vpc
                .route_table_of(subnet)
                .into_iter()
                .flat_map(|table| &table.routes);
            let routed =
                routes.any(|route| route.target == Target::NatGateway(gateway.name.clone()));
            prop_assert!(!routed || clients.contains(&subnet.cidr));
        }
    }
    let rules = crate::config::rules_by_prefix(gateway.no_translate.iter().copied());
    prop_assert!(rules.values().all(|rules| (1..=8).contains(&rules.len())));
    let covered = |net: &Ipv4Net, protocol: Option<Protocol>, port: Option<u16>| {
        let mut rules = gateway
            .no_translate
            .iter()
            .filter(|rule| rule.destination.contains(net));
        rules.any(|rule| covers(&rule.rule, protocol, port))
    };
    for (net, rules) in &rules {
        for protocol in [
            None,
            Some(Protocol::Tcp),
            Some(Protocol::Udp),
            Some(Protocol::Icmp),
        ] {
            for port in [None, Some(443), Some(53), Some(1500)] {
                let compiled = rules.iter().any(|rule| covers(rule, protocol, port));
                prop_assert_eq!(compiled, covered(net, protocol, port));
            }
        }
    }
    Ok(())
}

fn covers(rule: &PassRule, protocol: Option<Protocol>, port: Option<u16>) -> bool {
    let ports = match (rule.ports, port) {
        (None, _) => true,
        (Some(ports), Some(port)) => ports.contains(port),
        (Some(_), None) => false,
    };
    (rule.protocol.is_none() || rule.protocol == protocol) && ports
}

fn check_forwards(vpc: &Vpc, gateway: &NatGateway) -> Result<(), TestCaseError> {
    let meet = |a: PortRange, b: PortRange| a.first <= b.last && b.first <= a.last;
    for (n, forward) in gateway.forwards.iter().enumerate() {
        prop_assert!(gateway.addresses().contains(&forward.public_ip));
        prop_assert!(forward.protocol != Protocol::Icmp);
        prop_assert_eq!(forward.pairs().count(), forward.ports.size() as usize);
        let mut subnets = vpc.subnets.iter();
        prop_assert!(subnets.any(|subnet| subnet.cidr.contains(forward.to.ip())));
        for other in gateway.forwards[n + 1..]
            .iter()
            .filter(|other| other.protocol == forward.protocol)
        {
            let public = other.public_ip == forward.public_ip && meet(other.ports, forward.ports);
            let inside = other.to.ip() == forward.to.ip()
                && meet(other.inside_ports(), forward.inside_ports());
            prop_assert!(!public && !inside);
        }
    }
    Ok(())
}
