//! Keys and values of the BPF maps: the layout that the dataplane, the controller and the pinned
//! maps of a running system share. A change of size or meaning is a new [`LAYOUT_VERSION`].

use crate::{
    address::{Address, Port},
    clock::Tick,
    flow::Flow,
    lifecycle::State,
    port_pool::PortPool,
    wire::{Mac, TcpFlags, Wire},
};

/// Names the folder the maps are pinned in.
pub const LAYOUT_VERSION: u32 = 1;

/// Public IPs per NAT gateway, as on AWS.
pub const MAX_PUBLIC_IPS: usize = 8;
/// NAT gateways per node.
pub const MAX_GATEWAYS: u32 = 4096;
/// The route table that holds the address space of every VPC.
pub const ALL_VPCS: u32 = 0;

/// Names of the maps, as in the object file and as pin names.
pub mod names {
    /// Forward halves: inside flow to [`super::Session`].
    pub const SESSIONS: &str = "SESSIONS";
    /// Reverse halves: outside flow to [`super::Session`].
    pub const REVERSE: &str = "REVERSE";
    /// Interface index to [`super::Interface`].
    pub const INTERFACES: &str = "INTERFACES";
    /// Interface index and source to [`super::Subnet`].
    pub const SUBNETS: &str = "SUBNETS";
    /// Route table and destination to [`super::Route`].
    pub const ROUTES: &str = "ROUTES";
    /// [`super::Gateway`]s by number.
    pub const GATEWAYS: &str = "GATEWAYS";
    /// Public IP to [`super::PublicAddress`].
    pub const PUBLIC_ADDRESSES: &str = "PUBLIC_ADDRESSES";
    /// VPC and private IP to [`super::Elastic`].
    pub const ELASTIC: &str = "ELASTIC";
    /// Packets by [`crate::drop_reason::DropReason`], per CPU.
    pub const DROPS: &str = "DROPS";
    /// Packets by [`super::Counter`], per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Numbers to the names in the configuration, for readers.
    pub const NAMES: &str = "NAMES";

    /// All of them.
    pub const ALL: &[&str] = &[
        COUNTERS,
        DROPS,
        ELASTIC,
        GATEWAYS,
        INTERFACES,
        NAMES,
        PUBLIC_ADDRESSES,
        REVERSE,
        ROUTES,
        SESSIONS,
        SUBNETS,
    ];
}

/// A flow in one VPC (`vpc` is 0 in a reverse key: outside there are no VPCs).
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SessionKey {
    source: Address,
    destination: Address,
    source_port: Port,
    destination_port: Port,
    vpc: u16,
    protocol: u8,
    reserved: u8,
}
const _: () = assert!(size_of::<SessionKey>() == 16);

// SAFETY: 16 bytes without padding, checked above.
unsafe impl Wire for SessionKey {}

impl SessionKey {
    /// Key of the forward half: `flow` as the inside host sends it.
    #[inline(always)]
    pub const fn forward(flow: &Flow, vpc: u16) -> Self {
        Self {
            source: flow.source,
            destination: flow.destination,
            source_port: flow.source_port,
            destination_port: flow.destination_port,
            vpc,
            protocol: flow.protocol,
            reserved: 0,
        }
    }

    /// Key of the reverse half: `flow` as it comes back to the public address.
    #[inline(always)]
    pub const fn reverse(flow: &Flow) -> Self {
        Self::forward(flow, 0)
    }

    /// The flow it is made of.
    #[inline(always)]
    pub const fn flow(&self) -> Flow {
        Flow {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.protocol,
        }
    }

    /// The bytes as they stand in the map.
    pub const fn to_bytes(&self) -> [u8; 16] {
        let [a, b, c, d] = self.source.to_wire();
        let [e, f, g, h] = self.destination.to_wire();
        let [i, j] = self.source_port.raw().to_ne_bytes();
        let [k, l] = self.destination_port.raw().to_ne_bytes();
        let [m, n] = self.vpc.to_ne_bytes();
        [
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            k,
            l,
            m,
            n,
            self.protocol,
            self.reserved,
        ]
    }

    /// The VPC of a forward half.
    #[inline(always)]
    pub const fn vpc(&self) -> u16 {
        self.vpc
    }

    /// Thirty bits that tell this key from the one whose element may reuse the memory.
    #[inline(always)]
    const fn tag(&self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let addresses = self.source.raw() as u64 | (self.destination.raw() as u64) << 32;
        let rest = self.source_port.raw() as u64
            | (self.destination_port.raw() as u64) << 16
            | (self.vpc as u64) << 32
            | (self.protocol as u64) << 48;
        let mixed = (addresses ^ rest.rotate_left(29)).wrapping_mul(ODD);
        ((mixed ^ rest.wrapping_mul(ODD)) >> 34) as u32
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

/// One direction's half of a session. Each direction writes only its own half.
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
    reserved: u8,
    /// Policy generation this half was last checked against.
    pub epoch: u16,
    packets: u64,
    bytes: u64,
}
const _: () = assert!(size_of::<Session>() == 40);

impl Session {
    /// A half that has carried nothing yet. Packets of its direction have their source (forward) or
    /// destination (reverse) replaced by `mapped`; `owner` is the NAT gateway's number (forward) or
    /// the VPC's (reverse).
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
            reserved: 0,
            epoch: 0,
            packets: 0,
            bytes: 0,
        }
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

    /// The NAT gateway's number (forward half) or the VPC's (reverse half).
    #[inline(always)]
    pub const fn owner(&self) -> u16 {
        self.owner
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
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes it carried, from the IP header on.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Accounts for packets of this direction. The clock's and the flags' bytes are written only
    /// when they change.
    #[inline(always)]
    pub const fn carry(&mut self, now: Tick, packets: u64, bytes: u64, flags: TcpFlags) {
        if self.last_seen != now {
            self.last_seen = now;
        }
        self.packets += packets;
        self.bytes += bytes;
        self.record(flags);
    }

    /// Records TCP flags.
    #[inline(always)]
    pub const fn record(&mut self, flags: TcpFlags) {
        let seen = self.tcp_seen | flags.bits();
        if seen != self.tcp_seen {
            self.tcp_seen = seen;
        }
    }

    /// Forgets the connection that was on this tuple.
    #[inline(always)]
    pub const fn forget_flags(&mut self) {
        self.tcp_seen = 0;
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

    /// When the session was made.
    #[inline(always)]
    pub const fn created(self) -> Tick {
        (self.0 >> 32) as Tick
    }
}

/// Key of the longest-prefix maps, after the prefix length: the scope is matched whole.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ScopedAddress {
    /// Route table, or interface index.
    pub scope: u32,
    /// The address.
    pub address: Address,
}

impl ScopedAddress {
    /// Prefix length, in bits, of the scope alone.
    pub const SCOPE_BITS: u32 = 32;
    /// Prefix length, in bits, of scope and a whole address.
    pub const FULL_BITS: u32 = 64;
}

/// What an interface is to the dataplane.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// Bits of [`Interface::UPLINK`] and the others.
    pub flags: u32,
    /// The VPC of its subnets, when it is [`Interface::INSIDE`].
    pub vpc: u16,
    /// Its own MAC address, for ARP answers.
    pub mac: Mac,
    network: Address,
    mask: Address,
}
const _: () = assert!(size_of::<Interface>() == 20);

impl Interface {
    /// Leads outside.
    pub const UPLINK: u32 = 1;
    /// Has subnets of a VPC.
    pub const INSIDE: u32 = 1 << 1;
    /// XDP may redirect frames to it.
    pub const XDP_TARGET: u32 = 1 << 2;
    /// Some instance behind it has a public IP.
    pub const HAS_ELASTIC: u32 = 1 << 3;
    /// Its sources are one prefix, kept in the entry itself; otherwise the subnet table knows them.
    pub const ONE_PREFIX: u32 = 1 << 4;
    /// For the controller: forwarding was off before the dataplane came.
    pub const FORWARDING_SET: u32 = 1 << 8;
    /// For the controller: the programs hang on a clsact qdisc instead of a link.
    pub const CLSACT: u32 = 1 << 9;
    /// For the controller: and that qdisc was made for them.
    pub const CLSACT_OURS: u32 = 1 << 10;

    /// An interface without subnets yet.
    pub const fn new(flags: u32, mac: Mac) -> Self {
        Self {
            flags,
            vpc: 0,
            mac,
            network: Address::UNSPECIFIED,
            mask: Address::UNSPECIFIED,
        }
    }

    /// Makes `network` under `mask` its one prefix.
    #[must_use]
    pub const fn with_prefix(self, network: Address, mask: Address) -> Self {
        Self {
            flags: self.flags | Self::ONE_PREFIX,
            network,
            mask,
            ..self
        }
    }

    /// The source lies in its one prefix.
    #[inline(always)]
    pub const fn covers(&self, source: Address) -> bool {
        source.raw() & self.mask.raw() == self.network.raw()
    }

    /// All bits of `flags` are set.
    #[inline(always)]
    pub const fn is(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

/// A subnet, found by interface and source address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Subnet {
    /// Its route table's number.
    pub route_table: u32,
}

/// Where a route leads.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Route {
    kind: u32,
    gateway: u32,
}

/// A route's target, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Within the VPC: the host routes it.
    Local,
    /// 1:1 by the source's public IP.
    InternetGateway,
    /// PAT by the gateway of this number.
    NatGateway(u32),
    /// Nowhere.
    Blackhole,
}

impl Route {
    /// A route to `target`.
    pub const fn to(target: Target) -> Self {
        let (kind, gateway) = match target {
            Target::Blackhole => (0, 0),
            Target::Local => (1, 0),
            Target::InternetGateway => (2, 0),
            Target::NatGateway(gateway) => (3, gateway),
        };
        Self { kind, gateway }
    }

    /// Its target; what no controller writes is a blackhole.
    #[inline(always)]
    pub const fn target(&self) -> Target {
        match self.kind {
            1 => Target::Local,
            2 => Target::InternetGateway,
            3 => Target::NatGateway(self.gateway),
            _ => Target::Blackhole,
        }
    }
}

/// How long sessions may be idle, in ticks.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    /// TCP after both sides sent a SYN.
    pub tcp_established: u32,
    /// TCP before that and after a FIN or RST.
    pub tcp_transitory: u32,
    /// UDP.
    pub udp: u32,
    /// ICMP queries.
    pub icmp: u32,
}

/// A NAT gateway.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gateway {
    /// Key of the unguessable port choice.
    pub secret: [u64; 2],
    /// The addresses it translates to.
    pub addresses: [Address; MAX_PUBLIC_IPS],
    /// How many of them are used.
    pub address_count: u32,
    /// Its own address in its subnet.
    pub private_ip: Address,
    /// The ports it takes on each address.
    pub pool: PortPool,
    /// Its timers.
    pub timeouts: Timeouts,
    /// Its VPC.
    pub vpc: u32,
    /// Bits; none so far.
    pub flags: u32,
}
const _: () = assert!(size_of::<Gateway>() == 104);

/// A public IP of this dataplane.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PublicAddress {
    kind: u32,
    private: Address,
    owner: u32,
    shared: u32,
}

/// What a public IP is for, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublicUse {
    /// 1:1 with an instance's private IP.
    Elastic(Address),
    /// A NAT gateway translates to it.
    NatGateway,
}

impl PublicAddress {
    /// A public IP used for `purpose` by the VPC (1:1) or NAT gateway numbered `owner`. One `shared`
    /// with the host leaves to it ARP and every packet without a session.
    pub const fn new(purpose: PublicUse, owner: u32, shared: bool) -> Self {
        let (kind, private) = match purpose {
            PublicUse::Elastic(private) => (1, private),
            PublicUse::NatGateway => (2, Address::UNSPECIFIED),
        };
        Self {
            kind,
            private,
            owner,
            shared: shared as u32,
        }
    }

    /// What it is for.
    #[inline(always)]
    pub const fn purpose(&self) -> PublicUse {
        match self.kind {
            1 => PublicUse::Elastic(self.private),
            _ => PublicUse::NatGateway,
        }
    }

    /// The VPC's (1:1) or NAT gateway's number.
    pub const fn owner(&self) -> u32 {
        self.owner
    }

    /// The host uses it too.
    #[inline(always)]
    pub const fn is_shared(&self) -> bool {
        self.shared != 0
    }
}

/// Key of the 1:1 table: a private address in a VPC.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PrivateAddress {
    /// The VPC's number.
    pub vpc: u32,
    /// The address.
    pub address: Address,
}

/// An instance's public IP.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Elastic {
    /// The public IP.
    pub public: Address,
    /// The interface its packets come from: another one is spoofing.
    pub interface: u32,
    /// Its subnet's route table.
    pub route_table: u32,
}

/// What the dataplane counts besides drops.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Packets translated, with or without a session.
    Translated = 0,
    /// Packets left to the host.
    Passed = 1,
    /// Packets left to the TC program by XDP, for example because the neighbour is not known yet.
    HandedUp = 2,
    /// ARP requests answered.
    ArpAnswered = 3,
    /// Sessions made.
    SessionsMade = 4,
    /// Sessions ended by a timer.
    SessionsExpired = 5,
    /// Idle sessions kept because a packet came in the last moment.
    SessionsRevived = 6,
}

impl Counter {
    /// Every counter, in order.
    pub const ALL: &[Self] = &[
        Self::Translated,
        Self::Passed,
        Self::HandedUp,
        Self::ArpAnswered,
        Self::SessionsMade,
        Self::SessionsExpired,
        Self::SessionsRevived,
    ];

    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Passed => "passed",
            Self::HandedUp => "handed_up",
            Self::ArpAnswered => "arp_answered",
            Self::SessionsMade => "sessions_made",
            Self::SessionsExpired => "sessions_expired",
            Self::SessionsRevived => "sessions_revived",
        }
    }
}

/// Key of the names table.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NameKey {
    /// One of the constants of [`NameKey`].
    pub kind: u32,
    /// The number in the other tables.
    pub number: u32,
}

impl NameKey {
    /// A VPC.
    pub const VPC: u32 = 1;
    /// A NAT gateway.
    pub const GATEWAY: u32 = 2;
    /// An interface index.
    pub const INTERFACE: u32 = 3;
    /// A route table.
    pub const ROUTE_TABLE: u32 = 4;
    /// The node; number 0.
    pub const NODE: u32 = 5;
}

/// A name of the configuration, `vpc/name` for what belongs to one, padded with zeros.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name(pub [u8; 136]);

impl Name {
    /// Of this text; what does not fit is cut off.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; 136];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Self(bytes)
    }

    /// The text; empty when it is none.
    pub fn as_str(&self) -> &str {
        let end = self
            .0
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(self.0.len());
        core::str::from_utf8(self.0.get(..end).unwrap_or(&[])).unwrap_or("")
    }
}

/// Keys of forward halves in one run of the expiry program, at most.
pub const EXPIRE_BATCH: usize = 32;

/// Where they start in the bytes given to the program; before them is room for the Ethernet header
/// that the kernel expects.
pub const EXPIRE_KEYS_OFFSET: usize = 16;

#[cfg(feature = "user")]
mod pod {
    use super::*;

    macro_rules! plain_data {
        ($($type:ty),*) => {
            $(
                // SAFETY: repr(C) of integers without padding (sizes checked above or evident), so
                // every byte pattern is a value.
                unsafe impl aya::Pod for $type {}
            )*
        };
    }

    plain_data!(
        SessionKey,
        Session,
        ScopedAddress,
        Interface,
        Subnet,
        Route,
        Gateway,
        PublicAddress,
        PrivateAddress,
        Elastic,
        NameKey,
        Name,
        Address
    );
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
}
