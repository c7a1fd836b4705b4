//! A gateway endpoint: the routes of a prefix list lead instances without any other way out to a service, which
//! sees their private IPs, and a policy says who may go there.
use anyhow::Result;

use super::{Picture, Stage};
use crate::netns::{
    Hook, Namespace, Nat, Site, WebServer,
    configuration::{Configuration, put},
    web_client::{NO_ANSWER, get, no_answer},
};

pub const PICTURE: Picture = Picture {
    name: "gateway-endpoint",
    title: "a private subnet's way to a service, by a prefix list: private IPs kept, under a policy",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &["nginx", "curl"],
    run,
};

const DIAGRAM: &str = "
   service store 198.51.100.90 (nginx)     internet 198.51.100.80, 198.51.100.81 (nginx)
   knows the way to 10.20.0.0/16                  knows none
                    |                                         |
                    +--------------------+--------------------+
                                         | uplink 198.51.100.1
                        +----------------+-----------------+
                        |      gateway endpoint store      |
                        |      serves the prefix list      |
                        |   store: 198.51.100.88/29        |
                        |      policy: app-1 may pass      |
                        +----------------+-----------------+
                                         |
 VPC main  10.20.0.0/16                  | router 10.20.2.1
+----------------------------------------+----------------------------------+
|  private subnet 10.20.2.0/24           |  prefix-list:store               |
|                                        |      -> endpoint:store           |
|               +------------------------+------------------------+         |
|               |                                                 |         |
|        +------+------+                                   +------+------+  |
|        |    app-1    |                                   |    app-2    |  |
|        | 10.20.2.11  |                                   | 10.20.2.12  |  |
|        +-------------+                                   +-------------+  |
+---------------------------------------------------------------------------+
 No public IP, no NAT gateway, no internet gateway.
";

fn configuration(hook: Hook) -> Configuration {
    let policy = "policy = [{ effect = \"allow\", instances = [\"app-1\"] }]";
    Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .but("internet_gateway = true\n", "")
        .subnet(
            "private",
            "10.20.2.0/24",
            "private0",
            "route_table = \"private\"",
        )
        .prefix_list("store", &["198.51.100.88/29"])
        .route_table("private", &[("prefix-list:store", "endpoint:store")])
        .endpoint(
            "store",
            &format!("type = \"gateway\"\nprefix_lists = [\"store\"]\n{policy}"),
        )
        .instance("app-1", "private", "10.20.2.11", "")
        .instance("app-2", "private", "10.20.2.12", "")
}

/// Every node has a web server: what reaches a wrong one is seen.
struct Servers {
    store: WebServer,
    internet: WebServer,
    app_1: WebServer,
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let site = Site::build(stage.hook, &["private0"])?;
    let app_1 = site.host("app-1", "private0", "10.20.2.11/24")?;
    let app_2 = site.host("app-2", "private0", "10.20.2.12/24")?;
    let store = site.service("store", "198.51.100.90/24")?;
    store.route("10.20.0.0/16", "198.51.100.1")?;
    let file = put(&site.edge, &configuration(stage.hook))?;
    let edge = stage.start((&site.edge, "the edge"), &["run", "--config", file])?;
    let servers = Servers {
        store: WebServer::start(&store)?,
        internet: WebServer::start(&site.internet)?,
        app_1: WebServer::start(&app_1)?,
    };

    is_served(stage, &app_1, &servers, &edge.nat);
    is_refused(stage, &app_2, &servers, &edge.nat);
    is_not_reached(stage, &store, &servers, &edge.nat);

    let nodes = [&site.edge, &app_1, &app_2, &store, &site.internet];
    let asked: &[&str] = &[
        "routes",
        "sessions",
        "explain tcp 10.20.2.11:41000 198.51.100.90:80",
        "explain tcp 10.20.2.12:41000 198.51.100.90:80",
    ];
    stage.show(&nodes, &[(&edge, asked)])?;
    stage.end(edge);
    Ok(())
}

fn is_served(stage: &mut Stage<'_>, app_1: &Namespace, servers: &Servers, nat: &Nat) {
    let report = &mut *stage.report;
    report.same(
        "app-1 gets a page of the store, which answers",
        "200 store saw 10.20.2.11",
        get(app_1, "http://198.51.100.90/app-1"),
    );
    report.same(
        "the store's log has app-1 with its private IP",
        "10.20.2.11 198.51.100.90 /app-1 200",
        servers.store.logged("/app-1"),
    );
    let sessions = nat.sessions().map(|table| {
        let gateways = table.iter().map(|session| session.gateway.as_str());
        gateways.collect::<Vec<_>>().join(", ")
    });
    report.same("the session is one of", "endpoint:store", sessions);
    report.same(
        "app-1 asks another server, outside the prefix list",
        NO_ANSWER,
        no_answer(app_1, "http://198.51.100.80/app-1"),
    );
    report.same("that server's log has", "nothing", servers.internet.log());
    report.that(
        "packets dropped with the reason no_route",
        "1 or more",
        nat.drops("no_route"),
        |seen| seen != "0",
    );
    report.that(
        "nat explain of app-1's packet to the store",
        "leads to endpoint:store, and it is forwarded with its own source",
        nat.explained("leads to", "tcp", "10.20.2.11:41000", "198.51.100.90:80"),
        |seen| seen.contains("endpoint:store") && seen.contains("forwarded: 10.20.2.11:41000 to"),
    );
}

fn is_refused(stage: &mut Stage<'_>, app_2: &Namespace, servers: &Servers, nat: &Nat) {
    let report = &mut *stage.report;
    report.same(
        "app-2, which the policy does not allow, asks the store",
        NO_ANSWER,
        no_answer(app_2, "http://198.51.100.90/app-2"),
    );
    report.that(
        "the store's log knows nothing of app-2",
        "no line about 10.20.2.12",
        servers.store.log(),
        |seen| !seen.contains("10.20.2.12"),
    );
    report.that(
        "packets dropped with the reason endpoint_policy",
        "1 or more",
        nat.drops("endpoint_policy"),
        |seen| seen != "0",
    );
    report.that(
        "nat explain of app-2's packet to the store",
        "policy of endpoint store: no statement is for it, and it is dropped with the reason endpoint_policy",
        nat.explained(
            "policy of",
            "tcp",
            "10.20.2.12:41000",
            "198.51.100.90:80",
        ),
        |seen| {
            let policy = "policy of endpoint store: no statement is for it";
            seen.contains(policy) && seen.contains("dropped, endpoint_policy")
        },
    );
}

/// The store knows the way to private addresses, and is let in by no one.
fn is_not_reached(stage: &mut Stage<'_>, store: &Namespace, servers: &Servers, nat: &Nat) {
    let report = &mut *stage.report;
    report.same(
        "the store asks app-1, which runs a server, too",
        NO_ANSWER,
        no_answer(store, "http://10.20.2.11/store"),
    );
    report.same("app-1's log has", "nothing", servers.app_1.log());
    report.that(
        "packets dropped with the reason private_destination",
        "1 or more",
        nat.drops("private_destination"),
        |seen| seen != "0",
    );
}
