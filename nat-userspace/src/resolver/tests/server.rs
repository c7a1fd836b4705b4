//! The real service at sockets of the loopback, and clients at addresses of 127.0.0.0/8.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket as StdUdpSocket},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    config::parse,
    resolver::{Names, Resolver, Sockets, forward::Way, server::Limits},
    services::{Identify, Who},
};

/// Last bytes of the addresses that queries come from.
pub const WEB: u8 = 10;
/// In another VPC, and with the address of [`WEB`].
pub const OTHER_WEB: u8 = 13;
pub const NOT_LISTED: u8 = 14;
pub const NOBODY: u8 = 15;
pub const NOT_TO_BE_TOLD: u8 = 16;
/// In a VPC without a resolver.
pub const UNANSWERED: u8 = 17;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What is not there after this does not come.
pub const SILENCE: Duration = Duration::from_millis(1000);

pub const CONFIG: &str = r#"
[node]
uplink = ["eth0"]
dns_forwarders = ["127.0.0.1"]

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.16.0/20"]

  [[vpc.subnet]]
  name = "a"
  cidr = "10.20.1.0/24"
  interface = "br-a"

  [[vpc.subnet]]
  name = "b"
  cidr = "10.40.16.0/24"
  interface = "br-a"

  [[vpc.instance]]
  name = "Web"
  subnet = "a"
  private_ip = "10.20.1.10"

  [[vpc.instance]]
  name = "db.one"
  subnet = "b"
  private_ip = "10.40.16.9"
  hostname = "DB.example.net"

  [[vpc.instance]]
  name = "no..name"
  subnet = "b"
  private_ip = "10.40.16.10"
  hostname = "db.example.net"

[[vpc]]
name = "dev"
cidrs = ["10.20.0.0/16"]
private_domain = "Corp.example.org"

  [[vpc.subnet]]
  name = "a"
  cidr = "10.20.1.0/24"
  interface = "br-dev"

  [[vpc.instance]]
  name = "build_1"
  subnet = "a"
  private_ip = "10.20.1.10"

[[vpc]]
name = "mute"
cidrs = ["10.20.0.0/16"]
dns = false

  [[vpc.subnet]]
  name = "a"
  cidr = "10.20.1.0/24"
  interface = "br-mute"

  [[vpc.instance]]
  name = "web"
  subnet = "a"
  private_ip = "10.20.1.10"
"#;

/// The configuration with so many instances of one host name.
pub fn crowd(count: usize) -> String {
    let instances = (0..count).map(|number| {
        format!(
            "[[vpc.instance]]\nname = \"c{number}\"\nsubnet = \"a\"\nprivate_ip = \"10.20.1.{}\"\n\
             hostname = \"crowd.example.net\"\n",
            number + 20
        )
    });
    CONFIG.replace(
        "[[vpc]]\nname = \"dev\"",
        &(instances.collect::<String>() + "[[vpc]]\nname = \"dev\""),
    )
}

pub fn names(text: &str) -> Names {
    Names::of(&parse("f", text).unwrap_or_else(|errors| panic!("{errors}")))
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

struct ByLastByte;

impl Identify for ByLastByte {
    fn whose(
        &self,
        protocol: u8,
        peer: SocketAddrV4,
        local: SocketAddrV4,
    ) -> io::Result<Option<Who>> {
        assert!(matches!(protocol, 6 | 17) && local.ip().is_loopback());
        assert_ne!(local.port(), 0);
        let who = |vpc: &str, private_ip: [u8; 4]| {
            Ok(Some(Who {
                vpc: vpc.to_owned(),
                private_ip: private_ip.into(),
            }))
        };
        match peer.ip().octets()[3] {
            WEB => who("main", [10, 20, 1, 10]),
            OTHER_WEB => who("dev", [10, 20, 1, 10]),
            NOT_LISTED => who("main", [10, 20, 1, 99]),
            UNANSWERED => who("mute", [10, 20, 1, 10]),
            NOT_TO_BE_TOLD => Err(io::Error::other("no map")),
            _ => Ok(None),
        }
    }
}

pub struct Server {
    /// Of both sockets at the first address; the second address has others.
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub second_udp: SocketAddr,
    pub names: Option<watch::Sender<Arc<Names>>>,
    pub task: JoinHandle<io::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A way to other servers that leads nowhere, and soon says so.
pub fn no_way() -> Way {
    Way {
        port: 9,
        resolv_conf: "/nonexistent".into(),
        attempt: SILENCE,
        all: 2 * SILENCE,
    }
}

impl Server {
    pub async fn new() -> Self {
        Self::with(Limits::default(), no_way()).await
    }

    pub async fn with(limits: Limits, way: Way) -> Self {
        let udp = |last| StdUdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("a port");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let sockets = Sockets {
            udp: vec![udp(1), udp(2)],
            tcp: vec![tcp],
        };
        let address = |at: usize| sockets.udp[at].local_addr().expect("an address");
        let (udp, second_udp) = (address(0), address(1));
        let tcp = sockets.tcp[0].local_addr().expect("an address");
        let (names, receiver) = watch::channel(Arc::new(names(CONFIG)));
        let resolver = Resolver::with(receiver, Arc::new(ByLastByte), limits, way);
        let task = tokio::spawn(async move { resolver.serve(sockets).await });
        Self {
            udp,
            tcp,
            second_udp,
            names: Some(names),
            task,
        }
    }

    pub fn show(&self, text: &str) {
        let sender = self.names.as_ref().expect("not ended");
        sender.send_replace(Arc::new(names(text)));
    }

    pub async fn client(&self, from: u8) -> UdpSocket {
        client(from, self.udp).await
    }

    pub async fn connect(&self, from: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::from(([127, 0, 0, from], 0)))
            .expect("loopback is all of 127/8");
        let connected = timeout(PATIENCE, socket.connect(self.tcp)).await;
        connected.expect("in time").expect("connected")
    }

    /// The answer by UDP.
    pub async fn ask(&self, from: u8, query: &Message) -> Message {
        let socket = self.client(from).await;
        exchange(&socket, query).await
    }

    /// The answer by a connection of its own.
    pub async fn ask_by_tcp(&self, from: u8, query: &Message) -> Message {
        let mut stream = self.connect(from).await;
        send_framed(&mut stream, &query.to_vec().expect("a query")).await;
        let bytes = receive_framed(&mut stream).await.expect("an answer");
        Message::from_vec(&bytes).expect("a message")
    }

    /// The answer by UDP to a question with EDNS.
    pub async fn look_up(&self, from: u8, text: &str, of_type: RecordType) -> Message {
        self.ask(from, &query(text, of_type)).await
    }
}

pub async fn client(from: u8, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, from), 0)).await;
    let socket = socket.expect("loopback is all of 127/8");
    // What another address than the one asked answers is not received.
    socket.connect(server).await.expect("connected");
    socket
}

pub async fn exchange(socket: &UdpSocket, query: &Message) -> Message {
    socket
        .send(&query.to_vec().expect("a query"))
        .await
        .expect("sent");
    let bytes = receive(socket).await.expect("an answer");
    let answer = Message::from_vec(&bytes).expect("a message");
    assert_eq!(answer.id, query.id);
    answer
}

/// A datagram, if one comes.
pub async fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    receive_within(socket, PATIENCE).await
}

pub async fn receive_within(socket: &UdpSocket, time: Duration) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let length = timeout(time, socket.recv(&mut buffer)).await.ok()?.ok()?;
    buffer.truncate(length);
    Some(buffer)
}

pub async fn send_framed(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("not too long");
    let bytes = [&length.to_be_bytes(), message].concat();
    stream.write_all(&bytes).await.expect("sent");
}

/// `None`: the server has ended the connection.
pub async fn receive_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = timeout(PATIENCE, stream.read_u16())
        .await
        .expect("in time")
        .ok()?;
    let mut bytes = vec![0; length.into()];
    let read = timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.expect("in time").ok()?;
    Some(bytes)
}

/// A question that wants recursion, without EDNS.
pub fn plain_query(text: &str, of_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), of_type));
    message
}

/// The same with EDNS, for answers of any size.
pub fn query(text: &str, of_type: RecordType) -> Message {
    let mut message = plain_query(text, of_type);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    message
}

/// The addresses in an answer.
pub fn addresses(answer: &Message) -> Vec<Ipv4Addr> {
    let data = answer.answers.iter().map(|record| &record.data);
    let addresses = data.filter_map(|data| match data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    addresses.collect()
}
