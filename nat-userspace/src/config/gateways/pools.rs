//! Checks of the ports that a NAT gateway hands out.

use std::net::Ipv4Addr;

use nat_common::port_pool::MAX_RANGES;

use super::draft::NatGatewayDraft;
use super::types::PortRange;
use crate::config::place::{List, Located, Read, Report};
use crate::config::validate::{limit, unique};

pub fn check(gateway: &NatGatewayDraft, report: &mut Report<'_>) {
    ranges(&gateway.ports, "or leave the key out", report);
    let addresses = gateway.addresses();
    for entry in &gateway.address_ports {
        ranges(&entry.ports, "or remove the entry", report);
        if let Some(address) = entry.public_ip.given() {
            own_address(address, addresses.as_deref(), report);
        }
    }
    let entries = gateway.address_ports.iter();
    unique(
        entries.filter_map(|entry| entry.public_ip.given()),
        |address| format!("an entry for {address}"),
        "write all its ranges in one entry",
        report,
    );
}

/// Reports an address that is not the gateway's.
pub fn own_address(address: &Located<Ipv4Addr>, own: Option<&[Ipv4Addr]>, report: &mut Report<'_>) {
    let Some(own) = own.filter(|own| !own.contains(&address.value)) else {
        return;
    };
    let own: Vec<String> = own.iter().map(Ipv4Addr::to_string).collect();
    report.error(
        &address.place,
        format!("{} is no address of this gateway", address.value),
        format!("name one it translates to: {}", own.join(", ")),
    );
}

fn ranges(ranges: &List<PortRange>, otherwise: &str, report: &mut Report<'_>) {
    if let Some(place) = ranges.place.as_ref()
        && ranges.items.is_empty()
        && ranges.complete
    {
        report.error(
            place,
            "there is no port range",
            format!("write ports = [\"1024-65535\"] {otherwise}"),
        );
    }
    let places = ranges.items.iter().map(|range| &range.place);
    limit("port ranges on a NAT gateway", MAX_RANGES, places, report);

    let mut sorted: Vec<&Located<PortRange>> = ranges.items.iter().collect();
    sorted.sort_by_key(|range| range.value.first);
    for pair in sorted.windows(2) {
        let [lower, upper] = [pair[0], pair[1]];
        if lower.value.last < upper.value.first {
            continue;
        }
        let (earlier, later) = if lower.place.offset < upper.place.offset {
            (lower, upper)
        } else {
            (upper, lower)
        };
        report.error(
            &later.place,
            format!("ports {} overlap {}", shown(later), shown(earlier)),
            "join the two ranges or make them apart",
        );
    }
}

fn shown(range: &Located<PortRange>) -> String {
    format!("{}-{}", range.value.first, range.value.last)
}

/// How many ports it hands out on one of its addresses; `None` when the file has a mistake there.
pub fn size(gateway: &NatGatewayDraft, address: Ipv4Addr) -> Option<u32> {
    let mut entries = gateway.address_ports.iter();
    if entries
        .clone()
        .any(|entry| matches!(entry.public_ip, Read::Broken))
    {
        return None;
    }
    let own = entries.find(|entry| entry.public_ip.value() == Some(&address));
    let ranges = own.map_or(&gateway.ports, |entry| &entry.ports);
    if ranges.place.is_none() {
        return Some(PortRange::default().size());
    }
    (ranges.complete && !ranges.items.is_empty())
        .then(|| ranges.items.iter().map(|range| range.value.size()).sum())
}
