//! The one way the pipeline touches a frame. Implemented for XDP (in place) and TC (through the
//! kernel's helpers) in `nat-ebpf`, and here for a byte slice, which the tests compare with.

use crate::{checksum::Delta, wire::Wire};

/// Which bytes a transport checksum covers decides how partially computed checksums are edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransportEdit {
    /// Change of the addresses, part of the pseudo header (zero for ICMP, which has none).
    pub pseudo_header: Delta,
    /// Change of the transport header itself.
    pub header: Delta,
    /// UDP: zero means no checksum.
    pub zero_is_none: bool,
}

impl TransportEdit {
    /// The checksum after the edit of a packet whose checksum is complete.
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        let delta = self.pseudo_header.and(self.header);
        if self.zero_is_none {
            delta.apply_udp(checksum)
        } else {
            delta.apply(checksum)
        }
    }
}

/// A frame, starting with its Ethernet header. Offsets and lengths are in bytes.
pub trait Packet {
    /// Length of the whole frame.
    fn length(&self) -> usize;

    /// It is a train of segments, which may be longer than an IPv4 header can say.
    fn is_train(&self) -> bool {
        false
    }

    /// Copies a `T` out of the frame; `None` past its end.
    fn load<T: Wire>(&self, offset: usize) -> Option<T>;

    /// Writes a `T` into the frame; `None` past its end.
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Edits the 16-bit transport checksum at `offset`. Called before the bytes it covers are
    /// written.
    fn edit_transport_checksum(&mut self, offset: usize, edit: TransportEdit) -> Option<()>;
}

impl Packet for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let bytes = self.get(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: the slice is as long as T, and T: Wire has no invalid byte pattern.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        let bytes = self.get_mut(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: the slice is as long as T, and T: Wire has no padding.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }

    fn edit_transport_checksum(&mut self, offset: usize, edit: TransportEdit) -> Option<()> {
        let checksum = self.load::<u16>(offset)?;
        self.store(offset, edit.apply(checksum))
    }
}
