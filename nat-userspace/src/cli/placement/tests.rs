//! `nat placement` with a file, and with a controller at a socket.

use clap::Parser;
use serde_json::Value as Json;

use super::*;
use crate::{api::tests::server::Server, config::tests::placed};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// What is printed with these words, or why it fails: the exit status and the message.
fn says(socket: &Path, line: &str) -> Result<String, (u8, String)> {
    let words = ["placement"].into_iter().chain(line.split(' '));
    let line = Line::try_parse_from(words).map_err(|error| (2, error.to_string()))?;
    let mut out = Vec::new();
    match say(socket, &line.arguments, &mut out) {
        Ok(()) => Ok(String::from_utf8(out).expect("text")),
        Err(failure @ Failure::BadInput(_)) => Err((2, failure.into_text())),
        Err(failure) => Err((1, failure.into_text())),
    }
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nat.toml");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("text").to_owned();
    (folder, path)
}

#[test]
fn placement_of_a_file_is_planned_and_shown() {
    let (_folder, path) = file(&placed(&[]));
    let says = |line: &str| says(Path::new("/nowhere"), &format!("{line} --config {path}"));
    let expected = "host b1-1, rack b1, zone b\n  \
                    why: no member is in rack \"b1\", and zone \"b\" has 0 of 7 running\n  \
                    write: placement_group = \"front\", host = \"b1-1\", in a subnet of zone b: private-b\n";
    assert_eq!(says("plan front"), Ok(expected.to_owned()));
    let json = says("plan db --zone a --partition 1 --vpc main --json").expect("fits");
    let json: Json = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["host"], &json["partition"]),
        (&json!("a1-2"), &json!(1))
    );
    assert_eq!(json["subnets"], json!(["public-a", "private-a"]));
    let shown = says("show").expect("a picture");
    let host = "|  |  |- host a1-1  2 of 2  db-1 (db, partition 1), web (front)\n";
    assert!(shown.contains(host), "{shown}");
    assert!(shown.contains("mpi-1@?, mpi-2@? stopped"), "{shown}");
    let picture: Json = serde_json::from_str(&says("show --json").expect("JSON")).expect("JSON");
    assert_eq!(picture["zones"][0]["racks"][0]["hosts"][1]["host"], "a1-2");
}

#[test]
fn placement_that_nothing_fits_fails_with_the_reason() {
    let (_folder, path) = file(&placed(&[]));
    let says = |line: &str| says(Path::new("/nowhere"), &format!("{line} --config {path}"));
    let why =
        "nothing fits in cluster group mpi: the cluster is in zone \"a\" with \"mpi-1\" (b1-1)";
    assert_eq!(says("plan mpi --zone b"), Err((1, why.to_owned())));
    for (line, expected) in [
        ("plan no-group", "nat: there is no placement group no-group"),
        ("plan db --vpc dev", "nat: there is no VPC dev"),
        (
            "plan db --partition 3",
            "nat: group db has 2 partition(s): use 1 to 2",
        ),
        (
            "plan mpi --partition 1",
            "nat: cluster group mpi has no partitions",
        ),
        ("show --vpc dev", "nat: there is no VPC dev"),
    ] {
        assert_eq!(says(line), Err((2, expected.to_owned())));
    }
}

#[test]
fn placement_of_a_running_controller_is_planned_and_shown() {
    let server = Server::new();
    let socket = server.socket();
    let put = |object: &str, spec: &str| {
        let (status, answer) = server.ask("PUT", &format!("/v1/vpcs/main/{object}"), spec);
        assert_eq!(status, 201, "{answer}");
    };
    assert_eq!(says(&socket, "show"), Ok("vpc main\n".to_owned()));
    put("rack/r1", r#"{"zone": "a"}"#);
    put("rack/r2", r#"{"zone": "a"}"#);
    put("host/h1", r#"{"rack": "r1"}"#);
    put("host/h2", r#"{"rack": "r2"}"#);
    put("placement_group/g", r#"{"strategy": "spread"}"#);
    let planned = |host: &str| {
        let json = says(&socket, "plan g --json").expect("fits");
        let json: Json = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["host"], host);
    };
    let member = |ip: &str, host: &str| {
        format!(
            r#"{{"subnet": "private-a", "private_ip": "{ip}", "placement_group": "g", "host": "{host}"}}"#
        )
    };
    planned("h1");
    put("instance/i1", &member("10.40.2.5", "h1"));
    planned("h2");
    let path = "/v1/vpcs/main/instance/i2";
    let (status, answer) = server.ask("PUT", path, &member("10.40.2.6", "h1"));
    let remedy = &answer["errors"][0]["remedy"];
    assert_eq!(
        (status, remedy),
        (
            422,
            &json!("host \"h2\" in rack \"r2\", zone \"a\" has room")
        )
    );
    put("instance/i2", &member("10.40.2.6", "h2"));
    let why = says(&socket, "plan g").expect_err("no rack is left");
    assert!(
        why.1.contains("rack \"r1\" has the member \"i1\" (h1)"),
        "{}",
        why.1
    );
    let shown = says(&socket, "show").expect("a picture");
    assert!(
        shown.contains("   `- rack r2\n      `- host h2  1  i2 (g)\n"),
        "{shown}"
    );
}
