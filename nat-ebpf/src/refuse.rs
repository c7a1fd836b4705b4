//! Answers to packets that are dropped: the packet itself is made the answer (`nat_common::reply`) and
//! goes back where it came from.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    address::Address,
    clock::Tick,
    drop_reason::DropReason,
    map_types::Counter,
    parse::{self, IPV4_OFFSET, Ipv4Packet, Transport},
    reply::{self, Answer},
    wire::Ipv4Header,
};

use crate::{
    counters,
    forward::{Hook, NextHop},
    plan::Plan,
    policy_maps::View,
    settings, unknown,
};

/// log2 of the ticks that make about a second.
const SECOND_SHIFT: u32 = 3;

/// The second in which a CPU last made an ICMP error, and how many it made in it.
#[map]
static ICMP_ERRORS: PerCpuArray<[u32; 2]> = PerCpuArray::with_max_entries(1, 0);

/// What becomes of a packet that is too big for its next hop: it is cut, or dropped with ICMP 3/4 when
/// it says that it must not be fragmented. Trains are cut by nobody but the NIC, ICMP errors by nobody.
#[inline(always)]
pub fn too_big<H: Hook>(
    hook: &H,
    packet: &Ipv4Packet,
    plan: &mut Plan,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let header = hook.load::<Ipv4Header>(IPV4_OFFSET);
    if header.is_some_and(|header| header.dont_fragment()) {
        plan.answer = Answer::too_big(next.mtu);
    } else if !hook.is_train() && !packet.is_error() {
        next.verdict = H::TOO_BIG;
        return Ok(());
    }
    Err(DropReason::TooBig)
}

/// Turns the packet into its answer, if there is one to make; false when it is still to be dropped.
#[inline(always)]
pub fn answer<H: Hook>(hook: &mut H, answer: Answer) -> bool {
    answer != Answer::NONE && make(hook, answer.to_raw())
}

#[inline(never)]
fn make<H: Hook>(hook: &mut H, answer: u32) -> bool {
    let answer = Answer::from_raw(answer);
    let Ok(packet) = parse::ipv4(hook) else {
        return false;
    };
    let packet = unknown::packet(packet);
    if !answer.is_icmp() {
        let is_made = reply::reset(hook, &packet).is_some();
        if is_made {
            counters::count(Counter::ResetsSent, 1);
        }
        return is_made;
    }
    // RFC 1122, 3.2.2: none about errors, later fragments, or for senders that are none.
    let may_be_told = !matches!(
        packet.transport,
        Transport::IcmpError | Transport::IcmpOther
    ) && !packet.is_later_fragment()
        && !packet.flow.source.is_martian();
    let own = sender(hook, packet.flow.source);
    if !may_be_told || own.is_unspecified() {
        return false;
    }
    if !is_within_limit(settings::now()) {
        counters::count(Counter::IcmpLimited, 1);
        return false;
    }
    let is_made = reply::icmp_error(hook, &packet, own, answer).is_some();
    if is_made {
        counters::count(Counter::IcmpSent, 1);
    }
    is_made
}

/// Whom an error is from: the host, or the router of the receiver's subnet where the host has no address.
#[inline(always)]
fn sender<H: Hook>(hook: &H, receiver: Address) -> Address {
    Address::from_raw(sender_of_errors(hook.ingress(), receiver.raw()))
}

/// A global function: the verifier looks at it once, not anew for each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sender_of_errors(ingress: u32, receiver: u32) -> u32 {
    let view = View::now();
    let Some(interface) = view.interface(ingress) else {
        return 0;
    };
    if !interface.address.is_unspecified() {
        return interface.address.raw();
    }
    view.subnet_behind(ingress, Address::from_raw(receiver))
        .map_or(0, |subnet| subnet.router.raw())
}

/// RFC 1812, 4.3.2.8.
#[inline(always)]
fn is_within_limit(now: Tick) -> bool {
    let Some(slot) = ICMP_ERRORS.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own slot.
    unsafe {
        let [second, made] = &mut *slot;
        if *second != now >> SECOND_SHIFT {
            *second = now >> SECOND_SHIFT;
            *made = 0;
        }
        *made += 1;
        *made
            <= View::now()
                .settings()
                .map_or(0, |settings| settings.icmp_errors_per_second)
    }
}
