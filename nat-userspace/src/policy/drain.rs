//! Public IPs that a NAT gateway gives up. As on AWS they take no new sessions, and serve those they have
//! for some time yet.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use nat_common::{
    address::Address,
    map_types::{Gateway, MAX_PUBLIC_IPS, PublicAddress, PublicUse},
    port_pool::PortPool,
};

use super::{
    Tables,
    balancing::{Leaving, without_leaving},
};

/// How long the sessions of a public IP have that is given up.
pub const DRAIN: Duration = Duration::from_secs(350);

/// What is being given up, and until when.
#[derive(Clone, Debug, Default)]
pub struct Drains {
    /// Public IPs of gateways, with the gateway's number.
    addresses: HashMap<(u32, Address), Instant>,
    /// Targets of load balancers.
    targets: Leaving,
}

impl Drains {
    /// Has the gateways and target groups of `next` serve what they give up of what they have in `held`, for [`DRAIN`] from
    /// `now` on, or for the rest of that time. What somebody else has by now is given up at once.
    pub fn carry_over(&mut self, held: &Tables, next: &mut Tables, now: Instant) {
        let mut kept = HashMap::new();
        for (&number, before) in &held.gateways {
            let Some(gateway) = next.gateways.get_mut(&number) else {
                continue;
            };
            for address in served(before) {
                let until = self.addresses.get(&(number, address)).copied();
                let until = until.unwrap_or(now + DRAIN);
                let is_free = !next.public_addresses.contains_key(&address);
                if is_free
                    && until > now
                    && before.is(Gateway::IS_PUBLIC)
                    && drain(gateway, address)
                {
                    let is_shared = held
                        .public_addresses
                        .get(&address)
                        .is_some_and(PublicAddress::is_shared);
                    let entry = PublicAddress::new(PublicUse::NatGateway, number, is_shared);
                    next.public_addresses.insert(address, entry);
                    kept.insert((number, address), until);
                }
            }
        }
        self.addresses = kept;
        self.targets.carry_over(held, next, now);
    }

    /// Some of it is over.
    pub fn are_due(&self, now: Instant) -> bool {
        self.addresses.values().any(|until| *until <= now) || self.targets.are_due(now)
    }
}

/// The addresses that a gateway has sessions on.
fn served(gateway: &Gateway) -> impl Iterator<Item = Address> {
    let count = gateway.address_count + gateway.draining_count;
    let addresses = gateway.addresses;
    addresses.into_iter().take(count as usize)
}

/// False when there is no place for it.
fn drain(gateway: &mut Gateway, address: Address) -> bool {
    let place = (gateway.address_count + gateway.draining_count) as usize;
    if place >= MAX_PUBLIC_IPS || !gateway.is(Gateway::IS_PUBLIC) {
        return false;
    }
    gateway.addresses[place] = address;
    gateway.pools[place] = PortPool::default();
    gateway.draining_count += 1;
    true
}

/// What of it holds no longer goes from what holds: `held` without the addresses whose time is over.
#[must_use]
pub fn without_drains(mut held: Tables) -> Tables {
    for (number, gateway) in &mut held.gateways {
        let (first, count) = (
            gateway.address_count as usize,
            gateway.draining_count as usize,
        );
        for address in gateway.addresses.iter_mut().skip(first).take(count) {
            held.public_addresses
                .retain(|public, entry| public != address || entry.owner() != *number);
            *address = Address::UNSPECIFIED;
        }
        gateway.draining_count = 0;
    }
    without_leaving(&mut held.target_tables);
    held
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(last: u8) -> Address {
        Ipv4Addr::new(198, 51, 100, last).into()
    }

    /// A gateway with these public IPs.
    fn tables(last: &[u8]) -> Tables {
        let mut gateway = Gateway {
            flags: Gateway::IS_PUBLIC,
            address_count: last.len() as u32,
            ..Gateway::default()
        };
        let mut tables = Tables::default();
        for (place, last) in gateway.addresses.iter_mut().zip(last) {
            *place = ip(*last);
            let entry = PublicAddress::new(PublicUse::NatGateway, 3, false);
            tables.public_addresses.insert(ip(*last), entry);
        }
        tables.gateways.insert(3, gateway);
        tables
    }

    fn serves(tables: &Tables, last: u8) -> bool {
        tables.gateways[&3].serves(ip(last), Address::UNSPECIFIED)
            && tables.public_addresses.contains_key(&ip(last))
    }

    #[test]
    fn a_public_ip_that_is_given_up_serves_its_sessions_for_350_seconds_and_takes_no_new_ones() {
        let (mut drains, now) = (Drains::default(), Instant::now());
        let mut next = tables(&[1]);
        drains.carry_over(&tables(&[1, 2]), &mut next, now);
        assert!(serves(&next, 1) && serves(&next, 2));
        assert_eq!(next.gateways[&3].address_count, 1);
        // Another change begins no new time.
        let mut later = tables(&[1]);
        drains.carry_over(&next, &mut later, now + DRAIN / 2);
        assert!(serves(&later, 2) && !drains.are_due(now + DRAIN / 2));
        assert!(drains.are_due(now + DRAIN));
        let mut last = without_drains(later.clone());
        drains.carry_over(&later, &mut last, now + DRAIN);
        assert!(serves(&last, 1) && !serves(&last, 2));
        assert_eq!(last, tables(&[1]));
    }

    #[test]
    fn a_public_ip_that_comes_back_or_is_anothers_drains_no_more() {
        let (mut drains, now) = (Drains::default(), Instant::now());
        let mut next = tables(&[1]);
        drains.carry_over(&tables(&[1, 2]), &mut next, now);
        let mut back = tables(&[1, 2]);
        drains.carry_over(&next, &mut back, now);
        assert_eq!(back, tables(&[1, 2]));
        let mut anothers = tables(&[1]);
        let entry = PublicAddress::new(PublicUse::Elastic(ip(9)), 1, false);
        anothers.public_addresses.insert(ip(2), entry);
        drains.carry_over(&next, &mut anothers, now);
        assert!(!anothers.gateways[&3].serves(ip(2), Address::UNSPECIFIED));
        assert!(!drains.are_due(now + 2 * DRAIN));
    }
}
