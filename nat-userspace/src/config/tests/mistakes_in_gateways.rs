//! Mistakes in NAT gateways and instances, and in the TOML itself.
//! Each is one edit of the sample, with everything a user is shown about it.

use super::refuse_each;

refuse_each! {
    gateway_without_subnet: [r#"  subnet = "public-a"
  private_ip = "10.20.1.100""# => r#"  private_ip = "10.20.1.100""#] gives [
        r#"f:33: vpc "main" / nat_gateway "egress" / subnet: required key is missing; add subnet = "public-a""#,
    ];
    gateway_in_a_missing_subnet: [r#"  subnet = "public-a"
  private_ip = "10.20.1.100""# => r#"  subnet = "dmz"
  private_ip = "10.20.1.100""#] gives [
        r#"f:35: vpc "main" / nat_gateway "egress" / subnet: there is no subnet "dmz"; define it or name one this VPC has: "public-a", "private-a""#,
    ];
    gateway_without_private_ip: [r#"  private_ip = "10.20.1.100"
"# => ""] gives [
        r#"f:33: vpc "main" / nat_gateway "egress" / private_ip: required key is missing; add private_ip = "10.20.1.100""#,
    ];
    gateway_outside_its_subnet: [r#""10.20.1.100""# => r#""10.20.2.100""#] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / private_ip: 10.20.2.100 lies outside subnet "public-a", 10.20.1.0/24; use 10.20.1.4 to 10.20.1.254"#,
    ];
    gateway_on_the_router_address: [r#""10.20.1.100""# => r#""10.20.1.1""#] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / private_ip: 10.20.1.1 is reserved: the first four addresses and the last of a subnet are; use 10.20.1.4 to 10.20.1.254"#,
    ];
    gateway_on_the_broadcast_address: [r#""10.20.1.100""# => r#""10.20.1.255""#] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / private_ip: 10.20.1.255 is reserved: the first four addresses and the last of a subnet are; use 10.20.1.4 to 10.20.1.254"#,
    ];
    gateway_on_an_instance_address: [r#""10.20.1.100""# => r#""10.20.1.10""#] gives [
        r#"f:42: vpc "main" / instance "web" / private_ip: private address 10.20.1.10 is already on line 36; give each NAT gateway, instance, load balancer and endpoint an address of its own"#,
    ];
    address_is_not_one: [r#""10.20.1.100""# => r#""10.20.1.300""#] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / private_ip: "10.20.1.300" is not an IPv4 address; write four numbers from 0 to 255, as in "10.20.1.10""#,
    ];
    address_with_a_prefix: [r#""10.20.1.100""# => r#""10.20.1.100/24""#] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / private_ip: "10.20.1.100/24" is not an IPv4 address; write the address alone: "10.20.1.100""#,
    ];
    address_is_ipv6: [r#""10.20.1.100""# => r#""fd00::1""#] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / private_ip: "fd00::1" is not an IPv4 address; write an IPv4 address: IPv6 is not supported in this version"#,
    ];
    public_address_twice: [r#"["198.51.100.10"]"# => r#"["198.51.100.10", "198.51.100.20"]"#] gives [
        r#"f:43: vpc "main" / instance "web" / public_ip: public address 198.51.100.20 is already on line 37; give each NAT gateway and instance public addresses of its own"#,
    ];
    public_address_in_the_vpc: [r#"["198.51.100.10"]"# => r#"["10.40.9.9"]"#] gives [
        r#"f:37: vpc "main" / nat_gateway "egress" / public_ips[0]: public address 10.40.9.9 lies in 10.40.0.0/16 of VPC "main"; use an address outside every VPC; if it is this host's own, set shared_with_host = true"#,
    ];
    public_address_of_loopback: [r#"["198.51.100.10"]"# => r#"["127.0.0.1"]"#] gives [
        r#"f:37: vpc "main" / nat_gateway "egress" / public_ips[0]: 127.0.0.1 lies in 127.0.0.0/8 and cannot be a public address; use a unicast address that is routed to this host"#,
    ];
    public_address_of_broadcast: [r#"["198.51.100.10"]"# => r#"["255.255.255.255"]"#] gives [
        r#"f:37: vpc "main" / nat_gateway "egress" / public_ips[0]: 255.255.255.255 lies in 240.0.0.0/4 and cannot be a public address; use a unicast address that is routed to this host"#,
    ];
    nine_public_addresses: [r#"["198.51.100.10"]"# => r#"["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8",
  "192.0.2.9"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / public_ips[8]: too many public addresses on a NAT gateway: 9; keep at most 8"#,
    ];
    public_gateway_without_an_internet_gateway: [r#"internet_gateway = true
"# => "", r#"target = "internet-gateway""# => r#"target = "blackhole""#, r#"  public_ip = "198.51.100.20"
"# => ""] gives [
        r#"f:36: vpc "main" / nat_gateway "egress" / public_ips: a public NAT gateway needs an internet gateway, and the VPC has none; set internet_gateway = true on the VPC, or leave public_ips out for a private gateway"#,
    ];
    public_gateway_without_a_way_out: [r#"target = "internet-gateway""# => r#"target = "blackhole""#] gives [
        r#"f:35: vpc "main" / nat_gateway "egress" / subnet: the route table of subnet "public-a" has no route to the internet gateway, so a public NAT gateway in it cannot reach the internet; route 0.0.0.0/0 of that subnet to "internet-gateway""#,
    ];
    public_gateway_without_a_table: [r#"  route_table = "public"
"# => ""] gives [
        r#"f:34: vpc "main" / nat_gateway "egress" / subnet: subnet "public-a" names no route table and the VPC has no main one, so a public NAT gateway in it cannot reach the internet; route 0.0.0.0/0 of that subnet to "internet-gateway""#,
    ];
    gateway_that_routes_to_itself: [r#"target = "internet-gateway" }"# => r#"target = "internet-gateway" }, { destination = "192.0.2.0/24", target = "nat-gateway:egress" }"#] gives [
        r#"f:35: vpc "main" / nat_gateway "egress" / subnet: the route table of subnet "public-a" routes 192.0.2.0/24 to this gateway: translated packets would loop; put the gateway in a subnet whose routes lead out, such as to "internet-gateway""#,
    ];
    gateways_that_route_to_each_other: [r#"target = "internet-gateway""# => r#"target = "nat-gateway:inner""#, r#"  public_ips = ["198.51.100.10"] "# => r#"  [[vpc.nat_gateway]]
  name = "inner"
  subnet = "private-a"
  private_ip = "10.40.2.9""#] gives [
        r#"f:35: vpc "main" / nat_gateway "egress" / subnet: the route table of subnet "public-a" routes by default to gateways that lead back to this one: translated packets would loop; put the gateway in a subnet whose routes lead out, such as to "internet-gateway""#,
        r#"f:39: vpc "main" / nat_gateway "inner" / subnet: the route table of subnet "private-a" routes by default to gateways that lead back to this one: translated packets would loop; put the gateway in a subnet whose routes lead out, such as to "internet-gateway""#,
    ];
    ports_empty: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = []"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports: there is no port range; write ports = ["1024-65535"] or leave the key out"#,
    ];
    ports_without_a_dash: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["5000"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[0]: "5000" is not a port range; write "5000-5000""#,
    ];
    ports_of_nonsense: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["high"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[0]: "high" is not a port range; write "FIRST-LAST" with ports from 1 to 65535, as in "1024-65535""#,
    ];
    ports_too_high: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["1024-65536"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[0]: "1024-65536" is not a port range; write "FIRST-LAST" with ports from 1 to 65535, as in "1024-65535""#,
    ];
    ports_from_zero: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["0-1023"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[0]: port 0 cannot be used; begin the range at 1 or higher"#,
    ];
    ports_backwards: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["2000-1000"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[0]: the range ends at 1000, before it begins at 2000; write "1000-2000""#,
    ];
    ports_overlap: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["1024-2000", "3000-4000", "2000-2500"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[2]: ports 2000-2500 overlap 1024-2000; join the two ranges or make them apart"#,
    ];
    five_port_ranges: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  ports = ["1-2", "3-4", "5-6", "7-8", "9-10"]"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / ports[4]: too many port ranges on a NAT gateway: 5; keep at most 4"#,
    ];
    profile_unknown: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  profile = "gcp""#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / profile: "gcp" is not a profile; allowed: "aws", "rfc""#,
    ];
    timeout_of_zero: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  timeouts = { udp = 0 }"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / timeouts / udp: 0 is out of range; use 1 to 432000"#,
    ];
    timeout_too_long: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  timeouts = { tcp = 432001 }"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / timeouts / tcp: 432001 is out of range; use 1 to 432000"#,
    ];
    timeout_with_a_unit: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  timeouts = { icmp = "60s" }"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / timeouts / icmp: expected whole seconds, found a string; write icmp = 60"#,
    ];
    timeout_unknown: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  timeouts = { tcp_established = 350 }"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / timeouts / tcp_established: unknown key; remove it; known keys here: tcp, tcp_opening, tcp_closing, udp, udp_stream, icmp"#,
    ];
    timeouts_as_a_number: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  timeouts = 350"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / timeouts: expected a table, found an integer; write timeouts = { tcp = 350, udp = 350 }"#,
    ];
    quotas: [r#"["198.51.100.10"]"# => r#"["198.51.100.10"]
  quotas = { per_host = 1000 }"#] gives [
        r#"f:38: vpc "main" / nat_gateway "egress" / quotas: replaced by other keys; write max_sessions_per_client, or max_ports_per_client with profile "rfc""#,
    ];
    instance_in_a_missing_subnet: [r#"  subnet = "public-a"
  private_ip = "10.20.1.10"
"# => r#"  subnet = "public-b"
  private_ip = "10.20.1.10"
"#] gives [
        r#"f:41: vpc "main" / instance "web" / subnet: there is no subnet "public-b"; did you mean "public-a"? this VPC has: "public-a", "private-a""#,
    ];
    instance_without_private_ip: [r#"  private_ip = "10.20.1.10"
"# => ""] gives [
        r#"f:39: vpc "main" / instance "web" / private_ip: required key is missing; add private_ip = "10.20.1.100""#,
    ];
    instance_public_ip_in_the_vpc: [r#""198.51.100.20""# => r#""10.20.9.9""#] gives [
        r#"f:43: vpc "main" / instance "web" / public_ip: public address 10.20.9.9 lies in 10.20.0.0/16 of VPC "main"; use an address outside every VPC"#,
    ];
    instance_public_ip_of_multicast: [r#""198.51.100.20""# => r#""239.1.1.1""#] gives [
        r#"f:43: vpc "main" / instance "web" / public_ip: 239.1.1.1 lies in 224.0.0.0/4 and cannot be a public address; use a unicast address that is routed to this host"#,
    ];
    instance_public_ip_without_an_internet_gateway: [r#"internet_gateway = true
"# => "", r#"target = "internet-gateway""# => r#"target = "blackhole""#, r#"  public_ips = ["198.51.100.10"] "# => ""] gives [
        r#"f:42: vpc "main" / instance "web" / public_ip: a public address needs an internet gateway, and the VPC has none; set internet_gateway = true on the VPC, or remove public_ip"#,
    ];
    instances_share_an_address: [r#""198.51.100.20""# => r#""198.51.100.20"

  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10""#] gives [
        r#"f:46: vpc "main" / instance "web" / name: instance "web" is already on line 40; give each a name of its own"#,
        r#"f:48: vpc "main" / instance "web" / private_ip: private address 10.20.1.10 is already on line 42; give each NAT gateway, instance, load balancer and endpoint an address of its own"#,
    ];
    syntax_unclosed_string: [r#""10.40.2.0/24""# => r#""10.40.2.0/24"#] gives [
        r#"f:20: TOML syntax: invalid basic string, expected `"`; correct the TOML here: text and addresses need "quotes", lists need [ ], tables are [node] or [[vpc]]"#,
    ];
    syntax_bare_word: [r#""10.40.2.0/24""# => "10.40.2.0/24"] gives [
        r#"f:20: TOML syntax: invalid float; correct the TOML here: text and addresses need "quotes", lists need [ ], tables are [node] or [[vpc]]"#,
    ];
    syntax_duplicate_key: [r#"  zone = "a"
  interface = "br-private""# => r#"  zone = "a"
  zone = "b"
  interface = "br-private""#] gives [
        "f:22: TOML syntax: duplicate key; give each key and each [table] once; repeated tables take double brackets, as in [[vpc]]",
    ];
    syntax_table_twice: ["[[vpc]]" => r#"[node]

[[vpc]]"#] gives [
        "f:6: TOML syntax: duplicate key; give each key and each [table] once; repeated tables take double brackets, as in [[vpc]]",
    ];
}
