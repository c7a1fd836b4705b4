//! NAT gateways: their keys (`parse`, `values`, `draft`), what they become (`types`), and the checks
//! of a gateway as a whole, each in a file of its own.

mod deterministic;
mod draft;
mod forwards;
mod no_translate;
mod one_to_one;
mod parse;
mod pools;
mod profile;
pub mod types;
mod values;
mod way_out;

pub use deterministic::client_count;
pub use draft::NatGatewayDraft;
pub use forwards::{Clash, clashes, most_forwarded_ports};
pub use no_translate::rules_by_prefix;
pub use parse::nat_gateway;
pub use values::ports;

use nat_common::map_types::MAX_PUBLIC_IPS;

use super::draft::{Draft, VpcDraft};
use super::index::Index;
use super::place::Report;
use super::validate::{limit, subnet_reference};

/// Reports the mistakes of a VPC's NAT gateways; with `ways`, also in what leads to and from them.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>, ways: bool) {
    for gateway in &vpc.nat_gateways {
        subnet_reference(&gateway.subnet, index, report);
        let places = gateway
            .public_ips
            .items
            .iter()
            .map(|address| &address.place);
        limit(
            "public addresses on a NAT gateway",
            MAX_PUBLIC_IPS,
            places,
            report,
        );
        profile::check(gateway, report);
        pools::check(gateway, report);
        no_translate::check(gateway, report);
    }
    if ways {
        deterministic::check(vpc, index, report);
        way_out::check(vpc, index, report);
    }
    forwards::check(vpc, report);
    one_to_one::check(vpc, index, report);
}

/// Reports what shows only when all gateways are held against each other.
pub fn check_together(draft: &Draft, report: &mut Report<'_>) {
    no_translate::check_together(draft, report);
    forwards::check_together(draft, report);
}
