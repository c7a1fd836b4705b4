//! The OpenAPI document says what is served, and the keys that are read.

use std::collections::BTreeSet;

use super::server::Server;
use crate::{
    api::openapi::{Endpoint, document},
    config::objects::Kind,
};

#[test]
fn what_is_documented_is_what_is_served() {
    let server = Server::new();
    let (status, served) = server.ask("GET", "/v1/openapi.json", "");
    assert_eq!((status, &served), (200, &document()));
    let methods = ["get", "put", "post", "delete", "patch"];
    for endpoint in Endpoint::ALL {
        let path = endpoint
            .path()
            .replace("{vpc}", "main")
            .replace("{kind}", "instance")
            .replace("{name}", "db");
        let operations = &served["paths"][endpoint.path()];
        for method in methods {
            let (status, answer) = server.ask(&method.to_uppercase(), &path, "{}");
            match operations[method]["responses"].as_object() {
                Some(responses) => {
                    assert!(
                        responses.contains_key(&status.to_string()),
                        "{method} {path}: {status} {answer}"
                    );
                    assert!(
                        !answer.to_string().contains("nothing at this path"),
                        "{method} {path}"
                    );
                }
                None => assert_eq!(status, 405, "{method} {path}"),
            }
        }
    }
}

/// The readers name the keys they know when they meet one that they do not.
#[test]
fn documented_keys_are_those_that_are_read() {
    let server = Server::new();
    for kind in Kind::ALL {
        let schema = &document()["components"]["schemas"][kind.name()];
        let path = match kind {
            Kind::Vpc => "/v1/vpcs/x".to_owned(),
            kind => format!("/v1/vpcs/main/{}/x", kind.name()),
        };
        let (_, answer) = server.ask("PUT", &path, r#"{"zzzzzz": 1}"#);
        let errors = answer["errors"].as_array().expect("errors");
        let unknown = errors
            .iter()
            .find(|error| error["what"] == "unknown key")
            .expect("one of them");
        let (_, known) = unknown["remedy"]
            .as_str()
            .expect("a remedy")
            .split_once("known keys here: ")
            .expect("keys");
        let parts: BTreeSet<_> = Kind::ALL.map(Kind::name).into();
        let known: BTreeSet<_> = known
            .split(", ")
            .filter(|key| kind != Kind::Vpc || !parts.contains(key))
            .collect();
        let properties = schema["properties"].as_object().expect("properties");
        let documented: BTreeSet<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(documented, known, "{kind:?}");
        let missing: BTreeSet<_> = errors
            .iter()
            .filter(|error| error["what"] == "required key is missing")
            .filter_map(|error| error["where"].as_str()?.rsplit_once(" / "))
            .map(|(_, key)| key.to_owned())
            .collect();
        let required = schema["required"].as_array().expect("required").iter();
        let required: BTreeSet<_> = required
            .map(|key| key.as_str().expect("a key").to_owned())
            .collect();
        assert_eq!(required, missing, "{kind:?}");
    }
}
