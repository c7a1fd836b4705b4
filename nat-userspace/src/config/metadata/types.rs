//! What an instance can ask about itself, as plain data.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};

use crate::config::types::Instance;
use crate::hex;

/// `node.region` when the file gives none.
pub const DEFAULT_REGION: &str = "local";
/// An instance's `type` when the file gives none.
pub const DEFAULT_INSTANCE_TYPE: &str = "none";
/// An instance's `metadata_hop_limit` when the file gives none.
pub const DEFAULT_HOP_LIMIT: u32 = 1;
/// What `metadata_hop_limit` may be at most.
pub const MAX_HOP_LIMIT: u32 = 64;
/// Tags that an instance may have.
pub const MAX_TAGS: usize = 50;
/// What an instance id begins with.
pub(super) const ID_PREFIX: &str = "i-";
/// Hexadecimal digits of an instance id.
pub(super) const ID_DIGITS: usize = 17;

/// How an instance may ask for its metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetadataAccess {
    /// With a token or without.
    #[default]
    Optional,
    /// Only with a token.
    Required,
    /// Not at all.
    Disabled,
}

impl MetadataAccess {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Optional, Self::Required, Self::Disabled];

    /// The value in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
            Self::Disabled => "disabled",
        }
    }
}

/// What is said about an instance for its own use. Packets do not depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceMetadata {
    /// How it may ask.
    pub access: MetadataAccess,
    /// Hops that an answer with a token may go, 1 to [`MAX_HOP_LIMIT`].
    pub hop_limit: u32,
    /// Whether it can read its tags.
    pub serves_tags: bool,
    /// `i-` and 17 hexadecimal digits, unique in the file; `None`: [`Instance::id`] derives it.
    pub id: Option<String>,
    /// A name; `None`: [`DEFAULT_INSTANCE_TYPE`].
    pub instance_type: Option<String>,
    /// The image it was made of, a name.
    pub image: Option<String>,
    /// A DNS name; `None`: [`Instance::hostname`] makes it of the private address.
    pub hostname: Option<String>,
    /// At most [`MAX_TAGS`]; those that are served have keys that can stand in a path.
    pub tags: BTreeMap<String, String>,
}

impl Default for InstanceMetadata {
    fn default() -> Self {
        Self {
            access: MetadataAccess::default(),
            hop_limit: DEFAULT_HOP_LIMIT,
            serves_tags: false,
            id: None,
            instance_type: None,
            image: None,
            hostname: None,
            tags: BTreeMap::new(),
        }
    }
}

impl Instance {
    /// Its id in the form of AWS: the one it was given, or else the one that its name and `vpc`, the
    /// name of its VPC, come to. That is the same on every node and after every start.
    pub fn id(&self, vpc: &str) -> String {
        let given = self.metadata.id.clone();
        given.unwrap_or_else(|| derived_id(vpc, &self.name))
    }

    /// Its type, for tools that want one.
    pub fn instance_type(&self) -> &str {
        let given = self.metadata.instance_type.as_deref();
        given.unwrap_or(DEFAULT_INSTANCE_TYPE)
    }

    /// The host name it was given, or else `ip-10-20-1-10.internal`.
    pub fn hostname(&self) -> String {
        let given = self.metadata.hostname.clone();
        given.unwrap_or_else(|| derived_hostname(self.private_ip))
    }
}

/// 68 bits of a hash, so that two of a million instances have the same in one of 600 million cases.
pub(super) fn derived_id(vpc: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    // No name has a zero in it.
    hash.update("instance id\0");
    hash.update(vpc);
    hash.update([0]);
    hash.update(name);
    let mut digits = hex::digits(hash.finalize());
    digits.truncate(ID_DIGITS);
    format!("{ID_PREFIX}{digits}")
}

/// The host name of an instance that was given none: `ip-10-20-1-10.internal`.
pub fn derived_hostname(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}.internal")
}
