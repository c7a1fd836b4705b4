//! A VPC's hosts and groups, drawn: for people as a tree and a table, for scripts as one object.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{MAX_SPREAD, Resident, Site, Zone};
use crate::config::{SpreadLevel, Strategy};

/// What there is, by zone, rack and host, and the groups with their members.
#[derive(Debug, Serialize)]
pub struct Picture<'a> {
    /// The VPC.
    pub vpc: &'a str,
    /// By name; the one without a name is first.
    pub zones: Vec<ZonePicture<'a>>,
    /// By name.
    pub groups: Vec<GroupPicture<'a>>,
}

/// A zone with racks.
#[derive(Debug, Serialize)]
pub struct ZonePicture<'a> {
    /// Its name.
    pub zone: Zone<'a>,
    /// Its racks by name.
    pub racks: Vec<RackPicture<'a>>,
}

/// A rack.
#[derive(Debug, Serialize)]
pub struct RackPicture<'a> {
    /// Its name.
    pub rack: &'a str,
    /// Its hosts by name.
    pub hosts: Vec<HostPicture<'a>>,
    /// What is in it on a host that nobody has named.
    pub instances: Vec<Occupant<'a>>,
}

/// A host.
#[derive(Debug, Serialize)]
pub struct HostPicture<'a> {
    /// Its name.
    pub host: &'a str,
    /// How many instances may run on it.
    pub capacity: Option<u32>,
    /// How many do.
    pub running: usize,
    /// What is on it.
    pub instances: Vec<Occupant<'a>>,
}

/// An instance where it is.
#[derive(Debug, Serialize)]
pub struct Occupant<'a> {
    /// Its name.
    pub instance: &'a str,
    /// Its group.
    pub group: Option<&'a str>,
    /// Its partition there.
    pub partition: Option<u32>,
    /// Whether it counts.
    pub running: bool,
}

/// A group.
#[derive(Debug, Serialize)]
pub struct GroupPicture<'a> {
    /// Its name.
    pub group: &'a str,
    /// Its strategy.
    pub strategy: &'static str,
    /// How many partitions it may have in a zone.
    pub partitions: Option<u32>,
    /// What its members do not share.
    pub spread_level: Option<&'static str>,
    /// Running members that it may have in a zone.
    pub limit: Option<usize>,
    /// Everything in it, by zone and name.
    pub members: Vec<Member<'a>>,
}

/// An instance in its group.
#[derive(Debug, Serialize)]
pub struct Member<'a> {
    /// Its name.
    pub instance: &'a str,
    /// Its zone.
    pub zone: Zone<'a>,
    /// Its rack.
    pub rack: Option<&'a str>,
    /// Its host.
    pub host: Option<&'a str>,
    /// Its partition.
    pub partition: Option<u32>,
    /// Whether it counts.
    pub running: bool,
}

impl<'a> Picture<'a> {
    /// Of a VPC.
    pub fn of(vpc: &'a str, site: &Site<'a>) -> Self {
        let mut zones: BTreeMap<Zone<'a>, Vec<RackPicture<'a>>> = BTreeMap::new();
        let mut racks: Vec<_> = site.racks.iter().enumerate().collect();
        racks.sort_by_key(|(_, rack)| rack.name);
        for (number, rack) in racks {
            let in_zone = zones.entry(rack.zone).or_default();
            in_zone.push(rack_picture(site, number));
        }
        let zones = zones.into_iter();
        let mut groups: Vec<_> = (0..site.groups.len())
            .map(|number| group_picture(site, number))
            .collect();
        groups.sort_by_key(|group| group.group);
        Self {
            vpc,
            zones: zones
                .map(|(zone, racks)| ZonePicture { zone, racks })
                .collect(),
            groups,
        }
    }

    /// Draws the tree.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn draw(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "vpc {}", self.vpc)?;
        for (index, zone) in self.zones.iter().enumerate() {
            let (branch, below) = limb(index + 1 == self.zones.len());
            match zone.zone {
                Some(name) => writeln!(out, "{branch}zone {name}")?,
                None => writeln!(out, "{branch}no zone")?,
            }
            for (index, rack) in zone.racks.iter().enumerate() {
                let (branch, further) = limb(index + 1 == zone.racks.len());
                write!(out, "{below}{branch}rack {}", rack.rack)?;
                named(out, &rack.instances)?;
                for (index, host) in rack.hosts.iter().enumerate() {
                    let (branch, _) = limb(index + 1 == rack.hosts.len());
                    let most = host.capacity.map(|most| format!(" of {most}"));
                    write!(
                        out,
                        "{below}{further}{branch}host {}  {}{}",
                        host.host,
                        host.running,
                        most.unwrap_or_default()
                    )?;
                    named(out, &host.instances)?;
                }
            }
        }
        Ok(())
    }

    /// A row for each group and zone, under a heading.
    pub fn table(&self) -> Vec<Vec<String>> {
        let heading = ["GROUP", "STRATEGY", "ZONE", "RUNNING", "MEMBERS"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for group in &self.groups {
            let mut zones: BTreeMap<Zone<'_>, Vec<&Member<'_>>> = BTreeMap::new();
            for member in &group.members {
                zones.entry(member.zone).or_default().push(member);
            }
            if zones.is_empty() {
                rows.push(group.row(None, &[]));
            }
            rows.extend(
                zones
                    .iter()
                    .map(|(zone, members)| group.row(*zone, members)),
            );
        }
        rows
    }
}

impl GroupPicture<'_> {
    fn row(&self, zone: Zone<'_>, members: &[&Member<'_>]) -> Vec<String> {
        let running = members.iter().filter(|member| member.running).count();
        let most = self.limit.map(|most| format!(" of {most}"));
        let strategy = match (self.partitions, self.spread_level) {
            (Some(partitions), _) => format!("{}, {partitions} partitions", self.strategy),
            (_, Some(level)) => format!("{} by {level}", self.strategy),
            _ => self.strategy.to_owned(),
        };
        let members: Vec<_> = members
            .iter()
            .map(|member| {
                let partition = member.partition.map(|number| format!("{number}:"));
                let place = member.host.or(member.rack).unwrap_or("?");
                let stopped = if member.running { "" } else { " stopped" };
                let partition = partition.unwrap_or_default();
                format!("{partition}{}@{place}{stopped}", member.instance)
            })
            .collect();
        vec![
            self.group.to_owned(),
            strategy,
            zone.unwrap_or("-").to_owned(),
            format!("{running}{}", most.unwrap_or_default()),
            members.join(", "),
        ]
    }
}

const fn limb(is_last: bool) -> (&'static str, &'static str) {
    if is_last {
        ("`- ", "   ")
    } else {
        ("|- ", "|  ")
    }
}

fn named(out: &mut impl Write, occupants: &[Occupant<'_>]) -> io::Result<()> {
    for (index, occupant) in occupants.iter().enumerate() {
        let separator = if index == 0 { "  " } else { ", " };
        write!(out, "{separator}{}", occupant.instance)?;
        let group = occupant.group.map(str::to_owned);
        let partition = occupant
            .partition
            .map(|number| format!("partition {number}"));
        let stopped = (!occupant.running).then(|| "stopped".to_owned());
        let facts: Vec<_> = [group, partition, stopped].into_iter().flatten().collect();
        if !facts.is_empty() {
            write!(out, " ({})", facts.join(", "))?;
        }
    }
    writeln!(out)
}

fn rack_picture<'a>(site: &Site<'a>, rack: usize) -> RackPicture<'a> {
    let numbered = site.hosts.iter().enumerate();
    let mut hosts: Vec<_> = numbered
        .filter(|(_, host)| host.rack == rack)
        .map(|(number, host)| {
            let instances = occupants(site, |resident| resident.host == Some(number));
            HostPicture {
                host: host.name,
                capacity: host.capacity,
                running: instances.iter().filter(|each| each.running).count(),
                instances,
            }
        })
        .collect();
    hosts.sort_by_key(|host| host.host);
    RackPicture {
        rack: site.racks[rack].name,
        hosts,
        instances: occupants(site, |resident| {
            resident.rack == Some(rack) && resident.host.is_none()
        }),
    }
}

fn occupants<'a>(site: &Site<'a>, wanted: impl Fn(&Resident<'a>) -> bool) -> Vec<Occupant<'a>> {
    let residents = site.residents.iter().filter(|resident| wanted(resident));
    let occupants = residents.map(|resident| Occupant {
        instance: resident.name,
        group: resident.group.map(|group| site.groups[group].name),
        partition: resident.partition,
        running: resident.running,
    });
    let mut occupants: Vec<_> = occupants.collect();
    occupants.sort_by_key(|occupant| occupant.instance);
    occupants
}

fn group_picture<'a>(site: &Site<'a>, number: usize) -> GroupPicture<'a> {
    let group = &site.groups[number];
    let members = site.members(number).map(|(_, member)| Member {
        instance: member.name,
        zone: member.zone,
        rack: member.rack.map(|rack| site.racks[rack].name),
        host: member.host.map(|host| site.hosts[host].name),
        partition: member.partition,
        running: member.running,
    });
    let mut members: Vec<_> = members.collect();
    members.sort_by_key(|member| (member.zone, member.partition, member.instance));
    let (partitions, spread_level) = match group.strategy {
        Strategy::Cluster => (None, None),
        Strategy::Partition { partitions } => (Some(partitions), None),
        Strategy::Spread { level } => (None, Some(level)),
    };
    GroupPicture {
        group: group.name,
        strategy: group.strategy.name(),
        partitions,
        spread_level: spread_level.map(SpreadLevel::name),
        limit: spread_level.map(|_| MAX_SPREAD),
        members,
    }
}
