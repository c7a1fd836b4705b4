//! What a new policy leaves of the sessions that were made under another one. Sessions survive a
//! change of policy; those whose public address is no longer their gateway's, or whose ports are a
//! forward's now, end: their answers would go to nobody, or to somebody else.

use nat_common::{
    map_types::{Session, SessionKey, binding_key, bound_key, names},
    sessions::outside_flow,
};

use crate::{
    bpf_batch,
    error::{Error, Result},
    pins::Pins,
    policy::Tables,
};

/// The sessions that do not fit the policy.
///
/// # Errors
///
/// When the table can't be read.
pub fn misfits(pins: &Pins, policy: &Tables) -> Result<Vec<SessionKey>> {
    let mut misfits = Vec::new();
    bpf_batch::for_each::<SessionKey, Session>(&pins.open(names::SESSIONS)?, |key, session| {
        if !fits(policy, key, session) {
            misfits.push(*key);
        }
    })
    .map_err(Error::io("reading the sessions"))?;
    Ok(misfits)
}

/// The gateway still has the public address, and no forward stands against it. A session from before a
/// change of profile, or of a forward that is gone, goes on.
fn fits(policy: &Tables, key: &SessionKey, session: &Session) -> bool {
    let public = (session.mapped_address(), session.mapped_port());
    let Some(gateway) = policy.gateways.get(&u32::from(session.owner())) else {
        return false;
    };
    let count = (gateway.address_count as usize).min(gateway.addresses.len());
    let addresses = gateway.addresses.get(..count).unwrap_or_default();
    if !addresses.contains(&public.0) {
        return false;
    }
    let outward = key.flow();
    let forward = policy.bindings.get(&binding_key(session.owner(), &outward));
    if let Some(forward) = forward {
        return (forward.address, forward.port) == public;
    }
    !policy
        .bound
        .contains_key(&bound_key(&outside_flow(key, session)))
}
