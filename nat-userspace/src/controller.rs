//! `nat run`: brings the dataplane up or takes a running one over, then sweeps and logs until told
//! to stop, and reads its configuration again when told to. The dataplane runs on without it.
//!
//! `start.rs` brings it up, `footprint.rs` knows what it leaves on the host and undoes that, `signals.rs` hears
//! what the system says.

mod footprint;
mod signals;
mod start;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    mem,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use nat_common::{
    drop_reason::DropReason,
    map_types::{Interface, RESOLVER_IP, names},
};
use nix::fcntl::Flock;
use nix::time::{ClockId, clock_gettime};
use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    attach::Attached,
    config::{Attach, Config, Vpc},
    desired::{Dataplane, Order},
    error::{Error, Result},
    expiry::{self, Sweeper},
    foresight::{self, Effects},
    health::Health,
    host::{self, HostInterface},
    loader::LoadOptions,
    metadata::{self, Catalogue, token::Key},
    metrics::{self, Watch},
    overlap,
    pace::{LOOK, Pace},
    pins::Pins,
    policy::{self, Checked, Drains, Facts, Numbering, Tables},
    reconcile::Policy,
    relays::Relays,
    resolver::{Names, Resolver},
    services::{self, Services},
    session_table::SessionTable,
    stale,
};
use footprint::flags_before;

pub use footprint::tear_down;
pub use signals::Signals;
pub use start::start;

/// A dataplane that is up, and this process's hold on it.
pub struct Controller {
    ebpf: Ebpf,
    pins: Pins,
    attached: Vec<Attached>,
    services: Option<Services>,
    /// What the services know of the policy.
    catalogue: watch::Sender<Arc<Catalogue>>,
    names: watch::Sender<Arc<Names>>,
    resolver: Option<Resolver>,
    lock: Flock<File>,
    /// What was decided at the start.
    fixed: Fixed,
    options: LoadOptions,
    policy: Policy,
    numbering: Numbering,
    drains: Drains,
    /// The targets and proxies that are not well.
    unhealthy: BTreeSet<Checked>,
    health: Option<Health>,
    relays: Option<Relays>,
    /// What holds, where health has a say in it.
    current: Option<Arc<Config>>,
}

/// What a running controller can't change.
struct Fixed {
    interfaces: Vec<(String, u32)>,
    attach: Attach,
    max_sessions: u32,
    metadata: bool,
    services: bool,
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
            metadata: config.node.metadata,
            services: has_services(config),
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
        } else if self.metadata != wanted.metadata {
            Some(
                "node.metadata is another: that takes a restart of the controller, which keeps the sessions",
            )
        } else if wanted.services && !self.services {
            Some(
                "a VPC has dns, target groups or proxies, and none had: that takes a restart of the controller, which keeps the sessions",
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

fn host_interfaces(config: &Config) -> Result<Vec<HostInterface>> {
    let names: BTreeSet<&str> = config.interfaces().collect();
    names.into_iter().map(host::interface).collect()
}

/// Some service of the node is wanted.
fn has_services(config: &Config) -> bool {
    config.node.metadata || config.is_checked() || config.vpcs.iter().any(|vpc| vpc.dns)
}

/// Where hosts ask for names.
fn resolvers(config: &Config) -> BTreeSet<Ipv4Addr> {
    let of_vpcs = config.vpcs.iter().filter_map(Vpc::resolver);
    let mut all: BTreeSet<_> = of_vpcs.collect();
    if !all.is_empty() {
        all.insert(RESOLVER_IP.into());
    }
    all
}

/// What this thread has had of a CPU.
fn cpu_time() -> Result<std::time::Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_err(|errno| Error::io("reading the thread's CPU time")(errno.into()))?;
    Ok(time.into())
}

/// Public IPs that gateways give up serve their sessions on for a while.
fn carry_over(drains: &mut Drains, policy: &Policy, tables: &mut Tables) {
    if let Some(held) = policy.current() {
        drains.carry_over(held, tables, Instant::now().into_std());
    }
}

/// Makes `tables` the policy, and ends the sessions that can't go on under it. Before it, so that forwards
/// find the ports free that these hold; behind it, for those that were made meanwhile.
fn change(ebpf: &mut Ebpf, pins: &Pins, policy: &mut Policy, tables: Tables) -> Result<()> {
    let tables = Arc::new(tables);
    metrics::reset(pins, &policy.new_gateways(&tables))?;
    if !policy.may_end_sessions(&tables) {
        return policy.apply(ebpf, &tables);
    }
    let sessions = SessionTable::open(pins)?;
    end_stale(ebpf, &sessions, &tables)?;
    policy.apply(ebpf, &tables)?;
    end_stale(ebpf, &sessions, &tables)
}

/// Ends the sessions that can't go on under this policy.
fn end_stale(ebpf: &mut Ebpf, sessions: &SessionTable, policy: &Tables) -> Result<()> {
    let ended = expiry::end(ebpf, &stale::misfits(sessions, policy))?;
    if ended > 0 {
        log::info!("{ended} session(s) ended: their public IP or port is no longer theirs");
    }
    Ok(())
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
        let tables = self.tables(config)?;
        self.enforce_tables(config, tables)
    }

    /// Goes on with what `config` has come to.
    fn enforce_tables(&mut self, config: &Config, mut tables: Tables) -> Result<()> {
        carry_over(&mut self.drains, &self.policy, &mut tables);
        let checks = mem::take(&mut tables.checks);
        let relays = mem::take(&mut tables.relays);
        change(&mut self.ebpf, &self.pins, &mut self.policy, tables)?;
        self.numbering.settle();
        self.current = (!checks.is_empty()).then(|| Arc::new(config.clone()));
        if let Some(health) = &mut self.health {
            health.set(checks);
        }
        if let (Some(running), Some(services)) = (&mut self.relays, &self.services) {
            // The policy holds, whatever comes of it.
            if let Err(error) = running.set(services, relays) {
                log::error!("connections to some target groups are not relayed: {error}");
            }
        }
        if self.services.is_some() {
            self.catalogue.send_replace(Arc::new(Catalogue::of(config)));
            self.names.send_replace(Arc::new(Names::of(config)));
            self.resolve(config)?;
        }
        Ok(())
    }

    /// Answers hosts that ask for names, in the background of the runtime and until this controller has ended.
    ///
    /// # Errors
    ///
    /// What keeps it from beginning.
    pub fn serve_dns(&mut self, config: &Config) -> Result<()> {
        if self.services.is_none() {
            return Ok(());
        }
        let clients = Arc::new(services::Clients::open(&self.pins)?);
        self.resolver = Some(Resolver::new(self.names.subscribe(), clients));
        self.resolve(config)
    }

    /// Checks the health of targets and proxies, and relays connections to targets, in the background of the
    /// runtime and until this controller has ended.
    ///
    /// # Errors
    ///
    /// What keeps it from beginning.
    pub fn serve_balancers(&mut self, config: &Config) -> Result<()> {
        let Some(services) = &self.services else {
            return Ok(());
        };
        let caller = Arc::new(services.caller()?);
        let clients = Arc::new(services::Clients::open(&self.pins)?);
        self.health = Some(Health::new(Arc::<services::Caller>::clone(&caller)));
        self.relays = Some(Relays::new(clients, caller));
        if config.is_checked() {
            self.reload(config)?;
        }
        Ok(())
    }

    /// Goes on with who is well by now.
    fn heed_health(&mut self) -> Result<()> {
        let (Some(health), Some(config)) = (&mut self.health, self.current.clone()) else {
            return Ok(());
        };
        let unhealthy = health.unhealthy();
        if unhealthy == self.unhealthy {
            return Ok(());
        }
        let before = mem::replace(&mut self.unhealthy, unhealthy);
        // On the interfaces as they are: one that is gone is no reason to leave flows to the dead.
        let enforced = self
            .compile(&config)
            .and_then(|tables| self.enforce_tables(&config, tables));
        if enforced.is_err() {
            // It is tried again.
            self.unhealthy = before;
            return enforced;
        }
        for whom in self.unhealthy.difference(&before) {
            log::warn!("{whom} is unhealthy");
        }
        for whom in before.difference(&self.unhealthy) {
            log::info!("{whom} is healthy again");
        }
        Ok(())
    }

    /// Has the resolver answer at the addresses of new VPCs, too.
    fn resolve(&mut self, config: &Config) -> Result<()> {
        let (Some(resolver), Some(services)) = (self.resolver.clone(), &mut self.services) else {
            return Ok(());
        };
        let sockets = services.resolver_sockets(resolvers(config))?;
        if sockets.udp.is_empty() {
            return Ok(());
        }
        tokio::spawn(async move {
            if let Err(error) = resolver.serve(sockets).await {
                log::error!("names are no longer answered: {error}");
            }
        });
        Ok(())
    }

    /// Tells instances about themselves, by tokens of this key, in the background of the runtime and until
    /// this controller has ended. Where that is turned off there is nothing to do.
    ///
    /// # Errors
    ///
    /// What keeps it from beginning.
    pub fn serve_metadata(&mut self, key: Key) -> Result<()> {
        let listener = self.services.as_mut().and_then(|each| each.metadata.take());
        let Some(listener) = listener else {
            return Ok(());
        };
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(Error::io("waiting for the socket of metadata"))?;
        let clients = Arc::new(services::Clients::open(&self.pins)?);
        let catalogue = self.catalogue.subscribe();
        tokio::spawn(async move {
            if let Err(error) = metadata::serve(listener, catalogue, clients, key).await {
                log::error!("instances are no longer told about themselves: {error}");
            }
        });
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
        self.compile(config)
    }

    /// What `config` comes to on the interfaces that the programs are on.
    fn compile(&mut self, config: &Config) -> Result<Tables> {
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
                unhealthy: &self.unhealthy,
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
        let mut tables = policy::without_drains(Tables::clone(held));
        self.drains.carry_over(held, &mut tables, now);
        change(&mut self.ebpf, &self.pins, &mut self.policy, tables)
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
            .filter(|each| !each.interface.is_services)
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
                () = health_changed(&mut self.health) => {
                    if let Err(error) = self.heed_health() {
                        log::error!("health: {error}");
                    }
                }
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
                    let kept = self
                        .end_drains(now)
                        .and_then(|()| self.heed_health())
                        .and_then(|()| self.policy.level(&mut self.ebpf));
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

/// Somebody's health is another one, if it is checked.
async fn health_changed(health: &mut Option<Health>) {
    match health {
        Some(health) => health.changed().await,
        None => std::future::pending().await,
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
