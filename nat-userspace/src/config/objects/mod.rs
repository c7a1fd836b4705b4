//! The configuration as objects with names, each of one owner: the file's, which come and go with it,
//! and the API's, which are changed one by one and outlive the file.
//!
//! [`Layers`] puts both together into one checked [`Config`](super::Config). `json` turns an object's
//! JSON into the table that the same readers take as for a file, so there is one definition of what
//! is valid; `file` finds the objects of a file, `parts` reads a single one, `exchange` and `follow` put
//! it in its place, `difference` says what differs between two files.

mod difference;
mod exchange;
mod file;
mod follow;
mod json;
mod layers;
mod parts;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, str::FromStr};

pub use difference::{FieldChange, ObjectChange, What, difference};
pub use file::{File, Written};
pub use layers::{Change, Layers, vpcs};

use super::ConfigErrors;
use super::place::Place;
use super::types::Target;
use super::values;

/// The kinds of objects, by their keys in a file. What others refer to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A virtual network, without what is in it.
    Vpc,
    /// Networks under one name.
    PrefixList,
    /// Rules for instances.
    SecurityGroup,
    /// Rules for subnets.
    NetworkAcl,
    /// What hosts share power and a switch in.
    Rack,
    /// A machine that instances run on.
    Host,
    /// Instances that are placed with regard to each other.
    PlacementGroup,
    /// Written in the file or put on its own.
    RouteTable,
    /// A route of the API, in a table of the file or the API.
    Route,
    /// A part of a VPC.
    Subnet,
    /// A NAT gateway.
    NatGateway,
    /// A host with a name.
    Instance,
    /// Instances that do the same.
    TargetGroup,
    /// One address for the instances of target groups.
    LoadBalancer,
    /// A load balancer that other VPCs may reach.
    EndpointService,
    /// What was decided about an endpoint of another VPC for a service; of the API alone.
    EndpointAcceptance,
    /// A way to a service.
    Endpoint,
    /// An instance that connections go to before they leave.
    Proxy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Vpc,
        Self::PrefixList,
        Self::SecurityGroup,
        Self::NetworkAcl,
        Self::Rack,
        Self::Host,
        Self::PlacementGroup,
        Self::RouteTable,
        Self::Route,
        Self::Subnet,
        Self::NatGateway,
        Self::Instance,
        Self::TargetGroup,
        Self::LoadBalancer,
        Self::EndpointService,
        Self::EndpointAcceptance,
        Self::Endpoint,
        Self::Proxy,
    ];

    /// Its key in a file, and its word in a path of the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::PrefixList => "prefix_list",
            Self::SecurityGroup => "security_group",
            Self::NetworkAcl => "network_acl",
            Self::Rack => "rack",
            Self::Host => "host",
            Self::PlacementGroup => "placement_group",
            Self::RouteTable => "route_table",
            Self::Route => "route",
            Self::Subnet => "subnet",
            Self::NatGateway => "nat_gateway",
            Self::Instance => "instance",
            Self::TargetGroup => "target_group",
            Self::LoadBalancer => "load_balancer",
            Self::EndpointService => "endpoint_service",
            Self::EndpointAcceptance => "endpoint_acceptance",
            Self::Endpoint => "endpoint",
            Self::Proxy => "proxy",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == text).ok_or(())
    }
}

/// Which object; in the order in which they can be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its VPC; a VPC's own name.
    pub vpc: String,
    /// What it is.
    pub kind: Kind,
    /// Unique among its kind in the VPC; a VPC's own name.
    pub name: String,
}

impl ObjectKey {
    /// Of these parts.
    pub fn new(vpc: &str, kind: Kind, name: &str) -> Self {
        Self {
            vpc: vpc.to_owned(),
            kind,
            name: name.to_owned(),
        }
    }

    /// Of a VPC itself.
    pub fn vpc(name: &str) -> Self {
        Self::new(name, Kind::Vpc, name)
    }

    /// Both names could stand in a file.
    pub fn is_valid(&self) -> bool {
        values::is_name(&self.vpc) && values::is_name(&self.name)
    }

    /// Where it is in messages, as a file's objects are in the file.
    fn place(&self) -> Place {
        match self.kind {
            Kind::Vpc => Place::api(&self.vpc, None),
            kind => Place::api(&self.vpc, Some((kind.name(), &self.name))),
        }
    }

    /// What routes that lead to it say.
    fn target(&self) -> Option<Target> {
        match self.kind {
            Kind::NatGateway => Some(Target::NatGateway(self.name.clone())),
            Kind::Instance => Some(Target::Instance(self.name.clone())),
            Kind::Endpoint => Some(Target::Endpoint(self.name.clone())),
            _ => None,
        }
    }
}

/// What the API was given, as JSON objects without names.
pub type Objects = BTreeMap<ObjectKey, String>;

/// A file's text, and what to call it in messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Mostly its path.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// Why an object stays as it is.
#[derive(Debug)]
pub enum Refusal {
    /// It is wrong, or does not go with the others.
    Invalid(ConfigErrors),
    /// Others need it.
    Needed(ConfigErrors),
    /// It is the file's.
    OfTheFile {
        /// Which file.
        file: String,
        /// Where in it.
        line: usize,
    },
    /// There is none.
    Missing,
}

/// An object as it is.
pub struct Found<'a> {
    /// Its line in the file; `None` when it is the API's.
    pub line: Option<usize>,
    /// A JSON object.
    pub spec: &'a str,
}

/// `vpc/kind/name`
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vpc, self.kind.name(), self.name)
    }
}

impl FromStr for ObjectKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let (Some(vpc), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let key = Self::new(vpc, kind.parse()?, name);
        key.is_valid().then_some(key).ok_or(())
    }
}
