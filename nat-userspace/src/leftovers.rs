//! Entries that nobody has any more, and that are still in their tables: kernels before 6.15 may refuse
//! to remove one of a hash map (`EBUSY`), and the programs do not try again. What they remove they mark dead first, and are
//! done with it long before the next look: an entry that is found dead twice is nobody's.

use std::{collections::HashSet, hash::Hash};

use aya::{Pod, maps::MapError};
use nat_common::{
    clock::{Tick, elapsed},
    lifecycle::State,
    map_types::{Binding, Client, ClientKey, SessionKey, names},
};

use crate::{
    bpf_batch,
    error::{Error, Result},
    pins::Pins,
    session_table::SessionTable,
};

/// Ticks between two looks, about ten seconds: they read all tables.
const INTERVAL: u32 = 75;

/// What was found dead the last time.
#[derive(Debug, Default)]
pub struct Leftovers {
    looked: Option<Tick>,
    sessions: Dead<SessionKey>,
    bindings: Dead<SessionKey>,
    bound: Dead<SessionKey>,
    clients: Dead<ClientKey>,
}

/// Keys with the words that say whose the entries are.
type Dead<K> = HashSet<(K, u64)>;

impl Leftovers {
    /// Looks through the tables if it is time, and removes what was dead the last time too.
    ///
    /// # Errors
    ///
    /// What the kernel says. What it refuses again is left for another time.
    pub fn remove(&mut self, pins: &Pins, table: &SessionTable, now: Tick) -> Result<()> {
        if self
            .looked
            .is_some_and(|last| elapsed(now, last) < INTERVAL)
        {
            return Ok(());
        }
        self.looked = Some(now);
        let binding = |key: &SessionKey, value: &Binding| (key.mark(State::Dead), value.lease);
        let client = |key: &ClientKey, value: &Client| (key.mark(State::Dead), value.lease);
        let removed = look_at_sessions(table, &mut self.sessions)
            + look(pins, names::BINDINGS, &mut self.bindings, binding)?
            + look(pins, names::BOUND, &mut self.bound, binding)?
            + look(pins, names::CLIENTS, &mut self.clients, client)?;
        if removed > 0 {
            log::info!("{removed} entries removed that were left dead in their tables");
        }
        Ok(())
    }
}

/// Halves of sessions.
fn look_at_sessions(table: &SessionTable, dead_before: &mut Dead<SessionKey>) -> usize {
    let is_dead = |key: &SessionKey, mark: u64| mark as u32 == key.mark(State::Dead);
    let mut dead = Dead::new();
    table.for_each(|key, half| {
        if is_dead(key, half.mark) {
            dead.insert((*key, half.mark));
        }
    });
    // As below.
    let removed = dead.intersection(dead_before).filter(|(key, mark)| {
        let again = table.get(key).map(|half| half.mark);
        again == Some(*mark) && table.remove(key)
    });
    let removed = removed.count();
    *dead_before = dead;
    removed
}

/// One table's. `words` tells what a dead entry of this key says of itself, and what this one says.
fn look<K: Pod + Eq + Hash, V: Pod>(
    pins: &Pins,
    table: &str,
    dead_before: &mut Dead<K>,
    words: impl Fn(&K, &V) -> (u32, u64),
) -> Result<usize> {
    let is_dead = |key: &K, value: &V| {
        let (dead, word) = words(key, value);
        (word as u32 == dead).then_some(word)
    };
    let mut dead = Dead::new();
    bpf_batch::for_each::<K, V>(&pins.open(table)?, |key, value| {
        dead.extend(is_dead(key, value).map(|word| (*key, word)));
    })
    .map_err(Error::io(format!("reading {table}")))?;
    let mut removed = 0;
    if !dead.is_disjoint(dead_before) {
        let mut map = pins.hash_map::<K, V>(table)?;
        for (key, word) in dead.intersection(dead_before) {
            // The programs make new entries only where there is none, so this one can't change any more.
            let again = map.get(key, 0).ok();
            if again.and_then(|value| is_dead(key, &value)) == Some(*word) {
                match map.remove(key) {
                    Ok(()) => removed += 1,
                    Err(MapError::KeyNotFound | MapError::SyscallError(_)) => {}
                    Err(error) => return Err(Error::map(table)(error)),
                }
            }
        }
    }
    *dead_before = dead;
    Ok(removed)
}
