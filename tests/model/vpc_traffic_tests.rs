//! What random traffic meets in random VPCs, and how they are written down.

use std::collections::BTreeMap;

use super::group_tests::{everybody, group, rule};
use super::traffic_tests::with_traffic;
use super::vpc_tests::{picture, route};
use super::*;
use crate::packets::protocol;

#[test]
fn traffic_meets_everything_that_a_vpc_does() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..60 {
        let config = random_vpcs(seed);
        let traffic = random_traffic(seed, 1_500, &config).with_changes();
        with_traffic(traffic, config, |nat, ingress, frame, output| {
            let mut meets = |what| *seen.entry(what).or_default() += 1;
            match output {
                Output::Drop(reason) | Output::Refuse { reason, .. } => meets(reason.name()),
                Output::Forward {
                    egress, frame: out, ..
                } => {
                    let is_inside = ingress != Side::Uplink && *egress != Side::Uplink;
                    let is_local = is_inside && frame[26..34] == out[26..34];
                    meets(match (ingress, egress) {
                        _ if is_local => "local",
                        (Side::Uplink, _) => "in",
                        (_, Side::Uplink) => "out",
                        _ => "hairpin",
                    });
                    let source = [frame[26], frame[27], frame[28], frame[29]].into();
                    if let sender::Origin::Inside(sender) =
                        nat.config.origin(ingress, frame, source)
                        && sender.appliance.is_some()
                    {
                        meets("by an appliance");
                    }
                }
                _ => {}
            }
        });
    }
    let wanted = [
        ("out", 6_000),
        ("in", 6_000),
        ("hairpin", 500),
        ("local", 4_000),
        ("by an appliance", 500),
        ("security_group", 2_000),
        ("network_acl", 1_000),
        ("unlisted_source", 500),
        ("policy_changed", 8),
    ];
    for (what, least) in wanted {
        let count = seen.get(what).copied().unwrap_or(0);
        assert!(count >= least, "{what}: {seen:?}");
    }
}

#[test]
fn traffic_opens_sessions_of_every_kind() {
    let mut seen: BTreeMap<(&str, bool), u32> = BTreeMap::new();
    for seed in 0..60 {
        let config = random_vpcs(seed);
        let traffic = random_traffic(seed, 1_500, &config);
        let mut sessions = Vec::new();
        with_traffic(traffic, config, |nat, _, _, _| sessions = nat.sessions());
        for session in sessions {
            let is_answered = session.forward.packets > 0 && session.reverse.packets > 0;
            let kind = match session.via {
                Via::Local => "local",
                Via::Instance(_) => "to an instance",
                Via::InternetGateway => "1:1",
                Via::NatGateway(_) => "translated",
            };
            *seen.entry((kind, is_answered)).or_default() += 1;
        }
    }
    for kind in ["local", "to an instance", "1:1", "translated"] {
        for is_answered in [false, true] {
            let count = seen.get(&(kind, is_answered)).copied().unwrap_or(0);
            assert!(count >= 5, "{kind} {is_answered}: {seen:?}");
        }
    }
}

#[test]
fn a_third_of_the_random_vpcs_have_equal_addresses() {
    let configs = (0..300).map(random_vpcs);
    let several: Vec<_> = configs.filter(|config| config.vpcs.len() > 1).collect();
    let equal = several
        .iter()
        .filter(|config| config.vpcs[0].cidrs == config.vpcs[1].cidrs);
    let (equal, all) = (equal.count(), several.len());
    assert!(
        all > 150 && (all / 4..all / 2).contains(&equal),
        "{equal} of {all}"
    );
}

#[test]
fn a_vpc_is_written_as_the_configuration_file_has_it() {
    let mut config = picture();
    config.gateways.clear();
    config.subnets.truncate(1);
    config.subnets[0].acl = Some(0);
    config.subnets[0].routes = vec![
        Route {
            destination: Destination::PrefixList(0),
            target: Target::Blackhole,
        },
        route("0.0.0.0/0", Target::Instance(1)),
    ];
    config.instances[1].subnet = 0;
    config.instances[1].private = "10.20.1.20".parse().unwrap();
    config.instances[0].groups = vec![0];
    let ping = Packets {
        icmp: Some((8, Some(0))),
        ..Packets::of(protocol::ICMP)
    };
    let vpc = &mut config.vpcs[0];
    vpc.strict = true;
    vpc.prefix_lists = vec![vec!["203.0.113.0/24".parse().unwrap()]];
    let mut ingress = vec![
        rule(
            Packets::to_ports(protocol::TCP, 80..=90),
            Peer::PrefixList(0),
        ),
        rule(ping, Peer::SecurityGroup(0)),
    ];
    ingress.extend(everybody());
    vpc.security_groups = vec![group(ingress, Some(vec![])), SecurityGroup::default()];
    let gre = AclRule::deny(7, Packets::of(protocol::GRE));
    vpc.network_acls = vec![NetworkAcl {
        ingress: vec![gre, AclRule::allow(8, Packets::ALL)],
        egress: vec![],
    }];
    assert_eq!(config.problems(), [""; 0]);
    let text = config.vpcs_toml(|number| format!("inside{number}"));
    assert_eq!(text, EXPECTED);
}

const EXPECTED: &str = r#"
[[vpc]]
name = "vpc-0"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true
strict = true

[[vpc.prefix_list]]
name = "list-0"
entries = ["203.0.113.0/24"]

[[vpc.security_group]]
name = "group-0"
ingress = [{ protocol = "tcp", ports = "80-90", source = "prefix-list:list-0" }, { protocol = "icmp", icmp_type = 8, icmp_code = 0, source = "security-group:group-0" }, { protocol = "all", source = "0.0.0.0/0" }]
egress = []

[[vpc.security_group]]
name = "group-1"

[[vpc.network_acl]]
name = "acl-0"
ingress = [{ rule = 7, action = "deny", protocol = 47, source = "0.0.0.0/0" }, { rule = 8, action = "allow", protocol = "all", source = "0.0.0.0/0" }]
egress = []

[[vpc.subnet]]
name = "subnet-0"
cidr = "10.20.1.0/24"
interface = "inside0"
route_table = "table-0"
network_acl = "acl-0"

[[vpc.route_table]]
name = "table-0"
routes = [{ destination = "prefix-list:list-0", target = "blackhole" }, { destination = "0.0.0.0/0", target = "instance:instance-1" }]

[[vpc.instance]]
name = "instance-0"
subnet = "subnet-0"
private_ip = "10.20.1.10"
public_ip = "198.51.100.20"
security_groups = ["group-0"]

[[vpc.instance]]
name = "instance-1"
subnet = "subnet-0"
private_ip = "10.20.1.20"
source_dest_check = false
mac = "02:00:00:00:00:20"
"#;
