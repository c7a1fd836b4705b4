//! Values of which the verifier expects nothing. It follows each outcome of a decision through all that comes
//! behind, as long as it can tell one from the other. Where all of them go the same way from here on, it is
//! told nothing, and follows one: programs load in a fraction of the time.

use core::mem::transmute_copy;

use nat_common::{drop_reason::DropReason, flow::Flow, icmp_error::Quote, parse::Ipv4Packet};

/// Always 0. The verifier does not know that: it could be written to.
#[unsafe(no_mangle)]
static mut NOTHING: u32 = 0;

/// The same value.
///
/// # Safety
///
/// It has 1, 2 or 4 bytes, all of them initialised.
#[inline(always)]
unsafe fn with<T: Copy>(value: T, nothing: u32) -> T {
    const { assert!(matches!(size_of::<T>(), 1 | 2 | 4)) };
    // SAFETY: what is joined with 0 is what it was.
    unsafe {
        match size_of::<T>() {
            1 => transmute_copy(&(transmute_copy::<T, u8>(&value) | nothing as u8)),
            2 => transmute_copy(&(transmute_copy::<T, u16>(&value) | nothing as u16)),
            _ => transmute_copy(&(transmute_copy::<T, u32>(&value) | nothing)),
        }
    }
}

#[inline(always)]
fn nothing() -> u32 {
    // SAFETY: nobody writes to it.
    unsafe { (&raw const NOTHING).read_volatile() }
}

/// Whatever its protocol.
#[inline(always)]
pub fn flow(flow: Flow) -> Flow {
    let nothing = nothing();
    // SAFETY: numbers.
    unsafe {
        Flow {
            source_port: with(flow.source_port, nothing),
            destination_port: with(flow.destination_port, nothing),
            protocol: with(flow.protocol, nothing),
            ..flow
        }
    }
}

/// Whatever its headers said.
#[inline(always)]
pub fn packet(packet: Ipv4Packet) -> Ipv4Packet {
    let nothing = nothing();
    // SAFETY: numbers, and enums without payload.
    unsafe {
        Ipv4Packet {
            flow: flow(packet.flow),
            transport: with(packet.transport, nothing),
            flags: with(packet.flags, nothing),
            fragment: with(packet.fragment, nothing),
            ..packet
        }
    }
}

/// Whatever it quotes.
#[inline(always)]
pub fn quote(mut quote: Quote) -> Quote {
    quote.flow = flow(quote.flow);
    // SAFETY: an enum without payload.
    quote.quoted = unsafe { with(quote.quoted, nothing()) };
    quote
}

/// Whatever it is.
#[inline(always)]
pub fn reason(reason: DropReason) -> DropReason {
    // SAFETY: an enum without payload.
    unsafe { with(reason, nothing()) }
}
