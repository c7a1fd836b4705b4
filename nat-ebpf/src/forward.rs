//! The next hop of a translated packet. Outside, the host's routing table decides. Inside, the policy says
//! behind which interface the receiver's subnet is, because the host can't tell two VPCs with the same
//! addresses apart; the host's tables say how to get there by that interface.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LOOKUP_OUTPUT, bpf_fib_lookup as FibLookup, bpf_redir_neigh,
        bpf_redir_neigh__bindgen_ty_1,
    },
    helpers::{bpf_fib_lookup, bpf_redirect, bpf_redirect_neigh, generated::bpf_check_mtu},
};
use nat_common::{
    address::Address,
    drop_reason::DropReason,
    flow::Flow,
    map_types::{DatagramKey, Interface, METADATA_IP, SERVICES_VPC, Subnet},
    parse::Ipv4Packet,
    policy::Leads,
    reply::Reshape,
    wire::Mac,
};

use crate::{policy_maps::View, verdict::Verdict};

const AF_INET: u8 = 2;

/// What the pipeline asks of a hook besides the packet's bytes.
pub trait Hook: Reshape {
    /// The program's context, for helpers.
    fn context(&self) -> *mut c_void;
    /// Index of the interface the packet came from.
    fn ingress(&self) -> u32;
    /// Length to compare with the MTU, in bytes: of the packet, or of those it will be cut into.
    fn mtu_length(&self, packet: &Ipv4Packet) -> u16;
    /// Bytes from the IP header on, for the counters.
    fn bytes(&self, packet: &Ipv4Packet) -> u64;
    /// Makes so many bytes, or all there are, readable and writable.
    fn reach(&mut self, length: u32);
    /// Packets it will be on the wire.
    fn segments(&self) -> u64;
    /// A frame to the station `to` is for this host, whose interface had the address `own`.
    fn is_for_us(&self, to: Mac, own: Mac) -> bool;
    /// What happens to a frame that is not.
    const NOT_FOR_US: Verdict;
    /// It is TC.
    const IS_TC: bool;
    /// This hook can send to a next hop, resolved or not, behind this interface.
    fn can_deliver(&self, resolved: bool, egress: &Interface) -> bool;
    /// What happens to a packet that is too big for its next hop and may be fragmented.
    const TOO_BIG: Verdict;
    /// Copies `length` bytes from `offset` on to `to`; false when there are less.
    ///
    /// # Safety
    ///
    /// `context` is the program's own of this hook, and there is room for so many bytes at `to`.
    unsafe fn copy(context: *mut c_void, offset: u32, to: *mut u8, length: u32) -> bool;
    /// This hook can let fragments wait for the first one of their datagram.
    const HOLDS_FRAGMENTS: bool;
    /// Lets a fragment of this datagram wait, or leaves it to a hook that can.
    ///
    /// # Errors
    ///
    /// [`DropReason::Fragment`] when there is no room for it.
    fn hold(&mut self, key: &DatagramKey) -> Result<Verdict, DropReason>;
    /// Sends in once more what waits of this datagram, after this packet itself if `with_this`. False
    /// when that can't be done; otherwise the packet is used up.
    fn release(&mut self, key: &DatagramKey, with_this: bool) -> bool;
    /// Completes the packet for it; `None` when the frame is too short.
    fn complete(&mut self, next: &NextHop) -> Option<()>;
}

/// Where a packet goes next, and whether it goes there at all. One value that is whole from the start:
/// an enum with payloads is partly uninitialised, and the verifier refuses copies of that.
pub struct NextHop {
    /// Interface index.
    pub interface: u32,
    /// Address of the next hop on it.
    pub gateway: Address,
    /// MAC address of the interface.
    pub source: Mac,
    /// MAC address of the next hop.
    pub destination: Mac,
    /// MTU of the way there, in bytes.
    pub mtu: u16,
    /// What happens to the packet.
    pub verdict: Verdict,
    /// The generation of the policy that decides.
    pub view: View,
}

impl NextHop {
    /// Not known yet.
    #[inline(always)]
    pub const fn unknown(view: View) -> Self {
        Self {
            interface: 0,
            gateway: Address::UNSPECIFIED,
            source: [0; 6],
            destination: [0; 6],
            mtu: 0,
            verdict: Verdict::Pass,
            view,
        }
    }

    /// The kernel knows its address on the wire.
    #[inline(always)]
    pub fn is_resolved(&self) -> bool {
        self.destination != [0; 6]
    }
}

/// The kernel's look-up structure as plain words, so that clearing it is eight stores; as a whole it
/// would be a call of a byte loop.
#[repr(C, align(8))]
union Query {
    words: [u64; QUERY_WORDS],
    fib: FibLookup,
}
const QUERY_WORDS: usize = size_of::<FibLookup>() / size_of::<u64>();

impl Query {
    /// Asks for the route of `flow`, out of the interface `egress` unless that is 0; answers one of the
    /// numbers of [`answer`].
    #[inline(always)]
    fn ask<H: Hook>(
        query: &mut MaybeUninit<Self>,
        hook: &H,
        flow: &Flow,
        mtu_length: u16,
        egress: u32,
    ) -> i64 {
        let (interface, flags) = if egress == 0 {
            (hook.ingress(), 0)
        } else {
            (egress, BPF_FIB_LOOKUP_OUTPUT)
        };
        let words = query.as_mut_ptr().cast::<u64>();
        // SAFETY: the words are the whole structure, which is integers; the context is the program's
        // own, and the structure lives through the call.
        unsafe {
            for word in 0..QUERY_WORDS {
                words.add(word).write_volatile(0);
            }
            let fib = words.cast::<FibLookup>();
            (*fib).family = AF_INET;
            (*fib).l4_protocol = flow.protocol;
            (*fib).ifindex = interface;
            (*fib).__bindgen_anon_1.tot_len = mtu_length;
            (*fib).__bindgen_anon_3.ipv4_src = flow.source.raw();
            (*fib).__bindgen_anon_4.ipv4_dst = flow.destination.raw();
            bpf_fib_lookup(hook.context(), fib, size_of::<FibLookup>() as i32, flags)
        }
    }
}

/// The answers of `bpf_fib_lookup` that matter here.
mod answer {
    use aya_ebpf::bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
        BPF_FIB_LKUP_RET_SUCCESS,
    };

    pub const SUCCESS: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
    pub const NOT_FORWARDED: i64 = BPF_FIB_LKUP_RET_NOT_FWDED as i64;
    pub const NO_NEIGHBOUR: i64 = BPF_FIB_LKUP_RET_NO_NEIGH as i64;
    pub const TOO_BIG: i64 = BPF_FIB_LKUP_RET_FRAG_NEEDED as i64;
}

/// Writes down the next hop of `flow`: towards a host of the VPC `vpc`, or out of an uplink when that is 0.
/// What is meant for inside never leaves by an uplink, and the other way round.
#[inline(never)]
pub fn find_next_hop<H: Hook>(
    hook: &H,
    flow: &Flow,
    mtu_length: u16,
    vpc: u16,
    next: &mut NextHop,
) -> Result<(), DropReason> {
    let mut inside = 0;
    let mut is_known_to_host = true;
    if vpc != 0 {
        let subnet = next
            .view
            .subnet_of(vpc, flow.destination)
            .ok_or(DropReason::NoNextHop)?;
        inside = subnet.interface;
        is_known_to_host = subnet.is(Subnet::HOST_IS_IN_IT);
    }
    let mut query = MaybeUninit::uninit();
    let answer = Query::ask(&mut query, hook, flow, mtu_length, inside);
    if answer == answer::TOO_BIG {
        // SAFETY: asking initialised all of it.
        next.mtu = unsafe { query.assume_init_ref().fib.__bindgen_anon_1.mtu_result };
        return Err(DropReason::TooBig);
    }
    if answer == answer::SUCCESS || answer == answer::NO_NEIGHBOUR {
        // SAFETY: asking initialised all of it, and IPv4 was asked for.
        unsafe {
            let fib = &query.assume_init_ref().fib;
            next.interface = fib.ifindex;
            next.gateway = Address::from_raw(fib.__bindgen_anon_4.ipv4_dst);
            next.mtu = fib.__bindgen_anon_1.mtu_result;
            next.source = fib.smac;
            next.destination = fib.dmac;
        }
    } else if is_known_to_host {
        return Err(DropReason::NoNextHop);
    } else {
        // Where the host has no address in the subnet its hosts are neighbours all the same.
        next.interface = inside;
        // The services have their own.
        next.gateway = if vpc == SERVICES_VPC {
            METADATA_IP
        } else {
            flow.destination
        };
        next.mtu = mtu_of(hook, inside);
        // It is gone.
        if next.mtu == 0 {
            return Err(DropReason::NoNextHop);
        }
        if mtu_length > next.mtu {
            return Err(DropReason::TooBig);
        }
    }
    let egress = next
        .view
        .interface(next.interface)
        .ok_or(DropReason::NoNextHop)?;
    let is_right = if vpc == 0 {
        egress.is(Interface::UPLINK)
    } else {
        next.interface == inside
    };
    if !is_right {
        return Err(DropReason::NoNextHop);
    }
    next.verdict = if hook.can_deliver(answer == answer::SUCCESS, egress) {
        Verdict::Forward
    } else {
        Verdict::HandUp
    };
    Ok(())
}

/// The MTU of an interface, in bytes; 0 when the kernel does not tell.
#[inline(always)]
fn mtu_of<H: Hook>(hook: &H, interface: u32) -> u16 {
    let mut mtu = 0u32;
    // SAFETY: the word lives through the call; the context is the program's own.
    unsafe {
        bpf_check_mtu(hook.context(), interface, &raw mut mtu, 0, 0);
    }
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

/// The destination of `flow` is the host's own address on this interface.
#[inline(always)]
pub fn is_the_hosts<H: Hook>(hook: &H, flow: &Flow, interface: u32) -> bool {
    host_has(hook, flow, interface) != 0
}

#[inline(never)]
fn host_has<H: Hook>(hook: &H, flow: &Flow, interface: u32) -> u32 {
    let mut query = MaybeUninit::uninit();
    u32::from(Query::ask(&mut query, hook, flow, 0, interface) == answer::NOT_FORWARDED)
}

/// Asks the host where it would send packets of `flow`.
#[inline(never)]
pub fn leads<H: Hook>(hook: &H, view: View, flow: &Flow) -> Leads {
    let mut query = MaybeUninit::uninit();
    let answer = Query::ask(&mut query, hook, flow, 0, 0);
    if answer == answer::NOT_FORWARDED {
        return Leads::ToHost;
    }
    // One that is too big has a way, too.
    if !matches!(
        answer,
        answer::SUCCESS | answer::NO_NEIGHBOUR | answer::TOO_BIG
    ) {
        return Leads::Forbidden;
    }
    // SAFETY: asking initialised all of it.
    let egress = view.interface(unsafe { query.assume_init_ref().fib.ifindex });
    match egress {
        Some(egress) if egress.is(Interface::UPLINK) && !egress.is(Interface::INSIDE) => Leads::Out,
        _ => Leads::Elsewhere,
    }
}

/// Sends a complete frame out of an interface.
#[inline(always)]
pub fn redirect(interface: u32) -> i64 {
    // SAFETY: takes two numbers.
    unsafe { bpf_redirect(interface, 0) }
}

/// Sends a packet to a next hop whose MAC address the kernel finds or asks for.
#[inline(always)]
pub fn redirect_to_neighbour(next: &NextHop) -> i64 {
    let mut neighbour = bpf_redir_neigh {
        nh_family: u32::from(AF_INET),
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
            ipv6_nh: [next.gateway.raw(), 0, 0, 0],
        },
    };
    // SAFETY: the structure lives through the call and its length is its own.
    unsafe {
        bpf_redirect_neigh(
            next.interface,
            &mut neighbour,
            size_of_val(&neighbour) as i32,
            0,
        )
    }
}
