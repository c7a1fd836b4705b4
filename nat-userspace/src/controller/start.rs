//! Brings a dataplane up, or takes a running one over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aya::Ebpf;
use nat_common::map_types::Interface;
use tokio::sync::watch;

use super::{
    Controller, Fixed, carry_over, change,
    footprint::{Footprint, flags_before, release_others},
    has_services, host_interfaces,
};
use crate::{
    attach::{self, Attached, Hook},
    config::Config,
    error::Result,
    host::{self, HostInterface},
    loader::{self, LoadOptions},
    metadata::Catalogue,
    overlap,
    pins::Pins,
    policy::{self, Drains, Facts, Numbering},
    reconcile::Policy,
    resolver::Names,
    services::Services,
};

/// Brings the dataplane up for `config`. One that is already there is taken over: its sessions,
/// numbers and secrets stay, its programs and policy are replaced.
///
/// # Errors
///
/// What is missing or refused. A dataplane that was not there before is then removed again; one
/// that was there runs on.
pub fn start(config: &Config, pins: &Pins, options: LoadOptions) -> Result<Controller> {
    let mut interfaces = host_interfaces(config)?;
    overlap::check(config, &interfaces)?;
    let fixed = Fixed::of(config, &interfaces);
    let fresh = !pins.exist();
    pins.create()?;
    let lock = pins.lock()?;
    let mut footprint = Footprint::default();
    let mut bring_up = || {
        let services = has_services(config).then(Services::open).transpose()?;
        interfaces.extend(services.iter().map(|services| services.interface.clone()));
        let dataplane = bring_up(config, pins, &interfaces, options, &mut footprint)?;
        Ok((services, dataplane))
    };
    match bring_up() {
        Ok((services, (ebpf, policy, numbering, drains))) => Ok(Controller {
            ebpf,
            policy,
            numbering,
            drains,
            pins: pins.clone(),
            attached: footprint.attached,
            lock,
            catalogue: watch::Sender::new(Arc::new(match services {
                Some(_) => Catalogue::of(config),
                None => Catalogue::default(),
            })),
            names: watch::Sender::new(Arc::new(Names::of(config))),
            resolver: None,
            unhealthy: BTreeSet::new(),
            health: None,
            relays: None,
            current: None,
            services,
            fixed,
            options,
        }),
        Err(error) => {
            if fresh && let Err(also) = footprint.erase().and(pins.remove()) {
                log::error!("{also}");
            }
            Err(error)
        }
    }
}

/// Policy first, programs second, forwarding last: no packet of a host inside ever finds the host
/// forwarding without the programs, nor the programs without their policy. What is about to be done to
/// an interface is in the tables before it is done, so that a start that was killed can be undone.
fn bring_up(
    config: &Config,
    pins: &Pins,
    interfaces: &[HostInterface],
    options: LoadOptions,
    footprint: &mut Footprint,
) -> Result<(Ebpf, Policy, Numbering, Drains)> {
    let planned = attach::plan(interfaces, config.node.attach);
    let loaded = LoadOptions {
        without_xdp: planned.iter().all(|each| each.hook == Hook::Tc),
        ..options
    };
    let mut ebpf = loader::load(pins, config.node.max_sessions, loaded)?;
    let mut policy = Policy::open(&ebpf)?;
    let before = flags_before(pins)?;
    let was = |index: u32, flag: u32| before.get(&index).copied().unwrap_or(0) & flag;
    let Footprint {
        attached,
        forwarding_set,
    } = footprint;
    for interface in interfaces {
        let off = !host::forwards(&interface.name)?;
        if off || was(interface.index, Interface::FORWARDING_SET) != 0 {
            forwarding_set.insert(interface.name.clone());
        }
    }
    let names = policy.names().iter();
    let mut numbering = Numbering::new(names.map(|(key, name)| (*key, *name)));
    let window_shift_before = policy.window_shift();
    let mut compile = |attached: &[Attached], secrets: &BTreeMap<u32, [u64; 2]>| {
        policy::compile(
            config,
            &mut numbering,
            Facts {
                attached,
                forwarding_set,
                secrets,
                unhealthy: &BTreeSet::new(),
                random: &mut host::random,
                to_the_tick: options.test_clock,
                window_shift_before,
            },
        )
    };
    let mut drains = Drains::default();
    let mut planned_tables = compile(&planned, &policy.secrets())?;
    carry_over(&mut drains, &policy, &mut planned_tables);
    release_others(policy.names(), &before, &planned)?;
    change(&mut ebpf, pins, &mut policy, planned_tables)?;
    attach::attach_all(&mut ebpf, pins, interfaces, config.node.attach, attached)?;
    for each in attached.iter_mut() {
        // A qdisc that was made for an earlier controller is still ours.
        each.flags |= was(each.interface.index, Interface::CLSACT_OURS);
    }
    if *attached != planned {
        let mut tables = compile(attached, &policy.secrets())?;
        carry_over(&mut drains, &policy, &mut tables);
        change(&mut ebpf, pins, &mut policy, tables)?;
    }
    numbering.settle();
    for interface in forwarding_set.iter() {
        host::set_forwarding(interface, true)?;
    }
    Ok((ebpf, policy, numbering, drains))
}
