//! What is on one side of the policy maps, read and written as a whole.

use aya::{
    Ebpf, Pod,
    maps::{Array, MapData, lpm_trie::Key},
};
use nat_common::{
    address::Address,
    map_types::{
        ApplianceKey, Gateway, GroupKey, ListenerKey, PortKey, ScopedAddress, Settings, names,
    },
};

use super::{difference::Difference, map, missing, reading};
use crate::{
    bpf_batch,
    error::{Error, Result},
    generation::Side,
    policy::{PrefixKey, Tables},
};

/// What is on a side; without names and forwards, which have none.
///
/// # Errors
///
/// What the kernel says.
pub fn read(ebpf: &Ebpf, here: Side) -> Result<Tables> {
    let prefix = |key: Key<ScopedAddress>| Some((here.own(key.data())?, key.prefix_len()));
    let mut tables = Tables {
        interfaces: entries(ebpf, names::INTERFACES, |index| here.scope(index))?,
        subnets: entries(ebpf, names::SUBNETS, prefix)?,
        routes: entries::<_, _, _, Vec<_>>(ebpf, names::ROUTES, prefix)?.into(),
        public_addresses: entries(ebpf, names::PUBLIC_ADDRESSES, |key| {
            here.own(key).map(|key| key.address)
        })?,
        instances: entries(ebpf, names::INSTANCES, |key| here.own(key))?,
        appliances: entries(ebpf, names::APPLIANCES, |key: ApplianceKey| {
            let interface = here.scope(key.interface)?;
            Some(ApplianceKey { interface, ..key })
        })?,
        listeners: entries(ebpf, names::LISTENERS, |key: ListenerKey| {
            let gateway = here.scope(key.gateway)?;
            Some(ListenerKey { gateway, ..key })
        })?,
        target_tables: entries(ebpf, names::TARGET_TABLES, |number| here.scope(number))?,
        exemptions: entries(ebpf, names::EXEMPTIONS, prefix)?,
        rulesets: entries::<_, _, _, Vec<_>>(ebpf, names::RULESETS, prefix)?.into(),
        group_rules: entries(ebpf, names::GROUP_RULES, |key: GroupKey| {
            let ruleset = here.scope(key.ruleset)?;
            Some(GroupKey { ruleset, ..key })
        })?,
        port_rules: entries::<_, _, _, Vec<_>>(ebpf, names::PORT_RULES, |key: Key<PortKey>| {
            let class = here.scope(key.data().class)?;
            Some((key.data().of_class(class), key.prefix_len()))
        })?
        .into(),
        ..Tables::default()
    };
    let name = names::GATEWAYS;
    bpf_batch::for_each(map(ebpf, name)?, |place: &u32, gateway: &Gateway| {
        if let Some(number) = here.gateway_at(*place)
            && *gateway != Gateway::default()
        {
            tables.gateways.insert(number, *gateway);
        }
    })
    .map_err(reading(name))?;
    let name = names::SETTINGS;
    bpf_batch::for_each(map(ebpf, name)?, |place: &u32, settings: &Settings| {
        if *place == here.settings() {
            tables.settings = *settings;
        }
    })
    .map_err(reading(name))?;
    Ok(tables)
}

fn entries<R: Pod, K, V: Pod, C: Default + Extend<(K, V)>>(
    ebpf: &Ebpf,
    name: &'static str,
    key_of: impl Fn(R) -> Option<K>,
) -> Result<C> {
    let mut there = C::default();
    bpf_batch::for_each::<R, V>(map(ebpf, name)?, |raw, value| {
        there.extend(key_of(*raw).map(|key| (key, *value)));
    })
    .map_err(reading(name))?;
    Ok(there)
}

/// Writes what differs.
///
/// # Errors
///
/// What the kernel says; some may be written by then.
pub fn write(ebpf: &mut Ebpf, side: Side, difference: &Difference) -> Result<()> {
    let prefix = |&(key, bits): &PrefixKey| Key::new(bits, side.key(key));
    macro_rules! bring {
        ($name:ident, $field:ident, $key:expr) => {
            difference
                .$field
                .write(map(ebpf, names::$name)?, names::$name, $key)?
        };
    }
    bring!(PORT_RULES, port_rules, |&(key, bits): &(PortKey, u32)| {
        Key::new(bits, key.of_class(side.sided(key.class)))
    });
    bring!(GROUP_RULES, group_rules, |key: &GroupKey| GroupKey {
        ruleset: side.sided(key.ruleset),
        ..*key
    });
    bring!(RULESETS, rulesets, prefix);
    bring!(TARGET_TABLES, target_tables, |number: &u32| side
        .sided(*number));
    bring!(LISTENERS, listeners, |key: &ListenerKey| ListenerKey {
        gateway: side.sided(key.gateway),
        ..*key
    });
    bring!(EXEMPTIONS, exemptions, prefix);
    bring!(ROUTES, routes, prefix);
    bring!(SUBNETS, subnets, prefix);
    bring!(INSTANCES, instances, |key: &ScopedAddress| side.key(*key));
    bring!(APPLIANCES, appliances, |key: &ApplianceKey| ApplianceKey {
        interface: side.sided(key.interface),
        ..*key
    });
    bring!(PUBLIC_ADDRESSES, public_addresses, |address: &Address| {
        side.key(ScopedAddress {
            scope: 0,
            address: *address,
        })
    });
    bring!(INTERFACES, interfaces, |index: &u32| side.sided(*index));
    let name = names::GATEWAYS;
    let mut gateways = array::<Gateway>(ebpf, name)?;
    for (number, gateway) in &difference.gateways {
        gateways
            .set(side.gateway(*number), gateway, 0)
            .map_err(Error::map(name))?;
    }
    if let Some(wanted) = difference.settings {
        let mut settings = array::<Settings>(ebpf, names::SETTINGS)?;
        settings
            .set(side.settings(), wanted, 0)
            .map_err(Error::map(names::SETTINGS))?;
    }
    Ok(())
}

fn array<'a, V: Pod>(ebpf: &'a mut Ebpf, name: &str) -> Result<Array<&'a mut MapData, V>> {
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    Array::try_from(map).map_err(Error::map(name))
}
