//! A frame at TC. Its checksum may be partial and it may be a whole GSO train: headers are written
//! directly, transport checksums only by the kernel's helper, which knows what is still to come.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC},
    helpers::{
        bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_pull_data,
    },
    programs::TcContext,
};
use nat_common::{
    checksum::Delta,
    drop_reason::DropReason,
    map_types::{DatagramKey, Interface},
    packet::{Packet, TransportEdit},
    parse::{IPV4_OFFSET, Ipv4Packet, Transport},
    reply::{PREPENDED, Reshape},
    wire::{EthernetHeader, Mac, TcpHeader, UdpHeader, Wire},
};

use crate::{
    bounds,
    forward::{Hook, NextHop},
    held,
    verdict::Verdict,
};

/// Addressed to this host (linux/if_packet.h).
const PACKET_HOST: u32 = 0;

/// Ethernet, the longest IPv4 header and a TCP header: all that is read or written.
const HEADERS: u32 = 14 + 60 + 20;

/// See the module.
pub struct TcPacket {
    context: TcContext,
}

impl TcPacket {
    /// The packet of this program run, with its headers in the linear part.
    #[inline(always)]
    pub fn new(context: TcContext) -> Self {
        let mut packet = Self { context };
        packet.reach(HEADERS);
        packet
    }

    #[inline(always)]
    fn replace(&mut self, offset: usize, change: Delta, flags: u64) -> Option<()> {
        if change.is_none() {
            return Some(());
        }
        let difference = u64::from(change.folded());
        // SAFETY: the context is the program's own; the helper checks the offset. A zero size in
        // the flags makes `difference` a change of the sum.
        let failed = unsafe {
            bpf_l4_csum_replace(self.context.skb.skb, offset as u32, 0, difference, flags)
        };
        if failed == 0 { Some(()) } else { None }
    }
}

impl TcPacket {
    /// The program's context.
    #[inline(always)]
    pub const fn program_context(&self) -> &TcContext {
        &self.context
    }
}

impl Packet for TcPacket {
    #[inline(always)]
    fn length(&self) -> usize {
        self.context.len() as usize
    }

    #[inline(always)]
    fn is_train(&self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context.skb.skb).gso_size != 0 }
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let at = bounds::at::<T>(self.context.data(), self.context.data_end(), offset)?;
        // SAFETY: within the linear part, and T: Wire takes any bytes. BPF loads need no alignment
        // here: the verifier refuses them on machines where they would.
        Some(unsafe { *at })
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        let at = bounds::at::<T>(self.context.data(), self.context.data_end(), offset)?;
        // SAFETY: as for loads; the kernel made the linear part ours before the program ran.
        unsafe { *at = value };
        Some(())
    }

    #[inline(always)]
    fn edit_transport_checksum(&mut self, offset: usize, edit: TransportEdit) -> Option<()> {
        let zero = if edit.zero_is_none {
            u64::from(BPF_F_MARK_MANGLED_0)
        } else {
            0
        };
        self.replace(
            offset,
            edit.pseudo_header,
            zero | u64::from(BPF_F_PSEUDO_HDR),
        )?;
        self.replace(offset, edit.header, zero)
    }
}

impl Reshape for TcPacket {
    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        // SAFETY: the context is the program's own; a failure changes nothing.
        let failed = unsafe { bpf_skb_change_tail(self.context.skb.skb, length as u32, 0) };
        self.reach(length as u32);
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn prepend(&mut self) -> Option<()> {
        // SAFETY: as above.
        let failed = unsafe {
            bpf_skb_adjust_room(self.context.skb.skb, PREPENDED as i32, BPF_ADJ_ROOM_MAC, 0)
        };
        self.reach((IPV4_OFFSET + PREPENDED) as u32);
        (failed == 0).then_some(())
    }

    /// The helper leaves an unfinished checksum alone when the change is not one of the pseudo header:
    /// that is how to tell.
    #[inline(always)]
    fn is_unfinished(&mut self, offset: usize) -> bool {
        let Some(before) = self.load::<u16>(offset) else {
            return false;
        };
        // SAFETY: the context is the program's own; the helper checks the offset.
        unsafe { bpf_l4_csum_replace(self.context.skb.skb, offset as u32, 0, 1, 0) };
        let is_unfinished = self.load::<u16>(offset) == Some(before);
        self.store(offset, before);
        is_unfinished
    }
}

impl Hook for TcPacket {
    const IS_TC: bool = true;
    const TOO_BIG: Verdict = Verdict::Cut;
    const HOLDS_FRAGMENTS: bool = true;

    #[inline(always)]
    unsafe fn copy(context: *mut c_void, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's.
        unsafe { bpf_skb_load_bytes(context, offset, to.cast(), length) == 0 }
    }

    #[inline(always)]
    fn hold(&mut self, key: &DatagramKey) -> Result<Verdict, DropReason> {
        held::hold(self.context.skb.skb, key)
    }

    #[inline(always)]
    fn release(&mut self, key: &DatagramKey, with_this: bool) -> bool {
        held::release(self.context.skb.skb, key, with_this)
    }

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.context.as_ptr()
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context.skb.skb).ifindex }
    }

    /// Of a train, the segments it will be cut into count.
    #[inline(always)]
    fn mtu_length(&self, packet: &Ipv4Packet) -> u16 {
        // SAFETY: the context is the program's own.
        let segment = unsafe { (*self.context.skb.skb).gso_size } as usize;
        if segment == 0 {
            return packet.total_length as u16;
        }
        let header = match packet.transport {
            Transport::Tcp => self
                .load::<TcpHeader>(packet.transport_offset)
                .map_or(TcpHeader::LEN, |header| header.header_length()),
            _ => UdpHeader::LEN,
        };
        (packet.transport_offset - IPV4_OFFSET + header + segment) as u16
    }

    /// The kernel knows the interface's address of this moment, and has taken the VLAN tag off.
    #[inline(always)]
    fn is_for_us(&self, _to: Mac, _own: Mac) -> bool {
        // SAFETY: the context is the program's own.
        let (kind, tagged) = unsafe {
            let skb = self.context.skb.skb;
            ((*skb).pkt_type, (*skb).vlan_present)
        };
        kind == PACKET_HOST && tagged == 0
    }

    const NOT_FOR_US: Verdict = Verdict::Pass;

    #[inline(always)]
    fn bytes(&self, _packet: &Ipv4Packet) -> u64 {
        u64::from(self.context.len()).saturating_sub(EthernetHeader::LEN as u64)
    }

    #[inline(always)]
    fn reach(&mut self, length: u32) {
        let all = self.context.len();
        let wanted = if all < length { all } else { length };
        if self.context.data() + wanted as usize > self.context.data_end() {
            // SAFETY: the context is the program's own. A failure leaves a shorter linear part, and
            // every access checks its bounds.
            unsafe { bpf_skb_pull_data(self.context.skb.skb, wanted) };
        }
    }

    #[inline(always)]
    fn segments(&self) -> u64 {
        // SAFETY: the context is the program's own.
        let segments = unsafe { (*self.context.skb.skb).gso_segs };
        if segments == 0 {
            1
        } else {
            u64::from(segments)
        }
    }

    #[inline(always)]
    fn can_deliver(&self, _resolved: bool, _egress: &Interface) -> bool {
        true
    }

    /// The Ethernet header is the kernel's, see [`crate::forward::redirect_to_neighbour`].
    #[inline(always)]
    fn complete(&mut self, _next: &NextHop) -> Option<()> {
        Some(())
    }
}
