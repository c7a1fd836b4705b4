//! A large table, in the order of its keys. It is made as a whole and held against another one as a whole
//! far more often than anything is looked up in it: both are one pass over memory here, where a hash table
//! is all over it.

/// Entries in the order of their keys, each key once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord, V: Copy> Sorted<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let found = self.0.binary_search_by_key(key, |(other, _)| *other).ok()?;
        self.0.get(found).map(|(_, value)| value)
    }

    /// All of them.
    pub fn entries(&self) -> &[(K, V)] {
        &self.0
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of entries with the same key the last one counts. Entries that are in order already, or in few pieces
/// that are, cost little more than a look.
impl<K: Copy + Ord, V: Copy> From<Vec<(K, V)>> for Sorted<K, V> {
    fn from(mut entries: Vec<(K, V)>) -> Self {
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = later.1;
            }
            is_same
        });
        Self(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_of_a_key_counts() {
        let sorted = Sorted::from(vec![(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd'), (3, 'e')]);
        assert_eq!(sorted.entries(), [(1, 'b'), (2, 'd'), (3, 'e')]);
        assert_eq!((sorted.get(&3), sorted.get(&4)), (Some(&'e'), None));
    }
}
