//! The settings of one NAT gateway.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Cidr;
use crate::packets::protocol;

/// A NAT gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatGateway {
    /// Number of the subnet it is in.
    pub subnet: usize,
    /// Whether it translates to an address of its VPC instead of public ones.
    pub is_private: bool,
    /// What it translates to.
    pub public_ips: Vec<Ipv4Addr>,
    /// The ports and ICMP ids it uses, on each public IP.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Other ports than [`Self::ports`] for one public IP.
    pub address_ports: Vec<(Ipv4Addr, Vec<RangeInclusive<u16>>)>,
    /// Whether the public IPs are the host's too: what is nobody's inside goes there.
    pub shared_with_host: bool,
    /// How it maps and filters.
    pub profile: Profile,
    /// Sessions that one inside address may have.
    pub max_sessions_per_client: Option<usize>,
    /// Bindings that one inside address may have; profile rfc.
    pub max_ports_per_client: Option<usize>,
    /// How long a freed UDP or ICMP port rests; profile rfc, endpoint-independent.
    pub port_rest: Duration,
    /// What the sender is told when there is no port or session for it.
    pub on_exhaustion: OnExhaustion,
    /// Clients that have a block of ports each (RFC 7422).
    pub deterministic: Option<Cidr>,
    /// What passes untranslated.
    pub no_translate: Vec<NoTranslate>,
    /// Ports that lead to inside hosts.
    pub forwards: Vec<Forward>,
    /// When idle sessions end.
    pub timeouts: Timeouts,
}

/// How a NAT gateway maps and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A port for each remote end: ports are overloaded.
    Aws,
    /// One port for an inside end, whatever the remote one (RFC 4787, 5382, 5508).
    Rfc(Filtering),
}

/// Whom a binding lets in (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Anybody.
    EndpointIndependent,
    /// Addresses that it has a session with.
    AddressDependent,
    /// Remote ends that it has a session with.
    AddressAndPortDependent,
}

/// The ICMP error on exhausted ports and quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExhaustion {
    /// 3/13.
    AdminProhibited,
    /// 3/1.
    HostUnreachable,
    /// None.
    Silent,
}

/// Packets that pass untranslated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTranslate {
    /// To there.
    pub destination: Cidr,
    /// Of this protocol; `None` for all.
    pub protocol: Option<u8>,
    /// To these ports; `None` for all, and for what has no ports.
    pub ports: Option<RangeInclusive<u16>>,
}

/// A public port, or a range of them, that leads to an inside host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// TCP or UDP.
    pub protocol: u8,
    /// The public IP.
    pub public_ip: Ipv4Addr,
    /// Its ports.
    pub ports: RangeInclusive<u16>,
    /// Where the first of them leads; the others to the ports behind that one.
    pub to: SocketAddrV4,
}

/// Idle timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established or half-closed.
    pub tcp: Duration,
    /// TCP, before both sides have sent SYN.
    pub tcp_opening: Duration,
    /// TCP, after both sides have sent FIN, or one RST.
    pub tcp_closing: Duration,
    /// UDP that went one way only.
    pub udp: Duration,
    /// UDP that went both ways.
    pub udp_stream: Duration,
    /// ICMP queries.
    pub icmp: Duration,
}

impl Timeouts {
    /// As AWS's NAT gateway: 350 s. Transitory TCP 240 s, ICMP 60 s (RFC 5382, 5508).
    pub const AWS: Self = Self {
        tcp: Duration::from_secs(350),
        tcp_opening: Duration::from_secs(240),
        tcp_closing: Duration::from_secs(240),
        udp: Duration::from_secs(350),
        udp_stream: Duration::from_secs(350),
        icmp: Duration::from_secs(60),
    };
    /// What is tracked without being translated by a NAT gateway, as AWS's security groups.
    pub const TRACKED: Self = Self {
        tcp: Duration::from_secs(432_000),
        udp: Duration::from_secs(30),
        udp_stream: Duration::from_secs(180),
        icmp: Duration::from_secs(30),
        ..Self::AWS
    };
    /// RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2.
    pub const RFC: Self = Self {
        tcp: Duration::from_secs(7440),
        udp: Duration::from_secs(300),
        udp_stream: Duration::from_secs(300),
        ..Self::AWS
    };
}

impl NatGateway {
    /// In the first subnet, profile aws, ports 1024 to 65535, no limits.
    #[must_use]
    pub fn new(public_ips: Vec<Ipv4Addr>) -> Self {
        Self {
            subnet: 0,
            is_private: false,
            public_ips,
            ports: vec![1024..=65_535],
            address_ports: Vec::new(),
            shared_with_host: false,
            profile: Profile::Aws,
            max_sessions_per_client: None,
            max_ports_per_client: None,
            port_rest: Duration::from_secs(120),
            on_exhaustion: OnExhaustion::AdminProhibited,
            deterministic: None,
            no_translate: Vec::new(),
            forwards: Vec::new(),
            timeouts: Timeouts::AWS,
        }
    }

    /// This gateway in profile rfc, with its timers.
    #[must_use]
    pub fn rfc(mut self, filtering: Filtering) -> Self {
        self.profile = Profile::Rfc(filtering);
        self.timeouts = Timeouts::RFC;
        self
    }

    /// Whether the profile is rfc.
    #[must_use]
    pub fn is_rfc(&self) -> bool {
        self.profile != Profile::Aws
    }

    /// The ports of one public IP.
    #[must_use]
    pub fn ports_of(&self, public_ip: Ipv4Addr) -> &[RangeInclusive<u16>] {
        let own = self.address_ports.iter().find(|(ip, _)| *ip == public_ip);
        own.map_or(&self.ports, |(_, ports)| ports)
    }

    /// Where a public port leads; `None` when it is forwarded nowhere.
    #[must_use]
    pub fn forward_of_public(&self, protocol: u8, public: SocketAddrV4) -> Option<SocketAddrV4> {
        let forward = self.forwards.iter().find(|forward| {
            forward.protocol == protocol
                && forward.public_ip == *public.ip()
                && forward.ports.contains(&public.port())
        })?;
        let port = forward.to.port() + (public.port() - forward.ports.start());
        Some(SocketAddrV4::new(*forward.to.ip(), port))
    }

    /// The public port that leads to an inside one.
    #[must_use]
    pub fn forward_to_inside(&self, protocol: u8, inside: SocketAddrV4) -> Option<SocketAddrV4> {
        self.forwards.iter().find_map(|forward| {
            let index = inside.port().checked_sub(forward.to.port())?;
            let port = forward.ports.start().checked_add(index)?;
            let fits = forward.protocol == protocol
                && forward.to.ip() == inside.ip()
                && forward.ports.contains(&port);
            fits.then(|| SocketAddrV4::new(forward.public_ip, port))
        })
    }

    /// Whether a rule says that packets to `destination` pass as they are. `port` is
    /// `None` for what has none, later fragments included.
    #[must_use]
    pub fn leaves_untranslated(
        &self,
        destination: Ipv4Addr,
        protocol: u8,
        port: Option<u16>,
    ) -> bool {
        self.no_translate.iter().any(|rule| {
            let ports_fit =
                |ports: &RangeInclusive<u16>| port.is_some_and(|port| ports.contains(&port));
            rule.destination.contains(destination)
                && rule.protocol.is_none_or(|only| only == protocol)
                && rule.ports.as_ref().is_none_or(ports_fit)
        })
    }

    /// What contradicts itself; empty when nothing does.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let own = self.address_ports.iter().flat_map(|(_, ports)| ports);
        for range in self.ports.iter().chain(own) {
            if range.is_empty() {
                problems.push(format!("ports {range:?}: empty"));
            }
        }
        for (index, forward) in self.forwards.iter().enumerate() {
            let length = forward.ports.end().saturating_sub(*forward.ports.start());
            if forward.ports.is_empty() || forward.to.port().checked_add(length).is_none() {
                problems.push(format!("forward {forward:?}: bad ports"));
            }
            if !self.public_ips.contains(&forward.public_ip) {
                problems.push(format!(
                    "forward {forward:?}: not a public IP of its gateway"
                ));
            }
            if !matches!(forward.protocol, protocol::TCP | protocol::UDP) {
                problems.push(format!("forward {forward:?}: neither TCP nor UDP"));
            }
            if !self.is_rfc() && !self.shared_with_host {
                problems.push(format!("forward {forward:?}: neither rfc nor shared"));
            }
            for other in &self.forwards[..index] {
                let overlap = |a: &RangeInclusive<u16>, b: &RangeInclusive<u16>| {
                    a.start() <= b.end() && b.start() <= a.end()
                };
                let targets = |forward: &Forward| {
                    let length = forward.ports.end() - forward.ports.start();
                    forward.to.port()..=forward.to.port() + length
                };
                let same_public =
                    forward.public_ip == other.public_ip && overlap(&forward.ports, &other.ports);
                let same_inside =
                    forward.to.ip() == other.to.ip() && overlap(&targets(forward), &targets(other));
                if forward.protocol == other.protocol && (same_public || same_inside) {
                    problems.push(format!("forward {forward:?} overlaps {other:?}"));
                }
            }
        }
        if let Some(clients) = self.deterministic
            && super::deterministic::block_size(self, clients) == 0
        {
            problems.push(format!("deterministic {clients}: no port for each"));
        }
        problems
    }
}
