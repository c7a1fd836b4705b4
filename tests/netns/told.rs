//! What ICMP errors tell a UDP socket (IP_RECVERR), and what is built on it: a traceroute, the MTU of a path.
use std::{
    io::IoSliceMut,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn, getsockopt, recvmsg, setsockopt, sockopt,
    },
};

/// An ICMP error that came for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub icmp_type: u8,
    pub code: u8,
    /// Who sent the error.
    pub by: Ipv4Addr,
    /// The next hop's MTU, of an error that tells it.
    pub mtu: u32,
}

/// Has ICMP errors kept for [`told`].
pub fn listen_for_errors(socket: &UdpSocket) -> Result<()> {
    Ok(setsockopt(socket, sockopt::Ipv4RecvErr, &true)?)
}

/// The next ICMP error that came for `socket`, waited for at most `limit`. Errors of its own node are passed over.
pub fn told(socket: &UdpSocket, limit: Duration) -> Result<Option<Told>> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // POLLERR needs no asking for.
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        let ready = poll(&mut waiting, PollTimeout::try_from(left)?)?;
        if ready == 0 {
            return Ok(None);
        }
        if let Some(told) = queued(socket)? {
            return Ok(Some(told));
        }
        if left.is_zero() {
            return Ok(None);
        }
    }
}

fn queued(socket: &UdpSocket) -> Result<Option<Told>> {
    let (mut data, mut control) = ([0; 2048], nix::cmsg_space!([u8; 128]));
    let mut data = [IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut data, Some(&mut control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error).context("the error queue"),
        };
    for control in message.cmsgs()? {
        let ControlMessageOwned::Ipv4RecvErr(error, Some(offender)) = control else {
            continue;
        };
        if error.ee_origin == libc::SO_EE_ORIGIN_ICMP {
            return Ok(Some(Told {
                icmp_type: error.ee_type,
                code: error.ee_code,
                by: Ipv4Addr::from_bits(u32::from_be(offender.sin_addr.s_addr)),
                mtu: error.ee_info,
            }));
        }
    }
    Ok(None)
}

/// Sends a probe with each TTL from 1 on, and gives what each brought back: none where nothing did.
/// Ends with the first answer of the destination itself.
pub fn traceroute(
    socket: &UdpSocket,
    to: SocketAddrV4,
    hops: u32,
    limit: Duration,
) -> Result<Vec<Option<Told>>> {
    listen_for_errors(socket)?;
    let mut path = Vec::new();
    for ttl in 1..=hops {
        socket.set_ttl(ttl)?;
        socket
            .send_to(format!("probe {ttl}").as_bytes(), to)
            .with_context(|| format!("probe {ttl}"))?;
        let answer = told(socket, limit)?;
        path.push(answer);
        if answer.is_some_and(|answer| answer.icmp_type == 3) {
            break;
        }
    }
    Ok(path)
}

/// Whether a socket's packets may be cut on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Fragmentation {
    /// IP_PMTUDISC_DO: don't fragment, here or anywhere.
    Never = 2,
    /// IP_PMTUDISC_DONT: whoever has to.
    Anywhere = 0,
}

pub fn set_fragmentation(socket: &impl AsFd, fragmentation: Fragmentation) -> Result<()> {
    let value = fragmentation as libc::c_int;
    // SAFETY: the kernel reads an int behind `value`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(status == 0, std::io::Error::last_os_error());
    Ok(())
}

/// The MTU the node has found for the path of a connected socket.
pub fn path_mtu(socket: &impl AsFd) -> Result<i32> {
    Ok(getsockopt(socket, sockopt::IpMtu)?)
}
