//! Racks, hosts, placement groups and their members while they are being checked.

use super::types::{
    Host, InstancePlacement, MAX_PARTITIONS, PlacementGroup, Rack, SpreadLevel, Strategy,
};
use crate::config::place::Read;

#[derive(Clone)]
pub struct RackDraft {
    pub name: Read<String>,
    pub zone: Read<String>,
}

#[derive(Clone)]
pub struct HostDraft {
    pub name: Read<String>,
    pub rack: Read<String>,
    pub capacity: Read<u32>,
}

#[derive(Clone)]
pub struct PlacementGroupDraft {
    pub name: Read<String>,
    pub strategy: Read<StrategyName>,
    pub partitions: Read<u32>,
    pub spread_level: Read<SpreadLevel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyName {
    Cluster,
    Partition,
    Spread,
}

/// What an instance says about its place.
#[derive(Clone, Default)]
pub struct PlacementDraft {
    pub group: Read<String>,
    pub partition: Read<u32>,
    pub rack: Read<String>,
    pub host: Read<String>,
    pub running: Read<bool>,
}

impl RackDraft {
    pub fn build(self) -> Option<Rack> {
        Some(Rack {
            name: self.name.required()?,
            zone: self.zone.optional()?,
        })
    }
}

impl HostDraft {
    pub fn build(self) -> Option<Host> {
        Some(Host {
            name: self.name.required()?,
            rack: self.rack.required()?,
            capacity: self.capacity.optional()?,
        })
    }
}

impl PlacementGroupDraft {
    pub fn build(self) -> Option<PlacementGroup> {
        Some(PlacementGroup {
            strategy: self.strategy()?,
            name: self.name.required()?,
        })
    }

    /// `None` when something of it could not be read.
    pub fn strategy(&self) -> Option<Strategy> {
        let partitions = self.partitions.clone().or(MAX_PARTITIONS)?;
        let level = self.spread_level.clone().or(SpreadLevel::default())?;
        Some(match self.strategy.value()? {
            StrategyName::Cluster => Strategy::Cluster,
            StrategyName::Partition => Strategy::Partition { partitions },
            StrategyName::Spread => Strategy::Spread { level },
        })
    }
}

impl PlacementDraft {
    pub fn build(self) -> Option<InstancePlacement> {
        Some(InstancePlacement {
            group: self.group.optional()?,
            partition: self.partition.optional()?,
            rack: self.rack.optional()?,
            host: self.host.optional()?,
            running: self.running.or(true)?,
        })
    }

    /// Some key of it is there.
    pub fn is_given(&self) -> bool {
        let absent = matches!(
            self,
            Self {
                group: Read::Absent,
                partition: Read::Absent,
                rack: Read::Absent,
                host: Read::Absent,
                running: Read::Absent,
            }
        );
        !absent
    }

    /// Some key of it could not be read.
    pub fn is_broken(&self) -> bool {
        let broken = [&self.group, &self.rack, &self.host];
        broken.into_iter().any(Read::is_broken)
            || self.partition.is_broken()
            || self.running.is_broken()
    }
}
