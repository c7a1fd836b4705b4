//! `nat run`.

use std::{
    net::SocketAddrV4,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal, signal},
};
use tokio::sync::mpsc;

use super::{Failure, Outcome};
use crate::{
    api,
    config::{self, Attach, Config, Filtering, PortRange, Profile, Protocol, objects::Source},
    controller::{self, Controller, Steering},
    desired::{
        Desired, NoStart, Order,
        store::{DEFAULT_STORE, Store},
    },
    error::Error,
    host,
    loader::LoadOptions,
    metadata::token::Key,
    nat_instance::{NatInstance, PortForward},
    pins::Pins,
};

/// See `nat run --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["uplink", "store"], conflicts_with_all = ["uplink", "inside", "inside_cidr", "ports", "attach", "max_sessions", "forward", "profile", "filtering"])]
    config: Option<PathBuf>,
    /// Where the API keeps its objects and the last configuration; without --config this goes on with
    /// that one [default: /var/lib/nat/state.redb]
    #[arg(long, value_name = "FILE", conflicts_with = "uplink")]
    store: Option<PathBuf>,
    /// Answer nobody at the socket, and keep no store
    #[arg(long, conflicts_with_all = ["store", "uplink"])]
    no_api: bool,
    /// NAT instance: the interface that leads outside; hosts are translated to its own address
    #[arg(long, value_name = "INTERFACE", requires = "inside")]
    uplink: Option<String>,
    /// NAT instance: the interface with the hosts; may be the uplink
    #[arg(long, value_name = "INTERFACE", requires = "uplink")]
    inside: Option<String>,
    /// NAT instance: the hosts' addresses [default: the inside interface's networks]
    #[arg(long, value_name = "CIDR", requires = "uplink")]
    inside_cidr: Vec<Ipv4Net>,
    /// NAT instance: ports to translate to [default: unprivileged ports outside the host's
    /// ip_local_port_range]
    #[arg(long, value_name = "FIRST-LAST", requires = "uplink", value_parser = port_range)]
    ports: Vec<PortRange>,
    /// NAT instance: which hook to use
    #[arg(long, value_enum, requires = "uplink")]
    attach: Option<AttachArgument>,
    /// NAT instance: size of the session table
    #[arg(long, value_name = "N", requires = "uplink", value_parser = clap::value_parser!(u32).range(1024..=16_777_216))]
    max_sessions: Option<u32>,
    /// NAT instance: let connections to a port of the uplink's address in, to a host inside; a range
    /// leads to as many ports from the given one on
    #[arg(long, value_name = "PROTOCOL:PORT=ADDRESS:PORT", requires = "uplink", value_parser = forward)]
    forward: Vec<PortForward>,
    /// NAT instance: whose translation rules to follow [default: aws]
    #[arg(long, value_enum, requires = "uplink")]
    profile: Option<ProfileArgument>,
    /// NAT instance: who outside may write to a mapping, with profile rfc [default:
    /// address-dependent]
    #[arg(long, value_enum, requires = "uplink", requires = "profile")]
    filtering: Option<FilteringArgument>,
    /// Remove the dataplane on SIGTERM or SIGINT; otherwise it runs on without the controller
    #[arg(long)]
    teardown_on_exit: bool,
    /// What to log, dataplane messages included
    #[arg(long, value_enum, default_value = "info")]
    log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AttachArgument {
    Auto,
    Xdp,
    XdpGeneric,
    Tc,
}

impl From<AttachArgument> for Attach {
    fn from(argument: AttachArgument) -> Self {
        match argument {
            AttachArgument::Auto => Self::Auto,
            AttachArgument::Xdp => Self::Xdp,
            AttachArgument::XdpGeneric => Self::XdpGeneric,
            AttachArgument::Tc => Self::Tc,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileArgument {
    Aws,
    Rfc,
}

impl From<ProfileArgument> for Profile {
    fn from(argument: ProfileArgument) -> Self {
        match argument {
            ProfileArgument::Aws => Self::Aws,
            ProfileArgument::Rfc => Self::Rfc,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FilteringArgument {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

impl From<FilteringArgument> for Filtering {
    fn from(argument: FilteringArgument) -> Self {
        match argument {
            FilteringArgument::EndpointIndependent => Self::EndpointIndependent,
            FilteringArgument::AddressDependent => Self::AddressDependent,
            FilteringArgument::AddressAndPortDependent => Self::AddressAndPortDependent,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl LogLevel {
    const fn filter(self) -> log::LevelFilter {
        match self {
            Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
        }
    }
}

fn port_range(text: &str) -> Result<PortRange, String> {
    const FORM: &str = "write FIRST-LAST, for example 1024-32767";
    let (first, last) = text.split_once('-').ok_or(FORM)?;
    let port = |text: &str| {
        text.parse::<u16>()
            .map_err(|error| format!("{text}: {error}; {FORM}"))
    };
    let range = PortRange {
        first: port(first)?,
        last: port(last)?,
    };
    if range.first == 0 || range.first > range.last {
        return Err(format!("a range goes up and starts at 1 or later; {FORM}"));
    }
    Ok(range)
}

fn forward(text: &str) -> Result<PortForward, String> {
    const FORM: &str = "write PROTOCOL:PORT=ADDRESS:PORT, for example tcp:8080=10.0.0.5:80";
    let (outside, to) = text.split_once('=').ok_or(FORM)?;
    let (protocol, ports) = outside.split_once(':').ok_or(FORM)?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(format!("{other} is neither tcp nor udp; {FORM}")),
    };
    let ports = if ports.contains('-') {
        port_range(ports)?
    } else {
        port_range(&format!("{ports}-{ports}"))?
    };
    let to: SocketAddrV4 = to
        .parse()
        .map_err(|_| format!("{to} is no address and port; {FORM}"))?;
    if to.port() == 0 || to.port().checked_add(ports.last - ports.first).is_none() {
        return Err(format!(
            "it leads to ports that are not in 1 to 65535; {FORM}"
        ));
    }
    Ok(PortForward {
        protocol,
        ports,
        to,
    })
}

impl Arguments {
    /// The configuration, unless it is the API's.
    fn config(&self) -> Result<Config, Failure> {
        if let Some(path) = &self.config {
            return Ok(config::load(path)?);
        }
        let (Some(uplink), Some(inside)) = (&self.uplink, &self.inside) else {
            return Err(Failure::BadInput(
                "nat: give --config FILE, or --uplink and --inside".to_owned(),
            ));
        };
        let instance = NatInstance {
            uplink: uplink.clone(),
            inside: inside.clone(),
            inside_cidrs: self.inside_cidr.clone(),
            attach: self.attach.map(Attach::from).unwrap_or_default(),
            ports: self.ports.clone(),
            max_sessions: self.max_sessions,
            forwards: self.forward.clone(),
            profile: self.profile.map(Profile::from).unwrap_or_default(),
            filtering: self.filtering.map(Filtering::from),
        };
        Ok(instance.config()?)
    }

    fn has_api(&self) -> bool {
        !self.no_api && self.uplink.is_none()
    }

    /// The file as it is now.
    fn source(&self) -> Result<Option<Source>, Failure> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        Ok(Some(Source {
            name: path.display().to_string(),
            text: config::read(path)?,
        }))
    }

    fn desired(&self, pins: &Pins) -> Result<Desired, Failure> {
        // Who has the dataplane has the store, too, but this is what to say.
        if pins.is_locked() {
            return Err(Error::AlreadyRunning(pins.root().to_owned()).into());
        }
        let source = self.source()?;
        let path = self.store.as_deref().unwrap_or(Path::new(DEFAULT_STORE));
        match Desired::open(Store::open(path)?, source) {
            Ok(desired) => Ok(desired),
            Err(NoStart::Store(error)) => Err(error.into()),
            Err(NoStart::Config(errors)) => Err(errors.into()),
        }
    }
}

/// Goes on with what the same command line says later.
struct WithoutApi<'a>(&'a Arguments);

impl Steering for WithoutApi<'_> {
    fn reread(&mut self, controller: &mut Controller) -> Result<(), String> {
        let config = self.0.config().map_err(Failure::into_text)?;
        controller
            .reload(&config)
            .map_err(|error| error.to_string())
    }

    fn obey(&mut self, _: Order, _: &mut Controller) {}
}

/// Goes on with what the file and the API say.
struct WithApi<'a> {
    arguments: &'a Arguments,
    desired: Desired,
}

impl Steering for WithApi<'_> {
    fn reread(&mut self, controller: &mut Controller) -> Result<(), String> {
        let source = self.arguments.source().map_err(Failure::into_text)?;
        let reread = self.desired.reread(source, controller);
        reread.map_err(|rejection| rejection.to_string())
    }

    fn obey(&mut self, order: Order, controller: &mut Controller) {
        self.desired.obey(order, controller);
    }
}

/// Runs the controller until it is told to stop.
pub fn run(pins: &Pins, socket: &Path, arguments: &Arguments) -> Outcome {
    // Until there is a handler for it: one that comes early would end the controller, although it is
    // just about to read its configuration.
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }
        .map_err(|errno| Error::io("ignoring SIGHUP")(errno.into()))?;
    let with_api = match arguments.has_api() {
        true => Some(arguments.desired(pins)?),
        false => None,
    };
    let without_api = match &with_api {
        Some(_) => None,
        None => Some(arguments.config()?),
    };
    let filter = arguments.log_level.filter();
    env_logger::Builder::new()
        .filter_level(filter)
        .filter_module("aya", log::LevelFilter::Warn.min(filter))
        .init();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::io("starting the runtime"))?;
    runtime.block_on(async {
        let signals = controller::Signals::new()?;
        let start = |config: &Config| {
            controller::start(
                config,
                pins,
                LoadOptions {
                    log_level: filter as u8,
                    ..LoadOptions::default()
                },
            )
        };
        let teardown = arguments.teardown_on_exit;
        let (orders, received) = mpsc::channel(WAITING);
        if let Some(mut desired) = with_api {
            // Before anything is done to the host: another controller may be there.
            let listener = api::Listener::bind(socket)?;
            let mut controller = start(desired.config())?;
            desired.confirm()?;
            controller.serve_metadata(desired.token_key(&mut host::random)?)?;
            controller.serve_dns(desired.config())?;
            controller.serve_balancers(desired.config())?;
            let _serving = listener.serve(orders)?;
            let steering = WithApi { arguments, desired };
            return Ok(controller
                .run(signals, teardown, steering, received)
                .await?);
        }
        let Some(config) = without_api else {
            return Ok(());
        };
        drop(orders);
        let mut controller = start(&config)?;
        // Nothing is kept: its tokens end with it.
        controller.serve_metadata(Key::random(&mut host::random))?;
        controller.serve_dns(&config)?;
        controller.serve_balancers(&config)?;
        let steering = WithoutApi(arguments);
        Ok(controller
            .run(signals, teardown, steering, received)
            .await?)
    })
}

/// Each connection takes a file, and so does each look into a map: the one must not take them from the other.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(errno) = raised {
        log::warn!("the limit of open files stays as it is: {errno}");
    }
}

/// Orders that wait for the one before them; more wait at the socket.
const WAITING: usize = 64;
