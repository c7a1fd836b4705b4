//! RFC 5382 and RFC 7857.

use nat_tests::{
    model::{Forward, NatGateway, Side},
    packets::{PacketBuilder, Transport, addresses, icmp_type, protocol, tcp_flags},
};
use tcp_flags::{ACK, FIN, PSH, RST, SYN};

use super::*;
use crate::{
    PRIVATE,
    bench::{Bench, Hook},
};

/// A side that sends, and the flags that it does.
type Step = (Side, u8);
const OUT: Side = PRIVATE;
const IN: Side = Side::Uplink;

/// One connection, seen from both sides.
struct Connection {
    inside: SocketAddrV4,
    outside: SocketAddrV4,
    public: SocketAddrV4,
}

impl Connection {
    fn packet(&self, side: Side, flags: u8) -> PacketBuilder {
        match side {
            Side::Uplink => segment(self.outside, self.public, flags),
            Side::Inside(_) => segment(self.inside, self.outside, flags),
        }
    }

    /// A connection whose first SYN came from inside.
    #[track_caller]
    fn open(bench: &mut Bench) -> Self {
        let (inside, outside) = (host(), server());
        let public = public(bench, &syn(inside, outside));
        Self {
            inside,
            outside,
            public,
        }
    }

    #[track_caller]
    fn established(bench: &mut Bench) -> Self {
        let connection = Self::open(bench);
        connection.carry(bench, &[(IN, SYN | ACK), (OUT, ACK)]);
        connection
    }

    /// All of these pass, each with the addresses it should have.
    #[track_caller]
    fn carry(&self, bench: &mut Bench, steps: &[Step]) {
        for (number, &(side, flags)) in steps.iter().enumerate() {
            let out = sent(bench, side, &self.packet(side, flags));
            let expected = match side {
                Side::Uplink => [self.outside, self.inside],
                Side::Inside(_) => [self.public, self.outside],
            };
            assert_eq!([out.source(), out.destination()], expected, "step {number}");
            let Transport::Tcp(tcp) = out.transport else {
                panic!("no TCP");
            };
            assert_eq!(tcp.flags, flags);
        }
    }

    #[track_caller]
    fn is_there(&self, bench: &mut Bench) -> bool {
        gets_in(bench, &self.packet(IN, ACK))
    }
}

/// Openings, closings and what lies between, of RFC 9293's figures, opened from inside.
pub fn rfc5382_req2_every_valid_sequence_passes(hook: Hook) {
    let opened: [&[Step]; 3] = [
        &[(IN, SYN | ACK), (OUT, ACK)],
        // Both at once, and with a first SYN that was lost.
        &[(IN, SYN), (OUT, SYN | ACK), (IN, SYN | ACK), (OUT, ACK)],
        &[(OUT, SYN), (OUT, SYN), (IN, SYN | ACK), (OUT, ACK)],
    ];
    let closed: [&[Step]; 6] = [
        &[(OUT, FIN | ACK), (IN, ACK), (IN, FIN | ACK), (OUT, ACK)],
        &[(IN, FIN | ACK), (OUT, ACK), (OUT, FIN | ACK), (IN, ACK)],
        &[(OUT, FIN | ACK), (IN, FIN | ACK), (OUT, ACK), (IN, ACK)],
        // One side goes on for long after the other has nothing more to say.
        &[
            (OUT, FIN | ACK),
            (IN, PSH | ACK),
            (OUT, ACK),
            (IN, PSH | ACK),
            (IN, FIN | ACK),
            (OUT, ACK),
        ],
        &[(OUT, RST)],
        &[(IN, RST | ACK)],
    ];
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        for opening in opened {
            for closing in closed {
                bench.reset();
                let connection = Connection::open(&mut bench);
                connection.carry(&mut bench, opening);
                connection.carry(&mut bench, &[(OUT, PSH | ACK), (IN, ACK), (IN, PSH | ACK)]);
                connection.carry(&mut bench, closing);
                assert_eq!(bench.sessions(), 1, "{kind:?}");
                // What comes late passes as well.
                connection.carry(&mut bench, &[(OUT, ACK), (IN, ACK)]);
            }
        }
    }
}

/// The same for connections opened from outside, where that is permitted: a forwarded port.
pub fn rfc5382_req2_a_connection_opened_from_outside_passes(hook: Hook) {
    let forward = Forward {
        protocol: protocol::TCP,
        public_ip: addresses::NAT_PUBLIC,
        ports: 8080..=8080,
        to: SocketAddrV4::new(addresses::PRIVATE_A, 80),
    };
    let mut bench = Bench::with_gateway(
        hook,
        NatGateway {
            forwards: vec![forward],
            ..Kind::Rfc.gateway()
        },
    );
    let connection = Connection {
        inside: SocketAddrV4::new(addresses::PRIVATE_A, 80),
        outside: server(),
        public: SocketAddrV4::new(addresses::NAT_PUBLIC, 8080),
    };
    connection.carry(
        &mut bench,
        &[(IN, SYN), (OUT, SYN | ACK), (IN, ACK), (IN, PSH | ACK)],
    );
    connection.carry(
        &mut bench,
        &[(OUT, ACK), (OUT, FIN | ACK), (IN, FIN | ACK), (OUT, ACK)],
    );
    assert_eq!(bench.sessions(), 1);
}

/// No answer whatever, and the SYN from inside that comes meanwhile opens the connection.
pub fn rfc5382_req4_an_unsolicited_syn_is_dropped_in_silence(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        // Profile aws keeps this port; profile rfc shows which it is by another connection.
        let public = public(&mut bench, &syn(host(), other_server()));
        let unsolicited = syn(server(), public);
        for _ in 0..3 {
            assert!(!gets_in(&mut bench, &unsolicited), "{kind:?}");
            bench.advance(seconds(1));
        }
        assert_eq!(bench.sessions(), 1, "it leaves nothing behind");
        let connection = Connection::open(&mut bench);
        assert_eq!(connection.public, public);
        connection.carry(&mut bench, &[(IN, SYN), (OUT, SYN | ACK), (IN, ACK)]);
    }
}

/// The timer of a state: the session is there a little before it is over, and not afterwards.
#[track_caller]
fn lives_for(bench: &mut Bench, kind: Kind, steps: &[Step], timer: u64) {
    for (wait, is_there) in [(timer - 1, true), (timer + 2, false)] {
        bench.reset();
        let connection = Connection::open(bench);
        connection.carry(bench, steps);
        bench.advance(seconds(wait));
        swept(bench);
        let case = format!("{kind:?}, {steps:?}, after {wait} s");
        assert_eq!(connection.is_there(bench), is_there, "{case}");
    }
}

/// 7440 s in profile rfc; profile aws has its own 350 s.
pub fn rfc5382_req5_an_established_connection_may_be_idle_for_2_h_4_min(hook: Hook) {
    for (kind, timer) in [(Kind::Rfc, 7440), (Kind::Aws, 350)] {
        let mut bench = kind.bench(hook);
        lives_for(&mut bench, kind, &[(IN, SYN | ACK), (OUT, ACK)], timer);
        // So may one that is half closed.
        let half = [(IN, SYN | ACK), (OUT, ACK), (OUT, FIN | ACK), (IN, ACK)];
        lives_for(&mut bench, kind, &half, timer);
    }
}

pub fn rfc7857_partial_open_lasts_for_4_minutes(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        lives_for(&mut bench, kind, &[], 240);
    }
}

pub fn rfc7857_closing_lasts_for_4_minutes(hook: Hook) {
    let closing = [
        (IN, SYN | ACK),
        (OUT, ACK),
        (OUT, FIN | ACK),
        (IN, FIN | ACK),
        (OUT, ACK),
    ];
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        lives_for(&mut bench, kind, &closing, 240);
    }
}

/// It is translated, and the session stays for 4 minutes that packets keep.
pub fn rfc7857_a_rst_is_translated_and_its_session_lasts_for_4_more_minutes(hook: Hook) {
    for kind in BOTH {
        for side in [OUT, IN] {
            let mut bench = kind.bench(hook);
            let reset = [(IN, SYN | ACK), (OUT, ACK), (side, RST)];
            lives_for(&mut bench, kind, &reset, 240);
        }
    }
}

/// A forger's RST is one that the connection survives: the side it seems to come from goes on.
pub fn rfc7857_a_rst_from_off_the_path_does_not_kill_a_connection(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let connection = Connection::established(&mut bench);
        connection.carry(&mut bench, &[(IN, RST)]);
        bench.advance(seconds(200));
        connection.carry(&mut bench, &[(OUT, PSH | ACK), (IN, ACK)]);
        // Established again, with all of its time.
        bench.advance(seconds(300));
        assert_eq!(swept(&mut bench), 0);
        connection.carry(&mut bench, &[(OUT, PSH | ACK), (IN, ACK)]);
    }
}

/// Neither RSTs again and again nor errors keep a session.
pub fn rfc7857_rsts_and_errors_that_answer_do_not_refresh(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let connection = Connection::established(&mut bench);
        connection.carry(&mut bench, &[(OUT, RST)]);
        for _ in 0..3 {
            bench.advance(seconds(60));
            connection.carry(&mut bench, &[(OUT, RST)]);
            let quoted = segment(connection.outside, connection.inside, ACK);
            let error = PacketBuilder::icmp(
                *connection.inside.ip(),
                *connection.outside.ip(),
                icmp_type::UNREACHABLE,
                3,
            );
            sent(&mut bench, OUT, &error.quoting(&quoted.build(), None));
        }
        bench.advance(seconds(62));
        swept(&mut bench);
        assert_eq!(bench.sessions(), 0, "{kind:?}");
    }
}

/// Two hosts behind one gateway by each other's public ends; each sees the other's.
pub fn rfc5382_req8_two_hosts_connect_by_their_public_ends(hook: Hook) {
    let mut bench = Kind::Open.bench(hook);
    let listens = public(&mut bench, &syn(neighbour(), server()));
    let first = sent(&mut bench, PRIVATE, &syn(host(), listens));
    assert_eq!(first.destination(), neighbour());
    let caller = first.source();
    assert_eq!(*caller.ip(), addresses::NAT_PUBLIC, "not its own address");
    let answer = sent(
        &mut bench,
        PRIVATE,
        &segment(neighbour(), caller, SYN | ACK),
    );
    assert_eq!([answer.source(), answer.destination()], [listens, host()]);
    let last = sent(&mut bench, PRIVATE, &segment(host(), listens, ACK));
    assert_eq!([last.source(), last.destination()], [caller, neighbour()]);
}

/// In both profiles: to a host with a public address of its own.
pub fn rfc5382_req8a_a_hairpins_receiver_sees_the_public_end(hook: Hook) {
    for kind in ALL {
        let mut bench = kind.bench(hook);
        let web = SocketAddrV4::new(addresses::WEB_PUBLIC, 80);
        let first = sent(&mut bench, PRIVATE, &syn(host(), web));
        assert_eq!(*first.source().ip(), addresses::NAT_PUBLIC);
        assert_eq!(*first.destination().ip(), addresses::WEB_PRIVATE);
        let private = SocketAddrV4::new(addresses::WEB_PRIVATE, 80);
        let answer = segment(private, first.source(), SYN | ACK);
        let answer = sent(&mut bench, crate::PUBLIC, &answer);
        assert_eq!([answer.source(), answer.destination()], [web, host()]);
    }
}

/// Every code of destination unreachable gets to who sent the segment, and the connection goes on.
pub fn rfc5382_req9_and_rfc5382_req10_errors_are_translated_and_end_no_connection(hook: Hook) {
    for kind in BOTH {
        let mut bench = kind.bench(hook);
        let connection = Connection::established(&mut bench);
        for (icmp_type, codes) in [(3, 0..16), (11, 0..2), (12, 0..3)] {
            for code in codes {
                let quoted = segment(connection.public, connection.outside, ACK).build();
                let to = addresses::NAT_PUBLIC;
                let error = PacketBuilder::icmp(addresses::OTHER_SERVER, to, icmp_type, code);
                let out = sent(&mut bench, IN, &error.quoting(&quoted, None));
                assert_eq!(out.dst, *connection.inside.ip());
                let Transport::Icmp(icmp) = out.transport else {
                    panic!("no ICMP");
                };
                assert_eq!((icmp.icmp_type, icmp.code), (icmp_type, code));
                connection.carry(&mut bench, &[(OUT, PSH | ACK), (IN, ACK)]);
            }
        }
        assert_eq!(bench.sessions(), 1);
    }
}

/// Port reuse against TIME_WAIT, and after a RST: the session starts over, with its mapping.
pub fn a_syn_reopens_a_session_that_is_closing(hook: Hook) {
    let endings: [&[Step]; 3] = [
        &[(OUT, FIN | ACK), (IN, FIN | ACK), (OUT, ACK)],
        &[(OUT, RST)],
        &[(IN, RST)],
    ];
    for kind in BOTH {
        for ending in endings {
            let mut bench = kind.bench(hook);
            let connection = Connection::established(&mut bench);
            connection.carry(&mut bench, ending);
            bench.advance(seconds(100));
            connection.carry(&mut bench, &[(OUT, SYN), (IN, SYN | ACK), (OUT, ACK)]);
            assert_eq!(bench.sessions(), 1);
            // It is established, not closing: 240 s do not end it.
            bench.advance(seconds(300));
            assert_eq!(swept(&mut bench), 0, "{kind:?}, {ending:?}");
            connection.carry(&mut bench, &[(OUT, PSH | ACK)]);
        }
    }
}

/// Profile aws resets what it does not know, profile rfc drops it in silence.
pub fn an_unknown_segment_from_inside_is_reset_in_profile_aws(hook: Hook) {
    for flags in [ACK, PSH | ACK, FIN | ACK, SYN | ACK] {
        let packet = segment(host(), server(), flags).seq_ack(1000, 77);
        let outcome = Kind::Aws.bench(hook).run(PRIVATE, &packet.build());
        let Outcome::Refuse("no_session", reply) = outcome else {
            panic!("{outcome:?}");
        };
        let reply = parsed(&reply);
        assert_eq!([reply.source(), reply.destination()], [server(), host()]);
        let Transport::Tcp(tcp) = reply.transport else {
            panic!("no TCP");
        };
        assert_eq!((tcp.flags, tcp.seq), (RST, 77));
        let outcome = Kind::Rfc.bench(hook).run(PRIVATE, &packet.build());
        assert!(
            matches!(outcome, Outcome::Drop("no_session")),
            "{outcome:?}"
        );
    }
}
