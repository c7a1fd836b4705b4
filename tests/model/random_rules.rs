//! Random rules: most of them let through what random traffic sends.

use std::net::Ipv4Addr;

use super::{AclRule, Cidr, GroupRule, NetworkAcl, Packets, Peer, Random, SecurityGroup};
use crate::packets::{icmp_type, protocol};

/// A group of a VPC with these addresses, and so many groups and prefix lists.
pub(super) fn random_group(
    random: &mut Random,
    cidrs: &[Cidr],
    (groups, lists): (usize, usize),
) -> SecurityGroup {
    let mut peers = vec![Peer::Cidr(Cidr::EVERYWHERE); 3];
    peers.extend(cidrs.iter().copied().map(Peer::Cidr));
    peers.extend((0..groups).map(Peer::SecurityGroup));
    peers.extend((0..lists).map(Peer::PrefixList));
    peers.push(Peer::Cidr(Cidr::new(Ipv4Addr::new(198, 51, 100, 80), 31)));
    let mut rules = |most: usize| {
        let count = random.below(most + 1);
        let rule = |random: &mut Random| GroupRule {
            packets: random_packets(random),
            peer: random.pick(&peers),
        };
        (0..count).map(|_| rule(random)).collect::<Vec<_>>()
    };
    let (ingress, egress) = (rules(4), rules(4));
    SecurityGroup {
        ingress,
        egress: (!random.one_in(2)).then_some(egress),
    }
}

/// Another rule less, or one for everything more.
pub(super) fn changed_group_rules(random: &mut Random, group: &mut SecurityGroup) {
    let all = GroupRule {
        packets: random_packets(random),
        peer: Peer::Cidr(Cidr::EVERYWHERE),
    };
    let rules = match &mut group.egress {
        Some(egress) if random.one_in(2) => egress,
        _ => &mut group.ingress,
    };
    if rules.is_empty() || random.one_in(2) {
        rules.push(all);
    } else {
        rules.remove(random.below(rules.len()));
    }
}

/// None, one or two of so many groups.
pub(super) fn random_groups(random: &mut Random, groups: usize) -> Vec<usize> {
    let first = random.below(groups);
    match random.below(5) {
        0 | 1 => Vec::new(),
        2 | 3 => vec![first],
        _ => vec![first, (first + 1) % groups],
    }
}

/// Everything, or the usual protocols, with an exception or two before them.
pub(super) fn random_acl(random: &mut Random) -> NetworkAcl {
    let mut rules = || {
        let mut rules = Vec::new();
        for number in 0..random.below(3) {
            rules.push(AclRule {
                number: 90 - 10 * number as u16,
                allow: random.one_in(3),
                packets: random_packets(random),
                peer: random.pick(&[
                    Cidr::EVERYWHERE,
                    Cidr::new(Ipv4Addr::new(198, 51, 100, 80), 32),
                    Cidr::new(Ipv4Addr::new(10, 40, 2, 128), 25),
                ]),
            });
        }
        if random.one_in(4) {
            let usual = [
                Packets::to_ports(protocol::TCP, 80..=65_535),
                Packets::to_ports(protocol::UDP, 1..=50_000),
                Packets::of(protocol::ICMP),
            ];
            let allowed = (200..).zip(usual);
            rules.extend(allowed.map(|(number, packets)| AclRule::allow(number, packets)));
        } else {
            rules.push(AclRule::allow(100, Packets::ALL));
        }
        rules
    };
    NetworkAcl {
        ingress: rules(),
        egress: rules(),
    }
}

/// Some of the servers' addresses.
pub(super) fn random_prefix_list(random: &mut Random) -> Vec<Cidr> {
    let all = [
        Cidr::new(Ipv4Addr::new(198, 51, 100, 81), 32),
        Cidr::new(Ipv4Addr::new(203, 0, 113, 0), 24),
        Cidr::new(Ipv4Addr::new(198, 51, 100, 80), 32),
        Cidr::new(Ipv4Addr::new(192, 0, 2, 0), 24),
    ];
    let first = random.below(all.len());
    let count = 1 + random.below(2);
    let cycle = all.iter().cycle().skip(first).take(count);
    cycle.copied().collect()
}

fn random_packets(random: &mut Random) -> Packets {
    let ports = [80..=80, 443..=443, 1..=80, 40_001..=40_002, 1024..=65_535];
    let ports = ports[random.below(ports.len())].clone();
    match random.below(9) {
        0 | 1 => Packets::ALL,
        2 => Packets::of(protocol::TCP),
        3 | 4 => Packets::to_ports(protocol::TCP, ports),
        5 => Packets::to_ports(protocol::UDP, ports),
        6 => Packets::of(protocol::ICMP),
        7 => Packets {
            icmp: Some((icmp_type::ECHO_REQUEST, random.pick(&[None, Some(0)]))),
            ..Packets::of(protocol::ICMP)
        },
        _ => Packets::of(protocol::GRE),
    }
}
