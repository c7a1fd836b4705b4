//! Which side of the policy maps holds (`nat_common::map_types::Generation`), mapped into this process, so that
//! it is changed by one store.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use nat_common::map_types::{
    Generation, Interface, MAX_GATEWAYS, ScopedAddress, names, side, sided, unsided,
};

use crate::{
    error::{Error, Result},
    pins::Pins,
};

/// The word of the running dataplane.
pub struct Root(MmapRaw);

impl Root {
    /// Maps it.
    ///
    /// # Errors
    ///
    /// When that is not possible.
    pub fn open(map: &MapData) -> Result<Self> {
        MmapOptions::new()
            .len(size_of::<u64>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map(Self)
            .map_err(Error::io(format!("mapping {}", names::GENERATION)))
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: a page that is mapped as long as this lives, and aligned; programs read the word, and
        // whoever else is here changes it by this type, too.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast()) }
    }

    /// What holds.
    pub fn load(&self) -> Generation {
        Generation(self.word().load(SeqCst))
    }

    /// The side that holds.
    pub fn side(&self) -> Side {
        Side::of(self.load().epoch())
    }

    /// From now on this holds.
    pub fn store(&self, generation: Generation) {
        self.word().store(generation.0, SeqCst);
    }
}

/// One side of the policy maps: the only one who knows where on them things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side(u32);

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self(0), Self(1)];

    /// The one that a generation is on.
    pub const fn of(epoch: u32) -> Self {
        Self(side(epoch))
    }

    /// The one that holds.
    ///
    /// # Errors
    ///
    /// When there is no dataplane.
    pub fn current(pins: &Pins) -> Result<Self> {
        Ok(Root::open(&pins.open(names::GENERATION)?)?.side())
    }

    /// Its place in [`Side::BOTH`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The scope of a key of this side; `None` of the other one's.
    pub const fn scope(self, scope: u32) -> Option<u32> {
        let (side, scope) = unsided(scope);
        if side == self.0 { Some(scope) } else { None }
    }

    /// A scope as this side has it in its keys.
    pub const fn sided(self, scope: u32) -> u32 {
        sided(scope, self.0)
    }

    /// A key without its side; `None` of the other one's.
    pub const fn own(self, key: ScopedAddress) -> Option<ScopedAddress> {
        match self.scope(key.scope) {
            Some(scope) => Some(ScopedAddress { scope, ..key }),
            None => None,
        }
    }

    /// A key as this side has it.
    pub const fn key(self, key: ScopedAddress) -> ScopedAddress {
        ScopedAddress {
            scope: self.sided(key.scope),
            ..key
        }
    }

    /// Where a gateway is.
    pub const fn gateway(self, number: u32) -> u32 {
        number + self.0 * MAX_GATEWAYS
    }

    /// The number of the gateway that is in this place; `None` of the other side's.
    pub const fn gateway_at(self, place: u32) -> Option<u32> {
        if place / MAX_GATEWAYS == self.0 {
            Some(place % MAX_GATEWAYS)
        } else {
            None
        }
    }

    /// The place of the settings.
    pub const fn settings(self) -> u32 {
        self.0
    }
}

/// The interfaces of the policy that holds, by index.
///
/// # Errors
///
/// When there is no dataplane or the map can't be read.
pub fn interfaces(pins: &Pins) -> Result<BTreeMap<u32, Interface>> {
    let here = Side::current(pins)?;
    let map = pins.hash_map::<u32, Interface>(names::INTERFACES)?;
    let mut interfaces = BTreeMap::new();
    for entry in map.iter() {
        let (key, interface) = entry.map_err(Error::map(names::INTERFACES))?;
        if let Some(index) = here.scope(key) {
            interfaces.insert(index, interface);
        }
    }
    Ok(interfaces)
}
