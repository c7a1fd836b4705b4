//! Answers ARP (RFC 826) for addresses that need not be on an interface: the public IPs on the uplinks, and
//! the router's in each subnet, and those of endpoints.

use nat_common::{
    address::Address,
    map_types::{Instance, Interface, Subnet},
    parse::IPV4_OFFSET,
    wire::{ArpPacket, EtherType, EthernetHeader},
};

use crate::{forward::Hook, policy_maps::View, verdict::Verdict};

/// Turns a request for one of our addresses into its answer; everything else is the host's.
#[inline(always)]
pub fn answer<H: Hook>(hook: &mut H, view: View, interface: &Interface) -> Verdict {
    let Some(request) = hook.load::<ArpPacket>(IPV4_OFFSET) else {
        return Verdict::Pass;
    };
    if !request.is_request() || !is_ours(hook, view, interface, &request) {
        return Verdict::Pass;
    }
    let header = EthernetHeader::new(request.sender_mac(), interface.mac, EtherType::Arp);
    let answer = request.answer(interface.mac);
    match (hook.store(0, header), hook.store(IPV4_OFFSET, answer)) {
        (Some(()), Some(())) => Verdict::Answer,
        _ => Verdict::Pass,
    }
}

#[inline(always)]
fn is_ours<H: Hook>(hook: &H, view: View, interface: &Interface, request: &ArpPacket) -> bool {
    let target = request.target();
    let is_public = interface.is(Interface::UPLINK)
        && view
            .public_address(target)
            .is_some_and(|public| !public.is_shared());
    // Those of the node's services are in no subnet, or nobody's there.
    let is_service = interface.serves_at(target);
    is_public
        || is_service
        || (interface.is(Interface::INSIDE)
            && view
                .subnet_behind(hook.ingress(), target)
                .is_some_and(|subnet| {
                    (subnet.router == target && !subnet.is(Subnet::HOST_IS_ROUTER))
                        || is_endpoint(view, interface, target)
                }))
}

/// An endpoint or load balancer has the address.
#[inline(always)]
fn is_endpoint(view: View, interface: &Interface, target: Address) -> bool {
    interface.is(Interface::HAS_INSTANCES)
        && view
            .instance(interface.vpc, target)
            .is_some_and(|instance| instance.is(Instance::IS_ENDPOINT))
}
