//! Tests of what another policy does to sessions.

use std::net::Ipv4Addr;

use super::group_tests::{DB, everybody, filtered, group};
use super::tests::*;
use super::vpc_tests::*;
use super::*;
use crate::packets::PacketBuilder;
use crate::packets::addresses::{PRIVATE_A, PRIVATE_B, SERVER, WEB_PRIVATE, WEB_PUBLIC};

/// A NAT with a session of [`out`] through its gateway.
fn with_session() -> Model {
    let mut config = picture();
    config.gateways.push(NatGateway {
        subnet: 2,
        ..NatGateway::new(vec![Ipv4Addr::new(198, 51, 100, 13)])
    });
    config.subnets[2].routes = vec![route("0.0.0.0/0", Target::InternetGateway)];
    let mut nat = Model::new(config);
    sent(&mut nat, PRIVATE_SUBNET, &out());
    nat
}

fn out() -> Vec<u8> {
    udp(PRIVATE_A, SERVER).build()
}

fn changed(nat: &mut Model, change: impl FnOnce(&mut ModelConfig)) {
    let mut config = nat.config().clone();
    change(&mut config);
    nat.apply(NOW, config);
}

#[test]
fn a_session_that_is_led_through_the_same_gateway_keeps_its_mapping() {
    let mut nat = with_session();
    let mapping = nat.sessions()[0].public;
    changed(&mut nat, |config| {
        // By another route, other ports for new ones, and past an ACL.
        let by_list = Route {
            destination: Destination::PrefixList(0),
            target: Target::NatGateway(0),
        };
        config.vpcs[0].prefix_lists = vec![vec![Cidr::new(SERVER, 32)]];
        config.vpcs[0].network_acls = vec![NetworkAcl::allowing_all()];
        config.subnets[1].routes = vec![by_list];
        config.subnets[1].acl = Some(0);
        config.gateways[0].ports = vec![2000..=2001];
    });
    assert_eq!(sent(&mut nat, PRIVATE_SUBNET, &out()).source(), mapping);
    let other = udp(PRIVATE_B, SERVER).build();
    assert_eq!(sent(&mut nat, PRIVATE_SUBNET, &other).source().port(), 2000);
}

#[test]
fn a_session_that_is_led_elsewhere_is_dropped() {
    let mut nat = with_session();
    changed(&mut nat, |config| {
        config.subnets[1].routes[0].target = Target::NatGateway(1);
    });
    let reason = dropped(&mut nat, PRIVATE_SUBNET, &out());
    assert_eq!(reason, DropReason::PolicyChanged);
    // New ones go there, and the old one's answers still come.
    let other = udp(PRIVATE_B, SERVER).build();
    let output = nat.handle(NOW, PRIVATE_SUBNET, &other);
    assert!(matches!(output, Output::Forward { .. }));
    let public = nat.sessions()[0].public;
    let answer = PacketBuilder::udp(at(SERVER, 53), public).build();
    forwarded(&mut nat, Side::Uplink, &answer, PRIVATE_SUBNET);
}

#[test]
fn a_session_does_not_stand_in_the_way_to_an_instance() {
    let mut nat = with_session();
    changed(&mut nat, |config| {
        config.subnets[1].routes[0].target = Target::Instance(1);
    });
    let to = given(&mut nat, PRIVATE_SUBNET, &out());
    assert_eq!(to, (MIDDLE_SUBNET, APPLIANCE));
    assert_eq!(nat.sessions().len(), 1);
}

#[test]
fn a_session_that_is_led_nowhere_is_dropped_for_that_reason() {
    type Change = fn(&mut ModelConfig);
    let rows: [(DropReason, Change); 5] = [
        (DropReason::NoRoute, |config| {
            config.subnets[1].routes.clear()
        }),
        (DropReason::Blackhole, |config| {
            config.subnets[1].routes[0].target = Target::Blackhole;
        }),
        (DropReason::NoPublicIp, |config| {
            config.subnets[1].routes[0].target = Target::InternetGateway;
        }),
        (DropReason::NetworkAcl, |config| {
            config.vpcs[0].network_acls = vec![NetworkAcl::default()];
            config.subnets[1].acl = Some(0);
        }),
        (DropReason::UnlistedSource, |config| {
            config.vpcs[0].strict = true
        }),
    ];
    for (expected, change) in rows {
        let mut nat = with_session();
        let before = nat.config().clone();
        changed(&mut nat, change);
        assert_eq!(dropped(&mut nat, PRIVATE_SUBNET, &out()), expected);
        nat.apply(NOW, before);
        sent(&mut nat, PRIVATE_SUBNET, &out());
    }
}

#[test]
fn a_tracked_flow_survives_the_rule_that_let_it_in() {
    let mut nat = filtered(DB, vec![group(everybody(), None)]);
    let to_db = |from| udp(from, PRIVATE_A).build();
    given(&mut nat, PUBLIC_SUBNET, &to_db(WEB_PRIVATE));
    changed(&mut nat, |config| {
        config.vpcs[0].security_groups = vec![group(vec![], Some(vec![]))];
    });
    given(&mut nat, PUBLIC_SUBNET, &to_db(WEB_PRIVATE));
    let answer = PacketBuilder::udp(at(PRIVATE_A, 53), at(WEB_PRIVATE, 5000)).build();
    given(&mut nat, PRIVATE_SUBNET, &answer);
    let new = dropped(
        &mut nat,
        PUBLIC_SUBNET,
        &to_db(Ipv4Addr::new(10, 20, 1, 11)),
    );
    assert_eq!(new, DropReason::SecurityGroup);
    // It is led elsewhere as others are.
    changed(&mut nat, |config| {
        config.subnets[0]
            .routes
            .push(route("10.40.2.0/24", Target::Instance(1)));
    });
    let led = given(&mut nat, PUBLIC_SUBNET, &to_db(WEB_PRIVATE));
    assert_eq!(led, (MIDDLE_SUBNET, APPLIANCE));
}

#[test]
fn a_flow_that_nobody_tracked_is_new_to_an_instance_s_first_group() {
    let mut nat = filtered(DB, vec![group(vec![], None)]);
    changed(&mut nat, |config| config.instances[DB].groups.clear());
    let packet = udp(WEB_PRIVATE, PRIVATE_A).build();
    given(&mut nat, PUBLIC_SUBNET, &packet);
    changed(&mut nat, |config| config.instances[DB].groups = vec![0]);
    let reason = dropped(&mut nat, PUBLIC_SUBNET, &packet);
    assert_eq!(reason, DropReason::SecurityGroup);
}

#[test]
fn sessions_whose_public_end_is_another_s_are_over() {
    let mut nat = with_session();
    changed(&mut nat, |config| {
        config.gateways[0].public_ips = vec![Ipv4Addr::new(198, 51, 100, 14)];
    });
    assert!(nat.sessions().is_empty());
    let mut nat = with_session();
    let public = nat.sessions()[0].public;
    let forward = |to| Forward {
        protocol: 17,
        public_ip: *public.ip(),
        ports: public.port()..=public.port(),
        to,
    };
    changed(&mut nat, |config| {
        config.gateways[0].shared_with_host = true;
        config.gateways[0].forwards = vec![forward(at(PRIVATE_A, 5000))];
    });
    assert_eq!(nat.sessions().len(), 1);
    changed(&mut nat, |config| {
        config.gateways[0].forwards = vec![forward(at(PRIVATE_B, 5000))];
    });
    assert!(nat.sessions().is_empty());
    let mut nat = filtered(0, vec![group(vec![], None)]);
    sent(&mut nat, PUBLIC_SUBNET, &udp(WEB_PRIVATE, SERVER).build());
    changed(&mut nat, |config| {
        config.instances[0].public = Some(WEB_PUBLIC)
    });
    assert_eq!(nat.sessions().len(), 1);
    changed(&mut nat, |config| config.instances[0].public = None);
    assert!(nat.sessions().is_empty());
}
