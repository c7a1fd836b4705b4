//! Tests of security groups.

use std::net::Ipv4Addr;

use super::policy::METADATA;
use super::tests::*;
use super::vpc_tests::*;
use super::*;
use crate::packets::addresses::{
    NAT_PUBLIC, OTHER_SERVER, PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC,
};
use crate::packets::{PacketBuilder, protocol, tcp_flags};

use DropReason::SecurityGroup as Refused;

/// Instances of the picture: `web` has a public IP, `db` is [`PRIVATE_A`].
pub(super) const WEB: usize = 0;
pub(super) const DB: usize = 2;

pub(super) fn rule(packets: Packets, peer: Peer) -> GroupRule {
    GroupRule { packets, peer }
}

pub(super) fn everybody() -> Vec<GroupRule> {
    vec![rule(Packets::ALL, Peer::Cidr(Cidr::EVERYWHERE))]
}

pub(super) fn only(peer: Ipv4Addr) -> Vec<GroupRule> {
    vec![rule(Packets::ALL, Peer::Cidr(Cidr::new(peer, 32)))]
}

pub(super) fn group(ingress: Vec<GroupRule>, egress: Option<Vec<GroupRule>>) -> SecurityGroup {
    SecurityGroup { ingress, egress }
}

/// The picture with these groups, of which this instance has the first, and a prefix
/// list that has the web instance.
pub(super) fn filtered(instance: usize, groups: Vec<SecurityGroup>) -> Model {
    let mut config = picture();
    config.instances.push(Instance::new(1, PRIVATE_A));
    config.vpcs[0].prefix_lists = vec![vec![Cidr::new(WEB_PRIVATE, 32)]];
    config.vpcs[0].security_groups = groups;
    config.instances[instance].groups = vec![0];
    Model::new(config)
}

pub(super) fn closed() -> Vec<SecurityGroup> {
    vec![group(vec![], Some(vec![]))]
}

/// Whether a packet goes anywhere, else it is dropped for a group.
#[track_caller]
pub(super) fn goes(nat: &Model, ingress: Side, packet: &PacketBuilder) -> bool {
    match nat.clone().handle(NOW, ingress, &packet.clone().build()) {
        Output::Forward { .. } => true,
        Output::Drop(Refused) => false,
        other => panic!("{other:?}"),
    }
}

pub(super) fn to_db() -> PacketBuilder {
    udp(WEB_PRIVATE, PRIVATE_A)
}

pub(super) fn from_db() -> PacketBuilder {
    udp(PRIVATE_A, WEB_PRIVATE)
}

#[test]
fn an_instance_without_groups_is_not_filtered() {
    let mut nat = filtered(DB, closed());
    nat.config.instances[DB].groups.clear();
    assert!(goes(&nat, PUBLIC_SUBNET, &to_db()));
    assert!(goes(&nat, PRIVATE_SUBNET, &from_db()));
}

#[test]
fn a_new_group_allows_nothing_in_and_everything_out() {
    let nat = filtered(DB, vec![SecurityGroup::default()]);
    assert!(!goes(&nat, PUBLIC_SUBNET, &to_db()));
    assert!(goes(&nat, PRIVATE_SUBNET, &from_db()));
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
    let nat = filtered(DB, closed());
    assert!(!goes(&nat, PRIVATE_SUBNET, &from_db()));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
    // Its neighbours meet it the same way.
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_B, PRIVATE_A)));
}

#[test]
fn what_one_group_of_an_instance_allows_is_allowed() {
    let groups = vec![group(vec![], None), group(only(WEB_PRIVATE), None)];
    let mut nat = filtered(DB, groups);
    assert!(!goes(&nat, PUBLIC_SUBNET, &to_db()));
    nat.config.instances[DB].groups = vec![0, 1];
    assert!(goes(&nat, PUBLIC_SUBNET, &to_db()));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_B, PRIVATE_A)));
}

#[test]
fn a_rule_looks_at_protocol_port_and_remote_end() {
    let packets = Packets::to_ports(protocol::UDP, 53..=54);
    let peer = Peer::Cidr(Cidr::new(WEB_PRIVATE, 32));
    let nat = filtered(DB, vec![group(vec![rule(packets, peer)], None)]);
    let from = at(WEB_PRIVATE, 53);
    for (packet, expected) in [
        (PacketBuilder::udp(from, at(PRIVATE_A, 54)), true),
        (PacketBuilder::udp(from, at(PRIVATE_A, 55)), false),
        (PacketBuilder::tcp(from, at(PRIVATE_A, 54)), false),
        (to_db().source(Ipv4Addr::new(10, 20, 1, 11)), false),
    ] {
        assert_eq!(goes(&nat, PUBLIC_SUBNET, &packet), expected, "{packet:?}");
    }
}

#[test]
fn a_rule_may_name_a_prefix_list_or_the_instances_of_a_group() {
    let by_list = vec![rule(Packets::ALL, Peer::PrefixList(0))];
    let by_group = vec![rule(Packets::ALL, Peer::SecurityGroup(1))];
    let groups = vec![group(by_list, Some(by_group.clone())), group(vec![], None)];
    let mut nat = filtered(DB, groups);
    assert!(goes(&nat, PUBLIC_SUBNET, &to_db()));
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_B, PRIVATE_A)));
    assert!(!goes(&nat, PRIVATE_SUBNET, &from_db()), "not in the group");
    nat.config.instances[WEB].groups = vec![1];
    nat.config.vpcs[0].security_groups[1].ingress = everybody();
    assert!(goes(&nat, PRIVATE_SUBNET, &from_db()));
    // By its public IP it is none of the VPC's instances.
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, WEB_PUBLIC)));
    nat.config.vpcs[0].security_groups[0].ingress = by_group;
    assert!(goes(&nat, PUBLIC_SUBNET, &to_db()));
}

#[test]
fn both_ends_of_a_local_flow_are_asked() {
    let open = || group(everybody(), None);
    let mut nat = filtered(DB, vec![open(), open()]);
    nat.config.instances[WEB].groups = vec![1];
    assert!(goes(&nat, PUBLIC_SUBNET, &to_db()));
    nat.config.vpcs[0].security_groups[1].egress = Some(vec![]);
    assert!(!goes(&nat, PUBLIC_SUBNET, &to_db()));
    nat.config.vpcs[0].security_groups = vec![group(vec![], None), open()];
    assert!(!goes(&nat, PUBLIC_SUBNET, &to_db()));
}

#[test]
fn groups_are_asked_after_routes_acls_and_targets() {
    let mut nat = filtered(DB, closed());
    let mut reason = |routes: Vec<Route>, acl| {
        nat.config.subnets[1].routes = routes;
        nat.config.subnets[1].acl = acl;
        nat.config.vpcs[0].network_acls = vec![NetworkAcl::default()];
        dropped(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build())
    };
    assert_eq!(reason(vec![], None), DropReason::NoRoute);
    let to = |target| vec![route("0.0.0.0/0", target)];
    assert_eq!(
        reason(to(Target::NatGateway(0)), Some(0)),
        DropReason::NetworkAcl
    );
    assert_eq!(
        reason(to(Target::InternetGateway), None),
        DropReason::NoPublicIp
    );
    assert_eq!(reason(to(Target::NatGateway(0)), None), Refused);
}

#[test]
fn a_refused_flow_takes_no_port_and_leaves_no_session() {
    let mut nat = filtered(DB, closed());
    for to in [SERVER, WEB_PRIVATE, WEB_PUBLIC] {
        let packet = udp(PRIVATE_A, to).build();
        assert_eq!(dropped(&mut nat, PRIVATE_SUBNET, &packet), Refused);
    }
    // What ends here anyway does neither.
    let mut nat = filtered(DB, vec![group(everybody(), None)]);
    let last_hop = from_db().ttl(1).build();
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &last_hop);
    assert_eq!(reason, DropReason::TtlExpired);
    assert!(nat.sessions().is_empty());
}

#[test]
fn a_client_of_a_nat_gateway_is_asked_when_it_opens_a_session() {
    let mut nat = filtered(DB, vec![group(vec![], Some(only(SERVER)))]);
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, OTHER_SERVER)));
    let out = sent(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
    let answer = PacketBuilder::udp(out.destination(), out.source());
    assert!(goes(&nat, Side::Uplink, &answer));
    nat.config.vpcs[0].security_groups = closed();
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER)));
    assert_eq!(nat.sessions().len(), 1);
}

#[test]
fn who_is_let_in_through_a_nat_gateway_is_asked_at_the_inside_port() {
    for protocol in [protocol::UDP, protocol::TCP] {
        let to_80 = Packets::to_ports(protocol, 80..=80);
        let peer = Peer::Cidr(Cidr::new(SERVER, 32));
        let mut nat = filtered(DB, vec![group(vec![rule(to_80, peer)], Some(vec![]))]);
        nat.config.gateways[0] = NatGateway {
            forwards: vec![Forward {
                protocol,
                public_ip: NAT_PUBLIC,
                ports: 8080..=8081,
                to: at(PRIVATE_A, 80),
            }],
            ..NatGateway::new(vec![NAT_PUBLIC]).rfc(Filtering::EndpointIndependent)
        };
        let packet = |from, to| match protocol {
            protocol::UDP => PacketBuilder::udp(from, to),
            _ => PacketBuilder::tcp(from, to).flags(tcp_flags::SYN),
        };
        let (client, public) = (at(SERVER, 5000), at(NAT_PUBLIC, 8080));
        let other_port = packet(client, at(NAT_PUBLIC, 8081));
        assert!(!goes(&nat, Side::Uplink, &other_port));
        let other = packet(at(OTHER_SERVER, 5000), public);
        assert!(!goes(&nat, Side::Uplink, &other));
        let opening = packet(client, public).build();
        forwarded(&mut nat, Side::Uplink, &opening, PRIVATE_SUBNET);
        assert_eq!(nat.sessions().len(), 1);
        // Its answers are not asked.
        assert!(goes(
            &nat,
            PRIVATE_SUBNET,
            &packet(at(PRIVATE_A, 80), client)
        ));
    }
}

#[test]
fn the_receiver_of_a_hairpin_is_asked_about_the_translated_sender() {
    for (peer, expected) in [(NAT_PUBLIC, true), (PRIVATE_B, false)] {
        let nat = filtered(WEB, vec![group(only(peer), None)]);
        let packet = udp(PRIVATE_B, WEB_PUBLIC);
        assert_eq!(goes(&nat, PRIVATE_SUBNET, &packet), expected);
    }
}

#[test]
fn an_appliance_is_asked_in_place_of_whom_it_sends_for() {
    let mut nat = filtered(1, closed());
    let packet = by_appliance(udp(FOREIGN, WEB_PRIVATE));
    assert_eq!(dropped(&mut nat, MIDDLE_SUBNET, &packet), Refused);
    let mut nat = filtered(DB, closed());
    given(&mut nat, MIDDLE_SUBNET, &by_appliance(from_db()));
    assert!(nat.sessions().is_empty());
    // To a receiver, too.
    let by_group = vec![rule(Packets::ALL, Peer::SecurityGroup(1))];
    let groups = vec![group(by_group, None), group(vec![], None)];
    let mut nat = filtered(WEB, groups);
    nat.config.instances[DB].groups = vec![1];
    assert!(goes(&nat, PRIVATE_SUBNET, &from_db()));
    let packet = by_appliance(from_db());
    assert_eq!(dropped(&mut nat, MIDDLE_SUBNET, &packet), Refused);
    nat.config.instances[1].groups = vec![1];
    given(&mut nat, MIDDLE_SUBNET, &packet);
}

#[test]
fn who_is_led_to_an_instance_meets_its_groups_and_its_answers_come_from_there() {
    let mut nat = filtered(1, vec![group(only(PRIVATE_A), Some(vec![]))]);
    nat.config.subnets[1].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    assert!(!goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_B, SERVER)));
    let answer = PacketBuilder::udp(at(SERVER, 53), at(PRIVATE_A, 5000));
    let answer = by_appliance(answer);
    assert_eq!(dropped(&mut nat, MIDDLE_SUBNET, &answer), Refused);
    given(&mut nat, PRIVATE_SUBNET, &udp(PRIVATE_A, SERVER).build());
    given(&mut nat, MIDDLE_SUBNET, &answer);
    assert_eq!(nat.sessions()[0].via, Via::Instance(1));
    // What it sends on for the client is a flow that it opens.
    let onward = by_appliance(udp(PRIVATE_A, SERVER));
    assert_eq!(dropped(&mut nat, MIDDLE_SUBNET, &onward), Refused);
}

#[test]
fn no_group_keeps_anybody_from_the_metadata() {
    let mut nat = filtered(DB, closed());
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, METADATA)));
    nat.config.subnets[1].routes = vec![route("0.0.0.0/0", Target::Instance(1))];
    assert!(goes(&nat, PRIVATE_SUBNET, &udp(PRIVATE_A, METADATA)));
}
