//! Checks of rules: what they match, what they name, how many there are.

use super::draft::{GroupRuleDraft, NetworkAclDraft, PacketsDraft, Rules, SecurityGroupDraft};
use super::types::Remote;
use crate::config::index::Index;
use crate::config::place::{Read, Report};
use crate::config::validate::{dangling, unique};

/// Rules that hold for an instance in one direction, a prefix list counting as its entries.
pub const MAX_RULES: usize = 1000;

pub fn of_group(group: &SecurityGroupDraft, index: &Index<'_>, report: &mut Report<'_>) {
    for (direction, rules) in directions(group) {
        for rule in &rules.rules {
            packets(&rule.packets, report);
            remote(rule, index, report);
        }
        let mut total = 0;
        let first_over = rules.rules.iter().find(|rule| {
            total += weight(rule, index);
            total > MAX_RULES
        });
        if let Some(rule) = first_over {
            report.error(
                &rule.place,
                format!(
                    "too many {direction} rules in a security group: {} with this one, a prefix list \
                     counting as its entries",
                    total
                ),
                format!("keep at most {MAX_RULES}"),
            );
        }
    }
}

pub fn directions(group: &SecurityGroupDraft) -> [(&'static str, &Rules<GroupRuleDraft>); 2] {
    [("ingress", &group.ingress), ("egress", &group.egress)]
}

/// For how many rules it counts.
pub fn weight(rule: &GroupRuleDraft, index: &Index<'_>) -> usize {
    match rule.remote.value() {
        Some(Remote::PrefixList(name)) => index
            .prefix_lists
            .get(name)
            .map_or(1, |list| list.entries.items.len()),
        _ => 1,
    }
}

pub fn of_acl(acl: &NetworkAclDraft, report: &mut Report<'_>) {
    for rules in [&acl.ingress, &acl.egress] {
        unique(
            rules.rules.iter().filter_map(|rule| rule.number.given()),
            |number| format!("rule {number}"),
            "give each rule of a direction a number of its own",
            report,
        );
        for rule in &rules.rules {
            packets(&rule.packets, report);
        }
    }
}

fn remote(rule: &GroupRuleDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let Some(remote) = rule.remote.given() else {
        return;
    };
    match &remote.value {
        Remote::Cidr(_) => {}
        Remote::PrefixList(name) => {
            dangling(
                "prefix list",
                &remote.place,
                name,
                &index.prefix_lists,
                report,
            );
        }
        Remote::Group(name) => {
            dangling(
                "security group",
                &remote.place,
                name,
                &index.security_groups,
                report,
            );
        }
    }
}

/// Only TCP and UDP have ports, and only ICMP has types.
fn packets(packets: &PacketsDraft, report: &mut Report<'_>) {
    if let Some(code) = packets.icmp_code.given()
        && matches!(packets.icmp_type, Read::Absent)
    {
        report.error(
            &code.place,
            "a code says nothing without its type",
            "add icmp_type, or remove icmp_code",
        );
    }
    let Some(protocol) = packets.protocol.value() else {
        return;
    };
    if let Some(ports) = packets.ports.given()
        && !protocol.has_ports()
    {
        report.error(
            &ports.place,
            "only TCP and UDP have ports",
            "remove ports, or write protocol = \"tcp\" or \"udp\"",
        );
    }
    let icmp = [&packets.icmp_type, &packets.icmp_code];
    if let Some(first) = icmp.into_iter().find_map(Read::given)
        && !protocol.is_icmp()
    {
        report.error(
            &first.place,
            "only ICMP has types and codes",
            "remove icmp_type and icmp_code, or write protocol = \"icmp\"",
        );
    }
}
