//! What a checked configuration promises about what instances are told, asked again in the plainest way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::config::{Config, MAX_HOP_LIMIT, MAX_TAGS};

pub fn check_metadata(config: &Config) -> Result<(), TestCaseError> {
    prop_assert!(!config.node.region.is_empty());
    let mut ids = BTreeSet::new();
    for vpc in &config.vpcs {
        for instance in &vpc.instances {
            let id = instance.id(&vpc.name);
            prop_assert!(id.len() == 19 && id.starts_with("i-"), "{id}");
            prop_assert!(ids.insert(id.clone()), "{id} twice");
            let metadata = &instance.metadata;
            prop_assert!((1..=MAX_HOP_LIMIT).contains(&metadata.hop_limit));
            prop_assert!(metadata.tags.len() <= MAX_TAGS);
            for (key, value) in &metadata.tags {
                let served = |c: char| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c);
                prop_assert!(!key.is_empty() && !value.contains('\n'));
                prop_assert!(!metadata.serves_tags || key.chars().all(served), "{key}");
            }
            let hostname = instance.hostname();
            let label = |label: &str| (1..64).contains(&label.len());
            prop_assert!(hostname.split('.').all(label), "{hostname}");
        }
    }
    Ok(())
}
