//! TCP sessions as a NAT sees them. Each direction's half of a session records the flags it
//! carried, so no direction writes the other's cache line; the state is derived from both.

use crate::wire::TcpFlags;

/// State of a TCP session (RFC 7857, 2.1; RFC 6146, 3.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpState {
    /// Only one side has sent a SYN: partial open.
    Opening,
    /// Both sides have.
    Established,
    /// One side has sent a FIN; the other may go on for as long as it likes.
    HalfClosed,
    /// Both sides have.
    Closing,
    /// A side has sent a RST, and nothing after it.
    Reset,
}

impl TcpState {
    /// The name in the CLI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::HalfClosed => "half-closed",
            Self::Closing => "closing",
            Self::Reset => "reset",
        }
    }
}

/// What a half records after a packet with these flags: of SYN, FIN and RST those a state is derived
/// from. A RST may be a forgery from off the path; another packet of its sender shows that it was
/// (RFC 7857, 2.2; RFC 6146, 3.5.2.2).
#[inline(always)]
#[must_use]
pub const fn after(seen: TcpFlags, flags: TcpFlags) -> TcpFlags {
    let kept = seen.and(TcpFlags::SYN.or(TcpFlags::FIN));
    kept.or(flags.and(TcpFlags::SYN.or(TcpFlags::FIN).or(TcpFlags::RST)))
}

/// The state of a session whose inside sent `forward` and whose outside sent `reverse`.
#[inline(always)]
pub const fn state(forward: TcpFlags, reverse: TcpFlags) -> TcpState {
    let (either, both) = (forward.or(reverse), forward.and(reverse));
    if either.any(TcpFlags::RST) {
        TcpState::Reset
    } else if both.any(TcpFlags::FIN) {
        TcpState::Closing
    } else if either.any(TcpFlags::FIN) {
        TcpState::HalfClosed
    } else if both.any(TcpFlags::SYN) {
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

    const NONE: TcpFlags = TcpFlags::NONE;
    const SYN: TcpFlags = TcpFlags::SYN;
    const FIN: TcpFlags = TcpFlags::SYN.or(TcpFlags::FIN);

    #[test]
    fn rfc7857_a_session_is_closing_when_both_sides_have_sent_fin() {
        assert_eq!(state(SYN, NONE), TcpState::Opening);
        assert_eq!(state(SYN, SYN), TcpState::Established);
        assert_eq!(state(FIN, SYN), TcpState::HalfClosed);
        assert_eq!(state(SYN, FIN), TcpState::HalfClosed);
        assert_eq!(state(FIN, FIN), TcpState::Closing);
        assert!(!reopens(TcpState::Established) && !reopens(TcpState::HalfClosed));
        assert!(reopens(TcpState::Closing) && reopens(TcpState::Reset));
    }

    #[test]
    fn rfc7857_a_forged_rst_is_forgotten_with_the_next_packet_of_its_sender() {
        let reset = after(SYN, TcpFlags::RST);
        assert_eq!(state(SYN, reset), TcpState::Reset);
        assert_eq!(
            state(SYN, after(reset, TcpFlags::ACK)),
            TcpState::Established
        );
        assert_eq!(state(FIN, after(reset, TcpFlags::FIN)), TcpState::Closing);
    }
}
