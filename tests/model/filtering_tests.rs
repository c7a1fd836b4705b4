//! Tests of who is let in, and of what is left untranslated.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::tests::*;
use super::*;
use crate::packets::addresses::{NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER};
use crate::packets::{PacketBuilder, protocol, tcp_flags};

use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use tcp_flags::{ACK, FIN, RST, SYN};

const FILTERINGS: [Filtering; 3] = [
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
];

fn with_gateway(gateway: NatGateway) -> Model {
    let mut config = ModelConfig::classic();
    config.gateways = vec![gateway];
    Model::new(config)
}

fn aws() -> NatGateway {
    NatGateway::new(vec![NAT_PUBLIC])
}

fn udp(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    PacketBuilder::udp(from, to).payload_len(5).build()
}

fn tcp(from: SocketAddrV4, to: SocketAddrV4, flags: u8) -> Vec<u8> {
    PacketBuilder::tcp(from, to).flags(flags).build()
}

fn is_let_in(nat: &Model, frame: &[u8]) -> bool {
    match nat.clone().handle(NOW, Side::Uplink, frame) {
        Output::Forward { .. } => true,
        Output::Drop(DropReason::NoSession) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc4787_req8_and_rfc5382_req3_filtering() {
    for filtering in FILTERINGS {
        let mut nat = with_gateway(aws().rfc(filtering));
        let inside = at(PRIVATE_A, 40_001);
        let public = sent(&mut nat, PRIVATE_SUBNET, &udp(inside, at(SERVER, 53))).source();
        sent(&mut nat, PRIVATE_SUBNET, &tcp(inside, at(SERVER, 53), SYN));
        let same_address = filtering != AddressAndPortDependent;
        let anybody = filtering == EndpointIndependent;
        for (from, expected) in [
            (at(SERVER, 53), true),
            (at(SERVER, 54), same_address),
            (at(OTHER_SERVER, 53), anybody),
        ] {
            assert_eq!(is_let_in(&nat, &udp(from, public)), expected, "{from}");
            assert_eq!(is_let_in(&nat, &tcp(from, public, SYN)), expected, "{from}");
        }
        let next = at(NAT_PUBLIC, public.port() + 2);
        assert!(!is_let_in(&nat, &udp(at(SERVER, 53), next)), "no binding");
        let ping = PacketBuilder::echo_reply(SERVER, NAT_PUBLIC, public.port(), 1).build();
        assert!(!is_let_in(&nat, &ping), "no binding of ICMP");
    }
}

#[test]
fn rfc5508_req1_echo_replies_are_filtered_as_udp() {
    for filtering in FILTERINGS {
        let mut nat = with_gateway(aws().rfc(filtering));
        let ping = PacketBuilder::echo_request(PRIVATE_A, SERVER, 4001, 1).build();
        let id = sent(&mut nat, PRIVATE_SUBNET, &ping).source().port();
        let from = |server| PacketBuilder::echo_reply(server, NAT_PUBLIC, id, 1).build();
        assert!(is_let_in(&nat, &from(SERVER)));
        let is_open = filtering == EndpointIndependent;
        assert_eq!(is_let_in(&nat, &from(OTHER_SERVER)), is_open);
        let request = PacketBuilder::echo_request(SERVER, NAT_PUBLIC, id, 1).build();
        assert!(!is_let_in(&nat, &request));
    }
}

#[test]
fn let_in_udp_leaves_no_session_and_keeps_none() {
    let mut nat = with_gateway(aws().rfc(EndpointIndependent));
    let public = sent(
        &mut nat,
        PRIVATE_SUBNET,
        &udp(at(PRIVATE_A, 1), at(SERVER, 53)),
    )
    .source();
    let before = nat.sessions();
    let stranger = udp(at(OTHER_SERVER, 9), public);
    let seen = forwarded(&mut nat, Side::Uplink, &stranger, PRIVATE_SUBNET);
    assert_eq!(
        (seen.source(), seen.destination()),
        (at(OTHER_SERVER, 9), at(PRIVATE_A, 1))
    );
    assert_eq!(nat.sessions(), before);
}

#[test]
fn let_in_tcp_opens_a_session_with_a_syn_only() {
    let mut nat = with_gateway(aws().rfc(EndpointIndependent));
    let inside = at(PRIVATE_A, 40_001);
    let public = sent(&mut nat, PRIVATE_SUBNET, &tcp(inside, at(SERVER, 443), SYN)).source();
    let stranger = at(OTHER_SERVER, 9);
    for flags in [ACK, SYN | ACK, SYN | RST, SYN | FIN, RST, 0] {
        assert!(!is_let_in(&nat, &tcp(stranger, public, flags)));
    }
    forwarded(
        &mut nat,
        Side::Uplink,
        &tcp(stranger, public, SYN),
        PRIVATE_SUBNET,
    );
    let session = nat.sessions()[1];
    assert_eq!(session.flow.remote, stranger);
    assert_eq!((session.flow.inside, session.public), (inside, public));
    assert_eq!((session.forward.packets, session.reverse.packets), (0, 1));
    assert_eq!(session.tcp_state(), TcpState::Opening);
    assert!(is_let_in(&nat, &tcp(stranger, public, ACK)));
    let answer = sent(&mut nat, PRIVATE_SUBNET, &tcp(inside, stranger, SYN | ACK));
    assert_eq!(answer.source(), public);
    assert_eq!(nat.sessions()[1].tcp_state(), TcpState::Established);
}

#[test]
fn the_quota_holds_for_sessions_opened_from_outside() {
    let mut nat = with_gateway(NatGateway {
        max_sessions_per_client: Some(1),
        ..aws().rfc(EndpointIndependent)
    });
    let inside = at(PRIVATE_A, 40_001);
    let public = sent(&mut nat, PRIVATE_SUBNET, &tcp(inside, at(SERVER, 443), SYN)).source();
    let output = nat.handle(NOW, Side::Uplink, &tcp(at(OTHER_SERVER, 9), public, SYN));
    assert_eq!(
        output,
        Output::Drop(DropReason::ClientQuota),
        "nothing to the outside"
    );
}

#[test]
fn nobody_is_let_in_with_an_inside_or_impossible_sender() {
    let mut nat = with_gateway(aws().rfc(EndpointIndependent));
    let public = sent(
        &mut nat,
        PRIVATE_SUBNET,
        &udp(at(PRIVATE_A, 1), at(SERVER, 53)),
    )
    .source();
    let senders = [
        [10, 40, 2, 7],
        [10, 20, 9, 9],
        [127, 0, 0, 1],
        [0, 0, 0, 1],
        [224, 0, 0, 1],
    ];
    for sender in senders.map(Ipv4Addr::from) {
        assert!(!is_let_in(&nat, &udp(at(sender, 53), public)), "{sender}");
    }
}

fn forwards() -> Vec<Forward> {
    let forward = |protocol, ports, to| Forward {
        protocol,
        public_ip: NAT_PUBLIC,
        ports,
        to,
    };
    vec![
        forward(protocol::TCP, 8080..=8081, at(PRIVATE_A, 80)),
        forward(protocol::UDP, 8080..=8080, at(PRIVATE_B, 53)),
    ]
}

fn forwarding() -> [NatGateway; 4] {
    let shared = NatGateway {
        shared_with_host: true,
        ..aws()
    };
    let gateways = [
        shared,
        aws().rfc(EndpointIndependent),
        aws().rfc(AddressDependent),
        aws().rfc(AddressAndPortDependent),
    ];
    gateways.map(|gateway| NatGateway {
        forwards: forwards(),
        ..gateway
    })
}

#[test]
fn forwarded_ports_let_in_whoever_sends() {
    for gateway in forwarding() {
        let is_shared = gateway.shared_with_host;
        let mut nat = with_gateway(gateway);
        for (public, inside) in [(8080, 80), (8081, 81)] {
            let to = at(NAT_PUBLIC, public);
            let packet = tcp(at(SERVER, 1000), to, SYN);
            let seen = forwarded(&mut nat, Side::Uplink, &packet, PRIVATE_SUBNET);
            assert_eq!(seen.destination(), at(PRIVATE_A, inside));
            let answer = tcp(at(PRIVATE_A, inside), at(SERVER, 1000), SYN | ACK);
            assert_eq!(sent(&mut nat, PRIVATE_SUBNET, &answer).source(), to);
        }
        assert_eq!(nat.sessions().len(), 2);
        let packet = udp(at(SERVER, 1000), at(NAT_PUBLIC, 8080));
        let seen = forwarded(&mut nat, Side::Uplink, &packet, PRIVATE_SUBNET);
        assert_eq!(seen.destination(), at(PRIVATE_B, 53));
        assert_eq!(nat.sessions().len(), 2, "UDP opens none");
        let answer = udp(at(PRIVATE_B, 53), at(SERVER, 1000));
        let seen = sent(&mut nat, PRIVATE_SUBNET, &answer);
        assert_eq!(seen.source(), at(NAT_PUBLIC, 8080));
        // Another port, another protocol, the middle of an unknown connection.
        for packet in [
            tcp(at(SERVER, 1000), at(NAT_PUBLIC, 8082), SYN),
            udp(at(SERVER, 1000), at(NAT_PUBLIC, 8081)),
            tcp(at(SERVER, 1001), at(NAT_PUBLIC, 8080), ACK),
        ] {
            let output = nat.handle(NOW, Side::Uplink, &packet);
            let expected = if is_shared {
                Output::Pass
            } else {
                Output::Drop(DropReason::NoSession)
            };
            assert_eq!(output, expected);
        }
    }
}

#[test]
fn a_forwarded_port_is_its_host_s_alone_and_nobody_gets_it_by_chance() {
    for gateway in forwarding() {
        let mut nat = with_gateway(NatGateway {
            ports: vec![8080..=8082],
            ..gateway
        });
        // Its host uses it towards everybody.
        for server in [SERVER, OTHER_SERVER] {
            let packet = tcp(at(PRIVATE_A, 81), at(server, 443), SYN);
            let seen = sent(&mut nat, PRIVATE_SUBNET, &packet);
            assert_eq!(seen.source(), at(NAT_PUBLIC, 8081));
        }
        // What is left is one port, also for who would keep a forwarded one.
        let packet = tcp(at(PRIVATE_B, 8080), at(SERVER, 443), SYN);
        let seen = sent(&mut nat, PRIVATE_SUBNET, &packet);
        assert_eq!(seen.source(), at(NAT_PUBLIC, 8082));
        let packet = tcp(at(PRIVATE_B, 8081), at(SERVER, 443), SYN);
        assert_eq!(
            dropped(&mut nat, PRIVATE_SUBNET, &packet),
            DropReason::PortExhausted
        );
        // Of UDP two are.
        for port in [8080, 8081] {
            sent(
                &mut nat,
                PRIVATE_SUBNET,
                &udp(at(PRIVATE_A, port), at(SERVER, 53)),
            );
        }
    }
}

#[test]
fn no_translate_rules_pass_what_they_name() {
    let rule = |destination: &str, protocol, ports| NoTranslate {
        destination: destination.parse().unwrap(),
        protocol,
        ports,
    };
    let mut nat = with_gateway(NatGateway {
        no_translate: vec![
            rule("203.0.113.0/24", Some(protocol::TCP), Some(443..=444)),
            rule("203.0.113.80/32", Some(protocol::ICMP), None),
            rule("192.88.99.0/24", None, None),
        ],
        ..aws()
    });
    let everywhere = Ipv4Addr::new(192, 88, 99, 7);
    let (a, other) = (PRIVATE_A, OTHER_SERVER);
    let gre = PacketBuilder::ip(a, everywhere, protocol::GRE).build();
    let later = |protocol, to| PacketBuilder::ip(a, to, protocol).payload_len(64);
    let later = |protocol, to| later(protocol, to).fragment(64, false).build();
    let error = PacketBuilder::icmp(a, other, 3, 3).build();
    for packet in [
        tcp(at(a, 1), at(other, 443), SYN),
        tcp(at(a, 1), at(other, 444), ACK),
        PacketBuilder::echo_request(a, other, 1, 1).build(),
        error,
        udp(at(a, 1), at(everywhere, 9)),
        gre,
        later(protocol::ICMP, other),
        later(protocol::UDP, everywhere),
    ] {
        passes(&mut nat, PRIVATE_SUBNET, &packet);
    }
    assert!(nat.sessions().is_empty());
    for packet in [
        tcp(at(a, 1), at(other, 445), SYN),
        udp(at(a, 1), at(other, 443)),
        tcp(at(a, 1), at(SERVER, 443), SYN),
    ] {
        sent(&mut nat, PRIVATE_SUBNET, &packet);
    }
    assert_eq!(
        nat.handle(NOW, PRIVATE_SUBNET, &later(protocol::TCP, other)),
        Output::Hold
    );
}

#[test]
fn what_was_left_untranslated_is_answered_untranslated() {
    let mut nat = with_gateway(NatGateway {
        no_translate: vec![
            NoTranslate {
                destination: "203.0.113.0/24".parse().unwrap(),
                protocol: Some(protocol::TCP),
                ports: Some(443..=443),
            },
            NoTranslate {
                destination: "203.0.113.0/24".parse().unwrap(),
                protocol: Some(protocol::UDP),
                ports: None,
            },
        ],
        ..aws()
    });
    let later = PacketBuilder::ip(OTHER_SERVER, PRIVATE_A, protocol::UDP).fragment(64, false);
    for packet in [
        tcp(at(OTHER_SERVER, 443), at(PRIVATE_A, 1), SYN | ACK),
        udp(at(OTHER_SERVER, 9), at(PRIVATE_B, 1)),
        later.clone().build(),
    ] {
        passes(&mut nat, Side::Uplink, &packet);
    }
    let later = PacketBuilder::ip(OTHER_SERVER, PRIVATE_A, protocol::TCP).fragment(64, false);
    for packet in [
        tcp(at(OTHER_SERVER, 80), at(PRIVATE_A, 443), SYN),
        tcp(at(SERVER, 443), at(PRIVATE_A, 1), SYN),
        PacketBuilder::echo_reply(OTHER_SERVER, PRIVATE_A, 1, 1).build(),
        later.build(),
    ] {
        let reason = dropped(&mut nat, Side::Uplink, &packet);
        assert_eq!(reason, DropReason::PrivateDestination);
    }
}
