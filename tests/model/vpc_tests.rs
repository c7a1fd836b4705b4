//! Tests of who sends what, and of where routes lead.

use std::net::Ipv4Addr;

use super::tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{Mac, PacketBuilder, protocol};

pub(super) const MIDDLE_SUBNET: Side = Side::Inside(2);
pub(super) const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 20, 3, 20);
pub(super) const APPLIANCE_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x20]);
/// A host that no list has, in no VPC.
pub(super) const FOREIGN: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 5);

/// The classic picture with a third subnet, and in it an appliance: instance 1.
pub(super) fn picture() -> ModelConfig {
    let mut config = ModelConfig::classic();
    config.subnets.push(Subnet {
        vpc: 0,
        cidr: "10.20.3.0/24".parse().unwrap(),
        interface: 2,
        routes: vec![route("0.0.0.0/0", Target::NatGateway(0))],
        acl: None,
    });
    let appliance = Instance::new(2, APPLIANCE).appliance(APPLIANCE_MAC);
    config.instances.push(appliance);
    config
}

pub(super) fn route(destination: &str, target: Target) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        target,
    }
}

pub(super) fn udp(from: Ipv4Addr, to: Ipv4Addr) -> PacketBuilder {
    PacketBuilder::udp(at(from, 5000), at(to, 53))
}

pub(super) fn by_appliance(packet: PacketBuilder) -> Vec<u8> {
    packet.macs(APPLIANCE_MAC, Mac::GATEWAY).build()
}

/// Whom a packet was given to that nothing but the router has changed.
#[track_caller]
pub(super) fn given(nat: &mut Model, ingress: Side, frame: &[u8]) -> (Side, Ipv4Addr) {
    match nat.handle(NOW, ingress, frame) {
        Output::Forward {
            egress,
            next_hop: Some(next_hop),
            frame: out,
        } => {
            let mut expected = rewrite::rewrite_header(frame, rewrite::Header::HopLimit);
            expected.truncate(out.len());
            assert_eq!(out, expected);
            (egress, next_hop)
        }
        other => panic!("not forwarded inside: {other:?}"),
    }
}

#[test]
fn a_local_packet_goes_unchanged_to_the_subnet_of_its_destination() {
    let mut nat = Model::new(picture());
    let gre = PacketBuilder::ip(PRIVATE_A, WEB_PRIVATE, protocol::GRE).build();
    for frame in [udp(PRIVATE_A, WEB_PRIVATE).build(), gre] {
        let expected = (PUBLIC_SUBNET, WEB_PRIVATE);
        assert_eq!(given(&mut nat, PRIVATE_SUBNET, &frame), expected);
    }
    let neighbour = udp(PRIVATE_A, PRIVATE_B).build();
    let expected = (PRIVATE_SUBNET, PRIVATE_B);
    assert_eq!(given(&mut nat, PRIVATE_SUBNET, &neighbour), expected);
    let last_hop = udp(PRIVATE_A, PRIVATE_B).ttl(1).build();
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &last_hop);
    assert_eq!(reason, DropReason::TtlExpired);
    assert!(nat.sessions().is_empty());
}

#[test]
fn what_is_for_the_router_is_the_host_s_before_any_acl_is_asked() {
    let mut config = picture();
    config.vpcs[0].network_acls = vec![NetworkAcl::default()];
    config.subnets[0].acl = Some(0);
    config.subnets[1].acl = Some(0);
    let other = Ipv4Addr::new(10, 20, 1, 5);
    config.router_addresses.insert(PUBLIC_SUBNET, other);
    let mut nat = Model::new(config);
    let host = Ipv4Addr::new(198, 51, 100, 1);
    for router in [[10, 40, 2, 1], [10, 20, 1, 1]].map(Ipv4Addr::from) {
        passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, router).build());
    }
    passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, other).build());
    passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, host).build());
}

#[test]
fn equal_addresses_of_two_vpcs_do_not_meet() {
    let mut config = picture();
    let other = ModelConfig::classic();
    config.vpcs.extend(other.vpcs);
    config.subnets.extend(other.subnets);
    for (subnet, interface) in [(3, 3), (4, 4)] {
        config.subnets[subnet].vpc = 1;
        config.subnets[subnet].interface = interface;
    }
    config.subnets[4].routes = vec![route("0.0.0.0/0", Target::NatGateway(1))];
    let own = Ipv4Addr::new(198, 51, 100, 13);
    config.gateways.push(NatGateway {
        subnet: 3,
        ..NatGateway::new(vec![own])
    });
    let mut nat = Model::new(config);
    let (here, there) = (PRIVATE_SUBNET, Side::Inside(4));
    let local = udp(PRIVATE_A, WEB_PRIVATE).build();
    assert_eq!(given(&mut nat, here, &local).0, PUBLIC_SUBNET);
    assert_eq!(given(&mut nat, there, &local).0, Side::Inside(3));
    let out = udp(PRIVATE_A, SERVER).build();
    for (side, public) in [(here, NAT_PUBLIC), (there, own)] {
        assert_eq!(sent(&mut nat, side, &out).source(), at(public, 5000));
        let answer = PacketBuilder::udp(at(SERVER, 53), at(public, 5000)).build();
        forwarded(&mut nat, Side::Uplink, &answer, side);
    }
    // The way from one to the other is that of strangers.
    let web = udp(PRIVATE_A, WEB_PUBLIC).build();
    let ip = forwarded(&mut nat, there, &web, PUBLIC_SUBNET);
    assert_eq!((ip.src, ip.dst), (own, WEB_PRIVATE));
}

#[test]
fn a_listed_mac_must_be_that_of_the_frame() {
    let mut config = picture();
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    config.instances[0].mac = Some(mac);
    let mut nat = Model::new(config);
    let packet = udp(WEB_PRIVATE, SERVER);
    let reason = dropped(&mut nat, PUBLIC_SUBNET, &packet.clone().build());
    assert_eq!(reason, DropReason::SpoofedSource);
    let right = packet.macs(mac, Mac::GATEWAY).build();
    assert_eq!(sent(&mut nat, PUBLIC_SUBNET, &right).src, WEB_PUBLIC);
}

#[test]
fn a_strict_vpc_drops_who_is_no_instance() {
    let mut config = picture();
    config.vpcs[0].strict = true;
    let listed = Instance::new(1, PRIVATE_A);
    config.instances.push(listed);
    let mut nat = Model::new(config);
    sent(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
    for to in [SERVER, PRIVATE_A] {
        let reason = dropped(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_B, to).build());
        assert_eq!(reason, DropReason::UnlistedSource);
    }
    let elsewhere = dropped(&mut nat, PUBLIC_SUBNET, &udp(PRIVATE_B, SERVER).build());
    assert_eq!(elsewhere, DropReason::SpoofedSource);
    let host = Ipv4Addr::new(198, 51, 100, 1);
    passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_B, host).build());
    // An appliance is one, whatever it sends.
    sent(&mut nat, MIDDLE_SUBNET, &by_appliance(udp(FOREIGN, SERVER)));
}

#[test]
fn an_appliance_sends_from_any_address_by_its_mac() {
    let mut nat = Model::new(picture());
    let neighbour = Ipv4Addr::new(10, 20, 3, 77);
    for (source, back) in [
        (APPLIANCE, (MIDDLE_SUBNET, APPLIANCE)),
        (neighbour, (MIDDLE_SUBNET, neighbour)),
        (PRIVATE_A, (PRIVATE_SUBNET, PRIVATE_A)),
        (WEB_PRIVATE, (PUBLIC_SUBNET, WEB_PRIVATE)),
    ] {
        let packet = by_appliance(udp(source, SERVER));
        let out = sent(&mut nat, MIDDLE_SUBNET, &packet);
        assert_eq!(out.src, NAT_PUBLIC, "the routes of its subnet");
        let answer = PacketBuilder::udp(out.destination(), out.source()).build();
        let Output::Forward {
            egress, next_hop, ..
        } = nat.handle(NOW, Side::Uplink, &answer)
        else {
            panic!("no answer")
        };
        assert_eq!((egress, next_hop), (back.0, Some(back.1)));
    }
    // An address that no subnet has is answered by nobody.
    let out = sent(&mut nat, MIDDLE_SUBNET, &by_appliance(udp(FOREIGN, SERVER)));
    let answer = PacketBuilder::udp(out.destination(), out.source()).build();
    let reason = dropped(&mut nat, Side::Uplink, &answer);
    assert_eq!(reason, DropReason::NoRoute);
    let nobody = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
    ];
    for source in nobody {
        let reason = dropped(&mut nat, MIDDLE_SUBNET, &by_appliance(udp(source, SERVER)));
        assert_eq!(reason, DropReason::SpoofedSource);
    }
    for (side, packet) in [
        (MIDDLE_SUBNET, udp(FOREIGN, SERVER).build()),
        (MIDDLE_SUBNET, udp(APPLIANCE, SERVER).build()),
        (PRIVATE_SUBNET, by_appliance(udp(FOREIGN, SERVER))),
    ] {
        assert_eq!(dropped(&mut nat, side, &packet), DropReason::SpoofedSource);
    }
}

#[test]
fn the_same_flow_from_an_appliance_is_another_one() {
    let mut config = picture();
    config.subnets[1].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    let mut nat = Model::new(config);
    let packet = udp(PRIVATE_A, SERVER);
    for _ in 0..2 {
        let to = given(&mut nat, PRIVATE_SUBNET, &packet.clone().build());
        assert_eq!(to, (MIDDLE_SUBNET, APPLIANCE));
        let out = sent(&mut nat, MIDDLE_SUBNET, &by_appliance(packet.clone()));
        assert_eq!(out.source(), at(NAT_PUBLIC, 5000));
    }
    assert_eq!(nat.sessions().len(), 1);
}

#[test]
fn nobody_sends_by_another_s_public_ip() {
    let mut config = picture();
    config.subnets[2].routes = vec![route("0.0.0.0/0", Target::InternetGateway)];
    let own = Ipv4Addr::new(198, 51, 100, 21);
    config.instances[1].public = Some(own);
    let mut nat = Model::new(config);
    for source in [WEB_PRIVATE, FOREIGN] {
        let packet = by_appliance(udp(source, SERVER));
        let reason = dropped(&mut nat, MIDDLE_SUBNET, &packet);
        assert_eq!(reason, DropReason::NoPublicIp);
    }
    let packet = by_appliance(udp(APPLIANCE, SERVER));
    assert_eq!(sent(&mut nat, MIDDLE_SUBNET, &packet).src, own);
}

#[test]
fn an_appliance_is_not_led_to_itself() {
    let mut config = picture();
    config.subnets[2].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    let mut nat = Model::new(config);
    let reason = dropped(&mut nat, MIDDLE_SUBNET, &by_appliance(udp(FOREIGN, SERVER)));
    assert_eq!(reason, DropReason::Blackhole);
    let neighbour = udp(Ipv4Addr::new(10, 20, 3, 77), SERVER).build();
    given(&mut nat, MIDDLE_SUBNET, &neighbour);
}

#[test]
fn a_more_specific_route_makes_a_detour_inside_the_vpc() {
    let mut config = picture();
    config.subnets[1]
        .routes
        .push(route("10.20.1.0/24", Target::Instance(1)));
    let mut nat = Model::new(config);
    let packet = udp(PRIVATE_A, WEB_PRIVATE);
    let detour = given(&mut nat, PRIVATE_SUBNET, &packet.clone().build());
    assert_eq!(detour, (MIDDLE_SUBNET, APPLIANCE));
    let onward = given(&mut nat, MIDDLE_SUBNET, &by_appliance(packet));
    assert_eq!(onward, (PUBLIC_SUBNET, WEB_PRIVATE));
}

#[test]
fn a_written_route_beats_a_prefix_list_and_the_first_list_the_second() {
    let mut config = picture();
    let server = Cidr::new(SERVER, 32);
    config.vpcs[0].prefix_lists = vec![vec![server], vec![server]];
    let by_list = |list, target| Route {
        destination: Destination::PrefixList(list),
        target,
    };
    let frame = udp(PRIVATE_A, SERVER).build();
    config.subnets[1].routes.extend([
        by_list(1, Target::InternetGateway),
        by_list(0, Target::Blackhole),
    ]);
    let first = dropped(&mut Model::new(config.clone()), PRIVATE_SUBNET, &frame);
    assert_eq!(first, DropReason::Blackhole);
    let written = Route {
        destination: server.into(),
        target: Target::NatGateway(0),
    };
    config.subnets[1].routes.push(written);
    sent(&mut Model::new(config), PRIVATE_SUBNET, &frame);
}

#[test]
fn an_instance_that_checks_destinations_gets_none_but_its_own() {
    let mut config = picture();
    config.subnets[1].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    let mut nat = Model::new(config);
    nat.config.instances[1].source_dest_check = true;
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
    assert_eq!(reason, DropReason::SourceDestCheck);
}

#[test]
fn the_routes_of_a_nat_gateway_s_subnet_decide_too() {
    let mut config = picture();
    config.gateways[0].subnet = 2;
    let rows = [
        (vec![], Some(DropReason::NoRoute)),
        (
            vec![route("0.0.0.0/0", Target::Blackhole)],
            Some(DropReason::Blackhole),
        ),
        (
            vec![route("0.0.0.0/0", Target::Instance(1))],
            Some(DropReason::NoRoute),
        ),
        (vec![route("0.0.0.0/0", Target::InternetGateway)], None),
    ];
    let frame = udp(PRIVATE_A, SERVER).build();
    for (routes, expected) in rows {
        config.subnets[2].routes = routes;
        let output = Model::new(config.clone()).handle(NOW, PRIVATE_SUBNET, &frame);
        match expected {
            Some(reason) => assert_eq!(output, Output::Drop(reason)),
            None => assert!(matches!(output, Output::Forward { .. })),
        }
    }
    // A private one has no other way out.
    config.gateways[0].is_private = true;
    sent(&mut Model::new(config.clone()), PRIVATE_SUBNET, &frame);
    config.subnets[2].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    let reason = dropped(&mut Model::new(config), PRIVATE_SUBNET, &frame);
    assert_eq!(reason, DropReason::NoRoute);
}
