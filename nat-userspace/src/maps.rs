//! The pinned maps as such: their sizes, and their entries decoded by type.

use std::{
    fs,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Pod,
    maps::{Array, LpmTrie, Map, MapData},
};
use nat_common::{
    address::Address,
    drop_reason::DropReason,
    flow::protocol,
    map_types::{
        Counter, Elastic, Gateway, Interface, Name, NameKey, PrivateAddress, PublicAddress,
        PublicUse, Route, ScopedAddress, Session, SessionKey, Subnet, Target, names,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    bpf_batch,
    error::{Error, Result},
    pins::Pins,
};

/// One map.
#[derive(Clone, Debug, Serialize)]
pub struct MapStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Entries in it.
    pub entries: usize,
    /// Entries it holds.
    pub capacity: u32,
    /// Bytes of kernel memory.
    pub memory_bytes: u64,
}

/// Every pinned map.
///
/// # Errors
///
/// When there is no dataplane or a map can't be read.
pub fn list(pins: &Pins) -> Result<Vec<MapStatus>> {
    let mut all = Vec::new();
    for &name in names::ALL {
        let map = pins.open(name)?;
        let info = map.info().map_err(Error::map(name))?;
        let kind = info.map_type().map_err(Error::map(name))?;
        all.push(MapStatus {
            entries: dump(pins, name)?.len(),
            kind: format!("{kind:?}"),
            capacity: info.max_entries(),
            memory_bytes: memory(&map),
            name: name.to_owned(),
        });
    }
    Ok(all)
}

/// As the kernel accounts for it in the file descriptor's `memlock`.
fn memory(map: &MapData) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    fs::read_to_string(path)
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("memlock:").map(str::to_owned))?;
            line.trim().parse().ok()
        })
        .unwrap_or(0)
}

/// Every entry of a map as an object with `key` and `value`.
///
/// # Errors
///
/// An unknown name, or when the map can't be read.
pub fn dump(pins: &Pins, name: &str) -> Result<Vec<Value>> {
    match name {
        names::SESSIONS | names::REVERSE => hash(pins, name, session_key, session),
        names::INTERFACES => hash(pins, name, |index: &u32| json!(index), interface),
        names::NAMES => hash(pins, name, name_key, |name: &Name| json!(name.as_str())),
        names::PUBLIC_ADDRESSES => hash(pins, name, address, public_address),
        names::ELASTIC => hash(pins, name, private_address, elastic),
        names::SUBNETS => prefixes(
            pins,
            name,
            "interface",
            |subnet: &Subnet| json!({ "route_table": subnet.route_table }),
        ),
        names::ROUTES => prefixes(pins, name, "route_table", route),
        names::GATEWAYS => gateways(pins),
        names::DROPS => counts(
            pins,
            name,
            DropReason::ALL.iter().map(|reason| reason.name()),
        ),
        names::COUNTERS => counts(
            pins,
            name,
            Counter::ALL.iter().map(|counter| counter.name()),
        ),
        _ => Err(Error::NoSuchMap {
            name: name.to_owned(),
            known: names::ALL.join(", "),
        }),
    }
}

fn entry(key: Value, value: Value) -> Value {
    json!({ "key": key, "value": value })
}

fn hash<K: Pod, V: Pod>(
    pins: &Pins,
    name: &str,
    key_of: impl Fn(&K) -> Value,
    value_of: impl Fn(&V) -> Value,
) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<K, V>(&pins.open(name)?, |key, value| {
        entries.push(entry(key_of(key), value_of(value)));
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    Ok(entries)
}

fn prefixes<V: Pod>(
    pins: &Pins,
    name: &str,
    scope: &str,
    value_of: impl Fn(&V) -> Value,
) -> Result<Vec<Value>> {
    let map = LpmTrie::<_, ScopedAddress, V>::try_from(Map::LpmTrie(pins.open(name)?))
        .map_err(Error::map(name))?;
    map.iter()
        .map(|item| {
            let (key, value) = item.map_err(Error::map(name))?;
            let bits = key.prefix_len().saturating_sub(ScopedAddress::SCOPE_BITS);
            let prefix = format!("{}/{bits}", key.data().address);
            Ok(entry(
                json!({ scope: key.data().scope, "prefix": prefix }),
                value_of(&value),
            ))
        })
        .collect()
}

fn gateways(pins: &Pins) -> Result<Vec<Value>> {
    let name = names::GATEWAYS;
    let map =
        Array::<_, Gateway>::try_from(Map::Array(pins.open(name)?)).map_err(Error::map(name))?;
    let mut entries = Vec::new();
    for number in 0..map.len() {
        let gateway = map.get(&number, 0).map_err(Error::map(name))?;
        if gateway.address_count > 0 {
            entries.push(entry(json!(number), gateway_value(&gateway)));
        }
    }
    Ok(entries)
}

fn counts<'a>(
    pins: &Pins,
    name: &str,
    labels: impl Iterator<Item = &'a str>,
) -> Result<Vec<Value>> {
    let sums = pins.per_cpu_sums(name)?;
    Ok(labels
        .zip(sums)
        .map(|(label, sum)| entry(json!(label), json!(sum)))
        .collect())
}

fn address(address: &Address) -> Value {
    json!(Ipv4Addr::from(*address))
}

fn session_key(key: &SessionKey) -> Value {
    let flow = key.flow();
    json!({
        "protocol": protocol::name(flow.protocol),
        "vpc": key.vpc(),
        "source": address(&flow.source),
        "source_port": flow.source_port.get(),
        "destination": address(&flow.destination),
        "destination_port": flow.destination_port.get(),
    })
}

fn session(session: &Session) -> Value {
    json!({
        "mapped_address": address(&session.mapped_address()),
        "mapped_port": session.mapped_port().get(),
        "owner": session.owner(),
        "mark": format!("{:#018x}", session.mark),
        "created_tick": session.created(),
        "last_seen_tick": session.last_seen(),
        "tcp_seen": format!("{:#04x}", session.tcp_seen().bits()),
        "epoch": session.epoch,
        "packets": session.packets(),
        "bytes": session.bytes(),
    })
}

fn interface(interface: &Interface) -> Value {
    let known = [
        (Interface::UPLINK, "uplink"),
        (Interface::INSIDE, "inside"),
        (Interface::XDP_TARGET, "xdp_target"),
        (Interface::HAS_ELASTIC, "has_elastic"),
        (Interface::ONE_PREFIX, "one_prefix"),
        (Interface::FORWARDING_SET, "forwarding_set"),
        (Interface::CLSACT, "clsact"),
        (Interface::CLSACT_OURS, "clsact_ours"),
    ];
    let flags: Vec<_> = known
        .iter()
        .filter(|(flag, _)| interface.is(*flag))
        .map(|(_, name)| *name)
        .collect();
    let mac = interface.mac.map(|byte| format!("{byte:02x}")).join(":");
    json!({ "flags": flags, "vpc": interface.vpc, "mac": mac })
}

fn name_key(key: &NameKey) -> Value {
    let kind = match key.kind {
        NameKey::VPC => "vpc",
        NameKey::GATEWAY => "gateway",
        NameKey::INTERFACE => "interface",
        NameKey::ROUTE_TABLE => "route_table",
        NameKey::NODE => "node",
        _ => "unknown",
    };
    json!({ "kind": kind, "number": key.number })
}

fn public_address(public: &PublicAddress) -> Value {
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

fn private_address(key: &PrivateAddress) -> Value {
    json!({ "vpc": key.vpc, "address": address(&key.address) })
}

fn elastic(elastic: &Elastic) -> Value {
    json!({
        "public": address(&elastic.public),
        "interface": elastic.interface,
        "route_table": elastic.route_table,
    })
}

fn route(route: &Route) -> Value {
    match route.target() {
        Target::Local => json!({ "target": "local" }),
        Target::InternetGateway => json!({ "target": "internet-gateway" }),
        Target::NatGateway(number) => json!({ "target": "nat-gateway", "gateway": number }),
        Target::Blackhole => json!({ "target": "blackhole" }),
    }
}

/// Without the secret: whoever knows it can guess ports.
fn gateway_value(gateway: &Gateway) -> Value {
    let count = gateway.address_count as usize;
    let addresses: Vec<_> = gateway.addresses.iter().take(count).map(address).collect();
    let ranges: Vec<_> = gateway
        .pool
        .ranges()
        .iter()
        .map(|range| format!("{}-{}", range.first, range.last))
        .collect();
    json!({
        "addresses": addresses,
        "private_ip": address(&gateway.private_ip),
        "ports": ranges,
        "vpc": gateway.vpc,
        "timeout_ticks": {
            "tcp_established": gateway.timeouts.tcp_established,
            "tcp_transitory": gateway.timeouts.tcp_transitory,
            "udp": gateway.timeouts.udp,
            "icmp": gateway.timeouts.icmp,
        },
    })
}
