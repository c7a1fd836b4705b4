//! IPv4 addresses and ports as they stand in a packet: network byte order, never swapped on the
//! packet's way. [`crate::flow`] builds five-tuples of them.

use core::{cmp::Ordering, fmt, net::Ipv4Addr};

/// An IPv4 address in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Address(u32);

impl Address {
    /// `0.0.0.0`.
    pub const UNSPECIFIED: Self = Self(0);

    /// From the four bytes as they stand in a packet.
    #[inline(always)]
    pub const fn from_wire(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// The four bytes as they stand in a packet.
    #[inline(always)]
    pub const fn to_wire(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// The word as loaded from memory, for checksums, hashes and the kernel's own structures.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The inverse of [`Address::raw`].
    #[inline(always)]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// It is none.
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        self.0 == 0
    }

    /// How far behind `first` it is, in addresses; a huge number when it is before.
    #[inline(always)]
    pub const fn offset_from(self, first: Self) -> u32 {
        u32::from_be(self.0).wrapping_sub(u32::from_be(first.0))
    }

    #[inline(always)]
    const fn first_octet(self) -> u8 {
        self.to_wire()[0]
    }

    /// No sender outside has it: this network (0/8), loopback (127/8), multicast, reserved.
    #[inline(always)]
    pub const fn is_martian(self) -> bool {
        matches!(self.first_octet(), 0 | 127 | 224..)
    }

    /// Multicast (224/4) or limited broadcast: never routed through a NAT. What is reserved (240/4) is routed
    /// like other destinations, as Linux does.
    #[inline(always)]
    pub const fn is_multicast_or_broadcast(self) -> bool {
        self.first_octet() & 0xf0 == 224 || self.raw() == u32::MAX
    }
}

/// As numbers.
impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        u32::from_be(self.0).cmp(&u32::from_be(other.0))
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_wire(address.octets())
    }
}

impl From<Address> for Ipv4Addr {
    fn from(address: Address) -> Self {
        Self::from(address.to_wire())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv4Addr::from(*self), f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv4Addr::from(*self), f)
    }
}

/// A TCP or UDP port, or an ICMP query identifier, in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Port(u16);

impl Port {
    /// Stands where a protocol has no port on that side.
    pub const NONE: Self = Self(0);

    /// From host byte order.
    #[inline(always)]
    pub const fn new(port: u16) -> Self {
        Self(port.to_be())
    }

    /// In host byte order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From the word as loaded from memory.
    #[inline(always)]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }

    /// The word as loaded from memory, for checksums and hashes.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}
