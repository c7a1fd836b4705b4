//! What a checked configuration promises about prefix lists, security groups, network ACLs and routes.

use proptest::prelude::*;

use crate::config::{
    Destination, GroupRule, Ipv4Net, Ports, Remote, RouteTable, RuleProtocol, Target, Vpc,
};

/// Each prefix of a table leads where the first written route says, or else the first list.
pub fn check_entries(vpc: &Vpc, table: &RouteTable) -> Result<(), TestCaseError> {
    let list = |name: &str| {
        let found = vpc.prefix_lists.iter().find(|list| list.name == name);
        found.map(|list| list.entries.clone())
    };
    let mut routes: Vec<(Ipv4Net, &Target)> = Vec::new();
    for written in [true, false] {
        for route in &table.routes {
            let prefixes = match &route.destination {
                Destination::Cidr(prefix) if written => vec![*prefix],
                Destination::PrefixList(name) if !written => {
                    let entries = list(name);
                    prop_assert!(entries.is_some(), "{name}");
                    entries.unwrap_or_default()
                }
                _ => continue,
            };
            routes.extend(prefixes.into_iter().map(|prefix| (prefix, &route.target)));
        }
    }
    prop_assert!(routes.len() <= 500);
    let entries: Vec<(Ipv4Net, &Target)> = table.entries(vpc).collect();
    for (prefix, _) in &routes {
        let first = routes.iter().find(|(other, _)| other == prefix);
        let held: Vec<_> = entries
            .iter()
            .filter(|(other, _)| other == prefix)
            .collect();
        prop_assert_eq!(held, first.into_iter().collect::<Vec<_>>());
    }
    for (prefix, target) in entries {
        let reserved: Ipv4Net = "169.254.168.0/22".parse().expect("a CIDR");
        prop_assert!(!reserved.contains(&prefix));
        let inside = vpc.cidrs.iter().any(|cidr| cidr.contains(&prefix));
        match target {
            Target::Local => prop_assert!(inside),
            Target::InternetGateway => prop_assert!(!inside),
            _ => prop_assert!(!vpc.cidrs.contains(&prefix)),
        }
    }
    Ok(())
}

pub fn check_filtering(vpc: &Vpc) -> Result<(), TestCaseError> {
    let entries = |name: &str| {
        let found = vpc.prefix_lists.iter().find(|list| list.name == name);
        found.map(|list| list.entries.len())
    };
    let group = |name: &str| vpc.security_groups.iter().find(|group| group.name == name);
    for list in &vpc.prefix_lists {
        prop_assert!((1..=1000).contains(&list.entries.len()));
    }
    let matches = |protocol: RuleProtocol, ports: Ports| match ports {
        Ports::All => true,
        Ports::Range(range) => protocol.has_ports() && range.first > 0 && range.first <= range.last,
        Ports::Icmp { .. } => protocol == RuleProtocol::Number(1),
    };
    let weight = |rule: &GroupRule| match &rule.remote {
        Remote::PrefixList(name) => entries(name).unwrap_or(usize::MAX),
        _ => 1,
    };
    for group_of in &vpc.security_groups {
        for rule in group_of.ingress.iter().chain(&group_of.egress) {
            prop_assert!(matches(rule.protocol, rule.ports));
            match &rule.remote {
                Remote::Cidr(_) => {}
                Remote::PrefixList(name) => prop_assert!(entries(name).is_some()),
                Remote::Group(name) => prop_assert!(group(name).is_some()),
            }
        }
    }
    for acl in &vpc.network_acls {
        for rules in [&acl.ingress, &acl.egress] {
            prop_assert!(rules.windows(2).all(|pair| pair[0].number < pair[1].number));
            for rule in rules {
                prop_assert!((1..=32_766).contains(&rule.number));
                prop_assert!(matches(rule.protocol, rule.ports));
            }
        }
    }
    for subnet in &vpc.subnets {
        prop_assert!(subnet.network_acl.is_none() || vpc.acl_of(subnet).is_some());
    }
    for instance in &vpc.instances {
        let groups = &instance.security_groups;
        prop_assert!(groups.len() <= 16 && groups.iter().all(|name| group(name).is_some()));
        let held = || groups.iter().filter_map(|name| group(name));
        prop_assert!(
            held()
                .flat_map(|group| &group.ingress)
                .map(weight)
                .sum::<usize>()
                <= 1000
        );
        prop_assert!(
            held()
                .flat_map(|group| &group.egress)
                .map(weight)
                .sum::<usize>()
                <= 1000
        );
        prop_assert!(instance.source_dest_check || instance.mac.is_some());
        prop_assert!(
            instance
                .mac
                .is_none_or(|mac| mac[0] & 1 == 0 && mac != [0; 6])
        );
        let interface = |name: &str| {
            let subnet = vpc.subnets.iter().find(|subnet| subnet.name == name);
            subnet.map(|subnet| &subnet.interface)
        };
        let alike = vpc.instances.iter().filter(|other| {
            other.mac == instance.mac && interface(&other.subnet) == interface(&instance.subnet)
        });
        prop_assert!(instance.mac.is_none() || alike.count() == 1);
    }
    Ok(())
}
