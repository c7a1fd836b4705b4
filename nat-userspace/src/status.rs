//! The dataplane at a glance, from the pinned maps and links.

use std::{collections::BTreeMap, fs};

use aya::maps::MapInfo;
use nat_common::{
    drop_reason::DropReason,
    map_types::{Counter, Interface, NameKey, names},
};
use serde::Serialize;

use crate::{
    attach::Hook,
    error::{Error, Result},
    generation,
    pins::Pins,
    ports::{self, PortUse},
    session_table::SessionTable,
    sessions::Names,
};

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// A controller holds the lock.
    pub controller_running: bool,
    /// What is attached where.
    pub interfaces: Vec<InterfaceStatus>,
    /// Sessions in the table.
    pub sessions: usize,
    /// Sessions it holds.
    pub sessions_capacity: u32,
    /// Packets and events by counter.
    pub counters: BTreeMap<&'static str, u64>,
    /// Packets by drop reason; reasons that never occurred are left out.
    pub drops: BTreeMap<&'static str, u64>,
    /// Use of the public IPs.
    pub ports: Vec<PortUse>,
}

/// One interface.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub interface: String,
    /// `uplink`, `inside` or both.
    pub roles: Vec<&'static str>,
    /// The VPC of its subnets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// The hooks the programs are on.
    pub hooks: Vec<String>,
}

/// Reads it.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Status> {
    let names = Names::read(pins)?;
    // Each session may have one; the session table itself has room to spare.
    let capacity = MapInfo::from_pin(pins.map(names::BINDINGS))
        .map_err(Error::map(names::BINDINGS))?
        .max_entries();
    let mut sessions = 0;
    SessionTable::open(pins)?.for_each(|key, _| sessions += usize::from(key.is_forward()));
    let counters = pins.per_cpu_sums(names::COUNTERS)?;
    let drops = pins.per_cpu_sums(names::DROPS)?;
    Ok(Status {
        node: names.get(NameKey::NODE, 0),
        controller_running: pins.is_locked(),
        interfaces: interfaces(pins, &names)?,
        sessions,
        sessions_capacity: capacity,
        counters: Counter::ALL
            .iter()
            .map(|counter| counter.name())
            .zip(counters)
            .collect(),
        drops: DropReason::ALL
            .iter()
            .map(|reason| reason.name())
            .zip(drops)
            .filter(|(_, packets)| *packets > 0)
            .collect(),
        ports: ports::read(pins)?,
    })
}

fn interfaces(pins: &Pins, names: &Names) -> Result<Vec<InterfaceStatus>> {
    let folder = pins.links();
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(&folder)
        .map_err(Error::io(format!("reading {}", folder.display())))?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((hook, interface)) = Hook::parse_pin_name(&name) {
            links
                .entry(interface.to_owned())
                .or_default()
                .push(hook.name().to_owned());
        }
    }
    let mut found = Vec::new();
    for (index, interface) in generation::interfaces(pins)? {
        let name = names.get(NameKey::INTERFACE, index);
        let mut hooks = links.remove(&name).unwrap_or_default();
        if interface.is(Interface::CLSACT) {
            hooks.push("tc (clsact)".to_owned());
        }
        hooks.sort_unstable();
        hooks.reverse();
        let mut roles = Vec::new();
        if interface.is(Interface::SERVICES) {
            roles.push("services");
        } else if interface.is(Interface::UPLINK) {
            roles.push("uplink");
        }
        let inside = interface.is(Interface::INSIDE);
        if inside {
            roles.push("inside");
        }
        let vpc = inside.then(|| names.get(NameKey::VPC, u32::from(interface.vpc)));
        found.push(InterfaceStatus {
            interface: name,
            roles,
            vpc,
            hooks,
        });
    }
    found.sort_by(|a, b| a.interface.cmp(&b.interface));
    Ok(found)
}
