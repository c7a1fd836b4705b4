//! The pinned maps as such: their sizes, and their entries decoded by type (`values.rs`).

mod values;

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Pod,
    maps::{Map, MapData, PerCpuArray, lpm_trie::Key},
};
use nat_common::{
    drop_reason::DropReason,
    flow_cache::{Hop, Line, Path},
    map_types::{
        ApplianceKey, Counter, Gateway, GatewayCounter, GatewayPeak, GatewayTraffic, GroupKey,
        Judgement, Listener, ListenerKey, Name, PortKey, ScopedAddress, Settings, TargetTable,
        names,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use self::values::{
    address, appliance_key, binding, binding_key, bound_key, client, client_key, exemptions,
    exemptions_scope, gateway, gateway_peak, generation, group_key, hop, instance, instance_key,
    interface, interface_key, judgement, line, listener, listener_key, name_key, path, port_key,
    public_address, public_key, route, route_scope, ruleset_scope, session, session_key, settings,
    subnet, subnet_scope, target_table,
};
use crate::{
    bpf_batch,
    error::{Error, Result},
    generation::Side,
    pins::Pins,
    session_table::SessionTable,
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
        names::SESSIONS => {
            let mut entries = Vec::new();
            SessionTable::open(pins)?
                .for_each(|key, half| entries.push(entry(session_key(key), session(half))));
            Ok(entries)
        }
        names::SESSION_INDEX => {
            let mut words = large_array(pins, name, |word: &u64| json!(format!("{word:#018x}")))?;
            // Behind the words of the buckets is the seed, which is nobody's business.
            words.pop();
            Ok(words)
        }
        names::BINDINGS => hash(pins, name, binding_key, binding),
        names::BOUND => hash(pins, name, bound_key, binding),
        names::CLIENTS => hash(pins, name, client_key, client),
        names::GENERATION => array(pins, name, |place, word: &u64| {
            Some(entry(json!(place), generation(word)))
        }),
        names::NAMES => hash(pins, name, name_key, |_, name: &Name| json!(name.as_str())),
        names::FLOW_CACHE => large_array(pins, name, |each: &Line| line(each)),
        names::PATH_CACHE => large_array(pins, name, |each: &Path| path(each)),
        names::HOP_CACHE => large_array(pins, name, |each: &Hop| hop(each)),
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
        names::GATEWAY_COUNTERS => gateway_counters(pins),
        names::GATEWAY_TRAFFIC => gateway_traffic(pins),
        names::GATEWAY_PEAKS => array(pins, name, |number, peak: &GatewayPeak| {
            let is_one = *peak != GatewayPeak::default();
            is_one.then(|| entry(json!(number), gateway_peak(peak)))
        }),
        _ => policy(pins, name),
    }
}

/// Of gateways that have carried something.
fn gateway_traffic(pins: &Pins) -> Result<Vec<Value>> {
    let map = Map::PerCpuArray(pins.open(names::GATEWAY_TRAFFIC)?);
    let map = PerCpuArray::<_, GatewayTraffic>::try_from(map)
        .map_err(Error::map(names::GATEWAY_TRAFFIC))?;
    let mut entries = Vec::new();
    for number in 0..map.len() {
        let values = map
            .get(&number, 0)
            .map_err(Error::map(names::GATEWAY_TRAFFIC))?;
        let sum = GatewayTraffic::sum(values.iter());
        if sum != GatewayTraffic::default() {
            entries.push(entry(json!(number), values::gateway_traffic(&sum)));
        }
    }
    Ok(entries)
}

/// Of gateways that something was counted for.
fn gateway_counters(pins: &Pins) -> Result<Vec<Value>> {
    let sums = pins.per_cpu_sums(names::GATEWAY_COUNTERS)?;
    let gateways = sums.chunks(GatewayCounter::ALL.len()).enumerate();
    let counted = gateways.filter(|(_, counts)| counts.iter().any(|count| *count != 0));
    let names = GatewayCounter::ALL.iter().map(|counter| counter.name());
    Ok(counted
        .map(|(number, counts)| {
            let counts: serde_json::Map<_, _> = names
                .clone()
                .zip(counts)
                .map(|(name, count)| (name.to_owned(), json!(count)))
                .collect();
            entry(json!(number), Value::Object(counts))
        })
        .collect())
}

/// A map of the policy: its side that holds.
fn policy(pins: &Pins, name: &str) -> Result<Vec<Value>> {
    let here = Side::current(pins)?;
    let scoped = |key: &ScopedAddress| {
        let scope = here.scope(key.scope)?;
        Some(ScopedAddress { scope, ..*key })
    };
    match name {
        names::INTERFACES => hash_side(
            pins,
            name,
            |key: &u32| here.scope(*key).map(interface_key),
            interface,
        ),
        names::PUBLIC_ADDRESSES => hash_side(
            pins,
            name,
            |key| scoped(key).map(|key| public_key(&key)),
            public_address,
        ),
        names::INSTANCES => hash_side(
            pins,
            name,
            |key| scoped(key).map(|key| instance_key(&key)),
            instance,
        ),
        names::APPLIANCES => hash_side(
            pins,
            name,
            |key: &ApplianceKey| {
                let interface = here.scope(key.interface)?;
                Some(appliance_key(&ApplianceKey { interface, ..*key }))
            },
            address,
        ),
        names::GROUP_RULES => hash_side(
            pins,
            name,
            |key: &GroupKey| {
                let ruleset = here.scope(key.ruleset)?;
                Some(group_key(&GroupKey { ruleset, ..*key }))
            },
            |class: &u32| json!(class),
        ),
        names::SUBNETS => prefixes(pins, name, here, subnet_scope, subnet),
        names::ROUTES => routes(pins, name, here),
        names::EXEMPTIONS => prefixes(pins, name, here, exemptions_scope, exemptions),
        names::RULESETS => prefixes(pins, name, here, ruleset_scope, |class: &u32| json!(class)),
        names::PORT_RULES => port_rules(pins, name, here),
        names::GATEWAYS => array(pins, name, |place, each: &Gateway| {
            let number = here.gateway_at(place)?;
            (*each != Gateway::default()).then(|| entry(json!(number), gateway(each)))
        }),
        names::LISTENERS => hash_side(
            pins,
            name,
            |key: &ListenerKey| {
                let gateway = here.scope(key.gateway)?;
                Some(listener_key(&ListenerKey { gateway, ..*key }))
            },
            |each: &Listener| listener(each),
        ),
        names::TARGET_TABLES => hash_side(
            pins,
            name,
            |number: &u32| here.scope(*number).map(|number| json!(number)),
            |each: &TargetTable| target_table(each),
        ),
        names::SETTINGS => array(pins, name, |place, each: &Settings| {
            (place == here.settings()).then(|| entry(json!(0), settings(each)))
        }),
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
    value_of: impl Fn(&K, &V) -> Value,
) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<K, V>(&pins.open(name)?, |key, value| {
        entries.push(entry(key_of(key), value_of(key, value)));
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    Ok(entries)
}

/// As [`hash`], of the keys that `key_of` knows.
fn hash_side<K: Pod, V: Pod>(
    pins: &Pins,
    name: &str,
    key_of: impl Fn(&K) -> Option<Value>,
    value_of: impl Fn(&V) -> Value,
) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<K, V>(&pins.open(name)?, |key, value| {
        entries.extend(key_of(key).map(|key| entry(key, value_of(value))));
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    Ok(entries)
}

fn prefixes<V: Pod>(
    pins: &Pins,
    name: &str,
    here: Side,
    scope_of: impl Fn(u32) -> Value,
    value_of: impl Fn(&V) -> Value,
) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<Key<ScopedAddress>, V>(&pins.open(name)?, |key, value| {
        if let Some(scope) = here.scope(key.data().scope) {
            let bits = key.prefix_len().saturating_sub(ScopedAddress::SCOPE_BITS);
            let mut fields = scope_of(scope);
            fields["prefix"] = json!(format!("{}/{bits}", key.data().address));
            entries.push(entry(fields, value_of(value)));
        }
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    Ok(entries)
}

/// Among them are the policies of gateway endpoints: which ruleset holds for a source.
fn routes(pins: &Pins, name: &str, here: Side) -> Result<Vec<Value>> {
    let mut entries = prefixes(pins, name, here, route_scope, route)?;
    for entry in &mut entries {
        if entry["key"]["policy_of_gateway"].is_number() {
            entry["value"] = json!({ "ruleset": entry["value"]["gateway"] });
        }
    }
    Ok(entries)
}

fn port_rules(pins: &Pins, name: &str, here: Side) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<Key<PortKey>, Judgement>(&pins.open(name)?, |key, value| {
        if let Some(class) = here.scope(key.data().class) {
            let fields = port_key(key.prefix_len(), &key.data().of_class(class));
            entries.push(entry(fields, judgement(value)));
        }
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    Ok(entries)
}

/// The places of an array that `entry_of` has something to say about.
fn array<V: Pod>(
    pins: &Pins,
    name: &str,
    entry_of: impl Fn(u32, &V) -> Option<Value>,
) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<u32, V>(&pins.open(name)?, |place, value| {
        entries.extend(entry_of(*place, value));
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    Ok(entries)
}

/// As [`array`], of a large one.
fn large_array<V: Pod + Default + PartialEq>(
    pins: &Pins,
    name: &str,
    value_of: impl Fn(&V) -> Value,
) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    bpf_batch::for_each::<u32, V>(&pins.open(name)?, |number, each| {
        if *each != V::default() {
            entries.push(entry(json!(number), value_of(each)));
        }
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
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
