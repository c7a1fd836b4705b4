//! Links and routes made worse on purpose: a smaller MTU, and an address that is not answered.
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use rtnetlink::{LinkUnspec, RouteMessageBuilder, packet_route::route::RouteType};

use super::{Namespace, links::cidr};

impl Namespace {
    /// `ip link set DEVICE mtu MTU`
    pub fn mtu(&self, device: &str, mtu: u32) -> Result<()> {
        let link = LinkUnspec::new_with_index(self.index(device)?)
            .mtu(mtu)
            .build();
        self.netlink(|handle| async move { handle.link().change(link).execute().await })
            .with_context(|| format!("MTU {mtu} on {device}"))
    }

    /// Sends nothing to `destination` any more, not even a refusal.
    pub fn ignore(&self, destination: &str) -> Result<()> {
        let route = blackhole(destination)?;
        self.netlink(|handle| async move { handle.route().add(route).execute().await })
            .with_context(|| format!("a blackhole for {destination}"))
    }

    /// The end of [`Namespace::ignore`].
    pub fn heed(&self, destination: &str) -> Result<()> {
        let route = blackhole(destination)?;
        self.netlink(|handle| async move { handle.route().del(route).execute().await })
            .with_context(|| format!("no blackhole for {destination}"))
    }
}

fn blackhole(destination: &str) -> Result<rtnetlink::packet_route::route::RouteMessage> {
    let (ip, length) = cidr(destination)?;
    Ok(RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(ip, length)
        .kind(RouteType::BlackHole)
        .build())
}
