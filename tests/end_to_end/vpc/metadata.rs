//! Instance metadata: every instance of every VPC is told about itself, and about nobody else.
use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use nat_tests::{
    netns::{
        Hook, Namespace,
        configuration::Configuration,
        http,
        links::{mac_of, mac_text},
        process::finish,
        raw::Ttls,
        sockets::ANY,
    },
    packets::{PacketBuilder, tcp_flags},
};

use super::{A, B, C, Lab, WEB, WEB_PUBLIC, side_by_side, vpc};
use crate::attempts::{address, try_connect, wait_until};

/// Where they ask.
pub(super) const METADATA: &str = "169.254.169.254";
pub(super) const OWN_IP: &str = "/latest/meta-data/local-ipv4";

/// What `host` is answered: status and body.
fn ask(host: &Namespace, request: &str, headers: &str) -> (u16, String) {
    let answer = http::ask(host, &format!("{METADATA}:80"), request, headers);
    let answer = answer.expect("an answer");
    (answer.status, answer.body)
}

pub(super) fn get(host: &Namespace, path: &str) -> (u16, String) {
    ask(host, &format!("GET {path}"), "")
}

/// A connection comes about within a second and a half.
pub(super) fn connects(host: &Namespace, to: &str) -> bool {
    try_connect(host, ANY, to, Duration::from_millis(1500))
        .0
        .is_ok()
}

pub(super) fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

fn token(host: &Namespace) -> String {
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let (status, token) = ask(host, "PUT /latest/api/token", ttl);
    assert_eq!(status, 200, "{token}");
    token
}

fn get_with(host: &Namespace, token: &str, path: &str) -> (u16, String) {
    let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
    ask(host, &format!("GET {path}"), &header)
}

/// Two VPCs have the same addresses: only the interface says whose a request is.
pub fn imds_tells_instances_of_vpcs_with_the_same_addresses_apart(hook: Hook) {
    let standing = side_by_side::stand(hook);
    let mut tokens = Vec::new();
    for (number, vpc) in standing.lab.vpcs.iter().enumerate() {
        let path = "/latest/meta-data/public-ipv4";
        let public = format!("198.51.100.2{number}");
        assert_eq!(get(&vpc.web, path), ok(&public));
        assert_eq!(get(&vpc.web, OWN_IP), ok(WEB));
        tokens.push(token(&vpc.web));
    }
    for (number, vpc) in standing.lab.vpcs.iter().enumerate() {
        let (own, others) = (&tokens[number], &tokens[1 - number]);
        assert_eq!(get_with(&vpc.web, own, OWN_IP), ok(WEB));
        assert_eq!(get_with(&vpc.web, others, OWN_IP).0, 401);
        // Who is no listed instance is told nothing.
        assert!(!connects(&vpc.a, &format!("{METADATA}:80")));
    }
    let sessions = standing.nat.sessions().expect("sessions");
    assert!(
        sessions.iter().all(|each| each.gateway == "(services)"),
        "{sessions:?}"
    );
}

/// web and a are listed, and nothing lets them do anything else.
pub(super) fn locked(hook: Hook) -> Configuration {
    vpc(hook)
        .security_group("none", "egress = []")
        .network_acl("nothing", &[], &[])
        .with("subnet", "public", "network_acl = \"nothing\"")
        .with("instance", "web", "security_groups = [\"none\"]")
        .instance(
            "a",
            "private",
            A,
            "security_groups = [\"none\"]\ntags = { Name = \"a\" }",
        )
        .routed("private", &[("0.0.0.0/0", "blackhole")])
        .with("subnet", "private", "network_acl = \"nothing\"")
        .with_vpc("strict = true")
}

/// VPC rule: no security group, network ACL or route keeps metadata from an instance.
pub fn imds_can_not_be_blocked(hook: Hook) {
    let standing = Lab::with(hook, &locked(hook));
    let lab = &standing.lab;
    for (host, own) in [(&lab.web, WEB), (&lab.a, A)] {
        assert_eq!(get(host, OWN_IP), ok(own));
        let token = token(host);
        assert_eq!(get_with(host, &token, OWN_IP), ok(own));
        assert!(
            !connects(host, "198.51.100.80:8081"),
            "nothing else is allowed"
        );
        let (from, to) = (format!("{own}:40001"), format!("{METADATA}:80"));
        let explained = standing.nat.finish(["explain", "tcp", &from, &to]);
        let explained = explained.expect("nat explain").success();
        let explained = explained.expect("nat explain");
        assert!(
            explained.contains("no route, ACL or group counts"),
            "{explained}"
        );
    }
}

/// What the internet gateway maps at this moment, also where the connection is older.
pub fn imds_public_ipv4_is_what_the_gateway_maps_now(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let web = &standing.lab.web;
    let path = "/latest/meta-data/public-ipv4";
    assert_eq!(get(web, path), ok(WEB_PUBLIC));
    standing.reload(&vpc(hook).but(WEB_PUBLIC, "198.51.100.25"));
    assert_eq!(get(web, path), ok("198.51.100.25"));
    standing.reload(&vpc(hook).but("public_ip = \"198.51.100.20\"", ""));
    assert_eq!(get(web, path).0, 404);
}

/// A SYN that claims to be another's, from `host`; whether anything of it comes to the service.
fn spoofed(host: &Namespace, source: &str) {
    let syn = PacketBuilder::tcp(
        address(&format!("{source}:40500")),
        address(&format!("{METADATA}:80")),
    )
    .flags(tcp_flags::SYN)
    .build_ip();
    let sender = host.raw_sender().expect("a socket");
    sender.send(&syn).expect("a packet");
}

/// Who claims to be another one is told nothing: by the interface, by the MAC address, by an appliance that may
/// send for others.
pub fn imds_is_not_told_to_who_spoofs(hook: Hook) {
    let lab = Lab::build(hook);
    let keys = |ip: &str| {
        let mac = mac_of(ip.parse().expect("an address"));
        format!("mac = \"{}\"", mac_text(mac))
    };
    let configuration = vpc(hook)
        .instance("a", "private", A, &keys(A))
        .instance("b", "private", B, "")
        .instance(
            "c",
            "beside",
            C,
            &format!("source_dest_check = false\n{}", keys(C)),
        );
    let standing = lab.stand(&configuration);
    let lab = &standing.lab;
    // Of another interface: nobody of ours, whom the host may answer.
    spoofed(&lab.b, WEB);
    spoofed(&lab.web, A);
    for (host, claims) in [
        // Of a neighbour that has a MAC address.
        (&lab.b, A),
        // An appliance, which sends for others.
        (&lab.c, B),
        (&lab.c, "10.20.2.77"),
    ] {
        let before = standing.drops("spoofed_source");
        spoofed(host, claims);
        let what = format!("the packet of {} as {claims}", host.label());
        wait_until(&what, Duration::from_secs(5), || {
            standing.drops("spoofed_source") > before
        });
    }
    let sessions = standing.nat.sessions().expect("sessions");
    assert_eq!(sessions.len(), 0, "{sessions:?}");
    // They are told about themselves all the same.
    for (host, own) in [(&lab.a, A), (&lab.b, B), (&lab.c, C)] {
        assert_eq!(get(host, OWN_IP), ok(own));
    }
}

/// Nobody outside is told anything, or speaks for the service.
pub fn imds_is_not_there_from_outside(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let lab = &standing.lab;
    let services = "169.254.168.1";
    lab.site
        .internet
        .route("169.254.168.0/22", "198.51.100.1")
        .expect("a route");
    for to in [METADATA, services] {
        assert!(!connects(&lab.site.internet, &format!("{to}:80")), "{to}");
    }
    assert!(!connects(&lab.web, &format!("{services}:80")));
    // A forged answer to a request that is open.
    let mut open = lab
        .web
        .connect("10.20.1.10:40600", &format!("{METADATA}:80"))
        .expect("a connection");
    let before = standing.drops("no_session");
    let forged = PacketBuilder::tcp(
        address(&format!("{METADATA}:80")),
        address(&format!("{services}:40600")),
    )
    .flags(tcp_flags::RST)
    .build_ip();
    lab.site
        .internet
        .raw_sender()
        .expect("a socket")
        .send(&forged)
        .expect("a packet");
    wait_until("the packet", Duration::from_secs(5), || {
        standing.drops("no_session") > before
    });
    open.write_all(
        format!("GET {OWN_IP} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .expect("it is open");
    let mut answer = String::new();
    open.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with(WEB), "{answer}");
}

/// The key of tokens is kept, and so are sessions; the service is there again with the controller.
pub fn imds_tokens_hold_across_a_restart(hook: Hook) {
    let mut standing = Lab::with(hook, &vpc(hook));
    let before = token(&standing.lab.web);
    standing.kill_nine();
    standing.start(&[]);
    assert_eq!(get_with(&standing.lab.web, &before, OWN_IP), ok(WEB));
    assert_eq!(standing.terminate(), Some(0));
    standing.start(&[]);
    assert_eq!(get_with(&standing.lab.web, &before, OWN_IP), ok(WEB));
}

/// Nothing is left on the host by a service whose controller is gone, and it can be turned off.
pub fn imds_leaves_no_interface_behind(hook: Hook) {
    let mut standing = Lab::with(hook, &vpc(hook));
    let edge = standing.lab.site.edge.clone();
    let has = || {
        edge.index("nat-services0")
            .or_else(|_| edge.index("nat-services"))
            .is_ok()
    };
    assert!(has());
    standing.kill_nine();
    wait_until("its end", Duration::from_secs(10), || !has());
    standing.configure(
        &vpc(hook)
            .with_node("metadata = false")
            .with_vpc("dns = false"),
    );
    standing.start(&[]);
    assert!(!has());
    assert!(!connects(&standing.lab.web, &format!("{METADATA}:80")));
}

/// The TTL of an answer with a token, as the instance gets it.
pub fn imds_hop_limit_is_the_ttl_of_the_put_response(hook: Hook) {
    let hop_limit =
        |hops| vpc(hook).with("instance", "web", &format!("metadata_hop_limit = {hops}"));
    let standing = Lab::with(hook, &hop_limit(1));
    let web = &standing.lab.web;
    for hops in [1, 2, 64] {
        standing.reload(&hop_limit(hops));
        let capture = Ttls::watch(web).expect("a socket");
        token(web);
        let seen = capture.from(METADATA).expect("packets");
        assert!(seen.contains(&hops), "{hops}: {seen:?}");
        let capture = Ttls::watch(web).expect("a socket");
        assert_eq!(get(web, OWN_IP), ok(WEB));
        let seen = capture.from(METADATA).expect("packets");
        assert!(seen.iter().all(|ttl| *ttl == 64), "{seen:?}");
    }
}

/// AWS's SDK for Python, as its stock clients find their region and look for credentials; of an instance that
/// wants tokens, which it gets by itself.
pub fn imds_a_stock_sdk_learns_its_region(hook: Hook) {
    const ASKS: &str = "
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher
print(InstanceMetadataRegionFetcher(timeout=3, num_attempts=2).retrieve_region())
print(InstanceMetadataFetcher(timeout=3, num_attempts=2).retrieve_iam_role_credentials())";
    let configuration = vpc(hook)
        .with_node("region = \"eu-1\"")
        .with("subnet", "public", "zone = \"eu-1a\"")
        .with("instance", "web", "metadata = \"required\"");
    let standing = Lab::with(hook, &configuration);
    // Debian's own, which has the package.
    let mut command = standing.lab.web.command("/usr/bin/python3");
    command.args(["-c", ASKS]).env_clear();
    let told = finish(&mut command, Duration::from_secs(30)).expect("an end");
    assert_eq!(told.success().expect("the SDK"), "eu-1\n{}\n");
}

/// The machine's own curl, as cloud-init's scripts use it.
pub fn imds_answers_curl(hook: Hook) {
    let standing = Lab::with(hook, &vpc(hook));
    let curl = |arguments: &[&str]| {
        let mut command = standing.lab.web.command("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "5"])
            .args(arguments);
        finish(&mut command, Duration::from_secs(10))
            .expect("curl")
            .success()
            .expect("curl")
    };
    let url = format!("http://{METADATA}{OWN_IP}");
    assert_eq!(curl(&[&url]), WEB);
    let token = curl(&[
        "--request",
        "PUT",
        "--header",
        "X-aws-ec2-metadata-token-ttl-seconds: 60",
        &format!("http://{METADATA}/latest/api/token"),
    ]);
    assert_eq!(
        curl(&[
            "--header",
            &format!("X-aws-ec2-metadata-token: {token}"),
            &url
        ]),
        WEB
    );
}
