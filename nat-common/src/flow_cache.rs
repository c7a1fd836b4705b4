//! What became of the last packet of a flow, in half a cache line of memory that belongs to one CPU; where
//! packets go on to that go one way, in a whole one; and the next hops that are many ways'.
//!
//! The tables of sessions and policy decide; what is here only repeats their decision, as long as the
//! policy is that of then. Once in a window of some seconds the session is looked at, which also gets the
//! line's counts, and every half second the next hop, which lines know by its number. A session's clock lags
//! behind its packets by up to a window: the controller adds that to its timeouts.

use crate::{
    address::{Address, Port},
    clock::Tick,
    flow::{Flow, protocol},
    map_types::Settings,
    parse::{Ipv4Packet, Transport},
    wire::{Mac, TcpFlags},
};

/// Lines that a flow may be in, side by side, in each of two places.
pub const WAYS: u32 = 4;

/// And in all.
pub const CANDIDATES: u32 = 2 * WAYS;

/// Places of a path, and of a hop.
pub const PLACES: u32 = 4;

/// Paths of each CPU.
pub const PATHS: u32 = 1 << 16;

/// Hops of each CPU. A line has room for their numbers.
pub const HOPS: u32 = 1 << 15;
const _: () = assert!(HOPS < u16::MAX as u32);

/// log2 of the ticks after which a next hop is looked at again.
const CHECK_SHIFT: u32 = 2;

/// Of the longest window.
const LONGEST_WINDOW_SHIFT: u32 = 6;

/// log2 of the ticks in a window, for sessions of this shortest timeout, in ticks: a sixteenth of it, and
/// 8.6 s at most.
pub const fn window_shift(shortest_timeout: u32) -> u32 {
    match (shortest_timeout / 16).checked_ilog2() {
        None => 0,
        Some(shift) if shift > LONGEST_WINDOW_SHIFT => LONGEST_WINDOW_SHIFT,
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

/// When and under which policy something here was written, or is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// The tick.
    pub now: Tick,
    /// Number of the window.
    pub window: u32,
    /// Generation of the policy.
    pub epoch: u32,
    /// Number of the half second; the first one is 1.
    pub half_second: u32,
    /// Ticks within which a session that carried a packet is certainly not over.
    pub fresh: u32,
}

impl Moment {
    /// At a tick.
    #[inline(always)]
    pub const fn at(now: Tick, epoch: u32, settings: &Settings) -> Self {
        Self {
            now,
            window: now >> (settings.window_shift & 31),
            epoch,
            half_second: (now >> CHECK_SHIFT) + 1,
            fresh: fresh(settings.window_shift),
        }
    }
}

/// Where packets come from: an interface, and the hook there.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origin(u32);

impl Origin {
    /// A number of an interface, and whether the hook is TC. One for which a key has no room is taken
    /// for no interface at all, number 0.
    #[inline(always)]
    pub const fn new(interface: u32, is_tc: bool) -> Self {
        if interface & !INTERFACES != 0 {
            return Self(0);
        }
        Self(interface | if is_tc { TC } else { 0 })
    }

    /// In 24 bits.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The inverse of [`Origin::raw`].
    #[inline(always)]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
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
        Self::of_kind(flow.source, flow.destination, 0, PAIR, origin)
    }

    /// Of the way that packets of `flow` go, which become `to`. Those that a forward half carries may be
    /// routed by their source, which is one of few public IPs. The others go to a host inside: of two
    /// that have the same address in two VPCs, the public IP tells which. Where that tells nothing, as at
    /// endpoints, `vpc` is the receiver's; otherwise 0.
    #[inline(always)]
    pub const fn of_route(
        flow: &Flow,
        to: &Flow,
        is_answer: bool,
        vpc: u16,
        origin: Origin,
    ) -> Self {
        let source = if is_answer {
            flow.destination
        } else {
            to.source
        };
        Self::of_kind(source, to.destination, vpc, ROUTE, origin)
    }

    #[inline(always)]
    const fn of_kind(
        source: Address,
        destination: Address,
        vpc: u16,
        kind: u8,
        origin: Origin,
    ) -> Self {
        Self::of_flow(
            &Flow {
                source,
                destination,
                source_port: Port::from_raw(vpc),
                destination_port: Port::NONE,
                protocol: kind,
            },
            origin,
        )
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

    /// Which of `places` places, a power of two, is the first it may be in. The others are those whose numbers
    /// differ from it in the last bits alone.
    #[inline(always)]
    pub const fn place(&self, places: u32) -> u32 {
        self.mixed().0 & places.wrapping_sub(1)
    }

    /// The same of `lines` lines, and the first of those that it may be in when they are taken.
    #[inline(always)]
    pub const fn places(&self, lines: u32) -> (u32, u32) {
        let (first, second) = self.mixed();
        let bits = lines.wrapping_sub(1);
        (first & bits, second & bits)
    }

    #[inline(always)]
    const fn mixed(&self) -> (u32, u32) {
        mixed(self.addresses, self.rest)
    }
}

/// Two numbers of 24 bits: evenly spread, and the same for the same words.
#[inline(always)]
const fn mixed(first: u64, second: u64) -> (u32, u32) {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (first ^ second.rotate_left(29)).wrapping_mul(ODD);
    let mixed = (mixed ^ mixed >> 29 ^ second).wrapping_mul(ODD);
    // Its first bits alone are mixed with all others.
    let again = (mixed ^ mixed >> 32).wrapping_mul(ODD);
    ((mixed >> 40) as u32, (again >> 40) as u32)
}

/// How packets go on, as the host told one of them. All-zero is nobody's.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hop {
    /// Index of the interface that they go on by.
    pub egress: u32,
    /// The half second in which the host was asked; of a hop that lines know by its number, the last one in
    /// which a line was told it. Nobody else gets the place as long as that lasts.
    pub half_second: u32,
    /// The address that they are sent to on the wire.
    pub own: Mac,
    /// Longest packet that may go on, in bytes.
    pub mtu: u16,
    /// The address on the wire that they go on to.
    pub destination: Mac,
    /// The address on the wire that they go on from.
    pub source: Mac,
    /// Zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Hop>() == 32);

impl Hop {
    /// The host was asked in this half second.
    #[inline(always)]
    pub const fn is_checked(&self, now: &Moment) -> bool {
        self.half_second == now.half_second
    }

    /// It is the same next hop.
    #[inline(always)]
    pub fn equals(&self, other: &Self) -> bool {
        let half_second = self.half_second;
        *self
            == Self {
                half_second,
                ..*other
            }
    }

    /// The first place it may be in, of [`HOPS`]. The others are those whose numbers differ from it in the
    /// last bits alone, as those of paths and lines.
    #[inline(always)]
    pub const fn place(&self) -> u32 {
        let [a, b, c, d, e, f] = self.destination;
        let station = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        mixed(station, self.egress as u64).0 & (HOPS - 1)
    }
}

/// What a flow's packets become. All-zero is a line of nobody.
#[repr(C, align(32))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// Whose it is.
    pub key: LineKey,
    /// The address that packets get.
    pub address: Address,
    /// Packets that went on by it, and are in no session's count yet, before [`BYTES_BITS`] for their bytes.
    counts: u32,
    /// The port that packets get.
    pub port: Port,
    /// One more than the number of the hop by which they go on.
    hop: u16,
    /// [`Age::generation`] of when it was written; 0 is none.
    pub generation: u16,
    /// Whose address and port they are, the half second of that hop, and the window in which its session was
    /// last looked at.
    state: u16,
}
const _: () = assert!(size_of::<Line>() == 32);

/// Bytes that a line counts before they have to go to the session, and packets in the other bits.
const BYTES_BITS: u32 = 22;
const MOST_BYTES: u64 = (1 << BYTES_BITS) - 1;
const MOST_PACKETS: u64 = (1 << (u32::BITS - BYTES_BITS)) - 1;

/// Bits of a window's number that a line has room for.
const WINDOW_BITS: u32 = 8;

/// And of a half second's, which are all that differ within a window.
const HALF_SECOND_BITS: u32 = 5;
const _: () = assert!(LONGEST_WINDOW_SHIFT < CHECK_SHIFT + HALF_SECOND_BITS);

/// Behind both is the direction.
const DIRECTION: u32 = WINDOW_BITS + HALF_SECOND_BITS;

/// When a line is written or read, as its CPU counts. All lines of another generation are void: each policy
/// begins one, and so does each time when the numbers of windows in the lines begin again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Age {
    /// Not 0.
    pub generation: u16,
    /// Its last bits count.
    pub window: u32,
}

/// Of what a CPU's lines are void when it changes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Era {
    epoch: u32,
    windows: u32,
}

impl Era {
    /// At a moment.
    #[inline(always)]
    pub const fn at(now: &Moment) -> Self {
        Self {
            epoch: now.epoch,
            windows: now.window >> WINDOW_BITS,
        }
    }
}

/// Whose address and port a line has.
#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The sender gets them.
    Outward = 0,
    /// The receiver gets them.
    Inward = 1 << DIRECTION,
    /// The same, of packets that keep no session alive: it is looked at for each of them.
    InwardOnly = 2 << DIRECTION,
    /// The receiver keeps them: answers within a VPC.
    Answer = 3 << DIRECTION,
    /// As [`Direction::Outward`], without a session: rules alone let its packets pass.
    SteadyOutward = 4 << DIRECTION,
    /// As [`Direction::Inward`], without a session.
    SteadyInward = 5 << DIRECTION,
}

impl Line {
    const WINDOW: u16 = (1 << WINDOW_BITS) - 1;

    const HALF_SECOND: u16 = ((1 << HALF_SECOND_BITS) - 1) << WINDOW_BITS;

    const DIRECTION: u16 = !(Self::WINDOW | Self::HALF_SECOND);

    const STEADY: u16 = Direction::SteadyOutward as u16;

    /// The receiver gets its address and port, or keeps its own: a reverse half carries its packets, if a
    /// session does.
    #[inline(always)]
    pub const fn is_inward(&self) -> bool {
        self.state & Self::DIRECTION & !Self::STEADY != Direction::Outward as u16
    }

    /// No session carries its packets: it holds for a window.
    #[inline(always)]
    pub const fn is_steady(&self) -> bool {
        self.state & Self::STEADY != 0
    }

    /// And one of a session within a VPC.
    #[inline(always)]
    pub const fn is_answer(&self) -> bool {
        self.state & Self::DIRECTION == Direction::Answer as u16
    }

    /// Its session has to be looked at.
    #[inline(always)]
    pub const fn is_late(&self, age: Age) -> bool {
        !self.is_of_window(age) || self.state & Self::DIRECTION == Direction::InwardOnly as u16
    }

    #[inline(always)]
    const fn is_of_window(&self, age: Age) -> bool {
        self.state & Self::WINDOW == age.window as u16 & Self::WINDOW
    }

    #[inline(always)]
    const fn half_second(now: &Moment) -> u16 {
        ((now.half_second << WINDOW_BITS) as u16) & Self::HALF_SECOND
    }

    /// The number of the hop by which its packets go on, if it was told one in this half second.
    #[inline(always)]
    pub const fn hop(&self, age: Age, now: &Moment) -> Option<u32> {
        if self.is_of_window(age) && self.state & Self::HALF_SECOND == Self::half_second(now) {
            return (self.hop as u32).checked_sub(1);
        }
        None
    }

    /// From now on it knows that hop, until the half second is over; nor is one that is not looked at in
    /// this window.
    #[inline(always)]
    pub const fn go_by(&mut self, hop: u32, now: &Moment) {
        self.hop = hop as u16 + 1;
        self.state = (self.state & !Self::HALF_SECOND) | Self::half_second(now);
    }

    /// It knows no hop.
    #[inline(always)]
    pub const fn forget_hop(&mut self) {
        self.hop = 0;
    }

    /// Its session was looked at.
    #[inline(always)]
    pub const fn look(&mut self, age: Age) {
        self.state = (self.state & !Self::WINDOW) | (age.window as u16 & Self::WINDOW);
    }

    /// It gets this direction.
    #[inline(always)]
    pub const fn turn(&mut self, direction: Direction) {
        self.state = direction as u16 | (self.state & !Self::DIRECTION);
    }

    /// Hands over what it has counted: packets and bytes.
    #[inline(always)]
    pub const fn take_counts(&mut self) -> (u64, u64) {
        let counts = (self.packets(), self.bytes());
        self.counts = 0;
        counts
    }

    /// Packets that it has counted.
    #[inline(always)]
    pub const fn packets(&self) -> u64 {
        (self.counts >> BYTES_BITS) as u64
    }

    /// And their bytes.
    #[inline(always)]
    pub const fn bytes(&self) -> u64 {
        self.counts as u64 & MOST_BYTES
    }

    /// Counts packets and bytes for which there is room.
    #[inline(always)]
    pub const fn count(&mut self, packets: u64, bytes: u64) {
        self.counts = self
            .counts
            .wrapping_add((packets << BYTES_BITS | bytes) as u32);
    }

    /// It is nobody's any more, and owes nothing.
    #[inline(always)]
    pub const fn end(&mut self) {
        self.take_counts();
        self.generation = 0;
    }

    /// It is that of `key`, and not void.
    #[inline(always)]
    pub fn is_of(&self, key: &LineKey, age: Age) -> bool {
        self.key == *key && self.generation == age.generation
    }

    /// There is room for so many more.
    #[inline(always)]
    pub const fn has_room(&self, packets: u64, bytes: u64) -> bool {
        self.bytes() + bytes <= MOST_BYTES && self.packets() + packets <= MOST_PACKETS
    }

    /// Nobody looked at its session in this window: another one may have its place.
    #[inline(always)]
    pub const fn is_idle(&self, age: Age) -> bool {
        !self.is_of_window(age) || self.generation != age.generation
    }

    /// What a packet of `flow` becomes.
    #[inline(always)]
    pub fn translate(&self, flow: &Flow) -> Flow {
        if self.is_inward() {
            flow.with_destination(self.address, self.port)
        } else {
            flow.with_source(self.address, self.port)
        }
    }
}

/// Where packets go on to: those that become a flow with this receiver, or those between two addresses,
/// which are translated without a session. All-zero is nobody's.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Path {
    /// Whose it is.
    pub key: LineKey,
    /// Where they go on to.
    pub hop: Hop,
    /// Generation of the policy.
    pub epoch: u32,
    /// The next router or the receiver; between two addresses, the address that packets get.
    pub address: Address,
    /// The receiver gets the address.
    pub is_inward: bool,
    reserved: [u8; 7],
}
const _: () = assert!(size_of::<Path>() == 64);

impl Path {
    /// It is that of `key`, and not one of an earlier policy.
    #[inline(always)]
    pub fn is_of(&self, key: &LineKey, epoch: u32) -> bool {
        self.key == *key && self.epoch == epoch
    }

    /// Packets may take it now.
    #[inline(always)]
    pub const fn counts(&self, now: &Moment) -> bool {
        self.hop.is_checked(now) && self.epoch == now.epoch
    }

    /// What a packet of `flow` becomes, between two addresses.
    #[inline(always)]
    pub fn translate(&self, flow: &Flow) -> Flow {
        if self.is_inward {
            flow.with_destination(self.address, flow.destination_port)
        } else {
            flow.with_source(self.address, flow.source_port)
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
            prop_assert!(key.place(1 << lines) < 1 << lines);
            prop_assert_ne!(key, LineKey::of_flow(&flow, Origin::new(interface, !is_tc)));
            for other in [LineKey::of_pair(&flow, origin), LineKey::of_route(&flow, &flow, false, 7, origin)] {
                prop_assert_ne!(key, other);
            }
        }
    }

    const NOW: Tick = 1_000_000;

    fn moment(now: Tick) -> (Age, Moment) {
        let settings = Settings {
            window_shift: LONGEST_WINDOW_SHIFT,
            ..Settings::default()
        };
        let now = Moment::at(now, 2, &settings);
        let (generation, window) = (1, now.window);
        (Age { generation, window }, now)
    }

    #[test]
    fn a_line_knows_its_hop_for_the_rest_of_the_half_second() {
        // Within the window's age, whose numbers begin again with another generation.
        for later in 0..64 << WINDOW_BITS {
            let mut line = Line::default();
            let (age, now) = moment(NOW);
            line.look(age);
            assert_eq!(line.hop(age, &now), None);
            line.go_by(HOPS - 1, &now);
            let (age, after) = moment(NOW + later);
            let is_same = now.half_second == after.half_second;
            // Of the same window of another generation it would be void.
            if Era::at(&now) == Era::at(&after) {
                assert_eq!(
                    line.hop(age, &after),
                    is_same.then_some(HOPS - 1),
                    "{later}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn what_a_line_knows_is_apart(
            now in NOW..2 * NOW, hop in 0..HOPS, direction in 0u16..6, packets in 1u64..40, bytes in 1u64..65_536,
        ) {
            let (age, now) = moment(now);
            let directions = [
                Direction::Outward, Direction::Inward, Direction::InwardOnly, Direction::Answer,
                Direction::SteadyOutward, Direction::SteadyInward,
            ];
            let direction = directions[direction as usize];
            let mut line = Line::default();
            line.look(age);
            line.go_by(hop, &now);
            line.turn(direction);
            let (mut count, mut length) = (0, 0);
            while line.has_room(packets, bytes) {
                line.count(packets, bytes);
                count += packets;
                length += bytes;
            }
            prop_assert!(count + packets > MOST_PACKETS || length + bytes > MOST_BYTES);
            prop_assert_eq!((line.packets(), line.bytes()), (count, length));
            prop_assert_eq!(line.hop(age, &now), Some(hop));
            prop_assert_eq!(line.is_late(age), direction == Direction::InwardOnly);
            prop_assert_eq!(line.is_answer(), direction == Direction::Answer);
            prop_assert_eq!(
                line.is_steady(),
                matches!(direction, Direction::SteadyOutward | Direction::SteadyInward)
            );
            prop_assert_eq!(
                line.is_inward(),
                !matches!(direction, Direction::Outward | Direction::SteadyOutward)
            );
            prop_assert_eq!(line.take_counts(), (count, length));
            prop_assert_eq!(line.take_counts(), (0, 0));
        }
    }

    #[test]
    fn hops_are_spread_and_equal_whenever_the_host_was_asked() {
        let mut places = std::collections::HashSet::new();
        for last in 0..=255 {
            let hop = Hop {
                egress: 3,
                destination: [2, 0, 0, 0, 0, last],
                ..Hop::default()
            };
            places.insert(hop.place());
            let later = Hop {
                half_second: 7,
                ..hop
            };
            assert!(hop.equals(&later) && hop.place() == later.place());
            assert!(!hop.equals(&Hop { mtu: 1280, ..hop }));
            assert!(!hop.equals(&Hop { own: [2; 6], ..hop }));
        }
        assert!(places.len() > 250, "{}", places.len());
    }

    #[test]
    fn flows_are_spread_over_the_lines() {
        const LINES: u32 = 1 << 10;
        let flow = |number: u32| Flow {
            source: Address::from_raw(1),
            destination: Address::from_raw(2),
            source_port: Port::new(number as u16),
            destination_port: Port::new(443),
            protocol: protocol::UDP,
        };
        let host = |number: u32| Flow {
            source: Address::from_wire([10, 0, (number >> 8) as u8, number as u8]),
            source_port: Port::new(4_000),
            ..flow(0)
        };
        let ways: [&dyn Fn(u32) -> Flow; 4] =
            [&flow, &|number| flow(number).reversed(), &host, &|number| {
                host(number).reversed()
            }];
        for flow in ways {
            let mut flows = [[0; (LINES / WAYS) as usize]; 2];
            let mut pairs = std::collections::HashSet::new();
            for number in 0..LINES * 8 {
                let key = LineKey::of_flow(&flow(number), Origin::new(3, false));
                let (first, second) = key.places(LINES);
                assert_eq!(first, key.place(LINES));
                for (place, flows) in [first, second].into_iter().zip(&mut flows) {
                    flows[(place / WAYS) as usize] += 1;
                }
                pairs.insert((first / WAYS, second / WAYS));
            }
            for flows in flows {
                let most = flows.iter().max();
                assert!(most < Some(&65), "thirty-two would be the mean: {most:?}");
            }
            // Those that meet in one place have other places each: 8,192 flows, and 65,536 pairs of places.
            assert!(pairs.len() > 7_500, "{}", pairs.len());
        }
    }
}
