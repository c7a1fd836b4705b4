//! What halves of sessions record, and the timer that follows from it.

use std::time::Duration;

use super::clock::{GRACE, tick, ticks_in};
use super::{Direction, ModelConfig, Session, Timeouts};
use crate::packets::{protocol, tcp_flags};

/// One direction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// When it last carried a packet that counts as use, in ticks of 2^27 ns.
    pub last_seen: u64,
    /// The TCP flags SYN, FIN and RST that it carried.
    pub flags: u8,
    /// Packets it carried.
    pub packets: u64,
}

/// Where a TCP connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Not both sides have sent SYN.
    Opening,
    /// Both have.
    Established,
    /// One side has sent FIN.
    HalfClosed,
    /// Both have.
    Closing,
    /// Either side has sent RST, and nothing since.
    Reset,
}

impl Half {
    /// Carried nothing yet.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            last_seen: tick(now),
            flags: 0,
            packets: 0,
        }
    }

    fn carry(&mut self, now: Duration, flags: u8) {
        use tcp_flags::{FIN, RST, SYN};
        let is_repeated_reset = flags & self.flags & RST != 0;
        // RFC 7857 section 2.2: resets do not keep a session.
        if !is_repeated_reset {
            self.last_seen = tick(now);
        }
        self.flags = (self.flags & !RST) | (flags & (SYN | FIN | RST));
        self.packets += 1;
    }
}

impl Session {
    /// Where its TCP connection stands.
    #[must_use]
    pub fn tcp_state(&self) -> TcpState {
        use tcp_flags::{FIN, RST, SYN};
        let halves = [self.forward.flags, self.reverse.flags];
        let with = |flag| halves.iter().filter(|flags| *flags & flag != 0).count();
        match (with(RST), with(FIN), with(SYN)) {
            (1.., _, _) => TcpState::Reset,
            (_, 2, _) => TcpState::Closing,
            (_, 1, _) => TcpState::HalfClosed,
            (_, _, 2) => TcpState::Established,
            _ => TcpState::Opening,
        }
    }

    /// Records a packet; `flags` are 0 except in TCP.
    pub(super) fn carry(&mut self, now: Duration, direction: Direction, flags: u8) {
        let is_over = matches!(self.tcp_state(), TcpState::Closing | TcpState::Reset);
        if opens_connection(flags) && is_over {
            self.forward.flags = 0;
            self.reverse.flags = 0;
        }
        match direction {
            Direction::Forward => self.forward.carry(now, flags),
            Direction::Reverse => self.reverse.carry(now, flags),
        }
    }

    fn timeout(&self, timeouts: &Timeouts) -> Duration {
        let went_both_ways = self.forward.packets > 0 && self.reverse.packets > 0;
        match self.flow.protocol {
            protocol::TCP => match self.tcp_state() {
                TcpState::Opening => timeouts.tcp_opening,
                TcpState::Established | TcpState::HalfClosed => timeouts.tcp,
                TcpState::Closing | TcpState::Reset => timeouts.tcp_closing,
            },
            protocol::UDP if went_both_ways => timeouts.udp_stream,
            protocol::UDP => timeouts.udp,
            _ => timeouts.icmp,
        }
    }

    /// Ticks that it has been idle beyond its timeout: 0 when it is in time.
    fn overdue(&self, now: Duration, config: &ModelConfig) -> u64 {
        let gateway = self.gateway().map(|gateway| &config.gateways[gateway]);
        let timeouts = gateway.map_or(&Timeouts::TRACKED, |gateway| &gateway.timeouts);
        let is_rfc = gateway.is_some_and(|gateway| gateway.is_rfc());
        // RFC 4787 REQ-6: what comes from outside does not keep a mapping.
        let last_seen = if is_rfc && self.flow.protocol == protocol::UDP {
            self.forward.last_seen
        } else {
            self.forward.last_seen.max(self.reverse.last_seen)
        };
        let idle = tick(now).saturating_sub(last_seen);
        idle.saturating_sub(ticks_in(self.timeout(timeouts)))
    }

    /// A sweep would remove it.
    pub(super) fn is_idle(&self, now: Duration, config: &ModelConfig) -> bool {
        self.overdue(now, config) > 0
    }

    /// It is as good as absent, swept or not.
    pub(super) fn is_expired(&self, now: Duration, config: &ModelConfig) -> bool {
        self.overdue(now, config) > GRACE
    }
}

/// Whether a TCP segment with these flags may open a session.
pub(super) fn opens_connection(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    flags & (SYN | ACK | RST | FIN) == SYN
}
