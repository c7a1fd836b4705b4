//! A large VPC as text of a configuration, and objects that may be added to it.
use std::{fmt::Write as _, net::Ipv4Addr};

use crate::{
    lab::{INSIDE, UPLINK, instance},
    ours::{DEFAULT_CAPACITY, FIRST_PUBLIC},
};

pub const VPC: &str = "main";
/// Rules of a group.
pub const RULES: u32 = 1_000;
const INSTANCES: u32 = 10_000;
/// Each with a subnet.
const ROUTE_TABLES: u32 = 200;
/// The one of the NAT gateway's subnet, which does not lead back to it.
const OF_GATEWAY: u32 = ROUTE_TABLES - 1;
/// Of a table.
const ROUTES: u32 = 500;
const GROUPS: u32 = 20;
/// The first subnet; the others follow.
const FIRST_SUBNET: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 0);
const FIRST_DESTINATION: Ipv4Addr = Ipv4Addr::new(60, 0, 0, 0);
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(80, 0, 0, 0);
/// Of a subnet, a destination and a source.
const ADDRESSES: u32 = 256;

/// By what it differs from the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Large {
    pub more_instances: u32,
    /// In the first table.
    pub more_routes: u32,
    /// In the first group.
    pub more_rules: u32,
    /// Of the first instance.
    pub first_group: u32,
}

/// For the title.
pub fn told() -> String {
    format!(
        "A VPC of {INSTANCES} instances with public IPs, {ROUTE_TABLES} route tables of {ROUTES} routes, and \
         {GROUPS} groups of {RULES} rules"
    )
}

impl Large {
    pub fn text(self) -> String {
        let mut text = format!(
            r#"[node]
uplink = ["{UPLINK}"]
attach = "xdp"
max_sessions = {DEFAULT_CAPACITY}

[[vpc]]
name = "{VPC}"
cidrs = ["10.20.0.0/16"]
internet_gateway = true
"#
        );
        for number in 0..ROUTE_TABLES {
            text += &format!(
                "\n  [[vpc.subnet]]\n  name = \"subnet-{number}\"\n  cidr = \"{}/24\"\n  \
                 interface = \"{INSIDE}\"\n  route_table = \"table-{number}\"\n",
                instance(FIRST_SUBNET, number * ADDRESSES)
            );
            // One may come, and `local` is there anyway.
            let more = if number == 0 { self.more_routes } else { 0 };
            text += &format!(
                "\n  [[vpc.route_table]]\n  name = \"table-{number}\"\n  routes = [\n{}  ]\n",
                routes(number * ROUTES, ROUTES - 2 + more, number != OF_GATEWAY)
            );
        }
        text += "\n  [[vpc.nat_gateway]]\n  name = \"egress\"\n  subnet = \"subnet-199\"\n  \
                 private_ip = \"10.20.199.250\"\n  public_ips = [\"198.51.100.10\"]\n";
        for number in 0..GROUPS {
            let more = if number == 0 { self.more_rules } else { 0 };
            text += &format!(
                "\n  [[vpc.security_group]]\n  name = \"group-{number}\"\n  ingress = [\n{}  ]\n",
                rules(number * RULES, RULES - 1 + more)
            );
        }
        for number in 0..INSTANCES + self.more_instances {
            let group = match number {
                0 => self.first_group,
                _ => number % GROUPS,
            };
            let (subnet, host) = (number % ROUTE_TABLES, number / ROUTE_TABLES);
            text += &format!(
                "\n  [[vpc.instance]]\n  name = \"host-{number}\"\n  subnet = \"subnet-{subnet}\"\n  \
                 private_ip = \"{}\"\n  public_ip = \"{}\"\n  security_groups = [\"group-{group}\"]\n",
                instance(FIRST_SUBNET, subnet * ADDRESSES + 10 + host),
                instance(FIRST_PUBLIC, number)
            );
        }
        text
    }
}

/// Every tenth one may lead to the NAT gateway.
fn routes(first: u32, count: u32, to_gateway: bool) -> String {
    let mut text = String::new();
    for number in 0..count {
        let target = match number % 10 {
            0 if to_gateway => "nat-gateway:egress",
            _ => "internet-gateway",
        };
        let destination = instance(FIRST_DESTINATION, (first + number) * ADDRESSES);
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "    {{ destination = \"{destination}/24\", target = \"{target}\" }},"
        );
    }
    text
}

/// Protocol, ports and source of a rule.
fn rule(number: u32) -> [String; 3] {
    let port = 1_000 + number * 37 % 60_000;
    let protocol = if number.is_multiple_of(3) {
        "udp"
    } else {
        "tcp"
    };
    let source = instance(FIRST_SOURCE, number * ADDRESSES);
    [
        protocol.to_owned(),
        format!("{port}-{}", port + number % 100),
        format!("{source}/24"),
    ]
}

fn rules(first: u32, count: u32) -> String {
    let mut text = String::new();
    for number in first..first + count {
        let [protocol, ports, source] = rule(number);
        let _ = writeln!(
            text,
            "    {{ protocol = \"{protocol}\", ports = \"{ports}\", source = \"{source}\" }},"
        );
    }
    text
}

/// A group with rules of its own.
pub fn group_json(count: u32) -> String {
    let first = GROUPS * RULES;
    let rules: Vec<String> = (first..first + count)
        .map(|number| {
            let [protocol, ports, source] = rule(number);
            format!(r#"{{"protocol": "{protocol}", "ports": "{ports}", "source": "{source}"}}"#)
        })
        .collect();
    format!(r#"{{"ingress": [{}]}}"#, rules.join(", "))
}

/// An instance besides the others.
pub fn instance_json(group: &str) -> String {
    let private = instance(FIRST_SUBNET, 200);
    let public = instance(FIRST_PUBLIC, INSTANCES + 1);
    format!(
        r#"{{"subnet": "subnet-0", "private_ip": "{private}", "public_ip": "{public}", "security_groups": ["{group}"]}}"#
    )
}

/// A route besides the others of the last table.
pub fn route_json() -> String {
    let destination = instance(FIRST_DESTINATION, ROUTE_TABLES * ROUTES * ADDRESSES);
    format!(
        r#"{{"route_table": "table-{OF_GATEWAY}", "destination": "{destination}/24", "target": "internet-gateway"}}"#
    )
}
