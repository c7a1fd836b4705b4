//! `nat sessions`.

use std::{
    io::{self, BufWriter, Write as _},
    net::Ipv4Addr,
};

use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use nat_common::map_types::NameKey;

use super::{Outcome, bad, no_vpc, output};
use crate::{
    pins::Pins,
    sessions::{self, Names, SERVICES_NAME, SessionRecord},
};

/// See `nat sessions --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
    /// Only this protocol
    #[arg(long, value_enum)]
    protocol: Option<ProtocolArgument>,
    /// Only inside hosts in this address or CIDR
    #[arg(long, value_name = "CIDR", value_parser = network)]
    source: Option<Ipv4Net>,
    /// Only remote hosts in this address or CIDR
    #[arg(long, value_name = "CIDR", value_parser = network)]
    destination: Option<Ipv4Net>,
    /// Only this remote port
    #[arg(long, value_name = "PORT")]
    destination_port: Option<u16>,
    /// Only this public IP
    #[arg(long, value_name = "IP")]
    translated: Option<Ipv4Addr>,
    /// Only this public port
    #[arg(long, value_name = "PORT")]
    translated_port: Option<u16>,
    /// Only this VPC
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    /// Only this NAT gateway
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// Only this state
    #[arg(long, value_parser = ["opening", "established", "half-closed", "closing", "reset", "one-way", "two-way"])]
    state: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolArgument {
    Tcp,
    Udp,
    Icmp,
}

impl ProtocolArgument {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

fn network(text: &str) -> Result<Ipv4Net, String> {
    text.parse::<Ipv4Net>()
        .or_else(|_| text.parse::<Ipv4Addr>().map(Ipv4Net::from))
        .map_err(|_| "write an address or a CIDR, for example 10.0.0.0/16".to_owned())
}

fn matches<T: PartialEq>(wanted: Option<T>, actual: T) -> bool {
    wanted.is_none_or(|wanted| wanted == actual)
}

impl Arguments {
    /// A name that nobody has is a mistake, where an empty table would pass for an answer. Sessions may have
    /// names of what is gone.
    fn check_names(&self, names: &Names, records: &[SessionRecord]) -> Outcome {
        if let Some(wanted) = &self.vpc
            && !names.of_kind(NameKey::VPC).any(|(_, name)| name == wanted)
            && !records.iter().any(|session| session.vpc == *wanted)
        {
            return Err(no_vpc(wanted));
        }
        if let Some(wanted) = &self.gateway
            && !["-", SERVICES_NAME].contains(&wanted.as_str())
            && !names
                .of_kind(NameKey::GATEWAY)
                .any(|(number, _)| names.gateway(number) == *wanted)
            && !records.iter().any(|session| session.gateway == *wanted)
        {
            return Err(bad(format!(
                "there is no NAT gateway {wanted}; endpoints are written endpoint:NAME, load balancers load-balancer:NAME"
            )));
        }
        Ok(())
    }

    fn wants(&self, session: &SessionRecord) -> bool {
        let within = |network: Option<Ipv4Net>, address: Ipv4Addr| {
            network.is_none_or(|network| network.contains(&address))
        };
        matches(self.protocol.map(ProtocolArgument::name), session.protocol)
            && within(self.source, session.source)
            && within(self.destination, session.destination)
            && matches(self.destination_port, session.destination_port)
            && matches(self.translated, session.translated)
            && matches(self.translated_port, session.translated_port)
            && matches(self.vpc.as_deref(), session.vpc.as_str())
            && matches(self.gateway.as_deref(), session.gateway.as_str())
            && matches(self.state.as_deref(), session.state)
    }
}

/// Shows the translation table.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let mut records = sessions::read(pins)?;
    arguments.check_names(&Names::read(pins)?, &records)?;
    records.retain(|session| arguments.wants(session));
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        for record in &records {
            output::json(&mut out, record)?;
        }
    } else {
        records.sort_by_key(|session| {
            (
                session.protocol,
                session.source,
                session.source_port,
                session.destination,
                session.destination_port,
            )
        });
        let heading = [
            "PROTO",
            "VPC",
            "SOURCE",
            "TRANSLATED",
            "DESTINATION",
            "GATEWAY",
            "STATE",
            "AGE",
            "IDLE",
            "OUT",
            "IN",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(records.iter().map(row));
        output::table(&mut out, &rows)?;
    }
    Ok(out.flush()?)
}

fn row(session: &SessionRecord) -> Vec<String> {
    let traffic = |packets: u64, bytes: u64| format!("{packets} / {}", output::bytes(bytes));
    let destination = if session.destination_port == 0 {
        session.destination.to_string()
    } else {
        format!("{}:{}", session.destination, session.destination_port)
    };
    vec![
        session.protocol.to_owned(),
        session.vpc.clone(),
        format!("{}:{}", session.source, session.source_port),
        format!("{}:{}", session.translated, session.translated_port),
        destination,
        session.gateway.clone(),
        session.state.to_owned(),
        output::seconds(session.age_seconds),
        output::seconds(session.idle_seconds),
        traffic(session.packets_out, session.bytes_out),
        traffic(session.packets_in, session.bytes_in),
    ]
}
