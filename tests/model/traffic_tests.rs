//! Random traffic through two reference NATs: one acts, the other judges.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::*;
use crate::packets::addresses::{NAT_PUBLIC, PRIVATE_A, PRIVATE_B, SERVER};
use crate::packets::{PacketBuilder, checksum_errors, tcp_flags, translated_checksum_errors};

const NOW: Duration = Duration::ZERO;
const PRIVATE_SUBNET: Side = Side::Inside(1);

/// A configuration in which everything happens: a small pool, a shared gateway,
/// a subnet without routes, two subnets behind one interface.
pub(super) fn crowded() -> ModelConfig {
    let mut config = ModelConfig::classic();
    config.gateways[0].ports = vec![40_000..=40_003];
    config.gateways.push(NatGateway {
        ports: vec![32_768..=60_999],
        shared_with_host: true,
        ..NatGateway::new(vec![Ipv4Addr::new(198, 51, 100, 2)])
    });
    config.subnets.push(Subnet {
        vpc: 0,
        acl: None,
        cidr: "10.40.3.0/24".parse().unwrap(),
        interface: 1,
        routes: vec![Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            target: Target::NatGateway(1),
        }],
    });
    config.subnets.push(Subnet {
        vpc: 0,
        acl: None,
        cidr: "10.40.4.0/24".parse().unwrap(),
        interface: 2,
        routes: Vec::new(),
    });
    config
}

/// The same pools in another order: other choices, all of them allowed.
fn reordered(mut config: ModelConfig) -> ModelConfig {
    for gateway in &mut config.gateways {
        // The order of a pool is that of the clients' blocks.
        if gateway.deterministic.is_some() {
            continue;
        }
        gateway.public_ips.rotate_left(1);
        let halves = gateway.ports.iter().flat_map(|range| {
            let middle = range.start().midpoint(*range.end());
            [middle + 1..=*range.end(), *range.start()..=middle]
        });
        gateway.ports = halves.filter(|half| !half.is_empty()).collect();
    }
    config
}

/// Runs random traffic through one NAT that chooses otherwise, and has another judge it.
fn judged_traffic(seed: u64, mut traffic: Traffic, config: ModelConfig) {
    let mut actor = Model::new(reordered(config.clone()));
    let mut judge = Model::new(config);
    let (mut now, mut actors_now) = (NOW, NOW);
    while let Some(step) = traffic.next() {
        let actors = match step.clone() {
            Step::Apply(config) => Step::Apply(Box::new(reordered(*config))),
            other => other,
        };
        actors.take(&mut actor, &mut actors_now);
        let Some((ingress, frame)) = step.take(&mut judge, &mut now) else {
            continue;
        };
        let output = actor.handle(now, ingress, &frame);
        let actual = output.as_actual(&frame);
        let mut mapping = |flow: &Flow| actor.mapping(flow);
        let verdict = judge.check_with(now, ingress, &frame, &actual, &mut mapping);
        assert_eq!(verdict, Ok(()), "seed {seed}");
        if let Some((sent, seen)) = output.sent(&frame) {
            traffic.observe(ingress, sent, seen);
        }
    }
    assert_eq!(actor.sessions(), judge.sessions());
}

#[test]
fn judge_agrees_with_a_nat_that_chooses_other_ports() {
    for (seed, config) in [(1, ModelConfig::classic()), (2, crowded()), (3, crowded())] {
        judged_traffic(seed, random_traffic(seed, 6_000, &config), config);
    }
}

#[test]
fn judge_agrees_with_other_choices_in_every_random_configuration() {
    for seed in 0..100 {
        let config = random_config(seed);
        judged_traffic(seed, random_traffic(seed, 1_500, &config), config);
        let config = random_vpcs(seed);
        let traffic = random_traffic(seed, 1_500, &config).with_changes();
        judged_traffic(seed, traffic, config);
    }
}

/// Runs random traffic; `each` sees every packet and what became of it.
pub(super) fn with_traffic(
    mut traffic: Traffic,
    config: ModelConfig,
    mut each: impl FnMut(&Model, Side, &[u8], &Output),
) {
    let mut nat = Model::new(config);
    let mut now = NOW;
    while let Some(step) = traffic.next() {
        let Some((ingress, frame)) = step.take(&mut nat, &mut now) else {
            continue;
        };
        let output = nat.handle(now, ingress, &frame);
        if let Some((sent, seen)) = output.sent(&frame) {
            traffic.observe(ingress, sent, seen);
        }
        each(&nat, ingress, &frame, &output);
    }
}

#[test]
fn traffic_meets_every_verdict_and_every_drop_reason() {
    let mut seen = BTreeMap::new();
    for seed in 0..80 {
        let (config, traffic);
        if seed % 2 == 0 {
            config = random_config(seed);
            traffic = random_traffic(seed, 1_000, &config);
        } else {
            config = random_vpcs(seed);
            traffic = random_traffic(seed, 1_000, &config).with_changes();
        }
        with_traffic(traffic, config, |_, ingress, _, output| {
            let inside = ingress != Side::Uplink;
            let what = match output {
                Output::Pass => "pass",
                Output::Drop(reason) => reason.name(),
                Output::Reply(_) => "reply",
                Output::Forward { egress, .. } => match (inside, egress) {
                    (true, Side::Uplink) => "out",
                    (false, _) => "in",
                    (true, Side::Inside(_)) => "hairpin",
                },
                Output::Refuse { reason, .. } => {
                    *seen.entry(reason.name()).or_insert(0) += 1;
                    "refuse"
                }
                Output::Hold => "hold",
                Output::Release(_) => "release",
                Output::Cut(_) => "cut",
            };
            *seen.entry(what).or_insert(0) += 1;
        });
    }
    // None can be configured to be dropped for this one.
    let all = DropReason::ALL.iter();
    let all = all.filter(|reason| **reason != DropReason::SourceDestCheck);
    for wanted in all.map(|reason| reason.name()) {
        assert!(seen.contains_key(wanted), "no packet dropped for {wanted}");
        assert_eq!(
            DropReason::from_name(wanted).map(DropReason::name),
            Some(wanted)
        );
    }
    let wanted = [
        ("pass", 2_000),
        ("reply", 100),
        ("out", 8_000),
        ("in", 2_000),
        ("hairpin", 300),
        ("refuse", 1_000),
        ("hold", 300),
        ("release", 100),
        ("cut", 50),
    ];
    for (what, least) in wanted {
        let count = seen.get(what).copied().unwrap_or(0);
        assert!(count >= least, "{what}: {seen:?}");
    }
}

#[test]
fn what_was_right_is_right_after_translation() {
    let configs = (0..6).map(random_config).chain((0..6).map(random_vpcs));
    let configs = configs.chain([crowded()]);
    for (seed, config) in configs.enumerate() {
        let traffic = random_traffic(seed as u64, 2_000, &config);
        with_traffic(traffic, config, |_, _, frame, output| {
            let sent = match output {
                Output::Release(outputs) => &outputs[0],
                other => other,
            };
            match sent {
                Output::Forward { frame: out, .. } if checksum_errors(frame).is_empty() => {
                    assert_eq!(translated_checksum_errors(frame, out), [""; 0]);
                }
                Output::Refuse { reply, .. } if checksum_errors(frame).is_empty() => {
                    assert_eq!(checksum_errors(reply), [""; 0]);
                }
                _ => {}
            }
        });
    }
}

#[test]
fn traffic_repeats_with_its_seed() {
    let config = crowded();
    let steps = |seed| random_traffic(seed, 500, &config).collect::<Vec<_>>();
    assert_eq!(steps(6), steps(6));
    assert_ne!(steps(6), steps(7));
}

#[test]
fn splitmix64_gives_its_published_numbers() {
    let mut random = Random::new(1_234_567);
    assert_eq!(random.bits(), 6_457_827_717_110_365_317);
    assert_eq!(random.bits(), 3_203_168_211_198_807_973);
}

fn syn(host: Ipv4Addr) -> PacketBuilder {
    let to = SocketAddrV4::new(SERVER, 443);
    PacketBuilder::tcp(SocketAddrV4::new(host, 40_001), to).flags(tcp_flags::SYN)
}

fn translated(port: u16) -> Vec<u8> {
    let (from, to) = (
        SocketAddrV4::new(NAT_PUBLIC, port),
        SocketAddrV4::new(SERVER, 443),
    );
    PacketBuilder::tcp(from, to)
        .flags(tcp_flags::SYN)
        .ttl(63)
        .build()
}

fn judged(judge: &mut Model, host: Ipv4Addr, frame: &[u8]) -> Result<(), String> {
    let actual = Actual::Forward {
        egress: None,
        next_hop: None,
        frame,
    };
    judge.check(NOW, PRIVATE_SUBNET, &syn(host).build(), &actual)
}

#[test]
fn judge_takes_over_a_free_port_and_no_other() {
    let mut judge = Model::new(ModelConfig::classic());
    let early = judged(&mut judge, PRIVATE_A, &translated(50_000));
    assert!(early.unwrap_err().contains("was free"));
    assert_eq!(judged(&mut judge, PRIVATE_A, &translated(40_001)), Ok(()));
    assert!(
        judged(&mut judge, PRIVATE_B, &translated(40_001))
            .unwrap_err()
            .contains("is taken")
    );
    assert!(
        judged(&mut judge, PRIVATE_B, &translated(1023))
            .unwrap_err()
            .contains("not in the pool")
    );
    assert_eq!(judged(&mut judge, PRIVATE_B, &translated(50_000)), Ok(()));
    // Now that it has a port it stays with it.
    assert!(judged(&mut judge, PRIVATE_B, &translated(50_001)).is_err());
    assert_eq!(judge.sessions().len(), 2);
}

#[test]
fn judge_notices_every_flipped_bit_of_the_ip_packet() {
    let right = translated(40_001);
    for bit in 14 * 8..right.len() * 8 {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let mut judge = Model::new(ModelConfig::classic());
        assert!(judged(&mut judge, PRIVATE_A, &wrong).is_err(), "bit {bit}");
    }
}

#[test]
fn judge_notices_wrong_verdicts() {
    let frame = syn(PRIVATE_A).build();
    let spoofed = syn(Ipv4Addr::new(172, 16, 0, 1)).build();
    let local = syn(PRIVATE_A).destination(PRIVATE_B).build();
    let reply = translated(40_001);
    let rows: [(&[u8], Actual<'_>); 7] = [
        (&frame, Actual::Pass(&frame)),
        (&frame, Actual::Drop(DropReason::PortExhausted)),
        (&frame, Actual::Reply(&reply)),
        (
            &frame,
            Actual::Forward {
                egress: Some(PRIVATE_SUBNET),
                next_hop: None,
                frame: &reply,
            },
        ),
        (&spoofed, Actual::Drop(DropReason::NoRoute)),
        (&spoofed, Actual::Pass(&spoofed)),
        (&local, Actual::Pass(&reply)),
    ];
    for (frame, actual) in rows {
        let mut judge = Model::new(ModelConfig::classic());
        let verdict = judge.check(NOW, PRIVATE_SUBNET, frame, &actual);
        assert!(verdict.is_err(), "{actual:?} was taken");
    }
}

#[test]
fn contradicting_configurations_are_refused() {
    let mut config = ModelConfig::classic();
    config.instances[0].public = Some(NAT_PUBLIC);
    config.instances.push(Instance::new(0, Ipv4Addr::LOCALHOST));
    config.gateways[0].ports = vec![std::ops::RangeInclusive::new(5, 4)];
    assert_eq!(config.problems().len(), 3, "{:?}", config.problems());
    config.subnets[0].routes[0].target = Target::NatGateway(3);
    config.subnets[1].routes[0].target = Target::Instance(0);
    config.subnets[1].acl = Some(0);
    assert_eq!(config.problems().len(), 3, "{:?}", config.problems());
}
