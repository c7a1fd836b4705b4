//! TCP sessions as a NAT sees them. Each direction's half of a session records the flags it
//! carried, so no direction writes the other's cache line; the state is derived from both.

use crate::wire::TcpFlags;

/// State of a TCP session (RFC 7857, 2.1, coarsened to what the timers need).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpState {
    /// Only one side has sent a SYN.
    Opening,
    /// Both sides have.
    Established,
    /// At least one side has sent a FIN.
    Closing,
    /// A side has sent a RST.
    Reset,
}

impl TcpState {
    /// The name in the CLI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Reset => "reset",
        }
    }
}

/// The flags worth recording: those a state is derived from.
#[inline(always)]
#[must_use]
pub const fn recorded(flags: TcpFlags) -> TcpFlags {
    flags.and(TcpFlags::SYN.or(TcpFlags::FIN).or(TcpFlags::RST))
}

/// The state of a session whose inside sent `forward` and whose outside sent `reverse`.
#[inline(always)]
pub const fn state(forward: TcpFlags, reverse: TcpFlags) -> TcpState {
    let both = forward.or(reverse);
    if both.any(TcpFlags::RST) {
        TcpState::Reset
    } else if both.any(TcpFlags::FIN) {
        TcpState::Closing
    } else if forward.any(TcpFlags::SYN) && reverse.any(TcpFlags::SYN) {
        TcpState::Established
    } else {
        TcpState::Opening
    }
}

/// A SYN in this state opens a new connection on the old tuple (port reuse against TIME_WAIT,
/// RFC 9293, 3.6.1).
#[inline(always)]
pub const fn reopens(state: TcpState) -> bool {
    matches!(state, TcpState::Closing | TcpState::Reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_goes_from_opening_to_reset() {
        let (none, syn) = (TcpFlags::NONE, TcpFlags::SYN);
        assert_eq!(state(syn, none), TcpState::Opening);
        assert_eq!(state(syn, syn), TcpState::Established);
        assert_eq!(state(syn.or(TcpFlags::FIN), syn), TcpState::Closing);
        assert_eq!(state(syn, syn.or(TcpFlags::RST)), TcpState::Reset);
        assert!(!reopens(TcpState::Established));
        assert!(reopens(TcpState::Closing));
    }
}
