//! The API for machines: what [`super::http`] serves, as an OpenAPI document. The endpoints here are
//! those that are served, and tests hold the schemas against the readers of the configuration.

use serde_json::{Map, Value as Json, json};

use crate::config::objects::Kind;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    OpenApi,
    Status,
    Objects,
    Vpcs,
    Vpc,
    Kind,
    Object,
    Apply,
    Diff,
}

impl Endpoint {
    pub const ALL: [Self; 9] = [
        Self::OpenApi,
        Self::Status,
        Self::Objects,
        Self::Vpcs,
        Self::Vpc,
        Self::Kind,
        Self::Object,
        Self::Apply,
        Self::Diff,
    ];

    pub const fn path(self) -> &'static str {
        match self {
            Self::OpenApi => "/v1/openapi.json",
            Self::Status => "/v1/status",
            Self::Objects => "/v1/objects",
            Self::Vpcs => "/v1/vpcs",
            Self::Vpc => "/v1/vpcs/{vpc}",
            Self::Kind => "/v1/vpcs/{vpc}/{kind}",
            Self::Object => "/v1/vpcs/{vpc}/{kind}/{name}",
            Self::Apply => "/v1/apply",
            Self::Diff => "/v1/diff",
        }
    }

    fn operations(self) -> Json {
        let get = |summary: &str, answer: &str, errors: &[&str]| json!({ "summary": summary, "responses": responses(&[("200", answer)], errors) });
        let change = |mut operation: Json| {
            operation["parameters"] = json!([{
                "name": "If-Match", "in": "header", "schema": { "type": "string" },
                "description": "Only if the revision is still this one, as it came as ETag",
            }]);
            operation
        };
        let put = |summary: &str, schema: Json| {
            change(json!({
                "summary": summary,
                "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
                "responses": responses(
                    &[("200", "Object"), ("201", "Object")],
                    &["400", "404", "409", "412", "413", "422", "500"],
                ),
            }))
        };
        let delete = |summary: &str| {
            change(json!({
                "summary": summary,
                "responses": responses(&[("200", "Deleted")], &["400", "404", "409", "412", "500"]),
            }))
        };
        let post = |summary: &str, answer: &str, errors: &[&str]| {
            json!({
                "summary": summary,
                "parameters": [{
                    "name": "name", "in": "query", "schema": { "type": "string" },
                    "description": "What the file is called in messages",
                }],
                "requestBody": { "required": true, "content": { "application/toml": { "schema": { "type": "string" } } } },
                "responses": responses(&[("200", answer)], errors),
            })
        };
        match self {
            Self::OpenApi => json!({ "get": {
                "summary": "This document",
                "responses": { "200": { "description": "An OpenAPI document" } },
            }}),
            Self::Status => {
                json!({ "get": get("Revision, generation and counts", "Status", &["500"]) })
            }
            Self::Objects => json!({ "get": get("Every object", "Objects", &["500"]) }),
            Self::Vpcs => json!({ "get": get("The VPCs", "Objects", &["500"]) }),
            Self::Vpc => json!({
                "get": get("A VPC without what is in it", "Object", &["400", "404", "500"]),
                "put": put("Make or replace a VPC of the API", schema_of(Kind::Vpc)),
                "delete": delete("Delete a VPC of the API; it must be empty"),
            }),
            Self::Kind => {
                json!({ "get": get("The objects of a kind", "Objects", &["404", "500"]) })
            }
            Self::Object => json!({
                "get": get("An object", "Object", &["400", "404", "500"]),
                "put": put("Make or replace an object of the API", json!({
                    "anyOf": Kind::ALL.map(schema_of),
                })),
                "delete": delete("Delete an object of the API; routes to a NAT gateway, an instance or an endpoint that is deleted become blackholes"),
            }),
            Self::Apply => {
                let errors = ["400", "409", "412", "413", "422", "500"];
                let apply = post(
                    "Replace the file; the API's objects stay",
                    "Applied",
                    &errors,
                );
                let mut apply = apply;
                if let Some(parameters) = apply["parameters"].as_array_mut() {
                    parameters.push(json!({ "name": "If-Match", "in": "header", "schema": { "type": "string" } }));
                }
                json!({ "post": apply })
            }
            Self::Diff => {
                let errors = ["400", "413", "422", "500"];
                json!({ "post": post("What applying a file would change", "Difference", &errors) })
            }
        }
    }

    fn parameters(self) -> Json {
        let path = self.path();
        let kinds = Kind::ALL.map(Kind::name);
        let parameter = |name: &str, schema: Json| json!({ "name": name, "in": "path", "required": true, "schema": schema });
        let mut parameters = Vec::new();
        if path.contains("{vpc}") {
            parameters.push(parameter("vpc", json!({ "type": "string" })));
        }
        if path.contains("{kind}") {
            parameters.push(parameter(
                "kind",
                json!({ "type": "string", "enum": kinds }),
            ));
        }
        if path.contains("{name}") {
            parameters.push(parameter("name", json!({ "type": "string" })));
        }
        parameters.into()
    }
}

fn schema_of(kind: Kind) -> Json {
    json!({ "$ref": format!("#/components/schemas/{}", kind.name()) })
}

fn responses(answers: &[(&str, &str)], errors: &[&str]) -> Json {
    let of = |description: &str, schema: &str| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } },
        })
    };
    let meaning = |code: &str| match code {
        "200" => "Done",
        "201" => "Made",
        "400" => "The request can't be read",
        "404" => "There is no such object",
        "409" => "Another owner, another object, or the running controller stands against it",
        "412" => "Somebody else was faster",
        "413" => "The body is too large",
        "422" => "It is not valid",
        _ => "The controller could not do it",
    };
    let answers = answers
        .iter()
        .map(|(code, schema)| ((*code).to_owned(), of(meaning(code), schema)));
    let errors = errors
        .iter()
        .map(|code| ((*code).to_owned(), of(meaning(code), "Errors")));
    answers.chain(errors).collect::<Map<_, _>>().into()
}

/// The whole document.
pub fn document() -> Json {
    let paths: Map<String, Json> = Endpoint::ALL
        .into_iter()
        .map(|endpoint| {
            let mut operations = endpoint.operations();
            operations["parameters"] = endpoint.parameters();
            (endpoint.path().to_owned(), operations)
        })
        .collect();
    let mut schemas = answers();
    if let Some(schemas) = schemas.as_object_mut() {
        for kind in Kind::ALL {
            schemas.insert(kind.name().to_owned(), schema(kind));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "nat", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn answers() -> Json {
    let string = || json!({ "type": "string" });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let object = |properties: Json| json!({ "type": "object", "properties": properties });
    let list = |of: Json| json!({ "type": "array", "items": of });
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let errors = || {
        list(object(
            json!({ "what": string(), "where": string(), "remedy": string() }),
        ))
    };
    json!({
        "Errors": object(json!({ "errors": errors() })),
        "Object": object(json!({
            "vpc": string(), "kind": string(), "name": string(),
            "owner": { "type": "string", "enum": ["file", "api"] },
            "where": string(),
            "spec": { "type": "object" },
            "blackholes": list(string()),
            "revision": count(),
        })),
        "Objects": object(json!({ "objects": list(reference("Object")), "revision": count() })),
        "Deleted": object(json!({
            "deleted": string(),
            "blackholes": list(object(json!({ "route_table": string(), "destination": string() }))),
            "revision": count(),
        })),
        "Status": object(json!({
            "revision": count(), "generation": count(), "file": string(), "region": string(),
            "file_objects": count(), "api_objects": count(), "gone": list(string()),
        })),
        "Change": object(json!({
            "object": string(),
            "what": { "type": "string", "enum": ["added", "removed", "changed"] },
            "fields": list(object(json!({ "field": string(), "before": {}, "after": {} }))),
        })),
        "Applied": object(json!({ "changes": list(reference("Change")), "revision": count() })),
        "Difference": object(json!({
            "changes": list(reference("Change")),
            "refused": { "anyOf": [{ "type": "null" }, errors()] },
            "sessions": object(json!({
                "keeps": count(), "ends": count(),
                "gateways": { "type": "object" },
                "ending": list(json!({ "type": "object" })),
            })),
            "revision": count(),
        })),
    })
}

/// The keys of an object: those of the file.
fn schema(kind: Kind) -> Json {
    let (properties, required): (&[(&str, &str)], &[&str]) = match kind {
        Kind::Vpc => (
            &[
                ("cidrs", "array"),
                ("internet_gateway", "boolean"),
                ("strict", "boolean"),
                ("dns", "boolean"),
                ("private_domain", "string"),
            ],
            &["cidrs"],
        ),
        Kind::RouteTable => (&[("main", "boolean"), ("routes", "array")], &[]),
        Kind::Route => (
            &[
                ("route_table", "string"),
                ("destination", "string"),
                ("target", "string"),
            ],
            &["route_table", "destination", "target"],
        ),
        Kind::Subnet => (
            &[
                ("cidr", "string"),
                ("zone", "string"),
                ("interface", "string"),
                ("route_table", "string"),
                ("network_acl", "string"),
            ],
            &["cidr", "interface"],
        ),
        Kind::NatGateway => (
            &[
                ("subnet", "string"),
                ("private_ip", "string"),
                ("public_ips", "array"),
                ("ports", "array"),
                ("address_ports", "array"),
                ("profile", "string"),
                ("filtering", "string"),
                ("max_sessions_per_client", "integer"),
                ("max_ports_per_client", "integer"),
                ("port_rest", "integer"),
                ("on_exhaustion", "string"),
                ("deterministic", "string"),
                ("no_translate", "array"),
                ("forward", "array"),
                ("timeouts", "object"),
                ("shared_with_host", "boolean"),
            ],
            &["subnet", "private_ip"],
        ),
        Kind::PrefixList => (&[("entries", "array")], &["entries"]),
        Kind::SecurityGroup | Kind::NetworkAcl => {
            (&[("ingress", "array"), ("egress", "array")], &[])
        }
        Kind::Rack => (&[("zone", "string")], &[]),
        Kind::Host => (&[("rack", "string"), ("capacity", "integer")], &["rack"]),
        Kind::PlacementGroup => (
            &[
                ("strategy", "string"),
                ("partitions", "integer"),
                ("spread_level", "string"),
            ],
            &["strategy"],
        ),
        Kind::TargetGroup => (
            &[
                ("protocol", "string"),
                ("port", "integer"),
                ("targets", "array"),
                ("health_check", "object"),
                ("proxy_protocol_v2", "boolean"),
                ("deregistration_delay", "integer"),
            ],
            &["protocol", "port"],
        ),
        Kind::LoadBalancer => (
            &[
                ("subnet", "string"),
                ("private_ip", "string"),
                ("listeners", "array"),
            ],
            &["subnet", "private_ip"],
        ),
        Kind::EndpointService => (
            &[
                ("load_balancer", "string"),
                ("acceptance_required", "boolean"),
                ("allowed_vpcs", "array"),
                ("accepted", "array"),
                ("rejected", "array"),
            ],
            &["load_balancer"],
        ),
        Kind::EndpointAcceptance => (
            &[
                ("service", "string"),
                ("endpoint", "string"),
                ("accepted", "boolean"),
            ],
            &["service", "endpoint", "accepted"],
        ),
        Kind::Endpoint => (
            &[
                ("type", "string"),
                ("prefix_lists", "array"),
                ("policy", "array"),
                ("service", "string"),
                ("address", "string"),
                ("nat_gateway", "string"),
                ("interfaces", "array"),
                ("security_groups", "array"),
                ("private_dns", "array"),
            ],
            &["type"],
        ),
        Kind::Proxy => (
            &[
                ("instance", "string"),
                ("ports", "array"),
                ("subnets", "array"),
                ("on_failure", "string"),
                ("health_check", "object"),
            ],
            &["instance"],
        ),
        Kind::Instance => (
            &[
                ("subnet", "string"),
                ("private_ip", "string"),
                ("public_ip", "string"),
                ("security_groups", "array"),
                ("source_dest_check", "boolean"),
                ("mac", "string"),
                ("placement_group", "string"),
                ("partition", "integer"),
                ("rack", "string"),
                ("host", "string"),
                ("running", "boolean"),
                ("metadata", "string"),
                ("metadata_hop_limit", "integer"),
                ("metadata_tags", "boolean"),
                ("id", "string"),
                ("type", "string"),
                ("image", "string"),
                ("hostname", "string"),
                ("tags", "object"),
            ],
            &["subnet", "private_ip"],
        ),
    };
    let name = ("name", "string");
    let properties: Map<String, Json> = properties
        .iter()
        .chain([&name])
        .map(|(key, of)| ((*key).to_owned(), json!({ "type": of })))
        .collect();
    json!({
        "type": "object",
        "description": match kind {
            Kind::Route | Kind::EndpointAcceptance => "Of the API alone: see docs/api.md".to_owned(),
            kind => format!("As [[vpc.{}]] in docs/configuration.md", kind.name()),
        },
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
