//! What is said about an instance for its own use, while it is being checked.

use super::types::{DEFAULT_HOP_LIMIT, InstanceMetadata, MetadataAccess};
use crate::config::place::{List, Read};

#[derive(Clone, Default)]
pub struct MetadataDraft {
    pub access: Read<MetadataAccess>,
    pub hop_limit: Read<u32>,
    pub serves_tags: Read<bool>,
    pub id: Read<String>,
    pub instance_type: Read<String>,
    pub image: Read<String>,
    pub hostname: Read<String>,
    /// Keys and values.
    pub tags: List<(String, String)>,
}

impl MetadataDraft {
    pub fn build(self) -> Option<InstanceMetadata> {
        Some(InstanceMetadata {
            access: self.access.or(MetadataAccess::default())?,
            hop_limit: self.hop_limit.or(DEFAULT_HOP_LIMIT)?,
            serves_tags: self.serves_tags.or(false)?,
            id: self.id.optional()?,
            instance_type: self.instance_type.optional()?,
            image: self.image.optional()?,
            hostname: self.hostname.optional()?,
            tags: self.tags.all()?.into_iter().collect(),
        })
    }

    /// Some key of it is there.
    pub fn is_given(&self) -> bool {
        let absent = matches!(
            self,
            Self {
                access: Read::Absent,
                hop_limit: Read::Absent,
                serves_tags: Read::Absent,
                id: Read::Absent,
                instance_type: Read::Absent,
                image: Read::Absent,
                hostname: Read::Absent,
                tags: List { place: None, .. },
            }
        );
        !absent
    }
}
