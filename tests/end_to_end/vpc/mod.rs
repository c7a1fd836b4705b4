//! The VPC as a whole: route tables, gateways, instances, security groups and network ACLs, with real sockets.
pub mod acls;
pub mod appliances;
pub mod changes;
pub mod gateways;
pub mod groups;
pub mod reached;
pub mod routing;
pub mod senders;
pub mod side_by_side;

use nat_tests::netns::{Hook, Namespace, Site};

use crate::standing::Standing;

/// One VPC without any host address inside.
///
/// ```text
/// web 10.20.1.10 ──────────────── public0  ┐
/// a   10.20.2.10, b 10.20.2.11 ┐           ├ edge ─ uplink0 ─ internet .80, .81
/// c   10.20.3.10 ──────────────┴─ private0 ┘
/// ```
pub struct Lab {
    pub site: Site,
    pub web: Namespace,
    pub a: Namespace,
    pub b: Namespace,
    pub c: Namespace,
}

pub const WEB: &str = "10.20.1.10";
pub const A: &str = "10.20.2.10";
pub const B: &str = "10.20.2.11";
pub const C: &str = "10.20.3.10";
/// The public IPs of web and of the NAT gateway.
pub const WEB_PUBLIC: &str = "198.51.100.20";
pub const NAT: &str = "198.51.100.10";
pub const INTERNET: &str = "198.51.100.80";
pub const INTERNET_TOO: &str = "198.51.100.81";

impl Lab {
    pub fn build(hook: Hook) -> Self {
        let site = Site::build(hook, &["public0", "private0"]).expect("a lab");
        let host = |label, device, address: &str| {
            let address = format!("{address}/24");
            site.host(label, device, &address).expect("a host")
        };
        Self {
            web: host("web", "public0", WEB),
            a: host("a", "private0", A),
            b: host("b", "private0", B),
            c: host("c", "private0", C),
            site,
        }
    }

    /// With the controller running.
    pub fn with(hook: Hook, configuration: &str) -> Standing<Self> {
        Self::build(hook).stand(configuration)
    }

    pub fn stand(self, configuration: &str) -> Standing<Self> {
        Standing::on(self.site.edge.clone(), self, configuration)
    }
}

/// The configuration of [`Lab`]: no ACL, no group.
pub fn vpc(hook: Hook) -> String {
    format!(
        r#"[node]
uplink = ["uplink0"]
attach = "{hook}"

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16"]
internet_gateway = true

  [[vpc.subnet]]
  name = "public"
  cidr = "10.20.1.0/24"
  interface = "public0"
  route_table = "public"

  [[vpc.subnet]]
  name = "private"
  cidr = "10.20.2.0/24"
  interface = "private0"
  route_table = "private"

  [[vpc.subnet]]
  name = "beside"
  cidr = "10.20.3.0/24"
  interface = "private0"
  route_table = "beside"

  [[vpc.route_table]]
  name = "public"
  routes = [{{ destination = "0.0.0.0/0", target = "internet-gateway" }}]

  [[vpc.route_table]]
  name = "private"
  routes = [{{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }}]

  [[vpc.route_table]]
  name = "beside"
  routes = [{{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }}]

  [[vpc.nat_gateway]]
  name = "egress"
  subnet = "public"
  private_ip = "10.20.1.100"
  public_ips = ["198.51.100.10"]

  [[vpc.instance]]
  name = "web"
  subnet = "public"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.20"
"#
    )
}

/// The configuration with this part of it replaced.
pub fn but(text: &str, part: &str, by: &str) -> String {
    assert!(text.contains(part), "no {part:?} in:\n{text}");
    text.replace(part, by)
}

/// Other routes in the table of this name.
pub fn routed(text: &str, table: &str, routes: &str) -> String {
    let head = format!("[[vpc.route_table]]\n  name = \"{table}\"\n");
    let (before, rest) = text.split_once(&head).expect("a route table");
    let (_, after) = rest.split_once('\n').expect("its routes");
    format!("{before}{head}  routes = [{routes}]\n{after}")
}

/// With further keys for the subnet of this name.
pub fn in_subnet(text: &str, subnet: &str, keys: &str) -> String {
    let head = format!("[[vpc.subnet]]\n  name = \"{subnet}\"");
    but(text, &head, &format!("{head}\n  {keys}"))
}

/// A further instance.
pub fn instance(name: &str, subnet: &str, private_ip: &str, keys: &str) -> String {
    format!(
        "\n  [[vpc.instance]]\n  name = \"{name}\"\n  subnet = \"{subnet}\"\n  private_ip = \"{private_ip}\"\n  {keys}\n"
    )
}

/// A security group with these lines of rules.
pub fn group(name: &str, rules: &str) -> String {
    format!("\n  [[vpc.security_group]]\n  name = \"{name}\"\n  {rules}\n")
}

/// A network ACL with these ingress and egress rules.
pub fn acl(name: &str, ingress: &[String], egress: &[String]) -> String {
    format!(
        "\n  [[vpc.network_acl]]\n  name = \"{name}\"\n  ingress = [{}]\n  egress = [{}]\n",
        ingress.join(", "),
        egress.join(", ")
    )
}
