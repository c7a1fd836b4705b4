//! The configuration files of the labs, built part by part and written as a user would write them.
//! picture.rs builds the nodes that [`classic`] names.
use std::{fmt::Display, fs, ops::Deref};

use anyhow::{Context, Result};

use super::{Hook, Namespace};

/// In the private /run of a node with its own mounts.
const PATH: &str = "/run/nat-lab.toml";
/// Where further files are, in the same /run.
const FOLDER: &str = "/run/nat-lab";

/// The classic picture's configuration. `gateway_keys` are further lines of the NAT gateway's table,
/// such as `timeouts = { udp = 2 }`.
pub fn classic(hook: Hook, gateway_keys: &str) -> Configuration {
    let gateway_keys = format!("public_ips = [\"198.51.100.10\"]\n{gateway_keys}");
    Configuration::new("uplink0", hook, &["10.20.0.0/16", "10.40.0.0/16"])
        .with_node("name = \"edge-1\"")
        .subnet(
            "public-a",
            "10.20.1.0/24",
            "public0",
            "zone = \"a\"\nroute_table = \"public\"",
        )
        .subnet(
            "private-a",
            "10.40.2.0/24",
            "private0",
            "zone = \"a\"\nroute_table = \"private\"",
        )
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .route_table("private", &[("0.0.0.0/0", "nat-gateway:egress")])
        .nat_gateway("egress", "public-a", "10.20.1.100", &gateway_keys)
        .instance(
            "web",
            "public-a",
            "10.20.1.10",
            "public_ip = \"198.51.100.20\"",
        )
}

/// The text of a configuration with one VPC, `main`. What is called `keys` is further lines of a table, or nothing.
/// Edits panic where there is nothing to edit: a test would be about another configuration than it says.
#[derive(Clone, Debug)]
pub struct Configuration(String);

impl Deref for Configuration {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Parts, which come behind those that are there.
impl Configuration {
    /// A node, and a VPC `main` that has an internet gateway and no part yet.
    pub fn new(uplink: &str, attach: impl Display, cidrs: &[&str]) -> Self {
        let node = format!("[node]\nuplink = [\"{uplink}\"]\nattach = \"{attach}\"\n");
        Self(node).vpc("main", cidrs)
    }

    /// Another VPC, with an internet gateway, which the parts that follow belong to.
    pub fn vpc(mut self, name: &str, cidrs: &[&str]) -> Self {
        self.0 +=
            &format!("\n[[vpc]]\nname = \"{name}\"\ncidrs = {cidrs:?}\ninternet_gateway = true\n");
        self
    }

    pub fn subnet(self, name: &str, cidr: &str, interface: &str, keys: &str) -> Self {
        let own = format!("cidr = \"{cidr}\"\ninterface = \"{interface}\"\n{keys}");
        self.part("subnet", name, &own)
    }

    /// Each route is its destination and its target.
    pub fn route_table(self, name: &str, routes: &[(&str, &str)]) -> Self {
        self.part("route_table", name, &written_routes(routes))
    }

    pub fn nat_gateway(self, name: &str, subnet: &str, private_ip: &str, keys: &str) -> Self {
        self.part("nat_gateway", name, &placed(subnet, private_ip, keys))
    }

    pub fn instance(self, name: &str, subnet: &str, private_ip: &str, keys: &str) -> Self {
        self.part("instance", name, &placed(subnet, private_ip, keys))
    }

    pub fn prefix_list(self, name: &str, entries: &[&str]) -> Self {
        self.part("prefix_list", name, &format!("entries = {entries:?}"))
    }

    /// `keys` begin with its type.
    pub fn endpoint(self, name: &str, keys: &str) -> Self {
        self.part("endpoint", name, keys)
    }

    pub fn target_group(self, name: &str, keys: &str) -> Self {
        self.part("target_group", name, keys)
    }

    pub fn load_balancer(self, name: &str, subnet: &str, private_ip: &str, keys: &str) -> Self {
        self.part("load_balancer", name, &placed(subnet, private_ip, keys))
    }

    /// `keys` begin with its load balancer.
    pub fn endpoint_service(self, name: &str, keys: &str) -> Self {
        self.part("endpoint_service", name, keys)
    }

    /// `keys` begin with its instance.
    pub fn proxy(self, name: &str, keys: &str) -> Self {
        self.part("proxy", name, keys)
    }

    /// `rules` are its keys `ingress` and `egress`.
    pub fn security_group(self, name: &str, rules: &str) -> Self {
        self.part("security_group", name, rules)
    }

    /// With rules such as `allow 100 tcp 0.0.0.0/0` and `deny 90 udp 10.20.2.0/24 5000-6000`.
    pub fn network_acl(self, name: &str, ingress: &[&str], egress: &[&str]) -> Self {
        let written = |rules: &[&str], remote| {
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| written_acl_rule(rule, remote))
                .collect();
            rules.join(", ")
        };
        let (ingress, egress) = (written(ingress, "source"), written(egress, "destination"));
        self.part(
            "network_acl",
            name,
            &format!("ingress = [{ingress}]\negress = [{egress}]"),
        )
    }

    pub fn rack(self, name: &str, zone: &str) -> Self {
        self.part("rack", name, &format!("zone = \"{zone}\""))
    }

    pub fn host(self, name: &str, rack: &str, capacity: u16) -> Self {
        let keys = format!("rack = \"{rack}\"\ncapacity = {capacity}");
        self.part("host", name, &keys)
    }

    /// `keys` begin with its strategy.
    pub fn placement_group(self, name: &str, keys: &str) -> Self {
        self.part("placement_group", name, keys)
    }

    /// Parts as they are written.
    pub fn and(mut self, text: &str) -> Self {
        self.0 += text;
        self
    }

    fn part(mut self, kind: &str, name: &str, keys: &str) -> Self {
        self.0 += &format!("\n{}{}", head(kind, name), indented(keys));
        self
    }
}

/// Edits of what is there.
impl Configuration {
    /// With further keys of the node.
    pub fn with_node(self, keys: &str) -> Self {
        self.but("[node]\n", &format!("[node]\n{keys}\n"))
    }

    pub fn with_vpc(self, keys: &str) -> Self {
        self.but("[[vpc]]\n", &format!("[[vpc]]\n{keys}\n"))
    }

    /// With further keys of the part of this kind, such as `subnet`, and name.
    pub fn with(self, kind: &str, name: &str, keys: &str) -> Self {
        let head = head(kind, name);
        self.but(&head, &format!("{head}{}", indented(keys)))
    }

    pub fn without(self, kind: &str, name: &str) -> Self {
        let (before, part) = self.split_at_part(kind, name);
        let after = part.split_once("\n\n").map_or("", |(_, after)| after);
        Self(format!("{before}{after}"))
    }

    /// With other routes in the table of this name.
    pub fn routed(self, table: &str, routes: &[(&str, &str)]) -> Self {
        let (before, part) = self.split_at_part("route_table", table);
        let (other_keys, part) = part.split_once("  routes = ").expect("its routes");
        let (_, after) = part.split_once('\n').expect("a line");
        let routes = indented(&written_routes(routes));
        Self(format!("{before}{other_keys}{routes}{after}"))
    }

    /// With this text of it replaced, wherever it stands.
    pub fn but(self, text: &str, by: &str) -> Self {
        assert!(self.contains(text), "no {text:?} in:\n{}", self.0);
        Self(self.replace(text, by))
    }

    fn split_at_part(&self, kind: &str, name: &str) -> (&str, &str) {
        let start = self.find(&head(kind, name));
        let start = start.unwrap_or_else(|| panic!("no {kind} {name:?} in:\n{}", self.0));
        self.split_at(start)
    }
}

fn head(kind: &str, name: &str) -> String {
    format!("  [[vpc.{kind}]]\n  name = \"{name}\"\n")
}

fn indented(keys: &str) -> String {
    let lines = keys.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| format!("  {line}\n")).collect()
}

fn placed(subnet: &str, private_ip: &str, keys: &str) -> String {
    format!("subnet = \"{subnet}\"\nprivate_ip = \"{private_ip}\"\n{keys}")
}

fn written_routes(routes: &[(&str, &str)]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .map(|(to, target)| format!("{{ destination = \"{to}\", target = \"{target}\" }}"))
        .collect();
    format!("routes = [{}]", routes.join(", "))
}

/// `remote` is the key that the rule's CIDR has in its direction.
fn written_acl_rule(rule: &str, remote: &str) -> String {
    let words: Vec<_> = rule.split(' ').collect();
    let (action, number, protocol, cidr, ports) = match words[..] {
        [action, number, protocol, cidr] => (action, number, protocol, cidr, String::new()),
        [action, number, protocol, cidr, ports] => {
            let ports = format!(", ports = \"{ports}\"");
            (action, number, protocol, cidr, ports)
        }
        _ => panic!("no rule of a network ACL: {rule}"),
    };
    format!(
        "{{ rule = {number}, action = \"{action}\", protocol = \"{protocol}\", {remote} = \"{cidr}\"{ports} }}"
    )
}

/// Puts a configuration into a file that only `node` sees, and that goes with it; its path there.
pub fn put(node: &Namespace, text: &str) -> Result<&'static str> {
    node.run(|| fs::write(PATH, text).with_context(|| PATH.to_owned()))?;
    Ok(PATH)
}

/// The same beside it, as NAME.toml in a folder of its own.
pub fn put_as(node: &Namespace, name: &str, text: &str) -> Result<String> {
    let path = format!("{FOLDER}/{name}.toml");
    node.run(|| {
        fs::create_dir_all(FOLDER).context(FOLDER)?;
        fs::write(&path, text).with_context(|| path.clone())
    })?;
    Ok(path)
}
