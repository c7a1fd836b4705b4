//! Answers ARP for the public IPs on the uplinks, which need not be on an interface (RFC 826).

use nat_common::{
    map_types::Interface,
    parse::IPV4_OFFSET,
    wire::{ArpPacket, EtherType, EthernetHeader},
};

use crate::{forward::Hook, policy_maps, verdict::Verdict};

/// Turns a request for one of our public IPs into its answer; everything else is the host's.
#[inline(always)]
pub fn answer<H: Hook>(hook: &mut H, interface: &Interface) -> Verdict {
    let Some(request) = hook.load::<ArpPacket>(IPV4_OFFSET) else {
        return Verdict::Pass;
    };
    if !interface.is(Interface::UPLINK) || !request.is_request() {
        return Verdict::Pass;
    }
    match policy_maps::public_address(request.target()) {
        Some(public) if !public.is_shared() => {}
        _ => return Verdict::Pass,
    }
    let header = EthernetHeader::new(request.sender_mac(), interface.mac, EtherType::Arp);
    let answer = request.answer(interface.mac);
    match (hook.store(0, header), hook.store(IPV4_OFFSET, answer)) {
        (Some(()), Some(())) => Verdict::Answer,
        _ => Verdict::Pass,
    }
}
