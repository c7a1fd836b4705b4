//! Links narrower than 1500 bytes, behind the edge and at it: who is too large is told, and finds the size that fits
//! (RFC 1191, RFC 4787 REQ-13), and what may be cut arrives whole (REQ-13a).
use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket},
    thread,
};

use nat_tests::netns::{
    EXCHANGE, Hook, Namespace, Path, Picture,
    configuration::classic,
    http::{Pattern, compare},
    raw::{bytes, receive_large},
    sockets::{ANY, accept, receive},
    told::{Fragmentation, Told, listen_for_errors, path_mtu, set_fragmentation, told},
};

use crate::standing::Standing;

pub const NARROW: u32 = 1280;
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
    carry_both_ways(&standing.lab.private_a, &path.far, SERVER);
    carry_both_ways(&standing.lab.web, &path.far, SERVER);
    standing.assert_running();
}

pub fn tcp_finds_the_edges_own_narrow_uplink(hook: Hook) {
    let (mut standing, path) = with_narrow_uplink(hook);
    carry_both_ways(&standing.lab.private_a, &path.far, SERVER);
    carry_both_ways(&standing.lab.web, &path.far, SERVER);
    assert!(standing.drops("too_big") > 0);
    standing.assert_running();
}

/// A megabyte each way, with segments that begin too large.
pub fn carry_both_ways(client: &Namespace, far: &Namespace, to: &str) {
    const LENGTH: u64 = 1_000_003;
    let listener = far.listen(to).expect("a server");
    let near = client.connect(ANY, to).expect("a connection");
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

/// Payloads that don't fit into [`NARROW`] with their headers, up to what 1500 takes.
const CUT: [usize; 4] = [1253, 1254, 1400, 1472];

/// Datagrams of these lengths, with and without checksum, are seen by the other end as they were sent. Answers with who
/// sent them, as that end sees it.
fn arrive_whole(
    from: &UdpSocket,
    to: SocketAddrV4,
    at: &UdpSocket,
    lengths: &[usize],
) -> SocketAddrV4 {
    set_fragmentation(from, Fragmentation::Anywhere).expect("a socket option");
    let mut source = None;
    for (number, &length) in lengths.iter().enumerate() {
        for has_checksum in [true, false] {
            checksums(from, has_checksum);
            let sent = bytes(length, number as u8);
            from.send_to(&sent, to).expect("sending");
            let (arrived, seen) = receive_large(at)
                .unwrap_or_else(|error| panic!("{length} bytes to {to}: {error:#}"));
            assert!(arrived == sent, "{length} bytes to {to} arrived changed");
            assert!(source.is_none_or(|before| before == seen));
            source = Some(seen);
        }
    }
    source.expect("some length")
}

fn checksums(socket: &UdpSocket, wanted: bool) {
    use std::os::fd::AsRawFd as _;
    let off = libc::c_int::from(!wanted);
    // SAFETY: the kernel reads an int behind `off`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
}

/// From behind PAT and 1:1. The first one finds no neighbour known.
pub fn rfc4787_req13a_datagrams_that_may_be_cut_leave_by_a_narrow_uplink(hook: Hook) {
    let (mut standing, path) = with_narrow_uplink(hook);
    let server = path.far.udp(UDP_SERVER).expect("a server");
    let to: SocketAddrV4 = UDP_SERVER.parse().expect("an address");
    for (host, from, public) in [
        (
            &standing.lab.private_a,
            "10.40.2.101:40600",
            [198, 51, 100, 10],
        ),
        (&standing.lab.web, "10.20.1.10:40600", [198, 51, 100, 20]),
    ] {
        let client = host.udp(from).expect("a socket");
        let seen = arrive_whole(&client, to, &server, &CUT);
        assert_eq!(*seen.ip(), Ipv4Addr::from(public));
        server.send_to(b"an answer", seen).expect("an answer");
        let (arrived, _) = receive(&client).expect("an answer");
        assert_eq!(arrived, b"an answer");
    }
    assert_eq!(standing.counter("fragmented"), 16);
    assert_eq!(standing.drops("too_big"), 0);
    standing.assert_running();
}

/// The other way round, and from one host inside to another one's public IP.
pub fn rfc4787_req13a_datagrams_that_may_be_cut_reach_a_narrow_link_inside(hook: Hook) {
    let lab = Picture::build(hook).expect("a lab");
    lab.edge.mtu("private0", NARROW).expect("a narrow link");
    lab.edge.mtu("public0", NARROW).expect("a narrow link");
    let standing = Standing::in_lab(lab, &classic(hook, ""));
    let lab = &standing.lab;
    let server = lab.internet.udp("198.51.100.80:5300").expect("a server");
    for (host, from) in [
        (&lab.private_a, "10.40.2.101:40600"),
        (&lab.web, "10.20.1.10:40600"),
    ] {
        let client = host.udp(from).expect("a socket");
        client
            .send_to(b"hello", "198.51.100.80:5300")
            .expect("sending");
        let (_, seen) = receive(&server).expect("a datagram");
        arrive_whole(&server, seen, &client, &CUT);
    }
    // A narrow link takes nothing larger in either direction.
    lab.edge.mtu("private0", 1500).expect("a link");
    let neighbour = lab.private_b.udp("10.40.2.201:40600").expect("a socket");
    let web = lab.web.udp("10.20.1.10:40700").expect("a socket");
    let public = "198.51.100.20:40700".parse().expect("an address");
    let seen = arrive_whole(&neighbour, public, &web, &CUT);
    assert_eq!(*seen.ip(), Ipv4Addr::new(198, 51, 100, 10));
    assert_eq!(standing.counter("fragmented"), 24);
    assert_eq!(standing.drops("too_big"), 0);
}

/// From links that take more than 1500 bytes; XDP does not attach to such a veth.
pub fn a_jumbo_datagram_is_cut_into_many(hook: Hook) {
    const JUMBO: u32 = 9600;
    const LONGEST: usize = 9216 - 28;
    if hook != Hook::Tc {
        return;
    }
    let lab = Picture::build(hook).expect("a lab");
    for (node, device) in [
        (&lab.private_a, "eth0"),
        (lab.switch_private.node(), "to-private-a"),
        (lab.switch_private.node(), "to-edge"),
        (&lab.edge, "private0"),
    ] {
        node.mtu(device, JUMBO).expect("a wide link");
    }
    let standing = Standing::in_lab(lab, &classic(hook, ""));
    let server = standing.lab.internet.udp("198.51.100.80:5300");
    let server = server.expect("a server");
    let client = standing.lab.private_a.udp("10.40.2.101:40600");
    let client = client.expect("a socket");
    let to = "198.51.100.80:5300".parse().expect("an address");
    let lengths = [2953, 8191, 8972, LONGEST - 1, LONGEST];
    arrive_whole(&client, to, &server, &lengths);
    assert_eq!(standing.drops("too_big"), 0);
    client.send_to(&[7; LONGEST + 1], to).expect("sending");
    arrive_whole(&client, to, &server, &[LONGEST]);
    assert_eq!(standing.drops("too_big"), 1);
}
