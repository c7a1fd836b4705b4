//! The controller's API: files that are compared and applied, and objects beside them that outlive it.
use std::fs;

use nat_tests::netns::{
    Connection, Hook,
    configuration::{Configuration, classic},
};
use serde_json::Value as Json;

use crate::standing::{Standing, classic_with_ips};

const SERVER: &str = "198.51.100.80:8080";
const HELD: &str = "10.40.2.101:40001";
const WEB: &str = "main/instance/web";
const WEB_SPEC: &str =
    r#"{"subnet": "public-a", "private_ip": "10.20.1.10", "public_ip": "198.51.100.20"}"#;

/// A file beside the controller's own.
const OTHER: &str = "/run/other.toml";

impl Standing {
    fn other_file(&self, text: &str) {
        let written = self.lab.edge.run(|| Ok(fs::write(OTHER, text)?));
        written.expect("a file");
    }

    /// What `nat` says with these arguments.
    fn says(&self, arguments: &[&str]) -> String {
        let finished = self.nat.finish(arguments).expect("an end");
        finished.success().expect("done")
    }

    /// How `nat` fails with these arguments: exit status and message.
    fn fails(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let finished = self.nat.finish(arguments).expect("an end");
        (finished.code, finished.stderr)
    }

    /// The internet host reaches the web instance by its public IP.
    fn web_is_reached(&self, port: u16) -> bool {
        let (inside, public) = (
            format!("10.20.1.10:{port}"),
            format!("198.51.100.20:{port}"),
        );
        let server = self.lab.web.listen(&inside).expect("a server");
        let from = format!("198.51.100.80:{port}");
        Connection::open(&self.lab.internet, &from, &public, &server).is_ok()
    }
}

/// A file without the web instance.
fn without_web(hook: Hook) -> Configuration {
    classic(hook, "").without("instance", "web")
}

/// The routes of hosts behind the NAT gateway that have no way out.
const NOWHERE: &[(&str, &str)] = &[("0.0.0.0/0", "blackhole")];

/// `nat diff` says what `nat apply` then does: to the objects, and to the sessions.
pub fn a_file_is_compared_and_applied(hook: Hook) {
    let mut standing = Standing::new(hook);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&standing.lab.private_a, HELD, SERVER, &server);
    let held = held.expect("a connection");
    held.exchange().expect("before the change");
    standing.other_file(&classic(hook, ""));
    let same = standing.says(&["diff", OTHER]);
    assert_eq!(same, "no changes\nsessions: 1 go on, 0 end\n");

    // A public IP that is given up serves its sessions on.
    standing.other_file(&classic_with_ips(hook, &["198.51.100.11"], ""));
    let expected = "~ main/nat_gateway/egress\n    \
                    - public_ips = \"198.51.100.10\"\n    \
                    + public_ips = \"198.51.100.11\"\n";
    let goes_on = "sessions: 1 go on, 0 end\n";
    assert_eq!(
        standing.says(&["diff", OTHER]),
        format!("{expected}{goes_on}")
    );

    standing.other_file(&classic(hook, "").routed("private", NOWHERE));
    let diff = standing.says(&["diff", OTHER]);
    let ends = "sessions: 0 go on, 1 end\n  tcp main 10.40.2.101:40001 -> 198.51.100.80:8080 as \
                198.51.100.10:40001: The route to the destination is a blackhole.\n";
    assert!(diff.ends_with(ends), "{diff}");
    held.exchange().expect("nothing was changed");
    let lines = standing.says(&["diff", OTHER, "--json"]);
    let lines: Vec<Json> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["object"], "main/route_table/private");
    assert_eq!(lines[1]["sessions_end"], 1);
    assert_eq!(lines[2]["source_port"], 40001);

    standing.says(&["apply", OTHER]);
    assert!(held.exchange().is_err(), "its route leads nowhere");
    standing.other_file(&classic_with_ips(hook, &["198.51.100.11"], ""));
    standing.says(&["apply", OTHER]);
    let new = Connection::open(
        &standing.lab.private_a,
        "10.40.2.101:40002",
        SERVER,
        &server,
    );
    assert_eq!(
        new.expect("a connection").seen.ip().to_string(),
        "198.51.100.11"
    );

    standing.other_file(&classic(hook, "").replace("\"private0\"", "\"public0\""));
    let refused = standing.nat.finish(["diff", OTHER]).expect("an end");
    assert_eq!(refused.code, Some(1), "as `nat apply`: {refused:?}");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    let why = "it would be refused: its interfaces are others";
    assert!(said.contains(why), "{said}");
    let (code, message) = standing.fails(&["apply", OTHER]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("its interfaces are others"), "{message}");
    standing.other_file(&classic(hook, "").replace("public_ip = ", "publicip = "));
    let (code, message) = standing.fails(&["apply", OTHER]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.starts_with("/run/other.toml:"), "{message}");
    standing.assert_running();
}

/// What was acknowledged is there with the next controller, however the last one ended, and it works.
pub fn an_object_of_the_api_outlives_its_controller(hook: Hook) {
    let mut standing = Standing::with_configuration(hook, &without_web(hook));
    assert!(!standing.web_is_reached(40100));
    standing.says(&["put", WEB, WEB_SPEC]);
    assert!(standing.web_is_reached(40101));
    standing.kill_nine();
    let (code, message) = standing.fails(&["get"]);
    assert_eq!(code, Some(1));
    assert!(
        message.contains("no controller answers at /run/nat/nat.sock"),
        "{message}"
    );
    standing.start(&[]);
    assert!(standing.web_is_reached(40102));
    let web: Json = serde_json::from_str(&standing.says(&["get", WEB, "--json"])).expect("JSON");
    assert_eq!(web["owner"], "api");

    // A file that declares it, too, is refused by name; one that does not leaves it alone.
    standing.other_file(&classic(hook, ""));
    let (code, message) = standing.fails(&["apply", OTHER]);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("delete main/instance/web by the API"),
        "{message}"
    );
    standing.other_file(&without_web(hook).replace("edge-1", "edge-2"));
    standing.says(&["apply", OTHER]);
    assert!(standing.web_is_reached(40103));

    // Without a file the last one applied goes on.
    standing.terminate();
    standing.start_without_file();
    assert!(standing.web_is_reached(40104));
    assert_eq!(standing.status()["node"], "edge-2");
    standing.says(&["delete", WEB]);
    assert!(!standing.web_is_reached(40105));
    standing.assert_running();
}

/// Routes to a NAT gateway that was deleted drop what they are asked to route, and say so.
pub fn routes_to_a_deleted_gateway_are_blackholes(hook: Hook) {
    let with_route = classic(hook, "").without("nat_gateway", "egress");
    let bare = with_route.clone().routed("private", NOWHERE);
    let mut standing = Standing::with_configuration(hook, &bare);
    let gateway =
        r#"{"subnet": "public-a", "private_ip": "10.20.1.100", "public_ips": ["198.51.100.10"]}"#;
    let put = ["put", "main/nat_gateway/egress", gateway];
    standing.says(&put);
    standing.configure(&with_route);
    standing.other_file(&with_route);
    standing.says(&["apply", OTHER]);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let open = |standing: &Standing, from: &str| {
        Connection::open(&standing.lab.private_a, from, SERVER, &server)
    };
    open(&standing, HELD).expect("a connection");

    let deleted = standing.says(&["delete", "main/nat_gateway/egress"]);
    assert!(deleted.contains("0.0.0.0/0"), "{deleted}");
    let before = standing.drops("blackhole");
    assert!(open(&standing, "10.40.2.101:40002").is_err());
    assert!(standing.drops("blackhole") > before);
    standing.terminate();
    standing.start(&[]);
    let table = standing.says(&["get", "main/route_table/private", "--json"]);
    let table: Json = serde_json::from_str(&table).expect("JSON");
    assert_eq!(table["blackholes"][0], "0.0.0.0/0");
    standing.says(&put);
    open(&standing, "10.40.2.101:40003").expect("a connection");
    standing.assert_running();
}

/// A host is proposed from what the controller holds, an instance that breaks a rule is refused with the
/// host that would do, and none of it touches a connection.
pub fn placement_is_planned_and_enforced_by_the_controller(hook: Hook) {
    let mut standing = Standing::new(hook);
    let server = standing.lab.internet.listen(SERVER).expect("a server");
    let held = Connection::open(&standing.lab.private_a, HELD, SERVER, &server);
    let held = held.expect("a connection");
    for (object, spec) in [
        ("main/rack/r1", r#"{"zone": "a"}"#),
        ("main/rack/r2", r#"{"zone": "a"}"#),
        ("main/host/h1", r#"{"rack": "r1"}"#),
        ("main/host/h2", r#"{"rack": "r2"}"#),
        ("main/placement_group/web", r#"{"strategy": "spread"}"#),
    ] {
        standing.says(&["put", object, spec]);
    }
    let member = |ip: &str, host: &str| {
        format!(
            r#"{{"subnet": "private-a", "private_ip": "{ip}", "placement_group": "web", "host": "{host}"}}"#
        )
    };
    let plan = ["placement", "plan", "web", "--json"];
    let planned = |standing: &Standing| {
        let plan: Json = serde_json::from_str(&standing.says(&plan)).expect("JSON");
        plan["host"].as_str().expect("a host").to_owned()
    };
    assert_eq!(planned(&standing), "h1");
    standing.says(&["put", "main/instance/one", &member("10.40.2.31", "h1")]);
    assert_eq!(planned(&standing), "h2");
    let put = ["put", "main/instance/two", &member("10.40.2.32", "h1")];
    let (code, message) = standing.fails(&put);
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("rack \"r1\" has \"one\" (API) already")
            && message.contains("host \"h2\" in rack \"r2\", zone \"a\" has room"),
        "{message}"
    );
    standing.says(&["put", "main/instance/two", &member("10.40.2.32", "h2")]);
    let (code, message) = standing.fails(&plan);
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains("nothing fits in spread group web"),
        "{message}"
    );
    let shown = standing.says(&["placement", "show"]);
    assert!(shown.contains("host h2  1  two (web)"), "{shown}");
    held.exchange().expect("it goes on");
    standing.assert_running();
}
