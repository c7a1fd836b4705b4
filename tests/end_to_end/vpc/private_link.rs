//! Endpoint services: consumers in one VPC, a load balancer and its targets in another one with the same addresses.
use std::{collections::BTreeSet, net::Ipv4Addr, thread, time::Duration};

use nat_tests::netns::{
    Hook, Namespace,
    process::finish,
    sockets::{ANY, accept, udp_exchange},
};

use super::{
    A, B,
    reached::{NOTHING, Seen, Server, from_one},
    side_by_side::{Two, build},
};
use crate::{
    attempts::{hears, try_connect, wait_until},
    standing::Standing,
};

/// The endpoint's address in the consumer's VPC, and the load balancer's in the provider's.
pub(super) const ENDPOINT: &str = "10.20.3.60";
pub(super) const NODE: &str = "10.20.3.50";

/// The consumer is VPC 0, the provider VPC 1.
fn parts(targets: &[&str], service: &str) -> [String; 2] {
    let consumer = format!(
        r#"
  [[vpc.endpoint]]
  name = "db"
  type = "interface"
  service = "vpc-1/db"
  interfaces = [{{ subnet = "beside", private_ip = "{ENDPOINT}" }}]
"#
    );
    let provider = format!(
        r#"
  [[vpc.instance]]
  name = "first"
  subnet = "private"
  private_ip = "{A}"

  [[vpc.instance]]
  name = "second"
  subnet = "private"
  private_ip = "{B}"

  [[vpc.target_group]]
  name = "tcp"
  protocol = "tcp"
  port = 8080
  targets = {targets:?}
  deregistration_delay = 1

  [[vpc.target_group]]
  name = "udp"
  protocol = "udp"
  port = 5300
  targets = {targets:?}
  health_check = {{ port = 8080 }}

  [[vpc.load_balancer]]
  name = "db"
  subnet = "beside"
  private_ip = "{NODE}"
  listeners = [
    {{ protocol = "tcp", port = 8080, target_group = "tcp" }},
    {{ protocol = "udp", port = 5300, target_group = "udp" }},
  ]

  [[vpc.endpoint_service]]
  name = "db"
  load_balancer = "db"
  {service}
"#
    );
    [consumer, provider]
}

pub(super) const OPEN: &str = "acceptance_required = false";

pub(super) fn texts(hook: Hook, targets: &[&str], service: &str) -> (Two, String) {
    let [consumer, provider] = parts(targets, service);
    build(hook, [&consumer, &provider])
}

fn stand(hook: Hook, targets: &[&str], service: &str) -> Standing<Two> {
    let (lab, text) = texts(hook, targets, service);
    Standing::on(lab.site.edge.clone(), lab, &text)
}

/// What the same lab has by another configuration.
fn text(hook: Hook, targets: &[&str], service: &str) -> String {
    texts(hook, targets, service).1
}

/// By TCP and UDP from the load balancer; a ping is nobody's.
pub(super) fn by_node() -> [Seen; 3] {
    [from_one(NODE), from_one(NODE), Seen::Nothing]
}

/// AWS PrivateLink: the provider sees the load balancer's private IP, whatever addresses the consumer has.
pub fn private_link_connects_vpcs_with_the_same_addresses(hook: Hook) {
    let mut standing = stand(hook, &["first"], OPEN);
    let [consumer, provider] = &standing.lab.vpcs;
    let server = Server::on(&provider.a);
    server.assert_sees(&consumer.a, ENDPOINT, by_node());
    server.assert_sees(&consumer.web, ENDPOINT, by_node());
    // In the provider's own VPC the load balancer is asked itself.
    server.assert_sees(&provider.web, NODE, by_node());
    // The endpoint is the consumer's alone, and so is the load balancer the provider's.
    server.assert_sees(&provider.web, ENDPOINT, NOTHING);
    server.assert_sees(&consumer.web, NODE, NOTHING);
    let sessions = standing.nat.sessions().expect("sessions");
    // What checks the targets is not the consumers'.
    let of_endpoint = sessions.iter().filter(|each| each.gateway == "endpoint:db");
    assert_eq!(of_endpoint.count(), 4, "{sessions:?}");
    standing.assert_running();
}

/// Two hosts with one address ask the same target, one by an endpoint and one in the provider's own VPC: each gets
/// its own answers, also while both ask.
pub fn private_link_answers_go_to_the_vpc_that_asked(hook: Hook) {
    let (lab, text) = texts(hook, &["first"], OPEN);
    let mut standing: Standing<Two> =
        Standing::on(lab.site.edge.clone(), lab.with_routers(), &text);
    let [consumer, provider] = &standing.lab.vpcs;
    let server = provider.a.udp("0.0.0.0:5300").expect("a socket");
    let ask = [(&consumer.web, ENDPOINT), (&provider.web, NODE)];
    let ask = ask.map(|(host, to)| (host.udp(ANY).expect("a socket"), format!("{to}:5300")));
    for _ in 0..20 {
        for (client, to) in &ask {
            let seen = udp_exchange(client, to, &server).expect("an answer");
            assert_eq!(seen.ip().to_string(), NODE);
        }
    }
    standing.assert_running();
}

/// Nobody but the consumer opens anything: the provider's hosts reach nobody by it.
pub fn private_link_is_opened_by_the_consumer_alone(hook: Hook) {
    let standing = stand(hook, &["first"], OPEN);
    let [consumer, provider] = &standing.lab.vpcs;
    let server = Server::on(&consumer.a);
    let to = format!("{NODE}:5301");
    let asked = consumer.a.udp("0.0.0.0:5301").expect("a socket");
    let socket = provider.a.udp("0.0.0.0:5300").expect("a socket");
    socket.send_to(b"unasked", &to).expect("sending");
    assert_eq!(hears(&asked, b"unasked", Duration::from_millis(700)), None);
    server.assert_sees(&provider.a, ENDPOINT, NOTHING);
    assert!(standing.drops("no_listener") > 0);
}

/// Pending endpoints carry nothing; accepted ones do; rejected ones no longer.
pub fn private_link_waits_until_it_is_accepted(hook: Hook) {
    let standing = stand(hook, &["first"], "");
    let [consumer, provider] = &standing.lab.vpcs;
    let server = Server::on(&provider.a);
    server.assert_sees(&consumer.a, ENDPOINT, NOTHING);
    standing.reload(&text(hook, &["first"], "accepted = [\"vpc-0/db\"]"));
    server.assert_sees(&consumer.a, ENDPOINT, by_node());
    drop(server);
    let answering = provider.a.udp("0.0.0.0:5300").expect("a server");
    let asking = consumer.a.udp("0.0.0.0:40002").expect("a socket");
    let (to, limit) = (format!("{ENDPOINT}:5300"), Duration::from_secs(5));
    asking.send_to(b"a question", &to).expect("sending");
    let from = hears(&answering, b"a question", limit).expect("the question");
    answering.send_to(b"an answer", from).expect("sending");
    assert!(hears(&asking, b"an answer", limit).is_some());
    standing.reload(&text(hook, &["first"], "rejected = [\"vpc-0/db\"]"));
    // Neither side sends to the other any more.
    answering.send_to(b"another one", from).expect("sending");
    assert_eq!(
        hears(&asking, b"another one", Duration::from_millis(700)),
        None
    );
    drop(answering);
    Server::on(&provider.a).assert_sees(&consumer.a, ENDPOINT, NOTHING);
}

/// A host that says its name to whoever connects to port 8080, and keeps the connection.
fn name(host: &Namespace, name: &'static str) {
    use std::io::{Read as _, Write as _};
    let listener = host.listen("0.0.0.0:8080").expect("a server");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut byte = [0; 1];
                while stream.read_exact(&mut byte).is_ok() {
                    if stream.write_all(name.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// One client's connection, which names its target when it is asked.
struct Asked(std::net::TcpStream);

impl Asked {
    fn open(client: &Namespace) -> Self {
        let to = format!("{ENDPOINT}:8080");
        let limit = Duration::from_secs(5);
        let stream = try_connect(client, ANY, &to, limit).0;
        Self(stream.expect("a connection"))
    }

    fn target(&mut self) -> Option<u8> {
        use std::io::{Read as _, Write as _};
        let limit = Some(Duration::from_secs(5));
        self.0.set_read_timeout(limit).expect("a time-out");
        let mut byte = [0; 1];
        self.0.write_all(b"?").ok()?;
        self.0.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }
}

/// Flows are shared out; those that are there keep their target when another one comes or goes, and a target that
/// was deregistered serves its flows for the delay.
pub fn private_link_flows_keep_their_target(hook: Hook) {
    let standing = stand(hook, &["first", "second"], OPEN);
    let lab = &standing.lab;
    let [consumer, provider] = &lab.vpcs;
    name(&provider.a, "1");
    name(&lab.only, "2");
    let mut held: Vec<Asked> = (0..24).map(|_| Asked::open(&consumer.a)).collect();
    let before: Vec<_> = held.iter_mut().map(Asked::target).collect();
    let seen: BTreeSet<_> = before.iter().flatten().collect();
    assert_eq!(seen.len(), 2, "{before:?}");
    // Deregistered with a long delay.
    let longer = |targets: &[&str]| {
        text(hook, targets, OPEN).replace("deregistration_delay = 1", "deregistration_delay = 60")
    };
    standing.reload(&longer(&["first"]));
    let after: Vec<_> = held.iter_mut().map(Asked::target).collect();
    assert_eq!(after, before);
    for _ in 0..8 {
        assert_eq!(Asked::open(&consumer.a).target(), Some(b'1'));
    }
    standing.reload(&longer(&["first", "second"]));
    let after: Vec<_> = held.iter_mut().map(Asked::target).collect();
    assert_eq!(after, before);
    // And with none: what is the target's no longer ends.
    let none = text(hook, &["first"], OPEN);
    standing.reload(&none.replace("deregistration_delay = 1", "deregistration_delay = 0"));
    let of_second = before.iter().position(|target| *target == Some(b'2'));
    let left = &mut held[of_second.expect("one of the second")];
    left.0
        .set_read_timeout(Some(Duration::from_millis(900)))
        .expect("a time-out");
    assert_eq!(left.target(), None);
    let of_first = before.iter().position(|target| *target == Some(b'1'));
    assert_eq!(
        held[of_first.expect("one of the first")].target(),
        Some(b'1')
    );
}

/// A target dies: new connections avoid it after the health check, and it gets some again when it is back.
pub fn private_link_avoids_a_target_that_is_dead(hook: Hook) {
    let (lab, text) = texts(hook, &["first", "second"], OPEN);
    let check = "health_check = { interval = 1, timeout = 1, unhealthy_threshold = 2, healthy_threshold = 2 }";
    let text = text.replace(
        "deregistration_delay = 1",
        &format!("deregistration_delay = 1\n  {check}"),
    );
    let standing = Standing::on(lab.site.edge.clone(), lab, &text);
    let lab = &standing.lab;
    let [consumer, provider] = &lab.vpcs;
    name(&provider.a, "1");
    // One that ends with its process would be noticed by a RST; this one says nothing any more.
    name(&lab.only, "2");
    let connects_to = |wanted: &[u8]| {
        let targets = (0..12).map(|_| Asked::open(&consumer.a).target());
        let seen: BTreeSet<_> = targets.flatten().collect();
        seen == wanted.iter().copied().collect()
    };
    assert!(connects_to(b"12"));
    let mut held: Vec<_> = (0..8).map(|_| Asked::open(&consumer.a)).collect();
    let before: Vec<_> = held.iter_mut().map(Asked::target).collect();
    let drop_all =
        "add table ip off; add chain ip off in { type filter hook input priority 0; policy drop; }";
    let nft = |rules: &str| {
        let limit = Duration::from_secs(10);
        let nft = finish(lab.only.command("nft").arg(rules), limit);
        nft.expect("nft").success().expect("rules");
    };
    nft(drop_all);
    // Two checks of a second each, and what the machine takes.
    let says = |what: &str| {
        let controller = standing.controller.as_ref().expect("a controller");
        controller.said().contains(what)
    };
    wait_until(
        "the target to be unhealthy",
        Duration::from_secs(30),
        || says("vpc-1/tcp/10.20.2.11 is unhealthy"),
    );
    assert!(connects_to(b"1"));
    nft("delete table ip off");
    wait_until("the target to be healthy", Duration::from_secs(30), || {
        says("vpc-1/tcp/10.20.2.11 is healthy again")
    });
    assert!(connects_to(b"12"));
    // Those that were there go on, each to its own.
    let after: Vec<_> = held.iter_mut().map(Asked::target).collect();
    assert_eq!(after, before);
}

/// PROXY protocol v2, where asked for: the target is told the consumer's own address and its endpoint, and then gets
/// what he says. TLV 0xEA, subtype 1, as on AWS.
pub fn private_link_tells_targets_who_it_is_by_proxy_protocol(hook: Hook) {
    use std::io::{Read as _, Write as _};
    let (lab, text) = texts(hook, &["first"], OPEN);
    let text = text.replacen(
        "deregistration_delay = 1",
        "deregistration_delay = 1\n  proxy_protocol_v2 = true",
        1,
    );
    let standing = Standing::on(lab.site.edge.clone(), lab, &text);
    let [consumer, provider] = &standing.lab.vpcs;
    let listener = provider.a.listen("0.0.0.0:8080").expect("a server");
    for (client, own) in [(&consumer.a, A), (&consumer.web, super::WEB)] {
        let from = format!("{own}:40001");
        let mut stream = client
            .connect(&from, &format!("{ENDPOINT}:8080"))
            .expect("a connection");
        stream.write_all(b"and then this").expect("writing");
        let mut server = loop {
            let (mut server, seen) = accept(&listener).expect("a connection");
            assert_eq!(seen.ip().to_string(), NODE);
            // The health check says nothing.
            let mut first = [0; 1];
            if matches!(server.peek(&mut first), Ok(1)) {
                break server;
            }
            let _ = server.read(&mut first);
        };
        let limit = Some(Duration::from_secs(5));
        server.set_read_timeout(limit).expect("a time-out");
        let mut header = [0; 16];
        server.read_exact(&mut header).expect("a header");
        assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
        assert_eq!(header[12..14], [0x21, 0x11]);
        let length = u16::from_be_bytes([header[14], header[15]]);
        let mut rest = vec![0; length.into()];
        server.read_exact(&mut rest).expect("a header");
        let own: Ipv4Addr = own.parse().expect("an address");
        let mut expected = own.octets().to_vec();
        expected.extend([10, 20, 3, 60]);
        expected.extend(40001_u16.to_be_bytes());
        expected.extend(8080_u16.to_be_bytes());
        assert_eq!(rest[..12], expected);
        let name = b"\x01vpc-0/db";
        let tlv = [&[0xea, 0, name.len() as u8][..], name].concat();
        assert!(rest.windows(tlv.len()).any(|part| part == tlv), "{rest:?}");
        let mut said = [0; 13];
        server.read_exact(&mut said).expect("what he says");
        assert_eq!(&said, b"and then this");
        server.write_all(b"an answer").expect("writing");
        let mut answer = [0; 9];
        stream.set_read_timeout(limit).expect("a time-out");
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"an answer");
    }
}

/// Datagrams in pieces, both ways and of many clients.
pub fn private_link_carries_fragments(hook: Hook) {
    let standing = stand(hook, &["first"], OPEN);
    let [consumer, provider] = &standing.lab.vpcs;
    let server = provider.a.udp("0.0.0.0:5300").expect("a server");
    let to = format!("{ENDPOINT}:5300");
    let limit = Duration::from_secs(5);
    for (client, letter) in [(&consumer.a, b'a'), (&consumer.web, b'w')] {
        let socket = client.udp("0.0.0.0:40001").expect("a socket");
        let long = vec![letter; 1900];
        socket.send_to(&long, &to).expect("sending");
        let seen = hears(&server, &long, limit).expect("the datagram");
        assert_eq!(seen.ip().to_string(), NODE);
        server.send_to(&long, seen).expect("sending");
        let answered = hears(&socket, &long, limit).expect("the answer");
        assert_eq!(answered.to_string(), to);
    }
}

/// Groups of the consumer, the endpoint and the target each have their say.
pub fn private_link_asks_the_groups_of_both_vpcs(hook: Hook) {
    let (lab, text) = texts(hook, &["first"], OPEN);
    let with = |consumer: &str, endpoint: &str, target: &str| {
        let groups = |name: &str, rules: &str| {
            format!("\n  [[vpc.security_group]]\n  name = \"{name}\"\n  {rules}\n")
        };
        let at_endpoint = "service = \"vpc-1/db\"\n  security_groups = [\"endpoint\"]";
        let at_first = "name = \"first\"\n  security_groups = [\"target\"]";
        let at_a = format!(
            "\n  [[vpc.instance]]\n  name = \"a\"\n  subnet = \"private\"\n  private_ip = \"{A}\"\n  \
             security_groups = [\"consumer\"]\n"
        );
        text.replace("service = \"vpc-1/db\"", at_endpoint)
            .replace("name = \"first\"", at_first)
            .replace(
                "  [[vpc.endpoint]]",
                &format!(
                    "{}{}{at_a}\n  [[vpc.endpoint]]",
                    groups("endpoint", endpoint),
                    groups("consumer", consumer)
                ),
            )
            .replace(
                "  [[vpc.target_group]]\n  name = \"tcp\"",
                &format!(
                    "{}\n  [[vpc.target_group]]\n  name = \"tcp\"",
                    groups("target", target)
                ),
            )
    };
    let all_out = "";
    let from_consumer = "ingress = [{ protocol = \"tcp\", ports = \"8080\", source = \"security-group:consumer\" }]";
    let from_node =
        "ingress = [{ protocol = \"tcp\", ports = \"8080\", source = \"10.20.3.50/32\" }]";
    let allowed = with(all_out, from_consumer, from_node);
    let standing = Standing::on(lab.site.edge.clone(), lab, &allowed);
    let [consumer, provider] = &standing.lab.vpcs;
    let server = Server::on(&provider.a);
    let tcp_only = [from_one(NODE), Seen::Nothing, Seen::Nothing];
    server.assert_sees(&consumer.a, ENDPOINT, tcp_only);
    // web is in no group, which is what the endpoint's rule is about.
    server.assert_sees(&consumer.web, ENDPOINT, NOTHING);
    for refusing in [
        with("egress = []", from_consumer, from_node),
        with(all_out, "", from_node),
        with(all_out, from_consumer, ""),
    ] {
        standing.reload(&refusing);
        server.assert_sees(&consumer.a, ENDPOINT, NOTHING);
        standing.reload(&allowed);
        server.assert_sees(&consumer.a, ENDPOINT, tcp_only);
    }
    assert!(standing.drops("security_group") > 0);
}

/// `nat explain` says the way through both VPCs.
pub fn private_link_is_explained(hook: Hook) {
    let standing = stand(hook, &["first"], OPEN);
    let to = format!("{ENDPOINT}:8080");
    let explained = standing
        .nat
        .finish([
            "explain",
            "tcp",
            &format!("{A}:40001"),
            &to,
            "--vpc",
            "vpc-0",
        ])
        .expect("nat explain")
        .success()
        .expect("nat explain");
    for expected in [
        "endpoint db offers",
        &format!("the target {A}, port 8080"),
        NODE,
    ] {
        assert!(explained.contains(expected), "{expected} in\n{explained}");
    }
}
