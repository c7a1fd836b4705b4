//! Brings the pinned policy maps to what [`crate::policy`] compiled, writing only what differs.

use std::{
    collections::{BTreeMap, HashMap as Wanted},
    hash::Hash,
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, lpm_trie::Key},
};
use nat_common::map_types::{
    Binding, Gateway, Name, NameKey, ScopedAddress, SessionKey, Settings, binding_key, bound_key,
    names,
};

use crate::{
    bpf_batch,
    error::{Error, Result},
    policy::{PrefixKey, Tables},
};

/// What the maps of a running dataplane say about numbers and secrets.
pub struct Existing {
    /// Numbers to names.
    pub names: Vec<(NameKey, Name)>,
    /// Secrets by gateway number.
    pub secrets: BTreeMap<u32, [u64; 2]>,
    /// Of the flow cache.
    pub window_shift: u32,
}

/// Reads them.
///
/// # Errors
///
/// What the kernel says.
pub fn existing(ebpf: &Ebpf) -> Result<Existing> {
    let map = ebpf
        .map(names::NAMES)
        .ok_or_else(|| missing(names::NAMES))?;
    let map = HashMap::<_, NameKey, Name>::try_from(map).map_err(Error::map(names::NAMES))?;
    let names: Vec<_> = map
        .iter()
        .collect::<Result<_, _>>()
        .map_err(Error::map(names::NAMES))?;
    let gateways = ebpf
        .map(names::GATEWAYS)
        .ok_or_else(|| missing(names::GATEWAYS))?;
    let gateways = Array::<_, Gateway>::try_from(gateways).map_err(Error::map(names::GATEWAYS))?;
    let mut secrets = BTreeMap::new();
    for (key, _) in names.iter().filter(|(key, _)| key.kind == NameKey::GATEWAY) {
        let gateway = gateways
            .get(&key.number, 0)
            .map_err(Error::map(names::GATEWAYS))?;
        secrets.insert(key.number, gateway.secret);
    }
    Ok(Existing {
        names,
        secrets,
        window_shift: settings_there(ebpf)?.window_shift,
    })
}

/// How often the policy was changed.
///
/// # Errors
///
/// What the kernel says.
pub fn generation(ebpf: &Ebpf) -> Result<u64> {
    settings_there(ebpf).map(|settings| settings.epoch.into())
}

fn settings_there(ebpf: &Ebpf) -> Result<Settings> {
    let name = names::SETTINGS;
    let settings = ebpf.map(name).ok_or_else(|| missing(name))?;
    let settings = Array::<_, Settings>::try_from(settings).map_err(Error::map(name))?;
    settings.get(&0, 0).map_err(Error::map(name))
}

/// Writes the tables. What others refer to goes first, interfaces last: a packet that is let in
/// finds everything. Sessions of another policy are for [`crate::stale`].
///
/// # Errors
///
/// What the kernel says; the map that failed is named.
pub fn write(ebpf: &mut Ebpf, tables: &Tables) -> Result<()> {
    // A window that grows, behind the timeouts that allow for it.
    let before = settings_there(ebpf)?.window_shift;
    settings(
        ebpf,
        Settings {
            window_shift: before.min(tables.settings.window_shift),
            ..tables.settings
        },
    )?;
    prefixes(ebpf, names::EXEMPTIONS, &tables.exemptions)?;
    forwards(ebpf, tables)?;
    gateways(ebpf, &tables.gateways)?;
    settings(ebpf, tables.settings)?;
    prefixes(ebpf, names::ROUTES, &tables.routes)?;
    prefixes(ebpf, names::SUBNETS, &tables.subnets)?;
    entries(ebpf, names::ELASTIC, &tables.elastic)?;
    entries(ebpf, names::PUBLIC_ADDRESSES, &tables.public_addresses)?;
    entries(ebpf, names::NAMES, &tables.names)?;
    entries(ebpf, names::INTERFACES, &tables.interfaces)
}

fn missing(name: &str) -> Error {
    Error::Load(format!("the map {name} is missing from the object"))
}

fn settings(ebpf: &mut Ebpf, wanted: Settings) -> Result<()> {
    change_settings(ebpf, |old| Settings {
        epoch: old.epoch,
        ..wanted
    })
}

/// Makes every line and path of the flow cache void, and what halves say of theirs: packets are decided by the tables as they are now.
///
/// # Errors
///
/// What the kernel says.
pub fn next_epoch(ebpf: &mut Ebpf) -> Result<()> {
    change_settings(ebpf, |old| Settings {
        epoch: old.epoch.wrapping_add(1),
        ..old
    })
}

fn change_settings(ebpf: &mut Ebpf, change: impl Fn(Settings) -> Settings) -> Result<()> {
    let name = names::SETTINGS;
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    let mut map = Array::<&mut MapData, Settings>::try_from(map).map_err(Error::map(name))?;
    let old = map.get(&0, 0).map_err(Error::map(name))?;
    map.set(0, change(old), 0).map_err(Error::map(name))
}

/// Brings the static bindings to what is wanted. A dynamic one in a forward's place is replaced, and
/// its other side goes with it: whoever ended it from there would take the forward away.
fn forwards(ebpf: &mut Ebpf, tables: &Tables) -> Result<()> {
    for (name, other_name, wanted) in [
        (names::BINDINGS, names::BOUND, &tables.bindings),
        (names::BOUND, names::BINDINGS, &tables.bound),
    ] {
        let mut orphans = Vec::new();
        let mut gone = Vec::new();
        let Some(Map::HashMap(data)) = ebpf.map(name) else {
            return Err(missing(name));
        };
        bpf_batch::for_each::<SessionKey, Binding>(data, |key, there| match wanted.get(key) {
            Some(_) if !there.is_static() => orphans.push(other_side(name, key, there)),
            None if there.is_static() => gone.push(*key),
            _ => {}
        })
        .map_err(Error::io(format!("reading the map {name}")))?;
        let mut map = bindings(ebpf, name)?;
        for key in &gone {
            gone_is_fine(map.remove(key)).map_err(Error::map(name))?;
        }
        for (key, value) in wanted {
            if !map.get(key, 0).is_ok_and(|there| there == *value) {
                map.insert(key, value, 0).map_err(Error::map(name))?;
            }
        }
        let mut others = bindings(ebpf, other_name)?;
        for key in &orphans {
            if others.get(key, 0).is_ok_and(|other| !other.is_static()) {
                gone_is_fine(others.remove(key)).map_err(Error::map(other_name))?;
            }
        }
    }
    Ok(())
}

fn bindings<'a>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<HashMap<&'a mut MapData, SessionKey, Binding>> {
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    HashMap::try_from(map).map_err(Error::map(name))
}

/// The key of a binding's other side, in the other table.
fn other_side(name: &str, key: &SessionKey, binding: &Binding) -> SessionKey {
    let flow = key.flow();
    if name == names::BINDINGS {
        bound_key(&flow.with_source(binding.address, binding.port).reversed())
    } else {
        let inside = flow.with_destination(binding.address, binding.port);
        binding_key(binding.gateway, &inside.reversed())
    }
}

fn gateways(ebpf: &mut Ebpf, wanted: &BTreeMap<u32, Gateway>) -> Result<()> {
    let name = names::GATEWAYS;
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    let mut map = Array::<&mut MapData, Gateway>::try_from(map).map_err(Error::map(name))?;
    for number in 0..map.len() {
        let gateway = wanted.get(&number).copied().unwrap_or_default();
        let there = map.get(&number, 0).map_err(Error::map(name))?;
        if there != gateway {
            map.set(number, gateway, 0).map_err(Error::map(name))?;
        }
    }
    Ok(())
}

fn entries<K, V>(ebpf: &mut Ebpf, name: &str, wanted: &Wanted<K, V>) -> Result<()>
where
    K: Pod + Eq + Hash,
    V: Pod + PartialEq,
{
    let Some(Map::HashMap(data)) = ebpf.map(name) else {
        return Err(missing(name));
    };
    let mut there = Wanted::new();
    bpf_batch::for_each::<K, V>(data, |key, value| {
        there.insert(*key, *value);
    })
    .map_err(Error::io(format!("reading the map {name}")))?;
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    let mut map = HashMap::<&mut MapData, K, V>::try_from(map).map_err(Error::map(name))?;
    for key in there.keys().filter(|key| !wanted.contains_key(*key)) {
        gone_is_fine(map.remove(key)).map_err(Error::map(name))?;
    }
    for (key, value) in wanted {
        if there.get(key) != Some(value) {
            map.insert(key, value, 0).map_err(Error::map(name))?;
        }
    }
    Ok(())
}

fn prefixes<V>(ebpf: &mut Ebpf, name: &str, wanted: &Wanted<PrefixKey, V>) -> Result<()>
where
    V: Pod + PartialEq,
{
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    let mut map =
        LpmTrie::<&mut MapData, ScopedAddress, V>::try_from(map).map_err(Error::map(name))?;
    let there: Wanted<PrefixKey, V> = map
        .iter()
        .map(|entry| entry.map(|(key, value)| ((key.prefix_len(), key.data()), value)))
        .collect::<Result<_, _>>()
        .map_err(Error::map(name))?;
    for &(bits, address) in there.keys().filter(|key| !wanted.contains_key(*key)) {
        gone_is_fine(map.remove(&Key::new(bits, address))).map_err(Error::map(name))?;
    }
    for (&(bits, address), value) in wanted {
        if there.get(&(bits, address)) != Some(value) {
            map.insert(&Key::new(bits, address), value, 0)
                .map_err(Error::map(name))?;
        }
    }
    Ok(())
}

/// An entry that somebody else has removed meanwhile is no error.
///
/// # Errors
///
/// Every other one.
pub fn gone_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
