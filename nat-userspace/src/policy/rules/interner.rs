//! Numbers of classes, and rulesets that are compiled already.

use std::collections::BTreeSet;

use nat_common::map_types::{GroupKey, Judgement, PortKey};

use super::{ClassEntries, Compiled, Entries, Map, Rule, compile, prefix};

/// Gives equal classes one number, which they keep as long as some ruleset has them, and compiles only
/// rulesets that are new. A number is given to another class one compilation after its own has gone, at
/// the earliest: packets may still look there.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    classes: Classes,
    rulesets: Map<Vec<Rule>, Compiled>,
}

#[derive(Clone, Debug, Default)]
struct Classes {
    numbers: Map<ClassEntries, u32>,
    free: BTreeSet<u32>,
    /// The numbers up to this one are given or free.
    last: u32,
}

impl Classes {
    fn number_of(&mut self, entries: ClassEntries) -> u32 {
        *self.numbers.entry(entries).or_insert_with(|| {
            self.free.pop_first().unwrap_or_else(|| {
                self.last += 1;
                self.last
            })
        })
    }

    fn keep(&mut self, used: impl Iterator<Item = u32>) {
        let mut is_used = vec![false; self.last as usize + 1];
        for number in used {
            is_used[number as usize] = true;
        }
        self.numbers.retain(|_, number| {
            let keep = is_used[*number as usize];
            if !keep {
                self.free.insert(*number);
            }
            keep
        });
    }

    /// All of them, in the order of their numbers.
    fn entries(&self) -> Vec<((PortKey, u32), Judgement)> {
        let classes = self.numbers.iter();
        let mut classes: Vec<_> = classes.map(|(class, number)| (*number, class)).collect();
        classes.sort_unstable_by_key(|(number, _)| *number);
        let count = classes.iter().map(|(_, class)| class.len()).sum();
        let mut entries = Vec::with_capacity(count);
        for (number, class) in classes {
            let numbered = |&((key, bits), judgement): &((PortKey, u32), Judgement)| {
                ((key.of_class(number), bits), judgement)
            };
            entries.extend(class.iter().map(numbered));
        }
        entries
    }
}

impl Interner {
    /// Compiles rulesets under their numbers (`nat_common::map_types::Ruleset`). In each the first rule
    /// that is for a packet wins; in those of groups every rule allows.
    pub fn compile(&mut self, rulesets: impl IntoIterator<Item = (u32, Vec<Rule>)>) -> Entries {
        let mut known = std::mem::take(&mut self.rulesets);
        let (mut prefixes, mut groups) = (Vec::new(), Map::default());
        for (number, rules) in rulesets {
            let (rules, compiled) = match self.rulesets.remove_entry(&rules) {
                Some(found) => found,
                None => known.remove_entry(&rules).unwrap_or_else(|| {
                    let compiled = compile(&rules, |entries| self.classes.number_of(entries));
                    (rules, compiled)
                }),
            };
            let of_prefixes = compiled.prefixes.iter();
            prefixes.extend(of_prefixes.map(|&(net, class)| (prefix(number, net), class)));
            for &(set, class) in &compiled.groups {
                let key = GroupKey {
                    ruleset: number,
                    set,
                };
                groups.insert(key, class);
            }
            self.rulesets.insert(rules, compiled);
        }
        let used = self.rulesets.values().flat_map(Compiled::classes);
        self.classes.keep(used);
        Entries {
            rulesets: prefixes.into(),
            group_rules: groups,
            port_rules: self.classes.entries().into(),
        }
    }
}
