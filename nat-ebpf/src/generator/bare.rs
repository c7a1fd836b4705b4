//! What any translator with a memory has to do at least: find what it knows of a flow, and write down
//! that there is a new one. Nothing else is done with the packet, which goes on as it is.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap},
    programs::XdpContext,
};

/// A line of the CPU's cache.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line {
    packets: u64,
    /// 0, which nobody knows before the line is there.
    detour: u32,
    rest: [u32; 13],
}

/// As many bytes as in our own tables: `SessionKey` and `Session`.
type Key = [u64; 2];
type Half = [u64; 6];

/// Sized when the program is loaded.
#[map]
static BARE_LINES: Array<Line> = Array::with_max_entries(1, 0);
#[map]
static BARE_OUT: HashMap<Key, Half> = HashMap::with_max_entries(1, 0);
#[map]
static BARE_IN: HashMap<Key, Half> = HashMap::with_max_entries(1, 0);

/// Lines there are, a power of two; set when the program is loaded.
#[unsafe(no_mangle)]
static BARE_LINE_COUNT: u32 = 1;

const ADDRESSES: usize = 26;
const END: usize = ADDRESSES + size_of::<Key>();

/// Addresses, ports and what follows them.
#[inline(always)]
fn key(context: &XdpContext) -> Option<Key> {
    let start = context.data();
    if start + END > context.data_end() {
        return None;
    }
    let at = (start + ADDRESSES) as *const u64;
    // SAFETY: within the frame, as was just seen; BPF loads need no alignment here.
    Some(unsafe { [at.read_unaligned(), at.add(1).read_unaligned()] })
}

/// Counts the packet in the line of its flow, and answers what stands there and is added to where the packet
/// goes: as one that is translated, it has to wait for the line.
#[inline(always)]
pub fn look_up(context: &XdpContext) -> Option<u32> {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let [addresses, rest] = key(context)?;
    // SAFETY: a constant; volatile, because it is set when the program is loaded.
    let lines = unsafe { (&raw const BARE_LINE_COUNT).read_volatile() };
    let ports = rest & u64::from(u32::MAX);
    let mixed = (addresses ^ ports << 20).wrapping_mul(ODD);
    let line = BARE_LINES.get_ptr_mut((mixed >> 40) as u32 & lines.wrapping_sub(1))?;
    // SAFETY: an element of the map; the bench has this program on one CPU.
    unsafe {
        (*line).packets += 1;
        Some((&raw const (*line).detour).read_volatile())
    }
}

/// Inserts both halves of the flow's session.
#[inline(always)]
pub fn insert(context: &XdpContext) -> Option<()> {
    let [addresses, rest] = key(context)?;
    let half = [1, addresses, rest, 0, 0, 0];
    let back = [addresses.rotate_left(32), rest];
    let flags = u64::from(BPF_NOEXIST);
    BARE_OUT.insert([addresses, rest], half, flags).ok()?;
    BARE_IN.insert(back, half, flags).ok()
}
