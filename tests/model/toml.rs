//! A NAT gateway's settings as lines of the configuration file.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::{Filtering, Forward, ModelConfig, NatGateway, NoTranslate, OnExhaustion, Profile};
use crate::packets::protocol;

impl ModelConfig {
    /// The keys of the first NAT gateway, for its `[[vpc.nat_gateway]]`: all settings,
    /// `public_ips` and `shared_with_host` included, its name and place not.
    ///
    /// # Panics
    /// Without a NAT gateway.
    #[must_use]
    pub fn gateway_toml(&self) -> String {
        self.gateways[0].toml()
    }

    /// The line about ICMP errors for `[node]`: none, or as many as may be.
    #[must_use]
    pub fn node_toml(&self) -> String {
        let limit = if self.icmp_errors_made { 100_000 } else { 0 };
        format!("icmp_errors_per_second = {limit}\n")
    }
}

impl NatGateway {
    /// Its settings, a key on each line.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut lines = String::new();
        let mut put = |key: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{key} = {value}");
        };
        if !self.is_private {
            put("public_ips", list(&self.public_ips, quoted_ip));
            put("shared_with_host", self.shared_with_host.to_string());
        }
        match self.profile {
            Profile::Aws => put("profile", quoted("aws")),
            Profile::Rfc(filtering) => {
                put("profile", quoted("rfc"));
                put("filtering", quoted(filtering.name()));
                if let Some(most) = self.max_ports_per_client {
                    put("max_ports_per_client", most.to_string());
                }
                if filtering == Filtering::EndpointIndependent {
                    put("port_rest", self.port_rest.as_secs().to_string());
                }
            }
        }
        put("ports", list(&self.ports, pool_range));
        if !self.address_ports.is_empty() {
            put(
                "address_ports",
                list(&self.address_ports, |(ip, ports)| {
                    let ports = list(ports, pool_range);
                    format!("{{ public_ip = {}, ports = {ports} }}", quoted_ip(ip))
                }),
            );
        }
        if let Some(most) = self.max_sessions_per_client {
            put("max_sessions_per_client", most.to_string());
        }
        put("on_exhaustion", quoted(self.on_exhaustion.name()));
        if let Some(clients) = self.deterministic {
            put("deterministic", quoted(&clients.to_string()));
        }
        if !self.no_translate.is_empty() {
            put("no_translate", list(&self.no_translate, no_translate));
        }
        if !self.forwards.is_empty() {
            put("forward", list(&self.forwards, forward));
        }
        put("timeouts", self.timeouts_toml());
        lines
    }

    fn timeouts_toml(&self) -> String {
        let timeouts = &self.timeouts;
        let all = [
            ("tcp", timeouts.tcp),
            ("tcp_opening", timeouts.tcp_opening),
            ("tcp_closing", timeouts.tcp_closing),
            ("udp", timeouts.udp),
            ("udp_stream", timeouts.udp_stream),
            ("icmp", timeouts.icmp),
        ];
        let all = all.map(|(key, timeout)| format!("{key} = {}", timeout.as_secs()));
        format!("{{ {} }}", all.join(", "))
    }
}

impl Filtering {
    fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

impl OnExhaustion {
    fn name(self) -> &'static str {
        match self {
            Self::AdminProhibited => "admin-prohibited",
            Self::HostUnreachable => "host-unreachable",
            Self::Silent => "silent",
        }
    }
}

fn no_translate(rule: &NoTranslate) -> String {
    let mut text = format!("{{ destination = {}", quoted(&rule.destination.to_string()));
    if let Some(protocol) = rule.protocol {
        text += &format!(", protocol = {}", quoted(protocol_name(protocol)));
    }
    if let Some(ports) = &rule.ports {
        text += &format!(", ports = {}", quoted_range(ports));
    }
    text + " }"
}

fn forward(forward: &Forward) -> String {
    format!(
        "{{ protocol = {}, port = {}, to = {}, public_ip = {} }}",
        quoted(protocol_name(forward.protocol)),
        quoted_range(&forward.ports),
        quoted(&forward.to.to_string()),
        quoted_ip(&forward.public_ip),
    )
}

fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMP => "icmp",
        _ => "all",
    }
}

pub(super) fn list<T>(items: &[T], shown: impl Fn(&T) -> String) -> String {
    let items: Vec<_> = items.iter().map(shown).collect();
    format!("[{}]", items.join(", "))
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(super) fn quoted_ip(ip: &Ipv4Addr) -> String {
    quoted(&ip.to_string())
}

/// Of a pool, where a single port is a range, too.
fn pool_range(range: &RangeInclusive<u16>) -> String {
    quoted(&format!("{}-{}", range.start(), range.end()))
}

pub(super) fn quoted_range(range: &RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        quoted(&range.start().to_string())
    } else {
        quoted(&format!("{}-{}", range.start(), range.end()))
    }
}
