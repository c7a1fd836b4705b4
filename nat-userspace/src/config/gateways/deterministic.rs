//! Checks of deterministic NAT (RFC 7422): every client has a block of ports of its own.

use ipnet::Ipv4Net;
use nat_common::deterministic::block;

use super::draft::NatGatewayDraft;
use super::pools;
use crate::config::draft::{Index, Routing, VpcDraft};
use crate::config::place::{Located, Report};
use crate::config::suggest::listed;
use crate::config::types::Target;

pub fn check(
    vpc: &VpcDraft,
    gateway: &NatGatewayDraft,
    index: &Index<'_>,
    report: &mut Report<'_>,
) {
    let Some(clients) = gateway.deterministic.given() else {
        return;
    };
    blocks(gateway, clients, report);
    subnets(vpc, gateway, clients, index, report);
}

/// How many addresses, and so clients. 0 stands for all of IPv4: no ports suffice for that.
pub fn client_count(clients: Ipv4Net) -> u32 {
    1u32.checked_shl(32 - u32::from(clients.prefix_len()))
        .unwrap_or(0)
}

fn blocks(gateway: &NatGatewayDraft, clients: &Located<Ipv4Net>, report: &mut Report<'_>) {
    let Some(addresses) = gateway.addresses() else {
        return;
    };
    let pools: Option<Vec<_>> = addresses
        .iter()
        .map(|address| Some((*address, pools::size(gateway, *address)?)))
        .collect();
    let Some([(first, size), others @ ..]) = pools.as_deref() else {
        return;
    };
    if let Some((other, other_size)) = others.iter().find(|(_, other)| other != size) {
        report.error(
            &clients.place,
            format!(
                "the public addresses have pools of different sizes: {first} has {size} ports, \
                 {other} has {other_size}"
            ),
            "give every address as many ports as the others",
        );
        return;
    }
    let count = addresses.len() as u32;
    let fits = |clients: &Ipv4Net| block(*size, count, client_count(*clients), 0).is_some();
    if fits(&clients.value) {
        return;
    }
    let mut smaller = std::iter::successors(Some(clients.value), |net| {
        Ipv4Net::new(net.network(), net.prefix_len() + 1).ok()
    });
    let remedy = match smaller.find(fits).map(|net| net.prefix_len()) {
        Some(prefix) => format!("use a prefix length from /{prefix} on, or more public_ips"),
        None => "give the addresses more ports".to_owned(),
    };
    report.error(
        &clients.place,
        format!(
            "{} has more clients than {count} pool(s) of {size} ports can serve",
            clients.value
        ),
        remedy,
    );
}

fn subnets(
    vpc: &VpcDraft,
    gateway: &NatGatewayDraft,
    clients: &Located<Ipv4Net>,
    index: &Index<'_>,
    report: &mut Report<'_>,
) {
    let Some(own_name) = gateway.name.value() else {
        return;
    };
    let own = |target: &Target| matches!(target, Target::NatGateway(name) if name == own_name);
    let outside = vpc.subnets.iter().filter_map(|subnet| {
        let (cidr, name) = (subnet.cidr.value()?, subnet.name.value()?);
        let Routing::Table(table) = index.routing_of(subnet) else {
            return None;
        };
        let mut targets = table.routes.iter().filter_map(|route| route.target.value());
        (!clients.value.contains(cidr) && targets.any(own)).then_some(name.as_str())
    });
    let outside: Vec<&str> = outside.collect();
    if !outside.is_empty() {
        report.error(
            &clients.place,
            format!(
                "subnets are routed to this gateway that lie outside {}: {}",
                clients.value,
                listed(outside)
            ),
            "take a CIDR that holds them all, or route them to another gateway",
        );
    }
}
