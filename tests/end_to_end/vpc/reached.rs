//! Whether one host reaches another by TCP, UDP and ping, and whom the other one sees.
use std::{
    io::Read as _,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nat_tests::netns::{
    Connection, EXCHANGE, Namespace,
    icmp::Pinger,
    sockets::{ANY, accept},
};

use crate::attempts::{hears, try_connect};

/// How long to listen where nothing is to come.
const QUIET: Duration = Duration::from_millis(900);

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is answered; the server saw this source.
    From(Ipv4Addr),
    /// The server saw it, and its answer got lost.
    Unanswered,
    /// The server saw nothing.
    Nothing,
}

/// By TCP, UDP and ping.
pub const NOTHING: [Seen; 3] = [Seen::Nothing; 3];

/// All three answered, with this source.
pub fn from(source: &str) -> [Seen; 3] {
    [from_one(source); 3]
}

pub fn from_one(source: &str) -> Seen {
    Seen::From(source.parse().expect("an address"))
}

/// A host that answers on TCP port 8080, UDP port 5300 and to pings.
pub struct Server {
    listener: TcpListener,
    socket: UdpSocket,
    witness: Pinger,
}

impl Server {
    pub fn on(host: &Namespace) -> Self {
        Self::at(host, "0.0.0.0")
    }

    /// At one of its addresses alone, which its answers come from.
    pub fn at(host: &Namespace, address: &str) -> Self {
        let (tcp, udp) = (format!("{address}:8080"), format!("{address}:5300"));
        Self {
            listener: host.listen(&tcp).expect("a listener"),
            socket: host.udp(&udp).expect("a socket"),
            witness: host.pinger().expect("a socket"),
        }
    }

    /// `client` asks the address `to` by TCP, UDP and ping, and this server sees what is expected.
    #[track_caller]
    pub fn assert_sees(&self, client: &Namespace, to: &str, expected: [Seen; 3]) {
        let [tcp, udp, ping] = expected;
        let seen = thread::scope(|scope| {
            let tcp = scope.spawn(|| self.tcp(client, to, limit(tcp)));
            let udp = scope.spawn(|| self.udp(client, to, limit(udp)));
            let ping = scope.spawn(|| self.ping(client, to, limit(ping)));
            [tcp.join(), udp.join(), ping.join()].map(|seen| seen.expect("an attempt"))
        });
        assert_eq!(seen, expected, "{} to {to}: TCP, UDP, ping", client.label());
    }

    fn tcp(&self, client: &Namespace, to: &str, limit: Duration) -> Seen {
        let (Ok(mut client), _) = try_connect(client, ANY, &format!("{to}:8080"), limit) else {
            return Seen::Nothing;
        };
        let token = next().to_be_bytes();
        client.write_all(&token).expect("writing");
        loop {
            // One that was given up before may come first.
            let (mut server, seen) = accept(&self.listener).expect("a connection");
            let mut read = [0; 4];
            if server.read_exact(&mut read).is_ok() && read == token {
                let connection = Connection {
                    client,
                    server,
                    seen,
                };
                connection.exchange().expect("data");
                return Seen::From(*seen.ip());
            }
        }
    }

    fn udp(&self, client: &Namespace, to: &str, limit: Duration) -> Seen {
        let socket = client.udp(ANY).expect("a socket");
        let token = format!("question {}", next());
        socket
            .send_to(token.as_bytes(), format!("{to}:5300"))
            .expect("sending");
        let Some(seen) = hears(&self.socket, token.as_bytes(), limit) else {
            return Seen::Nothing;
        };
        self.socket
            .send_to(token.as_bytes(), seen)
            .expect("an answer");
        match hears(&socket, token.as_bytes(), limit) {
            Some(_) => Seen::From(*seen.ip()),
            None => Seen::Unanswered,
        }
    }

    fn ping(&self, client: &Namespace, to: &str, limit: Duration) -> Seen {
        let pinger = client.pinger().expect("a socket");
        let token = next();
        let payload = format!("ping {token}").into_bytes();
        let to = to.parse().expect("an address");
        let identifier = token as u16;
        pinger.ask(to, identifier, 1, &payload).expect("a ping");
        let request = self.witness.request(&payload, limit).expect("a socket");
        let Some(request) = request else {
            return Seen::Nothing;
        };
        match pinger
            .answer(identifier, &payload, limit)
            .expect("a socket")
        {
            Some(_) => Seen::From(request.source),
            None => Seen::Unanswered,
        }
    }
}

/// What is to come may take its time.
fn limit(expected: Seen) -> Duration {
    match expected {
        Seen::From(_) => EXCHANGE,
        Seen::Unanswered | Seen::Nothing => QUIET,
    }
}

/// A number for each attempt, so that none is taken for another one.
fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A connection that goes nowhere any more: what is written does not arrive.
pub fn is_cut(connection: &mut Connection) -> bool {
    let written = connection.client.write_all(b"still there?");
    let start = Instant::now();
    connection
        .server
        .set_read_timeout(Some(QUIET))
        .expect("a time-out");
    let read = connection.server.read_exact(&mut [0; 12]);
    written.is_err() || (read.is_err() && start.elapsed() >= QUIET / 2)
}
