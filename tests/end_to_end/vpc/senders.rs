//! Who may send what from inside: anti-spoofing, MAC addresses of instances, strict VPCs.
use nat_tests::{
    netns::{Hook, Namespace},
    packets::PacketBuilder,
};

use super::{
    A, B, C, INTERNET, Lab, NAT, WEB,
    reached::{NOTHING, Server, from},
    vpc,
};
use crate::{
    attempts::{address, hears},
    standing::Standing,
};

/// Sends a datagram from `host` that claims to be from `source`; whether `server` hears it.
fn claims(host: &Namespace, source: &str, to: &str, server: &std::net::UdpSocket) -> bool {
    let text = format!("from {source} at {}", host.label());
    let packet = PacketBuilder::udp(address(&format!("{source}:40100")), address(to))
        .payload(text.as_bytes())
        .build_ip();
    let sender = host.raw_sender().expect("a socket");
    sender.send(&packet).expect("sending");
    hears(
        server,
        text.as_bytes(),
        std::time::Duration::from_millis(700),
    )
    .is_some()
}

fn drops_of<L>(standing: &Standing<L>, reason: &str, attempt: impl FnOnce()) -> u64 {
    let before = standing.drops(reason);
    attempt();
    standing.drops(reason) - before
}

pub fn a_source_of_another_subnet_is_spoofed(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let outside = lab
        .site
        .internet
        .udp("198.51.100.80:5300")
        .expect("a server");
    let inside = lab.web.udp("10.20.1.10:5300").expect("a server");
    let (to_outside, to_inside) = ("198.51.100.80:5300", "10.20.1.10:5300");
    // A neighbour on its interface may be anybody, as long as nothing ties addresses to hosts.
    assert!(claims(&lab.a, A, to_outside, &outside));
    assert!(claims(&lab.a, B, to_inside, &inside));
    assert!(claims(&lab.a, C, to_inside, &inside));
    for source in [
        "10.20.1.11",
        "10.20.9.9",
        "203.0.113.9",
        "198.51.100.81",
        NAT,
    ] {
        let dropped = drops_of(&standing, "spoofed_source", || {
            assert!(!claims(&lab.a, source, to_outside, &outside), "{source}");
            assert!(!claims(&lab.a, source, to_inside, &inside), "{source}");
        });
        assert_eq!(dropped, 2, "{source}");
    }
}

pub fn nobody_else_sends_from_an_instances_address_and_mac(hook: Hook) {
    let mac = "mac = \"02:00:0a:14:02:0a\"";
    let standing = Lab::with(hook, &vpc(hook).instance("a", "private", A, mac));
    let lab = &standing.lab;
    let inside = lab.web.udp("10.20.1.10:5300").expect("a server");
    assert!(claims(&lab.a, A, "10.20.1.10:5300", &inside));
    let dropped = drops_of(&standing, "spoofed_source", || {
        assert!(!claims(&lab.b, A, "10.20.1.10:5300", &inside));
    });
    assert_eq!(dropped, 1);
    assert!(claims(&lab.b, B, "10.20.1.10:5300", &inside));
}

pub fn a_strict_vpc_serves_listed_instances_alone(hook: Hook) {
    let strict = vpc(hook).with_vpc("strict = true");
    let listed = strict.instance("a", "private", A, "");
    let standing = Lab::with(hook, &listed);
    let lab = &standing.lab;
    let outside = Server::on(&lab.site.internet);
    let web = Server::on(&lab.web);
    outside.assert_sees(&lab.a, INTERNET, from(NAT));
    web.assert_sees(&lab.a, WEB, from(A));
    let dropped = drops_of(&standing, "unlisted_source", || {
        outside.assert_sees(&lab.b, INTERNET, NOTHING);
        web.assert_sees(&lab.b, WEB, NOTHING);
    });
    assert!(dropped >= 6, "{dropped}");
    standing.reload(&listed.instance("b", "private", B, ""));
    outside.assert_sees(&lab.b, INTERNET, from(NAT));
    web.assert_sees(&lab.b, WEB, from(B));
}
