//! `nat explain`.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use clap::Args;
use nat_common::{drop_reason::DropReason, flow::protocol};

use super::{Failure, Outcome, output};
use crate::{
    explain::{self, Asked, Explanation, Verdict},
    pins::Pins,
};

/// Source port of a packet for which nobody gave one.
const SOURCE_PORT: u16 = 50_000;

/// See `nat explain --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// tcp (a SYN), udp, icmp (an echo request), or a protocol's number
    #[arg(value_name = "PROTOCOL", value_parser = protocol_number)]
    protocol: u8,
    /// Its source; a port is made up, if there is none
    #[arg(value_name = "SOURCE[:PORT]", value_parser = end)]
    source: End,
    /// Its destination; tcp and udp take a port
    #[arg(value_name = "DESTINATION[:PORT]", value_parser = end)]
    destination: End,
    /// The VPC that the source is in, where several have its address
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    /// The interface it comes by, where the source does not say
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End(Ipv4Addr, Option<u16>);

fn protocol_number(text: &str) -> Result<u8, String> {
    match text {
        "tcp" => Ok(protocol::TCP),
        "udp" => Ok(protocol::UDP),
        "icmp" => Ok(protocol::ICMP),
        _ => text
            .parse()
            .map_err(|_| "write tcp, udp, icmp or a number up to 255".to_owned()),
    }
}

fn end(text: &str) -> Result<End, String> {
    if let Ok(address) = text.parse() {
        return Ok(End(address, None));
    }
    text.parse::<SocketAddrV4>()
        .map(|end| End(*end.ip(), Some(end.port())))
        .map_err(|_| "write ADDRESS or ADDRESS:PORT, for example 10.0.0.1:443".to_owned())
}

impl Arguments {
    fn asked(&self) -> Result<Asked, Failure> {
        let (source, destination) = (self.source, self.destination);
        let (mut source_port, mut destination_port) = (0, 0);
        match self.protocol {
            protocol::TCP | protocol::UDP => {
                source_port = source.1.unwrap_or(SOURCE_PORT);
                destination_port = destination.1.ok_or_else(|| {
                    let name = protocol::name(self.protocol);
                    let address = destination.0;
                    Failure::BadInput(format!(
                        "nat: {name} takes a destination port, for example {address}:443"
                    ))
                })?;
            }
            // The identifier of an echo request.
            protocol::ICMP => source_port = source.1.unwrap_or(SOURCE_PORT),
            _ => {}
        }
        Ok(Asked {
            protocol: self.protocol,
            source: SocketAddrV4::new(source.0, source_port),
            destination: SocketAddrV4::new(destination.0, destination_port),
            vpc: self.vpc.clone(),
            interface: self.interface.clone(),
        })
    }
}

/// Says what would become of a packet, and why.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let explanation = explain::explain(pins, &arguments.asked()?)?;
    let mut out = io::stdout().lock();
    if arguments.json {
        output::json(&mut out, &explanation)?;
    } else {
        text(&mut out, &explanation)?;
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, explanation: &Explanation) -> io::Result<()> {
    let protocol = &explanation.protocol;
    let source = with_port(explanation.source, explanation.source_port);
    let destination = with_port(explanation.destination, explanation.destination_port);
    let whence = match &explanation.vpc {
        Some(vpc) => format!("from VPC {vpc}"),
        None => "from outside".to_owned(),
    };
    let interface = &explanation.interface;
    writeln!(
        out,
        "{protocol} {source} to {destination}, {whence} by {interface}"
    )?;
    for (number, step) in (1..).zip(&explanation.steps) {
        writeln!(out, "{number:3}. {}", step.text)?;
    }
    writeln!(out, "{}", verdict(explanation))?;
    let failing = explanation
        .internet_gateway
        .iter()
        .position(|each| !each.holds);
    if failing.is_none() {
        return Ok(());
    }
    writeln!(out, "\nby the internet gateway:")?;
    for condition in &explanation.internet_gateway {
        let mark = if condition.holds { "ok  " } else { "FAIL" };
        writeln!(out, "  {mark} {}: {}", condition.condition, condition.text)?;
    }
    let first = failing.and_then(|first| explanation.internet_gateway.get(first));
    if let Some(mend) = first.and_then(|first| first.mend.as_ref()) {
        writeln!(out, "first of all: {mend}")?;
    }
    Ok(())
}

fn with_port(address: Ipv4Addr, port: u16) -> String {
    match port {
        0 => address.to_string(),
        _ => format!("{address}:{port}"),
    }
}

fn verdict(explanation: &Explanation) -> String {
    match explanation.verdict {
        Verdict::Forward => match &explanation.forwarded {
            Some(to) => format!(
                "forwarded: {} to {} by {}",
                with_port(to.source, to.source_port),
                with_port(to.destination, to.destination_port),
                to.interface
            ),
            None => "forwarded".to_owned(),
        },
        Verdict::Pass => "passed: it is left to the host, unchanged".to_owned(),
        Verdict::Answer => "answered: the router answers it itself".to_owned(),
        Verdict::Drop => {
            let name = explanation.reason.unwrap_or_default();
            let all = DropReason::ALL.iter();
            let why = all
                .filter(|reason| reason.name() == name)
                .map(|reason| reason.describe());
            let told = if explanation.sender_is_told {
                " Its sender is told."
            } else {
                ""
            };
            format!("dropped, {name}: {}{told}", why.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_protocols_are_read() {
        assert_eq!(end("10.0.0.1"), Ok(End([10, 0, 0, 1].into(), None)));
        assert_eq!(end("10.0.0.1:80"), Ok(End([10, 0, 0, 1].into(), Some(80))));
        assert!(end("10.0.0.1:99999").is_err() && end("web").is_err());
        assert_eq!(protocol_number("udp"), Ok(17));
        assert_eq!(protocol_number("47"), Ok(47));
        assert!(protocol_number("256").is_err());
    }
}
