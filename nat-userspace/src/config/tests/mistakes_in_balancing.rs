//! Mistakes in load balancers, target groups and health checks. Each is one edit of the sample that has them, with
//! everything a user is shown about it.

use super::refuse_each;

refuse_each! {
    of ended;
    balancer_without_a_subnet_there: [r#"  name = "db"
  subnet = "db"
  private_ip = "10.60.1.50""# => r#"  name = "db"
  subnet = "dbs"
  private_ip = "10.60.1.50""#] gives [
        r#"f:149: vpc "shared" / load_balancer "db" / subnet: there is no subnet "dbs"; did you mean "db"? this VPC has: "db""#,
    ];
    balancer_outside_its_subnet: [r#""10.60.1.50""# => r#""10.60.2.50""#] gives [
        r#"f:150: vpc "shared" / load_balancer "db" / private_ip: 10.60.2.50 lies outside subnet "db", 10.60.1.0/24; use 10.60.1.4 to 10.60.1.254"#,
    ];
    balancer_on_a_reserved_address: [r#""10.60.1.50""# => r#""10.60.1.3""#] gives [
        r#"f:150: vpc "shared" / load_balancer "db" / private_ip: 10.60.1.3 is reserved: the first four addresses and the last of a subnet are; use 10.60.1.4 to 10.60.1.254"#,
    ];
    balancer_on_an_instances_address: [r#""10.60.1.50""# => r#""10.60.1.12""#] gives [
        r#"f:150: vpc "shared" / load_balancer "db" / private_ip: private address 10.60.1.12 is already on line 123; give each NAT gateway, instance, load balancer and endpoint an address of its own"#,
    ];
    listener_of_icmp: [r#"{ protocol = "udp", port = 5432"# => r#"{ protocol = "icmp", port = 5432"#] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1] / protocol: "icmp" is not a protocol that is balanced; allowed: "tcp", "udp""#,
    ];
    listener_on_port_zero: [r#"{ protocol = "udp", port = 5432"# => r#"{ protocol = "udp", port = 0"#] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1] / port: 0 is out of range; use 1 to 65535"#,
    ];
    listener_twice: [r#"{ protocol = "udp", port = 5432, target_group = "dns" }"# => r#"{ protocol = "tcp", port = 5432, target_group = "db" }"#] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1] / port: a listener for tcp port 5432 is already on line 152; give each listener a port of its own"#,
    ];
    listener_of_another_protocol: [r#"{ protocol = "udp", port = 5432"# => r#"{ protocol = "tcp", port = 53"#] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1] / target_group: target group "dns" (line 142) is for udp, and the listener for tcp; name a group of the listener's protocol"#,
    ];
    listener_with_a_dangling_group: [r#"target_group = "dns""# => r#"target_group = "dnss""#] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1] / target_group: there is no target group "dnss"; did you mean "dns"? this VPC has: "db", "dns""#,
    ];
    listener_without_a_group: [r#", target_group = "dns""# => ""] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1] / target_group: required key is missing; add target_group = "web""#,
    ];
    listener_as_text: [r#"    { protocol = "udp", port = 5432, target_group = "dns" },
"# => r#"    "udp",
"#] gives [
        r#"f:153: vpc "shared" / load_balancer "db" / listeners[1]: expected a table, found a string; write listeners = [{ protocol = "tcp", port = 443, target_group = "web" }]"#,
    ];
    target_group_name_twice: [r#"  name = "dns"
"# => r#"  name = "db"
"#, r#"    { protocol = "udp", port = 5432, target_group = "dns" },
"# => ""] gives [
        r#"f:143: vpc "shared" / target_group "db" / name: target group "db" is already on line 126; give each a name of its own"#,
    ];
    load_balancer_name_twice: ["  [[vpc.endpoint_service]]" => r#"  [[vpc.load_balancer]]
  name = "db"
  subnet = "db"
  private_ip = "10.60.1.51"

  [[vpc.endpoint_service]]"#] gives [
        r#"f:157: vpc "shared" / load_balancer "db" / name: load balancer "db" is already on line 148; give each a name of its own"#,
    ];
    target_group_without_a_port: [r#"  protocol = "udp"
  port = 53
"# => r#"  protocol = "udp"
"#] gives [
        r#"f:142: vpc "shared" / target_group "dns" / port: required key is missing; add port = 443"#,
    ];
    target_that_is_not_there: [r#"["db-1", "db-2"]"# => r#"["db-1", "db-22"]"#] gives [
        r#"f:129: vpc "shared" / target_group "db" / targets[1]: there is no instance "db-22"; did you mean "db-2"? this VPC has: "db-1", "db-2""#,
    ];
    target_of_another_vpc: [r#"["db-1", "db-2"]"# => r#"["db-1", "web"]"#] gives [
        r#"f:129: vpc "shared" / target_group "db" / targets[1]: there is no instance "web"; define it or name one this VPC has: "db-1", "db-2""#,
    ];
    target_twice: [r#"["db-1", "db-2"]"# => r#"["db-1", "db-1"]"#] gives [
        r#"f:129: vpc "shared" / target_group "db" / targets[1]: target "db-1" is already on line 129; name each target once"#,
    ];
    proxy_protocol_of_udp: ["  port = 53\n" => "  port = 53\n  proxy_protocol_v2 = true\n"] gives [
        r#"f:146: vpc "shared" / target_group "dns" / proxy_protocol_v2: only TCP has the proxy protocol; remove proxy_protocol_v2: targets of UDP see who sends"#,
    ];
    deregistration_delay_too_long: ["deregistration_delay = 0" => "deregistration_delay = 3601"] gives [
        r#"f:131: vpc "shared" / target_group "db" / deregistration_delay: 3601 is out of range; use 0 to 3600"#,
    ];
    health_check_of_another_protocol: [r#"  protocol = "http"
"# => r#"  protocol = "https"
"#] gives [
        r#"f:134: vpc "shared" / target_group "db" / health_check / protocol: "https" is not a protocol of health checks; allowed: "tcp", "http""#,
    ];
    health_check_by_tcp_with_a_path: [r#"  protocol = "http"
"# => r#"  protocol = "tcp"
"#] gives [
        r#"f:135: vpc "shared" / target_group "db" / health_check / path: only HTTP checks have a path; write protocol = "http", or remove path"#,
    ];
    health_check_without_a_protocol_with_a_path: [r#"  protocol = "http"
"# => ""] gives [
        r#"f:134: vpc "shared" / target_group "db" / health_check / path: only HTTP checks have a path; write protocol = "http", or remove path"#,
    ];
    health_check_path_without_a_slash: [r#""/ready""# => r#""ready""#] gives [
        r#"f:135: vpc "shared" / target_group "db" / health_check / path: "ready" is not a path; begin it with '/', and use up to 1024 visible ASCII characters, as in "/health""#,
    ];
    health_check_path_with_a_space: [r#""/ready""# => r#""/rea dy""#] gives [
        r#"f:135: vpc "shared" / target_group "db" / health_check / path: "/rea dy" is not a path; begin it with '/', and use up to 1024 visible ASCII characters, as in "/health""#,
    ];
    health_check_on_port_zero: ["  port = 8080\n" => "  port = 0\n"] gives [
        r#"f:136: vpc "shared" / target_group "db" / health_check / port: 0 is out of range; use 1 to 65535"#,
    ];
    health_check_out_of_range: ["  interval = 30\n  timeout = 5\n  healthy_threshold = 10\n  unhealthy_threshold = 1\n" => "  interval = 301\n  timeout = 121\n  healthy_threshold = 11\n  unhealthy_threshold = 0\n"] gives [
        r#"f:137: vpc "shared" / target_group "db" / health_check / interval: 301 is out of range; use 1 to 300"#,
        r#"f:138: vpc "shared" / target_group "db" / health_check / timeout: 121 is out of range; use 1 to 120"#,
        r#"f:139: vpc "shared" / target_group "db" / health_check / healthy_threshold: 11 is out of range; use 1 to 10"#,
        r#"f:140: vpc "shared" / target_group "db" / health_check / unhealthy_threshold: 0 is out of range; use 1 to 10"#,
    ];
    health_check_longer_than_its_interval: ["  timeout = 5\n" => "  timeout = 31\n"] gives [
        r#"f:138: vpc "shared" / target_group "db" / health_check / timeout: a check may take 31 s, and after 30 s comes the next one; make timeout no longer than interval"#,
    ];
    health_check_longer_than_the_default_interval: ["  interval = 30\n  timeout = 5\n" => "  timeout = 11\n"] gives [
        r#"f:137: vpc "shared" / target_group "db" / health_check / timeout: a check may take 11 s, and after 10 s comes the next one; make timeout no longer than interval"#,
    ];
    health_check_misspelt: ["  interval = 30\n" => "  intervall = 30\n"] gives [
        r#"f:137: vpc "shared" / target_group "db" / health_check / intervall: unknown key; did you mean interval? known keys here: protocol, path, port, interval, timeout, healthy_threshold, unhealthy_threshold"#,
    ];
}
