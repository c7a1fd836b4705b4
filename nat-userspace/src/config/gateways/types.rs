//! A NAT gateway as plain data.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use ipnet::Ipv4Net;
use nat_common::flow::protocol;

/// `port_rest` when the file gives none (RFC 6888 REQ-8).
pub const DEFAULT_PORT_REST: Duration = Duration::from_secs(120);

/// A NAT gateway: many hosts behind few addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatGateway {
    /// Unique among the VPC's NAT gateways.
    pub name: String,
    /// Name of the subnet it lives in; its route table carries the translated packets.
    pub subnet: String,
    /// Its address in that subnet.
    pub private_ip: Ipv4Addr,
    /// Addresses it translates to, at most 8; empty for a private gateway, which translates to
    /// `private_ip`.
    pub public_ips: Vec<Ipv4Addr>,
    /// Source ports it hands out, 1 to 4 ranges that do not overlap.
    pub ports: Vec<PortRange>,
    /// Its addresses that have other ranges than `ports`; none is there twice.
    pub address_ports: Vec<AddressPorts>,
    /// Whose translation rules it follows.
    pub profile: Profile,
    /// Who may write to a mapping from outside; with profile aws address-and-port-dependent.
    pub filtering: Filtering,
    /// Sessions one inside host may have, 1 to 1,048,576.
    pub max_sessions_per_client: Option<u32>,
    /// Ports one inside host may have on its public address; only with profile rfc.
    pub max_ports_per_client: Option<u16>,
    /// How long a freed UDP or ICMP port rests, in whole seconds up to 3600. Zero unless the filtering
    /// is endpoint-independent: otherwise ports need no rest (RFC 6888 REQ-8).
    pub port_rest: Duration,
    /// What an inside host is told when it gets no port.
    pub on_exhaustion: OnExhaustion,
    /// The inside addresses that have a block of ports each (RFC 7422). All its addresses then have as
    /// many ports, enough for a block of at least one.
    pub deterministic: Option<Ipv4Net>,
    /// What passes untranslated.
    pub no_translate: Vec<NoTranslate>,
    /// What is let in, on ports that no other forward has; no inside port is a forward's twice.
    pub forwards: Vec<Forward>,
    /// When idle sessions end.
    pub timeouts: Timeouts,
    /// Whether the host itself uses the same addresses; unmatched packets are then the host's.
    pub shared_with_host: bool,
}

impl NatGateway {
    /// A private gateway of profile aws with every default.
    pub fn new(name: &str, subnet: &str, private_ip: Ipv4Addr) -> Self {
        Self {
            name: name.to_owned(),
            subnet: subnet.to_owned(),
            private_ip,
            public_ips: Vec::new(),
            ports: vec![PortRange::default()],
            address_ports: Vec::new(),
            profile: Profile::Aws,
            filtering: Filtering::AddressAndPortDependent,
            max_sessions_per_client: None,
            max_ports_per_client: None,
            port_rest: Duration::ZERO,
            on_exhaustion: OnExhaustion::default(),
            deterministic: None,
            no_translate: Vec::new(),
            forwards: Vec::new(),
            timeouts: Timeouts::of(Profile::Aws),
            shared_with_host: false,
        }
    }

    /// The addresses it translates to, at least one.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        match self.public_ips.as_slice() {
            [] => std::slice::from_ref(&self.private_ip),
            public => public,
        }
    }

    /// The ports it hands out on one of its addresses.
    pub fn ports_of(&self, address: Ipv4Addr) -> &[PortRange] {
        let own = |entry: &&AddressPorts| entry.public_ip == address;
        self.address_ports
            .iter()
            .find(own)
            .map_or(&self.ports, |entry| &entry.ports)
    }
}

/// Ports `first..=last`; `1 <= first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port, included.
    pub last: u16,
}

impl PortRange {
    /// How many ports.
    pub const fn size(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// The port is in it.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl Default for PortRange {
    /// 1024-65535, as AWS's NAT gateway uses.
    fn default() -> Self {
        Self {
            first: 1024,
            last: 65535,
        }
    }
}

/// As a forward names it: one port, or the first and the last.
impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The ports of one public address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPorts {
    /// One of the gateway's addresses.
    pub public_ip: Ipv4Addr,
    /// 1 to 4 ranges that do not overlap.
    pub ports: Vec<PortRange>,
}

/// Rules of translation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// As AWS's NAT gateway: the port is kept when free, ports are overloaded per destination.
    #[default]
    Aws,
    /// As the RFCs ask for: an inside address and port has one public port towards everybody.
    Rfc,
}

/// Who outside may write to a mapping (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Whose address was written to.
    #[default]
    AddressDependent,
    /// Whose address and port were written to.
    AddressAndPortDependent,
}

/// The ICMP error for an inside host that gets no port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExhaustion {
    /// Communication administratively prohibited, 3/13 (RFC 5508 REQ-8).
    #[default]
    AdminProhibited,
    /// Host unreachable, 3/1 (RFC 6888 REQ-11).
    HostUnreachable,
    /// None.
    Silent,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
}

impl Protocol {
    /// Its IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Icmp => protocol::ICMP,
        }
    }

    /// The value in the configuration.
    pub const fn name(self) -> &'static str {
        protocol::name(self.number())
    }
}

/// Packets to a destination that are not translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTranslate {
    /// To these addresses.
    pub destination: Ipv4Net,
    /// What, and to which ports.
    pub rule: PassRule,
}

/// Packets of a protocol to some ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassRule {
    /// `None`: any protocol.
    pub protocol: Option<Protocol>,
    /// `None`: any port, and what has no port.
    pub ports: Option<PortRange>,
}

/// Public ports that lead inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The public ports.
    pub ports: PortRange,
    /// The public address, one of the gateway's.
    pub public_ip: Ipv4Addr,
    /// Where the first port leads; the next one leads to the next port there, up to 65535.
    pub to: SocketAddrV4,
}

impl Forward {
    /// The inside ports.
    pub const fn inside_ports(&self) -> PortRange {
        let first = self.to.port();
        PortRange {
            first,
            last: first.saturating_add(self.ports.last - self.ports.first),
        }
    }

    /// Every public port with the inside one it leads to.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> {
        (self.ports.first..=self.ports.last).zip(self.to.port()..=u16::MAX)
    }
}

/// How long a session may be idle, per protocol and state; whole seconds, 1 to 432,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP after its handshake, and half-closed (key `tcp`).
    pub tcp_established: Duration,
    /// TCP of which only one side has sent a SYN.
    pub tcp_opening: Duration,
    /// TCP after both sides' FIN, or a RST.
    pub tcp_closing: Duration,
    /// UDP of which only one direction has carried packets.
    pub udp: Duration,
    /// UDP of which both have.
    pub udp_stream: Duration,
    /// ICMP echo.
    pub icmp: Duration,
}

impl Timeouts {
    /// A profile's defaults. aws: 350 s for TCP and UDP as AWS's NAT gateway. rfc: 2 h 4 min for TCP
    /// (RFC 5382 REQ-5), 5 min for UDP (RFC 4787 REQ-5). Both: 4 min for opening and closing TCP (RFC
    /// 7857 section 2) and 60 s for ICMP (RFC 5508 REQ-2).
    pub const fn of(profile: Profile) -> Self {
        let (tcp, udp) = match profile {
            Profile::Aws => (350, 350),
            Profile::Rfc => (7440, 300),
        };
        Self {
            tcp_established: Duration::from_secs(tcp),
            tcp_opening: Duration::from_secs(240),
            tcp_closing: Duration::from_secs(240),
            udp: Duration::from_secs(udp),
            udp_stream: Duration::from_secs(udp),
            icmp: Duration::from_secs(60),
        }
    }
}
