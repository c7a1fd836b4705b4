//! Who sent a packet that comes from inside.

use std::net::Ipv4Addr;

use super::{DropReason, Instance, ModelConfig, Side};

/// Who sent a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Outside,
    Inside(Sender),
    /// Somebody who may not send it, but to the host.
    Nobody(DropReason),
    /// Somebody under the address of another, or of nobody.
    Forger,
}

/// A sender inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub vpc: usize,
    /// Whose routes and ACL apply.
    pub subnet: usize,
    /// Whose groups apply.
    pub instance: Option<usize>,
    /// The same, when it sends what is not from its own address, as if for others.
    pub appliance: Option<usize>,
}

impl ModelConfig {
    /// Who sent the packet in `frame` with the source address `src`.
    pub(super) fn origin(&self, ingress: Side, frame: &[u8], src: Ipv4Addr) -> Origin {
        let Side::Inside(interface) = ingress else {
            return Origin::Outside;
        };
        let Some(vpc) = self.vpc_of_interface(interface) else {
            return Origin::Nobody(DropReason::SpoofedSource);
        };
        let has_sent = |instance: &Instance| {
            let mac = instance.mac;
            mac.is_some_and(|mac| frame[6..12] == mac.0)
        };
        // What an appliance sends is known by its MAC, whatever the source.
        let appliance = self.instances.iter().position(|instance| {
            let is_here = self.subnets[instance.subnet].interface == interface;
            is_here && !instance.source_dest_check && has_sent(instance)
        });
        if let Some(appliance) = appliance
            && self.instances[appliance].private != src
        {
            if matches!(src.octets()[0], 0 | 127 | 224..) {
                return Origin::Forger;
            }
            return Origin::Inside(Sender {
                vpc,
                subnet: self.instances[appliance].subnet,
                instance: Some(appliance),
                appliance: Some(appliance),
            });
        }
        let subnet = self.subnet_of(vpc, src);
        let subnet = subnet.filter(|&subnet| self.subnets[subnet].interface == interface);
        let instance = self.instance_of(vpc, src);
        let is_forged = instance.is_some_and(|instance| {
            let instance = &self.instances[instance];
            instance.mac.is_some() && !has_sent(instance)
        });
        match subnet {
            Some(_) if instance.is_none() && self.vpcs[vpc].strict => {
                Origin::Nobody(DropReason::UnlistedSource)
            }
            Some(_) if is_forged => Origin::Forger,
            Some(subnet) => Origin::Inside(Sender {
                vpc,
                subnet,
                instance,
                appliance: None,
            }),
            None => Origin::Nobody(DropReason::SpoofedSource),
        }
    }
}
