//! Two policies that share what goes on, and differ in things that only make sense together (applies.rs).
use std::net::Ipv4Addr;

use nat_tests::netns::{
    Hook,
    configuration::{Configuration, classic},
    numbered::FIRST_PORT,
};

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
    pub fn mixed(self, acls: Self, hook: Hook) -> Configuration {
        let (denied_out, denied_in) = match acls {
            Self::A => (1000, 2000),
            Self::B => (1001, 2001),
        };
        let (gateway, allowed_in) = match self {
            Self::A => ("nat-gateway:first", 2000),
            Self::B => ("nat-gateway:second", 2001),
        };
        let probed = format!("{PROBED}/32");
        let mut routes = vec![
            (probed.as_str(), gateway),
            ("0.0.0.0/0", "nat-gateway:first"),
        ];
        let mut served = format!(
            r#"{{ protocol = "tcp", ports = "8080", source = "0.0.0.0/0" }},
{{ protocol = "udp", ports = "{allowed_in}", source = "0.0.0.0/0" }},"#
        );
        if self == Self::B {
            routes.insert(0, ("203.0.113.0/24", "blackhole"));
            let rule = r#"{ protocol = "tcp", ports = "9999", source = "203.0.113.0/24" },"#;
            served.insert_str(0, rule);
        }
        let pool = |public_ip| {
            format!(
                "public_ips = [\"{public_ip}\"]\nports = [\"{FIRST_PORT}-65535\"]\ntimeouts = {{ udp = 20 }}"
            )
        };
        let is_served = "security_groups = [\"served\"]";
        let is_client = "security_groups = [\"clients\"]";
        let open = "allow 200 all 0.0.0.0/0";
        classic(hook, "")
            .without("nat_gateway", "egress")
            .with("subnet", "public-a", "network_acl = \"public\"")
            .with("subnet", "private-a", "network_acl = \"private\"")
            .routed("private", &routes)
            .nat_gateway("first", "public-a", "10.20.1.100", &pool(FIRST_GATEWAY))
            .nat_gateway("second", "public-a", "10.20.1.101", &pool(SECOND_GATEWAY))
            .with("instance", "web", is_served)
            .instance(
                "cloud",
                "public-a",
                &CLOUD.to_string(),
                &format!("public_ip = \"{CLOUD_PUBLIC}\"\n{is_served}"),
            )
            .instance("private", "private-a", &PRIVATE.to_string(), is_client)
            .instance("private-b", "private-a", "10.40.2.201", is_client)
            .security_group("clients", "")
            .security_group("served", &format!("ingress = [{served}]"))
            .network_acl(
                "public",
                &[&format!("deny 100 udp 0.0.0.0/0 {denied_in}"), open],
                &[open],
            )
            .network_acl(
                "private",
                &[open],
                &[&format!("deny 100 udp {probed} {denied_out}"), open],
            )
    }
}
