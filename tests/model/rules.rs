//! Security groups and network ACLs, as lists of rules that are read from the first
//! to the last.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::{Cidr, ModelConfig};
use crate::packets::{Ipv4, Transport};

/// Who may talk to instances, and to whom they may: what no rule allows is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroup {
    /// What its instances get.
    pub ingress: Vec<GroupRule>,
    /// What they send; `None` for everything.
    pub egress: Option<Vec<GroupRule>>,
}

/// A rule that allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRule {
    /// These packets.
    pub packets: Packets,
    /// From these senders, or to these receivers.
    pub peer: Peer,
}

/// The other end in a rule of a security group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// These addresses.
    Cidr(Cidr),
    /// All entries of this prefix list of the VPC.
    PrefixList(usize),
    /// The instances of this security group of the VPC.
    SecurityGroup(usize),
}

/// What may cross the boundary of a subnet: what no rule fits is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkAcl {
    /// Into the subnet.
    pub ingress: Vec<AclRule>,
    /// Out of it.
    pub egress: Vec<AclRule>,
}

/// A rule that decides unless one with a lower number does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRule {
    /// 1 to 32766.
    pub number: u16,
    /// What it decides.
    pub allow: bool,
    /// About these packets.
    pub packets: Packets,
    /// Between the subnet and these addresses.
    pub peer: Cidr,
}

/// What kind of packets a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// `None` for every protocol.
    pub protocol: Option<u8>,
    /// Destination ports of TCP or UDP; `None` for all.
    pub ports: Option<RangeInclusive<u16>>,
    /// Type and code of ICMP; `None` for all.
    pub icmp: Option<(u8, Option<u8>)>,
}

/// Which way a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toward {
    /// Into the subnet, or to the instance.
    Ingress,
    /// Out of the subnet, or from the instance.
    Egress,
}

/// What rules look at, besides the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    protocol: u8,
    /// Of the destination.
    port: Option<u16>,
    icmp: Option<(u8, u8)>,
}

impl Packets {
    /// Every packet.
    pub const ALL: Self = Self {
        protocol: None,
        ports: None,
        icmp: None,
    };

    /// Of one protocol.
    #[must_use]
    pub const fn of(protocol: u8) -> Self {
        Self {
            protocol: Some(protocol),
            ..Self::ALL
        }
    }

    /// TCP or UDP to these ports.
    #[must_use]
    pub const fn to_ports(protocol: u8, ports: RangeInclusive<u16>) -> Self {
        Self {
            ports: Some(ports),
            ..Self::of(protocol)
        }
    }

    fn include(&self, asked: &Asked) -> bool {
        let is_protocol = self.protocol.is_none_or(|number| number == asked.protocol);
        let is_port = match (&self.ports, asked.port) {
            (None, _) => true,
            (Some(ports), port) => port.is_some_and(|port| ports.contains(&port)),
        };
        let is_message = match (self.icmp, asked.icmp) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((icmp_type, code)), Some(message)) => {
                icmp_type == message.0 && code.is_none_or(|code| code == message.1)
            }
        };
        is_protocol && is_port && is_message
    }
}

impl Asked {
    /// About a packet as it is.
    pub(super) fn of(ip: &Ipv4) -> Self {
        let (mut port, mut icmp) = (None, None);
        match &ip.transport {
            Transport::Tcp(_) | Transport::Udp(_) => port = Some(ip.destination().port()),
            Transport::Icmp(message) => icmp = Some((message.icmp_type, message.code)),
            Transport::Opaque(_) => {}
        }
        Self {
            protocol: ip.protocol,
            port,
            icmp,
        }
    }

    /// About the packet with another destination port, where it has one.
    pub(super) fn at_port(mut self, port: u16) -> Self {
        self.port = self.port.map(|_| port);
        self
    }
}

impl NetworkAcl {
    /// That lets everything through.
    #[must_use]
    pub fn allowing_all() -> Self {
        let all = AclRule::allow(100, Packets::ALL);
        Self {
            ingress: vec![all.clone()],
            egress: vec![all],
        }
    }

    pub(super) fn allows(&self, toward: Toward, asked: &Asked, remote: Ipv4Addr) -> bool {
        let rules = match toward {
            Toward::Ingress => &self.ingress,
            Toward::Egress => &self.egress,
        };
        let fitting = rules
            .iter()
            .filter(|rule| rule.packets.include(asked) && rule.peer.contains(remote));
        let first = fitting.min_by_key(|rule| rule.number);
        first.is_some_and(|rule| rule.allow)
    }
}

impl AclRule {
    /// Lets these packets through, whoever is at the other end.
    #[must_use]
    pub fn allow(number: u16, packets: Packets) -> Self {
        Self {
            number,
            allow: true,
            packets,
            peer: Cidr::EVERYWHERE,
        }
    }

    /// Refuses these packets.
    #[must_use]
    pub fn deny(number: u16, packets: Packets) -> Self {
        Self {
            allow: false,
            ..Self::allow(number, packets)
        }
    }
}

impl ModelConfig {
    /// Whether the groups of an instance let it talk to `remote`, or hear from it; one
    /// without groups always may. The other end has an address, and may be an instance.
    pub(super) fn groups_allow(
        &self,
        instance: usize,
        toward: Toward,
        asked: &Asked,
        remote: (Ipv4Addr, Option<usize>),
    ) -> bool {
        let vpc = self.vpc_of_instance(instance);
        let instance = &self.instances[instance];
        let mut groups = instance.groups.iter().map(|&group| {
            let group = &self.vpcs[vpc].security_groups[group];
            match toward {
                Toward::Ingress => Some(&group.ingress),
                Toward::Egress => group.egress.as_ref(),
            }
        });
        let allows =
            |rule: &GroupRule| rule.packets.include(asked) && self.is_peer(vpc, rule.peer, remote);
        !instance.is_filtered()
            || groups.any(|rules| rules.is_none_or(|rules| rules.iter().any(allows)))
    }

    fn is_peer(
        &self,
        vpc: usize,
        peer: Peer,
        (address, instance): (Ipv4Addr, Option<usize>),
    ) -> bool {
        match peer {
            Peer::Cidr(cidr) => cidr.contains(address),
            Peer::PrefixList(list) => {
                let mut list = self.vpcs[vpc].prefix_lists[list].iter();
                list.any(|prefix| prefix.contains(address))
            }
            Peer::SecurityGroup(group) => {
                instance.is_some_and(|instance| self.instances[instance].groups.contains(&group))
            }
        }
    }
}
