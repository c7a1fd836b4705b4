//! Endpoints and endpoint services. Their keys (`parse`, `draft`), what they become (`types`), and their checks:
//! here of names, limits and keys that do not go together; of each type of endpoints in `gateway` and `interface`,
//! of what endpoints and services of different VPCs say about each other in `services`, of routes in `ways`.
//! Addresses are checked in `addresses`, security groups in `filtering`.

mod draft;
mod gateway;
mod interface;
mod parse;
mod services;
pub mod types;
mod ways;

pub use draft::{EndpointAcceptanceDraft, EndpointDraft, EndpointServiceDraft};
pub use parse::{endpoint, endpoint_acceptance, endpoint_service};
pub use services::check_together;
pub use ways::{Ways, takes_routes};

use super::draft::VpcDraft;
use super::index::Index;
use super::place::{List, Place, Read, Report};
use super::reader::Field;
use super::suggest::quoted;
use super::validate::{limit, unique_names};
use draft::EndpointType;
use parse::{
    ADDRESS, INTERFACES, NAT_GATEWAY, POLICY, PREFIX_LISTS, PRIVATE_DNS, SECURITY_GROUPS, SERVICE,
};
use types::MAX_ENDPOINTS;

/// Reports the mistakes in a VPC's endpoints and endpoint services, as far as other VPCs do not matter.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    let names = vpc.endpoints.iter().map(|endpoint| &endpoint.name);
    unique_names("endpoint", names, report);
    let places = vpc.endpoints.iter().map(|endpoint| &endpoint.place);
    limit("endpoints in a VPC", MAX_ENDPOINTS, places, report);
    for endpoint in &vpc.endpoints {
        match endpoint.kind.value() {
            Some(EndpointType::Gateway) => gateway::check(endpoint, index, report),
            Some(EndpointType::Interface) => interface::check(endpoint, vpc, index, report),
            None => {}
        }
        foreign_keys(endpoint, report);
    }
    interface::names(vpc, report);
    services::check(vpc, index, report);
}

/// Keys of the other type.
fn foreign_keys(endpoint: &EndpointDraft, report: &mut Report<'_>) {
    let Some(kind) = endpoint.kind.value() else {
        return;
    };
    let (other, word) = match kind {
        EndpointType::Gateway => (EndpointType::Interface, "interface"),
        EndpointType::Interface => (EndpointType::Gateway, "gateway"),
    };
    for (key, place) in keys_of(endpoint, other) {
        if let Some(place) = place {
            report.error(
                place,
                format!("only {word} endpoints have {key}"),
                format!("remove {key}, or write type = {}", quoted(word)),
            );
        }
    }
}

/// The keys that only one type has, and where they stand.
fn keys_of(endpoint: &EndpointDraft, kind: EndpointType) -> Vec<(&'static str, Option<&Place>)> {
    fn place<T>(read: &Read<T>) -> Option<&Place> {
        read.given().map(|given| &given.place)
    }
    const fn start<T>(list: &List<T>) -> Option<&Place> {
        list.place.as_ref()
    }
    match kind {
        EndpointType::Gateway => vec![
            (PREFIX_LISTS.key, start(&endpoint.prefix_lists)),
            (POLICY.key, endpoint.policy.place.as_ref()),
        ],
        EndpointType::Interface => vec![
            (SERVICE.key, place(&endpoint.service)),
            (ADDRESS.key, place(&endpoint.address)),
            (NAT_GATEWAY.key, place(&endpoint.nat_gateway)),
            (INTERFACES.key, endpoint.interfaces.place.as_ref()),
            (SECURITY_GROUPS.key, start(&endpoint.security_groups)),
            (PRIVATE_DNS.key, start(&endpoint.private_dns)),
        ],
    }
}

/// Reports a key that must be there.
fn missing(endpoint: &EndpointDraft, field: &Field, report: &mut Report<'_>) {
    report.error(
        &endpoint.place.child(field.key),
        "required key is missing",
        format!("add {}", field.example),
    );
}
