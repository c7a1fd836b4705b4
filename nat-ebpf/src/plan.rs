//! What was decided about a packet: data that the program which sends it on (`send.rs`) carries out.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    address::{Address, Port},
    clock::Tick,
    flow::Flow,
    map_types::{Far, SERVICES, SERVICES_VPC, Session, SessionKey, TRACKER},
    policy,
    reply::Answer,
    sessions::{Found, is_tracker},
    wire::TcpFlags,
};

use crate::{halves, trace};

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
    /// The policy has to be asked first: see `decisions.rs`.
    Decide,
    /// A session has to be made first: see `ticket.rs`.
    Claim,
    /// It is a ping to the router's own address.
    AnswerPing,
    /// The TC program's.
    HandUp,
    /// Nothing is known yet.
    Undecided,
}

/// A half that carries the packet. By its key, because a pointer that lies in a map is one no more.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Carrier {
    /// Its key.
    pub key: SessionKey,
    /// Address its packets get.
    pub address: Address,
    /// Port its packets get.
    pub port: Port,
    /// The last bits of when it was made.
    pub made: u16,
    /// The NAT gateway's number (forward half), or the scope of the forward half's key (reverse half).
    pub owner: u16,
    /// It is there.
    pub is_there: u16,
    /// Its packets went this way before, in this generation of the policy.
    pub has_passed: u16,
    /// The NAT gateway's number.
    pub gateway: u16,
    /// What its packets get at their far end.
    pub far: Far,
}

impl Carrier {
    /// One that was just found.
    #[inline(always)]
    pub fn set(&mut self, key: &SessionKey, found: &Found) {
        self.gateway = found.gateway;
        self.far = found.far();
        self.key = *key;
        self.address = found.address;
        self.port = found.port;
        self.made = found.made;
        self.owner = found.owner;
        self.is_there = 1;
    }

    /// One that would be made.
    #[inline(always)]
    pub fn set_from(&mut self, key: &SessionKey, half: &Session) {
        self.gateway = half.gateway();
        self.far = half.far();
        self.key = *key;
        self.address = half.mapped_address();
        self.port = half.mapped_port();
        self.made = 0;
        self.owner = half.owner();
        self.is_there = 1;
        self.has_passed = 0;
    }

    /// It carries nothing.
    #[inline(always)]
    pub const fn forget(&mut self) {
        self.is_there = 0;
        self.has_passed = 0;
    }

    /// There is none.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.is_there == 0
    }

    /// It is there, and its packets change at both ends.
    #[inline(always)]
    pub const fn is_far(&self) -> bool {
        !self.is_none() && !self.far.is_none()
    }

    /// What a packet of a forward half becomes.
    #[inline(always)]
    pub const fn outward(&self, flow: &Flow) -> Flow {
        self.far.outward(flow, (self.address, self.port))
    }

    /// What a packet of a reverse half becomes.
    #[inline(always)]
    pub const fn inward(&self, flow: &Flow) -> Flow {
        self.far.inward(flow, (self.address, self.port))
    }

    /// Of a reverse half: the key of the forward one.
    #[inline(always)]
    pub const fn forward_key(&self, flow: &Flow) -> SessionKey {
        let end = self.far.or((flow.source, flow.source_port));
        SessionKey::between((self.address, self.port), end, flow.protocol, self.owner)
    }

    /// It is of a flow that went to an instance.
    #[inline(always)]
    pub const fn is_of_another_way(&self) -> bool {
        !self.is_none() && self.key.scope() & SessionKey::VIA_INSTANCE != 0
    }

    /// Accounts for packets that it carries; bits of [`halves::CARRIED`] and the others.
    #[inline(always)]
    pub fn carry(&self, now: Tick, packets: u64, bytes: u64, flags: TcpFlags) -> u32 {
        if self.is_none() {
            return 0;
        }
        let key = self.key;
        let made_and_flags = u32::from(self.made) | u32::from(flags.bits()) << 16;
        halves::carry_half(&raw const key, made_and_flags, packets, bytes, now)
    }
}

/// What becomes of a packet.
#[repr(C)]
pub struct Plan {
    /// The flow it becomes.
    pub to: Flow,
    /// The forward half that carries it, when it leaves by a session.
    pub forward: Carrier,
    /// The reverse half that carries it, when it comes back by one.
    pub reverse: Carrier,
    /// Generation of the policy it was decided under.
    pub epoch: u32,
    /// The stage that decides.
    pub stage: u32,
    /// The instance that it goes to although it is not its destination, or unspecified.
    pub via: Address,
    /// What it is answered with when it is dropped.
    pub answer: Answer,
    /// The VPC of the host it goes to, or the sender's.
    pub vpc: u16,
    /// The NAT gateway it goes through; [`TRACKER`] is none.
    pub gateway: u16,
    /// It gets this IP identification, in network byte order.
    pub identification: u16,
    /// It gets another one at all.
    pub renumbers: bool,
    /// One of the two halves is there.
    pub has_session: bool,
    /// It goes to a host inside, not to an uplink.
    pub inward: bool,
    /// Every fragment finds its own way: no session and no port decides.
    pub is_stateless: bool,
    /// Rules decided by addresses and ports, and no session had a say: its flow goes on that way under this
    /// policy.
    pub is_steady: bool,
    /// It is a later fragment to which addresses alone do not say where it goes.
    pub has_own_hop: bool,
}

#[map]
static PLAN: PerCpuArray<Plan> = PerCpuArray::with_max_entries(1, 0);

/// The plan that the last program made.
#[inline(always)]
pub fn last() -> Option<&'static mut Plan> {
    // SAFETY: this CPU's own slot.
    PLAN.get_ptr_mut(0).map(|plan| unsafe { &mut *plan })
}

/// A plan by which nothing changes yet.
#[inline(always)]
pub fn begin(flow: &Flow, epoch: u32, stage: u32) -> Option<&'static mut Plan> {
    let plan = last()?;
    plan.to = *flow;
    plan.forget_sessions();
    plan.epoch = epoch;
    plan.stage = stage;
    plan.via = Address::UNSPECIFIED;
    plan.answer = Answer::NONE;
    plan.vpc = 0;
    plan.gateway = TRACKER as u16;
    plan.identification = 0;
    plan.renumbers = false;
    plan.has_session = false;
    plan.inward = false;
    plan.is_stateless = true;
    plan.is_steady = false;
    plan.has_own_hop = false;
    Some(plan)
}

/// Notes down what the last program decided, and the next hop.
#[inline(never)]
pub fn note(interface: u32, gateway: u32) {
    let Some(plan) = last() else {
        return;
    };
    for (half, step) in [
        (&plan.forward, policy::Step::Session),
        (&plan.reverse, policy::Step::Answer),
    ] {
        if !half.is_none() {
            trace::note_end(step, half.address, half.port, half.owner);
        }
    }
    let to = &plan.to;
    trace::note_end(policy::Step::Source, to.source, to.source_port, 0);
    trace::note_end(
        policy::Step::Destination,
        to.destination,
        to.destination_port,
        0,
    );
    trace::note(policy::Step::NextHop, interface, gateway);
}

impl Plan {
    /// No session carries it.
    #[inline(always)]
    pub const fn forget_sessions(&mut self) {
        self.forward.forget();
        self.reverse.forget();
    }

    /// Its packets went this way before, in this generation of the policy.
    #[inline(always)]
    pub const fn has_passed(&self) -> bool {
        self.forward.has_passed | self.reverse.has_passed != 0
    }

    /// Its session is one of an endpoint.
    #[inline(always)]
    pub const fn is_far(&self) -> bool {
        self.forward.is_far() || self.reverse.is_far()
    }

    /// It comes back by a gateway endpoint: of two hosts with the same address in two VPCs, its session alone
    /// tells which it is for.
    #[inline(always)]
    pub fn is_kept(&self, sent_to: Address) -> bool {
        self.is_answer() && !is_tracker(self.reverse.gateway) && self.to.destination == sent_to
    }

    /// The VPC of the host it goes to where addresses alone do not tell it; otherwise 0.
    #[inline(always)]
    pub fn vpc_told(&self, sent_to: Address) -> u16 {
        if self.is_far() || self.is_kept(sent_to) {
            self.vpc_of_receiver()
        } else {
            0
        }
    }

    /// A reverse half carries it.
    #[inline(always)]
    pub const fn is_answer(&self) -> bool {
        !self.reverse.is_none()
    }

    /// The VPC of the host it goes to; 0 when it goes to an uplink.
    #[inline(always)]
    pub const fn vpc_of_receiver(&self) -> u16 {
        if self.inward {
            self.vpc
        } else if self.gateway == SERVICES as u16 {
            SERVICES_VPC
        } else {
            0
        }
    }

    /// The flow by which its next hop is found.
    #[inline(always)]
    pub const fn routed(&self) -> Flow {
        if self.via.is_unspecified() {
            self.to
        } else {
            self.to.with_destination(self.via, self.to.destination_port)
        }
    }
}
