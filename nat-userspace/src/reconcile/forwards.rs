//! Forwards, which have no sides: they are static entries among the bindings of sessions.

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError},
};
use nat_common::map_types::{Binding, SessionKey, binding_key, bound_key, names};

use super::missing;
use crate::{
    bpf_batch,
    error::{Error, Result},
    policy::{Map as Content, Tables},
};

/// Takes away the static bindings that are not wanted, or are wanted otherwise.
///
/// # Errors
///
/// What the kernel says; some may be gone by then.
pub fn withdraw(ebpf: &mut Ebpf, tables: &Tables) -> Result<()> {
    for (name, _, wanted) in both(tables) {
        let mut gone = Vec::new();
        for_each(ebpf, name, |key, there| {
            if there.is_static() && wanted.get(key) != Some(there) {
                gone.push(*key);
            }
        })?;
        let mut map = bindings(ebpf, name)?;
        for key in &gone {
            gone_is_fine(map.remove(key)).map_err(Error::map(name))?;
        }
    }
    Ok(())
}

/// Adds the static bindings that are wanted. A dynamic one in a forward's place is replaced, and its other
/// side goes with it: whoever ended it from there would take the forward away.
///
/// # Errors
///
/// What the kernel says; some may be there by then.
pub fn add(ebpf: &mut Ebpf, tables: &Tables) -> Result<()> {
    for (name, other_name, wanted) in both(tables) {
        let mut orphans = Vec::new();
        for_each(ebpf, name, |key, there| {
            if wanted.contains_key(key) && !there.is_static() {
                orphans.push(other_side(name, key, there));
            }
        })?;
        let mut map = bindings(ebpf, name)?;
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

/// Either side with the name of its map and the other's.
fn both(tables: &Tables) -> [(&'static str, &'static str, &Content<SessionKey, Binding>); 2] {
    [
        (names::BINDINGS, names::BOUND, &tables.bindings),
        (names::BOUND, names::BINDINGS, &tables.bound),
    ]
}

fn for_each(ebpf: &Ebpf, name: &str, visit: impl FnMut(&SessionKey, &Binding)) -> Result<()> {
    let Some(Map::HashMap(data)) = ebpf.map(name) else {
        return Err(missing(name));
    };
    bpf_batch::for_each::<SessionKey, Binding>(data, visit)
        .map_err(Error::io(format!("reading the map {name}")))
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

/// An entry that somebody else has removed meanwhile is no error.
fn gone_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
