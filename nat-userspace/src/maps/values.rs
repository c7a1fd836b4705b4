//! Keys and values of the maps as JSON.

use std::net::Ipv4Addr;

use nat_common::{
    address::{Address, Port},
    flow::protocol,
    flow_cache::{Hop, Line, Path},
    lifecycle::State,
    map_types::{
        ALL_GATEWAYS, ApplianceKey, Binding, Client, ClientKey, Exemptions, Gateway, GatewayPeak,
        GatewayTraffic, Generation, GroupKey, Holds, Instance, Interface, Judgement, Lease,
        Listener, ListenerKey, NameKey, Paired, PortKey, PublicAddress, PublicUse, Route,
        ScopedAddress, Session, SessionKey, Settings, Subnet, Target, TargetTable,
    },
    port_pool::PortPool,
};
use serde_json::{Value, json};

use crate::endpoints;

pub fn address(address: &Address) -> Value {
    json!(Ipv4Addr::from(*address))
}

pub fn session_key(key: &SessionKey) -> Value {
    let flow = key.flow();
    json!({
        "protocol": protocol::name(flow.protocol),
        "vpc": key.vpc(),
        "answers": key.scope() & SessionKey::ANSWERS != 0,
        "via_instance": key.scope() & SessionKey::VIA_INSTANCE != 0,
        "source": address(&flow.source),
        "source_port": flow.source_port.get(),
        "destination": address(&flow.destination),
        "destination_port": flow.destination_port.get(),
    })
}

pub fn session(session: &Session) -> Value {
    let known = [
        (Holds::BINDING, "binding"),
        (Holds::PERMISSION, "permission"),
        (Holds::CLIENT, "client"),
    ];
    let holds: Vec<_> = known
        .iter()
        .filter(|(hold, _)| session.holds().include(*hold))
        .map(|(_, name)| *name)
        .collect();
    json!({
        "mapped_address": address(&session.mapped_address()),
        "mapped_port": session.mapped_port().get(),
        "owner": session.owner(),
        "mark": format!("{:#018x}", session.mark),
        "created_tick": session.created(),
        "last_seen_tick": session.last_seen(),
        "tcp_seen": format!("{:#04x}", session.tcp_seen().bits()),
        "holds": holds,
        "passed_epoch": session.passed().epoch(),
        "passed_interface": session.passed().origin().interface(),
        "packets": session.packets(),
        "bytes": session.bytes(),
    })
}

pub fn interface(interface: &Interface) -> Value {
    let known = [
        (Interface::UPLINK, "uplink"),
        (Interface::INSIDE, "inside"),
        (Interface::XDP_TARGET, "xdp_target"),
        (Interface::HAS_INSTANCES, "has_instances"),
        (Interface::ONE_PREFIX, "one_prefix"),
        (Interface::STRICT, "strict"),
        (Interface::HAS_APPLIANCES, "has_appliances"),
        (Interface::TRACKS, "tracks"),
        (Interface::SERVICES, "services"),
        (Interface::SERVED, "served"),
        (Interface::FORWARDING_SET, "forwarding_set"),
        (Interface::CLSACT, "clsact"),
        (Interface::CLSACT_OURS, "clsact_ours"),
    ];
    let flags: Vec<_> = known
        .iter()
        .filter(|(flag, _)| interface.is(*flag))
        .map(|(_, name)| *name)
        .collect();
    json!({
        "flags": flags,
        "vpc": interface.vpc,
        "mac": mac(interface.mac),
        "address": address(&interface.address),
    })
}

pub fn name_key(key: &NameKey) -> Value {
    let kind = match key.kind {
        NameKey::VPC => "vpc",
        NameKey::GATEWAY => "gateway",
        NameKey::INTERFACE => "interface",
        NameKey::ROUTE_TABLE => "route_table",
        NameKey::NODE => "node",
        NameKey::SUBNET => "subnet",
        NameKey::ACL => "network_acl",
        NameKey::GROUP => "security_group",
        NameKey::GROUP_SET => "security_groups",
        NameKey::INTERNET_GATEWAY => "internet_gateway",
        NameKey::TARGET_GROUP => "target_group",
        _ => "unknown",
    };
    json!({ "kind": kind, "number": key.number })
}

pub fn public_address(public: &PublicAddress) -> Value {
    match public.purpose() {
        PublicUse::Elastic(private) => {
            json!({ "use": "elastic", "vpc": public.owner(), "private": address(&private) })
        }
        PublicUse::NatGateway => json!({
            "use": "nat-gateway",
            "gateway": public.owner(),
            "shared_with_host": public.is_shared(),
        }),
    }
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Keys of the policy maps, without their side.
pub fn interface_key(index: u32) -> Value {
    json!(index)
}

pub fn public_key(key: &ScopedAddress) -> Value {
    address(&key.address)
}

pub fn instance_key(key: &ScopedAddress) -> Value {
    json!({ "vpc": key.scope, "address": address(&key.address) })
}

pub fn instance(instance: &Instance) -> Value {
    if instance.is(Instance::IS_ENDPOINT) {
        return json!({ "endpoint": true, "gateway": instance.gateway, "security_groups": instance.groups });
    }
    json!({
        "public": address(&instance.public),
        "interface": instance.interface,
        "security_groups": instance.groups,
        "mac": mac(instance.mac),
        "source_dest_check": !instance.is(Instance::IS_APPLIANCE),
    })
}

/// Of an endpoint or a load balancer, or of a subnet that diverts to a proxy.
pub fn listener_key(key: &ListenerKey) -> Value {
    const OF_SUBNET: u32 = ListenerKey::diversion(0);
    let (owner, number) = if key.gateway & OF_SUBNET != 0 {
        ("diverting_subnet", key.gateway & !OF_SUBNET)
    } else {
        ("gateway", key.gateway)
    };
    let mut fields = json!({ "protocol": protocol::name(key.protocol), "port": key.port.get() });
    if key.protocol == 0 {
        fields["protocol"] = json!("all");
    }
    fields[owner] = json!(number);
    fields
}

/// A proxy that is down has no address.
pub fn listener(listener: &Listener) -> Value {
    if listener.table != 0 {
        json!({ "target_group": listener.table, "vpc": listener.vpc, "gateway": listener.gateway })
    } else {
        json!({ "address": address(&listener.address), "gateway": listener.gateway })
    }
}

/// The targets with how many slots each has.
pub fn target_table(table: &TargetTable) -> Value {
    let slots = endpoints::slots(table);
    let places = (0u8..).zip(&table.targets);
    let targets = places.filter(|(_, target)| target.port != Port::NONE);
    let targets: Vec<_> = targets
        .map(|(place, target)| {
            json!({
                "address": address(&target.address),
                "port": target.port.get(),
                "slots": slots.get(&place).unwrap_or(&0),
                "draining": target.is_draining != 0,
            })
        })
        .collect();
    json!({ "targets": targets })
}

pub fn appliance_key(key: &ApplianceKey) -> Value {
    json!({ "interface": key.interface, "mac": mac(key.mac) })
}

/// Subnets are found by interface and by VPC.
pub fn subnet_scope(scope: u32) -> Value {
    const OF_VPC: u32 = ScopedAddress::subnets_of_vpc(0);
    if scope & OF_VPC != 0 {
        json!({ "vpc": scope & !OF_VPC })
    } else {
        json!({ "interface": scope })
    }
}

pub fn subnet(subnet: &Subnet) -> Value {
    json!({
        "number": subnet.number,
        "route_table": subnet.route_table,
        "interface": subnet.interface,
        "network_acl": subnet.acl,
        "router": address(&subnet.router),
        "host_is_router": subnet.is(Subnet::HOST_IS_ROUTER),
        "host_is_in_it": subnet.is(Subnet::HOST_IS_IN_IT),
    })
}

/// A route table, or the policy of a gateway endpoint.
pub fn route_scope(scope: u32) -> Value {
    const OF_POLICY: u32 = Gateway::policy_table(0);
    if scope & OF_POLICY != 0 {
        return json!({ "policy_of_gateway": scope & !OF_POLICY });
    }
    json!({ "route_table": scope })
}

pub fn ruleset_scope(scope: u32) -> Value {
    json!({ "ruleset": scope })
}

pub fn group_key(key: &GroupKey) -> Value {
    json!({ "ruleset": key.ruleset, "security_groups": key.set })
}

pub fn port_key(bits: u32, key: &PortKey) -> Value {
    let mut fields = json!({ "class": key.class });
    if let Some(bits) = bits.checked_sub(PortKey::PROTOCOL_BITS) {
        fields["protocol"] = json!(key.protocol);
        fields["ports"] = json!(format!("{}/{bits}", key.port()));
    }
    fields
}

pub fn judgement(judgement: &Judgement) -> Value {
    if judgement.is_elsewhere() {
        return json!({ "as_class": judgement.rule() });
    }
    json!({ "allow": judgement.allows(), "rule": judgement.rule() })
}

pub fn generation(word: &u64) -> Value {
    let generation = Generation(*word);
    json!({ "epoch": generation.epoch(), "writing": generation.0 >> 32 })
}

pub fn gateway_traffic(traffic: &GatewayTraffic) -> Value {
    json!({
        "packets_out": traffic.packets_out,
        "bytes_out": traffic.bytes_out,
        "packets_in": traffic.packets_in,
        "bytes_in": traffic.bytes_in,
    })
}

pub fn gateway_peak(peak: &GatewayPeak) -> Value {
    json!({
        "packets_per_second": peak.packets_per_second,
        "bytes_per_second": peak.bytes_per_second,
    })
}

pub fn route(route: &Route) -> Value {
    match route.target() {
        Target::Local => json!({ "target": "local" }),
        Target::InternetGateway => json!({ "target": "internet-gateway" }),
        Target::NatGateway(number) => json!({ "target": "nat-gateway", "gateway": number }),
        Target::Instance(instance) => {
            json!({ "target": "instance", "address": address(&instance) })
        }
        Target::Blackhole => json!({ "target": "blackhole" }),
        Target::Gone => json!({ "target": "blackhole", "because": "what it led to is gone" }),
    }
}

/// Without the secret: whoever knows it can guess ports.
pub fn gateway(gateway: &Gateway) -> Value {
    let count = (gateway.address_count as usize).min(gateway.addresses.len());
    let addresses: Vec<_> = gateway
        .addresses
        .iter()
        .zip(&gateway.pools)
        .take(count)
        .map(|(each, pool)| json!({ "address": address(each), "ports": ranges(pool) }))
        .collect();
    let known = [
        (Gateway::ENDPOINT_INDEPENDENT, "endpoint_independent"),
        (Gateway::FILTER_NOBODY, "filter_nobody"),
        (Gateway::FILTER_BY_ADDRESS, "filter_by_address"),
        (Gateway::FORWARDS, "forwards"),
        (Gateway::EXEMPTS, "exempts"),
        (Gateway::COUNTS_CLIENTS, "counts_clients"),
        (Gateway::RESETS_UNKNOWN, "resets_unknown"),
        (Gateway::EXHAUSTION_PROHIBITED, "exhaustion_prohibited"),
        (Gateway::EXHAUSTION_UNREACHABLE, "exhaustion_unreachable"),
        (Gateway::UDP_OUTBOUND_REFRESH, "udp_outbound_refresh"),
        (Gateway::IS_PUBLIC, "is_public"),
        (Gateway::KEEPS_SOURCE, "keeps_source"),
        (Gateway::HAS_POLICY, "has_policy"),
    ];
    let flags: Vec<_> = known
        .iter()
        .filter(|(flag, _)| gateway.is(*flag))
        .map(|(_, name)| *name)
        .collect();
    let timeouts = &gateway.timeouts;
    json!({
        "addresses": addresses,
        "private_ip": address(&gateway.private_ip),
        "vpc": gateway.vpc,
        "flags": flags,
        "max_sessions_per_client": gateway.max_sessions_per_client,
        "max_ports_per_client": gateway.max_ports_per_client,
        "port_rest_ticks": gateway.port_rest,
        "clients": address(&gateway.clients),
        "client_count": gateway.client_count,
        "timeout_ticks": {
            "tcp_established": timeouts.tcp_established,
            "tcp_opening": timeouts.tcp_opening,
            "tcp_closing": timeouts.tcp_closing,
            "udp": timeouts.udp,
            "udp_stream": timeouts.udp_stream,
            "icmp": timeouts.icmp,
        },
    })
}

fn ranges(pool: &PortPool) -> Vec<String> {
    let ranges = pool.ranges().iter();
    ranges
        .map(|range| format!("{}-{}", range.first, range.last))
        .collect()
}

/// An inside address and port behind a gateway.
pub fn binding_key(key: &SessionKey) -> Value {
    let flow = key.flow();
    json!({
        "gateway": key.vpc(),
        "protocol": protocol::name(flow.protocol),
        "source": address(&flow.source),
        "source_port": flow.source_port.get(),
    })
}

/// A public address and port, or the leave of a remote address to write to it.
pub fn bound_key(key: &SessionKey) -> Value {
    let flow = key.flow();
    let mut fields = json!({
        "protocol": protocol::name(flow.protocol),
        "public": address(&flow.destination),
        "public_port": flow.destination_port.get(),
    });
    if flow.source != Address::UNSPECIFIED {
        fields["permitted"] = address(&flow.source);
    }
    fields
}

/// What a key of BINDINGS or BOUND leads to.
pub fn binding(key: &SessionKey, binding: &Binding) -> Value {
    let lease = Lease(binding.lease);
    let mut fields = json!({
        "address": address(&binding.address),
        "port": binding.port.get(),
        "gateway": binding.gateway,
        "vpc": binding.vpc,
        "static": binding.is_static(),
        "state": state(lease, |state| key.mark(state)),
        "held_by": if binding.is_static() { 0 } else { lease.count() },
    });
    if lease.key_and_state() == key.mark(State::Dying) {
        fields["freed_tick"] = json!(binding.freed);
    }
    fields
}

fn state(lease: Lease, mark: impl Fn(State) -> u32) -> &'static str {
    let is = |state| lease.key_and_state() == mark(state);
    if is(State::Live) {
        "live"
    } else if is(State::Dying) {
        "resting"
    } else if is(State::Dead) {
        "dead"
    } else {
        "unknown"
    }
}

pub fn client_key(key: &ClientKey) -> Value {
    let (gateway, vpc) = (
        key.gateway & ((1 << ClientKey::VPC_SHIFT) - 1),
        key.gateway >> ClientKey::VPC_SHIFT,
    );
    let client = address(&key.address);
    if vpc == 0 {
        json!({ "gateway": gateway, "client": client })
    } else {
        json!({ "gateway": gateway, "vpc": vpc, "client": client })
    }
}

pub fn client(key: &ClientKey, client: &Client) -> Value {
    let (lease, paired) = (Lease(client.lease), Paired(client.paired));
    json!({
        "sessions": lease.count(),
        "ports": paired.ports(),
        "public_ip": address(&paired.address()),
        "state": state(lease, |state| key.mark(state)),
    })
}

pub fn exemptions_scope(gateway: u32) -> Value {
    if gateway == ALL_GATEWAYS {
        json!({ "gateway": "all" })
    } else {
        json!({ "gateway": gateway })
    }
}

pub fn exemptions(exemptions: &Exemptions) -> Value {
    let rules = exemptions.rules.iter().filter(|rule| rule.used != 0);
    let rules: Vec<_> = rules
        .map(|rule| {
            let protocol = match rule.protocol {
                0 => "all",
                number => protocol::name(number),
            };
            format!("{protocol} {}-{}", rule.first, rule.last)
        })
        .collect();
    json!({ "rules": rules })
}

pub fn settings(settings: &Settings) -> Value {
    json!({
        "icmp_errors_per_second": settings.icmp_errors_per_second,
        "window_ticks": 1u32 << settings.window_shift,
        "one_to_one": settings.is(Settings::ONE_TO_ONE),
        "local": settings.is(Settings::LOCAL),
        "tracks": settings.is(Settings::TRACKS),
        "log_destinations": settings.is(Settings::LOG_DESTINATIONS),
    })
}

pub fn line(line: &Line) -> Value {
    let flow = line.key.flow();
    json!({
        "interface": line.key.interface(),
        "protocol": flow.protocol,
        "source": Ipv4Addr::from(flow.source),
        "source_port": flow.source_port.get(),
        "destination": Ipv4Addr::from(flow.destination),
        "destination_port": flow.destination_port.get(),
        "inward": line.is_inward(),
        "answer": line.is_answer(),
        "translated": Ipv4Addr::from(line.address),
        "translated_port": line.port.get(),
        "generation": line.generation,
        "packets": line.packets(),
        "bytes": line.bytes(),
    })
}

pub fn hop(hop: &Hop) -> Value {
    json!({
        "egress": hop.egress,
        "mtu": hop.mtu,
        "source": mac(hop.source),
        "destination": mac(hop.destination),
        "own": mac(hop.own),
        "half_second": hop.half_second,
    })
}

pub fn path(path: &Path) -> Value {
    let flow = path.key.flow();
    json!({
        "interface": path.key.interface(),
        "source": Ipv4Addr::from(flow.source),
        "destination": Ipv4Addr::from(flow.destination),
        "inward": path.is_inward,
        "address": Ipv4Addr::from(path.address),
        "egress": path.hop.egress,
        "mtu": path.hop.mtu,
        "half_second": path.hop.half_second,
        "epoch": path.epoch,
    })
}
