//! A frame at XDP: edited in place, with complete checksums.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use nat_common::{
    drop_reason::DropReason,
    map_types::{DatagramKey, Interface},
    packet::{Packet, TransportEdit},
    parse::Ipv4Packet,
    reply::{PREPENDED, Reshape},
    wire::{EtherType, EthernetHeader, Mac, Wire},
};

use crate::{
    bounds,
    forward::{Hook, NextHop},
    verdict::Verdict,
};

/// See the module.
pub struct XdpPacket {
    context: XdpContext,
}

impl XdpPacket {
    /// The packet of this program run.
    #[inline(always)]
    pub const fn new(context: XdpContext) -> Self {
        Self { context }
    }
}

impl XdpPacket {
    /// The program's context.
    #[inline(always)]
    pub const fn program_context(&self) -> &XdpContext {
        &self.context
    }
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn length(&self) -> usize {
        // Volatile, so that the compiler can't tell that it is the same end the bounds checks
        // compare with, and leave out one that the verifier wants to see.
        // SAFETY: the context is the program's own.
        let (start, end) = unsafe {
            let context = self.context.ctx;
            (
                (&raw const (*context).data).read_volatile(),
                (&raw const (*context).data_end).read_volatile(),
            )
        };
        end as usize - start as usize
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let at = bounds::at::<T>(self.context.data(), self.context.data_end(), offset)?;
        // SAFETY: within the frame, and T: Wire takes any bytes. BPF loads need no alignment here:
        // the verifier refuses them on machines where they would.
        Some(unsafe { *at })
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        let at = bounds::at::<T>(self.context.data(), self.context.data_end(), offset)?;
        // SAFETY: as for loads; nobody else sees the frame during the run.
        unsafe { *at = value };
        Some(())
    }

    #[inline(always)]
    fn edit_transport_checksum(&mut self, offset: usize, edit: TransportEdit) -> Option<()> {
        let checksum = self.load::<u16>(offset)?;
        self.store(offset, edit.apply(checksum))
    }
}

/// Shortest Ethernet frame without its check sequence: what is shorter would have to be padded.
const SHORTEST: usize = 60;

impl Reshape for XdpPacket {
    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        let now = self.length();
        let wanted = if length < SHORTEST { SHORTEST } else { length };
        if wanted >= now {
            return Some(());
        }
        // SAFETY: the context is the program's own; a failure changes nothing.
        let failed = unsafe { bpf_xdp_adjust_tail(self.context.ctx, wanted as i32 - now as i32) };
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn prepend(&mut self) -> Option<()> {
        // SAFETY: as above.
        let failed = unsafe { bpf_xdp_adjust_head(self.context.ctx, -(PREPENDED as i32)) };
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn is_unfinished(&mut self, _offset: usize) -> bool {
        false
    }
}

impl Hook for XdpPacket {
    const IS_TC: bool = false;
    const TOO_BIG: Verdict = Verdict::HandUp;
    const HOLDS_FRAGMENTS: bool = false;

    #[inline(always)]
    unsafe fn copy(context: *mut c_void, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's.
        unsafe { bpf_xdp_load_bytes(context.cast(), offset, to.cast(), length) == 0 }
    }

    #[inline(always)]
    fn hold(&mut self, _key: &DatagramKey) -> Result<Verdict, DropReason> {
        Ok(Verdict::HandUp)
    }

    #[inline(always)]
    fn release(&mut self, _key: &DatagramKey, _with_this: bool) -> bool {
        false
    }

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.context.as_ptr()
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn mtu_length(&self, packet: &Ipv4Packet) -> u16 {
        packet.total_length as u16
    }

    #[inline(always)]
    fn is_for_us(&self, to: Mac, own: Mac) -> bool {
        to == own
    }

    /// The interface may have got another address meanwhile: the kernel, and TC with it, knows.
    const NOT_FOR_US: Verdict = Verdict::HandUp;

    #[inline(always)]
    fn bytes(&self, packet: &Ipv4Packet) -> u64 {
        packet.total_length as u64
    }

    #[inline(always)]
    fn reach(&mut self, _length: u32) {}

    #[inline(always)]
    fn segments(&self) -> u64 {
        1
    }

    /// XDP can only send what it knows the MAC address for, to interfaces that take its frames.
    #[inline(always)]
    fn can_deliver(&self, resolved: bool, egress: &Interface) -> bool {
        resolved && egress.is(Interface::XDP_TARGET)
    }

    #[inline(always)]
    fn complete(&mut self, next: &NextHop) -> Option<()> {
        self.store(
            0,
            EthernetHeader::new(next.destination, next.source, EtherType::Ipv4),
        )
    }
}
