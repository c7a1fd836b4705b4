//! Which of several rules decides, for each protocol and port.

use nat_common::map_types::{Judgement, PortKey};

use super::{ClassEntries, Cover, Rule};

/// A value for each port: where it begins to hold, in order, from 0 on.
pub(super) type Pieces<T> = Vec<(u16, T)>;

/// The index of no rule: behind all others.
const NO_RULE: u32 = u32::MAX;

/// The index of the first rule for each port, of those that name its protocol, and of those that name none.
#[derive(Debug)]
pub(super) struct Fold {
    any: u32,
    /// In order of protocols.
    named: Vec<(u8, Pieces<u32>)>,
}

impl Fold {
    /// Of the rules with these indices, in order.
    pub(super) fn new(rules: &[Rule], indices: impl Iterator<Item = u32>) -> Self {
        let mut any = NO_RULE;
        let mut ranges = Vec::new();
        for index in indices {
            let rule = &rules[index as usize];
            match rule.protocol {
                Some(protocol) => ranges.push((protocol, index, rule.ports)),
                None => any = any.min(index),
            }
        }
        ranges.sort_unstable_by_key(|&(protocol, index, _)| (protocol, index));
        let named = ranges
            .chunk_by(|a, b| a.0 == b.0)
            .map(|ranges| (ranges[0].0, first_of(ranges)))
            .collect();
        Self { any, named }
    }

    /// Both together.
    pub(super) fn over(&self, outer: &Self) -> Self {
        let no_rule = [(0, NO_RULE)];
        let named = merge(&self.named, &outer.named).map(|(protocol, own, outer)| {
            let (own, outer) = (own.unwrap_or(&no_rule), outer.unwrap_or(&no_rule));
            (protocol, zip(own, outer, |own, outer| own.min(outer)))
        });
        Self {
            any: self.any.min(outer.any),
            named: named.collect(),
        }
    }

    /// What it says.
    pub(super) fn content(&self, rules: &[Rule]) -> Content {
        let judgement = |index: u32| {
            let rule = rules.get(index as usize);
            rule.map_or(Judgement::DENIED, |rule| {
                Judgement::new(rule.allow, rule.id)
            })
        };
        let any = [(0, self.any)];
        let all = judgement(self.any);
        let named = self.named.iter().map(|(protocol, named)| {
            let said = zip(named, &any, |named, any| judgement(named.min(any)));
            (*protocol, said)
        });
        Content {
            any: all,
            named: named.filter(|(_, said)| *said != [(0, all)]).collect(),
        }
    }
}

/// What a class says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Of protocols that are not named.
    any: Judgement,
    /// Of others, in order.
    named: Vec<(u8, Pieces<Judgement>)>,
}

impl Content {
    /// How much it says.
    pub(super) fn pieces(&self) -> usize {
        1 + self
            .named
            .iter()
            .map(|(_, pieces)| pieces.len())
            .sum::<usize>()
    }

    /// The entries for it; what the class `around` of that number says too is left to that one.
    pub(super) fn entries(&self, around: Option<(&Self, u32)>, cover: &mut Cover) -> ClassEntries {
        let mut entries = Vec::new();
        let differ = |own: Judgement, other: Judgement, class: u32| {
            if own == other {
                Judgement::as_in(class)
            } else {
                own
            }
        };
        let any = around.map_or(self.any, |(other, class)| {
            differ(self.any, other.any, class)
        });
        if any != Judgement::DENIED {
            entries.push(((PortKey::default(), PortKey::CLASS_BITS), any));
        }
        let mut add = |protocol: u8, pieces: &[(u16, Judgement)]| {
            cover.cover(pieces, any, |bits, port, judgement| {
                let key = PortKey::new(0, protocol, port);
                entries.push(((key, PortKey::PROTOCOL_BITS + bits), judgement));
            });
        };
        match around {
            None => {
                for (protocol, pieces) in &self.named {
                    add(*protocol, pieces);
                }
            }
            Some((other, class)) => {
                let (own_any, other_any) = ([(0, self.any)], [(0, other.any)]);
                for (protocol, own, other) in merge(&self.named, &other.named) {
                    let (own, other) = (own.unwrap_or(&own_any), other.unwrap_or(&other_any));
                    add(
                        protocol,
                        &zip(own, other, |own, other| differ(own, other, class)),
                    );
                }
            }
        }
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }
}

/// Of ranges of ports in order of precedence, the index of the first one for each port.
fn first_of(ranges: &[(u8, u32, (u16, u16))]) -> Pieces<u32> {
    let ends = ranges.iter().flat_map(|&(_, _, (first, last))| {
        [Some(first), last.checked_add(1)].into_iter().flatten()
    });
    let mut starts: Vec<u16> = ends.chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();

    let mut pieces: Pieces<u32> = starts.iter().map(|&start| (start, NO_RULE)).collect();
    // From each piece on, a piece before the next one that is no rule's yet: what is taken is passed
    // over at once, or many wide ranges would cost the square of their number.
    let mut free: Vec<usize> = (0..=pieces.len()).collect();
    for &(_, index, (first, last)) in ranges {
        let end = starts.partition_point(|&start| start <= last);
        let mut piece = next_free(&mut free, starts.partition_point(|&start| start < first));
        while piece < end {
            pieces[piece].1 = index;
            free[piece] = piece + 1;
            piece = next_free(&mut free, piece + 1);
        }
    }
    pieces.dedup_by_key(|&mut (_, index)| index);
    pieces
}

fn next_free(free: &mut [usize], mut piece: usize) -> usize {
    while free[piece] != piece {
        free[piece] = free[free[piece]];
        piece = free[piece];
    }
    piece
}

/// Both side by side.
fn zip<A: Copy, B: Copy, C: PartialEq>(
    a: &[(u16, A)],
    b: &[(u16, B)],
    both: impl Fn(A, B) -> C,
) -> Pieces<C> {
    let mut pieces: Pieces<C> = Vec::with_capacity(a.len().max(b.len()));
    let (mut at, mut bt) = (0, 0);
    loop {
        let (a_start, a_value) = a[at];
        let (b_start, b_value) = b[bt];
        let value = both(a_value, b_value);
        if pieces.last().is_none_or(|(_, last)| *last != value) {
            pieces.push((a_start.max(b_start), value));
        }
        match (a.get(at + 1), b.get(bt + 1)) {
            (None, None) => return pieces,
            (Some(_), None) => at += 1,
            (None, Some(_)) => bt += 1,
            (Some((next_a, _)), Some((next_b, _))) => {
                at += usize::from(next_a <= next_b);
                bt += usize::from(next_b <= next_a);
            }
        }
    }
}

/// What of one protocol is in either of two lists.
type Both<'a, T> = (u8, Option<&'a [(u16, T)]>, Option<&'a [(u16, T)]>);

/// The protocols of two lists, in order.
fn merge<'a, T>(
    mut a: &'a [(u8, Pieces<T>)],
    mut b: &'a [(u8, Pieces<T>)],
) -> impl Iterator<Item = Both<'a, T>> {
    std::iter::from_fn(move || {
        let first = |list: &[(u8, Pieces<T>)]| list.first().map(|&(protocol, _)| protocol);
        let protocol = first(a).into_iter().chain(first(b)).min()?;
        Some((protocol, take(&mut a, protocol), take(&mut b, protocol)))
    })
}

fn take<'a, T>(list: &mut &'a [(u8, Pieces<T>)], protocol: u8) -> Option<&'a [(u16, T)]> {
    let ((first, pieces), rest) = list.split_first()?;
    (*first == protocol).then(|| {
        *list = rest;
        pieces.as_slice()
    })
}
