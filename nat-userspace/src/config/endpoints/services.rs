//! Checks of endpoint services, and of what endpoints of other VPCs have to do with them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::draft::{EndpointDraft, EndpointServiceDraft, ServiceName};
use super::types::MAX_ENDPOINT_INTERFACES;
use crate::config::draft::{Draft, VpcDraft};
use crate::config::index::Index;
use crate::config::place::{Located, Report};
use crate::config::suggest::{listed, quoted};
use crate::config::validate::{dangling, limit, unique, unique_names};

const MAX_SERVICES: usize = 64;
/// Decisions of the API about endpoints, in a VPC.
const MAX_ACCEPTANCES: usize = 4096;
/// VPCs or endpoints that a service names in one list.
const MAX_NAMED: usize = 1000;

/// Reports the mistakes in a VPC's own services.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let names = vpc.endpoint_services.iter().map(|service| &service.name);
    unique_names("endpoint service", names, report);
    let places = vpc.endpoint_services.iter().map(|service| &service.place);
    limit("endpoint services in a VPC", MAX_SERVICES, places, report);
    for service in &vpc.endpoint_services {
        if let Some(Located { value, place }) = service.load_balancer.given() {
            dangling("load balancer", place, value, &index.load_balancers, report);
        }
        decisions(service, report);
    }
    acceptances(vpc, index, report);
}

fn acceptances(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let acceptances = &vpc.endpoint_acceptances;
    let places = acceptances.iter().map(|acceptance| &acceptance.place);
    limit(
        "endpoint acceptances in a VPC",
        MAX_ACCEPTANCES,
        places,
        report,
    );
    for acceptance in acceptances {
        if let Some(Located { value, place }) = acceptance.service.given() {
            let services = &index.endpoint_services;
            dangling("endpoint service", place, value, services, report);
        }
    }
    let decided: Vec<_> = acceptances
        .iter()
        .filter_map(|acceptance| {
            let endpoint = acceptance.endpoint.given()?;
            Some(Located {
                value: (acceptance.service.value()?, &endpoint.value),
                place: endpoint.place.clone(),
            })
        })
        .collect();
    unique(
        decided.iter(),
        |(service, endpoint)| {
            format!(
                "what {} is for service {}",
                quoted(endpoint),
                quoted(service)
            )
        },
        "change that one, or delete it first",
        report,
    );
}

fn decisions(service: &EndpointServiceDraft, report: &mut Report<'_>) {
    let lists = [
        ("VPCs that a service allows", "VPC", &service.allowed_vpcs),
        (
            "endpoints that a service accepts",
            "endpoint",
            &service.accepted,
        ),
        (
            "endpoints that a service rejects",
            "endpoint",
            &service.rejected,
        ),
    ];
    for (what, word, list) in lists {
        limit(
            what,
            MAX_NAMED,
            list.items.iter().map(|item| &item.place),
            report,
        );
        let show = |name: &String| format!("{word} {}", quoted(name));
        unique(list.items.iter(), show, "name each once", report);
    }
    let accepted: FxHashMap<_, _> = service
        .accepted
        .items
        .iter()
        .map(|endpoint| (&endpoint.value, &endpoint.place))
        .collect();
    for Located { value, place } in &service.rejected.items {
        if let Some(first) = accepted.get(value) {
            let position = report.position(first);
            report.error(
                place,
                format!(
                    "endpoint {} is accepted ({position}) and rejected",
                    quoted(value)
                ),
                "remove it from accepted or rejected",
            );
        }
    }
}

/// Reports endpoints that no service of another VPC is for, and more interfaces than the node has room for.
pub fn check_together(draft: &Draft, report: &mut Report<'_>) {
    let endpoints = || {
        let vpcs = draft.vpcs.iter();
        vpcs.flat_map(|vpc| vpc.endpoints.iter().map(move |endpoint| (vpc, endpoint)))
    };
    let interfaces = endpoints().flat_map(|(_, endpoint)| {
        let count = endpoint.interfaces.items.len();
        std::iter::repeat_n(&endpoint.place, count)
    });
    limit(
        "interfaces of endpoints in all VPCs together",
        MAX_ENDPOINT_INTERFACES,
        interfaces,
        report,
    );
    if endpoints().all(|(_, endpoint)| endpoint.service.value().is_none()) {
        return;
    }
    let services = Services::of(draft);
    for (vpc, endpoint) in endpoints() {
        services.check(vpc, endpoint, report);
    }
}

struct Services<'a> {
    vpcs: FxHashSet<&'a str>,
    by_name: FxHashMap<(&'a str, &'a str), &'a EndpointServiceDraft>,
    /// In the order of the file.
    names: Vec<(&'a str, String)>,
}

impl<'a> Services<'a> {
    fn of(draft: &'a Draft) -> Self {
        let mut services = Self {
            vpcs: draft.vpcs.iter().map(VpcDraft::title).collect(),
            by_name: FxHashMap::default(),
            names: Vec::new(),
        };
        for vpc in &draft.vpcs {
            for service in &vpc.endpoint_services {
                if let Some(name) = service.name.value() {
                    let key = (vpc.title(), name.as_str());
                    services.by_name.entry(key).or_insert(service);
                    services
                        .names
                        .push((vpc.title(), format!("{}/{name}", vpc.title())));
                }
            }
        }
        services
    }

    fn check(&self, vpc: &VpcDraft, endpoint: &EndpointDraft, report: &mut Report<'_>) {
        let Some(Located { value, place }) = endpoint.service.given() else {
            return;
        };
        let ServiceName {
            vpc: provider,
            service: name,
        } = value;
        let shown = quoted(&format!("{provider}/{name}"));
        let own = vpc.title();
        if provider == own {
            report.error(
                place,
                format!("service {shown} is of this VPC, whose hosts need no endpoint for it"),
                "write to the load balancer's address, or name a service of another VPC",
            );
            return;
        }
        let Some(service) = self.by_name.get(&(provider, name)) else {
            let message = if self.vpcs.contains(provider.as_str()) {
                format!("there is no endpoint service {shown}")
            } else {
                let provider = quoted(provider);
                format!("there is no VPC {provider} on this node, and so no service {shown}")
            };
            let remedy = self.others(own, &shown, report);
            report.error(place, message, remedy);
            return;
        };
        let allowed = &service.allowed_vpcs;
        if allowed.place.is_some()
            && allowed.complete
            && !allowed.items.iter().any(|vpc| vpc.value == own)
        {
            let position = report.position(&service.place);
            report.error(
                place,
                format!(
                    "service {shown} ({position}) does not allow VPC {}",
                    quoted(own)
                ),
                format!(
                    "add {} to its allowed_vpcs, or name another service",
                    quoted(own)
                ),
            );
        }
    }

    /// What there is instead, for a VPC.
    fn others(&self, own: &str, shown: &str, report: &mut Report<'_>) -> String {
        let names = self.names.iter().filter(|(vpc, _)| *vpc != own);
        let names: Vec<&str> = names.map(|(_, name)| name.as_str()).collect();
        let existing = listed(names.iter().copied());
        if names.is_empty() {
            "define the service first: other VPCs of this node have none".to_owned()
        } else if let Some(near) = report.closest(shown.trim_matches('"'), &names) {
            format!("did you mean {}? other VPCs have: {existing}", quoted(near))
        } else {
            format!("define it or name one that other VPCs have: {existing}")
        }
    }
}
