//! What the programs say to the controller's log, at most about once a second for each reason.

use aya_ebpf::{EbpfContext, macros::map, maps::PerCpuArray};
use aya_log_ebpf::warn;
use core::{ffi::c_void, ptr::null_mut};
use nat_common::{
    claim::Claim,
    drop_reason::{self, DropReason},
    map_types::Settings,
};

use crate::{policy_maps::View, settings};

/// Ticks between two messages of one reason from one CPU.
const QUIET: u32 = 8;

#[map]
static LAST_SAID: PerCpuArray<u32> = PerCpuArray::with_max_entries(drop_reason::COUNT, 0);

/// What is said needs no packet.
struct Nobody;

impl EbpfContext for Nobody {
    fn as_ptr(&self) -> *mut c_void {
        null_mut()
    }
}

/// A session could not be made. Says for whom, and what for only where that may be logged (RFC 6888
/// REQ-12): a client, by its gateway's first address.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn claim_failed(claim: *const Claim, reason: u32) -> u32 {
    let (false, Some(last)) = (claim.is_null(), LAST_SAID.get_ptr_mut(reason)) else {
        return 0;
    };
    // SAFETY: checked, and the verifier knows its size.
    let claim = unsafe { &*claim };
    let now = settings::now();
    // SAFETY: this CPU's own slot.
    unsafe {
        if now.wrapping_sub(*last) < QUIET {
            return 0;
        }
        *last = now;
    }
    let context = Nobody;
    let flow = &claim.flow;
    let client = u32::from_be(flow.source.raw());
    let gateway = View::now()
        .gateway(u32::from(claim.gateway))
        .map_or(0, |gateway| u32::from_be(gateway.addresses[0].raw()));
    // Whole texts: one that is put together here would be copied byte by byte.
    macro_rules! say {
        ($alone:literal, $with_destination:literal) => {
            if View::now().has_setting(Settings::LOG_DESTINATIONS) {
                let destination = u32::from_be(flow.destination.raw());
                let port = flow.destination_port.get();
                warn!(
                    &context,
                    $with_destination, client, gateway, flow.protocol, destination, port
                )
            } else {
                warn!(&context, $alone, client, gateway, flow.protocol)
            }
        };
    }
    match DropReason::of_number(reason) {
        DropReason::PortExhausted => say!(
            "no port is free for client {:i} of gateway {:i}, protocol {}",
            "no port is free for client {:i} of gateway {:i}, protocol {}, to {:i}:{}"
        ),
        DropReason::TableFull => say!(
            "the session table is full for client {:i} of gateway {:i}, protocol {}",
            "the session table is full for client {:i} of gateway {:i}, protocol {}, to {:i}:{}"
        ),
        DropReason::ClientQuota => say!(
            "the quota is used up of client {:i} of gateway {:i}, protocol {}",
            "the quota is used up of client {:i} of gateway {:i}, protocol {}, to {:i}:{}"
        ),
        _ => return 0,
    }
    1
}
