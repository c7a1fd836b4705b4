//! What the API answers, asked at its socket; `documented` holds it against its description.

mod documented;
pub mod server;

use std::os::unix::{fs::PermissionsExt as _, net::UnixListener};

use serde_json::{Value as Json, json};

use self::server::Server;
use super::{Listener, http::MAX_OBJECT_BYTES};
use crate::{config::tests::SAMPLE, error::Error};

const DB: &str = "/v1/vpcs/main/instance/db";
const DB_SPEC: &str = r#"{"subnet": "private-a", "private_ip": "10.40.2.5"}"#;

fn missing_interface() -> Error {
    Error::NoInterface("br-nowhere".to_owned())
}

#[test]
fn an_object_is_made_shown_replaced_and_deleted() {
    let server = Server::new();
    let (status, object) = server.ask("PUT", DB, DB_SPEC);
    assert_eq!(status, 201, "{object}");
    let expected = json!({
        "vpc": "main", "kind": "instance", "name": "db", "owner": "api", "revision": 2,
        "spec": {"subnet": "private-a", "private_ip": "10.40.2.5"},
    });
    assert_eq!(object, expected);
    assert_eq!(server.ask("GET", DB, ""), (200, expected));
    let enforced = server.enforced().expect("enforced");
    assert_eq!(enforced.vpcs[0].instances[1].name, "db");
    // The same again changes nothing.
    assert_eq!(server.ask("PUT", DB, DB_SPEC).1["revision"], 2);
    let moved = DB_SPEC.replace("10.40.2.5", "10.40.2.6");
    assert_eq!(server.ask("PUT", DB, &moved).0, 200);
    let (_, list) = server.ask("GET", "/v1/vpcs/main/instance", "");
    let names: Vec<_> = list["objects"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|object| &object["name"])
        .collect();
    assert_eq!(names, ["db", "web"]);
    assert_eq!(list["objects"][1]["owner"], "file");
    assert_eq!(list["objects"][1]["where"], "file.toml:39");
    assert_eq!(server.ask("DELETE", DB, "").0, 200);
    assert_eq!(server.ask("GET", DB, "").0, 404);
    assert_eq!(server.ask("DELETE", DB, "").0, 404);
    let (_, status) = server.ask("GET", "/v1/status", "");
    assert_eq!(
        (&status["revision"], &status["generation"]),
        (&json!(4), &json!(7))
    );
}

#[test]
fn every_refusal_has_its_status_and_changes_nothing() {
    let server = Server::new();
    let much = format!("{{\"subnet\": \"{}\"}}", "x".repeat(MAX_OBJECT_BYTES));
    for (method, path, body, expected, words) in [
        ("PUT", DB, "{", 400, "no JSON object"),
        ("PUT", DB, "[]", 400, "no JSON object"),
        (
            "PUT",
            "/v1/vpcs/main/instance/a%20b",
            DB_SPEC,
            400,
            "no object's name",
        ),
        (
            "PUT",
            "/v1/vpcs/main/vpc/other",
            "{}",
            400,
            "no object's name",
        ),
        (
            "GET",
            "/v1/vpcs/main/instances/web",
            "",
            404,
            "no kind of objects",
        ),
        (
            "GET",
            "/v1/vpcs/nowhere/instance",
            "",
            404,
            "no nowhere/vpc/nowhere",
        ),
        ("GET", "/v2/status", "", 404, "nothing at this path"),
        ("POST", DB, "{}", 405, "does not take this method"),
        (
            "PUT",
            "/v1/vpcs/main/instance/web",
            DB_SPEC,
            409,
            "the file's",
        ),
        (
            "DELETE",
            "/v1/vpcs/main/instance/web",
            "",
            409,
            "the file's",
        ),
        ("PUT", DB, &much, 413, "too large"),
        (
            "PUT",
            DB,
            r#"{"subnet": "nowhere"}"#,
            422,
            "required key is missing",
        ),
        (
            "PUT",
            "/v1/vpcs/dev/instance/db",
            DB_SPEC,
            422,
            "there is no VPC",
        ),
        ("POST", "/v1/apply", "[[", 422, "TOML syntax"),
        ("POST", "/v1/diff", "", 422, "the configuration is empty"),
    ] {
        let (status, answer) = server.ask(method, path, body);
        assert_eq!(status, expected, "{method} {path}: {answer}");
        let error = &answer["errors"][0];
        assert!(
            error["what"].as_str().expect("what").contains(words),
            "{answer}"
        );
        assert!(
            error["where"].is_string() && error["remedy"].is_string(),
            "{answer}"
        );
    }
    let (status, _, _) = server.ask_with("POST", "/v1/apply", &[], &[0xff]);
    assert_eq!(status, 400);
    assert_eq!(server.enforced(), None);
    assert_eq!(server.ask("GET", "/v1/status", "").1["revision"], 1);
}

#[test]
fn what_the_dataplane_refuses_is_taken_back() {
    let server = Server::new();
    let broken = || Error::Load("no".to_owned());
    for (error, expected) in [
        (Error::TakesStart("its interfaces are others"), 409),
        (missing_interface(), 422),
        (broken(), 500),
    ] {
        server.fail_once(error);
        let (status, answer) = server.ask("PUT", DB, DB_SPEC);
        assert_eq!(status, expected, "{answer}");
        assert_eq!(server.ask("GET", DB, "").0, 404);
    }
    // What held before was made to hold again after a failure.
    assert_eq!(
        server.enforced().expect("enforced").vpcs[0].instances.len(),
        1
    );
    server.fail_once(broken());
    assert_eq!(
        server
            .ask("POST", "/v1/apply", &SAMPLE.replace("edge-1", "edge-2"))
            .0,
        500
    );
    assert_eq!(server.enforced().expect("enforced").node.name, "edge-1");
    assert_eq!(server.ask("GET", "/v1/status", "").1["revision"], 1);
}

#[test]
fn only_who_knows_the_revision_changes_it() {
    let server = Server::new();
    let (_, head, _) = server.ask_with("GET", "/v1/status", &[], b"");
    assert!(head.contains("etag: \"1\""), "{head}");
    let put = |tag: &str| {
        let header = format!("If-Match: {tag}");
        server.ask_with("PUT", DB, &[&header], DB_SPEC.as_bytes()).0
    };
    assert_eq!(put("\"0\""), 412);
    assert_eq!(put("1"), 400);
    assert_eq!(put("\"1\""), 201);
    let (status, _, _) = server.ask_with("DELETE", DB, &["If-Match: \"1\""], b"");
    assert_eq!(status, 412);
    let (status, _, _) = server.ask_with("DELETE", DB, &["If-Match: *"], b"");
    assert_eq!(status, 200);
}

#[test]
fn a_file_is_compared_and_applied_and_the_apis_objects_stay() {
    let mut server = Server::new();
    server.ask("PUT", DB, DB_SPEC);
    let other = SAMPLE.replace("198.51.100.20", "198.51.100.21");
    let expected = json!([{
        "object": "main/instance/web", "what": "changed",
        "fields": [{"field": "public_ip", "before": "198.51.100.20", "after": "198.51.100.21"}],
    }]);
    let (status, diff) = server.ask("POST", "/v1/diff", &other);
    assert_eq!((status, &diff["changes"]), (200, &expected));
    assert_eq!(diff["sessions"]["keeps"], 3);
    assert_eq!(diff["refused"], Json::Null);
    server.fail_once(missing_interface());
    let (status, diff) = server.ask("POST", "/v1/diff", &other);
    assert_eq!(status, 200);
    assert!(
        diff["refused"][0]["what"]
            .as_str()
            .expect("why")
            .contains("br-nowhere")
    );
    assert_eq!(
        server.ask("POST", "/v1/apply?name=other.toml", &other).1["changes"],
        expected
    );
    assert_eq!(
        server.ask("POST", "/v1/diff", &other).1["changes"],
        json!([])
    );
    let (_, web) = server.ask("GET", "/v1/vpcs/main/instance/web", "");
    assert_eq!(web["where"], "other.toml:39");
    assert_eq!(server.ask("GET", DB, "").0, 200);
    let taken = other.replace("name = \"web\"", "name = \"db\"");
    let (status, answer) = server.ask("POST", "/v1/apply?name=taken.toml", &taken);
    assert_eq!(status, 422);
    assert!(
        answer["errors"][0]["what"]
            .as_str()
            .expect("why")
            .contains("taken.toml:39 declares it"),
        "{answer}"
    );

    // A start without a file goes on with the last one, and with the objects.
    server.stop();
    server.start(None);
    assert_eq!(
        server.ask("GET", "/v1/vpcs/main/instance/web", ""),
        (200, web)
    );
    assert_eq!(server.ask("GET", DB, "").0, 200);
    // A file at the start is the file.
    server.stop();
    server.start(Some(SAMPLE));
    let (_, web) = server.ask("GET", "/v1/vpcs/main/instance/web", "");
    assert_eq!(web["spec"]["public_ip"], "198.51.100.20");
}

#[test]
fn routes_show_that_their_target_is_gone() {
    let mut server = Server::new();
    let gateway = "/v1/vpcs/main/nat_gateway/second";
    let spec =
        r#"{"subnet": "public-a", "private_ip": "10.20.1.101", "public_ips": ["198.51.100.30"]}"#;
    let route = "/v1/vpcs/main/route/office";
    let to_it = r#"{"route_table": "private", "destination": "192.0.2.0/24", "target": "nat-gateway:second"}"#;
    assert_eq!(server.ask("PUT", route, to_it).0, 422);
    assert_eq!(server.ask("PUT", gateway, spec).0, 201);
    assert_eq!(server.ask("PUT", route, to_it).0, 201);
    let (_, deleted) = server.ask("DELETE", gateway, "");
    assert_eq!(
        deleted["blackholes"],
        json!([{"route_table": "private", "destination": "192.0.2.0/24"}])
    );
    server.stop();
    server.start(Some(SAMPLE));
    for path in [route, "/v1/vpcs/main/route_table/private"] {
        assert_eq!(
            server.ask("GET", path, "").1["blackholes"],
            json!(["192.0.2.0/24"]),
            "{path}"
        );
    }
    assert_eq!(
        server.ask("GET", "/v1/status", "").1["gone"],
        json!(["main/nat_gateway/second"])
    );
    assert_eq!(server.ask("PUT", gateway, spec).0, 201);
    assert_eq!(server.ask("GET", route, "").1.get("blackholes"), None);
}

#[test]
fn the_socket_is_its_owners_and_a_dead_one_is_replaced() {
    let mut server = Server::new();
    let path = server.socket();
    let mode = std::fs::metadata(&path)
        .expect("is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = Listener::bind(&path).err().expect("refused").to_string();
    assert!(text.contains("is another controller's"), "{text}");
    server.stop();
    assert!(!path.exists());
    // As a controller leaves it that was killed.
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    drop(Listener::bind(&path).expect("replaced"));
    std::fs::write(&path, "a file").expect("written");
    let text = Listener::bind(&path).err().expect("refused").to_string();
    assert!(text.contains("something else than a socket"), "{text}");
}
