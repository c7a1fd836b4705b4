//! Datagrams on their way in pieces: what became of the first fragment becomes of the others.

use crate::{address::Address, clock::Tick, wire::Mac};

/// A fragmented datagram on one side of the NAT.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DatagramKey {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// IP identification, in network byte order.
    pub identification: u16,
    /// IP protocol number.
    pub protocol: u16,
    /// The interface's index inside, so that nobody adds to what another one sends; 0 outside.
    pub scope: u32,
    /// And the station that it comes from; zeros outside.
    pub station: Mac,
    /// Zero.
    pub reserved: u16,
}
const _: () = assert!(size_of::<DatagramKey>() == 24);

/// What happens to the fragments of a datagram, as in [`Fate::kind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FateKind {
    /// The first fragment has not come yet: the others are held.
    Unknown,
    /// They are the host's.
    Pass,
    /// They are dropped.
    Drop,
    /// They are translated.
    Forward,
}

/// What is known of a datagram.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fate {
    /// Changed by compare-and-swap only; see [`FateWord`].
    pub word: u64,
    /// When the first fragment, or the last of those that wait for it, came.
    pub seen: Tick,
    /// Sender of the translated fragments.
    pub source: Address,
    /// Their receiver.
    pub destination: Address,
    /// Their IP identification, in network byte order.
    pub identification: u16,
    /// Bits of [`Fate::INWARD`] and [`Fate::RENUMBERED`].
    pub flags: u16,
    /// The instance that they go to although it is not their receiver, or unspecified.
    pub via: Address,
    /// The VPC they go to.
    pub vpc: u16,
    /// Zero.
    pub reserved: u16,
}
const _: () = assert!(size_of::<Fate>() == 32);

impl Fate {
    /// They go inside, not to an uplink.
    pub const INWARD: u16 = 1;
    /// They get the identification that is kept here.
    /// The addresses alone do not say where they go.
    pub const OWN_HOP: u16 = 1 << 2;
    pub const RENUMBERED: u16 = 1 << 1;
    /// Ticks after which a datagram is forgotten: about 30 s, the kernel's own reassembly time.
    pub const LIFETIME: u32 = 224;
}

/// The word that says what happens to the fragments of a datagram, and how many wait for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FateWord(pub u64);

impl FateWord {
    /// Of these.
    #[inline(always)]
    pub const fn new(kind: FateKind, held: u32) -> Self {
        let kind = match kind {
            FateKind::Unknown => 0,
            FateKind::Pass => 1,
            FateKind::Drop => 2,
            FateKind::Forward => 3,
        };
        Self(kind | (held as u64) << 32)
    }

    /// What happens to the fragments.
    #[inline(always)]
    pub const fn kind(self) -> FateKind {
        match self.0 as u32 {
            1 => FateKind::Pass,
            2 => FateKind::Drop,
            3 => FateKind::Forward,
            _ => FateKind::Unknown,
        }
    }

    /// How many are held.
    #[inline(always)]
    pub const fn held(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Longest frame that is held, in bytes.
pub const HELD_BYTES: usize = 2048;
/// Fragments held at a time, of all datagrams.
pub const HELD_FRAMES: u32 = 512;
/// Fragments of one datagram that are held: as many as 64 KiB take at an MTU of 1500, and some.
pub const HELD_PER_DATAGRAM: u32 = 64;

/// A place for a fragment that waits for the first one of its datagram.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HeldFrame {
    /// Changed by compare-and-swap: free, being written or read, or full.
    pub state: u64,
    /// Its datagram.
    pub key: DatagramKey,
    /// Bytes of the frame; 0 when the place is free.
    pub length: u32,
    /// When it came.
    pub seen: Tick,
    /// The frame.
    pub bytes: [u8; HELD_BYTES],
}

impl HeldFrame {
    /// Nothing is in it.
    pub const FREE: u64 = 0;
    /// Somebody is at it.
    pub const BUSY: u64 = 1;
    /// It holds a fragment.
    pub const FULL: u64 = 2;
}
