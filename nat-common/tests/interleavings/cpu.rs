//! What CPUs do: they carry packets as the dataplane does, sweep, and read the clock. What each packet
//! comes to is judged at once; `audit.rs` judges what is left in the tables when all is quiet.

use std::cell::RefCell;
use std::rc::Rc;

use nat_common::{
    claim::{Claim, claim},
    clock::{Tick, elapsed},
    drop_reason::DropReason,
    flow::{Flow, protocol},
    lifecycle::{GRACE, State, overdue, timeout},
    map_types::{Far, Session, SessionKey, bound_key},
    sessions::{Found, end_if_expired, find, forward_key, outside_flow, reopen_if_closing, sweep},
    shared::admitted,
    tables::Side,
    wire::TcpFlags,
};
use shuttle::{
    current,
    rand::{Rng, thread_rng},
};

use super::{
    setup::{Setup, VPC},
    tables::{GATEWAY, SharedTables, tell},
};

/// Ticks between two sweeps of one session: what a second may look like.
const BETWEEN_SWEEPS: u32 = 7;

/// What came of things, to see that a scenario does what it is for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub schedules: u64,
    pub steps: u64,
    pub operations: u64,
    pub carried: u64,
    pub answers: u64,
    pub made: u64,
    pub let_in: u64,
    pub exhausted: u64,
    pub quota: u64,
    pub full: u64,
    pub race: u64,
    pub ended_in_place: u64,
    pub swept: u64,
    pub rolled_back: u64,
    pub rolled_back_under_a_packet: u64,
}

/// A packet between its look-up and the accounting for it.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    cpu: usize,
    session: SessionKey,
    /// As the remote end addresses it.
    outside: Flow,
    side: Side,
    /// It came so late, or early, that its half may go before it is through; see
    /// [`World::judge_found`].
    is_late: bool,
}

/// What a CPU is at.
#[derive(Clone, Copy, Default, Debug)]
struct Doing {
    busy: bool,
    now: Tick,
    sweeps: bool,
    claims: Option<SessionKey>,
}

/// The last packet of a session that its timer counts.
#[derive(Clone, Copy, Debug)]
struct LastPacket {
    session: SessionKey,
    outside: Flow,
    at: Tick,
}

/// What is known about the packets, independently of the tables.
#[derive(Default)]
pub struct Ledger {
    doing: Vec<Doing>,
    under_way: Vec<UnderWay>,
    last_packets: Vec<LastPacket>,
    /// Flows of answers to packets that went out.
    answers: Vec<Flow>,
    swept: Vec<(SessionKey, Tick)>,
    /// Sessions that a late packet went by: it may be ended by who looked before, though it is kept.
    kept_late: Vec<SessionKey>,
    pub tally: Tally,
}

/// The tables and all CPUs.
pub struct World {
    pub setup: Setup,
    pub tables: SharedTables,
    pub ledger: Rc<RefCell<Ledger>>,
}

// SAFETY: shuttle runs one thread at a time, all of them on one thread of the system.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

fn cpu() -> usize {
    current::get_current_task().map_or(0, usize::from)
}

impl Ledger {
    fn doing(&mut self) -> &mut Doing {
        let cpu = cpu();
        if self.doing.len() <= cpu {
            self.doing.resize(cpu + 1, Doing::default());
        }
        &mut self.doing[cpu]
    }

    fn forget(&mut self, key: &SessionKey) {
        self.forget_last_packet(key);
        self.kept_late.retain(|session| session != key);
    }

    fn forget_last_packet(&mut self, key: &SessionKey) {
        self.last_packets.retain(|last| last.session != *key);
    }
}

impl World {
    /// Tables with nothing but forwards in them.
    pub fn new(setup: Setup) -> Self {
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let seen = Rc::clone(&ledger);
        Self {
            setup,
            tables: setup.tables(Box::new(move |tables, side, key| {
                judge_removal(&mut seen.borrow_mut(), tables, side, key);
            })),
            ledger,
        }
    }

    /// A packet from inside, as `nat-ebpf/src/pipeline.rs` treats it. Answers what it became, or why
    /// it was dropped.
    pub fn packet_out(&self, flow: &Flow, flags: TcpFlags) -> Result<Found, DropReason> {
        self.doing_something(|now| self.out(flow, flags, now))
    }

    fn out(&self, flow: &Flow, flags: TcpFlags, now: Tick) -> Result<Found, DropReason> {
        let key = SessionKey::forward(flow, VPC);
        let mut found = Found::NONE;
        if !find(&self.tables, Side::Inside, &key, now, &mut found) {
            if flow.protocol == protocol::TCP && !flags.opens() {
                return Err(DropReason::NoSession);
            }
            self.claim(flow, now)?;
            if !find(&self.tables, Side::Inside, &key, now, &mut found) {
                self.ledger.borrow_mut().tally.race += 1;
                return Err(DropReason::ClaimRace);
            }
        }
        let outside = flow.with_source(found.address, found.port).reversed();
        self.judge_found(Side::Inside, &key, &key, &outside, &found);
        self.ledger.borrow_mut().answers.push(outside);
        if flow.protocol == protocol::TCP && flags.opens() {
            reopen_if_closing(&self.tables, &key, now);
        }
        self.carry(&found, flags, now);
        Ok(found)
    }

    fn claim(&self, flow: &Flow, now: Tick) -> Result<(), DropReason> {
        let wanted = Claim {
            flow: *flow,
            vpc: VPC,
            gateway: GATEWAY,
            now,
            mapped: nat_common::address::Address::UNSPECIFIED,
            far: Far::NONE,
            lets_in: false,
        };
        self.ledger.borrow_mut().doing().claims = Some(SessionKey::forward(flow, VPC));
        let made = claim(&self.tables, &wanted);
        let mut ledger = self.ledger.borrow_mut();
        ledger.doing().claims = None;
        let tally = &mut ledger.tally;
        match made {
            Ok(()) => tally.made += 1,
            Err(DropReason::PortExhausted) => tally.exhausted += 1,
            Err(DropReason::ClientQuota) => tally.quota += 1,
            Err(DropReason::TableFull) => tally.full += 1,
            Err(DropReason::ClaimRace) => tally.race += 1,
            Err(other) => panic!("a claim failed with {other:?}"),
        }
        made
    }

    /// A packet from outside.
    pub fn packet_in(&self, inbound: &Flow, flags: TcpFlags) -> Result<Found, DropReason> {
        self.doing_something(|now| self.inbound(inbound, flags, now))
    }

    fn inbound(&self, inbound: &Flow, flags: TcpFlags, now: Tick) -> Result<Found, DropReason> {
        let key = SessionKey::reverse(inbound);
        let mut found = Found::NONE;
        if !find(&self.tables, Side::Outside, &key, now, &mut found) {
            let gateway = self.tables.only_gateway();
            let Some(binding) = admitted(&self.tables, inbound, gateway) else {
                return Err(DropReason::NoSession);
            };
            let bound = self.tables.peek_binding(Side::Outside, &bound_key(inbound));
            let rests = State::Dying;
            assert!(
                bound.is_none_or(|bound| bound.lease as u32 != bound_key(inbound).mark(rests)),
                "{inbound:?} is let in to a port that rests"
            );
            self.ledger.borrow_mut().tally.let_in += 1;
            if inbound.protocol != protocol::TCP || !flags.opens() {
                return Err(DropReason::NoSession);
            }
            let inside = inbound.with_destination(binding.address, binding.port);
            self.claim(&inside.reversed(), now)?;
            if !find(&self.tables, Side::Outside, &key, now, &mut found) {
                return Err(DropReason::ClaimRace);
            }
        }
        let half = self.tables.peek(Side::Outside, &key);
        let half = half.expect("a half that was found is in the table");
        self.judge_found(
            Side::Outside,
            &key,
            &forward_key(&key, &half),
            inbound,
            &found,
        );
        self.ledger.borrow_mut().tally.answers += 1;
        if inbound.protocol == protocol::TCP && flags.opens() {
            reopen_if_closing(&self.tables, &forward_key(&key, &half), now);
        }
        self.carry(&found, flags, now);
        Ok(found)
    }

    /// What must hold in the moment a packet has found its session.
    fn judge_found(
        &self,
        side: Side,
        key: &SessionKey,
        session: &SessionKey,
        outside: &Flow,
        found: &Found,
    ) {
        let half = self.tables.peek(side, key);
        let half = half.unwrap_or_else(|| panic!("{key:?} was found, but is not in the table"));
        let mut ledger = self.ledger.borrow_mut();
        let now = ledger.doing().now;
        // Not even a session yet: another CPU has just claimed the port that this packet is for, and
        // gives it back if a third one has made the session meanwhile.
        let claims = |doing: &Doing| {
            doing.claims == Some(*session) || (doing.claims.is_some() && half.created() == now)
        };
        let is_early = side == Side::Outside && ledger.doing.iter().any(claims);
        assert!(
            is_early || (half.mapped_address(), half.mapped_port()) == (found.address, found.port),
            "a packet of {key:?} is translated by another session's half"
        );
        self.tables.judge_uniqueness(self.setup.profile.is_rfc());
        // What is sent from outside keeps the half that it comes by alive, but not the session: that
        // ends with the next sweep.
        let is_kept = side == Side::Outside && self.counts_inside_only();
        let mut is_late = is_kept || is_early;
        if let Some(forward) = self.tables.peek(Side::Inside, session)
            && !is_kept
        {
            let reverse = self
                .tables
                .peek(Side::Outside, &SessionKey::reverse(outside));
            let gateway = self.tables.only_gateway();
            let reverse = reverse.unwrap_or_default();
            let overdue = overdue(session.flow().protocol, now, &forward, &reverse, gateway);
            assert!(
                overdue <= GRACE,
                "{key:?} was found, but is expired for {overdue} ticks"
            );
            if overdue > GRACE - self.setup.skew {
                ledger.kept_late.push(*session);
            }
            is_late |= ledger.kept_late.contains(session);
        }
        for other in &ledger.under_way {
            let session_of_other = self.tables.peek(Side::Inside, &other.session);
            let is_gone = session_of_other
                .is_none_or(|half| outside_flow(&other.session, &half) != other.outside);
            if is_late || other.is_late || (is_gone && self.may_roll_back()) {
                continue;
            }
            if other.session == *session {
                assert_eq!(
                    other.outside, *outside,
                    "two packets of {session:?} are translated differently"
                );
            } else {
                assert_ne!(
                    other.outside, *outside,
                    "{session:?} and {:?} share a public tuple",
                    other.session
                );
            }
        }
        ledger.under_way.push(UnderWay {
            cpu: cpu(),
            session: *session,
            outside: *outside,
            side,
            is_late,
        });
    }

    /// Accounts for a packet: its session must still be there.
    fn carry(&self, found: &Found, flags: TcpFlags, now: Tick) {
        self.tables.point();
        let mut ledger = self.ledger.borrow_mut();
        let ledger = &mut *ledger;
        let cpu = cpu();
        let at = ledger.under_way.iter().position(|packet| packet.cpu == cpu);
        let packet = ledger
            .under_way
            .swap_remove(at.expect("the packet is under way"));
        let key = match packet.side {
            Side::Inside => packet.session,
            Side::Outside => SessionKey::reverse(&packet.outside),
        };
        let before = self.tables.peek(packet.side, &key);
        tell(|| format!("carries {packet:?} with {flags:?}, half {before:?}"));
        found.carry(now, 1, 40, flags);
        let after = self.tables.peek(packet.side, &key);
        if packet.is_late {
            // It may have changed the timer of a session that is being removed.
            ledger.forget_last_packet(&packet.session);
            return;
        }
        let was_counted = matches!(
            (before, after),
            (Some(before), Some(after)) if before.packets() + 1 == after.packets()
        );
        let is_alive = after.is_some_and(|after| is_alive(&key, &after));
        if self.may_roll_back() && !(was_counted && is_alive) {
            // Its maker found a table full or busy, and took it back.
            ledger.tally.rolled_back_under_a_packet += 1;
            return;
        }
        assert!(is_alive, "{key:?} ended under a packet that had found it");
        assert!(was_counted, "a packet of {key:?} was counted elsewhere");
        ledger.tally.carried += 1;
        let is_counted = after.is_some_and(|after| after.last_seen() == now)
            && !(packet.side == Side::Outside && self.counts_inside_only());
        if is_counted {
            ledger.forget_last_packet(&packet.session);
            ledger.last_packets.push(LastPacket {
                session: packet.session,
                outside: packet.outside,
                at: now,
            });
        }
    }

    /// Packets from outside keep no session (RFC 4787 REQ-6).
    fn counts_inside_only(&self) -> bool {
        self.setup.profile.is_rfc() && self.setup.protocol == protocol::UDP
    }

    /// A claim of this scenario may fail halfway.
    pub fn may_roll_back(&self) -> bool {
        self.setup.busy != 0
            || self.setup.stubborn != 0
            || self.setup.capacity.halves < 16
            || self.setup.capacity.bindings < 16
            || self.setup.capacity.clients < 8
    }

    /// One step of a sweep for one session; nothing when the last one was less than a second ago.
    pub fn sweep(&self, key: &SessionKey) -> bool {
        let swept_lately = {
            let mut ledger = self.ledger.borrow_mut();
            let now = self.tables.clock();
            let swept = &ledger.swept;
            ledger.doing.iter().any(|doing| doing.sweeps)
                || swept
                    .iter()
                    .any(|(at, tick)| at == key && elapsed(now, *tick) < BETWEEN_SWEEPS)
                || {
                    ledger.doing().sweeps = true;
                    false
                }
        };
        if swept_lately {
            return false;
        }
        let ended = self.doing_something(|now| sweep(&self.tables, key, now));
        let mut ledger = self.ledger.borrow_mut();
        ledger.doing().sweeps = false;
        ledger.swept.retain(|(at, _)| at != key);
        ledger.swept.push((*key, self.tables.clock()));
        ended
    }

    /// As a packet does that wants the port of this session.
    pub fn end_if_expired(&self, key: &SessionKey) -> bool {
        self.doing_something(|now| end_if_expired(&self.tables, key, now))
    }

    /// Lets time pass, but not more than [`Setup::skew`] while a packet is under way.
    pub fn pass(&self, ticks: u32) {
        self.tables.point();
        let ledger = self.ledger.borrow();
        let busy = ledger.doing.iter().filter(|doing| doing.busy);
        let limit = busy.map(|doing| doing.now + self.setup.skew).min();
        let wanted = self.tables.clock() + ticks;
        let now = limit.map_or(wanted, |limit| wanted.min(limit));
        self.tables.set_clock(now.max(self.tables.clock()));
        tell(|| format!("the clock shows {}", self.tables.clock()));
    }

    fn doing_something<R>(&self, operation: impl FnOnce(Tick) -> R) -> R {
        let now = self.tables.clock();
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.tally.operations += 1;
            let doing = ledger.doing();
            doing.busy = true;
            doing.now = now;
        }
        tell(|| format!("begins at {now}"));
        let result = operation(now);
        tell(|| "is done".to_string());
        self.ledger.borrow_mut().doing().busy = false;
        result
    }

    /// One operation of any kind.
    pub fn anything(&self) {
        match thread_rng().gen_range(0..20) {
            0..8 => {
                let flow = self.any_flow();
                let _ = self.packet_out(&flow, any_flags(self.setup.protocol));
            }
            8..13 => {
                if let Some(inbound) = self.any_answer() {
                    let _ = self.packet_in(&inbound, any_flags(self.setup.protocol));
                }
            }
            13..16 => {
                if let Some(key) = self.any_session() {
                    self.sweep(&key);
                }
            }
            16 => {
                if let Some(key) = self.any_session() {
                    self.end_if_expired(&key);
                }
            }
            _ => self.pass(any_of(&[1, 1, 4, 8, 9, 12, 16, 20, 28, 29, 40, 49, 69])),
        }
    }

    /// A flow from inside.
    pub fn any_flow(&self) -> Flow {
        let mut random = thread_rng();
        self.setup.flow(
            random.gen_range(0..self.setup.clients),
            random.gen_range(0..self.setup.client_ports),
            random.gen_range(0..self.setup.remotes),
        )
    }

    /// A flow from outside that answers a packet that went out, or comes from another port.
    fn any_answer(&self) -> Option<Flow> {
        let ledger = self.ledger.borrow();
        let mut random = thread_rng();
        let count = ledger.answers.len();
        let mut flow = *ledger.answers.get(random.gen_range(0..count.max(1)))?;
        if random.gen_ratio(1, 4) {
            let other = self
                .setup
                .flow(0, 0, random.gen_range(0..self.setup.remotes));
            flow = flow.with_source(other.destination, other.destination_port);
        }
        Some(flow)
    }

    fn any_session(&self) -> Option<SessionKey> {
        let sessions = self.tables.all_halves(Side::Inside);
        let count = sessions.len();
        let chosen = sessions.get(thread_rng().gen_range(0..count.max(1)))?;
        Some(chosen.0)
    }
}

/// No session is ended before its time: after its timer by a sweep, after the grace as well in place.
fn judge_removal(ledger: &mut Ledger, tables: &SharedTables, side: Side, key: &SessionKey) {
    let Some(half) = tables.peek(side, key) else {
        return;
    };
    assert!(!is_alive(key, &half), "{key:?} is removed, but not dead");
    let doing = *ledger.doing();
    match side {
        Side::Inside if doing.claims == Some(*key) && half.created() == doing.now => {
            ledger.tally.rolled_back += 1;
            ledger.forget(key);
        }
        Side::Inside => {
            if doing.sweeps {
                ledger.tally.swept += 1;
            } else {
                ledger.tally.ended_in_place += 1;
            }
            ledger.forget(key);
        }
        Side::Outside => {
            let session = forward_key(key, &half);
            // Its claim has lost the race for the forward half.
            let is_taken_back = doing.claims == Some(session);
            if !is_taken_back
                && let Some(forward) = tables.peek(Side::Inside, &session)
                && outside_flow(&session, &forward) == key.flow()
            {
                judge_time(ledger, tables, &session, &forward, &half);
            }
        }
    }
}

fn judge_time(
    ledger: &mut Ledger,
    tables: &SharedTables,
    key: &SessionKey,
    forward: &Session,
    reverse: &Session,
) {
    let doing = *ledger.doing();
    let gateway = tables.only_gateway();
    let timeout = timeout(key.flow().protocol, forward, reverse, &gateway.timeouts);
    let grace = if doing.sweeps { 0 } else { GRACE };
    if let Some(last) = ledger.last_packets.iter().find(|last| last.session == *key) {
        let outside = outside_flow(key, forward);
        assert_eq!(last.outside, outside, "{key:?} has changed its mapping");
        let idle = elapsed(doing.now, last.at);
        assert!(
            idle > timeout + grace,
            "{key:?} is removed after {idle} ticks, its timeout is {timeout}, grace {grace}"
        );
    }
}

fn any_of(ticks: &[u32]) -> u32 {
    ticks[thread_rng().gen_range(0..ticks.len())]
}

fn any_flags(protocol: u8) -> TcpFlags {
    if protocol != protocol::TCP {
        return TcpFlags::NONE;
    }
    match thread_rng().gen_range(0..10) {
        0..4 => TcpFlags::SYN,
        4 => TcpFlags::SYN.or(TcpFlags::ACK),
        5..7 => TcpFlags::ACK,
        7..9 => TcpFlags::FIN.or(TcpFlags::ACK),
        _ => TcpFlags::RST,
    }
}

/// A session half that still serves packets, or will again.
pub fn is_alive(key: &SessionKey, half: &Session) -> bool {
    half.mark as u32 == key.mark(State::Live) || half.mark as u32 == key.mark(State::Dying)
}
