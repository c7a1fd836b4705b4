//! Placement groups of the three kinds on declared racks and hosts: what is refused, what is proposed, and how it
//! is drawn. The files are in a folder of the edge's own /run, so they go with the lab.
use anyhow::{Context, Result};

use super::{Picture, Stage};
use crate::netns::{
    Connection, Hook, Namespace, Nat, Report, Running, Site,
    configuration::{Configuration, put_as},
    sockets::seen,
};

pub const PICTURE: Picture = Picture {
    name: "placement",
    title: "spread, partition and cluster groups on racks and hosts",
    diagram: DIAGRAM,
    // The dataplane treats no packet by it.
    on_each_hook: false,
    programs: &[],
    run,
};

const DIAGRAM: &str = "
VPC main 10.20.0.0/16; its edge, with the uplink 198.51.100.1, runs the controller

          zone a: subnet a 10.20.1.0/24                              zone b: subnet b
                                                                     10.20.2.0/24
          +-----++-----++-----++-----++-----++-----++-----++-----+   +-----++-----+
rack      | a1  || a2  || a3  || a4  || a5  || a6  || a7  || a8  |   | b1  || b2  |
host      | ha1 || ha2 || ha3 || ha4 || ha5 || ha6 || ha7 || ha8 |   | hb1 || hb2 |
          +-----++-----++-----++-----++-----++-----++-----++-----+   +-----++-----+
spread    |web-1||web-2||web-3||web-4||web-5||web-6||web-7||     |   |web-8||     |
group web |.1.11||.1.12||.1.13||.1.14||.1.15||.1.16||.1.17||     |   |.2.18||     |
          +-----++-----++-----++-----++-----++-----++-----++-----+   +-----++-----+
partition |part1||part2||part3||     ||     ||     ||     ||     |   |     ||     |
group db  |db-1 ||db-3 ||db-4 ||     ||     ||     ||     ||     |   |     ||     |
          |.1.21||.1.23||.1.24||     ||     ||     ||     ||     |   |     ||     |
          |db-2 ||     ||     ||     ||     ||     ||     ||     |   |     ||     |
          |.1.22||     ||     ||     ||     ||     ||     ||     |   |     ||     |
          +-----++-----++-----++-----++-----++-----++-----++-----+   +-----++-----+
cluster   |     ||     ||     ||     ||     ||     ||     ||hpc-1|   |     ||     |
group hpc |     ||     ||     ||     ||     ||     ||     ||.1.31|   |     ||     |
          |     ||     ||     ||     ||     ||     ||     ||hpc-2|   |     ||     |
          |     ||     ||     ||     ||     ||     ||     ||.1.32|   |     ||     |
          +-----++-----++-----++-----++-----++-----++-----++-----+   +-----++-----+

spread:     no two on a rack, and seven running in a zone
partition:  no rack has two
cluster:    all in one zone, close together
web-1 is 10.20.1.11; web-8, 10.20.2.18, comes last, where the plan has it
";

/// Three groups that keep to their rules.
fn configuration(hook: Hook) -> Configuration {
    let mut text = Configuration::new("uplink0", hook, &["10.20.0.0/16"])
        .subnet("a", "10.20.1.0/24", "zone-a", "zone = \"a\"")
        .subnet("b", "10.20.2.0/24", "zone-b", "zone = \"b\"");
    for (zone, racks) in [("a", 8), ("b", 2)] {
        for number in 1..=racks {
            let rack = format!("{zone}{number}");
            text = text.rack(&rack, zone).host(&format!("h{rack}"), &rack, 4);
        }
    }
    text = text
        .placement_group("web", "strategy = \"spread\"")
        .placement_group("db", "strategy = \"partition\"\npartitions = 3")
        .placement_group("hpc", "strategy = \"cluster\"");
    for number in 1..=7 {
        let keys = member("web", &format!("ha{number}"), "");
        text = text.instance(
            &format!("web-{number}"),
            "a",
            &format!("10.20.1.1{number}"),
            &keys,
        );
    }
    for (name, address, host, partition) in [
        ("db-1", "10.20.1.21", "ha1", 1),
        ("db-2", "10.20.1.22", "ha1", 1),
        ("db-3", "10.20.1.23", "ha2", 2),
        ("db-4", "10.20.1.24", "ha3", 3),
    ] {
        let partition = format!("partition = {partition}");
        text = text.instance(name, "a", address, &member("db", host, &partition));
    }
    text.instance("hpc-1", "a", "10.20.1.31", &member("hpc", "ha8", ""))
        .instance("hpc-2", "a", "10.20.1.32", &member("hpc", "ha8", ""))
}

fn member(group: &str, host: &str, keys: &str) -> String {
    format!("placement_group = \"{group}\"\nhost = \"{host}\"\n{keys}")
}

/// An instance that breaks a rule: the name of the file that adds it, and what `nat check` says of it.
struct Refused {
    check: &'static str,
    file: &'static str,
    name: &'static str,
    subnet: &'static str,
    address: &'static str,
    group: &'static str,
    host: &'static str,
    keys: &'static str,
    reason: &'static str,
}

const REFUSED: [Refused; 3] = [
    Refused {
        check: "an eighth running member of a spread group in a zone",
        file: "eighth",
        name: "web-8",
        subnet: "a",
        address: "10.20.1.18",
        group: "web",
        host: "ha8",
        keys: "",
        reason: "this is running member 8 of spread group \"web\" in zone \"a\", which takes 7",
    },
    Refused {
        check: "two partitions on a rack",
        file: "two-partitions",
        name: "db-5",
        subnet: "a",
        address: "10.20.1.25",
        group: "db",
        host: "ha1",
        keys: "partition = 2",
        reason: "rack \"a1\" is partition 1's of group \"db\"",
    },
    Refused {
        check: "a cluster across zones",
        file: "across-zones",
        name: "hpc-3",
        subnet: "b",
        address: "10.20.2.33",
        group: "hpc",
        host: "hb1",
        keys: "",
        reason: "cluster group \"hpc\" is in zone \"a\"",
    },
];

impl Refused {
    fn added_to(&self, text: &Configuration) -> Configuration {
        let keys = member(self.group, self.host, self.keys);
        let text = text.clone();
        text.instance(self.name, self.subnet, self.address, &keys)
    }
}

fn run(stage: &mut Stage<'_>) -> Result<()> {
    let site = Site::build(stage.hook, &["zone-a", "zone-b"])?;
    let web_1 = site.host("web-1", "zone-a", "10.20.1.11/24")?;
    let web_8 = site.host("web-8", "zone-b", "10.20.2.18/24")?;
    let text = configuration(stage.hook);
    let file = put_as(&site.edge, "placement", &text)?;
    let edge = stage.start((&site.edge, "the edge"), &["run", "--config", &file])?;

    check_files(stage.report, &site.edge, &edge.nat, &text, &file)?;
    check_plans(stage.report, &edge.nat, &file);
    check_controller(stage.report, &edge, [&web_1, &web_8])?;

    let nodes = [&site.edge, &web_1, &web_8];
    let eighth = put_as(&site.edge, "eighth", &REFUSED[0].added_to(&text))?;
    let asked: &[&str] = &[
        &format!("check {eighth}"),
        "placement plan web",
        "placement plan db",
        "placement plan hpc",
        "placement show",
    ];
    stage.show(&nodes, &[(&edge, asked)])?;
    stage.end(edge);
    Ok(())
}

/// What it ended with and said, in a line.
fn outcome(nat: &Nat, arguments: &[&str]) -> Result<String> {
    let said = nat.finish(arguments)?;
    let status = said.status();
    Ok(format!("exit status {status}: {}", said.words().trim()))
}

fn check_files(
    report: &mut Report,
    edge: &Namespace,
    nat: &Nat,
    text: &Configuration,
    file: &str,
) -> Result<()> {
    report.that(
        "nat check takes the file with all three groups",
        "exit status 0: valid",
        outcome(nat, &["check", file]),
        |seen| seen.starts_with("exit status 0: ") && seen.contains(": valid: "),
    );
    for refused in &REFUSED {
        let file = put_as(edge, refused.file, &refused.added_to(text))?;
        report.that(
            &format!("nat check refuses {}", refused.check),
            &format!("exit status 2: {}", refused.reason),
            outcome(nat, &["check", &file]),
            |seen| {
                // Its reason and no other.
                seen.starts_with("exit status 2: ")
                    && seen.contains(refused.reason)
                    && seen.lines().count() == 1
            },
        );
    }
    let [eighth, ..] = &REFUSED;
    let stopped = Refused {
        keys: "running = false",
        ..*eighth
    };
    let file = put_as(edge, "eighth-stopped", &stopped.added_to(text))?;
    report.that(
        "nat check takes the same eighth member when it does not run",
        "exit status 0: valid",
        outcome(nat, &["check", &file]),
        |seen| seen.starts_with("exit status 0: ") && seen.contains(": valid: "),
    );
    Ok(())
}

/// Proposals from the file; the running controller's are the same.
fn check_plans(report: &mut Report, nat: &Nat, file: &str) {
    for (group, expected) in [
        ("web", "host hb1, rack b1, zone b"),
        ("db", "host ha2, rack a2, zone a, partition 2"),
        ("hpc", "host ha8, rack a8, zone a"),
    ] {
        for (source, from) in [
            (vec!["--config", file], "the file"),
            (vec![], "the running controller"),
        ] {
            let arguments = [vec!["placement", "plan", group], source].concat();
            report.same(
                &format!("where another member of {group} goes, from {from}"),
                expected,
                first_line(nat, &arguments),
            );
        }
    }
}

fn first_line(nat: &Nat, arguments: &[&str]) -> Result<String> {
    let said = nat.finish(arguments)?.success()?;
    let line = said.lines().next().context("it says nothing")?;
    Ok(line.to_owned())
}

/// The proposal is followed, and holds for the running controller too.
fn check_controller(
    report: &mut Report,
    edge: &Running,
    [web_1, web_8]: [&Namespace; 2],
) -> Result<()> {
    let nat = &edge.nat;
    let put = |name: &str, address: &str| {
        let object = format!("main/instance/{name}");
        let spec = format!(
            r#"{{"subnet": "b", "private_ip": "{address}", "placement_group": "web", "host": "hb1"}}"#
        );
        outcome(nat, &["put", &object, &spec])
    };
    report.that(
        "nat put takes web-8 where the plan has it",
        "exit status 0",
        put("web-8", "10.20.2.18"),
        |seen| seen.starts_with("exit status 0: "),
    );
    let server = web_1.listen("10.20.1.11:8080")?;
    let connection = Connection::open(web_8, "10.20.2.18:40001", "10.20.1.11:8080", &server);
    report.same(
        "web-8 reaches web-1 in the other zone, which sees",
        "10.20.2.18:40001",
        seen(&connection),
    );
    report.that(
        "nat put refuses web-9 beside it",
        "exit status 2: rack \"b1\" has \"web-8\" already",
        put("web-9", "10.20.2.19"),
        |seen| seen.starts_with("exit status 2: ") && seen.contains("rack \"b1\" has \"web-8\""),
    );
    report.same(
        "where the next member of web goes",
        "host hb2, rack b2, zone b",
        first_line(nat, &["placement", "plan", "web"]),
    );
    let shown = nat.finish(["placement", "show"])?.success();
    let shown = shown.map(|shown| {
        // Without the tree's branches.
        let lines = shown.lines().filter(|line| line.contains("web-8"));
        let words = lines.map(|line| line.trim_start_matches([' ', '|', '`', '-']));
        words.collect::<Vec<_>>().join("; ")
    });
    report.that(
        "nat placement show draws web-8",
        "on host hb1, as 1 of 7 in zone b",
        shown,
        |seen| seen.contains("host hb1  1 of 4  web-8 (web)") && seen.contains("b     1 of 7"),
    );
    Ok(())
}
