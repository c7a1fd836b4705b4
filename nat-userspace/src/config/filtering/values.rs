//! Converts the single values of rules.

use ipnet::Ipv4Net;
use nat_common::flow::protocol as number;

use super::types::{Remote, RuleProtocol};
use crate::config::reader::Complaint;
use crate::config::suggest::{closest, quoted};
use crate::config::toml::Value;
use crate::config::values::{choice, cidr, integer, text};

const PREFIX_LIST: &str = "prefix-list";
const SECURITY_GROUP: &str = "security-group";

/// A word, or the number that IP has for it.
pub fn protocol(value: &Value<'_>) -> Result<RuleProtocol, Complaint> {
    const WORDS: [(&str, RuleProtocol); 4] = [
        ("all", RuleProtocol::All),
        ("tcp", RuleProtocol::Number(number::TCP)),
        ("udp", RuleProtocol::Number(number::UDP)),
        ("icmp", RuleProtocol::Number(number::ICMP)),
    ];
    if value.as_integer().is_some() {
        return byte(value).map(RuleProtocol::Number);
    }
    let word = text(value)?;
    match WORDS.iter().find(|(known, _)| *known == word) {
        Some((_, protocol)) => Ok(*protocol),
        None => {
            let remedy = match (
                word.parse::<u8>(),
                closest(word, WORDS.map(|(word, _)| word)),
            ) {
                (Ok(number), _) => format!("write the number without quotes: {number}"),
                (_, Some(near)) => format!("did you mean \"{near}\"? {ALLOWED_PROTOCOLS}"),
                _ => ALLOWED_PROTOCOLS.to_owned(),
            };
            Err(Complaint::invalid(
                format!("{} is not a protocol", quoted(word)),
                remedy,
            ))
        }
    }
}

const ALLOWED_PROTOCOLS: &str =
    "allowed: \"all\", \"tcp\", \"udp\", \"icmp\", or a protocol's number from 0 to 255";

pub fn byte(value: &Value<'_>) -> Result<u8, Complaint> {
    integer(0..=255)(value).map(|number| number as u8)
}

pub fn rule_number(value: &Value<'_>) -> Result<u16, Complaint> {
    integer(1..=32_766)(value).map(|number| number as u16)
}

/// True: allow.
pub fn action(value: &Value<'_>) -> Result<bool, Complaint> {
    choice(value, "an action", &[("allow", true), ("deny", false)])
}

/// The other side of a group's rule.
pub fn remote(value: &Value<'_>) -> Result<Remote, Complaint> {
    let text = text(value)?;
    let Some((kind, name)) = text.split_once(':') else {
        return cidr(value).map(Remote::Cidr);
    };
    match kind {
        PREFIX_LIST | SECURITY_GROUP if name.is_empty() => Err(no_name(kind)),
        PREFIX_LIST => Ok(Remote::PrefixList(name.to_owned())),
        SECURITY_GROUP => Ok(Remote::Group(name.to_owned())),
        _ => match closest(kind, [PREFIX_LIST, SECURITY_GROUP]) {
            Some(near) => Err(Complaint::invalid(
                format!("{} is not a CIDR", quoted(text)),
                format!("did you mean \"{near}:NAME\"?"),
            )),
            None => cidr(value).map(Remote::Cidr),
        },
    }
}

/// The name in `prefix-list:NAME`; `None`: it is something else.
pub fn prefix_list(text: &str) -> Option<Result<String, Complaint>> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    (kind == PREFIX_LIST).then(|| {
        if name.is_empty() {
            return Err(no_name(kind));
        }
        Ok(name.to_owned())
    })
}

fn no_name(kind: &str) -> Complaint {
    Complaint::invalid(
        format!("it names no {}", kind.replace('-', " ")),
        format!("write \"{kind}:NAME\""),
    )
}

/// The other side of an ACL's rule.
pub fn acl_remote(value: &Value<'_>) -> Result<Ipv4Net, Complaint> {
    let text = text(value)?;
    let kind = text.split_once(':').map_or(text, |(kind, _)| kind);
    if [PREFIX_LIST, SECURITY_GROUP].contains(&kind) {
        return Err(Complaint::invalid(
            "a network ACL's rule is about one CIDR",
            "write one rule for each CIDR",
        ));
    }
    cidr(value)
}
