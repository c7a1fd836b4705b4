//! `nat metadata` with a file, and with a controller at a socket.

use clap::Parser;

use super::*;
use crate::{api::tests::server::Server, config::tests::described};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// What is printed with these words, or why it fails: the exit status and the message.
fn says(socket: &Path, line: &str) -> Result<String, (u8, String)> {
    let words = ["metadata"].into_iter().chain(line.split(' '));
    let line = Line::try_parse_from(words).map_err(|error| (2, error.to_string()))?;
    let mut out = Vec::new();
    match say(socket, &line.arguments, &mut out) {
        Ok(()) => Ok(String::from_utf8(out).expect("text")),
        Err(failure @ Failure::BadInput(_)) => Err((2, failure.into_text())),
        Err(failure) => Err((1, failure.into_text())),
    }
}

const OTHER_VPC: &str = r#"
[[vpc]]
name = "dev"
cidrs = ["10.20.0.0/16"]
subnet = [{ name = "a", cidr = "10.20.1.0/24", interface = "br-dev" }]
instance = [{ name = "web", subnet = "a", private_ip = "10.20.1.10" }]
"#;

fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nat.toml");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("text").to_owned();
    (folder, path)
}

#[test]
fn metadata_of_a_file_is_shown() {
    let text = described(&[("name = \"edge-1\"", "region = \"eu-1\"")]) + OTHER_VPC;
    let (_folder, path) = file(&text);
    let says = |line: &str| says(Path::new("/nowhere"), &format!("{line} --config {path}"));
    let shown = says("show web --vpc main").expect("shown");
    assert!(
        shown.starts_with("instance web of VPC main: required, hop limit 2\n"),
        "{shown}"
    );
    let value = |path: &str| {
        let mut lines = shown.lines();
        lines.find_map(|line| Some(line.strip_prefix(path)?.trim().to_owned()))
    };
    let meta = "/latest/meta-data";
    assert_eq!(
        value(&format!("{meta}/placement/region")).as_deref(),
        Some("eu-1")
    );
    assert_eq!(
        value(&format!("{meta}/tags/instance/Name")).as_deref(),
        Some("web")
    );
    let blocks = format!("{meta}/network/interfaces/macs/02:00:00:00:00:0b/vpc-ipv4-cidr-blocks");
    assert_eq!(
        value(&blocks).as_deref(),
        Some("10.20.0.0/16, 10.40.0.0/16")
    );
    let document = value("/latest/dynamic/instance-identity/document").expect("a document");
    let document: Json = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["instanceId"], "i-0123456789abcdef0");

    let json: Json =
        serde_json::from_str(&says("show web --vpc dev --json").expect("JSON")).expect("JSON");
    assert_eq!(
        (&json["metadata"], &json["hop_limit"]),
        (&json!("optional"), &json!(1))
    );
    assert_eq!(json["values"]["meta-data/local-ipv4"], "10.20.1.10");

    let dark = "instance dark of VPC main: disabled, hop limit 1\n";
    assert_eq!(says("show dark"), Ok(dark.to_owned()));
}

#[test]
fn metadata_of_what_is_not_there_is_bad_input() {
    let (_folder, path) = file(&(described(&[]) + OTHER_VPC));
    let says = |line: &str| says(Path::new("/nowhere"), &format!("{line} --config {path}"));
    for (line, expected) in [
        ("show db", "nat: there is no instance db"),
        ("show web --vpc test", "nat: there is no VPC test"),
        ("show dark --vpc dev", "nat: there is no instance dark"),
        (
            "show web",
            "nat: several VPCs have an instance web: name one with --vpc",
        ),
    ] {
        assert_eq!(says(line), Err((2, expected.to_owned())));
    }
}

#[test]
fn metadata_of_a_running_controller_is_shown_with_what_the_api_has_put() {
    let mut server = Server::new();
    let spec = r#"{"subnet": "private-a", "private_ip": "10.40.2.5", "metadata_tags": true, "tags": {"Name": "db"}}"#;
    let (status, answer) = server.ask("PUT", "/v1/vpcs/main/instance/db", spec);
    assert_eq!(status, 201, "{answer}");
    let wrong = spec.replace("Name", "a/b");
    let (status, answer) = server.ask("PUT", "/v1/vpcs/main/instance/db", &wrong);
    assert_eq!(status, 422, "{answer}");
    let place = "vpc \"main\" / instance \"db\" / tags / \"a/b\"";
    assert_eq!(answer["errors"][0]["where"], place);
    let socket = server.socket();
    let json = says(&socket, "show db --json").expect("shown");
    let json: Json = serde_json::from_str(&json).expect("JSON");
    let values = &json["values"];
    assert_eq!(values["meta-data/tags/instance/Name"], "db");
    assert_eq!(values["meta-data/placement/region"], "local");
    assert_eq!(values["meta-data/placement/availability-zone"], "a");
    server.stop();
    let (status, why) = says(&socket, "show db").expect_err("nobody answers");
    assert!(
        status == 1 && why.contains("no controller answers at"),
        "{why}"
    );
}
