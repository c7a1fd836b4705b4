//! Mistakes in proxies. Each is one edit of the sample that has one, with everything a user is shown about it.

use super::refuse_each;

refuse_each! {
    of ended;
    proxy_without_an_instance: [r#"  instance = "squid"
"# => ""] gives [
        r#"f:98: vpc "main" / proxy "squid" / instance: required key is missing; add instance = "squid""#,
    ];
    proxy_on_a_dangling_instance: [r#"  instance = "squid"
"# => r#"  instance = "squit"
"#] gives [
        r#"f:100: vpc "main" / proxy "squid" / instance: there is no instance "squit"; did you mean "squid"? this VPC has: "web", "squid""#,
    ];
    proxy_on_an_instance_that_checks: [r#"  instance = "squid"
"# => r#"  instance = "web"
"#] gives [
        r#"f:100: vpc "main" / proxy "squid" / instance: instance "web" (line 39) gets only what is to its own address, so it can be no proxy for others; set source_dest_check = false on it, or name another"#,
    ];
    proxy_for_no_port: ["[80, 8080]" => "[]"] gives [
        r#"f:101: vpc "main" / proxy "squid" / ports: the proxy is for no port; name one, or leave the key out: it is for 80 and 443 then"#,
    ];
    proxy_for_port_zero_and_text: ["[80, 8080]" => r#"[0, "80"]"#] gives [
        r#"f:101: vpc "main" / proxy "squid" / ports[0]: 0 is out of range; use 1 to 65535"#,
        r#"f:101: vpc "main" / proxy "squid" / ports[1]: expected an integer, found a string; write ports = [80, 443]"#,
    ];
    proxy_for_a_port_twice: ["[80, 8080]" => "[80, 80]"] gives [
        r#"f:101: vpc "main" / proxy "squid" / ports[1]: port 80 is already on line 101; name each port once"#,
    ];
    proxy_for_no_subnet: [r#"  subnets = ["private-a"]
"# => "  subnets = []\n"] gives [
        r#"f:102: vpc "main" / proxy "squid" / subnets: the proxy is for no subnet; name one, or leave the key out: it is for all subnets of the VPC then"#,
    ];
    proxy_for_a_dangling_subnet: [r#"  subnets = ["private-a"]
"# => r#"  subnets = ["private-b"]
"#] gives [
        r#"f:102: vpc "main" / proxy "squid" / subnets[0]: there is no subnet "private-b"; did you mean "private-a"? this VPC has: "public-a", "private-a""#,
    ];
    proxy_for_a_subnet_twice: [r#"  subnets = ["private-a"]
"# => r#"  subnets = ["private-a", "private-a"]
"#] gives [
        r#"f:102: vpc "main" / proxy "squid" / subnets[1]: subnet "private-a" is already on line 102; name each subnet once"#,
    ];
    proxy_with_another_failure: [r#"on_failure = "open""# => r#"on_failure = "opened""#] gives [
        r#"f:103: vpc "main" / proxy "squid" / on_failure: "opened" is not what happens to connections while a proxy is unhealthy; allowed: "open", "closed""#,
    ];
    proxy_with_a_check_as_text: ["health_check = { port = 3128, interval = 5 }" => r#"health_check = "tcp""#] gives [
        r#"f:104: vpc "main" / proxy "squid" / health_check: expected a table, found a string; write health_check = { protocol = "http", path = "/health" }"#,
    ];
    proxy_with_a_check_that_takes_too_long: ["interval = 5 }" => "interval = 5, timeout = 6 }"] gives [
        r#"f:104: vpc "main" / proxy "squid" / health_check / timeout: a check may take 6 s, and after 5 s comes the next one; make timeout no longer than interval"#,
    ];
    proxy_name_twice: [r#"[[vpc]]
name = "shared""# => r#"  [[vpc.proxy]]
  name = "squid"
  instance = "squid"
  ports = [443]

[[vpc]]
name = "shared""#] gives [
        r#"f:107: vpc "main" / proxy "squid" / name: proxy "squid" is already on line 99; give each a name of its own"#,
    ];
    proxy_for_a_port_that_has_one: [r#"[[vpc]]
name = "shared""# => r#"  [[vpc.proxy]]
  name = "other"
  instance = "squid"
  subnets = ["public-a", "private-a"]
  ports = [81, 8080]

[[vpc]]
name = "shared""#] gives [
        r#"f:110: vpc "main" / proxy "other" / ports[1]: connections from subnet "private-a" to port 8080 have a proxy already (line 98); leave each port of a subnet to one proxy"#,
    ];
    proxy_for_all_subnets_where_one_has_one: [r#"[[vpc]]
name = "shared""# => r#"  [[vpc.proxy]]
  name = "other"
  instance = "squid"

[[vpc]]
name = "shared""#] gives [
        r#"f:106: vpc "main" / proxy "other": connections to port 80 have a proxy already (line 98); leave each port of a subnet to one proxy"#,
    ];
    proxy_for_a_subnet_where_all_have_one: [r#"  subnets = ["private-a"]
"# => "", r#"[[vpc]]
name = "shared""# => r#"  [[vpc.proxy]]
  name = "other"
  instance = "squid"
  subnets = ["public-a"]
  ports = [8080]

[[vpc]]
name = "shared""#] gives [
        r#"f:109: vpc "main" / proxy "other" / ports[0]: connections from subnet "public-a" to port 8080 have a proxy already (line 98); leave each port of a subnet to one proxy"#,
    ];
}
