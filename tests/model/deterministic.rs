//! Deterministic NAT (RFC 7422): each client has a block of ports of its own.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::{Cidr, NatGateway};

/// How many ports each client has; 0 when there are not enough. All public IPs
/// have the same number of ports.
pub(super) fn block_size(gateway: &NatGateway, clients: Cidr) -> u64 {
    let pool: u64 = gateway.ports.iter().map(|range| range.len() as u64).sum();
    pool / clients_per_ip(gateway, clients)
}

fn clients_per_ip(gateway: &NatGateway, clients: Cidr) -> u64 {
    clients.size().div_ceil(gateway.public_ips.len() as u64)
}

/// The public IP and the ports of one client; `None` for no client.
pub(super) fn block_of(
    gateway: &NatGateway,
    clients: Cidr,
    client: Ipv4Addr,
) -> Option<(Ipv4Addr, Vec<RangeInclusive<u16>>)> {
    let number = u64::from(clients.offset(client)?);
    let (size, per_ip) = (
        block_size(gateway, clients),
        clients_per_ip(gateway, clients),
    );
    let public_ip = gateway.public_ips[(number / per_ip) as usize];
    let start = number % per_ip * size;
    Some((public_ip, cut(&gateway.ports, start, size)))
}

/// `length` ports of the pool, from the one with the index `start` on.
fn cut(pool: &[RangeInclusive<u16>], start: u64, length: u64) -> Vec<RangeInclusive<u16>> {
    let mut cut = Vec::new();
    let mut before = 0;
    for range in pool {
        let size = range.len() as u64;
        let from = start.max(before);
        let to = (start + length).min(before + size);
        if from < to {
            let port = |index: u64| range.start() + (index - before) as u16;
            cut.push(port(from)..=port(to - 1));
        }
        before += size;
    }
    cut
}
