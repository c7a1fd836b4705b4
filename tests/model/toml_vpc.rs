//! VPCs as tables of the configuration file. Everything is named after its number.

use std::fmt::Write as _;

use super::rules::{AclRule, GroupRule, Packets, Peer};
use super::toml::{list, quoted, quoted_ip, quoted_range};
use super::{Destination, Instance, ModelConfig, Subnet, Target, Vpc};
use crate::packets::{Mac, protocol};

impl ModelConfig {
    /// All `[[vpc]]`, with these names of the inside interfaces. The private IP of a NAT
    /// gateway is the 100th address of its subnet.
    #[must_use]
    pub fn vpcs_toml(&self, interface: impl Fn(u32) -> String) -> String {
        let mut text = String::new();
        for (number, vpc) in self.vpcs.iter().enumerate() {
            text += &vpc.toml(number);
            for (index, subnet) in self.subnets.iter().enumerate() {
                if subnet.vpc == number {
                    text += &subnet.toml(index, &interface(subnet.interface));
                }
            }
            for (index, gateway) in self.gateways.iter().enumerate() {
                if self.vpc_of_gateway(index) != number {
                    continue;
                }
                let private = match gateway.public_ips.first() {
                    Some(own) if gateway.is_private => *own,
                    _ => self.subnets[gateway.subnet].cidr.nth(100),
                };
                text += &table(
                    "nat_gateway",
                    &[
                        ("name", quoted(&format!("gateway-{index}"))),
                        ("subnet", quoted(&format!("subnet-{}", gateway.subnet))),
                        ("private_ip", quoted_ip(&private)),
                    ],
                );
                text += &gateway.toml();
            }
            for (index, instance) in self.instances.iter().enumerate() {
                if self.vpc_of_instance(index) == number {
                    text += &instance.toml(index);
                }
            }
        }
        text
    }
}

impl Vpc {
    /// The VPC and what its other parts name.
    fn toml(&self, number: usize) -> String {
        let cidrs = list(&self.cidrs, |cidr| quoted(&cidr.to_string()));
        let mut text = format!(
            "\n[[vpc]]\nname = \"vpc-{number}\"\ncidrs = {cidrs}\ninternet_gateway = true\nstrict = {}\n",
            self.strict
        );
        for (index, entries) in self.prefix_lists.iter().enumerate() {
            let entries = list(entries, |entry| quoted(&entry.to_string()));
            let name = quoted(&format!("list-{index}"));
            text += &table("prefix_list", &[("name", name), ("entries", entries)]);
        }
        for (index, group) in self.security_groups.iter().enumerate() {
            let mut keys = vec![("name", quoted(&format!("group-{index}")))];
            if !group.ingress.is_empty() {
                let rules = list(&group.ingress, |rule| group_rule(rule, "source"));
                keys.push(("ingress", rules));
            }
            if let Some(egress) = &group.egress {
                keys.push((
                    "egress",
                    list(egress, |rule| group_rule(rule, "destination")),
                ));
            }
            text += &table("security_group", &keys);
        }
        for (index, acl) in self.network_acls.iter().enumerate() {
            let keys = [
                ("name", quoted(&format!("acl-{index}"))),
                (
                    "ingress",
                    list(&acl.ingress, |rule| acl_rule(rule, "source")),
                ),
                (
                    "egress",
                    list(&acl.egress, |rule| acl_rule(rule, "destination")),
                ),
            ];
            text += &table("network_acl", &keys);
        }
        text
    }
}

impl Subnet {
    fn toml(&self, number: usize, interface: &str) -> String {
        let route_table = quoted(&format!("table-{number}"));
        let mut keys = vec![
            ("name", quoted(&format!("subnet-{number}"))),
            ("cidr", quoted(&self.cidr.to_string())),
            ("interface", quoted(interface)),
            ("route_table", route_table.clone()),
        ];
        if let Some(acl) = self.acl {
            keys.push(("network_acl", quoted(&format!("acl-{acl}"))));
        }
        let routes = list(&self.routes, |route| {
            let destination = match route.destination {
                Destination::Cidr(cidr) => cidr.to_string(),
                Destination::PrefixList(list) => format!("prefix-list:list-{list}"),
            };
            format!(
                "{{ destination = {}, target = {} }}",
                quoted(&destination),
                quoted(&target(route.target))
            )
        });
        let routes = [("name", route_table), ("routes", routes)];
        table("subnet", &keys) + &table("route_table", &routes)
    }
}

impl Instance {
    fn toml(&self, number: usize) -> String {
        let mut keys = vec![
            ("name", quoted(&format!("instance-{number}"))),
            ("subnet", quoted(&format!("subnet-{}", self.subnet))),
            ("private_ip", quoted_ip(&self.private)),
        ];
        if let Some(public) = &self.public {
            keys.push(("public_ip", quoted_ip(public)));
        }
        if self.is_filtered() {
            let groups = list(&self.groups, |group| quoted(&format!("group-{group}")));
            keys.push(("security_groups", groups));
        }
        if !self.source_dest_check {
            keys.push(("source_dest_check", "false".into()));
        }
        if let Some(Mac(bytes)) = &self.mac {
            let bytes = bytes.map(|byte| format!("{byte:02x}"));
            keys.push(("mac", quoted(&bytes.join(":"))));
        }
        table("instance", &keys)
    }
}

/// A table of a VPC.
fn table(name: &str, keys: &[(&str, String)]) -> String {
    let mut text = format!("\n[[vpc.{name}]]\n");
    for (key, value) in keys {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

fn target(target: Target) -> String {
    match target {
        Target::Local => "local".into(),
        Target::InternetGateway => "internet-gateway".into(),
        Target::NatGateway(number) => format!("nat-gateway:gateway-{number}"),
        Target::Instance(number) => format!("instance:instance-{number}"),
        Target::Blackhole => "blackhole".into(),
    }
}

fn group_rule(rule: &GroupRule, end: &str) -> String {
    let peer = match rule.peer {
        Peer::Cidr(cidr) => cidr.to_string(),
        Peer::PrefixList(list) => format!("prefix-list:list-{list}"),
        Peer::SecurityGroup(group) => format!("security-group:group-{group}"),
    };
    format!(
        "{{ {}, {end} = {} }}",
        packets(&rule.packets),
        quoted(&peer)
    )
}

fn acl_rule(rule: &AclRule, end: &str) -> String {
    let action = if rule.allow { "allow" } else { "deny" };
    format!(
        "{{ rule = {}, action = {}, {}, {end} = {} }}",
        rule.number,
        quoted(action),
        packets(&rule.packets),
        quoted(&rule.peer.to_string())
    )
}

fn packets(packets: &Packets) -> String {
    let mut text = match packets.protocol {
        None => "protocol = \"all\"".into(),
        Some(protocol::TCP) => "protocol = \"tcp\"".into(),
        Some(protocol::UDP) => "protocol = \"udp\"".into(),
        Some(protocol::ICMP) => "protocol = \"icmp\"".into(),
        Some(other) => format!("protocol = {other}"),
    };
    if let Some(ports) = &packets.ports {
        text += &format!(", ports = {}", quoted_range(ports));
    }
    if let Some((icmp_type, code)) = packets.icmp {
        text += &format!(", icmp_type = {icmp_type}");
        if let Some(code) = code {
            text += &format!(", icmp_code = {code}");
        }
    }
    text
}
