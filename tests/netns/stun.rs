//! STUN (RFC 8489) with the attributes that tell what a NAT does to UDP (RFC 5780): how it maps, whom it lets in,
//! and whether it hairpins. Binding requests only, IPv4, no authentication.
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Namespace, SILENCE};

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const MAGIC_COOKIE: u32 = 0x2112_a442;

const CHANGE_REQUEST: u16 = 0x0003;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const RESPONSE_ORIGIN: u16 = 0x802b;
const OTHER_ADDRESS: u16 = 0x802c;

const CHANGE_IP: u8 = 0x04;
const CHANGE_PORT: u8 = 0x02;
const FAMILY_IPV4: u8 = 1;

/// A request is sent again after this long.
const AGAIN: Duration = Duration::from_millis(500);
/// How often the server looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);

/// How a NAT maps the packets that one inside endpoint sends to several outside (RFC 4787 sect. 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

/// Whose packets a NAT lets in to a mapping (RFC 4787 sect. 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

/// What a NAT does to UDP, as RFC 5780 finds it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    pub mapping: Mapping,
    pub filtering: Filtering,
}

/// A packet from one mapping to another of the same NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hairpin {
    /// The sender as the receiver saw it; none when nothing came.
    pub seen: Option<SocketAddrV4>,
    /// The sender as an outside server saw it.
    pub sender: SocketAddrV4,
    /// Whether the receiver's answer came back from the receiver's own mapping.
    pub is_answered: bool,
}

/// A server with two addresses and two ports. It ends when dropped.
#[derive(Debug)]
pub struct Server {
    primary: SocketAddrV4,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on each of `addresses` and `ports`; the first of both are the primary ones.
    pub fn start(node: &Namespace, addresses: [Ipv4Addr; 2], ports: [u16; 2]) -> Result<Self> {
        let mut sockets = Vec::new();
        for address in addresses {
            for port in ports {
                let socket = node.udp(&format!("{address}:{port}"))?;
                socket.set_read_timeout(Some(GLANCE))?;
                sockets.push(socket);
            }
        }
        let sockets: Arc<[UdpSocket]> = sockets.into();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..sockets.len())
            .map(|index| {
                let (sockets, stop) = (Arc::clone(&sockets), Arc::clone(&stop));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        // A request that can't be read or answered is one the client misses.
                        let _ = serve_one(&sockets, index);
                    }
                })
            })
            .collect();
        let [primary, _] = addresses;
        let [port, _] = ports;
        Ok(Self {
            primary: SocketAddrV4::new(primary, port),
            stop,
            threads,
        })
    }

    pub fn primary(&self) -> SocketAddrV4 {
        self.primary
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Sockets are ordered by address, then port: bit 1 of an index is the address, bit 0 the port.
fn serve_one(sockets: &[UdpSocket], index: usize) -> Result<()> {
    let socket = |index: usize| sockets.get(index).context("no such socket");
    let (message, source) = receive(socket(index)?)?;
    if message.kind != BINDING_REQUEST {
        return Ok(());
    }
    let change = message.change();
    let mut answering = index;
    if change.ip {
        answering ^= 0b10;
    }
    if change.port {
        answering ^= 0b01;
    }
    let origin = local(socket(answering)?)?;
    let other = local(socket(index ^ 0b11)?)?;
    let mut answer = Message::new(BINDING_SUCCESS, message.transaction);
    answer.put_xor_mapped(source);
    answer.put_address(RESPONSE_ORIGIN, origin);
    answer.put_address(OTHER_ADDRESS, other);
    socket(answering)?.send_to(&answer.bytes(), source)?;
    Ok(())
}

/// From where the server is asked to answer.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    ip: bool,
    port: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    mapped: SocketAddrV4,
    other: SocketAddrV4,
}

/// Finds out how the NAT in front of `client` behaves towards UDP sockets bound to `address` there: the one for
/// mapping to `ports[0]`, the one for filtering to `ports[1]`.
pub fn discover(
    client: &Namespace,
    address: Ipv4Addr,
    ports: [u16; 2],
    server: SocketAddrV4,
) -> Result<Behaviour> {
    let [mapping_port, filtering_port] = ports;
    let socket = client.udp(&format!("{address}:{mapping_port}"))?;
    let mapping = mapping(&socket, server).context("mapping")?;
    // A socket of its own: the first one's requests have opened the way for any answer.
    let socket = client.udp(&format!("{address}:{filtering_port}"))?;
    let filtering = filtering(&socket, server).context("filtering")?;
    Ok(Behaviour { mapping, filtering })
}

/// RFC 5780 sect. 4.3.
pub fn mapping(socket: &UdpSocket, server: SocketAddrV4) -> Result<Mapping> {
    let plain = Change::default();
    let first = ask_surely(socket, server, plain)?;
    let other_address = SocketAddrV4::new(*first.other.ip(), server.port());
    let second = ask_surely(socket, other_address, plain)?;
    if second.mapped == first.mapped {
        return Ok(Mapping::EndpointIndependent);
    }
    let third = ask_surely(socket, first.other, plain)?;
    Ok(if third.mapped == second.mapped {
        Mapping::AddressDependent
    } else {
        Mapping::AddressAndPortDependent
    })
}

/// RFC 5780 sect. 4.4.
pub fn filtering(socket: &UdpSocket, server: SocketAddrV4) -> Result<Filtering> {
    ask_surely(socket, server, Change::default())?;
    let both = Change {
        ip: true,
        port: true,
    };
    if ask(socket, server, both)?.is_some() {
        return Ok(Filtering::EndpointIndependent);
    }
    let port = Change {
        ip: false,
        port: true,
    };
    Ok(match ask(socket, server, port)? {
        Some(_) => Filtering::AddressDependent,
        None => Filtering::AddressAndPortDependent,
    })
}

/// The address the server sees `socket` at.
pub fn mapped(socket: &UdpSocket, server: SocketAddrV4) -> Result<SocketAddrV4> {
    Ok(ask_surely(socket, server, Change::default())?.mapped)
}

/// Sends a request from `sender` to the mapping of `receiver`, and an answer back.
/// With `punch` the receiver has written to the sender's mapping first, as peers behind a filtering NAT do.
pub fn hairpin(
    receiver: &UdpSocket,
    sender: &UdpSocket,
    server: SocketAddrV4,
    punch: bool,
) -> Result<Hairpin> {
    let target = mapped(receiver, server).context("the receiver's mapping")?;
    let source = mapped(sender, server).context("the sender's mapping")?;
    if punch {
        receiver.send_to(b"punch", source)?;
    }
    let request = Message::new(BINDING_REQUEST, transaction());
    sender.send_to(&request.bytes(), target)?;
    let is_it = |message: &Message| message.is(BINDING_REQUEST, request.transaction);
    let Some((_, seen)) = wait_for(receiver, SILENCE, is_it)? else {
        return Ok(Hairpin {
            seen: None,
            sender: source,
            is_answered: false,
        });
    };
    let mut answer = Message::new(BINDING_SUCCESS, request.transaction);
    answer.put_xor_mapped(seen);
    receiver.send_to(&answer.bytes(), seen)?;
    let is_it = |message: &Message| message.is(BINDING_SUCCESS, request.transaction);
    let answered = wait_for(sender, SILENCE, is_it)?;
    Ok(Hairpin {
        seen: Some(seen),
        sender: source,
        is_answered: answered.is_some_and(|(_, from)| from == target),
    })
}

fn ask_surely(socket: &UdpSocket, server: SocketAddrV4, change: Change) -> Result<Answer> {
    ask(socket, server, change)?.with_context(|| format!("no answer from {server}"))
}

/// A request, repeated, and its answer; none after [`SILENCE`].
fn ask(socket: &UdpSocket, server: SocketAddrV4, change: Change) -> Result<Option<Answer>> {
    let mut request = Message::new(BINDING_REQUEST, transaction());
    request.put_change(change);
    let request_bytes = request.bytes();
    let end = Instant::now() + SILENCE;
    while Instant::now() < end {
        socket
            .send_to(&request_bytes, server)
            .with_context(|| format!("asking {server}"))?;
        let is_it = |message: &Message| message.is(BINDING_SUCCESS, request.transaction);
        if let Some((answer, source)) = wait_for(socket, AGAIN, is_it)? {
            let origin = answer.address(RESPONSE_ORIGIN)?;
            ensure!(
                source == origin,
                "{origin} answered, and it came from {source}"
            );
            return Ok(Some(Answer {
                mapped: answer.xor_mapped()?,
                other: answer.address(OTHER_ADDRESS)?,
            }));
        }
    }
    Ok(None)
}

fn wait_for(
    socket: &UdpSocket,
    limit: Duration,
    wanted: impl Fn(&Message) -> bool,
) -> Result<Option<(Message, SocketAddrV4)>> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match receive(socket) {
            Ok((message, source)) if wanted(&message) => return Ok(Some((message, source))),
            // Somebody else's, late, or no STUN at all.
            Ok(_) => (),
            Err(error) if is_timeout(&error) => return Ok(None),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => return Err(error),
            Err(_) => (),
        }
    }
}

fn is_timeout(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn receive(socket: &UdpSocket) -> Result<(Message, SocketAddrV4)> {
    let mut buffer = [0; 2048];
    let (length, source) = socket.recv_from(&mut buffer)?;
    let SocketAddr::V4(source) = source else {
        bail!("an IPv6 address in an IPv4 lab: {source}");
    };
    let message = Message::parse(buffer.get(..length).unwrap_or_default())?;
    Ok((message, source))
}

fn local(socket: &UdpSocket) -> Result<SocketAddrV4> {
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(address) => bail!("an IPv6 address in an IPv4 lab: {address}"),
    }
}

/// Never the same twice in this process, which is all that the labs need.
fn transaction() -> [u8; 12] {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut transaction = *b"lab.\0\0\0\0\0\0\0\0";
    for (to, from) in transaction.iter_mut().skip(4).zip(count) {
        *to = from;
    }
    transaction
}

/// A STUN message, its attributes in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    kind: u16,
    transaction: [u8; 12],
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Message {
    fn new(kind: u16, transaction: [u8; 12]) -> Self {
        Self {
            kind,
            transaction,
            attributes: Vec::new(),
        }
    }

    fn is(&self, kind: u16, transaction: [u8; 12]) -> bool {
        self.kind == kind && self.transaction == transaction
    }

    fn bytes(&self) -> Vec<u8> {
        let mut attributes = Vec::new();
        for (kind, value) in &self.attributes {
            attributes.extend(kind.to_be_bytes());
            attributes.extend((value.len() as u16).to_be_bytes());
            attributes.extend(value);
            attributes.resize(attributes.len().next_multiple_of(4), 0);
        }
        let mut bytes = self.kind.to_be_bytes().to_vec();
        bytes.extend((attributes.len() as u16).to_be_bytes());
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(self.transaction);
        bytes.extend(attributes);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (header, mut rest) = bytes
            .split_at_checked(20)
            .context("shorter than a STUN header")?;
        ensure!(
            header.get(4..8) == Some(&MAGIC_COOKIE.to_be_bytes()),
            "no magic cookie"
        );
        let mut message = Self::new(
            be16(header, 0)?,
            header.get(8..20).context("a header")?.try_into()?,
        );
        ensure!(
            usize::from(be16(header, 2)?) == rest.len(),
            "another length than the header says"
        );
        while !rest.is_empty() {
            let (kind, length) = (be16(rest, 0)?, usize::from(be16(rest, 2)?));
            let value = rest
                .get(4..4 + length)
                .context("an attribute that ends too early")?;
            message.attributes.push((kind, value.to_vec()));
            rest = rest
                .get(4 + length.next_multiple_of(4)..)
                .context("an attribute without its padding")?;
        }
        Ok(message)
    }

    fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        self.attributes
            .iter()
            .find_map(|(kind, value)| (*kind == wanted).then_some(value.as_slice()))
    }

    fn put_change(&mut self, change: Change) {
        let mut flags = 0;
        if change.ip {
            flags |= CHANGE_IP;
        }
        if change.port {
            flags |= CHANGE_PORT;
        }
        if flags != 0 {
            self.attributes.push((CHANGE_REQUEST, vec![0, 0, 0, flags]));
        }
    }

    fn change(&self) -> Change {
        let flags = self
            .attribute(CHANGE_REQUEST)
            .and_then(|value| value.get(3))
            .copied()
            .unwrap_or(0);
        Change {
            ip: flags & CHANGE_IP != 0,
            port: flags & CHANGE_PORT != 0,
        }
    }

    fn put_address(&mut self, kind: u16, address: SocketAddrV4) {
        let mut value = vec![0, FAMILY_IPV4];
        value.extend(address.port().to_be_bytes());
        value.extend(address.ip().octets());
        self.attributes.push((kind, value));
    }

    fn put_xor_mapped(&mut self, address: SocketAddrV4) {
        self.put_address(XOR_MAPPED_ADDRESS, hidden(address));
    }

    fn address(&self, kind: u16) -> Result<SocketAddrV4> {
        let value = self
            .attribute(kind)
            .with_context(|| format!("no attribute {kind:#06x}"))?;
        let octets: [u8; 4] = value
            .get(4..8)
            .with_context(|| format!("attribute {kind:#06x} is too short"))?
            .try_into()?;
        ensure!(
            value.get(1) == Some(&FAMILY_IPV4),
            "an address that is not IPv4"
        );
        Ok(SocketAddrV4::new(octets.into(), be16(value, 2)?))
    }

    fn xor_mapped(&self) -> Result<SocketAddrV4> {
        Ok(hidden(self.address(XOR_MAPPED_ADDRESS)?))
    }
}

/// An address XORed with the cookie, so that no NAT on the way rewrites it; its own inverse.
fn hidden(address: SocketAddrV4) -> SocketAddrV4 {
    SocketAddrV4::new(
        (address.ip().to_bits() ^ MAGIC_COOKIE).into(),
        address.port() ^ (MAGIC_COOKIE >> 16) as u16,
    )
}

fn be16(bytes: &[u8], at: usize) -> Result<u16> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => bail!("no 16 bits at {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_its_bytes() {
        let mapped: SocketAddrV4 = "198.51.100.10:40001".parse().expect("an address");
        let origin = "198.51.100.80:3478".parse().expect("an address");
        let mut message = Message::new(BINDING_SUCCESS, transaction());
        message.put_xor_mapped(mapped);
        message.put_address(RESPONSE_ORIGIN, origin);
        let read = Message::parse(&message.bytes()).expect("a message");
        assert_eq!(read, message);
        assert_eq!(read.xor_mapped().expect("an address"), mapped);
        assert_eq!(read.address(RESPONSE_ORIGIN).expect("an address"), origin);
        assert_ne!(read.address(XOR_MAPPED_ADDRESS).expect("hidden"), mapped);
        read.address(OTHER_ADDRESS).expect_err("it was not put in");
    }

    /// RFC 5769 sect. 2.2: 192.0.2.1 port 32853.
    #[test]
    fn the_mapped_address_of_the_rfcs_example() {
        let value = vec![0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let mut message = Message::new(BINDING_SUCCESS, transaction());
        message.attributes.push((XOR_MAPPED_ADDRESS, value));
        let mapped = message.xor_mapped().expect("an address");
        assert_eq!(mapped.to_string(), "192.0.2.1:32853");
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let mut message = Message::new(BINDING_REQUEST, transaction());
        message.put_change(Change {
            ip: true,
            port: false,
        });
        let bytes = message.bytes();
        assert!(Message::parse(&bytes).expect("a message").change().ip);
        for length in 0..bytes.len() {
            Message::parse(&bytes[..length]).expect_err("cut short");
        }
    }
}
