//! Mistakes in the node, VPCs and subnets.
//! Each is one edit of the sample, with everything a user is shown about it.

use super::refuse_each;

refuse_each! {
    missing_node: [r#"[node]
name = "edge-1"
uplink = ["eth0"]
attach = "auto"  "# => ""] gives [
        r#"f:1: node: required table is missing; add [node] with uplink = ["eth0"]"#,
    ];
    node_is_no_table: [r#"[node]
name = "edge-1"
uplink = ["eth0"]
attach = "auto"  "# => "node = 5"] gives [
        r#"f:1: node: expected a table, found an integer; write [node] with uplink = ["eth0"]"#,
    ];
    node_twice_in_brackets: ["[node]" => "[[node]]"] gives [
        r#"f:1: node: expected a table, found an array of tables; write [node] with uplink = ["eth0"]"#,
    ];
    no_uplink_key: [r#"uplink = ["eth0"]
"# => ""] gives [
        r#"f:1: node / uplink: required key is missing; add uplink = ["eth0"]"#,
    ];
    empty_uplink: [r#"["eth0"]"# => "[]"] gives [
        r#"f:3: node / uplink: there is no uplink; name the interface towards the internet, as in uplink = ["eth0"]"#,
    ];
    uplink_is_a_string: [r#"["eth0"]"# => r#""eth0""#] gives [
        r#"f:3: node / uplink: expected an array of strings, found a string; write uplink = ["eth0"]"#,
    ];
    uplink_holds_a_number: [r#"["eth0"]"# => r#"["eth0", 1]"#] gives [
        r#"f:3: node / uplink[1]: expected a string, found an integer; write uplink = ["eth0"]"#,
    ];
    duplicate_uplink: [r#"["eth0"]"# => r#"["eth0", "eth1", "eth0"]"#] gives [
        r#"f:3: node / uplink[2]: uplink "eth0" is already on line 3; remove one of them"#,
    ];
    long_interface: [r#"["eth0"]"# => r#"["averylonginterface"]"#] gives [
        r#"f:3: node / uplink[0]: "averylonginterface" cannot be the name of an interface; use a name as `ip link` shows it: 1 to 15 characters, no '/', ':' or space"#,
    ];
    interface_with_a_slash: [r#""br-public""# => r#""br/public""#] gives [
        r#"f:15: vpc "main" / subnet "public-a" / interface: "br/public" cannot be the name of an interface; use a name as `ip link` shows it: 1 to 15 characters, no '/', ':' or space"#,
    ];
    empty_interface: [r#""br-public""# => r#""""#] gives [
        r#"f:15: vpc "main" / subnet "public-a" / interface: "" cannot be the name of an interface; use a name as `ip link` shows it: 1 to 15 characters, no '/', ':' or space"#,
    ];
    misspelt_key: [r#"uplink = ["eth0"]"# => r#"uplnik = ["eth0"]"#] gives [
        r#"f:1: node / uplink: required key is missing; add uplink = ["eth0"]"#,
        "f:3: node / uplnik: unknown key; did you mean uplink? known keys here: name, region, uplink, attach, max_sessions, icmp_errors_per_second, log_destinations, metadata, dns_forwarders",
    ];
    unknown_key: [r#"uplink = ["eth0"]"# => r#"uplink = ["eth0"]
"co lour" = 1"#] gives [
        r#"f:4: node / "co lour": unknown key; remove it; known keys here: name, region, uplink, attach, max_sessions, icmp_errors_per_second, log_destinations, metadata, dns_forwarders"#,
    ];
    unknown_top_level_key: ["[node]" => r#"vcp = 1
[node]"#] gives [
        "f:1: vcp: unknown key; did you mean vpc? known keys here: node, vpc",
    ];
    unknown_attach: [r#"attach = "auto""# => r#"attach = "fast""#] gives [
        r#"f:4: node / attach: "fast" is not a way to attach; allowed: "auto", "xdp", "xdp-generic", "tc""#,
    ];
    too_few_sessions: [r#"attach = "auto""# => "max_sessions = 1023"] gives [
        "f:4: node / max_sessions: 1023 is out of range; use 1024 to 16777216",
    ];
    too_many_sessions: [r#"attach = "auto""# => "max_sessions = 16777217"] gives [
        "f:4: node / max_sessions: 16777217 is out of range; use 1024 to 16777216",
    ];
    sessions_as_float: [r#"attach = "auto""# => "max_sessions = 1e6"] gives [
        "f:4: node / max_sessions: expected an integer, found a float; write max_sessions = 262144",
    ];
    sessions_negative: [r#"attach = "auto""# => "max_sessions = -1"] gives [
        "f:4: node / max_sessions: -1 is out of range; use 1024 to 16777216",
    ];
    logging_destinations_as_a_word: [r#"attach = "auto""# => r#"log_destinations = "yes""#] gives [
        r#"f:4: node / log_destinations: expected true or false, found a string; write log_destinations = true"#,
    ];
    too_many_icmp_errors: [r#"attach = "auto""# => "icmp_errors_per_second = 100001"] gives [
        "f:4: node / icmp_errors_per_second: 100001 is out of range; use 0 to 100000",
    ];
    node_name_empty: [r#"name = "edge-1""# => r#"name = """#] gives [
        "f:2: node / name: the name is empty; use 1 to 64 of the characters A-Z a-z 0-9 . _ -",
    ];
    node_name_with_an_escape: [r#"name = "edge-1""# => r#"name = "edge\u001b[2J""#] gives [
        r#"f:2: node / name: "edge\u{1b}[2J" has characters a name cannot have; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
    node_name_long: [r#"name = "edge-1""# => r#"name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#] gives [
        "f:2: node / name: the name is longer than 64 characters; use 1 to 64 of the characters A-Z a-z 0-9 . _ -",
    ];
    vpc_in_single_brackets: ["[[vpc]]" => "[vpc]"] gives [
        "f:6: vpc: expected an array of tables, found a table; write [[vpc]] with a name and cidrs",
    ];
    vpc_without_a_name: [r#"name = "main"
"# => ""] gives [
        r#"f:6: vpc[0] / name: required key is missing; add name = "main""#,
    ];
    vpc_name_is_a_number: [r#"name = "main""# => "name = 7"] gives [
        r#"f:7: vpc[0] / name: expected a string, found an integer; write name = "main""#,
    ];
    vpc_name_with_a_space: [r#"name = "main""# => r#"name = "my vpc""#] gives [
        r#"f:7: vpc[0] / name: "my vpc" has characters a name cannot have; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
    vpc_without_cidrs: [r#"cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
"# => ""] gives [
        r#"f:6: vpc "main" / cidrs: required key is missing; add cidrs = ["10.20.0.0/16"]"#,
    ];
    vpc_with_empty_cidrs: [r#"cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
"# => r#"cidrs = []
"#] gives [
        r#"f:8: vpc "main" / cidrs: the VPC has no CIDR; write at least one, as in cidrs = ["10.20.0.0/16"]"#,
    ];
    vpc_cidr_with_host_bits: [r#""10.20.0.0/16""# => r#""10.20.1.0/16""#] gives [
        r#"f:8: vpc "main" / cidrs[0]: "10.20.1.0/16" has bits set behind its prefix; write "10.20.0.0/16""#,
    ];
    vpc_cidr_too_wide: [r#""10.20.0.0/16""# => r#""10.0.0.0/7""#, r#""10.40.0.0/16""# => r#""10.40.0.0/16""#] gives [
        r#"f:8: vpc "main" / cidrs[0]: 10.0.0.0/7 has the wrong size for a VPC; use a prefix length from /8 to /28"#,
        r#"f:8: vpc "main" / cidrs[1]: 10.40.0.0/16 overlaps 10.0.0.0/7 (line 8); remove one of them or make them apart"#,
    ];
    vpc_cidr_too_small: [r#""10.40.0.0/16""# => r#""10.40.0.0/16", "10.60.0.0/29""#] gives [
        r#"f:8: vpc "main" / cidrs[2]: 10.60.0.0/29 has the wrong size for a VPC; use a prefix length from /8 to /28"#,
    ];
    vpc_cidr_of_multicast: [r#""10.40.0.0/16""# => r#""10.40.0.0/16", "224.0.0.0/8""#] gives [
        r#"f:8: vpc "main" / cidrs[2]: 224.0.0.0/8 meets 224.0.0.0/4, which hosts cannot use; use a private block such as "10.20.0.0/16""#,
    ];
    vpc_cidrs_overlap: [r#""10.40.0.0/16""# => r#""10.40.0.0/16", "10.20.128.0/17""#] gives [
        r#"f:8: vpc "main" / cidrs[2]: 10.20.128.0/17 overlaps 10.20.0.0/16 (line 8); remove one of them or make them apart"#,
    ];
    vpc_cidr_twice: [r#""10.40.0.0/16""# => r#""10.40.0.0/16", "10.40.0.0/16""#] gives [
        r#"f:8: vpc "main" / cidrs[2]: 10.40.0.0/16 overlaps 10.40.0.0/16 (line 8); remove one of them or make them apart"#,
    ];
    internet_gateway_as_text: ["internet_gateway = true" => r#"internet_gateway = "yes""#] gives [
        r#"f:9: vpc "main" / internet_gateway: expected true or false, found a string; write internet_gateway = true"#,
    ];
    vpc_name_twice: [r#"  public_ip = "198.51.100.20"
"# => r#"  public_ip = "198.51.100.20"

[[vpc]]
name = "main"
cidrs = ["10.60.0.0/16"]
"#] gives [
        r#"f:46: vpc "main" / name: VPC "main" is already on line 7; give each a name of its own"#,
    ];
    interface_in_two_vpcs: [r#"  public_ip = "198.51.100.20"
"# => r#"  public_ip = "198.51.100.20"

[[vpc]]
name = "other"
cidrs = ["10.60.0.0/16"]
subnet = [{ name = "a", cidr = "10.60.1.0/24", interface = "br-public" }]
"#] gives [
        r#"f:48: vpc "other" / subnet "a" / interface: interface "br-public" already belongs to VPC "main" (line 15); give each VPC interfaces of its own"#,
    ];
    public_address_in_two_vpcs: [r#"  public_ip = "198.51.100.20"
"# => r#"  public_ip = "198.51.100.20"

[[vpc]]
name = "other"
cidrs = ["10.60.0.0/16"]
internet_gateway = true
subnet = [{ name = "a", cidr = "10.60.1.0/24", interface = "eth9" }]
instance = [{ name = "b", subnet = "a", private_ip = "10.60.1.4", public_ip = "198.51.100.10" }]
"#] gives [
        r#"f:50: vpc "other" / instance "b" / public_ip: public address 198.51.100.10 is already on line 37; give each NAT gateway and instance public addresses of its own"#,
    ];
    subnet_without_interface: [r#"  interface = "br-private"
"# => ""] gives [
        r#"f:18: vpc "main" / subnet "private-a" / interface: required key is missing; add interface = "br-public""#,
    ];
    subnet_without_cidr: [r#"  cidr = "10.40.2.0/24"
"# => ""] gives [
        r#"f:18: vpc "main" / subnet "private-a" / cidr: required key is missing; add cidr = "10.20.1.0/24""#,
    ];
    subnet_name_twice: [r#"name = "private-a""# => r#"name = "public-a""#] gives [
        r#"f:19: vpc "main" / subnet "public-a" / name: subnet "public-a" is already on line 12; give each a name of its own"#,
    ];
    subnet_outside_the_vpc: [r#""10.40.2.0/24""# => r#""10.50.2.0/24""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: 10.50.2.0/24 lies outside the CIDRs of the VPC; choose one inside 10.20.0.0/16, 10.40.0.0/16, or add to the VPC's cidrs"#,
    ];
    subnets_overlap: [r#""10.40.2.0/24""# => r#""10.20.1.128/25""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: 10.20.1.128/25 overlaps 10.20.1.0/24, the subnet on line 13; make the two subnets apart"#,
    ];
    subnet_with_host_bits: [r#""10.40.2.0/24""# => r#""10.40.2.1/24""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: "10.40.2.1/24" has bits set behind its prefix; write "10.40.2.0/24""#,
    ];
    subnet_too_small: [r#""10.40.2.0/24""# => r#""10.40.2.0/31""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: 10.40.2.0/31 is too small for a subnet; use a prefix length up to /30"#,
    ];
    cidr_without_a_prefix: [r#""10.40.2.0/24""# => r#""10.40.2.0""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: "10.40.2.0" is not an IPv4 CIDR; add the prefix length, as in "10.40.2.0/24""#,
    ];
    cidr_with_a_bad_prefix: [r#""10.40.2.0/24""# => r#""10.40.2.0/33""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: "10.40.2.0/33" is not an IPv4 CIDR; use a prefix length from 0 to 32"#,
    ];
    cidr_of_nonsense: [r#""10.40.2.0/24""# => r#""ten""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: "ten" is not an IPv4 CIDR; write an address and a prefix length, as in "10.20.0.0/16""#,
    ];
    cidr_of_ipv6: [r#""10.40.2.0/24""# => r#""fd00::/64""#] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: "fd00::/64" is not an IPv4 CIDR; write an IPv4 address: IPv6 is not supported in this version"#,
    ];
    cidr_is_a_number: [r#""10.40.2.0/24""# => "10.40"] gives [
        r#"f:20: vpc "main" / subnet "private-a" / cidr: expected a string, found a float; write cidr = "10.20.1.0/24""#,
    ];
    zone_is_empty: [r#""10.40.2.0/24"
  zone = "a""# => r#""10.40.2.0/24"
  zone = """#] gives [
        r#"f:21: vpc "main" / subnet "private-a" / zone: the name is empty; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
    dangling_route_table: [r#"route_table = "private""# => r#"route_table = "privat""#] gives [
        r#"f:23: vpc "main" / subnet "private-a" / route_table: there is no route table "privat"; did you mean "private"? this VPC has: "public", "private""#,
    ];
}
