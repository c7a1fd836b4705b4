//! ICMP errors that arrive at the socket whose packet they are about, through PAT and 1:1.
use std::{io::ErrorKind, net::UdpSocket};

use nat_tests::netns::{EXCHANGE, Hook};

use crate::standing::Standing;

/// A port nobody listens on.
const CLOSED: &str = "198.51.100.80:9";

/// RFC 5508 REQ-4: what the quote names decides who is told.
pub fn a_closed_port_outside_is_told_to_the_socket_inside(hook: Hook) {
    let standing = Standing::new(hook);
    let hosts = [
        (&standing.lab.private_a, "10.40.2.101:40050"),
        (&standing.lab.private_b, "10.40.2.201:40050"),
        (&standing.lab.web, "10.20.1.10:40050"),
    ];
    for (host, address) in hosts {
        let socket = host.udp(address).expect("a socket");
        assert_eq!(
            refused_by(&socket, CLOSED),
            ErrorKind::ConnectionRefused,
            "{address}"
        );
    }
}

/// RFC 5508 REQ-5: an error from inside leaves with the public address.
pub fn a_closed_port_inside_is_told_to_the_socket_outside(hook: Hook) {
    let standing = Standing::new(hook);
    let socket = standing
        .lab
        .internet
        .udp("198.51.100.80:40051")
        .expect("a socket");
    assert_eq!(
        refused_by(&socket, "198.51.100.20:9"),
        ErrorKind::ConnectionRefused
    );
}

fn refused_by(socket: &UdpSocket, remote: &str) -> ErrorKind {
    socket.set_read_timeout(Some(EXCHANGE)).expect("a time-out");
    socket.connect(remote).expect("a connected socket");
    socket.send(b"is anybody there?").expect("a sent packet");
    let mut buffer = [0; 64];
    socket.recv(&mut buffer).expect_err("nobody answers").kind()
}
