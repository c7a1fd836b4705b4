//! Headers as they stand in a frame. Fields are private; accessors give host byte order, or the
//! address types that keep network order.

mod ethernet;
mod ipv4;
mod transport;

pub use ethernet::{ArpPacket, EtherType, EthernetHeader, Mac};
pub use ipv4::{Fragment, Ipv4Addresses, Ipv4Header, Ipv4Rewrite};
pub use transport::{IcmpHeader, IcmpType, TcpFlags, TcpHeader, UdpHeader};

/// Marks header types that can be copied out of and into a frame.
///
/// # Safety
///
/// Every byte pattern is a value, and there is no padding.
pub unsafe trait Wire: Copy {}

// SAFETY: integers have no invalid patterns and no padding.
unsafe impl Wire for u8 {}
// SAFETY: as above.
unsafe impl Wire for u16 {}
// SAFETY: as above.
unsafe impl Wire for u32 {}
// SAFETY: as above; arrays have no padding between their elements.
unsafe impl<const N: usize> Wire for [u16; N] {}
