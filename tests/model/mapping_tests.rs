//! Tests of what new sessions are translated to, and of what limits them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::tests::*;
use super::*;
use crate::packets::addresses::{NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER};
use crate::packets::{PacketBuilder, protocol, tcp_flags};

const SECOND_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
const THIRD_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 12);

fn with_gateway(gateway: NatGateway) -> Model {
    let mut config = ModelConfig::classic();
    config.gateways = vec![gateway];
    Model::new(config)
}

fn aws() -> NatGateway {
    NatGateway::new(vec![NAT_PUBLIC])
}

fn rfc(filtering: Filtering) -> NatGateway {
    aws().rfc(filtering)
}

fn udp(host: Ipv4Addr, port: u16, to: Ipv4Addr) -> Vec<u8> {
    PacketBuilder::udp(at(host, port), at(to, 53)).build()
}

/// What a UDP datagram's source becomes.
#[track_caller]
fn mapped(nat: &mut Model, host: Ipv4Addr, port: u16, to: Ipv4Addr) -> SocketAddrV4 {
    sent(nat, PRIVATE_SUBNET, &udp(host, port, to)).source()
}

/// What a judge says to a UDP datagram sent from this public end.
fn judged(nat: &mut Model, host: Ipv4Addr, port: u16, public: SocketAddrV4) -> Result<(), String> {
    let seen = PacketBuilder::udp(public, at(SERVER, 53)).ttl(63).build();
    let actual = Actual::Forward {
        egress: None,
        next_hop: None,
        frame: &seen,
    };
    nat.check(NOW, PRIVATE_SUBNET, &udp(host, port, SERVER), &actual)
}

#[test]
fn rfc4787_req1_and_req3_one_public_end_for_one_inside_end() {
    let mut nat = with_gateway(rfc(Filtering::AddressAndPortDependent));
    let first = mapped(&mut nat, PRIVATE_A, 40_001, SERVER);
    assert_eq!(mapped(&mut nat, PRIVATE_A, 40_001, OTHER_SERVER), first);
    assert_ne!(mapped(&mut nat, PRIVATE_A, 40_003, SERVER), first);
    assert_ne!(mapped(&mut nat, PRIVATE_B, 40_001, OTHER_SERVER), first);
    let tcp = sent(&mut nat, PRIVATE_SUBNET, &syn(PRIVATE_A, SERVER));
    let ping = PacketBuilder::echo_request(PRIVATE_A, SERVER, 40_001, 1).build();
    let ping = sent(&mut nat, PRIVATE_SUBNET, &ping);
    // Protocols have ports of their own.
    assert_eq!(tcp.source().port(), ping.source().port());
}

#[test]
fn rfc4787_req3a_and_req4_class_before_parity() {
    let pool = [600..=601, 2000..=2001];
    let ends = |port: u16| {
        let mut nat = with_gateway(NatGateway {
            ports: pool.to_vec(),
            ..rfc(Filtering::EndpointIndependent)
        });
        // Each takes one, and leaves the next best to the next.
        let hosts = [101, 102, 103, 104].map(|last| Ipv4Addr::new(10, 40, 2, last));
        hosts.map(|host| mapped(&mut nat, host, port, SERVER).port())
    };
    assert_eq!(ends(40_001), [2001, 2000, 601, 600]);
    assert_eq!(ends(40_002), [2000, 2001, 600, 601]);
    assert_eq!(ends(53), [601, 600, 2001, 2000]);
    assert_eq!(ends(1024), [2000, 2001, 600, 601]);
    assert_eq!(ends(1023), [601, 600, 2001, 2000]);
}

#[test]
fn judge_takes_any_port_of_the_best_rank_and_no_other() {
    let nat = with_gateway(NatGateway {
        ports: vec![600..=601, 2000..=2005],
        ..rfc(Filtering::EndpointIndependent)
    });
    let judge = |public| judged(&mut nat.clone(), PRIVATE_A, 2000, at(NAT_PUBLIC, public));
    for right in [2000, 2002, 2004] {
        assert_eq!(judge(right), Ok(()));
    }
    for (wrong, why) in [
        (2001, "preferable"),
        (600, "preferable"),
        (2006, "not in the pool"),
    ] {
        assert!(judge(wrong).unwrap_err().contains(why), "{wrong}");
    }
    // Another protocol and host keep it from nobody, the same ones do.
    let mut nat = nat;
    assert_eq!(
        judged(&mut nat, PRIVATE_A, 2000, at(NAT_PUBLIC, 2002)),
        Ok(())
    );
    let taken = judged(&mut nat, PRIVATE_B, 2000, at(NAT_PUBLIC, 2002));
    assert!(taken.unwrap_err().contains("is taken"));
    let other = judged(&mut nat, PRIVATE_A, 2000, at(NAT_PUBLIC, 2004));
    assert!(other.is_err(), "it has a binding");
}

fn three_ips(gateway: NatGateway) -> Model {
    with_gateway(NatGateway {
        public_ips: vec![NAT_PUBLIC, SECOND_IP, THIRD_IP],
        ports: vec![2000..=2001],
        ..gateway
    })
}

#[test]
fn aws_a_client_stays_on_its_home_until_that_is_exhausted() {
    let mut nat = three_ips(aws());
    let mut judge = |host, port, public| judged(&mut nat, host, port, public);
    assert_eq!(judge(PRIVATE_A, 1, at(SECOND_IP, 2000)), Ok(()));
    let other = judge(PRIVATE_A, 2, at(THIRD_IP, 2000));
    assert!(other.unwrap_err().contains("home"));
    assert_eq!(judge(PRIVATE_A, 2, at(SECOND_IP, 2001)), Ok(()));
    // Exhausted: the next one, and no other.
    let other = judge(PRIVATE_A, 3, at(NAT_PUBLIC, 2000));
    assert!(other.unwrap_err().contains("home"));
    assert_eq!(judge(PRIVATE_A, 3, at(THIRD_IP, 2000)), Ok(()));
    // Another client may begin anywhere, but not go on anywhere.
    assert_eq!(judge(PRIVATE_B, 1, at(THIRD_IP, 2001)), Ok(()));
    let other = judge(PRIVATE_B, 2, at(SECOND_IP, 2000));
    assert!(other.unwrap_err().contains("taken"));
    assert_eq!(judge(PRIVATE_B, 2, at(NAT_PUBLIC, 2000)), Ok(()));
    assert_eq!(judge(PRIVATE_B, 3, at(NAT_PUBLIC, 2001)), Ok(()));
    let full = dropped(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_B, 4, SERVER));
    assert_eq!(full, DropReason::PortExhausted);
}

#[test]
fn rfc4787_req2_a_client_with_sessions_stays_on_its_public_ip() {
    let mut nat = three_ips(rfc(Filtering::EndpointIndependent));
    assert_eq!(judged(&mut nat, PRIVATE_A, 2, at(SECOND_IP, 2000)), Ok(()));
    let other = judged(&mut nat, PRIVATE_A, 4, at(THIRD_IP, 2000));
    assert!(other.unwrap_err().contains("not a public IP for"));
    assert_eq!(judged(&mut nat, PRIVATE_A, 4, at(SECOND_IP, 2001)), Ok(()));
    let full = dropped(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, 6, SERVER));
    assert_eq!(full, DropReason::PortExhausted);
    // Without sessions it may have to go elsewhere, as another client had to.
    assert_eq!(judged(&mut nat, PRIVATE_B, 2, at(THIRD_IP, 2000)), Ok(()));
    nat.forget_idle(Duration::from_secs(1000));
    let mut rested = nat.clone();
    let later = Duration::from_secs(2000);
    rested.handle(later, PRIVATE_SUBNET, &udp(PRIVATE_A, 8, SERVER));
    assert_eq!(*rested.sessions()[0].public.ip(), SECOND_IP, "its home");
}

#[test]
fn one_public_ip_may_have_ports_of_its_own() {
    let mut nat = with_gateway(NatGateway {
        public_ips: vec![NAT_PUBLIC, SECOND_IP],
        ports: vec![2000..=2000],
        address_ports: vec![(SECOND_IP, vec![3000..=3001])],
        ..aws()
    });
    let ends: BTreeSet<_> = (1..=3)
        .map(|port| mapped(&mut nat, PRIVATE_A, port, SERVER))
        .collect();
    let expected = [
        at(NAT_PUBLIC, 2000),
        at(SECOND_IP, 3000),
        at(SECOND_IP, 3001),
    ];
    assert_eq!(ends, BTreeSet::from(expected));
}

#[test]
fn rfc7422_each_client_has_its_block() {
    for gateway in [aws(), rfc(Filtering::EndpointIndependent)] {
        let gateway = NatGateway {
            public_ips: vec![NAT_PUBLIC, SECOND_IP],
            ports: vec![1000..=1003, 2000..=2511],
            deterministic: Some(Cidr::new(Ipv4Addr::new(10, 40, 2, 0), 24)),
            ..gateway
        };
        // 128 clients for each IP, 516 ports: four each.
        let blocks = [
            (0, NAT_PUBLIC, [1000, 1001, 1002, 1003]),
            (1, NAT_PUBLIC, [2000, 2001, 2002, 2003]),
            (127, NAT_PUBLIC, [2504, 2505, 2506, 2507]),
            (128, SECOND_IP, [1000, 1001, 1002, 1003]),
            (200, SECOND_IP, [2284, 2285, 2286, 2287]),
        ];
        for (last, ip, block) in blocks {
            let mut nat = with_gateway(gateway.clone());
            let host = Ipv4Addr::new(10, 40, 2, last);
            let ends: BTreeSet<_> = (0..4)
                .map(|port| mapped(&mut nat, host, 7 + port, SERVER))
                .collect();
            assert_eq!(ends, block.map(|port| at(ip, port)).into());
            let fifth = dropped(&mut nat, PRIVATE_SUBNET, &udp(host, 1, SERVER));
            assert_eq!(fifth, DropReason::PortExhausted);
        }
        let mut small = gateway;
        small.ports = vec![2000..=2126];
        assert_eq!(
            small.problems(),
            ["deterministic 10.40.2.0/24: no port for each"]
        );
    }
}

#[test]
fn quotas_count_sessions_and_bindings_of_one_client() {
    let quota = |sessions, ports| NatGateway {
        max_sessions_per_client: sessions,
        max_ports_per_client: ports,
        ..rfc(Filtering::AddressDependent)
    };
    let mut nat = with_gateway(quota(Some(2), None));
    mapped(&mut nat, PRIVATE_A, 1, SERVER);
    mapped(&mut nat, PRIVATE_A, 1, OTHER_SERVER);
    let third = udp(PRIVATE_A, 1, Ipv4Addr::new(203, 0, 113, 81));
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &third),
        DropReason::ClientQuota
    );
    mapped(&mut nat, PRIVATE_A, 1, SERVER);
    mapped(&mut nat, PRIVATE_B, 1, SERVER);
    nat.forget_idle(Duration::from_secs(301));
    sent(&mut nat, PRIVATE_SUBNET, &third);

    let mut nat = with_gateway(quota(None, Some(2)));
    mapped(&mut nat, PRIVATE_A, 1, SERVER);
    mapped(&mut nat, PRIVATE_A, 2, SERVER);
    mapped(&mut nat, PRIVATE_A, 2, OTHER_SERVER);
    assert_eq!(
        dropped(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, 3, SERVER)),
        DropReason::ClientQuota
    );
    mapped(&mut nat, PRIVATE_B, 3, SERVER);
    // One of both ends.
    let kept = udp(PRIVATE_A, 1, SERVER);
    nat.handle(Duration::from_secs(200), PRIVATE_SUBNET, &kept);
    nat.forget_idle(Duration::from_secs(301));
    mapped(&mut nat, PRIVATE_A, 3, SERVER);
}

#[test]
fn rfc6888_req8_a_freed_port_rests_where_anybody_may_send_to_it() {
    let ended = Duration::from_secs(400);
    let available = |filtering, protocol, rest: u64, after: f64| {
        let mut nat = with_gateway(NatGateway {
            ports: vec![2000..=2000],
            port_rest: Duration::from_secs(rest),
            ..rfc(filtering)
        });
        let packet = |host, port| match protocol {
            protocol::TCP => PacketBuilder::tcp(at(host, port), at(SERVER, 53))
                .flags(tcp_flags::SYN)
                .build(),
            protocol::UDP => udp(host, port, SERVER),
            _ => PacketBuilder::echo_request(host, SERVER, port, 1).build(),
        };
        nat.handle(NOW, PRIVATE_SUBNET, &packet(PRIVATE_A, 1));
        nat.forget_idle(ended);
        assert!(nat.sessions().is_empty());
        let later = ended + Duration::from_secs_f64(after);
        let output = nat.handle(later, PRIVATE_SUBNET, &packet(PRIVATE_B, 2));
        matches!(output, Output::Forward { .. })
    };
    use Filtering::*;
    for protocol in [protocol::UDP, protocol::ICMP] {
        assert!(!available(EndpointIndependent, protocol, 120, 119.9));
        assert!(available(EndpointIndependent, protocol, 120, 120.5));
        assert!(available(EndpointIndependent, protocol, 0, 0.0));
        assert!(available(AddressDependent, protocol, 120, 0.0));
        assert!(available(AddressAndPortDependent, protocol, 120, 0.0));
    }
    assert!(available(EndpointIndependent, protocol::TCP, 120, 0.0));
}

#[test]
fn rfc_a_binding_stays_until_its_session_is_removed() {
    let mut nat = with_gateway(NatGateway {
        ports: vec![2000..=2000],
        ..rfc(Filtering::AddressDependent)
    });
    mapped(&mut nat, PRIVATE_A, 1, SERVER);
    // Expired, but nobody swept: the port is not free.
    let later = Duration::from_secs(400);
    let other = nat.handle(later, PRIVATE_SUBNET, &udp(PRIVATE_B, 1, SERVER));
    assert!(matches!(
        other,
        Output::Refuse {
            reason: DropReason::PortExhausted,
            ..
        }
    ));
    // Its own packets go on with it.
    let own = nat.handle(later, PRIVATE_SUBNET, &udp(PRIVATE_A, 1, OTHER_SERVER));
    assert!(matches!(own, Output::Forward { .. }));
    nat.forget_idle(later);
    assert_eq!(nat.sessions().len(), 1);
}
