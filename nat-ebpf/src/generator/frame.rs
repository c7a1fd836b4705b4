//! The smallest Ethernet frame with a UDP packet: 60 bytes, 64 with the check sequence.
//! Every header byte is written each time, because live frames come back with what their last reader left.

use aya_ebpf::programs::XdpContext;

use crate::plan::{Plan, Position};

const FRAME: usize = 60;
const IP: usize = 14;
const UDP: usize = 34;
const IP_LENGTH: u32 = (FRAME - IP) as u32;
const UDP_LENGTH: u32 = (FRAME - UDP) as u32;
const IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;
const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// The next flow: its address and its port, counted from the plan's first ones.
#[inline(always)]
pub fn choose(plan: &Plan, position: &mut Position) -> (u32, u32) {
    if plan.in_order != 0 {
        let (address, port) = (position.address, position.port);
        position.port += 1;
        if position.port >= plan.ports {
            position.port = 0;
            position.address += 1;
            if position.address >= plan.addresses {
                position.address = 0;
            }
        }
        return (address, port);
    }
    // Marsaglia's xorshift64: three shifts, and a period far above any run.
    let mut random = position.random;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    position.random = random;
    let address = ((random >> 32) * u64::from(plan.addresses)) >> 32;
    let port = ((random & 0xffff_ffff) * u64::from(plan.ports)) >> 32;
    (address as u32, port as u32)
}

/// Writes the packet of that flow.
#[inline(always)]
pub fn write(context: &XdpContext, plan: &Plan, address: u32, port: u32) -> Option<()> {
    let start = context.data();
    if start + FRAME > context.data_end() {
        return None;
    }
    let source = plan.source + address * plan.source_step;
    let destination = plan.destination + address * plan.destination_step;
    let source_port = plan.source_port + port * plan.source_port_step;
    let destination_port = plan.destination_port + port * plan.destination_port_step;
    let addresses =
        (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff);
    let ip_sum = 0x4500
        + IP_LENGTH
        + DONT_FRAGMENT as u32
        + ((TTL as u32) << 8)
        + PROTOCOL_UDP as u32
        + addresses;
    // Over the payload too, which is zeroes.
    let udp_sum = addresses + PROTOCOL_UDP as u32 + 2 * UDP_LENGTH + source_port + destination_port;
    let put = |offset: usize| (start + offset) as *mut u8;
    // SAFETY: all of it is within the first 60 bytes, which the frame has; BPF stores need no alignment here.
    unsafe {
        put(0).cast::<[u8; 6]>().write_unaligned(plan.to);
        put(6).cast::<[u8; 6]>().write_unaligned(plan.from);
        put(12).cast::<u16>().write_unaligned(IPV4.to_be());
        put(IP)
            .cast::<u32>()
            .write_unaligned((0x4500_0000 | IP_LENGTH).to_be());
        put(IP + 4)
            .cast::<u32>()
            .write_unaligned((DONT_FRAGMENT as u32).to_be());
        put(IP + 8).write(TTL);
        put(IP + 9).write(PROTOCOL_UDP);
        put(IP + 10)
            .cast::<u16>()
            .write_unaligned(fold(ip_sum).to_be());
        put(IP + 12).cast::<u32>().write_unaligned(source.to_be());
        put(IP + 16)
            .cast::<u32>()
            .write_unaligned(destination.to_be());
        put(UDP)
            .cast::<u16>()
            .write_unaligned((source_port as u16).to_be());
        put(UDP + 2)
            .cast::<u16>()
            .write_unaligned((destination_port as u16).to_be());
        put(UDP + 4)
            .cast::<u16>()
            .write_unaligned((UDP_LENGTH as u16).to_be());
        put(UDP + 6)
            .cast::<u16>()
            .write_unaligned(fold(udp_sum).to_be());
    }
    Some(())
}

/// What was sent has become what it should be.
#[inline(always)]
pub fn is_expected(context: &XdpContext, plan: &Plan) -> bool {
    let start = context.data();
    if start + FRAME > context.data_end() {
        return false;
    }
    let at = |offset: usize| (start + offset) as *const u8;
    // SAFETY: as above.
    let (ethertype, protocol, source, destination) = unsafe {
        (
            at(12).cast::<u16>().read_unaligned(),
            at(IP + 9).read(),
            at(IP + 12).cast::<u32>().read_unaligned(),
            at(IP + 16).cast::<u32>().read_unaligned(),
        )
    };
    u16::from_be(ethertype) == IPV4
        && protocol == PROTOCOL_UDP
        && u32::from_be(source) & plan.expected_source_mask == plan.expected_source
        && u32::from_be(destination) & plan.expected_destination_mask == plan.expected_destination
}

/// The Internet checksum of a sum of 16-bit words.
#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
