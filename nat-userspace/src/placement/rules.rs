//! What breaks the rules. The rules are those of AWS's placement groups; only running members take up
//! hardware and count towards limits.

use rustc_hash::FxHashMap;

use super::{MAX_SPREAD, Site, Zone, hardware, partitions};
use crate::config::Strategy;

/// A rule that a resident breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Its number.
    pub resident: usize,
    /// What it is.
    pub violation: Violation,
}

/// Rules that can be broken. Others are residents by their numbers; they were there first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Violation {
    /// The rack that it names is not the one of its host, which has this number.
    OtherRack(usize),
    /// Its rack is in another zone than its subnet.
    OtherZone,
    /// It would be the host's running instance of this number, which is above its capacity.
    HostFull(usize),
    /// A cluster is in one zone, which is the one of this member.
    ClusterAcrossZones(usize),
    /// It names a partition, and its group has none.
    NotPartitioned,
    /// Its group has fewer partitions.
    NoSuchPartition,
    /// It runs, and does not say on which hardware.
    NoHardware,
    /// This member of another partition is in its rack.
    SharedRack(usize),
    /// This member of its spread group is on its hardware.
    SharedHardware(usize),
    /// It would be the zone's running member of this number.
    TooManyInZone(usize),
}

/// All that breaks the rules, in the order of the residents. Who comes later has to give way.
pub fn findings(site: &Site<'_>) -> Vec<Finding> {
    let mut seen = Seen::default();
    let mut findings = Vec::new();
    for resident in 0..site.residents.len() {
        let violations = seen.place(site, resident).into_iter();
        let violations = violations.chain(seen.membership(site, resident));
        findings.extend(violations.map(|violation| Finding {
            resident,
            violation,
        }));
    }
    findings
}

/// What the residents so far have taken.
#[derive(Default)]
struct Seen<'a> {
    on_host: FxHashMap<usize, usize>,
    /// The first member of each cluster.
    clusters: FxHashMap<usize, usize>,
    /// The first running member of each group on each rack.
    in_rack: FxHashMap<(usize, usize), usize>,
    /// That of each spread group on each hardware.
    on_hardware: FxHashMap<(usize, usize), usize>,
    in_zone: FxHashMap<(usize, Zone<'a>), usize>,
}

impl<'a> Seen<'a> {
    /// What is wrong whatever its group.
    fn place(&mut self, site: &Site<'a>, number: usize) -> Vec<Violation> {
        let mut violations = Vec::new();
        let resident = &site.residents[number];
        let host = resident.host.map(|number| (number, &site.hosts[number]));
        if let (Some(rack), Some((_, host))) = (resident.named_rack, host)
            && rack != host.rack
        {
            violations.push(Violation::OtherRack(host.rack));
        }
        if let Some(rack) = resident.rack
            && site.racks[rack].zone != resident.zone
        {
            violations.push(Violation::OtherZone);
        }
        if let Some((number, host)) = host
            && resident.running
        {
            let running = self.on_host.entry(number).or_default();
            *running += 1;
            if host.capacity.is_some_and(|most| *running > most as usize) {
                violations.push(Violation::HostFull(*running));
            }
        }
        violations
    }

    /// What its group does not allow.
    fn membership(&mut self, site: &Site<'a>, number: usize) -> Vec<Violation> {
        let resident = &site.residents[number];
        let Some(group) = resident.group else {
            return Vec::new();
        };
        let strategy = site.groups[group].strategy;
        let mut violations = Vec::new();
        let most = partitions(strategy);
        match resident.partition {
            Some(_) if most == 0 => violations.push(Violation::NotPartitioned),
            Some(partition) if partition > most => violations.push(Violation::NoSuchPartition),
            _ => {}
        }
        match strategy {
            Strategy::Cluster => {
                let first = *self.clusters.entry(group).or_insert(number);
                if site.residents[first].zone != resident.zone {
                    violations.push(Violation::ClusterAcrossZones(first));
                }
            }
            Strategy::Partition { .. } if resident.running && resident.partition.is_some() => {
                match resident.rack {
                    None => violations.push(Violation::NoHardware),
                    Some(rack) => {
                        let first = *self.in_rack.entry((group, rack)).or_insert(number);
                        if site.residents[first].partition != resident.partition {
                            violations.push(Violation::SharedRack(first));
                        }
                    }
                }
            }
            Strategy::Spread { level } if resident.running => {
                let running = self.in_zone.entry((group, resident.zone)).or_default();
                *running += 1;
                if *running > MAX_SPREAD {
                    violations.push(Violation::TooManyInZone(*running));
                }
                match hardware(level, resident) {
                    None => violations.push(Violation::NoHardware),
                    Some(hardware) => {
                        let key = (group, hardware);
                        let first = *self.on_hardware.entry(key).or_insert(number);
                        if first != number {
                            violations.push(Violation::SharedHardware(first));
                        }
                    }
                }
            }
            Strategy::Partition { .. } | Strategy::Spread { .. } => {}
        }
        violations
    }
}
