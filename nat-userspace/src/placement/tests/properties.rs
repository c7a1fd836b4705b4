//! The rules and the plans against a check that compares everybody with everybody.

use proptest::prelude::*;
use proptest::strategy::Strategy as Values;

use super::*;
use crate::config::Strategy;

const RACKS: [(&str, Zone<'static>); 5] = [
    ("r0", Some("a")),
    ("r1", Some("a")),
    ("r2", Some("b")),
    ("r3", Some("b")),
    ("r4", None),
];
const HOSTS: [&str; 12] = [
    "h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11",
];
const SUBNETS: [(&str, Zone<'static>); 3] = [("sa", Some("a")), ("sb", Some("b")), ("s", None)];
const GROUPS: [&str; 2] = ["g0", "g1"];
const NAMES: [&str; 20] = [
    "i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9", "i10", "i11", "i12", "i13", "i14",
    "i15", "i16", "i17", "i18", "i19",
];

fn strategy() -> impl Values<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Cluster),
        (1u32..=3).prop_map(|partitions| Strategy::Partition { partitions }),
        prop_oneof![Just(SpreadLevel::Rack), Just(SpreadLevel::Host)]
            .prop_map(|level| Strategy::Spread { level }),
    ]
}

/// Two groups, and some hosts.
fn any_empty() -> impl Values<Value = Site<'static>> {
    let capacity = prop::option::of(0u32..4);
    let hosts = prop::collection::vec((0..RACKS.len(), capacity), 0..HOSTS.len());
    (hosts, [strategy(), strategy()]).prop_map(|(hosts, strategies)| {
        let mut site = Site::default();
        for (name, zone) in SUBNETS {
            site.add_subnet(name, zone);
        }
        for (name, zone) in RACKS {
            site.add_rack(name, zone);
        }
        for (name, (rack, capacity)) in HOSTS.iter().zip(hosts) {
            site.add_host(name, RACKS[rack].0, capacity);
        }
        for (name, strategy) in GROUPS.iter().zip(strategies) {
            site.add_group(name, strategy);
        }
        site
    })
}

fn any_wish() -> impl Values<Value = (usize, Wish<'static>)> {
    let of =
        |names: &'static [&'static str]| prop::option::weighted(0.8, prop::sample::select(names));
    let rack = prop::option::weighted(0.2, prop::sample::select(&RACKS[..]));
    let partition = prop::option::of(1u32..4);
    (
        0..SUBNETS.len(),
        of(&GROUPS),
        partition,
        rack,
        of(&HOSTS),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(subnet, group, partition, rack, host, running)| {
            let wish = Wish {
                group,
                partition,
                rack: rack.map(|(rack, _)| rack),
                host,
                running,
            };
            (subnet, wish)
        })
}

/// With residents that are mostly at odds with each other.
fn any_site() -> impl Values<Value = Site<'static>> {
    let wishes = prop::collection::vec(any_wish(), 0..NAMES.len());
    (any_empty(), wishes).prop_map(|(mut site, wishes)| {
        for (name, (subnet, wish)) in NAMES.iter().zip(wishes) {
            site.add_instance(name, SUBNETS[subnet].0, wish);
        }
        site
    })
}

/// Whether the rules hold, from their wording.
pub fn holds(site: &Site<'_>) -> bool {
    let residents = &site.residents;
    let running = || residents.iter().filter(|resident| resident.running);
    let placed = residents.iter().all(|resident| {
        let rack_is_the_hosts = match (resident.named_rack, resident.host) {
            (Some(rack), Some(host)) => site.hosts[host].rack == rack,
            _ => true,
        };
        rack_is_the_hosts
            && resident
                .rack
                .is_none_or(|rack| site.racks[rack].zone == resident.zone)
    });
    let within = site.hosts.iter().enumerate().all(|(number, host)| {
        let on_it = running()
            .filter(|resident| resident.host == Some(number))
            .count();
        host.capacity.is_none_or(|most| on_it <= most as usize)
    });
    let groups = site.groups.iter().enumerate().all(|(number, group)| {
        let all = || {
            residents
                .iter()
                .filter(|resident| resident.group == Some(number))
        };
        let running = || all().filter(|member| member.running);
        let pairs = || {
            let one = running().enumerate();
            one.flat_map(|(at, one)| running().skip(at + 1).map(move |other| (one, other)))
        };
        match group.strategy {
            Strategy::Cluster => {
                all().all(|one| all().all(|other| one.zone == other.zone))
                    && all().all(|one| one.partition.is_none())
            }
            Strategy::Partition { partitions } => {
                let mut numbers = all().filter_map(|member| member.partition);
                let in_partition = |member: &Resident<'_>| member.partition.is_some();
                numbers.all(|partition| partition <= partitions)
                    && running().all(|member| !in_partition(member) || member.rack.is_some())
                    && pairs().all(|(one, other)| {
                        !in_partition(one)
                            || !in_partition(other)
                            || one.rack != other.rack
                            || one.partition == other.partition
                    })
            }
            Strategy::Spread { level } => {
                let on = |member: &Resident<'_>| match level {
                    SpreadLevel::Rack => member.rack,
                    SpreadLevel::Host => member.host,
                };
                all().all(|one| one.partition.is_none())
                    && running().all(|member| on(member).is_some())
                    && pairs().all(|(one, other)| on(one) != on(other))
                    && running()
                        .all(|one| running().filter(|other| other.zone == one.zone).count() <= 7)
            }
        }
    });
    placed && within && groups
}

proptest! {
    #[test]
    fn placement_rules_find_what_a_brute_force_check_finds(site in any_site()) {
        let found = findings(&site);
        prop_assert_eq!(found.is_empty(), holds(&site), "{:?}", found);
        // Those that were there first may stay.
        let wrong: Vec<_> = found.iter().map(|finding| finding.resident).collect();
        prop_assert!(holds(&site.retaining(|resident| !wrong.contains(&resident))));
    }

    /// Until nothing fits, every proposal does; and when none is made, no host would have done.
    #[test]
    fn placement_every_plan_passes_the_rules(
        site in any_site(),
        asked in prop::collection::vec((0..2usize, prop::option::of(0..3usize), prop::option::of(1u32..3)), 1..12),
    ) {
        let wrong: Vec<_> = findings(&site).iter().map(|finding| finding.resident).collect();
        let mut site = site.retaining(|resident| !wrong.contains(&resident));
        for (group, zone, partition) in asked {
            let partition = partition.filter(|number| *number <= partitions(site.groups[group].strategy));
            let zone = zone.map(|zone| SUBNETS[zone].1);
            let request = Request { group, zone, partition };
            let with = |host: usize, partition| {
                let mut with = site.clone();
                let zone = site.racks[site.hosts[host].rack].zone;
                let subnet = SUBNETS.iter().find(|(_, of)| *of == zone).expect("one each");
                let wish = Wish {
                    group: Some(GROUPS[group]),
                    partition,
                    host: Some(site.hosts[host].name),
                    running: true,
                    ..Wish::default()
                };
                assert!(with.add_instance("new", subnet.0, wish));
                with
            };
            match plan(&site, &request) {
                Ok(proposal) => {
                    let after = with(proposal.host, proposal.partition);
                    prop_assert!(holds(&after), "{:?}", proposal);
                    let there = site.racks[site.hosts[proposal.host].rack].zone;
                    prop_assert!(zone.is_none_or(|zone| zone == there));
                    prop_assert!(partition.is_none() || proposal.partition == partition);
                    let is_partitioned = partitions(site.groups[group].strategy) > 0;
                    prop_assert_eq!(proposal.partition.is_some(), is_partitioned);
                    site = after;
                }
                Err(misfit) => {
                    prop_assert!(!misfit.0.is_empty());
                    let most = partitions(site.groups[group].strategy);
                    for host in 0..site.hosts.len() {
                        let there = site.racks[site.hosts[host].rack].zone;
                        if zone.is_some_and(|zone| zone != there) {
                            continue;
                        }
                        let numbers: Vec<_> = match partition {
                            Some(_) => vec![partition],
                            None if most == 0 => vec![None],
                            None => (1..=most).map(Some).collect(),
                        };
                        for number in numbers {
                            prop_assert!(!holds(&with(host, number)), "{} fits: {}", host, misfit);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn placement_plans_do_not_depend_on_the_order_of_hosts(hosts in Just(HOSTS.to_vec()).prop_shuffle(), strategy in strategy()) {
        let built = |hosts: &[&'static str]| {
            let mut site = Site::default();
            for (name, zone) in SUBNETS {
                site.add_subnet(name, zone);
            }
            for (name, zone) in RACKS {
                site.add_rack(name, zone);
            }
            for name in hosts {
                let number = HOSTS.iter().position(|host| host == name).expect("one of them");
                site.add_host(name, RACKS[number % RACKS.len()].0, Some(1));
            }
            site.add_group("g", strategy);
            ask(&site, None, None)
        };
        prop_assert_eq!(built(&hosts), built(&HOSTS));
    }
}
