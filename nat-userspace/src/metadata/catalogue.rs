//! What is known of all instances at one moment.

use std::net::Ipv4Addr;

use rustc_hash::FxHashMap;

use crate::{
    config::{Config, Instance, Vpc},
    services::Who,
};

/// Of a configuration, what metadata is made of. It does not change; another configuration has another
/// one.
#[derive(Debug, Default)]
pub struct Catalogue {
    region: String,
    vpcs: FxHashMap<String, Listed>,
}

#[derive(Debug)]
struct Listed {
    /// Without routes, gateways and rules.
    vpc: Vpc,
    /// To the instances' positions.
    by_address: FxHashMap<Ipv4Addr, usize>,
}

/// An instance with what is around it.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// Of the node.
    pub region: &'a str,
    /// The VPC that it is in; nobody asks for its routes, gateways and rules.
    pub vpc: &'a Vpc,
    /// Itself.
    pub instance: &'a Instance,
}

impl Catalogue {
    /// Of everything that is configured. It takes time and memory by the number of subnets, hosts and
    /// instances.
    pub fn of(config: &Config) -> Self {
        let listed = config.vpcs.iter().map(|vpc| {
            let instances = vpc.instances.iter().enumerate();
            let listed = Listed {
                vpc: needed(vpc),
                by_address: instances
                    .map(|(position, instance)| (instance.private_ip, position))
                    .collect(),
            };
            (vpc.name.clone(), listed)
        });
        Self {
            region: config.node.region.clone(),
            vpcs: listed.collect(),
        }
    }

    /// The listed instance with this address.
    pub fn find(&self, who: &Who) -> Option<Described<'_>> {
        let Listed { vpc, by_address } = self.vpcs.get(&who.vpc)?;
        let instance = vpc.instances.get(*by_address.get(&who.private_ip)?)?;
        Some(Described {
            region: &self.region,
            vpc,
            instance,
        })
    }
}

fn needed(vpc: &Vpc) -> Vpc {
    Vpc {
        name: vpc.name.clone(),
        cidrs: vpc.cidrs.clone(),
        internet_gateway: vpc.internet_gateway,
        strict: vpc.strict,
        dns: vpc.dns,
        private_domain: vpc.private_domain.clone(),
        subnets: vpc.subnets.clone(),
        route_tables: Vec::new(),
        nat_gateways: Vec::new(),
        instances: vpc.instances.clone(),
        prefix_lists: Vec::new(),
        security_groups: Vec::new(),
        network_acls: Vec::new(),
        racks: Vec::new(),
        hosts: vpc.hosts.clone(),
        placement_groups: Vec::new(),
        target_groups: Vec::new(),
        load_balancers: Vec::new(),
        endpoint_services: Vec::new(),
        endpoint_acceptances: Vec::new(),
        endpoints: Vec::new(),
        proxies: Vec::new(),
    }
}
