//! Which ports towards one remote end are known to be taken, 512 to an entry: what searches in nearly
//! full pools have learnt (`port_search.rs`), and what sessions that end take back. A hint only: the
//! tables of sessions and bindings decide, and where a hint hides a free port, the walk finds it.

use crate::{
    address::{Address, Port},
    flow::Flow,
    map_types::SessionKey,
    port_pool::{PORTS_PER_WINDOW, Window},
    tables::Tables,
};

const WORDS: u32 = PORTS_PER_WINDOW / u64::BITS;

/// One bit for each port of a window, set when the port is taken.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TakenPorts {
    words: [u64; WORDS as usize],
}

impl TakenPorts {
    /// Nothing is known yet.
    pub const NONE: Self = Self {
        words: [0; WORDS as usize],
    };

    /// A port of `window` that is not known to be taken, or [`Port::NONE`]; which one of several,
    /// `random` decides.
    #[inline(always)]
    pub fn free(&self, window: &Window, random: u32) -> Port {
        for turn in 0..WORDS {
            let number = (random >> 6).wrapping_add(turn) % WORDS;
            let Some(taken) = self.words.get(number as usize) else {
                return Port::NONE;
            };
            let free = !taken & window.word(number);
            if free != 0 {
                let turned = free.rotate_right(random % u64::BITS);
                let bit = lowest_bit(turned).wrapping_add(random) % u64::BITS;
                return Port::new(window.base + (number * u64::BITS + bit) as u16);
            }
        }
        Port::NONE
    }

    /// The word of a port, and its bit in there.
    #[inline(always)]
    fn bit(this: *mut Self, port: Port) -> (*mut u64, u64) {
        let index = u32::from(port.get()) % PORTS_PER_WINDOW;
        // SAFETY: `%` keeps the index within the array.
        let word = unsafe {
            (&raw mut (*this).words)
                .cast::<u64>()
                .add((index / u64::BITS) as usize)
        };
        (word, 1 << (index % u64::BITS))
    }
}

/// Key of the entry that has the port `inbound` is addressed to: of its sender, or with `binds`, when a
/// port is taken for everybody, of nobody.
#[inline(always)]
pub fn taken_key(inbound: &Flow, binds: bool) -> SessionKey {
    let base = Port::new(inbound.destination_port.get() & !(PORTS_PER_WINDOW as u16 - 1));
    let flow = inbound.with_destination(inbound.destination, base);
    SessionKey::reverse(&if binds {
        flow.with_source(Address::UNSPECIFIED, Port::NONE)
    } else {
        flow
    })
}

/// Notes that a port is taken, under the key of its entry.
#[inline(always)]
pub fn learn<T: Tables>(tables: &T, key: &SessionKey, port: Port) {
    if let Some(taken) = tables.taken_ports(key) {
        let (word, bit) = TakenPorts::bit(taken, port);
        // SAFETY: a word of an entry of these tables.
        unsafe { tables.fetch_or(word, bit) };
    }
}

/// Notes that the public port of `flow`, as its inside host sends it, is free again.
#[inline(never)]
pub fn unlearn<T: Tables>(tables: &T, flow: &Flow, public: (Address, Port), binds: bool) {
    let inbound = flow.with_source(public.0, public.1).reversed();
    if let Some(taken) = tables.taken_ports(&taken_key(&inbound, binds)) {
        let (word, bit) = TakenPorts::bit(taken, public.1);
        // SAFETY: as above.
        unsafe { tables.fetch_and(word, !bit) };
    }
}

/// The number of the lowest bit that is set. `word` is not 0.
// Not `trailing_zeros`, which becomes a table look-up in memory that BPF programs do not have.
#[inline(always)]
const fn lowest_bit(word: u64) -> u32 {
    let (mut word, mut bit) = (word, 0);
    if word as u32 == 0 {
        word >>= 32;
        bit += 32;
    }
    if word as u16 == 0 {
        word >>= 16;
        bit += 16;
    }
    if word as u8 == 0 {
        word >>= 8;
        bit += 8;
    }
    if word & 0xf == 0 {
        word >>= 4;
        bit += 4;
    }
    if word & 3 == 0 {
        word >>= 2;
        bit += 2;
    }
    bit + (word & 1 == 0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port_pool::{Part, PortPool, PortRange};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_lowest_bit_is_that_of_the_machine(word in any::<u64>(), bit in 0u32..64) {
            let word = (word | 1) << bit;
            prop_assert_eq!(lowest_bit(word), bit);
        }

        #[test]
        fn each_port_is_free_until_it_is_taken_and_none_else_is_offered(
            first in 1u16..64_000, length in 65u16..1400, random in any::<u32>(), low in any::<bool>(),
            original in 1u16.., kind in 0u32..5,
        ) {
            let first = if low { first % 1024 + 1 } else { first };
            let range = PortRange { first, last: first.saturating_add(length) };
            let pool = PortPool::new(&[range]).unwrap();
            let part = match kind {
                4 => Part::all(&pool),
                rank => Part::ranked(&pool, Port::new(original), rank),
            };
            let mut offered = std::collections::HashSet::new();
            for number in 0..part.windows(&pool) {
                let mut window = Window::default();
                prop_assert!(part.show(&pool, number, &mut window));
                let mut taken = TakenPorts::default();
                for attempt in 0.. {
                    let port = taken.free(&window, random.wrapping_mul(attempt));
                    if port == Port::NONE {
                        break;
                    }
                    prop_assert!(offered.insert(port.get()), "{} twice", port.get());
                    let (word, bit) = TakenPorts::bit(&raw mut taken, port);
                    // SAFETY: the word is of `taken`.
                    unsafe { *word |= bit };
                }
            }
            let ports: std::collections::HashSet<_> =
                (0..part.size()).map(|index| part.port_at(&pool, index).get()).collect();
            prop_assert_eq!(offered, ports);
        }
    }
}
