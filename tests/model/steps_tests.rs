//! Tests of shrinking, of random gateways and of what is written about them.

use std::time::Duration;

use super::*;

fn step(number: u64) -> Step {
    Step::Advance(Duration::from_secs(number))
}

fn steps(numbers: impl IntoIterator<Item = u64>) -> Vec<Step> {
    numbers.into_iter().map(step).collect()
}

#[test]
fn shrinking_finds_the_steps_that_matter() {
    for culprits in [vec![0], vec![499], vec![17, 18], vec![3, 250, 251, 498]] {
        let wanted = steps(culprits.clone());
        let found = shrink(&steps(0..500), |steps| {
            wanted.iter().all(|step| steps.contains(step))
        });
        assert_eq!(found, wanted);
    }
}

#[test]
fn shrinking_keeps_the_order() {
    // Fails when 40 comes before 7.
    let mut all: Vec<_> = (0..100).rev().collect();
    all.extend(0..100);
    let fails = |steps: &[Step]| {
        let first = steps.iter().position(|other| *other == step(40));
        first.is_some_and(|first| steps[first..].contains(&step(7)))
    };
    assert_eq!(shrink(&steps(all), fails), steps([40, 7]));
}

#[test]
fn what_does_not_fail_or_takes_too_long_is_not_shrunk_on_and_on() {
    let all = steps(0..10);
    assert_eq!(shrink(&all, |_| false), all);
    assert_eq!(shrink(&[], |_| true), []);
    let mut runs = 0;
    let many = steps(0..5_000);
    let kept = shrink(&many, |steps| {
        runs += 1;
        steps.len() > 4_000
    });
    assert!(runs <= 2_000 && kept.len() > 4_000);
}

#[test]
fn random_gateways_are_sound_and_of_every_kind() {
    let all: Vec<_> = (0..300).map(random_config).collect();
    for config in &all {
        assert_eq!(config.problems(), [""; 0]);
    }
    let gateways = || all.iter().map(|config| &config.gateways[0]);
    type Is = fn(&NatGateway) -> bool;
    let kinds: [(&str, Is); 10] = [
        ("aws", |gateway| gateway.profile == Profile::Aws),
        ("shared", |gateway| gateway.shared_with_host),
        ("rest", |gateway| {
            gateway.profile == Profile::Rfc(Filtering::EndpointIndependent)
                && !gateway.port_rest.is_zero()
        }),
        ("dependent", |gateway| {
            gateway.profile == Profile::Rfc(Filtering::AddressDependent)
        }),
        ("blocks", |gateway| gateway.deterministic.is_some()),
        ("own ports", |gateway| !gateway.address_ports.is_empty()),
        ("quota", |gateway| gateway.max_sessions_per_client.is_some()),
        ("port quota", |gateway| {
            gateway.max_ports_per_client.is_some()
        }),
        ("forwards", |gateway| !gateway.forwards.is_empty()),
        ("rules", |gateway| !gateway.no_translate.is_empty()),
    ];
    for (what, is) in kinds {
        assert!(
            gateways().filter(|gateway| is(gateway)).count() >= 10,
            "{what}"
        );
    }
}

#[test]
fn a_gateway_is_written_as_the_configuration_has_it() {
    let gateway = NatGateway {
        public_ips: vec![[198, 51, 100, 10].into(), [198, 51, 100, 11].into()],
        ports: vec![1024..=2000, 3000..=3000],
        address_ports: vec![([198, 51, 100, 11].into(), vec![5000..=5001])],
        max_sessions_per_client: Some(9),
        max_ports_per_client: Some(4),
        no_translate: vec![
            NoTranslate {
                destination: "203.0.113.0/24".parse().unwrap(),
                protocol: Some(6),
                ports: Some(443..=443),
            },
            NoTranslate {
                destination: "192.0.2.0/24".parse().unwrap(),
                protocol: None,
                ports: None,
            },
        ],
        forwards: vec![Forward {
            protocol: 17,
            public_ip: [198, 51, 100, 10].into(),
            ports: 8000..=8010,
            to: "10.40.2.101:80".parse().unwrap(),
        }],
        ..NatGateway::new(Vec::new()).rfc(Filtering::EndpointIndependent)
    };
    let expected = r#"public_ips = ["198.51.100.10", "198.51.100.11"]
shared_with_host = false
profile = "rfc"
filtering = "endpoint-independent"
max_ports_per_client = 4
port_rest = 120
ports = ["1024-2000", "3000-3000"]
address_ports = [{ public_ip = "198.51.100.11", ports = ["5000-5001"] }]
max_sessions_per_client = 9
on_exhaustion = "admin-prohibited"
no_translate = [{ destination = "203.0.113.0/24", protocol = "tcp", ports = "443" }, { destination = "192.0.2.0/24" }]
forward = [{ protocol = "udp", port = "8000-8010", to = "10.40.2.101:80", public_ip = "198.51.100.10" }]
timeouts = { tcp = 7440, tcp_opening = 240, tcp_closing = 240, udp = 300, udp_stream = 300, icmp = 60 }
"#;
    assert_eq!(gateway.toml(), expected);
    let mut config = ModelConfig::classic();
    config.gateways = vec![NatGateway {
        deterministic: Some("10.40.2.0/24".parse().unwrap()),
        ..NatGateway::new(vec![[198, 51, 100, 10].into()])
    }];
    let expected = r#"public_ips = ["198.51.100.10"]
shared_with_host = false
profile = "aws"
ports = ["1024-65535"]
on_exhaustion = "admin-prohibited"
deterministic = "10.40.2.0/24"
timeouts = { tcp = 350, tcp_opening = 240, tcp_closing = 240, udp = 350, udp_stream = 350, icmp = 60 }
"#;
    assert_eq!(config.gateway_toml(), expected);
}
