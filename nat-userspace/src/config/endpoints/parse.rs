//! The keys of endpoints and endpoint services: TOML to draft.

use super::draft::{
    EndpointAcceptanceDraft, EndpointDraft, EndpointServiceDraft, EndpointType, InterfaceDraft,
    Sections, ServiceName, StatementDraft,
};
use crate::config::dns::private_name;
use crate::config::parse::{PRIVATE_IP, SUBNET_NAME, required_name};
use crate::config::place::Report;
use crate::config::reader::{Complaint, Field, Section, field};
use crate::config::suggest::quoted;
use crate::config::toml::Value;
use crate::config::values::{address, boolean, choice, cidr, is_name, name_rule, owned_text, text};

pub const TYPE: Field = field("type", "a string", "type = \"gateway\"");
pub const PREFIX_LISTS: Field = field(
    "prefix_lists",
    "an array of strings",
    "prefix_lists = [\"storage\"]",
);
pub const POLICY: Field = field(
    "policy",
    "an array of tables",
    "policy = [{ effect = \"allow\", instances = [\"web\"] }]",
);
pub const SERVICE: Field = field("service", "a string", "service = \"shared/db\"");
pub const ADDRESS: Field = field("address", "a string", "address = \"192.0.2.7\"");
pub const NAT_GATEWAY: Field = field("nat_gateway", "a string", "nat_gateway = \"egress\"");
pub const INTERFACES: Field = field(
    "interfaces",
    "an array of tables",
    "interfaces = [{ subnet = \"private-a\", private_ip = \"10.20.1.50\" }]",
);
pub const SECURITY_GROUPS: Field = field(
    "security_groups",
    "an array of strings",
    "security_groups = [\"db\"]",
);
pub const PRIVATE_DNS: Field = field(
    "private_dns",
    "an array of strings",
    "private_dns = [\"db.example.com\"]",
);

pub fn endpoint(section: &mut Section<'_>, report: &mut Report<'_>) -> EndpointDraft {
    const TYPES: [(&str, EndpointType); 2] = [
        ("gateway", EndpointType::Gateway),
        ("interface", EndpointType::Interface),
    ];
    EndpointDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        kind: section.required(report, &TYPE, |value| {
            choice(value, "a type of endpoints", &TYPES)
        }),
        prefix_lists: section.list(report, &PREFIX_LISTS, owned_text),
        policy: sections(section, report, &POLICY, statement),
        service: section.optional(report, &SERVICE, service_name),
        address: section.optional(report, &ADDRESS, address),
        nat_gateway: section.optional(report, &NAT_GATEWAY, owned_text),
        interfaces: sections(section, report, &INTERFACES, interface),
        security_groups: section.list(report, &SECURITY_GROUPS, owned_text),
        private_dns: section.list(report, &PRIVATE_DNS, private_name),
    }
}

fn sections<T>(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    field: &Field,
    read: impl Fn(&mut Section<'_>, &mut Report<'_>) -> T,
) -> Sections<T> {
    let place = section.place_of_key(field);
    let (sections, complete) = section.sections(report, field);
    Sections {
        place,
        items: sections
            .into_iter()
            .map(|section| section.whole(report, &read))
            .collect(),
        complete,
    }
}

fn statement(section: &mut Section<'_>, report: &mut Report<'_>) -> StatementDraft {
    const EFFECT: Field = field("effect", "a string", "effect = \"allow\"");
    const INSTANCES: Field = field("instances", "an array of strings", "instances = [\"web\"]");
    const DESTINATIONS: Field = field(
        "destinations",
        "an array of strings",
        "destinations = [\"203.0.113.0/24\"]",
    );
    StatementDraft {
        allow: section.required(report, &EFFECT, |value| {
            choice(value, "an effect", &[("allow", true), ("deny", false)])
        }),
        instances: section.list(report, &INSTANCES, owned_text),
        destinations: section.list(report, &DESTINATIONS, cidr),
    }
}

fn interface(section: &mut Section<'_>, report: &mut Report<'_>) -> InterfaceDraft {
    InterfaceDraft {
        subnet: section.required(report, &SUBNET_NAME, owned_text),
        private_ip: section.required(report, &PRIVATE_IP, address),
    }
}

pub fn endpoint_service(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
) -> EndpointServiceDraft {
    const LOAD_BALANCER: Field = field("load_balancer", "a string", "load_balancer = \"db\"");
    const ACCEPTANCE: Field = field(
        "acceptance_required",
        "true or false",
        "acceptance_required = false",
    );
    const ALLOWED: Field = field(
        "allowed_vpcs",
        "an array of strings",
        "allowed_vpcs = [\"main\"]",
    );
    const ACCEPTED: Field = field(
        "accepted",
        "an array of strings",
        "accepted = [\"main/db\"]",
    );
    const REJECTED: Field = field(
        "rejected",
        "an array of strings",
        "rejected = [\"main/db\"]",
    );
    EndpointServiceDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        load_balancer: section.required(report, &LOAD_BALANCER, owned_text),
        acceptance_required: section.optional(report, &ACCEPTANCE, boolean),
        allowed_vpcs: section.list(report, &ALLOWED, vpc_name),
        accepted: section.list(report, &ACCEPTED, endpoint_name),
        rejected: section.list(report, &REJECTED, endpoint_name),
    }
}

pub fn endpoint_acceptance(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
) -> EndpointAcceptanceDraft {
    const OWN_SERVICE: Field = field("service", "a string", "service = \"db\"");
    const ENDPOINT: Field = field("endpoint", "a string", "endpoint = \"main/db\"");
    const ACCEPTED: Field = field("accepted", "true or false", "accepted = true");
    EndpointAcceptanceDraft {
        place: section.place.clone(),
        name: required_name(section, report),
        service: section.required(report, &OWN_SERVICE, owned_text),
        endpoint: section.required(report, &ENDPOINT, endpoint_name),
        accepted: section.required(report, &ACCEPTED, boolean),
    }
}

/// Two names with a slash between them.
fn pair(text: &str) -> Option<(&str, &str)> {
    let pair = text.split_once('/');
    pair.filter(|(vpc, name)| is_name(vpc) && is_name(name))
}

fn service_name(value: &Value<'_>) -> Result<ServiceName, Complaint> {
    let text = text(value)?;
    match pair(text) {
        Some((vpc, service)) => Ok(ServiceName {
            vpc: vpc.to_owned(),
            service: service.to_owned(),
        }),
        None => Err(Complaint::invalid(
            format!("{} is not the name of an endpoint service", quoted(text)),
            "write \"VPC/SERVICE\", as in \"shared/db\"",
        )),
    }
}

fn endpoint_name(value: &Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    match pair(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Complaint::invalid(
            format!("{} is not the name of a VPC's endpoint", quoted(text)),
            "write \"VPC/ENDPOINT\", as in \"main/db\"",
        )),
    }
}

/// Of a VPC that may not be there yet.
fn vpc_name(value: &Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(Complaint::invalid(
        format!("{} is not the name of a VPC", quoted(text)),
        name_rule(),
    ))
}
