//! What a new policy leaves of the sessions that were made under another one. Sessions survive a
//! change of policy; those whose public address is no longer their gateway's, or whose ports a forward
//! has now, end: their answers would go to nobody, or to somebody else.

use std::collections::{HashMap, HashSet};

use aya::Pod;
use nat_common::{
    address::{Address, Port},
    flow::Flow,
    lifecycle::State,
    map_types::{
        Binding, Client, ClientKey, Gateway, Holds, Lease, Session, SessionKey, binding_key,
        bound_key, names,
    },
    sessions::outside_flow,
};

use crate::{
    bpf_batch,
    error::{Error, Result},
    pins::Pins,
    policy::Tables,
    reconcile::gone_is_fine,
};

/// Ends the sessions that do not fit the policy, with all that they hold. Answers how many there were.
///
/// # Errors
///
/// When the tables can't be read or written.
pub fn remove(pins: &Pins, policy: &Tables) -> Result<usize> {
    let mut review = Review::new(policy);
    // Bindings first: no new session takes hold of one that does not fit.
    each(pins, names::BINDINGS, |key, binding| {
        review.binding(key, binding)
    })?;
    delete::<SessionKey, Binding>(pins, names::BINDINGS, &review.bindings)?;
    each(pins, names::BOUND, |key, bound| review.bound(key, bound))?;
    delete::<SessionKey, Binding>(pins, names::BOUND, &review.bound)?;
    each(pins, names::SESSIONS, |key, session| {
        review.session(key, session)
    })?;
    delete::<SessionKey, Session>(pins, names::SESSIONS, &review.forward)?;
    delete::<SessionKey, Session>(pins, names::REVERSE, &review.reverse)?;
    each(pins, names::CLIENTS, |key, client| {
        review.client(key, client)
    })?;
    delete::<ClientKey, Client>(pins, names::CLIENTS, &review.clients)?;
    if !review.changed_clients.is_empty() {
        let mut map = pins.hash_map::<ClientKey, Client>(names::CLIENTS)?;
        for (key, client) in &review.changed_clients {
            map.insert(key, client, 0)
                .map_err(Error::map(names::CLIENTS))?;
        }
    }
    Ok(review.forward.len())
}

fn each<K: Pod, V: Pod>(pins: &Pins, name: &str, visit: impl FnMut(&K, &V)) -> Result<()> {
    bpf_batch::for_each::<K, V>(&pins.open(name)?, visit)
        .map_err(Error::io(format!("reading the map {name}")))
}

fn delete<K: Pod, V: Pod>(pins: &Pins, name: &str, keys: &[K]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut map = pins.hash_map::<K, V>(name)?;
    for key in keys {
        gone_is_fine(map.remove(key)).map_err(Error::map(name))?;
    }
    Ok(())
}

/// Looks at every entry, bindings before sessions and clients last, and says what has to go.
struct Review<'a> {
    policy: &'a Tables,
    /// Keys of BINDINGS that have to go, and so on.
    bindings: Vec<SessionKey>,
    bound: Vec<SessionKey>,
    forward: Vec<SessionKey>,
    reverse: Vec<SessionKey>,
    clients: Vec<ClientKey>,
    /// Clients that go on with other counts or on another address.
    changed_clients: Vec<(ClientKey, Client)>,
    kept: HashMap<ClientKey, Kept>,
    /// Clients that lose sessions.
    affected: HashSet<ClientKey>,
}

/// What a client keeps.
#[derive(Default)]
struct Kept {
    sessions: u32,
    ports: u64,
    /// Public addresses its sessions are on.
    addresses: HashSet<Address>,
}

impl<'a> Review<'a> {
    fn new(policy: &'a Tables) -> Self {
        Self {
            policy,
            bindings: Vec::new(),
            bound: Vec::new(),
            forward: Vec::new(),
            reverse: Vec::new(),
            clients: Vec::new(),
            changed_clients: Vec::new(),
            kept: HashMap::new(),
            affected: HashSet::new(),
        }
    }

    fn binding(&mut self, key: &SessionKey, binding: &Binding) {
        let (outward, public) = (key.flow(), (binding.address, binding.port));
        if binding.is_static() {
            return;
        }
        if self.fits(binding.gateway, &outward, public) {
            let client = client_of(binding.gateway, &outward);
            self.kept.entry(client).or_default().ports += 1;
        } else {
            self.bindings.push(*key);
        }
    }

    /// A binding by its public side, or the leave of a remote address to write to it.
    fn bound(&mut self, key: &SessionKey, bound: &Binding) {
        let inbound = key.flow();
        let inside = inbound.with_destination(bound.address, bound.port);
        let public = (inbound.destination, inbound.destination_port);
        if !bound.is_static() && !self.fits(bound.gateway, &inside.reversed(), public) {
            self.bound.push(*key);
        }
    }

    fn session(&mut self, key: &SessionKey, session: &Session) {
        let (outward, gateway) = (key.flow(), session.owner());
        let (address, port) = (session.mapped_address(), session.mapped_port());
        let client = client_of(gateway, &outward);
        let is_counted = session.holds().include(Holds::CLIENT);
        if !self.fits(gateway, &outward, (address, port)) {
            self.forward.push(*key);
            self.reverse
                .push(SessionKey::reverse(&outside_flow(key, session)));
            if is_counted {
                self.affected.insert(client);
            }
        } else if is_counted {
            let kept = self.kept.entry(client).or_default();
            kept.sessions += 1;
            kept.addresses.insert(address);
        }
    }

    /// Counts anew what a client that loses sessions has, and says which address it is on where its
    /// number is another one's now.
    fn client(&mut self, key: &ClientKey, client: &Client) {
        let Some(gateway) = self.policy.gateways.get(&key.gateway) else {
            self.clients.push(*key);
            return;
        };
        let is_affected = self.affected.contains(key);
        let Some(kept) = self.kept.get(key).filter(|kept| kept.sessions > 0) else {
            if is_affected {
                self.clients.push(*key);
            }
            return;
        };
        let in_use = |address: &Address| kept.addresses.contains(address);
        let own = addresses(gateway);
        let stays = own.get(client.slot as usize).is_some_and(in_use);
        let slot = match own.iter().position(in_use) {
            Some(slot) if !stays => slot as u32,
            _ => client.slot,
        };
        if is_affected || slot != client.slot {
            let new = Client {
                lease: Lease::new(key.mark(State::Live), kept.sessions).0,
                ports: kept.ports,
                slot,
                reserved: 0,
            };
            self.changed_clients.push((*key, new));
        }
    }

    /// The gateway may translate this inside address and port to this public one.
    fn fits(&self, gateway: u16, outward: &Flow, public: (Address, Port)) -> bool {
        let (address, port) = public;
        let inside = (outward.source, outward.source_port);
        let inbound = outward.with_source(address, port).reversed();
        let bound = self.policy.bound.get(&bound_key(&inbound));
        let binding = self.policy.bindings.get(&binding_key(gateway, outward));
        let owns = |gateway| addresses(gateway).contains(&address);
        let is_own = self
            .policy
            .gateways
            .get(&u32::from(gateway))
            .is_some_and(owns);
        let leads_here = |bound: &Binding| {
            (bound.gateway, bound.address, bound.port) == (gateway, inside.0, inside.1)
        };
        is_own
            && bound.is_none_or(leads_here)
            && binding.is_none_or(|binding| (binding.address, binding.port) == public)
    }
}

fn addresses(gateway: &Gateway) -> &[Address] {
    let count = (gateway.address_count as usize).min(gateway.addresses.len());
    gateway.addresses.get(..count).unwrap_or_default()
}

fn client_of(gateway: u16, outward: &Flow) -> ClientKey {
    ClientKey {
        gateway: u32::from(gateway),
        address: outward.source,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use nat_common::{flow::protocol, map_types::permission_key};

    use super::*;

    const GATEWAY: u16 = 3;
    const VPC: u16 = 1;

    fn ip(last: u8) -> Address {
        Ipv4Addr::new(198, 51, 100, last).into()
    }

    fn inside(last: u8) -> Address {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn outward(host: u8, port: u16) -> Flow {
        Flow {
            source: inside(host),
            source_port: Port::new(port),
            destination: Ipv4Addr::new(203, 0, 113, 80).into(),
            destination_port: Port::new(443),
            protocol: protocol::TCP,
        }
    }

    fn policy(addresses: &[Address]) -> Tables {
        let mut gateway = Gateway {
            address_count: addresses.len() as u32,
            ..Gateway::default()
        };
        gateway.addresses[..addresses.len()].copy_from_slice(addresses);
        let mut tables = Tables::default();
        tables.gateways.insert(u32::from(GATEWAY), gateway);
        tables
    }

    /// A session of a counted client, with its binding and the leave of its remote end.
    fn enter(review: &mut Review<'_>, flow: Flow, public: (Address, u16)) -> SessionKey {
        let public = (public.0, Port::new(public.1));
        let key = binding_key(GATEWAY, &flow);
        let binding = Binding::held(&key, public.0, public.1, GATEWAY, VPC);
        review.binding(&key, &binding);
        let inbound = flow.with_source(public.0, public.1).reversed();
        for key in [bound_key(&inbound), permission_key(&inbound)] {
            let bound = Binding::held(&key, flow.source, flow.source_port, GATEWAY, VPC);
            review.bound(&key, &bound);
        }
        let key = SessionKey::forward(&flow, VPC);
        let holds = Holds::BINDING.and(Holds::PERMISSION).and(Holds::CLIENT);
        let session = Session::new(&key, public.0, public.1, GATEWAY, 0).holding(holds);
        review.session(&key, &session);
        key
    }

    fn client(review: &mut Review<'_>, host: u8, sessions: u32, slot: u32) -> ClientKey {
        let key = client_of(GATEWAY, &outward(host, 1));
        let client = Client {
            lease: Lease::new(key.mark(State::Live), sessions).0,
            ports: u64::from(sessions),
            slot,
            reserved: 0,
        };
        review.client(&key, &client);
        key
    }

    #[test]
    fn what_fits_is_left_alone() {
        let policy = policy(&[ip(1), ip(2)]);
        let mut review = Review::new(&policy);
        enter(&mut review, outward(5, 1000), (ip(2), 4000));
        client(&mut review, 5, 1, 1);
        client(&mut review, 6, 1, 0);
        let gone = [
            &review.bindings,
            &review.bound,
            &review.forward,
            &review.reverse,
        ];
        assert!(gone.iter().all(|keys| keys.is_empty()));
        assert!(review.clients.is_empty() && review.changed_clients.is_empty());
    }

    #[test]
    fn sessions_of_an_address_that_is_gone_end_with_what_they_hold() {
        // The first of two addresses went; the second has its number now.
        let policy = policy(&[ip(2)]);
        let mut review = Review::new(&policy);
        let gone = enter(&mut review, outward(5, 1000), (ip(1), 4000));
        enter(&mut review, outward(6, 1000), (ip(2), 4000));
        let lone = client(&mut review, 5, 1, 0);
        let other = client(&mut review, 6, 1, 1);
        assert_eq!(review.bindings, [binding_key(GATEWAY, &outward(5, 1000))]);
        assert_eq!(review.bound.len(), 2);
        assert_eq!(review.forward, [gone]);
        assert_eq!(review.reverse.len(), 1);
        assert_eq!(review.clients, [lone]);
        let [(key, client)] = review.changed_clients.as_slice() else {
            panic!("{:?}", review.changed_clients);
        };
        assert_eq!((*key, client.slot, client.ports), (other, 0, 1));
    }

    #[test]
    fn sessions_on_ports_that_a_forward_has_now_end() {
        let mut policy = policy(&[ip(1)]);
        let flow = outward(5, 80);
        let public = flow.with_source(ip(1), Port::new(8080)).reversed();
        let key = binding_key(GATEWAY, &flow);
        let binding = Binding::fixed(&key, ip(1), Port::new(8080), GATEWAY, VPC);
        policy.bindings.insert(key, binding);
        let key = bound_key(&public);
        let bound = Binding::fixed(&key, inside(5), Port::new(80), GATEWAY, VPC);
        policy.bound.insert(key, bound);

        let mut review = Review::new(&policy);
        let on_its_public_port = enter(&mut review, outward(6, 1000), (ip(1), 8080));
        let of_its_inside_port = enter(&mut review, outward(5, 80), (ip(1), 4000));
        let elsewhere = Flow {
            destination_port: Port::new(444),
            ..flow
        };
        enter(&mut review, elsewhere, (ip(1), 8080));
        enter(&mut review, outward(5, 81), (ip(1), 4001));
        client(&mut review, 5, 3, 0);
        assert_eq!(review.forward, [on_its_public_port, of_its_inside_port]);
        assert_eq!((review.bindings.len(), review.bound.len()), (2, 4));
        let (_, client) = review.changed_clients[0];
        assert_eq!((Lease(client.lease).count(), client.slot), (2, 0));
    }

    #[test]
    fn nothing_is_left_of_a_gateway_that_is_gone() {
        let policy = Tables::default();
        let mut review = Review::new(&policy);
        let key = enter(&mut review, outward(5, 1000), (ip(1), 4000));
        let client = client(&mut review, 5, 1, 0);
        assert_eq!(review.forward, [key]);
        assert_eq!(review.clients, [client]);
        assert_eq!((review.bindings.len(), review.bound.len()), (1, 2));
    }
}
