//! What one policy has to have changed to be another one: found out once, and written to both sides.

use std::hash::Hash;

use aya::{Pod, maps::MapData};
use nat_common::{
    address::Address,
    map_types::{
        ApplianceKey, Exemptions, Gateway, GroupKey, Instance, Interface, Judgement, PortKey,
        PublicAddress, Route, ScopedAddress, Settings, Subnet,
    },
};

use super::writing;
use crate::{
    bpf_batch,
    error::Result,
    policy::{Map, PrefixKey, Tables},
};

/// What differs in one table.
#[derive(Clone, Debug)]
pub struct Changes<K, V> {
    /// What is to go.
    pub gone: Vec<K>,
    /// What is to be there.
    pub set: Vec<(K, V)>,
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self {
            gone: Vec::new(),
            set: Vec::new(),
        }
    }
}

/// The entries that `there` lacks, or has otherwise.
pub fn differing<K: Copy + Eq + Hash, V: Copy + PartialEq>(
    there: &Map<K, V>,
    wanted: &Map<K, V>,
) -> Vec<(K, V)> {
    wanted
        .iter()
        .filter(|(key, value)| there.get(*key) != Some(*value))
        .map(|(key, value)| (*key, *value))
        .collect()
}

impl<K: Copy + Eq + Hash, V: Copy + PartialEq> Changes<K, V> {
    fn between(there: &Map<K, V>, wanted: &Map<K, V>) -> Self {
        let set = differing(there, wanted);
        // As many as are wanted, and all of them there: none is to go.
        let added = set.iter().filter(|(key, _)| !there.contains_key(key));
        let gone = if there.len() + added.count() == wanted.len() {
            Vec::new()
        } else {
            let keys = there.keys().filter(|key| !wanted.contains_key(*key));
            keys.copied().collect()
        };
        Self { gone, set }
    }

    fn is_nothing(&self) -> bool {
        self.gone.is_empty() && self.set.is_empty()
    }

    fn follow(&self, there: &mut Map<K, V>) {
        for key in &self.gone {
            there.remove(key);
        }
        there.extend(self.set.iter().copied());
    }
}

impl<K, V: Pod> Changes<K, V> {
    /// Makes them in a map, whose keys are `raw`'s.
    ///
    /// # Errors
    ///
    /// What the kernel says; some may be made by then.
    pub fn write<R: Pod>(
        &self,
        map: &MapData,
        name: &'static str,
        raw: impl Fn(&K) -> R,
    ) -> Result<()> {
        let gone: Vec<R> = self.gone.iter().map(&raw).collect();
        bpf_batch::delete(map, &gone).map_err(writing(name))?;
        let keys: Vec<R> = self.set.iter().map(|(key, _)| raw(key)).collect();
        let values: Vec<V> = self.set.iter().map(|(_, value)| *value).collect();
        bpf_batch::update(map, &keys, &values).map_err(writing(name))
    }
}

macro_rules! difference {
    ($($field:ident: $key:ty, $value:ty;)*) => {
        /// What differs between two policies, but for names and forwards, which have no sides.
        #[derive(Clone, Debug, Default)]
        pub struct Difference {
            $(pub $field: Changes<$key, $value>,)*
            /// Those that are gone are all zeros.
            pub gateways: Vec<(u32, Gateway)>,
            pub settings: Option<Settings>,
        }

        impl Difference {
            /// What has to be changed in `there`.
            pub fn between(there: &Tables, wanted: &Tables) -> Self {
                Self {
                    $($field: Changes::between(&there.$field, &wanted.$field),)*
                    gateways: gateways(there, wanted),
                    settings: (there.settings != wanted.settings).then_some(wanted.settings),
                }
            }

            /// Nothing differs.
            pub fn is_nothing(&self) -> bool {
                $(self.$field.is_nothing() &&)*
                self.gateways.is_empty() && self.settings.is_none()
            }

            /// Changes `there`.
            pub fn follow(&self, there: &mut Tables) {
                $(self.$field.follow(&mut there.$field);)*
                for (number, gateway) in &self.gateways {
                    if *gateway == Gateway::default() {
                        there.gateways.remove(number);
                    } else {
                        there.gateways.insert(*number, *gateway);
                    }
                }
                if let Some(settings) = self.settings {
                    there.settings = settings;
                }
            }
        }
    };
}

difference! {
    interfaces: u32, Interface;
    subnets: PrefixKey, Subnet;
    routes: PrefixKey, Route;
    public_addresses: Address, PublicAddress;
    instances: ScopedAddress, Instance;
    appliances: ApplianceKey, Address;
    exemptions: PrefixKey, Exemptions;
    rulesets: PrefixKey, u32;
    group_rules: GroupKey, u32;
    port_rules: (u32, PortKey), Judgement;
}

fn gateways(there: &Tables, wanted: &Tables) -> Vec<(u32, Gateway)> {
    let gone = there
        .gateways
        .keys()
        .filter(|number| !wanted.gateways.contains_key(number))
        .map(|number| (*number, Gateway::default()));
    let changed = wanted
        .gateways
        .iter()
        .filter(|(number, gateway)| there.gateways.get(number) != Some(gateway))
        .map(|(number, gateway)| (*number, *gateway));
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(routes: &[(u32, u32)], gateways: &[u32], flags: u32) -> Tables {
        let mut tables = Tables::default();
        for (table, value) in routes {
            let key = ScopedAddress {
                scope: *table,
                address: Address::UNSPECIFIED,
            };
            let target = nat_common::map_types::Target::NatGateway(*value);
            tables.routes.insert((32, key), Route::to(target));
        }
        for number in gateways {
            let gateway = Gateway {
                vpc: 1,
                ..Gateway::default()
            };
            tables.gateways.insert(*number, gateway);
        }
        tables.settings.flags = flags;
        tables
    }

    #[test]
    fn a_policy_that_follows_the_difference_is_the_other_one() {
        let all = [
            tables(&[], &[], 0),
            tables(&[(1, 1), (2, 2)], &[1], 0),
            tables(&[(1, 1), (2, 3)], &[1, 2], 1),
            tables(&[(2, 3), (4, 4)], &[2], 1),
        ];
        for from in &all {
            for to in &all {
                let difference = Difference::between(from, to);
                assert_eq!(difference.is_nothing(), from == to);
                let mut there = from.clone();
                difference.follow(&mut there);
                assert_eq!(there, *to);
            }
        }
    }
}
