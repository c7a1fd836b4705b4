//! Which side of the policy maps holds (`nat_common::map_types::Generation`), mapped into this process, so that
//! it is changed by one store.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use nat_common::map_types::{Generation, Interface, MAX_GATEWAYS, names, side, sided, unsided};

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

    /// From now on this holds.
    pub fn store(&self, generation: Generation) {
        self.word().store(generation.0, SeqCst);
    }
}

/// One side of the policy maps, for those who read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side(u32);

impl Side {
    /// The one that holds.
    ///
    /// # Errors
    ///
    /// When there is no dataplane.
    pub fn current(pins: &Pins) -> Result<Self> {
        let root = Root::open(&pins.open(names::GENERATION)?)?;
        Ok(Self(side(root.load().epoch())))
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
