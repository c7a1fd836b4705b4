//! Links narrower than 1500 bytes, behind the edge and at it: who is too large is told, and finds the size that fits
//! (RFC 1191, RFC 4787 REQ-13).
use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket},
    thread,
};

use nat_tests::netns::{
    EXCHANGE, Hook, Namespace, Path, Picture,
    configuration::classic,
    http::{Pattern, compare},
    sockets::{ANY, accept, receive},
    told::{Fragmentation, Told, listen_for_errors, path_mtu, set_fragmentation, told},
};

use crate::standing::Standing;

const NARROW: u32 = 1280;
const SERVER: &str = "203.0.113.80:8080";
const UDP_SERVER: &str = "203.0.113.80:5300";
/// Fits into 1500 bytes and not into [`NARROW`].
const TOO_LARGE: [u8; 1400] = [7; 1400];

fn with_path(hook: Hook, narrow: impl FnOnce(&Path)) -> (Standing, Path) {
    let lab = Picture::build(hook).expect("a lab");
    let path = Path::behind(&lab).expect("a path");
    narrow(&path);
    (Standing::in_lab(lab, &classic(hook, "")), path)
}

fn with_narrow_middle(hook: Hook) -> (Standing, Path) {
    with_path(hook, |path| {
        path.narrow_the_middle(NARROW).expect("a narrow link");
    })
}

fn with_narrow_uplink(hook: Hook) -> (Standing, Path) {
    with_path(hook, |path| {
        path.narrow_the_uplink(NARROW).expect("a narrow uplink");
    })
}

pub fn tcp_finds_a_narrow_link_behind_the_edge(hook: Hook) {
    let (mut standing, path) = with_narrow_middle(hook);
    carry_both_ways(&standing.lab.private_a, &path);
    carry_both_ways(&standing.lab.web, &path);
    standing.assert_running();
}

pub fn tcp_finds_the_edges_own_narrow_uplink(hook: Hook) {
    let (mut standing, path) = with_narrow_uplink(hook);
    carry_both_ways(&standing.lab.private_a, &path);
    carry_both_ways(&standing.lab.web, &path);
    assert!(standing.drops("too_big") > 0);
    standing.assert_running();
}

/// A megabyte each way, with segments that begin too large.
fn carry_both_ways(client: &Namespace, path: &Path) {
    const LENGTH: u64 = 1_000_003;
    let listener = path.far.listen(SERVER).expect("a server");
    let near = client.connect(ANY, SERVER).expect("a connection");
    let (far, _) = accept(&listener).expect("a connection");
    assert_eq!(
        path_mtu(&near).expect("a path MTU"),
        1500,
        "before it is found"
    );
    for (from, to) in [(&near, &far), (&far, &near)] {
        carry(from, to, LENGTH);
    }
    for (name, end) in [("inside", &near), ("outside", &far)] {
        let found = path_mtu(end).expect("a path MTU");
        assert_eq!(found, NARROW as i32, "{name}, from {}", client.label());
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, length: u64) {
    thread::scope(|scope| {
        let reader = scope.spawn(move || compare(&mut to, length));
        io::copy(&mut Pattern::new(length), &mut from).expect("sending");
        reader.join().expect("no panic").expect("identical");
    });
}

pub fn udp_is_told_of_a_narrow_link_behind_the_edge(hook: Hook) {
    let (standing, path) = with_narrow_middle(hook);
    let router = Ipv4Addr::new(198, 51, 100, 254);
    for host in [&standing.lab.private_a, &standing.lab.web] {
        let seen = told_too_large(host, UDP_SERVER);
        assert_eq!(seen, too_large_says(router), "to {}", host.label());
        assert_what_fits_arrives(host, &path);
    }
}

/// RFC 4787 REQ-13: the edge says itself what its uplink can take.
pub fn rfc4787_req13_the_edge_tells_the_inside_of_its_narrow_uplink(hook: Hook) {
    let (standing, path) = with_narrow_uplink(hook);
    for (host, edge) in [
        (&standing.lab.private_a, [10, 40, 2, 1]),
        (&standing.lab.web, [10, 20, 1, 1]),
    ] {
        let seen = told_too_large(host, UDP_SERVER);
        assert_eq!(seen, too_large_says(edge.into()), "to {}", host.label());
        assert_what_fits_arrives(host, &path);
    }
}

/// The other way round: a server outside is told of a narrow link inside.
pub fn the_edge_tells_the_outside_of_a_narrow_link_inside(hook: Hook) {
    let lab = Picture::build(hook).expect("a lab");
    lab.edge.mtu("private0", NARROW).expect("a narrow link");
    lab.edge.mtu("public0", NARROW).expect("a narrow link");
    let standing = Standing::in_lab(lab, &classic(hook, ""));
    let lab = &standing.lab;
    for (host, from) in [
        (&lab.private_a, "10.40.2.101:40600"),
        (&lab.web, "10.20.1.10:40600"),
    ] {
        let server = lab.internet.udp("198.51.100.80:5300").expect("a server");
        let client = host.udp(from).expect("a socket");
        client
            .send_to(b"hello", "198.51.100.80:5300")
            .expect("sending");
        let (_, seen) = receive(&server).expect("a datagram");
        server.connect(seen).expect("a connected socket");
        let seen = too_large_on(&server);
        let edge = Ipv4Addr::new(198, 51, 100, 1);
        assert_eq!(seen, too_large_says(edge), "about {from}");
        server.send(&TOO_LARGE[..1200]).expect("what fits");
        let (arrived, _) = receive(&client).expect("what fits");
        assert_eq!(arrived.len(), 1200);
    }
}

fn too_large_says(by: Ipv4Addr) -> Told {
    Told {
        icmp_type: 3,
        code: 4,
        by,
        mtu: NARROW,
    }
}

/// What the error says that a datagram brings which must not be cut and doesn't fit; the next such datagram is
/// refused by the host's own kernel.
fn told_too_large(host: &Namespace, to: &str) -> Told {
    let socket = host.udp(ANY).expect("a socket");
    socket.connect(to).expect("a connected socket");
    too_large_on(&socket)
}

fn too_large_on(socket: &UdpSocket) -> Told {
    listen_for_errors(socket).expect("a socket option");
    set_fragmentation(socket, Fragmentation::Never).expect("a socket option");
    socket.send(&TOO_LARGE).expect("the first one is sent");
    let seen = told(socket, EXCHANGE).expect("an error queue");
    let seen = seen.expect("an ICMP error");
    let refused = socket.send(&TOO_LARGE).expect_err("too large now");
    assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE), "{refused}");
    assert_eq!(path_mtu(socket).expect("a path MTU"), NARROW as i32);
    seen
}

fn assert_what_fits_arrives(host: &Namespace, path: &Path) {
    let server = path.far.udp(UDP_SERVER).expect("a server");
    let client = host.udp(ANY).expect("a socket");
    set_fragmentation(&client, Fragmentation::Never).expect("a socket option");
    let to: SocketAddrV4 = UDP_SERVER.parse().expect("an address");
    let fits = NARROW as usize - 28;
    client.send_to(&TOO_LARGE[..fits], to).expect("sending");
    let (arrived, seen) = receive(&server).expect("a datagram");
    assert_eq!(arrived.len(), fits);
    let too_large = client.send_to(&TOO_LARGE[..=fits], to);
    let too_large = too_large.expect_err("one byte more");
    assert_ne!(too_large.kind(), ErrorKind::WouldBlock);
    server.send_to(b"an answer", seen).expect("an answer");
    let (arrived, _) = receive(&client).expect("an answer");
    assert_eq!(arrived, b"an answer");
}
