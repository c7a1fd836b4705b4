//! Listed instances as the dataplane holds them.

use std::net::Ipv4Addr;

use nat_common::map_types::{Instance, NameKey};
use serde::Serialize;

use crate::{
    error::Result,
    held::{Held, mac},
    pins::Pins,
};

/// One instance. Its name is the configuration's alone: the dataplane knows it by its address.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceRecord {
    /// Its VPC.
    pub vpc: String,
    /// Its private IP.
    pub private_ip: Ipv4Addr,
    /// Its public IP.
    pub public_ip: Option<Ipv4Addr>,
    /// Its subnet.
    pub subnet: Option<String>,
    /// The interface it is behind.
    pub interface: String,
    /// Its security groups; none: it is not filtered.
    pub security_groups: Vec<String>,
    /// Its MAC address, if the configuration has one.
    pub mac: Option<String>,
    /// It sends and gets packets of its own address only.
    pub source_dest_check: bool,
}

/// Reads them all.
///
/// # Errors
///
/// When there is no dataplane or its maps can't be read.
pub fn read(pins: &Pins) -> Result<Vec<InstanceRecord>> {
    let held = Held::read(pins)?;
    let mut records = Vec::new();
    for each in held.instances()? {
        let instance = each.instance;
        if instance.is(Instance::IS_ENDPOINT) {
            continue;
        }
        let subnet = held.subnet_of(each.vpc, each.private);
        let public = instance.public;
        records.push(InstanceRecord {
            vpc: held.vpc(each.vpc),
            private_ip: each.private,
            public_ip: (!public.is_unspecified()).then(|| public.into()),
            subnet: subnet.map(|subnet| held.name(NameKey::SUBNET, subnet.subnet.number)),
            interface: held.interface(instance.interface),
            security_groups: held.groups(instance.groups),
            mac: mac(instance.mac),
            source_dest_check: !instance.is(Instance::IS_APPLIANCE),
        });
    }
    records.sort_by(|a, b| (&a.vpc, a.private_ip).cmp(&(&b.vpc, b.private_ip)));
    Ok(records)
}
