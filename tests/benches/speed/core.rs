//! Keeps a thread on one core, and other programs' threads off it while a figure is taken.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use anyhow::Result;
use aya::util::online_cpus;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The thread has its core until this is dropped.
pub struct Held;

/// Pins this thread to a core and gives it a real-time priority: on a machine with other work the
/// figures would tell of that.
pub fn hold_core(core: usize) -> Result<Held> {
    pin(core)?;
    // Without it figures are only less even.
    schedule(libc::SCHED_FIFO, 1);
    Ok(Held)
}

/// Pins this thread to a core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

impl Drop for Held {
    fn drop(&mut self) {
        schedule(libc::SCHED_OTHER, 0);
    }
}

fn schedule(policy: libc::c_int, priority: libc::c_int) {
    // SAFETY: plain integers; all zeroes is valid.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the kernel reads the structure, which outlives the call; 0 is this thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
}

static ALONE: AtomicBool = AtomicBool::new(false);

/// Whether [`Quiet`] does what it says.
pub fn be_alone(alone: bool) {
    ALONE.store(alone, Relaxed);
}

/// Nothing else runs on the other cores until this is dropped: what programs there do with the memory
/// and the cache that all cores share is seen in the figures of tables that are as large as the cache.
pub struct Quiet {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Quiet {
    /// On all cores but these.
    pub fn except(cores: &[usize]) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let others = match ALONE.load(Relaxed) {
            true => online_cpus().unwrap_or_default(),
            false => Vec::new(),
        };
        let idle = |core: u32| {
            let done = Arc::clone(&done);
            thread::spawn(move || {
                // A core that can't be held is as noisy as before.
                let _held = hold_core(core as usize);
                while !done.load(Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = others
            .into_iter()
            .filter(|core| !cores.contains(&(*core as usize)))
            .map(idle)
            .collect();
        Self { done, threads }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        for each in self.threads.drain(..) {
            // It does nothing that could panic.
            let _ = each.join();
        }
    }
}
