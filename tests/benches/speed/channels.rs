//! How many queues a link has, as `ethtool -L` sets it: with one, two cores can't work on it at a time.
use std::{net::UdpSocket, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};
use nat_tests::netns::Namespace;

/// ETHTOOL_SCHANNELS (linux/ethtool.h).
const SET_CHANNELS: u32 = 0x3d;

/// struct ethtool_channels
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    maximum: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// Gives `device` that many queues for each direction.
pub fn set(node: &Namespace, device: &str, queues: u32) -> Result<()> {
    node.run(|| set_here(device, queues))
        .with_context(|| format!("giving {device} {queues} queues"))
}

fn set_here(device: &str, queues: u32) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut channels = Channels {
        command: SET_CHANNELS,
        receive: queues,
        transmit: queues,
        ..Channels::default()
    };
    // SAFETY: `ifreq` is plain integers and a pointer; all zeroes is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(
        device.len() < request.ifr_name.len(),
        "{device}: an interface name has at most 15 characters"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    // SAFETY: SIOCETHTOOL reads the name and the structure behind `ifru_data`; both outlive the call.
    let status =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    let error = std::io::Error::last_os_error();
    // As many as there are already is no change, and some kernels refuse that.
    ensure!(
        status == 0 || error.raw_os_error() == Some(libc::EINVAL) && queues == 1,
        error
    );
    Ok(())
}
