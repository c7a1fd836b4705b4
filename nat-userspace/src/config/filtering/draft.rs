//! Prefix lists, security groups and network ACLs while they are being checked.

use ipnet::Ipv4Net;

use super::types::{
    AclRule, GroupRule, NetworkAcl, Ports, PrefixList, Remote, RuleProtocol, SecurityGroup,
};
use crate::config::place::{List, Place, Read};
use crate::config::types::PortRange;

#[derive(Clone)]
pub struct PrefixListDraft {
    pub name: Read<String>,
    pub entries: List<Ipv4Net>,
}

#[derive(Clone)]
pub struct SecurityGroupDraft {
    pub name: Read<String>,
    pub ingress: Rules<GroupRuleDraft>,
    pub egress: Rules<GroupRuleDraft>,
}

#[derive(Clone)]
pub struct NetworkAclDraft {
    pub name: Read<String>,
    pub ingress: Rules<AclRuleDraft>,
    pub egress: Rules<AclRuleDraft>,
}

/// The rules of one direction.
#[derive(Clone)]
pub struct Rules<T> {
    /// False when the key is left out.
    pub given: bool,
    pub rules: Vec<T>,
    /// False when something of it was no rule, which was reported.
    pub complete: bool,
}

#[derive(Clone)]
pub struct GroupRuleDraft {
    pub place: Place,
    pub packets: PacketsDraft,
    pub remote: Read<Remote>,
}

#[derive(Clone)]
pub struct AclRuleDraft {
    pub number: Read<u16>,
    pub allow: Read<bool>,
    pub packets: PacketsDraft,
    pub remote: Read<Ipv4Net>,
}

/// Which packets a rule is about, addresses aside.
#[derive(Clone)]
pub struct PacketsDraft {
    pub protocol: Read<RuleProtocol>,
    pub ports: Read<PortRange>,
    pub icmp_type: Read<u8>,
    pub icmp_code: Read<u8>,
}

impl PrefixListDraft {
    pub fn build(self) -> Option<PrefixList> {
        Some(PrefixList {
            name: self.name.required()?,
            entries: self.entries.all()?,
        })
    }
}

impl SecurityGroupDraft {
    /// A group that says nothing of what goes out lets everything out, as AWS's new ones do.
    pub fn build(self) -> Option<SecurityGroup> {
        let is_open = !self.egress.given;
        let mut egress = self.egress.build(GroupRuleDraft::build)?;
        if is_open {
            egress.push(GroupRule::everything());
        }
        Some(SecurityGroup {
            name: self.name.required()?,
            ingress: self.ingress.build(GroupRuleDraft::build)?,
            egress,
        })
    }
}

impl NetworkAclDraft {
    pub fn build(self) -> Option<NetworkAcl> {
        let sorted = |rules: Rules<AclRuleDraft>| {
            let mut rules = rules.build(AclRuleDraft::build)?;
            rules.sort_by_key(|rule| rule.number);
            Some(rules)
        };
        Some(NetworkAcl {
            name: self.name.required()?,
            ingress: sorted(self.ingress)?,
            egress: sorted(self.egress)?,
        })
    }
}

impl<T> Rules<T> {
    fn build<R>(self, build: impl Fn(T) -> Option<R>) -> Option<Vec<R>> {
        if !self.complete {
            return None;
        }
        self.rules.into_iter().map(build).collect()
    }
}

impl GroupRuleDraft {
    fn build(self) -> Option<GroupRule> {
        let (protocol, ports) = self.packets.build()?;
        Some(GroupRule {
            protocol,
            ports,
            remote: self.remote.required()?,
        })
    }
}

impl AclRuleDraft {
    fn build(self) -> Option<AclRule> {
        let (protocol, ports) = self.packets.build()?;
        Some(AclRule {
            number: self.number.required()?,
            allow: self.allow.required()?,
            protocol,
            ports,
            remote: self.remote.required()?,
        })
    }
}

impl PacketsDraft {
    fn build(self) -> Option<(RuleProtocol, Ports)> {
        let range = self.ports.optional()?;
        let (icmp_type, code) = (self.icmp_type.optional()?, self.icmp_code.optional()?);
        let ports = match (range, icmp_type) {
            (Some(range), _) => Ports::Range(range),
            (None, Some(icmp_type)) => Ports::Icmp { icmp_type, code },
            (None, None) => Ports::All,
        };
        Some((self.protocol.required()?, ports))
    }
}
