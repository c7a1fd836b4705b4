//! Says who may not be where, why, and what would fit.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::config::draft::InstanceDraft;
use crate::config::place::{Place, Report};
use crate::config::suggest::{listed, quoted};
use crate::config::types::{SpreadLevel, Strategy};
use crate::placement::{
    Finding, MAX_SPREAD, Request, Resident, Site, Violation, Zone, findings, partitions, plan,
    zone_title,
};

/// Reports what breaks the rules; `instances` are the site's residents.
pub fn report(site: &Site<'_>, instances: &[&InstanceDraft], report: &mut Report<'_>) {
    let findings = findings(site);
    if findings.is_empty() {
        return;
    }
    let wrong: FxHashSet<usize> = findings.iter().map(|finding| finding.resident).collect();
    let mut words = Words {
        site,
        rest: site.retaining(|resident| !wrong.contains(&resident)),
        instances,
        fits: FxHashMap::default(),
        room: FxHashMap::default(),
    };
    for finding in findings {
        words.say(finding, report);
    }
}

/// Many may be told the same remedy, so each is found once.
struct Words<'s, 'a> {
    site: &'s Site<'a>,
    /// Without those that have to give way.
    rest: Site<'a>,
    instances: &'s [&'s InstanceDraft],
    fits: FxHashMap<Request<'a>, Result<String, String>>,
    room: FxHashMap<Zone<'a>, String>,
}

impl<'a> Words<'_, 'a> {
    fn say(&mut self, finding: Finding, report: &mut Report<'_>) {
        let site = self.site;
        let resident = &site.residents()[finding.resident];
        let Some(place) = self.place(finding) else {
            return;
        };
        let group = resident.group.map(|group| &site.groups()[group]);
        let group_name = group.map_or_else(String::new, |group| quoted(group.name));
        let rack = resident.rack.map(|rack| &site.racks()[rack]);
        let host = resident.host.map(|host| &site.hosts()[host]);
        let title = zone_title(resident.zone);
        let (message, remedy) = match finding.violation {
            Violation::OtherRack(rack) => {
                let rack = quoted(site.racks()[rack].name);
                let message = format!("its host is in rack {rack}");
                (message, format!("remove rack, or write rack = {rack}"))
            }
            Violation::OtherZone => {
                let (rack, zone) = rack.map_or(("", None), |rack| (rack.name, rack.zone));
                let there = zone_title(zone);
                let message = format!(
                    "rack {} is in {there}, and the instance's subnet is in {title}",
                    quoted(rack)
                );
                let subnets = match site.subnets_in(zone) {
                    [] => String::new(),
                    subnets => {
                        let subnets = listed(subnets.iter().copied());
                        format!(", or take a subnet of {there}: {subnets}")
                    }
                };
                let nearer = match (resident.zone, zone) {
                    (None, Some(zone)) => format!("write zone = {} on the subnet", quoted(zone)),
                    _ => self.with_room(resident.zone),
                };
                (message, format!("{nearer}{subnets}"))
            }
            Violation::HostFull(number) => {
                let (name, most) = host.map_or(("", 0), |host| {
                    (host.name, host.capacity.unwrap_or_default())
                });
                let message = format!(
                    "host {} has a capacity of {most}, and this is running instance {number} on it",
                    quoted(name)
                );
                let remedy = match resident.group {
                    Some(_) => self.fit(resident, true),
                    None => self.with_room(resident.zone),
                };
                (message, remedy)
            }
            Violation::ClusterAcrossZones(first) => {
                let there = zone_title(site.residents()[first].zone);
                let message = format!(
                    "cluster group {group_name} is in {there} with {}, and this subnet is in {title}",
                    self.other(first, report)
                );
                let subnets = site.subnets_in(site.residents()[first].zone);
                let fit = self.fit(resident, false);
                let subnets = listed(subnets.iter().copied());
                (
                    message,
                    format!("take a subnet of {there}: {subnets}; {fit}"),
                )
            }
            Violation::NotPartitioned => {
                let strategy = group.map_or("", |group| group.strategy.name());
                let message = format!("{strategy} group {group_name} has no partitions");
                (message, "remove partition".to_owned())
            }
            Violation::NoSuchPartition => {
                let most = group.map_or(0, |group| partitions(group.strategy));
                let message = format!("partition group {group_name} has {most} partition(s)");
                (
                    message,
                    format!("use 1 to {most}, or raise partitions on the group"),
                )
            }
            Violation::NoHardware => {
                let (word, what) = match group.map(|group| group.strategy) {
                    Some(Strategy::Spread { level }) => ("spread", level),
                    _ => ("partition", SpreadLevel::Rack),
                };
                let keys = match what {
                    SpreadLevel::Rack => "host or rack",
                    SpreadLevel::Host => "host",
                };
                let message = format!(
                    "a running member of {word} group {group_name} says which {} it is on",
                    what.name()
                );
                let fit = self.fit(resident, true);
                (
                    message,
                    format!("add {keys}, or write running = false; {fit}"),
                )
            }
            Violation::SharedRack(first) => {
                let number = site.residents()[first].partition.unwrap_or_default();
                let message = format!(
                    "rack {} is partition {number}'s of group {group_name} with {}, and partition {} \
                     takes racks of its own",
                    quoted(rack.map_or("", |rack| rack.name)),
                    self.other(first, report),
                    resident.partition.unwrap_or_default(),
                );
                (message, self.fit(resident, true))
            }
            Violation::SharedHardware(first) => {
                let level = match group.map(|group| group.strategy) {
                    Some(Strategy::Spread { level }) => level,
                    _ => SpreadLevel::default(),
                };
                let name = match level {
                    SpreadLevel::Rack => rack.map(|rack| rack.name),
                    SpreadLevel::Host => host.map(|host| host.name),
                };
                let what = level.name();
                let message = format!(
                    "{what} {} has {} already, and the members of spread group {group_name} share no \
                     {what}",
                    quoted(name.unwrap_or_default()),
                    self.other(first, report)
                );
                (message, self.fit(resident, true))
            }
            Violation::TooManyInZone(number) => {
                let message = format!(
                    "this is running member {number} of spread group {group_name} in {title}, which \
                     takes {MAX_SPREAD}"
                );
                let fit = self.fit(resident, false);
                (message, format!("move it, or write running = false; {fit}"))
            }
        };
        report.error(&place, message, remedy);
    }

    /// The key that is wrong.
    fn place(&self, finding: Finding) -> Option<Place> {
        let instance = self.instances.get(finding.resident)?;
        let placement = instance.placement.as_deref()?;
        let group = placement.group.given().map(|group| &group.place);
        let rack = placement.rack.given().map(|rack| &rack.place);
        let hardware = placement.host.given().map(|host| &host.place).or(rack);
        let place = match finding.violation {
            Violation::OtherRack(_) => rack,
            Violation::OtherZone
            | Violation::HostFull(_)
            | Violation::SharedRack(_)
            | Violation::SharedHardware(_) => hardware,
            Violation::ClusterAcrossZones(_) => instance.subnet.given().map(|subnet| &subnet.place),
            Violation::NotPartitioned | Violation::NoSuchPartition => {
                placement.partition.given().map(|number| &number.place)
            }
            Violation::NoHardware | Violation::TooManyInZone(_) => group,
        };
        Some(place.unwrap_or(&instance.place).clone())
    }

    /// Another instance, and where it stands.
    fn other(&self, resident: usize, report: &Report<'_>) -> String {
        let name = quoted(self.site.residents()[resident].name);
        match self.instances.get(resident) {
            Some(instance) if instance.place.is_api() => format!("{name} (API)"),
            Some(instance) => format!("{name} ({})", report.position(&instance.place)),
            None => name,
        }
    }

    /// Where the member would fit: in its own zone if that is possible and wished for, or else in any.
    fn fit(&mut self, resident: &Resident<'a>, stays: bool) -> String {
        let Some(group) = resident.group else {
            return String::new();
        };
        let request = |zone| Request {
            group,
            zone,
            partition: resident.partition,
        };
        let mut answer = Err(String::new());
        let zones = [stays.then_some(resident.zone), None];
        for zone in zones.into_iter().skip(usize::from(!stays)) {
            let request = request(zone);
            let rest = &self.rest;
            let found = self
                .fits
                .entry(request)
                .or_insert_with(|| fitting(rest, &request));
            answer = found.clone();
            if answer.is_ok() {
                break;
            }
        }
        answer.unwrap_or_else(|why| format!("nothing has room for it: {why}"))
    }

    fn with_room(&mut self, zone: Zone<'a>) -> String {
        let rest = &self.rest;
        let words = || {
            let hosts: Vec<_> = rest.with_room(zone).map(|host| host.name).collect();
            let title = zone_title(zone);
            match hosts.as_slice() {
                [] => format!("no host in {title} has room: declare one more"),
                hosts => format!(
                    "take a host of {title} that has room: {}",
                    listed(hosts.iter().copied())
                ),
            }
        };
        self.room.entry(zone).or_insert_with(words).clone()
    }
}

fn fitting(site: &Site<'_>, request: &Request<'_>) -> Result<String, String> {
    let proposal = plan(site, request).map_err(|misfit| misfit.to_string())?;
    let host = &site.hosts()[proposal.host];
    let rack = &site.racks()[host.rack];
    let partition = proposal.partition;
    let partition = partition.map(|number| format!("partition {number} has room on "));
    let (before, after) = match partition {
        Some(partition) => (partition, ""),
        None => (String::new(), " has room"),
    };
    Ok(format!(
        "{before}host {} in rack {}, {}{after}",
        quoted(host.name),
        quoted(rack.name),
        zone_title(rack.zone)
    ))
}
