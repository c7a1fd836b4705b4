//! What the controller needs to know of the host's interfaces.

use std::{fs, path::Path};

use ipnet::Ipv4Net;
use nat_common::wire::Mac;
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

use crate::error::{Error, Result};

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address; zeros when it has none.
    pub mac: Mac,
    /// Its IPv4 addresses with their networks.
    pub addresses: Vec<Ipv4Net>,
    /// A device stands behind it, not only software.
    pub is_physical: bool,
    /// Behind it are the node's own services (`services.rs`).
    pub is_services: bool,
}

/// Looks an interface up in this network namespace.
///
/// # Errors
///
/// [`Error::NoInterface`].
pub fn interface(name: &str) -> Result<HostInterface> {
    let index = if_nametoindex(name).map_err(|_| Error::NoInterface(name.to_owned()))?;
    let mut found = HostInterface {
        name: name.to_owned(),
        index,
        mac: Mac::default(),
        addresses: Vec::new(),
        is_physical: Path::new("/sys/class/net")
            .join(name)
            .join("device")
            .exists(),
        is_services: false,
    };
    let all = getifaddrs()
        .map_err(|errno| Error::io("reading the interfaces' addresses")(errno.into()))?;
    for entry in all.filter(|entry| entry.interface_name == name) {
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            if link.hatype() != libc::ARPHRD_ETHER && link.hatype() != libc::ARPHRD_LOOPBACK {
                return Err(Error::NoEthernet(name.to_owned()));
            }
            found.mac = link.addr().unwrap_or_default();
        } else if let Some(ip) = address.as_sockaddr_in() {
            let mask = entry
                .netmask
                .and_then(|mask| mask.as_sockaddr_in().map(|mask| mask.ip()));
            let network = mask.and_then(|mask| Ipv4Net::with_netmask(ip.ip(), mask).ok());
            found
                .addresses
                .extend(network.or_else(|| Ipv4Net::new(ip.ip(), 32).ok()));
        }
    }
    Ok(found)
}

fn forwarding_path(interface: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{interface}/forwarding")
}

/// The host forwards packets that come from this interface.
///
/// # Errors
///
/// When the setting can't be read.
pub fn forwards(interface: &str) -> Result<bool> {
    let path = forwarding_path(interface);
    let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    Ok(text.trim() != "0")
}

/// Turns forwarding of packets from this interface on or off.
///
/// # Errors
///
/// When the setting can't be written.
pub fn set_forwarding(interface: &str, on: bool) -> Result<()> {
    let path = forwarding_path(interface);
    fs::write(&path, if on { "1" } else { "0" }).map_err(Error::io(format!("writing {path}")))
}

/// The ports the host picks for its own connections.
pub fn ephemeral_ports() -> (u16, u16) {
    const KERNEL_DEFAULT: (u16, u16) = (32_768, 60_999);
    let Ok(text) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else {
        return KERNEL_DEFAULT;
    };
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => (first, last),
        _ => KERNEL_DEFAULT,
    }
}

/// From the kernel's generator.
pub fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is as long as said. Eight bytes come whole or, before the generator is
    // ready at early boot, the call waits.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(got, 8, "getrandom answers small requests whole");
    u64::from_ne_bytes(bytes)
}
