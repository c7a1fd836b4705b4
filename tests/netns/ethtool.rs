//! Switching an interface's offloads, as `ethtool -K` does.
//! The ports that need it are set in switch.rs.
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};

use super::Namespace;

/// An offload by its ethtool command (linux/ethtool.h).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Offload {
    TransmitChecksum = 0x17,
    TcpSegmentation = 0x1f,
    Segmentation = 0x24,
    /// Generic receive offload; on a veth it also turns NAPI on, without which a frame redirected to the
    /// other end is dropped.
    Receive = 0x2c,
}

/// struct ethtool_value
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Namespace {
    pub fn offload(&self, device: &str, offload: Offload, on: bool) -> Result<()> {
        self.run(|| set(device, offload, on)).with_context(|| {
            format!(
                "turning {offload:?} {} on {device}",
                if on { "on" } else { "off" }
            )
        })
    }
}

fn set(device: &str, offload: Offload, on: bool) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut value = Value {
        command: offload as u32,
        data: on.into(),
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
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL reads the name and the `ethtool_value` behind `ifru_data`; both outlive the call.
    let status =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    ensure!(status == 0, std::io::Error::last_os_error());
    Ok(())
}
