//! How a packet gets its session: the programs leave a claim here and go on as the claim program of
//! their hook, which has a stack of its own. That makes the session and starts the packet over.

use core::ffi::c_void;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    claim::{Claim, ROUNDS, claim_round},
    drop_reason::DropReason,
    flow::protocol,
    map_types::GatewayCounter,
    sessions::is_tracker,
    tables::Tables,
};

use crate::{counters, events, kernel_tables::KernelTables, rehearsal::Rehearsal, room, turns};

/// A claim, and what came of it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ticket {
    claim: Claim,
    /// [`NOTHING`], [`WANTED`], [`MADE`], or [`REFUSED`] and a drop reason.
    outcome: u32,
    round: u32,
}

const NOTHING: u32 = 0;
const WANTED: u32 = 1;
const MADE: u32 = 2;
const REFUSED: u32 = 0x100;

#[map]
static TICKET: PerCpuArray<Ticket> = PerCpuArray::with_max_entries(1, 0);

/// The packet needs this session. `None`: it is yet to be made; otherwise it was tried, and this is
/// why the session is not there.
#[inline(always)]
pub fn redeem(wanted: &Claim) -> Option<DropReason> {
    let Some(ticket) = TICKET.get_ptr_mut(0) else {
        return Some(DropReason::Internal);
    };
    // SAFETY: this CPU's own slot.
    let ticket = unsafe { &mut *ticket };
    if ticket.outcome >= MADE && ticket.claim == *wanted {
        let reason = reason(ticket.outcome);
        ticket.outcome = NOTHING;
        let takes_no_port = wanted.lets_in || is_tracker(wanted.gateway);
        return Some(match reason {
            // Its two ends have a session by another public end, which stays.
            DropReason::ClaimRace if takes_no_port => DropReason::NoSession,
            reason => reason,
        });
    }
    ticket.claim = *wanted;
    ticket.outcome = WANTED;
    ticket.round = 0;
    None
}

#[inline(always)]
fn reason(outcome: u32) -> DropReason {
    match outcome.wrapping_sub(REFUSED) {
        reason if reason == DropReason::PortExhausted as u32 => DropReason::PortExhausted,
        reason if reason == DropReason::ClientQuota as u32 => DropReason::ClientQuota,
        reason if reason == DropReason::TableFull as u32 => DropReason::TableFull,
        reason if reason == DropReason::NoSession as u32 => DropReason::NoSession,
        reason if reason == DropReason::Internal as u32 => DropReason::Internal,
        // Made, but for another public port, or it is being ended already.
        _ => DropReason::ClaimRace,
    }
}

/// Does what the ticket asks for; in a full table once more after having made room.
#[inline(always)]
pub fn serve() {
    turns::take(ROUNDS, serve_round);
    let Some(ticket) = TICKET.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own slot.
    let ticket = unsafe { &mut *ticket };
    let gateway = u32::from(ticket.claim.gateway);
    if ticket.claim.flow.protocol == protocol::TCP {
        counters::count_for(gateway, GatewayCounter::Attempts);
    }
    if ticket.outcome == REFUSED + DropReason::TableFull as u32 && room::make_room(ticket.claim.now)
    {
        ticket.outcome = WANTED;
        turns::take(ROUNDS, serve_round);
    }
    if ticket.outcome >= REFUSED {
        events::claim_failed(&raw const ticket.claim, ticket.outcome - REFUSED);
    } else if ticket.outcome == WANTED {
        ticket.outcome = REFUSED + DropReason::PortExhausted as u32;
    }
    if ticket.outcome == REFUSED + DropReason::PortExhausted as u32 {
        counters::count_for(gateway, GatewayCounter::PortErrors);
    }
}

/// As [`serve`], but nothing is entered into any table.
#[inline(always)]
pub fn rehearse() {
    turns::take(ROUNDS, rehearse_round);
    let Some(ticket) = TICKET.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own slot.
    let ticket = unsafe { &mut *ticket };
    if ticket.outcome == WANTED {
        ticket.outcome = REFUSED + DropReason::PortExhausted as u32;
    }
}

/// One round of the claim.
#[inline(never)]
extern "C" fn serve_round(_index: u32, _nothing: *mut c_void) -> i64 {
    round(&KernelTables)
}

/// The same in a rehearsal.
#[inline(never)]
extern "C" fn rehearse_round(_index: u32, _nothing: *mut c_void) -> i64 {
    round(&Rehearsal)
}

#[inline(always)]
fn round<T: Tables>(tables: &T) -> i64 {
    let Some(ticket) = TICKET.get_ptr_mut(0) else {
        return turns::STOP;
    };
    // SAFETY: this CPU's own slot.
    let ticket = unsafe { &mut *ticket };
    if ticket.outcome != WANTED {
        return turns::STOP;
    }
    ticket.outcome = match claim_round(tables, &ticket.claim, ticket.round) {
        Ok(true) => MADE,
        Ok(false) => {
            ticket.round += 1;
            return turns::GO_ON;
        }
        Err(reason) => REFUSED + reason as u32,
    };
    turns::STOP
}
