//! Compiles security groups and network ACLs into RULESETS, GROUP_RULES and PORT_RULES
//! (`nat_common::rules` reads them; docs/filtering.md says why they are so).
//!
//! `fold.rs` finds the rule that decides for each port, `cover.rs` makes prefixes of ports,
//! `interner.rs` numbers classes.

mod cover;
mod fold;
mod interner;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, rc::Rc};

use ipnet::Ipv4Net;
use nat_common::map_types::{GroupKey, Judgement, PortKey};

use super::{Map, PrefixKey, Sorted, prefix};
use cover::Cover;
use fold::{Content, Fold};
pub use interner::Interner;

/// A rule of a ruleset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What it says.
    pub allow: bool,
    /// [`Judgement::rule`].
    pub id: u32,
    /// The protocol it is for; `None` for every one.
    pub protocol: Option<u8>,
    /// Its first and last destination port; of ICMP [`PortKey::icmp`]. A rule for every protocol does
    /// not look at ports.
    pub ports: (u16, u16),
    /// The remote ends it is for.
    pub remote: RemoteRule,
}

/// The remote ends a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RemoteRule {
    /// Those with an address in there.
    Prefix(Ipv4Net),
    /// Instances with one of these sets of groups.
    Groups(Vec<u32>),
}

/// The content of the maps, without sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Classes by ruleset and remote prefix.
    pub rulesets: Sorted<PrefixKey, u32>,
    /// Classes by ruleset and remote set of groups.
    pub group_rules: Map<GroupKey, u32>,
    /// Judgements by key and prefix length.
    pub port_rules: Sorted<(PortKey, u32), Judgement>,
}

/// The entries of a class in order, with 0 for its number.
type ClassEntries = Vec<((PortKey, u32), Judgement)>;

/// A ruleset in classes.
#[derive(Clone, Debug, Default)]
struct Compiled {
    prefixes: Vec<(Ipv4Net, u32)>,
    groups: Vec<(u32, u32)>,
}

impl Compiled {
    fn classes(&self) -> impl Iterator<Item = u32> {
        let by_prefix = self.prefixes.iter().map(|&(_, class)| class);
        by_prefix.chain(self.groups.iter().map(|&(_, class)| class))
    }
}

/// Fewer pieces than these are never left to another class: that costs a look-up.
const MANY_PIECES: usize = 32;
/// And only when they are so many times the entries that are left.
const WORTH_ELSEWHERE: usize = 4;

/// Compiles `rules`, of which the first match wins; `number_of` gives contents their class.
fn compile(rules: &[Rule], mut number_of: impl FnMut(ClassEntries) -> u32) -> Compiled {
    let mut cover = Cover::default();
    Compiled {
        prefixes: prefixes(rules, &mut cover, &mut number_of),
        groups: groups(rules, &mut cover, &mut number_of),
    }
}

/// A prefix that holds the one which is looked at.
struct Outer {
    network: Ipv4Net,
    fold: Fold,
    content: Rc<Content>,
    class: u32,
    /// The content and number of the innermost class around that is complete.
    complete: (Rc<Content>, u32),
}

fn prefixes(
    rules: &[Rule],
    cover: &mut Cover,
    number_of: &mut impl FnMut(ClassEntries) -> u32,
) -> Vec<(Ipv4Net, u32)> {
    let mut own: Vec<(Ipv4Net, u32)> = (0..)
        .zip(rules)
        .filter_map(|(index, rule)| match rule.remote {
            RemoteRule::Prefix(network) => Some((network.trunc(), index)),
            RemoteRule::Groups(_) => None,
        })
        .collect();
    // A prefix comes after all that hold it, and the rules of one in their order.
    own.sort_unstable_by_key(|(network, index)| (network.network(), network.prefix_len(), *index));

    let mut found = Vec::new();
    let mut outers: Vec<Outer> = Vec::new();
    for own in own.chunk_by(|a, b| a.0 == b.0) {
        let network = own[0].0;
        while outers
            .last()
            .is_some_and(|outer| !outer.network.contains(&network))
        {
            outers.pop();
        }
        let outer = outers.last();
        let mut fold = Fold::new(rules, own.iter().map(|&(_, index)| index));
        if let Some(outer) = outer {
            fold = fold.over(&outer.fold);
        }
        let content = Rc::new(fold.content(rules));
        let (content, class, complete) = match outer {
            // The longest prefix that has an entry is the outer one's: it says the same.
            Some(outer) if outer.content == content => (
                Rc::clone(&outer.content),
                outer.class,
                outer.complete.clone(),
            ),
            _ => {
                let around = outer.map(|outer| &outer.complete);
                let rest = around.and_then(|around| what_differs(&content, around, cover));
                let is_complete = rest.is_none();
                let class = number_of(rest.unwrap_or_else(|| content.entries(None, cover)));
                found.push((network, class));
                let complete = match around {
                    Some(around) if !is_complete => around.clone(),
                    _ => (Rc::clone(&content), class),
                };
                (content, class, complete)
            }
        };
        outers.push(Outer {
            network,
            fold,
            content,
            class,
            complete,
        });
    }
    found
}

/// The entries for what `content` says otherwise than the class around it, when that is little.
fn what_differs(
    content: &Content,
    around: &(Rc<Content>, u32),
    cover: &mut Cover,
) -> Option<ClassEntries> {
    let pieces = content.pieces();
    if pieces < MANY_PIECES {
        return None;
    }
    let entries = content.entries(Some((&around.0, around.1)), cover);
    (entries.len() * WORTH_ELSEWHERE <= pieces).then_some(entries)
}

fn groups(
    rules: &[Rule],
    cover: &mut Cover,
    number_of: &mut impl FnMut(ClassEntries) -> u32,
) -> Vec<(u32, u32)> {
    let mut own: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (index, rule) in (0..).zip(rules) {
        let RemoteRule::Groups(sets) = &rule.remote else {
            continue;
        };
        for &set in sets {
            own.entry(set).or_default().push(index);
        }
    }
    let mut alike: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    for (set, own) in own {
        alike.entry(own).or_default().push(set);
    }
    let mut found = Vec::new();
    for (own, sets) in alike {
        let content = Fold::new(rules, own.into_iter()).content(rules);
        let class = number_of(content.entries(None, cover));
        found.extend(sets.into_iter().map(|set| (set, class)));
    }
    found
}
