//! Checks of deterministic NAT (RFC 7422): every client has a block of ports of its own.

use std::collections::{HashMap, HashSet};

use ipnet::Ipv4Net;
use nat_common::deterministic::block;

use super::draft::NatGatewayDraft;
use super::pools;
use crate::config::draft::{RouteTableDraft, SubnetDraft, VpcDraft};
use crate::config::index::{Index, Routing};
use crate::config::place::{Located, Report};
use crate::config::suggest::listed;
use crate::config::types::Target;

pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let is_deterministic = |gateway: &&NatGatewayDraft| gateway.deterministic.given().is_some();
    let mut gateways = vpc.nat_gateways.iter().filter(is_deterministic).peekable();
    if gateways.peek().is_none() {
        return;
    }
    let clients_of = clients_of(vpc, index);
    for gateway in gateways {
        let Some(clients) = gateway.deterministic.given() else {
            continue;
        };
        blocks(gateway, clients, report);
        let subnets = gateway
            .name
            .value()
            .and_then(|name| clients_of.get(name.as_str()));
        subnets_inside(clients, subnets.into_iter().flatten().copied(), report);
    }
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

/// The subnets that are routed to each gateway, by its name, in the order of the file.
fn clients_of<'a>(vpc: &'a VpcDraft, index: &Index<'a>) -> HashMap<&'a str, Vec<&'a SubnetDraft>> {
    // Many subnets may share a table with many routes, so each table is read once.
    let mut targets: HashMap<*const RouteTableDraft, HashSet<&str>> = HashMap::new();
    let mut clients: HashMap<&str, Vec<&SubnetDraft>> = HashMap::new();
    for subnet in &vpc.subnets {
        let Routing::Table(table) = index.routing_of(subnet) else {
            continue;
        };
        let targets = targets.entry(table).or_insert_with(|| {
            let targets = table.routes.iter().filter_map(|route| route.target.value());
            targets
                .filter_map(|target| match target {
                    Target::NatGateway(name) => Some(name.as_str()),
                    _ => None,
                })
                .collect()
        });
        for name in targets.iter() {
            clients.entry(name).or_default().push(subnet);
        }
    }
    clients
}

fn subnets_inside<'a>(
    clients: &Located<Ipv4Net>,
    subnets: impl Iterator<Item = &'a SubnetDraft>,
    report: &mut Report<'_>,
) {
    let outside: Vec<&str> = subnets
        .filter_map(|subnet| {
            let (cidr, name) = (subnet.cidr.value()?, subnet.name.value()?);
            (!clients.value.contains(cidr)).then_some(name.as_str())
        })
        .collect();
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
