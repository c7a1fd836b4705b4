//! Many UDP flows of hosts that exist on the wire only: packets are sent and received byte by byte, so
//! that no socket is needed for a flow. Each packet has a number, comes back from an echo server, and is
//! looked for at both ends.
use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Namespace, links::mac_of, raw::RawSender};
use crate::packets::{ETHERNET_LEN, PacketBuilder};

/// The source port of a host's first flow; the others follow.
pub const FIRST_PORT: u16 = 10_000;
/// Room for what arrives while its reader has no CPU.
const BUFFER: usize = 256 << 20;
/// How long a reader waits before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// A host without a kernel: its frames are sent and received by a node on the same link.
pub struct Host {
    pub address: Ipv4Addr,
    /// What the outside sees of it.
    pub public: Ipv4Addr,
    pub sender: RawSender,
    receiver: Socket,
}

impl Host {
    /// Beside `node` on its interface `eth0`, whose own address is `beside`; `router` is told where the
    /// host is, on its interface `device`.
    pub fn new(
        (node, beside): (&Namespace, Ipv4Addr),
        (router, device): (&Namespace, &str),
        address: Ipv4Addr,
        public: Ipv4Addr,
    ) -> Result<Self> {
        // What is not for the node itself is for the host.
        node.set("net/ipv4/ip_forward", "0")?;
        let index = router.index(device)?;
        router.netlink(|handle| async move {
            let add = handle.neighbours().add(index, address.into());
            add.link_layer_address(&mac_of(beside)).execute().await
        })?;
        let receiver = node.run(|| {
            let protocol = Protocol::from(i32::from((libc::ETH_P_IP as u16).to_be()));
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
            with_room(&socket)?;
            Ok(socket)
        })?;
        Ok(Self {
            address,
            public,
            sender: node.raw_sender()?,
            receiver,
        })
    }

    /// Hands every UDP packet to this host to `each`, as its source, its own port and its payload, until
    /// it is over.
    pub fn receive(
        &self,
        over: &AtomicBool,
        mut each: impl FnMut(SocketAddrV4, u16, &[u8]),
    ) -> Result<()> {
        let mut buffer = [0; 2048];
        while let Some(length) = next(over, || {
            // SAFETY: the kernel writes at most as many bytes as the buffer has.
            let length = unsafe {
                let (start, room) = (buffer.as_mut_ptr().cast(), buffer.len());
                libc::recv(self.receiver.as_raw_fd(), start, room, 0)
            };
            usize::try_from(length).map_err(|_| std::io::Error::last_os_error())
        })? {
            let packet = &buffer[..length];
            if length >= 28 && packet[9] == 17 && packet[16..20] == self.address.octets() {
                let address = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
                let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
                let end = 20 + usize::from(port(24));
                let payload = packet.get(28..end).unwrap_or_default();
                each(SocketAddrV4::new(address, port(20)), port(22), payload);
            }
        }
        Ok(())
    }
}

/// A UDP socket with room for a burst, whose reads return soon.
pub fn roomy_udp(node: &Namespace, address: SocketAddrV4) -> Result<UdpSocket> {
    node.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        with_room(&socket)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    })
}

fn with_room(socket: &Socket) -> Result<()> {
    let size = libc::c_int::try_from(BUFFER)?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the kernel reads an int behind `size`, which outlives the call.
        let status = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        anyhow::ensure!(status == 0, std::io::Error::last_os_error());
    }
    Ok(socket.set_read_timeout(Some(LOOK))?)
}

/// What is received next; `None` when it is over and nothing is left.
pub fn next<T>(
    over: &AtomicBool,
    mut receive: impl FnMut() -> std::io::Result<T>,
) -> Result<Option<T>> {
    loop {
        let last = over.load(Relaxed);
        match receive() {
            Ok(received) => return Ok(Some(received)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if last {
                    return Ok(None);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("receiving"),
        }
    }
}

/// The packets of one host's flows, and what has become of them.
#[derive(Debug)]
pub struct Numbered {
    flows: u64,
    pub sent: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By number.
    outside: Vec<bool>,
    back: Vec<bool>,
    /// By flow: the port the outside sees.
    ports: HashMap<u64, u16>,
    faults: Vec<String>,
}

impl Numbered {
    pub fn new(flows: u64) -> Self {
        Self {
            flows,
            sent: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Sends the next packet, of the next flow.
    pub fn send(&self, host: &Host, server: SocketAddrV4) -> Result<()> {
        let number = self.sent.load(Relaxed);
        let from = SocketAddrV4::new(host.address, self.port(number));
        let packet = PacketBuilder::udp(from, server).payload(&number.to_be_bytes());
        host.sender.send(&packet.build()[ETHERNET_LEN..])?;
        self.sent.store(number + 1, Relaxed);
        Ok(())
    }

    fn port(&self, number: u64) -> u16 {
        FIRST_PORT + (number % self.flows) as u16
    }

    /// The server has received a packet of this host.
    pub fn seen_outside(&self, from: SocketAddrV4, payload: &[u8]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(number) = number(payload) else {
            return seen.fault(format!("{from} has sent {payload:02x?}"));
        };
        let port = *seen
            .ports
            .entry(number % self.flows)
            .or_insert_with(|| from.port());
        if port != from.port() {
            let flow = number % self.flows;
            seen.fault(format!(
                "flow {flow} came from port {port}, and now from {from}"
            ));
        }
        if mark(&mut seen.outside, number) {
            seen.fault(format!("packet {number} came twice"));
        }
    }

    /// The host has its packet back, at this port.
    pub fn seen_back(&self, from: SocketAddrV4, server: SocketAddrV4, port: u16, payload: &[u8]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match number(payload) {
            Some(number) if self.port(number) == port && from == server => {
                if mark(&mut seen.back, number) {
                    seen.fault(format!("packet {number} came back twice"));
                }
            }
            _ => seen.fault(format!("{from} to port {port}: {payload:02x?}")),
        }
    }

    /// What went wrong, in words; nothing when nothing did.
    pub fn faults(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.sent.load(Relaxed);
        let mut faults = seen.faults.clone();
        for (what, marks) in [("outside", &seen.outside), ("back", &seen.back)] {
            let is_missing = |number: &u64| !marks.get(*number as usize).is_some_and(|seen| *seen);
            let missing: Vec<u64> = (0..sent).filter(is_missing).collect();
            if !missing.is_empty() {
                let first = &missing[..missing.len().min(10)];
                let count = missing.len();
                faults.push(format!(
                    "{count} of {sent} never arrived {what}: {first:?} ..."
                ));
            }
        }
        faults
    }
}

impl Seen {
    fn fault(&mut self, what: String) {
        if self.faults.len() < 10 {
            self.faults.push(what);
        }
    }
}

fn number(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.try_into().ok()?))
}

/// Whether it was marked before.
fn mark(marks: &mut Vec<bool>, number: u64) -> bool {
    let place = number as usize;
    if marks.len() <= place {
        marks.resize(place + 1, false);
    }
    std::mem::replace(&mut marks[place], true)
}
