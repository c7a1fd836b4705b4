//! Instances with public IPs, which the internet gateway translates 1:1, and one without.
use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::{Picture, Stage};
use crate::netns::{
    Connection, Hook, Namespace, Nat, Site,
    configuration::{Configuration, put},
    sessions::list,
    sockets::{exchanged, local, seen, udp_exchange},
    unanswered::{Witness, attempt},
};

pub const PICTURE: Picture = Picture {
    name: "internet-gateway",
    title: "two instances with public IPs, 1:1 in both directions, and one without",
    diagram: DIAGRAM,
    on_each_hook: true,
    programs: &[],
    run,
};

const DIAGRAM: &str = "
     internet: clients and servers 198.51.100.80, 198.51.100.81
                                     |
                                     | uplink 198.51.100.1
                    +----------------+-----------------+
                    |         internet gateway         |  1:1: any protocol,
                    |   198.51.100.21 <-> 10.20.1.11   |  both directions,
                    |   198.51.100.22 <-> 10.20.1.12   |  no ports, no sessions
                    +----------------+-----------------+
                                     |
 VPC main  10.20.0.0/16              | router 10.20.1.1
+------------------------------------+------------------------------------+
|  public subnet 10.20.1.0/24        |      0.0.0.0/0 -> internet-gateway |
|            +-----------------------+-----------------------+            |
|            |                       |                       |            |
|     +------+------+         +------+------+         +------+------+     |
|     |    web-1    |         |    web-2    |         |   no-ip     |     |
|     | 10.20.1.11  |         | 10.20.1.12  |         | 10.20.1.13  |     |
|     +-------------+         +-------------+         +-------------+     |
|   198.51.100.21           198.51.100.22            no public IP         |
+-------------------------------------------------------------------------+
";

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);

/// An instance with a public IP.
struct Web {
    node: Namespace,
    private: &'static str,
    public: &'static str,
}

fn configuration(hook: Hook) -> Configuration {
    let public_ip = |address| format!("public_ip = \"{address}\"");
    Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet(
            "public",
            "10.20.1.0/24",
            "public0",
            "route_table = \"public\"",
        )
        .route_table("public", &[("0.0.0.0/0", "internet-gateway")])
        .instance("web-1", "public", "10.20.1.11", &public_ip("198.51.100.21"))
        .instance("web-2", "public", "10.20.1.12", &public_ip("198.51.100.22"))
        .instance("no-ip", "public", "10.20.1.13", "")
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let site = Site::build(stage.hook, &["public0"])?;
    let web = |label, private: &'static str, public| -> Result<Web> {
        Ok(Web {
            node: site.host(label, "public0", &format!("{private}/24"))?,
            private,
            public,
        })
    };
    let webs = [
        web("web-1", "10.20.1.11", "198.51.100.21")?,
        web("web-2", "10.20.1.12", "198.51.100.22")?,
    ];
    let no_ip = site.host("no-ip", "public0", "10.20.1.13/24")?;
    let file = put(&site.edge, &configuration(stage.hook))?;
    let edge = stage.start((&site.edge, "the edge"), &["run", "--config", file])?;

    for web in &webs {
        goes_out(stage, &site, web)?;
        is_reached(stage, &site, web)?;
    }
    reach_each_other(stage, &webs)?;
    let sessions = edge.nat.sessions();
    stage.report.same(
        "sessions that all of this takes",
        "none",
        sessions.map(|table| list(&table)),
    );
    gets_out_nowhere(stage, &site, &webs, &no_ip, &edge.nat)?;

    let [web_1, web_2] = &webs;
    let nodes = [&site.edge, &web_1.node, &web_2.node, &no_ip, &site.internet];
    let asked: &[&str] = &[
        "routes",
        "instances",
        "explain tcp 10.20.1.11:41000 198.51.100.80:8080",
        "explain tcp 10.20.1.13:41000 198.51.100.80:8080",
    ];
    stage.show(&nodes, &[(&edge, asked)])?;
    stage.end(edge);
    Ok(())
}

/// Both instances use the same ports: with an address for each, nobody gives way.
fn goes_out(stage: &mut Stage<'_>, site: &Site, web: &Web) -> Result<()> {
    let (name, private, public) = (web.node.label(), web.private, web.public);
    let report = &mut *stage.report;
    let server = site.internet.listen("198.51.100.80:8080")?;
    let from = format!("{private}:40001");
    let out = Connection::open(&web.node, &from, "198.51.100.80:8080", &server);
    report.same(
        &format!("{name} connects to the server, which sees"),
        &format!("{public}:40001"),
        seen(&out),
    );
    report.same(
        &format!("{name}'s connection carries data"),
        &exchanged(),
        out.and_then(|connection| connection.exchange()),
    );
    let server = site.internet.udp("198.51.100.81:5300")?;
    let socket = web.node.udp(&format!("{private}:40002"))?;
    report.same(
        &format!("UDP from {name} and its answer"),
        &format!("{public}:40002"),
        udp_exchange(&socket, "198.51.100.81:5300", &server),
    );
    report.same(
        &format!("ping from {name} is answered by"),
        "198.51.100.80",
        web.node.pinger()?.ping(SERVER, 7, b"from inside"),
    );
    Ok(())
}

/// The client writes to the public IP, which the instance never sees.
fn is_reached(stage: &mut Stage<'_>, site: &Site, web: &Web) -> Result<()> {
    let (name, private, public) = (web.node.label(), web.private, web.public);
    let report = &mut *stage.report;
    let server = web.node.listen("0.0.0.0:80")?;
    let to = format!("{public}:80");
    let connection = Connection::open(&site.internet, "198.51.100.80:50080", &to, &server);
    report.same(
        &format!("the client connects to {to}, and {name} sees"),
        "198.51.100.80:50080",
        seen(&connection),
    );
    report.same(
        &format!("{name} takes for its own address"),
        &format!("{private}:80"),
        local(&connection),
    );
    report.same(
        &format!("{name} answers the client"),
        &exchanged(),
        connection.and_then(|connection| connection.exchange()),
    );
    let addresses = web.node.addresses();
    report.same(
        &format!("{name} has these addresses"),
        &format!("[{private}]"),
        addresses.map(|addresses| format!("{addresses:?}")),
    );
    let (client, server) = (
        site.internet.udp("198.51.100.80:50081")?,
        web.node.udp("0.0.0.0:5300")?,
    );
    report.same(
        &format!("UDP to {public} and its answer"),
        "198.51.100.80:50081",
        udp_exchange(&client, &format!("{public}:5300"), &server),
    );
    let pinger = site.internet.pinger()?;
    report.same(
        &format!("ping to {public} is answered by"),
        public,
        pinger.ping(public.parse()?, 8, b"from outside"),
    );
    Ok(())
}

fn reach_each_other(stage: &mut Stage<'_>, [one, other]: &[Web; 2]) -> Result<()> {
    let server = one.node.listen("0.0.0.0:81")?;
    let (from, to) = (
        format!("{}:40003", other.private),
        format!("{}:81", one.public),
    );
    let connection = Connection::open(&other.node, &from, &to, &server);
    stage.report.same(
        &format!("web-2 connects to {to}, and web-1 sees"),
        &format!("{}:40003", other.public),
        seen(&connection),
    );
    Ok(())
}

fn gets_out_nowhere(
    stage: &mut Stage<'_>,
    site: &Site,
    [web, _]: &[Web; 2],
    no_ip: &Namespace,
    nat: &Nat,
) -> Result<()> {
    let report = &mut *stage.report;
    let server = web.node.listen("0.0.0.0:82")?;
    let connection = Connection::open(no_ip, "10.20.1.13:40001", "10.20.1.11:82", &server);
    report.same(
        "no-ip connects to web-1 in its subnet, which sees",
        "10.20.1.13:40001",
        seen(&connection),
    );
    let witness = Witness::new(&site.internet)?;
    let before = nat.drops("no_public_ip")?;
    let attempts = attempt(no_ip, SERVER);
    for (what, seen) in ["a connection", "a datagram", "a ping"]
        .into_iter()
        .zip(attempts)
    {
        let check = format!("{what} from no-ip to the server");
        report.same(&check, "no answer", seen);
    }
    report.same("the server sees of all that", "nothing", witness.seen());
    report.that(
        "packets dropped with the reason no_public_ip",
        "3 or more",
        nat.drops("no_public_ip").map(|after| after - before),
        |seen| seen.parse().is_ok_and(|count: u64| count >= 3),
    );
    let explained = ["explain", "tcp", "10.20.1.13:41000", "198.51.100.80:8080"];
    let explained = nat.object(&explained);
    let first = explained.and_then(|explained| {
        let conditions = explained["internet_gateway"].as_array();
        let mut conditions = conditions.context("no conditions")?.iter();
        let missing = conditions.find(|each| each["holds"] == false);
        let missing = missing.context("nothing is missing")?;
        let words = [&missing["condition"], &missing["mend"]].map(|word| word.as_str());
        Ok(words.map(Option::unwrap_or_default).join(": "))
    });
    report.that(
        "nat explain names the condition that no-ip lacks",
        "public-ip, and how to mend it",
        first,
        |seen| seen.starts_with("public-ip: ") && seen.contains("public_ip"),
    );
    Ok(())
}
