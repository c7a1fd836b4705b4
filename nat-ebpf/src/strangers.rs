//! Packets that are neither from one of our hosts nor to a public IP of ours.

use nat_common::{
    drop_reason::DropReason, flow::Flow, map_types::Interface, parse::Ipv4Packet, policy::Leads,
};

use crate::{
    forward::{self, Hook},
    policy_maps::View,
};

/// They are the host's, if anybody's. Nothing goes on
/// to a private address, except what no gateway translates; nor anywhere when the host forwards only
/// because the dataplane needs it to. On a one-armed host the same interface carries its own traffic.
#[inline(always)]
pub fn to_others<H: Hook>(
    hook: &H,
    view: View,
    interface: &Interface,
    packet: &Ipv4Packet,
) -> Result<(), DropReason> {
    let flow = &packet.flow;
    if flow.destination.is_multicast_or_broadcast() {
        return Ok(());
    }
    if interface.is(Interface::INSIDE) {
        return foreign_source(hook, view, interface, flow);
    }
    if view.is_private(flow.destination) {
        let port = packet.source_port();
        if view.is_exempt_from_outside(flow.source, flow.protocol, port) {
            return Ok(());
        }
        return Err(DropReason::PrivateDestination);
    }
    if interface.is(Interface::FORWARDING_SET) && forward::leads(hook, view, flow) != Leads::ToHost
    {
        return Err(DropReason::NotForThisHost);
    }
    Ok(())
}

/// What others than our hosts send by an inside interface may be meant for the host, but is never
/// forwarded.
#[inline(never)]
fn foreign_source<H: Hook>(
    hook: &H,
    view: View,
    interface: &Interface,
    flow: &Flow,
) -> Result<(), DropReason> {
    let is_free = interface.is(Interface::UPLINK) && !interface.is(Interface::FORWARDING_SET);
    let is_beyond_host = view.is_beyond_host(interface.vpc, flow.destination);
    let is_to_host = !is_beyond_host && forward::leads(hook, view, flow) == Leads::ToHost;
    if is_free || is_to_host {
        Ok(())
    } else if interface.is(Interface::UPLINK) {
        Err(DropReason::NotForThisHost)
    } else {
        Err(DropReason::SpoofedSource)
    }
}
