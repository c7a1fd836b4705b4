//! Numbers of classes, and rulesets that are compiled already.

use std::collections::{BTreeSet, HashMap, HashSet};

use nat_common::map_types::GroupKey;

use super::{ClassEntries, Compiled, Entries, Rule, compile, prefix};

/// Gives equal classes one number, which they keep as long as some ruleset has them, and compiles only
/// rulesets that are new. A number is given to another class one compilation after its own has gone, at
/// the earliest: packets may still look there.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    classes: Classes,
    rulesets: HashMap<Vec<Rule>, Compiled>,
}

#[derive(Clone, Debug, Default)]
struct Classes {
    numbers: HashMap<ClassEntries, u32>,
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

    fn keep(&mut self, used: &HashSet<u32>) {
        self.numbers.retain(|_, number| {
            let keep = used.contains(number);
            if !keep {
                self.free.insert(*number);
            }
            keep
        });
    }
}

impl Interner {
    /// Compiles rulesets under their numbers (`nat_common::map_types::Ruleset`). In each the first rule
    /// that is for a packet wins; in those of groups every rule allows.
    pub fn compile(&mut self, rulesets: impl IntoIterator<Item = (u32, Vec<Rule>)>) -> Entries {
        let mut known = std::mem::take(&mut self.rulesets);
        let mut entries = Entries::default();
        for (number, rules) in rulesets {
            let (rules, compiled) = match self.rulesets.remove_entry(&rules) {
                Some(found) => found,
                None => known.remove_entry(&rules).unwrap_or_else(|| {
                    let compiled = compile(&rules, |entries| self.classes.number_of(entries));
                    (rules, compiled)
                }),
            };
            entries.add(number, &compiled);
            self.rulesets.insert(rules, compiled);
        }
        let used = self.rulesets.values().flat_map(Compiled::classes);
        self.classes.keep(&used.collect());
        for (class, &number) in &self.classes.numbers {
            for &((bits, mut key), judgement) in class {
                key.class = number;
                entries.port_rules.insert((bits, key), judgement);
            }
        }
        entries
    }
}

impl Entries {
    fn add(&mut self, ruleset: u32, compiled: &Compiled) {
        for &(network, class) in &compiled.prefixes {
            self.rulesets.insert(prefix(ruleset, network), class);
        }
        for &(set, class) in &compiled.groups {
            self.group_rules.insert(GroupKey { ruleset, set }, class);
        }
    }
}
