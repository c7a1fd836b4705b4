//! What the VPC's resolver goes by: who is asked about other names, and the domain of a VPC's own ones.
//! [`crate::resolver`] answers.

use std::net::Ipv4Addr;

use super::draft::Draft;
use super::place::Report;
use super::reader::Complaint;
use super::suggest::quoted;
use super::toml::Value;
use super::validate::unique;
use super::values::{MAX_NAME, address, text};

/// A VPC's `private_domain` when the file gives none.
pub const DEFAULT_PRIVATE_DOMAIN: &str = "internal";
/// Servers that `node.dns_forwarders` may name.
pub const MAX_DNS_FORWARDERS: usize = 8;
/// RFC 1035 2.3.4, as text and without a dot at its end.
const MAX_DOMAIN_NAME: usize = 253;
/// RFC 1035 2.3.4.
pub const MAX_LABEL: usize = 63;
/// So that the name of any instance fits in front of it.
const MAX_PRIVATE_DOMAIN: usize = MAX_DOMAIN_NAME - MAX_NAME - 1;

/// Domains that mean something of their own: reverse names, which the CIDRs of a VPC say (RFC 1035 3.5), this
/// machine (RFC 6761 6.3) and names of the link (RFC 6762 3).
const TAKEN: [&str; 3] = ["arpa", "localhost", "local"];

/// Whether `text` is the name of a host by RFC 1123 2.1, without a dot at its end.
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=MAX_LABEL).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_DOMAIN_NAME && text.split('.').all(is_label)
}

/// How a name of a host is written, for people.
pub fn host_name_rule(most: usize) -> String {
    format!(
        "use labels of 1 to {MAX_LABEL} letters, digits and '-', with dots between them, {most} characters at \
         most"
    )
}

/// A name of a host of any length.
pub fn host_name(value: &Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if is_host_name(text) {
        return Ok(text.to_owned());
    }
    Err(Complaint::invalid(
        format!("{} is not a host name", quoted(text)),
        host_name_rule(MAX_DOMAIN_NAME),
    ))
}

pub fn private_domain(value: &Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if !is_host_name(text) || text.len() > MAX_PRIVATE_DOMAIN {
        return Err(Complaint::invalid(
            format!("{} is not a private domain", quoted(text)),
            host_name_rule(MAX_PRIVATE_DOMAIN),
        ));
    }
    not_taken(
        text,
        "use another domain, as in \"internal\" or \"corp.example.net\"",
    )
}

/// A name that leads to an endpoint.
pub fn private_name(value: &Value<'_>) -> Result<String, Complaint> {
    not_taken(
        &host_name(value)?,
        "use another name, as in \"db.example.com\"",
    )
}

/// The name in lower case.
fn not_taken(name: &str, remedy: &str) -> Result<String, Complaint> {
    let top = name.rsplit('.').next().unwrap_or(name);
    if TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(top)) {
        let message = format!("names below {} have a meaning of their own", quoted(top));
        return Err(Complaint::invalid(message, remedy));
    }
    Ok(name.to_ascii_lowercase())
}

/// A server that can be asked from the host.
pub fn forwarder(value: &Value<'_>) -> Result<Ipv4Addr, Complaint> {
    let address = address(value)?;
    let class_e = address.octets()[0] >= 240;
    if address.octets()[0] == 0 || address.is_multicast() || class_e {
        return Err(Complaint::invalid(
            format!("{address} is no server's address"),
            "use the unicast address of a DNS server",
        ));
    }
    Ok(address)
}

/// Reports a list of forwarders that is no use.
pub fn check(draft: &Draft, report: &mut Report<'_>) {
    let forwarders = &draft.node.dns_forwarders;
    if let Some(place) = forwarders.place.as_ref()
        && forwarders.items.is_empty()
        && forwarders.complete
    {
        report.error(
            place,
            "there is no forwarder",
            "name a DNS server, or leave the key out: those of /etc/resolv.conf are asked then",
        );
    }
    if let Some(more) = forwarders.items.get(MAX_DNS_FORWARDERS) {
        report.error(
            &more.place,
            format!("too many forwarders: {}", forwarders.items.len()),
            format!("keep at most {MAX_DNS_FORWARDERS}"),
        );
    }
    let show = |address: &Ipv4Addr| format!("forwarder {address}");
    unique(forwarders.items.iter(), show, "remove one of them", report);
}
