//! Packets sent byte by byte as given, and the fragments of a datagram in any order.
//! The packets themselves are built by `packets`.
use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::Namespace;
use crate::packets::{ETHERNET_LEN, PacketBuilder, fragments_of};

/// Bytes a fragment carries in a link with the usual MTU of 1500.
pub const FRAGMENT: usize = 1480;

/// A raw socket that sends whole IPv4 packets and receives nothing.
#[derive(Debug)]
pub struct RawSender(Socket);

impl Namespace {
    pub fn raw_sender(&self) -> Result<RawSender> {
        self.run(|| {
            // IPPROTO_RAW: the header comes from the caller; the kernel fills in length and checksum.
            Ok(RawSender(Socket::new(
                Domain::IPV4,
                Type::RAW,
                Some(Protocol::from(libc::IPPROTO_RAW)),
            )?))
        })
        .context("a raw socket")
    }
}

impl RawSender {
    /// Sends an IPv4 packet to where its header says.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        let destination: [u8; 4] = packet
            .get(16..20)
            .context("shorter than an IPv4 header")?
            .try_into()?;
        let to = SocketAddrV4::new(Ipv4Addr::from(destination), 0);
        self.0
            .send_to(packet, &to.into())
            .with_context(|| format!("a raw packet to {to}"))?;
        Ok(())
    }

    pub fn send_all<'a>(&self, packets: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<()> {
        packets.into_iter().try_for_each(|packet| self.send(packet))
    }
}

/// Hears the TCP segments that its host gets.
#[derive(Debug)]
pub struct Ttls(Socket);

impl Ttls {
    /// From now on.
    pub fn watch(host: &Namespace) -> Result<Self> {
        host.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            Ok(Self(socket))
        })
        .context("a raw socket")
    }

    /// The TTLs of those that have come from this address.
    pub fn from(mut self, source: &str) -> Result<Vec<u8>> {
        let source: Ipv4Addr = source.parse()?;
        let mut ttls = Vec::new();
        let mut packet = [0; 1 << 16];
        while self.0.read(&mut packet).is_ok() {
            if packet.get(12..16) == Some(&source.octets()) {
                ttls.push(packet[8]);
            }
        }
        Ok(ttls)
    }
}

/// The fragments, as IPv4 packets in their order, of a UDP datagram with the IP identification `id`.
pub fn datagram_in_fragments(
    from: SocketAddrV4,
    to: SocketAddrV4,
    id: u16,
    payload: &[u8],
    fragment: usize,
) -> Vec<Vec<u8>> {
    let frame = PacketBuilder::udp(from, to).id(id).payload(payload).build();
    fragments_of(&frame, fragment)
        .into_iter()
        .map(|frame| frame.get(ETHERNET_LEN..).unwrap_or_default().to_vec())
        .collect()
}

/// `length` bytes that differ by place and by `seed`.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| (at % 251) as u8 ^ (at / 251) as u8 ^ seed)
        .collect()
}

/// The next datagram of any size, and its source.
pub fn receive_large(socket: &UdpSocket) -> Result<(Vec<u8>, SocketAddrV4)> {
    let mut buffer = vec![0; 1 << 16];
    let (length, source) = socket.recv_from(&mut buffer).context("no datagram")?;
    buffer.truncate(length);
    match source {
        std::net::SocketAddr::V4(source) => Ok((buffer, source)),
        std::net::SocketAddr::V6(source) => {
            anyhow::bail!("an IPv6 address in an IPv4 lab: {source}")
        }
    }
}
