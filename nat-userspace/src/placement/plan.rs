//! A host for a new member. Each declared host is either ruled out, for one reason, or has a rank; the
//! first of them is proposed. Names decide between equals, so the same site gives the same answer
//! whatever the order in which it was declared.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{MAX_SPREAD, Site, Zone, partitions, taken::Taken, zone_title};
use crate::config::{SpreadLevel, Strategy};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// The number of the group.
    pub group: usize,
    /// Only in this zone.
    pub zone: Option<Zone<'a>>,
    /// Only in this partition, of a group that has it.
    pub partition: Option<u32>,
}

/// Where a new running member may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The number of the host.
    pub host: usize,
    /// The partition, of a partition group.
    pub partition: Option<u32>,
    /// Why there.
    pub why: String,
}

/// Why nothing fits: each reason with the hosts it rules out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit(pub Vec<(String, Vec<String>)>);

/// As a sentence goes on.
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (index, (reason, hosts)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if index == SHOWN {
                return write!(f, "and {} more reasons", self.0.len() - SHOWN);
            }
            f.write_str(reason)?;
            match hosts.len() {
                0 => {}
                1..=SHOWN => write!(f, " ({})", hosts.join(", "))?,
                count => write!(
                    f,
                    " ({} and {} more)",
                    hosts[..SHOWN].join(", "),
                    count - SHOWN
                )?,
            }
        }
        Ok(())
    }
}

/// A host for a new running member of a group.
///
/// # Errors
///
/// Why there is none.
pub fn plan(site: &Site<'_>, request: &Request<'_>) -> Result<Proposal, Misfit> {
    let taken = Taken::new(site, request.group);
    let mut best: Option<(Rank<'_>, Proposal)> = None;
    let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for host in 0..site.hosts.len() {
        if request.zone.is_some_and(|zone| zone != taken.zone(host)) {
            continue;
        }
        let options = taken
            .ruled_out(host)
            .map_or_else(|| taken.options(host, request.partition), Err);
        match options {
            Err(reason) => {
                let hosts = reasons.entry(reason).or_default();
                hosts.insert(site.hosts[host].name.to_owned());
            }
            Ok(options) => {
                let first = options.into_iter().min_by(|one, other| one.0.cmp(&other.0));
                if let Some(first) = first
                    && best.as_ref().is_none_or(|best| first.0 < best.0)
                {
                    best = Some(first);
                }
            }
        }
    }
    if let Some((_, proposal)) = best {
        return Ok(proposal);
    }
    if reasons.is_empty() {
        let reason = match request.zone {
            Some(zone) => format!("no host is declared in {}", zone_title(zone)),
            None => "no host is declared".to_owned(),
        };
        return Err(Misfit(vec![(reason, Vec::new())]));
    }
    let listed = reasons.into_iter();
    Err(Misfit(
        listed
            .map(|(reason, hosts)| (reason, hosts.into_iter().collect()))
            .collect(),
    ))
}

/// The smallest is the best: the strategy's own figures, and then the names of rack and host.
type Rank<'a> = (Vec<Figure<'a>>, &'a str, &'a str);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Figure<'a> {
    Least(usize),
    Most(Reverse<usize>),
    Name(Zone<'a>),
}

impl<'s, 'a> Taken<'s, 'a> {
    /// Why a host can't have a new member, whatever its partition.
    fn ruled_out(&self, host: usize) -> Option<String> {
        let zone = self.zone(host);
        if self.site.subnets_in(zone).is_empty() {
            return Some(format!("no subnet is in {}", zone_title(zone)));
        }
        match self.strategy {
            Strategy::Cluster => {
                if let Some((of_cluster, member)) = self.cluster
                    && of_cluster != zone
                {
                    let title = zone_title(of_cluster);
                    return Some(format!("the cluster is in {title} with {member:?}"));
                }
            }
            Strategy::Spread { level } => {
                let running = self.members_in_zone(zone);
                if running >= MAX_SPREAD {
                    return Some(format!(
                        "{} has {running} of {MAX_SPREAD} running members",
                        zone_title(zone)
                    ));
                }
                if let Some(holder) = self.holder(level, host) {
                    let name = self.site.residents[holder].name;
                    return Some(match level {
                        SpreadLevel::Rack => {
                            let rack = self.site.rack_of(&self.site.hosts[host]).name;
                            format!("rack {rack:?} has the member {name:?}")
                        }
                        SpreadLevel::Host => format!("the host has the member {name:?}"),
                    });
                }
            }
            Strategy::Partition { .. } => {}
        }
        (self.room(host) == 0).then(|| "the host has no room left".to_owned())
    }

    /// The ways to put a member on a host, each with its rank.
    fn options(&self, host: usize, wanted: Option<u32>) -> Result<Vec<(Rank<'s>, Proposal)>, String>
    where
        'a: 's,
    {
        let rack = self.site.hosts[host].rack;
        let zone = self.zone(host);
        let name = self.site.racks[rack].name;
        let title = zone_title(zone);
        let option = |figures, partition, why| {
            let rank = (figures, name, self.site.hosts[host].name);
            let proposal = Proposal {
                host,
                partition,
                why,
            };
            (rank, proposal)
        };
        let load = Figure::Least(self.on_host[host]);
        Ok(match self.strategy {
            Strategy::Cluster => {
                let members = self.members_in_rack[rack];
                let why = if members > 0 {
                    format!("of the racks with room, {name:?} has the most members: {members}")
                } else if self.cluster.is_some() {
                    format!("the group is in {title}, and no rack with members has room")
                } else {
                    format!("the group has no member yet, and no rack has more room than {name:?}")
                };
                let figures = vec![
                    Figure::Most(Reverse(members)),
                    Figure::Most(Reverse(self.room_in_rack[rack])),
                    Figure::Name(zone),
                    Figure::Most(Reverse(self.members_on_host[host])),
                    load,
                ];
                vec![option(figures, None, why)]
            }
            Strategy::Spread { level } => {
                let members = self.members_in_zone(zone);
                let what = match level {
                    SpreadLevel::Rack => format!("no member is in rack {name:?}"),
                    SpreadLevel::Host => "no member is on this host".to_owned(),
                };
                let why = format!("{what}, and {title} has {members} of {MAX_SPREAD} running");
                vec![option(
                    vec![Figure::Least(members), Figure::Name(zone), load],
                    None,
                    why,
                )]
            }
            Strategy::Partition { .. } => {
                let owner = self.owners[rack];
                if let (Some(owner), Some(wanted)) = (owner, wanted)
                    && owner != wanted
                {
                    return Err(format!("rack {name:?} is partition {owner}'s"));
                }
                let fitting = (1..=partitions(self.strategy))
                    .filter(|number| wanted.is_none_or(|wanted| wanted == *number))
                    .filter(|number| owner.is_none_or(|owner| owner == *number));
                let each = fitting.map(|number| {
                    let members = self.in_partition.get(&number).copied().unwrap_or(0);
                    let whose = match owner {
                        Some(_) => "is its own",
                        None => "is no partition's yet",
                    };
                    let why = format!(
                        "partition {number} has {members} running, and rack {name:?} {whose}"
                    );
                    let figures = vec![
                        Figure::Least(members),
                        Figure::Least(number as usize),
                        Figure::Least(usize::from(owner.is_none())),
                        Figure::Least(self.members_in_zone(zone)),
                        Figure::Name(zone),
                        Figure::Least(self.members_in_rack[rack]),
                        Figure::Least(self.members_on_host[host]),
                        Figure::Least(self.on_host[host]),
                    ];
                    option(figures, Some(number), why)
                });
                let options: Vec<_> = each.collect();
                if options.is_empty() {
                    let most = partitions(self.strategy);
                    return Err(format!("the group has {most} partitions"));
                }
                options
            }
        })
    }
}
