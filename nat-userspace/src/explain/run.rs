//! Runs the explaining programs on one packet.

use aya::{
    Ebpf, Pod, TestRun as _,
    maps::{MapData, PerCpuArray},
    programs::{SchedClassifier, TestRunOptions},
};
use nat_common::{
    drop_reason::DropReason,
    map_types::{Counter, Trace, names},
};

use super::Verdict;
use crate::{
    error::{Error, Result},
    loader::{EXPLAIN_PROGRAM, program},
};

/// What came of it.
pub struct Ran {
    pub verdict: Verdict,
    pub reason: Option<DropReason>,
    /// The packet was made an answer to its sender.
    pub is_answered: bool,
    pub trace: Trace,
}

/// TC_ACT_SHOT.
const SHOT: u32 = 2;

/// Runs them as if the frame came by this interface.
pub fn run(ebpf: &mut Ebpf, frame: &[u8], interface: u32) -> Result<Ran> {
    // What is made of the packet may be longer.
    let mut out = vec![0; frame.len() + 512];
    let context = context(interface);
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    };
    let result = program::<SchedClassifier>(ebpf, EXPLAIN_PROGRAM)?.test_run(options)?;
    // Counted by these programs alone, for this packet.
    let drops = sums(ebpf, names::DROPS)?;
    let counters = sums(ebpf, names::COUNTERS)?;
    let counted = |counter: Counter| counters.get(counter as usize).is_some_and(|&sum| sum != 0);
    let reason = DropReason::ALL
        .iter()
        .zip(drops)
        .find_map(|(reason, sum)| (sum != 0).then_some(*reason));
    let verdict = match reason {
        Some(_) => Verdict::Drop,
        None if counted(Counter::Translated) => Verdict::Forward,
        None if counted(Counter::PingsAnswered) || counted(Counter::ArpAnswered) => Verdict::Answer,
        None => Verdict::Pass,
    };
    Ok(Ran {
        verdict,
        reason,
        is_answered: result.return_value != SHOT,
        trace: trace(ebpf)?,
    })
}

/// `struct __sk_buff` as far as the interface index.
fn context(interface: u32) -> Vec<u8> {
    const INTERFACE_WORD: usize = 10;
    const WORDS: usize = 48;
    let words = (0..WORDS).map(|word| if word == INTERFACE_WORD { interface } else { 0 });
    words.flat_map(u32::to_ne_bytes).collect()
}

fn per_cpu<'a, T: Pod>(ebpf: &'a Ebpf, name: &'static str) -> Result<PerCpuArray<&'a MapData, T>> {
    let map = ebpf
        .map(name)
        .ok_or_else(|| Error::Load(format!("the map {name} is missing from the object")))?;
    PerCpuArray::try_from(map).map_err(Error::map(name))
}

fn sums(ebpf: &Ebpf, name: &'static str) -> Result<Vec<u64>> {
    let map = per_cpu::<u64>(ebpf, name)?;
    (0..map.len())
        .map(|index| {
            let values = map.get(&index, 0).map_err(Error::map(name))?;
            Ok(values.iter().sum())
        })
        .collect()
}

/// The steps, from the CPU that it ran on.
fn trace(ebpf: &Ebpf) -> Result<Trace> {
    let map = per_cpu::<Trace>(ebpf, names::STEPS)?;
    let traces = map.get(&0, 0).map_err(Error::map(names::STEPS))?;
    let trace = traces.iter().find(|trace| trace.count != 0);
    Ok(trace.copied().unwrap_or_default())
}
