//! What one policy has to have changed to be another one.

use std::hash::Hash;

use aya::{Pod, maps::MapData};
use nat_common::{
    address::Address,
    map_types::{
        ApplianceKey, Exemptions, Gateway, GroupKey, Instance, Interface, Judgement, Listener,
        ListenerKey, PortKey, PublicAddress, Route, ScopedAddress, Settings, Subnet, TargetTable,
    },
};

use super::writing;
use crate::{
    bpf_batch,
    error::Result,
    policy::{Map, PrefixKey, Sorted, Tables},
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

/// A table that can be held against another one.
trait Content<K, V> {
    /// What has to be changed for it to be `wanted`.
    fn changes(&self, wanted: &Self) -> Changes<K, V>;
}

impl<K: Copy + Eq + Hash, V: Copy + PartialEq> Content<K, V> for Map<K, V> {
    fn changes(&self, wanted: &Self) -> Changes<K, V> {
        let set = differing(self, wanted);
        // As many as are wanted, and all of them there: none is to go.
        let added = set.iter().filter(|(key, _)| !self.contains_key(key));
        let gone = if self.len() + added.count() == wanted.len() {
            Vec::new()
        } else {
            let keys = self.keys().filter(|key| !wanted.contains_key(*key));
            keys.copied().collect()
        };
        Changes { gone, set }
    }
}

impl<K: Copy + Ord, V: Copy + PartialEq> Content<K, V> for Sorted<K, V> {
    fn changes(&self, wanted: &Self) -> Changes<K, V> {
        let mut changes = Changes::default();
        let mut there = self.entries().iter().peekable();
        for entry in wanted.entries() {
            while let Some((key, _)) = there.next_if(|other| other.0 < entry.0) {
                changes.gone.push(*key);
            }
            match there.next_if(|other| other.0 == entry.0) {
                Some(same) if same.1 == entry.1 => {}
                _ => changes.set.push(*entry),
            }
        }
        changes.gone.extend(there.map(|(key, _)| *key));
        changes
    }
}

impl<K, V> Changes<K, V> {
    #[cfg(test)]
    fn is_nothing(&self) -> bool {
        self.gone.is_empty() && self.set.is_empty()
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
                    $($field: there.$field.changes(&wanted.$field),)*
                    gateways: gateways(there, wanted),
                    settings: (there.settings != wanted.settings).then_some(wanted.settings),
                }
            }

            /// Nothing differs.
            #[cfg(test)]
            fn is_nothing(&self) -> bool {
                $(self.$field.is_nothing() &&)*
                self.gateways.is_empty() && self.settings.is_none()
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
    listeners: ListenerKey, Listener;
    target_tables: u32, TargetTable;
    exemptions: PrefixKey, Exemptions;
    rulesets: PrefixKey, u32;
    group_rules: GroupKey, u32;
    port_rules: (PortKey, u32), Judgement;
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
    use std::collections::BTreeMap;

    use nat_common::map_types::Target;

    use super::*;

    fn tables(routes: &[(u32, u32)], subnets: &[u32], gateways: &[u32], flags: u32) -> Tables {
        let key = |scope| ScopedAddress {
            scope,
            address: Address::UNSPECIFIED,
        };
        let route = |(table, gateway): &(u32, u32)| {
            ((key(*table), 32), Route::to(Target::NatGateway(*gateway)))
        };
        let mut tables = Tables {
            routes: routes.iter().map(route).collect::<Vec<_>>().into(),
            ..Tables::default()
        };
        for subnet in subnets {
            tables.subnets.insert((key(*subnet), 32), Subnet::default());
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

    /// `entries` after the changes.
    fn changed<K: Copy + Ord, V: Copy>(
        entries: impl IntoIterator<Item = (K, V)>,
        changes: &Changes<K, V>,
    ) -> Vec<(K, V)> {
        let mut entries: BTreeMap<K, V> = entries.into_iter().collect();
        for key in &changes.gone {
            assert!(entries.remove(key).is_some());
        }
        entries.extend(changes.set.iter().copied());
        entries.into_iter().collect()
    }

    fn subnets(tables: &Tables) -> impl Iterator<Item = (PrefixKey, Subnet)> {
        tables.subnets.iter().map(|(key, subnet)| (*key, *subnet))
    }

    #[test]
    fn a_policy_with_what_differs_is_the_other_one() {
        let all = [
            tables(&[], &[], &[], 0),
            tables(&[(1, 1), (2, 2)], &[1, 2], &[1], 0),
            tables(&[(1, 1), (2, 3)], &[2, 3], &[1, 2], 1),
            tables(&[(2, 3), (4, 4)], &[3], &[2], 1),
        ];
        for from in &all {
            for to in &all {
                let difference = Difference::between(from, to);
                assert_eq!(difference.is_nothing(), from == to);
                let routes = from.routes.entries().iter().copied();
                assert_eq!(changed(routes, &difference.routes), to.routes.entries());
                let expected: BTreeMap<_, _> = subnets(to).collect();
                let expected: Vec<_> = expected.into_iter().collect();
                assert_eq!(changed(subnets(from), &difference.subnets), expected);
                for (number, gateway) in &difference.gateways {
                    let wanted = to.gateways.get(number).copied().unwrap_or_default();
                    assert_eq!(*gateway, wanted);
                }
            }
        }
    }
}
