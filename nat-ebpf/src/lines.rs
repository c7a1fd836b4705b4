//! The memory of the flow cache: where the lines of a flow are, and how many are in use; `paths.rs` has the rest.
//! Few flows are kept close together, so that they stay in the CPU's caches; when they crowd each other out,
//! twice as many lines come into use, until there are no more.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, PerCpuArray},
};
use nat_common::{
    flow_cache::{Age, CANDIDATES, Era, Line, LineKey, Moment, WAYS},
    map_types::SessionKey,
    tables::{Side, Tables as _},
};

use crate::{counters, kernel_tables::KernelTables, policy_maps::View, turns};

/// Lines of all CPUs, those of one after those of the other. Mapped memory begins at a page, so that two
/// lines of the map are one of the CPU's cache.
#[map]
static FLOW_CACHE: Array<Line> = Array::with_max_entries(WAYS, BPF_F_MMAPABLE);

/// Lines of one CPU, a power of two. Set by the controller when it loads the programs.
#[unsafe(no_mangle)]
static FLOW_CACHE_LINES: u32 = WAYS;

/// How a CPU uses its lines.
#[repr(C)]
#[derive(Clone, Copy)]
struct Use {
    /// Lines in use, a power of two; 0 before the first one.
    lines: u32,
    /// Flows that found no room since `packets`.
    crowded: u32,
    /// In which window, and lines that were written or looked at in it.
    window: u32,
    busy: u32,
    /// The window, and one more, in which flows are too many for all lines there are.
    overrun: u32,
    generation: u32,
    era: Era,
    /// Packets so far, and at the last look.
    packets: u64,
    packets_before: u64,
}

/// Pinned like the lines, which are void by its numbers.
#[map]
static FLOW_CACHE_USE: PerCpuArray<Use> = PerCpuArray::with_max_entries(1, 0);

/// In use at first: 256 KB.
const FEWEST: u32 = 8192;

/// Packets without room after which it is seen whether they are many; the part of all on the short way that is
/// too many for the lines in use; and the one that is too many for looking at lines at all.
const CROWD: u32 = 1024;
const TOO_MANY: u64 = 64;
const FAR_TOO_MANY: u64 = 2;

/// Busy lines of eight in use that are so many that hardly any flow has another place to move to.
const MANY: u32 = 7;

/// Busy lines of a hundred in use that are so few that half as many in use will do: they are close together
/// then, and have room all the same.
const TOO_FEW: u32 = 40;

#[inline(always)]
fn all_lines() -> u32 {
    // SAFETY: a constant; volatile, because it is changed when the program is loaded.
    unsafe { (&raw const FLOW_CACHE_LINES).read_volatile() }
}

/// What a program has of the flow cache: this CPU's own part.
pub struct Lines {
    usage: &'static mut Use,
    age: Age,
}

/// The numbers of generations begin again: no line may be taken for one of a new generation.
#[inline(never)]
fn void_all() {
    turns::take(all_lines(), void);
}

#[inline(never)]
extern "C" fn void(index: u32, _nothing: *mut c_void) -> i64 {
    if let Some(line) = line(cpu() * all_lines() + index) {
        line.generation = 0;
    }
    turns::GO_ON
}

/// The number of this CPU.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: takes nothing, answers a number.
    unsafe { bpf_get_smp_processor_id() }
}

#[inline(always)]
fn line(index: u32) -> Option<&'static mut Line> {
    // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other. Readers in user
    // space may see half a change, and only count.
    FLOW_CACHE
        .get_ptr_mut(index)
        .map(|line| unsafe { &mut *line })
}

/// The first line in each of the two places that a flow may be in. [`WAYS`] divides the number of lines.
#[inline(always)]
fn places(key: &LineKey, in_use: u32) -> (u32, u32) {
    let (first, second) = key.places(in_use);
    let own = cpu() * all_lines();
    (own + first, own + second)
}

/// The number of one of the lines in two places, the likeliest first.
#[inline(always)]
fn candidate((first, second): (u32, u32), number: u32) -> u32 {
    let place = if number < WAYS { first } else { second };
    place ^ (number % WAYS)
}

/// No line has this number.
const NONE: u32 = u32::MAX;

/// Of the lines in two places, all of them busy, the number of one that could be freed, or [`NONE`]. A global
/// function, like the next one: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_room(
    first: u32,
    second: u32,
    in_use: u32,
    generation: u32,
    window: u32,
) -> u32 {
    for number in 0..CANDIDATES {
        let number = candidate((first, second), number);
        if move_line(number, in_use, generation, window) != 0 {
            return number;
        }
    }
    NONE
}

/// Takes what the line with this number says to its flow's other place, where one is idle. 0: there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn move_line(number: u32, in_use: u32, generation: u32, window: u32) -> u32 {
    let Some(moved) = line(number) else {
        return 0;
    };
    let age = Age {
        generation: generation as u16,
        window,
    };
    let (first, second) = places(&moved.key, in_use);
    let is_in_first = number ^ first < WAYS;
    let other = if is_in_first { second } else { first };
    for way in 0..WAYS {
        if let Some(idle) = line(other ^ way)
            && idle.is_idle(age)
        {
            give_back(idle);
            *idle = *moved;
            moved.end();
            return 1;
        }
    }
    0
}

/// From the next packet on so many lines are in use. What they say is void: a flow might have two.
#[inline(always)]
fn put_in_use(usage: &mut Use, lines: u32) {
    usage.lines = lines;
    usage.era = Era::default();
    usage.busy = 0;
}

impl Lines {
    /// At this moment.
    #[inline(always)]
    pub fn at(now: &Moment) -> Option<Self> {
        // SAFETY: this CPU's own, and programs on one CPU do not interrupt each other.
        let usage = unsafe { &mut *FLOW_CACHE_USE.get_ptr_mut(0)? };
        if usage.era != Era::at(now) || usage.generation == 0 {
            usage.era = Era::at(now);
            usage.generation = (usage.generation + 1) & u32::from(u16::MAX);
            if usage.generation == 0 {
                void_all();
                usage.generation = 1;
            }
        }
        let age = Age {
            generation: usage.generation as u16,
            window: now.window,
        };
        Some(Self { usage, age })
    }

    /// What lines have to be of to count.
    #[inline(always)]
    pub const fn age(&self) -> Age {
        self.age
    }

    #[inline(always)]
    fn in_use(&self) -> u32 {
        if self.usage.lines != 0 {
            self.usage.lines
        } else if FEWEST < all_lines() {
            FEWEST
        } else {
            all_lines()
        }
    }

    /// The line of a flow, unless it is void.
    #[inline(always)]
    pub fn find(&self, key: &LineKey) -> Option<&'static mut Line> {
        let places = places(key, self.in_use());
        for number in 0..CANDIDATES {
            let line = line(candidate(places, number))?;
            if line.is_of(key, self.age) {
                return Some(line);
            }
        }
        None
    }

    /// Counts a packet that went on the short way.
    #[inline(always)]
    pub fn count(&mut self) {
        self.usage.packets += 1;
    }

    /// The line for a flow, to be written: its own, or one that nobody used in this window, for which another
    /// flow's may move.
    #[inline(always)]
    pub fn room(&mut self, key: &LineKey) -> Option<&'static mut Line> {
        let in_use = self.in_use();
        let places = places(key, in_use);
        let mut idle = None;
        for number in 0..CANDIDATES {
            let line = line(candidate(places, number))?;
            if line.key == *key {
                idle = Some(line);
                break;
            }
            if idle.is_none() && line.is_idle(self.age) {
                idle = Some(line);
            }
        }
        if idle.is_none() && self.busy_now() < in_use / 8 * MANY {
            idle = line(self.make_room(places, in_use));
        }
        let Some(line) = idle else {
            self.crowded();
            return None;
        };
        // Of the key itself, too: its line may be a void one.
        give_back(line);
        Some(line)
    }

    /// As the function of this name.
    #[inline(always)]
    fn make_room(&self, (first, second): (u32, u32), in_use: u32) -> u32 {
        let generation = u32::from(self.age.generation);
        make_room(first, second, in_use, generation, self.age.window)
    }

    /// Lines that were written or looked at in this window.
    #[inline(always)]
    fn busy_now(&self) -> u32 {
        if self.usage.window == self.age.window {
            self.usage.busy
        } else {
            0
        }
    }

    /// A line is written, or its session looked at.
    #[inline(always)]
    pub fn busy(&mut self) {
        let usage = &mut self.usage;
        if usage.window != self.age.window {
            if usage.lines > FEWEST && usage.busy < usage.lines / 100 * TOO_FEW {
                put_in_use(usage, usage.lines / 2);
            }
            usage.window = self.age.window;
            usage.busy = 0;
        }
        usage.busy += 1;
    }

    /// Flows are too many in this window for looking at their lines to be worth it.
    #[inline(always)]
    pub fn are_overrun(&self) -> bool {
        self.usage.overrun == self.age.window.wrapping_add(1)
    }

    /// A flow has found no room.
    #[inline(always)]
    fn crowded(&mut self) {
        self.usage.crowded += 1;
        if self.usage.crowded < CROWD {
            return;
        }
        let packets = self.usage.packets - self.usage.packets_before;
        let lines = self.in_use() * 2;
        if lines <= all_lines() {
            if packets < u64::from(CROWD) * TOO_MANY {
                put_in_use(self.usage, lines);
            }
        } else if packets < u64::from(CROWD) * FAR_TOO_MANY {
            self.usage.overrun = self.age.window.wrapping_add(1);
        }
        self.usage.crowded = 0;
        self.usage.packets_before = self.usage.packets;
    }
}

/// Adds what a line has counted to its session.
#[inline(always)]
fn give_back(line: &mut Line) {
    let (packets, bytes) = line.take_counts();
    if packets != 0
        && let Some((side, key)) = session_key(line)
        && let Some(half) = KernelTables.half(side, &key)
    {
        // SAFETY: a line's memory stays valid; at worst another session's count is wrong.
        let gateway = unsafe {
            (*half).settle(packets, bytes);
            (*half).gateway()
        };
        counters::carried(gateway, key.is_forward(), packets, bytes);
    }
}

/// Where the half is that carries the packets of a line.
#[inline(always)]
pub fn session_key(line: &Line) -> Option<(Side, SessionKey)> {
    let flow = line.key.flow();
    if line.is_inward() && !line.is_answer() {
        return Some((Side::Outside, SessionKey::reverse(&flow)));
    }
    let vpc = View::now().interface(line.key.interface())?.vpc;
    Some(if line.is_answer() {
        (Side::Outside, SessionKey::answers(&flow, vpc))
    } else {
        (Side::Inside, SessionKey::forward(&flow, vpc))
    })
}
