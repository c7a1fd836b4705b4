//! What is too big for its next hop and may be fragmented, at TC (RFC 4787 REQ-13a): it is cut as it
//! came in, and its fragments are received in its place. From there on they are fragments like any
//! others: the first one finds the session, all get one identification, and the kernel asks for the
//! next hop's MAC address where that is not known yet.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC},
    helpers::{
        bpf_clone_redirect, bpf_loop, bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_store_bytes,
    },
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{
    cut::{self, Header, LONGEST, Piece, Walk},
    flow::protocol,
    map_types::Counter,
    packet::Packet as _,
    parse::IPV4_OFFSET,
    reply::Reshape as _,
    wire::{Fragment, Ipv4Header, TcpHeader, UdpHeader},
};

use crate::{bounds, counters, forward::Hook as _, sum, tc_packet::TcPacket};

/// The longest options, in bytes.
const OPTIONS: u32 = 40;
/// Fragments of a packet, at most: no smaller ones are made than [`cut::size`] says.
const PIECES: u32 = LONGEST.div_ceil(24) as u32;

/// A packet that is being cut. In a map: it is too large for the stack, and of a map's content the
/// verifier expects nothing.
#[repr(C)]
struct Cutting {
    mtu: u32,
    header_length: u32,
    /// Bytes of payload: of the packet, of a fragment, and of those already sent.
    payload: u32,
    size: u32,
    sent: u32,
    /// What the bounds of a length are checked in.
    taken: u32,
    walk: Walk,
    whole: Header,
    /// With the options that all fragments have.
    later: Header,
    piece: Header,
    bytes: [u8; 2 * LONGEST],
}

#[map]
static CUTTING: PerCpuArray<Cutting> = PerCpuArray::with_max_entries(1, 0);

/// Leaves word for the stage that cuts, how long fragments may be, in bytes.
#[inline(always)]
pub fn for_mtu(mtu: u16) {
    if let Some(state) = CUTTING.get_ptr_mut(0) {
        // SAFETY: this CPU's own slot.
        unsafe { (*state).mtu = u32::from(mtu) };
    }
}

/// Cuts the packet and has its fragments received. It is used up; false when it is to be dropped.
#[inline(always)]
pub fn run(packet: &mut TcPacket) -> bool {
    let (Some(state), Some(header)) = (
        CUTTING.get_ptr_mut(0),
        packet.load::<Ipv4Header>(IPV4_OFFSET),
    ) else {
        return false;
    };
    let (length, header_length) = (header.total_length(), header.header_length());
    if header_length < Ipv4Header::LEN || length <= header_length || length > LONGEST {
        return false;
    }
    let payload = length - header_length;
    // RFC 791: no datagram is longer.
    if header.fragment_offset() + payload > u16::MAX as usize {
        return false;
    }
    // SAFETY: this CPU's own slot.
    let mtu = unsafe { (&raw const (*state).mtu).read_volatile() } as usize;
    let Some(size) = cut::size(mtu, header_length) else {
        return false;
    };
    // SAFETY: as above.
    unsafe {
        (*state).header_length = header_length as u32;
        (*state).payload = payload as u32;
        (*state).size = size as u32;
        (*state).sent = 0;
        (*state).walk = Walk::default();
    }
    let skb: *mut __sk_buff = packet.context().cast();
    let is_cut = finish_checksum(packet, &header).is_some()
        && take_apart(skb, state)
        && forget_checksum(skb)
        && send(skb, state);
    if is_cut {
        counters::count(Counter::Fragmented, 1);
    }
    is_cut
}

/// What a virtual interface left to its peer: the sum over all, which no fragment has.
#[inline(always)]
fn finish_checksum(packet: &mut TcPacket, header: &Ipv4Header) -> Option<()> {
    let at = IPV4_OFFSET + header.header_length();
    let field = match (header.protocol(), header.fragment()) {
        (protocol::UDP, Fragment::Whole) => at + UdpHeader::CHECKSUM,
        (protocol::TCP, Fragment::Whole) => at + TcpHeader::CHECKSUM,
        _ => return Some(()),
    };
    if packet.is_unfinished(field) {
        let length = header.total_length() - header.header_length();
        let finished = match sum::of(packet, at as u32, length as u32)?.checksum() {
            0 => u16::MAX,
            other => other,
        };
        packet.store(field, finished)?;
    }
    Some(())
}

/// Copies header and payload.
#[inline(always)]
fn take_apart(skb: *mut __sk_buff, state: *mut Cutting) -> bool {
    // SAFETY: the program's own context and this CPU's own slot; the lengths are within bounds.
    unsafe {
        let whole = (&raw mut (*state).whole).cast::<u64>();
        for index in 0..Header::BYTES / size_of::<u64>() {
            whole.add(index).write_volatile(0);
        }
        let length = header_length(state);
        let copied = bpf_skb_load_bytes(skb.cast(), IPV4_OFFSET as u32, whole.cast(), length);
        if copied != 0 {
            return false;
        }
        (*state).later = (*state).whole;
        if length > Ipv4Header::LEN as u32 {
            let step: extern "C" fn(u32, *mut c_void) -> i64 = leave_out;
            let mut nothing = 0u64;
            bpf_loop(OPTIONS, step as *mut c_void, (&raw mut nothing).cast(), 0);
        }
        let slot = &raw mut (*state).taken;
        let Some(payload) = bounds::length::<LONGEST>(slot, (*state).payload) else {
            return false;
        };
        let bytes = (&raw mut (*state).bytes).cast();
        bpf_skb_load_bytes(skb.cast(), IPV4_OFFSET as u32 + length, bytes, payload) == 0
    }
}

/// The header's length with bounds that the verifier sees.
///
/// # Safety
///
/// `state` is this CPU's own slot, and says 20 to 60.
#[inline(always)]
unsafe fn header_length(state: *const Cutting) -> u32 {
    const { assert!(Header::BYTES.is_power_of_two()) };
    // SAFETY: the caller's.
    let length = unsafe { (&raw const (*state).header_length).read_volatile() };
    (length.wrapping_sub(1) & (Header::BYTES as u32 - 1)) + 1
}

/// Byte `index` of the options, in later fragments.
#[inline(never)]
extern "C" fn leave_out(index: u32, _: *mut c_void) -> i64 {
    let Some(state) = CUTTING.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: this CPU's own slot; the byte and the one behind it are within the header's 64.
    unsafe {
        let at = Ipv4Header::LEN as u32 + index;
        let length = (*state).header_length;
        if index >= OPTIONS || at >= length {
            return 1;
        }
        let byte = (&raw mut (*state).later).cast::<u8>().add(at as usize);
        match (*state).walk.step(*byte, *byte.add(1), length - at) {
            Some(left) => *byte = left,
            None => return 1,
        }
    }
    0
}

/// The kernel believes that the transport checksum is right, or still to be finished. It forgets that
/// when the packet begins behind where that checksum begins: for a moment all headers are cut off.
#[inline(always)]
fn forget_checksum(skb: *mut __sk_buff) -> bool {
    const HEADERS: i32 = 76;
    // SAFETY: the program's own context. All behind the Ethernet header is written anew.
    unsafe {
        bpf_skb_adjust_room(skb, -HEADERS, BPF_ADJ_ROOM_MAC, 0) == 0
            && bpf_skb_adjust_room(skb, HEADERS, BPF_ADJ_ROOM_MAC, 0) == 0
    }
}

/// Has all fragments received by the interface that the packet came from.
#[inline(always)]
fn send(skb: *mut __sk_buff, state: *const Cutting) -> bool {
    let mut work = skb;
    // SAFETY: the callback has the signature the helper calls it with, and what it works on outlives it;
    // this CPU's own slot.
    unsafe {
        let step: extern "C" fn(u32, *mut c_void) -> i64 = send_piece;
        bpf_loop(PIECES, step as *mut c_void, (&raw mut work).cast(), 0);
        (&raw const (*state).sent).read_volatile() == (*state).payload
    }
}

#[inline(never)]
extern "C" fn send_piece(_: u32, work: *mut c_void) -> i64 {
    let Some(state) = CUTTING.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: `send` passes the program's own context; this CPU's own slot, and what is read of it is
    // checked against its size.
    unsafe {
        let skb = *work.cast::<*mut __sk_buff>();
        let sent = (&raw const (*state).sent).read_volatile();
        let (payload, size) = ((*state).payload, (*state).size);
        if sent >= payload || sent >= LONGEST as u32 {
            return 1;
        }
        let left = payload - sent;
        let taken = if left < size { left } else { size };
        let Some(length) = bounds::length::<LONGEST>(&raw mut (*state).taken, taken) else {
            return 1;
        };
        let is_first = sent == 0;
        (*state).piece = if is_first {
            (*state).whole
        } else {
            (*state).later
        };
        let header = header_length(state);
        let piece = Piece {
            at: sent as usize,
            length: length as usize,
            is_last: length == left,
        };
        (*state)
            .whole
            .cut(&mut (*state).piece, header as usize, piece);
        let at = IPV4_OFFSET as u32;
        let header_bytes = (&raw const (*state).piece).cast();
        let bytes = (&raw const (*state).bytes).cast::<u8>().add(sent as usize);
        let is_sent = bpf_skb_change_tail(skb, at + header + length, 0) == 0
            && bpf_skb_store_bytes(skb, at, header_bytes, header, 0) == 0
            && bpf_skb_store_bytes(skb, at + header, bytes.cast(), length, 0) == 0
            && bpf_clone_redirect(skb, (*skb).ifindex, u64::from(BPF_F_INGRESS)) == 0;
        if !is_sent {
            return 1;
        }
        (*state).sent = sent + length;
    }
    0
}
