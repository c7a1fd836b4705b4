//! Gateway endpoints: routes of a prefix list lead to a service, and the source address stays.
use std::{io::ErrorKind, time::Duration};

use nat_tests::{
    netns::{Connection, Hook, Namespace, configuration::Configuration, sockets::udp_exchange},
    packets::PacketBuilder,
};

use super::{
    A, B, INTERNET, INTERNET_TOO, Lab, WEB_PUBLIC,
    reached::{NOTHING, Seen, Server, from, from_one},
    side_by_side::{Two, build},
    vpc,
};
use crate::{
    attempts::{address, hears, wait_until},
    standing::Standing,
};

/// The service is at the first address of the internet host.
const LIST: &str = r#"
  [[vpc.prefix_list]]
  name = "store"
  entries = ["198.51.100.80/32"]
"#;

fn endpoint(policy: &str) -> String {
    format!(
        r#"
  [[vpc.endpoint]]
  name = "store"
  type = "gateway"
  prefix_lists = ["store"]
  {policy}
"#
    )
}

/// No other route leads out of the private subnet.
fn text(hook: Hook, policy: &str) -> Configuration {
    vpc(hook)
        .routed("private", &[("prefix-list:store", "endpoint:store")])
        .and(LIST)
        .and(&endpoint(policy))
}

/// With a service that knows the way back to private addresses.
fn stand(hook: Hook, policy: &str) -> Standing<Lab> {
    let standing = Lab::with(hook, &text(hook, policy));
    know_the_way(&standing.lab.site.internet);
    standing
}

fn know_the_way(service: &Namespace) {
    service
        .route("10.20.0.0/16", "198.51.100.1")
        .expect("a route");
}

/// VPC rule: the source stays the private IP, and neither a NAT gateway nor the internet gateway is used.
pub fn gateway_endpoint_keeps_the_source(hook: Hook) {
    let mut standing = stand(hook, "");
    let lab = &standing.lab;
    let service = Server::on(&lab.site.internet);
    service.assert_sees(&lab.a, INTERNET, from(A));
    service.assert_sees(&lab.b, INTERNET, from(B));
    // Its prefix list is all it leads to.
    service.assert_sees(&lab.a, INTERNET_TOO, NOTHING);
    let sessions = standing.nat.sessions().expect("sessions");
    let by_it = sessions
        .iter()
        .filter(|each| each.gateway == "endpoint:store");
    assert_eq!(by_it.count(), sessions.len(), "{sessions:?}");
    standing.assert_running();
}

/// VPC rule: a gateway endpoint is not reachable from outside the VPC, and lets nothing in that was not asked for.
pub fn gateway_endpoint_lets_nobody_in(hook: Hook) {
    let standing = stand(hook, "");
    let lab = &standing.lab;
    Server::on(&lab.a).assert_sees(&lab.site.internet, A, NOTHING);
    // Not even by the port of a live flow.
    let inside = lab.a.udp("10.20.2.10:40001").expect("a socket");
    let service = lab
        .site
        .internet
        .udp("198.51.100.80:5300")
        .expect("a server");
    inside
        .send_to(b"a question", "198.51.100.80:5300")
        .expect("sending");
    let limit = Duration::from_secs(5);
    let from = hears(&service, b"a question", limit).expect("the question");
    let other = lab
        .site
        .internet
        .udp("198.51.100.80:5301")
        .expect("a socket");
    other.send_to(b"an intruder", from).expect("sending");
    service.send_to(b"the answer", from).expect("sending");
    assert!(hears(&inside, b"the answer", limit).is_some());
    assert_eq!(
        hears(&inside, b"an intruder", Duration::from_millis(500)),
        None
    );
    assert!(standing.drops("private_destination") > 0);
}

/// Two VPCs have the same hosts: the address stays for both, and one of two equal ports does not.
pub fn gateway_endpoint_serves_vpcs_with_the_same_addresses(hook: Hook) {
    let part = format!("{LIST}{}", endpoint(""));
    let (lab, text) = build(hook, [&part, &part]);
    let to_gateway = "[{ destination = \"0.0.0.0/0\", target = \"nat-gateway:egress\" }]";
    let to_endpoint = "[{ destination = \"prefix-list:store\", target = \"endpoint:store\" }]";
    let text = text.replace(to_gateway, to_endpoint);
    let edge = lab.site.edge.clone();
    let standing: Standing<Two> = Standing::on(edge, lab.with_routers(), &text);
    let lab = &standing.lab;
    let service = &lab.site.internet;
    know_the_way(service);
    let to = "198.51.100.80:8081";
    let listener = service.listen(to).expect("a server");
    let (from, mut held, mut seen) = (format!("{A}:40001"), Vec::new(), Vec::new());
    for vpc in &lab.vpcs {
        let connection = Connection::open(&vpc.a, &from, to, &listener).expect("a connection");
        seen.push(connection.seen);
        held.push(connection);
    }
    assert_eq!(seen[0], address(&from));
    assert_eq!(*seen[1].ip(), *seen[0].ip());
    assert_ne!(seen[1].port(), seen[0].port());
    for connection in &held {
        connection.exchange().expect("with both of them open");
    }
    // In turns, so that what is remembered of one is there when the other one's answers come.
    let to = "198.51.100.80:5301";
    let server = service.udp(to).expect("a server");
    let from = format!("{A}:40002");
    let sockets = lab.vpcs.each_ref().map(|vpc| vpc.a.udp(&from));
    let sockets = sockets.map(|socket| socket.expect("a socket"));
    for _ in 0..20 {
        for socket in &sockets {
            udp_exchange(socket, to, &server).expect("an answer to who asked");
        }
    }
}

/// The endpoint's policy says which instances go where: a denial counts more than a leave.
pub fn gateway_endpoint_policy_holds(hook: Hook) {
    let policy = r#"policy = [
        { effect = "allow", instances = ["a"] },
        { effect = "allow", instances = ["b"], destinations = ["198.51.100.0/25"] },
        { effect = "deny", instances = ["b"], destinations = ["198.51.100.80/32"] },
    ]"#;
    let listed = |policy: &str| {
        text(hook, policy)
            .instance("a", "private", A, "")
            .instance("b", "private", B, "")
    };
    let standing = Lab::with(hook, &listed(policy));
    let lab = &standing.lab;
    know_the_way(&lab.site.internet);
    let service = Server::on(&lab.site.internet);
    service.assert_sees(&lab.a, INTERNET, from(A));
    service.assert_sees(&lab.b, INTERNET, NOTHING);
    assert!(standing.drops("endpoint_policy") > 0);
    let denied = policy.replace("effect = \"deny\"", "effect = \"allow\"");
    standing.reload(&listed(&denied));
    service.assert_sees(&lab.b, INTERNET, from(B));
}

/// Who has no source/destination check sends for others of the VPC, and for nobody else; his own leave counts, too.
pub fn gateway_endpoint_takes_sources_of_the_vpc_alone(hook: Hook) {
    let unchecked = "source_dest_check = false\nmac = \"02:00:0a:14:01:0a\"";
    let policy = "policy = [{ effect = \"allow\", instances = [\"a\"] }]";
    let with = |policy: &str| {
        text(hook, policy)
            .with("instance", "web", unchecked)
            .instance("a", "private", A, "")
            .routed(
                "public",
                &[
                    ("prefix-list:store", "endpoint:store"),
                    ("0.0.0.0/0", "internet-gateway"),
                ],
            )
    };
    let standing = Lab::with(hook, &with(""));
    let lab = &standing.lab;
    let service = lab
        .site
        .internet
        .udp("198.51.100.80:5300")
        .expect("a server");
    let sent_as = |source: &str, text: &[u8]| {
        let packet = PacketBuilder::udp(address(source), address("198.51.100.80:5300"));
        let sender = lab.web.raw_sender().expect("a socket");
        sender
            .send(&packet.payload(text).build_ip())
            .expect("sending");
        hears(&service, text, Duration::from_millis(700)).is_some()
    };
    assert!(sent_as("10.20.2.10:40100", b"for another one"));
    assert!(!sent_as("8.8.8.8:40100", b"for a stranger"));
    assert!(standing.drops("spoofed_source") > 0);
    standing.reload(&with(policy));
    assert!(!sent_as("10.20.2.10:40101", b"without leave"));
    assert!(standing.drops("endpoint_policy") > 0);
}

/// A socket inside that is connected to a closed port hears of it.
#[track_caller]
fn assert_refused(client: &Namespace, to: &str) {
    let socket = client.udp("0.0.0.0:0").expect("a socket");
    socket.connect(to).expect("an address");
    wait_until("the error", Duration::from_secs(5), || {
        let sent = socket.send(b"anybody there?");
        std::thread::sleep(Duration::from_millis(50));
        let error = sent
            .err()
            .or_else(|| socket.take_error().expect("a socket"));
        error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

/// RFC 5508: errors about what went by an endpoint come back to whoever sent it, and are about what he sent.
pub fn endpoint_errors_reach_the_sender(hook: Hook) {
    let standing = stand(hook, "");
    assert_refused(&standing.lab.a, "198.51.100.80:5999");
    standing.reload(&front(hook, "nat_gateway = \"egress\""));
    assert_refused(&standing.lab.a, "10.20.3.60:5999");
    standing.reload(&front(hook, ""));
    assert_refused(&standing.lab.a, "10.20.3.60:5999");
}

/// An interface endpoint for an address outside, and no other way out.
fn front(hook: Hook, keys: &str) -> Configuration {
    vpc(hook)
        .routed("private", &[("0.0.0.0/0", "blackhole")])
        .and(&format!(
            r#"
  [[vpc.endpoint]]
  name = "registry"
  type = "interface"
  address = "{INTERNET_TOO}"
  {keys}
  interfaces = [{{ subnet = "beside", private_ip = "10.20.3.60" }}]
  private_dns = ["registry.example.com"]
"#
        ))
}

/// A plain address outside behind an address of a subnet: by a NAT gateway, or with the source kept.
pub fn interface_endpoint_stands_for_an_address_outside(hook: Hook) {
    let standing = Lab::with(hook, &front(hook, "nat_gateway = \"egress\""));
    let lab = &standing.lab;
    know_the_way(&lab.site.internet);
    let server = Server::at(&lab.site.internet, INTERNET_TOO);
    let seen = |source: &str| [from_one(source), from_one(source), Seen::Nothing];
    server.assert_sees(&lab.a, "10.20.3.60", seen(super::NAT));
    server.assert_sees(&lab.c, "10.20.3.60", seen(super::NAT));
    // There is no other way there.
    server.assert_sees(&lab.a, INTERNET_TOO, NOTHING);
    standing.reload(&front(hook, ""));
    server.assert_sees(&lab.a, "10.20.3.60", seen(A));
}

/// An endpoint stands for a public IP of ours, whose instance answers by a hairpin. What answers becomes on its way
/// is nobody's to send: a neighbour that writes it is a spoofer, also while the answers take the short way.
pub fn interface_endpoint_is_spoofed_by_no_neighbour_of_its_target(hook: Hook) {
    let text = front(hook, "nat_gateway = \"egress\"").but(INTERNET_TOO, WEB_PUBLIC);
    let lab = Lab::build(hook);
    // As for the short way.
    for (device, router) in [("public0", "10.20.1.1/24"), ("private0", "10.20.2.1/24")] {
        lab.site.edge.address(device, router).expect("an address");
    }
    let standing: Standing<Lab> = lab.stand(&text);
    let lab = &standing.lab;
    let server = lab.web.udp("0.0.0.0:5301").expect("a server");
    let client = lab.a.udp("10.20.2.10:40001").expect("a socket");
    let spoofer = lab.web.raw_sender().expect("a socket");
    for _ in 0..5 {
        let seen = udp_exchange(&client, "10.20.3.60:5301", &server).expect("an answer");
        assert_eq!(seen.ip().to_string(), super::NAT);
        let from = address(&format!("{WEB_PUBLIC}:5301"));
        let packet = PacketBuilder::udp(from, seen)
            .payload(b"spoofed")
            .build_ip();
        spoofer.send(&packet).expect("a packet");
    }
    let heard = hears(&client, b"spoofed", Duration::from_millis(700));
    assert_eq!(heard, None);
    assert!(standing.drops("spoofed_source") >= 5);
}
