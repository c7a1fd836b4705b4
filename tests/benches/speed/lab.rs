//! The lab of one contender: a host inside, the device under test, a host outside, in a row.
//! Who translates in the middle is set up in contender.rs; packets come from traffic.rs.
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use nat_tests::netns::{
    Namespace,
    ethtool::Offload,
    links::{End, mac_of, veth},
};

use crate::channels;

/// Interfaces of the device under test, and those at their other ends.
pub const INSIDE: &str = "inside0";
pub const UPLINK: &str = "uplink0";
const HOST_INSIDE: &str = "in0";
const HOST_OUTSIDE: &str = "out0";

/// The host whose flows share a public address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 10);
pub const CLIENTS_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 40, 2, 1);
pub const CLIENTS: &str = "10.40.2.0/24";
/// Hosts with public addresses of their own are in 10.20.0.0/16, from here on.
pub const FIRST_INSTANCE: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 0);
const INSTANCES_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
/// Where everything outside is reached through.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
/// The device's own address on the uplink.
pub const OWN_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// An end of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Inside,
    Outside,
}

/// See the module.
pub struct Lab {
    pub inside: Namespace,
    pub device: Namespace,
    pub outside: Namespace,
}

impl Lab {
    /// `instances` is how many hosts besides [`CLIENT`] the device knows inside; `queues` how many
    /// cores may work on a link at a time.
    pub fn new(instances: u32, queues: u32) -> Result<Self> {
        let lab = Self {
            inside: Namespace::new("inside")?,
            device: Namespace::with_own_mounts("device")?,
            outside: Namespace::new("outside")?,
        };
        for (side, device, router, host) in [
            (Side::Inside, INSIDE, CLIENTS_ROUTER, CLIENT),
            (Side::Outside, UPLINK, OWN_PUBLIC, SERVER),
        ] {
            let (node, far) = lab.end(side);
            link((&lab.device, device, router), (node, far, host), queues)?;
        }
        lab.device
            .address(INSIDE, &format!("{INSTANCES_ROUTER}/16"))?;
        lab.device.route("0.0.0.0/0", &SERVER.to_string())?;
        lab.inside.route("0.0.0.0/0", &CLIENTS_ROUTER.to_string())?;
        lab.outside.route("0.0.0.0/0", &OWN_PUBLIC.to_string())?;
        forward(&lab.device, &[INSIDE, UPLINK])?;
        neighbours(&lab.inside, HOST_INSIDE, [CLIENTS_ROUTER], CLIENTS_ROUTER)?;
        neighbours(&lab.outside, HOST_OUTSIDE, [OWN_PUBLIC], OWN_PUBLIC)?;
        neighbours(&lab.device, UPLINK, [SERVER], SERVER)?;
        let hosts = (0..instances).map(|number| instance(FIRST_INSTANCE, number));
        neighbours(&lab.device, INSIDE, hosts.chain([CLIENT]), CLIENT)?;
        Ok(lab)
    }

    /// The host at that end, and its interface.
    pub fn end(&self, side: Side) -> (&Namespace, &'static str) {
        match side {
            Side::Inside => (&self.inside, HOST_INSIDE),
            Side::Outside => (&self.outside, HOST_OUTSIDE),
        }
    }

    /// MAC addresses of the device's interface at that end, and of the host there.
    pub fn macs(side: Side) -> ([u8; 6], [u8; 6]) {
        let (router, host) = match side {
            Side::Inside => (CLIENTS_ROUTER, CLIENT),
            Side::Outside => (OWN_PUBLIC, SERVER),
        };
        (mac_of(router), mac_of(host))
    }
}

/// A node of a link, its interface and address there.
pub type At<'a> = (&'a Namespace, &'a str, Ipv4Addr);

/// Links the device under test, which is that network's router, with a host.
pub fn link(router: At<'_>, host: At<'_>, queues: u32) -> Result<()> {
    let end = |(node, device, address)| End {
        node,
        device,
        mac: Some(mac_of(address)),
    };
    veth(end(router), end(host))?;
    for (node, device, address) in [router, host] {
        channels::set(node, device, queues)?;
        node.up(device)?;
        // Turns NAPI on as well: without it a frame redirected to the other end is dropped. Of an interface that is
        // down yet the other end would not hear that it may be redirected to.
        node.offload(device, Offload::Receive, true)?;
        node.address(device, &format!("{address}/24"))?;
    }
    Ok(())
}

/// Lets the kernel forward between these interfaces, whatever the source.
pub fn forward(device: &Namespace, interfaces: &[&str]) -> Result<()> {
    device.set("net/ipv4/ip_forward", "1")?;
    for scope in ["all", "default"].iter().chain(interfaces) {
        device.set(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
    }
    Ok(())
}

/// The address so many behind `first`.
pub fn instance(first: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + number)
}

/// Permanent entries, all with the MAC address of the one host that is really there.
pub fn neighbours(
    node: &Namespace,
    device: &str,
    addresses: impl IntoIterator<Item = Ipv4Addr> + Send,
    host: Ipv4Addr,
) -> Result<()> {
    let index = node.index(device)?;
    node.netlink(|handle| async move {
        for address in addresses {
            let add = handle.neighbours().add(index, address.into());
            add.link_layer_address(&mac_of(host)).execute().await?;
        }
        Ok(())
    })
    .with_context(|| format!("neighbours on {device}"))
}
