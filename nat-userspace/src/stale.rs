//! What a new policy leaves of the sessions that were made under another one. Sessions survive a
//! change of policy; those whose public address is no longer their gateway's, or whose ports are a
//! forward's now, end: their answers would go to nobody, or to somebody else.

use nat_common::{
    address::Address,
    map_types::{Holds, Instance, ScopedAddress, Session, SessionKey, binding_key, bound_key},
    sessions::{is_tracker, outside_flow},
};

use crate::{policy::Tables, session_table::SessionTable};

/// The sessions that do not fit the policy.
pub fn misfits(sessions: &SessionTable, policy: &Tables) -> Vec<SessionKey> {
    let mut misfits = Vec::new();
    sessions.for_each(|key, session| {
        if key.is_forward() && judge(policy, key, session).is_err() {
            misfits.push(*key);
        }
    });
    misfits
}

/// With the same forwards there may be some that fit `held` and not `wanted`. Who comes new, or into other
/// groups, takes nothing from others.
pub fn may_be_left(held: &Tables, wanted: &Tables) -> bool {
    let keeps_public_ip = |(key, before): (&ScopedAddress, &Instance)| {
        let after = wanted.instances.get(key);
        before.public.is_unspecified() || after.is_some_and(|after| after.public == before.public)
    };
    held.gateways != wanted.gateways || !held.instances.iter().all(keeps_public_ip)
}

/// Why a session does not fit a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its gateway is gone.
    Gateway,
    /// Its public IP is no longer its gateway's.
    PublicIp,
    /// Its public IP is no longer its instance's.
    ElasticIp,
    /// Its public port is a forward's to another inside port.
    Forwarded,
    /// Its inside port has a forward, which answers from another public port.
    Binding,
}

impl Reason {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Gateway => "its NAT gateway is gone",
            Self::PublicIp => "its public IP is no longer its gateway's",
            Self::ElasticIp => "its public IP is no longer its instance's",
            Self::Forwarded => "a forward takes its public port",
            Self::Binding => "a forward takes its inside port",
        }
    }
}

/// Whether a session goes on under a policy. The gateway still has the public address, and no forward
/// stands against it. A session from before a change of profile, or of a forward that is gone, goes on.
///
/// # Errors
///
/// Why it does not.
pub fn judge(policy: &Tables, key: &SessionKey, session: &Session) -> Result<(), Reason> {
    let public = (session.mapped_address(), session.mapped_port());
    let (outward, number) = (key.flow(), session.owner());
    if is_tracker(number) {
        let is_its = public.0 == outward.source || has_public_ip(policy, key, public.0);
        return if is_its {
            Ok(())
        } else {
            Err(Reason::ElasticIp)
        };
    }
    let Some(gateway) = policy.gateways.get(&u32::from(number)) else {
        return Err(Reason::Gateway);
    };
    if !gateway.serves(public.0, outward.source) {
        return Err(Reason::PublicIp);
    }
    // A forward's public port serves its inside port alone.
    let inside = (number, outward.source, outward.source_port);
    let bound = policy.bound.get(&bound_key(&outside_flow(key, session)));
    if bound.is_some_and(|bound| (bound.gateway, bound.address, bound.port) != inside) {
        return Err(Reason::Forwarded);
    }
    // A forward takes the place of its inside port's binding. Sessions of an earlier forward have none.
    let binding = policy.bindings.get(&binding_key(number, &outward));
    if session.holds().include(Holds::BINDING)
        && binding.is_some_and(|binding| (binding.address, binding.port) != public)
    {
        return Err(Reason::Binding);
    }
    Ok(())
}

/// The instance that sends a flow still has the public IP of its session.
fn has_public_ip(policy: &Tables, key: &SessionKey, public: Address) -> bool {
    let instance = policy.instances.get(&ScopedAddress {
        scope: u32::from(key.vpc()),
        address: key.flow().source,
    });
    instance.is_some_and(|instance| instance.public == public)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use nat_common::{
        address::Port,
        flow::{Flow, protocol},
        map_types::{Binding, Gateway},
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
    fn policy() -> Tables {
        let mut gateway = Gateway {
            address_count: 1,
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

    fn fits_as(flow: Flow, public: (u8, u16), holds: Holds) -> bool {
        let key = SessionKey::forward(&flow, VPC);
        let session =
            Session::new(&key, ip(public.0), Port::new(public.1), GATEWAY, 0).holding(holds);
        judge(&policy(), &key, &session).is_ok()
    }

    #[test]
    fn sessions_of_an_address_or_a_gateway_that_is_gone_end() {
        assert!(fits_as(outward(6, 1000), (1, 4000), Holds::NOTHING));
        assert!(!fits_as(outward(6, 1000), (2, 4000), Holds::NOTHING));
        let key = SessionKey::forward(&outward(6, 1000), VPC);
        let session = Session::new(&key, ip(1), Port::new(4000), GATEWAY + 1, 0);
        assert_eq!(judge(&policy(), &key, &session), Err(Reason::Gateway));
    }

    #[test]
    fn only_who_loses_a_public_ip_leaves_sessions_behind() {
        let with = |instances: &[(u8, Address, u32)]| {
            let mut tables = policy();
            for &(host, public, groups) in instances {
                let key = ScopedAddress {
                    scope: u32::from(VPC),
                    address: Ipv4Addr::new(10, 0, 0, host).into(),
                };
                let instance = Instance {
                    public,
                    groups,
                    ..Instance::default()
                };
                tables.instances.insert(key, instance);
            }
            tables
        };
        let none = Address::UNSPECIFIED;
        let held = with(&[(7, ip(7), 1), (8, none, 1)]);
        let left = |instances: &[_]| may_be_left(&held, &with(instances));
        assert!(!left(&[(7, ip(7), 2), (8, ip(8), 2), (9, ip(9), 1)]));
        assert!(!left(&[(7, ip(7), 1)]));
        assert!(left(&[(7, ip(9), 1)]) && left(&[(7, none, 1)]) && left(&[(8, none, 1)]));
        let mut without = held.clone();
        without.gateways.clear();
        assert!(may_be_left(&held, &without));
    }

    #[test]
    fn a_forwards_ports_are_taken_from_others() {
        let fits = |flow, port| fits_as(flow, (1, port), Holds::NOTHING);
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
        let fits = |port, holds| fits_as(outward(5, 80), (1, port), holds);
        assert!(fits(8080, Holds::BINDING));
        assert!(!fits(8000, Holds::BINDING));
        assert!(fits(8000, Holds::NOTHING));
    }
}
