//! What there is of racks, hosts and groups, and who is where. What refers to another is resolved to its
//! number when it is added, so that the rules compare numbers.

use rustc_hash::FxHashMap;

use super::Zone;
use crate::config::{Strategy, Vpc};

/// The racks, hosts and groups of a VPC, and its instances as far as they have to do with them. What
/// refers to something else is added after it, and left out when that is not there.
#[derive(Debug, Clone, Default)]
pub struct Site<'a> {
    /// Zones with a subnet; only there an instance can be.
    zones: FxHashMap<Zone<'a>, Vec<&'a str>>,
    pub(super) racks: Vec<Rack<'a>>,
    pub(super) hosts: Vec<Host<'a>>,
    pub(super) groups: Vec<Group<'a>>,
    pub(super) residents: Vec<Resident<'a>>,
    subnet_names: FxHashMap<&'a str, Zone<'a>>,
    rack_names: FxHashMap<&'a str, usize>,
    host_names: FxHashMap<&'a str, usize>,
    group_names: FxHashMap<&'a str, usize>,
}

/// A rack of a site.
#[derive(Debug, Clone)]
pub struct Rack<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its zone.
    pub zone: Zone<'a>,
}

/// A host of a site.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of its rack.
    pub rack: usize,
    /// How many instances may run on it.
    pub capacity: Option<u32>,
}

/// A group of a site.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is asked of its members.
    pub strategy: Strategy,
}

/// What an instance says about its place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// Its placement group.
    pub group: Option<&'a str>,
    /// Its partition there.
    pub partition: Option<u32>,
    /// Its rack.
    pub rack: Option<&'a str>,
    /// Its host.
    pub host: Option<&'a str>,
    /// Whether it runs.
    pub running: bool,
}

/// An instance that is placed, or is in a group.
#[derive(Debug, Clone)]
pub struct Resident<'a> {
    /// Its name.
    pub name: &'a str,
    /// That of its subnet.
    pub zone: Zone<'a>,
    /// The number of its group.
    pub group: Option<usize>,
    /// Its partition.
    pub partition: Option<u32>,
    /// The number of its rack, which is its host's when it names one.
    pub rack: Option<usize>,
    /// The number of the rack that it names.
    pub named_rack: Option<usize>,
    /// The number of its host.
    pub host: Option<usize>,
    /// Whether it counts.
    pub running: bool,
}

impl<'a> Site<'a> {
    /// All that a VPC has.
    pub fn of(vpc: &'a Vpc) -> Self {
        let mut site = Self::default();
        for subnet in &vpc.subnets {
            site.add_subnet(&subnet.name, subnet.zone.as_deref());
        }
        for rack in &vpc.racks {
            site.add_rack(&rack.name, rack.zone.as_deref());
        }
        for host in &vpc.hosts {
            site.add_host(&host.name, &host.rack, host.capacity);
        }
        for group in &vpc.placement_groups {
            site.add_group(&group.name, group.strategy);
        }
        for instance in &vpc.instances {
            let placed = &instance.placement;
            let wish = Wish {
                group: placed.group.as_deref(),
                partition: placed.partition,
                rack: placed.rack.as_deref(),
                host: placed.host.as_deref(),
                running: placed.running,
            };
            site.add_instance(&instance.name, &instance.subnet, wish);
        }
        site
    }

    /// A subnet and its zone.
    pub fn add_subnet(&mut self, name: &'a str, zone: Zone<'a>) {
        self.subnet_names.entry(name).or_insert(zone);
        self.zones.entry(zone).or_default().push(name);
    }

    /// A rack and its zone.
    pub fn add_rack(&mut self, name: &'a str, zone: Zone<'a>) {
        self.rack_names.entry(name).or_insert(self.racks.len());
        self.racks.push(Rack { name, zone });
    }

    /// A host in a rack.
    pub fn add_host(&mut self, name: &'a str, rack: &str, capacity: Option<u32>) {
        if let Some(rack) = self.rack_names.get(rack).copied() {
            self.host_names.entry(name).or_insert(self.hosts.len());
            self.hosts.push(Host {
                name,
                rack,
                capacity,
            });
        }
    }

    /// A placement group.
    pub fn add_group(&mut self, name: &'a str, strategy: Strategy) {
        self.group_names.entry(name).or_insert(self.groups.len());
        self.groups.push(Group { name, strategy });
    }

    /// An instance; whether it is now among the residents.
    pub fn add_instance(&mut self, name: &'a str, subnet: &str, wish: Wish<'a>) -> bool {
        let numbered = |names: &FxHashMap<&str, usize>, name: Option<&str>| match name {
            Some(name) => names.get(name).map(|number| Some(*number)),
            None => Some(None),
        };
        let (Some(zone), Some(group), Some(rack), Some(host)) = (
            self.subnet_names.get(subnet).copied(),
            numbered(&self.group_names, wish.group),
            numbered(&self.rack_names, wish.rack),
            numbered(&self.host_names, wish.host),
        ) else {
            return false;
        };
        if group.is_none() && rack.is_none() && host.is_none() {
            return false;
        }
        let of_host = host.and_then(|host| self.hosts.get(host));
        self.residents.push(Resident {
            name,
            zone,
            group,
            partition: wish.partition,
            rack: of_host.map(|host| host.rack).or(rack),
            named_rack: rack,
            host,
            running: wish.running,
        });
        true
    }

    /// The number of the group of this name.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.group_names.get(name).copied()
    }

    /// Its groups, by their numbers.
    pub fn groups(&self) -> &[Group<'a>] {
        &self.groups
    }

    /// Its racks, by their numbers.
    pub fn racks(&self) -> &[Rack<'a>] {
        &self.racks
    }

    /// Its hosts, by their numbers.
    pub fn hosts(&self) -> &[Host<'a>] {
        &self.hosts
    }

    /// Its instances that are placed or in a group, by their numbers.
    pub fn residents(&self) -> &[Resident<'a>] {
        &self.residents
    }

    /// The subnets in a zone.
    pub fn subnets_in(&self, zone: Zone<'a>) -> &[&'a str] {
        self.zones.get(&zone).map_or(&[], Vec::as_slice)
    }

    /// Hosts in a zone that have room for an instance of no group.
    pub fn with_room(&self, zone: Zone<'_>) -> impl Iterator<Item = &Host<'a>> {
        let mut running = vec![0; self.hosts.len()];
        let residents = self.residents.iter();
        for host in residents
            .filter(|resident| resident.running)
            .filter_map(|resident| resident.host)
        {
            running[host] += 1;
        }
        let hosts = self
            .hosts
            .iter()
            .zip(running)
            .filter(move |(host, running)| {
                self.rack_of(host).zone == zone && host.capacity.is_none_or(|most| *running < most)
            });
        hosts.map(|(host, _)| host)
    }

    /// The same with only those residents that are wanted, by their numbers.
    pub fn retaining(&self, wanted: impl Fn(usize) -> bool) -> Self {
        let numbered = self.residents.iter().enumerate();
        let residents = numbered.filter(|(number, _)| wanted(*number));
        Self {
            residents: residents.map(|(_, resident)| resident.clone()).collect(),
            ..self.clone()
        }
    }

    pub(super) fn rack_of(&self, host: &Host<'_>) -> &Rack<'a> {
        &self.racks[host.rack]
    }

    /// The members of a group, with their numbers.
    pub(super) fn members(&self, group: usize) -> impl Iterator<Item = (usize, &Resident<'a>)> {
        let numbered = self.residents.iter().enumerate();
        numbered.filter(move |(_, resident)| resident.group == Some(group))
    }
}
