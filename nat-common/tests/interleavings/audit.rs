//! What must hold for the tables as a whole: at every moment that no two sessions share what is public,
//! and when all CPUs are done that what is held equals what sessions hold.

use nat_common::{
    claim::{Claim, claim},
    drop_reason::DropReason,
    flow::protocol,
    lifecycle::State,
    map_types::{
        Binding, ClientKey, Far, Holds, Lease, Paired, SessionKey, binding_key, bound_key,
        permission_key,
    },
    sessions::{forward_key, outside_flow},
    shared::client_key,
    tables::{Side, Tables},
};

use super::{
    cpu::{World, is_alive},
    setup::{Profile, VPC},
    tables::{GATEWAY, SharedTables},
};

/// Longer than any timer, the grace and a port's rest.
const LONG: u32 = 500;

impl SharedTables {
    /// Puts in what the controller writes for a forward.
    pub fn write_static(&self, inside: (SessionKey, Binding), outside: (SessionKey, Binding)) {
        for (side, (key, binding)) in [(Side::Inside, inside), (Side::Outside, outside)] {
            let written = self.insert_binding(side, &key, &binding);
            assert_eq!(written, Ok(()));
        }
    }

    /// No public tuple serves two sessions; with endpoint-independent mapping, no public address and
    /// port two inside ones, and no inside one two public ones.
    pub fn judge_uniqueness(&self, is_rfc: bool) {
        let mut sessions = self.all_halves(Side::Inside);
        sessions.retain(|(key, half)| is_alive(key, half));
        for (at, (key, half)) in sessions.iter().enumerate() {
            let outside = outside_flow(key, half);
            for (other_key, other) in &sessions[at + 1..] {
                let other_outside = outside_flow(other_key, other);
                assert_ne!(
                    outside, other_outside,
                    "{key:?} and {other_key:?} share a public tuple"
                );
                if is_rfc {
                    let same_inside = binding_key(GATEWAY, &key.flow())
                        == binding_key(GATEWAY, &other_key.flow());
                    assert_eq!(
                        bound_key(&outside) == bound_key(&other_outside),
                        same_inside,
                        "{key:?} at {outside:?} and {other_key:?} at {other_outside:?}"
                    );
                }
            }
        }
    }
}

fn lease_of(key: &SessionKey, count: u32) -> u64 {
    Lease::new(key.mark(State::Live), count).0
}

impl World {
    /// Nobody is at work: halves come in pairs, and every shared entry is held as often as sessions
    /// hold it.
    pub fn audit(&self) {
        let tables = &self.tables;
        if self.setup.stubborn != 0 {
            tables.remove_leftovers();
        }
        let sessions = tables.all_halves(Side::Inside);
        let reverses = tables.all_halves(Side::Outside);
        tables.judge_uniqueness(self.setup.profile.is_rfc());
        for (key, half) in &sessions {
            assert!(is_alive(key, half), "{key:?} is left behind dead");
            let reverse_key = SessionKey::reverse(&outside_flow(key, half));
            let reverse = tables.peek(Side::Outside, &reverse_key);
            let reverse = reverse.unwrap_or_else(|| panic!("{key:?} has no reverse half"));
            assert_eq!(
                forward_key(&reverse_key, &reverse),
                *key,
                "the halves don't fit"
            );
        }
        for (key, half) in &reverses {
            assert!(is_alive(key, half), "reverse {key:?} is left behind dead");
            let forward = forward_key(key, half);
            assert!(
                sessions.iter().any(|(key, _)| *key == forward),
                "reverse {key:?} has no forward half {forward:?}"
            );
        }
        self.audit_clients();
        self.audit_bindings();
        self.audit_bound();
    }

    /// How many sessions hold what `held` makes of each.
    fn holders(
        &self,
        holds: Holds,
        held: impl Fn(&SessionKey, &nat_common::flow::Flow) -> bool,
    ) -> u32 {
        let sessions = self.tables.all_halves(Side::Inside);
        let holding = sessions.iter().filter(|(key, half)| {
            half.holds().include(holds) && held(key, &outside_flow(key, half))
        });
        holding.count() as u32
    }

    fn audit_clients(&self) {
        let clients = self.tables.all_clients();
        for (key, client) in &clients {
            let holders = self.holders(Holds::CLIENT, |session, _| {
                client_key(GATEWAY, 0, &session.flow()) == *key
            });
            let lease = Lease::new(key.mark(State::Live), holders).0;
            assert_eq!(
                client.lease,
                lease,
                "{key:?} is held {}, not {holders} times",
                client.lease >> 32
            );
            assert_ne!(holders, 0, "{key:?} is left behind");
            let bindings = self.tables.all_bindings(Side::Inside);
            let own = bindings.iter().filter(|(binding, value)| {
                !value.is_static() && client_key(GATEWAY, 0, &binding.flow()) == *key
            });
            assert_eq!(
                Paired(client.paired).ports() as usize,
                own.count(),
                "ports of {key:?}"
            );
        }
        let counted = self.setup.profile.is_rfc() || self.setup.sessions_per_client != 0;
        for (key, half) in self.tables.all_halves(Side::Inside) {
            assert_eq!(half.holds().include(Holds::CLIENT), counted);
            let client = client_key(GATEWAY, 0, &key.flow());
            let is_there = clients.iter().any(|(key, _)| *key == client);
            assert_eq!(is_there, counted, "client of {key:?}");
        }
        if self.setup.sessions_per_client != 0 {
            for (key, client) in &clients {
                let count = Lease(client.lease).count();
                assert!(
                    count <= self.setup.sessions_per_client,
                    "{key:?} is over its quota"
                );
            }
        }
        if self.setup.profile.is_rfc() {
            self.audit_pairing(&clients);
        }
    }

    /// Paired pooling: all of a client's bindings are on the address that its entry names.
    fn audit_pairing(&self, clients: &[(ClientKey, nat_common::map_types::Client)]) {
        for (key, binding) in self.tables.all_bindings(Side::Inside) {
            let client = client_key(GATEWAY, 0, &key.flow());
            let Some((_, client)) = clients.iter().find(|(key, _)| *key == client) else {
                continue;
            };
            let paired = Paired(client.paired);
            let address = paired.address();
            assert!(
                binding.is_static() || binding.address == address,
                "{key:?} is on {:?}, its client on {address:?}",
                binding.address
            );
            if self.setup.ports_per_client != 0 {
                assert!(paired.ports() <= self.setup.ports_per_client);
            }
        }
    }

    fn audit_bindings(&self) {
        let bindings = self.tables.all_bindings(Side::Inside);
        for (key, binding) in &bindings {
            if binding.is_static() {
                continue;
            }
            let holders = self.holders(Holds::BINDING, |session, _| {
                binding_key(GATEWAY, &session.flow()) == *key
            });
            assert_eq!(
                binding.lease,
                lease_of(key, holders),
                "binding {key:?}, held by {holders}"
            );
            assert_ne!(holders, 0, "binding {key:?} is left behind");
            let public = key.flow().with_source(binding.address, binding.port);
            let public_key = bound_key(&public.reversed());
            let bound = self.tables.peek_binding(Side::Outside, &public_key);
            let bound = bound.unwrap_or_else(|| panic!("binding {key:?} has no public half"));
            let inside = (key.flow().source, key.flow().source_port);
            assert_eq!(
                (bound.address, bound.port),
                inside,
                "the halves of a binding don't fit"
            );
            assert_eq!(bound.lease, lease_of(&public_key, 1));
        }
        for (key, half) in self.tables.all_halves(Side::Inside) {
            if !half.holds().include(Holds::BINDING) {
                continue;
            }
            let inside = binding_key(GATEWAY, &key.flow());
            let binding = self.tables.peek_binding(Side::Inside, &inside);
            let binding = binding.unwrap_or_else(|| panic!("{key:?} has no binding"));
            let mapped = (half.mapped_address(), half.mapped_port());
            assert_eq!(
                (binding.address, binding.port),
                mapped,
                "{key:?} is not on its binding"
            );
        }
    }

    fn audit_bound(&self) {
        for (key, bound) in self.tables.all_bindings(Side::Outside) {
            let is_permission = key.flow().source != nat_common::address::Address::UNSPECIFIED;
            if is_permission {
                let holders = self.holders(Holds::PERMISSION, |_, outside| {
                    permission_key(outside) == key
                });
                assert_eq!(
                    bound.lease,
                    lease_of(&key, holders),
                    "permission {key:?}, held by {holders}"
                );
                assert_ne!(holders, 0, "permission {key:?} is left behind");
            } else if bound.lease as u32 == key.mark(State::Dying) {
                assert!(self.rests(), "{key:?} rests");
            } else if !bound.is_static() {
                let inside = key.flow().with_destination(bound.address, bound.port);
                let inside_key = binding_key(GATEWAY, &inside.reversed());
                let binding = self.tables.peek_binding(Side::Inside, &inside_key);
                assert!(binding.is_some(), "bound {key:?} has no inside half");
            }
        }
        for (key, half) in self.tables.all_halves(Side::Inside) {
            let permits = self.setup.profile == Profile::RfcByAddress;
            assert_eq!(
                half.holds().include(Holds::PERMISSION),
                permits && !self.on_static_aws()
            );
            if permits {
                let permission = permission_key(&outside_flow(&key, &half));
                let there = self.tables.peek_binding(Side::Outside, &permission);
                assert!(there.is_some(), "{key:?} has no permission");
            }
        }
        if self.setup.forwards {
            let [inside, outside] = self.setup.forward_entries();
            for (key, half) in self.tables.all_halves(Side::Inside) {
                assert_eq!(
                    bound_key(&outside_flow(&key, &half)) == outside.0,
                    binding_key(GATEWAY, &key.flow()) == inside.0,
                    "{key:?} is on a forward's port, or its own forward is passed over"
                );
            }
            for (side, (key, binding)) in [(Side::Inside, inside), (Side::Outside, outside)] {
                let there = self.tables.peek_binding(side, &key);
                assert_eq!(there, Some(binding), "a forward's entry was touched");
            }
        }
    }

    fn on_static_aws(&self) -> bool {
        self.setup.profile == Profile::Aws
    }

    /// Freed ports rest in this scenario.
    pub fn rests(&self) -> bool {
        self.setup.rest != 0
            && self.setup.profile == Profile::RfcNobody
            && self.setup.protocol != protocol::TCP
    }

    /// Everything expires and is swept twice: nothing is left, and every port can be taken again.
    pub fn drain(&self) {
        self.tables.calm_down();
        for _ in 0..2 {
            self.pass(LONG);
            for (key, _) in self.tables.all_halves(Side::Inside) {
                self.sweep(&key);
            }
        }
        assert_eq!(self.tables.all_halves(Side::Inside), []);
        assert_eq!(self.tables.all_halves(Side::Outside), []);
        assert_eq!(self.tables.all_clients(), []);
        self.audit();
        for side in [Side::Inside, Side::Outside] {
            let mut left = self.tables.all_bindings(side);
            left.retain(|(key, value)| {
                !value.is_static() && value.lease as u32 != key.mark(State::Dying)
            });
            assert_eq!(left, []);
        }
    }

    /// Takes every port once, towards one remote, which is more than fits when one of them leaked.
    pub fn refill(&self) {
        if self.may_roll_back() {
            return;
        }
        self.pass(LONG);
        let now = self.tables.clock();
        let ports =
            u32::from(self.setup.ports) * self.setup.addresses - u32::from(self.setup.forwards);
        for number in 0..=ports {
            // All of different clients, none of which is a forward's.
            let flow = self.setup.flow(100 + number as u8, 0, 0);
            let made = claim(
                &self.tables,
                &Claim {
                    flow,
                    vpc: VPC,
                    gateway: GATEWAY,
                    now,
                    mapped: nat_common::address::Address::UNSPECIFIED,
                    far: Far::NONE,
                    lets_in: false,
                },
            );
            let expected = if number < ports {
                Ok(())
            } else {
                Err(DropReason::PortExhausted)
            };
            assert_eq!(made, expected, "claim {number} of {ports}");
        }
    }
}
