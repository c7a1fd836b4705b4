//! Links, addresses and routes inside and between namespaces, by netlink.
//! Offloads are switched in ethtool.rs; a switch with its ports is in switch.rs.
use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    new_connection,
    packet_route::{
        address::AddressAttribute,
        link::{InfoData, InfoVeth},
    },
};

use super::Namespace;

/// One end of a veth pair.
pub struct End<'a> {
    pub node: &'a Namespace,
    pub device: &'a str,
    /// Left out: the kernel takes a random one.
    pub mac: Option<[u8; 6]>,
}

/// A veth pair across two namespaces; both ends are still down.
pub fn veth(near: End<'_>, far: End<'_>) -> Result<()> {
    let mut peer = LinkUnspec::new_with_name(far.device).setns_by_fd(far.node.raw_fd());
    if let Some(mac) = far.mac {
        peer = peer.address(mac.to_vec());
    }
    let mut link: LinkMessageBuilder<LinkVeth> = LinkVeth::new(near.device, far.device);
    if let Some(mac) = near.mac {
        link = link.address(mac.to_vec());
    }
    let link = link
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .build();
    near.node
        .netlink(|handle| async move { handle.link().add(link).execute().await })
        .with_context(|| {
            format!(
                "veth {} on {} to {} on {}",
                near.device,
                near.node.label(),
                far.device,
                far.node.label()
            )
        })
}

/// A locally administered MAC that shows the node's address: 10.40.2.101 has 02:00:0a:28:02:65.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [2, 0, a, b, c, d]
}

/// As the kernel and `ip neigh` write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// An address with its prefix length, `10.40.2.101/24`.
pub fn cidr(text: &str) -> Result<(Ipv4Addr, u8)> {
    let (address, length) = text
        .split_once('/')
        .with_context(|| format!("{text}: no prefix length"))?;
    Ok((
        address.parse().with_context(|| text.to_owned())?,
        length.parse().with_context(|| text.to_owned())?,
    ))
}

impl Namespace {
    /// Sends netlink requests from inside this namespace.
    pub fn netlink<T, W>(&self, requests: impl FnOnce(Handle) -> W + Send) -> Result<T>
    where
        T: Send,
        W: Future<Output = Result<T, rtnetlink::Error>>,
    {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?;
            runtime.block_on(async {
                let (connection, handle, _) = new_connection()?;
                tokio::spawn(connection);
                Ok(requests(handle).await?)
            })
        })
    }

    /// The interface index of `device`.
    pub fn index(&self, device: &str) -> Result<u32> {
        self.run(|| if_nametoindex(device).with_context(|| format!("no interface {device}")))
    }

    pub fn up(&self, device: &str) -> Result<()> {
        let link = LinkUnspec::new_with_index(self.index(device)?).up().build();
        self.netlink(|handle| async move { handle.link().change(link).execute().await })
            .with_context(|| format!("setting {device} up"))
    }

    pub fn bridge(&self, device: &str) -> Result<()> {
        self.netlink(|handle| async move {
            handle
                .link()
                .add(LinkBridge::new(device).build())
                .execute()
                .await
        })
        .with_context(|| format!("bridge {device}"))
    }

    /// Makes `port` a port of `bridge`.
    pub fn join(&self, port: &str, bridge: &str) -> Result<()> {
        let link = LinkUnspec::new_with_index(self.index(port)?)
            .controller(self.index(bridge)?)
            .build();
        self.netlink(|handle| async move { handle.link().change(link).execute().await })
            .with_context(|| format!("joining {port} to {bridge}"))
    }

    /// Adds an address such as `10.40.2.101/24`.
    pub fn address(&self, device: &str, address: &str) -> Result<()> {
        let (ip, length) = cidr(address)?;
        let index = self.index(device)?;
        self.netlink(|handle| async move {
            handle
                .address()
                .add(index, ip.into(), length)
                .execute()
                .await
        })
        .with_context(|| format!("address {address} on {device}"))
    }

    /// The IPv4 addresses of its interfaces, the loopback's aside.
    pub fn addresses(&self) -> Result<Vec<Ipv4Addr>> {
        let messages: Vec<_> = self
            .netlink(|handle| async move { handle.address().get().execute().try_collect().await })
            .context("listing addresses")?;
        let attributes = messages.into_iter().flat_map(|message| message.attributes);
        let addresses = attributes.filter_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(address),
            _ => None,
        });
        Ok(addresses.filter(|address| !address.is_loopback()).collect())
    }

    /// Adds a route, `("0.0.0.0/0", "10.40.2.1")` for a default route.
    pub fn route(&self, destination: &str, gateway: &str) -> Result<()> {
        let (ip, length) = cidr(destination)?;
        let via: Ipv4Addr = gateway.parse().with_context(|| gateway.to_owned())?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(ip, length)
            .gateway(via)
            .build();
        self.netlink(|handle| async move { handle.route().add(route).execute().await })
            .with_context(|| format!("route {destination} via {gateway}"))
    }

    /// The MAC this node's ARP table holds for `address`, if it holds one.
    pub fn neighbour(&self, address: Ipv4Addr) -> Result<Option<String>> {
        let table = self.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/arp")?))?;
        Ok(table.lines().skip(1).find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let resolved = fields.get(2) != Some(&"0x0");
            (resolved && fields.first()?.parse() == Ok(address))
                .then(|| fields.get(3).map(|mac| (*mac).to_owned()))?
        }))
    }
}
