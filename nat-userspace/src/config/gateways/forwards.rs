//! Checks of port forwarding. A forward holds in both directions, so neither a public port nor an
//! inside one may belong to two.

use std::net::Ipv4Addr;

use super::draft::{ForwardDraft, NatGatewayDraft};
use super::pools::own_address;
use super::types::{Forward, PortRange, Protocol};
use crate::config::draft::{Draft, VpcDraft};
use crate::config::nets::Nets;
use crate::config::place::{Read, Report};
use crate::config::types::DEFAULT_MAX_SESSIONS;
use crate::config::validate::limit;

const MAX_FORWARDS: usize = 1024;
/// Each forwarded port takes a place in tables that bindings share; half of them stay free.
const MAX_SHARE: u32 = 2;
const MAX_PORTS: u32 = 131_072;

/// How many ports may be forwarded when there is room for that many sessions.
pub fn most_forwarded_ports(sessions: u32) -> u32 {
    (sessions / MAX_SHARE).min(MAX_PORTS)
}

/// Where two forwards meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// They have a public port in common.
    Public,
    /// They lead to the same inside port.
    Inside,
}

/// Pairs of forwards of one gateway that meet, by their numbers, the lower one first.
pub fn clashes(forwards: &[Forward]) -> Vec<(usize, usize, Clash)> {
    let public = meetings(forwards, |forward| (forward.public_ip, forward.ports));
    let inside = meetings(forwards, |forward| {
        (*forward.to.ip(), forward.inside_ports())
    });
    let public = public.map(|(one, other)| (one, other, Clash::Public));
    public
        .chain(inside.map(|(one, other)| (one, other, Clash::Inside)))
        .collect()
}

/// Each forward that shares ports with one that begins at a lower or the same port, with that one.
fn meetings(
    forwards: &[Forward],
    side: impl Fn(&Forward) -> (Ipv4Addr, PortRange),
) -> impl Iterator<Item = (usize, usize)> {
    type Held = (Protocol, Ipv4Addr, PortRange, usize);
    let mut sorted: Vec<Held> = forwards
        .iter()
        .enumerate()
        .map(|(number, forward)| {
            let (address, ports) = side(forward);
            (forward.protocol, address, ports, number)
        })
        .collect();
    sorted.sort_by_key(|(protocol, address, ports, number)| {
        (*protocol, *address, ports.first, *number)
    });
    let mut farthest: Option<Held> = None;
    sorted.into_iter().filter_map(move |next| {
        let (protocol, address, ports, number) = next;
        let met = farthest.filter(|(other_protocol, other_address, other, _)| {
            (*other_protocol, *other_address) == (protocol, address) && ports.first <= other.last
        });
        if met.is_none_or(|(_, _, other, _)| ports.last > other.last) {
            farthest = Some(next);
        }
        met.map(|(_, _, _, other)| (number.min(other), number.max(other)))
    })
}

/// Reports the mistakes in the forwards of a VPC's gateways.
pub fn check(vpc: &VpcDraft, report: &mut Report<'_>) {
    if vpc
        .nat_gateways
        .iter()
        .all(|gateway| gateway.forwards.is_empty())
    {
        return;
    }
    let subnets = Subnets::of(vpc);
    for gateway in &vpc.nat_gateways {
        let places = gateway.forwards.iter().map(|forward| &forward.place);
        limit("forwards on a NAT gateway", MAX_FORWARDS, places, report);
        let addresses = gateway.addresses();
        for forward in &gateway.forwards {
            public_ip(forward, addresses.as_deref(), report);
            target(forward, &subnets, report);
        }
        apart(gateway, report);
    }
}

fn public_ip(forward: &ForwardDraft, addresses: Option<&[Ipv4Addr]>, report: &mut Report<'_>) {
    match (&forward.public_ip, addresses) {
        (Read::Given(address), _) => own_address(address, addresses, report),
        (Read::Absent, Some(several)) if several.len() > 1 => {
            let several: Vec<String> = several.iter().map(Ipv4Addr::to_string).collect();
            report.error(
                &forward.place.child("public_ip"),
                "required key is missing: the gateway has several addresses",
                format!("add public_ip, one of {}", several.join(", ")),
            );
        }
        _ => {}
    }
}

fn target(forward: &ForwardDraft, subnets: &Subnets, report: &mut Report<'_>) {
    let Some(to) = forward.to.given() else {
        return;
    };
    if let Some(ports) = forward.port.value()
        && to
            .value
            .port()
            .checked_add(ports.last - ports.first)
            .is_none()
    {
        report.error(
            &to.place,
            format!(
                "{} ports from {} on go beyond 65535",
                ports.size(),
                to.value.port()
            ),
            "lead to a lower port, or forward fewer",
        );
    }
    if !subnets.may_hold(*to.value.ip()) {
        report.error(
            &to.place,
            format!("{} lies in no subnet of the VPC", to.value.ip()),
            "lead to a host in one of the VPC's subnets",
        );
    }
}

/// The subnets of a VPC.
struct Subnets {
    cidrs: Nets<()>,
    complete: bool,
}

impl Subnets {
    fn of(vpc: &VpcDraft) -> Self {
        let cidrs = vpc.subnets.iter().map(|subnet| subnet.cidr.value());
        Self {
            complete: cidrs.clone().all(|cidr| cidr.is_some()),
            cidrs: cidrs.flatten().map(|cidr| (*cidr, ())).collect(),
        }
    }

    /// False only when the file says that no subnet has this address.
    fn may_hold(&self, address: Ipv4Addr) -> bool {
        !self.complete || self.cidrs.holding(address).is_some()
    }
}

fn apart(gateway: &NatGatewayDraft, report: &mut Report<'_>) {
    let numbered = gateway.forwards();
    let forwards: Vec<Forward> = numbered.iter().map(|(_, forward)| *forward).collect();
    for (earlier, later, clash) in clashes(&forwards) {
        let draft = |at: usize| numbered.get(at).and_then(|(n, _)| gateway.forwards.get(*n));
        let (Some(first), Some(second)) = (draft(earlier), draft(later)) else {
            continue;
        };
        let position = report.position(&first.place);
        let Forward {
            protocol,
            public_ip,
            ports,
            ..
        } = forwards[later];
        let protocol = protocol.name();
        match clash {
            Clash::Public => report.error(
                &second
                    .port
                    .given()
                    .map_or(&second.place, |port| &port.place)
                    .clone(),
                format!("{protocol} {ports} of {public_ip} meets the forward on {position}"),
                "forward each public port once",
            ),
            Clash::Inside => report.error(
                &second
                    .to
                    .given()
                    .map_or(&second.place, |to| &to.place)
                    .clone(),
                format!(
                    "the forward on {position} leads to {protocol} {} already",
                    forwards[later].to
                ),
                "forward to each inside port once: its own connections use that public port too",
            ),
        }
    }
}

/// Reports more forwarded ports than there are places for.
pub fn check_together(draft: &Draft, report: &mut Report<'_>) {
    let sessions = match &draft.node.max_sessions {
        Read::Absent => DEFAULT_MAX_SESSIONS,
        Read::Broken => return,
        Read::Given(sessions) => sessions.value,
    };
    let most = most_forwarded_ports(sessions);
    let gateways = draft.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways);
    let mut total = 0u32;
    for forward in gateways.flat_map(|gateway| &gateway.forwards) {
        let ports = forward.port.value().map_or(0, |ports| ports.size());
        let before = total;
        total = total.saturating_add(ports);
        if total > most && before <= most {
            report.error(
                &forward.place,
                format!("with these, {total} ports are forwarded"),
                format!(
                    "keep at most {most}: half of node.max_sessions, and never more than {MAX_PORTS}"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(protocol: Protocol, first: u16, last: u16, to: &str) -> Forward {
        Forward {
            protocol,
            ports: PortRange { first, last },
            public_ip: Ipv4Addr::new(198, 51, 100, 10),
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn forwards_meet_in_public_and_in_inside_ports() {
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let forwards = [
            forward(tcp, 8000, 8010, "10.0.0.1:100"),
            forward(udp, 8000, 8010, "10.0.0.1:100"),
            forward(tcp, 8005, 8005, "10.0.0.2:100"),
            forward(tcp, 8010, 8010, "10.0.0.2:101"),
            forward(tcp, 9000, 9000, "10.0.0.1:110"),
        ];
        assert_eq!(
            clashes(&forwards),
            [
                (0, 2, Clash::Public),
                (0, 3, Clash::Public),
                (0, 4, Clash::Inside)
            ]
        );
    }

    #[test]
    fn a_range_leads_port_by_port() {
        let pairs: Vec<_> = forward(Protocol::Tcp, 8000, 8002, "10.0.0.1:65533")
            .pairs()
            .collect();
        assert_eq!(pairs, [(8000, 65_533), (8001, 65_534), (8002, 65_535)]);
    }
}
