//! What prefix lists, security groups, network ACLs and the routes to instances mean.

use super::{edited, filtered, refused};
use crate::config::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

#[track_caller]
fn vpc(text: &str) -> Vpc {
    let config = parse("f", text).unwrap_or_else(|errors| panic!("{errors}"));
    config.vpcs.into_iter().next().unwrap()
}

const TCP: RuleProtocol = RuleProtocol::Number(6);
const UDP: RuleProtocol = RuleProtocol::Number(17);
const ICMP: RuleProtocol = RuleProtocol::Number(1);

#[test]
fn security_groups_say_what_is_allowed() {
    let vpc = vpc(&filtered(&[]));
    let rule = |protocol, ports, remote| GroupRule {
        protocol,
        ports,
        remote,
    };
    let range = |first, last| Ports::Range(PortRange { first, last });
    let echo = Ports::Icmp {
        icmp_type: 8,
        code: Some(0),
    };
    let unreachable = Ports::Icmp {
        icmp_type: 3,
        code: None,
    };
    assert_eq!(
        vpc.security_groups[0],
        SecurityGroup {
            name: "web".into(),
            ingress: vec![
                rule(TCP, range(80, 80), Remote::Cidr(net("0.0.0.0/0"))),
                rule(
                    UDP,
                    range(5000, 5010),
                    Remote::PrefixList("partners".into())
                ),
                rule(ICMP, echo, Remote::Group("web".into())),
                rule(
                    RuleProtocol::Number(47),
                    Ports::All,
                    Remote::Cidr(net("10.40.2.0/24"))
                ),
            ],
            egress: vec![rule(ICMP, unreachable, Remote::Cidr(net("10.0.0.0/8")))],
        }
    );
    assert_eq!(vpc.instances[0].security_groups, ["web", "admin"]);
    assert!(vpc.instances[1].security_groups.is_empty());
}

#[test]
fn a_new_group_lets_nothing_in_and_everything_out() {
    let group =
        |text: &str| vpc(&filtered(&[("  name = \"admin\"\n", text)])).security_groups[1].clone();
    let new = group("  name = \"admin\"\n");
    assert!(new.ingress.is_empty());
    let everything = GroupRule {
        protocol: RuleProtocol::All,
        ports: Ports::All,
        remote: Remote::Cidr(net("0.0.0.0/0")),
    };
    assert_eq!(new.egress, [everything]);
    let closed = group("  name = \"admin\"\n  ingress = []\n  egress = []\n");
    assert!(closed.ingress.is_empty() && closed.egress.is_empty());
}

#[test]
fn protocols_by_number_are_the_same_as_by_name() {
    let first = |from: &str, to: &str| {
        vpc(&filtered(&[(from, to)])).security_groups[0]
            .ingress
            .clone()
    };
    let written = vpc(&filtered(&[])).security_groups[0].ingress.clone();
    assert_eq!(
        first(
            "protocol = \"tcp\", ports = \"80\"",
            "protocol = 6, ports = \"80\""
        ),
        written
    );
    assert_eq!(first("protocol = \"udp\"", "protocol = 17"), written);
    assert_eq!(
        first(
            "protocol = \"icmp\", icmp_type = 8",
            "protocol = 1, icmp_type = 8"
        ),
        written
    );
    assert_eq!(
        first("protocol = 47", "protocol = 0")[3].protocol,
        RuleProtocol::Number(0)
    );
    assert_eq!(
        first("protocol = 47", "protocol = 255")[3].protocol,
        RuleProtocol::Number(255)
    );
}

#[test]
fn acl_rules_are_in_the_order_of_their_numbers() {
    let vpc = vpc(&filtered(&[]));
    let acl = &vpc.network_acls[0];
    assert_eq!(
        acl.ingress,
        [
            AclRule {
                number: 100,
                allow: false,
                protocol: TCP,
                ports: Ports::Range(PortRange {
                    first: 23,
                    last: 23
                }),
                remote: net("198.51.100.0/24"),
            },
            AclRule {
                number: 200,
                allow: true,
                protocol: RuleProtocol::All,
                ports: Ports::All,
                remote: net("0.0.0.0/0"),
            },
        ]
    );
    assert_eq!(acl.egress.len(), 1);
    assert_eq!(acl.egress[0].number, 1);
    let closed = &vpc.network_acls[1];
    assert!(closed.ingress.is_empty() && closed.egress.is_empty());
}

#[test]
fn a_subnet_has_its_own_acl_or_the_default_one_or_none() {
    let own = (
        "  route_table = \"private\"\n",
        "  route_table = \"private\"\n  network_acl = \"closed\"\n",
    );
    let with_default = vpc(&filtered(&[own]));
    let names = |vpc: &Vpc| {
        let subnets = vpc.subnets.iter();
        let names = subnets.map(|subnet| Some(vpc.acl_of(subnet)?.name.clone()));
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&with_default),
        [Some("default".into()), Some("closed".into())]
    );
    let without = vpc(&filtered(&[
        own,
        ("name = \"default\"", "name = \"other\""),
    ]));
    assert_eq!(names(&without), [None, Some("closed".into())]);
}

#[test]
fn instances_check_source_and_destination_unless_told_not_to() {
    let vpc = vpc(&filtered(&[(
        "security_groups = [\"web\", \"admin\"]",
        "source_dest_check = true\n  mac = \"0e:AA:bb:00:ff:01\"",
    )]));
    assert!(vpc.instances[0].source_dest_check);
    assert_eq!(vpc.instances[0].mac, Some([0x0e, 0xaa, 0xbb, 0, 0xff, 1]));
    assert!(!vpc.instances[1].source_dest_check);
    assert_eq!(vpc.instances[1].mac, Some([2, 0, 0, 0, 0, 10]));
    assert_eq!(
        super::valid_filtering::vpc(&edited(&[])).instances[0].mac,
        None
    );
}

#[test]
fn a_mac_may_be_on_two_interfaces() {
    vpc(&filtered(&[
        (
            "security_groups = [\"web\", \"admin\"]",
            "mac = \"02:00:00:00:00:0a\"",
        ),
        (
            "name = \"proxy\"\n  subnet = \"public-a\"",
            "name = \"proxy\"\n  subnet = \"private-a\"",
        ),
        ("\"10.20.1.11\"", "\"10.40.2.11\""),
    ]));
}

#[test]
fn a_written_route_beats_a_prefix_list_and_an_earlier_list_a_later_one() {
    let text = filtered(&[
        (
            "  [[vpc.prefix_list]]\n",
            "  [[vpc.prefix_list]]\n  name = \"first\"\n  entries = [\"198.18.0.0/15\", \"203.0.113.0/24\", \"192.0.2.0/24\"]\n\
             \x20 [[vpc.prefix_list]]\n",
        ),
        (
            "    { destination = \"192.0.2.0/24\", target = \"blackhole\" },\n",
            "    { destination = \"prefix-list:first\", target = \"nat-gateway:egress\" },\n\
             \x20   { destination = \"192.0.2.0/24\", target = \"blackhole\" },\n",
        ),
    ]);
    let vpc = vpc(&text);
    let table = vpc
        .route_tables
        .iter()
        .find(|table| table.name == "by-proxy")
        .unwrap();
    let mut entries: Vec<(String, &Target)> = table
        .entries(&vpc)
        .map(|(prefix, target)| (prefix.to_string(), target))
        .collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let proxy = Target::Instance("proxy".into());
    assert_eq!(
        entries,
        [
            ("10.40.2.0/24".to_owned(), &proxy),
            ("192.0.2.0/24".to_owned(), &Target::Blackhole),
            (
                "198.18.0.0/15".to_owned(),
                &Target::NatGateway("egress".into())
            ),
            ("203.0.113.0/24".to_owned(), &proxy),
        ]
    );
}

#[test]
fn parts_of_the_vpc_may_be_routed_elsewhere() {
    for target in ["instance:proxy", "nat-gateway:egress", "blackhole", "local"] {
        let route = format!("\"10.40.2.0/24\", target = \"{target}\"");
        vpc(&filtered(&[(
            "\"10.40.2.0/24\", target = \"instance:proxy\"",
            &route,
        )]));
    }
}

#[test]
fn a_list_may_be_the_way_to_the_internet() {
    // The NAT gateway's subnet reaches it by a prefix list alone.
    vpc(&filtered(&[(
        "[{ destination = \"0.0.0.0/0\", target = \"internet-gateway\" }]",
        "[{ destination = \"prefix-list:partners\", target = \"internet-gateway\" }]",
    )]));
}

/// A second VPC with the addresses of the first.
const TWIN: &str = r#"
[[vpc]]
name = "twin"
cidrs = ["10.20.0.0/16", "10.40.2.0/24"]
internet_gateway = true
  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  interface = "br-twin"
  route_table = "out"
  [[vpc.route_table]]
  name = "out"
  routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]
  [[vpc.nat_gateway]]
  name = "egress"
  subnet = "public-a"
  private_ip = "10.20.1.100"
  public_ips = ["198.51.100.11"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "8080", to = "10.20.1.11:80" }]
  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.21"
  mac = "02:00:00:00:00:0a"
  security_groups = ["own"]
  [[vpc.security_group]]
  name = "own"
"#;

#[test]
fn vpcs_may_have_the_same_addresses_and_names_of_parts() {
    let config = parse("f", &(filtered(&[]) + TWIN)).unwrap_or_else(|errors| panic!("{errors}"));
    let [main, twin] = config.vpcs.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(main.cidrs[0], twin.cidrs[0]);
    assert_eq!(main.instances[0].private_ip, twin.instances[0].private_ip);
}

#[test]
fn what_is_outside_belongs_to_one_vpc() {
    let line = |text: &str| {
        let whole = filtered(&[]) + TWIN;
        1 + whole[..whole.rfind(text).unwrap()].matches('\n').count()
    };
    let twin = |from: &str, to: &str| refused(&(filtered(&[]) + &TWIN.replace(from, to)));
    assert_eq!(
        twin("\"br-twin\"", "\"br-public\""),
        [format!(
            "f:{}: vpc \"twin\" / subnet \"public-a\" / interface: interface \"br-public\" already \
                 belongs to VPC \"main\" (line 15); give each VPC interfaces of its own",
            line("br-twin")
        ),]
    );
    assert_eq!(
        twin("\"198.51.100.21\"", "\"198.51.100.20\""),
        [format!(
            "f:{}: vpc \"twin\" / instance \"web\" / public_ip: public address 198.51.100.20 is already \
             on line 43; give each NAT gateway and instance public addresses of its own",
            line("198.51.100.21")
        )]
    );
    // Outside both: in one of the two is not enough.
    assert_eq!(
        twin("\"198.51.100.21\"", "\"10.40.7.1\""),
        [format!(
            "f:{}: vpc \"twin\" / instance \"web\" / public_ip: public address 10.40.7.1 lies in \
             10.40.0.0/16 of VPC \"main\"; use an address outside every VPC",
            line("198.51.100.21")
        )]
    );
    assert_eq!(
        twin("security_groups = [\"own\"]", "security_groups = [\"web\"]"),
        [format!(
            "f:{}: vpc \"twin\" / instance \"web\" / security_groups[0]: there is no security group \
             \"web\"; define it or name one this VPC has: \"own\"",
            line("security_groups")
        )]
    );
}

#[test]
fn private_gateways_translate_to_addresses_of_their_own() {
    let private = |vpc: &str| {
        format!(
            "  [[vpc.nat_gateway]]\n  name = \"{vpc}\"\n  subnet = \"public-a\"\n  private_ip = \"10.20.1.50\"\n"
        )
    };
    let both = filtered(&[]) + &private("one") + TWIN + &private("two");
    let lines: Vec<usize> = both
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("10.20.1.50"))
        .map(|(number, _)| number + 1)
        .collect();
    assert_eq!(
        refused(&both),
        [format!(
            "f:{}: vpc \"twin\" / nat_gateway \"two\" / private_ip: 10.20.1.50 is already translated to on \
             line {}; choose another: a private NAT gateway translates to its private_ip, which is then \
             unique in the whole file",
            lines[1], lines[0]
        )]
    );
}
