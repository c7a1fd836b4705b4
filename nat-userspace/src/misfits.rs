//! What a new policy leaves of the sessions that were made under another one. Sessions survive a
//! change of policy, except those that can't go on: their answers would go to nobody, or to somebody
//! else, or their port is not theirs alone where it has to be.

use nat_common::{
    map_types::{Gateway, Holds, Session, SessionKey, binding_key, bound_key, names},
    sessions::outside_flow,
};

use crate::{
    bpf_batch,
    error::{Error, Result},
    pins::Pins,
    policy::Tables,
};

/// The forward keys of sessions that can't go on under this policy.
///
/// # Errors
///
/// When the table can't be read.
pub fn find(pins: &Pins, policy: &Tables) -> Result<Vec<SessionKey>> {
    let mut found = Vec::new();
    bpf_batch::for_each::<SessionKey, Session>(&pins.open(names::SESSIONS)?, |key, session| {
        if !fits(policy, key, session) {
            found.push(*key);
        }
    })
    .map_err(Error::io("reading the sessions"))?;
    Ok(found)
}

fn fits(policy: &Tables, key: &SessionKey, session: &Session) -> bool {
    let (outward, number) = (key.flow(), session.owner());
    let (address, port) = (session.mapped_address(), session.mapped_port());
    let Some(gateway) = policy.gateways.get(&u32::from(number)) else {
        return false;
    };
    let count = gateway.address_count as usize;
    if !gateway
        .addresses
        .iter()
        .take(count)
        .any(|own| *own == address)
    {
        return false;
    }
    // A forward's public port serves its inside port alone.
    let inside = (number, outward.source, outward.source_port);
    let bound = policy.bound.get(&bound_key(&outside_flow(key, session)));
    if bound.is_some_and(|bound| (bound.gateway, bound.address, bound.port) != inside) {
        return false;
    }
    let is_bound = session.holds().include(Holds::BINDING);
    match policy.bindings.get(&binding_key(number, &outward)) {
        // The forward takes the place of a binding; sessions of an earlier forward need none.
        Some(forward) if is_bound => (forward.address, forward.port) == (address, port),
        // Without port overloading, only sessions of forwards have none.
        _ => {
            is_bound || gateway.is(Gateway::FORWARDS) || !gateway.is(Gateway::ENDPOINT_INDEPENDENT)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use nat_common::{
        address::{Address, Port},
        flow::{Flow, protocol},
        map_types::Binding,
    };

    use super::*;

    const GATEWAY: u16 = 3;
    const VPC: u16 = 1;

    fn ip(last: u8) -> Address {
        Ipv4Addr::new(198, 51, 100, last).into()
    }

    /// From an inside host's port.
    fn outward(host: u8, port: u16) -> Flow {
        Flow {
            source: Ipv4Addr::new(10, 0, 0, host).into(),
            source_port: Port::new(port),
            destination: Ipv4Addr::new(203, 0, 113, 80).into(),
            destination_port: Port::new(443),
            protocol: protocol::TCP,
        }
    }

    /// Of a gateway with the public address 1, and a forward of its port 8080 to port 80 of host 5.
    fn policy(flags: u32) -> Tables {
        let mut gateway = Gateway {
            address_count: 1,
            flags,
            ..Gateway::default()
        };
        gateway.addresses[0] = ip(1);
        // Not used any more.
        gateway.addresses[1] = ip(2);
        let mut tables = Tables::default();
        tables.gateways.insert(u32::from(GATEWAY), gateway);
        let (flow, public) = (outward(5, 80), Port::new(8080));
        let key = binding_key(GATEWAY, &flow);
        let binding = Binding::fixed(&key, ip(1), public, GATEWAY, VPC);
        tables.bindings.insert(key, binding);
        let key = bound_key(&flow.with_source(ip(1), public).reversed());
        let bound = Binding::fixed(&key, flow.source, flow.source_port, GATEWAY, VPC);
        tables.bound.insert(key, bound);
        tables
    }

    fn fits_as(flags: u32, flow: Flow, public: (u8, u16), holds: Holds) -> bool {
        let key = SessionKey::forward(&flow, VPC);
        let session =
            Session::new(&key, ip(public.0), Port::new(public.1), GATEWAY, 0).holding(holds);
        fits(&policy(flags), &key, &session)
    }

    #[test]
    fn sessions_of_an_address_or_a_gateway_that_is_gone_end() {
        assert!(fits_as(0, outward(6, 1000), (1, 4000), Holds::NOTHING));
        assert!(!fits_as(0, outward(6, 1000), (2, 4000), Holds::NOTHING));
        let key = SessionKey::forward(&outward(6, 1000), VPC);
        let session = Session::new(&key, ip(1), Port::new(4000), GATEWAY + 1, 0);
        assert!(!fits(&policy(0), &key, &session));
    }

    #[test]
    fn a_forwards_ports_are_taken_from_others() {
        let fits = |flow, port| fits_as(Gateway::FORWARDS, flow, (1, port), Holds::NOTHING);
        assert!(fits(outward(5, 80), 8080));
        assert!(!fits(outward(6, 80), 8080));
        assert!(!fits(outward(5, 81), 8080));
        let udp = Flow {
            protocol: protocol::UDP,
            ..outward(6, 80)
        };
        assert!(fits(udp, 8080));
    }

    #[test]
    fn a_forwards_inside_port_gives_up_its_binding_and_keeps_sessions_of_an_earlier_forward() {
        let flags = Gateway::ENDPOINT_INDEPENDENT | Gateway::FORWARDS;
        let fits = |port, holds| fits_as(flags, outward(5, 80), (1, port), holds);
        assert!(fits(8080, Holds::BINDING));
        assert!(!fits(8000, Holds::BINDING));
        assert!(fits(8000, Holds::NOTHING));
    }

    #[test]
    fn sessions_without_a_binding_end_where_ports_are_not_shared() {
        let rfc = Gateway::ENDPOINT_INDEPENDENT;
        let fits = |flow, port, holds| fits_as(rfc, flow, (1, port), holds);
        assert!(!fits(outward(6, 1000), 1000, Holds::CLIENT));
        assert!(fits(outward(6, 1000), 1000, Holds::BINDING));
    }
}
