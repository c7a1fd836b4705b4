//! Racks, hosts and placement groups as plain data.

/// Partitions that a partition group may have in a zone.
pub const MAX_PARTITIONS: u32 = 7;

/// Hosts that share power and a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rack {
    /// Unique among the VPC's racks.
    pub name: String,
    /// Availability zone.
    pub zone: Option<String>,
}

/// A machine that instances run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Unique among the VPC's hosts.
    pub name: String,
    /// Name of its rack.
    pub rack: String,
    /// How many instances of the VPC may run on it; `None`: any number.
    pub capacity: Option<u32>,
}

/// Instances that are placed with regard to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementGroup {
    /// Unique among the VPC's placement groups.
    pub name: String,
    /// What is asked of its members.
    pub strategy: Strategy,
}

/// How the members of a group are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Close together, in one zone.
    Cluster,
    /// In partitions, each with racks of its own.
    Partition {
        /// How many in a zone, 1 to [`MAX_PARTITIONS`].
        partitions: u32,
    },
    /// Each running member on hardware of its own, at most 7 of them in a zone.
    Spread {
        /// What counts as hardware.
        level: SpreadLevel,
    },
}

impl Strategy {
    /// The value in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Partition { .. } => "partition",
            Self::Spread { .. } => "spread",
        }
    }
}

/// What the members of a spread group do not share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpreadLevel {
    /// A rack.
    #[default]
    Rack,
    /// A host.
    Host,
}

impl SpreadLevel {
    /// The value in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rack => "rack",
            Self::Host => "host",
        }
    }
}

/// What an instance says about its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePlacement {
    /// Name of its placement group.
    pub group: Option<String>,
    /// Its partition, from 1; only in a partition group.
    pub partition: Option<u32>,
    /// Name of its rack; `None`: its host's, if it names one.
    pub rack: Option<String>,
    /// Name of its host.
    pub host: Option<String>,
    /// Whether it runs. One that does not takes up no hardware.
    pub running: bool,
}

impl Default for InstancePlacement {
    fn default() -> Self {
        Self {
            group: None,
            partition: None,
            rack: None,
            host: None,
            running: true,
        }
    }
}
