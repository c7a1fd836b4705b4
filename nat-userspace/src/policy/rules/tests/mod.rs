mod properties;

use super::*;
use nat_common::{
    address::Address,
    flow::protocol::{ICMP, TCP, UDP},
    map_types::{Ruleset, ScopedAddress},
    rules::{Rules, judge_acl},
};

const ACL: u32 = Ruleset::ingress_of_acl(1);
const GROUPS: u32 = Ruleset::egress_of_groups(1);

/// Longest-prefix search as the kernel does it, the slow way.
impl Rules for Entries {
    fn class_of_address(&self, ruleset: u32, remote: Address) -> Option<u32> {
        (0..=32).rev().find_map(|bits| {
            let network = Ipv4Net::new(remote.into(), bits).unwrap();
            self.rulesets.get(&prefix(ruleset, network)).copied()
        })
    }

    fn class_of_groups(&self, ruleset: u32, set: u32) -> Option<u32> {
        self.group_rules.get(&GroupKey { ruleset, set }).copied()
    }

    fn judgement(&self, class: u32, protocol: u8, port: u16) -> Option<Judgement> {
        let by_port = (0..=16).rev().map(|bits| {
            let masked = port & u16::MAX.checked_shl(16 - bits).unwrap_or(0);
            let key = PortKey::new(class, protocol, masked);
            (key, PortKey::PROTOCOL_BITS + bits)
        });
        let of_class = (PortKey::new(class, 0, 0), PortKey::CLASS_BITS);
        by_port
            .chain([of_class])
            .find_map(|key| self.port_rules.get(&key).copied())
    }
}

fn tcp(first: u16, last: u16, remote: &str) -> Rule {
    Rule {
        allow: true,
        id: 1,
        protocol: Some(TCP),
        ports: (first, last),
        remote: RemoteRule::Prefix(remote.parse().unwrap()),
    }
}

fn compiled(rules: Vec<Rule>) -> Entries {
    Interner::default().compile([(ACL, rules)])
}

/// Prefix lengths and ports of a single class.
fn port_prefixes(rules: Vec<Rule>) -> Vec<(u32, u16)> {
    let entries = compiled(rules);
    let mut found: Vec<_> = entries
        .port_rules
        .entries()
        .iter()
        .map(|((key, bits), _)| (*bits, key.port()))
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn a_range_is_as_few_prefixes_as_can_be() {
    let of = |first, last| port_prefixes(vec![tcp(first, last, "0.0.0.0/0")]);
    assert_eq!(of(0, 65535), [(48, 0)]);
    assert_eq!(of(80, 80), [(64, 80)]);
    assert_eq!(of(80, 81), [(63, 80)]);
    assert_eq!(of(0, 1023), [(54, 0)]);
    assert_eq!(of(81, 82), [(64, 81), (64, 82)]);
    // What is left out is denied by an entry of its own.
    assert_eq!(of(1024, 65535), [(48, 0), (54, 0)]);
    assert_eq!(of(1, 65534), [(48, 0), (64, 0), (64, 65535)]);
}

#[test]
fn a_thousand_disjoint_ranges_are_a_thousand_entries_or_some_more() {
    let ports = |width: u16| {
        (0..1000)
            .map(|n| Rule {
                id: u32::from(n),
                ..tcp(n * 60 + 1, n * 60 + width, "0.0.0.0/0")
            })
            .collect()
    };
    assert_eq!(port_prefixes(ports(1)).len(), 1000);
    assert_eq!(port_prefixes(ports(50)).len(), 5189);
}

#[test]
fn a_rule_for_all_protocols_is_one_entry_and_others_stand_out_from_it() {
    let all = Rule {
        protocol: None,
        id: 2,
        ..tcp(80, 80, "0.0.0.0/0")
    };
    let entries = compiled(vec![tcp(22, 22, "0.0.0.0/0"), all.clone()]);
    assert_eq!(entries.port_rules.len(), 2);
    let judge =
        |protocol, port| judge_acl(&entries, ACL, Address::UNSPECIFIED, protocol, port).rule();
    assert_eq!(judge(TCP, 22), 1);
    assert_eq!(judge(TCP, 443), 2);
    assert_eq!(judge(UDP, 22), 2);
    assert_eq!(
        compiled(vec![all, tcp(22, 22, "0.0.0.0/0")])
            .port_rules
            .len(),
        1
    );
}

#[test]
fn the_example_in_the_documentation() {
    let entries = compiled(vec![
        Rule {
            id: 100,
            allow: false,
            ..tcp(22, 22, "10.0.0.0/8")
        },
        Rule {
            id: 110,
            ..tcp(0, 1023, "10.1.0.0/16")
        },
        Rule {
            id: 120,
            protocol: None,
            ..tcp(0, u16::MAX, "0.0.0.0/0")
        },
    ]);
    let has = |class, judgement, bits, protocol, port| {
        let key = (PortKey::new(class, protocol, port), bits);
        assert_eq!(entries.port_rules.get(&key), Some(&judgement), "{key:?}");
    };
    let (denied, low, all) = (
        Judgement::new(false, 100),
        Judgement::new(true, 110),
        Judgement::new(true, 120),
    );
    has(1, all, 32, 0, 0);
    has(2, all, 32, 0, 0);
    has(2, denied, 64, TCP, 22);
    has(3, all, 32, 0, 0);
    has(3, low, 54, TCP, 0);
    has(3, denied, 64, TCP, 22);
    assert_eq!(entries.port_rules.len(), 6);
    assert_eq!(class_at(&entries, [11, 0, 0, 1]), 1);
    assert_eq!(class_at(&entries, [10, 0, 0, 1]), 2);
    assert_eq!(class_at(&entries, [10, 1, 0, 1]), 3);
}

#[test]
fn icmp_types_are_prefixes_of_eight_bits() {
    let echo = Rule {
        protocol: Some(ICMP),
        ports: (PortKey::icmp(8, 0), PortKey::icmp(8, 255)),
        ..tcp(0, 0, "0.0.0.0/0")
    };
    assert_eq!(port_prefixes(vec![echo]), [(56, 0x0800)]);
}

#[test]
fn equal_contents_share_a_class_within_and_between_rulesets() {
    let list = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"];
    let rules: Vec<_> = list.map(|network| tcp(443, 443, network)).into();
    let entries =
        Interner::default().compile([(ACL, rules.clone()), (GROUPS, rules[..2].to_vec())]);
    assert_eq!(entries.rulesets.len(), 5);
    assert!(
        entries
            .rulesets
            .entries()
            .iter()
            .all(|(_, class)| *class == 1)
    );
    assert_eq!(entries.port_rules.len(), 1);
}

#[test]
fn sets_that_the_same_rules_name_share_a_class() {
    let rule = |port, sets: &[u32]| Rule {
        remote: RemoteRule::Groups(sets.to_vec()),
        ..tcp(port, port, "0.0.0.0/0")
    };
    let rules = vec![rule(80, &[1, 2, 3]), rule(443, &[3])];
    let entries = Interner::default().compile([(GROUPS, rules)]);
    let class = |set| entries.class_of_groups(GROUPS, set).unwrap();
    assert_eq!(class(1), class(2));
    assert_ne!(class(1), class(3));
    assert_eq!(entries.port_rules.len(), 3);
}

#[test]
fn a_prefix_that_says_what_the_one_around_it_says_has_no_entry() {
    let rules = vec![tcp(0, 1023, "10.0.0.0/8"), tcp(80, 80, "10.1.0.0/16")];
    assert_eq!(compiled(rules).rulesets.len(), 1);
}

#[test]
fn what_many_ports_of_a_wide_prefix_say_is_not_repeated_in_narrow_ones() {
    let mut rules: Vec<_> = (0..500).map(|n| tcp(2 * n, 2 * n, "0.0.0.0/0")).collect();
    for n in 0..100 {
        rules.push(tcp(3001, 3001, &format!("10.0.{n}.0/24")));
        rules.push(tcp(3003, 3003, &format!("10.0.{n}.128/25")));
    }
    let entries = compiled(rules);
    // 500 of the wide prefix; one of the next one, and two of the narrowest, each with what sends to
    // the first class.
    assert_eq!(entries.port_rules.len(), 500 + 2 + 3);
    assert_eq!(entries.rulesets.len(), 201);
}

fn class_at(entries: &Entries, remote: [u8; 4]) -> u32 {
    entries
        .class_of_address(ACL, Address::from_wire(remote))
        .unwrap()
}

#[test]
fn classes_keep_their_numbers_and_give_them_up_late() {
    let web = || tcp(80, 80, "192.0.2.0/24");
    let ssh = || tcp(22, 22, "198.51.100.0/24");
    let dns = || tcp(53, 53, "203.0.113.0/24");
    let mut interner = Interner::default();
    let mut compile = |rules: Vec<Rule>| interner.compile([(ACL, rules)]);

    let entries = compile(vec![web(), ssh()]);
    let (web_class, ssh_class) = (
        class_at(&entries, [192, 0, 2, 1]),
        class_at(&entries, [198, 51, 100, 1]),
    );
    // Packets of the generation before may still look at the class of ssh.
    let entries = compile(vec![dns(), web()]);
    assert_eq!(class_at(&entries, [192, 0, 2, 1]), web_class);
    let dns_class = class_at(&entries, [203, 0, 113, 1]);
    assert_ne!(dns_class, ssh_class);
    assert_eq!(entries.port_rules.len(), 2);

    compile(vec![dns(), web()]);
    let entries = compile(vec![dns(), tcp(25, 25, "198.51.100.0/24"), web()]);
    assert_eq!(class_at(&entries, [192, 0, 2, 1]), web_class);
    assert_eq!(class_at(&entries, [203, 0, 113, 1]), dns_class);
    assert_eq!(class_at(&entries, [198, 51, 100, 1]), ssh_class);
}

#[test]
fn a_scope_of_a_ruleset_is_matched_whole() {
    let entries = compiled(vec![tcp(80, 80, "0.0.0.0/0")]);
    let ((key, bits), _) = entries.rulesets.entries()[0];
    assert_eq!((bits, key.scope), (ScopedAddress::SCOPE_BITS, ACL));
}

#[test]
fn no_rules_are_no_entries() {
    assert_eq!(compiled(Vec::new()), Entries::default());
}
