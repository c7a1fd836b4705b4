//! Mistakes in route tables and in what routes lead to.
//! Each is one edit of the sample, with everything a user is shown about it.

use super::{filtered, refuse_each, refused};
use crate::config::parse;

refuse_each! {
    two_main_tables: [r#"  name = "public"
"# => r#"  name = "public"
  main = true
"#, r#"  name = "private"
"# => r#"  name = "private"
  main = true
"#] gives [
        r#"f:32: vpc "main" / route_table "private" / main: the VPC already has a main route table (line 27); leave main = true on one table only"#,
    ];
    route_table_name_twice: [r#"  name = "private"
"# => r#"  name = "public"
"#, r#"route_table = "private""# => r#"route_table = "public""#] gives [
        r#"f:30: vpc "main" / route_table "public" / name: route table "public" is already on line 26; give each a name of its own"#,
    ];
    routes_is_a_table: [r#"routes = [{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }]"# => r#"routes = { destination = "0.0.0.0/0", target = "nat-gateway:egress" }"#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes: expected an array of tables, found a table; write routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]"#,
    ];
    routes_hold_text: [r#"routes = [{ destination = "0.0.0.0/0", target = "nat-gateway:egress" }]"# => r#"routes = ["0.0.0.0/0 via nat"]"#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0]: expected a table, found a string; write routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }]"#,
    ];
    route_without_target: [r#", target = "nat-gateway:egress""# => ""] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: required key is missing; add target = "internet-gateway""#,
    ];
    unknown_target: [r#""nat-gateway:egress""# => r#""internet-gatway""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: "internet-gatway" is not a route target; did you mean "internet-gateway"? allowed: "local", "internet-gateway", "nat-gateway:NAME", "instance:NAME", "endpoint:NAME", "blackhole""#,
    ];
    target_is_no_word: [r#""nat-gateway:egress""# => r#""10.0.0.1""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: "10.0.0.1" is not a route target; allowed: "local", "internet-gateway", "nat-gateway:NAME", "instance:NAME", "endpoint:NAME", "blackhole""#,
    ];
    target_without_a_name: [r#""nat-gateway:egress""# => r#""nat-gateway""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: the target names no NAT gateway; write "nat-gateway:NAME""#,
    ];
    target_without_an_endpoint_name: [r#""nat-gateway:egress""# => r#""endpoint:""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: the target names no endpoint; write "endpoint:NAME""#,
    ];
    dangling_endpoint: [r#""nat-gateway:egress""# => r#""endpoint:s3""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: there is no endpoint "s3"; define the endpoint first: this VPC has none"#,
    ];
    dangling_gateway: [r#""nat-gateway:egress""# => r#""nat-gateway:exit""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: there is no NAT gateway "exit"; define it or name one this VPC has: "egress""#,
    ];
    destination_twice: [r#"target = "nat-gateway:egress" }"# => r#"target = "nat-gateway:egress" },
    { destination = "0.0.0.0/0", target = "blackhole" }"#] gives [
        r#"f:32: vpc "main" / route_table "private" / routes[1] / destination: a route to 0.0.0.0/0 is already on line 31; keep one route per destination in a table"#,
    ];
    destination_reserved: [r#"target = "nat-gateway:egress" }"# => r#"target = "nat-gateway:egress" },
    { destination = "169.254.170.0/24", target = "blackhole" }"#] gives [
        r#"f:32: vpc "main" / route_table "private" / routes[1] / destination: 169.254.170.0/24 lies in 169.254.168.0/22, which is reserved; remove the route"#,
    ];
    local_outside_the_vpc: [r#"target = "nat-gateway:egress" }"# => r#"target = "nat-gateway:egress" },
    { destination = "10.90.0.0/16", target = "local" }"#] gives [
        r#"f:32: vpc "main" / route_table "private" / routes[1] / target: 10.90.0.0/16 lies in no CIDR of the VPC, so it is not local; remove the route or choose another target"#,
    ];
    route_to_a_missing_internet_gateway: [r#"internet_gateway = true
"# => "", r#"  public_ips = ["198.51.100.10"] "# => "", r#"  public_ip = "198.51.100.20"
"# => ""] gives [
        r#"f:26: vpc "main" / route_table "public" / routes[0] / target: the VPC has no internet gateway; set internet_gateway = true on the VPC, or remove the route"#,
    ];
    destination_of_the_vpc: [r#"target = "nat-gateway:egress" }"# => r#"target = "nat-gateway:egress" },
    { destination = "10.20.0.0/16", target = "blackhole" }"#] gives [
        r#"f:32: vpc "main" / route_table "private" / routes[1] / destination: 10.20.0.0/16 is the VPC's own, which is always local; write routes for parts of it, or remove the route"#,
    ];
    internet_gateway_inside_the_vpc: [r#"target = "nat-gateway:egress" }"# => r#"target = "nat-gateway:egress" },
    { destination = "10.20.1.0/24", target = "internet-gateway" }"#] gives [
        r#"f:32: vpc "main" / route_table "private" / routes[1] / destination: 10.20.1.0/24 lies in 10.20.0.0/16, the VPC's own, and the internet gateway leads out of the VPC; remove the route or choose another target"#,
    ];
    dangling_prefix_list: [r#"destination = "0.0.0.0/0", target = "nat-gateway:egress""# => r#"destination = "prefix-list:s3", target = "nat-gateway:egress""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / destination: there is no prefix list "s3"; define the prefix list first: this VPC has none"#,
    ];
    prefix_list_without_a_name: [r#"destination = "0.0.0.0/0", target = "nat-gateway:egress""# => r#"destination = "prefix-list:", target = "nat-gateway:egress""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / destination: it names no prefix list; write "prefix-list:NAME""#,
    ];
    destination_of_a_group: [r#"destination = "0.0.0.0/0", target = "nat-gateway:egress""# => r#"destination = "security-group:web", target = "nat-gateway:egress""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / destination: "security-group:web" is not an IPv4 CIDR; write an address and a prefix length, as in "10.20.0.0/16""#,
    ];
    target_without_an_instance_name: [r#""nat-gateway:egress""# => r#""instance:""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: the target names no instance; write "instance:NAME""#,
    ];
    misspelt_instance_target: [r#""nat-gateway:egress""# => r#""instnace:web""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: "instnace:web" is not a route target; did you mean "instance:NAME"? allowed: "local", "internet-gateway", "nat-gateway:NAME", "instance:NAME", "endpoint:NAME", "blackhole""#,
    ];
    dangling_instance: [r#""nat-gateway:egress""# => r#""instance:wep""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: there is no instance "wep"; did you mean "web"? this VPC has: "web""#,
    ];
    instance_that_checks: [r#""nat-gateway:egress""# => r#""instance:web""#] gives [
        r#"f:31: vpc "main" / route_table "private" / routes[0] / target: instance "web" (line 39) gets only what is to its own address, so nothing could be routed to it; set source_dest_check = false on it, or choose another target"#,
    ];
}

mod with_prefix_lists {
    use super::refuse_each;

    refuse_each! {
        of filtered;
        list_twice_in_a_table: [r#"destination = "192.0.2.0/24""# => r#"destination = "prefix-list:partners""#] gives [
            r#"f:85: vpc "main" / route_table "by-proxy" / routes[1] / destination: a route to prefix list "partners" is already on line 84; keep one route per destination in a table"#,
        ];
        misspelt_list: [r#"destination = "prefix-list:partners""# => r#"destination = "prefix-list:partner""#] gives [
            r#"f:84: vpc "main" / route_table "by-proxy" / routes[0] / destination: there is no prefix list "partner"; did you mean "partners"? this VPC has: "partners""#,
        ];
        list_with_a_reserved_entry: [r#"["203.0.113.0/24", "# => r#"["169.254.168.0/24", "#] gives [
            r#"f:84: vpc "main" / route_table "by-proxy" / routes[0] / destination: 169.254.168.0/24 of prefix list "partners" lies in 169.254.168.0/22, which is reserved; remove the route or that entry of the list"#,
        ];
        list_with_the_vpcs_own: [r#"["203.0.113.0/24", "# => r#"["10.20.0.0/16", "#] gives [
            r#"f:84: vpc "main" / route_table "by-proxy" / routes[0] / destination: 10.20.0.0/16 of prefix list "partners" is the VPC's own, which is always local; write routes for parts of it, or remove the route"#,
        ];
        local_list_outside_the_vpc: [r#"partners", target = "instance:proxy""# => r#"partners", target = "local""#] gives [
            r#"f:84: vpc "main" / route_table "by-proxy" / routes[0] / target: 203.0.113.0/24 of prefix list "partners" lies in no CIDR of the VPC, so it is not local; remove the route or choose another target"#,
        ];
        list_inside_the_vpc_to_the_internet: [r#"["203.0.113.0/24", "# => r#"["10.20.7.0/24", "#, r#"partners", target = "instance:proxy""# => r#"partners", target = "internet-gateway""#] gives [
            r#"f:84: vpc "main" / route_table "by-proxy" / routes[0] / destination: 10.20.7.0/24 of prefix list "partners" lies in 10.20.0.0/16, the VPC's own, and the internet gateway leads out of the VPC; remove the route or choose another target"#,
        ];
        checking_instance: ["  source_dest_check = false\n" => ""] gives [
            r#"f:83: vpc "main" / route_table "by-proxy" / routes[0] / target: instance "proxy" (line 46) gets only what is to its own address, so nothing could be routed to it; set source_dest_check = false on it, or choose another target"#,
            r#"f:85: vpc "main" / route_table "by-proxy" / routes[2] / target: instance "proxy" (line 46) gets only what is to its own address, so nothing could be routed to it; set source_dest_check = false on it, or choose another target"#,
        ];
        default_list_leads_back_to_the_gateway: [
            r#"["203.0.113.0/24", "# => r#"["0.0.0.0/0", "#,
            r#"[{ destination = "0.0.0.0/0", target = "internet-gateway" }]"# => r#"[{ destination = "198.18.0.0/15", target = "internet-gateway" }, { destination = "prefix-list:partners", target = "nat-gateway:other" }]"#,
            r#"  [[vpc.prefix_list]]"# => r#"  [[vpc.nat_gateway]]
  name = "other"
  subnet = "private-a"
  private_ip = "10.40.2.9"

  [[vpc.prefix_list]]"#
        ] gives [
            r#"f:35: vpc "main" / nat_gateway "egress" / subnet: the route table of subnet "public-a" routes by default to gateways that lead back to this one: translated packets would loop; put the gateway in a subnet whose routes lead out, such as to "internet-gateway""#,
            r#"f:55: vpc "main" / nat_gateway "other" / subnet: the route table of subnet "private-a" routes by default to gateways that lead back to this one: translated packets would loop; put the gateway in a subnet whose routes lead out, such as to "internet-gateway""#,
        ];
    }
}

/// `entries` in each of two lists, and `routes` written, in one table.
fn table_of(entries: usize, routes: usize) -> String {
    let lists = ["one", "two"].map(|name| {
        let entries: Vec<String> = (0..entries)
            .map(|n| format!("\"198.18.{}.{}/32\"", n >> 8, n & 255))
            .collect();
        format!(
            "\n  [[vpc.prefix_list]]\n  name = \"{name}\"\n  entries = [{}]\n",
            entries.join(", ")
        )
    });
    let mut table = String::from("\n  [[vpc.route_table]]\n  name = \"long\"\n  routes = [\n");
    for n in 0..routes {
        table += &format!(
            "{{ destination = \"198.19.{}.{}/32\", target = \"blackhole\" }},\n",
            n >> 8,
            n & 255
        );
    }
    for name in ["one", "two"] {
        table += &format!("{{ destination = \"prefix-list:{name}\", target = \"blackhole\" }},\n");
    }
    filtered(&[]) + &lists.concat() + &table + "  ]\n"
}

#[test]
fn a_prefix_list_counts_as_its_entries_in_a_table() {
    assert!(parse("f", &table_of(200, 100)).is_ok());
    let text = table_of(200, 101);
    let line = text.lines().count() - 1;
    assert_eq!(
        refused(&text),
        [format!(
            "f:{line}: vpc \"main\" / route_table \"long\" / routes[102]: too many routes in a table: 501; \
             keep at most 500: a prefix list counts as its entries"
        )]
    );
}
