//! What must not come of packets to or about the metadata service that are no requests.
use std::{io::Read as _, net::Ipv4Addr, thread, time::Duration};

use nat_tests::{
    netns::{Hook, Namespace},
    packets::{PacketBuilder, tcp_flags},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    A, B, Lab, WEB, WEB_PUBLIC,
    metadata::{METADATA, OWN_IP, connects, get, ok},
    side_by_side, vpc,
};
use crate::{
    attempts::{address, wait_until},
    standing::Standing,
};

/// In the network of the services, where connections come from.
const CLIENTS: &str = "169.254.168.1";

fn at(host: &str) -> Ipv4Addr {
    host.parse().expect("an address")
}

fn service() -> std::net::SocketAddrV4 {
    address(&format!("{METADATA}:80"))
}

fn send(host: &Namespace, packet: &[u8]) {
    let sender = host.raw_sender().expect("a socket");
    sender.send(packet).expect("a packet");
}

/// All IPv4 packets that a host gets, whoever they are for.
struct Ear(Socket);

impl Ear {
    fn at(host: &Namespace) -> Self {
        const IPV4: i32 = 0x0008;
        let socket = host.run(|| {
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(IPV4)))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Self(socket.expect("a packet socket"))
    }

    /// Sources and destinations so far.
    fn heard(&mut self) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let mut packet = [0; 1 << 16];
        let mut all = Vec::new();
        while self.0.read(&mut packet).is_ok() {
            let end = |from: usize| {
                Ipv4Addr::new(
                    packet[from],
                    packet[from + 1],
                    packet[from + 2],
                    packet[from + 3],
                )
            };
            all.push((end(12), end(16)));
        }
        all
    }
}

/// A host with a default route, whose cloud has a metadata service of its own.
fn in_a_cloud(hook: Hook) -> Standing<Lab> {
    let lab = Lab::build(hook);
    let internet = &lab.site.internet;
    internet
        .address("eth0", "169.254.169.254/32")
        .expect("an address");
    lab.site
        .edge
        .route("0.0.0.0/0", "198.51.100.80")
        .expect("a route");
    lab.stand(
        &vpc(hook)
            .instance("a", "private", A, "")
            .instance("b", "private", B, ""),
    )
}

/// Neither fragments nor errors nor another protocol take a way to anybody, or others along.
pub fn imds_what_is_no_request_goes_nowhere(hook: Hook) {
    let standing = in_a_cloud(hook);
    let lab = &standing.lab;
    let mut outside = Ear::at(&lab.site.internet);
    let own = address(&format!("{A}:40700"));
    let _open = lab
        .a
        .connect(&own.to_string(), &service().to_string())
        .expect("a connection");
    let answer = PacketBuilder::tcp(service(), own)
        .flags(tcp_flags::ACK)
        .build();
    let (from, to) = (at(A), at(METADATA));
    let packets = [
        PacketBuilder::echo_request(from, to, 5, 1)
            .id(77)
            .payload(&[b'x'; 992])
            .fragment(0, true),
        PacketBuilder::ip(from, to, 1)
            .id(77)
            .payload(b"what nobody is to know")
            .fragment(1000, false),
        PacketBuilder::udp(own, address(&format!("{METADATA}:53"))),
        PacketBuilder::tcp(own, address(&format!("{METADATA}:22"))).flags(tcp_flags::SYN),
        PacketBuilder::icmp(from, to, 3, 4)
            .next_hop_mtu(600)
            .quoting(&answer, None),
        PacketBuilder::icmp(from, to, 11, 0).quoting(&answer, None),
    ];
    let drops = || {
        ["fragment", "no_route"]
            .iter()
            .map(|reason| standing.drops(reason))
            .sum::<u64>()
    };
    for _ in 0..3 {
        let before = drops();
        for packet in &packets {
            send(&lab.a, &packet.clone().build_ip());
        }
        wait_until("all of them", Duration::from_secs(5), || {
            drops() >= before + packets.len() as u64
        });
        assert_eq!(get(&lab.b, OWN_IP), ok(B));
    }
    let leaked = outside.heard();
    let leaked: Vec<_> = leaked
        .iter()
        .filter(|(from, to)| [from, to].iter().any(|end| end.is_link_local()))
        .collect();
    assert_eq!(leaked.len(), 0, "{leaked:?}");
    let sessions = standing.nat.sessions().expect("sessions");
    assert!(
        sessions.iter().all(|each| each.destination_port == 80),
        "{sessions:?}"
    );
}

/// Neither the address of the service nor that of its clients is anybody's outside, or an appliance's.
pub fn imds_nobody_else_speaks_for_the_service(hook: Hook) {
    let standing = in_a_cloud(hook);
    let (web, internet) = (&standing.lab.web, &standing.lab.site.internet);
    for to in [format!("{CLIENTS}/32"), format!("{WEB_PUBLIC}/32")] {
        internet.route(&to, "198.51.100.1").expect("a route");
    }
    let own = format!("{WEB}:40702");
    let _open = web
        .connect(&own, &service().to_string())
        .expect("a connection");
    let sessions = standing.nat.sessions().expect("sessions");
    let port = sessions.first().expect("a session").translated_port;
    let client = address(&format!("{CLIENTS}:{port}"));
    let quoted = PacketBuilder::tcp(client, service())
        .flags(tcp_flags::ACK)
        .build();
    let forged = [
        PacketBuilder::icmp(at("198.51.100.80"), at(CLIENTS), 3, 4)
            .next_hop_mtu(600)
            .quoting(&quoted, None),
        PacketBuilder::tcp(service(), client).flags(tcp_flags::RST),
        PacketBuilder::tcp(service(), address(&format!("{WEB_PUBLIC}:40702")))
            .flags(tcp_flags::RST),
    ];
    let mut inside = Ear::at(web);
    let drops = || {
        ["no_session", "spoofed_source"]
            .iter()
            .map(|reason| standing.drops(reason))
            .sum::<u64>()
    };
    let before = drops();
    for packet in forged {
        send(internet, &packet.build_ip());
    }
    wait_until("all of them", Duration::from_secs(5), || {
        drops() >= before + 3
    });
    let heard = inside.heard();
    assert_eq!(heard.len(), 0, "{heard:?}");
}

/// Who asks for one address after the other, as many times as there are ports, asks for himself alone.
pub fn imds_one_host_takes_no_ports_of_others(hook: Hook) {
    let standing = side_by_side::stand(hook);
    let [one, other] = [&standing.lab.vpcs[0], &standing.lab.vpcs[1]];
    let sender = one.web.raw_sender().expect("a socket");
    for last in [10].into_iter().chain(50..66u8) {
        for port in 10_000..14_096u16 {
            let from = address(&format!("10.20.1.{last}:{port}"));
            let syn = PacketBuilder::tcp(from, service()).flags(tcp_flags::SYN);
            sender.send(&syn.build_ip()).expect("a packet");
        }
        thread::sleep(Duration::from_millis(20));
    }
    // It has the same address, but another VPC.
    assert_eq!(get(&other.web, OWN_IP), ok(WEB));
    assert!(standing.drops("client_quota") > 0 && standing.drops("unlisted_source") > 0);
    assert_eq!(standing.drops("port_exhausted"), 0);
    // Its own connections are over after some seconds.
    wait_until("a port", Duration::from_secs(40), || {
        connects(&one.web, &service().to_string())
    });
}
