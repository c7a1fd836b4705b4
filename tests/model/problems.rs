//! What contradicts itself in a configuration.

use std::net::Ipv4Addr;

use super::{Destination, ModelConfig, Peer, Subnet, Target, Vpc};

impl ModelConfig {
    /// What contradicts itself; empty when nothing does.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.names_that_lead_nowhere();
        if !problems.is_empty() {
            return problems;
        }
        problems.extend(self.addresses_that_clash());
        problems.extend(self.problems_of_instances());
        problems.extend(self.problems_of_gateways());
        problems
    }

    /// Numbers that nothing has.
    fn names_that_lead_nowhere(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expect = |exists: bool, what: String| {
            if !exists {
                problems.push(what);
            }
        };
        for subnet in &self.subnets {
            let Some(vpc) = self.vpcs.get(subnet.vpc) else {
                expect(false, format!("subnet {}: no VPC", subnet.cidr));
                continue;
            };
            let has_acl = subnet.acl.is_none_or(|acl| acl < vpc.network_acls.len());
            expect(has_acl, format!("subnet {}: no ACL", subnet.cidr));
            for route in &subnet.routes {
                let leads = self.leads_somewhere(subnet.vpc, route.target);
                expect(leads, format!("subnet {}: {route:?}", subnet.cidr));
                let is_known = match route.destination {
                    Destination::PrefixList(list) => list < vpc.prefix_lists.len(),
                    Destination::Cidr(_) => true,
                };
                expect(is_known, format!("subnet {}: {route:?}", subnet.cidr));
            }
        }
        for vpc in &self.vpcs {
            for group in &vpc.security_groups {
                let rules = group.ingress.iter().chain(group.egress.iter().flatten());
                for rule in rules {
                    expect(has_peer(vpc, rule.peer), format!("{rule:?}"));
                }
            }
        }
        for instance in &self.instances {
            let vpc = self.subnets.get(instance.subnet).map(|subnet| subnet.vpc);
            let groups = vpc.map_or(0, |vpc| self.vpcs[vpc].security_groups.len());
            let is_known = vpc.is_some() && instance.groups.iter().all(|&group| group < groups);
            expect(is_known, format!("instance {}", instance.private));
        }
        for gateway in &self.gateways {
            let is_somewhere = gateway.subnet < self.subnets.len();
            expect(
                is_somewhere,
                format!("NAT gateway {:?}", gateway.public_ips),
            );
        }
        problems
    }

    /// Whether a target is there, in the same VPC. Who gets packets that are not to it
    /// must let them out again.
    fn leads_somewhere(&self, vpc: usize, target: Target) -> bool {
        let is_of_vpc = |subnet: usize| {
            let subnet = self.subnets.get(subnet);
            subnet.is_some_and(|subnet| subnet.vpc == vpc)
        };
        match target {
            Target::NatGateway(number) => {
                let gateway = self.gateways.get(number);
                gateway.is_some_and(|gateway| is_of_vpc(gateway.subnet))
            }
            Target::Instance(number) => self
                .instances
                .get(number)
                .is_some_and(|instance| is_of_vpc(instance.subnet) && !instance.source_dest_check),
            Target::Local | Target::InternetGateway | Target::Blackhole => true,
        }
    }

    fn addresses_that_clash(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let instances = self.instances.iter();
        let mut public: Vec<_> = instances.filter_map(|instance| instance.public).collect();
        public.extend(self.gateways.iter().flat_map(|gateway| &gateway.public_ips));
        problems.extend(twice(public).map(|ip| format!("public IP {ip} is there twice")));
        for vpc in 0..self.vpcs.len() {
            let numbers = 0..self.instances.len();
            let numbers = numbers.filter(|&number| self.vpc_of_instance(number) == vpc);
            let private = numbers.map(|number| self.instances[number].private);
            problems.extend(
                twice(private.collect()).map(|ip| format!("private IP {ip} is there twice")),
            );
        }
        for (number, subnet) in self.subnets.iter().enumerate() {
            let clashes = |other: &Subnet| {
                let overlap = other.cidr.covers(&subnet.cidr) || subnet.cidr.covers(&other.cidr);
                let is_same = other.vpc == subnet.vpc;
                is_same && overlap || !is_same && other.interface == subnet.interface
            };
            if self.subnets[..number].iter().any(clashes) {
                problems.push(format!("subnet {} clashes", subnet.cidr));
            }
        }
        problems
    }

    fn problems_of_instances(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for instance in &self.instances {
            if !self.subnets[instance.subnet]
                .cidr
                .contains(instance.private)
            {
                problems.push(format!("instance {}: not in its subnet", instance.private));
            }
            if !instance.source_dest_check && instance.mac.is_none() {
                problems.push(format!("instance {}: without MAC", instance.private));
            }
        }
        problems
    }

    fn problems_of_gateways(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, gateway) in self.gateways.iter().enumerate() {
            problems.extend(gateway.problems());
            let vpc = self.vpc_of_gateway(index);
            for forward in &gateway.forwards {
                if self.subnet_of(vpc, *forward.to.ip()).is_none() {
                    problems.push(format!("forward to {}: not in a subnet", forward.to));
                }
            }
            let clients = self.subnets.iter().filter(|subnet| {
                let mut routes = subnet.routes.iter();
                routes.any(|route| route.target == Target::NatGateway(index))
            });
            for subnet in clients {
                if gateway
                    .deterministic
                    .is_some_and(|all| !all.covers(&subnet.cidr))
                {
                    problems.push(format!("deterministic: {} is not in it", subnet.cidr));
                }
            }
        }
        problems
    }
}

fn has_peer(vpc: &Vpc, peer: Peer) -> bool {
    match peer {
        Peer::Cidr(_) => true,
        Peer::PrefixList(list) => list < vpc.prefix_lists.len(),
        Peer::SecurityGroup(group) => group < vpc.security_groups.len(),
    }
}

/// What is there more than once.
fn twice(mut addresses: Vec<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
    addresses.sort();
    let pairs: Vec<_> = addresses
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
        .collect();
    pairs.into_iter()
}
