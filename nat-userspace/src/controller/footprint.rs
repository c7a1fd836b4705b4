//! What a dataplane leaves on the host outside its pin folder, and how that is undone.

use std::collections::{BTreeMap, BTreeSet};

use nat_common::map_types::{Interface, Name, NameKey, names};

use crate::{
    attach::{self, Attached},
    error::Result,
    generation, host,
    pins::Pins,
    policy,
    sessions::Names,
};

/// What a start has left on the host outside the pin folder.
#[derive(Default)]
pub struct Footprint {
    /// The interfaces with the programs on them.
    pub attached: Vec<Attached>,
    /// Those where forwarding is turned on.
    pub forwarding_set: BTreeSet<String>,
}

impl Footprint {
    /// Undoes it; of several failures the first is told.
    ///
    /// # Errors
    ///
    /// What could not be undone.
    pub fn erase(&self) -> Result<()> {
        let mut outcome = Ok(());
        for interface in &self.forwarding_set {
            outcome = outcome.and(host::set_forwarding(interface, false));
        }
        for each in &self.attached {
            outcome = outcome.and(attach::detach_clsact(&each.interface.name, each.flags));
        }
        outcome
    }
}

/// Takes from interfaces that are no longer configured what an earlier configuration gave them.
///
/// # Errors
///
/// What could not be undone.
pub fn release_others(
    names: &policy::Map<NameKey, Name>,
    before: &BTreeMap<u32, u32>,
    attached: &[Attached],
) -> Result<()> {
    for (index, flags) in before {
        if attached.iter().any(|each| each.interface.index == *index) {
            continue;
        }
        let key = NameKey {
            kind: NameKey::INTERFACE,
            number: *index,
        };
        if let Some(name) = names.get(&key) {
            release(name.as_str(), *flags)?;
        }
    }
    Ok(())
}

/// Undoes what was set on an interface besides links; one that is gone is no error.
fn release(interface: &str, flags: u32) -> Result<()> {
    let mut outcome = Ok(());
    // Before the programs go, so that nothing is forwarded without them.
    if flags & Interface::FORWARDING_SET != 0 && host::interface(interface).is_ok() {
        outcome = host::set_forwarding(interface, false);
    }
    outcome.and(attach::detach_clsact(interface, flags))
}

/// What the policy that holds says of each interface, by index.
///
/// # Errors
///
/// When there is no dataplane or the map can't be read.
pub fn flags_before(pins: &Pins) -> Result<BTreeMap<u32, u32>> {
    let interfaces = generation::interfaces(pins)?;
    Ok(interfaces
        .into_iter()
        .map(|(index, interface)| (index, interface.flags))
        .collect())
}

/// Detaches and unpins everything. Works without a controller, and goes on after a failure.
///
/// # Errors
///
/// [`Error::NoDataplane`], or the first thing that could not be removed.
pub fn tear_down(pins: &Pins) -> Result<()> {
    if !pins.exist() {
        // Says why there is nothing, or what else is there.
        pins.open(names::INTERFACES)?;
    }
    let mut outcome = Ok(());
    // A start that was killed may have left maps missing; what is there is undone all the same.
    if let (Ok(names), Ok(flags)) = (Names::read(pins), flags_before(pins)) {
        for (index, flags) in flags {
            let name = names.get(NameKey::INTERFACE, index);
            outcome = outcome.and(release(&name, flags));
        }
    }
    outcome.and(pins.remove())
}
