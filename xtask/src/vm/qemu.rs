//! Boots a [`Machine`] in qemu and relays what its command prints.
//!
//! No temporary files: the initramfs and the kernel's log are in memory, and qemu ends with this program.

use std::{
    fmt,
    fs::File,
    io::{Read as _, Seek as _, Write},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    prctl::set_pdeathsig,
    signal::Signal,
};

use super::{
    kernel::Kernel,
    wire::{Frame, Frames},
};

const MEMORY_MIB: u32 = 2048;
const CPUS: usize = 2;
/// From the command's status to the end of qemu.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How much of the kernel's log an error shows.
const LOG_LINES: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    /// Emulation: slower, and works everywhere.
    Tcg,
}

pub struct Machine<'a> {
    pub kernel: &'a Kernel,
    pub initramfs: &'a OwnedFd,
    pub accelerator: Accelerator,
}

impl fmt::Display for Machine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accelerator = match self.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "emulated (no KVM)",
        };
        write!(formatter, "{accelerator}, {CPUS} CPUs, {MEMORY_MIB} MiB")
    }
}

impl Machine<'_> {
    /// Runs the machine to its end and returns its command's exit status.
    pub fn boot(&self, limit: Duration) -> Result<u8> {
        let (mut log, mut complaints) = (memory("nat-vm-console")?, memory("nat-vm-qemu")?);
        let stderr = complaints
            .try_clone()
            .context("cannot duplicate a descriptor")?;
        let mut qemu = self
            .command(&log)
            .stderr(stderr)
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let result = relay(&mut qemu, limit);
        if result.is_err() {
            _ = qemu.kill();
        }
        end(&mut qemu);
        result.map_err(|error| {
            let (complaints, log) = (last_lines(&mut complaints), last_lines(&mut log));
            anyhow!("{error:#}\n--- qemu said:\n{complaints}\n--- the VM's console:\n{log}")
        })
    }

    fn command(&self, log: &File) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        let descriptor_path = |number: i32| format!("/proc/self/fd/{number}");
        command
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-nic",
                "none",
                "-no-reboot",
            ])
            .args([
                "-machine",
                "q35",
                "-smp",
                &CPUS.to_string(),
                "-m",
                &MEMORY_MIB.to_string(),
            ])
            .args(match self.accelerator {
                Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
                Accelerator::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
            })
            .arg("-kernel")
            .arg(&self.kernel.image)
            .args(["-initrd", &descriptor_path(self.initramfs.as_raw_fd())])
            // A panic ends the machine at once. Entropy from the CPU: no wait for random numbers.
            .args(["-append", "console=ttyS0 panic=-1 random.trust_cpu=on"])
            // First port: the kernel's log. Second: the frames, to qemu's stdout.
            .args([
                "-chardev",
                &format!("file,id=log,path={}", descriptor_path(log.as_raw_fd())),
            ])
            .args([
                "-serial",
                "chardev:log",
                "-chardev",
                "stdio,id=frames,signal=off",
                "-serial",
                "chardev:frames",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // SAFETY: prctl is async-signal-safe, and nothing else is done between fork and exec.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        command
    }
}

/// A file in memory, without close-on-exec: qemu opens it as /proc/self/fd/<number>.
fn memory(name: &str) -> Result<File> {
    let file = memfd_create(name, MFdFlags::empty()).context("cannot make a file in memory")?;
    Ok(File::from(file))
}

/// Copies the command's output until its status comes.
fn relay(qemu: &mut Child, limit: Duration) -> Result<u8> {
    let line = qemu.stdout.take().context("qemu has no stdout")?;
    let (sender, frames) = mpsc::channel();
    thread::spawn(move || Frames::new(line).try_for_each(|frame| sender.send(frame)));

    let deadline = Instant::now() + limit;
    loop {
        match frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Frame::Stdout(text)) => {
                copy(&mut std::io::stdout().lock(), &text).context("cannot write to stdout")?
            }
            Ok(Frame::Stderr(text)) => {
                copy(&mut std::io::stderr().lock(), &text).context("cannot write to stderr")?
            }
            Ok(Frame::Exit(status)) => return Ok(status),
            Err(RecvTimeoutError::Timeout) => bail!(
                "the VM was not done within {} s; --time-limit gives it longer",
                limit.as_secs()
            ),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the VM ended before its command did; the kernel or qemu says why")
            }
        }
    }
}

fn copy(out: &mut impl Write, text: &[u8]) -> std::io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

/// Gives qemu a moment to end by itself.
fn end(qemu: &mut Child) {
    let deadline = Instant::now() + SHUTDOWN;
    while Instant::now() < deadline {
        if !matches!(qemu.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    _ = qemu.kill();
    _ = qemu.wait();
}

fn last_lines(log: &mut File) -> String {
    let mut content = Vec::new();
    if log
        .rewind()
        .and_then(|()| log.read_to_end(&mut content))
        .is_err()
        || content.is_empty()
    {
        return "(nothing)".to_owned();
    }
    let text = String::from_utf8_lossy(&content).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
