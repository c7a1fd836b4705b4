//! What filters packets: security groups, network ACLs, and the prefix lists that rules and routes
//! name. Their keys (`parse`, `values`, `draft`), what they become (`types`), and their checks: of rules
//! (`rules`), and of the groups that instances are in (`membership`).

mod draft;
mod membership;
mod parse;
mod rules;
pub mod types;
mod values;

pub use draft::{NetworkAclDraft, PrefixListDraft, SecurityGroupDraft};
pub use parse::{network_acl, prefix_list, security_group};
pub use values::prefix_list as prefix_list_name;

use super::draft::VpcDraft;
use super::index::Index;
use super::place::Report;
use super::validate::{limit, unique, unique_names};

/// Entries of a prefix list.
const MAX_ENTRIES: usize = 1000;

/// Reports the mistakes in a VPC's prefix lists, security groups and network ACLs, and in what
/// instances say about them.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let names = vpc.prefix_lists.iter().map(|list| &list.name);
    unique_names("prefix list", names, report);
    let names = vpc.security_groups.iter().map(|group| &group.name);
    unique_names("security group", names, report);
    let names = vpc.network_acls.iter().map(|acl| &acl.name);
    unique_names("network ACL", names, report);

    for list in &vpc.prefix_lists {
        entries(list, report);
    }
    for group in &vpc.security_groups {
        rules::of_group(group, index, report);
    }
    for acl in &vpc.network_acls {
        rules::of_acl(acl, report);
    }
    membership::check(vpc, index, report);
}

fn entries(list: &PrefixListDraft, report: &mut Report<'_>) {
    let entries = &list.entries;
    if let Some(place) = entries.place.as_ref()
        && entries.items.is_empty()
        && entries.complete
    {
        report.error(
            place,
            "the prefix list is empty",
            "write at least one CIDR, as in entries = [\"203.0.113.0/24\"]",
        );
    }
    let places = entries.items.iter().map(|entry| &entry.place);
    limit("entries in a prefix list", MAX_ENTRIES, places, report);
    unique(
        entries.items.iter(),
        ToString::to_string,
        "remove one of them",
        report,
    );
}
