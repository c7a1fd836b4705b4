//! Placement groups: which instances share what fails together, and which may not. All of it is
//! arithmetic on a [`Site`] (`site`), which says what there is and who is where: `rules` finds what breaks the
//! rules, `plan` a host for a new member, `picture` shows it. A VPC's is made by [`Site::of`]; the checks of
//! the configuration (`config/placement`) make one of their draft.
//!
//! *Limitations:* the dataplane moves no instance, and takes the file's word for where each one runs.

mod picture;
mod plan;
mod rules;
mod site;
mod taken;
#[cfg(test)]
pub mod tests;

pub use picture::Picture;
pub use plan::{Misfit, Proposal, Request, plan};
pub use rules::{Finding, Violation, findings};
pub use site::{Group, Host, Rack, Resident, Site, Wish};

use crate::config::{Instance, SpreadLevel, Strategy, Vpc};

/// Running members that a spread group may have in a zone.
pub const MAX_SPREAD: usize = 7;

/// A zone by its name. What names none is together in one that has none.
pub type Zone<'a> = Option<&'a str>;

/// Where an instance is, as its metadata says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement<'a> {
    /// The name of its placement group.
    pub group: Option<&'a str>,
    /// Its partition, from 1, when the group has partitions and it is in one.
    pub partition: Option<u32>,
    /// The availability zone of its subnet.
    pub zone: Zone<'a>,
    /// The rack it is in.
    pub rack: Option<&'a str>,
    /// The host it is on.
    pub host: Option<&'a str>,
}

impl<'a> Placement<'a> {
    /// Of an instance of this VPC.
    pub fn of(vpc: &'a Vpc, instance: &'a Instance) -> Self {
        let subnet = |name: &str| vpc.subnets.iter().find(|subnet| subnet.name == name);
        let host = |name: &str| vpc.hosts.iter().find(|host| host.name == name);
        let placed = &instance.placement;
        let by_host = || Some(host(placed.host.as_deref()?)?.rack.as_str());
        Self {
            group: placed.group.as_deref(),
            partition: placed.partition,
            zone: subnet(&instance.subnet).and_then(|subnet| subnet.zone.as_deref()),
            rack: by_host().or(placed.rack.as_deref()),
            host: placed.host.as_deref(),
        }
    }
}

/// How many partitions a group may have in a zone; none unless it is a partition group.
pub const fn partitions(strategy: Strategy) -> u32 {
    match strategy {
        Strategy::Partition { partitions } => partitions,
        Strategy::Cluster | Strategy::Spread { .. } => 0,
    }
}

/// A zone for people.
pub fn zone_title(zone: Zone<'_>) -> String {
    zone.map_or_else(|| "no zone".to_owned(), |zone| format!("zone {zone:?}"))
}

/// What a spread group's members must not share, and which one of it a resident has.
const fn hardware(level: SpreadLevel, resident: &Resident<'_>) -> Option<usize> {
    match level {
        SpreadLevel::Rack => resident.rack,
        SpreadLevel::Host => resident.host,
    }
}
