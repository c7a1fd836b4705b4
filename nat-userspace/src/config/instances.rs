//! Checks of instances: where they are, how they are known, and how the internet reaches them. Their
//! addresses are checked in `addresses`, their security groups in `filtering`.

use rustc_hash::FxHashMap;

use super::draft::{InstanceDraft, VpcDraft};
use super::index::Index;
use super::parse::MAC;
use super::place::{Located, Place, Read, Report};
use super::validate::subnet_reference;

/// Reports the mistakes in a VPC's instances.
pub fn check(vpc: &VpcDraft, index: &Index<'_>, report: &mut Report<'_>) {
    for instance in &vpc.instances {
        subnet_reference(&instance.subnet, index, report);
        if let Some(public_ip) = instance.public_ip.given()
            && !vpc.may_have_internet_gateway()
        {
            report.error(
                &public_ip.place,
                "a public address needs an internet gateway, and the VPC has none",
                "set internet_gateway = true on the VPC, or remove public_ip",
            );
        }
        if instance.source_dest_check.value() == Some(&false)
            && matches!(instance.mac, Read::Absent)
        {
            report.error(
                &instance.place.child(MAC.key),
                "required key is missing: an instance that may send from any address is known by its MAC address only",
                format!("add {}", MAC.example),
            );
        }
    }
    macs(&vpc.instances, index, report);
}

/// An interface belongs to one VPC, so it is enough to look into each alone.
fn macs(instances: &[InstanceDraft], index: &Index<'_>, report: &mut Report<'_>) {
    let mut seen: FxHashMap<(&str, [u8; 6]), &Place> = FxHashMap::default();
    for instance in instances {
        let interface = index
            .subnet(&instance.subnet)
            .and_then(|subnet| subnet.interface.value());
        let (Some(interface), Some(Located { value, place })) = (interface, instance.mac.given())
        else {
            continue;
        };
        let first = *seen.entry((interface, *value)).or_insert(place);
        if !std::ptr::eq(first, place) {
            let position = report.position(first);
            report.error(
                place,
                format!("the MAC address is already on {position}, on the same interface"),
                "give each instance the one of its own interface",
            );
        }
    }
}
