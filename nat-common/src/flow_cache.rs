//! What became of the last packet of a flow, in one cache line of memory that belongs to one CPU.
//!
//! The tables of sessions and policy decide; a line only repeats their decision, as long as the policy is
//! that of then. Once in a window of some seconds the session is looked at, which also gets the line's
//! counts, and every half second the next hop. A session's clock lags behind its packets by up to a
//! window: the controller adds that to its timeouts.

use crate::{
    address::{Address, Port},
    clock::Tick,
    flow::{Flow, protocol},
    map_types::Settings,
    parse::{Ipv4Packet, Transport},
    wire::{Mac, TcpFlags},
};

/// Lines that a flow may be in, side by side.
pub const WAYS: u32 = 2;

/// Lines of each CPU for next hops.
pub const ROUTES: u32 = 1 << 12;

/// log2 of the ticks after which a next hop is looked at again.
const CHECK_SHIFT: u32 = 2;

/// log2 of the ticks in a window, for sessions of this shortest timeout, in ticks: a sixteenth of it, and
/// 8.6 s at most.
pub const fn window_shift(shortest_timeout: u32) -> u32 {
    const LONGEST: u32 = 6;
    match (shortest_timeout / 16).checked_ilog2() {
        None => 0,
        Some(shift) if shift > LONGEST => LONGEST,
        Some(shift) => shift,
    }
}

/// Ticks by which a session's clock may lag behind its packets.
pub const fn lag(window_shift: u32) -> u32 {
    (1 << window_shift) - 1
}

/// Ticks that are no more than the shortest timeout from which [`window_shift`] made this.
const fn fresh(window_shift: u32) -> u32 {
    match window_shift & 31 {
        0 => 1,
        shift => 16 << shift,
    }
}

/// When and under which policy a line was written, or is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// The tick.
    pub now: Tick,
    /// Number of the window.
    pub window: u32,
    /// Generation of the policy.
    pub epoch: u32,
    /// Of the half second, the last bits: a window has far fewer of them, and without it they mean nothing.
    pub checked: u8,
    /// Ticks within which a session that carried a packet is certainly not over.
    pub fresh: u32,
}

impl Moment {
    /// At a tick.
    #[inline(always)]
    pub const fn at(now: Tick, settings: &Settings) -> Self {
        Self {
            now,
            window: now >> (settings.window_shift & 31),
            epoch: settings.epoch,
            checked: (now >> CHECK_SHIFT) as u8,
            fresh: fresh(settings.window_shift),
        }
    }
}

/// Where packets come from: an interface, and the hook there.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origin(u32);

impl Origin {
    /// No interface.
    pub const NOWHERE: Self = Self(0);

    /// A number of an interface, and whether the hook is TC. One for which a key has no room is taken
    /// for no interface at all, number 0.
    #[inline(always)]
    pub const fn new(interface: u32, is_tc: bool) -> Self {
        if interface & !INTERFACES != 0 {
            return Self(0);
        }
        Self(interface | if is_tc { TC } else { 0 })
    }

    /// Number of the interface.
    #[inline(always)]
    pub const fn interface(self) -> u32 {
        self.0 & INTERFACES
    }

    /// There is such an interface.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.0 & INTERFACES != 0
    }
}

/// Interface numbers that a key has room for.
const INTERFACES: u32 = 0x007f_ffff;
const TC: u32 = 0x0080_0000;

/// In the place of a protocol: all between two addresses, and the way that packets go.
const PAIR: u8 = 0;
const ROUTE: u8 = 0x80;

/// A flow that comes in by an interface; also all flows between two addresses, or a way.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineKey {
    addresses: u64,
    rest: u64,
}

impl LineKey {
    /// Of one flow.
    #[inline(always)]
    pub const fn of_flow(flow: &Flow, origin: Origin) -> Self {
        Self {
            addresses: flow.source.raw() as u64 | (flow.destination.raw() as u64) << 32,
            rest: flow.source_port.raw() as u64
                | (flow.destination_port.raw() as u64) << 16
                | (origin.0 as u64) << 32
                | (flow.protocol as u64) << 56,
        }
    }

    /// Of the flows between two addresses.
    #[inline(always)]
    pub const fn of_pair(flow: &Flow, origin: Origin) -> Self {
        Self::of_kind(flow.source, flow.destination, PAIR, origin)
    }

    /// Of the way that packets of this flow go, translated. Those that go out may be routed by their
    /// source, which is one of few public IPs; those that come in are not.
    #[inline(always)]
    pub const fn of_route(flow: &Flow, inward: bool, origin: Origin) -> Self {
        let source = if inward {
            Address::UNSPECIFIED
        } else {
            flow.source
        };
        Self::of_kind(source, flow.destination, ROUTE, origin)
    }

    #[inline(always)]
    const fn of_kind(source: Address, destination: Address, kind: u8, origin: Origin) -> Self {
        Self::of_flow(
            &Flow {
                source,
                destination,
                source_port: Port::NONE,
                destination_port: Port::NONE,
                protocol: kind,
            },
            origin,
        )
    }

    /// It is one of [`LineKey::of_flow`].
    #[inline(always)]
    pub const fn is_of_flow(&self) -> bool {
        has_lines((self.rest >> 56) as u8)
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

    /// Where it comes from.
    #[inline(always)]
    pub const fn origin(&self) -> Origin {
        Origin((self.rest >> 32) as u32 & (INTERFACES | TC))
    }

    /// The interface.
    #[inline(always)]
    pub const fn interface(&self) -> u32 {
        self.origin().interface()
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
    /// When its session was last looked at.
    pub window: u32,
    /// Generation of the policy.
    pub epoch: u32,
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
    /// [`Line::OUTWARD`] and others: whose address and port they are.
    pub direction: u8,
    /// When its next hop was last looked at, as [`Moment::checked`].
    pub checked: u8,
}
const _: () = assert!(size_of::<Line>() == 64);

/// Bytes that a line counts before they have to go to the session.
const MOST_BYTES: u32 = 1 << 31;

impl Line {
    /// The sender gets address and port.
    pub const OUTWARD: u8 = 0;
    /// The receiver gets them.
    pub const INWARD: u8 = 1;
    /// The same, of packets that keep no session alive: it is looked at as often as the next hop.
    pub const INWARD_ONLY: u8 = 2;

    /// Packets go to a host inside.
    #[inline(always)]
    pub const fn is_inward(&self) -> bool {
        self.direction != Self::OUTWARD
    }

    /// Its session has to be looked at.
    #[inline(always)]
    pub const fn is_late(&self, now: Moment) -> bool {
        self.window != now.window
            || (self.direction == Self::INWARD_ONLY && self.checked != now.checked)
    }

    /// Its next hop was looked at in this half second.
    #[inline(always)]
    pub const fn is_checked(&self, now: &Moment) -> bool {
        self.window == now.window && self.checked == now.checked
    }

    /// Hands over what it has counted: packets and bytes.
    #[inline(always)]
    pub const fn take_counts(&mut self) -> (u64, u64) {
        let counts = (self.packets as u64, self.bytes as u64);
        self.packets = 0;
        self.bytes = 0;
        counts
    }

    /// It is nobody's any more, and owes nothing.
    #[inline(always)]
    pub const fn end(&mut self) {
        self.take_counts();
        self.epoch = self.epoch.wrapping_sub(1);
    }

    /// It is that of `key`, and not one of an earlier policy.
    #[inline(always)]
    pub fn is_of(&self, key: &LineKey, epoch: u32) -> bool {
        self.key == *key && self.epoch == epoch
    }

    /// There is room for a packet of this length: on the way, and in the count.
    #[inline(always)]
    pub const fn takes(&self, length: usize) -> bool {
        length <= self.mtu as usize && self.bytes < MOST_BYTES
    }

    /// Nobody looked at its session in this window: another one may have its place.
    #[inline(always)]
    pub const fn is_idle(&self, now: Moment) -> bool {
        self.window != now.window || self.epoch != now.epoch
    }

    /// Its next hop is that of another line.
    #[inline(always)]
    pub const fn follow(&mut self, route: &Self) {
        self.egress = route.egress;
        self.destination = route.destination;
        self.source = route.source;
        self.mtu = route.mtu;
        self.checked = route.checked;
    }

    /// What a packet of `flow` becomes.
    #[inline(always)]
    pub fn translate(&self, flow: &Flow) -> Flow {
        if !self.is_inward() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_is_a_small_part_of_the_shortest_timeout() {
        for timeout in [0, 1, 7, 15, 16, 31, 32, 300, 1788, 2608, u32::MAX] {
            let ticks = 1 << window_shift(timeout);
            assert!(ticks == 1 || ticks <= timeout / 16, "{timeout}: {ticks}");
            assert!(ticks <= 64);
            assert!(fresh(window_shift(timeout)) <= timeout.max(1), "{timeout}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_flow_and_where_it_comes_from(
            source in any::<u32>(), destination in any::<u32>(), ports in any::<(u16, u16)>(),
            interface in 1u32..1 << 23, is_tc in any::<bool>(), lines in 1u32..20,
        ) {
            let flow = Flow {
                source: Address::from_raw(source),
                destination: Address::from_raw(destination),
                source_port: Port::new(ports.0),
                destination_port: Port::new(ports.1),
                protocol: protocol::TCP,
            };
            let origin = Origin::new(interface, is_tc);
            let key = LineKey::of_flow(&flow, origin);
            prop_assert_eq!(key.flow(), flow);
            prop_assert_eq!(key.interface(), interface);
            prop_assert!(key.is_of_flow());
            prop_assert!(key.place(1 << lines) < 1 << lines);
            prop_assert_eq!(key.place(1 << lines) % WAYS, 0);
            prop_assert_ne!(key, LineKey::of_flow(&flow, Origin::new(interface, !is_tc)));
            for other in [LineKey::of_pair(&flow, origin), LineKey::of_route(&flow, false, origin)] {
                prop_assert!(!other.is_of_flow());
                prop_assert_ne!(key, other);
            }
        }
    }

    #[test]
    fn flows_are_spread_over_the_lines() {
        const LINES: u32 = 1 << 10;
        let mut flows = [0; LINES as usize];
        for port in 0..LINES * 8 {
            let flow = Flow {
                source: Address::from_raw(1),
                destination: Address::from_raw(2),
                source_port: Port::new((port % 60_000) as u16),
                destination_port: Port::new((port / 60_000) as u16),
                protocol: protocol::UDP,
            };
            flows[LineKey::of_flow(&flow, Origin::new(3, false)).place(LINES) as usize] += 1;
        }
        let most = flows.iter().max();
        assert!(most < Some(&45), "sixteen would be the mean: {most:?}");
    }
}
