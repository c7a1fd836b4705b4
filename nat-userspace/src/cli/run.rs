//! `nat run`.

use std::{net::SocketAddrV4, path::PathBuf};

use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::{Failure, Outcome};
use crate::{
    config::{self, Attach, Config, Filtering, PortRange, Profile, Protocol},
    controller,
    error::Error,
    loader::LoadOptions,
    nat_instance::{NatInstance, PortForward},
    pins::Pins,
};

/// See `nat run --help`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "uplink", conflicts_with_all = ["uplink", "inside", "inside_cidr", "ports", "attach", "max_sessions", "forward", "profile", "filtering"])]
    config: Option<PathBuf>,
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
}

/// Runs the controller until it is told to stop.
pub fn run(pins: &Pins, arguments: &Arguments) -> Outcome {
    // Until there is a handler for it: one that comes early would end the controller, although it is
    // just about to read its configuration.
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }
        .map_err(|errno| Error::io("ignoring SIGHUP")(errno.into()))?;
    let config = arguments.config()?;
    let filter = arguments.log_level.filter();
    env_logger::Builder::new()
        .filter_level(filter)
        .filter_module("aya", log::LevelFilter::Warn.min(filter))
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::io("starting the runtime"))?;
    runtime.block_on(async {
        let signals = controller::Signals::new()?;
        let controller = controller::start(
            &config,
            pins,
            LoadOptions {
                log_level: filter as u8,
                ..LoadOptions::default()
            },
        )?;
        let reread = || arguments.config().map_err(Failure::into_text);
        let teardown = arguments.teardown_on_exit;
        Ok(controller.run(signals, teardown, reread).await?)
    })
}
