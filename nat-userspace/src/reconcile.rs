//! Brings the pinned policy maps to what [`crate::policy`] compiled. The maps have two sides (`sides.rs`): what
//! differs (`difference.rs`) is written to the one that packets do not read, then one store makes it the one
//! that holds, and later the other one is brought up to date. A packet sees all of the old policy or all of the
//! new one. `forwards.rs` has what has no sides.

mod difference;
mod forwards;
mod sides;

use std::{collections::BTreeMap, sync::Arc};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use nat_common::map_types::{Generation, Name, NameKey, names};

use difference::{Changes, Difference, differing};

use crate::{
    bpf_batch,
    error::{Error, Result},
    generation::{Root, Side},
    policy::{Map as Content, Tables},
    stale,
};

/// The policy of a running dataplane, as it is in the maps.
pub struct Policy {
    root: Root,
    /// What is on each side; `None` when it has to be read anew, because writing it failed midway.
    sides: [Option<Arc<Tables>>; 2],
    names: Content<NameKey, Name>,
    /// Whose forwards are there; `None` when writing them failed midway, or an earlier controller wrote them.
    forwards: Option<Arc<Tables>>,
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
        let [first, second] = Side::BOTH.map(|side| sides::read(ebpf, side));
        Ok(Self {
            root: Root::open(map(ebpf, names::GENERATION)?)?,
            sides: [Some(Arc::new(first?)), Some(Arc::new(second?))],
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

    /// What holds; of an earlier controller's, without names and forwards, which have no sides.
    pub fn current(&self) -> Option<&Arc<Tables>> {
        self.sides[self.root.side().index()].as_ref()
    }

    /// What holds, with names and forwards, unless they are from an earlier controller.
    pub fn whole(&self) -> Option<&Arc<Tables>> {
        let has_all = |held: &&Arc<Tables>| {
            let forwards = self.forwards.as_ref();
            forwards.is_some_and(|written| Arc::ptr_eq(written, held))
        };
        self.current().filter(has_all)
    }

    /// log2 of the ticks in a window of the flow cache.
    pub fn window_shift(&self) -> u32 {
        self.current().map_or(0, |held| held.settings.window_shift)
    }

    /// A change to `tables` may leave sessions without their public IP or port.
    pub fn may_end_sessions(&self, tables: &Tables) -> bool {
        self.current()
            .is_none_or(|held| !self.has_forwards(tables) || stale::may_be_left(held, tables))
    }

    fn has_forwards(&self, tables: &Tables) -> bool {
        self.forwards.as_ref().is_some_and(|written| {
            written.bindings == tables.bindings && written.bound == tables.bound
        })
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
    pub fn apply(&mut self, ebpf: &mut Ebpf, tables: &Arc<Tables>) -> Result<()> {
        self.level(ebpf)?;
        let epoch = self.epoch();
        let next = epoch.wrapping_add(1);
        self.root.store(Generation::new(epoch, next));
        self.write(ebpf, Side::of(next), tables)?;
        // Names that are gone are taken away when nothing refers to them any more.
        self.set_names(ebpf, &tables.names)?;
        if self.has_forwards(tables) {
            self.root.store(Generation::new(next, next));
        } else {
            self.switch_with_forwards(ebpf, tables, next)?;
        }
        self.forwards = Some(Arc::clone(tables));
        Ok(())
    }

    /// Forwards have no sides: those that are other ones now are gone before the switch and added behind it, so
    /// that none holds together with a policy that does not know it.
    fn switch_with_forwards(
        &mut self,
        ebpf: &mut Ebpf,
        tables: &Arc<Tables>,
        next: u32,
    ) -> Result<()> {
        let before = self.forwards.take();
        forwards::withdraw(ebpf, tables)?;
        self.root.store(Generation::new(next, next));
        let added = forwards::add(ebpf, tables);
        if added.is_err() {
            // The other side still has what held before.
            let again = next.wrapping_add(1);
            self.root.store(Generation::new(again, again));
            if let Some(before) = before {
                forwards::withdraw(ebpf, &before)?;
                forwards::add(ebpf, &before)?;
                self.forwards = Some(before);
            }
        }
        added
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
        let epoch = self.epoch();
        let next = epoch.wrapping_add(1);
        let Some(current) = self.current().cloned() else {
            return Err(Error::Load("the policy that holds is not known".to_owned()));
        };
        let other = self.sides[Side::of(next).index()].as_ref();
        if other.is_some_and(|other| Arc::ptr_eq(other, &current)) {
            return Ok(());
        }
        self.root.store(Generation::new(epoch, next));
        self.write(ebpf, Side::of(next), &current)?;
        self.remove_names(ebpf, &current.names)
    }

    /// Brings a side that packets do not read to `wanted`.
    fn write(&mut self, ebpf: &mut Ebpf, side: Side, wanted: &Arc<Tables>) -> Result<()> {
        let there = match self.sides[side.index()].take() {
            Some(there) => there,
            None => Arc::new(sides::read(ebpf, side)?),
        };
        sides::write(ebpf, side, &Difference::between(&there, wanted))?;
        self.sides[side.index()] = Some(Arc::clone(wanted));
        Ok(())
    }

    /// Sets the names that are wanted, and leaves all others there.
    fn set_names(&mut self, ebpf: &Ebpf, wanted: &Content<NameKey, Name>) -> Result<()> {
        let changed = Changes {
            gone: Vec::new(),
            set: differing(&self.names, wanted),
        };
        changed.write(map(ebpf, names::NAMES)?, names::NAMES, |key| *key)?;
        self.names.extend(changed.set);
        Ok(())
    }

    /// Removes the names that are not wanted.
    fn remove_names(&mut self, ebpf: &Ebpf, wanted: &Content<NameKey, Name>) -> Result<()> {
        // Of an earlier controller's policy they are not known.
        if wanted.is_empty() {
            return Ok(());
        }
        let gone = self.names.keys().filter(|key| !wanted.contains_key(key));
        let gone: Vec<NameKey> = gone.copied().collect();
        bpf_batch::delete(map(ebpf, names::NAMES)?, &gone).map_err(writing(names::NAMES))?;
        for key in &gone {
            self.names.remove(key);
        }
        Ok(())
    }
}

fn map<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData> {
    match ebpf.map(name) {
        Some(Map::HashMap(map) | Map::LpmTrie(map) | Map::Array(map)) => Ok(map),
        _ => Err(missing(name)),
    }
}

fn missing(name: &str) -> Error {
    Error::Load(format!("the map {name} is missing from the object"))
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
