//! What is counted.

use super::MAX_GATEWAYS;

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
    /// Sessions that a packet found expired, and ended.
    SessionsReclaimed = 7,
    /// TCP connections reset because they are unknown here.
    ResetsSent = 8,
    /// ICMP errors made here.
    IcmpSent = 9,
    /// ICMP errors not made because there were too many.
    IcmpLimited = 10,
    /// Fragments held until the first one of their datagram comes.
    FragmentsHeld = 11,
    /// Held fragments that went on.
    FragmentsReleased = 12,
    /// Packets cut into fragments because they were too big for their next hop.
    Fragmented = 13,
    /// Pings to a router's address answered.
    PingsAnswered = 14,
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
        Self::SessionsReclaimed,
        Self::ResetsSent,
        Self::IcmpSent,
        Self::IcmpLimited,
        Self::FragmentsHeld,
        Self::FragmentsReleased,
        Self::Fragmented,
        Self::PingsAnswered,
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
            Self::SessionsReclaimed => "sessions_reclaimed",
            Self::ResetsSent => "resets_sent",
            Self::IcmpSent => "icmp_sent",
            Self::IcmpLimited => "icmp_limited",
            Self::FragmentsHeld => "fragments_held",
            Self::FragmentsReleased => "fragments_released",
            Self::Fragmented => "fragmented",
            Self::PingsAnswered => "pings_answered",
        }
    }
}

/// What the dataplane counts for each NAT gateway besides its [`GatewayTraffic`].
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GatewayCounter {
    /// TCP connections that somebody wanted to open.
    Attempts = 0,
    /// TCP connections that ended after both ends had opened them.
    Established = 1,
    /// Sessions that were not made for want of a port.
    PortErrors = 2,
    /// Sessions that ended because nothing came for too long, other than TCP connections that were over.
    IdleTimeouts = 3,
    /// Packets dropped on their way through it.
    Drops = 4,
}

impl GatewayCounter {
    /// Every counter, in order.
    pub const ALL: &[Self] = &[
        Self::Attempts,
        Self::Established,
        Self::PortErrors,
        Self::IdleTimeouts,
        Self::Drops,
    ];
    /// How many there are.
    pub const COUNT: u32 = Self::ALL.len() as u32;
    /// Places of all gateways.
    pub const PLACES: u32 = MAX_GATEWAYS * Self::COUNT;

    /// The name in dumps of the map.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Established => "established",
            Self::PortErrors => "port_errors",
            Self::IdleTimeouts => "idle_timeouts",
            Self::Drops => "drops",
        }
    }

    /// Where this one is for the gateway of this number.
    #[inline(always)]
    pub const fn place(self, gateway: u32) -> u32 {
        gateway * Self::COUNT + self as u32
    }
}

/// What sessions of a NAT gateway have carried. What lines of the flow cache have counted comes here when it
/// comes to the session.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GatewayTraffic {
    /// Packets from inside.
    pub packets_out: u64,
    /// Bytes of these, from the IP header on.
    pub bytes_out: u64,
    /// Packets from outside.
    pub packets_in: u64,
    /// Bytes of these.
    pub bytes_in: u64,
}
const _: () = assert!(size_of::<GatewayTraffic>() == 32);

impl GatewayTraffic {
    /// All of them together.
    #[must_use]
    pub fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |mut sum, each| {
            sum.add(true, each.packets_out, each.bytes_out);
            sum.add(false, each.packets_in, each.bytes_in);
            sum
        })
    }

    /// Adds what a half has carried: a forward one what comes from inside.
    #[inline(always)]
    pub const fn add(&mut self, is_forward: bool, packets: u64, bytes: u64) {
        if is_forward {
            self.packets_out += packets;
            self.bytes_out += bytes;
        } else {
            self.packets_in += packets;
            self.bytes_in += bytes;
        }
    }
}

/// What went through a NAT gateway in both directions in the busiest ten seconds of the last minute. The
/// controller writes it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GatewayPeak {
    /// On average of the ten seconds.
    pub packets_per_second: u64,
    /// From the IP header on.
    pub bytes_per_second: u64,
}
const _: () = assert!(size_of::<GatewayPeak>() == 16);
