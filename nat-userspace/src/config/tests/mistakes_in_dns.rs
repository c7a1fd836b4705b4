//! Mistakes in what the resolver goes by. Each is one edit of the sample, with everything a user is shown
//! about it.

use super::{edited, refuse_each, refused};

refuse_each! {
    dns_as_a_word: ["internet_gateway = true" => "internet_gateway = true\ndns = \"yes\""] gives [
        r#"f:10: vpc "main" / dns: expected true or false, found a string; write dns = false"#,
    ];
    dns_misspelt: ["internet_gateway = true" => "internet_gateway = true\nprivat_domain = \"internal\""] gives [
        r#"f:10: vpc "main" / privat_domain: unknown key; did you mean private_domain? known keys here: name, cidrs, internet_gateway, strict, dns, private_domain, subnet, route_table, nat_gateway, instance, prefix_list, security_group, network_acl, rack, host, placement_group, target_group, load_balancer, endpoint_service, endpoint, proxy"#,
    ];
    dns_domain_of_another_type: ["internet_gateway = true" => "internet_gateway = true\nprivate_domain = true"] gives [
        r#"f:10: vpc "main" / private_domain: expected a string, found a boolean; write private_domain = "internal""#,
    ];
    dns_domain_with_a_dot_at_its_end: ["internet_gateway = true" => "internet_gateway = true\nprivate_domain = \"internal.\""] gives [
        r#"f:10: vpc "main" / private_domain: "internal." is not a private domain; use labels of 1 to 63 letters, digits and '-', with dots between them, 188 characters at most"#,
    ];
    dns_domain_that_is_empty: ["internet_gateway = true" => "internet_gateway = true\nprivate_domain = \"\""] gives [
        r#"f:10: vpc "main" / private_domain: "" is not a private domain; use labels of 1 to 63 letters, digits and '-', with dots between them, 188 characters at most"#,
    ];
    dns_domain_of_reverse_names: ["internet_gateway = true" => "internet_gateway = true\nprivate_domain = \"10.in-addr.ARPA\""] gives [
        r#"f:10: vpc "main" / private_domain: names below "ARPA" have a meaning of their own; use another domain, as in "internal" or "corp.example.net""#,
    ];
    dns_domain_of_the_link: ["internet_gateway = true" => "internet_gateway = true\nprivate_domain = \"local\""] gives [
        r#"f:10: vpc "main" / private_domain: names below "local" have a meaning of their own; use another domain, as in "internal" or "corp.example.net""#,
    ];
    dns_forwarder_alone: ["name = \"edge-1\"" => "dns_forwarders = \"192.0.2.53\""] gives [
        r#"f:2: node / dns_forwarders: expected an array of strings, found a string; write dns_forwarders = ["192.0.2.53"]"#,
    ];
    dns_forwarders_that_are_none: ["name = \"edge-1\"" => "dns_forwarders = []"] gives [
        "f:2: node / dns_forwarders: there is no forwarder; name a DNS server, or leave the key out: those of /etc/resolv.conf are asked then",
    ];
    dns_forwarder_by_name: ["name = \"edge-1\"" => "dns_forwarders = [\"192.0.2.53\", \"dns.example.net\"]"] gives [
        r#"f:2: node / dns_forwarders[1]: "dns.example.net" is not an IPv4 address; write four numbers from 0 to 255, as in "10.20.1.10""#,
    ];
    dns_forwarder_that_is_no_server: ["name = \"edge-1\"" => "dns_forwarders = [\"0.0.0.0\", \"224.0.0.251\", \"255.255.255.255\"]"] gives [
        "f:2: node / dns_forwarders[0]: 0.0.0.0 is no server's address; use the unicast address of a DNS server",
        "f:2: node / dns_forwarders[1]: 224.0.0.251 is no server's address; use the unicast address of a DNS server",
        "f:2: node / dns_forwarders[2]: 255.255.255.255 is no server's address; use the unicast address of a DNS server",
    ];
    dns_forwarder_twice: ["name = \"edge-1\"" => "dns_forwarders = [\"192.0.2.53\", \"192.0.2.53\"]"] gives [
        "f:2: node / dns_forwarders[1]: forwarder 192.0.2.53 is already on line 2; remove one of them",
    ];
}

#[test]
fn as_many_forwarders_as_are_allowed_are_read_and_one_more_is_refused() {
    let text = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("\"192.0.2.{n}\"")).collect();
        let key = format!("dns_forwarders = [{}]", list.join(", "));
        edited(&[("name = \"edge-1\"", &key)])
    };
    assert!(crate::config::parse("f", &text(8)).is_ok());
    assert_eq!(
        refused(&text(9)),
        ["f:2: node / dns_forwarders[8]: too many forwarders: 9; keep at most 8"]
    );
}

#[test]
fn a_private_domain_leaves_room_for_every_name() {
    let text = |length: usize| {
        let domain = "x.".repeat(length / 2) + "y";
        let key = format!("internet_gateway = true\nprivate_domain = \"{domain}\"");
        edited(&[("internet_gateway = true", &key)])
    };
    assert!(crate::config::parse("f", &text(186)).is_ok());
    assert_eq!(refused(&text(188)).len(), 1);
}
