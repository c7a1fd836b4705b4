//! Converts the single values of a NAT gateway.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::types::{Filtering, OnExhaustion, PortRange, Profile, Protocol};
use crate::config::reader::Complaint;
use crate::config::suggest::quoted;
use crate::config::toml::Value;
use crate::config::values::{choice, text};

pub fn profile(value: &Value<'_>) -> Result<Profile, Complaint> {
    choice(
        value,
        "a profile",
        &[("aws", Profile::Aws), ("rfc", Profile::Rfc)],
    )
}

pub fn filtering(value: &Value<'_>) -> Result<Filtering, Complaint> {
    choice(
        value,
        "a way to filter",
        &[
            ("endpoint-independent", Filtering::EndpointIndependent),
            ("address-dependent", Filtering::AddressDependent),
            (
                "address-and-port-dependent",
                Filtering::AddressAndPortDependent,
            ),
        ],
    )
}

pub fn on_exhaustion(value: &Value<'_>) -> Result<OnExhaustion, Complaint> {
    choice(
        value,
        "an answer to exhaustion",
        &[
            ("admin-prohibited", OnExhaustion::AdminProhibited),
            ("host-unreachable", OnExhaustion::HostUnreachable),
            ("silent", OnExhaustion::Silent),
        ],
    )
}

pub fn forward_protocol(value: &Value<'_>) -> Result<Protocol, Complaint> {
    choice(
        value,
        "a protocol whose ports can be forwarded",
        &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
    )
}

/// `None` is all of them.
pub fn pass_protocol(value: &Value<'_>) -> Result<Option<Protocol>, Complaint> {
    choice(
        value,
        "a protocol",
        &[
            ("all", None),
            ("tcp", Some(Protocol::Tcp)),
            ("udp", Some(Protocol::Udp)),
            ("icmp", Some(Protocol::Icmp)),
        ],
    )
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// `FIRST-LAST`.
pub fn port_range(value: &Value<'_>) -> Result<PortRange, Complaint> {
    let text = text(value)?;
    match port(text) {
        Some(port) if port > 0 => Err(Complaint::invalid(
            format!("{} is not a port range", quoted(text)),
            format!("write \"{port}-{port}\""),
        )),
        _ => range(
            text,
            "is not a port range",
            "write \"FIRST-LAST\" with ports from 1 to 65535, as in \"1024-65535\"",
        ),
    }
}

/// `PORT` or `FIRST-LAST`.
pub fn ports(value: &Value<'_>) -> Result<PortRange, Complaint> {
    let text = text(value)?;
    match port(text) {
        Some(0) => Err(Complaint::invalid(
            "port 0 cannot be used",
            "use a port from 1 to 65535",
        )),
        Some(port) => Ok(PortRange {
            first: port,
            last: port,
        }),
        None => range(
            text,
            "is neither a port nor a range",
            "write a port from 1 to 65535 or \"FIRST-LAST\", as in \"8080\" or \"8000-8010\"",
        ),
    }
}

fn range(text: &str, is_not: &str, form: &str) -> Result<PortRange, Complaint> {
    let invalid = || Complaint::invalid(format!("{} {is_not}", quoted(text)), form);
    let (first, last) = text.split_once('-').ok_or_else(invalid)?;
    let first = port(first.trim()).ok_or_else(invalid)?;
    let last = port(last.trim()).ok_or_else(invalid)?;
    if first == 0 {
        return Err(Complaint::invalid(
            "port 0 cannot be used",
            "begin the range at 1 or higher",
        ));
    }
    if first > last {
        return Err(Complaint::invalid(
            format!("the range ends at {last}, before it begins at {first}"),
            format!("write \"{last}-{first}\""),
        ));
    }
    Ok(PortRange { first, last })
}

/// `ADDRESS:PORT`.
pub fn inside_port(value: &Value<'_>) -> Result<SocketAddrV4, Complaint> {
    let text = text(value)?;
    let is_port = |port: &u16| *port != 0;
    if let Ok(address) = text.parse::<SocketAddrV4>()
        && is_port(&address.port())
    {
        return Ok(address);
    }
    let (address, rest) = text.split_once(':').unwrap_or((text, ""));
    let first = rest.split_once('-').map(|(first, _)| first);
    let remedy = match (address.parse::<Ipv4Addr>(), first.and_then(port)) {
        (Ok(_), Some(first)) if first != 0 => {
            format!("write the first port alone, the others follow: \"{address}:{first}\"")
        }
        _ => "write an address and a port from 1 to 65535, as in \"10.40.2.101:80\"".to_owned(),
    };
    Err(Complaint::invalid(
        format!("{} is not an address and a port", quoted(text)),
        remedy,
    ))
}
