//! Two VPCs with the same addresses: each works as if it were alone.
use std::collections::BTreeSet;

use nat_tests::netns::{Connection, Hook, Namespace, Site, sockets::udp_exchange};

use super::{
    A, B, INTERNET, WEB,
    reached::{NOTHING, Server, from},
};
use crate::standing::Standing;

/// One VPC: a host with a public IP, and a private one.
pub(super) struct Vpc {
    pub web: Namespace,
    pub a: Namespace,
}

pub(super) struct Two {
    pub site: Site,
    pub vpcs: [Vpc; 2],
    /// In the second VPC alone.
    pub only: Namespace,
}

impl Two {
    /// The edge has the addresses of its routers itself: its kernel knows the hosts as neighbours, and their packets
    /// may take the short way.
    pub fn with_routers(self) -> Self {
        for (number, device) in DEVICES.iter().enumerate() {
            let router = format!("10.20.{}.1/24", 1 + number % 2);
            self.site.edge.address(device, &router).expect("an address");
        }
        self
    }
}

const DEVICES: [&str; 4] = ["public0", "private0", "public1", "private1"];
const NAT_IPS: [&str; 2] = ["198.51.100.10", "198.51.100.11"];
const WEB_IPS: [&str; 2] = ["198.51.100.20", "198.51.100.21"];

pub(super) fn stand(hook: Hook) -> Standing<Two> {
    let (lab, text) = build(hook, ["", ""]);
    Standing::on(lab.site.edge.clone(), lab, &text)
}

/// The lab, and its configuration with further parts of each VPC.
pub(super) fn build(hook: Hook, parts: [&str; 2]) -> (Two, String) {
    let site = Site::build(hook, &DEVICES).expect("a lab");
    let host = |label: &str, device, address: &str| {
        site.host(label, device, &format!("{address}/24"))
            .expect("a host")
    };
    let vpcs = [0, 1].map(|number| Vpc {
        web: host(&format!("web-{number}"), DEVICES[2 * number], WEB),
        a: host(&format!("a-{number}"), DEVICES[2 * number + 1], A),
    });
    let only = host("only", DEVICES[3], B);
    let mut text = super::vpc(hook)
        .split_once("[[vpc]]")
        .expect("a VPC")
        .0
        .to_owned();
    for number in 0..2 {
        let one = super::vpc(hook);
        let (_, one) = one.split_once("[[vpc]]").expect("a VPC");
        let one = one
            .replace(
                "name = \"main\"",
                &format!("name = \"vpc-{number}\"\nprivate_domain = \"vpc-{number}.test\""),
            )
            .replace("198.51.100.10", NAT_IPS[number])
            .replace("198.51.100.20", WEB_IPS[number])
            .replace("public0", DEVICES[2 * number])
            .replace("private0", DEVICES[2 * number + 1]);
        text += &format!("[[vpc]]{one}\n{}\n", parts[number]);
    }
    (Two { site, vpcs, only }, text)
}

pub fn vpcs_with_the_same_addresses_work_at_once(hook: Hook) {
    let mut standing = stand(hook);
    let lab = &standing.lab;
    let to = "198.51.100.80:8081";
    let listener = lab.site.internet.listen(to).expect("a server");
    let datagrams = lab
        .site
        .internet
        .udp("198.51.100.80:5301")
        .expect("a server");
    let mut held = Vec::new();
    let mut sockets = Vec::new();
    for (number, vpc) in lab.vpcs.iter().enumerate() {
        for (host, own, public) in [
            (&vpc.a, A, NAT_IPS[number]),
            (&vpc.web, WEB, WEB_IPS[number]),
        ] {
            let from = format!("{own}:40001");
            let connection = Connection::open(host, &from, to, &listener).expect("a connection");
            assert_eq!(connection.seen.to_string(), format!("{public}:40001"));
            held.push(connection);
            let socket = host.udp(&from).expect("a socket");
            let seen = udp_exchange(&socket, "198.51.100.80:5301", &datagrams);
            assert_eq!(
                seen.expect("an answer").to_string(),
                format!("{public}:40001")
            );
            sockets.push(socket);
        }
    }
    for connection in &held {
        connection.exchange().expect("with all of them open");
    }
    for socket in &sockets {
        udp_exchange(socket, "198.51.100.80:5301", &datagrams).expect("with all of them open");
    }
    let seen: BTreeSet<_> = standing
        .nat
        .sessions()
        .expect("sessions")
        .iter()
        .map(|session| format!("{} {}", session.vpc, session.line()))
        .collect();
    let expected: BTreeSet<_> = (0..2)
        .flat_map(|number| {
            [("tcp", 8081), ("udp", 5301)].map(|(protocol, port)| {
                format!(
                    "vpc-{number} {protocol} {A}:40001 -> {INTERNET}:{port} as {}:40001",
                    NAT_IPS[number]
                )
            })
        })
        .collect();
    assert_eq!(seen, expected);
    let outside = Server::on(&lab.site.internet);
    for (number, vpc) in lab.vpcs.iter().enumerate() {
        outside.assert_sees(&vpc.a, INTERNET, from(NAT_IPS[number]));
        Server::on(&vpc.web).assert_sees(&lab.site.internet, WEB_IPS[number], from(INTERNET));
    }
    standing.assert_running();
}

pub fn vpcs_with_the_same_addresses_never_meet(hook: Hook) {
    let standing = stand(hook);
    let lab = &standing.lab;
    let [one, two] = &lab.vpcs;
    let webs = [Server::on(&one.web), Server::on(&two.web)];
    let only = Server::on(&lab.only);
    // The same address is another host in each.
    webs[0].assert_sees(&one.a, WEB, from(A));
    webs[1].assert_sees(&two.a, WEB, from(A));
    let asked = lab.vpcs[1].web.udp("0.0.0.0:5302").expect("a socket");
    let socket = one.a.udp("0.0.0.0:0").expect("a socket");
    socket
        .send_to(b"for my own VPC", "10.20.1.10:5302")
        .expect("sending");
    let limit = std::time::Duration::from_millis(700);
    assert_eq!(
        crate::attempts::hears(&asked, b"for my own VPC", limit),
        None
    );
    // An address that the other one alone has is nobody's.
    only.assert_sees(&one.web, B, NOTHING);
    only.assert_sees(&one.a, B, NOTHING);
    only.assert_sees(&two.web, B, from(WEB));
    // From outside nobody is reached by a private address, whatever the route.
    let outside = &lab.site.internet;
    outside
        .route("10.20.0.0/16", "198.51.100.1")
        .expect("a route");
    webs[0].assert_sees(outside, WEB, NOTHING);
    only.assert_sees(outside, B, NOTHING);
    assert!(standing.drops("private_destination") >= 6);
}

/// By public IPs they are the internet to each other.
pub fn vpcs_reach_each_other_as_from_outside(hook: Hook) {
    let standing = stand(hook);
    let [one, two] = &standing.lab.vpcs;
    Server::on(&two.web).assert_sees(&one.a, WEB_IPS[1], from(NAT_IPS[0]));
    Server::on(&two.web).assert_sees(&one.web, WEB_IPS[1], from(WEB_IPS[0]));
    Server::on(&one.web).assert_sees(&two.a, WEB_IPS[0], from(NAT_IPS[1]));
    // Nobody comes in by the other one's NAT gateway.
    Server::on(&two.a).assert_sees(&one.a, NAT_IPS[1], NOTHING);
    Server::on(&two.a).assert_sees(&one.web, NAT_IPS[1], NOTHING);
}
