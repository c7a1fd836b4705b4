//! Mistakes in racks, hosts and placement groups, and in where instances say that they run. Each is one
//! edit of the sample that has them, with everything a user is shown about it.

use super::{SAMPLE, placed, refuse_each, refused};
use crate::config::{Strategy, parse};

const EIGHTH: &str = r#"f:161: vpc "main" / instance "i8" / placement_group: this is running member 8 of spread group "wide" in zone "a", which takes 7; move it, or write running = false; host "hb" in rack "b", zone "b" has room"#;

refuse_each! {
    of placed;
    placement_unknown_strategy: [r#"strategy = "cluster""# => r#"strategy = "clusters""#] gives [
        r#"f:95: vpc "main" / placement_group "mpi" / strategy: "clusters" is not a placement strategy; allowed: "cluster", "partition", "spread""#,
    ];
    placement_group_without_a_strategy: [r#"  strategy = "cluster"
"# => ""] gives [
        r#"f:93: vpc "main" / placement_group "mpi" / strategy: required key is missing; add strategy = "spread""#,
    ];
    placement_partitions_of_a_cluster: [r#"strategy = "cluster""# => "strategy = \"cluster\"\n  partitions = 2\n  spread_level = \"host\""] gives [
        r#"f:96: vpc "main" / placement_group "mpi" / partitions: only partition groups have partitions; remove partitions, or write strategy = "partition""#,
        r#"f:97: vpc "main" / placement_group "mpi" / spread_level: only spread groups have spread_level; remove spread_level, or write strategy = "spread""#,
    ];
    placement_more_partitions_than_seven: ["partitions = 2" => "partitions = 8"] gives [
        r#"f:91: vpc "main" / placement_group "db" / partitions: 8 is out of range; use 1 to 7"#,
    ];
    placement_unknown_level: [r#"spread_level = "rack""# => r#"spread_level = "zone""#] gives [
        r#"f:86: vpc "main" / placement_group "front" / spread_level: "zone" is not a level to spread by; allowed: "rack", "host""#,
    ];
    placement_group_name_twice: [r#"name = "mpi""# => r#"name = "db""#, r#"2.13"
  placement_group = "mpi""# => r#"2.13""#, r#"2.14"
  placement_group = "mpi""# => r#"2.14""#] gives [
        r#"f:94: vpc "main" / placement_group "db" / name: placement group "db" is already on line 89; give each a name of its own"#,
    ];
    placement_unknown_names: ["partition = 2\n  rack = \"a2\"" => "rack = \"a3\"\n  host = \"z\"", r#"2.13"
  placement_group = "mpi""# => "2.13\"\n  placement_group = \"front-end\""] gives [
        r#"f:110: vpc "main" / instance "db-2" / rack: there is no rack "a3"; did you mean "a1"? this VPC has: "a1", "a2", "b1""#,
        r#"f:111: vpc "main" / instance "db-2" / host: there is no host "z"; define it or name one this VPC has: "a1-1", "a1-2", "a2-1", "b1-1""#,
        r#"f:117: vpc "main" / instance "mpi-1" / placement_group: there is no placement group "front-end"; define it or name one this VPC has: "front", "db", "mpi""#,
    ];
    placement_host_in_an_unknown_rack: ["rack = \"b1\"" => "rack = \"b7\""] gives [
        r#"f:81: vpc "main" / host "b1-1" / rack: there is no rack "b7"; did you mean "b1"? this VPC has: "a1", "a2", "b1""#,
    ];
    placement_host_without_a_rack: ["\n  rack = \"b1\"" => ""] gives [
        r#"f:79: vpc "main" / host "b1-1" / rack: required key is missing; add rack = "r1""#,
    ];
    placement_partition_of_no_group: [r#"2.12"
  placement_group = "db""# => r#"2.12""#] gives [
        r#"f:109: vpc "main" / instance "db-2" / partition: a partition is one of a placement group, and the instance names none; add placement_group, or remove partition"#,
    ];
    placement_partition_of_a_cluster: [r#"2.14"
  placement_group = "mpi""# => "2.14\"\n  placement_group = \"mpi\"\n  partition = 1"] gives [
        r#"f:124: vpc "main" / instance "mpi-2" / partition: cluster group "mpi" has no partitions; remove partition"#,
    ];
    placement_partition_that_the_group_does_not_have: ["partition = 2\n" => "partition = 3\n"] gives [
        r#"f:110: vpc "main" / instance "db-2" / partition: partition group "db" has 2 partition(s); use 1 to 2, or raise partitions on the group"#,
    ];
    placement_values_of_other_types: ["partition = 2\n" => "partition = \"2\"\n", "running = false" => "running = 0", "capacity = 2" => "capacity = 65536"] gives [
        r#"f:68: vpc "main" / host "a1-1" / capacity: 65536 is out of range; use 0 to 65535"#,
        r#"f:110: vpc "main" / instance "db-2" / partition: expected an integer, found a string; write partition = 1"#,
        r#"f:124: vpc "main" / instance "mpi-2" / running: expected true or false, found an integer; write running = false"#,
    ];
    placement_two_partitions_on_one_rack_are_refused: [r#"rack = "a2"

"# => r#"host = "a1-2"

"#] gives [
        r#"f:111: vpc "main" / instance "db-2" / host: rack "a1" is partition 1's of group "db" with "db-1" (line 97), and partition 2 takes racks of its own; partition 2 has room on host "a2-1" in rack "a2", zone "a""#,
    ];
    placement_two_partitions_on_one_rack_and_no_other: [r#"rack = "a2"

  [[vpc.instance]]"# => r#"host = "a1-2"

  [[vpc.instance]]"#, r#"rack = "a2"
  capacity = 4"# => r#"rack = "a2"
  capacity = 0"#, "zone = \"b\"\n\n" => "zone = \"c\"\n\n"] gives [
        r#"f:111: vpc "main" / instance "db-2" / host: rack "a1" is partition 1's of group "db" with "db-1" (line 97), and partition 2 takes racks of its own; nothing has room for it: no subnet is in zone "c" (b1-1), rack "a1" is partition 1's (a1-2), the host has no room left (a1-1, a2-1)"#,
    ];
    placement_a_cluster_across_zones_is_refused: [r#"subnet = "private-a"
  private_ip = "10.40.2.14""# => r#"subnet = "private-b"
  private_ip = "10.40.3.14""#] gives [
        r#"f:121: vpc "main" / instance "mpi-2" / subnet: cluster group "mpi" is in zone "a" with "mpi-1" (line 113), and this subnet is in zone "b"; take a subnet of zone "a": "public-a", "private-a"; host "a1-2" in rack "a1", zone "a" has room"#,
    ];
    placement_spread_members_on_one_rack_are_refused: [r#"2.13"
  placement_group = "mpi""# => "2.13\"\n  placement_group = \"front\"\n  host = \"a1-2\""] gives [
        r#"f:118: vpc "main" / instance "mpi-1" / host: rack "a1" has "web" (line 39) already, and the members of spread group "front" share no rack; host "a2-1" in rack "a2", zone "a" has room"#,
    ];
    placement_a_running_member_without_hardware_is_refused: ["\n  host = \"a1-1\"\n\n  [[vpc.subnet]]" => "\n\n  [[vpc.subnet]]", "\n  rack = \"a2\"\n\n  [[vpc.instance]]" => "\n\n  [[vpc.instance]]"] gives [
        r#"f:44: vpc "main" / instance "web" / placement_group: a running member of spread group "front" says which rack it is on; add host or rack, or write running = false; host "a1-2" in rack "a1", zone "a" has room"#,
        r#"f:108: vpc "main" / instance "db-2" / placement_group: a running member of partition group "db" says which rack it is on; add host or rack, or write running = false; partition 2 has room on host "a2-1" in rack "a2", zone "a""#,
    ];
    placement_more_instances_than_a_host_has_room_for: [r#"2.13"
  placement_group = "mpi""# => "2.13\"\n  host = \"a1-1\"", "capacity = 2" => "capacity = 1"] gives [
        r#"f:103: vpc "main" / instance "db-1" / host: host "a1-1" has a capacity of 1, and this is running instance 2 on it; partition 1 has room on host "a1-2" in rack "a1", zone "a""#,
        r#"f:117: vpc "main" / instance "mpi-1" / host: host "a1-1" has a capacity of 1, and this is running instance 3 on it; take a host of zone "a" that has room: "a1-2", "a2-1""#,
    ];
    placement_rack_of_another_host: ["partition = 1\n" => "partition = 1\n  rack = \"a2\"\n"] gives [
        r#"f:103: vpc "main" / instance "db-1" / rack: its host is in rack "a1"; remove rack, or write rack = "a1""#,
    ];
    placement_host_in_another_zone: ["partition = 1\n  host = \"a1-1\"" => "partition = 1\n  host = \"b1-1\""] gives [
        r#"f:103: vpc "main" / instance "db-1" / host: rack "b1" is in zone "b", and the instance's subnet is in zone "a"; take a host of zone "a" that has room: "a1-1", "a1-2", "a2-1", or take a subnet of zone "b": "private-b""#,
    ];
    placement_host_in_a_zone_and_subnet_in_none: ["name = \"private-b\"\n  cidr = \"10.40.3.0/24\"\n  zone = \"b\"" => "name = \"private-b\"\n  cidr = \"10.40.3.0/24\"", r#"subnet = "private-a"
  private_ip = "10.40.2.11""# => r#"subnet = "private-b"
  private_ip = "10.40.3.11""#] gives [
        r#"f:102: vpc "main" / instance "db-1" / host: rack "a1" is in zone "a", and the instance's subnet is in no zone; write zone = "a" on the subnet, or take a subnet of zone "a": "public-a", "private-a""#,
    ];
}

/// Zone a has a rack for each of its instances, and b has one rack more.
fn spread(running: usize, strategy: &str) -> String {
    let mut text = format!("{SAMPLE}\n[[vpc.placement_group]]\nname = \"wide\"\n{strategy}\n");
    text += "[[vpc.rack]]\nname = \"b\"\nzone = \"b\"\n[[vpc.host]]\nname = \"hb\"\nrack = \"b\"\n";
    text += "[[vpc.subnet]]\nname = \"in-b\"\ncidr = \"10.40.3.0/24\"\ninterface = \"b\"\nzone = \"b\"\n";
    for number in 1..=9 {
        text += &format!("[[vpc.rack]]\nname = \"r{number}\"\nzone = \"a\"\n");
        text += &format!("[[vpc.host]]\nname = \"h{number}\"\nrack = \"r{number}\"\n");
        text += &format!(
            "[[vpc.instance]]\nname = \"i{number}\"\nsubnet = \"private-a\"\n\
             private_ip = \"10.40.2.2{number}\"\nplacement_group = \"wide\"\nhost = \"h{number}\"\n\
             running = {}\n",
            number <= running
        );
    }
    text
}

#[test]
fn placement_the_eighth_running_member_of_a_spread_group_in_a_zone_is_refused() {
    for strategy in ["", "spread_level = \"host\""] {
        let strategy = format!("strategy = \"spread\"\n{strategy}");
        assert!(parse("f", &spread(7, &strategy)).is_ok());
        assert_eq!(refused(&spread(8, &strategy)), [EIGHTH]);
        assert_eq!(refused(&spread(9, &strategy)).len(), 2);
    }
}

#[test]
fn placement_of_the_sample_is_read() {
    let config = parse("f", &placed(&[])).unwrap_or_else(|errors| panic!("{errors}"));
    let vpc = &config.vpcs[0];
    let strategies: Vec<_> = vpc
        .placement_groups
        .iter()
        .map(|group| group.strategy)
        .collect();
    assert_eq!(strategies[1], Strategy::Partition { partitions: 2 });
    assert_eq!(vpc.hosts[0].capacity, Some(2));
    assert_eq!(vpc.racks[2].zone.as_deref(), Some("b"));
    let members: Vec<_> = vpc.instances.iter().map(|each| &each.placement).collect();
    assert_eq!(members[0].host.as_deref(), Some("a1-1"));
    assert_eq!(members[2].partition, Some(2));
    assert!(members[3].running && !members[4].running);
}
