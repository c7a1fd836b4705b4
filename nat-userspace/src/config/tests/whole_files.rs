//! Mistakes that one edit of the sample does not show: empty files, many at once, limits, and
//! whether the reference names every key.

use super::{SAMPLE, edited, refused};
use crate::config::{ConfigError, ConfigErrors, parse};

#[test]
fn an_empty_file_is_told_what_a_configuration_is() {
    for text in ["", "\n\n", "# nothing yet\n"] {
        assert_eq!(
            refused(text),
            [
                "f:1: node, vpc: the configuration is empty; a smallest one has [node] with uplink = \
                 [\"eth0\"] and a [[vpc]] with a name and cidrs; docs/configuration.md shows a whole one"
            ]
        );
    }
}

#[test]
fn a_node_alone_is_not_enough() {
    assert_eq!(
        refused("[node]\nuplink = [\"eth0\"]\n"),
        ["f:1: vpc: no VPC is defined; add [[vpc]] with a name and cidrs"]
    );
    assert_eq!(
        refused("vpc = []\nnode.uplink = [\"eth0\"]\n"),
        ["f:1: vpc: no VPC is defined; add [[vpc]] with a name and cidrs"]
    );
}

#[test]
fn a_subnet_before_any_vpc_is_still_read() {
    assert_eq!(
        refused("node.uplink = [\"eth0\"]\n[[vpc.subnet]]\nname = \"a\"\ninterface = \"eth1\"\n"),
        [
            "f:2: vpc[0] / subnet \"a\" / cidr: required key is missing; add cidr = \"10.20.1.0/24\"",
            "f:2: vpc: expected an array of tables, found a table; write [[vpc]] with a name and cidrs",
            "f:2: vpc[0] / name: required key is missing; add name = \"main\"",
            "f:2: vpc[0] / cidrs: required key is missing; add cidrs = [\"10.20.0.0/16\"]",
        ]
    );
}

#[test]
fn all_mistakes_are_named_at_once_in_the_order_of_the_file() {
    let text = edited(&[
        ("attach = \"auto\"  ", "atach = \"auto\""),
        ("name = \"main\"", "name = \"the main one\""),
        ("\"10.40.2.0/24\"", "\"10.40.2.7/24\""),
        ("route_table = \"private\"", "route_table = \"privat\""),
        ("\"nat-gateway:egress\"", "\"nat-gateway:exit\""),
        ("\"10.20.1.100\"", "\"10.20.1.2\""),
        ("\"198.51.100.10\"", "\"198.51.100.20\""),
        (
            "public_ip = \"198.51.100.20\"",
            "public_ip = \"198.51.100.20\"\n  security_groups = []",
        ),
    ]);
    let ConfigErrors(errors) = parse("f", &text).unwrap_err();
    let found: Vec<(usize, &str)> = errors.iter().map(|e| (e.line, e.key.as_str())).collect();
    assert_eq!(
        found,
        [
            (4, "node / atach"),
            (7, "vpc[0] / name"),
            (20, "vpc[0] / subnet \"private-a\" / cidr"),
            (23, "vpc[0] / subnet \"private-a\" / route_table"),
            (31, "vpc[0] / route_table \"private\" / routes[0] / target"),
            (36, "vpc[0] / nat_gateway \"egress\" / private_ip"),
            (43, "vpc[0] / instance \"web\" / public_ip"),
            (44, "vpc[0] / instance \"web\" / security_groups"),
        ]
    );
}

#[test]
fn a_mistake_does_not_drag_others_along() {
    // Each leaves out or breaks something that other parts refer to.
    for (from, to) in [
        ("name = \"public-a\"", "name = \"public a\""),
        ("\"10.20.1.0/24\"", "\"10.20.1.0/240\""),
        ("\"10.20.0.0/16\"", "\"10.20.0.0/160\""),
        ("target = \"internet-gateway\"", "target = \"internet\""),
        ("internet_gateway = true", "internet_gateway = 1"),
        ("route_table = \"public\"", "route_table = 1"),
        ("route_table = \"public\"", "route_table = \"publik\""),
    ] {
        let text = edited(&[(from, to)]);
        let text = text.replace(
            "subnet = \"public-a\"",
            match to {
                "name = \"public a\"" => "subnet = \"public a\"",
                _ => "subnet = \"public-a\"",
            },
        );
        let errors = refused(&text);
        assert_eq!(errors.len(), 1, "{to}: {errors:#?}");
    }
}

#[test]
fn columns_count_characters() {
    let text = SAMPLE
        .replace("[\"eth0\"]", "[\"\u{e4}\u{f6}\", 5, 6, \"\u{e4}\", 7]")
        .replace("attach = \"auto\"  ", "attach = 1");
    let ConfigErrors(errors) = parse("f", &text).unwrap_err();
    let found: Vec<(usize, usize)> = errors.iter().map(|e| (e.line, e.column)).collect();
    assert_eq!(found, [(3, 17), (3, 20), (3, 28), (4, 1)]);
}

fn big(subnets: usize, gateways: usize, tables: usize, routes: usize) -> String {
    let mut text = String::from(
        "[node]\nuplink = [\"eth0\"]\n[[vpc]]\nname = \"v\"\ncidrs = [\"10.0.0.0/8\"]\n",
    );
    for n in 0..subnets {
        let cidr = format!("10.{}.{}.{}/28", n >> 12, (n >> 4) & 255, (n & 15) << 4);
        text +=
            &format!("[[vpc.subnet]]\nname = \"s{n}\"\ncidr = \"{cidr}\"\ninterface = \"eth1\"\n");
    }
    for n in 0..gateways {
        let address = format!("10.{}.{}.{}", n >> 12, (n >> 4) & 255, ((n & 15) << 4) + 4);
        text += &format!(
            "[[vpc.nat_gateway]]\nname = \"g{n}\"\nsubnet = \"s{n}\"\nprivate_ip = \"{address}\"\n"
        );
    }
    for n in 0..tables {
        text += &format!("[[vpc.route_table]]\nname = \"t{n}\"\n");
    }
    text += "[[vpc.route_table]]\nname = \"long\"\nroutes = [\n";
    for n in 0..routes {
        text += &format!(
            "{{ destination = \"192.{}.{}.0/24\", target = \"blackhole\" }},\n",
            n >> 8,
            n & 255
        );
    }
    text + "]\n"
}

#[test]
fn limits_hold_and_one_more_is_refused() {
    assert!(parse("f", &big(4096, 4096, 255, 500)).is_ok());
    for (text, expected) in [
        (
            big(65_536, 0, 0, 0),
            "f:262146: vpc \"v\" / subnet \"s65535\": too many subnets in all VPCs together: 65536; keep at most 65535",
        ),
        (
            big(4097, 4097, 0, 0),
            "f:32778: vpc \"v\" / nat_gateway \"g4096\": too many NAT gateways in all VPCs together: 4097; keep at most 4096",
        ),
        (
            big(0, 0, 256, 0),
            "f:518: vpc \"v\" / route_table \"long\": too many route tables in a VPC: 257; keep at most 256",
        ),
        (
            big(0, 0, 0, 502),
            "f:509: vpc \"v\" / route_table \"long\" / routes[500]: too many routes in a table: 502; keep at most 500: a prefix list counts as its entries",
        ),
    ] {
        assert_eq!(refused(&text), [expected]);
    }
}

#[test]
fn a_subnet_too_small_for_any_host_is_said_to_be() {
    let errors = refused(&edited(&[
        ("\"10.20.1.0/24\"", "\"10.20.1.8/30\""),
        ("\"10.20.1.100\"", "\"10.20.1.10\""),
        (
            "\"10.20.1.10\"\n  public_ip =",
            "\"10.20.1.11\"\n  public_ip =",
        ),
    ]));
    assert_eq!(
        errors[0],
        "f:36: vpc \"main\" / nat_gateway \"egress\" / private_ip: 10.20.1.10 is reserved: the first four \
         addresses and the last of a subnet are; make subnet \"public-a\" larger: all of 10.20.1.8/30 is reserved"
    );
    assert_eq!(errors.len(), 2);
}

/// Every known key is listed by the error for an unknown one, so the reference can be held to it.
#[test]
fn the_reference_names_every_key_and_its_examples_are_valid() {
    let reference = include_str!("../../../../docs/configuration.md");
    let text = "x = 1\n[node]\nx = 1\n[[vpc]]\nx = 1\nsubnet = [{ x = 1 }]\ninstance = [{ x = 1 }]\n\
                route_table = [{ x = 1, routes = [{ x = 1 }] }]\nnat_gateway = [{ x = 1, timeouts = { x = 1 }, forward = [{ x = 1 }], \
                no_translate = [{ x = 1 }], address_ports = [{ x = 1 }] }]\n\
                prefix_list = [{ x = 1 }]\nsecurity_group = [{ x = 1, ingress = [{ x = 1 }], egress = [{ x = 1 }] }]\n\
                network_acl = [{ x = 1, ingress = [{ x = 1 }], egress = [{ x = 1 }] }]\n\
                rack = [{ x = 1 }]\nhost = [{ x = 1 }]\nplacement_group = [{ x = 1 }]\n\
                target_group = [{ x = 1, health_check = { x = 1 } }]\nload_balancer = [{ x = 1, listeners = [{ x = 1 }] }]\n\
                endpoint_service = [{ x = 1 }]\nendpoint = [{ x = 1, policy = [{ x = 1 }], interfaces = [{ x = 1 }] }]\n\
                proxy = [{ x = 1 }]\n";
    let ConfigErrors(errors) = parse("f", text).unwrap_err();
    let unknown: Vec<&ConfigError> = errors
        .iter()
        .filter(|e| e.message == "unknown key")
        .collect();
    assert_eq!(unknown.len(), 31);
    for error in unknown {
        let (_, keys) = error.remedy.split_once("known keys here: ").unwrap();
        for key in keys.split(", ") {
            assert!(
                reference.contains(&format!("| `{key}` |")),
                "{key} of {}",
                error.key
            );
        }
    }
    let examples: Vec<&str> = reference
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        if let Err(errors) = parse("docs/configuration.md", example) {
            panic!("{errors}\n{example}");
        }
    }
}

#[test]
fn the_packaged_example_is_valid() {
    let example = include_str!("../../../../packaging/nat.toml");
    if let Err(errors) = parse("packaging/nat.toml", example) {
        panic!("{errors}");
    }
}
