//! What is counted.

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
