//! Questions to the policy, and its answers. A program that has to know leaves the question here and goes
//! on as the policy program of its hook (`decide.rs`), which has a stack of its own; that answers and
//! starts the packet over. Answers hold for this packet alone.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    address::Address,
    policy::{Course, Decision, Inside, Session},
};

use crate::policy_maps::View;

/// A question and its answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slot {
    state: u32,
    /// The generation it is asked, and answered, in.
    epoch: u32,
    /// The stage that asks.
    pub stage: u32,
    /// The session that carries the packet so far.
    pub session: Session,
    /// The source, as the inside sees it; of packets inward.
    pub remote: Address,
    /// Whom they are for.
    pub inside: Inside,
    /// What is found on the way to the answer.
    pub course: Course,
    /// The answer.
    pub decision: Decision,
}

const NOTHING: u32 = 0;
const ASKED: u32 = 1;
const ANSWERED: u32 = 2;

/// What a question is about.
#[derive(Clone, Copy)]
pub enum About {
    /// The packet's way out of where it was sent.
    Outward = 0,
    /// The packet's way to whom its destination, a public IP, stands for.
    Inward = 1,
}

#[map]
static DECISIONS: PerCpuArray<Slot> = PerCpuArray::with_max_entries(2, 0);

#[inline(always)]
fn slot(about: About) -> Option<&'static mut Slot> {
    // SAFETY: this CPU's own slot.
    DECISIONS
        .get_ptr_mut(about as u32)
        .map(|slot| unsafe { &mut *slot })
}

/// Another packet begins.
#[inline(always)]
pub fn forget() {
    for about in [About::Outward, About::Inward] {
        if let Some(slot) = slot(about) {
            slot.state = NOTHING;
        }
    }
}

/// What the policy says about a packet from inside; `None`: it has yet to be asked.
#[inline(always)]
pub fn outward(view: View, stage: u32, session: &Session) -> Option<&'static Decision> {
    let slot = slot(About::Outward)?;
    slot.answered_or_asked(view, stage, session)
}

/// As [`outward`], about a packet whose source is `remote` outside, to somebody inside.
#[inline(always)]
pub fn inward(
    view: View,
    stage: u32,
    session: &Session,
    remote: Address,
    inside: Inside,
) -> Option<&'static Decision> {
    let slot = slot(About::Inward)?;
    slot.remote = remote;
    slot.inside = inside;
    slot.answered_or_asked(view, stage, session)
}

/// The question that waits for an answer, if there is one.
#[inline(always)]
pub fn question(about: About) -> Option<&'static mut Slot> {
    let slot = slot(about)?;
    (slot.state == ASKED).then_some(slot)
}

impl Slot {
    /// The answer, if there is one of this generation; otherwise the question waits for it.
    #[inline(always)]
    fn answered_or_asked(
        &'static mut self,
        view: View,
        stage: u32,
        session: &Session,
    ) -> Option<&'static Decision> {
        if self.state == ANSWERED && self.epoch == view.epoch() {
            return Some(&self.decision);
        }
        self.stage = stage;
        self.session = *session;
        self.epoch = view.epoch();
        self.state = ASKED;
        None
    }

    /// Answers it; one that is of no generation as a whole is asked again.
    #[inline(always)]
    pub fn answer(&mut self, view: View, decision: Decision) {
        self.decision = decision;
        self.epoch = view.epoch();
        self.state = if view.is_whole() { ANSWERED } else { NOTHING };
    }
}
