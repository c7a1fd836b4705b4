//! What security groups and network ACLs say about a packet: two or three look-ups, whatever the
//! number of rules. The tables' layout is `map_types/rules.rs`; docs/filtering.md says why it is so.

use crate::{address::Address, map_types::Judgement};

/// The tables, seen from one side of the policy: implementations add the side to rulesets and classes.
pub trait Rules {
    /// From RULESETS: the class of the longest prefix that `remote` lies in.
    fn class_of_address(&self, ruleset: u32, remote: Address) -> Option<u32>;
    /// From GROUP_RULES.
    fn class_of_groups(&self, ruleset: u32, set: u32) -> Option<u32>;
    /// From PORT_RULES: the longest match. `port` is the destination's, in host order, or
    /// [`crate::map_types::PortKey::icmp`]; 0 where the protocol has none.
    fn judgement(&self, class: u32, protocol: u8, port: u16) -> Option<Judgement>;
}

/// What the groups of an instance say, whose ruleset this is, about a packet from or to `remote`, which
/// has the set of groups `remote_set`, or 0. A rule for its address is found before one for its groups.
#[inline(always)]
pub fn judge_groups<R: Rules>(
    rules: &R,
    ruleset: u32,
    remote: Address,
    remote_set: u32,
    protocol: u8,
    port: u16,
) -> Judgement {
    let by_address = judge_acl(rules, ruleset, remote, protocol, port);
    if by_address.allows() || remote_set == 0 {
        return by_address;
    }
    match rules.class_of_groups(ruleset, remote_set) {
        Some(class) => judge_class(rules, class, protocol, port),
        None => Judgement::DENIED,
    }
}

/// What an ACL says, whose ruleset this is, about a packet from or to `remote`.
#[inline(always)]
pub fn judge_acl<R: Rules>(
    rules: &R,
    ruleset: u32,
    remote: Address,
    protocol: u8,
    port: u16,
) -> Judgement {
    match rules.class_of_address(ruleset, remote) {
        Some(class) => judge_class(rules, class, protocol, port),
        None => Judgement::DENIED,
    }
}

#[inline(always)]
fn judge_class<R: Rules>(rules: &R, class: u32, protocol: u8, port: u16) -> Judgement {
    let judgement = match rules.judgement(class, protocol, port) {
        Some(judgement) if judgement.is_elsewhere() => {
            rules.judgement(judgement.rule(), protocol, port)
        }
        found => found,
    };
    match judgement {
        Some(judgement) if !judgement.is_elsewhere() => judgement,
        _ => Judgement::DENIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes by address and by set of groups, judgements by class.
    struct Fixed(Option<u32>, Option<u32>, &'static [(u32, Judgement)]);

    impl Rules for Fixed {
        fn class_of_address(&self, _: u32, _: Address) -> Option<u32> {
            self.0
        }

        fn class_of_groups(&self, _: u32, _: u32) -> Option<u32> {
            self.1
        }

        fn judgement(&self, class: u32, _: u8, _: u16) -> Option<Judgement> {
            self.2
                .iter()
                .find_map(|&(of, judgement)| (of == class).then_some(judgement))
        }
    }

    const JUDGEMENTS: &[(u32, Judgement)] = &[
        (1, Judgement::new(true, 10)),
        (2, Judgement::new(false, 20)),
        (3, Judgement::as_in(1)),
        (4, Judgement::as_in(3)),
        (5, Judgement::as_in(6)),
        (7, Judgement::new(true, 70)),
    ];

    fn groups(by_address: Option<u32>, by_groups: Option<u32>, remote_set: u32) -> Judgement {
        let rules = Fixed(by_address, by_groups, JUDGEMENTS);
        judge_groups(&rules, 0, Address::UNSPECIFIED, remote_set, 6, 80)
    }

    fn acl(class: Option<u32>) -> Judgement {
        judge_acl(
            &Fixed(class, Some(7), JUDGEMENTS),
            0,
            Address::UNSPECIFIED,
            6,
            80,
        )
    }

    #[test]
    fn groups_allow_by_address_or_by_the_remotes_groups() {
        assert_eq!(groups(Some(1), Some(7), 9), Judgement::new(true, 10));
        assert_eq!(groups(None, Some(7), 9), Judgement::new(true, 70));
        assert_eq!(groups(Some(2), Some(7), 9), Judgement::new(true, 70));
        assert_eq!(groups(Some(8), Some(7), 9), Judgement::new(true, 70));
        assert_eq!(groups(Some(8), None, 9), Judgement::DENIED);
        assert_eq!(groups(None, None, 9), Judgement::DENIED);
    }

    #[test]
    fn who_has_no_groups_is_judged_by_address_alone() {
        assert_eq!(groups(None, Some(7), 0), Judgement::DENIED);
    }

    #[test]
    fn an_acl_names_the_rule_that_denies_and_denies_the_rest() {
        assert_eq!(acl(Some(2)), Judgement::new(false, 20));
        assert_eq!(acl(Some(8)), Judgement::DENIED);
        assert_eq!(acl(None), Judgement::DENIED);
    }

    #[test]
    fn a_class_may_send_to_another_one_once() {
        assert_eq!(acl(Some(3)), Judgement::new(true, 10));
        assert_eq!(acl(Some(4)), Judgement::DENIED);
        assert_eq!(acl(Some(5)), Judgement::DENIED);
    }
}
