//! Keeps a thread on one core, and other programs' threads off it while a figure is taken.
use anyhow::Result;
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
