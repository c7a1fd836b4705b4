//! Random gateways in the classic picture.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    Cidr, Filtering, Forward, ModelConfig, NatGateway, NoTranslate, OnExhaustion, Random, Timeouts,
};
use crate::packets::{addresses, protocol};

/// The classic picture with a random NAT gateway, the same for the same seed. When
/// the gateway is shared, the host must have its public IPs.
#[must_use]
pub fn random_config(seed: u64) -> ModelConfig {
    let mut random = Random::new(seed);
    let mut config = ModelConfig::classic();
    config.icmp_errors_made = !random.one_in(8);
    let pool = [10, 11, 12].map(|last| Ipv4Addr::new(198, 51, 100, last));
    let clients = Cidr::new(Ipv4Addr::new(10, 40, 2, 0), 24);
    config.gateways = vec![random_gateway(&mut random, &pool, clients)];
    config
}

/// With some of these public IPs, for the hosts of a subnet.
pub(super) fn random_gateway(random: &mut Random, pool: &[Ipv4Addr], clients: Cidr) -> NatGateway {
    let ips = random.pick(&[1, 1, 2, 3]);
    let mut gateway = NatGateway::new(pool[..ips].to_vec());
    gateway.shared_with_host = random.one_in(4);
    match random.below(5) {
        0 | 1 => {}
        2 => gateway = gateway.rfc(Filtering::EndpointIndependent),
        3 => gateway = gateway.rfc(Filtering::AddressDependent),
        _ => gateway = gateway.rfc(Filtering::AddressAndPortDependent),
    }
    gateway.ports = random_pool(random);
    gateway.port_rest = Duration::from_secs(random.pick(&[0, 5, 120]));
    gateway.on_exhaustion = random.pick(&[
        OnExhaustion::AdminProhibited,
        OnExhaustion::HostUnreachable,
        OnExhaustion::Silent,
    ]);
    if random.one_in(6) {
        // 256 clients with a few ports each.
        gateway.deterministic = Some(clients);
        let pools = [2000..=3023, 1024..=65_535];
        gateway.ports = vec![pools[random.below(2)].clone()];
    } else if random.one_in(3) {
        let ip = random.pick(&gateway.public_ips);
        gateway.address_ports = vec![(ip, random_pool(random))];
    }
    if random.one_in(3) {
        gateway.max_sessions_per_client = Some(3 + random.below(10));
    }
    if gateway.is_rfc() && random.one_in(3) {
        gateway.max_ports_per_client = Some(2 + random.below(5));
    }
    if random.one_in(2) {
        gateway.no_translate = random_no_translate(random);
    }
    if random.one_in(2) && (gateway.is_rfc() || gateway.shared_with_host) {
        gateway.forwards = random_forwards(random, &gateway, clients);
    }
    if random.one_in(3) {
        gateway.timeouts = random_timeouts(random);
    }
    gateway
}

/// The usual one, tiny ones, one with both classes of ports.
fn random_pool(random: &mut Random) -> Vec<RangeInclusive<u16>> {
    match random.below(5) {
        0 => vec![1024..=65_535],
        1 => vec![40_000..=40_003],
        2 => vec![1020..=1027, 40_001..=40_004],
        3 => vec![1024..=1024, 5353..=5354, 65_534..=65_535],
        _ => vec![32_768..=60_999],
    }
}

fn random_no_translate(random: &mut Random) -> Vec<NoTranslate> {
    let any = random.pick(&[
        Cidr::new(addresses::OTHER_SERVER, 32),
        Cidr::new(Ipv4Addr::new(198, 51, 100, 81), 32),
    ]);
    let protocols = [
        None,
        Some(protocol::TCP),
        Some(protocol::UDP),
        Some(protocol::ICMP),
    ];
    let rules = 1 + random.below(2);
    (0..rules)
        .map(|_| {
            let protocol = random.pick(&protocols);
            let has_ports = matches!(protocol, Some(protocol::TCP | protocol::UDP));
            let ports = [443..=443, 53..=80];
            NoTranslate {
                destination: any,
                protocol,
                ports: (has_ports && random.one_in(2)).then(|| ports[random.below(2)].clone()),
            }
        })
        .collect()
}

fn random_forwards(random: &mut Random, gateway: &NatGateway, clients: Cidr) -> Vec<Forward> {
    let to = |host, port| SocketAddrV4::new(clients.nth(host), port);
    let mut forward = |protocol, ports, to| Forward {
        protocol,
        public_ip: random.pick(&gateway.public_ips),
        ports,
        to,
    };
    let all = [
        forward(protocol::TCP, 8080..=8080, to(101, 80)),
        forward(protocol::UDP, 5353..=5354, to(150, 53)),
        forward(protocol::TCP, 40_001..=40_002, to(201, 40_002)),
        forward(protocol::UDP, 40_003..=40_003, to(101, 40_003)),
    ];
    let count = 1 + random.below(all.len());
    all.into_iter().take(count).collect()
}

fn random_timeouts(random: &mut Random) -> Timeouts {
    let mut seconds = || Duration::from_secs(random.pick(&[2, 4, 30, 60, 240, 600]));
    Timeouts {
        tcp: seconds(),
        tcp_opening: seconds(),
        tcp_closing: seconds(),
        udp: seconds(),
        udp_stream: seconds(),
        icmp: seconds(),
    }
}
