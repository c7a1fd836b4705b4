//! How a packet gets its session: the programs leave a claim here and go on as the claim program of
//! their hook, which has a stack of its own. That makes the session and starts the packet over.

use core::ffi::c_void;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    claim::{Claim, claim},
    drop_reason::DropReason,
};

use crate::{
    events,
    kernel_tables::{self, KernelTables},
};

/// A claim, and what came of it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ticket {
    claim: Claim,
    /// [`NOTHING`], [`WANTED`], [`MADE`], or [`REFUSED`] and a drop reason.
    outcome: u32,
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
        let outcome = ticket.outcome;
        ticket.outcome = NOTHING;
        return Some(reason(outcome));
    }
    ticket.claim = *wanted;
    ticket.outcome = WANTED;
    None
}

#[inline(always)]
fn reason(outcome: u32) -> DropReason {
    match outcome.wrapping_sub(REFUSED) {
        reason if reason == DropReason::PortExhausted as u32 => DropReason::PortExhausted,
        reason if reason == DropReason::ClientQuota as u32 => DropReason::ClientQuota,
        reason if reason == DropReason::TableFull as u32 => DropReason::TableFull,
        reason if reason == DropReason::Internal as u32 => DropReason::Internal,
        // Made, and ended or being ended at once.
        _ => DropReason::ClaimRace,
    }
}

/// Does what the ticket asks for; in a full table once more after having made room.
#[inline(always)]
pub fn serve(context: *mut c_void) {
    let Some(ticket) = TICKET.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own slot.
    let ticket = unsafe { &mut *ticket };
    if ticket.outcome != WANTED {
        return;
    }
    let mut made = claim(&KernelTables, &ticket.claim);
    if made == Err(DropReason::TableFull) && kernel_tables::make_room(ticket.claim.now) {
        made = claim(&KernelTables, &ticket.claim);
    }
    ticket.outcome = match made {
        Ok(()) => MADE,
        Err(reason) => {
            events::claim_failed(context, &ticket.claim.flow, reason);
            REFUSED + reason as u32
        }
    };
}
