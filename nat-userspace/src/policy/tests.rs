use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use nat_common::{
    address::Port,
    drop_reason::DropReason,
    flow::{Flow, protocol},
    map_types::{ALL_GATEWAYS, MAX_EXEMPTIONS, Session, binding_key, bound_key},
};

use super::*;
use crate::{config, host::HostInterface};

const CONFIG: &str = r#"
[node]
uplink = ["up0"]
icmp_errors_per_second = 7
log_destinations = true

[[vpc]]
name = "main"
cidrs = ["10.0.0.0/16"]
internet_gateway = true
subnet = [
  { name = "public", cidr = "10.0.1.0/24", interface = "in0", route_table = "public" },
  { name = "private", cidr = "10.0.2.0/24", interface = "in1", route_table = "private" },
]
route_table = [
  { name = "public", routes = [{ destination = "0.0.0.0/0", target = "internet-gateway" }] },
  { name = "private", routes = [{ destination = "0.0.0.0/0", target = "nat-gateway:rfc" }] },
]

[[vpc.nat_gateway]]
name = "aws"
subnet = "public"
private_ip = "10.0.1.9"
no_translate = [{ destination = "192.0.2.0/25", protocol = "udp" }]

[[vpc.nat_gateway]]
name = "rfc"
subnet = "public"
private_ip = "10.0.1.10"
public_ips = ["198.51.100.1", "198.51.100.2"]
ports = ["2000-2999"]
address_ports = [{ public_ip = "198.51.100.2", ports = ["4000-4499", "5000-5499"] }]
profile = "rfc"
filtering = "endpoint-independent"
port_rest = 1
max_sessions_per_client = 10
max_ports_per_client = 5
on_exhaustion = "host-unreachable"
deterministic = "10.0.0.0/22"
forward = [{ protocol = "tcp", port = "80-81", public_ip = "198.51.100.2", to = "10.0.2.7:8080" }]
no_translate = [
  { destination = "192.0.2.0/24", protocol = "tcp", ports = "443" },
  { destination = "192.0.2.7/32", ports = "1000-2000" },
]
"#;

fn attached(name: &str, index: u32, addresses: &[&str]) -> Attached {
    Attached {
        interface: HostInterface {
            name: name.to_owned(),
            index,
            mac: [2, 0, 0, 0, 0, index as u8],
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            is_physical: false,
            is_services: false,
        },
        hook: Hook::Tc,
        flags: 0,
    }
}

fn compiled(text: &str) -> Tables {
    let config = config::parse("f", text).unwrap_or_else(|errors| panic!("{errors}"));
    let facts = Facts {
        attached: &[
            attached("up0", 1, &["198.51.100.254/24", "192.0.2.1/24"]),
            attached("in0", 2, &["10.0.1.1/24"]),
            attached("in1", 3, &[]),
        ],
        forwarding_set: &BTreeSet::new(),
        secrets: &BTreeMap::new(),

        unhealthy: &BTreeSet::new(),
        random: &mut || 4,
        to_the_tick: false,
        window_shift_before: 0,
    };
    compile(&config, &mut Numbering::default(), facts).unwrap()
}

fn ip(text: &str) -> Address {
    text.parse::<Ipv4Addr>().unwrap().into()
}

#[test]
fn a_gateway_has_what_its_settings_say() {
    let tables = compiled(CONFIG);
    let [aws, rfc] = [0, 1].map(|number| tables.gateways[&number]);
    assert_eq!(
        aws.flags,
        Gateway::RESETS_UNKNOWN | Gateway::EXEMPTS | Gateway::EXHAUSTION_PROHIBITED
    );
    assert_eq!((aws.address_count, aws.addresses[0]), (1, ip("10.0.1.9")));
    assert_eq!(aws.pools[0].size(), 64_512);
    assert_eq!((aws.port_rest, aws.client_count), (0, 0));
    assert_eq!(
        rfc.flags,
        Gateway::ENDPOINT_INDEPENDENT
            | Gateway::FILTER_NOBODY
            | Gateway::FORWARDS
            | Gateway::EXEMPTS
            | Gateway::COUNTS_CLIENTS
            | Gateway::EXHAUSTION_UNREACHABLE
            | Gateway::UDP_OUTBOUND_REFRESH
            | Gateway::IS_PUBLIC
    );
    assert_eq!(rfc.pools[0].ranges()[0].first, 2000);
    assert_eq!(rfc.pools[1].ranges()[1].last, 5499);
    assert_eq!(rfc.pools[2].size(), 0);
    assert_eq!(
        (rfc.max_sessions_per_client, rfc.max_ports_per_client),
        (10, 5)
    );
    assert_eq!((rfc.clients, rfc.client_count), (ip("10.0.0.0"), 1024));
    assert_eq!(rfc.port_rest, 8);
    assert_eq!(tables.settings.icmp_errors_per_second, 7);
    assert!(tables.settings.is(Settings::LOG_DESTINATIONS));
}

#[test]
fn clients_are_counted_where_they_have_quotas_or_several_addresses() {
    let counts = |from: &str, to: &str| {
        let text = CONFIG
            .replace(
                "max_sessions_per_client = 10\nmax_ports_per_client = 5\n",
                "",
            )
            .replace(from, to);
        compiled(&text).gateways[&1].is(Gateway::COUNTS_CLIENTS)
    };
    assert!(!counts("", ""));
    assert!(counts("deterministic = \"10.0.0.0/22\"", ""));
    assert!(counts("port_rest = 1", "max_ports_per_client = 1"));
}

#[test]
fn an_interface_knows_the_hosts_first_address() {
    let tables = compiled(CONFIG);
    assert_eq!(tables.interfaces[&1].address, ip("198.51.100.254"));
    assert_eq!(tables.interfaces[&3].address, Address::UNSPECIFIED);
}

#[test]
fn a_forward_is_a_static_binding_for_each_port_on_both_sides() {
    let tables = compiled(CONFIG);
    assert_eq!((tables.bindings.len(), tables.bound.len()), (2, 2));
    for (public, inside) in [(80, 8080), (81, 8081)] {
        let flow = Flow {
            source: ip("10.0.2.7"),
            source_port: Port::new(inside),
            destination: ip("203.0.113.5"),
            destination_port: Port::new(9),
            protocol: protocol::TCP,
        };
        let binding = tables.bindings[&binding_key(1, &flow)];
        assert!(binding.is_static());
        assert_eq!(
            (binding.address, binding.port.get()),
            (ip("198.51.100.2"), public)
        );
        let inbound = flow.with_source(binding.address, binding.port).reversed();
        let bound = tables.bound[&bound_key(&inbound)];
        assert!(bound.is_static());
        assert_eq!((bound.address, bound.port.get()), (ip("10.0.2.7"), inside));
        assert_eq!((bound.gateway, bound.vpc), (1, 1));
    }
}

#[test]
fn exemptions_hold_for_their_gateway_and_together_for_packets_from_outside() {
    let tables = compiled(CONFIG);
    let covered = |scope: u32, net: &str, protocol, port: Option<u16>| {
        let entry = &tables.exemptions[&prefix(scope, net.parse().unwrap())];
        entry.cover(protocol, port.map(Port::new))
    };
    let (tcp, udp) = (protocol::TCP, protocol::UDP);
    assert!(covered(1, "192.0.2.0/24", tcp, Some(443)));
    assert!(!covered(1, "192.0.2.0/24", tcp, Some(1500)));
    assert!(!covered(1, "192.0.2.0/24", tcp, None));
    assert!(covered(1, "192.0.2.7/32", tcp, Some(443)));
    assert!(covered(1, "192.0.2.7/32", udp, Some(1500)));
    assert!(!covered(1, "192.0.2.7/32", udp, Some(443)));
    assert!(covered(0, "192.0.2.0/25", udp, None));
    assert!(covered(ALL_GATEWAYS, "192.0.2.7/32", udp, None));
    assert!(covered(ALL_GATEWAYS, "192.0.2.7/32", tcp, Some(443)));
    assert!(covered(ALL_GATEWAYS, "192.0.2.0/25", tcp, Some(443)));
    assert!(!covered(ALL_GATEWAYS, "192.0.2.0/24", udp, None));
    // Two prefixes of one gateway, one of the other, three together.
    assert_eq!(tables.exemptions.len(), 6);
    assert_eq!(MAX_EXEMPTIONS, 8);
}

/// From a host in the private subnet, translated to the second gateway's first address.
fn judged(text: &str) -> std::result::Result<(), DropReason> {
    let flow = Flow {
        source: ip("10.0.2.5"),
        source_port: Port::new(40_000),
        destination: ip("203.0.113.5"),
        destination_port: Port::new(443),
        protocol: protocol::TCP,
    };
    let key = SessionKey::forward(&flow, 1);
    let session = Session::new(&key, ip("198.51.100.1"), Port::new(2000), 1, 0);
    judge(&compiled(text), &key, &session)
}

#[test]
fn a_session_is_judged_as_its_packets_will_be() {
    assert_eq!(judged(CONFIG), Ok(()));
    let routed = |target: &str| judged(&CONFIG.replace("nat-gateway:rfc", target));
    assert_eq!(routed("blackhole"), Err(DropReason::Blackhole));
    assert_eq!(routed("nat-gateway:aws"), Err(DropReason::PolicyChanged));
    let moved = CONFIG
        .replace("\"198.51.100.1\", ", "")
        .replace("deterministic = \"10.0.0.0/22\"", "");
    assert_eq!(judged(&moved), Err(DropReason::PolicyChanged));
    let filtered = |ingress: &str, egress: &str| {
        let text = CONFIG.replace(
            "route_table = \"private\" }",
            "route_table = \"private\", network_acl = \"a\" }",
        );
        judged(&format!(
            "{text}\n[[vpc.network_acl]]\nname = \"a\"\ningress = [{ingress}]\negress = [{egress}]\n"
        ))
    };
    let from_all = "{ rule = 1, action = \"allow\", protocol = \"tcp\", source = \"0.0.0.0/0\" }";
    let to_all = "{ rule = 1, action = \"allow\", protocol = \"tcp\", ports = \"443\", destination = \"0.0.0.0/0\" }";
    assert_eq!(filtered(from_all, to_all), Ok(()));
    assert_eq!(filtered("", to_all), Err(DropReason::NetworkAcl));
    assert_eq!(filtered(from_all, ""), Err(DropReason::NetworkAcl));
}
