//! What sessions hold together is held by just those sessions: nothing leaks, nothing goes too early.

use std::{collections::HashMap, fmt::Debug, hash::Hash};

use aya::Pod;
use nat_common::{
    map_types::{
        Binding, Client, ClientKey, Holds, Lease, Paired, binding_key, bound_key, names,
        permission_key,
    },
    session_table::{self, Atomics as _, Memory as _},
    sessions::{outside_flow, reverse_key},
};
use nat_userspace::{bpf_batch, pins::Pins, session_table::SessionTable};

/// Counts the holders of every binding, leave and client, and compares with what those say.
pub fn holders(pins: &Pins) -> Result<(), String> {
    let (mut inside, mut outside) = (HashMap::new(), HashMap::new());
    let (mut clients, mut reverse) = (HashMap::new(), HashMap::new());
    let table = SessionTable::open(pins).unwrap();
    let mut answers = HashMap::new();
    table.for_each(|key, half| {
        if !key.is_forward() {
            answers.insert(*key, *half);
            return;
        }
        let inbound = outside_flow(key, half);
        reverse.insert(reverse_key(key, half), 1);
        if half.holds().include(Holds::BINDING) {
            let binding = inside.entry(binding_key(half.owner(), &key.flow()));
            *binding.or_insert(0) += 1;
            outside.insert(bound_key(&inbound), 1);
        }
        if half.holds().include(Holds::PERMISSION) {
            *outside.entry(permission_key(&inbound)).or_insert(0) += 1;
        }
        if half.holds().include(Holds::CLIENT) {
            let client = ClientKey {
                gateway: u32::from(half.owner()),
                address: key.flow().source,
            };
            *clients.entry(client).or_insert(0) += 1;
        }
    });
    is_sound(&table, answers.len() + reverse.len())?;
    let mut ports: HashMap<ClientKey, u64> = HashMap::new();
    for key in inside.keys() {
        let client = ClientKey {
            gateway: u32::from(key.vpc()),
            address: key.flow().source,
        };
        *ports.entry(client).or_default() += 1;
    }
    let is_shared = |binding: &Binding| !binding.is_static() && binding.freed == 0;
    let count = |binding: &Binding| Lease(binding.lease).count();
    compare("answers", answers, reverse, |_| true, |_| 1)?;
    same(pins, names::BINDINGS, inside, is_shared, count)?;
    same(pins, names::BOUND, outside, is_shared, count)?;
    each::<ClientKey, Client>(pins, names::CLIENTS, |key, client| {
        assert_eq!(
            u64::from(Paired(client.paired).ports()),
            ports.get(key).copied().unwrap_or(0),
            "ports of {key:?}"
        );
    });
    same(
        pins,
        names::CLIENTS,
        clients,
        |_| true,
        |client: &Client| Lease(client.lease).count(),
    )
}

/// No bucket is locked, and no line taken but by these halves.
fn is_sound(table: &SessionTable, halves: usize) -> Result<(), String> {
    const LOCKED: u64 = 1 << 63;
    let mut lines = 0;
    for bucket in 0..table.buckets() {
        // SAFETY: a word of the table's index.
        let word = unsafe { table.load(table.word(bucket).unwrap()) };
        if word == 0 {
            continue;
        }
        if word & LOCKED != 0 {
            return Err(format!("bucket {bucket} is locked"));
        }
        lines += session_table::taken(word).count();
    }
    if lines == halves {
        Ok(())
    } else {
        Err(format!("{lines} lines for {halves} halves"))
    }
}

fn each<K: Pod, V: Pod>(pins: &Pins, name: &str, visit: impl FnMut(&K, &V)) {
    bpf_batch::for_each::<K, V>(&pins.open(name).unwrap(), visit).unwrap();
}

fn same<K: Pod + Eq + Hash + Debug, V: Pod>(
    pins: &Pins,
    name: &str,
    expected: HashMap<K, u32>,
    which: impl Fn(&V) -> bool,
    count: impl Fn(&V) -> u32,
) -> Result<(), String> {
    let mut entries = HashMap::new();
    each::<K, V>(pins, name, |key, value| {
        entries.insert(*key, *value);
    });
    compare(name, entries, expected, which, count)
}

fn compare<K: Eq + Hash + Debug, V>(
    name: &str,
    entries: HashMap<K, V>,
    mut expected: HashMap<K, u32>,
    which: impl Fn(&V) -> bool,
    count: impl Fn(&V) -> u32,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (key, value) in entries.iter().filter(|(_, value)| which(value)) {
        let holders = expected.remove(key).unwrap_or(0);
        if holders != count(value) {
            wrong.push(format!("{key:?}: {} for {holders} holders", count(value)));
        }
    }
    wrong.extend(expected.keys().map(|key| format!("{key:?} is missing")));
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{name}: {}", wrong.join("; ")))
    }
}
