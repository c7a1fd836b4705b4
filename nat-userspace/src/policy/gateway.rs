//! A NAT gateway as entries of the tables: its settings, forwards and exemptions.

use std::net::Ipv4Addr;

use nat_common::{
    address::{Address, Port},
    clock::ticks_in,
    flow::Flow,
    map_types::{
        self, Binding, Exemption, Exemptions, Gateway, MAX_EXEMPTIONS, MAX_PUBLIC_IPS, NameKey,
        PublicAddress, PublicUse, SERVICES, binding_key, bound_key,
    },
    port_pool::{self, PortPool},
};

use super::{Compiler, prefix, too_many};
use crate::{
    config::{
        Filtering, Forward, NatGateway, NoTranslate, OnExhaustion, PassRule, PortRange, Profile,
        Timeouts, Vpc, client_count, rules_by_prefix,
    },
    error::Result,
};

impl Compiler<'_, '_> {
    pub(super) fn gateway(
        &mut self,
        vpc: &Vpc,
        vpc_number: u32,
        gateway: &NatGateway,
    ) -> Result<()> {
        let number = self.number(
            NameKey::GATEWAY,
            &format!("{}/{}", vpc.name, gateway.name),
            0,
        );
        // The last numbers are those of the node's own services, and of sessions without a gateway.
        if number >= SERVICES {
            return Err(too_many(
                "NAT gateways",
                number as usize + 1,
                SERVICES as usize,
            ));
        }
        let translates_to = gateway.addresses();
        if translates_to.len() > MAX_PUBLIC_IPS {
            return Err(too_many(
                "public IPs of a NAT gateway",
                translates_to.len(),
                MAX_PUBLIC_IPS,
            ));
        }
        let mut addresses = [Address::UNSPECIFIED; MAX_PUBLIC_IPS];
        let mut pools = [PortPool::default(); MAX_PUBLIC_IPS];
        for ((address, pool), public) in addresses.iter_mut().zip(&mut pools).zip(translates_to) {
            *address = Address::from(*public);
            *pool = port_pool(gateway.ports_of(*public))?;
            self.tables.public_addresses.insert(
                *address,
                PublicAddress::new(PublicUse::NatGateway, number, gateway.shared_with_host),
            );
        }
        let secret = self.secret(number);
        let clients = gateway.deterministic;
        let compiled = Gateway {
            secret,
            addresses,
            pools,
            address_count: translates_to.len() as u32,
            private_ip: Address::from(gateway.private_ip),
            timeouts: timeouts(&gateway.timeouts),
            vpc: vpc_number,
            flags: flags(gateway),
            max_sessions_per_client: gateway.max_sessions_per_client.unwrap_or(0),
            max_ports_per_client: gateway.max_ports_per_client.map_or(0, u32::from),
            port_rest: ticks_in(gateway.port_rest),
            clients: clients.map_or(Address::UNSPECIFIED, |net| net.network().into()),
            client_count: clients.map_or(0, client_count),
            draining_count: 0,
        };
        self.tables.gateways.insert(number, compiled);
        for forward in &gateway.forwards {
            self.forward(number as u16, vpc_number as u16, forward);
        }
        self.exemptions(number, gateway.no_translate.iter().copied())
    }

    /// The secret that a gateway has, or gets.
    pub(super) fn secret(&mut self, number: u32) -> [u64; 2] {
        let random = &mut self.facts.random;
        self.facts
            .secrets
            .get(&number)
            .copied()
            .unwrap_or_else(|| [random(), random()])
    }

    /// A static binding for each port, to be found from both sides.
    fn forward(&mut self, gateway: u16, vpc: u16, forward: &Forward) {
        let end = |address: Ipv4Addr, port| (Address::from(address), Port::new(port));
        for (public_port, inside_port) in forward.pairs() {
            let (public_ip, public_port) = end(forward.public_ip, public_port);
            let (inside_ip, inside_port) = end(*forward.to.ip(), inside_port);
            let outward = Flow {
                source: inside_ip,
                source_port: inside_port,
                protocol: forward.protocol.number(),
                ..Flow::default()
            };
            let key = binding_key(gateway, &outward);
            let binding = Binding::fixed(&key, public_ip, public_port, gateway, vpc);
            self.tables.bindings.insert(key, binding);
            let key = bound_key(&outward.with_source(public_ip, public_port).reversed());
            let bound = Binding::fixed(&key, inside_ip, inside_port, gateway, vpc);
            self.tables.bound.insert(key, bound);
        }
    }

    pub(super) fn exemptions(
        &mut self,
        scope: u32,
        rules: impl IntoIterator<Item = NoTranslate>,
    ) -> Result<()> {
        for (destination, held) in rules_by_prefix(rules) {
            let mut exemptions = Exemptions::default();
            if held.len() > exemptions.rules.len() {
                let what = "no_translate rules that hold for one destination";
                return Err(too_many(what, held.len(), MAX_EXEMPTIONS));
            }
            for (slot, rule) in exemptions.rules.iter_mut().zip(&held) {
                *slot = exemption(rule);
            }
            self.tables
                .exemptions
                .insert(prefix(scope, destination), exemptions);
        }
        Ok(())
    }
}

/// The ports of one address, numbered in the order of their ranges.
///
/// # Errors
///
/// More ranges than a pool holds.
pub fn port_pool(ranges: &[PortRange]) -> Result<PortPool> {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| port_pool::PortRange {
            first: range.first,
            last: range.last,
        })
        .collect();
    PortPool::new(&ranges).ok_or(too_many(
        "port ranges of a NAT gateway",
        ranges.len(),
        port_pool::MAX_RANGES,
    ))
}

pub(super) fn timeouts(timeouts: &Timeouts) -> map_types::Timeouts {
    map_types::Timeouts {
        tcp_established: ticks_in(timeouts.tcp_established),
        tcp_opening: ticks_in(timeouts.tcp_opening),
        tcp_closing: ticks_in(timeouts.tcp_closing),
        udp: ticks_in(timeouts.udp),
        udp_stream: ticks_in(timeouts.udp_stream),
        icmp: ticks_in(timeouts.icmp),
    }
}

fn flags(gateway: &NatGateway) -> u32 {
    let is_rfc = gateway.profile == Profile::Rfc;
    // A client of several addresses stays on one of them, unless its block says which one it is.
    let is_paired = is_rfc && gateway.addresses().len() > 1 && gateway.deterministic.is_none();
    let has_quota =
        gateway.max_sessions_per_client.is_some() || gateway.max_ports_per_client.is_some();
    let exhaustion = |answer| gateway.on_exhaustion == answer;
    let filters = |filtering| is_rfc && gateway.filtering == filtering;
    let all = [
        (Gateway::ENDPOINT_INDEPENDENT, is_rfc),
        (
            Gateway::FILTER_NOBODY,
            filters(Filtering::EndpointIndependent),
        ),
        (
            Gateway::FILTER_BY_ADDRESS,
            filters(Filtering::AddressDependent),
        ),
        (Gateway::FORWARDS, !gateway.forwards.is_empty()),
        (Gateway::EXEMPTS, !gateway.no_translate.is_empty()),
        (Gateway::COUNTS_CLIENTS, is_paired || has_quota),
        (Gateway::RESETS_UNKNOWN, !is_rfc),
        (
            Gateway::EXHAUSTION_PROHIBITED,
            exhaustion(OnExhaustion::AdminProhibited),
        ),
        (
            Gateway::EXHAUSTION_UNREACHABLE,
            exhaustion(OnExhaustion::HostUnreachable),
        ),
        (Gateway::UDP_OUTBOUND_REFRESH, is_rfc),
        (Gateway::IS_PUBLIC, !gateway.public_ips.is_empty()),
    ];
    all.iter()
        .filter(|(_, is_set)| *is_set)
        .fold(0, |flags, (flag, _)| flags | flag)
}

fn exemption(rule: &PassRule) -> Exemption {
    let (first, last) = rule
        .ports
        .map_or((0, u16::MAX), |range| (range.first, range.last));
    Exemption {
        first,
        last,
        protocol: rule.protocol.map_or(0, |protocol| protocol.number()),
        used: 1,
        reserved: 0,
    }
}
