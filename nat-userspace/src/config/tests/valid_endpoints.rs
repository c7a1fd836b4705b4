//! Endpoints, endpoint services, load balancers and proxies: every key, and what holds without them.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::ended;
use crate::config::*;

#[track_caller]
fn accepted(edits: &[(&str, &str)]) -> Config {
    parse("f", &ended(edits)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn nets(nets: &[&str]) -> Vec<Ipv4Net> {
    nets.iter().map(|net| net.parse().unwrap()).collect()
}

fn statement(allow: bool, instances: &[&str], destinations: &[&str]) -> EndpointStatement {
    EndpointStatement {
        allow,
        instances: texts(instances),
        destinations: nets(destinations),
    }
}

fn interface(subnet: &str, private_ip: [u8; 4]) -> EndpointInterface {
    EndpointInterface {
        subnet: subnet.to_owned(),
        private_ip: private_ip.into(),
    }
}

#[test]
fn endpoints_are_read_with_every_key() {
    let config = accepted(&[]);
    let vpc = &config.vpcs[0];
    let storage = EndpointKind::Gateway(GatewayEndpoint {
        prefix_lists: texts(&["storage"]),
        policy: vec![
            statement(true, &["web"], &["203.0.113.0/24"]),
            statement(false, &[], &["203.0.113.128/25"]),
            statement(true, &["squid"], &[]),
        ],
    });
    let db = EndpointKind::Interface(InterfaceEndpoint {
        front: Front::Service {
            vpc: "shared".to_owned(),
            service: "db".to_owned(),
        },
        interfaces: vec![
            interface("public-a", [10, 20, 1, 50]),
            interface("private-a", [10, 40, 2, 50]),
        ],
        security_groups: texts(&["db"]),
        private_dns: texts(&["db.example.com", "db2.example.com"]),
    });
    let mail = EndpointKind::Interface(InterfaceEndpoint {
        front: Front::Address {
            address: Ipv4Addr::new(192, 0, 2, 200),
            nat_gateway: Some("egress".to_owned()),
        },
        interfaces: vec![interface("private-a", [10, 40, 2, 51])],
        security_groups: Vec::new(),
        private_dns: Vec::new(),
    });
    let endpoint = |name: &str, kind| Endpoint {
        name: name.to_owned(),
        kind,
    };
    assert_eq!(
        vpc.endpoints,
        [
            endpoint("storage", storage),
            endpoint("db", db),
            endpoint("mail", mail)
        ]
    );
    let targets: Vec<_> = vpc.route_tables[2].routes.iter().collect();
    assert!(
        targets
            .iter()
            .all(|route| route.target == Target::Endpoint("storage".to_owned()))
    );
}

#[test]
fn load_balancers_and_services_are_read_with_every_key() {
    let config = accepted(&[]);
    let vpc = &config.vpcs[1];
    let seconds = Duration::from_secs;
    assert_eq!(
        vpc.target_groups[0],
        TargetGroup {
            name: "db".to_owned(),
            protocol: Protocol::Tcp,
            port: 5432,
            targets: texts(&["db-1", "db-2"]),
            health_check: HealthCheck {
                kind: HealthCheckKind::Http {
                    path: "/ready".to_owned()
                },
                port: Some(8080),
                interval: seconds(30),
                timeout: seconds(5),
                healthy_threshold: 10,
                unhealthy_threshold: 1,
            },
            proxy_protocol_v2: true,
            deregistration_delay: Duration::ZERO,
        }
    );
    assert_eq!(
        vpc.target_groups[1],
        TargetGroup {
            name: "dns".to_owned(),
            protocol: Protocol::Udp,
            port: 53,
            targets: Vec::new(),
            health_check: HealthCheck {
                kind: HealthCheckKind::Tcp,
                port: None,
                interval: seconds(10),
                timeout: seconds(6),
                healthy_threshold: 3,
                unhealthy_threshold: 2,
            },
            proxy_protocol_v2: false,
            deregistration_delay: seconds(300),
        }
    );
    assert_eq!(vpc.target_groups[0].health_port(), 8080);
    assert_eq!(vpc.target_groups[1].health_port(), 53);
    let listener = |protocol, target_group: &str| Listener {
        protocol,
        port: 5432,
        target_group: target_group.to_owned(),
    };
    assert_eq!(
        vpc.load_balancers,
        [LoadBalancer {
            name: "db".to_owned(),
            subnet: "db".to_owned(),
            private_ip: Ipv4Addr::new(10, 60, 1, 50),
            listeners: vec![
                listener(Protocol::Tcp, "db"),
                listener(Protocol::Udp, "dns")
            ],
        }]
    );
    assert_eq!(
        vpc.endpoint_services,
        [EndpointService {
            name: "db".to_owned(),
            load_balancer: "db".to_owned(),
            acceptance_required: true,
            allowed_vpcs: Some(texts(&["main"])),
            accepted: texts(&["main/db"]),
            rejected: texts(&["main/gone"]),
        }]
    );
}

#[test]
fn a_proxy_is_read_with_every_key_and_without() {
    let config = accepted(&[]);
    let proxy = &config.vpcs[0].proxies[0];
    let check = HealthCheck {
        port: Some(3128),
        interval: Duration::from_secs(5),
        // Not longer than the interval.
        timeout: Duration::from_secs(5),
        ..HealthCheck::default()
    };
    assert_eq!(
        *proxy,
        Proxy {
            name: "squid".to_owned(),
            instance: "squid".to_owned(),
            ports: vec![80, 8080],
            subnets: texts(&["private-a"]),
            fail_open: true,
            health_check: Some(check.clone()),
        }
    );
    assert_eq!(proxy.check(), check);

    let keys = "  ports = [80, 8080]\n  subnets = [\"private-a\"]\n  on_failure = \"open\"\n  \
                health_check = { port = 3128, interval = 5 }\n";
    let config = accepted(&[(keys, "")]);
    let proxy = &config.vpcs[0].proxies[0];
    assert_eq!(proxy.ports, DEFAULT_PROXY_PORTS);
    assert!(proxy.subnets.is_empty() && !proxy.fail_open);
    assert_eq!(proxy.health_check, None);
    assert_eq!(proxy.check().port, Some(80));
}

#[test]
fn proxies_share_ports_or_subnets_but_not_both() {
    let other = |keys: &str| {
        let text = format!(
            "  [[vpc.proxy]]\n  name = \"other\"\n  instance = \"squid\"\n{keys}\n  [[vpc.proxy]]\n  name = \"squid\"\n"
        );
        parse(
            "f",
            &ended(&[("  [[vpc.proxy]]\n  name = \"squid\"\n", &text)]),
        )
    };
    assert!(other("  subnets = [\"public-a\"]\n  ports = [80]\n").is_ok());
    assert!(other("  ports = [443]\n").is_ok());
    assert!(other("  subnets = [\"private-a\"]\n  ports = [443]\n").is_ok());
    assert!(other("  ports = [8080]\n").is_err());
    assert!(other("  subnets = [\"private-a\"]\n  ports = [8080]\n").is_err());
}

#[test]
fn an_endpoint_waits_until_its_service_accepts_it() {
    let config = accepted(&[]);
    let service = &config.vpcs[1].endpoint_services[0];
    assert_eq!(service.state_of("main", "db"), EndpointState::Available);
    assert_eq!(
        service.state_of("main", "new"),
        EndpointState::PendingAcceptance
    );
    assert_eq!(service.state_of("main", "gone"), EndpointState::Rejected);
    assert_eq!(
        service.state_of("mai", "n/db"),
        EndpointState::PendingAcceptance
    );

    let config = accepted(&[
        ("acceptance_required = true", "acceptance_required = false"),
        ("  allowed_vpcs = [\"main\"]\n", ""),
    ]);
    let service = &config.vpcs[1].endpoint_services[0];
    assert_eq!(service.state_of("main", "new"), EndpointState::Available);
    assert_eq!(service.state_of("main", "gone"), EndpointState::Rejected);
    assert_eq!(service.allowed_vpcs, None);
    assert!(service.allows("anyone"));

    let config = accepted(&[("  acceptance_required = true\n", "")]);
    assert!(config.vpcs[1].endpoint_services[0].acceptance_required);
}

#[test]
fn the_address_of_an_endpoint_needs_no_gateway() {
    let config = accepted(&[("  nat_gateway = \"egress\"\n", "")]);
    let Some(mail) = config.vpcs[0].endpoints[2].interface() else {
        panic!("{:?}", config.vpcs[0].endpoints);
    };
    assert!(matches!(
        mail.front,
        Front::Address {
            nat_gateway: None,
            ..
        }
    ));
    assert!(config.vpcs[0].endpoints[0].interface().is_none());
}

/// As the sample numbers them.
#[test]
fn a_file_at_the_limits_is_read_and_one_more_is_refused() {
    let targets = |count: usize| {
        let instances = (0..count).map(|n| {
            format!("  [[vpc.instance]]\n  name = \"t{n}\"\n  subnet = \"db\"\n  private_ip = \"10.60.1.{}\"\n", n + 100)
        });
        let names: Vec<_> = (0..count).map(|n| format!("\"t{n}\"")).collect();
        let targets = format!("targets = [{}]", names.join(", "));
        ended(&[("targets = [\"db-1\", \"db-2\"]", &targets)]) + &instances.collect::<String>()
    };
    assert!(parse("f", &targets(MAX_TARGETS)).is_ok());
    assert_eq!(
        super::refused(&targets(MAX_TARGETS + 1)),
        [
            "f:129: vpc \"shared\" / target_group \"db\" / targets[64]: too many targets in a group: 65; keep at most 64"
        ]
    );

    let listeners = |count: usize| {
        let more = (3..=count)
            .map(|n| format!("    {{ protocol = \"tcp\", port = {n}, target_group = \"db\" }},\n"));
        let first = "    { protocol = \"tcp\", port = 5432, target_group = \"db\" },\n";
        ended(&[(first, &(first.to_owned() + &more.collect::<String>()))])
    };
    assert!(parse("f", &listeners(MAX_LISTENERS)).is_ok());
    assert_eq!(
        super::refused(&listeners(MAX_LISTENERS + 1)),
        [
            "f:168: vpc \"shared\" / load_balancer \"db\" / listeners[16]: too many listeners of a load balancer: 17; keep at most 16"
        ]
    );

    let ports = |count: usize| {
        let ports: Vec<_> = (1..=count).map(|n| n.to_string()).collect();
        ended(&[("[80, 8080]", &format!("[{}]", ports.join(", ")))])
    };
    assert!(parse("f", &ports(MAX_PROXY_PORTS)).is_ok());
    assert_eq!(
        super::refused(&ports(MAX_PROXY_PORTS + 1)),
        [
            "f:101: vpc \"main\" / proxy \"squid\" / ports[16]: too many ports of a proxy: 17; keep at most 16"
        ]
    );
}

#[test]
fn as_many_endpoints_interfaces_and_load_balancers_as_allowed_are_read_and_no_more() {
    // Each with an interface in each of four subnets.
    let vpc = |number: usize, endpoints: usize| {
        let mut text = format!("\n[[vpc]]\nname = \"v{number}\"\ncidrs = [\"10.60.0.0/16\"]\n");
        for subnet in 0..4 {
            text += &format!(
                "[[vpc.subnet]]\nname = \"s{subnet}\"\ncidr = \"10.60.{}.0/22\"\ninterface = \"br-{number}\"\n",
                4 * subnet
            );
        }
        for n in 0..endpoints {
            let interfaces: Vec<_> = (0..4)
                .map(|subnet| {
                    let address = format!("10.60.{}.{}", 4 * subnet + 1, n);
                    format!("{{ subnet = \"s{subnet}\", private_ip = \"{address}\" }}")
                })
                .collect();
            text += &format!(
                "[[vpc.endpoint]]\nname = \"e{n}\"\ntype = \"interface\"\naddress = \"192.0.2.1\"\ninterfaces = [{}]\n",
                interfaces.join(", ")
            );
        }
        text
    };
    let node = "[node]\nuplink = [\"eth0\"]\n";
    let full = format!("{node}{}", vpc(1, 250));
    assert!(parse("f", &full).is_ok());
    let errors = super::refused(&format!("{full}{}", vpc(2, 1)));
    assert!(
        matches!(&errors[..], [error] if error.contains("vpc \"v2\" / endpoint \"e0\": too many interfaces of endpoints in all VPCs together: 1004; keep at most 1000")),
        "{errors:?}"
    );

    let gateways = |count: usize| {
        let mut text = format!(
            "{node}{}[[vpc.prefix_list]]\nname = \"p\"\nentries = [\"192.0.2.0/24\"]\n",
            vpc(1, 0)
        );
        for n in 0..count {
            text += &format!(
                "[[vpc.endpoint]]\nname = \"g{n}\"\ntype = \"gateway\"\nprefix_lists = [\"p\"]\n"
            );
        }
        text
    };
    assert!(parse("f", &gateways(MAX_ENDPOINTS)).is_ok());
    let errors = super::refused(&gateways(MAX_ENDPOINTS + 1));
    assert!(
        matches!(&errors[..], [error] if error.contains("endpoint \"g256\": too many endpoints in a VPC: 257; keep at most 256")),
        "{errors:?}"
    );

    let balancers = |count: usize| {
        let mut text = format!("{node}{}", vpc(1, 0));
        for n in 0..count {
            text += &format!(
                "[[vpc.load_balancer]]\nname = \"b{n}\"\nsubnet = \"s0\"\nprivate_ip = \"10.60.1.{n}\"\n"
            );
        }
        text
    };
    assert!(parse("f", &balancers(64)).is_ok());
    let errors = super::refused(&balancers(65));
    assert!(
        matches!(&errors[..], [error] if error.contains("load_balancer \"b64\": too many load balancers in a VPC: 65; keep at most 64")),
        "{errors:?}"
    );
}
