//! The client that people use.

use std::net::SocketAddr;

use tokio::process::Command;

use super::{
    server::{NOBODY, Server, WEB, no_way},
    upstream::{Upstream, answer, bytes},
};
use crate::resolver::{forward::Way, server::Limits};

/// What `dig` prints.
async fn dig(from: u8, server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["-b", &format!("127.0.0.{from}")])
        .args(["+tries=1", "+time=5"])
        .args(arguments)
        .output()
        .await
        .expect("dig, of the package bind9-dnsutils");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_understands_what_it_is_told() {
    let upstream = Upstream::new(|got| vec![bytes(&answer(got, 2))]).await;
    let way = Way {
        port: upstream.port,
        ..no_way()
    };
    let server = Server::with(Limits::default(), way).await;
    for (address, by) in [(server.udp, "+notcp"), (server.tcp, "+tcp")] {
        let short = async |arguments: &[&str]| {
            let all = [&[by, "+short"], arguments].concat();
            dig(WEB, address, &all).await
        };
        assert_eq!(short(&["web.internal"]).await, "10.20.1.10\n");
        assert_eq!(
            short(&["-x", "10.20.1.10"]).await,
            "ip-10-20-1-10.internal.\n"
        );
        assert_eq!(short(&["+norecurse", "web.internal"]).await, "10.20.1.10\n");
        let forwarded = short(&["www.example.com"]).await;
        assert_eq!(forwarded, "198.51.100.0\n198.51.100.1\n");
        let all = dig(WEB, address, &[by, "nope.internal"]).await;
        assert!(
            all.contains("status: NXDOMAIN") && all.contains("flags: qr aa rd ra;"),
            "{all}"
        );
        assert!(
            all.contains("\tSOA\tinternal. internal. 1 3600 600 86400 60"),
            "{all}"
        );
        assert!(all.contains("EDNS: version: 0, flags:; udp: 1232"), "{all}");
        assert!(!all.contains("WARNING"), "{all}");
        let refused = dig(NOBODY, address, &[by, "web.internal"]).await;
        assert!(refused.contains("status: REFUSED"), "{refused}");
        let version = dig(WEB, address, &[by, "+edns=1", "+noednsneg", "web.internal"]).await;
        assert!(version.contains("status: BADVERS"), "{version}");
    }
}
