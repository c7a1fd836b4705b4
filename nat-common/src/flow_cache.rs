//! What became of the last packet of a flow, in one cache line of memory that belongs to one CPU.
//!
//! The tables of sessions and policy decide; a line only repeats their decision. It holds for a
//! window of about half a second in which one packet of its flow went through the tables, and as long
//! as the policy is that of then: whatever is looked at when a packet goes through them is looked at
//! again, and a session's clock lags behind its packets by less than its grace.

use crate::{
    address::{Address, Port},
    clock::Tick,
    flow::{Flow, protocol},
    parse::{Ipv4Packet, Transport},
    wire::{Mac, TcpFlags},
};

/// Lines that a flow may be in, side by side.
pub const WAYS: u32 = 2;

/// log2 of the ticks in a window. A window is shorter than [`crate::lifecycle::GRACE`].
pub const WINDOW_SHIFT: u32 = 2;

/// When and under which policy a line was written, or is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// Number of the window; no line was written in window 0.
    pub window: u32,
    /// Generation of the policy.
    pub epoch: u32,
}

impl Moment {
    /// At a tick.
    #[inline(always)]
    pub const fn at(now: Tick, epoch: u32) -> Self {
        Self {
            window: (now >> WINDOW_SHIFT) + 1,
            epoch,
        }
    }
}

/// A flow that comes in by an interface, or with [`LineKey::of_pair`] all flows between two addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineKey {
    addresses: u64,
    rest: u64,
}

impl LineKey {
    /// Of one flow.
    #[inline(always)]
    pub const fn of_flow(flow: &Flow, interface: u32) -> Self {
        Self {
            addresses: flow.source.raw() as u64 | (flow.destination.raw() as u64) << 32,
            rest: flow.source_port.raw() as u64
                | (flow.destination_port.raw() as u64) << 16
                | ((interface & INTERFACES) as u64) << 32
                | (flow.protocol as u64) << 56,
        }
    }

    /// Of the flows between two addresses.
    #[inline(always)]
    pub const fn of_pair(flow: &Flow, interface: u32) -> Self {
        Self::of_flow(
            &Flow {
                source: flow.source,
                destination: flow.destination,
                source_port: Port::NONE,
                destination_port: Port::NONE,
                protocol: 0,
            },
            interface,
        )
    }

    /// There is room for the number of this interface.
    #[inline(always)]
    pub const fn has_room_for(interface: u32) -> bool {
        interface & !INTERFACES == 0
    }

    /// The flow.
    #[inline(always)]
    pub const fn flow(&self) -> Flow {
        Flow {
            source: Address::from_raw(self.addresses as u32),
            destination: Address::from_raw((self.addresses >> 32) as u32),
            source_port: Port::from_raw(self.rest as u16),
            destination_port: Port::from_raw((self.rest >> 16) as u16),
            protocol: (self.rest >> 56) as u8,
        }
    }

    /// The interface.
    #[inline(always)]
    pub const fn interface(&self) -> u32 {
        (self.rest >> 32) as u32 & INTERFACES
    }

    /// Which of `lines` lines, a power of two, is the first it may be in.
    #[inline(always)]
    pub const fn place(&self, lines: u32) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.addresses ^ self.rest.rotate_left(29)).wrapping_mul(ODD);
        let mixed = (mixed ^ mixed >> 29 ^ self.rest).wrapping_mul(ODD);
        (mixed >> 40) as u32 & lines.wrapping_sub(1) & !(WAYS - 1)
    }
}

/// Interface numbers that a key has room for.
const INTERFACES: u32 = 0x00ff_ffff;

/// See the module. All-zero is a line of nobody.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// Whose it is.
    pub key: LineKey,
    /// The address that its packets are sent to on the wire.
    pub own: Mac,
    /// Longest packet that may go on, in bytes.
    pub mtu: u16,
    /// When it was written.
    pub moment: Moment,
    /// Index of the interface it goes on by.
    pub egress: u32,
    /// Packets that went on by it, and are in no session's count yet.
    pub packets: u32,
    /// Bytes of those.
    pub bytes: u32,
    /// The address that packets get.
    pub address: Address,
    /// The address on the wire that they go on to.
    pub destination: Mac,
    /// The address on the wire that they go on from.
    pub source: Mac,
    /// The port that packets get, unless it is [`Port::NONE`].
    pub port: Port,
    /// Not 0: address and port are those of the receiver, not of the sender.
    pub inward: u8,
    /// Zero.
    pub reserved: u8,
}
const _: () = assert!(size_of::<Line>() == 64);

/// Bytes that a line counts before they have to go to the session.
const MOST_BYTES: u32 = 1 << 31;

impl Line {
    /// It holds for a packet of `key` and this many bytes.
    #[inline(always)]
    pub fn holds(&self, key: &LineKey, now: Moment, length: usize) -> bool {
        self.key == *key
            && self.moment == now
            && length <= self.mtu as usize
            && self.bytes < MOST_BYTES
    }

    /// What a packet of `flow` becomes.
    #[inline(always)]
    pub fn translate(&self, flow: &Flow) -> Flow {
        if self.inward == 0 {
            let port = if self.port == Port::NONE {
                flow.source_port
            } else {
                self.port
            };
            flow.with_source(self.address, port)
        } else {
            let port = if self.port == Port::NONE {
                flow.destination_port
            } else {
                self.port
            };
            flow.with_destination(self.address, port)
        }
    }
}

/// Packets of this kind may go on by a line: they change nothing in their session but its clock and
/// its counters. One that opens or closes a connection does not.
#[inline(always)]
pub fn is_plain(packet: &Ipv4Packet) -> bool {
    let is_plain = match packet.transport {
        Transport::Tcp => {
            let marks = TcpFlags::SYN.or(TcpFlags::FIN).or(TcpFlags::RST);
            !packet.flags.any(marks) && packet.flags.any(TcpFlags::ACK)
        }
        Transport::Udp => true,
        _ => false,
    };
    is_plain && packet.is_whole() && packet.ttl > 1
}

/// A flow of this protocol may have a line.
#[inline(always)]
pub const fn has_lines(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP)
}
