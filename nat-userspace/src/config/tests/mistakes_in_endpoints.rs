//! Mistakes in endpoints and endpoint services. Each is one edit of the sample that has them, with everything a user is
//! shown about it.

use super::refuse_each;

refuse_each! {
    of ended;
    endpoint_of_no_type: [r#"  type = "gateway"
"# => ""] gives [
        r#"f:70: vpc "main" / endpoint "storage" / type: required key is missing; add type = "gateway""#,
    ];
    endpoint_of_an_unknown_type: [r#"  type = "gateway"
"# => r#"  type = "gatewayy"
"#] gives [
        r#"f:72: vpc "main" / endpoint "storage" / type: "gatewayy" is not a type of endpoints; allowed: "gateway", "interface""#,
    ];
    endpoint_name_twice: [r#"name = "mail""# => r#"name = "db""#] gives [
        r#"f:92: vpc "main" / endpoint "db" / name: endpoint "db" is already on line 81; give each a name of its own"#,
    ];
    endpoint_misspelt: [r#"  nat_gateway = "egress"
"# => r#"  natgateway = "egress"
"#] gives [
        r#"f:95: vpc "main" / endpoint "mail" / natgateway: unknown key; did you mean nat_gateway? known keys here: name, type, prefix_lists, policy, service, address, nat_gateway, interfaces, security_groups, private_dns"#,
    ];
    gateway_endpoint_without_lists: [r#"  prefix_lists = ["storage"]
"# => "", r#"{ destination = "prefix-list:storage", target = "endpoint:storage" },"# => "", r#"{ destination = "203.0.113.64/26", target = "endpoint:storage" },"# => ""] gives [
        r#"f:70: vpc "main" / endpoint "storage" / prefix_lists: required key is missing; add prefix_lists = ["storage"]"#,
    ];
    gateway_endpoint_with_an_empty_list: [r#"  prefix_lists = ["storage"]
"# => "  prefix_lists = []\n", r#"{ destination = "prefix-list:storage", target = "endpoint:storage" },"# => "", r#"{ destination = "203.0.113.64/26", target = "endpoint:storage" },"# => ""] gives [
        r#"f:73: vpc "main" / endpoint "storage" / prefix_lists: the endpoint serves no prefix list; name one, as in prefix_lists = ["storage"]"#,
    ];
    gateway_endpoint_with_a_dangling_list: [r#"  prefix_lists = ["storage"]
"# => r#"  prefix_lists = ["storage", "storages"]
"#] gives [
        r#"f:73: vpc "main" / endpoint "storage" / prefix_lists[1]: there is no prefix list "storages"; did you mean "storage"? this VPC has: "storage", "other""#,
    ];
    gateway_endpoint_with_a_list_twice: [r#"  prefix_lists = ["storage"]
"# => r#"  prefix_lists = ["storage", "storage"]
"#] gives [
        r#"f:73: vpc "main" / endpoint "storage" / prefix_lists[1]: prefix list "storage" is already on line 73; name each list once"#,
    ];
    gateway_endpoint_with_keys_of_the_other_type: [r#"  prefix_lists = ["storage"]
"# => r#"  prefix_lists = ["storage"]
  service = "shared/db"
  address = "192.0.2.1"
  nat_gateway = "egress"
  interfaces = []
  security_groups = ["db"]
  private_dns = []
"#] gives [
        r#"f:74: vpc "main" / endpoint "storage" / service: only interface endpoints have service; remove service, or write type = "interface""#,
        r#"f:75: vpc "main" / endpoint "storage" / address: only interface endpoints have address; remove address, or write type = "interface""#,
        r#"f:76: vpc "main" / endpoint "storage" / nat_gateway: only interface endpoints have nat_gateway; remove nat_gateway, or write type = "interface""#,
        r#"f:77: vpc "main" / endpoint "storage" / interfaces: only interface endpoints have interfaces; remove interfaces, or write type = "interface""#,
        r#"f:78: vpc "main" / endpoint "storage" / security_groups: only interface endpoints have security_groups; remove security_groups, or write type = "interface""#,
        r#"f:79: vpc "main" / endpoint "storage" / private_dns: only interface endpoints have private_dns; remove private_dns, or write type = "interface""#,
    ];
    policy_without_statements: [r#"  policy = [
    { effect = "allow", instances = ["web"], destinations = ["203.0.113.0/24"] },
    { effect = "deny", destinations = ["203.0.113.128/25"] },
    { effect = "allow", instances = ["squid"] },
  ]
"# => "  policy = []\n"] gives [
        r#"f:74: vpc "main" / endpoint "storage" / policy: the policy has no statement; leave it out to allow everything, or write [{ effect = "deny" }] to allow nothing"#,
    ];
    statement_without_an_effect: [r#"effect = "deny", "# => ""] gives [
        r#"f:76: vpc "main" / endpoint "storage" / policy[1] / effect: required key is missing; add effect = "allow""#,
    ];
    statement_with_another_effect: [r#"effect = "deny""# => r#"effect = "drop""#] gives [
        r#"f:76: vpc "main" / endpoint "storage" / policy[1] / effect: "drop" is not an effect; allowed: "allow", "deny""#,
    ];
    statement_with_empty_lists: [r#"{ effect = "deny", destinations = ["203.0.113.128/25"] }"# => r#"{ effect = "deny", instances = [], destinations = [] }"#] gives [
        r#"f:76: vpc "main" / endpoint "storage" / policy[1] / instances: the list of instances is empty; leave it out for every host of the VPC, or name some"#,
        r#"f:76: vpc "main" / endpoint "storage" / policy[1] / destinations: the list of destinations is empty; leave it out for every destination, or name some"#,
    ];
    statement_about_nobody: [r#"instances = ["squid"]"# => r#"instances = ["squit"]"#] gives [
        r#"f:77: vpc "main" / endpoint "storage" / policy[2] / instances[0]: there is no instance "squit"; did you mean "squid"? this VPC has: "web", "squid""#,
    ];
    statement_about_one_twice: [r#"instances = ["squid"]"# => r#"instances = ["squid", "squid"], destinations = ["192.0.2.0/24", "192.0.2.0/24"]"#] gives [
        r#"f:77: vpc "main" / endpoint "storage" / policy[2] / instances[1]: instance "squid" is already on line 77; name each once"#,
        r#"f:77: vpc "main" / endpoint "storage" / policy[2] / destinations[1]: 192.0.2.0/24 is already on line 77; name each once"#,
    ];
    interface_endpoint_for_nothing: [r#"  address = "192.0.2.200"
  nat_gateway = "egress"
"# => ""] gives [
        r#"f:91: vpc "main" / endpoint "mail" / service: the endpoint stands for nothing; add service = "shared/db", or address = "192.0.2.7""#,
    ];
    interface_endpoint_for_two_things: [r#"  address = "192.0.2.200"
  nat_gateway = "egress"
"# => r#"  address = "192.0.2.200"
  service = "shared/db"
"#] gives [
        r#"f:94: vpc "main" / endpoint "mail" / address: the endpoint stands for a service already; remove address or service"#,
    ];
    interface_endpoint_for_a_service_by_a_gateway: [r#"  service = "shared/db"
"# => r#"  service = "shared/db"
  nat_gateway = "egress"
"#] gives [
        r#"f:84: vpc "main" / endpoint "db" / nat_gateway: packets to a service are not translated by a NAT gateway; remove nat_gateway, or write address instead of service"#,
    ];
    interface_endpoint_with_keys_of_the_other_type: [r#"  nat_gateway = "egress"
"# => r#"  nat_gateway = "egress"
  prefix_lists = ["storage"]
  policy = [{ effect = "allow" }]
"#] gives [
        r#"f:96: vpc "main" / endpoint "mail" / prefix_lists: only gateway endpoints have prefix_lists; remove prefix_lists, or write type = "gateway""#,
        r#"f:97: vpc "main" / endpoint "mail" / policy: only gateway endpoints have policy; remove policy, or write type = "gateway""#,
    ];
    interface_endpoint_by_no_gateway: [r#"  nat_gateway = "egress"
"# => r#"  nat_gateway = "exit"
"#] gives [
        r#"f:95: vpc "main" / endpoint "mail" / nat_gateway: there is no NAT gateway "exit"; define it or name one this VPC has: "egress""#,
    ];
    interface_endpoint_for_the_vpcs_own: [r#""192.0.2.200""# => r#""10.40.7.7""#] gives [
        r#"f:94: vpc "main" / endpoint "mail" / address: 10.40.7.7 lies in 10.40.0.0/16, the VPC's own, where hosts need no endpoint; use an address outside the VPC, or remove the endpoint"#,
    ];
    interface_endpoint_for_multicast: [r#""192.0.2.200""# => r#""224.0.0.7""#] gives [
        r#"f:94: vpc "main" / endpoint "mail" / address: 224.0.0.7 lies in 224.0.0.0/4, where no host is; use the unicast address of a server"#,
    ];
    interface_endpoint_nowhere: [r#"  interfaces = [{ subnet = "private-a", private_ip = "10.40.2.51" }]
"# => ""] gives [
        r#"f:91: vpc "main" / endpoint "mail" / interfaces: required key is missing; add interfaces = [{ subnet = "private-a", private_ip = "10.20.1.50" }]"#,
    ];
    interface_endpoint_in_no_subnet: [r#"  interfaces = [{ subnet = "private-a", private_ip = "10.40.2.51" }]
"# => "  interfaces = []\n"] gives [
        r#"f:96: vpc "main" / endpoint "mail" / interfaces: the endpoint is in no subnet; write one at least, as in interfaces = [{ subnet = "private-a", private_ip = "10.20.1.50" }]"#,
    ];
    interface_endpoint_twice_in_a_subnet: [r#"subnet = "public-a", private_ip = "10.20.1.50""# => r#"subnet = "private-a", private_ip = "10.40.2.49""#] gives [
        r#"f:86: vpc "main" / endpoint "db" / interfaces[1] / subnet: an interface in subnet "private-a" is already on line 85; keep one in each subnet"#,
    ];
    interface_endpoint_in_a_dangling_subnet: [r#"subnet = "public-a", private_ip = "10.20.1.50""# => r#"subnet = "public-b", private_ip = "10.20.1.50""#] gives [
        r#"f:85: vpc "main" / endpoint "db" / interfaces[0] / subnet: there is no subnet "public-b"; did you mean "public-a"? this VPC has: "public-a", "private-a""#,
    ];
    interface_endpoint_outside_its_subnet: [r#""10.20.1.50""# => r#""10.40.2.49""#] gives [
        r#"f:85: vpc "main" / endpoint "db" / interfaces[0] / private_ip: 10.40.2.49 lies outside subnet "public-a", 10.20.1.0/24; use 10.20.1.4 to 10.20.1.254"#,
    ];
    interface_endpoint_on_reserved_addresses: [r#""10.20.1.50""# => r#""10.20.1.3""#, r#""10.40.2.50""# => r#""10.40.2.255""#] gives [
        r#"f:85: vpc "main" / endpoint "db" / interfaces[0] / private_ip: 10.20.1.3 is reserved: the first four addresses and the last of a subnet are; use 10.20.1.4 to 10.20.1.254"#,
        r#"f:86: vpc "main" / endpoint "db" / interfaces[1] / private_ip: 10.40.2.255 is reserved: the first four addresses and the last of a subnet are; use 10.40.2.4 to 10.40.2.254"#,
    ];
    interface_endpoint_on_the_address_of_an_instance: [r#""10.20.1.50""# => r#""10.20.1.11""#] gives [
        r#"f:85: vpc "main" / endpoint "db" / interfaces[0] / private_ip: private address 10.20.1.11 is already on line 48; give each NAT gateway, instance, load balancer and endpoint an address of its own"#,
    ];
    interface_endpoint_on_the_address_of_a_gateway: [r#""10.20.1.50""# => r#""10.20.1.100""#] gives [
        r#"f:85: vpc "main" / endpoint "db" / interfaces[0] / private_ip: private address 10.20.1.100 is already on line 36; give each NAT gateway, instance, load balancer and endpoint an address of its own"#,
    ];
    interface_endpoint_on_the_address_of_another: [r#""10.40.2.51""# => r#""10.40.2.50""#] gives [
        r#"f:96: vpc "main" / endpoint "mail" / interfaces[0] / private_ip: private address 10.40.2.50 is already on line 86; give each NAT gateway, instance, load balancer and endpoint an address of its own"#,
    ];
    interface_endpoint_without_an_address: [r#", private_ip = "10.20.1.50""# => ""] gives [
        r#"f:85: vpc "main" / endpoint "db" / interfaces[0] / private_ip: required key is missing; add private_ip = "10.20.1.100""#,
    ];
    interface_endpoint_in_a_dangling_group: [r#"  security_groups = ["db"]"# => r#"  security_groups = ["dbs"]"#] gives [
        r#"f:88: vpc "main" / endpoint "db" / security_groups[0]: there is no security group "dbs"; did you mean "db"? this VPC has: "db""#,
    ];
    interface_endpoint_in_no_group: [r#"  security_groups = ["db"]"# => "  security_groups = []"] gives [
        r#"f:88: vpc "main" / endpoint "db" / security_groups: the list of security groups is empty; leave it out for an endpoint that is not filtered, or name a group whose ingress and egress are empty for one that nothing reaches"#,
    ];
    private_dns_that_is_no_name: [r#""db2.example.com""# => r#""db_2.example.com""#] gives [
        r#"f:89: vpc "main" / endpoint "db" / private_dns[1]: "db_2.example.com" is not a host name; use labels of 1 to 63 letters, digits and '-', with dots between them, 253 characters at most"#,
    ];
    private_dns_that_is_taken: [r#""db2.example.com""# => r#""db2.local""#] gives [
        r#"f:89: vpc "main" / endpoint "db" / private_dns[1]: names below "local" have a meaning of their own; use another name, as in "db.example.com""#,
    ];
    private_dns_twice_in_another_case: [r#""db2.example.com""# => r#""db.EXAMPLE.com""#] gives [
        r#"f:89: vpc "main" / endpoint "db" / private_dns[1]: private DNS name "db.example.com" is already on line 89; give each endpoint names of its own"#,
    ];
    private_dns_of_two_endpoints: [r#"  nat_gateway = "egress"
"# => r#"  nat_gateway = "egress"
  private_dns = ["db2.example.com"]
"#] gives [
        r#"f:96: vpc "main" / endpoint "mail" / private_dns[0]: private DNS name "db2.example.com" is already on line 89; give each endpoint names of its own"#,
    ];
    private_dns_that_another_endpoint_has_anyway: [r#""db2.example.com""# => r#""mail.endpoint.internal""#] gives [
        r#"f:89: vpc "main" / endpoint "db" / private_dns[1]: "mail.endpoint.internal" is what an endpoint is called anyway (line 91); choose another name, or leave it out"#,
    ];
    service_of_no_form: [r#"service = "shared/db""# => r#"service = "db""#] gives [
        r#"f:83: vpc "main" / endpoint "db" / service: "db" is not the name of an endpoint service; write "VPC/SERVICE", as in "shared/db""#,
    ];
    service_of_the_same_vpc: [r#"service = "shared/db""# => r#"service = "main/db""#] gives [
        r#"f:83: vpc "main" / endpoint "db" / service: service "main/db" is of this VPC, whose hosts need no endpoint for it; write to the load balancer's address, or name a service of another VPC"#,
    ];
    service_of_a_vpc_elsewhere: [r#"service = "shared/db""# => r#"service = "share/db""#] gives [
        r#"f:83: vpc "main" / endpoint "db" / service: there is no VPC "share" on this node, and so no service "share/db"; did you mean "shared/db"? other VPCs have: "shared/db""#,
    ];
    service_that_is_not_there: [r#"service = "shared/db""# => r#"service = "shared/mail""#] gives [
        r#"f:83: vpc "main" / endpoint "db" / service: there is no endpoint service "shared/mail"; define it or name one that other VPCs have: "shared/db""#,
    ];
    service_for_others: [r#"allowed_vpcs = ["main"]"# => r#"allowed_vpcs = ["mine"]"#] gives [
        r#"f:83: vpc "main" / endpoint "db" / service: service "shared/db" (line 156) does not allow VPC "main"; add "main" to its allowed_vpcs, or name another service"#,
    ];
    service_for_nobody: [r#"allowed_vpcs = ["main"]"# => "allowed_vpcs = []"] gives [
        r#"f:83: vpc "main" / endpoint "db" / service: service "shared/db" (line 156) does not allow VPC "main"; add "main" to its allowed_vpcs, or name another service"#,
    ];
    service_name_twice: [r#"  rejected = ["main/gone"]
"# => r#"  rejected = ["main/gone"]

  [[vpc.endpoint_service]]
  name = "db"
  load_balancer = "db"
"#] gives [
        r#"f:165: vpc "shared" / endpoint_service "db" / name: endpoint service "db" is already on line 157; give each a name of its own"#,
    ];
    service_without_a_balancer: [r#"  load_balancer = "db"
"# => ""] gives [
        r#"f:156: vpc "shared" / endpoint_service "db" / load_balancer: required key is missing; add load_balancer = "db""#,
    ];
    service_with_a_dangling_balancer: [r#"  load_balancer = "db"
"# => r#"  load_balancer = "mail"
"#] gives [
        r#"f:158: vpc "shared" / endpoint_service "db" / load_balancer: there is no load balancer "mail"; define it or name one this VPC has: "db""#,
    ];
    service_that_accepts_what_is_no_endpoint: [r#"accepted = ["main/db"]"# => r#"accepted = ["main/db", "db", "main/db/x", "/db"]"#] gives [
        r#"f:161: vpc "shared" / endpoint_service "db" / accepted[1]: "db" is not the name of a VPC's endpoint; write "VPC/ENDPOINT", as in "main/db""#,
        r#"f:161: vpc "shared" / endpoint_service "db" / accepted[2]: "main/db/x" is not the name of a VPC's endpoint; write "VPC/ENDPOINT", as in "main/db""#,
        r#"f:161: vpc "shared" / endpoint_service "db" / accepted[3]: "/db" is not the name of a VPC's endpoint; write "VPC/ENDPOINT", as in "main/db""#,
    ];
    service_that_accepts_and_rejects: [r#"rejected = ["main/gone"]"# => r#"rejected = ["main/gone", "main/db"]"#] gives [
        r#"f:162: vpc "shared" / endpoint_service "db" / rejected[1]: endpoint "main/db" is accepted (line 161) and rejected; remove it from accepted or rejected"#,
    ];
    service_that_accepts_twice: [r#"accepted = ["main/db"]"# => r#"accepted = ["main/db", "main/db"]"#] gives [
        r#"f:161: vpc "shared" / endpoint_service "db" / accepted[1]: endpoint "main/db" is already on line 161; name each once"#,
    ];
    service_for_what_is_no_vpc: [r#"allowed_vpcs = ["main"]"# => r#"allowed_vpcs = ["main", "a/b"]"#] gives [
        r#"f:160: vpc "shared" / endpoint_service "db" / allowed_vpcs[1]: "a/b" is not the name of a VPC; use 1 to 64 of the characters A-Z a-z 0-9 . _ -"#,
    ];
    route_to_an_interface_endpoint: [r#""203.0.113.64/26", target = "endpoint:storage""# => r#""203.0.113.64/26", target = "endpoint:db""#] gives [
        r#"f:67: vpc "main" / route_table "by-endpoint" / routes[1] / target: endpoint "db" (line 80) is an interface endpoint, which has addresses of its own; remove the route, or name a gateway endpoint"#,
    ];
    route_of_a_list_that_is_not_served: [r#""203.0.113.64/26", target"# => r#""prefix-list:other", target"#] gives [
        r#"f:67: vpc "main" / route_table "by-endpoint" / routes[1] / destination: endpoint "storage" (line 70) does not serve prefix list "other"; route one of its prefix lists: "storage""#,
    ];
    route_of_a_cidr_that_is_not_served: [r#""203.0.113.64/26", target"# => r#""203.0.112.0/23", target"#] gives [
        r#"f:67: vpc "main" / route_table "by-endpoint" / routes[1] / destination: endpoint "storage" (line 70) does not serve 203.0.112.0/23; route what lies in one of its prefix lists: "storage""#,
    ];
    route_to_a_dangling_endpoint: [r#""203.0.113.64/26", target = "endpoint:storage""# => r#""203.0.113.64/26", target = "endpoint:storag""#] gives [
        r#"f:67: vpc "main" / route_table "by-endpoint" / routes[1] / target: there is no endpoint "storag"; did you mean "storage"? this VPC has: "storage", "db", "mail""#,
    ];
    route_of_the_vpcs_own_to_an_endpoint: [r#"entries = ["203.0.113.0/24", "# => r#"entries = ["203.0.113.0/24", "10.20.0.0/16", "#] gives [
        r#"f:66: vpc "main" / route_table "by-endpoint" / routes[0] / destination: 10.20.0.0/16 of prefix list "storage" is the VPC's own, which is always local; write routes for parts of it, or remove the route"#,
    ];
}
