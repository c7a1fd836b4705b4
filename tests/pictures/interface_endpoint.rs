//! An interface endpoint: an address of a subnet, with a security group of its own and names in the VPC's resolver,
//! in front of a server outside that hosts of the VPC have no route to.
use anyhow::Result;

use super::{Picture, Stage};
use crate::netns::{
    Hook, Namespace, Nat, Site, WebServer,
    configuration::{Configuration, put},
    web_client::{NO_ANSWER, dig, get, no_answer},
};

pub const PICTURE: Picture = Picture {
    name: "interface-endpoint",
    title: "an address in a subnet, with a name and a security group, in front of a server outside",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &["nginx", "curl", "dig"],
    run,
};

const DIAGRAM: &str = "
       registry 198.51.100.90 (nginx)          internet 198.51.100.80, 198.51.100.81
                     |                                         |
                     +-------------------+---------------------+
                                         | uplink 198.51.100.1
                        +----------------+-----------------+
                        |        NAT gateway egress        |
                        |    198.51.100.10 (10.20.1.100)   |
                        +----------------+-----------------+
                                         |
 VPC main  10.20.0.0/16                  |       resolver 10.20.0.2
+----------------------------------------+----------------------------------+
|  subnet endpoints 10.20.3.0/24         |                                  |
|    +-----------------------------------+------------------------------+   |
|    |        interface endpoint registry 10.20.3.60                    |   |
|    |        registry.example.com, registry.endpoint.internal          |   |
|    |        security group registry: tcp 80 from the group builders   |   |
|    +-----------------------------------+------------------------------+   |
|                                        |                                  |
|  private subnet 10.20.2.0/24           | no route but within the VPC      |
|               +------------------------+------------------------+         |
|        +------+------+                                   +------+------+  |
|        |   builder   |                                   |    other    |  |
|        | 10.20.2.11  |                                   | 10.20.2.12  |  |
|        +-------------+                                   +-------------+  |
|         group builders                                     no group       |
+---------------------------------------------------------------------------+
";

/// The VPC's first address plus two.
const RESOLVER: &str = "10.20.0.2";
const ENDPOINT: &str = "10.20.3.60";
const PAGE: &str = "http://registry.example.com";

fn configuration(hook: Hook) -> Configuration {
    let public_ips = "public_ips = [\"198.51.100.10\"]";
    let letting_in =
        "ingress = [{ protocol = \"tcp\", ports = \"80\", source = \"security-group:builders\" }]";
    let endpoint = format!(
        "type = \"interface\"
        address = \"198.51.100.90\"
        nat_gateway = \"egress\"
        interfaces = [{{ subnet = \"endpoints\", private_ip = \"{ENDPOINT}\" }}]
        security_groups = [\"registry\"]
        private_dns = [\"registry.example.com\"]"
    );
    let by_table = |name| format!("route_table = \"{name}\"");
    Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet("public", "10.20.1.0/24", "public0", &by_table("public"))
        .subnet("private", "10.20.2.0/24", "private0", &by_table("private"))
        .subnet(
            "endpoints",
            "10.20.3.0/24",
            "private0",
            &by_table("private"),
        )
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .route_table("private", &[])
        .nat_gateway("egress", "public", "10.20.1.100", public_ips)
        .security_group("builders", "")
        .security_group("registry", letting_in)
        .endpoint("registry", &endpoint)
        .instance(
            "builder",
            "private",
            "10.20.2.11",
            "security_groups = [\"builders\"]",
        )
        .instance("other", "private", "10.20.2.12", "")
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let site = Site::build(stage.hook, &["public0", "private0"])?;
    let builder = site.host("builder", "private0", "10.20.2.11/24")?;
    let other = site.host("other", "private0", "10.20.2.12/24")?;
    let registry = site.service("registry", "198.51.100.90/24")?;
    let file = put(&site.edge, &configuration(stage.hook))?;
    let edge = stage.start((&site.edge, "the edge"), &["run", "--config", file])?;
    let server = WebServer::start(&registry)?;

    is_served(stage, &builder, &server, &edge.nat)?;
    is_refused(stage, &other, &server, &edge.nat)?;

    let nodes = [&site.edge, &builder, &other, &registry, &site.internet];
    let asked: &[&str] = &[
        "endpoints",
        "sessions --protocol tcp",
        "explain tcp 10.20.2.11:41000 10.20.3.60:80",
        "explain tcp 10.20.2.12:41000 10.20.3.60:80",
    ];
    stage.show(&nodes, &[(&edge, asked)])?;
    stage.end(edge);
    Ok(())
}

fn is_served(
    stage: &mut Stage<'_>,
    builder: &Namespace,
    server: &WebServer,
    nat: &Nat,
) -> Result<()> {
    let report = &mut *stage.report;
    for name in ["registry.example.com", "registry.endpoint.internal"] {
        report.same(
            &format!("dig of builder asks the VPC's resolver for {name}"),
            ENDPOINT,
            dig(builder, RESOLVER, name),
        );
    }
    let by_name = builder.with_own_files(Some(RESOLVER))?;
    report.same(
        "curl of builder gets a page by that name, and the registry answers",
        "200 registry saw 198.51.100.10",
        get(&by_name, &format!("{PAGE}/builder")),
    );
    report.same(
        "the registry's log has the NAT gateway, and the name that was asked",
        "198.51.100.10 registry.example.com /builder 200",
        server.logged("/builder"),
    );
    let sessions = nat.sessions().map(|table| {
        let of_builder = table.iter().filter(|session| session.protocol == "tcp");
        let ways = of_builder.map(|session| {
            let to = session.peer();
            format!("{} to {to} as {}", session.source, session.translated)
        });
        ways.collect::<Vec<_>>().join("; ")
    });
    report.same(
        "the session of that",
        "10.20.2.11 to 10.20.3.60:80 as 198.51.100.10",
        sessions,
    );
    report.same(
        "builder asks the registry's own address",
        NO_ANSWER,
        no_answer(builder, "http://198.51.100.90/around"),
    );
    report.that(
        "nat explain of builder's packet to the endpoint",
        "endpoint registry, and it is forwarded by 198.51.100.10 to 198.51.100.90:80",
        nat.explained(
            "endpoint registry",
            "tcp",
            "10.20.2.11:41000",
            "10.20.3.60:80",
        ),
        |seen| {
            let outcome = "forwarded: 198.51.100.10:41000 to 198.51.100.90:80";
            seen.contains("endpoint registry") && seen.contains(outcome)
        },
    );
    Ok(())
}

fn is_refused(
    stage: &mut Stage<'_>,
    other: &Namespace,
    server: &WebServer,
    nat: &Nat,
) -> Result<()> {
    let report = &mut *stage.report;
    let by_name = other.with_own_files(Some(RESOLVER))?;
    report.same(
        "dig of other, which is in no group, knows the name as well",
        ENDPOINT,
        dig(other, RESOLVER, "registry.example.com"),
    );
    report.same(
        "curl of other asks for a page by that name",
        NO_ANSWER,
        no_answer(&by_name, &format!("{PAGE}/other")),
    );
    report.same(
        "the registry's log still has that one line",
        "198.51.100.10 registry.example.com /builder 200",
        server.log(),
    );
    report.that(
        "packets dropped with the reason security_group",
        "1 or more",
        nat.drops("security_group"),
        |seen| seen != "0",
    );
    Ok(())
}
