//! The VPC as a whole: route tables, gateways, instances, security groups and network ACLs, with real sockets.
pub mod acls;
pub mod appliances;
pub mod changes;
pub mod dns;
pub mod endpoints_shown;
pub mod gateway_endpoints;
pub mod gateways;
pub mod groups;
pub mod metadata;
pub mod metadata_attacked;
pub mod private_link;
pub mod proxies;
pub mod reached;
pub mod routing;
pub mod senders;
pub mod side_by_side;

use nat_tests::netns::{Hook, Namespace, Site, configuration::Configuration};

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
pub fn vpc(hook: Hook) -> Configuration {
    let nat_gateway = [("0.0.0.0/0", "nat-gateway:egress")];
    let by_table = |name| format!("route_table = \"{name}\"");
    Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet("public", "10.20.1.0/24", "public0", &by_table("public"))
        .subnet("private", "10.20.2.0/24", "private0", &by_table("private"))
        .subnet("beside", "10.20.3.0/24", "private0", &by_table("beside"))
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .route_table("private", &nat_gateway)
        .route_table("beside", &nat_gateway)
        .nat_gateway("egress", "public", "10.20.1.100", PUBLIC_IPS)
        .instance("web", "public", WEB, PUBLIC_IP)
}

/// Keys of the NAT gateway and of web in [`vpc`].
pub const PUBLIC_IPS: &str = "public_ips = [\"198.51.100.10\"]";
pub const PUBLIC_IP: &str = "public_ip = \"198.51.100.20\"";
