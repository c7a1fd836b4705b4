//! Cutting a packet that is too big for its next hop into fragments (RFC 791, 3.2). What is not to be
//! fragmented never comes here.

use crate::{
    checksum::Delta,
    wire::{Ipv4Header, TcpHeader},
};

/// The longest packet that is cut, in bytes from its IP header on.
pub const LONGEST: usize = 9216;

/// Least bytes of payload in all fragments but the last, and so in the first one: it has to hold the
/// TCP header with the ports.
const SMALLEST: usize = TcpHeader::LEN.next_multiple_of(UNIT);

/// What fragment offsets count.
const UNIT: usize = 8;

/// Bytes of payload in all fragments but the last one of a packet with a header of this length, on a
/// way that takes `mtu` bytes. `None` when too little goes through at a time.
#[inline(always)]
pub const fn size(mtu: usize, header_length: usize) -> Option<usize> {
    match mtu.checked_sub(header_length) {
        Some(room) if room >= SMALLEST => Some(room & !(UNIT - 1)),
        _ => None,
    }
}

/// A no-operation option, which takes the place of those that only the first fragment has.
const NO_OPERATION: u8 = 1;
const END_OF_OPTIONS: u8 = 0;
/// Of an option's first byte: all fragments have it.
const COPIED: u8 = 0x80;

/// A walk over a header's options, byte by byte.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Walk {
    /// Bytes left of the option at hand.
    left: u32,
    /// It is the first fragment's alone.
    is_firsts: u32,
}

impl Walk {
    /// What `byte` is in later fragments; `next` is the byte behind it, and `rest` the length of the
    /// options from `byte` on. `None`: the options end here, or contradict themselves.
    #[inline(always)]
    pub const fn step(&mut self, byte: u8, next: u8, rest: u32) -> Option<u8> {
        if self.left == 0 {
            match byte {
                END_OF_OPTIONS => return None,
                NO_OPERATION => return Some(NO_OPERATION),
                _ => {}
            }
            if next < 2 || next as u32 > rest {
                return None;
            }
            self.left = next as u32;
            self.is_firsts = (byte & COPIED == 0) as u32;
        }
        self.left -= 1;
        Some(if self.is_firsts == 0 {
            byte
        } else {
            NO_OPERATION
        })
    }
}

/// An IPv4 header with its options and zeros behind them, as 16-bit words of the packet.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Header {
    words: [u16; Self::BYTES / 2],
}

/// Where a fragment stands in the packet it is cut from.
#[derive(Clone, Copy)]
pub struct Piece {
    /// Bytes of the payload in front of it.
    pub at: usize,
    /// Bytes in it.
    pub length: usize,
    /// None comes behind it.
    pub is_last: bool,
}

impl Header {
    /// The longest header, and more: a length for the kernel's helpers is checked by a mask.
    pub const BYTES: usize = 64;
    const LONGEST: usize = 60;

    /// Writes the header of a fragment of the packet with the header `self` to `to`, which has
    /// `header_length` bytes of header with the options that the fragment is to have. The checksum is
    /// updated, not computed anew: one that was wrong stays so.
    #[inline(always)]
    pub fn cut(&self, to: &mut Self, header_length: usize, piece: Piece) {
        const LENGTH: usize = 1;
        const FRAGMENT: usize = 3;
        const CHECKSUM: usize = Ipv4Header::CHECKSUM / 2;
        to.words[LENGTH] = ((header_length + piece.length) as u16).to_be();
        to.words[FRAGMENT] = Ipv4Header::fragment_field(
            self.words[FRAGMENT],
            (piece.at / UNIT) as u16,
            !piece.is_last,
        );
        let mut change = Delta::NONE;
        let mut index = 0;
        while index < Self::LONGEST / 2 {
            if index != CHECKSUM {
                change = change.replace16(self.words[index], to.words[index]);
            }
            index += 1;
        }
        to.words[CHECKSUM] = change.apply(self.words[CHECKSUM]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_later(options: &[u8]) -> Vec<u8> {
        let mut walk = Walk::default();
        let mut all = options.to_vec();
        for index in 0..options.len() {
            let next = options.get(index + 1).copied().unwrap_or(0);
            let rest = (options.len() - index) as u32;
            match walk.step(options[index], next, rest) {
                Some(byte) => all[index] = byte,
                None => break,
            }
        }
        all
    }

    #[test]
    fn rfc791_options_that_are_not_copied_are_the_first_fragments_alone() {
        // Record route, no operation, strict source route, time stamp.
        let options = [7, 7, 4, 1, 2, 3, 4, 1, 0x89, 3, 4, 0x44, 4, 5, 0, 0];
        let later = [1, 1, 1, 1, 1, 1, 1, 1, 0x89, 3, 4, 1, 1, 1, 1, 0];
        assert_eq!(in_later(&options), later);
    }

    #[test]
    fn options_that_contradict_themselves_stay_as_they_are() {
        for options in [[7, 1, 9, 9], [7, 0, 9, 9], [7, 5, 9, 9], [0, 7, 3, 9]] {
            assert_eq!(in_later(&options), options);
        }
        assert_eq!(in_later(&[1, 1, 1, 7]), [1, 1, 1, 7], "cut short");
    }

    #[test]
    fn fragments_are_multiples_of_8_and_hold_a_tcp_header() {
        assert_eq!(size(1500, 20), Some(1480));
        assert_eq!(size(1280, 20), Some(1256));
        assert_eq!(size(1280, 60), Some(1216));
        assert_eq!(size(68, 20), Some(48));
        assert_eq!(size(68, 60), None);
        assert_eq!(size(10, 20), None);
    }
}
