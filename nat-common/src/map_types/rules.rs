//! Security groups and network ACLs as the dataplane holds them: three tables that answer for any
//! number of rules. `crate::rules` asks them; the controller compiles them (docs/filtering.md).
//!
//! The scope of each key carries a side: see [`super::sided`]. Nothing else here knows of sides.

/// Numbers of rulesets, the scopes of RULESETS.
pub struct Ruleset;

impl Ruleset {
    /// Sets of groups and ACLs are numbered below this.
    pub const NUMBERS: u32 = 1 << 28;
    const OF_ACL: u32 = 1 << 29;

    /// What may come in to instances of this set of groups.
    #[inline(always)]
    pub const fn ingress_of_groups(set: u32) -> u32 {
        2 * (set % Self::NUMBERS)
    }

    /// What may go out from instances of this set of groups.
    #[inline(always)]
    pub const fn egress_of_groups(set: u32) -> u32 {
        Self::ingress_of_groups(set) | 1
    }

    /// What may come into subnets with this ACL.
    #[inline(always)]
    pub const fn ingress_of_acl(acl: u32) -> u32 {
        Self::OF_ACL | Self::ingress_of_groups(acl)
    }

    /// What may leave subnets with this ACL.
    #[inline(always)]
    pub const fn egress_of_acl(acl: u32) -> u32 {
        Self::ingress_of_acl(acl) | 1
    }
}

/// Key of GROUP_RULES: a ruleset and the set of groups that the remote instance has.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GroupKey {
    /// The ruleset.
    pub ruleset: u32,
    /// The remote instance's set of groups.
    pub set: u32,
}
const _: () = assert!(size_of::<GroupKey>() == 8);

/// Key of PORT_RULES, after the prefix length.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PortKey {
    /// The class of the remote end, from RULESETS or GROUP_RULES.
    pub class: u32,
    /// The IP protocol.
    pub protocol: u8,
    zero: u8,
    port: [u8; 2],
}
const _: () = assert!(size_of::<PortKey>() == 8);

impl PortKey {
    /// Prefix length, in bits, of what holds for every protocol that has no entries of its own.
    pub const CLASS_BITS: u32 = 32;
    /// Prefix length, in bits, of what holds for one protocol; as many more as bits of the port count.
    pub const PROTOCOL_BITS: u32 = 48;
    /// Prefix length, in bits, of one port.
    pub const FULL_BITS: u32 = 64;

    /// Of a destination port, or [`PortKey::icmp`], in host order.
    #[inline(always)]
    pub const fn new(class: u32, protocol: u8, port: u16) -> Self {
        Self {
            class,
            protocol,
            zero: 0,
            port: port.to_be_bytes(),
        }
    }

    /// The same of another class.
    #[must_use]
    pub const fn of_class(self, class: u32) -> Self {
        Self { class, ..self }
    }

    /// What stands for the port of an ICMP message.
    #[inline(always)]
    pub const fn icmp(kind: u8, code: u8) -> u16 {
        u16::from_be_bytes([kind, code])
    }

    /// The port, in host order.
    pub const fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}

/// What the rules say about a packet, and which one says it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Judgement(pub u32);

impl Judgement {
    /// No rule is for this packet.
    pub const DENIED: Self = Self(0);
    /// Set when the packet may pass.
    pub const ALLOW: u32 = 1 << 31;
    /// Set in the table alone: another class knows.
    const ELSEWHERE: u32 = 1 << 30;
    /// Rules and classes are numbered below this.
    pub const NUMBERS: u32 = Self::ELSEWHERE;

    /// Of the rule numbered `rule`, below [`Judgement::NUMBERS`].
    #[inline(always)]
    pub const fn new(allow: bool, rule: u32) -> Self {
        let rule = rule % Self::NUMBERS;
        Self(if allow { Self::ALLOW | rule } else { rule })
    }

    /// In the table: as the class of this number has it. That one sends nobody on.
    #[inline(always)]
    pub const fn as_in(class: u32) -> Self {
        Self(Self::ELSEWHERE | (class % Self::NUMBERS))
    }

    /// The packet may pass.
    #[inline(always)]
    pub const fn allows(self) -> bool {
        self.0 & Self::ALLOW != 0
    }

    /// The number of the rule that decided: in an ACL the rule's own; of groups the group's number
    /// << 10 | index among its rules. 0 when no rule was for the packet.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        self.0 % Self::NUMBERS
    }

    /// The class is to be asked instead whose number is [`Judgement::rule`].
    #[inline(always)]
    pub const fn is_elsewhere(self) -> bool {
        self.0 & Self::ELSEWHERE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map_types::{SIDE_SHIFT, sided};

    #[test]
    fn no_two_rulesets_have_the_same_scope() {
        let numbers = [0, 1, 2, Ruleset::NUMBERS - 1];
        let mut scopes = std::collections::HashSet::new();
        for number in numbers {
            for ruleset in [
                Ruleset::ingress_of_groups(number),
                Ruleset::egress_of_groups(number),
                Ruleset::ingress_of_acl(number),
                Ruleset::egress_of_acl(number),
            ] {
                assert!(scopes.insert(sided(ruleset, 0)) && scopes.insert(sided(ruleset, 1)));
                assert_eq!(sided(ruleset, 1) >> SIDE_SHIFT, 1);
            }
        }
    }

    #[test]
    fn a_port_stands_in_its_key_as_in_a_packet() {
        let key = PortKey::new(1, 6, 0x1234);
        assert_eq!(key.port, [0x12, 0x34]);
        assert_eq!(key.port(), 0x1234);
        assert_eq!(PortKey::icmp(8, 1), 0x0801);
    }
}
