//! Tests of the whole way from text to configuration.

mod fuzz;
mod mistakes;
mod mistakes_in_balancing;
mod mistakes_in_dns;
mod mistakes_in_endpoints;
mod mistakes_in_filtering;
mod mistakes_in_gateways;
mod mistakes_in_metadata;
mod mistakes_in_placement;
mod mistakes_in_proxies;
mod mistakes_in_routes;
mod mistakes_in_settings;
mod promises;
mod promises_of_endpoints;
mod promises_of_filtering;
mod promises_of_metadata;
mod valid;
mod valid_dns;
mod valid_endpoints;
mod valid_filtering;
mod valid_metadata;
mod valid_settings;
mod whole_files;

use super::parse;

/// The lines are numbered by the tests: append, do not insert.
pub const SAMPLE: &str = r#"[node]
name = "edge-1"
uplink = ["eth0"]
attach = "auto"                      # auto | xdp | xdp-generic | tc

[[vpc]]
name = "main"
cidrs = ["10.20.0.0/16", "10.40.0.0/16"]
internet_gateway = true

  [[vpc.subnet]]
  name = "public-a"
  cidr = "10.20.1.0/24"
  zone = "a"
  interface = "br-public"
  route_table = "public"

  [[vpc.subnet]]
  name = "private-a"
  cidr = "10.40.2.0/24"
  zone = "a"
  interface = "br-private"
  route_table = "private"

  [[vpc.route_table]]
  name = "public"
  routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]

  [[vpc.route_table]]
  name = "private"
  routes = [{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }]

  [[vpc.nat_gateway]]
  name = "egress"
  subnet = "public-a"
  private_ip = "10.20.1.100"
  public_ips = ["198.51.100.10"]     # left out: a private NAT gateway

  [[vpc.instance]]
  name = "web"
  subnet = "public-a"
  private_ip = "10.20.1.10"
  public_ip = "198.51.100.20"
"#;

/// The line of the sample's gateway that other settings take the place of.
pub const PUBLIC_IPS: &str = "public_ips = [\"198.51.100.10\"] ";

/// Every setting of a gateway, instead of [`PUBLIC_IPS`].
pub const EVERYTHING: &str = r#"public_ips = ["198.51.100.10", "198.51.100.11"]
  ports = ["2000-2999", "1-999"]
  address_ports = [{ public_ip = "198.51.100.11", ports = ["10000-11998"] }]
  profile = "rfc"
  filtering = "endpoint-independent"
  max_sessions_per_client = 1048576
  max_ports_per_client = 65535
  port_rest = 0
  on_exhaustion = "host-unreachable"
  deterministic = "10.40.0.0/21"
  no_translate = [
    { destination = "10.0.0.0/8" },
    { destination = "192.0.2.0/24", protocol = "tcp", ports = "443" },
    { destination = "192.0.2.0/24", protocol = "udp", ports = "1000-2000" },
    { destination = "192.0.2.0/24", protocol = "icmp" },
    { destination = "192.0.2.0/24", protocol = "all", ports = "53" },
  ]
  forward = [
    { protocol = "tcp", port = "8000-8010", public_ip = "198.51.100.11", to = "10.40.2.101:80" },
    { protocol = "udp", port = "8000", public_ip = "198.51.100.10", to = "10.40.2.101:80" },
  ]
  timeouts = { tcp = 8000, tcp_opening = 6, tcp_closing = 7, udp = 120, udp_stream = 180, icmp = 60 }"#;

/// What comes behind the sample, and goes on with its instance: everything that filters, and an
/// instance that is routed to. Its first line is 44.
pub const FILTERING: &str = r#"  security_groups = ["web", "admin"]

  [[vpc.instance]]
  name = "proxy"
  subnet = "public-a"
  private_ip = "10.20.1.11"
  source_dest_check = false
  mac = "02:00:00:00:00:0a"

  [[vpc.prefix_list]]
  name = "partners"
  entries = ["203.0.113.0/24", "192.0.2.0/24"]

  [[vpc.security_group]]
  name = "web"
  ingress = [
    { protocol = "tcp", ports = "80", source = "0.0.0.0/0" },
    { protocol = "udp", ports = "5000-5010", source = "prefix-list:partners" },
    { protocol = "icmp", icmp_type = 8, icmp_code = 0, source = "security-group:web" },
    { protocol = 47, source = "10.40.2.0/24" },
  ]
  egress = [{ protocol = "icmp", icmp_type = 3, destination = "10.0.0.0/8" }]

  [[vpc.security_group]]
  name = "admin"

  [[vpc.network_acl]]
  name = "default"
  ingress = [
    { rule = 200, action = "allow", protocol = "all", source = "0.0.0.0/0" },
    { rule = 100, action = "deny", protocol = "tcp", ports = "23", source = "198.51.100.0/24" },
  ]
  egress = [{ rule = 1, action = "allow", protocol = "icmp", destination = "192.0.2.7/32" }]

  [[vpc.network_acl]]
  name = "closed"

  [[vpc.route_table]]
  name = "by-proxy"
  routes = [
    { destination = "prefix-list:partners", target = "instance:proxy" },
    { destination = "192.0.2.0/24", target = "blackhole" },
    { destination = "10.40.2.0/24", target = "instance:proxy" },
  ]
"#;

/// What comes behind the sample, and goes on with its instance: racks and hosts, and a placement group of
/// each strategy. Its first line is 44.
pub const PLACEMENT: &str = r#"  placement_group = "front"
  host = "a1-1"

  [[vpc.subnet]]
  name = "private-b"
  cidr = "10.40.3.0/24"
  zone = "b"
  interface = "br-b"

  [[vpc.rack]]
  name = "a1"
  zone = "a"

  [[vpc.rack]]
  name = "a2"
  zone = "a"

  [[vpc.rack]]
  name = "b1"
  zone = "b"

  [[vpc.host]]
  name = "a1-1"
  rack = "a1"
  capacity = 2

  [[vpc.host]]
  name = "a1-2"
  rack = "a1"

  [[vpc.host]]
  name = "a2-1"
  rack = "a2"
  capacity = 4

  [[vpc.host]]
  name = "b1-1"
  rack = "b1"

  [[vpc.placement_group]]
  name = "front"
  strategy = "spread"
  spread_level = "rack"

  [[vpc.placement_group]]
  name = "db"
  strategy = "partition"
  partitions = 2

  [[vpc.placement_group]]
  name = "mpi"
  strategy = "cluster"

  [[vpc.instance]]
  name = "db-1"
  subnet = "private-a"
  private_ip = "10.40.2.11"
  placement_group = "db"
  partition = 1
  host = "a1-1"

  [[vpc.instance]]
  name = "db-2"
  subnet = "private-a"
  private_ip = "10.40.2.12"
  placement_group = "db"
  partition = 2
  rack = "a2"

  [[vpc.instance]]
  name = "mpi-1"
  subnet = "private-a"
  private_ip = "10.40.2.13"
  placement_group = "mpi"

  [[vpc.instance]]
  name = "mpi-2"
  subnet = "private-a"
  private_ip = "10.40.2.14"
  placement_group = "mpi"
  running = false
"#;

/// What comes behind the sample, and goes on with its instance: everything that instances can be told
/// about themselves. Its first line is 44.
pub const METADATA: &str = r#"  metadata = "required"
  metadata_hop_limit = 2
  metadata_tags = true
  id = "i-0123456789abcdef0"
  type = "t3.micro"
  image = "ami-00000000000000abc"
  hostname = "web.example.net"
  tags = { Name = "web", "a:b" = "c d" }
  mac = "02:00:00:00:00:0b"

  [[vpc.instance]]
  name = "dark"
  subnet = "private-a"
  private_ip = "10.40.2.11"
  metadata = "disabled"
  [vpc.instance.tags]
  "not served" = "1"
"#;

/// What comes behind the sample: endpoints and a proxy of its VPC, and a VPC with a load balancer and a service.
/// Its first line is 44.
pub const ENDPOINTS: &str = r#"
  [[vpc.instance]]
  name = "squid"
  subnet = "public-a"
  private_ip = "10.20.1.11"
  source_dest_check = false
  mac = "02:00:00:00:00:0a"

  [[vpc.prefix_list]]
  name = "storage"
  entries = ["203.0.113.0/24", "192.0.2.0/25"]

  [[vpc.prefix_list]]
  name = "other"
  entries = ["198.18.0.0/15"]

  [[vpc.security_group]]
  name = "db"

  [[vpc.route_table]]
  name = "by-endpoint"
  routes = [
    { destination = "prefix-list:storage", target = "endpoint:storage" },
    { destination = "203.0.113.64/26", target = "endpoint:storage" },
  ]

  [[vpc.endpoint]]
  name = "storage"
  type = "gateway"
  prefix_lists = ["storage"]
  policy = [
    { effect = "allow", instances = ["web"], destinations = ["203.0.113.0/24"] },
    { effect = "deny", destinations = ["203.0.113.128/25"] },
    { effect = "allow", instances = ["squid"] },
  ]

  [[vpc.endpoint]]
  name = "db"
  type = "interface"
  service = "shared/db"
  interfaces = [
    { subnet = "public-a", private_ip = "10.20.1.50" },
    { subnet = "private-a", private_ip = "10.40.2.50" },
  ]
  security_groups = ["db"]
  private_dns = ["DB.example.com", "db2.example.com"]

  [[vpc.endpoint]]
  name = "mail"
  type = "interface"
  address = "192.0.2.200"
  nat_gateway = "egress"
  interfaces = [{ subnet = "private-a", private_ip = "10.40.2.51" }]

  [[vpc.proxy]]
  name = "squid"
  instance = "squid"
  ports = [80, 8080]
  subnets = ["private-a"]
  on_failure = "open"
  health_check = { port = 3128, interval = 5 }

[[vpc]]
name = "shared"
cidrs = ["10.60.0.0/16"]

  [[vpc.subnet]]
  name = "db"
  cidr = "10.60.1.0/24"
  interface = "br-db"

  [[vpc.instance]]
  name = "db-1"
  subnet = "db"
  private_ip = "10.60.1.11"

  [[vpc.instance]]
  name = "db-2"
  subnet = "db"
  private_ip = "10.60.1.12"

  [[vpc.target_group]]
  name = "db"
  protocol = "tcp"
  port = 5432
  targets = ["db-1", "db-2"]
  proxy_protocol_v2 = true
  deregistration_delay = 0

  [vpc.target_group.health_check]
  protocol = "http"
  path = "/ready"
  port = 8080
  interval = 30
  timeout = 5
  healthy_threshold = 10
  unhealthy_threshold = 1

  [[vpc.target_group]]
  name = "dns"
  protocol = "udp"
  port = 53

  [[vpc.load_balancer]]
  name = "db"
  subnet = "db"
  private_ip = "10.60.1.50"
  listeners = [
    { protocol = "tcp", port = 5432, target_group = "db" },
    { protocol = "udp", port = 5432, target_group = "dns" },
  ]

  [[vpc.endpoint_service]]
  name = "db"
  load_balancer = "db"
  acceptance_required = true
  allowed_vpcs = ["main"]
  accepted = ["main/db"]
  rejected = ["main/gone"]
"#;

/// The sample with other settings of its gateway, `public_ips` among them.
pub fn with(settings: &str) -> String {
    edited(&[(PUBLIC_IPS, settings)])
}

/// The sample with each `from` replaced by its `to`; every `from` occurs exactly once.
pub fn edited(edits: &[(&str, &str)]) -> String {
    edit(SAMPLE, edits)
}

/// The sample and [`FILTERING`], edited likewise.
pub fn filtered(edits: &[(&str, &str)]) -> String {
    edit(&format!("{SAMPLE}{FILTERING}"), edits)
}

/// The sample and [`PLACEMENT`], edited likewise.
pub fn placed(edits: &[(&str, &str)]) -> String {
    edit(&format!("{SAMPLE}{PLACEMENT}"), edits)
}

/// The sample and [`METADATA`], edited likewise.
pub fn described(edits: &[(&str, &str)]) -> String {
    edit(&format!("{SAMPLE}{METADATA}"), edits)
}

/// The sample and [`ENDPOINTS`], edited likewise.
pub fn ended(edits: &[(&str, &str)]) -> String {
    edit(&format!("{SAMPLE}{ENDPOINTS}"), edits)
}

fn edit(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} must occur once");
        text.replacen(from, to, 1)
    })
}

/// The errors of a text that must not be accepted, as users see them.
#[track_caller]
pub fn refused(text: &str) -> Vec<String> {
    match parse("f", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

/// Each mistake is a test: an edit of the sample, and the errors it must give.
macro_rules! refuse_each {
    (of $sample:ident; $($name:ident: [$($from:expr => $to:expr),+] gives [$($error:expr),+ $(,)?];)+) => {
        $(#[test]
        fn $name() {
            let text = $crate::config::tests::$sample(&[$(($from, $to)),+]);
            assert_eq!($crate::config::tests::refused(&text), [$($error),+]);
        })+
    };
    ($($each:tt)+) => {
        $crate::config::tests::refuse_each! { of edited; $($each)+ }
    };
}
use refuse_each;
