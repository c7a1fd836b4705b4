//! When a session ends: the timers, and the states its removal goes through. `sessions.rs` carries it
//! out.
//!
//! A session's two halves are removed in two steps so that none that just carried a packet is lost.
//! The expiry program marks an idle session [`State::Dying`]; a packet in either direction marks its
//! half [`State::Live`] again. At least a second later, a session with both halves still dying is
//! marked [`State::Dead`] by compare-and-swap, which no packet revives, and its entries are deleted.
//! A packet that finds its session expired for longer than [`GRACE`] ends it in one step.

use crate::{
    clock::{Tick, elapsed},
    flow::protocol,
    map_types::{Gateway, Session, Timeouts},
    tcp_state::{TcpState, state},
};

/// Where an entry stands on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// In use.
    Live,
    /// Found idle; the next packet revives it. Of a public port: resting.
    Dying,
    /// Being deleted: as good as absent.
    Dead,
}

/// Ticks after the timeout in which a packet still revives its session: longer than a packet is under
/// way in a program, so that no packet goes out by a session that another one finds expired.
pub const GRACE: u32 = 8;

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
            TcpState::Established | TcpState::HalfClosed => timeouts.tcp_established,
            TcpState::Opening => timeouts.tcp_opening,
            TcpState::Closing | TcpState::Reset => timeouts.tcp_closing,
        },
        protocol::UDP if forward.packets() != 0 && reverse.packets() != 0 => timeouts.udp_stream,
        protocol::UDP => timeouts.udp,
        _ => timeouts.icmp,
    }
}

/// The least that [`timeout`] answers for this protocol, whatever the session's state.
pub const fn shortest_timeout(protocol: u8, timeouts: &Timeouts) -> u32 {
    match protocol {
        protocol::TCP => shorter(
            timeouts.tcp_established,
            shorter(timeouts.tcp_opening, timeouts.tcp_closing),
        ),
        protocol::UDP => shorter(timeouts.udp, timeouts.udp_stream),
        _ => timeouts.icmp,
    }
}

const fn shorter(one: u32, other: u32) -> u32 {
    if one < other { one } else { other }
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

/// Ticks by which a session has been idle for longer than its protocol and state allow; 0 when it is
/// not. Where only packets from inside count, those from outside keep no UDP session (RFC 4787 REQ-6).
#[inline(always)]
pub const fn overdue(
    protocol: u8,
    now: Tick,
    forward: &Session,
    reverse: &Session,
    gateway: &Gateway,
) -> u32 {
    let idle = if protocol == protocol::UDP && gateway.is(Gateway::UDP_OUTBOUND_REFRESH) {
        elapsed(now, forward.last_seen())
    } else {
        idle(now, forward, reverse)
    };
    idle.saturating_sub(timeout(protocol, forward, reverse, &gateway.timeouts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{Address, Port},
        map_types::SessionKey,
        wire::TcpFlags,
    };

    fn gateway(flags: u32) -> Gateway {
        Gateway {
            timeouts: Timeouts {
                tcp_established: 350,
                tcp_opening: 240,
                tcp_closing: 120,
                udp: 30,
                udp_stream: 180,
                icmp: 10,
            },
            flags,
            ..Gateway::default()
        }
    }

    fn half(seen: TcpFlags, last_seen: Tick) -> Session {
        let mut session = Session::new(
            &SessionKey::default(),
            Address::UNSPECIFIED,
            Port::NONE,
            0,
            0,
        );
        session.carry(last_seen, 1, 40, seen);
        session
    }

    #[test]
    fn traffic_in_either_direction_keeps_a_session() {
        let (old, fresh) = (half(TcpFlags::NONE, 100), half(TcpFlags::NONE, 125));
        let overdue = |forward, reverse| overdue(protocol::UDP, 301, forward, reverse, &gateway(0));
        assert_eq!(overdue(&old, &old), 21);
        assert_eq!(overdue(&old, &fresh), 0);
        assert_eq!(overdue(&fresh, &old), 0);
    }

    #[test]
    fn rfc4787_req6_inbound_udp_does_not_keep_a_session() {
        let (old, fresh) = (half(TcpFlags::NONE, 100), half(TcpFlags::NONE, 125));
        let rfc = gateway(Gateway::UDP_OUTBOUND_REFRESH);
        assert_eq!(overdue(protocol::UDP, 301, &old, &fresh, &rfc), 21);
        assert_eq!(overdue(protocol::UDP, 301, &fresh, &old, &rfc), 0);
        assert_eq!(overdue(protocol::TCP, 341, &old, &fresh, &rfc), 0);
    }

    #[test]
    fn each_state_has_its_timer() {
        let timeouts = gateway(0).timeouts;
        let timeout = |protocol, forward: &Session, reverse: &Session| {
            timeout(protocol, forward, reverse, &timeouts)
        };
        let quiet = Session::default();
        let syn = half(TcpFlags::SYN, 0);
        let fin = half(TcpFlags::SYN.or(TcpFlags::FIN), 0);
        let rst = half(TcpFlags::SYN.or(TcpFlags::RST), 0);
        assert_eq!(timeout(protocol::TCP, &syn, &quiet), 240);
        assert_eq!(timeout(protocol::TCP, &syn, &syn), 350);
        assert_eq!(timeout(protocol::TCP, &syn, &fin), 350);
        assert_eq!(timeout(protocol::TCP, &fin, &fin), 120);
        assert_eq!(timeout(protocol::TCP, &syn, &rst), 120);
        assert_eq!(timeout(protocol::UDP, &syn, &quiet), 30);
        assert_eq!(timeout(protocol::UDP, &syn, &syn), 180);
        assert_eq!(timeout(protocol::ICMP, &quiet, &quiet), 10);
    }

    #[test]
    fn no_state_has_a_shorter_timer_than_the_shortest() {
        let timeouts = gateway(0).timeouts;
        assert_eq!(shortest_timeout(protocol::TCP, &timeouts), 120);
        assert_eq!(shortest_timeout(protocol::UDP, &timeouts), 30);
    }

    #[test]
    fn rfc7857_more_resets_do_not_keep_a_session() {
        let mut session = half(TcpFlags::SYN, 100);
        session.carry(200, 1, 40, TcpFlags::RST);
        assert_eq!(session.last_seen(), 200);
        session.carry(300, 1, 40, TcpFlags::RST);
        assert_eq!(session.last_seen(), 200);
        session.carry(400, 1, 40, TcpFlags::ACK);
        assert_eq!(session.last_seen(), 400);
    }
}
