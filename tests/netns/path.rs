//! Two routers and a server behind the uplink of the classic picture (picture.rs): a path on which links can be narrow
//! and packets can run out of hops.
use anyhow::Result;

use super::{
    Namespace, Picture, Switch,
    links::{End, mac_of, veth},
};

/// ```text
/// edge ─ uplink0 198.51.100.1 ─ switch-uplink ─ 198.51.100.254 [router-near] 192.0.2.1 ─ middle
///   middle ─ 192.0.2.2 [router-far] 203.0.113.1 ─ switch-far ─ far 203.0.113.80
/// ```
#[derive(Debug)]
pub struct Path {
    edge: Namespace,
    pub router_near: Namespace,
    pub router_far: Namespace,
    pub far: Namespace,
    _switch_far: Switch,
}

/// The device of both routers on the link between them.
pub const MIDDLE: &str = "middle";

impl Path {
    /// Whom a traceroute meets behind the edge.
    pub const ROUTERS: [&str; 2] = ["198.51.100.254", "192.0.2.2"];
    pub const FAR: &str = "203.0.113.80";

    pub fn behind(picture: &Picture) -> Result<Self> {
        Self::of(&picture.edge, &picture.switch_uplink)
    }

    /// Behind the uplink of any edge.
    pub fn of(edge: &Namespace, switch_uplink: &Switch) -> Result<Self> {
        let (router_near, router_far, far) = (
            Namespace::new("router-near")?,
            Namespace::new("router-far")?,
            Namespace::new("far")?,
        );
        let switch_far = Switch::new("switch-far")?;
        for router in [&router_near, &router_far] {
            router.set("net/ipv4/ip_forward", "1")?;
            // They answer every probe, however fast the probes come.
            router.set("net/ipv4/icmp_ratelimit", "0")?;
        }
        far.set("net/ipv4/icmp_ratelimit", "0")?;
        switch_uplink.plug(&router_near, "uplink", "198.51.100.254/24")?;
        let end = |node, address: [u8; 4]| End {
            node,
            device: MIDDLE,
            mac: Some(mac_of(address.into())),
        };
        veth(
            end(&router_near, [192, 0, 2, 1]),
            end(&router_far, [192, 0, 2, 2]),
        )?;
        for (router, address) in [
            (&router_near, "192.0.2.1/24"),
            (&router_far, "192.0.2.2/24"),
        ] {
            router.up(MIDDLE)?;
            router.address(MIDDLE, address)?;
        }
        switch_far.plug(&router_far, "far", "203.0.113.1/24")?;
        switch_far.plug(&far, "eth0", "203.0.113.80/24")?;
        edge.route("0.0.0.0/0", "198.51.100.254")?;
        router_near.route("203.0.113.0/24", "192.0.2.2")?;
        router_far.route("0.0.0.0/0", "192.0.2.1")?;
        far.route("0.0.0.0/0", "203.0.113.1")?;
        Ok(Self {
            edge: edge.clone(),
            router_near,
            router_far,
            far,
            _switch_far: switch_far,
        })
    }

    /// Makes the link between the routers narrow; everybody else keeps 1500.
    pub fn narrow_the_middle(&self, mtu: u32) -> Result<()> {
        self.router_near.mtu(MIDDLE, mtu)?;
        self.router_far.mtu(MIDDLE, mtu)
    }

    /// Makes the edge's uplink narrow, and with it the router on that link.
    pub fn narrow_the_uplink(&self, mtu: u32) -> Result<()> {
        self.edge.mtu("uplink0", mtu)?;
        self.router_near.mtu("uplink", mtu)
    }
}
