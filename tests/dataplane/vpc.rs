//! VPCs: what random traffic has found, by name. The reference NAT judges each packet.

use std::net::{Ipv4Addr, SocketAddrV4};

use nat_tests::{
    model::{
        Destination, GroupRule, Instance, ModelConfig, NatGateway, Packets, Peer, Route,
        SecurityGroup, Side, Step, Subnet, Target, Vpc,
    },
    packets::{Mac, PacketBuilder, addresses, fragments_of, icmp_type, tcp_flags},
};

use crate::{
    PRIVATE, PUBLIC,
    bench::{Bench, Hook},
    judged,
    random::Judge,
};

const STATION: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);

fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

/// The classic picture, in which the instance is filtered.
pub(super) fn tracked() -> ModelConfig {
    let mut config = ModelConfig::classic();
    let all = GroupRule {
        packets: Packets::ALL,
        peer: Peer::Cidr("0.0.0.0/0".parse().unwrap()),
    };
    config.vpcs[0].security_groups = vec![SecurityGroup {
        ingress: vec![all],
        egress: None,
    }];
    config.instances[0].groups = vec![0];
    config
}

/// And known by its MAC.
fn filtered() -> ModelConfig {
    let mut config = tracked();
    config.instances[0].mac = Some(STATION);
    config
}

/// Two VPCs with the same addresses, and an instance with a public IP in each.
fn equal_vpcs() -> (ModelConfig, Ipv4Addr) {
    let mut config = ModelConfig::classic();
    config.gateways = vec![NatGateway::new(vec![addresses::NAT_PUBLIC])];
    let public = Ipv4Addr::new(198, 51, 100, 21);
    config.vpcs.push(Vpc::new(config.vpcs[0].cidrs.clone()));
    config.subnets.push(Subnet {
        vpc: 1,
        interface: 2,
        ..config.subnets[0].clone()
    });
    let mut other = Instance::new(2, addresses::WEB_PRIVATE);
    other.public = Some(public);
    config.instances.push(other);
    (config, public)
}

pub fn of_two_hosts_with_one_address_each_gets_its_own_packets(hook: Hook) {
    let (config, other) = equal_vpcs();
    let mut bench = Bench::of(hook, config);
    let mut judge = Judge::new(&bench);
    for public in [addresses::WEB_PUBLIC, other, addresses::WEB_PUBLIC, other] {
        let ping = PacketBuilder::echo_request(addresses::SERVER, public, 7, 1).build();
        judged(&mut bench, &mut judge, Side::Uplink, &ping).expect("goes in");
    }
}

pub fn an_icmp_query_is_not_taken_for_a_ping_of_the_number_0(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let (host, server) = (addresses::PRIVATE_A, addresses::SERVER);
    for _ in 0..2 {
        let ping = PacketBuilder::echo_request(host, server, 0, 1).build();
        judged(&mut bench, &mut judge, PRIVATE, &ping).expect("goes out");
    }
    for other in [icmp_type::TIMESTAMP, icmp_type::ECHO_REPLY] {
        let query = PacketBuilder::icmp(host, server, other, 0).build();
        assert!(judged(&mut bench, &mut judge, PRIVATE, &query).is_none());
    }
}

pub fn a_later_fragment_goes_where_the_last_first_one_went(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    let (host, server) = (addresses::PRIVATE_A, addresses::SERVER);
    let ping = PacketBuilder::echo_request(host, server, 40_001, 1).build();
    judged(&mut bench, &mut judge, PRIVATE, &ping).expect("goes out");
    let pieces = |id| {
        let answer = PacketBuilder::echo_reply(server, addresses::NAT_PUBLIC, id, 1);
        fragments_of(&answer.id(1).payload_len(200).build(), 64)
    };
    let (refused, asked_for) = (pieces(40_002), pieces(40_001));
    assert!(judged(&mut bench, &mut judge, Side::Uplink, &refused[0]).is_none());
    for piece in &asked_for {
        judged(&mut bench, &mut judge, Side::Uplink, piece).expect("goes in");
    }
}

pub fn no_other_station_sends_by_the_session_of_an_instance(hook: Hook) {
    let mut bench = Bench::of(hook, filtered());
    let mut judge = Judge::new(&bench);
    let packet = PacketBuilder::udp(at(addresses::WEB_PRIVATE, 5000), at(addresses::SERVER, 53));
    let own = packet.clone().macs(STATION, Mac::GATEWAY).build();
    for _ in 0..4 {
        judged(&mut bench, &mut judge, PUBLIC, &own).expect("goes out");
        assert!(judged(&mut bench, &mut judge, PUBLIC, &packet.clone().build()).is_none());
    }
}

pub fn fragments_of_a_filtered_instance_keep_their_identification(hook: Hook) {
    let mut bench = Bench::of(hook, filtered());
    let mut judge = Judge::new(&bench);
    let packet = PacketBuilder::udp(at(addresses::WEB_PRIVATE, 5000), at(addresses::SERVER, 53));
    let whole = packet.macs(STATION, Mac::GATEWAY).id(77).payload_len(200);
    for piece in fragments_of(&whole.build(), 64) {
        let out = judged(&mut bench, &mut judge, PUBLIC, &piece).expect("goes out");
        assert_eq!(out[18..20], [0, 77]);
    }
}

/// The classic picture, in which the instance is filtered and its subnet led to the NAT gateway.
fn led_elsewhere() -> ModelConfig {
    let mut config = filtered();
    config.instances[0].subnet = 1;
    config.instances[0].private = addresses::PRIVATE_A;
    config.instances[0].mac = None;
    config
}

pub fn a_flow_keeps_the_public_end_it_was_opened_with(hook: Hook) {
    let mut bench = Bench::of(hook, led_elsewhere());
    let mut judge = Judge::new(&bench);
    let (instance, server) = (addresses::PRIVATE_A, addresses::SERVER);
    let out = PacketBuilder::udp(at(instance, 5000), at(server, 53)).build();
    let other = PacketBuilder::udp(at(server, 53), at(addresses::WEB_PUBLIC, 5000)).build();
    for _ in 0..3 {
        judged(&mut bench, &mut judge, PRIVATE, &out).expect("goes out");
        assert!(judged(&mut bench, &mut judge, Side::Uplink, &other).is_none());
    }
}

pub fn an_answer_by_another_gateway_is_no_answer(hook: Hook) {
    let mut bench = Bench::of(hook, led_elsewhere());
    let mut judge = Judge::new(&bench);
    let (instance, server) = (addresses::PRIVATE_A, addresses::SERVER);
    let ping = PacketBuilder::echo_request(server, addresses::WEB_PUBLIC, 7, 1).build();
    judged(&mut bench, &mut judge, Side::Uplink, &ping).expect("goes in");
    let answer = PacketBuilder::echo_reply(instance, server, 7, 1).build();
    assert!(judged(&mut bench, &mut judge, PRIVATE, &answer).is_none());
    assert_eq!(bench.drops("policy_changed"), 1);
}

pub fn what_an_appliance_sends_for_others_opens_the_way_to_nobody_else(hook: Hook) {
    let mut config = ModelConfig::classic();
    config.vpcs[0].strict = true;
    config
        .instances
        .push(Instance::new(1, addresses::PRIVATE_A).appliance(STATION));
    let mut bench = Bench::of(hook, config);
    let mut judge = Judge::new(&bench);
    let packet = PacketBuilder::udp(at(addresses::PRIVATE_B, 5000), at(addresses::SERVER, 53));
    let sent_for_it = packet.clone().macs(STATION, Mac::GATEWAY).build();
    for _ in 0..4 {
        judged(&mut bench, &mut judge, PRIVATE, &sent_for_it).expect("goes out");
        assert!(judged(&mut bench, &mut judge, PRIVATE, &packet.clone().build()).is_none());
    }
}

pub fn a_closed_connection_does_not_speak_for_the_next_one(hook: Hook) {
    let mut config = filtered();
    config.instances[0].mac = None;
    let mut bench = Bench::of(hook, config.clone());
    let mut judge = Judge::new(&bench);
    let (web, client) = (
        at(addresses::WEB_PRIVATE, 80),
        at(addresses::SERVER, 40_001),
    );
    let from_outside = |flags| {
        PacketBuilder::tcp(client, at(addresses::WEB_PUBLIC, 80))
            .flags(flags)
            .build()
    };
    let answer = |flags| PacketBuilder::tcp(web, client).flags(flags).build();
    let (syn, ack, fin) = (
        tcp_flags::SYN,
        tcp_flags::ACK,
        tcp_flags::FIN | tcp_flags::ACK,
    );
    for (ingress, frame) in [
        (Side::Uplink, from_outside(syn)),
        (PUBLIC, answer(syn | ack)),
        (Side::Uplink, from_outside(ack)),
        (Side::Uplink, from_outside(fin)),
        (PUBLIC, answer(fin)),
    ] {
        judged(&mut bench, &mut judge, ingress, &frame).expect("goes on");
    }
    // Open again as long as the groups say so.
    judged(&mut bench, &mut judge, Side::Uplink, &from_outside(syn)).expect("goes in");
    judged(&mut bench, &mut judge, PUBLIC, &answer(syn | ack)).expect("goes out");
    config.vpcs[0].security_groups[0].ingress.clear();
    let apply = Step::Apply(Box::new(config));
    bench
        .inside(|bench| judge.step(bench, &apply))
        .expect("another policy");
    // A connection that lives does go on, and ends.
    for (ingress, frame) in [
        (Side::Uplink, from_outside(ack)),
        (Side::Uplink, from_outside(fin)),
        (PUBLIC, answer(fin)),
    ] {
        judged(&mut bench, &mut judge, ingress, &frame).expect("goes on");
    }
    for _ in 0..2 {
        assert!(judged(&mut bench, &mut judge, Side::Uplink, &from_outside(syn)).is_none());
    }
    assert_eq!(bench.drops("security_group"), 2);
}

pub fn reserved_destinations_are_routed_like_others(hook: Hook) {
    let mut config = ModelConfig::classic();
    let reserved = Route {
        destination: Destination::Cidr("240.0.0.0/8".parse().unwrap()),
        target: Target::Blackhole,
    };
    config.subnets[1].routes.push(reserved);
    let mut bench = Bench::of(hook, config);
    let mut judge = Judge::new(&bench);
    let to = |address: [u8; 4]| {
        PacketBuilder::udp(at(addresses::PRIVATE_A, 5000), at(address.into(), 53)).build()
    };
    assert!(judged(&mut bench, &mut judge, PRIVATE, &to([240, 0, 0, 1])).is_none());
    assert_eq!(bench.drops("blackhole"), 1);
    // Those that nobody forwards are still the host's.
    assert!(judged(&mut bench, &mut judge, PRIVATE, &to([224, 0, 0, 251])).is_none());
    assert!(judged(&mut bench, &mut judge, PRIVATE, &to([255; 4])).is_none());
    assert_eq!(
        bench.counter("passed"),
        if hook == Hook::Tc { 2 } else { 0 }
    );
}

pub fn nobody_outside_has_a_public_ip_of_ours(hook: Hook) {
    let mut bench = Bench::new(hook);
    let mut judge = Judge::new(&bench);
    for ours in [addresses::NAT_PUBLIC, addresses::WEB_PUBLIC] {
        let packet = PacketBuilder::udp(at(ours, 53), at(addresses::WEB_PUBLIC, 5000)).build();
        assert!(judged(&mut bench, &mut judge, Side::Uplink, &packet).is_none());
    }
    assert_eq!(bench.drops("spoofed_source"), 2);
}
