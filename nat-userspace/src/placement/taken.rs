//! What the members of one group have taken, which decides where another one can be.

use std::collections::BTreeMap;

use super::{Site, Zone};
use crate::config::{SpreadLevel, Strategy};

/// Where the members of a group are, and who runs on the hosts.
pub struct Taken<'s, 'a> {
    pub site: &'s Site<'a>,
    pub strategy: Strategy,
    pub on_host: Vec<usize>,
    pub members_on_host: Vec<usize>,
    pub members_in_rack: Vec<usize>,
    pub room_in_rack: Vec<usize>,
    /// A running member on each rack, and on each host.
    pub holders: [Vec<Option<usize>>; 2],
    /// The partition that has each rack.
    pub owners: Vec<Option<u32>>,
    pub in_zone: BTreeMap<Zone<'a>, usize>,
    pub in_partition: BTreeMap<u32, usize>,
    /// Where a cluster is, by the member that says so.
    pub cluster: Option<(Zone<'a>, &'a str)>,
}

impl<'s, 'a> Taken<'s, 'a> {
    pub fn new(site: &'s Site<'a>, group: usize) -> Self {
        let (racks, hosts) = (site.racks.len(), site.hosts.len());
        let mut taken = Self {
            site,
            strategy: site.groups[group].strategy,
            on_host: vec![0; hosts],
            members_on_host: vec![0; hosts],
            members_in_rack: vec![0; racks],
            room_in_rack: vec![0; racks],
            holders: [vec![None; racks], vec![None; hosts]],
            owners: vec![None; racks],
            in_zone: BTreeMap::new(),
            in_partition: BTreeMap::new(),
            cluster: None,
        };
        let first = site.members(group).next();
        taken.cluster = first.map(|(_, first)| (first.zone, first.name));
        let running = site.residents.iter().filter(|resident| resident.running);
        for host in running.filter_map(|resident| resident.host) {
            taken.on_host[host] += 1;
        }
        for (number, host) in site.hosts.iter().enumerate() {
            let room = taken.room(number);
            let in_rack = &mut taken.room_in_rack[host.rack];
            *in_rack = in_rack.saturating_add(room);
        }
        let running = site.members(group).filter(|(_, member)| member.running);
        for (number, member) in running {
            *taken.in_zone.entry(member.zone).or_default() += 1;
            if let Some(partition) = member.partition {
                *taken.in_partition.entry(partition).or_default() += 1;
            }
            if let Some(rack) = member.rack {
                taken.members_in_rack[rack] += 1;
                taken.holders[0][rack].get_or_insert(number);
                taken.owners[rack] = taken.owners[rack].or(member.partition);
            }
            if let Some(host) = member.host {
                taken.members_on_host[host] += 1;
                taken.holders[1][host].get_or_insert(number);
            }
        }
        taken
    }

    pub fn zone(&self, host: usize) -> Zone<'a> {
        self.site.rack_of(&self.site.hosts[host]).zone
    }

    pub fn members_in_zone(&self, zone: Zone<'a>) -> usize {
        self.in_zone.get(&zone).copied().unwrap_or(0)
    }

    /// Places left on a host; without a capacity there is no end to them.
    pub fn room(&self, host: usize) -> usize {
        let capacity = self.site.hosts[host].capacity;
        capacity.map_or(usize::MAX, |most| {
            (most as usize).saturating_sub(self.on_host[host])
        })
    }

    pub fn holder(&self, level: SpreadLevel, host: usize) -> Option<usize> {
        match level {
            SpreadLevel::Rack => self.holders[0][self.site.hosts[host].rack],
            SpreadLevel::Host => self.holders[1][host],
        }
    }
}
