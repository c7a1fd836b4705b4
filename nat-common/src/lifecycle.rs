//! When a session ends: the timers, and the states its removal goes through.
//!
//! A session's two halves are removed in two steps so that none that just carried a packet is lost.
//! The expiry program marks an idle session [`State::Dying`]; a packet in either direction marks its
//! half [`State::Live`] again. At least a second later, a session with both halves still dying is
//! marked [`State::Dead`] by compare-and-swap, which no packet revives, and its entries are deleted.

use crate::{
    clock::{Tick, elapsed},
    flow::protocol,
    map_types::{Session, Timeouts},
    tcp_state::{TcpState, state},
};

/// Where a half of a session stands on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// In use.
    Live,
    /// Found idle; the next packet revives it.
    Dying,
    /// Being deleted: as good as absent.
    Dead,
}

/// How long a session may be idle, in ticks.
#[inline(always)]
pub const fn timeout(
    protocol: u8,
    forward: &Session,
    reverse: &Session,
    timeouts: &Timeouts,
) -> u32 {
    match protocol {
        protocol::TCP => match state(forward.tcp_seen(), reverse.tcp_seen()) {
            TcpState::Established => timeouts.tcp_established,
            TcpState::Opening | TcpState::Closing | TcpState::Reset => timeouts.tcp_transitory,
        },
        protocol::UDP => timeouts.udp,
        _ => timeouts.icmp,
    }
}

/// The least that [`timeout`] answers for this protocol, whatever the session's state.
pub const fn shortest_timeout(protocol: u8, timeouts: &Timeouts) -> u32 {
    match protocol {
        protocol::TCP if timeouts.tcp_established < timeouts.tcp_transitory => {
            timeouts.tcp_established
        }
        protocol::TCP => timeouts.tcp_transitory,
        protocol::UDP => timeouts.udp,
        _ => timeouts.icmp,
    }
}

/// How long ago a session last carried a packet in either direction, in ticks.
#[inline(always)]
pub const fn idle(now: Tick, forward: &Session, reverse: &Session) -> u32 {
    let last = if forward.last_seen() > reverse.last_seen() {
        forward.last_seen()
    } else {
        reverse.last_seen()
    };
    elapsed(now, last)
}

/// The session has been idle for longer than its protocol and state allow.
#[inline(always)]
pub const fn expired(
    protocol: u8,
    now: Tick,
    forward: &Session,
    reverse: &Session,
    timeouts: &Timeouts,
) -> bool {
    idle(now, forward, reverse) > timeout(protocol, forward, reverse, timeouts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{Address, Port},
        map_types::SessionKey,
        wire::TcpFlags,
    };

    const TIMEOUTS: Timeouts = Timeouts {
        tcp_established: 350,
        tcp_transitory: 240,
        udp: 30,
        icmp: 10,
    };

    fn half(seen: TcpFlags, last_seen: Tick) -> Session {
        let mut session = Session::new(
            &SessionKey::default(),
            Address::UNSPECIFIED,
            Port::NONE,
            0,
            last_seen,
        );
        session.record(seen);
        session
    }

    #[test]
    fn traffic_in_either_direction_keeps_a_session() {
        let old = half(TcpFlags::NONE, 100);
        let fresh = half(TcpFlags::NONE, 125);
        assert!(expired(protocol::UDP, 131, &old, &old, &TIMEOUTS));
        assert!(!expired(protocol::UDP, 131, &old, &fresh, &TIMEOUTS));
        assert!(!expired(protocol::UDP, 131, &fresh, &old, &TIMEOUTS));
    }

    #[test]
    fn each_state_has_its_timer() {
        let syn = half(TcpFlags::SYN, 0);
        let quiet = half(TcpFlags::NONE, 0);
        let fin = half(TcpFlags::SYN.or(TcpFlags::FIN), 0);
        assert_eq!(timeout(protocol::TCP, &syn, &quiet, &TIMEOUTS), 240);
        assert_eq!(timeout(protocol::TCP, &syn, &syn, &TIMEOUTS), 350);
        assert_eq!(timeout(protocol::TCP, &syn, &fin, &TIMEOUTS), 240);
        assert_eq!(timeout(protocol::ICMP, &quiet, &quiet, &TIMEOUTS), 10);
    }
}
