//! Mistakes in what NAT gateways may be set to. Each is one edit of the sample, with everything a user
//! is shown about it.

use super::refuse_each;

refuse_each! {
    tcp_transitory_is_gone: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  timeouts = { tcp_transitory = 240 }"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / timeouts / tcp_transitory: replaced by other keys; write tcp_opening and tcp_closing, the timers it stood for"#,
    ];
    filtering_unknown: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  filtering = "cone""#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / filtering: "cone" is not a way to filter; allowed: "endpoint-independent", "address-dependent", "address-and-port-dependent""#,
    ];
    filtering_with_aws: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  filtering = "address-dependent""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / filtering: profile "aws" always filters by address and port; remove filtering, or set profile = "rfc""#,
    ];
    ports_per_client_with_aws: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "aws"
  max_ports_per_client = 100"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / max_ports_per_client: with profile "aws" clients share ports, so theirs cannot be counted; write max_sessions_per_client instead, or set profile = "rfc""#,
    ];
    ports_per_client_of_zero: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  max_ports_per_client = 0"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / max_ports_per_client: 0 is out of range; use 1 to 65535"#,
    ];
    sessions_per_client_of_zero: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  max_sessions_per_client = 0"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / max_sessions_per_client: 0 is out of range; use 1 to 1048576"#,
    ];
    sessions_per_client_too_many: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  max_sessions_per_client = 1048577"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / max_sessions_per_client: 1048577 is out of range; use 1 to 1048576"#,
    ];
    rest_with_aws: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  port_rest = 60"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / port_rest: a freed port rests only with profile "rfc" and filtering "endpoint-independent"; remove port_rest, or set profile = "rfc" and filtering = "endpoint-independent""#,
    ];
    rest_with_another_filtering: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  port_rest = 60"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / port_rest: a freed port rests only with profile "rfc" and filtering "endpoint-independent"; remove port_rest, or set profile = "rfc" and filtering = "endpoint-independent""#,
    ];
    rest_too_long: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  filtering = "endpoint-independent"
  port_rest = 3601"#] gives [
        r#"f:40: vpc "main" / nat_gateway "egress" / port_rest: 3601 is out of range; use 0 to 3600"#,
    ];
    exhaustion_unknown: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  on_exhaustion = "reset""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / on_exhaustion: "reset" is not an answer to exhaustion; allowed: "admin-prohibited", "host-unreachable", "silent""#,
    ];
    address_ports_elsewhere: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  address_ports = [{ public_ip = "198.51.100.11", ports = ["1-2"] }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[0] / public_ip: 198.51.100.11 is no address of this gateway; name one it translates to: 198.51.100.10"#,
    ];
    address_ports_twice: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  address_ports = [{ public_ip = "198.51.100.10", ports = ["1-2"] }, { public_ip = "198.51.100.10", ports = ["3-4"] }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[1] / public_ip: an entry for 198.51.100.10 is already on line 38; write all its ranges in one entry"#,
    ];
    address_ports_incomplete: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  address_ports = [{ public_ip = "198.51.100.10" }, { ports = ["3-4"] }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[0] / ports: required key is missing; add ports = ["1024-65535"]"#,
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[1] / public_ip: required key is missing; add public_ip = "198.51.100.10""#,
    ];
    address_ports_empty_and_overlapping: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  address_ports = [{ public_ip = "198.51.100.10", ports = [] }, { public_ip = "198.51.100.10", ports = ["1-5", "5-9"] }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[0] / ports: there is no port range; write ports = ["1024-65535"] or remove the entry"#,
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[1] / public_ip: an entry for 198.51.100.10 is already on line 38; write all its ranges in one entry"#,
        r#"f:38: vpc "main" / nat_gateway "egress" / address_ports[1] / ports[1]: ports 5-9 overlap 1-5; join the two ranges or make them apart"#,
    ];
    deterministic_that_is_no_cidr: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  deterministic = "10.40.0.0""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / deterministic: "10.40.0.0" is not an IPv4 CIDR; add the prefix length, as in "10.40.0.0/16""#,
    ];
    deterministic_with_too_many_clients: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  deterministic = "10.40.0.0/15""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / deterministic: 10.40.0.0/15 has more clients than 1 pool(s) of 64512 ports can serve; use a prefix length from /17 on, or more public_ips"#,
    ];
    deterministic_with_all_of_ipv4: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  deterministic = "0.0.0.0/0""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / deterministic: 0.0.0.0/0 has more clients than 1 pool(s) of 64512 ports can serve; use a prefix length from /17 on, or more public_ips"#,
    ];
    deterministic_without_the_subnets: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  deterministic = "10.50.0.0/24""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / deterministic: subnets are routed to this gateway that lie outside 10.50.0.0/24: "private-a"; take a CIDR that holds them all, or route them to another gateway"#,
    ];
    exempt_icmp_with_ports: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  no_translate = [{ destination = "10.0.0.0/8", protocol = "icmp", ports = "1-2" }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / no_translate[0] / ports: ICMP has no ports; remove ports, or name a protocol that has them"#,
    ];
    exempt_unknown_protocol: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  no_translate = [{ destination = "10.0.0.0/8", protocol = "sctp" }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / no_translate[0] / protocol: "sctp" is not a protocol; allowed: "all", "tcp", "udp", "icmp""#,
    ];
    exempt_bad_ports: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  no_translate = [{ destination = "10.0.0.0/8", ports = "http" }, { destination = "10.0.0.0/8", ports = "0" }, { destination = "10.0.0.0/8", ports = "9-1" }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / no_translate[0] / ports: "http" is neither a port nor a range; write a port from 1 to 65535 or "FIRST-LAST", as in "8080" or "8000-8010""#,
        r#"f:38: vpc "main" / nat_gateway "egress" / no_translate[1] / ports: port 0 cannot be used; use a port from 1 to 65535"#,
        r#"f:38: vpc "main" / nat_gateway "egress" / no_translate[2] / ports: the range ends at 1, before it begins at 9; write "1-9""#,
    ];
    exempt_without_destination: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  no_translate = [{ ports = "80" }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / no_translate[0] / destination: required key is missing; add destination = "10.0.0.0/8""#,
    ];
    exempt_nine_rules_for_a_prefix: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  no_translate = [
  { destination = "192.0.2.0/31", ports = "1" },
  { destination = "192.0.2.0/31", ports = "3" },
  { destination = "192.0.2.0/31", ports = "5" },
  { destination = "192.0.2.0/31", ports = "7" },
  { destination = "192.0.2.0/31", ports = "9" },
  { destination = "192.0.2.0/31", ports = "11" },
  { destination = "192.0.2.0/31", ports = "13" },
  { destination = "192.0.2.0/24", ports = "80" },
  { destination = "192.0.0.0/16", ports = "443" },
  ]"#] gives [
        r#"f:45: vpc "main" / nat_gateway "egress" / no_translate[6]: too many rules hold for 192.0.2.0/31, those around it among them; keep at most 8, for example by joining port ranges"#,
    ];
    forward_with_aws: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  forward = [{ protocol = "tcp", port = "80", to = "10.40.2.101:80" }]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / forward[0]: profile "aws" forwards no ports of an address that is the gateway's alone; set profile = "rfc", or shared_with_host = true when the address is also this host's"#,
    ];
    forward_of_nothing: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{}]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / protocol: required key is missing; add protocol = "tcp""#,
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / port: required key is missing; add port = "8080""#,
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / to: required key is missing; add to = "10.40.2.101:80""#,
    ];
    forward_of_icmp: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "icmp", port = "80", to = "10.40.2.101:80" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / protocol: "icmp" is not a protocol whose ports can be forwarded; allowed: "tcp", "udp""#,
    ];
    forward_to_no_port: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80", to = "10.40.2.101" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / to: "10.40.2.101" is not an address and a port; write an address and a port from 1 to 65535, as in "10.40.2.101:80""#,
    ];
    forward_to_port_zero: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80", to = "10.40.2.101:0" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / to: "10.40.2.101:0" is not an address and a port; write an address and a port from 1 to 65535, as in "10.40.2.101:80""#,
    ];
    forward_to_a_range: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80-81", to = "10.40.2.101:80-81" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / to: "10.40.2.101:80-81" is not an address and a port; write the first port alone, the others follow: "10.40.2.101:80""#,
    ];
    forward_beyond_the_last_port: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80-90", to = "10.40.2.101:65530" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / to: 11 ports from 65530 on go beyond 65535; lead to a lower port, or forward fewer"#,
    ];
    forward_outside_the_subnets: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80", to = "10.40.3.1:80" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / to: 10.40.3.1 lies in no subnet of the VPC; lead to a host in one of the VPC's subnets"#,
    ];
    forward_of_anothers_address: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80", public_ip = "198.51.100.20", to = "10.40.2.101:80" }]"#] gives [
        r#"f:39: vpc "main" / nat_gateway "egress" / forward[0] / public_ip: 198.51.100.20 is no address of this gateway; name one it translates to: 198.51.100.10"#,
    ];
    forwards_meet: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80-90", to = "10.40.2.101:80" },
  { protocol = "tcp", port = "90", to = "10.40.2.102:80" },
  { protocol = "udp", port = "90", to = "10.40.2.102:80" },
  { protocol = "tcp", port = "91", to = "10.40.2.101:85" }]"#] gives [
        r#"f:40: vpc "main" / nat_gateway "egress" / forward[1] / port: tcp 90 of 198.51.100.10 meets the forward on line 39; forward each public port once"#,
        r#"f:42: vpc "main" / nat_gateway "egress" / forward[3] / to: the forward on line 39 leads to tcp 10.40.2.101:85 already; forward to each inside port once: its own connections use that public port too"#,
    ];
    forward_to_an_instance_that_answers_by_its_own_address: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "rfc"
  forward = [{ protocol = "tcp", port = "80", to = "10.20.1.11:80" },
  { protocol = "tcp", port = "81-89", to = "10.20.1.10:81" }]"#] gives [
        r#"f:40: vpc "main" / nat_gateway "egress" / forward[1] / to: 10.20.1.10 is instance "web", whose route table sends all its answers to the internet gateway: they would leave by its own public IP 198.51.100.20, which nobody wrote to; lead to another host, or remove that instance's public_ip"#,
    ];
    forward_to_an_instance_that_is_routed_out_in_halves: [r#"[{ destination = "0.0.0.0/0", target = "internet-gateway" }]"# => r#"[
    { destination = "0.0.0.0/1", target = "internet-gateway" }, { destination = "203.0.113.0/24", target = "blackhole" },
    { destination = "128.0.0.0/1", target = "internet-gateway" }]"#, r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  shared_with_host = true
  forward = [{ protocol = "udp", port = "53", to = "10.20.1.10:53" }]"#] gives [
        r#"f:41: vpc "main" / nat_gateway "egress" / forward[0] / to: 10.20.1.10 is instance "web", whose route table sends all its answers to the internet gateway: they would leave by its own public IP 198.51.100.20, which nobody wrote to; lead to another host, or remove that instance's public_ip"#,
    ];
}
