//! A switch: a bridge in a namespace of its own, into which nodes are plugged.
//! Ports towards the edge are prepared for the hook its dataplane uses.
use anyhow::Result;

use super::{
    Hook, Namespace,
    ethtool::Offload,
    links::{End, cidr, mac_of, veth},
};

const BRIDGE: &str = "bridge0";

/// A layer-2 segment.
#[derive(Debug)]
pub struct Switch {
    node: Namespace,
}

impl Switch {
    pub fn new(label: &str) -> Result<Self> {
        let node = Namespace::new(label)?;
        node.bridge(BRIDGE)?;
        node.up(BRIDGE)?;
        Ok(Self { node })
    }

    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// Gives `host` an interface on this switch with an address such as `10.40.2.101/24`.
    /// Checksums are finished on the way to it, so the host verifies every one by full recomputation: between
    /// namespaces a frame may otherwise arrive with its checksum merely promised, and a wrong promise goes unseen.
    pub fn plug(&self, host: &Namespace, device: &str, address: &str) -> Result<()> {
        self.connect(host, device, Some(mac_of(cidr(address)?.0)), |port| {
            self.node.offload(port, Offload::TransmitChecksum, false)
        })?;
        host.address(device, address)
    }

    /// The same for the node whose dataplane is attached to `hook`.
    pub fn plug_edge(
        &self,
        edge: &Namespace,
        device: &str,
        address: &str,
        hook: Hook,
    ) -> Result<()> {
        self.plug_edge_bare(edge, device, Some(mac_of(cidr(address)?.0)), hook)?;
        edge.address(device, address)
    }

    /// The same without an address of its own.
    pub fn plug_edge_bare(
        &self,
        edge: &Namespace,
        device: &str,
        mac: Option<[u8; 6]>,
        hook: Hook,
    ) -> Result<()> {
        self.connect(edge, device, mac, |port| {
            self.node.offload(port, Offload::Receive, true)?;
            if hook.needs_finished_frames() {
                for offload in [
                    Offload::TransmitChecksum,
                    Offload::TcpSegmentation,
                    Offload::Segmentation,
                ] {
                    self.node.offload(port, offload, false)?;
                }
            }
            Ok(())
        })
    }

    fn connect(
        &self,
        host: &Namespace,
        device: &str,
        mac: Option<[u8; 6]>,
        prepare: impl FnOnce(&str) -> Result<()>,
    ) -> Result<()> {
        let port: String = format!("to-{}", host.label()).chars().take(15).collect();
        veth(
            End {
                node: host,
                device,
                mac,
            },
            End {
                node: &self.node,
                device: &port,
                mac: None,
            },
        )?;
        prepare(&port)?;
        self.node.join(&port, BRIDGE)?;
        self.node.up(&port)?;
        host.up(device)
    }
}
