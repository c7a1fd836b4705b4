//! `nat run`: brings the dataplane up or takes a running one over, then sweeps and logs until told
//! to stop, and reads its configuration again when told to. The dataplane runs on without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use nat_common::{
    drop_reason::DropReason,
    map_types::{Interface, Name, NameKey, names},
};
use nix::fcntl::Flock;
use nix::time::{ClockId, clock_gettime};
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    attach::{self, Attached, Hook},
    config::{Attach, Config},
    desired::{Dataplane, Order},
    error::{Error, Result},
    expiry::{self, Sweeper},
    foresight::{self, Effects},
    generation,
    host::{self, HostInterface},
    loader::{self, LoadOptions},
    metrics::{self, Watch},
    overlap,
    pace::{LOOK, Pace},
    pins::Pins,
    policy::{self, Drains, Facts, Numbering, Tables},
    reconcile::Policy,
    sessions::Names,
    stale,
};

/// A dataplane that is up, and this process's hold on it.
pub struct Controller {
    ebpf: Ebpf,
    pins: Pins,
    attached: Vec<Attached>,
    lock: Flock<File>,
    /// What was decided at the start.
    fixed: Fixed,
    options: LoadOptions,
    policy: Policy,
    numbering: Numbering,
    drains: Drains,
}

/// What a running controller can't change.
struct Fixed {
    interfaces: Vec<(String, u32)>,
    attach: Attach,
    max_sessions: u32,
}

impl Fixed {
    fn of(config: &Config, interfaces: &[HostInterface]) -> Self {
        Self {
            interfaces: interfaces
                .iter()
                .map(|each| (each.name.clone(), each.index))
                .collect(),
            attach: config.node.attach,
            max_sessions: config.node.max_sessions,
        }
    }

    /// What differs.
    fn difference(&self, wanted: &Self) -> Option<&'static str> {
        if self.interfaces != wanted.interfaces {
            Some(
                "its interfaces are others: that takes a restart of the controller, which keeps the sessions",
            )
        } else if self.attach != wanted.attach {
            Some(
                "node.attach is another: that takes a restart of the controller, which keeps the sessions",
            )
        } else if self.max_sessions != wanted.max_sessions {
            Some(
                "node.max_sessions is another: that takes `nat down`, which ends the sessions, and a new start",
            )
        } else {
            None
        }
    }
}

/// Brings the dataplane up for `config`. One that is already there is taken over: its sessions,
/// numbers and secrets stay, its programs and policy are replaced.
///
/// # Errors
///
/// What is missing or refused. A dataplane that was not there before is then removed again; one
/// that was there runs on.
pub fn start(config: &Config, pins: &Pins, options: LoadOptions) -> Result<Controller> {
    let interfaces = host_interfaces(config)?;
    overlap::check(config, &interfaces)?;
    let fresh = !pins.exist();
    pins.create()?;
    let lock = pins.lock()?;
    let mut footprint = Footprint::default();
    match bring_up(config, pins, &interfaces, options, &mut footprint) {
        Ok((ebpf, policy, numbering, drains)) => Ok(Controller {
            ebpf,
            policy,
            numbering,
            drains,
            pins: pins.clone(),
            attached: footprint.attached,
            lock,
            fixed: Fixed::of(config, &interfaces),
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

/// What a start has left on the host outside the pin folder.
#[derive(Default)]
struct Footprint {
    attached: Vec<Attached>,
    forwarding_set: BTreeSet<String>,
}

impl Footprint {
    fn erase(&self) -> Result<()> {
        let mut outcome = Ok(());
        for interface in &self.forwarding_set {
            outcome = outcome.and(host::set_forwarding(interface, false));
        }
        for each in &self.attached {
            outcome = outcome.and(attach::detach_clsact(&each.interface.name, each.flags));
        }
        outcome
    }
}

fn host_interfaces(config: &Config) -> Result<Vec<HostInterface>> {
    let names: BTreeSet<&str> = config.interfaces().collect();
    names.into_iter().map(host::interface).collect()
}

/// What this thread has had of a CPU.
fn cpu_time() -> Result<std::time::Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_err(|errno| Error::io("reading the thread's CPU time")(errno.into()))?;
    Ok(time.into())
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
    let names: Vec<(NameKey, Name)> = policy
        .names()
        .iter()
        .map(|(key, name)| (*key, *name))
        .collect();
    let mut numbering = Numbering::new(names.iter().copied());
    let window_shift_before = policy.window_shift();
    let mut compile = |attached: &[Attached], secrets: &BTreeMap<u32, [u64; 2]>| {
        policy::compile(
            config,
            &mut numbering,
            Facts {
                attached,
                forwarding_set,
                secrets,
                random: &mut host::random,
                to_the_tick: options.test_clock,
                window_shift_before,
            },
        )
    };
    let mut drains = Drains::default();
    let mut planned_tables = compile(&planned, &policy.secrets())?;
    carry_over(&mut drains, &policy, &mut planned_tables);
    release_others(&names, &before, &planned)?;
    change(&mut ebpf, pins, &mut policy, &planned_tables)?;
    attach::attach_all(&mut ebpf, pins, interfaces, config.node.attach, attached)?;
    for each in attached.iter_mut() {
        // A qdisc that was made for an earlier controller is still ours.
        each.flags |= was(each.interface.index, Interface::CLSACT_OURS);
    }
    let mut tables = compile(attached, &policy.secrets())?;
    carry_over(&mut drains, &policy, &mut tables);
    change(&mut ebpf, pins, &mut policy, &tables)?;
    numbering.settle();
    for interface in forwarding_set.iter() {
        host::set_forwarding(interface, true)?;
    }
    Ok((ebpf, policy, numbering, drains))
}

/// Public IPs that gateways give up serve their sessions on for a while.
fn carry_over(drains: &mut Drains, policy: &Policy, tables: &mut Tables) {
    if let Some(held) = policy.current() {
        drains.carry_over(held, tables, Instant::now().into_std());
    }
}

/// Makes `tables` the policy, and ends the sessions that can't go on under it. Before it, so that forwards
/// find the ports free that these hold; behind it, for those that were made meanwhile.
fn change(ebpf: &mut Ebpf, pins: &Pins, policy: &mut Policy, tables: &Tables) -> Result<()> {
    let may_end = policy.may_end_sessions(tables);
    if may_end {
        end_stale(ebpf, pins, tables)?;
    }
    metrics::reset(pins, &policy.new_gateways(tables))?;
    policy.apply(ebpf, tables)?;
    if may_end {
        end_stale(ebpf, pins, tables)?;
    }
    Ok(())
}

/// Ends the sessions that can't go on under this policy.
fn end_stale(ebpf: &mut Ebpf, pins: &Pins, policy: &Tables) -> Result<()> {
    let ended = expiry::end(ebpf, &stale::misfits(pins, policy)?)?;
    if ended > 0 {
        log::info!("{ended} session(s) ended: their public IP or port is no longer theirs");
    }
    Ok(())
}

/// Takes from interfaces that are no longer configured what an earlier configuration gave them.
fn release_others(
    names: &[(NameKey, Name)],
    before: &BTreeMap<u32, u32>,
    attached: &[Attached],
) -> Result<()> {
    for (index, flags) in before {
        if attached.iter().any(|each| each.interface.index == *index) {
            continue;
        }
        let key = NameKey {
            kind: NameKey::INTERFACE,
            number: *index,
        };
        if let Some((_, name)) = names.iter().find(|(other, _)| *other == key) {
            release(name.as_str(), *flags)?;
        }
    }
    Ok(())
}

/// Undoes what was set on an interface besides links; one that is gone is no error.
fn release(interface: &str, flags: u32) -> Result<()> {
    let mut outcome = Ok(());
    // Before the programs go, so that nothing is forwarded without them.
    if flags & Interface::FORWARDING_SET != 0 && host::interface(interface).is_ok() {
        outcome = host::set_forwarding(interface, false);
    }
    outcome.and(attach::detach_clsact(interface, flags))
}

fn flags_before(pins: &Pins) -> Result<BTreeMap<u32, u32>> {
    let interfaces = generation::interfaces(pins)?;
    Ok(interfaces
        .into_iter()
        .map(|(index, interface)| (index, interface.flags))
        .collect())
}

impl Controller {
    /// The loaded programs and their maps.
    pub const fn programs(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Brings the running dataplane to what `config` says, writing only what differs. Sessions stay as
    /// long as their public IP and port are theirs.
    ///
    /// # Errors
    ///
    /// What is refused, or takes a new start: interfaces, how they are attached to, and the size of the
    /// tables. Nothing was changed then. Otherwise what the kernel says.
    pub fn reload(&mut self, config: &Config) -> Result<()> {
        let mut tables = self.tables(config)?;
        carry_over(&mut self.drains, &self.policy, &mut tables);
        change(&mut self.ebpf, &self.pins, &mut self.policy, &tables)?;
        self.numbering.settle();
        Ok(())
    }

    /// What `config` comes to on this dataplane; nothing is written.
    fn tables(&mut self, config: &Config) -> Result<Tables> {
        let interfaces = host_interfaces(config)?;
        overlap::check(config, &interfaces)?;
        let wanted = Fixed::of(config, &interfaces);
        if let Some(difference) = self.fixed.difference(&wanted) {
            return Err(Error::TakesStart(difference));
        }
        for each in &mut self.attached {
            let index = each.interface.index;
            if let Some(now) = interfaces.iter().find(|other| other.index == index) {
                each.interface = now.clone();
            }
        }
        let before = flags_before(&self.pins)?;
        let forwarding_set = self
            .attached
            .iter()
            .map(|each| &each.interface)
            .filter(|each| {
                let flags = before.get(&each.index).copied().unwrap_or(0);
                flags & Interface::FORWARDING_SET != 0
            })
            .map(|each| each.name.clone())
            .collect();
        policy::compile(
            config,
            &mut self.numbering,
            Facts {
                attached: &self.attached,
                forwarding_set: &forwarding_set,
                secrets: &self.policy.secrets(),
                random: &mut host::random,
                to_the_tick: self.options.test_clock,
                window_shift_before: self.policy.window_shift(),
            },
        )
    }

    /// Ends the sessions of public IPs whose time is over at `now`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn end_drains(&mut self, now: std::time::Instant) -> Result<()> {
        if !self.drains.are_due(now) {
            return Ok(());
        }
        let Some(held) = self.policy.whole() else {
            return Ok(());
        };
        let mut tables = policy::without_drains(held.clone());
        self.drains.carry_over(&held, &mut tables, now);
        change(&mut self.ebpf, &self.pins, &mut self.policy, &tables)
    }

    /// Makes void whatever packets remember of the policy.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn renew(&mut self) -> Result<()> {
        self.policy.renew(&mut self.ebpf)
    }

    /// Prints the line that says what is attached where.
    fn announce(&self) -> io::Result<()> {
        let places: Vec<String> = self
            .attached
            .iter()
            .map(|each| format!("{}={}", each.interface.name, each.hook.name()))
            .collect();
        let mut out = io::stdout().lock();
        writeln!(out, "ready {}", places.join(" "))?;
        out.flush()
    }

    /// Says that it is ready, then sweeps and logs until SIGTERM or SIGINT, or until the dataplane was
    /// taken down. What to go on with on SIGHUP, and what to do with an order, is for `steering` to say.
    ///
    /// # Errors
    ///
    /// What keeps it from working at all; a failed sweep is logged and tried again.
    pub async fn run(
        mut self,
        mut signals: Signals,
        teardown: bool,
        mut steering: impl Steering,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<()> {
        let logger = EbpfLogger::init(&mut self.ebpf)
            .map_err(|error| Error::Load(format!("its log: {error}")))?;
        // SAFETY: the logger owns its descriptor until it is dropped, and never exchanges it.
        let mut logger = unsafe { AsyncFd::register(logger) }
            .map_err(|error| Error::io("watching the dataplane's log")(error.into()))?;
        let mut sweeper = Sweeper::new(&self.pins)?;
        // Not before the signals are handled: who reads it may send one at once.
        self.announce().map_err(Error::io("writing to stdout"))?;
        let mut next_look = Instant::now() + LOOK;
        let mut pace = Pace::new(Instant::now().into_std(), self.found_full()?);
        let mut watch = Watch::new(Instant::now().into_std());
        loop {
            tokio::select! {
                stops = signals.next() => {
                    if stops {
                        break;
                    }
                    match steering.reread(&mut self) {
                        Ok(()) => log::info!("the configuration was read again"),
                        Err(error) => log::error!("the configuration was not taken over: {error}"),
                    }
                }
                Some(order) = orders.recv() => steering.obey(order, &mut self),
                ready = logger.readable_mut() => {
                    let mut ready = ready.map_err(Error::io("watching the dataplane's log"))?;
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                () = sleep_until(next_look) => {
                    if !self.is_ours() {
                        log::warn!("the dataplane was taken down; nothing is left to do");
                        return Ok(());
                    }
                    let now = Instant::now().into_std();
                    let kept = self.end_drains(now).and_then(|()| self.policy.level(&mut self.ebpf));
                    if let Err(error) = kept {
                        log::error!("policy: {error}");
                    }
                    if let Err(error) = self.sweep(&mut sweeper, &mut pace) {
                        log::error!("expiry: {error}");
                    }
                    if let Err(error) = watch.look(&self.pins, now) {
                        log::error!("metrics: {error}");
                    }
                    next_look = Instant::now() + LOOK;
                }
            }
        }
        if teardown && self.is_ours() {
            tear_down(&self.pins)
        } else {
            Ok(())
        }
    }

    /// Sweeps the tables if it is time.
    fn sweep(&mut self, sweeper: &mut Sweeper, pace: &mut Pace) -> Result<()> {
        let began = std::time::Instant::now();
        if !pace.is_due(began, self.found_full()?) {
            return Ok(());
        }
        let worked = cpu_time()?;
        let swept = expiry::now().and_then(|now| sweeper.sweep(&mut self.ebpf, now));
        pace.swept(
            std::time::Instant::now(),
            cpu_time()?.saturating_sub(worked),
        );
        swept.map(drop)
    }

    /// How many packets have found the session table full.
    fn found_full(&self) -> Result<u64> {
        let drops = self.pins.per_cpu_sums(names::DROPS)?;
        let count = drops.get(DropReason::TableFull as usize);
        Ok(count.copied().unwrap_or(0))
    }

    /// The pinned dataplane is still the one this controller holds the lock of: another may have been
    /// started after a `nat down`.
    fn is_ours(&self) -> bool {
        let held = self.lock.metadata().map(|held| held.ino());
        let there = fs::metadata(self.pins.root()).map(|there| there.ino());
        self.pins.exist() && matches!((held, there), (Ok(held), Ok(there)) if held == there)
    }
}

/// Who says what a running controller goes on with.
pub trait Steering {
    /// SIGHUP has come.
    ///
    /// # Errors
    ///
    /// Why it goes on as before.
    fn reread(&mut self, controller: &mut Controller) -> std::result::Result<(), String>;

    /// An order has come by the API.
    fn obey(&mut self, order: Order, controller: &mut Controller);
}

impl Dataplane for Controller {
    fn enforce(&mut self, config: &Config) -> Result<()> {
        self.reload(config)
    }

    fn foresee(&mut self, config: &Config) -> Result<Effects> {
        let mut tables = self.tables(config)?;
        carry_over(&mut self.drains.clone(), &self.policy, &mut tables);
        foresight::effects(&self.pins, &tables)
    }

    fn generation(&self) -> Result<u64> {
        Ok(self.policy.epoch().into())
    }
}

/// The signals that stop a controller or have it read its configuration, caught from before it starts.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on.
    ///
    /// # Errors
    ///
    /// When they can't be caught.
    pub fn new() -> Result<Self> {
        let handler = |kind| signal(kind).map_err(Error::io("installing a signal handler"));
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            hangup: handler(SignalKind::hangup())?,
        })
    }

    /// Whether the next one stops it.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hangup.recv() => false,
        }
    }
}

/// Detaches and unpins everything. Works without a controller, and goes on after a failure.
///
/// # Errors
///
/// [`Error::NoDataplane`], or the first thing that could not be removed.
pub fn tear_down(pins: &Pins) -> Result<()> {
    if !pins.exist() {
        // Says why there is nothing, or what else is there.
        pins.open(names::INTERFACES)?;
    }
    let mut outcome = Ok(());
    // A start that was killed may have left maps missing; what is there is undone all the same.
    if let (Ok(names), Ok(flags)) = (Names::read(pins), flags_before(pins)) {
        for (index, flags) in flags {
            let name = names.get(NameKey::INTERFACE, index);
            outcome = outcome.and(release(&name, flags));
        }
    }
    outcome.and(pins.remove())
}
