//! A proxy: squid on an instance, which hosts name themselves, and which the dataplane leads the others' connections
//! to. It sees their original destination, and when it is gone they are dropped, or pass it by.
use std::time::Duration;

use anyhow::Result;

use super::{Picture, Stage};
use crate::netns::{
    Connection, Hook, Namespace, Report, Running, Site, Squid, WebServer,
    configuration::{Configuration, put},
    links::{mac_of, mac_text},
    process::finish,
    sockets::seen,
    squid,
    web_client::{NO_ANSWER, get, get_by, no_answer},
};

pub const PICTURE: Picture = Picture {
    name: "proxy",
    title: "squid in a VPC, named by its clients and put in their way, which fails closed or open",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &["squid", "nginx", "curl", "nft"],
    run,
};

const DIAGRAM: &str = "
      site 198.51.100.90 (nginx)           internet 198.51.100.80, 198.51.100.81
                  |                                     |
                  +------------------+------------------+
                                     | uplink 198.51.100.1
                    +----------------+-----------------+
                    |    NAT gateway egress            |
                    |    198.51.100.10 (10.20.1.100)   |
                    +----------------+-----------------+
                                     |
 VPC main  10.20.0.0/16              |
+------------------------------------+------------------------------------+
| private subnet 10.20.2.0/24        |  0.0.0.0/0 -> nat-gateway:egress   |
|                                    |                                    |
|   app 10.20.2.11 -- port 80 -------+          others: straight out      |
|       (curl)            |                                               |
|                         v                                               |
|             squid 10.20.2.30, source/destination check: off             |
|             +----------------------------------------------+            |
|             | :3128 as a proxy  <- curl --proxy            |            |
|             | :3129 intercepts  <- nft: port 80, redirect  |            |
|             +----------------------------------------------+            |
+-------------------------------------------------------------------------+
 on_failure: closed, then open
";

const SQUID: &str = "10.20.2.30";
const PAGE: &str = "http://198.51.100.90";
/// Two checks of a second each, and what a busy machine takes.
const CHECKED: Duration = Duration::from_secs(40);

/// Without the proxy at first, so that nothing is led to it that does not name it.
fn without_proxy(hook: Hook) -> Configuration {
    let mac = mac_text(mac_of([10, 20, 2, 30].into()));
    let unchecked = format!("source_dest_check = false\nmac = \"{mac}\"");
    let by_table = |name| format!("route_table = \"{name}\"");
    let public_ips = "public_ips = [\"198.51.100.10\"]";
    Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet("public", "10.20.1.0/24", "public0", &by_table("public"))
        .subnet("private", "10.20.2.0/24", "private0", &by_table("private"))
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .route_table("private", &[("0.0.0.0/0", "nat-gateway:egress")])
        .nat_gateway("egress", "public", "10.20.1.100", public_ips)
        .instance("app", "private", "10.20.2.11", "")
        .instance("squid", "private", SQUID, &unchecked)
}

fn with_proxy(hook: Hook, on_failure: &str) -> Configuration {
    let check = "interval = 1, timeout = 1, unhealthy_threshold = 2, healthy_threshold = 2";
    without_proxy(hook).proxy(
        "web",
        &format!(
            "instance = \"squid\"
            ports = [80]
            on_failure = \"{on_failure}\"
            health_check = {{ port = {}, {check} }}",
            squid::PORT
        ),
    )
}

struct Lab {
    site: Site,
    app: Namespace,
    squid: Namespace,
    outside: Namespace,
}

impl Lab {
    fn build(hook: Hook) -> Result<Self> {
        let site = Site::build(hook, &["public0", "private0"])?;
        let squid = site.host("squid", "private0", "10.20.2.30/24")?;
        // What passes to port 80 is squid's: it is not for any address of the instance.
        let rules = format!(
            "add table ip nat
            add chain ip nat in {{ type nat hook prerouting priority dstnat; }}
            add rule ip nat in tcp dport 80 redirect to :{}",
            squid::INTERCEPT_PORT
        );
        finish(squid.command("nft").arg(rules), Duration::from_secs(10))?.success()?;
        Ok(Self {
            app: site.host("app", "private0", "10.20.2.11/24")?,
            outside: site.service("site", "198.51.100.90/24")?,
            squid,
            site,
        })
    }
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let hook = stage.hook;
    let lab = Lab::build(hook)?;
    let file = put(&lab.site.edge, &without_proxy(hook))?;
    let edge = stage.start((&lab.site.edge, "the edge"), &["run", "--config", file])?;
    let server = WebServer::start(&lab.outside)?;
    let squid = Squid::start(&lab.squid)?;

    is_named(stage.report, &lab, &squid, &server);
    put(&lab.site.edge, &with_proxy(hook, "closed"))?;
    edge.apply(file, "the edge takes a file with the proxy", stage.report);
    is_in_the_way(stage.report, &lab, &squid, &server)?;
    let asked: &[&str] = &[
        "instances",
        "sessions",
        "explain tcp 10.20.2.11:41000 198.51.100.90:80",
        "explain tcp 10.20.2.30:41000 198.51.100.90:80",
    ];
    let nodes = [
        &lab.site.edge,
        &lab.app,
        &lab.squid,
        &lab.outside,
        &lab.site.internet,
    ];
    stage.show(&nodes, &[(&edge, asked)])?;

    // It may have been so before squid was there.
    let before = edge.has_said(ILL);
    drop(squid);
    fails_closed(stage.report, &lab, &edge, before);
    put(&lab.site.edge, &with_proxy(hook, "open"))?;
    edge.apply(
        file,
        "the edge takes a file with on_failure = \"open\"",
        stage.report,
    );
    fails_open(stage.report, &lab, &edge)?;
    stage.end(edge);
    Ok(())
}

/// Explicit: the client asks the proxy.
fn is_named(report: &mut Report, lab: &Lab, squid: &Squid, server: &WebServer) {
    report.same(
        "app gets a page by naming squid, and the site answers",
        "200 site saw 198.51.100.10",
        get_by(
            &lab.app,
            &format!("{SQUID}:{}", squid::PORT),
            &format!("{PAGE}/named"),
        ),
    );
    report.same(
        "squid's log has the client, who connected to squid itself",
        "10.20.2.11 10.20.2.30:3128 http://198.51.100.90/named 200 HIER_DIRECT 198.51.100.90:80",
        squid.logged(&format!("{PAGE}/named")),
    );
    report.same(
        "without it, app's own connection goes out by the NAT gateway",
        "200 site saw 198.51.100.10",
        get(&lab.app, &format!("{PAGE}/own")),
    );
    report.that(
        "the site's log has both",
        "/named and /own",
        server.logged("/own").and_then(|_| server.log()),
        |seen| seen.contains("/named") && seen.contains("/own"),
    );
    report.that(
        "squid's log knows nothing of the second",
        "no line about /own",
        squid.log(),
        |seen| !seen.contains("/own"),
    );
}

/// Transparent: the client knows nothing of it.
fn is_in_the_way(report: &mut Report, lab: &Lab, squid: &Squid, server: &WebServer) -> Result<()> {
    report.same(
        "app gets a page of the site, and knows of no proxy",
        "200 site saw 198.51.100.10",
        get(&lab.app, &format!("{PAGE}/led")),
    );
    report.same(
        "squid's log has the client, and where it connected to",
        "10.20.2.11 198.51.100.90:80 http://198.51.100.90/led 200 ORIGINAL_DST 198.51.100.90:80",
        squid.logged(&format!("{PAGE}/led")),
    );
    report.same(
        "the instance's own connection is not led back to it",
        "200 site saw 198.51.100.10",
        get(&lab.squid, &format!("{PAGE}/by-itself")),
    );
    report.same(
        "the site's log has that",
        "198.51.100.10 198.51.100.90 /by-itself 200",
        server.logged("/by-itself"),
    );
    let other = lab.outside.listen("198.51.100.90:8080")?;
    let straight = Connection::open(&lab.app, "10.20.2.11:40001", "198.51.100.90:8080", &other);
    report.same(
        "app connects to another port, straight by the NAT gateway",
        "198.51.100.10:40001",
        seen(&straight),
    );
    report.that(
        "squid's log knows nothing of the instance's own",
        "no line about /by-itself",
        squid.log(),
        |seen| !seen.contains("/by-itself"),
    );
    Ok(())
}

/// What the controller says of squid's health.
const ILL: &str = "proxy:web/10.20.2.30 is unhealthy";
const WELL: &str = "proxy:web/10.20.2.30 is healthy again";

fn fails_closed(report: &mut Report, lab: &Lab, edge: &Running, before: usize) {
    report.that(
        "squid is killed, which the health check finds",
        "a line that it is unhealthy",
        edge.says(ILL, before, CHECKED),
        |_| true,
    );
    report.same(
        "fail-closed: app asks the site",
        NO_ANSWER,
        no_answer(&lab.app, &format!("{PAGE}/closed")),
    );
    report.that(
        "packets dropped with the reason no_target",
        "1 or more",
        edge.nat.drops("no_target"),
        |seen| seen != "0",
    );
}

fn fails_open(report: &mut Report, lab: &Lab, edge: &Running) -> Result<()> {
    report.same(
        "fail-open: app gets a page without squid",
        "200 site saw 198.51.100.10",
        get(&lab.app, &format!("{PAGE}/open")),
    );
    let before = edge.has_said(WELL);
    let squid = Squid::start(&lab.squid)?;
    report.that(
        "squid is started again, which the health check finds",
        "a line that it is healthy",
        edge.says(WELL, before, CHECKED),
        |_| true,
    );
    report.same(
        "app's connections go to it again",
        "200 site saw 198.51.100.10",
        get(&lab.app, &format!("{PAGE}/again")),
    );
    report.same(
        "squid's log has that",
        "10.20.2.11 198.51.100.90:80 http://198.51.100.90/again 200 ORIGINAL_DST 198.51.100.90:80",
        squid.logged(&format!("{PAGE}/again")),
    );
    Ok(())
}
