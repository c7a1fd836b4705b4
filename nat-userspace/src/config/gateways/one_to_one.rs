//! Forwards to instances that answer by their own public IP: whoever wrote to the forwarded port hears
//! from an address that they never wrote to.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::draft::{InstanceDraft, RouteTableDraft, VpcDraft};
use crate::config::index::{Index, Routing};
use crate::config::place::Report;
use crate::config::routes::MAX_ROUTES;
use crate::config::suggest::quoted;
use crate::config::types::Target;

pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let forwards = vpc
        .nat_gateways
        .iter()
        .flat_map(|gateway| &gateway.forwards);
    let mut led_to = forwards.filter_map(|forward| forward.to.given()).peekable();
    if led_to.peek().is_none() {
        return;
    }
    let instances = answering_one_to_one(vpc, index);
    for to in led_to {
        let Some((name, public_ip)) = instances.get(to.value.ip()) else {
            continue;
        };
        report.error(
            &to.place,
            format!(
                "{} is instance {}, whose route table sends all its answers to the internet gateway: \
                 they would leave by its own public IP {public_ip}, which nobody wrote to",
                to.value.ip(),
                quoted(name),
            ),
            "lead to another host, or remove that instance's public_ip",
        );
    }
}

/// Name and public IP of the instances that answer everybody by it, by private IP.
fn answering_one_to_one<'a>(
    vpc: &'a VpcDraft,
    index: &Index<'a>,
) -> HashMap<Ipv4Addr, (&'a str, Ipv4Addr)> {
    let mut judged: HashMap<*const RouteTableDraft, bool> = HashMap::new();
    let mut answers = |instance: &InstanceDraft| {
        let subnet = index.subnet(&instance.subnet)?;
        let Routing::Table(table) = index.routing_of(subnet) else {
            return None;
        };
        judged
            .entry(table)
            .or_insert_with(|| leads_out_only(vpc, table, index))
            .then_some(())
    };
    vpc.instances
        .iter()
        .filter_map(|instance| {
            let (private_ip, public_ip) =
                (*instance.private_ip.value()?, *instance.public_ip.value()?);
            answers(instance)?;
            let name = instance.name.value().map_or("?", String::as_str);
            Some((private_ip, (name, public_ip)))
        })
        .collect()
}

/// Whether the table leads to the internet gateway from everywhere outside the VPC. Where it has no
/// route or one to a NAT gateway, a forward's answers go by their session, and the forward works.
fn leads_out_only(vpc: &VpcDraft, table: &RouteTableDraft, index: &Index<'_>) -> bool {
    let mut covered: Vec<Ipv4Net> = vpc.cidrs.items.iter().map(|cidr| cidr.value).collect();
    let most = covered.len() + MAX_ROUTES;
    for route in &table.routes {
        if covered.len() > most {
            // More than a table may have, which is reported elsewhere.
            return false;
        }
        match (route.target.value(), route.destination.value()) {
            (Some(Target::InternetGateway), Some(destination)) => {
                covered.extend(index.prefixes(destination));
            }
            (Some(Target::Local | Target::Blackhole), Some(_)) => {}
            // Another way, or a mistake that is reported elsewhere.
            _ => return false,
        }
    }
    table.complete && Ipv4Net::aggregate(&covered) == [Ipv4Net::default()]
}
