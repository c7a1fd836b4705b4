//! Random VPCs.

use std::net::Ipv4Addr;

use super::random_config::random_gateway;
use super::random_rules::{
    changed_group_rules, random_acl, random_group, random_groups, random_prefix_list,
};
use super::{Cidr, Destination, Instance, ModelConfig, Random, Route, Subnet, Target, Vpc};
use crate::packets::Mac;

/// Groups, ACLs and prefix lists of each VPC.
const GROUPS: usize = 4;
const ACLS: usize = 3;
const LISTS: usize = 2;

/// One to three VPCs, in a third of the cases with equal addresses, the same for the same
/// seed. In each are a public subnet, a private one with a random NAT gateway, one with
/// an appliance, instances, groups and ACLs.
#[must_use]
pub fn random_vpcs(seed: u64) -> ModelConfig {
    let mut random = Random::new(seed);
    let mut config = ModelConfig {
        vpcs: Vec::new(),
        subnets: Vec::new(),
        gateways: Vec::new(),
        instances: Vec::new(),
        icmp_errors_made: !random.one_in(8),
        ..ModelConfig::classic()
    };
    let count = 1 + random.below(3);
    let are_equal = random.one_in(3);
    for number in 0..count {
        let offset = if are_equal { 0 } else { number as u8 };
        add_vpc(&mut config, &mut random, offset);
    }
    config
}

/// The same with another rule, ACL, group, prefix list, route or strictness.
pub(super) fn changed(random: &mut Random, config: &ModelConfig) -> ModelConfig {
    let mut config = config.clone();
    let vpc = random.below(config.vpcs.len());
    let subnets = (0..config.subnets.len()).filter(|&subnet| config.subnets[subnet].vpc == vpc);
    let subnets: Vec<_> = subnets.collect();
    let instances = 0..config.instances.len();
    let instances: Vec<_> = instances
        .filter(|&number| config.vpc_of_instance(number) == vpc)
        .collect();
    let (subnet, instance) = (random.pick(&subnets), random.pick(&instances));
    let parts = &mut config.vpcs[vpc];
    match random.below(9) {
        0 | 1 => {
            let group = random.below(parts.security_groups.len());
            changed_group_rules(random, &mut parts.security_groups[group]);
        }
        2 => {
            let acl = random.below(parts.network_acls.len());
            parts.network_acls[acl] = random_acl(random);
        }
        3 => {
            let list = random.below(parts.prefix_lists.len());
            parts.prefix_lists[list] = random_prefix_list(random);
        }
        4 => parts.strict = !parts.strict && random.one_in(3),
        5 => config.subnets[subnet].acl = random_choice(random, parts.network_acls.len()),
        6 => {
            let groups = parts.security_groups.len();
            config.instances[instance].groups = random_groups(random, groups);
        }
        _ => {
            let target = random_target(random, &config, subnet);
            let mut gateways = config.gateways.iter();
            let has_gateway = gateways.any(|gateway| gateway.subnet == subnet);
            let routes = &mut config.subnets[subnet].routes;
            let index = random.below(routes.len());
            let route = &mut routes[index];
            let is_way_out = route.destination == Cidr::EVERYWHERE.into();
            let is_detour = config.vpcs[vpc].cidrs.iter().any(|cidr| {
                matches!(route.destination, Destination::Cidr(inside) if cidr.covers(&inside))
            });
            route.target = match target {
                // Whoever is inside is not reached by the outside.
                Target::InternetGateway | Target::NatGateway(_) if is_detour => Target::Blackhole,
                // A NAT gateway needs the way out of its subnet.
                _ if is_way_out && has_gateway => route.target,
                target => target,
            };
        }
    }
    config
}

fn random_choice(random: &mut Random, count: usize) -> Option<usize> {
    random.one_in(2).then(|| random.below(count))
}

/// Whether a NAT gateway may serve a subnet, which is not its own.
fn serves(config: &ModelConfig, number: usize, subnet: usize) -> bool {
    let gateway = &config.gateways[number];
    let is_own = gateway.subnet == subnet;
    let (subnet, clients) = (&config.subnets[subnet], gateway.deterministic);
    !is_own
        && config.vpc_of_gateway(number) == subnet.vpc
        && clients.is_none_or(|clients| clients.covers(&subnet.cidr))
}

/// A target of a subnet that is there already.
fn random_target(random: &mut Random, config: &ModelConfig, subnet: usize) -> Target {
    let vpc = config.subnets[subnet].vpc;
    let mut targets = vec![
        Target::InternetGateway,
        Target::InternetGateway,
        Target::Blackhole,
    ];
    for number in 0..config.gateways.len() {
        if serves(config, number, subnet) {
            targets.extend([Target::NatGateway(number); 3]);
        }
    }
    for (number, instance) in config.instances.iter().enumerate() {
        if !instance.source_dest_check && config.vpc_of_instance(number) == vpc {
            targets.push(Target::Instance(number));
        }
    }
    random.pick(&targets)
}

fn add_vpc(config: &mut ModelConfig, random: &mut Random, offset: u8) {
    let number = config.vpcs.len();
    let cidr = |second, third, length| Cidr::new(Ipv4Addr::new(10, second, third, 0), length);
    let (public, private) = (20 + offset, 40 + offset);
    let cidrs = vec![cidr(public, 0, 16), cidr(private, 0, 16)];
    config.vpcs.push(Vpc {
        strict: random.one_in(6),
        prefix_lists: (0..LISTS).map(|_| random_prefix_list(random)).collect(),
        security_groups: (0..GROUPS)
            .map(|_| random_group(random, &cidrs, (GROUPS, LISTS)))
            .collect(),
        network_acls: (0..ACLS).map(|_| random_acl(random)).collect(),
        ..Vpc::new(cidrs)
    });
    let first = config.subnets.len();
    let mut interface = first as u32;
    for cidr in [
        cidr(public, 1, 24),
        cidr(private, 2, 24),
        cidr(public, 3, 24),
    ] {
        config.subnets.push(Subnet {
            vpc: number,
            cidr,
            interface,
            routes: Vec::new(),
            acl: random_choice(random, ACLS).filter(|_| random.one_in(2)),
        });
        // Two subnets of one VPC may share an interface.
        if !random.one_in(6) {
            interface = config.subnets.len() as u32;
        }
    }
    let pool = [0, 1, 2].map(|last| Ipv4Addr::new(198, 51, 100, 10 + 3 * number as u8 + last));
    let mut gateway = random_gateway(random, &pool, config.subnets[first + 1].cidr);
    gateway.subnet = first;
    config.gateways.push(gateway);
    add_instances(config, random, first);
    for subnet in first..first + 3 {
        config.subnets[subnet].routes = random_routes(random, config, subnet, first);
    }
}

fn add_instances(config: &mut ModelConfig, random: &mut Random, first: usize) {
    let vpc = config.subnets[first].vpc;
    let is_strict = config.vpcs[vpc].strict;
    let places = [
        (first, 10, true),
        (first, 11, true),
        (first, 101, false),
        (first + 1, 101, false),
        (first + 1, 150, false),
        (first + 1, 201, false),
        (first + 2, 20, false),
        (first + 2, 101, random.one_in(2)),
    ];
    for (index, (subnet, host, is_public)) in places.into_iter().enumerate() {
        let is_appliance = host == 20;
        if !is_public && !is_appliance && random.one_in(if is_strict { 8 } else { 3 }) {
            continue;
        }
        let private = config.subnets[subnet].cidr.nth(host);
        let mac = Mac([0x02, 0, 0, 1, vpc as u8, index as u8]);
        let mut instance = Instance::new(subnet, private);
        if is_appliance {
            instance = instance.appliance(mac);
        } else if random.one_in(5) {
            instance.mac = Some(mac);
        }
        let last = 120 + 10 * vpc as u8 + index as u8;
        instance.public = is_public.then_some(Ipv4Addr::new(198, 51, 100, last));
        instance.groups = random_groups(random, GROUPS);
        config.instances.push(instance);
    }
}

/// Where everything goes, an exception or two, and now and then a detour inside the VPC.
fn random_routes(
    random: &mut Random,
    config: &ModelConfig,
    subnet: usize,
    first: usize,
) -> Vec<Route> {
    let vpc = config.subnets[subnet].vpc;
    let gateway = config.gateways.len() - 1;
    let usual = match subnet - first {
        0 => Target::InternetGateway,
        1 => Target::NatGateway(gateway),
        _ if serves(config, gateway, subnet) && random.one_in(2) => Target::NatGateway(gateway),
        _ => Target::InternetGateway,
    };
    let route = |destination: Cidr, target| Route {
        destination: destination.into(),
        target,
    };
    let nowhere = Cidr::new(Ipv4Addr::new(192, 0, 2, 0), 24);
    let mut routes = vec![route(nowhere, Target::Blackhole)];
    // A NAT gateway needs the way out of its subnet.
    if subnet == first || !random.one_in(8) {
        routes.push(route(Cidr::EVERYWHERE, usual));
    }
    for list in 0..LISTS {
        if random.one_in(3) {
            routes.push(Route {
                destination: Destination::PrefixList(list),
                target: random_target(random, config, subnet),
            });
        }
    }
    let appliances = 0..config.instances.len();
    let mut appliances = appliances.filter(|&number| {
        !config.instances[number].source_dest_check && config.vpc_of_instance(number) == vpc
    });
    if let Some(appliance) = appliances.next().filter(|_| random.one_in(4)) {
        let other = random.pick(&[first, first + 1]);
        routes.push(route(
            config.subnets[other].cidr,
            Target::Instance(appliance),
        ));
    }
    routes
}
