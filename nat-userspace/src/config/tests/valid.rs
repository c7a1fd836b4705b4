use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{SAMPLE, edited};
use crate::config::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn sample() -> Config {
    Config {
        node: Node {
            name: "edge-1".into(),
            region: "local".into(),
            uplinks: vec!["eth0".into()],
            attach: Attach::Auto,
            max_sessions: 262_144,
            icmp_errors_per_second: 100,
            log_destinations: false,
            metadata: true,
            dns_forwarders: None,
        },
        vpcs: vec![Vpc {
            name: "main".into(),
            cidrs: vec![net("10.20.0.0/16"), net("10.40.0.0/16")],
            internet_gateway: true,
            strict: false,
            dns: true,
            private_domain: "internal".into(),
            subnets: vec![
                Subnet {
                    name: "public-a".into(),
                    cidr: net("10.20.1.0/24"),
                    zone: Some("a".into()),
                    interface: "br-public".into(),
                    route_table: Some("public".into()),
                    network_acl: None,
                },
                Subnet {
                    name: "private-a".into(),
                    cidr: net("10.40.2.0/24"),
                    zone: Some("a".into()),
                    interface: "br-private".into(),
                    route_table: Some("private".into()),
                    network_acl: None,
                },
            ],
            route_tables: vec![
                RouteTable {
                    name: "public".into(),
                    main: false,
                    routes: vec![Route {
                        destination: Destination::Cidr(net("0.0.0.0/0")),
                        target: Target::InternetGateway,
                    }],
                },
                RouteTable {
                    name: "private".into(),
                    main: false,
                    routes: vec![Route {
                        destination: Destination::Cidr(net("0.0.0.0/0")),
                        target: Target::NatGateway("egress".into()),
                    }],
                },
            ],
            nat_gateways: vec![NatGateway {
                name: "egress".into(),
                subnet: "public-a".into(),
                private_ip: Ipv4Addr::new(10, 20, 1, 100),
                public_ips: vec![Ipv4Addr::new(198, 51, 100, 10)],
                ports: vec![PortRange {
                    first: 1024,
                    last: 65535,
                }],
                address_ports: Vec::new(),
                profile: Profile::Aws,
                filtering: Filtering::AddressAndPortDependent,
                max_sessions_per_client: None,
                max_ports_per_client: None,
                port_rest: Duration::ZERO,
                on_exhaustion: OnExhaustion::AdminProhibited,
                deterministic: None,
                no_translate: Vec::new(),
                forwards: Vec::new(),
                timeouts: Timeouts {
                    tcp_established: Duration::from_secs(350),
                    tcp_opening: Duration::from_secs(240),
                    tcp_closing: Duration::from_secs(240),
                    udp: Duration::from_secs(350),
                    udp_stream: Duration::from_secs(350),
                    icmp: Duration::from_secs(60),
                },
                shared_with_host: false,
            }],
            instances: vec![Instance {
                name: "web".into(),
                subnet: "public-a".into(),
                private_ip: Ipv4Addr::new(10, 20, 1, 10),
                public_ip: Some(Ipv4Addr::new(198, 51, 100, 20)),
                security_groups: Vec::new(),
                source_dest_check: true,
                mac: None,
                placement: InstancePlacement::default(),
                metadata: InstanceMetadata::default(),
            }],
            prefix_lists: Vec::new(),
            security_groups: Vec::new(),
            network_acls: Vec::new(),
            racks: Vec::new(),
            hosts: Vec::new(),
            placement_groups: Vec::new(),
            target_groups: Vec::new(),
            load_balancers: Vec::new(),
            endpoint_services: Vec::new(),
            endpoint_acceptances: Vec::new(),
            endpoints: Vec::new(),
            proxies: Vec::new(),
        }],
    }
}

#[track_caller]
fn accepted(text: &str) -> Config {
    parse("nat.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_sample_parses_to_what_it_says() {
    assert_eq!(accepted(SAMPLE), sample());
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    assert_eq!(accepted(&SAMPLE.replace('\n', "\r\n")), sample());
    assert_eq!(accepted(&format!("\u{feff}{SAMPLE}")), sample());
}

#[test]
fn inline_tables_and_dotted_keys_mean_the_same() {
    let text = r#"
node.uplink = ["eth0"]
node.name = "edge-1"
vpc = [{ name = "main", cidrs = ["10.20.0.0/16", "10.40.0.0/16"], internet_gateway = true,
  subnet = [
    { name = "public-a", cidr = "10.20.1.0/24", zone = "a", interface = "br-public", route_table = "public" },
    { name = "private-a", cidr = "10.40.2.0/24", zone = "a", interface = "br-private", route_table = "private" },
  ],
  route_table = [
    { name = "public", routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }] },
    { name = "private", routes = [{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }] },
  ],
  nat_gateway = [{ name = "egress", subnet = "public-a", private_ip = "10.20.1.100", public_ips = ["198.51.100.10"] }],
  instance = [{ name = "web", subnet = "public-a", private_ip = "10.20.1.10", public_ip = "198.51.100.20" }],
}]
"#;
    assert_eq!(accepted(text), sample());
}

#[test]
fn every_optional_key_is_read() {
    let config = accepted(&edited(&[
        (
            "attach = \"auto\"  ",
            "max_sessions = 1024\nattach = \"xdp-generic\"  ",
        ),
        (
            "internet_gateway = true",
            "internet_gateway = true\nstrict = true",
        ),
        (
            "  routes = [{ destination = \"0.0.0.0/0\", target = \"internet-gateway\" }]",
            "  main = true\n  [[vpc.route_table.routes]]\n  destination = \"0.0.0.0/0\"\n  target = \"internet-gateway\"\n\
          [[vpc.route_table.routes]]\n  destination = \"192.0.2.0/24\"\n  target = \"blackhole\"\n\
          [[vpc.route_table.routes]]\n  destination = \"10.20.0.0/16\"\n  target = \"local\"",
        ),
        ("  route_table = \"public\"\n", ""),
        (
            "public_ips = [\"198.51.100.10\"]",
            "public_ips = [\"198.51.100.10\", \"10.20.1.100\"]\n  ports = [\"1-1\", \"2000-3000\"]\n  profile = \"aws\"\n\
          timeouts = { tcp = 432000, tcp_opening = 1, udp = 30, icmp = 2 }\n  shared_with_host = true",
        ),
    ]));
    assert_eq!(config.node.max_sessions, 1024);
    assert_eq!(config.node.attach, Attach::XdpGeneric);
    let vpc = &config.vpcs[0];
    assert!(vpc.strict);
    assert_eq!(vpc.subnets[0].route_table, None);
    let main = vpc.route_table_of(&vpc.subnets[0]).unwrap();
    assert_eq!(main.name, "public");
    assert_eq!(vpc.route_table_of(&vpc.subnets[1]).unwrap().name, "private");
    let targets: Vec<&Target> = main.routes.iter().map(|route| &route.target).collect();
    assert_eq!(
        targets,
        [&Target::InternetGateway, &Target::Blackhole, &Target::Local]
    );
    let gateway = &vpc.nat_gateways[0];
    assert_eq!(gateway.ports.len(), 2);
    assert_eq!(gateway.ports[0], PortRange { first: 1, last: 1 });
    assert_eq!(gateway.timeouts.tcp_established.as_secs(), 432_000);
    assert_eq!(gateway.timeouts.tcp_opening.as_secs(), 1);
    assert_eq!(gateway.timeouts.tcp_closing.as_secs(), 240);
    assert_eq!(gateway.timeouts.icmp.as_secs(), 2);
    assert!(gateway.shared_with_host);
    assert_eq!(gateway.public_ips.len(), 2);
}

#[test]
fn a_private_gateway_needs_no_internet_gateway() {
    let config = accepted(&edited(&[
        ("internet_gateway = true\n", ""),
        ("target = \"internet-gateway\"", "target = \"blackhole\""),
        ("  public_ips = [\"198.51.100.10\"] ", ""),
        ("  public_ip = \"198.51.100.20\"\n", ""),
    ]));
    assert!(config.vpcs[0].nat_gateways[0].public_ips.is_empty());
    assert_eq!(config.vpcs[0].instances[0].public_ip, None);
}

#[test]
fn one_interface_may_be_uplink_and_carry_several_subnets() {
    accepted(&edited(&[
        ("\"br-public\"", "\"eth0\""),
        ("\"br-private\"", "\"eth0\""),
    ]));
}

#[test]
fn vpcs_apart_from_each_other_are_accepted() {
    let text = format!(
        "{SAMPLE}\n[[vpc]]\nname = \"other\"\ncidrs = [\"10.60.0.0/16\"]\n\
         [[vpc.subnet]]\nname = \"public-a\"\ncidr = \"10.60.0.0/30\"\ninterface = \"eth9\"\n"
    );
    let config = accepted(&text);
    assert_eq!(
        config.vpcs[1].route_table_of(&config.vpcs[1].subnets[0]),
        None
    );
}

#[test]
fn a_configuration_at_its_limits_is_read_in_seconds() {
    let mut text = String::from(
        "[node]\nuplink = [\"eth0\"]\n[[vpc]]\nname = \"big\"\ncidrs = [\"10.0.0.0/8\"]\ninternet_gateway = true\n\
         [[vpc.route_table]]\nname = \"out\"\nmain = true\nroutes = [{ destination = \"0.0.0.0/0\", target = \"internet-gateway\" }]\n",
    );
    for n in 0..65_535u32 {
        let (a, b) = (n >> 8, n & 255);
        text += &format!(
            "[[vpc.subnet]]\nname = \"s{n}\"\ncidr = \"10.{a}.{b}.0/24\"\ninterface = \"eth1\"\n"
        );
        if n < 4096 {
            text += &format!(
                "[[vpc.nat_gateway]]\nname = \"g{n}\"\nsubnet = \"s{n}\"\nprivate_ip = \"10.{a}.{b}.4\"\n"
            );
        }
        text += &format!(
            "[[vpc.instance]]\nname = \"i{n}\"\nsubnet = \"s{n}\"\nprivate_ip = \"10.{a}.{b}.5\"\n"
        );
    }
    let started = Instant::now();
    let config = accepted(&text);
    assert_eq!(config.vpcs[0].subnets.len(), 65_535);
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn load_reads_a_file_and_names_it_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nat.toml");

    std::fs::write(&path, SAMPLE).unwrap();
    assert_eq!(load(&path).unwrap(), sample());

    std::fs::write(&path, "[node]\nuplink = [\"eth0\"]\n# \u{e4}\n").unwrap();
    let errors = load(&path).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert_eq!(errors.0[0].file, path.display().to_string());
    assert_eq!((errors.0[0].line, errors.0[0].key.as_str()), (1, "vpc"));

    std::fs::write(&path, b"[node]\n# \xff\n").unwrap();
    let errors = load(&path).unwrap_err();
    assert_eq!((errors.0[0].line, errors.0[0].column), (2, 3));
    assert!(
        errors
            .to_string()
            .ends_with(":2: the file is not valid UTF-8 from here on; save the file as UTF-8")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_without_a_line() {
    let errors = load(Path::new("/nonexistent/nat.toml")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/nonexistent/nat.toml: cannot read the file: No such file or directory (os error 2); \
         check the path and its permissions"
    );
    assert!(load(Path::new("/")).is_err());
}
