//! Attempts that may be refused, and how they ended.
use std::{
    io::ErrorKind,
    net::{SocketAddrV4, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use nat_tests::netns::{
    EXCHANGE, Namespace,
    sockets::{connect, receive},
};

/// A refusal that comes within this time has been told by somebody: the second SYN of a connection is sent after a
/// second, the third after three.
pub const SOON: Duration = Duration::from_secs(4);

pub fn address(text: &str) -> SocketAddrV4 {
    text.parse().expect("address:port")
}

/// A connection, or what became of it, and after how long.
pub fn try_connect(
    client: &Namespace,
    from: &str,
    to: &str,
    limit: Duration,
) -> (Result<TcpStream, ErrorKind>, Duration) {
    let (from, to) = (address(from), address(to));
    let start = Instant::now();
    let outcome = client.run(|| Ok(connect(from, to, limit).map_err(|error| error.kind())));
    (outcome.expect("a thread"), start.elapsed())
}

/// Nobody lets this connection through, and the client hears of it at once.
pub fn assert_refused_soon(client: &Namespace, from: &str, to: &str) {
    let (outcome, elapsed) = try_connect(client, from, to, EXCHANGE);
    let refusal = outcome.expect_err("a refusal");
    assert_eq!(
        refusal,
        ErrorKind::HostUnreachable,
        "{from} to {to}, after {elapsed:?}"
    );
    assert!(
        elapsed < SOON,
        "{from} to {to} was told after {elapsed:?} only"
    );
}

/// What a connected UDP socket hears after it has sent something that is not answered.
pub fn heard_by(client: &Namespace, from: &str, to: &str) -> ErrorKind {
    let socket = client.udp(from).expect("a socket");
    socket.connect(to).expect("a connected socket");
    socket.send(b"is anybody there?").expect("a sent packet");
    socket
        .recv(&mut [0; 64])
        .expect_err("nobody answers")
        .kind()
}

/// Whether a datagram with this text reaches `socket` within `limit`.
pub fn hears(socket: &UdpSocket, text: &[u8], limit: Duration) -> Option<SocketAddrV4> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).expect("a time-out");
        match receive(socket) {
            Ok((datagram, source)) if datagram == text => return Some(source),
            Ok(_) => (),
            Err(_) => return None,
        }
    }
}

/// Runs `test` for each case at the same time: for those that spend their time waiting. Each has a lab of its own.
pub fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .into_iter()
            .map(|case| scope.spawn(move || test(case)))
            .collect();
        for case in running {
            if let Err(panic) = case.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Looks at `wanted` again and again; fails after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut wanted: impl FnMut() -> bool) {
    let start = Instant::now();
    while !wanted() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
