//! Compiled rules say what the rules say as they are written.

use std::net::Ipv4Addr;

use nat_common::rules::judge_groups;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// As the rules are written.
fn naive(
    rules: &[Rule],
    (protocol, port): (u8, u16),
    is_remote: impl Fn(&RemoteRule) -> bool,
) -> Judgement {
    rules
        .iter()
        .find(|rule| {
            let (first, last) = rule.ports;
            let named = rule
                .protocol
                .is_none_or(|named| named == protocol && first <= port && port <= last);
            named && is_remote(&rule.remote)
        })
        .map_or(Judgement::DENIED, |rule| {
            Judgement::new(rule.allow, rule.id)
        })
}

#[derive(Clone, Debug)]
struct Packet {
    remote: Ipv4Addr,
    set: u32,
    protocol: u8,
    port: u16,
}

fn check_acl(entries: &Entries, rules: &[Rule], packet: &Packet) -> Result<(), TestCaseError> {
    let Packet {
        remote,
        protocol,
        port,
        ..
    } = *packet;
    let expected = naive(rules, (protocol, port), |rule| match rule {
        RemoteRule::Prefix(network) => network.contains(&remote),
        RemoteRule::Groups(_) => false,
    });
    let judged = judge_acl(entries, ACL, remote.into(), protocol, port);
    prop_assert_eq!(judged, expected, "{:?}", packet);
    Ok(())
}

fn check_groups(entries: &Entries, rules: &[Rule], packet: &Packet) -> Result<(), TestCaseError> {
    let Packet {
        remote,
        set,
        protocol,
        port,
    } = *packet;
    let by_address = naive(rules, (protocol, port), |rule| match rule {
        RemoteRule::Prefix(network) => network.contains(&remote),
        RemoteRule::Groups(_) => false,
    });
    let by_groups = naive(rules, (protocol, port), |rule| match rule {
        RemoteRule::Prefix(_) => false,
        RemoteRule::Groups(sets) => sets.contains(&set),
    });
    let expected = if by_address.allows() {
        by_address
    } else {
        by_groups
    };
    let judged = judge_groups(entries, GROUPS, remote.into(), set, protocol, port);
    prop_assert_eq!(judged, expected, "{:?}", packet);
    Ok(())
}

/// Few addresses, so that prefixes hold one another and packets lie in many.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    let octet = || select(vec![0, 1, 2, 127, 128, 255]);
    prop_oneof![
        4 => (octet(), octet()).prop_map(|(a, b)| Ipv4Addr::new(10, 0, a, b)),
        1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
    ]
}

fn network() -> impl Strategy<Value = Ipv4Net> {
    let bits = prop_oneof![select(vec![0, 8, 16, 23, 24, 25, 31, 32]), 0u8..=32];
    (address(), bits).prop_map(|(address, bits)| Ipv4Net::new(address, bits).unwrap().trunc())
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        select(vec![
            0, 1, 79, 80, 81, 1023, 1024, 32767, 32768, 65534, 65535
        ]),
        0u16..30,
        any::<u16>(),
    ]
}

fn rule(remote: impl Strategy<Value = RemoteRule>) -> impl Strategy<Value = Rule> {
    let protocol = select(vec![None, Some(TCP), Some(UDP), Some(ICMP), Some(50)]);
    let ports = prop_oneof![
        1 => Just((0, u16::MAX)),
        2 => port().prop_map(|port| (port, port)),
        3 => (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b))),
    ];
    (any::<bool>(), 1u32..50, protocol, ports, remote).prop_map(
        |(allow, id, protocol, ports, remote)| Rule {
            allow,
            id,
            protocol,
            ports,
            remote,
        },
    )
}

fn prefix_rule() -> BoxedStrategy<Rule> {
    rule(network().prop_map(RemoteRule::Prefix)).boxed()
}

fn group_rule() -> BoxedStrategy<Rule> {
    let groups = vec(1u32..5, 1..4).prop_map(RemoteRule::Groups);
    let network = network().prop_map(RemoteRule::Prefix);
    rule(prop_oneof![groups, network])
        .prop_map(|rule| Rule {
            allow: true,
            ..rule
        })
        .boxed()
}

/// Many ports of one wide prefix, at some place in the list: what narrow ones leave to it.
fn with_many_ports(rules: impl Strategy<Value = Vec<Rule>>) -> impl Strategy<Value = Vec<Rule>> {
    let at = any::<prop::sample::Index>();
    (rules, at, 20u16..100, 1u16..5, network()).prop_map(|(mut rules, at, count, step, network)| {
        let wide = Ipv4Net::new(network.addr(), network.prefix_len() / 4).unwrap();
        let many = (0..count).map(|n| Rule {
            id: 100 + u32::from(n),
            ..tcp(n * step, n * step, &wide.to_string())
        });
        let at = at.index(rules.len() + 1);
        rules.splice(at..at, many);
        rules
    })
}

fn rules(rule: BoxedStrategy<Rule>) -> impl Strategy<Value = Vec<Rule>> {
    let few = vec(rule.clone(), 0..8);
    prop_oneof![
        few,
        vec(rule.clone(), 0..40),
        with_many_ports(vec(rule, 0..20))
    ]
}

/// At a border of some rule, or anywhere.
fn packet(rules: &[Rule], pick: (prop::sample::Index, u32), other: Packet) -> Packet {
    let mut packet = other;
    if rules.is_empty() {
        return packet;
    }
    let (rule, how) = (&rules[pick.0.index(rules.len())], pick.1);
    if how & 1 != 0
        && let RemoteRule::Prefix(network) = rule.remote
    {
        let edge = [network.network(), network.broadcast()][(how >> 1 & 1) as usize];
        let off = [0, 1, u32::MAX][(how >> 2) as usize % 3];
        packet.remote = Ipv4Addr::from_bits(edge.to_bits().wrapping_add(off));
    }
    if how & 16 != 0 {
        let edge = [rule.ports.0, rule.ports.1][(how >> 5 & 1) as usize];
        packet.port = edge.wrapping_add([0, 1, u16::MAX][(how >> 6) as usize % 3]);
    }
    if how & 256 != 0 {
        packet.protocol = rule.protocol.unwrap_or(packet.protocol);
    }
    packet
}

type Picks = Vec<((prop::sample::Index, u32), Packet)>;

fn picks() -> impl Strategy<Value = Picks> {
    let protocol = select(vec![TCP, UDP, ICMP, 50, 51]);
    let any_packet =
        (address(), 0u32..6, protocol, port()).prop_map(|(remote, set, protocol, port)| Packet {
            remote,
            set,
            protocol,
            port,
        });
    vec(
        ((any::<prop::sample::Index>(), any::<u32>()), any_packet),
        200,
    )
}

proptest! {
    #[test]
    fn an_acl_says_what_its_first_match_says(rules in rules(prefix_rule()), picks in picks()) {
        let entries = Interner::default().compile([(ACL, rules.clone())]);
        for (pick, other) in picks {
            check_acl(&entries, &rules, &packet(&rules, pick, other))?;
        }
    }

    #[test]
    fn groups_allow_what_a_rule_allows(rules in rules(group_rule()), picks in picks()) {
        let entries = Interner::default().compile([(GROUPS, rules.clone())]);
        for (pick, other) in picks {
            check_groups(&entries, &rules, &packet(&rules, pick, other))?;
        }
    }

    /// Rulesets come and go, and each compilation says the same as a first one would.
    #[test]
    fn an_interner_that_has_lived_says_the_same(
        steps in vec((rules(prefix_rule()), rules(group_rule())), 1..4), picks in picks(),
    ) {
        let mut interner = Interner::default();
        for (acl, groups) in &steps {
            let entries = interner.compile([(ACL, acl.clone()), (GROUPS, groups.clone())]);
            for (pick, other) in &picks[..30] {
                check_acl(&entries, acl, &packet(acl, *pick, other.clone()))?;
                check_groups(&entries, groups, &packet(groups, *pick, other.clone()))?;
            }
        }
    }

    #[test]
    fn a_cover_is_right_at_each_port_and_none_is_shorter(
        values in vec((0usize..PARTS, 0u32..3), 1..9), inherited in 0u32..3,
    ) {
        let mut wanted = [Judgement(values[0].1); PARTS];
        for (start, value) in values {
            wanted[start..].fill(Judgement(value));
        }
        let inherited = Judgement(inherited);
        let mut pieces: Vec<_> = (0..=u16::MAX).step_by(PART).zip(wanted).collect();
        pieces.dedup_by_key(|(_, value)| *value);

        let mut found = Vec::new();
        Cover::default().cover(&pieces, inherited, |bits, port, value| found.push((bits, port, value)));
        for (port, value) in (0..=u16::MAX).step_by(PART).zip(wanted) {
            let within = found.iter().filter(|(bits, first, _)| {
                port & u16::MAX.checked_shl(16 - bits).unwrap_or(0) == *first
            });
            let longest = within.max_by_key(|(bits, ..)| bits);
            prop_assert_eq!(longest.map_or(inherited, |&(.., value)| value), value);
        }
        prop_assert_eq!(found.len(), shortest(&wanted, inherited));
    }
}

/// In how many parts ports are cut to try all covers.
const PARTS: usize = 16;
/// How many ports each has.
const PART: usize = 65_536 / PARTS;

/// The length of the shortest cover.
fn shortest(wanted: &[Judgement], inherited: Judgement) -> usize {
    let choices = (0..3).map(Judgement).map(|value| {
        let below = match wanted.split_at(wanted.len() / 2) {
            ([], [part]) if *part == value => 0,
            ([], _) => PARTS,
            (low, high) => shortest(low, value) + shortest(high, value),
        };
        usize::from(value != inherited) + below
    });
    choices.min().unwrap()
}
