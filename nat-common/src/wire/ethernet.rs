//! Ethernet and ARP (RFC 826).

use super::Wire;
use crate::address::Address;

use network_types::eth::EthHdr;
pub use network_types::eth::EtherType;

/// A MAC address.
pub type Mac = [u8; 6];

/// Ethernet II header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EthernetHeader {
    destination: [u16; 3],
    source: [u16; 3],
    ether_type: u16,
}

// SAFETY: 16-bit fields only.
unsafe impl Wire for EthernetHeader {}

const fn mac_words(mac: Mac) -> [u16; 3] {
    [
        u16::from_ne_bytes([mac[0], mac[1]]),
        u16::from_ne_bytes([mac[2], mac[3]]),
        u16::from_ne_bytes([mac[4], mac[5]]),
    ]
}

const fn mac_bytes(words: [u16; 3]) -> Mac {
    let [a, b] = words[0].to_ne_bytes();
    let [c, d] = words[1].to_ne_bytes();
    let [e, f] = words[2].to_ne_bytes();
    [a, b, c, d, e, f]
}

impl EthernetHeader {
    /// Length in bytes.
    pub const LEN: usize = EthHdr::LEN;

    /// A header.
    #[inline(always)]
    pub const fn new(destination: Mac, source: Mac, ether_type: EtherType) -> Self {
        Self {
            destination: mac_words(destination),
            source: mac_words(source),
            ether_type: ether_type as u16,
        }
    }

    /// Of the answer to this frame.
    #[inline(always)]
    #[must_use]
    pub const fn answer(&self) -> Self {
        Self {
            destination: self.source,
            source: self.destination,
            ether_type: self.ether_type,
        }
    }

    /// It is of this type.
    #[inline(always)]
    pub const fn is(&self, ether_type: EtherType) -> bool {
        // network-types keeps its values in network byte order, as they stand in the frame.
        self.ether_type == ether_type as u16
    }

    /// Receiver.
    #[inline(always)]
    pub const fn destination(&self) -> Mac {
        mac_bytes(self.destination)
    }

    /// Sender.
    pub const fn source(&self) -> Mac {
        mac_bytes(self.source)
    }
}

/// ARP for Ethernet and IPv4.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ArpPacket {
    hardware: u16,
    protocol: u16,
    lengths: [u8; 2],
    operation: u16,
    sender_mac: Mac,
    sender_ip: [u8; 4],
    target_mac: Mac,
    target_ip: [u8; 4],
}

// SAFETY: 28 bytes without padding, checked below.
unsafe impl Wire for ArpPacket {}
const _: () = assert!(size_of::<ArpPacket>() == 28);

impl ArpPacket {
    const REQUEST: u16 = 1u16.to_be();
    const REPLY: u16 = 2u16.to_be();

    /// It asks for the MAC address of an IPv4 address on Ethernet.
    pub const fn is_request(&self) -> bool {
        self.hardware == 1u16.to_be()
            && self.protocol == EtherType::Ipv4 as u16
            && self.lengths[0] == 6
            && self.lengths[1] == 4
            && self.operation == Self::REQUEST
    }

    /// The address asked for.
    pub const fn target(&self) -> Address {
        Address::from_wire(self.target_ip)
    }

    /// The asker's MAC address.
    pub const fn sender_mac(&self) -> Mac {
        self.sender_mac
    }

    /// The answer to this request: its target is at `mac`.
    #[must_use]
    pub const fn answer(&self, mac: Mac) -> Self {
        Self {
            operation: Self::REPLY,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
            ..*self
        }
    }
}
