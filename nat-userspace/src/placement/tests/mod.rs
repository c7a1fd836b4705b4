//! Who may be where, and what is proposed; that one follows from the other is in `properties`.

mod properties;

pub use properties::holds;

use super::*;
use crate::config::{self, InstancePlacement, SpreadLevel};

const CLUSTER: Strategy = Strategy::Cluster;
const PARTITION: Strategy = Strategy::Partition { partitions: 3 };
const BY_RACK: Strategy = Strategy::Spread {
    level: SpreadLevel::Rack,
};
const BY_HOST: Strategy = Strategy::Spread {
    level: SpreadLevel::Host,
};

/// Zone a has racks a1 to a9, zone b the racks b1 to b3. Each has two hosts, as a1x and a1y, for two
/// instances each. The only group is `g`.
fn site(strategy: Strategy) -> Site<'static> {
    let mut site = Site::default();
    site.add_subnet("in-a", Some("a"));
    site.add_subnet("in-b", Some("b"));
    site.add_subnet("nowhere", None);
    const A: [[&str; 3]; 9] = [
        ["a1", "a1x", "a1y"],
        ["a2", "a2x", "a2y"],
        ["a3", "a3x", "a3y"],
        ["a4", "a4x", "a4y"],
        ["a5", "a5x", "a5y"],
        ["a6", "a6x", "a6y"],
        ["a7", "a7x", "a7y"],
        ["a8", "a8x", "a8y"],
        ["a9", "a9x", "a9y"],
    ];
    const B: [[&str; 3]; 3] = [
        ["b1", "b1x", "b1y"],
        ["b2", "b2x", "b2y"],
        ["b3", "b3x", "b3y"],
    ];
    let of_a = A.map(|rack| (rack, "a")).into_iter();
    for ([rack, x, y], zone) in of_a.chain(B.map(|rack| (rack, "b"))) {
        site.add_rack(rack, Some(zone));
        site.add_host(x, rack, Some(2));
        site.add_host(y, rack, Some(2));
    }
    site.add_group("g", strategy);
    site
}

fn member(host: &'static str) -> Wish<'static> {
    Wish {
        group: Some("g"),
        host: Some(host),
        running: true,
        ..Wish::default()
    }
}

fn in_partition(partition: u32, host: &'static str) -> Wish<'static> {
    Wish {
        partition: Some(partition),
        ..member(host)
    }
}

/// With these members, called m0, m1 and so on, each in the subnet of its host's zone.
fn with(strategy: Strategy, members: &[Wish<'static>]) -> Site<'static> {
    const NAMES: [&str; 10] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"];
    let mut site = site(strategy);
    for (name, wish) in NAMES.iter().zip(members) {
        let in_b = wish.host.is_some_and(|host| host.starts_with('b'));
        assert!(site.add_instance(name, if in_b { "in-b" } else { "in-a" }, *wish));
    }
    site
}

fn violations(site: &Site<'_>) -> Vec<(usize, Violation)> {
    let findings = findings(site).into_iter();
    findings
        .map(|found| (found.resident, found.violation))
        .collect()
}

fn ask(
    site: &Site<'_>,
    zone: Option<&str>,
    partition: Option<u32>,
) -> Result<(String, Option<u32>), String> {
    let zone = zone.map(Some);
    let request = Request {
        group: 0,
        zone,
        partition,
    };
    let proposal = plan(site, &request).map_err(|misfit| misfit.to_string())?;
    Ok((
        site.hosts()[proposal.host].name.to_owned(),
        proposal.partition,
    ))
}

fn on(host: &str) -> Result<(String, Option<u32>), String> {
    Ok((host.to_owned(), None))
}

fn on_in(host: &str, partition: u32) -> Result<(String, Option<u32>), String> {
    Ok((host.to_owned(), Some(partition)))
}

const SEVEN: [&str; 7] = ["a1x", "a2x", "a3x", "a4x", "a5x", "a6x", "a7x"];

#[test]
fn placement_the_eighth_running_member_of_a_spread_group_in_a_zone_is_found() {
    let mut members: Vec<_> = SEVEN.map(member).into();
    assert_eq!(violations(&with(BY_RACK, &members)), []);
    members.push(member("a8x"));
    let too_many = [(7, Violation::TooManyInZone(8))];
    assert_eq!(violations(&with(BY_RACK, &members)), too_many);
    assert_eq!(violations(&with(BY_HOST, &members)), too_many);
    members[7].host = Some("b1x");
    assert_eq!(violations(&with(BY_RACK, &members)), []);
}

#[test]
fn placement_members_that_do_not_run_do_not_count() {
    let mut members: Vec<_> = SEVEN.map(member).into();
    for host in ["a8x", "a1x"] {
        members.push(Wish {
            running: false,
            ..member(host)
        });
    }
    assert_eq!(violations(&with(BY_RACK, &members)), []);
}

#[test]
fn placement_members_of_a_spread_group_share_no_hardware() {
    let members = [member("a1x"), member("a1y")];
    let shared = [(1, Violation::SharedHardware(0))];
    assert_eq!(violations(&with(BY_RACK, &members)), shared);
    assert_eq!(violations(&with(BY_HOST, &members)), []);
    assert_eq!(violations(&with(BY_HOST, &[member("a1x"); 2])), shared);
}

#[test]
fn placement_a_running_member_says_where_it_is() {
    let nowhere = Wish {
        host: None,
        ..member("")
    };
    let missing = [(0, Violation::NoHardware)];
    assert_eq!(violations(&with(BY_RACK, &[nowhere])), missing);
    let in_rack = Wish {
        rack: Some("a1"),
        ..nowhere
    };
    assert_eq!(violations(&with(BY_RACK, &[in_rack])), []);
    assert_eq!(violations(&with(BY_HOST, &[in_rack])), missing);
    let numbered = Wish {
        partition: Some(1),
        ..nowhere
    };
    assert_eq!(violations(&with(PARTITION, &[numbered])), missing);
    assert_eq!(violations(&with(PARTITION, &[nowhere])), []);
    assert_eq!(violations(&with(CLUSTER, &[nowhere])), []);
}

#[test]
fn placement_two_partitions_on_one_rack_are_found() {
    let members = [
        in_partition(1, "a1x"),
        in_partition(1, "a1y"),
        in_partition(2, "a1x"),
        in_partition(2, "a2x"),
    ];
    let site = with(PARTITION, &members);
    assert_eq!(violations(&site), [(2, Violation::SharedRack(0))]);
}

#[test]
fn placement_partitions_are_those_of_the_group() {
    let site = with(PARTITION, &[in_partition(4, "a1x")]);
    assert_eq!(violations(&site), [(0, Violation::NoSuchPartition)]);
    for strategy in [CLUSTER, BY_RACK] {
        let site = with(strategy, &[in_partition(1, "a1x")]);
        assert_eq!(violations(&site), [(0, Violation::NotPartitioned)]);
    }
}

#[test]
fn placement_a_cluster_across_zones_is_found() {
    let members = [member("a1x"), member("b1x"), member("a2x")];
    let across = [(1, Violation::ClusterAcrossZones(0))];
    assert_eq!(violations(&with(CLUSTER, &members)), across);
    let stopped = members.map(|member| Wish {
        running: false,
        ..member
    });
    assert_eq!(violations(&with(CLUSTER, &stopped)), across);
}

#[test]
fn placement_a_host_has_no_more_than_its_capacity() {
    let members = [member("a1x"), member("a1x"), member("a1x")];
    let full = [(2, Violation::HostFull(3))];
    assert_eq!(violations(&with(CLUSTER, &members)), full);
}

#[test]
fn placement_rack_and_zone_are_those_of_the_host() {
    let mut site = site(CLUSTER);
    let elsewhere = Wish {
        rack: Some("a2"),
        ..member("a1x")
    };
    assert!(site.add_instance("m0", "in-a", elsewhere));
    assert!(site.add_instance(
        "m1",
        "nowhere",
        Wish {
            group: None,
            ..member("a1x")
        }
    ));
    let expected = [(0, Violation::OtherRack(0)), (1, Violation::OtherZone)];
    assert_eq!(violations(&site), expected);
}

#[test]
fn placement_what_refers_to_nothing_is_left_out() {
    let mut site = site(CLUSTER);
    assert!(!site.add_instance("m0", "in-c", member("a1x")));
    assert!(!site.add_instance("m0", "in-a", member("zzz")));
    assert!(!site.add_instance("m0", "in-a", Wish::default()));
}

#[test]
fn placement_a_cluster_grows_where_it_is() {
    assert_eq!(ask(&with(CLUSTER, &[]), None, None), on("a1x"));
    let mut members = vec![member("a3y"), member("a3y"), member("a2x")];
    assert_eq!(ask(&with(CLUSTER, &members), None, None), on("a3x"));
    members.extend([member("a3x"), member("a3x")]);
    let site = with(CLUSTER, &members);
    assert_eq!(ask(&site, None, None), on("a2x"));
    let why = ask(&site, Some("b"), None).expect_err("the cluster is elsewhere");
    assert!(
        why.starts_with("the cluster is in zone \"a\" with \"m0\" (b1x, "),
        "{why}"
    );
}

#[test]
fn placement_partitions_are_balanced_and_keep_their_racks() {
    assert_eq!(ask(&with(PARTITION, &[]), None, None), on_in("a1x", 1));
    let mut members = vec![in_partition(1, "a1x")];
    assert_eq!(
        ask(&with(PARTITION, &members), Some("a"), None),
        on_in("a2x", 2)
    );
    assert_eq!(
        ask(&with(PARTITION, &members), None, Some(1)),
        on_in("a1y", 1)
    );
    members.extend([
        in_partition(2, "a2x"),
        in_partition(3, "a3x"),
        in_partition(3, "a3x"),
    ]);
    assert_eq!(ask(&with(PARTITION, &members), None, None), on_in("a1y", 1));
    members.extend([in_partition(3, "a3y"), in_partition(3, "a3y")]);
    assert_eq!(
        ask(&with(PARTITION, &members), Some("a"), Some(3)),
        on_in("a4x", 3)
    );
}

#[test]
fn placement_a_spread_group_takes_the_emptiest_zone_and_a_free_rack() {
    let members = [member("a1x"), member("b1x"), member("a2x")];
    assert_eq!(ask(&with(BY_RACK, &members), None, None), on("b2x"));
    assert_eq!(ask(&with(BY_HOST, &members), None, None), on("b1y"));
    assert_eq!(ask(&with(BY_RACK, &members), Some("a"), None), on("a3x"));
}

#[test]
fn placement_a_plan_says_why_nothing_fits() {
    let mut members: Vec<_> = SEVEN.map(member).into();
    let in_a = ask(&with(BY_RACK, &members), Some("a"), None).expect_err("seven are there");
    assert!(
        in_a.starts_with("zone \"a\" has 7 of 7 running members (a1x, "),
        "{in_a}"
    );
    members.extend(["b1x", "b2x", "b3x"].map(member));
    let anywhere = ask(&with(BY_RACK, &members), None, None).expect_err("no rack is left");
    assert!(
        anywhere.contains("rack \"b1\" has the member \"m7\" (b1x, b1y)"),
        "{anywhere}"
    );
    let unknown = ask(&site(BY_RACK), Some("c"), None);
    assert_eq!(unknown, Err("no host is declared in zone \"c\"".to_owned()));
    let mut full = Site::default();
    full.add_subnet("s", None);
    full.add_rack("r", None);
    full.add_host("h", "r", Some(0));
    full.add_rack("far", Some("z"));
    full.add_host("i", "far", None);
    full.add_group("g", CLUSTER);
    let expected = "no subnet is in zone \"z\" (i), the host has no room left (h)";
    assert_eq!(ask(&full, None, None), Err(expected.to_owned()));
}

#[test]
fn placement_of_an_instance_is_known() {
    let text = "[node]\nuplink = [\"eth0\"]\n[[vpc]]\nname = \"main\"\ncidrs = [\"10.0.0.0/16\"]\n\
                subnet = [{ name = \"s\", cidr = \"10.0.0.0/24\", interface = \"x\", zone = \"a\" }]\n\
                rack = [{ name = \"r\", zone = \"a\" }]\nhost = [{ name = \"h\", rack = \"r\" }]\n\
                placement_group = [{ name = \"g\", strategy = \"partition\" }]\n\
                instance = [\n\
                  { name = \"i\", subnet = \"s\", private_ip = \"10.0.0.5\", host = \"h\", placement_group = \"g\", partition = 7 },\n\
                  { name = \"j\", subnet = \"s\", private_ip = \"10.0.0.6\" },\n]\n";
    let config = config::parse("f", text).expect("valid");
    let vpc = &config.vpcs[0];
    let placements: Vec<_> = vpc
        .instances
        .iter()
        .map(|each| Placement::of(vpc, each))
        .collect();
    let expected = Placement {
        group: Some("g"),
        partition: Some(7),
        zone: Some("a"),
        rack: Some("r"),
        host: Some("h"),
    };
    let bare = Placement {
        group: None,
        partition: None,
        rack: None,
        host: None,
        ..expected
    };
    assert_eq!(placements, [expected, bare]);
    assert_eq!(vpc.instances[1].placement, InstancePlacement::default());
}

#[test]
fn placement_is_drawn() {
    let mut site = Site::default();
    site.add_subnet("s", Some("a"));
    for (rack, hosts) in [("r1", &["h1", "h2"][..]), ("r2", &["h3"])] {
        site.add_rack(rack, Some("a"));
        for host in hosts {
            site.add_host(host, rack, (*host == "h1").then_some(2));
        }
    }
    site.add_group("g", PARTITION);
    site.add_group("empty", BY_RACK);
    site.add_instance("m0", "s", in_partition(1, "h1"));
    let stopped = Wish {
        running: false,
        ..in_partition(2, "h3")
    };
    site.add_instance("m1", "s", stopped);
    let picture = Picture::of("main", &site);
    let mut drawn = Vec::new();
    picture.draw(&mut drawn).expect("written");
    let expected = "vpc main\n\
                    `- zone a\n   \
                       |- rack r1\n   \
                       |  |- host h1  1 of 2  m0 (g, partition 1)\n   \
                       |  `- host h2  0\n   \
                       `- rack r2\n      \
                          `- host h3  0  m1 (g, partition 2, stopped)\n";
    assert_eq!(String::from_utf8(drawn).expect("text"), expected);
    let rows = picture.table();
    assert_eq!(rows[1], ["empty", "spread by rack", "-", "0 of 7", ""]);
    assert_eq!(
        rows[2],
        [
            "g",
            "partition, 3 partitions",
            "a",
            "1",
            "1:m0@h1, 2:m1@h3 stopped"
        ]
    );
}
