//! Deletes a clsact qdisc by netlink, which aya can only add.

use std::{io, os::fd::AsRawFd as _};

use nix::{
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

use crate::error::{Error, Result};

const NLM_F_REQUEST_ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
/// Major number of the ingress and clsact qdiscs, and their parent (linux/pkt_sched.h).
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;

/// `struct nlmsghdr` and `struct tcmsg` (linux/netlink.h, linux/rtnetlink.h).
fn request(index: u32) -> [u8; 36] {
    let mut message = [0; 36];
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in message.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, &36u32.to_ne_bytes());
    put(4, &libc::RTM_DELQDISC.to_ne_bytes());
    put(6, &NLM_F_REQUEST_ACK.to_ne_bytes());
    put(20, &index.to_ne_bytes());
    put(24, &CLSACT_HANDLE.to_ne_bytes());
    put(28, &CLSACT_PARENT.to_ne_bytes());
    message
}

/// Deletes the clsact qdisc of this interface; one that is gone is no error.
///
/// # Errors
///
/// What the kernel says.
pub fn delete_clsact(interface: &str) -> Result<()> {
    let what = || format!("deleting the clsact qdisc of {interface}");
    let Ok(index) = if_nametoindex(interface) else {
        return Ok(());
    };
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .map_err(|errno| Error::io(what())(errno.into()))?;
    let mut answer = [0u8; 1024];
    send(netlink.as_raw_fd(), &request(index), MsgFlags::empty())
        .and_then(|_| recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()))
        .map_err(|errno| Error::io(what())(errno.into()))?;
    // The acknowledgement's error number follows its own header.
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    match -code {
        0 | libc::ENOENT | libc::EINVAL | libc::ENODEV => Ok(()),
        errno => Err(Error::io(what())(io::Error::from_raw_os_error(errno))),
    }
}
