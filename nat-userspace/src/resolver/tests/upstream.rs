//! A server of the internet, as the resolver meets them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_proto::{
    op::{Message, OpCode},
    rr::{RData, Record, rdata::A},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::server::receive_framed;
use crate::resolver::message::Transport;

/// What it sends back, one datagram or message after the other.
pub type Replies = Vec<Vec<u8>>;

/// A query that it got.
#[derive(Debug, Clone)]
pub struct Got {
    pub message: Message,
    pub transport: Transport,
    pub from: SocketAddr,
}

pub struct Upstream {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// One at 127.0.0.1 and a port of its own.
    pub async fn new(reply: impl Fn(&Got) -> Replies + Send + Sync + 'static) -> Self {
        let reply = Arc::new(reply);
        for _ in 0..20 {
            if let Some(upstream) = Self::at(1, 0, Arc::clone(&reply)).await {
                return upstream;
            }
        }
        panic!("no port that is free for both");
    }

    /// One more at 127.0.0.`last`; `None`: its port is taken there.
    pub async fn at(
        last: u8,
        port: u16,
        reply: Arc<impl Fn(&Got) -> Replies + Send + Sync + 'static>,
    ) -> Option<Self> {
        let address = Ipv4Addr::new(127, 0, 0, last);
        let udp = UdpSocket::bind((address, port)).await.ok()?;
        let port = udp.local_addr().expect("an address").port();
        let tcp = TcpListener::bind((address, port)).await.ok()?;
        let got = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (noted, replies) = (Arc::clone(&got), Arc::clone(&reply));
        tasks.spawn(async move {
            let mut buffer = vec![0; 65_536];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.expect("a query");
                let got = understood(&buffer[..length], Transport::Udp, from);
                noted.lock().expect("no panic").push(got.clone());
                for answer in replies(&got) {
                    udp.send_to(&answer, from).await.expect("sent");
                }
            }
        });
        let noted = Arc::clone(&got);
        tasks.spawn(async move {
            loop {
                let (mut stream, from) = tcp.accept().await.expect("a connection");
                let query = receive_framed(&mut stream).await.expect("a query");
                let got = understood(&query, Transport::Tcp, from);
                noted.lock().expect("no panic").push(got.clone());
                for answer in reply(&got) {
                    let length = u16::try_from(answer.len()).expect("not too long");
                    let bytes = [&length.to_be_bytes(), answer.as_slice()].concat();
                    stream.write_all(&bytes).await.expect("sent");
                }
            }
        });
        Some(Self {
            port,
            got,
            _tasks: tasks,
        })
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().expect("no panic").clone()
    }
}

fn understood(bytes: &[u8], transport: Transport, from: SocketAddr) -> Got {
    Got {
        message: Message::from_vec(bytes).expect("a message"),
        transport,
        from,
    }
}

/// An answer with so many addresses.
pub fn answer(got: &Got, count: u8) -> Message {
    let mut message = Message::response(got.message.id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.metadata.recursion_desired = true;
    let query = got.message.queries[0].clone();
    for last in 0..count {
        let data = RData::A(A::new(198, 51, 100, last));
        message.add_answer(Record::from_rdata(query.name().clone(), 7, data));
    }
    message.add_query(query);
    message.edns = got.message.edns.clone();
    message
}

pub fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("an answer")
}
