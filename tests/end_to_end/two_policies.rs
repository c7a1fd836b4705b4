//! Two policies that share what goes on, and differ in things that only make sense together (applies.rs).
use std::net::Ipv4Addr;

use nat_tests::netns::{Hook, numbered::FIRST_PORT};

pub const PROBED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 81);
pub const FIRST_GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const SECOND_GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
/// Hosts on the wire only, behind a NAT gateway and with a public IP.
pub const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 102);
pub const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 11);
pub const CLOUD_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 21);

/// Routes and groups that go with network ACLs. Outward, probes to port 1000 leave by the second gateway or
/// not at all, and those to port 1001 by the first one. Inward, what the ACL lets through, the group refuses.
#[derive(Clone, Copy, PartialEq)]
pub enum Policy {
    A,
    B,
}

impl Policy {
    /// With the network ACLs of `acls`, and of this one what goes with them.
    pub fn mixed(self, acls: Self, hook: Hook) -> String {
        let (denied_out, denied_in) = match acls {
            Self::A => (1000, 2000),
            Self::B => (1001, 2001),
        };
        let (gateway, allowed_in) = match self {
            Self::A => ("first", 2000),
            Self::B => ("second", 2001),
        };
        let (route, rule) = match self {
            Self::A => ("", ""),
            Self::B => (
                r#"{ destination = "203.0.113.0/24", target = "blackhole" },"#,
                r#"{ protocol = "tcp", ports = "9999", source = "203.0.113.0/24" },"#,
            ),
        };
        let allow = |remote| {
            format!(
                r#"{{ rule = 200, action = "allow", protocol = "all", {remote} = "0.0.0.0/0" }}"#
            )
        };
        let (from_all, to_all) = (allow("source"), allow("destination"));
        format!(
            r#"[node]
uplink = ["uplink0"]
attach = "{hook}"
[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true
  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  interface = "public0"
  route_table = "public"
  network_acl = "public"
  [[vpc.subnet]]
  name = "private-a"
  cidr = "10.40.2.0/24"
  interface = "private0"
  route_table = "private"
  network_acl = "private"
  [[vpc.route_table]]
  name = "public"
  routes = [{{ destination = "0.0.0.0/0", target = "internet-gateway" }}]
  [[vpc.route_table]]
  name = "private"
  routes = [
    {route}
    {{ destination = "{PROBED}/32", target = "nat-gateway:{gateway}" }},
    {{ destination = "0.0.0.0/0", target = "nat-gateway:first" }},
  ]
  [[vpc.nat_gateway]]
  name = "first"
  subnet = "public-a"
  private_ip = "10.20.1.100"
  public_ips = ["{FIRST_GATEWAY}"]
  ports = ["{FIRST_PORT}-65535"]
  timeouts = {{ udp = 20 }}
  [[vpc.nat_gateway]]
  name = "second"
  subnet = "public-a"
  private_ip = "10.20.1.101"
  public_ips = ["{SECOND_GATEWAY}"]
  ports = ["{FIRST_PORT}-65535"]
  timeouts = {{ udp = 20 }}
  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.20"
  security_groups = ["served"]
  [[vpc.instance]]
  name = "cloud"
  subnet = "public-a"
  private_ip = "{CLOUD}"
  public_ip = "{CLOUD_PUBLIC}"
  security_groups = ["served"]
  [[vpc.instance]]
  name = "private"
  subnet = "private-a"
  private_ip = "{PRIVATE}"
  security_groups = ["clients"]
  [[vpc.instance]]
  name = "private-b"
  subnet = "private-a"
  private_ip = "10.40.2.201"
  security_groups = ["clients"]
  [[vpc.security_group]]
  name = "clients"
  [[vpc.security_group]]
  name = "served"
  ingress = [
    {rule}
    {{ protocol = "tcp", ports = "8080", source = "0.0.0.0/0" }},
    {{ protocol = "udp", ports = "{allowed_in}", source = "0.0.0.0/0" }},
  ]
  [[vpc.network_acl]]
  name = "public"
  ingress = [
    {{ rule = 100, action = "deny", protocol = "udp", ports = "{denied_in}", source = "0.0.0.0/0" }},
    {from_all},
  ]
  egress = [{to_all}]
  [[vpc.network_acl]]
  name = "private"
  ingress = [{from_all}]
  egress = [
    {{ rule = 100, action = "deny", protocol = "udp", ports = "{denied_out}", destination = "{PROBED}/32" }},
    {to_all},
  ]
"#
        )
    }
}
