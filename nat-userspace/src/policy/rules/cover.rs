//! Prefixes of ports for a value at each port: as few as can be, by the three passes of Draves, King,
//! Venkatachary and Zill, "Constructing optimal IP routing tables" (INFOCOM 1999).

use std::ops::Range;

use nat_common::map_types::Judgement;

/// Bits of a port.
const BITS: u32 = u16::BITS;

/// Memory for it.
#[derive(Default)]
pub(super) struct Cover {
    nodes: Vec<Node>,
    values: Vec<Judgement>,
}

/// A prefix.
struct Node {
    /// The values, in order, of which it may have any: no other one saves more below it.
    values: Range<usize>,
    /// Its halves, unless one value holds for all of it.
    halves: Option<(usize, usize)>,
}

impl Cover {
    /// Calls `add` with length, first port and value of the prefixes that `pieces` takes where
    /// `inherited` holds without any.
    pub(super) fn cover(
        &mut self,
        pieces: &[(u16, Judgement)],
        inherited: Judgement,
        mut add: impl FnMut(u32, u16, Judgement),
    ) {
        self.nodes.clear();
        self.values.clear();
        let root = self.node(pieces, 0, 0);
        self.choose(root, 0, 0, inherited, &mut add);
    }

    /// Adds the node of the prefix that begins at `first`, and all below it. `pieces` are those in it.
    fn node(&mut self, pieces: &[(u16, Judgement)], bits: u32, first: u16) -> usize {
        let node = if let &[(_, value)] = pieces {
            self.values.push(value);
            Node {
                values: self.values.len() - 1..self.values.len(),
                halves: None,
            }
        } else {
            let middle = first | half(bits);
            let (low, high) = (
                pieces.partition_point(|&(start, _)| start < middle),
                pieces.partition_point(|&(start, _)| start <= middle) - 1,
            );
            let low = self.node(&pieces[..low], bits + 1, first);
            let high = self.node(&pieces[high..], bits + 1, middle);
            let halves = (
                self.nodes[low].values.clone(),
                self.nodes[high].values.clone(),
            );
            Node {
                values: self.common(halves.0, halves.1),
                halves: Some((low, high)),
            }
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The values both have, or if there are none, those that one has.
    fn common(&mut self, mut a: Range<usize>, mut b: Range<usize>) -> Range<usize> {
        let start = self.values.len();
        let (all_a, all_b) = (a.clone(), b.clone());
        while !a.is_empty() && !b.is_empty() {
            let (value, other) = (self.values[a.start], self.values[b.start]);
            if value == other {
                self.values.push(value);
            }
            a.start += usize::from(value <= other);
            b.start += usize::from(other <= value);
        }
        if self.values.len() == start {
            self.values.extend_from_within(all_a);
            self.values.extend_from_within(all_b);
            self.values[start..].sort_unstable();
        }
        start..self.values.len()
    }

    fn choose(
        &self,
        node: usize,
        bits: u32,
        first: u16,
        inherited: Judgement,
        add: &mut impl FnMut(u32, u16, Judgement),
    ) {
        let node = &self.nodes[node];
        let values = &self.values[node.values.clone()];
        let value = if values.binary_search(&inherited).is_ok() {
            inherited
        } else {
            add(bits, first, values[0]);
            values[0]
        };
        if let Some((low, high)) = node.halves {
            self.choose(low, bits + 1, first, value, add);
            self.choose(high, bits + 1, first | half(bits), value, add);
        }
    }
}

/// How many ports are in each half of a prefix.
fn half(bits: u32) -> u16 {
    1 << (BITS - 1 - bits)
}
