//! Brings the pinned policy maps to what [`crate::policy`] compiled. The maps have two sides: what differs is
//! written to the one that packets do not read, then one store makes it the one that holds, and later the
//! other one is brought up to date. A packet sees all of the old policy or all of the new one.

mod difference;

use std::{collections::BTreeMap, hash::Hash};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, lpm_trie::Key},
};
use nat_common::{
    address::Address,
    map_types::{
        ApplianceKey, Binding, Gateway, Generation, GroupKey, MAX_GATEWAYS, Name, NameKey, PortKey,
        ScopedAddress, SessionKey, Settings, binding_key, bound_key, names, side, sided, unsided,
    },
};

use difference::{Changes, Difference, differing};

use crate::{
    bpf_batch,
    error::{Error, Result},
    generation::Root,
    policy::{Map as Content, PrefixKey, Tables},
};

/// The policy of a running dataplane, as it is in the maps.
pub struct Policy {
    root: Root,
    /// What is on each side; `None` when it has to be read anew, because writing it failed midway.
    sides: [Option<Tables>; 2],
    /// What the side that does not hold lacks; `None` when that has to be found out.
    lag: Option<Difference>,
    names: Content<NameKey, Name>,
    /// Static bindings that were written last, and from their other side.
    forwards: Option<[Content<SessionKey, Binding>; 2]>,
}

impl Policy {
    /// Reads what is there.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn open(ebpf: &Ebpf) -> Result<Self> {
        let mut names = Content::default();
        bpf_batch::for_each(map(ebpf, names::NAMES)?, |key: &NameKey, name: &Name| {
            names.insert(*key, *name);
        })
        .map_err(reading(names::NAMES))?;
        Ok(Self {
            root: Root::open(map(ebpf, names::GENERATION)?)?,
            sides: [Some(read(ebpf, 0)?), Some(read(ebpf, 1)?)],
            lag: None,
            names,
            forwards: None,
        })
    }

    /// The generation that holds.
    pub fn epoch(&self) -> u32 {
        self.root.load().epoch()
    }

    /// Numbers to names, as they are pinned.
    pub const fn names(&self) -> &Content<NameKey, Name> {
        &self.names
    }

    /// What holds; without names and forwards, which have no sides.
    pub fn current(&self) -> Option<&Tables> {
        self.sides[side(self.epoch()) as usize].as_ref()
    }

    /// What holds, with names and forwards, unless they are from an earlier controller.
    pub fn whole(&self) -> Option<Tables> {
        let mut held = self.current()?.clone();
        let [bindings, bound] = self.forwards.clone()?;
        held.bindings = bindings;
        held.bound = bound;
        Some(held)
    }

    /// log2 of the ticks in a window of the flow cache.
    pub fn window_shift(&self) -> u32 {
        self.current().map_or(0, |held| held.settings.window_shift)
    }

    /// A change to `tables` may leave sessions without their public IP or port.
    pub fn may_end_sessions(&self, tables: &Tables) -> bool {
        self.current().is_none_or(|held| {
            held.gateways != tables.gateways
                || held.public_addresses != tables.public_addresses
                || held.instances != tables.instances
                || !self.has_forwards(tables)
        })
    }

    fn has_forwards(&self, tables: &Tables) -> bool {
        self.forwards
            .as_ref()
            .is_some_and(|[bindings, bound]| *bindings == tables.bindings && *bound == tables.bound)
    }

    /// Numbers that are other gateways' by now, or nobody's, and become those of gateways in `tables`.
    pub fn new_gateways(&self, tables: &Tables) -> Vec<u32> {
        let gateways = tables
            .names
            .iter()
            .filter(|(key, _)| key.kind == NameKey::GATEWAY);
        gateways
            .filter(|(key, name)| self.names.get(key) != Some(name))
            .map(|(key, _)| key.number)
            .collect()
    }

    /// Secrets of the gateways by number.
    pub fn secrets(&self) -> BTreeMap<u32, [u64; 2]> {
        let gateways = self.current().into_iter().flat_map(|held| &held.gateways);
        gateways
            .map(|(number, gateway)| (*number, gateway.secret))
            .collect()
    }

    /// Makes `tables` what holds. On an error the old policy holds on, as a whole.
    ///
    /// # Errors
    ///
    /// What the kernel says; the map that failed is named.
    pub fn apply(&mut self, ebpf: &mut Ebpf, tables: &Tables) -> Result<()> {
        self.level(ebpf)?;
        let epoch = self.epoch();
        let next = epoch.wrapping_add(1);
        self.root.store(Generation::new(epoch, next));
        let difference = self.write(ebpf, side(next), tables, None)?;
        // Names that are gone are taken away when nothing refers to them any more.
        let mut there = std::mem::take(&mut self.names);
        let named = set(
            map(ebpf, names::NAMES)?,
            names::NAMES,
            &mut there,
            &tables.names,
        );
        self.names = there;
        named?;
        if !self.has_forwards(tables) {
            self.forwards = None;
            forwards(ebpf, tables)?;
            self.forwards = Some([tables.bindings.clone(), tables.bound.clone()]);
        }
        self.root.store(Generation::new(next, next));
        self.lag = Some(difference);
        Ok(())
    }

    /// Begins another generation of the same policy: whatever was remembered of the last one is void.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn renew(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        self.level(ebpf)?;
        let next = self.epoch().wrapping_add(1);
        self.root.store(Generation::new(next, next));
        Ok(())
    }

    /// Brings the side that no longer holds up to date, so that the next change finds little to write.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn level(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        let lag = self.lag.take();
        if lag.as_ref().is_some_and(Difference::is_nothing) {
            self.lag = lag;
            return Ok(());
        }
        let epoch = self.epoch();
        let next = epoch.wrapping_add(1);
        let Some(current) = self.sides[side(epoch) as usize].take() else {
            return Err(Error::Load("the policy that holds is not known".to_owned()));
        };
        self.root.store(Generation::new(epoch, next));
        let written = self.write(ebpf, side(next), &current, lag).map(drop);
        let mut unnamed = Vec::new();
        for key in self.names.keys() {
            if !current.names.contains_key(key) && !current.names.is_empty() {
                unnamed.push(*key);
            }
        }
        self.sides[side(epoch) as usize] = Some(current);
        written?;
        bpf_batch::delete(map(ebpf, names::NAMES)?, &unnamed).map_err(writing(names::NAMES))?;
        for key in &unnamed {
            self.names.remove(key);
        }
        self.lag = Some(Difference::default());
        Ok(())
    }

    /// Brings a side that packets do not read to `wanted`, from which it differs as is known, or is found out
    /// here.
    fn write(
        &mut self,
        ebpf: &mut Ebpf,
        side: u32,
        wanted: &Tables,
        known: Option<Difference>,
    ) -> Result<Difference> {
        let (mut there, known) = match self.sides[side as usize].take() {
            Some(there) => (there, known),
            None => (read(ebpf, side)?, None),
        };
        let difference = known.unwrap_or_else(|| Difference::between(&there, wanted));
        write(ebpf, side, &difference)?;
        difference.follow(&mut there);
        there.names.clone_from(&wanted.names);
        self.sides[side as usize] = Some(there);
        Ok(difference)
    }
}

fn map<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData> {
    match ebpf.map(name) {
        Some(Map::HashMap(map) | Map::LpmTrie(map) | Map::Array(map)) => Ok(map),
        _ => Err(Error::Load(format!(
            "the map {name} is missing from the object"
        ))),
    }
}

fn reading(name: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    Error::io(format!("reading the map {name}"))
}

fn writing(name: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| match source.raw_os_error() {
        Some(libc::E2BIG | libc::ENOSPC) => Error::MapFull { name },
        _ => Error::io(format!("writing the map {name}"))(source),
    }
}

/// A key as the map of a side has it.
fn on_side(key: ScopedAddress, side: u32) -> ScopedAddress {
    ScopedAddress {
        scope: sided(key.scope, side),
        ..key
    }
}

fn prefix_on_side((bits, key): PrefixKey, side: u32) -> Key<ScopedAddress> {
    Key::new(bits, on_side(key, side))
}

/// Without its side, if it is of this one.
fn off_side(key: ScopedAddress, here: u32) -> Option<ScopedAddress> {
    let (side, scope) = unsided(key.scope);
    (side == here).then_some(ScopedAddress { scope, ..key })
}

/// What is on a side.
fn read(ebpf: &Ebpf, here: u32) -> Result<Tables> {
    let scoped = |scope: u32| {
        let (side, scope) = unsided(scope);
        (side == here).then_some(scope)
    };
    let prefix = |key: Key<ScopedAddress>| Some((key.prefix_len(), off_side(key.data(), here)?));
    let mut tables = Tables {
        interfaces: entries(ebpf, names::INTERFACES, scoped)?,
        subnets: entries(ebpf, names::SUBNETS, prefix)?,
        routes: entries(ebpf, names::ROUTES, prefix)?,
        public_addresses: entries(ebpf, names::PUBLIC_ADDRESSES, |key| {
            off_side(key, here).map(|key| key.address)
        })?,
        instances: entries(ebpf, names::INSTANCES, |key| off_side(key, here))?,
        appliances: entries(ebpf, names::APPLIANCES, |key: ApplianceKey| {
            let interface = scoped(key.interface)?;
            Some(ApplianceKey { interface, ..key })
        })?,
        exemptions: entries(ebpf, names::EXEMPTIONS, prefix)?,
        rulesets: entries(ebpf, names::RULESETS, prefix)?,
        group_rules: entries(ebpf, names::GROUP_RULES, |key: GroupKey| {
            let ruleset = scoped(key.ruleset)?;
            Some(GroupKey { ruleset, ..key })
        })?,
        port_rules: entries(ebpf, names::PORT_RULES, |key: Key<PortKey>| {
            let class = scoped(key.data().class)?;
            Some((key.prefix_len(), key.data().of_class(class)))
        })?,
        ..Tables::default()
    };
    let name = names::GATEWAYS;
    bpf_batch::for_each(map(ebpf, name)?, |place: &u32, gateway: &Gateway| {
        if place / MAX_GATEWAYS == here && *gateway != Gateway::default() {
            tables.gateways.insert(place % MAX_GATEWAYS, *gateway);
        }
    })
    .map_err(reading(name))?;
    bpf_batch::for_each(
        map(ebpf, names::SETTINGS)?,
        |place: &u32, settings: &Settings| {
            if *place == here {
                tables.settings = *settings;
            }
        },
    )
    .map_err(reading(names::SETTINGS))?;
    Ok(tables)
}

fn entries<R: Pod, K: Eq + Hash, V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
    key_of: impl Fn(R) -> Option<K>,
) -> Result<Content<K, V>> {
    let mut there = Content::default();
    bpf_batch::for_each::<R, V>(map(ebpf, name)?, |raw, value| {
        if let Some(key) = key_of(*raw) {
            there.insert(key, *value);
        }
    })
    .map_err(reading(name))?;
    Ok(there)
}

/// Writes what differs.
fn write(ebpf: &mut Ebpf, side: u32, difference: &Difference) -> Result<()> {
    let prefix = |key: &PrefixKey| prefix_on_side(*key, side);
    macro_rules! bring {
        ($name:ident, $field:ident, $key:expr) => {
            difference
                .$field
                .write(map(ebpf, names::$name)?, names::$name, $key)?
        };
    }
    bring!(PORT_RULES, port_rules, |(bits, key): &(u32, PortKey)| {
        Key::new(*bits, key.of_class(sided(key.class, side)))
    });
    bring!(GROUP_RULES, group_rules, |key: &GroupKey| GroupKey {
        ruleset: sided(key.ruleset, side),
        ..*key
    });
    bring!(RULESETS, rulesets, prefix);
    bring!(EXEMPTIONS, exemptions, prefix);
    bring!(ROUTES, routes, prefix);
    bring!(SUBNETS, subnets, prefix);
    bring!(INSTANCES, instances, |key: &ScopedAddress| on_side(
        *key, side
    ));
    bring!(APPLIANCES, appliances, |key: &ApplianceKey| ApplianceKey {
        interface: sided(key.interface, side),
        ..*key
    });
    bring!(PUBLIC_ADDRESSES, public_addresses, |address: &Address| {
        ScopedAddress {
            scope: sided(0, side),
            address: *address,
        }
    });
    bring!(INTERFACES, interfaces, |index: &u32| sided(*index, side));
    let name = names::GATEWAYS;
    let mut gateways = array::<Gateway>(ebpf, name)?;
    for (number, gateway) in &difference.gateways {
        gateways
            .set(number + side * MAX_GATEWAYS, gateway, 0)
            .map_err(Error::map(name))?;
    }
    if let Some(wanted) = difference.settings {
        let mut settings = array::<Settings>(ebpf, names::SETTINGS)?;
        settings
            .set(side, wanted, 0)
            .map_err(Error::map(names::SETTINGS))?;
    }
    Ok(())
}

/// Sets what is wanted, and leaves everything else there.
fn set<K: Pod + Eq + Hash, V: Pod + PartialEq>(
    map: &MapData,
    name: &'static str,
    there: &mut Content<K, V>,
    wanted: &Content<K, V>,
) -> Result<()> {
    let changed = Changes {
        gone: Vec::new(),
        set: differing(there, wanted),
    };
    changed.write(map, name, |key| *key)?;
    there.extend(changed.set);
    Ok(())
}

fn array<'a, V: Pod>(ebpf: &'a mut Ebpf, name: &str) -> Result<Array<&'a mut MapData, V>> {
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    Array::try_from(map).map_err(Error::map(name))
}

fn missing(name: &str) -> Error {
    Error::Load(format!("the map {name} is missing from the object"))
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
