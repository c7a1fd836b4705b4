//! The declarative configuration: TOML text in, a checked [`Config`] out.
//!
//! [`parse`] reads the whole document before it answers, so one run names every mistake with its
//! line, its key and a remedy. A [`Config`] it returns holds no dangling name, no overlap and no
//! address outside its subnet; what depends on the running machine (does the interface exist?) is
//! checked where it is used. docs/configuration.md is the reference of all keys.
//!
//! `toml` reads the text, `reader` walks its tables (`place` keeps lines and mistakes), `values` converts single values,
//! `parse` makes a draft in which every value knows its place; `validate` and its neighbours check the
//! draft as a whole, with an `index` of its names. What is about NAT gateways alone is in `gateways`,
//! about security groups, network ACLs and prefix lists in `filtering`, about racks, hosts and placement
//! groups in `placement`, about what instances can ask about themselves in `metadata`, about load balancers in
//! `balancing`, about endpoints and what they lead to in `endpoints`, about proxies in `proxies`, about names in
//! `dns`.

mod addresses;
mod balancing;
mod dns;
mod draft;
mod endpoints;
mod error;
mod filtering;
mod gateways;
mod index;
mod instances;
mod metadata;
mod nets;
pub mod objects;
mod parse;
mod place;
mod placement;
mod proxies;
mod reader;
mod routes;
mod suggest;
mod toml;
mod types;
mod validate;
mod values;

#[cfg(test)]
pub mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use error::{ConfigError, ConfigErrors};
pub use gateways::types::DEFAULT_PORT_REST;
pub use gateways::{Clash, clashes, client_count, most_forwarded_ports, rules_by_prefix};
pub use types::{
    AclRule, AddressPorts, Attach, Config, DEFAULT_ACL, DEFAULT_DEREGISTRATION_DELAY,
    DEFAULT_HOP_LIMIT, DEFAULT_ICMP_ERRORS_PER_SECOND, DEFAULT_INSTANCE_TYPE, DEFAULT_MAX_SESSIONS,
    DEFAULT_NODE_NAME, DEFAULT_PRIVATE_DOMAIN, DEFAULT_PROXY_PORTS, DEFAULT_REGION, Destination,
    Endpoint, EndpointAcceptance, EndpointInterface, EndpointKind, EndpointService, EndpointState,
    EndpointStatement, Filtering, Forward, Front, GatewayEndpoint, GroupRule, HealthCheck,
    HealthCheckKind, Host, Instance, InstanceMetadata, InstancePlacement, InterfaceEndpoint,
    Ipv4Net, Listener, LoadBalancer, MAX_DNS_FORWARDERS, MAX_ENDPOINT_INTERFACES, MAX_ENDPOINTS,
    MAX_HOP_LIMIT, MAX_LISTENERS, MAX_PARTITIONS, MAX_PROXY_PORTS, MAX_TAGS, MAX_TARGETS,
    MetadataAccess, NatGateway, NetworkAcl, NoTranslate, Node, OnExhaustion, PassRule,
    PlacementGroup, PortRange, Ports, PrefixList, Profile, Protocol, Proxy, Rack, Remote, Route,
    RouteTable, RuleProtocol, SecurityGroup, SpreadLevel, Strategy, Subnet, Target, TargetGroup,
    Timeouts, Vpc, derived_hostname, endpoint_dns_name,
};

use place::{Place, Report};
use toml::Table;

/// Larger files are refused: every limit of the configuration together stays well below.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads and checks the configuration in `path`.
///
/// # Errors
/// All mistakes of the file, as [`parse`] reports them. A file that cannot be read is one error
/// with line 0.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = read(path)?;
    parse(&path.display().to_string(), &text)
}

/// The text of a configuration file, unchecked.
///
/// # Errors
/// It cannot be read, is too large, or is no text.
pub fn read(path: &Path) -> Result<String, ConfigErrors> {
    let file = path.display().to_string();
    let unreadable = |message: String, remedy: &str| {
        ConfigErrors(vec![ConfigError {
            file: file.clone(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
            remedy: remedy.to_owned(),
        }])
    };

    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            unreadable(
                format!("cannot read the file: {error}"),
                "check the path and its permissions",
            )
        })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(
            format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20),
            "check that this is a configuration file",
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let mut report = Report::new(&file, &text);
            report.error(
                &Place::nowhere(valid),
                "the file is not valid UTF-8 from here on",
                "save the file as UTF-8",
            );
            Err(report.finish())
        }
    }
}

/// Parses and checks configuration text; `source_name` stands for the file in error messages.
///
/// # Errors
/// Every mistake at once, sorted by line. A TOML syntax error stops the reading, so it comes alone
/// and has an empty key.
pub fn parse(source_name: &str, text: &str) -> Result<Config, ConfigErrors> {
    let mut report = Report::new(source_name, text);
    let document = document(text, &mut report)?;
    let draft = parse::document(&document, &mut report);
    validate::check(&draft, &mut report);
    if report.has_errors() {
        return Err(report.finish());
    }
    draft.build().ok_or_else(|| incomplete(report))
}

/// The TOML of a file, which must hold something.
fn document<'t>(text: &'t str, report: &mut Report<'_>) -> Result<Table<'t>, ConfigErrors> {
    let document = match toml::parse(text) {
        Ok(document) => document,
        Err(error) => {
            syntax_error(&error, report);
            return Err(report.finish());
        }
    };
    if document.is_empty() {
        report.error(
            &Place::nowhere(0).child("node, vpc"),
            "the configuration is empty",
            "a smallest one has [node] with uplink = [\"eth0\"] and a [[vpc]] with a name and \
             cidrs; docs/configuration.md shows a whole one",
        );
        return Err(report.finish());
    }
    Ok(document)
}

/// Whatever is missing from a draft was reported when it was read.
fn incomplete(mut report: Report<'_>) -> ConfigErrors {
    report.error(
        &Place::nowhere(0),
        "the configuration was read only in part",
        "please report this as a bug, with the file",
    );
    report.finish()
}

fn syntax_error(error: &toml::Malformed, report: &mut Report<'_>) {
    let message = error.message.trim();
    let message = message
        .strip_suffix(", expected nothing")
        .unwrap_or(message);
    let remedy = if message.contains("duplicate key") {
        "give each key and each [table] once; repeated tables take double brackets, as in [[vpc]]"
    } else {
        "correct the TOML here: text and addresses need \"quotes\", lists need [ ], tables are \
         [node] or [[vpc]]"
    };
    // The parser's text may quote the file; keep it on one line.
    let message: String = message.escape_debug().to_string().replace("\\'", "'");
    let message = message.replace("\\\"", "\"");
    report.error(
        &Place::nowhere(error.offset),
        format!("TOML syntax: {message}"),
        remedy,
    );
}
