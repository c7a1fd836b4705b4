//! Our contenders with rules: security groups of the hosts that send, or a network ACL of their subnet,
//! as text of a configuration.
use std::{fmt::Write as _, net::Ipv4Addr};

use crate::{
    lab::{CLIENT, FIRST_INSTANCE, instance},
    ours::{FIRST_PUBLIC, PRIVATE_SUBNET, PUBLIC_SUBNET},
};

/// All remote ends are in it.
const REMOTE_ENDS: &str = "198.18.0.0/15";
/// Networks of this size in there are named by the rules that allow none of the packets.
const OTHERS_BITS: u32 = 26;
const OTHERS_FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const OTHERS_FIRST_PORT: u32 = 20_000;

/// Who looks at the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    None,
    /// A security group with so many rules each way.
    Group(u32),
    /// A network ACL with so many rules each way.
    Acl(u32),
}

/// What of ours is measured with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// `xdp` or `tc`.
    pub attach: &'static str,
    pub one_to_one: bool,
    pub filter: Filter,
    label: String,
}

impl Filtered {
    pub fn new(attach: &'static str, one_to_one: bool, filter: Filter) -> Self {
        let hook = attach.to_uppercase();
        let path = if one_to_one { "1:1" } else { "NAT gateway" };
        let label = format!("{hook}, {path}, {}", filter.label());
        Self {
            attach,
            one_to_one,
            filter,
            label,
        }
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// Packets of such a host make sessions.
    pub const fn makes_sessions(&self) -> bool {
        !self.one_to_one || matches!(self.filter, Filter::Group(_))
    }
}

impl Filter {
    pub fn label(self) -> String {
        let rules = |count: u32| match count {
            1 => "of one rule".to_owned(),
            _ => format!("of {count} rules"),
        };
        match self {
            Self::None => "no rules".to_owned(),
            Self::Group(count) => format!("a group {}", rules(count)),
            Self::Acl(count) => format!("an ACL {}", rules(count)),
        }
    }

    /// A further line of the senders' subnet.
    pub const fn of_subnet(self) -> &'static str {
        match self {
            Self::Acl(_) => "network_acl = \"filter\"",
            Self::None | Self::Group(_) => "",
        }
    }

    /// The instances, and what filters. `instances` have public addresses; without any, the one client
    /// sends through the NAT gateway.
    pub fn objects(self, instances: u32) -> String {
        let mut text = String::new();
        let groups = match self {
            Self::Group(_) => "  security_groups = [\"filter\"]\n",
            Self::None | Self::Acl(_) => "",
        };
        for number in 0..instances {
            text += &format!(
                "\n  [[vpc.instance]]\n  name = \"host-{number}\"\n  subnet = \"{PUBLIC_SUBNET}\"\n  \
                 private_ip = \"{}\"\n  public_ip = \"{}\"\n{groups}",
                instance(FIRST_INSTANCE, number),
                instance(FIRST_PUBLIC, number)
            );
        }
        if instances == 0 && !groups.is_empty() {
            text += &format!(
                "\n  [[vpc.instance]]\n  name = \"client\"\n  subnet = \"{PRIVATE_SUBNET}\"\n  \
                 private_ip = \"{CLIENT}\"\n{groups}"
            );
        }
        let (kind, count, is_acl) = match self {
            Self::None => return text,
            Self::Group(count) => ("security_group", count, false),
            Self::Acl(count) => ("network_acl", count, true),
        };
        text += &format!("\n  [[vpc.{kind}]]\n  name = \"filter\"\n");
        for (way, remote) in [("ingress", "source"), ("egress", "destination")] {
            text += &format!("  {way} = [\n{}  ]\n", rules(remote, count, is_acl));
        }
        text
    }
}

/// Each for a network and a port of its own, and the last one for all remote ends.
fn rules(remote: &str, count: u32, is_acl: bool) -> String {
    let mut text = String::new();
    for number in 1..=count {
        let before = number - 1;
        let network = Ipv4Addr::from(u32::from(OTHERS_FIRST) + (before << (32 - OTHERS_BITS)));
        let (network, ports) = match number == count {
            true => (REMOTE_ENDS.to_owned(), String::new()),
            false => (
                format!("{network}/{OTHERS_BITS}"),
                format!(", ports = \"{}\"", OTHERS_FIRST_PORT + before),
            ),
        };
        let order = match is_acl {
            true => format!("rule = {number}, action = \"allow\", "),
            false => String::new(),
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "    {{ {order}protocol = \"udp\"{ports}, {remote} = \"{network}\" }},"
        );
    }
    text
}
