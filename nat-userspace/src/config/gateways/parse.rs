//! The keys of a NAT gateway: TOML to draft.

use super::draft::{
    AddressPortsDraft, ForwardDraft, NatGatewayDraft, NoTranslateDraft, TimeoutsDraft,
};
use super::values::{
    self, filtering, forward_protocol, on_exhaustion, pass_protocol, ports, profile,
};
use crate::config::parse::{PRIVATE_IP, SUBNET_NAME, required_name};
use crate::config::place::Report;
use crate::config::reader::{Field, Section, field};
use crate::config::values::{address, boolean, cidr, integer, owned_text, seconds};

const PUBLIC_IP: Field = field("public_ip", "a string", "public_ip = \"198.51.100.10\"");
const PORTS: Field = field("ports", "an array of strings", "ports = [\"1024-65535\"]");

pub fn nat_gateway(section: &mut Section<'_>, report: &mut Report<'_>) -> NatGatewayDraft {
    const PUBLIC_IPS: Field = field(
        "public_ips",
        "an array of strings",
        "public_ips = [\"198.51.100.10\"]",
    );
    const ADDRESS_PORTS: Field = field(
        "address_ports",
        "an array of tables",
        "address_ports = [{ public_ip = \"198.51.100.10\", ports = [\"1024-65535\"] }]",
    );
    const PROFILE: Field = field("profile", "a string", "profile = \"aws\"");
    const FILTERING: Field = field("filtering", "a string", "filtering = \"address-dependent\"");
    const MAX_SESSIONS: Field = field(
        "max_sessions_per_client",
        "an integer",
        "max_sessions_per_client = 10000",
    );
    const MAX_PORTS: Field = field(
        "max_ports_per_client",
        "an integer",
        "max_ports_per_client = 1000",
    );
    const PORT_REST: Field = field("port_rest", "whole seconds", "port_rest = 120");
    const ON_EXHAUSTION: Field = field(
        "on_exhaustion",
        "a string",
        "on_exhaustion = \"admin-prohibited\"",
    );
    const DETERMINISTIC: Field = field(
        "deterministic",
        "a string",
        "deterministic = \"10.40.0.0/16\"",
    );
    const NO_TRANSLATE: Field = field(
        "no_translate",
        "an array of tables",
        "no_translate = [{ destination = \"10.0.0.0/8\" }]",
    );
    const FORWARD: Field = field(
        "forward",
        "an array of tables",
        "forward = [{ protocol = \"tcp\", port = \"8080\", to = \"10.40.2.101:80\" }]",
    );
    const TIMEOUTS: Field = field("timeouts", "a table", "timeouts = { tcp = 350, udp = 350 }");
    const SHARED: Field = field(
        "shared_with_host",
        "true or false",
        "shared_with_host = true",
    );

    section.replaced(
        report,
        "quotas",
        "write max_sessions_per_client, or max_ports_per_client with profile \"rfc\"",
    );
    NatGatewayDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        subnet: section.required(report, &SUBNET_NAME, owned_text),
        private_ip: section.required(report, &PRIVATE_IP, address),
        public_ips: section.list(report, &PUBLIC_IPS, address),
        ports: section.list(report, &PORTS, values::port_range),
        address_ports: section.each(report, &ADDRESS_PORTS, address_ports),
        profile: section.optional(report, &PROFILE, profile),
        filtering: section.optional(report, &FILTERING, filtering),
        max_sessions_per_client: section.optional(report, &MAX_SESSIONS, integer(1..=1_048_576)),
        max_ports_per_client: section.optional(report, &MAX_PORTS, integer(1..=65_535)),
        port_rest: section.optional(report, &PORT_REST, seconds(0..=3600)),
        on_exhaustion: section.optional(report, &ON_EXHAUSTION, on_exhaustion),
        deterministic: section.optional(report, &DETERMINISTIC, cidr),
        no_translate: section.each(report, &NO_TRANSLATE, no_translate),
        forwards: section.each(report, &FORWARD, forward),
        timeouts: match section.section(report, &TIMEOUTS) {
            Some(section) => section.whole(report, timeouts),
            None => TimeoutsDraft::default(),
        },
        shared_with_host: section.optional(report, &SHARED, boolean),
    }
}

fn address_ports(section: &mut Section<'_>, report: &mut Report<'_>) -> AddressPortsDraft {
    AddressPortsDraft {
        public_ip: section.required(report, &PUBLIC_IP, address),
        ports: section.required_list(report, &PORTS, values::port_range),
    }
}

fn no_translate(section: &mut Section<'_>, report: &mut Report<'_>) -> NoTranslateDraft {
    const DESTINATION: Field = field("destination", "a string", "destination = \"10.0.0.0/8\"");
    const PROTOCOL: Field = field("protocol", "a string", "protocol = \"tcp\"");
    const PASS_PORTS: Field = field("ports", "a string", "ports = \"443\"");

    NoTranslateDraft {
        place: section.place.clone(),
        destination: section.required(report, &DESTINATION, cidr),
        protocol: section.optional(report, &PROTOCOL, pass_protocol),
        ports: section.optional(report, &PASS_PORTS, ports),
    }
}

fn forward(section: &mut Section<'_>, report: &mut Report<'_>) -> ForwardDraft {
    const PROTOCOL: Field = field("protocol", "a string", "protocol = \"tcp\"");
    const PORT: Field = field("port", "a string", "port = \"8080\"");
    const TO: Field = field("to", "a string", "to = \"10.40.2.101:80\"");

    ForwardDraft {
        place: section.place.clone(),
        protocol: section.required(report, &PROTOCOL, forward_protocol),
        port: section.required(report, &PORT, ports),
        public_ip: section.optional(report, &PUBLIC_IP, address),
        to: section.required(report, &TO, values::inside_port),
    }
}

fn timeouts(section: &mut Section<'_>, report: &mut Report<'_>) -> TimeoutsDraft {
    const TCP: Field = field("tcp", "whole seconds", "tcp = 350");
    const TCP_OPENING: Field = field("tcp_opening", "whole seconds", "tcp_opening = 240");
    const TCP_CLOSING: Field = field("tcp_closing", "whole seconds", "tcp_closing = 240");
    const UDP: Field = field("udp", "whole seconds", "udp = 350");
    const UDP_STREAM: Field = field("udp_stream", "whole seconds", "udp_stream = 350");
    const ICMP: Field = field("icmp", "whole seconds", "icmp = 60");

    section.replaced(
        report,
        "tcp_transitory",
        "write tcp_opening and tcp_closing, the timers it stood for",
    );
    let mut timer = |field| section.optional(report, field, seconds(1..=432_000));
    TimeoutsDraft {
        tcp_established: timer(&TCP),
        tcp_opening: timer(&TCP_OPENING),
        tcp_closing: timer(&TCP_CLOSING),
        udp: timer(&UDP),
        udp_stream: timer(&UDP_STREAM),
        icmp: timer(&ICMP),
    }
}
