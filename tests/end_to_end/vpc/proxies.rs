//! Transparent proxies: what leaves the VPC goes to an instance first, which sees the original destination.
use std::{net::TcpListener, time::Duration};

use nat_tests::netns::{
    Hook, Namespace, configuration::Configuration, process::finish, sockets::ANY,
};
use nix::sys::socket::{getsockopt, sockopt::OriginalDst};

use super::{A, Lab, NAT, appliances, vpc};
use crate::{
    attempts::{try_connect, wait_until},
    standing::Standing,
};

const MAC: &str = "02:00:0a:14:03:1e";
const PROXY: &str = "10.20.3.30";
const WEB_PORT: &str = "198.51.100.80:8080";

fn text(hook: Hook, keys: &str) -> Configuration {
    let unchecked = format!("source_dest_check = false\nmac = \"{MAC}\"");
    vpc(hook)
        .instance("proxy", "beside", PROXY, &unchecked)
        .and(&format!(
            r#"
  [[vpc.proxy]]
  name = "web"
  instance = "proxy"
  ports = [8080]
  health_check = {{ port = 3128, interval = 1, timeout = 1, unhealthy_threshold = 2, healthy_threshold = 2 }}
  {keys}
"#
        ))
}

/// The proxy's host takes to itself what passes to port 8080, as squid's intercepting port is mostly fed.
fn proxy(lab: &Lab) -> (Namespace, TcpListener, TcpListener) {
    let address = format!("{PROXY}/24");
    let host = appliances::forwarder(lab, "proxy", "private0", &address);
    nft(
        &host,
        "add table ip nat; \
         add chain ip nat in { type nat hook prerouting priority -100; }; \
         add rule ip nat in tcp dport 8080 redirect to :3129",
    );
    let intercepting = host.listen("0.0.0.0:3129").expect("a listener");
    let plain = host.listen("0.0.0.0:3128").expect("a listener");
    (host, intercepting, plain)
}

fn nft(host: &Namespace, rules: &str) {
    let ran = finish(host.command("nft").arg(rules), Duration::from_secs(10));
    ran.expect("nft").success().expect("rules");
}

fn connects(client: &Namespace, to: &str) -> bool {
    try_connect(client, ANY, to, Duration::from_millis(1500))
        .0
        .is_ok()
}

/// Who was seen by this listener within a moment, and whom he meant.
fn seen(listener: &TcpListener) -> Option<(String, String)> {
    listener.set_nonblocking(true).expect("a listener");
    let mut found = None;
    wait_until("a connection", Duration::from_secs(5), || {
        found = listener.accept().ok();
        found.is_some()
    });
    let (stream, peer) = found?;
    let meant = getsockopt(&stream, OriginalDst).expect("a destination");
    let address = std::net::Ipv4Addr::from(u32::from_be(meant.sin_addr.s_addr));
    let port = u16::from_be(meant.sin_port);
    Some((peer.ip().to_string(), format!("{address}:{port}")))
}

/// VPC rule: the original destination is kept, and the proxy's own traffic is not looped.
pub fn proxy_gets_what_leaves_the_vpc(hook: Hook) {
    let lab = Lab::build(hook);
    let (host, intercepting, _plain) = proxy(&lab);
    let mut standing = lab.stand(&text(hook, ""));
    let lab = &standing.lab;
    let outside = lab.site.internet.listen(WEB_PORT).expect("a server");
    let other = lab
        .site
        .internet
        .listen("198.51.100.80:8081")
        .expect("a server");
    assert!(connects(&lab.a, WEB_PORT));
    let expected = (A.to_owned(), WEB_PORT.to_owned());
    assert_eq!(seen(&intercepting), Some(expected));
    // From the public subnet, too, whose way out is 1:1.
    assert!(connects(&lab.web, WEB_PORT));
    let expected = (super::WEB.to_owned(), WEB_PORT.to_owned());
    assert_eq!(seen(&intercepting), Some(expected));
    // It goes out itself.
    assert!(connects(&host, WEB_PORT));
    let (_, peer) = nat_tests::netns::sockets::accept(&outside).expect("a connection");
    assert_eq!(peer.ip().to_string(), NAT);
    let explain = |source: &str| {
        let source = format!("{source}:40001");
        let explained = standing.nat.finish(["explain", "tcp", &source, WEB_PORT]);
        let explained = explained.expect("nat explain").success();
        explained.expect("nat explain")
    };
    const STEP: &str = "its subnet sends this port to the proxy 10.20.3.30 first";
    assert!(explain(A).contains(STEP), "{}", explain(A));
    assert!(!explain("10.20.3.30").contains(STEP));
    // Other ports, other protocols and the VPC itself take their own ways.
    assert!(connects(&lab.a, "198.51.100.80:8081"));
    let (_, peer) = nat_tests::netns::sockets::accept(&other).expect("a connection");
    assert_eq!(peer.ip().to_string(), NAT);
    let web = lab.web.listen("10.20.1.10:8080").expect("a server");
    assert!(connects(&lab.a, "10.20.1.10:8080"));
    let (_, peer) = nat_tests::netns::sockets::accept(&web).expect("a connection");
    assert_eq!(peer.ip().to_string(), A);
    standing.assert_running();
}

/// The proxy is gone: with fail-closed nothing gets around it, with fail-open new connections do.
pub fn proxy_that_is_down_fails_closed_or_open(hook: Hook) {
    let lab = Lab::build(hook);
    let (host, intercepting, _plain) = proxy(&lab);
    let standing: Standing<Lab> = lab.stand(&text(hook, ""));
    let lab = &standing.lab;
    let outside = lab.site.internet.listen(WEB_PORT).expect("a server");
    assert!(connects(&lab.a, WEB_PORT));
    seen(&intercepting).expect("a connection");
    let says = |what: &'static str| {
        wait_until(what, Duration::from_secs(30), || {
            let controller = standing.controller.as_ref().expect("a controller");
            controller.said().contains(what)
        });
    };
    let drop_all =
        "add table ip off; add chain ip off in { type filter hook input priority 0; policy drop; }";
    nft(&host, drop_all);
    says("main/proxy:web/10.20.3.30 is unhealthy");
    assert!(!connects(&lab.a, WEB_PORT));
    assert!(standing.drops("no_target") > 0);
    let explained = standing
        .nat
        .finish(["explain", "tcp", &format!("{A}:40001"), WEB_PORT]);
    let explained = explained.expect("nat explain").words();
    let step = "to the proxy 10.20.3.30, which is down";
    assert!(explained.contains(step), "{explained}");
    // What it needs itself is not kept from it: it may be why it is down.
    nft(&host, "add rule ip off in ct state established accept");
    assert!(connects(&host, WEB_PORT));
    nat_tests::netns::sockets::accept(&outside).expect("a connection");
    standing.reload(&text(hook, "on_failure = \"open\""));
    assert!(connects(&lab.a, WEB_PORT));
    let (_, peer) = nat_tests::netns::sockets::accept(&outside).expect("a connection");
    assert_eq!(peer.ip().to_string(), NAT);
    nft(&host, "delete table ip off");
    says("main/proxy:web/10.20.3.30 is healthy again");
    assert!(connects(&lab.a, WEB_PORT));
    seen(&intercepting).expect("a connection");
}
