//! Mistakes in prefix lists, security groups and network ACLs, and in what instances and subnets say
//! about them. Each is one edit of the sample that has them, with everything a user is shown about it.

use super::{filtered, refuse_each, refused};
use crate::config::parse;

refuse_each! {
    of filtered;
    empty_list: [r#"["203.0.113.0/24", "192.0.2.0/24"]"# => "[]"] gives [
        r#"f:55: vpc "main" / prefix_list "partners" / entries: the prefix list is empty; write at least one CIDR, as in entries = ["203.0.113.0/24"]"#,
    ];
    list_without_entries: [r#"  entries = ["203.0.113.0/24", "192.0.2.0/24"]
"# => ""] gives [
        r#"f:53: vpc "main" / prefix_list "partners" / entries: required key is missing; add entries = ["203.0.113.0/24"]"#,
    ];
    list_entry_twice: [r#"["203.0.113.0/24", "192.0.2.0/24"]"# => r#"["192.0.2.0/24", "192.0.2.0/24"]"#] gives [
        r#"f:55: vpc "main" / prefix_list "partners" / entries[1]: 192.0.2.0/24 is already on line 55; remove one of them"#,
    ];
    list_entry_with_host_bits: [r#"["203.0.113.0/24", "# => r#"["203.0.113.1/24", "#] gives [
        r#"f:55: vpc "main" / prefix_list "partners" / entries[0]: "203.0.113.1/24" has bits set behind its prefix; write "203.0.113.0/24""#,
    ];
    list_of_lists: [r#"["203.0.113.0/24", "# => r#"["prefix-list:partners", "#] gives [
        r#"f:55: vpc "main" / prefix_list "partners" / entries[0]: "prefix-list:partners" is not an IPv4 CIDR; write an address and a prefix length, as in "10.20.0.0/16""#,
    ];
    list_name_twice: [r#"  [[vpc.prefix_list]]
"# => r#"  [[vpc.prefix_list]]
  name = "partners"
  entries = ["198.18.0.0/15"]
  [[vpc.prefix_list]]
"#] gives [
        r#"f:57: vpc "main" / prefix_list "partners" / name: prefix list "partners" is already on line 54; give each a name of its own"#,
    ];
    list_without_a_name: [r#"  name = "partners"
"# => ""] gives [
        r#"f:53: vpc "main" / prefix_list[0] / name: required key is missing; add name = "main""#,
        r#"f:60: vpc "main" / security_group "web" / ingress[1] / source: there is no prefix list "partners"; define the prefix list first: this VPC has none"#,
        r#"f:83: vpc "main" / route_table "by-proxy" / routes[0] / destination: there is no prefix list "partners"; define the prefix list first: this VPC has none"#,
    ];
    group_name_twice: [r#"  name = "admin""# => r#"  name = "web""#, r#"["web", "admin"]"# => r#"["web"]"#] gives [
        r#"f:68: vpc "main" / security_group "web" / name: security group "web" is already on line 58; give each a name of its own"#,
    ];
    acl_name_twice: [r#"name = "closed""# => r#"name = "default""#] gives [
        r#"f:79: vpc "main" / network_acl "default" / name: network ACL "default" is already on line 71; give each a name of its own"#,
    ];
    name_with_a_colon: [r#"name = "closed""# => r#"name = "clo:sed""#] gives [
        r#"f:79: vpc "main" / network_acl[1] / name: "clo:sed" has characters a name cannot have; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
    rules_are_text: [r#"egress = [{ protocol = "icmp", icmp_type = 3, destination = "10.0.0.0/8" }]"# => r#"egress = ["all"]"#] gives [
        r#"f:65: vpc "main" / security_group "web" / egress[0]: expected a table, found a string; write egress = [{ protocol = "all", destination = "0.0.0.0/0" }]"#,
    ];
    rule_without_protocol: [r#"{ protocol = 47, source"# => "{ source"] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / protocol: required key is missing; add protocol = "tcp""#,
    ];
    unknown_protocol: ["protocol = 47" => r#"protocol = "tpc""#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / protocol: "tpc" is not a protocol; did you mean "tcp"? allowed: "all", "tcp", "udp", "icmp", or a protocol's number from 0 to 255"#,
    ];
    foreign_protocol: ["protocol = 47" => r#"protocol = "sctp-over""#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / protocol: "sctp-over" is not a protocol; allowed: "all", "tcp", "udp", "icmp", or a protocol's number from 0 to 255"#,
    ];
    protocol_number_in_quotes: ["protocol = 47" => r#"protocol = "47""#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / protocol: "47" is not a protocol; write the number without quotes: 47"#,
    ];
    protocol_number_too_high: ["protocol = 47" => "protocol = 256"] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / protocol: 256 is out of range; use 0 to 255"#,
    ];
    protocol_is_a_list: ["protocol = 47" => r#"protocol = ["tcp", "udp"]"#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / protocol: expected a string or an integer, found an array; write protocol = "tcp""#,
    ];
    ports_without_tcp_or_udp: ["protocol = 47" => r#"protocol = 47, ports = "80""#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / ports: only TCP and UDP have ports; remove ports, or write protocol = "tcp" or "udp""#,
    ];
    ports_of_all: ["protocol = 47" => r#"protocol = "all", ports = "80""#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / ports: only TCP and UDP have ports; remove ports, or write protocol = "tcp" or "udp""#,
    ];
    port_zero: [r#"ports = "80""# => r#"ports = "0""#] gives [
        r#"f:60: vpc "main" / security_group "web" / ingress[0] / ports: port 0 cannot be used; use a port from 1 to 65535"#,
    ];
    port_as_a_number: [r#"ports = "80""# => "ports = 80"] gives [
        r#"f:60: vpc "main" / security_group "web" / ingress[0] / ports: expected a string, found an integer; write ports = "80""#,
    ];
    type_of_tcp: [r#"ports = "80""# => r#"ports = "80", icmp_type = 8"#] gives [
        r#"f:60: vpc "main" / security_group "web" / ingress[0] / icmp_type: only ICMP has types and codes; remove icmp_type and icmp_code, or write protocol = "icmp""#,
    ];
    code_without_a_type: ["icmp_type = 8, " => ""] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / icmp_code: a code says nothing without its type; add icmp_type, or remove icmp_code"#,
    ];
    type_too_high: ["icmp_type = 8," => "icmp_type = 256,"] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / icmp_type: 256 is out of range; use 0 to 255"#,
    ];
    code_too_high: ["icmp_code = 0" => "icmp_code = -1"] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / icmp_code: -1 is out of range; use 0 to 255"#,
    ];
    ingress_with_a_destination: [r#"47, source"# => "47, destination"] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / source: required key is missing; add source = "0.0.0.0/0""#,
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / destination: unknown key; remove it; known keys here: protocol, ports, icmp_type, icmp_code, source"#,
    ];
    source_in_an_unknown_list: [r#"source = "prefix-list:partners""# => r#"source = "prefix-list:partner""#] gives [
        r#"f:61: vpc "main" / security_group "web" / ingress[1] / source: there is no prefix list "partner"; did you mean "partners"? this VPC has: "partners""#,
    ];
    source_in_an_unknown_group: ["security-group:web" => "security-group:db"] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / source: there is no security group "db"; define it or name one this VPC has: "web", "admin""#,
    ];
    source_in_a_group_without_a_name: ["security-group:web" => "security-group:"] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / source: it names no security group; write "security-group:NAME""#,
    ];
    misspelt_source: ["security-group:web" => "securty-group:web"] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / source: "securty-group:web" is not a CIDR; did you mean "security-group:NAME"?"#,
    ];
    source_of_ipv6: ["security-group:web" => "::/0"] gives [
        r#"f:62: vpc "main" / security_group "web" / ingress[2] / source: "::/0" is not an IPv4 CIDR; write an IPv4 address: IPv6 is not supported in this version"#,
    ];
    deny_in_a_group: [r#"protocol = 47"# => r#"action = "deny", protocol = 47"#] gives [
        r#"f:63: vpc "main" / security_group "web" / ingress[3] / action: unknown key; remove it; known keys here: protocol, ports, icmp_type, icmp_code, source"#,
    ];
    acl_rule_twice: ["rule = 200" => "rule = 100"] gives [
        r#"f:74: vpc "main" / network_acl "default" / ingress[1] / rule: rule 100 is already on line 73; give each rule of a direction a number of its own"#,
    ];
    acl_rule_zero: ["rule = 200" => "rule = 0"] gives [
        r#"f:73: vpc "main" / network_acl "default" / ingress[0] / rule: 0 is out of range; use 1 to 32766"#,
    ];
    acl_rule_too_high: ["rule = 200" => "rule = 32767"] gives [
        r#"f:73: vpc "main" / network_acl "default" / ingress[0] / rule: 32767 is out of range; use 1 to 32766"#,
    ];
    acl_rule_without_a_number: ["rule = 200, " => ""] gives [
        r#"f:73: vpc "main" / network_acl "default" / ingress[0] / rule: required key is missing; add rule = 100"#,
    ];
    acl_action: [r#"action = "deny""# => r#"action = "drop""#] gives [
        r#"f:74: vpc "main" / network_acl "default" / ingress[1] / action: "drop" is not an action; allowed: "allow", "deny""#,
    ];
    acl_rule_with_icmp_ports: [r#"protocol = "icmp", destination"# => r#"protocol = "icmp", ports = "1", destination"#] gives [
        r#"f:76: vpc "main" / network_acl "default" / egress[0] / ports: only TCP and UDP have ports; remove ports, or write protocol = "tcp" or "udp""#,
    ];
    acl_rule_with_a_list: [r#""192.0.2.7/32""# => r#""prefix-list:partners""#] gives [
        r#"f:76: vpc "main" / network_acl "default" / egress[0] / destination: a network ACL's rule is about one CIDR; write one rule for each CIDR"#,
    ];
    acl_rule_with_a_group: [r#""192.0.2.7/32""# => r#""security-group:web""#] gives [
        r#"f:76: vpc "main" / network_acl "default" / egress[0] / destination: a network ACL's rule is about one CIDR; write one rule for each CIDR"#,
    ];
    acl_of_a_subnet: [r#"  route_table = "private"
"# => r#"  route_table = "private"
  network_acl = "close"
"#] gives [
        r#"f:24: vpc "main" / subnet "private-a" / network_acl: there is no network ACL "close"; did you mean "closed"? this VPC has: "default", "closed""#,
    ];
    no_groups: [r#"["web", "admin"]"# => "[]"] gives [
        r#"f:44: vpc "main" / instance "web" / security_groups: the list of security groups is empty; leave it out for an instance that is not filtered, or name a group whose ingress and egress are empty for one that nothing reaches"#,
    ];
    group_named_twice: [r#"["web", "admin"]"# => r#"["web", "web"]"#] gives [
        r#"f:44: vpc "main" / instance "web" / security_groups[1]: security group "web" is already on line 44; name each group once"#,
    ];
    unknown_group: [r#"["web", "admin"]"# => r#"["web", "admim"]"#] gives [
        r#"f:44: vpc "main" / instance "web" / security_groups[1]: there is no security group "admim"; did you mean "admin"? this VPC has: "web", "admin""#,
    ];
    group_as_text: [r#"["web", "admin"]"# => r#""web""#] gives [
        r#"f:44: vpc "main" / instance "web" / security_groups: expected an array of strings, found a string; write security_groups = ["web"]"#,
    ];
    one_group_alone: [r#"security_groups = ["web", "admin"]"# => r#"security_group = "web""#] gives [
        r#"f:44: vpc "main" / instance "web" / security_group: unknown key; did you mean security_groups? known keys here: name, subnet, private_ip, public_ip, security_groups, source_dest_check, mac, placement_group, partition, rack, host, running, metadata, metadata_hop_limit, metadata_tags, id, type, image, hostname, tags"#,
    ];
    no_check_without_a_mac: ["  mac = \"02:00:00:00:00:0a\"\n" => ""] gives [
        r#"f:46: vpc "main" / instance "proxy" / mac: required key is missing: an instance that may send from any address is known by its MAC address only; add mac = "02:00:00:00:00:0a""#,
    ];
    check_as_text: ["source_dest_check = false" => r#"source_dest_check = "no""#] gives [
        r#"f:50: vpc "main" / instance "proxy" / source_dest_check: expected true or false, found a string; write source_dest_check = false"#,
    ];
    mac_too_short: ["02:00:00:00:00:0a" => "02:00:00:00:0a"] gives [
        r#"f:51: vpc "main" / instance "proxy" / mac: "02:00:00:00:0a" is not a MAC address; write six pairs of hexadecimal digits, as in "02:00:00:00:00:0a""#,
    ];
    mac_too_long: ["02:00:00:00:00:0a" => "02:00:00:00:00:0a:0b"] gives [
        r#"f:51: vpc "main" / instance "proxy" / mac: "02:00:00:00:00:0a:0b" is not a MAC address; write six pairs of hexadecimal digits, as in "02:00:00:00:00:0a""#,
    ];
    mac_of_signs: ["02:00:00:00:00:0a" => "+2:00:00:00:00:0a"] gives [
        r#"f:51: vpc "main" / instance "proxy" / mac: "+2:00:00:00:00:0a" is not a MAC address; write six pairs of hexadecimal digits, as in "02:00:00:00:00:0a""#,
    ];
    mac_of_a_group: ["02:00:00:00:00:0a" => "01:00:5e:00:00:0a"] gives [
        r#"f:51: vpc "main" / instance "proxy" / mac: "01:00:5e:00:00:0a" is not the address of one interface; write the one that `ip link` shows in the instance"#,
    ];
    mac_of_zeros: ["02:00:00:00:00:0a" => "00:00:00:00:00:00"] gives [
        r#"f:51: vpc "main" / instance "proxy" / mac: "00:00:00:00:00:00" is not the address of one interface; write the one that `ip link` shows in the instance"#,
    ];
    mac_twice_on_an_interface: [r#"security_groups = ["web", "admin"]"# => r#"mac = "02:00:00:00:00:0A""#] gives [
        r#"f:51: vpc "main" / instance "proxy" / mac: the MAC address is already on line 44, on the same interface; give each instance the one of its own interface"#,
    ];
}

#[test]
fn a_mistake_here_does_not_drag_others_along() {
    // Each breaks something that other parts refer to or count.
    for (from, to) in [
        ("\"203.0.113.0/24\"", "\"203.0.113.0\""),
        ("ports = \"80\"", "ports = \"eighty\""),
        ("protocol = 47", "protocol = \"gre\""),
        ("icmp_type = 8", "icmp_type = \"8\""),
        ("rule = 200", "rule = \"200\""),
        ("source_dest_check = false", "source_dest_check = 0"),
        ("02:00:00:00:00:0a", "02-00-00-00-00-0a"),
        ("name = \"closed\"", "name = \"closed \""),
        ("[\"web\", \"admin\"]", "[\"web\", 1]"),
    ] {
        let errors = refused(&filtered(&[(from, to)]));
        assert_eq!(errors.len(), 1, "{to}: {errors:#?}");
    }
}

/// The file with `groups` more security groups, each of `rules` rules and one for a list of 100, and
/// an instance that is in all of them.
fn with_groups(groups: usize, rules: usize, direction: &str) -> String {
    let remote = match direction {
        "ingress" => "source",
        _ => "destination",
    };
    let names: Vec<String> = (0..groups).map(|n| format!("\"g{n}\"")).collect();
    let mut text = filtered(&[("[\"web\", \"admin\"]", &format!("[{}]", names.join(", ")))]);
    let entries: Vec<String> = (0..100).map(|n| format!("\"198.18.{n}.0/24\"")).collect();
    text += &format!(
        "  [[vpc.prefix_list]]\n  name = \"hundred\"\n  entries = [{}]\n",
        entries.join(", ")
    );
    for n in 0..groups {
        text += &format!("  [[vpc.security_group]]\n  name = \"g{n}\"\n  {direction} = [\n");
        for port in 1..=rules {
            text += &format!(
                "{{ protocol = \"tcp\", ports = \"{port}\", {remote} = \"10.0.0.0/8\" }},\n"
            );
        }
        text += &format!("{{ protocol = \"all\", {remote} = \"prefix-list:hundred\" }},\n  ]\n");
    }
    text
}

#[test]
fn an_instance_has_1000_rules_a_direction_and_a_list_counts_as_its_entries() {
    for direction in ["ingress", "egress"] {
        assert!(parse("f", &with_groups(4, 150, direction)).is_ok());
        assert_eq!(
            refused(&with_groups(4, 151, direction)),
            [format!(
                "f:44: vpc \"main\" / instance \"web\" / security_groups: its security groups have 1004 \
                 {direction} rules together, a prefix list counting as its entries; keep at most 1000: \
                 name fewer groups, or join rules"
            )]
        );
    }
}

#[test]
fn a_group_alone_has_1000_rules_a_direction() {
    for direction in ["ingress", "egress"] {
        assert!(parse("f", &with_groups(1, 900, direction)).is_ok());
        let errors = refused(&with_groups(2, 901, direction));
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(
            errors[0].ends_with(&format!(
                "/ security_group \"g0\" / {direction}[901]: too many {direction} rules in a security \
                 group: 1001 with this one, a prefix list counting as its entries; keep at most 1000"
            )),
            "{}",
            errors[0]
        );
    }
}

#[test]
fn an_instance_is_in_16_groups() {
    assert!(
        parse("f", &with_groups(16, 0, "ingress")).is_err(),
        "of 100 each"
    );
    let groups = |count: usize| {
        with_groups(count, 0, "ingress").replace("prefix-list:hundred", "10.0.0.0/8")
    };
    assert!(parse("f", &groups(16)).is_ok());
    assert_eq!(
        refused(&groups(17)),
        [
            "f:44: vpc \"main\" / instance \"web\" / security_groups[16]: too many security groups on an \
             instance: 17; keep at most 16"
        ]
    );
}

#[test]
fn a_prefix_list_has_1000_entries() {
    let list = |count: usize| {
        let entries: Vec<String> = (0..count)
            .map(|n| format!("\"198.18.{}.{}/32\"", n >> 8, n & 255))
            .collect();
        filtered(&[])
            + &format!(
                "  [[vpc.prefix_list]]\n  name = \"long\"\n  entries = [{}]\n",
                entries.join(", ")
            )
    };
    assert!(parse("f", &list(1000)).is_ok());
    let errors = refused(&list(1001));
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].ends_with(
            "/ prefix_list \"long\" / entries[1000]: too many entries in a prefix list: 1001; keep at most 1000"
        ),
        "{}",
        errors[0]
    );
}
