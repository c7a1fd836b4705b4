//! An endpoint service: a load balancer that one VPC offers to others, whatever addresses these have. The consumer
//! has the same, down to that of its host; the provider's targets see the load balancer.
use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};

use super::{Picture, Stage};
use crate::netns::{
    Hook, Namespace, Report, Running, Site, WebServer,
    configuration::{Configuration, put},
    web_client::{NO_ANSWER, dig, get, no_answer},
};

pub const PICTURE: Picture = Picture {
    name: "endpoint-service",
    title: "a load balancer that a VPC offers to another one with the same addresses, once accepted",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &["nginx", "curl", "dig"],
    run,
};

const DIAGRAM: &str = "
 internet 198.51.100.80, 198.51.100.81; the edge's uplink 198.51.100.1 serves neither VPC

 VPC consumer  10.20.0.0/16                   VPC provider  10.20.0.0/16
+----------------------------------+         +--------------------------------------+
| private subnet 10.20.2.0/24      |         | private subnet 10.20.2.0/24          |
|                                  |         |                                      |
|  app                             |         |                 web-1 10.20.2.11     |
|  10.20.2.11 (curl)               |         |              +- (nginx)              |
|     |                            |         |              |                       |
|     v                            |         |              |                       |
|  interface endpoint              | pending |  network     |                       |
|  web 10.20.2.60                --+---------+> load balancer                       |
|  shop.example.com                | accepted|  web         |                       |
|                                  |         |  10.20.2.50 -+                       |
|                                  |         |              |  web-2 10.20.2.12     |
|                                  |         |              +- (nginx, stops and    |
|  resolver 10.20.0.2              |         |                  comes back)         |
+----------------------------------+         +--------------------------------------+
";

const RESOLVER: &str = "10.20.0.2";
const ENDPOINT: &str = "10.20.2.60";
const PAGE: &str = "http://shop.example.com/app";
/// How many connections are looked at, and how many more when a target is still missing: they are shared out by
/// chance.
const CONNECTIONS: [usize; 2] = [8, 56];
/// Two checks of a second each, and what a busy machine takes.
const CHECKED: Duration = Duration::from_secs(40);

/// Endpoints have to be accepted, as nothing else is said.
fn configuration(hook: Hook) -> Configuration {
    let subnet = |text: Configuration, device| {
        text.but("internet_gateway = true\n", "")
            .subnet("private", "10.20.2.0/24", device, "")
    };
    let consumer = Configuration::new("uplink0", hook, &["10.20.0.0/16"]);
    let consumer = subnet(consumer, "consumer0")
        .but("name = \"main\"", "name = \"consumer\"")
        .instance("app", "private", "10.20.2.11", "")
        .endpoint(
            "web",
            &format!(
                "type = \"interface\"
                service = \"provider/web\"
                interfaces = [{{ subnet = \"private\", private_ip = \"{ENDPOINT}\" }}]
                private_dns = [\"shop.example.com\"]"
            ),
        );
    let check = "interval = 1, timeout = 1, unhealthy_threshold = 2, healthy_threshold = 2";
    subnet(consumer.vpc("provider", &["10.20.0.0/16"]), "provider0")
        .instance("web-1", "private", "10.20.2.11", "")
        .instance("web-2", "private", "10.20.2.12", "")
        .target_group(
            "web",
            &format!(
                "protocol = \"tcp\"
                port = 80
                targets = [\"web-1\", \"web-2\"]
                health_check = {{ {check} }}"
            ),
        )
        .load_balancer(
            "web",
            "private",
            "10.20.2.50",
            "listeners = [{ protocol = \"tcp\", port = 80, target_group = \"web\" }]",
        )
        .endpoint_service("web", "load_balancer = \"web\"")
}

struct Lab {
    site: Site,
    app: Namespace,
    web_1: Namespace,
    web_2: Namespace,
}

impl Lab {
    fn build(hook: Hook) -> Result<Self> {
        let site = Site::build(hook, &["consumer0", "provider0"])?;
        Ok(Self {
            app: site.host("app", "consumer0", "10.20.2.11/24")?,
            web_1: site.host("web-1", "provider0", "10.20.2.11/24")?,
            web_2: site.host("web-2", "provider0", "10.20.2.12/24")?,
            site,
        })
    }
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let lab = Lab::build(stage.hook)?;
    let file = put(&lab.site.edge, &configuration(stage.hook))?;
    let edge = stage.start((&lab.site.edge, "the edge"), &["run", "--config", file])?;
    let by_name = lab.app.with_own_files(Some(RESOLVER))?;
    let first = WebServer::start(&lab.web_1)?;
    let second = WebServer::start(&lab.web_2)?;

    is_pending(stage.report, &lab.app, &edge, &first);
    decide(stage.report, &edge, "accept");
    is_accepted(stage.report, &lab.app, &by_name, &edge, &first);
    opens_alone(stage.report, &lab, &edge)?;
    shares_out(stage.report, &lab, &by_name, &edge, second)?;

    let nodes = [
        &lab.site.edge,
        &lab.app,
        &lab.web_1,
        &lab.web_2,
        &lab.site.internet,
    ];
    let asked: &[&str] = &[
        "services",
        "endpoints",
        "sessions --vpc consumer --protocol tcp",
        "explain tcp 10.20.2.11:41000 10.20.2.60:80 --vpc consumer",
    ];
    stage.show(&nodes, &[(&edge, asked)])?;

    decide(stage.report, &edge, "reject");
    stage.report.same(
        "rejected: app asks the endpoint",
        NO_ANSWER,
        no_answer(&lab.app, &format!("http://{ENDPOINT}/rejected")),
    );
    stage.end(edge);
    Ok(())
}

/// Nobody has accepted the endpoint.
fn is_pending(report: &mut Report, app: &Namespace, edge: &Running, first: &WebServer) {
    report.same(
        "nat services has the consumer's endpoint as",
        "pendingAcceptance",
        state(edge),
    );
    report.same(
        "pending: the VPC's resolver has the endpoint's own name as",
        "nothing",
        dig(app, RESOLVER, "web.endpoint.internal"),
    );
    report.same(
        "pending: app asks the endpoint",
        NO_ANSWER,
        no_answer(app, &format!("http://{ENDPOINT}/pending")),
    );
    report.same("pending: web-1's log has", "nothing", first.log());
}

/// The provider's decision about the consumer's endpoint, which no file has.
fn decide(report: &mut Report, edge: &Running, decision: &str) {
    let said = edge
        .nat
        .finish(["services", decision, "provider/web", "consumer/web"]);
    report.same(
        &format!("nat services {decision} provider/web consumer/web"),
        "exit status 0",
        said.map(|said| format!("exit status {}", said.status())),
    );
}

fn state(edge: &Running) -> Result<String> {
    let services = edge.nat.object(&["services"])?;
    let state = services["endpoints"][0]["state"].as_str();
    Ok(state.context("no endpoint")?.to_owned())
}

fn is_accepted(
    report: &mut Report,
    app: &Namespace,
    by_name: &Namespace,
    edge: &Running,
    first: &WebServer,
) {
    report.same(
        "nat services has the consumer's endpoint as",
        "available",
        state(edge),
    );
    report.same(
        "accepted: dig asks the VPC's resolver for shop.example.com",
        ENDPOINT,
        dig(app, RESOLVER, "shop.example.com"),
    );
    report.that(
        "app, 10.20.2.11, gets a page by that name, and a target answers",
        "200 web-1 saw 10.20.2.50, or web-2",
        get(by_name, PAGE),
        |seen| seen.starts_with("200 web-") && seen.ends_with("saw 10.20.2.50"),
    );
    report.same(
        "both targets answer, who all see the load balancer",
        "web-1 saw 10.20.2.50, web-2 saw 10.20.2.50",
        answers(by_name, 2),
    );
    report.same(
        "web-1's log has the load balancer's private IP",
        "10.20.2.50 shop.example.com /app 200",
        first.logged("/app"),
    );
}

/// What a few connections are answered, each said once; `targets` is how many are expected.
fn answers(by_name: &Namespace, targets: usize) -> Result<String> {
    let [few, more] = CONNECTIONS;
    let mut seen = BTreeSet::new();
    for number in 0..few + more {
        if number >= few && seen.len() >= targets {
            break;
        }
        seen.insert(get(by_name, PAGE)?);
    }
    let answers = seen.iter().map(|answer| answer.trim_start_matches("200 "));
    Ok(answers.collect::<Vec<_>>().join(", "))
}

/// The provider's hosts reach nobody by it, and the consumer nothing but the endpoint.
fn opens_alone(report: &mut Report, lab: &Lab, edge: &Running) -> Result<()> {
    let server = WebServer::start(&lab.app)?;
    for (who, host, to, whom) in [
        ("web-2", &lab.web_2, ENDPOINT, "the endpoint's address"),
        (
            "web-2",
            &lab.web_2,
            "10.20.2.50:81",
            "the load balancer's other ports",
        ),
        (
            "app",
            &lab.app,
            "10.20.2.50",
            "the load balancer's own address",
        ),
    ] {
        report.same(
            &format!("{who} asks {whom}"),
            NO_ANSWER,
            no_answer(host, &format!("http://{to}/other")),
        );
    }
    report.same(
        "the log of app, which runs a server, too, has",
        "nothing",
        server.log(),
    );
    report.that(
        "packets dropped with the reason no_listener",
        "1 or more",
        edge.nat.drops("no_listener"),
        |seen| seen != "0",
    );
    Ok(())
}

/// A target dies, and comes back.
fn shares_out(
    report: &mut Report,
    lab: &Lab,
    by_name: &Namespace,
    edge: &Running,
    second: WebServer,
) -> Result<()> {
    // It may have been so before nginx was there.
    let (ill, well) = (
        "provider/web/10.20.2.12 is unhealthy",
        "provider/web/10.20.2.12 is healthy again",
    );
    let before = edge.has_said(ill);
    drop(second);
    report.that(
        "web-2's nginx is stopped, which the health check finds",
        "a line that it is unhealthy",
        edge.says(ill, before, CHECKED),
        |_| true,
    );
    report.same(
        "new connections avoid it",
        "web-1 saw 10.20.2.50",
        answers(by_name, 1),
    );
    let before = edge.has_said(well);
    let _second = WebServer::start(&lab.web_2)?;
    report.that(
        "web-2's nginx is started again, which the health check finds",
        "a line that it is healthy",
        edge.says(well, before, CHECKED),
        |_| true,
    );
    report.same(
        "both targets answer again",
        "web-1 saw 10.20.2.50, web-2 saw 10.20.2.50",
        answers(by_name, 2),
    );
    Ok(())
}
