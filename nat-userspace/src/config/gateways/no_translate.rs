//! What NAT gateways pass untranslated: which rules hold for a destination, and how many may.

use std::collections::{BTreeMap, HashMap};

use ipnet::Ipv4Net;
use nat_common::map_types::MAX_EXEMPTIONS;

use super::draft::{NatGatewayDraft, NoTranslateDraft};
use super::types::{NoTranslate, PassRule, Protocol};
use crate::config::draft::Draft;
use crate::config::place::Report;
use crate::config::validate::limit;

/// Rules of one gateway, and of all together.
const MAX_PER_GATEWAY: usize = 256;
const MAX_TOGETHER: usize = 4096;

/// The rules that hold for each destination: those given for it, and those for the prefixes around it,
/// because whoever looks a packet up sees its longest match alone. What another rule covers is left
/// out. More than [`MAX_EXEMPTIONS`] are cut off one behind that.
pub fn rules_by_prefix(
    rules: impl IntoIterator<Item = NoTranslate>,
) -> BTreeMap<Ipv4Net, Vec<PassRule>> {
    let mut own: BTreeMap<Ipv4Net, Vec<PassRule>> = BTreeMap::new();
    for rule in rules {
        add(own.entry(rule.destination).or_default(), rule.rule);
    }
    // A prefix comes behind those around it.
    let mut around: Vec<(Ipv4Net, Vec<PassRule>)> = Vec::new();
    for (prefix, rules) in &mut own {
        while around
            .pop_if(|(outer, _)| !outer.contains(&*prefix))
            .is_some()
        {}
        for inherited in around.last().into_iter().flat_map(|(_, rules)| rules) {
            add(rules, *inherited);
        }
        around.push((*prefix, rules.clone()));
    }
    own
}

fn add(rules: &mut Vec<PassRule>, rule: PassRule) {
    if rules.len() > MAX_EXEMPTIONS || rules.iter().any(|other| covers(other, &rule)) {
        return;
    }
    rules.retain(|other| !covers(&rule, other));
    rules.push(rule);
}

fn covers(wide: &PassRule, narrow: &PassRule) -> bool {
    let protocol = wide.protocol.is_none() || wide.protocol == narrow.protocol;
    let ports = match (wide.ports, narrow.ports) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => wide.first <= narrow.first && narrow.last <= wide.last,
    };
    protocol && ports
}

/// Reports the mistakes in the rules of one gateway.
pub fn check(gateway: &NatGatewayDraft, report: &mut Report<'_>) {
    let rules = &gateway.no_translate;
    for rule in rules {
        if let (Some(ports), Some(rule)) = (rule.ports.given(), rule.build())
            && rule.rule.protocol == Some(Protocol::Icmp)
        {
            report.error(
                &ports.place,
                "ICMP has no ports",
                "remove ports, or name a protocol that has them",
            );
        }
    }
    let places = rules.iter().map(|rule| &rule.place);
    limit(
        "no_translate rules on a NAT gateway",
        MAX_PER_GATEWAY,
        places,
        report,
    );
    too_many_for_one_prefix(rules.iter(), "", report);
}

/// Reports what is wrong with the rules of all gateways together: a packet from outside passes when it
/// is covered by a rule of any.
pub fn check_together(draft: &Draft, report: &mut Report<'_>) {
    let all = || {
        let gateways = draft.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways);
        gateways.flat_map(|gateway| &gateway.no_translate)
    };
    limit(
        "no_translate rules in all VPCs together",
        MAX_TOGETHER,
        all().map(|rule| &rule.place),
        report,
    );
    let mut gateways = draft.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways);
    let alone = |gateway: &NatGatewayDraft| {
        let rules = gateway.no_translate.iter();
        let held = rules_by_prefix(rules.filter_map(NoTranslateDraft::build));
        held.values().any(|rules| rules.len() > MAX_EXEMPTIONS)
    };
    // What one gateway has too many of was reported.
    if !gateways.any(alone) {
        too_many_for_one_prefix(all(), " in all gateways together", report);
    }
}

fn too_many_for_one_prefix<'a>(
    drafts: impl Iterator<Item = &'a NoTranslateDraft>,
    of_whom: &str,
    report: &mut Report<'_>,
) {
    let rules: Vec<_> = drafts
        .filter_map(|draft| Some((draft.build()?, draft)))
        .collect();
    let by_prefix = rules_by_prefix(rules.iter().map(|(rule, _)| *rule));
    let lasts: HashMap<Ipv4Net, &NoTranslateDraft> = rules
        .iter()
        .map(|(rule, draft)| (rule.destination, *draft))
        .collect();
    // Wider prefixes come first, and what is too much there is so in all within.
    let mut reported: Option<Ipv4Net> = None;
    for (prefix, held) in by_prefix {
        let is_within = reported.is_some_and(|outer| outer.contains(&prefix));
        if held.len() <= MAX_EXEMPTIONS || is_within {
            continue;
        }
        reported = Some(prefix);
        if let Some(draft) = lasts.get(&prefix) {
            report.error(
                &draft.place,
                format!("too many rules hold for {prefix}{of_whom}, those around it among them"),
                format!("keep at most {MAX_EXEMPTIONS}, for example by joining port ranges"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::PortRange;

    fn rule(
        destination: &str,
        protocol: Option<Protocol>,
        ports: Option<(u16, u16)>,
    ) -> NoTranslate {
        NoTranslate {
            destination: destination.parse().unwrap(),
            rule: PassRule {
                protocol,
                ports: ports.map(|(first, last)| PortRange { first, last }),
            },
        }
    }

    #[test]
    fn a_narrow_prefix_keeps_the_rules_of_the_wide_ones_around_it() {
        let tcp = rule("10.0.0.0/8", Some(Protocol::Tcp), None);
        let web = rule("10.1.0.0/16", None, Some((80, 80)));
        let udp = rule("10.1.2.0/24", Some(Protocol::Udp), None);
        let beside = rule("10.2.0.0/16", Some(Protocol::Icmp), None);
        let rules = rules_by_prefix([udp, beside, web, tcp]);
        let held = |net: &str| rules[&net.parse::<Ipv4Net>().unwrap()].clone();
        assert_eq!(held("10.0.0.0/8"), [tcp.rule]);
        assert_eq!(held("10.1.0.0/16"), [web.rule, tcp.rule]);
        assert_eq!(held("10.1.2.0/24"), [udp.rule, web.rule, tcp.rule]);
        assert_eq!(held("10.2.0.0/16"), [beside.rule, tcp.rule]);
    }

    #[test]
    fn what_another_rule_covers_is_left_out() {
        let all = rule("10.0.0.0/8", None, None);
        let part = rule("10.1.0.0/16", Some(Protocol::Tcp), Some((1, 65_535)));
        let rules = rules_by_prefix([part, all]);
        assert!(rules.values().all(|held| held == &[all.rule]));
        // Fragments have no ports, so all of them is more than every single one.
        assert!(!covers(
            &part.rule,
            &rule("10.0.0.0/8", Some(Protocol::Tcp), None).rule
        ));
    }
}
