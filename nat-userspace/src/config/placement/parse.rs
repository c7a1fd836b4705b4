//! The keys of racks, hosts, placement groups and their members: TOML to draft.

use super::draft::{HostDraft, PlacementDraft, PlacementGroupDraft, RackDraft, StrategyName};
use super::types::{MAX_PARTITIONS, SpreadLevel};
use crate::config::parse::required_name;
use crate::config::place::Report;
use crate::config::reader::{Field, Section, field};
use crate::config::values::{boolean, check_name, choice, integer, owned_text};

const RACK: Field = field("rack", "a string", "rack = \"r1\"");
const MAX_CAPACITY: u32 = 65_535;

pub fn rack(section: &mut Section<'_>, report: &mut Report<'_>) -> RackDraft {
    const ZONE: Field = field("zone", "a string", "zone = \"a\"");
    let draft = RackDraft {
        name: required_name(section, report),
        zone: section.optional(report, &ZONE, owned_text),
    };
    check_name(draft.zone.given(), report);
    draft
}

pub fn host(section: &mut Section<'_>, report: &mut Report<'_>) -> HostDraft {
    const CAPACITY: Field = field("capacity", "an integer", "capacity = 32");
    HostDraft {
        name: required_name(section, report),
        rack: section.required(report, &RACK, owned_text),
        capacity: section.optional(report, &CAPACITY, integer(0..=MAX_CAPACITY)),
    }
}

pub fn placement_group(section: &mut Section<'_>, report: &mut Report<'_>) -> PlacementGroupDraft {
    const STRATEGY: Field = field("strategy", "a string", "strategy = \"spread\"");
    const PARTITIONS: Field = field("partitions", "an integer", "partitions = 3");
    const SPREAD_LEVEL: Field = field("spread_level", "a string", "spread_level = \"rack\"");
    const STRATEGIES: [(&str, StrategyName); 3] = [
        ("cluster", StrategyName::Cluster),
        ("partition", StrategyName::Partition),
        ("spread", StrategyName::Spread),
    ];
    const LEVELS: [(&str, SpreadLevel); 2] =
        [("rack", SpreadLevel::Rack), ("host", SpreadLevel::Host)];
    PlacementGroupDraft {
        name: required_name(section, report),
        strategy: section.required(report, &STRATEGY, |value| {
            choice(value, "a placement strategy", &STRATEGIES)
        }),
        partitions: section.optional(report, &PARTITIONS, integer(1..=MAX_PARTITIONS)),
        spread_level: section.optional(report, &SPREAD_LEVEL, |value| {
            choice(value, "a level to spread by", &LEVELS)
        }),
    }
}

/// What an instance says about its place; most say nothing, and there may be many.
pub fn of_instance(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
) -> Option<Box<PlacementDraft>> {
    const GROUP: Field = field("placement_group", "a string", "placement_group = \"web\"");
    const PARTITION: Field = field("partition", "an integer", "partition = 1");
    const HOST: Field = field("host", "a string", "host = \"h1\"");
    const RUNNING: Field = field("running", "true or false", "running = false");
    let draft = PlacementDraft {
        group: section.optional(report, &GROUP, owned_text),
        partition: section.optional(report, &PARTITION, integer(1..=MAX_PARTITIONS)),
        rack: section.optional(report, &RACK, owned_text),
        host: section.optional(report, &HOST, owned_text),
        running: section.optional(report, &RUNNING, boolean),
    };
    draft.is_given().then(|| Box::new(draft))
}
