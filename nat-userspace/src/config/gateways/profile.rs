//! Checks that a NAT gateway has no settings of another profile.

use super::draft::NatGatewayDraft;
use super::types::{Filtering, Profile};
use crate::config::place::Report;

pub fn check(gateway: &NatGatewayDraft, report: &mut Report<'_>) {
    let Some(profile) = gateway.profile() else {
        return;
    };
    if profile == Profile::Aws {
        settings_of_rfc(gateway, report);
    }
    let endpoint_independent = Some(Filtering::EndpointIndependent);
    if let Some(rest) = gateway.port_rest.given()
        && gateway.filtering().is_some()
        && gateway.filtering() != endpoint_independent
    {
        report.error(
            &rest.place,
            "a freed port rests only with profile \"rfc\" and filtering \"endpoint-independent\"",
            "remove port_rest, or set profile = \"rfc\" and filtering = \"endpoint-independent\"",
        );
    }
}

fn settings_of_rfc(gateway: &NatGatewayDraft, report: &mut Report<'_>) {
    if let Some(filtering) = gateway.filtering.given() {
        report.error(
            &filtering.place,
            "profile \"aws\" always filters by address and port",
            "remove filtering, or set profile = \"rfc\"",
        );
    }
    if let Some(ports) = gateway.max_ports_per_client.given() {
        report.error(
            &ports.place,
            "with profile \"aws\" clients share ports, so theirs cannot be counted",
            "write max_sessions_per_client instead, or set profile = \"rfc\"",
        );
    }
    let shared = &gateway.shared_with_host;
    let may_forward = shared.is_broken() || shared.value() == Some(&true);
    if let Some(forward) = gateway.forwards.first()
        && !may_forward
    {
        report.error(
            &forward.place,
            "profile \"aws\" forwards no ports of an address that is the gateway's alone",
            "set profile = \"rfc\", or shared_with_host = true when the address is also this host's",
        );
    }
}
