//! Security groups and network ACLs as rulesets, which `rules/` classifies; and the timers of the sessions
//! that are there because of them.

use std::time::Duration;

use nat_common::{
    clock::ticks_in,
    map_types::{self, Gateway, NameKey, PortKey, Ruleset, TRACKER},
};

use super::{
    Compiler, Map,
    rules::{RemoteRule, Rule},
    too_many,
};
use crate::{
    config::{
        AclRule, Config, Endpoint, GroupRule, NetworkAcl, Ports, Remote, RuleProtocol,
        SecurityGroup, Vpc,
    },
    error::Result,
};

/// Bits of a rule's number that say which of its group's rules it is.
pub const RULE_BITS: u32 = 10;
/// Security groups per node.
const MAX_GROUPS: u32 = 1 << 20;

/// Timers of what security groups keep track of, as on AWS: 5 days, 30 s and 180 s. Connections that open
/// or close have those of NAT gateways (RFC 7857, 2).
const TCP_ESTABLISHED: Duration = Duration::from_secs(432_000);
const TCP_OTHER: Duration = Duration::from_secs(240);
const UDP: Duration = Duration::from_secs(30);
const UDP_STREAM: Duration = Duration::from_secs(180);
const OTHERS: Duration = Duration::from_secs(30);

/// The numbers of sets of groups, by the groups' names.
pub(super) type GroupSets<'v> = Map<&'v [String], u32>;

impl Compiler<'_, '_> {
    /// The numbers of the sets of groups that instances and endpoints have, each in the order in which their rules are
    /// asked.
    pub(super) fn group_sets<'v>(&mut self, vpc: &'v Vpc) -> GroupSets<'v> {
        let mut sets = Map::default();
        let of_instances = vpc.instances.iter().map(|each| &each.security_groups);
        let endpoints = vpc.endpoints.iter().filter_map(Endpoint::interface);
        let of_endpoints = endpoints.map(|each| &each.security_groups);
        for names in of_instances.chain(of_endpoints) {
            let names = names.as_slice();
            if !names.is_empty() {
                sets.entry(names).or_insert_with(|| {
                    let name = format!("{}/{}", vpc.name, names.join(","));
                    self.number(NameKey::GROUP_SET, &name, 1)
                });
            }
        }
        sets
    }

    /// The rulesets of every set of groups that an instance has, and of every ACL that a subnet has.
    pub(super) fn filtering(&mut self, config: &Config, sets: &[GroupSets<'_>]) -> Result<()> {
        let mut rulesets = std::mem::take(&mut self.rulesets);
        for (vpc, sets) in config.vpcs.iter().zip(sets) {
            self.groups_of(vpc, sets, &mut rulesets)?;
            self.acls_of(vpc, &mut rulesets);
        }
        // In the order of the table.
        rulesets.sort_unstable_by_key(|(number, _)| *number);
        let entries = self.numbering.interner.compile(rulesets);
        self.tables.rulesets = entries.rulesets;
        self.tables.group_rules = entries.group_rules;
        self.tables.port_rules = entries.port_rules;
        Ok(())
    }

    fn groups_of(
        &mut self,
        vpc: &Vpc,
        sets: &GroupSets<'_>,
        rulesets: &mut Vec<(u32, Vec<Rule>)>,
    ) -> Result<()> {
        if sets.is_empty() {
            return Ok(());
        }
        let mut groups: Map<&str, (u32, &SecurityGroup)> = Map::default();
        for group in &vpc.security_groups {
            let name = format!("{}/{}", vpc.name, group.name);
            let number = self.number(NameKey::GROUP, &name, 1);
            if number >= MAX_GROUPS {
                let (count, limit) = (number as usize, MAX_GROUPS as usize - 1);
                return Err(too_many("security groups", count, limit));
            }
            groups.insert(&group.name, (number, group));
        }
        let mut members: Map<&str, Vec<u32>> = Map::default();
        for (names, &set) in sets {
            for name in *names {
                members.entry(name).or_default().push(set);
            }
        }
        for sets in members.values_mut() {
            sets.sort_unstable();
        }
        let remotes = Remotes { vpc, members };
        for (names, &set) in sets {
            let (mut ingress, mut egress) = (Vec::new(), Vec::new());
            for (number, group) in names.iter().filter_map(|name| groups.get(name.as_str())) {
                remotes.add(*number, &group.ingress, &mut ingress);
                remotes.add(*number, &group.egress, &mut egress);
            }
            rulesets.push((Ruleset::ingress_of_groups(set), ingress));
            rulesets.push((Ruleset::egress_of_groups(set), egress));
        }
        Ok(())
    }

    fn acls_of(&mut self, vpc: &Vpc, rulesets: &mut Vec<(u32, Vec<Rule>)>) {
        let mut seen: Map<&str, &NetworkAcl> = Map::default();
        for subnet in &vpc.subnets {
            if let Some(acl) = vpc.acl_of(subnet) {
                seen.insert(&acl.name, acl);
            }
        }
        for (name, acl) in seen {
            let number = self.number(NameKey::ACL, &format!("{}/{name}", vpc.name), 1);
            let rules = |rules: &[AclRule]| rules.iter().map(acl_rule).collect();
            rulesets.push((Ruleset::ingress_of_acl(number), rules(&acl.ingress)));
            rulesets.push((Ruleset::egress_of_acl(number), rules(&acl.egress)));
        }
    }

    /// The timers of sessions that no gateway translates; there may be some left where groups are gone.
    pub(super) fn tracker(&mut self) {
        let timeouts = map_types::Timeouts {
            tcp_established: ticks_in(TCP_ESTABLISHED),
            tcp_opening: ticks_in(TCP_OTHER),
            tcp_closing: ticks_in(TCP_OTHER),
            udp: ticks_in(UDP),
            udp_stream: ticks_in(UDP_STREAM),
            icmp: ticks_in(OTHERS),
        };
        let tracker = Gateway {
            timeouts,
            ..Gateway::default()
        };
        self.tables.gateways.insert(TRACKER, tracker);
    }
}

/// What rules of groups name.
struct Remotes<'a> {
    vpc: &'a Vpc,
    /// The sets that a group is in.
    members: Map<&'a str, Vec<u32>>,
}

impl Remotes<'_> {
    fn add(&self, group: u32, rules: &[GroupRule], to: &mut Vec<Rule>) {
        for (index, rule) in (0..).zip(rules) {
            let mut add = |remote| {
                to.push(Rule {
                    allow: true,
                    id: group << RULE_BITS | index,
                    protocol: protocol(rule.protocol),
                    ports: ports(rule.ports),
                    remote,
                });
            };
            match &rule.remote {
                Remote::Cidr(net) => add(RemoteRule::Prefix(*net)),
                Remote::Group(name) => {
                    let sets = self.members.get(name.as_str()).cloned();
                    add(RemoteRule::Groups(sets.unwrap_or_default()));
                }
                Remote::PrefixList(name) => {
                    let list = self.vpc.prefix_lists.iter().find(|list| list.name == *name);
                    for net in list.into_iter().flat_map(|list| &list.entries) {
                        add(RemoteRule::Prefix(*net));
                    }
                }
            }
        }
    }
}

fn acl_rule(rule: &AclRule) -> Rule {
    Rule {
        allow: rule.allow,
        id: u32::from(rule.number),
        protocol: protocol(rule.protocol),
        ports: ports(rule.ports),
        remote: RemoteRule::Prefix(rule.remote),
    }
}

const fn protocol(protocol: RuleProtocol) -> Option<u8> {
    match protocol {
        RuleProtocol::All => None,
        RuleProtocol::Number(number) => Some(number),
    }
}

/// First and last port, or what stands for it.
const fn ports(ports: Ports) -> (u16, u16) {
    match ports {
        Ports::All => (0, u16::MAX),
        Ports::Range(range) => (range.first, range.last),
        Ports::Icmp {
            icmp_type,
            code: Some(code),
        } => (
            PortKey::icmp(icmp_type, code),
            PortKey::icmp(icmp_type, code),
        ),
        Ports::Icmp {
            icmp_type,
            code: None,
        } => (
            PortKey::icmp(icmp_type, 0),
            PortKey::icmp(icmp_type, u8::MAX),
        ),
    }
}
