//! Address ranges.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An address range like 10.20.0.0/16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: Ipv4Addr,
    length: u8,
}

impl Cidr {
    /// All addresses.
    pub const EVERYWHERE: Self = Self {
        network: Ipv4Addr::UNSPECIFIED,
        length: 0,
    };

    /// The range of `length` (0 to 32) leading bits of `network`.
    #[must_use]
    #[track_caller]
    pub fn new(network: Ipv4Addr, length: u8) -> Self {
        assert!(length <= 32, "prefix length {length}");
        Self { network, length }
    }

    /// How many leading bits its addresses share.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// How many addresses it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        1 << (32 - self.length)
    }

    /// Whether all addresses of `other` are in the range.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.network)
    }

    /// Whether `address` is in the range.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let differing = self.network.to_bits() ^ address.to_bits();
        differing.leading_zeros() >= u32::from(self.length)
    }

    /// The last address.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        self.nth((self.size() - 1) as u32)
    }

    /// The address `offset` behind the first one, inside the range or not.
    #[must_use]
    pub fn nth(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().wrapping_add(offset))
    }

    /// How far behind the first address `address` is; `None` outside the range.
    #[must_use]
    pub fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        let offset = address.to_bits().wrapping_sub(self.network.to_bits());
        self.contains(address).then_some(offset)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not an address range");
        let (network, length) = text.split_once('/').ok_or_else(error)?;
        let network = network.parse().map_err(|_| error())?;
        let length = length.parse().map_err(|_| error())?;
        if length > 32 {
            return Err(error());
        }
        Ok(Self { network, length })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}
