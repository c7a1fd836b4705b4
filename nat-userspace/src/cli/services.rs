//! `nat services`: what VPCs offer to others, who asks for it, and what is decided about that.

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Failure, Outcome, client, output, source::Source};
use crate::{
    config::{
        EndpointService, EndpointState, Front, Vpc,
        objects::{Kind, ObjectKey},
    },
    hex,
};

/// See `nat services --help`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let an endpoint work that asks for a service
    Accept(Decision),
    /// Let it not, or no longer
    Reject(Decision),
}

#[derive(Debug, Args)]
struct Decision {
    /// The endpoint service
    #[arg(value_name = "VPC/SERVICE", value_parser = pair)]
    service: Pair,
    /// The endpoint of another VPC
    #[arg(value_name = "VPC/ENDPOINT", value_parser = pair)]
    endpoint: Pair,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    vpc: String,
    name: String,
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.vpc, self.name)
    }
}

fn pair(text: &str) -> Result<Pair, String> {
    let parts = text.split_once('/');
    // The names that objects of the API may have.
    let parts = parts.filter(|(vpc, name)| ObjectKey::new(vpc, Kind::Endpoint, name).is_valid());
    let (vpc, name) = parts.ok_or("write two names with a slash between them, as in shared/db")?;
    Ok(Pair {
        vpc: vpc.to_owned(),
        name: name.to_owned(),
    })
}

/// An endpoint service.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ServiceRecord {
    vpc: String,
    name: String,
    load_balancer: String,
    acceptance_required: bool,
    /// Nothing: all of them.
    allowed_vpcs: Option<Vec<String>>,
    endpoints: Vec<ConsumerRecord>,
}

/// An endpoint that asks for it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ConsumerRecord {
    vpc: String,
    name: String,
    state: &'static str,
    /// The object of the API that decides about it; nothing: the service itself does.
    acceptance: Option<String>,
}

/// Shows services, or decides about an endpoint.
pub fn run(socket: &Path, arguments: &Arguments) -> Outcome {
    let (decision, accepted) = match &arguments.command {
        None => return show(&arguments.source.vpcs(socket)?, arguments.source.json),
        Some(Command::Accept(decision)) => (decision, true),
        Some(Command::Reject(decision)) => (decision, false),
    };
    let vpcs = arguments.source.vpcs(socket)?;
    let key = acceptance(&vpcs, decision)?;
    let Decision { service, endpoint } = decision;
    let spec = json!({
        "service": service.name,
        "endpoint": endpoint.to_string(),
        "accepted": accepted,
    });
    let path = format!("/v1/vpcs/{key}");
    client::ask(socket, "PUT", &path, spec.to_string().as_bytes())?;
    let state = if accepted {
        EndpointState::Available
    } else {
        EndpointState::Rejected
    };
    writeln!(io::stdout(), "{endpoint} is {} by {key}", state.name())?;
    Ok(())
}

fn show(vpcs: &[Vpc], json: bool) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    for (index, service) in records(vpcs).iter().enumerate() {
        if json {
            output::json(&mut out, service)?;
            continue;
        }
        if index > 0 {
            writeln!(out)?;
        }
        text(&mut out, service)?;
    }
    Ok(out.flush()?)
}

fn text(out: &mut impl io::Write, service: &ServiceRecord) -> io::Result<()> {
    let acceptance = if service.acceptance_required {
        "acceptance required"
    } else {
        "no acceptance required"
    };
    write!(
        out,
        "{}/{}, load balancer {}, {acceptance}",
        service.vpc, service.name, service.load_balancer
    )?;
    match service.allowed_vpcs.as_deref() {
        None => writeln!(out)?,
        Some([]) => writeln!(out, ", for no VPC")?,
        Some(allowed) => writeln!(out, ", for {}", allowed.join(", "))?,
    }
    let rows = service.endpoints.iter().map(|endpoint| {
        let by = endpoint.acceptance.as_ref();
        let by = by.map_or_else(String::new, |by| format!("by {by}"));
        let name = format!("  {}/{}", endpoint.vpc, endpoint.name);
        vec![name, endpoint.state.to_owned(), by]
    });
    output::table(out, &rows.collect::<Vec<_>>())
}

fn records(vpcs: &[Vpc]) -> Vec<ServiceRecord> {
    let services = vpcs
        .iter()
        .flat_map(|vpc| vpc.endpoint_services.iter().map(move |each| (vpc, each)));
    let records = services.map(|(provider, service)| ServiceRecord {
        vpc: provider.name.clone(),
        name: service.name.clone(),
        load_balancer: service.load_balancer.clone(),
        acceptance_required: service.acceptance_required,
        allowed_vpcs: service.allowed_vpcs.clone(),
        endpoints: consumers(vpcs, provider, service),
    });
    records.collect()
}

fn consumers(vpcs: &[Vpc], provider: &Vpc, service: &EndpointService) -> Vec<ConsumerRecord> {
    let mut consumers = Vec::new();
    for vpc in vpcs {
        for endpoint in &vpc.endpoints {
            let asks = endpoint
                .interface()
                .is_some_and(|one| is_for(&one.front, provider, &service.name));
            if !asks {
                continue;
            }
            let state = provider.state_of(&service.name, &vpc.name, &endpoint.name);
            let decided = decided(provider, &service.name, &vpc.name, &endpoint.name);
            consumers.push(ConsumerRecord {
                vpc: vpc.name.clone(),
                name: endpoint.name.clone(),
                state: state.unwrap_or(EndpointState::PendingAcceptance).name(),
                acceptance: decided.map(|key| key.to_string()),
            });
        }
    }
    consumers
}

fn is_for(front: &Front, provider: &Vpc, name: &str) -> bool {
    matches!(front, Front::Service { vpc, service } if *vpc == provider.name && service == name)
}

/// The object that decides about an endpoint already.
fn decided(provider: &Vpc, service: &str, vpc: &str, endpoint: &str) -> Option<ObjectKey> {
    let acceptance = provider.acceptance_of(service, vpc, endpoint)?;
    let kind = Kind::EndpointAcceptance;
    Some(ObjectKey::new(&provider.name, kind, &acceptance.name))
}

/// The object that decides about an endpoint, or is to.
fn acceptance(vpcs: &[Vpc], decision: &Decision) -> Result<ObjectKey, Failure> {
    let Decision { service, endpoint } = decision;
    let failed = |what: String| Failure::Failed(format!("{what}; see `nat services`"));
    let vpc_of = |pair: &Pair| {
        let mut vpcs = vpcs.iter();
        let found = vpcs.find(|vpc| vpc.name == pair.vpc);
        found.ok_or_else(|| failed(format!("there is no VPC {}", pair.vpc)))
    };
    let (provider, consumer) = (vpc_of(service)?, vpc_of(endpoint)?);
    let mut services = provider.endpoint_services.iter();
    if !services.any(|each| each.name == service.name) {
        return Err(failed(format!("there is no endpoint service {service}")));
    }
    let mut endpoints = consumer.endpoints.iter();
    let Some(found) = endpoints.find(|each| each.name == endpoint.name) else {
        return Err(failed(format!("there is no endpoint {endpoint}")));
    };
    let asks = found
        .interface()
        .is_some_and(|one| is_for(&one.front, provider, &service.name));
    if !asks {
        return Err(failed(format!(
            "endpoint {endpoint} does not ask for service {service}"
        )));
    }
    let there = decided(provider, &service.name, &endpoint.vpc, &endpoint.name);
    Ok(there.unwrap_or_else(|| {
        let name = name_for(&service.name, endpoint);
        ObjectKey::new(&provider.name, Kind::EndpointAcceptance, &name)
    }))
}

/// What the object for an endpoint is called: always the same, and never as that for another one.
fn name_for(service: &str, endpoint: &Pair) -> String {
    let parts = [service, &endpoint.vpc, &endpoint.name];
    let name = parts.join(".");
    if name.len() <= 64 && parts.iter().all(|part| !part.contains('.')) {
        return name;
    }
    let digest = Sha256::digest(parts.join("/"));
    format!("endpoint-{}", hex::digits(digest.into_iter().take(16)))
}
