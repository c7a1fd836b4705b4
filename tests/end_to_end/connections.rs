//! The ways TCP connections open, open again, and are told that they are gone (RFC 5382, RFC 7857).
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddrV4, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use nat_tests::netns::{Connection, EXCHANGE, Hook, sessions::find, sockets::accept};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{
    attempts::{address, side_by_side, try_connect, wait_until},
    standing::{RFC, Standing},
};

const SERVER: &str = "198.51.100.80:8080";
/// Shows how an inside address is mapped, where the mapping is the same towards everybody.
const ORACLE: &str = "198.51.100.81:8081";

/// The public address that `from` will have towards any server, and what keeps it.
fn public_address(
    standing: &Standing,
    keys: &str,
    from: &str,
) -> (SocketAddrV4, Option<Connection>) {
    if keys != RFC {
        // Port overloading keeps the source port of the pool.
        let port = from.split_once(':').expect("a port").1;
        let address = format!("198.51.100.10:{port}").parse();
        return (address.expect("an address"), None);
    }
    let lab = &standing.lab;
    let oracle = lab.internet.listen(ORACLE).expect("a server");
    let connection = Connection::open(&lab.private_a, from, ORACLE, &oracle);
    let connection = connection.expect("a connection");
    (connection.seen, Some(connection))
}

pub fn rfc5382_req2_a_simultaneous_open_in_profile_aws(hook: Hook) {
    simultaneous_open(hook, "");
}

pub fn rfc5382_req2_a_simultaneous_open_in_profile_rfc(hook: Hook) {
    simultaneous_open(hook, RFC);
}

/// Both ends send a SYN, and both SYNs pass the NAT.
fn simultaneous_open(hook: Hook, keys: &str) {
    let standing = Standing::with_gateway_keys(hook, keys);
    let (lab, nat) = (&standing.lab, &standing.nat);
    let (inside, outside) = ("10.40.2.101:40300", "198.51.100.80:50300");
    let (public, _oracle) = public_address(&standing, keys, inside);
    // The first SYN from inside gets as far as the other end, which is not ready yet and says nothing.
    let silenced = format!("{}/32", public.ip());
    lab.internet.ignore(&silenced).expect("a blackhole");
    let (near, far) = thread::scope(|scope| {
        let near = scope.spawn(|| lab.private_a.connect(inside, outside));
        wait_until("the first SYN's session", EXCHANGE, || {
            let table = nat.sessions().expect("sessions");
            find(&table, "tcp", inside, outside).is_some()
        });
        lab.internet.heed(&silenced).expect("no blackhole");
        let far = lab.internet.connect(outside, &public.to_string());
        (near.join().expect("no panic"), far)
    });
    let (near, far) = (near.expect("the inside end"), far.expect("the outside end"));
    let connection = Connection {
        seen: public,
        client: near,
        server: far,
    };
    connection.exchange().expect("data both ways");
    // The outside end's SYN alone may be missing: it answers the inside end's next one.
    assert_eq!(standing.drops("no_session"), 0, "a SYN was dropped");
    let table = nat.sessions().expect("sessions");
    let session = find(&table, "tcp", inside, outside).expect("the connection's session");
    assert_eq!(session.state, "established");
    assert_eq!(session.outside(), public);
}

/// REQ-4: an answer to the unsolicited SYN would end the attempt of the outside end.
pub fn rfc5382_req4_an_unsolicited_syn_waits_for_one_from_inside(hook: Hook) {
    side_by_side(["", RFC], |keys| {
        let standing = Standing::with_gateway_keys(hook, keys);
        let lab = &standing.lab;
        let (inside, outside) = ("10.40.2.101:40310", "198.51.100.80:50310");
        let (public, _oracle) = public_address(&standing, keys, inside);
        let nobodys = if public.port() == 2000 { 2001 } else { 2000 };
        let nobodys = format!("{}:{nobodys}", public.ip());
        let public = public.to_string();
        let (near, far, never) = thread::scope(|scope| {
            let far = scope.spawn(|| lab.internet.connect(outside, &public));
            let never = scope.spawn(|| {
                let limit = Duration::from_millis(6500);
                try_connect(&lab.internet, "198.51.100.80:50311", &nobodys, limit).0
            });
            thread::sleep(Duration::from_secs(2));
            let near = lab.private_a.connect(inside, outside);
            let join = "no panic";
            (near, far.join().expect(join), never.join().expect(join))
        });
        let connection = Connection {
            client: near.expect("the inside end"),
            server: far.expect("the outside end"),
            seen: public.parse().expect("an address"),
        };
        connection.exchange().expect("data both ways");
        let never = never.expect_err("nobody let it in");
        assert_eq!(never, ErrorKind::TimedOut, "an answer within 6 s");
    });
}

/// REQ-3: an inside end that listens on a port it also connects from is reached by whom the filtering lets in.
pub fn rfc5382_req3_connections_are_let_in_as_configured(hook: Hook) {
    // Another port of a peer that is known, and another peer.
    let cases = [
        ("endpoint-independent", [true, true]),
        ("address-dependent", [true, false]),
        ("address-and-port-dependent", [false, false]),
    ];
    side_by_side(cases, |(filtering, lets_in)| {
        let keys = format!("{RFC}\nfiltering = \"{filtering}\"");
        let standing = Standing::with_gateway_keys(hook, &keys);
        let lab = &standing.lab;
        let server = lab.internet.listen(SERVER).expect("a server");
        let inside = address("10.40.2.101:40315");
        let (listener, client) = lab
            .private_a
            .run(|| {
                let listener = shared_port(inside)?;
                listener.listen(16)?;
                listener.set_read_timeout(Some(EXCHANGE))?;
                let client = shared_port(inside)?;
                client.connect_timeout(&address(SERVER).into(), EXCHANGE)?;
                Ok((TcpListener::from(listener), TcpStream::from(client)))
            })
            .expect("two sockets");
        let (_server_end, public) = accept(&server).expect("a connection");
        let public = public.to_string();
        for (from, is_in) in ["198.51.100.80:50315", "198.51.100.81:50315"]
            .into_iter()
            .zip(lets_in)
        {
            let case = format!("{filtering}, from {from}");
            if is_in {
                let connection = Connection::open(&lab.internet, from, &public, &listener);
                let connection = connection.unwrap_or_else(|error| panic!("{case}: {error:#}"));
                assert_eq!(connection.seen.to_string(), from, "{case}");
                connection.exchange().expect("data");
            } else {
                let limit = Duration::from_millis(1500);
                let (outcome, _) = try_connect(&lab.internet, from, &public, limit);
                assert_eq!(outcome.expect_err(&case), ErrorKind::TimedOut, "{case}");
            }
        }
        drop(client);
    });
}

/// A socket whose port others of the same host may use too.
fn shared_port(address: SocketAddrV4) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// RFC 7857 and the server's TIME_WAIT: the same four-tuple, again and again.
pub fn a_port_is_used_again_at_once(hook: Hook) {
    for keys in ["", RFC] {
        let mut standing = Standing::with_gateway_keys(hook, keys);
        let lab = &standing.lab;
        let listener = lab.internet.listen(SERVER).expect("a server");
        let mut seen = Vec::new();
        for round in 0..8 {
            let connection =
                Connection::open(&lab.private_a, "10.40.2.101:40320", SERVER, &listener);
            let connection = connection.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
            connection.exchange().expect("data");
            seen.push(connection.seen);
            // The server closes first, so that TIME_WAIT is with it and the client's port is free.
            let Connection {
                mut client, server, ..
            } = connection;
            server.shutdown(Shutdown::Write).expect("the server's FIN");
            let rest = client.read(&mut [0; 16]).expect("the end");
            assert_eq!(rest, 0, "round {round}");
            if round % 2 == 1 {
                // And every other time by a RST.
                let no_linger = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                no_linger.expect("a socket option");
            }
        }
        assert!(
            seen.iter().all(|address| *address == seen[0]),
            "one session, started over: {seen:?}"
        );
        standing.assert_running();
    }
}

/// The keys under which a connection that rests for a second is forgotten.
const SHORT: &str = "timeouts = { tcp = 1 }";

fn forgotten_by_time(hook: Hook, keys: &str) -> (Standing, Connection) {
    let standing = Standing::with_gateway_keys(hook, keys);
    let listener = standing.lab.internet.listen(SERVER).expect("a server");
    let from = "10.40.2.101:40330";
    let connection = Connection::open(&standing.lab.private_a, from, SERVER, &listener);
    let connection = connection.expect("a connection");
    connection.exchange().expect("data");
    wait_until("the session is gone", Duration::from_secs(20), || {
        let table = standing.nat.sessions().expect("sessions");
        find(&table, "tcp", from, SERVER).is_none()
    });
    (standing, connection)
}

/// What the client hears when it goes on.
fn goes_on(connection: &Connection, limit: Duration) -> std::io::Result<usize> {
    let mut client = &connection.client;
    client.set_read_timeout(Some(limit))?;
    client.write_all(b"are you there?")?;
    client.read(&mut [0; 16])
}

pub fn a_forgotten_connection_is_reset_in_profile_aws(hook: Hook) {
    let (_standing, connection) = forgotten_by_time(hook, SHORT);
    let error = goes_on(&connection, EXCHANGE).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Only the side that asked is told.
    let mut server = &connection.server;
    let limit = Some(Duration::from_millis(500));
    server.set_read_timeout(limit).expect("a time-out");
    let error = server.read(&mut [0; 16]).expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

pub fn a_connection_of_before_nat_down_is_reset_in_profile_aws(hook: Hook) {
    let mut standing = Standing::new(hook);
    let listener = standing.lab.internet.listen(SERVER).expect("a server");
    let from = "10.40.2.101:40331";
    let connection = Connection::open(&standing.lab.private_a, from, SERVER, &listener);
    let connection = connection.expect("a connection");
    connection.exchange().expect("data");
    assert_eq!(standing.terminate(), Some(0));
    standing.nat.down().expect("nat down");
    standing.start(&[]);
    let error = goes_on(&connection, EXCHANGE).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

pub fn a_forgotten_connection_hears_nothing_in_profile_rfc(hook: Hook) {
    let (standing, connection) = forgotten_by_time(hook, &format!("{RFC}\n{SHORT}"));
    let error = goes_on(&connection, Duration::from_secs(3)).expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(standing.drops("no_session") > 0);
}
