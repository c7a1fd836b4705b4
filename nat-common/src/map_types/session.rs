//! Halves of sessions: one session is a forward and a reverse one.

use crate::{
    address::{Address, Port},
    clock::Tick,
    flow::Flow,
    flow_cache::Origin,
    lifecycle::State,
    map_types::{Far, TRACKER},
    tcp_state,
    wire::{TcpFlags, Wire},
};

/// A flow in one VPC, or outside, where there are none: that is VPC 0. The two highest bits of a VPC say
/// more: [`SessionKey::ANSWERS`] and [`SessionKey::VIA_INSTANCE`]. Two words, because keys are compared
/// for every packet.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SessionKey {
    /// Source and destination, as they stand in the packet.
    addresses: u64,
    /// Source port, destination port, VPC, protocol and a byte of zero.
    rest: u64,
}
const _: () = assert!(size_of::<SessionKey>() == 16);

// SAFETY: 16 bytes without padding, checked above.
unsafe impl Wire for SessionKey {}

impl SessionKey {
    /// Nobody's.
    pub const NONE: Self = Self {
        addresses: 0,
        rest: 0,
    };
    /// Of the answers to a flow within the VPC, which are in the VPC, too.
    pub const ANSWERS: u16 = 1 << 15;
    /// Of a flow on its way to an instance that a route leads to. It may come back from there on its way
    /// to somewhere else, and is another session then.
    pub const VIA_INSTANCE: u16 = 1 << 14;

    /// Key of the forward half: `flow` as the inside host sends it.
    #[inline(always)]
    pub const fn forward(flow: &Flow, vpc: u16) -> Self {
        let source = (flow.source, flow.source_port);
        let destination = (flow.destination, flow.destination_port);
        Self::between(source, destination, flow.protocol, vpc)
    }

    /// Key of a flow from one end to another in this scope.
    #[inline(always)]
    pub const fn between(
        (source, source_port): (Address, Port),
        (destination, destination_port): (Address, Port),
        protocol: u8,
        scope: u16,
    ) -> Self {
        Self {
            addresses: source.raw() as u64 | (destination.raw() as u64) << 32,
            rest: source_port.raw() as u64
                | (destination_port.raw() as u64) << 16
                | (scope as u64) << 32
                | (protocol as u64) << 48,
        }
    }

    /// Key of the reverse half: `flow` as it comes back to the public address.
    #[inline(always)]
    pub const fn reverse(flow: &Flow) -> Self {
        Self::forward(flow, 0)
    }

    /// Key of the reverse half of a session that translates nothing: `flow` as it comes back. `scope` is
    /// the VPC and what else the forward half's key says.
    #[inline(always)]
    pub const fn answers(flow: &Flow, scope: u16) -> Self {
        Self::forward(flow, scope | Self::ANSWERS)
    }

    /// Of the same flow on its way to an instance.
    #[inline(always)]
    #[must_use]
    pub const fn via_instance(self) -> Self {
        Self {
            rest: self.rest | (Self::VIA_INSTANCE as u64) << 32,
            ..self
        }
    }

    /// It is that of a forward half.
    #[inline(always)]
    pub const fn is_forward(&self) -> bool {
        self.scope() != 0 && self.scope() & Self::ANSWERS == 0
    }

    /// The flow it is made of.
    #[inline(always)]
    pub const fn flow(&self) -> Flow {
        let ((source, source_port), (destination, destination_port)) =
            (self.source(), self.destination());
        Flow {
            source,
            destination,
            source_port,
            destination_port,
            protocol: self.protocol(),
        }
    }

    /// The sender and its port.
    #[inline(always)]
    pub const fn source(&self) -> (Address, Port) {
        (
            Address::from_raw(self.addresses as u32),
            Port::from_raw(self.rest as u16),
        )
    }

    /// The receiver and its port.
    #[inline(always)]
    pub const fn destination(&self) -> (Address, Port) {
        (
            Address::from_raw((self.addresses >> 32) as u32),
            Port::from_raw((self.rest >> 16) as u16),
        )
    }

    /// IP protocol number.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        (self.rest >> 48) as u8
    }

    /// The bytes as they stand in the map.
    pub fn to_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.addresses.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.rest.to_ne_bytes());
        bytes
    }

    /// The VPC; 0 outside.
    #[inline(always)]
    pub const fn vpc(&self) -> u16 {
        self.scope() & !(Self::ANSWERS | Self::VIA_INSTANCE)
    }

    /// The VPC and the bits above it.
    #[inline(always)]
    pub const fn scope(&self) -> u16 {
        (self.rest >> 32) as u16
    }

    /// Spreads keys over all 64-bit numbers, differently for each `seed`, which strangers do not know.
    #[inline(always)]
    pub const fn hash(&self, seed: u64) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        const OTHER: u64 = 0xd6e8_feb8_6659_fd93;
        let mixed = (self.addresses ^ seed).wrapping_mul(ODD);
        let mixed = (mixed ^ mixed >> 32 ^ self.rest)
            .wrapping_add(seed)
            .wrapping_mul(OTHER);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(ODD);
        mixed ^ mixed >> 29
    }

    /// Thirty bits that tell this key from the one whose element may reuse the memory.
    #[inline(always)]
    const fn tag(&self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.addresses ^ self.rest.rotate_left(29)).wrapping_mul(ODD);
        ((mixed ^ self.rest.wrapping_mul(ODD)) >> 34) as u32
    }

    /// What [`Session::mark`] reads while the session of this key is in `state`.
    #[inline(always)]
    pub const fn mark(&self, state: State) -> u32 {
        let state = match state {
            State::Live => 1,
            State::Dying => 2,
            State::Dead => 3,
        };
        self.tag() << 2 | state
    }
}

/// One direction's half of a session. Each direction writes only its own half. One that [`Holds::FAR`] keeps
/// its other end in the upper parts of what it counts: halves are as large as a line of the CPU's cache.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Session {
    mapped_address: Address,
    mapped_port: Port,
    owner: u16,
    /// Changed by compare-and-swap only; see [`Mark`].
    pub mark: u64,
    last_seen: Tick,
    tcp_seen: u8,
    holds: u8,
    gateway: u16,
    packets: u64,
    bytes: u64,
    passed: Passed,
}
const _: () = assert!(size_of::<Session>() == 48);

/// The part of the counts that a half with a far end has for itself.
const FAR_PACKETS: u64 = u32::MAX as u64;
const FAR_PORT_SHIFT: u32 = 48;
const FAR_BYTES: u64 = (1 << FAR_PORT_SHIFT) - 1;

/// Where and under which policy a half's packets last went the whole way through the stages, in one word:
/// the generation of the policy, the origin, and the last bits of when the session was made, so that it is
/// not taken for another one's that had the same memory.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed(u64);

impl Passed {
    /// Of a session that was made then, in ticks of which the last bits count.
    #[inline(always)]
    pub const fn new(epoch: u32, origin: Origin, made: u16) -> Self {
        Self((epoch as u64) << 32 | (origin.raw() as u64) << 8 | (made & 0xff) as u64)
    }

    /// Generation of the policy.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Where they came in.
    pub const fn origin(self) -> Origin {
        Origin::from_raw((self.0 >> 8) as u32 & 0x00ff_ffff)
    }
}

impl Session {
    /// A half that has carried nothing yet. Packets of its direction have their source (forward) or
    /// destination (reverse) replaced by `mapped`; `owner` is the NAT gateway's number (forward) or
    /// the scope of the forward half's key (reverse).
    #[inline(always)]
    pub const fn new(
        key: &SessionKey,
        mapped_address: Address,
        mapped_port: Port,
        owner: u16,
        now: Tick,
    ) -> Self {
        Self {
            mapped_address,
            mapped_port,
            owner,
            mark: Mark::new(key.mark(State::Live), now).0,
            last_seen: now,
            tcp_seen: 0,
            holds: 0,
            gateway: TRACKER as u16,
            packets: 0,
            bytes: 0,
            passed: Passed(0),
        }
    }

    /// Writes all but the mark, which makes a half somebody's.
    ///
    /// # Safety
    ///
    /// `to` is valid and aligned, and nobody else writes there.
    #[inline(always)]
    pub unsafe fn copy_without_mark(&self, to: *mut Self) {
        const WORDS: usize = size_of::<Session>() / 8;
        const MARK: usize = core::mem::offset_of!(Session, mark) / 8;
        let (from, to) = ((&raw const *self).cast::<u64>(), to.cast::<u64>());
        for word in 0..WORDS {
            if word != MARK {
                // SAFETY: both are of that many words, and `to` is as the caller says.
                unsafe { to.add(word).write_volatile(from.add(word).read()) };
            }
        }
    }

    /// Where its packets last went the whole way, read in this moment.
    #[inline(always)]
    pub fn passed(&self) -> Passed {
        // SAFETY: a field of its own.
        unsafe { (&raw const self.passed).read_volatile() }
    }

    /// A packet of it has gone the whole way.
    #[inline(always)]
    pub fn pass(&mut self, passed: Passed) {
        // SAFETY: a field of its own; one store, which nobody sees half of.
        unsafe { (&raw mut self.passed).write_volatile(passed) };
    }

    /// This half, of a session through this NAT gateway.
    #[inline(always)]
    #[must_use]
    pub const fn through(self, gateway: u16) -> Self {
        Self { gateway, ..self }
    }

    /// The NAT gateway's number; [`TRACKER`] is none.
    #[inline(always)]
    pub const fn gateway(&self) -> u16 {
        // A forward half has it as its owner, too.
        if self.holds().include(Holds::FAR_SCOPE) {
            self.owner
        } else {
            self.gateway
        }
    }

    /// This half, of a session that holds these shared entries.
    #[inline(always)]
    #[must_use]
    pub const fn holding(self, holds: Holds) -> Self {
        Self {
            holds: holds.0,
            ..self
        }
    }

    /// Its packets get another far end, too: that which is not [`Session::mapped_address`]'s. Before it has carried
    /// any; nothing changes with [`Far::NONE`].
    #[inline(always)]
    pub const fn lead_to(&mut self, far: &Far) {
        if far.is_none() {
            return;
        }
        self.holds |= Holds::FAR.0;
        if far.scope != 0 {
            self.holds |= Holds::FAR_SCOPE.0;
            self.gateway = far.scope;
        }
        self.packets = (far.address.raw() as u64) << 32;
        self.bytes = (far.port.raw() as u64) << FAR_PORT_SHIFT;
    }

    /// What its packets get at their far end, as [`Session::lead_to`] was told.
    #[inline(always)]
    pub const fn far(&self) -> Far {
        if !self.holds().include(Holds::FAR) {
            return Far::NONE;
        }
        Far {
            address: Address::from_raw((self.packets >> 32) as u32),
            port: Port::from_raw((self.bytes >> FAR_PORT_SHIFT) as u16),
            scope: self.far_scope(),
        }
    }

    /// The VPC of its far end; 0 when it has none, or that is outside.
    #[inline(always)]
    pub const fn far_scope(&self) -> u16 {
        if self.holds().include(Holds::FAR_SCOPE) {
            self.gateway
        } else {
            0
        }
    }

    /// As [`Session::far`], read in this moment.
    ///
    /// # Safety
    ///
    /// As for [`Session::mapped`].
    #[inline(always)]
    pub unsafe fn far_now(half: *const Self) -> Far {
        // SAFETY: the caller's.
        unsafe {
            let holds = Holds((&raw const (*half).holds).read_volatile());
            if !holds.include(Holds::FAR) {
                return Far::NONE;
            }
            let address = (&raw const (*half).packets).read_volatile() >> 32 << 32;
            let port = (&raw const (*half).bytes).read_volatile() >> FAR_PORT_SHIFT << 16;
            let scope = (&raw const (*half).gateway).read_volatile();
            let scope = if holds.include(Holds::FAR_SCOPE) {
                scope
            } else {
                0
            };
            Far::from_raw(address | port | scope as u64)
        }
    }

    /// The shared entries its session holds; kept in the forward half.
    #[inline(always)]
    pub const fn holds(&self) -> Holds {
        Holds(self.holds)
    }

    /// The address packets of this direction get.
    #[inline(always)]
    pub const fn mapped_address(&self) -> Address {
        self.mapped_address
    }

    /// The port packets of this direction get.
    #[inline(always)]
    pub const fn mapped_port(&self) -> Port {
        self.mapped_port
    }

    /// The NAT gateway's number (forward half), or the scope of the forward half's key (reverse half).
    #[inline(always)]
    pub const fn owner(&self) -> u16 {
        self.owner
    }

    /// Address, port and [`Session::owner`], read in this moment and not in another one that suits the compiler:
    /// marks read before and after tell whose they are.
    ///
    /// # Safety
    ///
    /// `half` is valid and aligned; others may write it.
    #[inline(always)]
    pub unsafe fn mapped(half: *const Self) -> (Address, Port, u16) {
        // SAFETY: the caller's.
        unsafe {
            (
                (&raw const (*half).mapped_address).read_volatile(),
                (&raw const (*half).mapped_port).read_volatile(),
                (&raw const (*half).owner).read_volatile(),
            )
        }
    }

    /// As [`Session::gateway`], read in this moment; `owner` was.
    ///
    /// # Safety
    ///
    /// As for [`Session::mapped`].
    #[inline(always)]
    pub unsafe fn gateway_now(half: *const Self, owner: u16) -> u16 {
        // SAFETY: the caller's.
        unsafe {
            let holds = Holds((&raw const (*half).holds).read_volatile());
            if holds.include(Holds::FAR_SCOPE) {
                return owner;
            }
            (&raw const (*half).gateway).read_volatile()
        }
    }

    /// As [`Session::last_seen`], read in this moment.
    #[inline(always)]
    pub fn last_seen_now(&self) -> Tick {
        // SAFETY: a field of its own.
        unsafe { (&raw const self.last_seen).read_volatile() }
    }

    /// When it was made.
    #[inline(always)]
    pub const fn created(&self) -> Tick {
        Mark(self.mark).created()
    }

    /// When it last carried a packet.
    #[inline(always)]
    pub const fn last_seen(&self) -> Tick {
        self.last_seen
    }

    /// The TCP flags it carried so far.
    #[inline(always)]
    pub const fn tcp_seen(&self) -> TcpFlags {
        TcpFlags::from_bits(self.tcp_seen)
    }

    /// Packets it carried.
    #[inline(always)]
    pub const fn packets(&self) -> u64 {
        if self.holds().include(Holds::FAR) {
            self.packets & FAR_PACKETS
        } else {
            self.packets
        }
    }

    /// Bytes it carried, from the IP header on.
    #[inline(always)]
    pub const fn bytes(&self) -> u64 {
        if self.holds().include(Holds::FAR) {
            self.bytes & FAR_BYTES
        } else {
            self.bytes
        }
    }

    /// Accounts for packets of this direction. The clock's and the flags' bytes are written only
    /// when they change. A RST counts as traffic once, so that nobody keeps a dead session with more
    /// of them (RFC 7857, 2.2); whatever else follows shows that it was not the end.
    #[inline(always)]
    pub fn carry(&mut self, now: Tick, packets: u64, bytes: u64, flags: TcpFlags) {
        let seen = tcp_state::after(self.tcp_seen(), flags).bits();
        let repeated_reset = flags.any(TcpFlags::RST) && self.tcp_seen().any(TcpFlags::RST);
        let refreshes = !repeated_reset && !self.holds().include(Holds::NO_REFRESH);
        if self.last_seen != now && refreshes {
            self.last_seen = now;
        }
        self.count(packets, bytes);
        if seen != self.tcp_seen {
            self.tcp_seen = seen;
        }
    }

    #[inline(always)]
    fn count(&mut self, packets: u64, bytes: u64) {
        let (packets, bytes) = (self.packets() + packets, self.bytes() + bytes);
        // Of so many it stops counting.
        let is_far = self.holds().include(Holds::FAR);
        if is_far && (packets > FAR_PACKETS || bytes > FAR_BYTES) {
            return;
        }
        // SAFETY: words of its own.
        unsafe {
            put_packets(&raw mut self.packets, packets);
            put_bytes(&raw mut self.bytes, bytes);
        }
    }

    /// Counts packets that went on by a line of the flow cache, and nothing else. A line is written
    /// behind a packet that the half counts itself: one that has counted none is a new session's, and
    /// they went on by the session before it.
    #[inline(always)]
    pub fn settle(&mut self, packets: u64, bytes: u64) {
        if self.packets() != 0 {
            self.count(packets, bytes);
        }
    }

    /// This half with what lines owe it.
    #[must_use]
    pub fn settled(mut self, packets: u64, bytes: u64) -> Self {
        self.settle(packets, bytes);
        self
    }

    /// Forgets the connection that was on this tuple.
    #[inline(always)]
    pub const fn forget_flags(&mut self) {
        self.tcp_seen = 0;
    }
}

const _: () = assert!(cfg!(target_endian = "little"));

/// Writes the part of a word that has a count of packets where there is a far end, and the rest when so many were
/// counted that there is none. A CPU that is held up before it writes may do so when the half serves another session,
/// whose far end has to stay.
///
/// # Safety
///
/// `word` is valid and aligned.
#[inline(always)]
unsafe fn put_packets(word: *mut u64, count: u64) {
    // SAFETY: the caller's; halves of that word.
    unsafe {
        word.cast::<u32>().write_volatile(count as u32);
        if count > FAR_PACKETS {
            let upper = (count >> 32) as u32;
            word.cast::<u32>().add(1).write_volatile(upper);
        }
    }
}

/// As [`put_packets`], of bytes.
///
/// # Safety
///
/// As there.
#[inline(always)]
unsafe fn put_bytes(word: *mut u64, count: u64) {
    // SAFETY: the caller's; parts of that word.
    unsafe {
        word.cast::<u32>().write_volatile(count as u32);
        let upper = word.cast::<u16>().add(2);
        upper.write_volatile((count >> 32) as u16);
        if count > FAR_BYTES {
            let top = (count >> FAR_PORT_SHIFT) as u16;
            upper.add(1).write_volatile(top);
        }
    }
}

/// Which shared entries a session holds: what it must give back in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holds(u8);

impl Holds {
    /// None.
    pub const NOTHING: Self = Self(0);
    /// The binding of its inside address and port.
    pub const BINDING: Self = Self(1);
    /// The leave of its remote address to write to its public address and port.
    pub const PERMISSION: Self = Self(1 << 1);
    /// Its client's entry.
    pub const CLIENT: Self = Self(1 << 2);
    /// Of a reverse half: nothing, and its packets do not keep the session (RFC 4787 REQ-6).
    pub const NO_REFRESH: Self = Self(1 << 3);
    /// Nothing: its packets get another far end, too.
    pub const FAR: Self = Self(1 << 4);
    /// Nothing: and that is in this VPC.
    pub const FAR_SCOPE: Self = Self(1 << 5);

    /// All of `other` are among them.
    #[inline(always)]
    pub const fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The word of a session half that says whose it is, where it stands on its way out, and since when
/// it is there. One word, because that is what a compare-and-swap takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(pub u64);

impl Mark {
    /// Of a key and state, as [`SessionKey::mark`] makes it.
    #[inline(always)]
    pub const fn new(key_and_state: u32, created: Tick) -> Self {
        Self((created as u64) << 32 | key_and_state as u64)
    }

    /// What [`SessionKey::mark`] made.
    #[inline(always)]
    pub const fn key_and_state(self) -> u32 {
        self.0 as u32
    }

    /// It is that of a half with this key, in whatever state.
    #[inline(always)]
    pub const fn is_of(self, key: &SessionKey) -> bool {
        self.key_and_state() >> 2 == key.tag() && self.key_and_state() & 3 != 0
    }

    /// When the session was made.
    #[inline(always)]
    pub const fn created(self) -> Tick {
        (self.0 >> 32) as Tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_states_and_keys_apart() {
        let key = SessionKey::forward(
            &Flow {
                protocol: 6,
                ..Flow::default()
            },
            1,
        );
        let other = SessionKey::forward(
            &Flow {
                protocol: 17,
                ..Flow::default()
            },
            1,
        );
        let states = [State::Live, State::Dying, State::Dead];
        let marks: std::collections::HashSet<_> = states
            .iter()
            .flat_map(|&state| [key.mark(state), other.mark(state)])
            .collect();
        assert_eq!(marks.len(), 6);
    }

    fn half(far: &Far) -> Session {
        let key = SessionKey::forward(&Flow::default(), 1);
        let mut half = Session::new(&key, Address::UNSPECIFIED, Port::NONE, 1, 0);
        half.lead_to(far);
        half
    }

    const FAR: Far = Far {
        address: Address::from_raw(u32::MAX),
        port: Port::new(u16::MAX),
        scope: 7,
    };

    #[test]
    fn counts_and_the_far_end_leave_each_other_alone() {
        let most = (FAR_PACKETS - 2, FAR_BYTES - 999);
        for far in [Far::NONE, FAR] {
            let mut half = half(&far);
            let mut counted = (0, 0);
            for (packets, bytes) in [(1, 40), (most.0, most.1), (1, 900), (1, 100), (1 << 20, 0)] {
                half.count(packets, bytes);
                let next = (counted.0 + packets, counted.1 + bytes);
                if far.is_none() || (next.0 <= FAR_PACKETS && next.1 <= FAR_BYTES) {
                    counted = next;
                }
                assert_eq!((half.packets(), half.bytes()), counted);
                assert_eq!(half.far(), far);
            }
        }
    }

    /// A CPU reads the count of one session and writes it when the half is another one's.
    #[test]
    fn a_late_count_does_not_bring_a_far_end_back() {
        let mut next = half(&FAR);
        // SAFETY: words of a value of this function.
        unsafe {
            put_packets(&raw mut next.packets, 6);
            put_bytes(&raw mut next.bytes, (1 << 40) + 600);
        }
        assert_eq!(next.far(), FAR);
        assert_eq!((next.packets(), next.bytes()), (6, (1 << 40) + 600));
    }
}
