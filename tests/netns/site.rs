//! A VPC's edge of which every segment is named by the test: an uplink to the internet, and inside interfaces
//! that have no host address unless they are given one.
//!
//! ```text
//! hosts ─ segment ─ public0 ┐
//! hosts ─ segment ─ private0 ┤ edge ─ uplink0 198.51.100.1 ─ internet 198.51.100.80, .81
//! ```
use anyhow::{Context, Result};

use super::{Hook, Namespace, Switch, links::cidr};

/// The internet host knows no route to a private address.
#[derive(Debug)]
pub struct Site {
    pub hook: Hook,
    pub edge: Namespace,
    pub internet: Namespace,
    pub uplink: Switch,
    segments: Vec<(&'static str, Switch)>,
}

impl Site {
    /// With an inside interface of each of these names.
    pub fn build(hook: Hook, devices: &[&'static str]) -> Result<Self> {
        let edge = Namespace::with_own_mounts("edge")?;
        let internet = Namespace::new("internet")?;
        let uplink = Switch::new("switch-uplink")?;
        edge.set("net/ipv4/ip_forward", "0")?;
        uplink.plug_edge(&edge, "uplink0", "198.51.100.1/24", hook)?;
        uplink.plug(&internet, "eth0", "198.51.100.80/24")?;
        internet.address("eth0", "198.51.100.81/24")?;
        let mut segments = Vec::new();
        for device in devices {
            let segment = Switch::new(device)?;
            segment.plug_edge_bare(&edge, device, None, hook)?;
            segments.push((*device, segment));
        }
        Ok(Self {
            hook,
            edge,
            internet,
            uplink,
            segments,
        })
    }

    /// A host with an address such as `10.20.1.10/24` behind an inside interface; the first address of its
    /// subnet is its router's.
    pub fn host(&self, label: &str, device: &str, address: &str) -> Result<Namespace> {
        let (ip, length) = cidr(address)?;
        let host = Namespace::new(label)?;
        self.segment(device)?.plug(&host, "eth0", address)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let router = std::net::Ipv4Addr::from_bits((ip.to_bits() & mask) + 1);
        host.route("0.0.0.0/0", &router.to_string())?;
        Ok(host)
    }

    /// Another host outside, beside the one of the internet, with an address such as `198.51.100.90/24`.
    pub fn service(&self, label: &str, address: &str) -> Result<Namespace> {
        let host = Namespace::new(label)?;
        self.uplink.plug(&host, "eth0", address)?;
        Ok(host)
    }

    /// The segment behind an inside interface.
    pub fn segment(&self, device: &str) -> Result<&Switch> {
        self.segments
            .iter()
            .find_map(|(name, segment)| (*name == device).then_some(segment))
            .with_context(|| format!("no inside interface {device}"))
    }
}
