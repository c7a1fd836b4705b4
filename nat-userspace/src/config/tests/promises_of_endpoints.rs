//! What a checked configuration promises about endpoints, load balancers and proxies.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::config::{
    Config, Destination, Endpoint, EndpointKind, Front, HealthCheck, HealthCheckKind,
    MAX_ENDPOINT_INTERFACES, MAX_ENDPOINTS, MAX_LISTENERS, MAX_PROXY_PORTS, MAX_TARGETS, Protocol,
    Proxy, Route, Vpc,
};

pub fn check_endpoints(config: &Config) -> Result<(), TestCaseError> {
    let mut interfaces = 0;
    for vpc in &config.vpcs {
        prop_assert!(vpc.endpoints.len() <= MAX_ENDPOINTS);
        check_balancing(vpc)?;
        check_services(vpc)?;
        check_proxies(vpc)?;
        let mut names = Vec::new();
        for endpoint in &vpc.endpoints {
            check_endpoint(config, vpc, endpoint)?;
            if let Some(interface) = endpoint.interface() {
                interfaces += interface.interfaces.len();
                names.extend(&interface.private_dns);
            }
        }
        prop_assert!(is_unique(&names));
        prop_assert!(names.iter().all(|name| **name == name.to_ascii_lowercase()));
    }
    prop_assert!(interfaces <= MAX_ENDPOINT_INTERFACES);
    Ok(())
}

fn is_unique<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() == items.len()
}

fn has_instance(vpc: &Vpc, name: &str) -> bool {
    vpc.instances.iter().any(|one| one.name == name)
}

fn has_subnet(vpc: &Vpc, name: &str) -> bool {
    vpc.subnets.iter().any(|one| one.name == name)
}

fn check_endpoint(config: &Config, vpc: &Vpc, endpoint: &Endpoint) -> Result<(), TestCaseError> {
    match &endpoint.kind {
        EndpointKind::Gateway(gateway) => {
            prop_assert!(!gateway.prefix_lists.is_empty() && is_unique(&gateway.prefix_lists));
            for name in &gateway.prefix_lists {
                prop_assert!(vpc.prefix_lists.iter().any(|list| list.name == *name));
            }
            for statement in &gateway.policy {
                let mut instances = statement.instances.iter();
                prop_assert!(instances.all(|name| has_instance(vpc, name)));
                prop_assert!(is_unique(&statement.instances));
            }
        }
        EndpointKind::Interface(interface) => {
            let subnets: Vec<_> = interface.interfaces.iter().map(|one| &one.subnet).collect();
            prop_assert!(!subnets.is_empty() && is_unique(&subnets));
            for name in &interface.security_groups {
                prop_assert!(vpc.security_groups.iter().any(|group| group.name == *name));
            }
            match &interface.front {
                Front::Service {
                    vpc: provider,
                    service,
                } => {
                    prop_assert!(*provider != vpc.name);
                    let provider = config.vpcs.iter().find(|one| one.name == *provider);
                    let services = provider.into_iter().flat_map(|vpc| &vpc.endpoint_services);
                    let mut named = services.filter(|one| one.name == *service);
                    prop_assert!(named.any(|service| service.allows(&vpc.name)));
                }
                Front::Address {
                    address,
                    nat_gateway,
                } => {
                    prop_assert!(!vpc.cidrs.iter().any(|cidr| cidr.contains(address)));
                    let mut gateways = vpc.nat_gateways.iter();
                    let is_there = |name: &String| gateways.any(|gateway| gateway.name == *name);
                    prop_assert!(nat_gateway.as_ref().is_none_or(is_there));
                }
            }
        }
    }
    Ok(())
}

/// What a route leads to an endpoint is what the endpoint serves.
pub fn serves(vpc: &Vpc, endpoint: &Endpoint, route: &Route) -> bool {
    let EndpointKind::Gateway(gateway) = &endpoint.kind else {
        return false;
    };
    let mut lists = gateway.prefix_lists.iter();
    match &route.destination {
        Destination::PrefixList(name) => lists.any(|list| list == name),
        Destination::Cidr(prefix) => {
            let served = vpc.prefix_lists.iter();
            let served = served.filter(|list| gateway.prefix_lists.contains(&list.name));
            let mut entries = served.flat_map(|list| &list.entries);
            entries.any(|entry| entry.contains(prefix))
        }
    }
}

fn check_balancing(vpc: &Vpc) -> Result<(), TestCaseError> {
    for balancer in &vpc.load_balancers {
        prop_assert!(balancer.listeners.len() <= MAX_LISTENERS);
        let listeners = balancer.listeners.iter();
        let ports: Vec<_> = listeners.map(|one| (one.protocol, one.port)).collect();
        prop_assert!(is_unique(&ports) && ports.iter().all(|(_, port)| *port != 0));
        for listener in &balancer.listeners {
            let mut groups = vpc.target_groups.iter();
            let group = groups.find(|group| group.name == listener.target_group);
            prop_assert!(group.is_some_and(|group| group.protocol == listener.protocol));
        }
    }
    for group in &vpc.target_groups {
        prop_assert!(group.targets.len() <= MAX_TARGETS && is_unique(&group.targets));
        prop_assert!(group.targets.iter().all(|name| has_instance(vpc, name)));
        prop_assert!(group.protocol == Protocol::Tcp || !group.proxy_protocol_v2);
        prop_assert!(group.protocol != Protocol::Icmp && group.port != 0);
        prop_assert!(group.deregistration_delay.as_secs() <= 3600);
        check_health(&group.health_check)?;
    }
    Ok(())
}

fn check_health(check: &HealthCheck) -> Result<(), TestCaseError> {
    prop_assert!((1..=300).contains(&check.interval.as_secs()));
    prop_assert!(check.timeout.as_secs() >= 1 && check.timeout <= check.interval);
    prop_assert!((1..=10).contains(&check.healthy_threshold));
    prop_assert!((1..=10).contains(&check.unhealthy_threshold));
    prop_assert!(check.port != Some(0));
    if let HealthCheckKind::Http { path } = &check.kind {
        prop_assert!(path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic()));
    }
    Ok(())
}

fn check_services(vpc: &Vpc) -> Result<(), TestCaseError> {
    for service in &vpc.endpoint_services {
        let mut balancers = vpc.load_balancers.iter();
        prop_assert!(balancers.any(|balancer| balancer.name == service.load_balancer));
        let mut accepted = service.accepted.iter();
        prop_assert!(accepted.all(|name| !service.rejected.contains(name)));
        let mut named = service.accepted.iter().chain(&service.rejected);
        prop_assert!(named.all(|name| name.matches('/').count() == 1));
    }
    Ok(())
}

fn check_proxies(vpc: &Vpc) -> Result<(), TestCaseError> {
    let shares = |one: &Proxy, other: &Proxy| {
        let ports = one.ports.iter().any(|port| other.ports.contains(port));
        let any = one.subnets.is_empty() || other.subnets.is_empty();
        ports && (any || one.subnets.iter().any(|name| other.subnets.contains(name)))
    };
    for (n, proxy) in vpc.proxies.iter().enumerate() {
        prop_assert!((1..=MAX_PROXY_PORTS).contains(&proxy.ports.len()));
        prop_assert!(is_unique(&proxy.ports) && !proxy.ports.contains(&0));
        prop_assert!(proxy.subnets.iter().all(|name| has_subnet(vpc, name)));
        let mut instances = vpc.instances.iter();
        let instance = instances.find(|one| one.name == proxy.instance);
        prop_assert!(instance.is_some_and(|one| !one.source_dest_check));
        let mut later = vpc.proxies[n + 1..].iter();
        prop_assert!(!later.any(|other| shares(proxy, other)));
        check_health(&proxy.check())?;
    }
    Ok(())
}
