//! The policy tables, written by the controller only.

use crate::{
    address::{Address, Port},
    port_pool::PortPool,
    wire::Mac,
};

/// Public IPs per NAT gateway, as on AWS.
pub const MAX_PUBLIC_IPS: usize = 8;
/// NAT gateways per node.
pub const MAX_GATEWAYS: u32 = 4096;
/// The number, among those of gateways, that owns sessions which no gateway translates: they are there
/// because a security group keeps track of them.
pub const TRACKER: u32 = MAX_GATEWAYS - 1;
/// The number, among those of gateways, by which instances of every VPC reach the node's own services, such
/// as what they are told about themselves.
pub const SERVICES: u32 = TRACKER - 1;
/// The address that [`SERVICES`] translates to; it is seen between the dataplane and the services alone.
pub const SERVICES_IP: Address = Address::from_wire([169, 254, 168, 1]);
/// Where the node's services are when they ask somebody in a VPC.
pub const CHECKER_IP: Address = Address::from_wire([169, 254, 168, 2]);
/// What they ask, 240.0.0.0/8: each address stands for somebody in a VPC.
pub const CHECKED_NET: u32 = 0xf000_0000;
/// Where they stand between a load balancer's listeners and its targets, 241.0.0.0/8: each address is one of a
/// target group's.
pub const RELAY_NET: u32 = 0xf100_0000;
/// Of both, the bits that say which network it is.
pub const SERVICE_NET_BITS: u8 = 8;
/// Where instances are told about themselves, in every VPC.
pub const METADATA_IP: Address = Address::from_wire([169, 254, 169, 254]);
/// The TCP port there, in host byte order.
pub const METADATA_PORT: u16 = 80;
/// Where the resolver is asked, in every VPC; also at an address of the VPC, [`Interface::resolver`].
pub const RESOLVER_IP: Address = Address::from_wire([169, 254, 169, 253]);
/// The TCP and UDP port there, in host byte order.
pub const RESOLVER_PORT: u16 = 53;
/// The route table that holds the address space of every VPC.
pub const ALL_VPCS: u32 = 0;
/// VPCs per node: their numbers leave room for what else a session's key says (see `session.rs`).
pub const MAX_VPCS: u32 = 1 << 14;
/// The number, among those of VPCs, of what [`SERVICES`] leads to.
pub const SERVICES_VPC: u16 = MAX_VPCS as u16 - 1;

/// Which policy holds, in one word that is written at once: its generation, and the one that is being
/// written. Policy maps have two sides, of which the generation says the one that holds; the
/// controller writes the other one, then this word, and then brings the first side up to date.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// `epoch` holds, and `writing` is being written, or is the same.
    pub const fn new(epoch: u32, writing: u32) -> Self {
        Self(epoch as u64 | (writing as u64) << 32)
    }

    /// The generation that holds.
    #[inline(always)]
    pub const fn epoch(self) -> u32 {
        self.0 as u32
    }

    /// Nothing of what `epoch` reads has been written since it began to hold.
    #[inline(always)]
    pub const fn leaves_alone(self, epoch: u32) -> bool {
        let writing = (self.0 >> 32) as u32;
        writing.wrapping_sub(epoch) <= 1
    }
}

/// The side of the policy maps that a generation is on: 0 or 1.
#[inline(always)]
pub const fn side(epoch: u32) -> u32 {
    epoch & 1
}

/// Which side a scope in a key is of, and the scope.
pub const fn unsided(scope: u32) -> (u32, u32) {
    (scope >> SIDE_SHIFT, scope & !(1 << SIDE_SHIFT))
}

/// Key of most policy maps; in longest-prefix maps it comes after the prefix length, and the scope is
/// matched whole.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ScopedAddress {
    /// Route table, VPC, interface index or ruleset, with the side in its highest bit.
    pub scope: u32,
    /// The address.
    pub address: Address,
}

impl ScopedAddress {
    /// Prefix length, in bits, of the scope alone.
    pub const SCOPE_BITS: u32 = 32;
    /// Prefix length, in bits, of scope and a whole address.
    pub const FULL_BITS: u32 = 64;

    /// The scope of a VPC's subnets, beside those of interfaces.
    #[inline(always)]
    pub const fn subnets_of_vpc(vpc: u32) -> u32 {
        vpc | 1 << 30
    }
}

/// The bit of a scope that says which side of the policy it is of.
pub const SIDE_SHIFT: u32 = 31;

/// A scope, which is less than 2^31, on side 0 or 1 of the policy: the generations of the policy take
/// turns, and a packet reads the side that its generation is on.
#[inline(always)]
pub const fn sided(scope: u32, side: u32) -> u32 {
    scope | side << SIDE_SHIFT
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
    /// The host's address on it: the sender of the ICMP errors that are made here. Unspecified where
    /// it has none: then they come from the router of the receiver's subnet, if there is one.
    pub address: Address,
    /// Where the resolver of its VPC is asked; unspecified when it has none.
    pub resolver: Address,
    network: Address,
    mask: Address,
}
const _: () = assert!(size_of::<Interface>() == 28);

impl Interface {
    /// Leads outside.
    pub const UPLINK: u32 = 1;
    /// Has subnets of a VPC.
    pub const INSIDE: u32 = 1 << 1;
    /// XDP may redirect frames to it.
    pub const XDP_TARGET: u32 = 1 << 2;
    /// Its VPC has instances.
    pub const HAS_INSTANCES: u32 = 1 << 3;
    /// Its sources are one prefix, kept in the entry itself; otherwise the subnet table knows them.
    pub const ONE_PREFIX: u32 = 1 << 4;
    /// Hosts that are no listed instances may send nothing.
    pub const STRICT: u32 = 1 << 5;
    /// Some instance behind it may send packets that are not from its own address.
    pub const HAS_APPLIANCES: u32 = 1 << 6;
    /// Some instance of its VPC has security groups, or its VPC has load balancers: answers have sessions.
    pub const TRACKS: u32 = 1 << 7;
    /// For the controller: forwarding was off before the dataplane came.
    pub const FORWARDING_SET: u32 = 1 << 8;
    /// For the controller: the programs hang on a clsact qdisc instead of a link.
    pub const CLSACT: u32 = 1 << 9;
    /// For the controller: and that qdisc was made for them.
    pub const CLSACT_OURS: u32 = 1 << 10;

    /// Behind it are the node's own services.
    pub const SERVICES: u32 = 1 << 11;
    /// Instances behind it are told about themselves.
    pub const SERVED: u32 = 1 << 12;

    /// An interface without subnets yet.
    pub const fn new(flags: u32, mac: Mac, address: Address) -> Self {
        Self {
            flags,
            vpc: 0,
            mac,
            address,
            resolver: Address::UNSPECIFIED,
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

    /// One of the node's own services is asked at this address by those behind it.
    #[inline(always)]
    pub const fn serves_at(&self, address: Address) -> bool {
        let at = address.raw();
        (at == METADATA_IP.raw() && self.is(Self::SERVED))
            || (!self.resolver.is_unspecified()
                && (at == self.resolver.raw() || at == RESOLVER_IP.raw()))
    }

    /// Sets some of its flags, or clears them.
    pub const fn set(&mut self, flags: u32, on: bool) {
        self.flags = if on {
            self.flags | flags
        } else {
            self.flags & !flags
        };
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

/// A subnet, found by interface and source address, or by VPC and address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Subnet {
    /// Its own number.
    pub number: u32,
    /// Its route table's number.
    pub route_table: u32,
    /// The interface its hosts are behind.
    pub interface: u32,
    /// Its network ACL's number; 0 when everything is allowed.
    pub acl: u32,
    /// Its first address, which is the router's.
    pub router: Address,
    /// [`Subnet::HOST_IS_ROUTER`] and [`Subnet::HOST_IS_IN_IT`].
    pub flags: u32,
}
const _: () = assert!(size_of::<Subnet>() == 24);

impl Subnet {
    /// The host has the router's address, and answers for it.
    pub const HOST_IS_ROUTER: u32 = 1;
    /// The host has an address in it, so that its routing table knows the way.
    pub const HOST_IS_IN_IT: u32 = 1 << 1;
    /// Some ports of what leaves it go to a proxy first, see [`super::Listener::diversion`].
    pub const DIVERTS: u32 = 1 << 2;

    /// It has this flag.
    #[inline(always)]
    pub const fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// A listed instance, or an endpoint, found by VPC and private IP.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Instance {
    /// Its public IP; unspecified when it has none.
    pub public: Address,
    /// The interface its packets come from: another one is spoofing.
    pub interface: u32,
    /// The number of its set of security groups; 0 when it is not filtered.
    pub groups: u32,
    /// Its MAC address; zeros when nobody said.
    pub mac: Mac,
    /// Bits of [`Instance::IS_APPLIANCE`] and the others.
    pub flags: u16,
    /// The number by which the listeners of an endpoint are found, mostly that of its gateway.
    pub gateway: u32,
}
const _: () = assert!(size_of::<Instance>() == 24);

impl Instance {
    /// It has no source/destination check: it may send what is not from it, and get what is not to it.
    pub const IS_APPLIANCE: u16 = 1;
    /// It is no instance but an interface endpoint or a load balancer: what is sent to it goes on to somebody
    /// else, by [`Instance::gateway`].
    pub const IS_ENDPOINT: u16 = 1 << 1;

    /// An endpoint whose packets go on by this gateway, behind this set of security groups or 0.
    pub const fn endpoint(gateway: u32, groups: u32) -> Self {
        Self {
            public: Address::UNSPECIFIED,
            interface: 0,
            groups,
            mac: [0; 6],
            flags: Self::IS_ENDPOINT,
            gateway,
        }
    }

    /// It has this flag.
    #[inline(always)]
    pub const fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Key of an appliance: how the router knows the sender of packets that are not from its address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ApplianceKey {
    /// The interface, with the side in its highest bit.
    pub interface: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// Zero.
    pub reserved: u16,
}
const _: () = assert!(size_of::<ApplianceKey>() == 12);

/// Where a route leads.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Route {
    kind: u32,
    value: u32,
}

/// A route's target, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Within the VPC.
    Local,
    /// 1:1 by the source's public IP.
    InternetGateway,
    /// PAT by the gateway of this number.
    NatGateway(u32),
    /// To the instance with this private IP, unchanged.
    Instance(Address),
    /// Nowhere.
    Blackhole,
    /// Nowhere: what it led to is gone.
    Gone,
}

impl Route {
    /// There is none.
    pub const NONE: Self = Self {
        kind: u32::MAX,
        value: 0,
    };
    /// As [`Route::kind`]: nowhere.
    pub const BLACKHOLE: u32 = 0;
    /// As [`Route::kind`]: within the VPC.
    pub const LOCAL: u32 = 1;
    /// As [`Route::kind`]: 1:1 by the source's public IP.
    pub const INTERNET_GATEWAY: u32 = 2;
    /// As [`Route::kind`]: by the gateway of the number that is [`Route::value`].
    pub const NAT_GATEWAY: u32 = 3;
    /// As [`Route::kind`]: to the instance with the private IP that is [`Route::value`].
    pub const INSTANCE: u32 = 4;
    /// As [`Route::kind`]: nowhere, because what it led to is gone.
    pub const GONE: u32 = 5;

    /// A route to `target`.
    pub const fn to(target: Target) -> Self {
        let (kind, value) = match target {
            Target::Blackhole => (Self::BLACKHOLE, 0),
            Target::Local => (Self::LOCAL, 0),
            Target::InternetGateway => (Self::INTERNET_GATEWAY, 0),
            Target::NatGateway(gateway) => (Self::NAT_GATEWAY, gateway),
            Target::Instance(address) => (Self::INSTANCE, address.raw()),
            Target::Gone => (Self::GONE, 0),
        };
        Self { kind, value }
    }

    /// What kind of target it has, as a number: of a [`Target`] that is passed on, part would be
    /// uninitialised.
    #[inline(always)]
    pub const fn kind(&self) -> u32 {
        self.kind
    }

    /// What its target needs.
    #[inline(always)]
    pub const fn value(&self) -> u32 {
        self.value
    }

    /// Its target; what no controller writes is a blackhole.
    pub const fn target(&self) -> Target {
        match self.kind {
            Self::LOCAL => Target::Local,
            Self::INTERNET_GATEWAY => Target::InternetGateway,
            Self::NAT_GATEWAY => Target::NatGateway(self.value),
            Self::INSTANCE => Target::Instance(Address::from_raw(self.value)),
            Self::GONE => Target::Gone,
            _ => Target::Blackhole,
        }
    }
}

/// How long sessions may be idle, in ticks.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    /// TCP after both sides sent a SYN, until both sent a FIN.
    pub tcp_established: u32,
    /// TCP before that (partial open).
    pub tcp_opening: u32,
    /// TCP after both FINs, or a RST.
    pub tcp_closing: u32,
    /// UDP of which only one direction has carried packets.
    pub udp: u32,
    /// UDP of which both have.
    pub udp_stream: u32,
    /// ICMP queries.
    pub icmp: u32,
}

impl Timeouts {
    /// Those of sessions whose clock may be so many ticks behind their last packet. ICMP's is never.
    #[must_use]
    pub const fn lagging(self, lag: u32) -> Self {
        Self {
            tcp_established: self.tcp_established.saturating_add(lag),
            tcp_opening: self.tcp_opening.saturating_add(lag),
            tcp_closing: self.tcp_closing.saturating_add(lag),
            udp: self.udp.saturating_add(lag),
            udp_stream: self.udp_stream.saturating_add(lag),
            icmp: self.icmp,
        }
    }
}

/// A NAT gateway.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gateway {
    /// Key of the unguessable port choice.
    pub secret: [u64; 2],
    /// The addresses it translates to.
    pub addresses: [Address; MAX_PUBLIC_IPS],
    /// The ports it takes on each of them.
    pub pools: [PortPool; MAX_PUBLIC_IPS],
    /// How many addresses are used for new sessions.
    pub address_count: u32,
    /// Its own address in its subnet.
    pub private_ip: Address,
    /// Its timers.
    pub timeouts: Timeouts,
    /// Its VPC.
    pub vpc: u32,
    /// Bits of [`Gateway::ENDPOINT_INDEPENDENT`] and the others.
    pub flags: u32,
    /// Sessions of one client, at most; 0 for no limit.
    pub max_sessions_per_client: u32,
    /// Bindings of one client, at most; 0 for no limit.
    pub max_ports_per_client: u32,
    /// How long a public port rests after its binding has ended, in ticks.
    pub port_rest: u32,
    /// Deterministic NAT (RFC 7422): the first of its clients' addresses.
    pub clients: Address,
    /// How many clients it has; 0 when it is not deterministic.
    pub client_count: u32,
    /// How many more addresses, behind those, serve the sessions they have until these end.
    pub draining_count: u32,
}
const _: () = assert!(size_of::<Gateway>() == 304);

impl Gateway {
    /// Profile rfc: endpoint-independent mapping. Otherwise ports are overloaded.
    pub const ENDPOINT_INDEPENDENT: u32 = 1;
    /// Profile rfc: endpoint-independent filtering.
    pub const FILTER_NOBODY: u32 = 1 << 1;
    /// Profile rfc: address-dependent filtering. Without one of the two: address-and-port-dependent.
    pub const FILTER_BY_ADDRESS: u32 = 1 << 2;
    /// Some of its public ports are forwarded: there are static bindings.
    pub const FORWARDS: u32 = 1 << 3;
    /// It has rules for what is not translated.
    pub const EXEMPTS: u32 = 1 << 4;
    /// Its clients are counted: they have quotas, or stay on one address.
    pub const COUNTS_CLIENTS: u32 = 1 << 5;
    /// Profile aws: a TCP segment of an unknown connection from inside is answered with a RST.
    pub const RESETS_UNKNOWN: u32 = 1 << 6;
    /// Exhaustion is answered with ICMP 3/13.
    pub const EXHAUSTION_PROHIBITED: u32 = 1 << 7;
    /// Exhaustion is answered with ICMP 3/1.
    pub const EXHAUSTION_UNREACHABLE: u32 = 1 << 8;
    /// UDP from outside does not keep a session (RFC 4787 REQ-6).
    pub const UDP_OUTBOUND_REFRESH: u32 = 1 << 9;
    /// It translates to public IPs, so that its packets leave by the internet gateway.
    pub const IS_PUBLIC: u32 = 1 << 10;
    /// A gateway endpoint: the source's address stays, and its port where that is free.
    pub const KEEPS_SOURCE: u32 = 1 << 11;
    /// A gateway endpoint that says who may go where: a ruleset for each source, by a route table of
    /// [`Gateway::policy_table`].
    pub const HAS_POLICY: u32 = 1 << 12;

    /// Among route tables: which ruleset of a gateway endpoint holds for a source.
    #[inline(always)]
    pub const fn policy_table(gateway: u32) -> u32 {
        gateway | 1 << 30
    }

    /// All bits of `flags` are set.
    #[inline(always)]
    pub const fn is(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// A session of it, of packets from `source`, may have this address.
    #[inline(always)]
    pub fn serves(&self, address: Address, source: Address) -> bool {
        if self.is(Self::KEEPS_SOURCE) {
            return address.raw() == source.raw();
        }
        let count = self.address_count.wrapping_add(self.draining_count);
        let mut serves = false;
        for (index, own) in self.addresses.iter().enumerate() {
            serves |= (index as u32) < count && own.raw() == address.raw();
        }
        serves
    }
}

/// The scope in EXEMPTIONS that holds the rules of every gateway, for packets from outside.
pub const ALL_GATEWAYS: u32 = u32::MAX >> 1;
/// Exemptions under one prefix, at most.
pub const MAX_EXEMPTIONS: usize = 8;

/// Packets that pass a NAT gateway untranslated, to and from one prefix.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exemption {
    /// First port of the remote end, in host byte order.
    pub first: u16,
    /// Last port.
    pub last: u16,
    /// IP protocol number; 0 for all.
    pub protocol: u8,
    /// The rule is there.
    pub used: u8,
    /// Zero.
    pub reserved: u16,
}

/// The rules of one prefix, those of wider prefixes among them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exemptions {
    /// The rules.
    pub rules: [Exemption; MAX_EXEMPTIONS],
}
const _: () = assert!(size_of::<Exemptions>() == 64);

impl Exemptions {
    /// One of the rules is for this protocol and remote port; what has no port is covered by rules
    /// for all ports.
    #[inline(always)]
    pub fn cover(&self, protocol: u8, port: Option<Port>) -> bool {
        let mut covered = false;
        for rule in &self.rules {
            let fits = match port {
                Some(port) => rule.first <= port.get() && port.get() <= rule.last,
                None => rule.first == 0 && rule.last == u16::MAX,
            };
            covered |= rule.used != 0 && (rule.protocol == 0 || rule.protocol == protocol) && fits;
        }
        covered
    }
}

/// What holds for the whole node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// ICMP errors made here, for each CPU and second, at most.
    pub icmp_errors_per_second: u32,
    /// Zero.
    pub reserved: u32,
    /// [`Settings::ONE_TO_ONE`] and others.
    pub flags: u32,
    /// log2 of the ticks in a window of the flow cache.
    pub window_shift: u32,
}

impl Settings {
    /// Some instance has a public IP and no security groups: it is translated without sessions.
    pub const ONE_TO_ONE: u32 = 1;
    /// Some VPC has packets to route within it.
    pub const LOCAL: u32 = 1 << 2;
    /// Some instance has security groups.
    pub const TRACKS: u32 = 1 << 3;
    /// Some instance has a MAC address that its packets must come from.
    pub const STATIONS: u32 = 1 << 4;
    /// Some gateway keeps the source: what comes from outside to a private address may have a session.
    pub const KEEPS_SOURCES: u32 = 1 << 5;
    /// The log names the remote ends that hosts inside write to (RFC 6888 REQ-12).
    pub const LOG_DESTINATIONS: u32 = 1 << 1;

    /// It has this flag.
    #[inline(always)]
    pub const fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

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

    /// It is none of ours: all zeros.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.kind == 0
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
