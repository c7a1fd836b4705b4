//! What was decided about a packet: data that the last stage of `pipeline.rs` carries out.

use nat_common::{flow::Flow, map_types::Interface, reply::Answer, sessions::Found};

/// Where a stage leaves a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It goes on to the next stage.
    GoOn,
    /// It is the host's, unchanged.
    Pass,
    /// It is a fragment of a datagram that was dropped.
    Drop,
    /// A later fragment whose fate depends on a first one that has not come yet.
    Wait,
    /// A session has to be made first: see `ticket.rs`.
    Claim,
    /// The TC program's.
    HandUp,
    /// Nothing is known yet.
    Undecided,
}

/// What becomes of a packet. Whole from the start: an enum with payloads is partly uninitialised, and
/// the verifier refuses copies of that.
pub struct Plan {
    /// The flow it becomes.
    pub to: Flow,
    /// The forward half that carries it, when it leaves through a NAT gateway.
    pub forward: Found,
    /// The reverse half that carries it, when it comes in through one.
    pub reverse: Found,
    /// One of the two is there.
    // Not read from them: the verifier forbids what the compiler makes of it.
    pub has_session: bool,
    /// Generation of the policy it was decided under.
    pub epoch: u32,
    /// It goes to a host inside, not to an uplink.
    pub inward: bool,
    /// Every fragment finds its own way: no session and no port decides.
    pub is_stateless: bool,
    /// It gets this IP identification, in network byte order.
    pub identification: u16,
    /// It gets another one at all.
    pub renumbers: bool,
    /// What it is answered with when it is dropped.
    pub answer: Answer,
}

impl Plan {
    /// Nothing changes yet.
    #[inline(always)]
    pub const fn new(flow: &Flow, epoch: u32) -> Self {
        Self {
            to: *flow,
            forward: Found::NONE,
            reverse: Found::NONE,
            has_session: false,
            epoch,
            inward: false,
            is_stateless: true,
            identification: 0,
            renumbers: false,
            answer: Answer::NONE,
        }
    }

    /// The role of the interface it leaves by.
    #[inline(always)]
    pub const fn side(&self) -> u32 {
        if self.inward {
            Interface::INSIDE
        } else {
            Interface::UPLINK
        }
    }
}
