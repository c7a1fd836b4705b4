//! Who sent a packet from inside: anti-spoofing, and the source/destination check.

use super::{Policy, Step};
use crate::{
    address::Address,
    drop_reason::DropReason,
    map_types::{Instance, Interface, Subnet},
    wire::Mac,
};

/// The sender of a packet from inside.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sender {
    /// Its own private IP, which is the packet's source unless it is an appliance.
    pub address: Address,
    /// Its subnet.
    pub subnet: Subnet,
    /// What is known of it; all zeros when it is not listed.
    pub instance: Instance,
}

/// Finds out who sent a packet with this source.
///
/// # Errors
///
/// [`DropReason::SpoofedSource`] when nobody may, [`DropReason::UnlistedSource`] when only listed
/// instances may.
#[inline(always)]
pub fn sender<P: Policy>(
    policy: &P,
    interface: &Interface,
    ingress: u32,
    mac: Mac,
    source: Address,
) -> Result<Sender, DropReason> {
    let mut address = source;
    if interface.is(Interface::HAS_APPLIANCES)
        && let Some(own) = policy.appliance(ingress, mac)
    {
        // It may send what is from others, but not what is from nobody.
        if own != source && (source.is_martian() || interface.serves_at(source)) {
            return Err(DropReason::SpoofedSource);
        }
        address = own;
    }
    let subnet = policy
        .subnet_behind(ingress, address)
        .ok_or(DropReason::SpoofedSource)?;
    policy.note(Step::Subnet, subnet.number, subnet.route_table);
    let mut instance = Instance::default();
    if interface.is(Interface::HAS_INSTANCES)
        && let Some(listed) = policy.instance(interface.vpc, address)
    {
        let is_another = listed.mac != [0; 6] && listed.mac != mac;
        if listed.interface != ingress || is_another {
            return Err(DropReason::SpoofedSource);
        }
        policy.note(Step::Instance, address.raw(), listed.groups);
        instance = listed;
    } else if interface.is(Interface::STRICT) {
        return Err(DropReason::UnlistedSource);
    }
    Ok(Sender {
        address,
        subnet,
        instance,
    })
}
