//! Tests of network ACLs.

use std::net::Ipv4Addr;

use super::policy::METADATA;
use super::tests::*;
use super::vpc_tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{PacketBuilder, fragments_of, icmp_type, protocol};

use DropReason::NetworkAcl as Refused;

const PUBLIC: usize = 0;
const PRIVATE: usize = 1;

fn all() -> Vec<AclRule> {
    vec![AclRule::allow(100, Packets::ALL)]
}

/// The picture with this ACL at a subnet.
fn with_acl(subnet: usize, ingress: Vec<AclRule>, egress: Vec<AclRule>) -> Model {
    let mut config = picture();
    config.vpcs[0].network_acls = vec![NetworkAcl { ingress, egress }];
    config.subnets[subnet].acl = Some(0);
    Model::new(config)
}

/// Between the subnet and this address alone.
fn only(peer: Ipv4Addr, packets: Packets) -> Vec<AclRule> {
    vec![AclRule {
        peer: Cidr::new(peer, 32),
        ..AclRule::allow(100, packets)
    }]
}

/// With [`PRIVATE_A`]'s port 53 behind the same one.
fn dns() -> Forward {
    Forward {
        protocol: protocol::UDP,
        public_ip: NAT_PUBLIC,
        ports: 53..=53,
        to: at(PRIVATE_A, 53),
    }
}

/// Whether a packet goes anywhere, else it is dropped for an ACL.
#[track_caller]
fn goes(nat: &Model, ingress: Side, packet: &PacketBuilder) -> bool {
    match nat.clone().handle(NOW, ingress, &packet.clone().build()) {
        Output::Forward { .. } => true,
        Output::Drop(Refused) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_subnets_acl_is_asked_at_its_boundary_only() {
    let nat = with_acl(PRIVATE, vec![], vec![]);
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, PRIVATE_B)));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PRIVATE)));
    assert!(!goes(&nat, PUBLIC_SUBNET, &udp(WEB_PRIVATE, PRIVATE_A)));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
    assert!(goes(&nat, PUBLIC_SUBNET, &udp(WEB_PRIVATE, SERVER)));
}

#[test]
fn the_lowest_rule_that_fits_decides_and_none_refuses() {
    let deny = AclRule::deny(7, Packets::of(protocol::UDP));
    let allow = AclRule::allow(8, Packets::ALL);
    let of = |rules: Vec<AclRule>| with_acl(PRIVATE, vec![], rules);
    let packet = udp(PRIVATE_A, WEB_PRIVATE);
    let goes = |rules| goes(&of(rules), PRIVATE_SUBNET, &packet);
    assert!(!goes(vec![allow.clone(), deny.clone()]));
    assert!(goes(vec![AclRule { number: 9, ..deny }, allow]));
    assert!(!goes(vec![AclRule::allow(1, Packets::of(protocol::TCP))]));
}

#[test]
fn a_rule_looks_at_protocol_remote_end_destination_port_and_icmp_type() {
    let udp_53 = Packets::to_ports(protocol::UDP, 50..=53);
    let ping = Packets {
        icmp: Some((icmp_type::ECHO_REQUEST, Some(0))),
        ..Packets::of(protocol::ICMP)
    };
    let mut rules = only(WEB_PRIVATE, udp_53);
    rules.push(AclRule::allow(110, ping));
    let nat = with_acl(PRIVATE, vec![], rules);
    let from = at(PRIVATE_A, 53);
    let echo = |code| PacketBuilder::icmp(PRIVATE_A, WEB_PRIVATE, icmp_type::ECHO_REQUEST, code);
    for (packet, expected) in [
        (udp(PRIVATE_A, WEB_PRIVATE), true),
        (udp(PRIVATE_A, APPLIANCE), false),
        (PacketBuilder::udp(from, at(WEB_PRIVATE, 54)), false),
        (PacketBuilder::tcp(from, at(WEB_PRIVATE, 53)), false),
        (echo(0), true),
        (echo(1), false),
        (
            PacketBuilder::echo_reply(PRIVATE_A, WEB_PRIVATE, 1, 1),
            false,
        ),
    ] {
        assert_eq!(goes(&nat, PRIVATE_SUBNET, &packet), expected, "{packet:?}");
    }
}

#[test]
fn a_local_packet_leaves_one_subnet_and_enters_another() {
    let out = with_acl(PRIVATE, vec![], only(WEB_PRIVATE, Packets::ALL));
    let into = with_acl(PUBLIC, only(PRIVATE_A, Packets::ALL), vec![]);
    for nat in [&out, &into] {
        assert!(goes(nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PRIVATE)));
    }
    assert!(!goes(&out, PRIVATE_SUBNET, &udp(PRIVATE_A, APPLIANCE)));
    assert!(!goes(&into, PRIVATE_SUBNET, &udp(PRIVATE_B, WEB_PRIVATE)));
}

#[test]
fn an_acl_remembers_nothing() {
    let nat = with_acl(PRIVATE, vec![], all());
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PRIVATE)));
    let answer = PacketBuilder::udp(at(WEB_PRIVATE, 53), at(PRIVATE_A, 5000));
    assert!(!goes(&nat, PUBLIC_SUBNET, &answer));
    let mut nat = nat;
    let out = sent(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
    let answer = PacketBuilder::udp(out.destination(), out.source());
    assert!(!goes(&nat, Side::Uplink, &answer), "a session opens no ACL");
}

#[test]
fn routes_are_asked_before_acls_and_acls_before_targets() {
    let mut nat = with_acl(PUBLIC, vec![], vec![]);
    let no_public_ip = udp(Ipv4Addr::new(10, 20, 1, 11), SERVER);
    let no_subnet = udp(WEB_PRIVATE, Ipv4Addr::new(10, 40, 77, 7));
    for packet in [no_public_ip, no_subnet] {
        let reason = dropped(&mut nat, PUBLIC_SUBNET, &packet.build());
        assert_eq!(reason, Refused);
    }
    nat.config.subnets[0].routes.clear();
    let packet = udp(WEB_PRIVATE, SERVER).build();
    let reason = dropped(&mut nat, PUBLIC_SUBNET, &packet);
    assert_eq!(reason, DropReason::NoRoute);
    nat.config.subnets[0].routes = vec![route("0.0.0.0/0", Target::Blackhole)];
    let reason = dropped(&mut nat, PUBLIC_SUBNET, &packet);
    assert_eq!(reason, DropReason::Blackhole);
}

#[test]
fn a_nat_gateway_s_subnet_has_its_acl_asked_on_the_way_out() {
    let to = |packets| with_acl(PUBLIC, only(PRIVATE_A, packets), only(SERVER, Packets::ALL));
    let nat = to(Packets::to_ports(protocol::UDP, 53..=53));
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_B, SERVER)), "in");
    assert!(
        !goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, OTHER_SERVER)),
        "out"
    );
    let nat = to(Packets::of(protocol::TCP));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
}

#[test]
fn what_a_nat_gateway_does_not_translate_does_not_pass_its_subnet() {
    let mut nat = with_acl(PUBLIC, vec![], vec![]);
    nat.config.gateways[0].no_translate = vec![NoTranslate {
        destination: Cidr::new(SERVER, 32),
        protocol: None,
        ports: None,
    }];
    passes(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
    let gre = PacketBuilder::ip(PRIVATE_A, OTHER_SERVER, protocol::GRE);
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &gre.clone().build());
    assert_eq!(reason, DropReason::NetworkAcl);
    let mut nat = with_acl(PUBLIC, all(), all());
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &gre.build());
    assert_eq!(reason, DropReason::UnsupportedProtocol);
}

#[test]
fn a_nat_gateway_in_the_client_s_subnet_has_no_boundary_between() {
    let mut nat = with_acl(PRIVATE, all(), only(SERVER, Packets::ALL));
    nat.config.gateways[0].subnet = PRIVATE;
    // Not through itself.
    let exit = route("198.51.100.80/32", Target::InternetGateway);
    nat.config.subnets[PRIVATE].routes.push(exit);
    nat.config.subnets[2].routes = vec![route("0.0.0.0/0", Target::NatGateway(0))];
    nat.config.vpcs[0].network_acls[0].ingress = only(SERVER, Packets::ALL);
    let mut own = nat.clone();
    own.config.gateways[0].forwards = vec![dns()];
    let asked = udp(SERVER, NAT_PUBLIC);
    assert!(goes(&own, Side::Uplink, &asked), "in, and not out again");
    let packet = by_appliance(udp(APPLIANCE, SERVER));
    let reason = dropped(&mut nat.clone(), MIDDLE_SUBNET, &packet);
    assert_eq!(reason, Refused, "from another subnet");
    nat.config.vpcs[0].network_acls[0].ingress = all();
    let out = sent(&mut nat, MIDDLE_SUBNET, &packet);
    let answer = PacketBuilder::udp(out.destination(), out.source());
    assert!(
        !goes(&nat, Side::Uplink, &answer),
        "not out to the appliance"
    );
}

#[test]
fn an_answer_meets_the_acls_of_the_nat_gateway_s_and_the_client_s_subnets() {
    let open = |nat: &mut Model| {
        let mut config = nat.config.clone();
        config
            .subnets
            .iter_mut()
            .for_each(|subnet| subnet.acl = None);
        let closed = std::mem::replace(&mut nat.config, config);
        let out = sent(nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
        nat.config = closed;
        PacketBuilder::udp(out.destination(), out.source())
    };
    let public_port = Packets::to_ports(protocol::UDP, 6000..=6000);
    let inside_port = Packets::to_ports(protocol::UDP, 5000..=5000);
    let rows = [
        (
            PUBLIC,
            only(SERVER, public_port.clone()),
            only(PRIVATE_A, inside_port.clone()),
            true,
        ),
        (PUBLIC, only(OTHER_SERVER, Packets::ALL), all(), false),
        (PUBLIC, only(SERVER, inside_port.clone()), all(), false),
        (PUBLIC, all(), only(PRIVATE_A, public_port.clone()), false),
        (PUBLIC, all(), only(SERVER, Packets::ALL), false),
        (PRIVATE, only(SERVER, inside_port), vec![], true),
        (PRIVATE, only(SERVER, public_port), vec![], false),
        (PRIVATE, only(NAT_PUBLIC, Packets::ALL), all(), false),
    ];
    for (subnet, ingress, egress, expected) in rows {
        let mut nat = with_acl(subnet, ingress, egress);
        nat.config.gateways[0].ports = vec![6000..=6000];
        let answer = open(&mut nat);
        let acl = &nat.config.vpcs[0].network_acls;
        assert_eq!(goes(&nat, Side::Uplink, &answer), expected, "{acl:?}");
    }
}

#[test]
fn a_forward_meets_the_same_acls_and_leaves_the_host_what_is_its_own() {
    let mut nat = with_acl(PUBLIC, vec![], all());
    nat.config.gateways[0].shared_with_host = true;
    nat.config.gateways[0].forwards = vec![dns()];
    assert!(!goes(&nat, Side::Uplink, &udp(SERVER, NAT_PUBLIC)));
    let host = PacketBuilder::udp(at(SERVER, 53), at(NAT_PUBLIC, 54));
    passes(&mut nat, Side::Uplink, &host.build());
}

#[test]
fn from_outside_to_a_public_ip_the_instance_s_subnet_is_asked() {
    let nat = with_acl(PUBLIC, only(SERVER, Packets::ALL), vec![]);
    assert!(goes(&nat, Side::Uplink, &udp(SERVER, WEB_PUBLIC)));
    assert!(!goes(&nat, Side::Uplink, &udp(OTHER_SERVER, WEB_PUBLIC)));
    assert!(!goes(&nat, PUBLIC_SUBNET, &udp(WEB_PRIVATE, SERVER)));
}

#[test]
fn a_hairpin_leaves_as_to_the_outside_and_comes_in_from_its_public_end() {
    // By the NAT gateway, which is in the public subnet, too.
    let mut ingress = only(PRIVATE_A, Packets::ALL);
    ingress.extend(only(NAT_PUBLIC, Packets::ALL));
    let nat = with_acl(PUBLIC, ingress.clone(), only(WEB_PUBLIC, Packets::ALL));
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PUBLIC)));
    let nat = with_acl(PUBLIC, ingress[..1].to_vec(), all());
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PUBLIC)));
    let nat = with_acl(PUBLIC, ingress, only(WEB_PRIVATE, Packets::ALL));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PUBLIC)));
}

#[test]
fn the_subnet_of_an_instance_that_a_route_leads_to_is_asked() {
    let mut nat = with_acl(2, only(PRIVATE_A, Packets::ALL), vec![]);
    nat.config.subnets[PRIVATE].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_B, SERVER)));
}

#[test]
fn icmp_errors_are_packets_like_others_to_an_acl() {
    let quoted = udp(WEB_PRIVATE, PRIVATE_A).build();
    let error = PacketBuilder::icmp(PRIVATE_A, WEB_PRIVATE, 3, 3).quoting(&quoted, None);
    let unreachable = Packets {
        icmp: Some((3, None)),
        ..Packets::of(protocol::ICMP)
    };
    let allow = vec![AclRule::allow(1, unreachable)];
    assert!(goes(
        &with_acl(PRIVATE, vec![], allow),
        PRIVATE_SUBNET,
        &error
    ));
    let udp_alone = vec![AclRule::allow(1, Packets::of(protocol::UDP))];
    assert!(!goes(
        &with_acl(PRIVATE, vec![], udp_alone),
        PRIVATE_SUBNET,
        &error
    ));
}

#[test]
fn a_later_fragment_goes_where_its_first_one_went_when_an_acl_is_to_be_asked() {
    let rules = vec![AclRule::allow(1, Packets::to_ports(protocol::UDP, 53..=53))];
    let mut nat = with_acl(PRIVATE, vec![], rules);
    let whole = |port| {
        let packet = PacketBuilder::udp(at(PRIVATE_A, 5000), at(WEB_PRIVATE, port));
        fragments_of(&packet.id(port).payload_len(100).build(), 64)
    };
    let (good, bad) = (whole(53), whole(54));
    assert_eq!(nat.handle(NOW, PRIVATE_SUBNET, &good[1]), Output::Hold);
    let released = nat.handle(NOW, PRIVATE_SUBNET, &good[0]);
    assert!(matches!(released, Output::Release(all) if all.len() == 2));
    given(&mut nat, PRIVATE_SUBNET, &good[1]);
    assert_eq!(dropped(&mut nat, PRIVATE_SUBNET, &bad[0]), Refused);
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &bad[1]);
    assert_eq!(reason, DropReason::Fragment);
    // Without an ACL nobody needs to know.
    let mut nat = Model::new(picture());
    given(&mut nat, PRIVATE_SUBNET, &good[1]);
}

#[test]
fn no_acl_keeps_anybody_from_the_metadata() {
    for subnet in [PUBLIC, PRIVATE] {
        let nat = with_acl(subnet, vec![], vec![]);
        assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, METADATA)));
    }
}
