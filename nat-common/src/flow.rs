//! Five-tuples as seen on one side of the NAT.

use crate::address::{Address, Port};

/// IP protocol numbers that are translated with ports or identifiers.
pub mod protocol {
    use network_types::ip::IpProto;

    /// ICMP.
    pub const ICMP: u8 = IpProto::Icmp as u8;
    /// TCP.
    pub const TCP: u8 = IpProto::Tcp as u8;
    /// UDP.
    pub const UDP: u8 = IpProto::Udp as u8;

    /// A NAT gateway translates it: it has ports, or identifiers for them.
    #[inline(always)]
    pub const fn is_translated(protocol: u8) -> bool {
        matches!(protocol, ICMP | TCP | UDP)
    }

    /// The name in the CLI.
    pub const fn name(protocol: u8) -> &'static str {
        match protocol {
            ICMP => "icmp",
            TCP => "tcp",
            UDP => "udp",
            _ => "other",
        }
    }
}

/// The five-tuple of a packet in its own direction. An ICMP echo request has its identifier as
/// source port, its reply as destination port; the other port is [`Port::NONE`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flow {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// Sender's port.
    pub source_port: Port,
    /// Receiver's port.
    pub destination_port: Port,
    /// IP protocol number.
    pub protocol: u8,
}

impl Flow {
    /// This flow with another source.
    #[inline(always)]
    #[must_use]
    pub const fn with_source(self, source: Address, source_port: Port) -> Self {
        Self {
            source,
            source_port,
            ..self
        }
    }

    /// This flow with another destination.
    #[inline(always)]
    #[must_use]
    pub const fn with_destination(self, destination: Address, destination_port: Port) -> Self {
        Self {
            destination,
            destination_port,
            ..self
        }
    }

    /// Of an ICMP echo with the identifier 0: requests of either end and their replies look alike.
    #[inline(always)]
    #[must_use]
    pub const fn is_echo_of_0(&self) -> bool {
        self.protocol == protocol::ICMP
            && self.source_port.raw() == 0
            && self.destination_port.raw() == 0
    }

    /// The flow of the answers.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}
