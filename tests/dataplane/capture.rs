//! Frames as they come out of the far ends of the interfaces, for what a program sends by itself.

use std::{
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;

/// Packet sockets, one for each device.
pub struct Capture {
    sockets: Vec<OwnedFd>,
}

/// How long a frame may take from one end of a veth to the other.
const PATIENCE: Duration = Duration::from_secs(2);

impl Capture {
    /// On these devices of the calling thread's namespace.
    pub fn new<'a>(devices: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let sockets = devices.into_iter().map(socket).collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// The next `count` frames, in the order in which they came on each device; fewer if they do not
    /// come.
    pub fn frames(&self, count: usize) -> Vec<Vec<u8>> {
        let start = Instant::now();
        let mut frames = Vec::new();
        while frames.len() < count && start.elapsed() < PATIENCE {
            let before = frames.len();
            for socket in &self.sockets {
                frames.extend(receive(socket));
            }
            if frames.len() == before {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        frames
    }

    /// Forgets what has come so far.
    pub fn drain(&self) {
        for socket in &self.sockets {
            while receive(socket).is_some() {}
        }
    }
}

fn socket(device: &str) -> anyhow::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let protocol = (libc::ETH_P_IP as u16).to_be();
    // SAFETY: takes three numbers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) };
    anyhow::ensure!(
        fd >= 0,
        "packet socket: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the socket is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: an address of zeros is one.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = if_nametoindex(device)? as i32;
    // SAFETY: the address is as long as said.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    anyhow::ensure!(bound == 0, "bind: {}", std::io::Error::last_os_error());
    Ok(socket)
}

fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut frame = vec![0u8; 4096];
    // SAFETY: the buffer is as long as said.
    let length = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            frame.as_mut_ptr().cast(),
            frame.len(),
            0,
        )
    };
    frame.truncate(usize::try_from(length).ok()?);
    Some(frame)
}
