//! Converts single TOML values: what can be judged without looking at the rest of the file.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::filtering::prefix_list_name;
use super::place::{Located, Report};
use super::reader::Complaint;
use super::suggest::{closest, listed, quoted};
use super::toml::Value;
use super::types::{Attach, Destination, Target};

pub const MAX_NAME: usize = 64;
/// IFNAMSIZ without its final zero.
const MAX_INTERFACE: usize = 15;
const NO_IPV6: &str = "write an IPv4 address: IPv6 is not supported in this version";

pub fn text<'d>(value: &'d Value<'_>) -> Result<&'d str, Complaint> {
    value.as_str().ok_or(Complaint::WrongType)
}

/// Text that is checked later, such as the name of something else.
pub fn owned_text(value: &Value<'_>) -> Result<String, Complaint> {
    text(value).map(str::to_owned)
}

pub fn boolean(value: &Value<'_>) -> Result<bool, Complaint> {
    value.as_bool().ok_or(Complaint::WrongType)
}

pub fn integer(range: RangeInclusive<u32>) -> impl Fn(&Value<'_>) -> Result<u32, Complaint> {
    move |value| {
        let number = value.as_integer().ok_or(Complaint::WrongType)?;
        u32::try_from(number)
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                Complaint::invalid(
                    format!("{number} is out of range"),
                    format!("use {} to {}", range.start(), range.end()),
                )
            })
    }
}

pub fn port(value: &Value<'_>) -> Result<u16, Complaint> {
    integer(1..=65_535)(value).map(|port| port as u16)
}

pub fn seconds(range: RangeInclusive<u32>) -> impl Fn(&Value<'_>) -> Result<Duration, Complaint> {
    let integer = integer(range);
    move |value| integer(value).map(|seconds| Duration::from_secs(seconds.into()))
}

/// Whether `text` may name something.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(allowed)
}

/// Reports a name that is not one. The caller keeps it: what refers to it should not be reported
/// as dangling as well.
pub fn check_name(name: Option<&Located<String>>, report: &mut Report<'_>) {
    let Some(Located { value, place }) = name else {
        return;
    };
    if is_name(value) {
        return;
    }
    let message = if value.is_empty() {
        "the name is empty".to_owned()
    } else if value.len() > MAX_NAME {
        format!("the name is longer than {MAX_NAME} characters")
    } else {
        format!("{} has characters a name cannot have", quoted(value))
    };
    report.error(place, message, name_rule());
}

/// How a name is written, for people.
pub fn name_rule() -> String {
    format!("use 1 to {MAX_NAME} of the characters A-Z a-z 0-9 . _ -")
}

pub fn interface(value: &Value<'_>) -> Result<String, Complaint> {
    let name = text(value)?;
    // What the kernel's dev_valid_name() refuses, and control characters.
    let forbidden = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
    if name.is_empty()
        || name.len() > MAX_INTERFACE
        || name.chars().any(forbidden)
        || matches!(name, "." | "..")
    {
        return Err(Complaint::invalid(
            format!("{} cannot be the name of an interface", quoted(name)),
            format!(
                "use a name as `ip link` shows it: 1 to {MAX_INTERFACE} characters, no '/', ':' \
                 or space"
            ),
        ));
    }
    Ok(name.to_owned())
}

pub fn address(value: &Value<'_>) -> Result<Ipv4Addr, Complaint> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        let remedy = match text.split_once('/') {
            Some((address, _)) if address.parse::<Ipv4Addr>().is_ok() => {
                format!("write the address alone: \"{address}\"")
            }
            _ if text.parse::<Ipv6Addr>().is_ok() => NO_IPV6.to_owned(),
            _ => "write four numbers from 0 to 255, as in \"10.20.1.10\"".to_owned(),
        };
        Complaint::invalid(format!("{} is not an IPv4 address", quoted(text)), remedy)
    })
}

pub fn cidr(value: &Value<'_>) -> Result<Ipv4Net, Complaint> {
    let text = text(value)?;
    let wrong = |remedy: String| {
        Complaint::invalid(format!("{} is not an IPv4 CIDR", quoted(text)), remedy)
    };
    let Some((address, prefix)) = text.split_once('/') else {
        return Err(wrong(match text.parse::<Ipv4Addr>() {
            Ok(address) => {
                let prefix = likely_prefix(address);
                format!("add the prefix length, as in \"{address}/{prefix}\"")
            }
            Err(_) => "write an address and a prefix length, as in \"10.20.0.0/16\"".to_owned(),
        }));
    };
    let address: Ipv4Addr = address.parse().map_err(|_| {
        wrong(match address.parse::<Ipv6Addr>() {
            Ok(_) => NO_IPV6.to_owned(),
            Err(_) => "write an address and a prefix length, as in \"10.20.0.0/16\"".to_owned(),
        })
    })?;
    let net = prefix
        .parse()
        .ok()
        .filter(|_| prefix.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|prefix| Ipv4Net::new(address, prefix).ok())
        .ok_or_else(|| wrong("use a prefix length from 0 to 32".to_owned()))?;
    if net.trunc() != net {
        return Err(Complaint::invalid(
            format!("{} has bits set behind its prefix", quoted(text)),
            format!("write \"{}\"", net.trunc()),
        ));
    }
    Ok(net)
}

/// The prefix length that the zeros at the end of an address suggest.
fn likely_prefix(address: Ipv4Addr) -> u32 {
    32 - u32::from(address).trailing_zeros() / 8 * 8
}

/// Six bytes in hexadecimal, of one interface.
pub fn mac(value: &Value<'_>) -> Result<[u8; 6], Complaint> {
    /// Of a group of interfaces, broadcast among them (IEEE 802).
    const GROUP_BIT: u8 = 1;
    let text = text(value)?;
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
    for byte in &mut mac {
        let part = parts.next().filter(|part| digits(part));
        *byte = part
            .and_then(|part| u8::from_str_radix(part, 16).ok())
            .ok_or_else(|| not_a_mac(text))?;
    }
    if parts.next().is_some() {
        return Err(not_a_mac(text));
    }
    if mac == [0; 6] || mac[0] & GROUP_BIT != 0 {
        return Err(Complaint::invalid(
            format!("{} is not the address of one interface", quoted(text)),
            "write the one that `ip link` shows in the instance",
        ));
    }
    Ok(mac)
}

fn not_a_mac(text: &str) -> Complaint {
    Complaint::invalid(
        format!("{} is not a MAC address", quoted(text)),
        "write six pairs of hexadecimal digits, as in \"02:00:00:00:00:0a\"",
    )
}

pub fn destination(value: &Value<'_>) -> Result<Destination, Complaint> {
    match prefix_list_name(text(value)?) {
        Some(name) => name.map(Destination::PrefixList),
        None => cidr(value).map(Destination::Cidr),
    }
}

pub fn target(value: &Value<'_>) -> Result<Target, Complaint> {
    const ALLOWED: [&str; 6] = [
        "local",
        "internet-gateway",
        "nat-gateway:NAME",
        "instance:NAME",
        "endpoint:NAME",
        "blackhole",
    ];
    let text = text(value)?;
    match text {
        "local" => return Ok(Target::Local),
        "internet-gateway" => return Ok(Target::InternetGateway),
        "blackhole" => return Ok(Target::Blackhole),
        _ => {}
    }
    let (word, name) = text.split_once(':').unwrap_or((text, ""));
    let allowed = || format!("allowed: {}", listed(ALLOWED));
    match word {
        "nat-gateway" | "instance" | "endpoint" if name.is_empty() => Err(Complaint::invalid(
            match word {
                "instance" => "the target names no instance",
                "endpoint" => "the target names no endpoint",
                _ => "the target names no NAT gateway",
            },
            format!("write \"{word}:NAME\""),
        )),
        "nat-gateway" => Ok(Target::NatGateway(name.to_owned())),
        "instance" => Ok(Target::Instance(name.to_owned())),
        "endpoint" => Ok(Target::Endpoint(name.to_owned())),
        _ => {
            let near = closest(
                word,
                ALLOWED.map(|form| form.split(':').next().unwrap_or(form)),
            );
            let form = near.and_then(|near| ALLOWED.iter().find(|form| form.starts_with(near)));
            let remedy = match form {
                Some(form) => format!("did you mean \"{form}\"? {}", allowed()),
                None => allowed(),
            };
            Err(Complaint::invalid(
                format!("{} is not a route target", quoted(text)),
                remedy,
            ))
        }
    }
}

pub fn attach(value: &Value<'_>) -> Result<Attach, Complaint> {
    choice(
        value,
        "a way to attach",
        &[
            ("auto", Attach::Auto),
            ("xdp", Attach::Xdp),
            ("xdp-generic", Attach::XdpGeneric),
            ("tc", Attach::Tc),
        ],
    )
}

/// One of some words; `what` says what they are.
pub fn choice<T: Copy>(value: &Value, what: &str, choices: &[(&str, T)]) -> Result<T, Complaint> {
    let text = text(value)?;
    match choices.iter().find(|(word, _)| *word == text) {
        Some((_, chosen)) => Ok(*chosen),
        None => Err(Complaint::invalid(
            format!("{} is not {what}", quoted(text)),
            format!("allowed: {}", listed(choices.iter().map(|(word, _)| *word))),
        )),
    }
}
