//! The real service at a socket of the loopback, and clients at addresses of 127.0.0.0/8.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    config::{Config, parse, tests::described},
    metadata::{Catalogue, Limits, server::Service, token::Key},
    services::{Identify, Who},
};

/// Last bytes of the addresses that connections come from.
pub const WEB: u8 = 10;
pub const DARK: u8 = 11;
pub const PLAIN: u8 = 12;
/// In another VPC, and with the address of [`WEB`].
pub const OTHER_WEB: u8 = 13;
pub const NOT_LISTED: u8 = 14;
pub const NOBODY: u8 = 15;
pub const NOT_TO_BE_TOLD: u8 = 16;

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sample with metadata; `plain` says nothing about it.
pub const MORE: &str = r#"
  [[vpc.instance]]
  name = "plain"
  subnet = "private-a"
  private_ip = "10.40.2.12"
  mac = "02:00:00:00:00:0c"

[[vpc]]
name = "dev"
cidrs = ["10.20.0.0/16"]

  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  interface = "br-dev"

  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
"#;

pub fn config(edits: &[(&str, &str)]) -> Config {
    let text = described(edits) + MORE;
    parse("f", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

struct ByLastByte;

impl Identify for ByLastByte {
    fn whose(
        &self,
        protocol: u8,
        peer: SocketAddrV4,
        local: SocketAddrV4,
    ) -> io::Result<Option<Who>> {
        assert_eq!((protocol, *local.ip()), (6, Ipv4Addr::LOCALHOST));
        let who = |vpc: &str, private_ip: [u8; 4]| {
            Ok(Some(Who {
                vpc: vpc.to_owned(),
                private_ip: private_ip.into(),
            }))
        };
        match peer.ip().octets()[3] {
            WEB => who("main", [10, 20, 1, 10]),
            DARK => who("main", [10, 40, 2, 11]),
            PLAIN => who("main", [10, 40, 2, 12]),
            OTHER_WEB => who("dev", [10, 20, 1, 10]),
            NOT_LISTED => who("main", [10, 40, 2, 99]),
            NOT_TO_BE_TOLD => Err(io::Error::other("no map")),
            _ => Ok(None),
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub catalogue: Option<watch::Sender<Arc<Catalogue>>>,
    /// Milliseconds since the epoch.
    pub clock: Arc<AtomicU64>,
    pub task: JoinHandle<io::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Server {
    pub async fn new() -> Self {
        Self::with(Limits::default(), 1).await
    }

    pub async fn with(limits: Limits, key: u8) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (catalogue, receiver) = watch::channel(Arc::new(Catalogue::of(&config(&[]))));
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let reading = Arc::clone(&clock);
        let now = move || Duration::from_millis(reading.load(Ordering::Relaxed));
        let service = Service::new(receiver, Key::new([key; 32]), limits, Arc::new(now));
        let task = tokio::spawn(service.serve(listener, Arc::new(ByLastByte)));
        Self {
            address,
            catalogue: Some(catalogue),
            clock,
            task,
        }
    }

    pub fn show(&self, config: &Config) {
        let catalogue = self.catalogue.as_ref().expect("not ended");
        catalogue.send_replace(Arc::new(Catalogue::of(config)));
    }

    pub fn later(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).expect("in range");
        self.clock.fetch_add(by, Ordering::Relaxed);
    }

    pub async fn connect(&self, from: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        self.connect_by(socket, from).await
    }

    /// By a socket that drops what arrives with less than this TTL, as if it were so many hops away.
    pub async fn connect_from_afar(&self, from: u8, ttl: i32) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        // SAFETY: the value is an int and lives during the call.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_MINTTL,
                (&raw const ttl).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
        self.connect_by(socket, from).await
    }

    async fn connect_by(&self, socket: TcpSocket, from: u8) -> TcpStream {
        let from = SocketAddr::from(([127, 0, 0, from], 0));
        socket.bind(from).expect("loopback is all of 127/8");
        let connected = timeout(PATIENCE, socket.connect(self.address)).await;
        connected.expect("in time").expect("connected")
    }

    /// A request by a connection of its own.
    pub async fn ask(&self, from: u8, method: &str, path: &str, headers: &[&str]) -> Answer {
        let mut stream = self.connect(from).await;
        let mut all = vec!["Connection: close"];
        all.extend(headers);
        send(&mut stream, method, path, &all).await;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes))
            .await
            .expect("in time")
            .expect("an answer");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        taken_apart(head, body)
    }

    pub async fn get(&self, from: u8, path: &str) -> Answer {
        self.ask(from, "GET", path, &[]).await
    }

    pub async fn token(&self, from: u8, seconds: u32) -> String {
        let ttl = format!("X-aws-ec2-metadata-token-ttl-seconds: {seconds}");
        let answer = self.ask(from, "PUT", "/latest/api/token", &[&ttl]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.header("x-aws-ec2-metadata-token-ttl-seconds"),
            Some(seconds.to_string())
        );
        answer.body
    }

    pub async fn get_with(&self, from: u8, path: &str, token: &str) -> Answer {
        let token = format!("X-aws-ec2-metadata-token: {token}");
        self.ask(from, "GET", path, &[&token]).await
    }
}

fn taken_apart(head: &str, body: &str) -> Answer {
    let status = head.split(' ').nth(1).expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.to_owned())
    }
}

pub async fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &[&str]) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
    for header in headers {
        head += header;
        head += "\r\n";
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
}

/// The next answer of a connection that stays; `None`: it has ended.
pub async fn receive(stream: &mut TcpStream) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("in time");
        head.push(byte.ok()?);
    }
    let head = String::from_utf8(head).expect("text");
    let answer = taken_apart(head.trim_end(), "");
    let length = answer.header("content-length").expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).expect("text");
    Some(Answer { body, ..answer })
}

/// Whether the server ends the connection without a word.
pub async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await;
    matches!(read.expect("in time"), Ok(0) | Err(_))
}
