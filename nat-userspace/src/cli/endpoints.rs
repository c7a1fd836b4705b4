//! `nat endpoints`.

use std::io::{self, BufWriter, Write as _};

use clap::Args;
use nat_common::map_types::NameKey;

use super::{Outcome, no_vpc, output};
use crate::{
    endpoints::{self, AddressRecord, EndpointRecord, Offer},
    pins::Pins,
    sessions::Names,
};

/// See `nat endpoints --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this VPC
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Shows endpoints and load balancers as the dataplane holds them.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    let mut endpoints = endpoints::read(pins)?;
    if let Some(vpc) = &arguments.vpc {
        endpoints.retain(|each| each.vpc == *vpc);
        let names = Names::read(pins)?;
        if !names.of_kind(NameKey::VPC).any(|(_, name)| name == vpc) {
            return Err(no_vpc(vpc));
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for (index, each) in endpoints.iter().enumerate() {
        if arguments.json {
            output::json(&mut out, each)?;
            continue;
        }
        if index > 0 {
            writeln!(out)?;
        }
        text(&mut out, each)?;
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, each: &EndpointRecord) -> io::Result<()> {
    writeln!(
        out,
        "{}/{}, {}, {}, {} session(s)",
        each.vpc,
        each.name,
        each.kind.name(),
        each.state,
        each.sessions
    )?;
    for address in &each.addresses {
        writeln!(out, "  at {}", place(address))?;
    }
    for way in &each.routes {
        writeln!(out, "  for {} in {}", way.destination, way.route_table)?;
    }
    for offer in &each.offers {
        writeln!(out, "  {}", served(offer))?;
        for target in &offer.targets {
            let state = target.state.name();
            writeln!(out, "    {}:{}  {state}", target.address, target.port)?;
        }
    }
    Ok(())
}

fn place(each: &AddressRecord) -> String {
    let mut text = each.address.to_string();
    if let Some(subnet) = &each.subnet {
        text += &format!(" in {subnet}");
    }
    if !each.security_groups.is_empty() {
        text += &format!(", behind {}", each.security_groups.join(","));
    }
    text
}

fn served(offer: &Offer) -> String {
    let mut text = match (offer.protocol, offer.port) {
        (Some(protocol), Some(port)) => format!("{protocol} {port}: "),
        (Some(protocol), None) => format!("{protocol}: "),
        _ => "everything: ".to_owned(),
    };
    if let Some(address) = offer.address {
        text += &address.to_string();
    }
    if let Some(gateway) = &offer.nat_gateway {
        text += &format!(" by nat-gateway:{gateway}");
    }
    if let (Some(vpc), Some(group)) = (&offer.target_vpc, &offer.target_group) {
        text += &format!("target group {vpc}/{group}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{EndpointType, TargetRecord, TargetState, WayRecord};

    fn offer() -> Offer {
        Offer {
            protocol: Some("tcp"),
            port: Some(5432),
            address: None,
            nat_gateway: None,
            target_vpc: Some("shared".to_owned()),
            target_group: Some("db".to_owned()),
            targets: vec![TargetRecord {
                address: [10, 50, 1, 10].into(),
                port: 5432,
                state: TargetState::Unhealthy,
            }],
        }
    }

    fn record() -> EndpointRecord {
        EndpointRecord {
            vpc: "main".to_owned(),
            name: "db".to_owned(),
            kind: EndpointType::Interface,
            state: "available",
            addresses: vec![AddressRecord {
                address: [10, 20, 1, 50].into(),
                subnet: Some("private-a".to_owned()),
                security_groups: vec!["a".to_owned(), "b".to_owned()],
            }],
            offers: vec![offer()],
            routes: Vec::new(),
            sessions: 2,
        }
    }

    fn shown(record: &EndpointRecord) -> String {
        let mut out = Vec::new();
        text(&mut out, record).expect("text");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn an_endpoint_says_where_it_is_and_who_serves_it() {
        assert_eq!(
            shown(&record()),
            "main/db, interface, available, 2 session(s)\n  at 10.20.1.50 in private-a, behind a,b\n  \
             tcp 5432: target group shared/db\n    10.50.1.10:5432  unhealthy\n"
        );
        let json = serde_json::to_value(record()).expect("JSON");
        assert_eq!(json["type"], "interface");
        assert_eq!(json["offers"][0]["targets"][0]["state"], "unhealthy");
    }

    #[test]
    fn one_for_an_address_or_a_prefix_says_which() {
        let to_address = Offer {
            protocol: None,
            port: None,
            address: Some([192, 0, 2, 7].into()),
            nat_gateway: Some("egress".to_owned()),
            target_vpc: None,
            target_group: None,
            targets: Vec::new(),
        };
        assert_eq!(
            served(&to_address),
            "everything: 192.0.2.7 by nat-gateway:egress"
        );
        let by_routes = EndpointRecord {
            kind: EndpointType::Gateway,
            addresses: Vec::new(),
            offers: Vec::new(),
            routes: vec![WayRecord {
                route_table: "private".to_owned(),
                destination: "192.0.2.0/24".to_owned(),
            }],
            ..record()
        };
        assert_eq!(
            shown(&by_routes),
            "main/db, gateway, available, 2 session(s)\n  for 192.0.2.0/24 in private\n"
        );
    }
}
