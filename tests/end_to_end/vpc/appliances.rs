//! Instances that forward what is not theirs: a NAT instance, a firewall between subnets.
use std::time::Duration;

use nat_tests::{
    netns::{Hook, Namespace, configuration::Configuration, process::finish},
    packets::PacketBuilder,
};

use super::{
    A, INTERNET, Lab, PUBLIC_IPS, WEB, WEB_PUBLIC,
    reached::{NOTHING, Seen, Server, from, from_one},
    vpc,
};
use crate::attempts::{address, hears};

/// Public IP of the NAT instance.
const PUBLIC: &str = "198.51.100.30";
const MAC_OF_NAT: &str = "02:00:0a:14:01:1e";
const MAC_OF_FIREWALL: &str = "02:00:0a:14:03:1e";

/// A host that forwards by its one interface.
pub(super) fn forwarder(lab: &Lab, label: &str, device: &str, address: &str) -> Namespace {
    let host = lab.site.host(label, device, address).expect("a host");
    host.set("net/ipv4/ip_forward", "1").expect("forwarding");
    // Clients are to go on asking their router.
    for scope in ["all", "eth0"] {
        let name = format!("net/ipv4/conf/{scope}/send_redirects");
        host.set(&name, "0").expect("a setting");
    }
    host
}

/// Masquerades all that it sends on.
fn masquerade(host: &Namespace) {
    let rules = [
        "add table ip nat",
        "add chain ip nat out { type nat hook postrouting priority 100; }",
        "add rule ip nat out oif eth0 ip saddr 10.20.2.0/24 masquerade",
    ];
    let nft = finish(
        host.command("nft").arg(rules.join("\n")),
        Duration::from_secs(10),
    );
    nft.expect("nft").success().expect("rules");
}

fn with_nat_instance(hook: Hook, keys: &str) -> Configuration {
    let keys = format!("public_ip = \"{PUBLIC}\"\n{keys}");
    vpc(hook)
        .routed("private", &[("0.0.0.0/0", "instance:nat")])
        .instance("nat", "public", "10.20.1.30", &keys)
}

fn unchecked(mac: &str) -> String {
    format!("source_dest_check = false\nmac = \"{mac}\"")
}

/// A guest that masquerades serves a private subnet: its own packets leave 1:1.
pub fn a_nat_instance_masquerades_for_a_private_subnet(hook: Hook) {
    let lab = Lab::build(hook);
    let host = forwarder(&lab, "nat", "public0", "10.20.1.30/24");
    masquerade(&host);
    let text = with_nat_instance(hook, &unchecked(MAC_OF_NAT));
    let mut standing = lab.stand(&text);
    let lab = &standing.lab;
    let server = Server::on(&lab.site.internet);
    server.assert_sees(&lab.a, INTERNET, from(PUBLIC));
    server.assert_sees(&lab.b, INTERNET, from(PUBLIC));
    // Within the VPC nothing takes the way through it.
    Server::on(&lab.web).assert_sees(&lab.a, WEB, from(A));
    // From outside it is an instance like others: nobody behind it is reached.
    Server::on(&lab.a).assert_sees(&lab.site.internet, PUBLIC, NOTHING);
    standing.assert_running();
}

/// Its groups see the packets of those it serves.
pub fn a_nat_instances_groups_hold_for_what_it_forwards(hook: Hook) {
    let lab = Lab::build(hook);
    let host = forwarder(&lab, "nat", "public0", "10.20.1.30/24");
    masquerade(&host);
    let keys = format!("{}\nsecurity_groups = [\"nat\"]", unchecked(MAC_OF_NAT));
    let text = with_nat_instance(hook, &keys);
    let letting_in = |ports: &str| {
        let rules = format!(
            "ingress = [{{ protocol = \"tcp\", ports = \"{ports}\", source = \"10.20.2.0/24\" }}]"
        );
        text.clone().security_group("nat", &rules)
    };
    let standing = lab.stand(&letting_in("8080"));
    let lab = &standing.lab;
    let server = Server::on(&lab.site.internet);
    let tcp_only = [from_one(PUBLIC), Seen::Nothing, Seen::Nothing];
    server.assert_sees(&lab.a, INTERNET, tcp_only);
    assert!(standing.drops("security_group") >= 2);
    standing.reload(&letting_in("8081"));
    server.assert_sees(&lab.a, INTERNET, NOTHING);
}

/// With the check on an instance sends nothing that is not its own. With it off, what it forwards takes the routes
/// of its subnet, and a NAT gateway's as its own packets do.
pub fn source_dest_check_drops_what_an_instance_forwards(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let server = lab.site.internet.udp(TO).expect("a server");
    let forwards = |text: &[u8]| {
        let packet = PacketBuilder::udp(address("10.20.2.10:40100"), address(TO));
        let sender = lab.web.raw_sender().expect("a socket");
        sender
            .send(&packet.payload(text).build_ip())
            .expect("sending");
        hears(&server, text, Duration::from_millis(700))
    };
    assert_eq!(forwards(b"checked"), None);
    assert_eq!(standing.drops("spoofed_source"), 1);
    // The internet gateway translates an instance's own address alone.
    let text = vpc(hook).with("instance", "web", &unchecked("02:00:0a:14:01:0a"));
    standing.reload(&text);
    assert_eq!(forwards(b"1:1"), None);
    assert_eq!(standing.drops("no_public_ip"), 1);
    let text = text
        .without("nat_gateway", "egress")
        .nat_gateway("egress", "beside", "10.20.3.100", PUBLIC_IPS)
        .routed("beside", &[("0.0.0.0/0", "internet-gateway")])
        .routed("public", &[("0.0.0.0/0", "nat-gateway:egress")]);
    standing.reload(&text);
    assert_eq!(
        forwards(b"by a gateway"),
        Some(address("198.51.100.10:40100"))
    );
    assert_eq!(standing.drops("spoofed_source"), 1);
}

const TO: &str = "198.51.100.80:5300";

/// A firewall between the public and the private subnet, in the one beside them.
fn with_firewall(hook: Hook, keys: &str) -> Configuration {
    let of_public = [
        ("10.20.2.0/24", "instance:firewall"),
        ("0.0.0.0/0", "internet-gateway"),
    ];
    vpc(hook)
        .routed("private", &[("10.20.1.0/24", "instance:firewall")])
        .routed("public", &of_public)
        .instance("firewall", "beside", "10.20.3.30", keys)
}

/// A firewall between two subnets and towards the internet, which changes nothing about the packets.
pub fn a_transparent_router_stands_between_subnets(hook: Hook) {
    let lab = Lab::build(hook);
    let firewall = forwarder(&lab, "firewall", "private0", "10.20.3.30/24");
    let text = with_firewall(hook, &unchecked(MAC_OF_FIREWALL)).routed(
        "private",
        &[
            ("10.20.1.0/24", "instance:firewall"),
            ("0.0.0.0/0", "instance:firewall"),
        ],
    );
    let mut standing = lab.stand(&text);
    let lab = &standing.lab;
    let (web, a) = (Server::on(&lab.web), Server::on(&lab.a));
    let outside = Server::on(&lab.site.internet);
    web.assert_sees(&lab.a, WEB, from(A));
    a.assert_sees(&lab.web, A, from(WEB));
    outside.assert_sees(&lab.a, INTERNET, from(super::NAT));
    // It is really on the way.
    firewall
        .set("net/ipv4/ip_forward", "0")
        .expect("no forwarding");
    web.assert_sees(&lab.a, WEB, NOTHING);
    a.assert_sees(&lab.web, A, NOTHING);
    outside.assert_sees(&lab.a, INTERNET, NOTHING);
    outside.assert_sees(&lab.web, INTERNET, from(WEB_PUBLIC));
    standing.assert_running();
}

/// Groups at both ends and at the firewall: each flow is asked about once, and its answers pass.
pub fn tracked_flows_pass_a_transparent_router(hook: Hook) {
    let lab = Lab::build(hook);
    let _firewall = forwarder(&lab, "firewall", "private0", "10.20.3.30/24");
    let keys = format!(
        "{}\nsecurity_groups = [\"firewall\"]",
        unchecked(MAC_OF_FIREWALL)
    );
    let from_private = "ingress = [{ protocol = \"all\", source = \"10.20.2.0/24\" }]";
    let text = with_firewall(hook, &keys)
        .with("instance", "web", "security_groups = [\"web\"]")
        .instance("a", "private", A, "security_groups = [\"a\"]")
        .security_group("firewall", from_private)
        .security_group("web", &format!("egress = []\n{from_private}"))
        .security_group("a", "");
    let standing = lab.stand(&text);
    let lab = &standing.lab;
    Server::on(&lab.web).assert_sees(&lab.a, WEB, from(A));
    // The other way round web may send nothing.
    Server::on(&lab.a).assert_sees(&lab.web, A, NOTHING);
    assert!(standing.drops("security_group") >= 3);
}
