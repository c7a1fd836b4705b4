//! A NAT instance: the route table of a private subnet leads to an instance that masquerades by its one interface.
//! There the dataplane runs inside the VPC, and once more at its edge, where the instance has its public IP 1:1.
use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Picture, Stage};
use crate::netns::{
    Connection, Hook, Namespace, Report, Running, Session, Site,
    configuration::{Configuration, put},
    links::{mac_of, mac_text},
    report::again,
    sessions::{expect, list},
    sockets::{exchanged, seen, udp_exchange},
};

pub const PICTURE: Picture = Picture {
    name: "nat-instance",
    title: "an instance that masquerades for a private subnet, with port overloading",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &[],
    run,
};

const DIAGRAM: &str = "
         internet: servers 198.51.100.80, 198.51.100.81
                                |
                                | uplink 198.51.100.1
               +----------------+-----------------+
               |         internet gateway         |
               |   198.51.100.30 <-> 10.20.1.30   |
               +----------------+-----------------+
                                |
 VPC main  10.20.0.0/16         | router 10.20.1.1, 10.20.2.1
+-------------------------------+--------------------------------+
|  public subnet 10.20.1.0/24   |  0.0.0.0/0 -> internet-gateway |
|                               |                                |
|               +---------------+---------------+                |
|               | NAT instance 10.20.1.30       |                |
|               | eth0, in and out              |                |
|               | source/destination check: off |                |
|               +---------------+---------------+                |
|                               |                                |
|  private subnet 10.20.2.0/24  |  0.0.0.0/0 -> instance:nat     |
|         +---------------------+---------------------+          |
|         |                     |                     |          |
|   app-1 10.20.2.11      app-2 10.20.2.12      app-3 10.20.2.13 |
+----------------------------------------------------------------+
";

const SERVER: &str = "198.51.100.80:8080";
const OTHER_SERVER: &str = "198.51.100.81:8080";
const INSTANCE: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 30);

/// What the instance's dataplane is started with: one interface, in and out.
const INSTANCE_ARGUMENTS: [&str; 7] = [
    "run",
    "--uplink",
    "eth0",
    "--inside",
    "eth0",
    "--inside-cidr",
    "10.20.2.0/24",
];

struct Lab {
    site: Site,
    nat: Namespace,
    apps: [Namespace; 3],
}

impl Lab {
    fn build(hook: Hook) -> Result<Self> {
        let site = Site::build(hook, &["public0", "private0"])?;
        let nat = Namespace::with_own_mounts("nat")?;
        nat.set("net/ipv4/ip_forward", "0")?;
        let segment = site.segment("public0")?;
        segment.plug_edge(&nat, "eth0", "10.20.1.30/24", hook)?;
        nat.route("0.0.0.0/0", "10.20.1.1")?;
        let app = |label, address| site.host(label, "private0", address);
        Ok(Self {
            apps: [
                app("app-1", "10.20.2.11/24")?,
                app("app-2", "10.20.2.12/24")?,
                app("app-3", "10.20.2.13/24")?,
            ],
            nat,
            site,
        })
    }
}

fn configuration(hook: Hook) -> Configuration {
    let by_table = |name| format!("route_table = \"{name}\"");
    let mac = mac_text(mac_of(INSTANCE));
    let keys = format!("public_ip = \"198.51.100.30\"\nsource_dest_check = false\nmac = \"{mac}\"");
    Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet("public", "10.20.1.0/24", "public0", &by_table("public"))
        .subnet("private", "10.20.2.0/24", "private0", &by_table("private"))
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .route_table("private", &[("0.0.0.0/0", "instance:nat")])
        .instance("nat", "public", "10.20.1.30", &keys)
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let lab = Lab::build(stage.hook)?;
    let file = put(&lab.site.edge, &configuration(stage.hook))?;
    let edge = stage.start((&lab.site.edge, "the edge"), &["run", "--config", file])?;
    let arguments = [&INSTANCE_ARGUMENTS[..], &["--attach", stage.hook.name()]].concat();
    let instance = stage.start((&lab.nat, "the NAT instance"), &arguments)?;

    let connections = check_connections(stage.report, &lab)?;
    check_others(stage.report, &lab)?;
    check_tables(stage.report, &connections, &instance, &edge);

    let [app_1, app_2, app_3] = &lab.apps;
    let nodes = [
        &lab.site.edge,
        &lab.nat,
        app_1,
        app_2,
        app_3,
        &lab.site.internet,
    ];
    let of_instance: &[&str] = &["sessions", "ports"];
    stage.show(
        &nodes,
        &[(&instance, of_instance), (&edge, &["routes", "instances"])],
    )?;
    stage.end(instance);
    stage.end(edge);
    Ok(())
}

/// All from the same source port.
fn check_connections(report: &mut Report, lab: &Lab) -> Result<[Result<Connection>; 3]> {
    let server = lab.site.internet.listen(SERVER)?;
    let other = lab.site.internet.listen(OTHER_SERVER)?;
    let [app_1, app_2, app_3] = &lab.apps;
    let first = Connection::open(app_1, "10.20.2.11:20001", SERVER, &server);
    report.same(
        "app-1 keeps its source port 20001 towards the server",
        "198.51.100.30:20001",
        seen(&first),
    );
    let second = Connection::open(app_2, "10.20.2.12:20001", SERVER, &server);
    report.that(
        "app-2's 20001 towards the same server gets another port",
        "198.51.100.30 and a port that is not 20001",
        seen(&second),
        |seen| seen.starts_with("198.51.100.30:") && seen != "198.51.100.30:20001",
    );
    let third = Connection::open(app_3, "10.20.2.13:20001", OTHER_SERVER, &other);
    report.same(
        "app-3's 20001 towards another server keeps it",
        "198.51.100.30:20001",
        seen(&third),
    );
    let connections = [first, second, third];
    // Only now, with all of them open: replies must find their way by the whole four-tuple.
    for (app, connection) in lab.apps.iter().zip(&connections) {
        let carried = connection.as_ref().map_err(again);
        report.same(
            &format!("{}'s connection carries data", app.label()),
            &exchanged(),
            carried.and_then(Connection::exchange),
        );
    }
    Ok(connections)
}

fn check_others(report: &mut Report, lab: &Lab) -> Result<()> {
    let [app_1, app_2, _] = &lab.apps;
    let server = lab.site.internet.udp("198.51.100.80:5300")?;
    let socket = app_1.udp("10.20.2.11:20002")?;
    report.same(
        "UDP from app-1 and its answer",
        "198.51.100.30:20002",
        udp_exchange(&socket, "198.51.100.80:5300", &server),
    );
    report.same(
        "ping from app-2 is answered by",
        "198.51.100.80",
        app_2
            .pinger()?
            .ping([198, 51, 100, 80].into(), 7, b"from inside"),
    );
    let local = app_2.listen("10.20.2.12:8081")?;
    let own = Connection::open(&lab.nat, "10.20.1.30:20003", "10.20.2.12:8081", &local);
    report.same(
        "the instance connects to app-2 within the VPC, which sees",
        "10.20.1.30:20003",
        seen(&own),
    );
    let server = lab.site.internet.listen("198.51.100.80:8081")?;
    let own = Connection::open(&lab.nat, "10.20.1.30:20003", "198.51.100.80:8081", &server);
    report.same(
        "the instance's own connection leaves as",
        "198.51.100.30:20003",
        seen(&own),
    );
    Ok(())
}

/// The ports are chosen in the instance; the edge changes the address alone and keeps no session.
fn check_tables(
    report: &mut Report,
    connections: &[Result<Connection>; 3],
    instance: &Running,
    edge: &Running,
) {
    match instance.nat.sessions() {
        Err(error) => report.same("nat sessions", "a table", Err::<&str, _>(error)),
        Ok(table) => {
            let flows = [
                ("10.20.2.11:20001", SERVER),
                ("10.20.2.12:20001", SERVER),
                ("10.20.2.13:20001", OTHER_SERVER),
            ];
            for ((inside, peer), connection) in flows.into_iter().zip(connections) {
                // The table and the server agree on the port.
                if let Ok(connection) = connection {
                    let outside = format!("{INSTANCE}:{}", connection.seen.port());
                    expect(report, &table, "tcp", inside, peer, &outside);
                }
            }
            let strangers = table.iter().filter(|session| !is_served(session));
            report.same(
                "sessions of anybody else, such as the instance itself",
                "none",
                Ok(list(strangers)),
            );
        }
    }
    let sessions = edge.nat.sessions();
    report.same(
        "sessions at the edge",
        "none",
        sessions.map(|table| list(&table)),
    );
}

fn is_served(session: &Session) -> bool {
    matches!(session.source.octets(), [10, 20, 2, _])
}
